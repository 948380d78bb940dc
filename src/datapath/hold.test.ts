/** Packets that wait at a breakpoint: nothing is lost, other flows are untouched, and a flow keeps its order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import type { DpAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { CMD } from './commands.ts';
import { DROP } from './drop-reason.ts';
import { byteSwap32 } from './extract.ts';
import { BREAK, BREAK_PACKET, MAX_BEHIND, MAX_HOLDS, STOP } from './hold.ts';
import { WANT, WANT_STOPS_SHIFT, WATCH_FILTERS } from './journey.ts';
import { type HoldRecord, type JourneyRecord, readRecord } from './journey-record.ts';
import { PMD_STAT } from './pmd-stats.ts';
import { TestBed, TestPort } from './testing.ts';

const RING_WORDS = 1 << 17;

function packet(flow: number, serial: number): Uint8Array {
  const p = new Uint8Array(60);
  p.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
  p.set([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, flow], 14);
  p.set([0, 1, 0, 2, 0, 26, 0, 0, serial >> 8, serial & 0xff], 34);
  return p;
}

const flowOf = (p: Uint8Array): number => p[33];
const serialOf = (p: Uint8Array): number => (p[42] << 8) | p[43];

class Bed {
  readonly bed = new TestBed();
  readonly p1 = new TestPort('p1', this.bed);
  readonly p2 = new TestPort('p2', this.bed);
  readonly told: JourneyRecord[] = [];
  /** Those that wait now. */
  readonly waiting = new Map<number, HoldRecord>();
  private readonly ringAt: number;
  private readonly ring: RecordRing;

  constructor() {
    const { bed } = this;
    bed.pmd.addPort(1, this.p1);
    bed.pmd.addPort(2, this.p2);
    this.ringAt = bed.arena.alloc(ringBytes(RING_WORDS));
    this.ring = new RecordRing(bed.arena, this.ringAt, RING_WORDS, 'consumer');
  }

  flow(dst: number, actions: readonly DpAction[], recirc = 0): void {
    const key = new FlowKey();
    const mask = new FlowKey();
    key.w[0] = byteSwap32(1);
    mask.w[0] = -1;
    key.set32(OFS.recirc_id, recirc);
    mask.w[1] = -1;
    key.set32(OFS.ip_dst, 0x0a000000 + dst);
    mask.set32(OFS.ip_dst, 0xffffffff);
    this.bed.flow(key, mask, actions);
  }

  /** Packets to these addresses stop before `stops`; none: nobody looks any more. */
  break(stops: number, destinations: readonly number[]): void {
    const word = OFS.ip_dst >> 2;
    const key = new FlowKey();
    const filters = destinations.flatMap((dst) => {
      key.set32(OFS.ip_dst, 0x0a000000 + dst);
      return [WANT.ALL | (stops << WANT_STOPS_SHIFT), 1000, 1, word, key.w[word], -1];
    });
    this.bed.command(CMD.WATCH, this.ringAt, RING_WORDS, 1 << 24, 1, WATCH_FILTERS + filters.length, ...filters);
    this.drain();
    if (destinations.length === 0) this.waiting.clear();
  }

  run(packets: readonly Uint8Array[]): void {
    this.p1.input.push(...packets);
    do {
      this.bed.pmd.run();
      this.drain();
    } while (this.p1.input.length > 0);
  }

  go(hold: number, stops: number, verb: number = BREAK.GO): void {
    this.waiting.delete(hold);
    this.bed.command(CMD.BREAK, hold, verb, stops, -1, ...new Array(BREAK_PACKET - 5).fill(0));
    this.bed.pmd.run();
    this.drain();
  }

  private drain(): void {
    for (let at = this.ring.peek(); at >= 0; at = this.ring.peek()) {
      const record = readRecord(this.bed.arena.i32, at, () => undefined);
      this.ring.release();
      this.told.push(record);
      for (const e of record.events) if (e.type === 'held') this.waiting.set(e.hold.id, e.hold);
    }
  }

  get stages(): number[] {
    return [...this.waiting.values()].map((h) => h.stage);
  }

  sent(flow: number): number[] {
    return this.p2.output.filter((p) => flowOf(p) === flow).map(serialOf);
  }
}

