/**
 * The fast path in memory on one core: a receiver that copies constant 60-byte UDP frames into fresh chunks, extraction,
 * caches, one output, a `null` port that frees. Prints packets a second and, stage by stage, nanoseconds a packet.
 *
 * `scripts/node26 bench/datapath.ts [--json] [--only=CASE]`; each figure is the best of several runs, for other work disturbs.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ringBytes } from '../src/base/record-ring.ts';
import { BURST } from '../src/datapath/batch.ts';
import { CMD } from '../src/datapath/commands.ts';
import { byteSwap32 } from '../src/datapath/extract.ts';
import { WANT, WATCH_FILTERS } from '../src/datapath/journey.ts';
import { PMD_STAT } from '../src/datapath/pmd-stats.ts';
import { TestBed } from '../src/datapath/testing.ts';
import type { CtAction, DpAction } from '../src/flow/dp-actions.ts';
import { FlowKey } from '../src/flow/key.ts';
import { OFS } from '../src/flow/layout.ts';
import type { NetdevPort } from '../src/netdev/netdev.ts';
import { nullKind } from '../src/netdev/null.ts';

const FRAME_BYTES = 60;
const HEADER = [
  0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
  0x10, 0, 0x20, 0, 0, 26, 0, 0,
];

interface Result {
  readonly name: string;
  readonly nsPerPacket: number;
  readonly mpps: number;
  readonly stages: Record<string, number>;
}

/** Receives `flows` different packets in turn for ever: 64 bytes copied by words into each fresh frame. */
export function generator(bed: TestBed, flows: number, prepare?: (frame: Uint8Array, i: number) => void): NetdevPort {
  const { arena, pool } = bed;
  const { u8, i32 } = arena;
  const n = Math.min(Math.max(flows, 1024), 200_000);
  const templates = arena.alloc(n * 64);
  for (let i = 0; i < n; i++) {
    const at = templates + i * 64 + 2;
    u8.set(HEADER, at);
    const x = i % flows;
    u8[at + 29] = x;
    u8[at + 28] = x >> 8;
    u8[at + 27] = x >> 16;
    u8[at + 34] = x >> 8;
    u8[at + 35] = x;
    prepare?.(u8.subarray(at, at + FRAME_BYTES), i);
  }
  const u64 = new BigUint64Array(u8.buffer);
  let position = 0;
  return {
    name: 'generator',
    nRxq: 1,
    statsAt: 0,
    rxFds: () => [],
    rx(_q, frames, max) {
      for (let i = 0; i < max; i++) {
        const frame = pool.take();
        if (frame < 0) return i;
        const from = (templates + position * 64) >> 3;
        const to = (frame + 256) >> 3;
        for (let w = 0; w < 8; w++) u64[to + w] = u64[from + w];
        i32[frame >> 2] = FRAME_BYTES;
        i32[(frame >> 2) + 1] = frame + 258;
        frames[i] = frame;
        if (++position === n) position = 0;
      }
      return max;
    },
    tx(frames, count) {
      for (let i = 0; i < count; i++) pool.put(frames[i]);
    },
    flush() {},
    close() {},
  };
}

/** `masks` masks that differ only in how much of the Ethernet source they want; every one is used. */
export function install(bed: TestBed, flows: number, masks: number): void {
  for (let x = 0; x < flows; x++) {
    const key = new FlowKey();
    const mask = new FlowKey();
    key.w[0] = byteSwap32(1);
    mask.w[0] = -1;
    key.set16(OFS.eth_type, 0x0800);
    mask.set16(OFS.eth_type, 0xffff);
    key.u8.set([10, (x >> 16) & 255, (x >> 8) & 255, x & 255], OFS.ip_src);
    mask.set32(OFS.ip_src, 0xffffffff);
    key.set8(OFS.ip_proto, 17);
    mask.set8(OFS.ip_proto, 0xff);
    mask.set8(OFS.ip_frag, 0xff);
    const m = x % masks;
    mask.set16(OFS.eth_src + 2, m * 4);
    bed.flow(key, mask, [{ kind: 'output', port: 2 }]);
  }
}

function time(rounds: number, fn: () => void): number {
  const before = process.hrtime.bigint();
  for (let i = 0; i < rounds; i++) fn();
  return Number(process.hrtime.bigint() - before) / rounds / BURST;
}

function best(tries: number, rounds: number, fn: () => void): number {
  let ns = Number.POSITIVE_INFINITY;
  for (let t = 0; t < tries; t++) ns = Math.min(ns, time(rounds, fn));
  return ns;
}

