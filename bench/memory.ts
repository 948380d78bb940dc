/**
 * The fast path in memory: a receiver that copies constant 60-byte UDP frames into fresh chunks, the whole PMD, a `null` port that
 * frees. What is sent through which flows is told by a `Scene`, which the peer is given too.
 */
import { ringBytes } from '../src/base/record-ring.ts';
import { BURST } from '../src/datapath/batch.ts';
import { CMD } from '../src/datapath/commands.ts';
import { byteSwap32 } from '../src/datapath/extract.ts';
import { WANT, WATCH_FILTERS } from '../src/datapath/journey.ts';
import { TestBed } from '../src/datapath/testing.ts';
import type { CtAction, DpAction } from '../src/flow/dp-actions.ts';
import { FlowKey } from '../src/flow/key.ts';
import { OFS } from '../src/flow/layout.ts';
import { adviseHugePages } from '../src/linux/huge-pages.ts';
import type { NetdevPort } from '../src/netdev/netdev.ts';
import { nullKind } from '../src/netdev/null.ts';

export const FRAME_BYTES = 60;
const HEADER = [
  0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
  0x10, 0, 0x20, 0, 0, 26, 0, 0,
];

/** Which cache answers; the others are off. */
export type Cache = 'simple' | 'emc' | 'smc' | 'megaflow';

export type Scene =
  /** `flows` addresses; with more than one mask, flow x looks at some of the source MAC, by x modulo `masks`. */
  | {
      readonly kind: 'flows';
      readonly cache: Cache;
      readonly flows: number;
      readonly masks: number;
      readonly isWatched?: true;
    }
  /** Rules on address and ports, and a packet for each way of differing from them; or their victim's packets among those flows. */
  | { readonly kind: 'attack'; readonly victim: boolean }
  /** Established UDP connections through `ct`, and again after recirculation. */
  | { readonly kind: 'conntrack'; readonly connections: number; readonly isRecirculated: boolean };

/** The rules of an attack; the lengths in bits of what a packet may differ in. */
export const ATTACK = { address: 0x0a000001, source: 0x1234, destination: 80, lengths: [32, 16, 16] } as const;
export const ATTACK_FLOWS = ATTACK.lengths.reduce((n, l) => n * l, 1);

