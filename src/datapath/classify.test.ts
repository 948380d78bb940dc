/** The caches against a brute-force search of all flows, while flows come and go. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { SLOT_WORDS } from './batch.ts';
import { CMD } from './commands.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_PACKETS } from './flow-entry.ts';
import { PMD_STAT } from './pmd-stats.ts';
import { putFrame, TestBed, TestPort } from './testing.ts';

function udp(src: number, dst: number, tag: number): Uint8Array {
  const p = new Uint8Array(60 + (tag ? 4 : 0));
  p.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
  if (tag) p.set([0x81, 0, 0, tag], 12);
  const at = tag ? 16 : 12;
  p.set([8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, src, 10, 0, 0, dst, 0, 1, 0, 2, 0, 26, 0, 0], at);
  return p;
}

interface Flow {
  readonly key: FlowKey;
  readonly mask: FlowKey;
  readonly entry: number;
}

/** Each mask looks at the tag, so flows of different masks never overlap. */
function makeFlow(bed: TestBed, tag: number, src: number, dst: number, port: number): Flow {
  const key = new FlowKey();
  const mask = new FlowKey();
  key.w[0] = byteSwap32(port);
  mask.w[0] = -1;
  mask.set32(OFS.vlan_tpid, 0xffffffff);
  if (tag) key.set32(OFS.vlan_tpid, 0x81001000 | tag);
  if (tag !== 1) {
    mask.set32(OFS.ip_src, tag === 2 ? 0xffffff01 : 0xffffffff);
    key.set32(OFS.ip_src, 0x0a000000 | (src & (tag === 2 ? 1 : 0xff)));
  }
  if (tag !== 2) {
    mask.set32(OFS.ip_dst, 0xffffffff);
    key.set32(OFS.ip_dst, 0x0a000000 | dst);
  }
  return { key, mask, entry: bed.flow(key, mask, [{ kind: 'output', port: 2 }]) };
}

describe('EMC and dpcls', () => {
  it('find what a search of all flows finds', () => {
    const small = fc.integer({ min: 0, max: 3 });
    const packet = fc.tuple(
      fc.constantFrom('packet' as const),
      fc.integer({ min: 0, max: 3 }),
      small,
      small,
      fc.constantFrom(1, 3),
    );
    const change = fc.tuple(
      fc.constantFrom('add' as const, 'remove' as const),
      fc.integer({ min: 0, max: 3 }),
      small,
      small,
      fc.constantFrom(1, 3),
    );
    const bed = new TestBed(128);
    const { pmd, arena, pool } = bed;
    const { batch, classify } = pmd.stages;
    pmd.setEmcInsertInverseProbability(1);
    const flows: Flow[] = [];
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 5, arbitrary: packet }, change), { minLength: 20, maxLength: 60 }),
        (steps) => {
          for (const [what, tag, src, dst, port] of steps) {
            const bytes = udp(src, dst, tag);
            batch.frames[0] = putFrame(arena, pool, bytes);
            pmd.extractor.received(batch, 1, byteSwap32(port));
            const key = arena.i32.subarray(batch.slots, batch.slots + SLOT_WORDS);
            const expected = flows.findIndex((f) =>
              f.mask.w.every((m, w) => ((key[w] ^ f.key.w[w]) & m) === 0 || w >= 148),
            );
            const missed = classify(batch, 1);
            assert.equal(missed, expected < 0 ? 1 : 0);
            assert.equal(batch.flow[0], expected < 0 ? 0 : flows[expected].entry);
            pool.put(batch.frames[0]);
            if (what === 'add' && expected < 0) flows.push(makeFlow(bed, tag, src, dst, port));
            if (what === 'remove' && expected >= 0) {
              const [gone] = flows.splice(expected, 1);
              bed.command(CMD.FLOW_DEL, gone.entry);
            }
          }
          assert.equal(pmd.dpcls.size, flows.length);
        },
      ),
      { numRuns: 300 },
    );
    assert.ok(bed.stat(PMD_STAT.EMC_HIT) > 100);
    assert.ok(bed.stat(PMD_STAT.MEGAFLOW_HIT) > 100);
  });

  it('puts the subtable that is hit most first', () => {
    const bed = new TestBed(32);
    const { pmd } = bed;
    const port = new TestPort('p1', bed);
    pmd.addPort(1, port);
    pmd.setEmcInsertInverseProbability(0);
    for (const tag of [1, 2, 3]) makeFlow(bed, tag, 1, 1, 1);
    for (let i = 0; i < 10; i++) port.input.push(udp(1, 1, 3));
    pmd.run();
    assert.equal(bed.stat(PMD_STAT.LOOKUPS), 30);
    bed.nowMs += 2000;
    pmd.run();
    port.input.push(udp(1, 1, 3));
    pmd.run();
    assert.equal(bed.stat(PMD_STAT.LOOKUPS), 31);
  });

  it('counts packets and bytes of each flow in a mixed burst, in order', () => {
    const bed = new TestBed(32);
    const { pmd, arena } = bed;
    const input = new TestPort('p1', bed);
    const output = new TestPort('p2', bed);
    pmd.addPort(1, input);
    pmd.addPort(2, output);
    const flows = [1, 2, 3].map((src) => makeFlow(bed, 0, src, 1, 1));
    for (let i = 0; i < 30; i++) {
      const packet = udp(1 + (i % 3), 1, 0);
      packet[59] = i;
      input.input.push(packet);
    }
    pmd.run();
    for (const flow of flows) assert.equal(arena.f64[(flow.entry + FLOW_PACKETS) >> 1], 10);
    for (const src of [1, 2, 3]) {
      const order = output.output.filter((p) => p[29] === src).map((p) => p[59]);
      assert.deepEqual(
        order,
        [...order].sort((a, b) => a - b),
      );
    }
    assert.equal(output.output.length, 30);
  });
});
