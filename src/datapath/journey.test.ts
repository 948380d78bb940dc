/** A PMD with somebody looking: packets keep their order, frames are not lost, records are those of their packets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import type { DpAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { arbitraryPacket } from './arbitrary.ts';
import { SLOT_WORDS } from './batch.ts';
import { CMD } from './commands.ts';
import { DROP } from './drop-reason.ts';
import { byteSwap32 } from './extract.ts';
import { WANT, WATCH_FILTERS } from './journey.ts';
import { makeFilters } from './journey-filter.ts';
import { type JourneyRecord, readRecord } from './journey-record.ts';
import { PMD_STAT } from './pmd-stats.ts';
import { putFrame, TestBed, TestPort } from './testing.ts';

const RING_WORDS = 1 << 17;

/** The number of a packet stands in its payload, its flow in its address. */
function packet(flow: number, serial: number): Uint8Array {
  const p = new Uint8Array(60);
  p.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
  p.set([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, flow], 14);
  p.set([0, 1, 0, 2, 0, 26, 0, 0, serial >> 8, serial & 0xff], 34);
  return p;
}

const serialOf = (p: Uint8Array): number => (p[42] << 8) | p[43];

class Watched {
  readonly bed = new TestBed();
  readonly p1 = new TestPort('p1', this.bed);
  readonly p2 = new TestPort('p2', this.bed);
  private readonly ringAt: number;
  private readonly ring: RecordRing;

  constructor() {
    const { bed } = this;
    bed.pmd.addPort(1, this.p1);
    bed.pmd.addPort(2, this.p2);
    this.ringAt = bed.arena.alloc(ringBytes(RING_WORDS));
    this.ring = new RecordRing(bed.arena, this.ringAt, RING_WORDS, 'consumer');
  }

  flow(dst: number, actions: readonly DpAction[]): void {
    const key = new FlowKey();
    const mask = new FlowKey();
    key.w[0] = byteSwap32(1);
    mask.w[0] = -1;
    key.set32(OFS.ip_dst, 0x0a000000 + dst);
    mask.set32(OFS.ip_dst, 0xffffffff);
    this.bed.flow(key, mask, actions);
  }

  /** One filter for each destination; none: nobody looks any more. */
  watch(destinations: readonly number[], want: number = WANT.ALL): void {
    const word = OFS.ip_dst >> 2;
    const key = new FlowKey();
    const filters = destinations.flatMap((dst) => {
      key.set32(OFS.ip_dst, 0x0a000000 + dst);
      return [want, 1000, 1, word, key.w[word], -1];
    });
    this.bed.command(CMD.WATCH, this.ringAt, RING_WORDS, 1 << 24, 1, WATCH_FILTERS + filters.length, ...filters);
  }

  /** Packets in, rounds until they are through, what was told. */
  run(packets: readonly Uint8Array[]): JourneyRecord[] {
    this.p1.input.push(...packets);
    const told: JourneyRecord[] = [];
    while (this.p1.input.length > 0) {
      this.bed.pmd.run();
      told.push(...this.drain());
      for (const { upcalls } = this.bed; upcalls.peek() >= 0; ) upcalls.release();
    }
    return told;
  }

  drain(): JourneyRecord[] {
    const told: JourneyRecord[] = [];
    for (let at = this.ring.peek(); at >= 0; at = this.ring.peek()) {
      told.push(readRecord(this.bed.arena.i32, at, () => undefined));
      this.ring.release();
    }
    return told;
  }
}

const output: DpAction = { kind: 'output', port: 2 };

function outputOf(watched: readonly number[]): { out: string[]; told: JourneyRecord[]; stats: number[] } {
  const w = new Watched();
  const set = (value: number): DpAction => {
    const key = new FlowKey();
    const mask = new FlowKey();
    key.set8(OFS.ip_ttl, value);
    mask.set8(OFS.ip_ttl, 0xff);
    return { kind: 'set', header: 'ipv4', key, mask };
  };
  w.flow(1, [output]);
  w.flow(2, [set(63), output]);
  w.flow(3, [output, set(7), output]);
  w.flow(4, []);
  const free = w.bed.pool.available;
  if (watched.length > 0) w.watch(watched);
  let random = 77;
  const packets = Array.from({ length: 3000 }, (_, serial) => {
    random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff;
    return packet(1 + ((random >> 16) % 5), serial);
  });
  const told = w.run(packets);
  assert.equal(w.bed.pool.available, free, 'every frame is back');
  const stat = (name: keyof typeof PMD_STAT): number => w.bed.stat(PMD_STAT[name]);
  return {
    out: w.p2.output.map((p) => Buffer.from(p).toString('hex')),
    told,
    stats: [
      stat('RECEIVED'),
      stat('SENT'),
      stat('MISS'),
      stat('DROPPED'),
      w.bed.stat(PMD_STAT.DROPS + DROP.NO_ACTIONS),
    ],
  };
}

