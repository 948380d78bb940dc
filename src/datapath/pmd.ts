/**
 * The heart of the fast path: polls receive queues, finds each packet's megaflow, runs its actions, sends bursts out.
 *
 * A PMD owns its caches, classifier, pool and ports, and is driven by somebody: a worker thread's endless loop
 * (`pmd-worker.ts`), or the main thread, step by step. Between bursts it carries out the commands in its ring. What it has
 * no flow for goes up the upcall ring; it keeps nothing and waits for nobody.
 *
 * No object is made for a packet, a burst or a round.
 */
import type { ArenaViews } from '../base/arena.ts';
import { RecordRing } from '../base/record-ring.ts';
import { DP_WORDS } from '../flow/layout.ts';
import type { NetdevPort } from '../netdev/netdev.ts';
import { PORT_STAT } from '../netdev/port-stats.ts';
import { FRAME_DATA, FRAME_GSO, FRAME_HEADROOM, FRAME_LEN, type FramePool, LARGE_FRAME_MAX } from '../packet/frame.ts';
import { finishGso } from '../packet/gso.ts';
import { makeActionRunner } from './actions.ts';
import { BURST, PacketBatch, SLOT_WORDS } from './batch.ts';
import { CMD, CONTROL, EXECUTE_ACTIONS, EXECUTE_KEY, UPCALL, UPCALL_KEY, UPCALL_PACKET } from './commands.ts';
import { Dpcls } from './dpcls.ts';
import { DROP } from './drop-reason.ts';
import { makeEmc } from './emc.ts';
import { byteSwap32, makeExtractor } from './extract.ts';
import {
  FLOW_ACTIONS,
  FLOW_ACTIONS_END,
  FLOW_BATCH,
  FLOW_ID,
  FLOW_OUT,
  FLOW_PACKETS,
  FLOW_TCP_FLAGS,
} from './flow-entry.ts';
import { type Holder, makeHolder, STOP } from './hold.ts';
import { ASKED, EVENT, type JourneyRing, makeTeller, RECORD_KIND, type Teller } from './journey.ts';
import { PMD_STAT, RXQ_STAT } from './pmd-stats.ts';
import { refillPolicer, takeFromPolicer } from './policer.ts';
import { makeReceiver, type ReceiverHost } from './receive.ts';
import { scratch } from './scratch.ts';
import { clearShape, copyShape, SHAPE_METADATA, shapeOf } from './shape.ts';
import { makeSimpleMatch } from './simple-match.ts';
import { makeSmc } from './smc.ts';
import type { UpcallProducer } from './upcall-queue.ts';

/** Frames that one port's queue gathers before it is handed to the device. */
const TX_BATCH = 64;
/** Queue number `c` of port `no` is known as port `no + c * TX_CLASS` to actions. */
export const TX_CLASS = 0x10000;

export interface PmdOptions {
  readonly arena: ArenaViews;
  /** Byte offset of `SCRATCH_BYTES` zeroed bytes of its own. */
  readonly scratchAt: number;
  readonly pool: FramePool;
  readonly commands: RecordRing;
  readonly upcalls: UpcallProducer;
  /** Word index of `CONTROL_WORDS` words. */
  readonly controlAt: number;
  /** Float64 index of `PMD_STATS` doubles. */
  readonly statsAt: number;
  /** Word index of the datapath's table of connections, 0 for none. */
  readonly conntrackAt?: number;
  /** Writes the milliseconds of the datapath's clock to `f64[at]`: a double that is returned may be garbage. */
  readClock(f64: Float64Array, at: number): void;
  /** CMD.CONTROL was read. */
  onControl(): void;
}

/** A way to another PMD: frames for its ports go out, free frames come in for them. */
export interface Neighbor {
  readonly out: RecordRing;
  readonly in: RecordRing;
  /** Called after a round that sent something. */
  wake(): void;
}

class TxQueue {
  readonly frames = new Int32Array(TX_BATCH);
  n = 0;
  /** Milliseconds: the end of the round that began the batch; 0 while there is none or it may not wait. */
  readonly since = new Float64Array(1);
  /** What sends: the port itself, or the PMD that can. */
  readonly port: NetdevPort | null;
  readonly neighbor: Neighbor | null;
  /** Our packet half, whether it sends or only receives. */
  readonly half: NetdevPort | null;
  readonly no: number;
  /** Of the port's queues, 0 for none. */
  readonly txClass: number;

  /** Word index of the policer of what is sent, 0 for none. */
  readonly egressAt: number;

  constructor(no: number, half: NetdevPort | null, neighbor: Neighbor | null, txClass = 0, egressAt = 0) {
    this.no = no;
    this.egressAt = egressAt;
    this.txClass = txClass;
    this.half = half;
    this.port = neighbor === null ? half : null;
    this.neighbor = neighbor;
  }
}

interface RxQueue {
  readonly port: NetdevPort;
  readonly no: number;
  readonly q: number;
  readonly inPort: number;
  /** Float64 index of the queue's `RXQ_STAT`. */
  readonly statAt: number;
  /** Word index of the port's policer, 0 for none. */
  readonly policerAt: number;
  /** Packets of the last round: its time is shared out by them. */
  last: number;
}

/** Packets that show whether the EMC is worth asking, and those that do not ask when it is not. */
const EMC_TRIAL = 2048;
const EMC_REST = 32768;

/** Flows that a round adds to an index of masks that is being made. */
const INDEX_WORK = 16;

/** Record of a neighbor's ring: port (or -1: a free frame, in exchange), frame, and the journey that it tells or 0. */
const HAND_OVER_WORDS = 3;
/** How long a frame waits for a port that moves here. */
const HAND_OVER_WAIT_MS = 50;
const MAX_NEIGHBORS = 1024;

