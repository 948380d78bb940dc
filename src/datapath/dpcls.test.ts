/** The megaflow classifier against a search of all flows, with masks of many kinds and thousands of them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Arena } from '../base/arena.ts';
import { DP_WORDS } from '../flow/layout.ts';
import { SLOT_WORDS } from './batch.ts';
import { Dpcls } from './dpcls.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_ID, FLOW_IN_PORT, FLOW_KEY, FLOW_N_WORDS, FLOW_SUBTABLE } from './flow-entry.ts';

type Words = ReadonlyMap<number, number>;

/** Flows in an arena, their classifier, and the search of all of them. */
class World {
  readonly arena = new Arena(32 << 20);
  readonly dpcls = new Dpcls(this.arena);
  readonly slot = this.arena.alloc(SLOT_WORDS * 4) >> 2;
  private readonly masks = new Map<string, number>();
  readonly flows = new Map<number, { key: Words; mask: Words; port: number }>();

  add(key: Words, mask: Words, port = 1): number {
    const { i32 } = this.arena;
    const words = [...mask].filter(([, bits]) => bits !== 0).sort((a, b) => a[0] - b[0]);
    const name = words.join(';');
    let id = this.masks.get(name);
    if (id === undefined) {
      id = this.masks.size + 1;
      this.masks.set(name, id);
      const at = this.arena.alloc(DP_WORDS * 4) >> 2;
      for (const [w, bits] of words) i32[at + w] = bits;
      this.dpcls.addMask(id, at);
    }
    const flow = this.arena.alloc((FLOW_KEY + words.length) * 4) >> 2;
    i32[flow + FLOW_ID] = flow;
    i32[flow + FLOW_IN_PORT] = port;
    i32[flow + FLOW_SUBTABLE] = id;
    i32[flow + FLOW_N_WORDS] = words.length;
    words.forEach(([w, bits], j) => {
      i32[flow + FLOW_KEY + j] = (key.get(w) ?? 0) & bits;
    });
    const same = this.dpcls.find(flow);
    if (same !== 0) return same;
    this.dpcls.insert(flow);
    this.flows.set(flow, { key, mask: new Map(words), port });
    return flow;
  }

  remove(flow: number): void {
    assert.ok(this.dpcls.remove(flow));
    this.flows.delete(flow);
  }

  lookup(key: Words, port = 1): number {
    const { i32 } = this.arena;
    i32.fill(0, this.slot, this.slot + SLOT_WORDS);
    for (const [w, value] of key) i32[this.slot + w] = value;
    i32[this.slot] = byteSwap32(port);
    return this.dpcls.lookup(this.slot);
  }

  matches(flow: number, key: Words, port = 1): boolean {
    const f = this.flows.get(flow);
    if (f === undefined || f.port !== port) return false;
    for (const [w, bits] of f.mask) if ((((key.get(w) ?? 0) ^ (f.key.get(w) ?? 0)) & bits) !== 0) return false;
    return true;
  }

  check(key: Words, port = 1): boolean {
    const found = this.lookup(key, port);
    if (found !== 0) assert.ok(this.matches(found, key, port), 'a flow that does not match');
    else for (const flow of this.flows.keys()) assert.ok(!this.matches(flow, key, port), 'a flow was not found');
    return found !== 0;
  }
}

