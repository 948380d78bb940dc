/**
 * Packets that wait at a breakpoint. A stage before which a packet is to stop does not stop the PMD: the packet, with all
 * that is left to do with it, is copied out of the loop into a *hold*, its frame is free again, and the PMD goes on. A hold is
 * a list of parts, innermost first: what interrupted a nested list of actions also interrupts the lists around it, so that
 * going on later happens in the order in which it would have happened.
 *
 * Packets of the same flow must not overtake one that waits. While a flow's packet waits, or is on its way through the slow
 * path with a stop still before it, those behind it queue up (`Block`); beyond `MAX_BEHIND` they are dropped, as by any full
 * queue, and counted. A flow is what has the same port, Ethernet, IP and transport addresses and protocol. All other packets
 * are untouched.
 *
 * Nothing of this runs while no breakpoint is set. What waits is made of ordinary objects: breakpoints are for people.
 */
import type { ArenaViews } from '../base/arena.ts';
import { DP_WORDS } from '../flow/layout.ts';
import { FRAME_DATA, FRAME_GSO, FRAME_HEADROOM, FRAME_LEN, type FramePool, LARGE_FRAME_MAX } from '../packet/frame.ts';
import type { ActionRunner, ActionTeller } from './actions.ts';
import { OP } from './actions-code.ts';
import { type PacketBatch, SLOT_WORDS } from './batch.ts';
import { DROP } from './drop-reason.ts';
import type { Extractor } from './extract.ts';
import { RECORD_KIND, type Teller } from './journey.ts';
import { PMD_STAT } from './pmd-stats.ts';
import type { Alloc } from './scratch.ts';
import { clearShape, copyShape, SHAPE, SHAPE_METADATA, shapeOf } from './shape.ts';

/** Stages of a packet's way, in order; a packet stops before the stage. `STEP`: before whichever comes next. */
export const STOP = {
  RX: 1,
  EXTRACT: 2,
  EMC: 4,
  SMC: 8,
  DPCLS: 16,
  UPCALL: 32,
  XLATE: 64,
  ACTION: 128,
  CT: 256,
  TX: 512,
  DROP: 1024,
  STEP: 1 << 15,
} as const;

/** What `CMD.BREAK` asks: a hold goes on or is dropped; a journey's upcall has been answered. */
export const BREAK = { GO: 0, DROP: 1, ANSWERED: 2 } as const;
/** kind, hold or journey, verb, stops, bytes of the packet or -1 when it is as it was; key; packet */
export const BREAK_KEY = 5;
export const BREAK_PACKET = BREAK_KEY + DP_WORDS;

/** Holds at a time, and packets behind one. */
export const MAX_HOLDS = 64;
export const MAX_BEHIND = 256;
/** Longer lists of actions do not stop. */
const MAX_CODE = 4096;
export const HOLD_BYTES = MAX_CODE * 4;
/** Answers of the slow path that do not come in this time are not waited for. */
const AWAY_MS = 120_000;

/** A flow whose packets queue up. */
interface Block {
  readonly name: string;
  /** Holds and upcalls that it waits for. */
  waits: number;
  readonly behind: Waiting[];
}

interface Waiting {
  readonly port: number;
  readonly queue: number;
  readonly packet: Uint8Array;
  readonly gso: number;
}

/** What is left to do with one packet, or a copy of it. */
interface Part {
  /** Bit of `STOP`: where to go on. From `ACTION` on there is code. */
  readonly stage: number;
  readonly level: number;
  readonly depth: number;
  readonly hash: number;
  readonly reason: number;
  readonly cut: number;
  readonly code: Int32Array | null;
  /** How the packet is to be cut on its way out: `FRAME_GSO`. */
  readonly gso: number;
  packet: Uint8Array;
  key: Int32Array;
}

interface Hold {
  readonly journey: number;
  readonly block: Block | null;
  readonly parts: Part[];
}

export interface HolderHost {
  readonly arena: ArenaViews;
  readonly alloc: Alloc;
  readonly pool: FramePool;
  readonly extractor: Extractor;
  readonly statsAt: number;
  runner(): ActionRunner;
  teller(): Teller | null;
  /** The packet in place 0 was received: finds its filters and takes it on its way. */
  arrived(b: PacketBatch, port: number, queue: number): void;
  /** Told, from `stage` on. */
  lookup(t: Teller, b: PacketBatch, level: number, stage: number): void;
  /** Untold. */
  process(b: PacketBatch, n: number, level: number): void;
  begin(t: Teller): void;
  end(t: Teller): void;
  drop(frame: number, reason: number): void;
  countDrop(reason: number): void;
}