/** Somebody looks for packets that never come: TCP to 10.9.9.9 port 99. */
function watch(bed: TestBed): void {
  const key = new FlowKey();
  const mask = new FlowKey();
  key.set16(OFS.eth_type, 0x0800);
  mask.set16(OFS.eth_type, 0xffff);
  key.set32(OFS.ip_dst, 0x0a090909);
  mask.set32(OFS.ip_dst, 0xffffffff);
  key.set8(OFS.ip_proto, 6);
  mask.set8(OFS.ip_proto, 0xff);
  key.set16(OFS.tp_dst, 99);
  mask.set16(OFS.tp_dst, 0xffff);
  const filter = [];
  for (let w = 0; w < mask.w.length; w++) if (mask.w[w] !== 0) filter.push(w, key.w[w], mask.w[w]);
  const ringWords = 1 << 17;
  const ring = bed.arena.alloc(ringBytes(ringWords));
  const words = WATCH_FILTERS + 3 + filter.length;
  bed.command(CMD.WATCH, ring, ringWords, 1 << 24, 1, words, WANT.ALL, 1000, filter.length / 3, ...filter);
}

function measure(name: string, flows: number, masks: number, withEmc: boolean, isWatched = false): Result {
  const bed = new TestBed(256);
  const { pmd, arena, pool } = bed;
  const env = { arena, frames: { at: 0, bytes: 0 }, byName: new Map() };
  const out = nullKind.open('out', env);
  if ('error' in out) throw new Error(out.error);
  const sink = nullKind.openPort(out.portSpec(), { arena, pool, now: () => 0 });
  const source = generator(bed, flows);
  pmd.addPort(1, source);
  pmd.addPort(2, sink);
  install(bed, flows, masks);
  pmd.setEmcInsertInverseProbability(withEmc ? 1 : 0);
  if (isWatched) watch(bed);
  time(40_000, () => pmd.run());
  if (withEmc) pmd.setEmcInsertInverseProbability(100);
  time(40_000, () => pmd.run());
  // Short enough to fit between two interruptions, long enough to go through all flows once.
  const rounds = Math.max(1000, Math.ceil(flows / BURST));
  const whole = best(Math.ceil(300_000 / rounds), rounds, () => pmd.run());

  // The stages one by one, on one burst that stays where it is.
  const { batch, classify, classifyMegaflows, execute, flush } = pmd.stages;
  const inPort = byteSwap32(1);
  const n = source.rx(0, batch.frames, BURST);
  const all = Int32Array.from({ length: BURST }, (_, i) => i);
  const stageRounds = 1000;
  const stages: Record<string, number> = {};
  const scratch = new Int32Array(BURST);
  stages.rx = best(100, stageRounds, () => {
    source.rx(0, scratch, BURST);
    for (let i = 0; i < BURST; i++) pool.put(scratch[i]);
  });
  stages.extract = best(100, stageRounds, () => pmd.extractor.received(batch, n, inPort));
  if (withEmc) stages.emc = best(100, stageRounds, () => pmd.emc.lookup(batch, n));
  else
    stages.dpcls = best(100, stageRounds, () => {
      batch.missed.set(all);
      classifyMegaflows(batch, n);
    });
  classify(batch, n);
  stages.actions = best(100, stageRounds, () => {
    execute(batch, n, 0);
    // What was sent comes back at once, for the next round sends it again.
    flush();
    for (let i = 0; i < n; i++) pool.take();
  });
  stages.tx = best(100, stageRounds, () => {
    sink.tx(batch.frames, n);
    for (let i = 0; i < n; i++) pool.take();
  });
  stages.actions = Math.max(0, stages.actions - stages.tx);
  if (bed.stat(PMD_STAT.MISS) !== 0 || bed.stat(PMD_STAT.LOST) !== 0) throw new Error('packets missed');
  return { name, nsPerPacket: whole, mpps: 1000 / whole, stages };
}