/** Receives `flows` different packets in turn for ever: 64 bytes copied by words into each fresh frame. */
export function generator(bed: TestBed, flows: number, prepare?: (frame: Uint8Array, i: number) => void): NetdevPort {
  const { arena, pool } = bed;
  const { u8, i32 } = arena;
  const n = Math.min(Math.max(flows, 1024), 200_000);
  const templates = arena.alloc(n * 64);
  for (let i = 0; i < n; i++) {
    const at = templates + i * 64 + 2;
    writeFrame(u8.subarray(at, at + FRAME_BYTES), i % flows);
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

/** The packet of flow `x`. */
function writeFrame(frame: Uint8Array, x: number): void {
  frame.set(HEADER);
  frame.set([x >> 16, x >> 8, x], 27);
  frame.set([x >> 8, x], 34);
}

/** The packets of a scene, once each. */
export function framesOf(scene: Scene): Uint8Array[] {
  const n = scene.kind === 'flows' ? Math.max(scene.flows, 32) : 1024;
  if (scene.kind === 'attack' && !scene.victim) return Array.from({ length: ATTACK_FLOWS }, (_, i) => attackFrame(i));
  return Array.from({ length: n }, (_, i) => {
    if (scene.kind === 'attack') return attackFrame(-1);
    const frame = new Uint8Array(FRAME_BYTES);
    writeFrame(frame, scene.kind === 'flows' ? i % scene.flows : i);
    return frame;
  });
}

/** In an order that no hash likes better than another. */
const scattered = (x: number): number => (x * 5003) % ATTACK_FLOWS;
/** How flow `x` of an attack differs: the place of its first differing bit in address, source and destination port. */
function difference(x: number): readonly [number, number, number] {
  const [a, s] = ATTACK.lengths;
  return [x % a, Math.floor(x / a) % s, Math.floor(x / (a * s))];
}

/** Packet `i` of an attack; -1 is the victim's, of which all that the rules ask is true. */
function attackFrame(i: number): Uint8Array {
  const frame = Uint8Array.from({ length: FRAME_BYTES }, (_, j) => HEADER[j] ?? 0);
  const view = new DataView(frame.buffer);
  const [a, s, d] = i < 0 ? [-1, -1, -1] : difference(scattered(i));
  view.setUint32(26, a < 0 ? ATTACK.address : ATTACK.address ^ (1 << (31 - a)));
  view.setUint16(34, s < 0 ? ATTACK.source : ATTACK.source ^ (1 << (15 - s)));
  view.setUint16(36, d < 0 ? ATTACK.destination : ATTACK.destination ^ (1 << (15 - d)));
  return frame;
}

function udpFlow(): { key: FlowKey; mask: FlowKey } {
  const key = new FlowKey();
  const mask = new FlowKey();
  key.w[0] = byteSwap32(1);
  mask.w[0] = -1;
  mask.w[1] = -1;
  key.set16(OFS.eth_type, 0x0800);
  mask.set16(OFS.eth_type, 0xffff);
  key.set8(OFS.ip_proto, 17);
  mask.set8(OFS.ip_proto, 0xff);
  mask.set8(OFS.ip_frag, 0xff);
  return { key, mask };
}

const OUTPUT: readonly DpAction[] = [{ kind: 'output', port: 2 }];

/** `masks` masks that differ only in how much of the Ethernet source they want; every one is used. */
export function install(bed: TestBed, flows: number, masks: number): void {
  for (let x = 0; x < flows; x++) {
    const { key, mask } = udpFlow();
    key.u8.set([10, (x >> 16) & 255, (x >> 8) & 255, x & 255], OFS.ip_src);
    mask.set32(OFS.ip_src, 0xffffffff);
    mask.set16(OFS.eth_src + 2, (x % masks) * 4);
    bed.flow(key, mask, OUTPUT);
  }
}

function installSimple(bed: TestBed): void {
  const { key, mask } = udpFlow();
  key.set8(OFS.ip_proto, 0);
  mask.set8(OFS.ip_proto, 0);
  bed.flow(key, mask, OUTPUT);
}

function installAttack(bed: TestBed): void {
  const { address, source, destination, lengths } = ATTACK;
  for (let i = 0; i < ATTACK_FLOWS; i++) {
    const { key, mask } = udpFlow();
    const [a, s, d] = difference(scattered(i));
    key.set32(OFS.ip_src, (address ^ (1 << (31 - a))) >>> 0);
    mask.set32(OFS.ip_src, (-1 << (lengths[0] - 1 - a)) >>> 0);
    key.set16(OFS.tp_src, source ^ (1 << (15 - s)));
    mask.set16(OFS.tp_src, (-1 << (lengths[1] - 1 - s)) & 0xffff);
    key.set16(OFS.tp_dst, destination ^ (1 << (15 - d)));
    mask.set16(OFS.tp_dst, (-1 << (lengths[2] - 1 - d)) & 0xffff);
    bed.flow(key, mask, OUTPUT);
  }
  const { key, mask } = udpFlow();
  key.set32(OFS.ip_src, address);
  mask.set32(OFS.ip_src, 0xffffffff);
  bed.flow(key, mask, OUTPUT);
}

/** A filter, its words counted in front, for packets that never come: TCP to 10.9.9.9 port 99. */
export function noSuchPacket(): number[] {
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
  const words: number[] = [];
  for (let w = 0; w < mask.w.length; w++) if (mask.w[w] !== 0) words.push(w, key.w[w], mask.w[w]);
  return [words.length / 3, ...words];
}

/** Somebody looks for packets that never come. */
function watch(bed: TestBed): void {
  const filter = noSuchPacket();
  const ringWords = 1 << 17;
  const ring = bed.arena.alloc(ringBytes(ringWords));
  const words = WATCH_FILTERS + 2 + filter.length;
  bed.command(CMD.WATCH, ring, ringWords, 1 << 24, 1, words, WANT.ALL, 1000, ...filter);
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

function installConntrack(bed: TestBed, isRecirculated: boolean): void {
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
    bed.flow(key.clone(), mask.clone(), OUTPUT);
  }
}

export interface World {
  readonly bed: TestBed;
  readonly source: NetdevPort;
  readonly sink: NetdevPort;
  /** One round of the PMD, and what the main thread owes it. */
  readonly run: () => void;
  /** Packets that go through all flows once. */
  readonly packets: number;
  /** Throws when the scene was not what it says. */
  readonly check: () => void;
}

function sinkOf(bed: TestBed): NetdevPort {
  const { arena, pool } = bed;
  const out = nullKind.open('out', { arena, frames: { at: 0, bytes: 0 }, byName: new Map() });
  if ('error' in out) throw new Error(out.error);
  return nullKind.openPort(out.portSpec(), { arena, pool, now: () => 0 });
}

/** The scene with warm caches. */
export function makeWorld(scene: Scene): World {
  const bed = new TestBed(512);
  // As the switch does.
  adviseHugePages(bed.arena.u8);
  const { pmd } = bed;
  const sink = sinkOf(bed);
  const { source, packets } = sourceOf(bed, scene);
  pmd.addPort(1, source);
  pmd.addPort(2, sink);
  const run =
    scene.kind === 'conntrack'
      ? () => {
          pmd.run();
          bed.conntrack.supply();
        }
      : () => void pmd.run();
  if (scene.kind === 'conntrack') {
    installConntrack(bed, scene.isRecirculated);
    pmd.setEmcInsertInverseProbability(scene.connections > 4000 ? 0 : 1);
  } else if (scene.kind === 'attack') {
    installAttack(bed);
    pmd.setEmcInsertInverseProbability(0);
  } else {
    if (scene.cache === 'simple') installSimple(bed);
    else install(bed, scene.flows, scene.masks);
    pmd.setEmcInsertInverseProbability(scene.cache === 'emc' ? 1 : 0);
    pmd.setSmc(scene.cache === 'smc');
    if (scene.isWatched) watch(bed);
  }
  const warm = Math.max(40_000, Math.ceil(packets / BURST) * 3);
  for (let i = 0; i < warm; i++) run();
  if (scene.kind === 'flows' && scene.cache === 'emc') pmd.setEmcInsertInverseProbability(100);
  bed.nowMs += 2000;
  for (let i = 0; i < warm; i++) run();
  const check = (): void => {
    if (scene.kind === 'conntrack' && bed.conntrack.count !== scene.connections)
      throw new Error(`${bed.conntrack.count} connections`);
  };
  return { bed, source, sink, run, packets, check };
}

function sourceOf(bed: TestBed, scene: Scene): { source: NetdevPort; packets: number } {
  if (scene.kind === 'flows') return { source: generator(bed, scene.flows), packets: Math.max(1024, scene.flows) };
  if (scene.kind === 'conntrack') {
    const { connections } = scene;
    const source = generator(bed, 2 * connections, (frame, i) => makeConversation(frame, i, connections));
    return { source, packets: 2 * connections };
  }
  const frames = framesOf(scene);
  return {
    source: generator(bed, frames.length, (frame, i) => frame.set(frames[i % frames.length])),
    packets: frames.length,
  };
}