/** A small pseudo-random sequence, the same each time. */
function numbers(seed: number): (below: number) => number {
  let x = seed | 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

const prefix = (length: number): number => (length === 0 ? 0 : byteSwap32((-1 << (32 - length)) | 0));

/** What a packet classifier leaves of a rule set that denies by prefixes: a flow for each combination of first differing bits. */
function explosion(
  world: World,
  lengths: readonly number[],
  rule: readonly number[],
  order: (n: number) => number[],
): Words[] {
  const packets: Words[] = [];
  const total = lengths.reduce((n, l) => n * l, 1);
  for (const x of order(total)) {
    let rest = x;
    const key = new Map<number, number>();
    const mask = new Map([[6, 0xffff]]);
    lengths.forEach((l, d) => {
      const bit = rest % l;
      rest = Math.floor(rest / l);
      key.set(8 + d, rule[d] ^ byteSwap32(1 << (31 - bit)));
      mask.set(8 + d, prefix(bit + 1));
    });
    world.add(key, mask);
    packets.push(key);
  }
  return packets;
}

describe('dpcls', () => {
  it('finds what a search of all flows finds, whatever the masks, while flows come and go', () => {
    const word = fc.constantFrom(1, 3, 5, 6, 8, 9, 10, 14, 30);
    const bits = fc.oneof(
      fc.constantFrom(-1, 0xff, 0xffff, 0xff00 | 0, 1),
      fc.integer({ min: 1, max: 32 }).map(prefix),
      fc.integer(),
    );
    const mask = fc.array(fc.tuple(word, bits), { minLength: 0, maxLength: 4 });
    const value = fc.oneof(
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 3 }).map(byteSwap32),
      fc.integer(),
    );
    const key = fc.array(fc.tuple(word, value), { minLength: 0, maxLength: 6 });
    const step = fc.tuple(
      fc.constantFrom('add', 'add', 'add', 'remove', 'work', 'rank'),
      key,
      mask,
      fc.constantFrom(1, 1, 1, 70000),
    );
    let hits = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 120 }), (steps) => {
        const world = new World();
        const keys: Words[] = [];
        for (const [what, k, m, port] of steps) {
          if (what === 'add') {
            keys.push(new Map(k));
            world.add(new Map(k), new Map(m), port);
          } else if (what === 'remove') {
            const all = [...world.flows.keys()];
            if (all.length > 0) world.remove(all[k.length % all.length]);
          } else if (what === 'work') world.dpcls.work(k.length);
          else world.dpcls.rank();
          for (const packet of keys.slice(-8)) if (world.check(packet, port)) hits++;
        }
        for (const packet of keys) world.check(packet);
        for (const flow of [...world.flows.keys()]) world.remove(flow);
        assert.equal(world.dpcls.size, 0);
        for (const packet of keys) assert.equal(world.lookup(packet), 0);
      }),
      { numRuns: 150 },
    );
    assert.ok(hits > 1000);
  });

  it('finds among thousands of random masks', () => {
    const next = numbers(7);
    const world = new World();
    const keys: Words[] = [];
    for (let n = 0; n < 3000; n++) {
      const key = new Map<number, number>();
      const mask = new Map<number, number>();
      for (const w of [1, 3, 5, 8, 9, 10]) {
        key.set(w, byteSwap32(next(1 << 16)) | next(256));
        if (next(3) !== 0) mask.set(w, prefix(next(32) + 1));
      }
      world.add(key, mask);
      keys.push(key);
    }
    assert.ok(world.dpcls.subtables > 2500);
    while (world.dpcls.isBuilding) world.dpcls.work(1000);
    assert.equal(world.dpcls.indexes, 1);
    for (const key of keys) assert.ok(world.matches(world.lookup(key), key));
    for (let n = 0; n < 300; n++) {
      const key = new Map(keys[next(keys.length)]);
      key.set([1, 3, 5, 8, 9, 10][next(6)], next(1 << 16));
      world.check(key);
    }
    for (const flow of [...world.flows.keys()]) if (next(2) === 0) world.remove(flow);
    for (let n = 0; n < 300; n++) world.check(keys[next(keys.length)]);
  });

  for (const [name, order] of [
    ['in order', (n: number) => Array.from({ length: n }, (_, i) => i)],
    ['backwards', (n: number) => Array.from({ length: n }, (_, i) => n - 1 - i)],
    [
      'in any order',
      (n: number) => {
        const next = numbers(99);
        const all = Array.from({ length: n }, (_, i) => i);
        for (let i = n - 1; i > 0; i--) {
          const j = next(i + 1);
          [all[i], all[j]] = [all[j], all[i]];
        }
        return all;
      },
    ],
  ] as const)
    it(`takes a few steps where an attacker made thousands of masks, ${name}`, () => {
      const world = new World();
      const packets = explosion(world, [32, 16, 8], [0x0100000a, 0x5000, 0x1234], order);
      assert.equal(world.dpcls.subtables, 4096);
      while (world.dpcls.isBuilding) world.dpcls.work(1000);
      let steps = 0;
      for (const packet of packets) {
        assert.ok(world.matches(world.lookup(packet), packet));
        steps += world.dpcls.tried;
      }
      assert.ok(steps / packets.length < 8, `${steps / packets.length} steps`);
      // The packets that the rule lets pass have a flow that looks at all bits, and nobody attacks it by being many.
      const rule = new Map([
        [8, 0x0100000a],
        [9, 0x5000],
        [10, 0x1234],
      ]);
      world.add(rule, new Map([6, 8, 9, 10].map((w) => [w, -1])));
      world.dpcls.rank();
      for (let n = 0; n < 1000; n++) assert.ok(world.lookup(rule) !== 0);
      world.dpcls.rank();
      world.lookup(rule);
      assert.equal(world.dpcls.tried, 1);
    });
});