/** Every other packet an answer to the one before; headers with their checksums, for connection tracking looks at them. */
function makeConversation(frame: Uint8Array, i: number, connections: number): void {
  const x = (i >> 1) % connections;
  frame.set([x >> 16, x >> 8, x], 27);
  frame.set([x >> 8, x | 1], 34);
  if (i & 1) {
    for (const [a, b, n] of [
      [26, 30, 4],
      [34, 36, 2],
    ]) {
      const first = frame.slice(a, a + n);
      frame.copyWithin(a, b, b + n);
      frame.set(first, b);
    }
  }
  let sum = 0;
  for (let h = 14; h < 34; h += 2) sum += (frame[h] << 8) | frame[h + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame[24] = ~sum >> 8;
  frame[25] = ~sum;
}

/** Established UDP connections through `ct`, recirculated or not, and one output. */
function measureConntrack(name: string, connections: number, isRecirculated: boolean): Result {
  const bed = new TestBed(512);
  const { pmd, arena, pool } = bed;
  const env = { arena, frames: { at: 0, bytes: 0 }, byName: new Map() };
  const out = nullKind.open('out', env);
  if ('error' in out) throw new Error(out.error);
  pmd.addPort(
    1,
    generator(bed, 2 * connections, (frame, i) => makeConversation(frame, i, connections)),
  );
  pmd.addPort(2, nullKind.openPort(out.portSpec(), { arena, pool, now: () => 0 }));
  const key = new FlowKey();
  const mask = new FlowKey();
  key.w[0] = byteSwap32(1);
  mask.w[0] = -1;
  mask.w[1] = -1;
  const ct: CtAction = {
    commit: true,
    force: false,
    zone: 1,
    mark: null,
    label: null,
    helper: null,
    timeout: null,
    nat: null,
  };
  const rest: DpAction = isRecirculated ? { kind: 'recirc', id: 1 } : { kind: 'output', port: 2 };
  bed.flow(key, mask, [{ kind: 'ct', ct }, rest]);
  key.set32(OFS.recirc_id, 1);
  for (const state of [0x21, 0x22, 0x2a]) {
    key.set32(OFS.ct_state, state);
    mask.set32(OFS.ct_state, 0xff);
    bed.flow(key.clone(), mask.clone(), [{ kind: 'output', port: 2 }]);
  }
  pmd.setEmcInsertInverseProbability(connections > 4000 ? 0 : 1);
  for (let i = 0; i < 40_000; i++) {
    pmd.run();
    bed.conntrack.supply();
  }
  const rounds = Math.max(1000, Math.ceil((2 * connections) / BURST));
  const whole = best(Math.ceil(200_000 / rounds), rounds, () => pmd.run());
  if (bed.conntrack.count !== connections) throw new Error(`${bed.conntrack.count} connections`);
  if (bed.stat(PMD_STAT.MISS) !== 0) throw new Error('packets missed');
  return { name, nsPerPacket: whole, mpps: 1000 / whole, stages: {} };
}

const CONNTRACK: readonly (readonly [string, number, boolean])[] = [
  ['ct, 1 connection', 1, false],
  ['ct, 1000 connections', 1000, false],
  ['ct, 100000 connections', 100_000, false],
  ['ct and recirculation, 1', 1, true],
  ['ct and recirculation, 1000', 1000, true],
  ['ct and recirculation, 100000', 100_000, true],
];

const CASES: readonly (readonly [string, number, number, boolean, boolean?])[] = [
  ['EMC, 1 flow', 1, 1, true],
  ['EMC, 1000 flows', 1000, 1, true],
  ['EMC, 1000 flows, a journey filter', 1000, 1, true, true],
  ['EMC, 100000 flows (thrashing)', 100_000, 1, true],
  ['megaflows, 1 mask, 1000 flows', 1000, 1, false],
  ['megaflows, 10 masks, 1000 flows', 1000, 10, false],
  ['megaflows, 100 masks, 1000 flows', 1000, 100, false],
  ['megaflows, 1 mask, 100000 flows', 100_000, 1, false],
  ['megaflows, 10 masks, 100000 flows', 100_000, 10, false],
  ['megaflows, 100 masks, 100000 flows', 100_000, 100, false],
];

/**
 * Each case in a process of its own, as a PMD has its thread: code that serves one memory is compiled with its addresses as
 * constants.
 */
export function benchDatapath(): Result[] {
  return [...CASES, ...CONNTRACK].map(([name]) => {
    const run = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--json', `--only=${name}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return (JSON.parse(run.stdout.toString()) as Result[])[0];
  });
}

function print(r: Result): void {
  const stages = Object.entries(r.stages).map(([k, v]) => `${k} ${v.toFixed(1)}`);
  const speed = `${r.mpps.toFixed(2).padStart(6)} Mpps ${r.nsPerPacket.toFixed(1).padStart(6)} ns`;
  console.log(`${r.name.padEnd(34)} ${speed}   ${stages.join('  ')}`);
}

if (import.meta.main) {
  const only = process.argv.find((a) => a.startsWith('--only='))?.slice(7);
  const chosen = CASES.find(([name]) => name === only);
  const tracked = CONNTRACK.find(([name]) => name === only);
  const results = chosen ? [measure(...chosen)] : tracked ? [measureConntrack(...tracked)] : benchDatapath();
  if (process.argv.includes('--json')) console.log(JSON.stringify(results, null, 2));
  else results.forEach(print);
}