export type Holder = ReturnType<typeof makeHolder>;

const HASH_WORDS = [0, 2, 3, 4, 5, 8, 9, 10];

export function makeHolder(host: HolderHost) {
  const { arena, pool, extractor, statsAt } = host;
  const { i32, u8, f64 } = arena;
  const codeAt = host.alloc(HOLD_BYTES) >> 2;
  const identity = Int32Array.of(0);
  const blocks = new Map<string, Block>();
  const holds = new Map<number, Hold>();
  /** Journeys on their way through the slow path: what they block, how often, since when. */
  const away = new Map<number, { readonly block: Block; n: number; sinceMs: number }>();
  let nextHold = 1;
  /** Of the packet that is being told: stages before which it stops, and its flow once that is known. */
  let stop = 0;
  let block: Block | null = null;
  let name = '';
  /** It goes on: the stage at which it stopped is not stopped at again. */
  let skips = false;
  let parked: Hold | null = null;
  let lastSlot = 0;
  /** Packets that wait behind others, of all blocks. */
  let behind = 0;

  function flowName(slot: number, shape: number): string {
    let text = `${i32[slot + 6] & 0xffff}.${i32[slot + 7] & 0xff}`;
    for (let w = 0; w < HASH_WORDS.length; w++) text += `.${i32[slot + HASH_WORDS[w]]}`;
    if (shape & SHAPE.IPV6) for (let w = 22; w < 30; w++) text += `.${i32[slot + w]}`;
    return text;
  }

  const copyOf = (frame: number): Uint8Array => {
    const p = i32[(frame >> 2) + FRAME_DATA];
    return u8.slice(p, p + i32[(frame >> 2) + FRAME_LEN]);
  };

  const gsoOf = (frame: number): number => (pool.isLarge(frame) ? i32[(frame >> 2) + FRAME_GSO] : 0);

  // ---- a packet that is being told ----

  /** It may stop before the stages in `stops`. `slot` is where its key is when it was received, -1 for one that goes on. */
  function follow(journey: number, stops: number, slot: number, shape: number): void {
    stop = stops;
    skips = false;
    parked = null;
    block = null;
    name = '';
    if (stops === 0) return;
    if (slot >= 0) name = flowName(slot, shape);
    else block = away.get(journey)?.block ?? null;
  }

  function stopsAt(stages: number): boolean {
    if (stop === 0) return false;
    if (skips) {
      skips = false;
      return false;
    }
    if ((stop & (stages | STOP.STEP)) === 0) return false;
    if (holds.size >= MAX_HOLDS) {
      f64[statsAt + PMD_STAT.BREAKS_PASSED]++;
      return false;
    }
    return true;
  }

  function part(frame: number, slot: number, stage: number, level: number, hash: number): Part {
    return {
      stage,
      level,
      hash,
      depth: host.runner().depth(),
      reason: -1,
      cut: 0,
      code: null,
      gso: gsoOf(frame),
      packet: copyOf(frame),
      key: i32.slice(slot, slot + DP_WORDS),
    };
  }

  /** Takes the packet out of the loop; its frame is free. False when it cannot wait: nothing has happened then. */
  function park(t: Teller, frame: number, slot: number, p: Part, pc: number, end: number): boolean {
    if (parked === null) {
      const id = nextHold;
      if (!t.held(id, p.stage, p.reason, frame, slot, pc, end)) return false;
      nextHold = nextHold === 0x7fffffff ? 1 : nextHold + 1;
      parked = { journey: t.id, block: waitFor(), parts: [] };
      holds.set(id, parked);
    }
    parked.parts.push(p);
    pool.put(frame);
    return true;
  }

  /** The packet's flow, which has one more reason to wait. */
  function waitFor(): Block | null {
    if (block === null && name !== '') {
      block = blocks.get(name) ?? null;
      if (block === null) {
        block = { name, waits: 0, behind: [] };
        blocks.set(name, block);
      }
    }
    if (block !== null) block.waits++;
    return block;
  }

  /** Before a stage of the lookup, of packet 0. True: it waits. */
  function stopsLookup(t: Teller, b: PacketBatch, stage: number, level: number): boolean {
    lastSlot = b.slots;
    if (!stopsAt(stage)) return false;
    return park(t, b.frames[0], b.slots, part(b.frames[0], b.slots, stage, level, b.hash[0]), 0, 0);
  }

  const listener: ActionTeller = {
    step(b, i, pc, end, level, cut) {
      const t = host.teller();
      if (t === null) return true;
      const frame = b.frames[i];
      const slot = b.slots + i * SLOT_WORDS;
      lastSlot = slot;
      if (parked !== null || (end - pc <= MAX_CODE && stopsAt(stagesOf(i32[pc] & 0xff)))) {
        const stage = stageOf(i32[pc] & 0xff);
        const p = { ...part(frame, slot, stage, level, b.hash[i]), cut, code: i32.slice(pc, end) };
        if (park(t, frame, slot, p, pc, end)) return false;
      }
      return t.step(b, i, pc, end, level, cut);
    },
  };

  /** True: the packet waits before it is dropped. */
  function stopsDrop(t: Teller, frame: number, reason: number): boolean {
    if (!stopsAt(STOP.DROP)) return false;
    return park(t, frame, lastSlot, { ...part(frame, lastSlot, STOP.DROP, 0, 0), reason }, 0, 0);
  }

  /** The packet goes up to the slow path. */
  function goesUp(t: Teller): void {
    if (stop === 0) return;
    const on = waitFor();
    if (on === null) return;
    const known = away.get(t.id);
    if (known) known.n++;
    else away.set(t.id, { block: on, n: 1, sinceMs: f64[statsAt + PMD_STAT.NOW_MS] });
  }

  // ---- packets behind ----

  function blockOf(slot: number, shape: number): Block | null {
    return blocks.size === 0 ? null : (blocks.get(flowName(slot, shape)) ?? null);
  }

  /** Packet `i` of `b` waits behind those of its flow. Its frame is free. */
  function queue(on: Block, b: PacketBatch, i: number, port: number, no: number): void {
    if (on.behind.length >= MAX_BEHIND) {
      f64[statsAt + PMD_STAT.BREAK_OVERFLOWS]++;
      host.drop(b.frames[i], DROP.BREAK_QUEUE);
      return;
    }
    on.behind.push({ port, queue: no, packet: copyOf(b.frames[i]), gso: gsoOf(b.frames[i]) });
    f64[statsAt + PMD_STAT.BREAK_BEHIND] = ++behind;
    pool.put(b.frames[i]);
  }

  /** One reason less to wait. What queued goes its way, until something of it waits. */
  function release(on: Block | null): void {
    if (on === null || --on.waits > 0) return;
    while (on.waits === 0) {
      const next = on.behind.shift();
      if (next === undefined) {
        blocks.delete(on.name);
        return;
      }
      f64[statsAt + PMD_STAT.BREAK_BEHIND] = --behind;
      const key = new Int32Array(DP_WORDS);
      key[0] = swap(next.port);
      const b = load(next.packet, next.gso, key, 0);
      if (b !== null) host.arrived(b, next.port, next.queue);
    }
  }

  const swap = (x: number): number => (x >>> 24) | ((x >>> 8) & 0xff00) | ((x << 8) & 0xff0000) | (x << 24) | 0;

  /** A packet with the metadata of `key`, in place 0 of the level's batch; null, and dropped, without a frame. */
  function load(packet: Uint8Array, gso: number, key: Int32Array, level: number): PacketBatch | null {
    const frame = gso === 0 ? pool.takeFor(packet.length) : pool.takeLarge();
    if (frame < 0) {
      host.countDrop(packet.length <= LARGE_FRAME_MAX ? DROP.NO_MEMORY : DROP.TOO_LONG);
      return null;
    }
    if (gso !== 0) i32[(frame >> 2) + FRAME_GSO] = gso;
    const p = frame + FRAME_HEADROOM;
    i32[(frame >> 2) + FRAME_LEN] = packet.length;
    i32[(frame >> 2) + FRAME_DATA] = p;
    u8.set(packet, p);
    const b = host.runner().batch(level);
    const k = b.slots;
    const shape = shapeOf(key, 0) & SHAPE_METADATA;
    clearShape(i32, k, b.shape[0]);
    i32[k] = key[0];
    // `copyShape` copies within one memory.
    i32.set(key, codeAt);
    copyShape(i32, codeAt, k, shape);
    b.shape[0] = shape;
    b.frames[0] = frame;
    b.list[0] = 0;
    b.n = 1;
    extractor.again(b, 0);
    return b;
  }

  // ---- what is asked of packets that wait ----

  /** `CMD.BREAK`, whose payload is at word `at`. */
  function command(at: number): void {
    const id = i32[at + 1];
    if (i32[at + 2] === BREAK.ANSWERED) {
      answered(id);
      return;
    }
    const hold = holds.get(id);
    if (hold === undefined) return;
    const bytes = i32[at + 4];
    if (bytes >= 0) {
      const p = hold.parts[0];
      p.packet = u8.slice((at + BREAK_PACKET) * 4, (at + BREAK_PACKET) * 4 + bytes);
      p.key = i32.slice(at + BREAK_KEY, at + BREAK_KEY + DP_WORDS);
      hold.parts[0] = { ...p, hash: 0 };
    }
    resume(id, hold, i32[at + 2], i32[at + 3]);
  }

  function answered(journey: number): void {
    const known = away.get(journey);
    if (known === undefined) return;
    if (--known.n === 0) away.delete(journey);
    release(known.block);
  }

  function resume(id: number, hold: Hold, verb: number, stops: number): void {
    holds.delete(id);
    const t = host.teller();
    const { parts } = hold;
    let isFirst = true;
    for (let p = parts.shift(); p !== undefined; p = parts.shift()) {
      const b = load(p.packet, p.gso, p.key, p.level);
      if (b === null) continue;
      if (p.hash !== 0) b.hash[0] = p.hash;
      if (isFirst && t !== null) {
        follow(hold.journey, stops, -1, 0);
        block = hold.block;
        skips = true;
        t.executed(RECORD_KIND.RESUMED, b, 0, hold.journey);
        host.begin(t);
      }
      isFirst = false;
      if (verb === BREAK.DROP) {
        stop = 0;
        if (parts.length > 0) pool.put(b.frames[0]);
        else host.drop(b.frames[0], DROP.BREAK);
      } else goOn(t, b, p);
      skips = false;
      const again = parked as Hold | null;
      if (again === null) continue;
      again.parts.push(...parts);
      break;
    }
    host.runner().setDepth(0);
    if (t !== null && !isFirst) host.end(t);
    release(hold.block);
  }

  function goOn(t: Teller | null, b: PacketBatch, p: Part): void {
    const runner = host.runner();
    runner.setDepth(p.depth);
    if (p.stage === STOP.DROP) host.drop(b.frames[0], p.reason);
    else if (p.code !== null) {
      i32.set(p.code, codeAt);
      t?.actions(codeAt, codeAt + p.code.length, p.level, true);
      runner.exec(b, identity, 1, codeAt, codeAt + p.code.length, p.level, p.cut);
    } else if (t !== null) host.lookup(t, b, p.level, p.stage);
    else host.process(b, 1, p.level);
  }

  return {
    listener,
    follow,
    stopsLookup,
    stopsDrop,
    goesUp,
    blockOf,
    queue,
    command,
    /** Stages before which the packet that is being told is still to stop. */
    stops: (): number => stop,
    /** Does nothing wait, and nothing behind it? */
    isIdle: (): boolean => blocks.size === 0 && holds.size === 0,
    /** Once in a while: what waits for an answer that does not come goes on. */
    expire(nowMs: number): void {
      for (const [journey, a] of away) {
        if (nowMs - a.sinceMs < AWAY_MS) continue;
        away.delete(journey);
        for (; a.n > 0; a.n--) release(a.block);
      }
    },
    /** Nobody looks any more, or the PMD ends: all go on without stopping. */
    releaseAll(): void {
      for (const [id, hold] of [...holds]) resume(id, hold, BREAK.GO, 0);
    },
    /** The PMD ends: nor is anything waited for that the slow path has. */
    releaseAway(): void {
      for (const [journey, a] of away) {
        away.delete(journey);
        for (; a.n > 0; a.n--) release(a.block);
      }
    },
  };
}

function stageOf(op: number): number {
  if (op === OP.CT) return STOP.CT;
  if (op === OP.OUTPUT) return STOP.TX;
  return op === OP.USERSPACE ? STOP.UPCALL : STOP.ACTION;
}

const stagesOf = (op: number): number => stageOf(op) | STOP.ACTION;
