import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Arena } from '../base/arena.ts';
import { FRAME_DATA, FRAME_LEN, FRAME_SIZE, FramePool } from './frame.ts';
import { completeChecksum, segment, sum16, VNET } from './segment.ts';

const FRAMES = 256;

function newPool(): FramePool {
  const arena = new Arena(FRAMES * FRAME_SIZE + 65536);
  return new FramePool(arena, arena.alloc(FRAMES * FRAME_SIZE, 4096), FRAMES, FRAMES);
}

function source(packet: Uint8Array): { u8: Uint8Array; u16: Uint16Array; at: number } {
  const u8 = new Uint8Array(70000);
  u8.set(packet, 2);
  return { u8, u16: new Uint16Array(u8.buffer), at: 2 };
}

function tcp4(payload: Uint8Array): Uint8Array {
  const p = new Uint8Array(14 + 20 + 32 + payload.length);
  const v = new DataView(p.buffer);
  v.setUint16(12, 0x0800);
  p[14] = 0x45;
  v.setUint16(16, p.length - 14);
  v.setUint16(18, 0xfffe);
  p[22] = 64;
  p[23] = 6;
  p.set([10, 0, 0, 1, 10, 0, 0, 2], 26);
  v.setUint16(34, 1000);
  v.setUint16(36, 80);
  v.setUint32(38, 0xfffffff0);
  p[46] = 0x80;
  p[47] = 0x99; // CWR, ACK, PSH, FIN
  p.set(payload, 66);
  return p;
}

/** Sum of the TCP segment with its pseudo header: 0xffff when the checksum is right. */
function tcpSum(frame: Uint8Array): number {
  const even = new Uint8Array((frame.length + 3) & ~1);
  even.set(frame);
  const l4 = frame.length - 34;
  const pseudo = sum16(even, new Uint16Array(even.buffer), 26, 8, ((l4 & 0xff) << 8) | (l4 >> 8));
  return sum16(even, new Uint16Array(even.buffer), 34, l4, pseudo + 0x0600);
}

test('segments carry the payload in order, each a whole and valid TCP packet', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 6000 }),
      fc.integer({ min: 64, max: 1448 }),
      (payload, size) => {
        const pool = newPool();
        const s = source(tcp4(payload));
        const out = new Int32Array(FRAMES);
        const n = segment(s, s.at, 66 + payload.length, VNET.GSO_TCPV4, size, pool, out, 0);
        assert.equal(n, Math.ceil(payload.length / size));
        const seen: number[] = [];
        for (let i = 0; i < n; i++) {
          const word = out[i] >> 2;
          const at = pool.arena.i32[word + FRAME_DATA];
          const frame = pool.arena.u8.slice(at, at + pool.arena.i32[word + FRAME_LEN]);
          const v = new DataView(frame.buffer);
          assert.equal(v.getUint16(16), frame.length - 14);
          assert.equal(v.getUint16(18), (0xfffe + i) & 0xffff);
          assert.equal(v.getUint32(38), (0xfffffff0 + i * size) >>> 0);
          assert.equal(frame[47], 0x10 | (i === 0 ? 0x80 : 0) | (i === n - 1 ? 0x09 : 0));
          const header = frame.slice(14, 34);
          assert.equal(sum16(header, new Uint16Array(header.buffer), 0, 20, 0), 0xffff);
          assert.equal(tcpSum(frame), 0xffff);
          seen.push(...frame.subarray(66));
        }
        assert.deepEqual(Uint8Array.from(seen), payload);
      },
    ),
    { numRuns: 60 },
  );
});

test('random bytes never throw, and leave no frame behind unaccounted', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 4000 }),
      fc.integer({ min: 0, max: 255 }),
      fc.integer({ min: 0, max: 65535 }),
      (bytes, type, size) => {
        const pool = newPool();
        const s = source(bytes);
        if (bytes.length > 13) s.u8.set([0x08, 0x00, 0x45], 14);
        const out = new Int32Array(FRAMES);
        const n = segment(s, s.at, bytes.length, type, size, pool, out, 0);
        assert.equal(pool.available, FRAMES - Math.max(n, 0));
        completeChecksum(s.u8, s.u16, s.at, bytes.length, size & 0xff, type);
      },
    ),
    { numRuns: 500 },
  );
});