const output: DpAction = { kind: 'output', port: 2 };
const vlan: DpAction = { kind: 'push_vlan', tpid: 0x8100, tci: 0x1009 };
const ALL = STOP.ACTION | STOP.TX | STOP.EMC | STOP.DPCLS | STOP.RX | STOP.EXTRACT | STOP.UPCALL | STOP.DROP;

test('a packet stops at each stage of its way, through recirculation and clones, and comes out as if it had not', () => {
  const build = (): Bed => {
    const bed = new Bed();
    bed.flow(1, [
      { kind: 'clone', actions: [vlan, output] },
      { kind: 'trunc', maxLen: 50 },
      output,
      { kind: 'recirc', id: 5 },
    ]);
    bed.flow(1, [{ kind: 'clone', actions: [vlan, { kind: 'recirc', id: 6 }] }, output], 5);
    bed.flow(1, [{ kind: 'pop_vlan' }, output], 6);
    return bed;
  };
  const plain = build();
  plain.run([packet(1, 1)]);
  assert.equal(plain.p2.output.length, 4);
  const bed = build();
  const free = bed.bed.pool.available;
  bed.break(ALL, [1]);
  bed.run([packet(1, 1)]);
  const seen: number[] = [];
  for (let n = 0; bed.waiting.size > 0 && n < 100; n++) {
    const [[id, hold]] = bed.waiting;
    seen.push(hold.stage);
    assert.equal(bed.waiting.size, 1, 'one thing after the other');
    bed.go(id, ALL);
  }
  const { RX, EXTRACT, EMC, DPCLS, ACTION, TX } = STOP;
  // clone, its actions, trunc and output, then twice around.
  const first = [RX, EXTRACT, EMC, DPCLS, ACTION, ACTION, TX, ACTION, TX, ACTION];
  const second = [EXTRACT, EMC, DPCLS, ACTION, ACTION, ACTION];
  const third = [EXTRACT, EMC, DPCLS, ACTION, TX];
  assert.deepEqual(seen, [...first, ...second, ...third, TX]);
  const hex = (b: Bed): string[] => b.p2.output.map((p) => Buffer.from(p).toString('hex'));
  assert.deepEqual(hex(bed), hex(plain));
  assert.equal(bed.bed.pool.available, free, 'every frame is back');
  // Stepping is stopping everywhere.
  const stepped = build();
  stepped.break(RX, [1]);
  stepped.run([packet(1, 1)]);
  let steps = 0;
  for (; stepped.waiting.size > 0; steps++) stepped.go([...stepped.waiting.keys()][0], RX | STOP.STEP);
  assert.equal(steps, seen.length);
  assert.deepEqual(hex(stepped), hex(plain));
});

test('other flows pass untouched and in order; the flow of one that waits waits behind it', () => {
  const bed = new Bed();
  for (const dst of [1, 2, 3, 4]) bed.flow(dst, dst === 4 ? [{ kind: 'trunc', maxLen: 50 }, output] : [output]);
  const free = bed.bed.pool.available;
  bed.break(STOP.TX, [1, 2]);
  let random = 77;
  const packets = Array.from({ length: 600 }, (_, serial) => {
    random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff;
    return packet(1 + ((random >> 16) % 4), serial);
  });
  bed.run(packets);
  const given = (flow: number): number[] => packets.filter((p) => flowOf(p) === flow).map(serialOf);
  for (const flow of [3, 4]) assert.deepEqual(bed.sent(flow), given(flow));
  assert.deepEqual([bed.sent(1), bed.sent(2)], [[], []]);
  assert.deepEqual(
    [...bed.waiting.values()].map((h) => serialOf(h.packet)),
    [given(1)[0], given(2)[0]].sort((a, b) => a - b),
    'one of each flow stopped',
  );
  assert.equal(bed.bed.stat(PMD_STAT.BREAK_BEHIND), given(1).length + given(2).length - 2);
  assert.equal(bed.bed.pool.available, free, 'those that wait keep no frames');
  // One by one; each time the next of its flow stops.
  for (let n = 0; n < 20; n++) bed.go([...bed.waiting.keys()][0], STOP.TX);
  assert.equal(bed.sent(1).length + bed.sent(2).length, 20);
  // Nobody looks any more: all go.
  bed.break(0, []);
  bed.bed.pmd.run();
  for (const flow of [1, 2]) assert.deepEqual(bed.sent(flow), given(flow));
  assert.equal(bed.bed.stat(PMD_STAT.BREAK_BEHIND), 0);
  assert.equal(bed.bed.stat(PMD_STAT.DROPPED), 0);
  assert.equal(bed.bed.pool.available, free);
  bed.run([packet(1, 9000)]);
  assert.equal(bed.sent(1).at(-1), 9000);
});