test('looking changes neither packets nor the order within a flow, nor counters', () => {
  const plain = outputOf([]);
  assert.deepEqual(plain.told, []);
  for (const watched of [[1], [2, 3], [1, 2, 3, 4, 5]]) {
    const seen = outputOf(watched);
    // Bursts are sorted by flow and each action done for all of a flow's packets: what one output sends keeps its order.
    for (const output of ['01 40', '02 3f', '03 40', '03 07', '04 40', '05 40']) {
      const of = (list: readonly string[]): string[] =>
        list.filter((p) => `${p.slice(66, 68)} ${p.slice(44, 46)}` === output);
      assert.deepEqual(of(seen.out), of(plain.out), `flow and TTL ${output}, ${watched.join()} watched`);
    }
    assert.equal(seen.out.length, plain.out.length);
    assert.deepEqual(seen.stats, plain.stats);
    for (const record of seen.told) {
      const flow = record.packet[33];
      assert.ok(watched.includes(flow));
      assert.equal(record.filters, 1 << watched.indexOf(flow));
      const sent = record.events.filter((e) => e.type === 'sent').length;
      assert.equal(sent, [0, 1, 1, 2, 0, 0][flow]);
      assert.equal(record.upcalls, flow === 5 ? 1 : 0);
      assert.equal(
        record.events.some((e) => e.type === 'drop'),
        flow === 4,
      );
    }
    const serials = seen.told.map((r) => serialOf(r.packet));
    assert.deepEqual(
      serials,
      [...serials].sort((a, b) => a - b),
      'told in order',
    );
  }
});

test('where there is no room packets pass in silence, and are counted', () => {
  const w = new Watched();
  w.flow(1, [output]);
  w.watch([1]);
  w.p1.input.push(...Array.from({ length: 2000 }, (_, serial) => packet(1, serial)));
  while (w.p1.input.length > 0) w.bed.pmd.run();
  const told = w.drain();
  const lost = w.bed.stat(PMD_STAT.JOURNEYS_LOST);
  assert.ok(told.length > 100 && lost > 100, `${told.length} told, ${lost} lost`);
  assert.equal(told.length + lost, 2000);
  assert.deepEqual(
    w.p2.output.map(serialOf),
    Array.from({ length: 2000 }, (_, i) => i),
    'all are forwarded, in order',
  );
});

test('only drops; and nobody looks any more', () => {
  const w = new Watched();
  w.flow(1, [output]);
  w.flow(4, []);
  w.watch([1, 4], WANT.DROPS);
  const told = w.run([packet(1, 1), packet(4, 2), packet(1, 3)]);
  assert.deepEqual(
    told.map((r) => serialOf(r.packet)),
    [2],
  );
  w.watch([]);
  assert.deepEqual(w.run([packet(4, 4)]), []);
  assert.equal(w.bed.stat(PMD_STAT.DROPS + DROP.NO_ACTIONS), 2);
});

test("what the EMC knows is told as such, and is the burst's again when nobody looks any more", () => {
  const w = new Watched();
  w.flow(1, [output]);
  w.flow(2, [output]);
  w.bed.pmd.setEmcInsertInverseProbability(1);
  const burst = Array.from({ length: 20 }, (_, serial) => packet(1 + (serial % 2), serial));
  w.run(burst);
  const hits = (): number => w.bed.stat(PMD_STAT.EMC_HIT);
  const before = hits();
  w.watch([1]);
  const told = w.run(burst);
  assert.deepEqual(
    told.map((r) => [serialOf(r.packet), r.events[0].type]),
    Array.from({ length: 10 }, (_, i) => [2 * i, 'emc']),
  );
  assert.equal(hits(), before + 20);
  w.watch([]);
  assert.deepEqual(w.run(burst), []);
  assert.equal(hits(), before + 40);
  // Entries that are made while somebody looks are found, too.
  w.bed.pmd.emc.clear();
  w.watch([2]);
  w.run(burst);
  assert.deepEqual(new Set(w.run(burst).map((r) => r.events[0].type)), new Set(['emc']));
  assert.equal(w.p2.output.length, 100);
});

test('what the frames themselves rule out no filter matches', () => {
  const { bed } = new Watched();
  const { i32 } = bed.arena;
  const { batch } = bed.pmd.stages;
  const at = bed.arena.alloc(1024) >> 2;
  let ruledOut = 0;
  const plain = fc.tuple(fc.nat(4), fc.nat(3)).map(([flow, serial]) => packet(flow, serial));
  const property = fc.property(
    fc.array(fc.tuple(fc.oneof(arbitraryPacket, plain), fc.constantFrom(0, 0, 0, 2, 2, 2, 1)), {
      minLength: 2,
      maxLength: 4,
    }),
    fc.array(
      fc.tuple(fc.nat(5), fc.integer({ min: 0, max: 11 }), fc.constantFrom(-1, 0xffff, ~0xffff, 0xff, 0x0f0f0f0f)),
      {
        minLength: 1,
        maxLength: 3,
      },
    ),
    (packets, conditions) => {
      packets.forEach(([p, shift], i) => {
        batch.frames[i] = putFrame(bed.arena, bed.pool, p, shift);
      });
      bed.pmd.extractor.received(batch, packets.length, byteSwap32(1));
      // A filter made of what one of the packets has, for each word once.
      const words = [...new Map(conditions.map((c) => [c[1], c])).values()].flatMap(([from, word, mask]) => {
        const of = from > 1 ? packets.length - 1 : from % packets.length;
        return [word, i32[batch.slots + of * SLOT_WORDS + word] & mask, mask];
      });
      const filter = [WANT.ALL, 1000, words.length / 3, ...words];
      i32.set(filter, at);
      const filters = makeFilters(bed.arena, at, at + filter.length);
      // The last is not of the burst, so that filters are for packets that do not come, too.
      const n = packets.length - 1;
      const isMatched = filters.first(batch.slots, 0, n) < n;
      const mayMatch = filters.mayMatch(batch.frames, n, byteSwap32(1));
      for (let i = 0; i < packets.length; i++) bed.pool.put(batch.frames[i]);
      if (!mayMatch) ruledOut++;
      assert.ok(mayMatch || !isMatched, JSON.stringify(words));
    },
  );
  fc.assert(property, { numRuns: 2000 });
  assert.ok(ruledOut > 50, `${ruledOut} ruled out`);
});
