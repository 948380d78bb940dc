import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { extractFlow } from '../flow/extract.ts';
import { FlowKey } from '../flow/key.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import { arbitraryLayer3, arbitraryPacket } from './arbitrary.ts';
import { SLOT_WORDS } from './batch.ts';
import { byteSwap32 } from './extract.ts';
import { SHAPE, shapeOf } from './shape.ts';
import { putFrame, TestBed } from './testing.ts';

const bed = new TestBed(32);
const { pmd, arena, pool } = bed;
const batch = pmd.stages.batch;

function slotKey(i: number): FlowKey {
  const key = new FlowKey();
  const k = batch.slots + i * SLOT_WORDS;
  key.w.set(arena.i32.subarray(k, k + DP_WORDS));
  return key;
}

/** Names the first field that differs, for a message one can read. */
function assertSameKey(actual: FlowKey, expected: FlowKey, packet: Uint8Array): void {
  if (actual.equals(expected)) return;
  const word = actual.w.findIndex((w, i) => w !== expected.w[i]);
  const field = Object.entries(OFS)
    .filter(([, ofs]) => ofs >> 2 === word)
    .map(([name]) => name)
    .join(' ');
  const hex = (k: FlowKey): string => Buffer.from(k.u8.subarray(word * 4, word * 4 + 4)).toString('hex');
  assert.fail(`${field}: ${hex(actual)}, expected ${hex(expected)} of ${Buffer.from(packet).toString('hex')}`);
}

describe('fast path extraction', () => {
  it('equals the slow path, whatever the slot held before and wherever the packet begins', () => {
    const burst = fc.array(fc.tuple(arbitraryPacket, fc.constantFrom(0, 0, 0, 2, 4, 1)), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(burst, fc.constantFrom(1, 2), (packets, vlanLimit) => {
        pmd.setVlanLimit(vlanLimit);
        packets.forEach(([packet, shift], i) => {
          batch.frames[i] = putFrame(arena, pool, packet, shift);
        });
        pmd.extractor.received(batch, packets.length, byteSwap32(5));
        packets.forEach(([packet], i) => {
          pool.put(batch.frames[i]);
          const expected = new FlowKey();
          expected.set32(OFS.in_port, 5);
          extractFlow(packet, expected, vlanLimit);
          const actual = slotKey(i);
          assertSameKey(actual, expected, packet);
          // The shape tells of everything that is not zero.
          const k = batch.slots + i * SLOT_WORDS;
          assert.equal(shapeOf(arena.i32, k) & ~batch.shape[i], 0);
        });
      }),
      { numRuns: 4000 },
    );
  });

  it('reads packets without an Ethernet header by their packet_type', () => {
    fc.assert(
      fc.property(arbitraryLayer3, ({ type, data }) => {
        const packet = Uint8Array.from(data);
        const expected = new FlowKey();
        expected.set32(OFS.packet_type, 0x10000 | type);
        extractFlow(packet, expected);
        const k = batch.slots;
        arena.i32.fill(0, k, k + DP_WORDS);
        arena.i32[k + (OFS.packet_type >> 2)] = expected.w[OFS.packet_type >> 2];
        batch.shape[0] = SHAPE.PACKET_TYPE;
        batch.frames[0] = putFrame(arena, pool, packet);
        pmd.extractor.again(batch, 0);
        pool.put(batch.frames[0]);
        assertSameKey(slotKey(0), expected, packet);
      }),
    );
  });

  it('hashes both ways through alike', () => {
    const packet = new Uint8Array(60);
    packet.set([
      2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1,
      2, 3, 4,
    ]);
    batch.frames[0] = putFrame(arena, pool, packet);
    pmd.extractor.received(batch, 1, byteSwap32(5));
    const fast = batch.hash[0];
    pmd.extractor.again(batch, 0);
    assert.equal(batch.hash[0], fast);
    pool.put(batch.frames[0]);
  });
});