test('what waits is bounded: too many behind are dropped and counted, too many flows pass', () => {
  const bed = new Bed();
  for (let dst = 1; dst <= 100; dst++) bed.flow(dst, [output]);
  bed.break(STOP.TX, [1]);
  bed.run(Array.from({ length: MAX_BEHIND + 11 }, (_, serial) => packet(1, serial)));
  assert.equal(bed.bed.stat(PMD_STAT.BREAK_OVERFLOWS), 10);
  assert.equal(bed.bed.stat(PMD_STAT.DROPS + DROP.BREAK_QUEUE), 10);
  bed.break(0, []);
  bed.bed.pmd.run();
  assert.deepEqual(
    bed.sent(1),
    Array.from({ length: MAX_BEHIND + 1 }, (_, i) => i),
  );
  // One filter for all.
  const all = [WANT.ALL | (STOP.TX << WANT_STOPS_SHIFT), 1000, 0];
  const ringAt = (bed as unknown as { ringAt: number }).ringAt;
  bed.bed.command(CMD.WATCH, ringAt, RING_WORDS, 1 << 24, 2, WATCH_FILTERS + all.length, ...all);
  bed.run(Array.from({ length: 100 }, (_, i) => packet(i + 1, 1)));
  assert.equal(bed.waiting.size, MAX_HOLDS);
  assert.equal(bed.bed.stat(PMD_STAT.BREAKS_PASSED), 100 - MAX_HOLDS);
});

test('before a drop; dropped by hand; and while the slow path has one of the flow, none overtakes it', () => {
  const bed = new Bed();
  bed.flow(1, []);
  bed.flow(2, [vlan, { kind: 'recirc', id: 9 }]);
  const free = bed.bed.pool.available;
  bed.break(STOP.DROP | STOP.UPCALL, [1, 2, 3]);
  bed.run([packet(1, 1), packet(1, 2)]);
  assert.deepEqual(bed.stages, [STOP.DROP]);
  const [[id, hold]] = bed.waiting;
  assert.equal(hold.reason, DROP.NO_ACTIONS);
  assert.equal(bed.bed.stat(PMD_STAT.DROPPED), 0, 'not yet');
  bed.go(id, 0);
  assert.equal(bed.bed.stat(PMD_STAT.DROPS + DROP.NO_ACTIONS), 1);
  bed.go([...bed.waiting.keys()][0], 0, BREAK.DROP);
  assert.equal(bed.bed.stat(PMD_STAT.DROPS + DROP.BREAK), 1);
  // A miss: it stops, goes up, and those behind wait for the answer.
  bed.run([packet(3, 1), packet(3, 2)]);
  const at = bed.bed.upcalls;
  assert.equal(at.peek(), -1);
  const [[missed, held]] = bed.waiting;
  assert.equal(held.stage, STOP.UPCALL);
  bed.go(missed, STOP.DROP);
  const record = at.peek();
  assert.ok(record >= 0);
  const { i32 } = bed.bed.arena;
  assert.equal(i32[record + 4], STOP.DROP, 'the slow path knows where it is to stop');
  const journey = i32[record + 3];
  at.release();
  assert.equal(at.peek(), -1, 'the second waits');
  bed.run([packet(3, 3)]);
  assert.equal(bed.bed.stat(PMD_STAT.BREAK_BEHIND), 2);
  bed.bed.command(CMD.BREAK, journey, BREAK.ANSWERED, 0, -1);
  bed.bed.pmd.run();
  assert.equal(bed.bed.stat(PMD_STAT.BREAK_BEHIND), 1, 'the second has stopped');
  bed.break(0, []);
  bed.bed.pmd.run();
  while (at.peek() >= 0) at.release();
  assert.equal(bed.bed.pool.available, free);
});