export type Pmd = ReturnType<typeof makePmd>;

export function makePmd(options: PmdOptions) {
  const { arena, pool, commands, upcalls, controlAt, statsAt } = options;
  const { u8, i32, f64 } = arena;
  const extractor = makeExtractor(arena);
  const alloc = scratch(options.scratchAt);
  const emc = makeEmc(arena, alloc);
  const dpcls = new Dpcls(arena);
  const smc = makeSmc(arena, alloc, (flow, k) => dpcls.matches(flow, k));
  const txQueues: (TxQueue | undefined)[] = [];
  const activeTx: TxQueue[] = [];
  const ports: NetdevPort[] = [];
  let rxQueues: RxQueue[] = [];
  const neighbors: Neighbor[] = [];
  /** Since when the first frame from each neighbor waits for its port; 0 for none. */
  const waitsSince = new Float64Array(MAX_NEIGHBORS);
  const clockAt = statsAt + PMD_STAT.NOW_MS;
  options.readClock(f64, clockAt);
  let rankAtMs = Math.ceil(f64[clockAt]) + 1000;
  let commandsDone = 0;
  let hasUpcalls = false;
  /** Packets of the last round, and of its longest burst. */
  let lastReceived = 0;
  let longestBurst = 0;
  /** `tx-flush-interval`. */
  let txFlushUs = 0;
  /** Insert into the EMC when a random number is at most this; EMC is off at -1. */
  let emcInsertBelow = 0xffffffff / 100;
  let random = 0x9e3779b9 | 0;
  /** Packets that asked the EMC of late, those it knew, and those that will not ask. */
  let emcAsked = 0;
  let emcHits = 0;
  let emcRest = 0;
  const asked = new Int32Array(BURST);
  /** `smc-enable`. */
  let hasSmc = false;
  /** Somebody looks for packets; and, while one that matched is on its way, the same again in `told`. */
  let teller: Teller | null = null;
  let told: Teller | null = null;
  let journeys: JourneyRing | null = null;
  /** Made with the first breakpoint. */
  let holder: Holder | null = null;
  /** Somebody looks, or something waits. */
  let isWatched = false;
  /** Of the one frame that is being handed over. */
  let handedJourney = 0;
  let aside: PacketBatch | null = null;
  const watched = new Int32Array(BURST);
  let nWatched = 0;
  let alone: PacketBatch | null = null;

  const runner = makeActionRunner({
    arena,
    alloc,
    pool,
    extractor,
    conntrackAt: options.conntrackAt ?? 0,
    clockAt,
    send,
    drop,
    countDrop,
    upcall: (b, i, userspaceId) => upcall(b, i, UPCALL.ACTION, userspaceId),
    process,
    countRecirculated: (n) => {
      f64[statsAt + PMD_STAT.RECIRCULATED] += n;
    },
  });
  const first = runner.batch(0);
  const receiverHost: ReceiverHost = {
    arena,
    extractor,
    emc,
    clockAt,
    queueOf: (port) => txQueues[port],
    full: TX_BATCH,
    transmit: (q) => transmit(q as TxQueue),
    dropUnknown: (frame) => drop(frame, DROP.NO_PORT),
  };
  const receiver = makeReceiver(receiverHost);
  const simpleMatch = makeSimpleMatch(receiverHost);

  function drop(frame: number, reason: number): void {
    if (told !== null && holder?.stopsDrop(told, frame, reason)) return;
    countDrop(reason);
    pool.put(frame);
  }

  function countDrop(reason: number): void {
    f64[statsAt + PMD_STAT.DROPPED]++;
    f64[statsAt + PMD_STAT.DROPS + reason]++;
    if (told !== null) told.drop(reason, -1);
  }

  function send(port: number, frame: number): void {
    const q = txQueues[port];
    if (told !== null) {
      sendTold(told, q, frame);
      return;
    }
    if (q === undefined) {
      drop(frame, DROP.NO_PORT);
      return;
    }
    q.frames[q.n++] = frame;
    if (q.n === TX_BATCH) transmit(q);
  }

  function transmit(q: TxQueue): void {
    q.since[0] = 0;
    if (q.egressAt !== 0 && i32[q.egressAt] !== 0 && q.neighbor === null) policeEgress(q);
    f64[statsAt + PMD_STAT.SENT] += q.n;
    f64[statsAt + PMD_STAT.SENT_BATCHES]++;
    if (q.txClass !== 0) q.half?.txQueue?.(q.txClass, q.frames, q.n);
    else if (q.port !== null) q.port.tx(q.frames, q.n);
    else if (q.neighbor !== null) {
      for (let i = 0; i < q.n; i++) {
        const at = q.neighbor.out.reserve(HAND_OVER_WORDS);
        if (at < 0) {
          countDrop(DROP.HANDOVER_FULL);
          pool.put(q.frames[i]);
          continue;
        }
        i32[at] = q.no;
        i32[at + 1] = q.frames[i];
        i32[at + 2] = handedJourney;
        q.neighbor.out.commit();
      }
      q.neighbor.wake();
    }
    q.n = 0;
  }

  /** Finds flows; `b.missed` lists the packets for which there is none, and their number is returned. */
  function classify(b: PacketBatch, n: number): number {
    let left = n;
    if (emcInsertBelow < 0) for (let i = 0; i < n; i++) b.missed[i] = i;
    else {
      left = emc.lookup(b, n);
      f64[statsAt + PMD_STAT.EMC_HIT] += n - left;
    }
    return left === 0 ? 0 : classifySignatures(b, left);
  }

  function insertEmc(b: PacketBatch, i: number, flow: number): void {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    if (random >>> 0 > emcInsertBelow) return;
    emc.insert(b, i, flow, teller !== null && teller.filters.which(b.slots + i * SLOT_WORDS) !== 0);
  }

  /** Packets `b.missed[0..n-1]`, which are not in the EMC. Returns how many of them have no flow; `b.missed` lists those. */
  function classifySignatures(b: PacketBatch, n: number): number {
    if (!hasSmc) return classifyMegaflows(b, n);
    for (let j = 0; j < n; j++) asked[j] = b.missed[j];
    const left = smc.lookup(b, n);
    f64[statsAt + PMD_STAT.SMC_HIT] += n - left;
    if (emcInsertBelow >= 0)
      for (let j = 0; j < n; j++) if (b.flow[asked[j]] !== 0) insertEmc(b, asked[j], b.flow[asked[j]]);
    return left === 0 ? 0 : classifyMegaflows(b, left);
  }

  function classifyMegaflows(b: PacketBatch, n: number): number {
    let missed = 0;
    const tried = dpcls.lookupBatch(b, n);
    for (let j = 0; j < n; j++) {
      const i = b.missed[j];
      if (b.flow[i] === 0) b.missed[missed++] = i;
      else {
        if (hasSmc) smc.insert(b.hash[i], b.flow[i]);
        if (emcInsertBelow >= 0) insertEmc(b, i, b.flow[i]);
      }
    }
    f64[statsAt + PMD_STAT.MEGAFLOW_HIT] += n - missed;
    f64[statsAt + PMD_STAT.LOOKUPS] += tried;
    return missed;
  }

  /** Flows that do one output, packet by packet; the others' packets are left in `b.missed`, and their number returned. */
  function forward(b: PacketBatch, n: number): number {
    const { frames, flow, len, missed } = b;
    const nowMs = f64[clockAt];
    let others = 0;
    let out = -1;
    let q: TxQueue | undefined;
    for (let i = 0; i < n; i++) {
      const f = flow[i];
      if (f === 0) continue;
      const port = i32[f + FLOW_OUT];
      if (port < 0) {
        missed[others++] = i;
        continue;
      }
      const counters = (f + FLOW_PACKETS) >> 1;
      f64[counters]++;
      f64[counters + 1] += len[i];
      f64[counters + 2] = nowMs;
      const flags = i32[b.slots + i * SLOT_WORDS + 11] & 0xffff;
      if (flags !== 0) i32[f + FLOW_TCP_FLAGS] |= flags;
      if (port !== out) {
        out = port;
        q = txQueues[port];
      }
      if (q === undefined) drop(frames[i], DROP.NO_PORT);
      else {
        q.frames[q.n++] = frames[i];
        if (q.n === TX_BATCH) transmit(q);
      }
    }
    return others;
  }

  /** Sorts the `n` packets in `b.missed` by flow, each flow's in their order. Returns the number of flows. */
  function group(b: PacketBatch, n: number): number {
    const { flow, len, next, flowAt, head, tail, count, bytes, missed } = b;
    let flows = 0;
    for (let j = 0; j < n; j++) {
      const i = missed[j];
      const f = flow[i];
      let x = i32[f + FLOW_BATCH] - 1;
      if (x < 0) {
        x = flows++;
        i32[f + FLOW_BATCH] = flows;
        flowAt[x] = f;
        head[x] = i;
        count[x] = 1;
        bytes[x] = len[i];
      } else {
        next[tail[x]] = i;
        count[x]++;
        bytes[x] += len[i];
      }
      tail[x] = i;
      next[i] = -1;
    }
    for (let x = 0; x < flows; x++) i32[flowAt[x] + FLOW_BATCH] = 0;
    return flows;
  }

  /** Runs the actions of the packets in `b.missed`, flow by flow. */
  function executeOthers(b: PacketBatch, n: number, level: number): void {
    const { next, flowAt, head, count, bytes, list } = b;
    const flows = group(b, n);
    const nowMs = f64[clockAt];
    for (let x = 0; x < flows; x++) {
      const f = flowAt[x];
      const counters = (f + FLOW_PACKETS) >> 1;
      f64[counters] += count[x];
      f64[counters + 1] += bytes[x];
      f64[counters + 2] = nowMs;
      let flags = 0;
      let m = 0;
      for (let i = head[x]; i >= 0; i = next[i]) {
        flags |= i32[b.slots + i * SLOT_WORDS + 11];
        list[m++] = i;
      }
      i32[f + FLOW_TCP_FLAGS] |= flags & 0xffff;
      runner.exec(b, list, m, i32[f + FLOW_ACTIONS], i32[f + FLOW_ACTIONS_END], level);
    }
  }

  function execute(b: PacketBatch, n: number, level: number): void {
    const others = forward(b, n);
    if (others !== 0) executeOthers(b, others, level);
  }

  function process(b: PacketBatch, n: number, level: number): void {
    if (told !== null) {
      processTold(told, b, level);
      return;
    }
    finishBurst(b, n, classify(b, n), level);
  }

  /** `missed` packets, listed in `b.missed`, have no flow. */
  function finishBurst(b: PacketBatch, n: number, missed: number, level: number): void {
    if (missed !== 0) {
      for (let j = 0; j < missed; j++) {
        const i = b.missed[j];
        upcall(b, i, UPCALL.MISS, 0);
        pool.put(b.frames[i]);
      }
      f64[statsAt + PMD_STAT.MISS] += missed;
      if (missed === n) return;
    }
    execute(b, n, level);
  }

  function upcall(b: PacketBatch, i: number, kind: number, userspaceId: number): void {
    const len = b.len[i];
    const k = b.slots + i * SLOT_WORDS;
    const at = upcalls.reserve(byteSwap32(i32[k]), UPCALL_PACKET + ((len + 3) >> 2));
    if (told !== null) told.upcall(kind, userspaceId, at >= 0);
    if (at < 0) {
      f64[statsAt + PMD_STAT.LOST]++;
      countDrop(DROP.UPCALL_LOST);
      return;
    }
    i32[at] = kind;
    i32[at + 1] = userspaceId;
    i32[at + 2] = len;
    i32[at + 3] = told !== null ? told.id : 0;
    i32[at + 4] = 0;
    if (told !== null && holder !== null) {
      i32[at + 4] = holder.stops();
      holder.goesUp(told);
    }
    for (let w = 0; w < DP_WORDS; w++) i32[at + UPCALL_KEY + w] = i32[k + w];
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    u8.copyWithin((at + UPCALL_PACKET) * 4, p, p + len);
    const gso = pool.isLarge(b.frames[i]) ? i32[(b.frames[i] >> 2) + FRAME_GSO] : 0;
    i32[at + 5] = gso;
    if (gso !== 0) finishGso(u8, arena.u16, (at + UPCALL_PACKET) * 4, len, gso);
    upcalls.commit();
    f64[statsAt + PMD_STAT.UPCALLS]++;
    hasUpcalls = true;
  }

  /** A packet from the main thread. `at` is its record in the command ring. */
  function executePacket(at: number): void {
    const nActions = i32[at + 2];
    const len = i32[at + 3];
    const gso = i32[at + 6];
    const frame = gso !== 0 ? pool.takeLarge() : pool.takeFor(len);
    if (frame < 0) {
      countDrop(len <= LARGE_FRAME_MAX ? DROP.NO_MEMORY : DROP.TOO_LONG);
      return;
    }
    if (gso !== 0) i32[(frame >> 2) + FRAME_GSO] = gso;
    const p = frame + FRAME_HEADROOM;
    const data = (at + EXECUTE_ACTIONS + nActions) * 4;
    i32[(frame >> 2) + FRAME_LEN] = len;
    i32[(frame >> 2) + FRAME_DATA] = p;
    u8.copyWithin(p, data, data + len);
    const b = first;
    const k = b.slots;
    const key = at + EXECUTE_KEY;
    const shape = shapeOf(i32, key) & SHAPE_METADATA;
    clearShape(i32, k, b.shape[0]);
    i32[k] = i32[key];
    copyShape(i32, key, k, shape);
    b.shape[0] = shape;
    b.frames[0] = frame;
    b.list[0] = 0;
    extractor.again(b, 0);
    const flow = i32[at + 1];
    if (teller !== null && i32[at + 4] !== 0) executeTold(teller, b, at, flow);
    else if (flow !== 0 && i32[flow + FLOW_ID] !== 0) {
      b.flow[0] = flow;
      learn(b, 0, flow);
      execute(b, 1, 0);
    } else if (flow !== 0) process(b, 1, 0);
    else {
      // The answer to a miss: its megaflow is there by now, and the next such packet finds it in a cache.
      const known = dpcls.lookup(k);
      if (known !== 0) learn(b, 0, known);
      execActions(at, nActions);
    }
  }

  /** What a packet that was looked up leaves in the caches that its port uses. */
  function learn(b: PacketBatch, i: number, flow: number): void {
    if (dpcls.isSimple(i32[b.slots + i * SLOT_WORDS])) {
      simpleMatch.remember(b, i, flow);
      return;
    }
    if (hasSmc) smc.insert(b.hash[i], flow);
    if (emcInsertBelow >= 0) insertEmc(b, i, flow);
  }

  function execActions(at: number, nActions: number): void {
    runner.exec(first, first.list, 1, at + EXECUTE_ACTIONS, at + EXECUTE_ACTIONS + nActions, 0);
  }

  // ---- packets that tell their journey ----

  /** A burst in which somebody looks for packets: those that match go alone, all in their order. */
  function receiveWatched(q: RxQueue, n: number): void {
    const { slots } = first;
    let from = 0;
    for (let i = nextWatched(0, n); i < n; i = nextWatched(i + 1, n)) {
      const block = holder === null ? null : holder.blockOf(slots + i * SLOT_WORDS, first.shape[i]);
      if (block !== null && holder !== null) {
        processRange(from, i);
        from = i + 1;
        holder.queue(block, first, i, q.no, q.q);
        continue;
      }
      const bits = teller === null ? 0 : teller.filters.which(slots + i * SLOT_WORDS);
      if (teller === null || bits === 0) continue;
      if (!teller.hasRoom()) {
        f64[statsAt + PMD_STAT.JOURNEYS_LOST]++;
        continue;
      }
      processRange(from, i);
      from = i + 1;
      tellArrival(teller, first, i, q.no, q.q, bits);
    }
    if (from === 0) process(first, n, 0);
    else processRange(from, n);
  }

  /**
   * Must the burst be looked at packet by packet before anything is done with it? While nothing waits those that are looked for
   * are found among what the EMC does not answer; ports with simple flows do not ask it.
   */
  function mayBeWatched(q: RxQueue, n: number): boolean {
    if (teller === null || (holder !== null && !holder.isIdle())) return true;
    return dpcls.isSimple(q.inPort) && teller.filters.mayMatch(first.frames, n, q.inPort);
  }

  /** Takes out of `first.missed` the packets that are looked for; they are in `watched`. Returns how many are left. */
  function setAside(t: Teller, n: number): number {
    const { missed, flow, slots } = first;
    let left = 0;
    nWatched = 0;
    for (let j = 0; j < n; j++) {
      const i = missed[j];
      if (t.filters.which(slots + i * SLOT_WORDS) === 0) missed[left++] = i;
      else {
        flow[i] = 0;
        watched[nWatched++] = i;
      }
    }
    return left;
  }

  /** What `setAside` found goes its way, alone, in its order. */
  function tellWatched(q: RxQueue): void {
    for (let j = 0; j < nWatched; j++) {
      const i = watched[j];
      const slot = first.slots + i * SLOT_WORDS;
      const block = holder === null ? null : holder.blockOf(slot, first.shape[i]);
      if (block !== null && holder !== null) holder.queue(block, first, i, q.no, q.q);
      else if (teller?.hasRoom()) tellArrival(teller, first, i, q.no, q.q, teller.filters.which(slot));
      else {
        f64[statsAt + PMD_STAT.JOURNEYS_LOST]++;
        processRange(i, i + 1);
      }
    }
  }

  /** The next packet of the burst that may be looked for, or has to wait behind another. */
  function nextWatched(i: number, n: number): number {
    if (teller === null || (holder !== null && !holder.isIdle())) return i;
    return teller.filters.first(first.slots, i, n);
  }

  function tellArrival(t: Teller, b: PacketBatch, i: number, port: number, queue: number, bits: number): void {
    alone ??= new PacketBatch(alloc);
    alone.n = 0;
    t.received(b, i, port, queue, bits);
    if (holder !== null) holder.follow(t.id, t.stopsOf(bits), b.slots + i * SLOT_WORDS, b.shape[i]);
    runner.transfer(b, i, alone, true);
    beginTelling(t);
    process(alone, 1, 0);
    endTelling(t);
  }

  /** A packet that waited behind another, in place 0. */
  function arrived(b: PacketBatch, port: number, queue: number): void {
    const bits = teller === null ? 0 : teller.filters.which(b.slots);
    if (teller !== null && bits !== 0 && teller.hasRoom()) tellArrival(teller, b, 0, port, queue, bits);
    else {
      if (bits !== 0) f64[statsAt + PMD_STAT.JOURNEYS_LOST]++;
      process(b, 1, 0);
    }
  }

  function processRange(from: number, end: number): void {
    if (from === end) return;
    aside ??= new PacketBatch(alloc);
    aside.n = 0;
    for (let i = from; i < end; i++) runner.transfer(first, i, aside, true);
    process(aside, aside.n, 0);
  }

  function beginTelling(t: Teller): void {
    told = t;
    runner.setTeller(holder === null ? t : holder.listener);
  }

  function endTelling(t: Teller): void {
    told = null;
    runner.setTeller(null);
    holder?.follow(0, 0, -1, 0);
    t.finish();
    hasUpcalls = true;
  }

  /** One packet, which is place 0 of `b`. */
  function processTold(t: Teller, b: PacketBatch, level: number): void {
    if (level > 0) t.again(b, level);
    lookupTold(t, b, level, level > 0 ? STOP.EXTRACT : STOP.RX);
  }

  /** From the stage `from` on: a packet may have stopped before it. */
  function lookupTold(t: Teller, b: PacketBatch, level: number, from: number): void {
    if (from <= STOP.RX && stops(t, b, STOP.RX, level)) return;
    if (from <= STOP.EXTRACT && stops(t, b, STOP.EXTRACT, level)) return;
    let flow = 0;
    let asked = 0;
    // A burst from a port of simple flows asks that cache instead of the others.
    const isSimple = level === 0 && dpcls.isSimple(i32[b.slots]);
    if (from <= STOP.EMC && (isSimple || emcInsertBelow >= 0)) {
      if (stops(t, b, STOP.EMC, level)) return;
      asked |= isSimple ? ASKED.SIMPLE : ASKED.EMC;
      if (isSimple) flow = simpleMatch.flowOf(b, 0);
      else if (emc.lookup(b, 1) === 0) flow = b.flow[0];
      if (flow !== 0) {
        f64[statsAt + (isSimple ? PMD_STAT.SIMPLE_HIT : PMD_STAT.EMC_HIT)]++;
        t.cache(isSimple ? EVENT.SIMPLE : EVENT.EMC, flow);
      }
    }
    if (flow === 0 && from <= STOP.SMC && hasSmc && !isSimple) {
      if (stops(t, b, STOP.SMC, level)) return;
      asked |= ASKED.SMC;
      b.missed[0] = 0;
      if (smc.lookup(b, 1) === 0) {
        flow = b.flow[0];
        f64[statsAt + PMD_STAT.SMC_HIT]++;
        if (emcInsertBelow >= 0) insertEmc(b, 0, flow);
        t.cache(EVENT.SMC, flow);
      }
    }
    if (flow === 0 && from <= STOP.DPCLS) {
      if (stops(t, b, STOP.DPCLS, level)) return;
      b.missed[0] = 0;
      const port = byteSwap32(i32[b.slots]);
      const isIndexed = dpcls.isIndexed(port);
      if (classifyMegaflows(b, 1) === 0) {
        flow = b.flow[0];
        if (isSimple) simpleMatch.remember(b, 0, flow);
        t.megaflow(flow, dpcls.tried, dpcls.subtablesOf(port), isIndexed, asked);
      } else t.miss(dpcls.tried, dpcls.subtablesOf(port), isIndexed, asked);
    }
    if (flow !== 0) {
      executeFlowTold(t, b, flow, level);
      return;
    }
    if (stops(t, b, STOP.UPCALL, level)) return;
    upcall(b, 0, UPCALL.MISS, 0);
    pool.put(b.frames[0]);
    f64[statsAt + PMD_STAT.MISS]++;
  }

  /** True: the packet waits before `stage`. */
  function stops(t: Teller, b: PacketBatch, stage: number, level: number): boolean {
    return holder?.stopsLookup(t, b, stage, level) === true;
  }

  function executeFlowTold(t: Teller, b: PacketBatch, flow: number, level: number): void {
    t.actions(i32[flow + FLOW_ACTIONS], i32[flow + FLOW_ACTIONS_END], level);
    b.flow[0] = flow;
    b.missed[0] = 0;
    executeOthers(b, 1, level);
  }

  /** What the slow path sends on its way again: see `executePacket`. */
  function executeTold(t: Teller, b: PacketBatch, at: number, flow: number): void {
    t.executed(RECORD_KIND.EXECUTED, b, 0, i32[at + 4]);
    holder?.follow(t.id, i32[at + 5], -1, 0);
    beginTelling(t);
    if (flow !== 0 && i32[flow + FLOW_ID] !== 0) executeFlowTold(t, b, flow, 0);
    else if (flow !== 0) process(b, 1, 0);
    else {
      const first = at + EXECUTE_ACTIONS;
      t.actions(first, first + i32[at + 2], 0);
      runner.exec(b, b.list, 1, first, first + i32[at + 2], 0);
    }
    endTelling(t);
  }

  /** The end of a journey that began at another PMD. */
  function sendHanded(t: Teller, q: TxQueue, frame: number, journey: number): void {
    alone ??= new PacketBatch(alloc);
    alone.frames[0] = frame;
    t.executed(RECORD_KIND.HANDED, alone, 0, journey);
    beginTelling(t);
    sendTold(t, q, frame);
    endTelling(t);
  }

  /** Goes out at once, behind what waits, so that the device's answer is this packet's. */
  function sendTold(t: Teller, q: TxQueue | undefined, frame: number): void {
    const bytes = i32[(frame >> 2) + FRAME_LEN];
    if (q === undefined) {
      drop(frame, DROP.NO_PORT);
      return;
    }
    if (q.n !== 0) {
      // What becomes of others is not this packet's story.
      told = null;
      transmit(q);
      told = t;
    }
    q.frames[q.n++] = frame;
    if (q.port === null) {
      const lost = f64[statsAt + PMD_STAT.DROPPED];
      handedJourney = t.id;
      transmit(q);
      handedJourney = 0;
      t.sent(
        q.no,
        q.neighbor === null ? -1 : neighbors.indexOf(q.neighbor),
        bytes,
        f64[statsAt + PMD_STAT.DROPPED] === lost,
        q.txClass,
      );
      return;
    }
    q.port.flush();
    const refusals = refusedBy(q.port);
    transmit(q);
    q.port.flush();
    const isTaken = refusedBy(q.port) === refusals;
    t.sent(q.no, -1, bytes, isTaken, q.txClass);
    if (!isTaken) t.drop(DROP.TX, q.no);
  }

  const refusedBy = (port: NetdevPort): number =>
    f64[port.statsAt + PORT_STAT.txDropped] + f64[port.statsAt + PORT_STAT.txErrors];

  function watch(at: number): void {
    journeys ??= { ring: new RecordRing(arena, i32[at + 1], i32[at + 2], 'producer'), next: 1 };
    teller = makeTeller(arena, at, journeys);
    if (teller?.stopsOf(-1)) holder ??= makeHolder(holderHost);
    if (teller === null) holder?.releaseAll();
    isWatched = teller !== null || (holder !== null && !holder.isIdle());
    alone ??= new PacketBatch(alloc);
    // Its second place is never used.
    emc.watch(alone.slots + SLOT_WORDS, (slot) => teller !== null && teller.filters.which(slot) !== 0);
  }

  const holderHost = {
    arena,
    alloc,
    pool,
    extractor,
    statsAt,
    runner: () => runner,
    teller: () => told ?? teller,
    arrived,
    lookup: lookupTold,
    process,
    begin: beginTelling,
    end: endTelling,
    drop,
    countDrop,
  };

  function runCommand(at: number): void {
    const a = i32[at + 1];
    switch (i32[at]) {
      case CMD.MASK_ADD:
        dpcls.addMask(a, i32[at + 2]);
        break;
      case CMD.MASK_DEL:
        dpcls.removeMask(a);
        break;
      case CMD.FLOW_PUT:
        dpcls.insert(a);
        break;
      case CMD.FLOW_DEL:
        dpcls.remove(a);
        i32[a + FLOW_ID] = 0;
        break;
      case CMD.FLOW_MOD:
        i32[a + FLOW_ACTIONS] = i32[at + 2];
        i32[a + FLOW_ACTIONS_END] = i32[at + 3];
        i32[a + FLOW_OUT] = i32[at + 4];
        break;
      case CMD.EXECUTE:
        executePacket(at);
        break;
      case CMD.CONTROL:
        options.onControl();
        break;
      case CMD.WATCH:
        watch(at);
        break;
      case CMD.BREAK:
        if (holder === null) break;
        holder.command(at);
        isWatched = teller !== null || !holder.isIdle();
        break;
    }
  }

  /** Carries out what the command ring holds; returns how many commands that were. */
  function runCommands(max = 256): number {
    let n = 0;
    for (let at = commands.peek(); at >= 0 && n < max; at = commands.peek()) {
      runCommand(at);
      commands.release();
      n++;
    }
    if (n > 0) {
      commandsDone = (commandsDone + n) | 0;
      Atomics.store(i32, controlAt + CONTROL.DONE, commandsDone);
      if (Atomics.load(i32, controlAt + CONTROL.WANTS_DONE) !== 0) hasUpcalls = true;
    }
    return n;
  }

  /** A frame for a port that is about to become ours: a queue is on its way from one PMD to another. */
  function mayWait(x: number): boolean {
    if (waitsSince[x] === 0) waitsSince[x] = f64[clockAt];
    return f64[clockAt] - waitsSince[x] < HAND_OVER_WAIT_MS;
  }

  /** Frames other PMDs hand over for our ports, and free frames they return for ours. */
  function runNeighbors(): number {
    let n = 0;
    for (let x = 0; x < neighbors.length; x++) {
      const ring = neighbors[x].in;
      for (let at = ring.peek(); at >= 0 && n < 256; at = ring.peek()) {
        const port = i32[at];
        const frame = i32[at + 1];
        const journey = i32[at + 2];
        const q = port < 0 ? undefined : txQueues[port];
        if (q !== undefined && q.port === null && mayWait(x)) break;
        ring.release();
        n++;
        if (port < 0) {
          pool.put(frame);
          continue;
        }
        waitsSince[x] = 0;
        const room = neighbors[x].out.reserve(HAND_OVER_WORDS);
        const spare = room < 0 ? -1 : pool.takeLike(frame);
        if (spare >= 0) {
          i32[room] = -1;
          i32[room + 1] = spare;
          neighbors[x].out.commit();
        }
        // Only ports of our own: a frame is never handed over twice.
        if (q === undefined || q.port === null) drop(frame, DROP.NO_PORT);
        else if (journey !== 0 && teller !== null) sendHanded(teller, q, frame, journey);
        else send(port, frame);
      }
    }
    return n;
  }

  /** Drops of a batch what its port may not send. The policer counts bytes of IP packets. */
  function policeEgress(q: TxQueue): void {
    refillPolicer(i32, q.egressAt, f64[clockAt]);
    let kept = 0;
    for (let i = 0; i < q.n; i++) {
      const frame = q.frames[i];
      if (takeFromPolicer(i32, q.egressAt, i32[(frame >> 2) + FRAME_LEN] - 14)) q.frames[kept++] = frame;
      else drop(frame, DROP.POLICED);
    }
    q.n = kept;
  }

  /** Lets pass of `first.frames` what the policer allows; returns how many are left. */
  function police(policerAt: number, n: number): number {
    const { frames } = first;
    refillPolicer(i32, policerAt, f64[clockAt]);
    let kept = 0;
    for (let i = 0; i < n; i++) {
      if (takeFromPolicer(i32, policerAt, i32[(frames[i] >> 2) + FRAME_LEN])) frames[kept++] = frames[i];
      else drop(frames[i], DROP.POLICED);
    }
    return kept;
  }

  /** One burst from queue `q`, at most `max` packets. */
  function receive(q: RxQueue, max: number): number {
    let n = q.port.rx(q.q, first.frames, max);
    q.last = n;
    if (n <= 0) return 0;
    if (q.policerAt !== 0 && i32[q.policerAt] !== 0) {
      n = police(q.policerAt, n);
      if (n === 0) return q.last;
    }
    f64[statsAt + PMD_STAT.RECEIVED] += n;
    f64[q.statAt + RXQ_STAT.PACKETS] += n;
    if (isWatched && mayBeWatched(q, n)) {
      extractor.received(first, n, q.inPort);
      receiveWatched(q, n);
      return n;
    }
    receiveBurst(q.inPort, n);
    if (nWatched !== 0) tellWatched(q);
    return n;
  }

  /** What `first` holds, but for packets in `watched`, which are looked for. */
  function receiveBurst(inPort: number, n: number): void {
    nWatched = 0;
    if (dpcls.isSimple(inPort)) {
      receiveSimple(inPort, n);
      return;
    }
    let left = receiver.receive(first, n, inPort, emcInsertBelow >= 0 && emcPays(n));
    const { hits } = receiver.last;
    f64[statsAt + PMD_STAT.EMC_HIT] += hits;
    emcHits += hits;
    if (isWatched && left !== 0 && teller !== null) left = setAside(teller, left);
    if (left !== 0) finishBurst(first, n, classifySignatures(first, left), 0);
    else if (receiver.last.others !== 0) execute(first, n, 0);
  }

  /**
   * Whether a burst of `n` packets should ask the EMC. With far more flows than places nearly all it does is to wait for
   * memory; then it rests, and is asked again for a while to see whether that is still so.
   */
  function emcPays(n: number): boolean {
    if (emcRest > 0) {
      emcRest -= n;
      return false;
    }
    if (emcAsked >= EMC_TRIAL) {
      if (emcHits * 8 < emcAsked) emcRest = EMC_REST;
      emcAsked = 0;
      emcHits = 0;
    }
    emcAsked += n;
    return true;
  }

  /** A burst from a port with simple flows only. */
  function receiveSimple(inPort: number, n: number): void {
    const left = simpleMatch.receive(first, n, inPort);
    f64[statsAt + PMD_STAT.SIMPLE_HIT] += n - left;
    if (left === 0) return;
    for (let j = 0; j < left; j++) asked[j] = first.missed[j];
    const missed = classifyMegaflows(first, left);
    for (let j = 0; j < left; j++)
      if (first.flow[asked[j]] !== 0) simpleMatch.remember(first, asked[j], first.flow[asked[j]]);
    finishBurst(first, n, missed, 0);
  }

  function flush(): void {
    for (let x = 0; x < activeTx.length; x++) if (activeTx[x].n !== 0) transmit(activeTx[x]);
    for (let x = 0; x < ports.length; x++) ports[x].flush();
  }

  /** What is gathered waits until it is older than `tx-flush-interval`. */
  function flushOld(): void {
    const nowMs = f64[clockAt];
    for (let x = 0; x < activeTx.length; x++) {
      const q = activeTx[x];
      if (q.n === 0) continue;
      if (q.since[0] === 0) q.since[0] = nowMs;
      else if ((nowMs - q.since[0]) * 1000 >= txFlushUs) transmit(q);
    }
    for (let x = 0; x < ports.length; x++) ports[x].flush();
  }

  /** Shares the time since the last round began among the queues that had packets then. */
  function accountQueues(ms: number): void {
    for (let x = 0; x < rxQueues.length; x++) {
      const q = rxQueues[x];
      if (q.last > 0) f64[q.statAt + RXQ_STAT.BUSY_NS] += ((f64[clockAt] - ms) * 1e6 * q.last) / lastReceived;
    }
  }

  /** A round: a burst from each queue, the neighbors, the commands, everything out. Returns how much there was to do. */
  function run(burst: number = BURST): number {
    const before = f64[clockAt];
    options.readClock(f64, clockAt);
    if (lastReceived !== 0) accountQueues(before);
    let n = 0;
    let most = 0;
    for (let x = 0; x < rxQueues.length; x++) {
      const got = receive(rxQueues[x], burst);
      n += got;
      if (got > most) most = got;
    }
    lastReceived = n;
    longestBurst = most;
    if (neighbors.length !== 0) n += runNeighbors();
    n += runCommands();
    if (dpcls.isBuilding) dpcls.work(INDEX_WORK);
    if (txFlushUs === 0) flush();
    else flushOld();
    f64[statsAt + PMD_STAT.FREE_FRAMES] = pool.available + pool.availableLarge;
    f64[statsAt + PMD_STAT.ITERATIONS]++;
    if (n !== 0) f64[statsAt + PMD_STAT.BUSY_ITERATIONS]++;
    if (f64[clockAt] >= rankAtMs) {
      dpcls.rank();
      if (holder !== null) {
        holder.expire(f64[clockAt]);
        isWatched = teller !== null || !holder.isIdle();
      }
      rankAtMs = Math.ceil(f64[clockAt]) + 1000;
    }
    return n;
  }

  /** True once after the upcall ring, or `DONE` when it is wanted, has something new for the main thread. */
  function takeUpcalls(): boolean {
    const has = hasUpcalls;
    hasUpcalls = false;
    return has;
  }

  /** Without `close` the packet half lives on: other PMDs of this thread use it too. */
  function removePort(no: number, close = true): void {
    const q = txQueues[no];
    if (q === undefined) return;
    if (q.n !== 0) transmit(q);
    txQueues[no] = undefined;
    activeTx.splice(activeTx.indexOf(q), 1);
    for (let c = no + TX_CLASS; txQueues[c] !== undefined; c += TX_CLASS) {
      const queue = txQueues[c] as TxQueue;
      if (queue.n !== 0) transmit(queue);
      activeTx.splice(activeTx.indexOf(queue), 1);
      txQueues[c] = undefined;
    }
    rxQueues = rxQueues.filter((r) => r.no !== no);
    lastReceived = 0;
    if (q.half !== null) {
      ports.splice(ports.indexOf(q.half), 1);
      q.half.flush();
      if (close) q.half.close();
    }
  }

  function addTxQueue(no: number, half: NetdevPort | null, neighbor: Neighbor | null, egressAt = 0): void {
    removePort(no);
    const q = new TxQueue(no, half, neighbor, 0, egressAt);
    txQueues[no] = q;
    activeTx.push(q);
  }

  return {
    run,
    runCommands,
    takeUpcalls,
    removePort,
    /**
     * A port of our own: we poll `queues` of it (all, if not said), counting in `statsAt` of the same order, and send to it
     * unless only `sender` can.
     */
    addPort(
      no: number,
      port: NetdevPort,
      queues?: readonly number[],
      queueStatsAt?: readonly number[],
      sender: Neighbor | null = null,
      txClasses = 0,
      policerAt = 0,
      egressAt = 0,
    ): void {
      addTxQueue(no, port, sender, egressAt);
      for (let c = 1; c <= txClasses; c++) {
        const q = new TxQueue(no, port, null, c);
        txQueues[no + c * TX_CLASS] = q;
        activeTx.push(q);
      }
      ports.push(port);
      const polled = queues ?? Array.from({ length: port.nRxq }, (_, q) => q);
      polled.forEach((q, i) => {
        const statAt = queueStatsAt?.[i] ?? statsAt + PMD_STAT.RXQ;
        rxQueues.push({ port, no, q, inPort: byteSwap32(no), statAt, policerAt, last: 0 });
      });
    },
    /** A port that another PMD has. */
    addRemotePort(no: number, neighbor: Neighbor): void {
      addTxQueue(no, null, neighbor);
    },
    addNeighbor(neighbor: Neighbor): void {
      neighbors.push(neighbor);
    },
    /** Descriptors to sleep on. */
    rxFds(): number[] {
      return rxQueues.flatMap((q) => [...q.port.rxFds(q.q)]);
    },
    rxQueues: (): readonly RxQueue[] => rxQueues,
    /** `tx-flush-interval`, microseconds. */
    setTxFlushInterval(us: number): void {
      txFlushUs = us;
    },
    /** Everything out, however young. */
    flush,
    /** Ends the time of the last round now: what follows is not its packets'. */
    settle(): void {
      const before = f64[clockAt];
      options.readClock(f64, clockAt);
      if (lastReceived !== 0) accountQueues(before);
      lastReceived = 0;
    },
    /** Packets that the busiest queue had in the last round. */
    longestBurst: (): number => longestBurst,
    /** `emc-insert-inv-prob`: one in so many is inserted; 0 turns the cache off. */
    setEmcInsertInverseProbability(inverse: number): void {
      emcInsertBelow = inverse <= 0 ? -1 : 0xffffffff / inverse;
    },
    close(): void {
      // Nobody stops any more what goes on now.
      teller = null;
      holder?.releaseAll();
      holder?.releaseAway();
      for (const q of activeTx.slice()) removePort(q.no);
    },
    /** `smc-enable`. */
    setSmc(isEnabled: boolean): void {
      if (isEnabled && !hasSmc) smc.clear();
      hasSmc = isEnabled;
    },
    setVlanLimit: extractor.setVlanLimit,
    extractor,
    emc,
    dpcls,
    pool,
    /** For the benchmark, stage by stage. */
    stages: { batch: first, receive: receiveBurst, classify, classifySignatures, classifyMegaflows, execute, flush },
  };
}
