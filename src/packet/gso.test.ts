import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Arena } from '../base/arena.ts';
import {
  FRAME_DATA,
  FRAME_GSO,
  FRAME_HEADROOM,
  FRAME_INNER,
  FRAME_LEN,
  FRAME_SIZE,
  FramePool,
  LARGE_FRAME_SIZE,
} from './frame.ts';
import { finishGso, writeGsoHeader } from './gso.ts';
import { segmentFrame, sum16 } from './segment.ts';
import { VNET, VNET_HDR_SIZE } from './vnet.ts';

const FRAMES = 256;
const LARGE = 4;

function makePool(): FramePool {
  const arena = new Arena(4 << 20);
  const at = arena.alloc(FRAMES * FRAME_SIZE, FRAME_SIZE);
  const large = arena.alloc(LARGE * LARGE_FRAME_SIZE, FRAME_SIZE);
  return new FramePool(arena, at, FRAMES, FRAMES, { at: large, count: LARGE, first: 0, share: LARGE });
}

const ETHERNET = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
const V4 = [0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 98, 0, 1, 10, 98, 0, 2];
const V6 = [0x60, 0, 0, 0, 0, 0, 6, 64, ...Array(15).fill(0xfd), 1, ...Array(15).fill(0xfd), 2];
const TCP = [0x12, 0x34, 0x14, 0x51, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x19, 1, 0, 0, 0, 0, 0];

/** A VXLAN tunnel's headers, with a UDP checksum or without. */
function outerHeaders(isV6: boolean, checksum: number): number[] {
  const udp = [0x80, 0, 0x12, 0xb5, 0, 0, checksum, checksum, 8, 0, 0, 0, 0, 0, 5, 0];
  const v6 = [...V6.slice(0, 6), 17, ...V6.slice(7)];
  const v4 = [...V4.slice(0, 9), 17, ...V4.slice(10)];
  return [...ETHERNET, ...(isV6 ? [0x86, 0xdd, ...v6] : [8, 0, ...v4]), ...udp];
}

/** A super-segment of `payload` bytes in a large frame. */
function superSegment(pool: FramePool, isV6: boolean, payload: number, mss: number, outer: readonly number[]): number {
  const { u8, i32 } = pool.arena;
  const frame = pool.takeLarge();
  const inner = frame + FRAME_HEADROOM;
  const packet = [...ETHERNET, ...(isV6 ? [0x86, 0xdd, ...V6] : [8, 0, ...V4]), ...TCP];
  u8.set(packet, inner);
  for (let i = 0; i < payload; i++) u8[inner + packet.length + i] = i * 7;
  u8.set(outer, inner - outer.length);
  const f = frame >> 2;
  i32[f + FRAME_DATA] = inner - outer.length;
  i32[f + FRAME_LEN] = outer.length + packet.length + payload;
  i32[f + FRAME_GSO] = ((isV6 ? VNET.GSO_TCPV6 : VNET.GSO_TCPV4) << 16) | mss;
  i32[f + FRAME_INNER] = outer.length === 0 ? 0 : inner;
  return frame;
}

/** Checks lengths and checksums of the IP packet at `at`, and of what it carries; returns the end of its headers. */
function checkIp({ arena: { u8, u16 } }: FramePool, at: number, bytes: number): number {
  const isV6 = u8[at] >> 4 === 6;
  const l4 = at + (isV6 ? 40 : 20);
  const size = at + bytes - l4;
  if (isV6) assert.equal((u8[at + 4] << 8) | u8[at + 5], size);
  else {
    assert.equal((u8[at + 2] << 8) | u8[at + 3], bytes);
    assert.equal(sum16(u8, u16, at, 20, 0), 0xffff, 'the header is summed');
  }
  const protocol = isV6 ? u8[at + 6] : u8[at + 9];
  if (protocol === 17) assert.equal((u8[l4 + 4] << 8) | u8[l4 + 5], size);
  if (protocol === 17 && u8[l4 + 6] === 0 && u8[l4 + 7] === 0) return l4 + 8;
  const pseudo = sum16(
    u8,
    u16,
    at + (isV6 ? 8 : 12),
    isV6 ? 32 : 8,
    ((size & 0xff) << 8) + (size >> 8) + (protocol << 8),
  );
  assert.equal(sum16(u8, u16, l4, size, pseudo), 0xffff, 'what it carries is summed');
  return l4 + (protocol === 17 ? 8 : 20);
}

test('super-segments are cut whatever tunnel they are in: every byte once, every length and checksum right', () => {
  const shape = fc.record({
    isV6: fc.boolean(),
    payload: fc.integer({ min: 1, max: 60_000 }),
    mss: fc.integer({ min: 400, max: 1400 }),
    tunnel: fc.constantFrom(null, 'v4', 'v6'),
    checksum: fc.constantFrom(0, 1),
  });
  const pool = makePool();
  const { u8, i32 } = pool.arena;
  const out = new Int32Array(512);
  fc.assert(
    fc.property(shape, ({ isV6, payload, mss, tunnel, checksum }) => {
      const outer = tunnel === null ? [] : outerHeaders(tunnel === 'v6', checksum);
      const frame = superSegment(pool, isV6, payload, mss, outer);
      const n = segmentFrame(pool, frame, out, 0);
      assert.equal(n, Math.ceil(payload / mss));
      let seen = 0;
      for (let k = 0; k < n; k++) {
        const data = i32[(out[k] >> 2) + FRAME_DATA];
        const length = i32[(out[k] >> 2) + FRAME_LEN];
        let at = data + 14;
        if (tunnel !== null) at = checkIp(pool, at, length - 14) + 8 + 14;
        const from = checkIp(pool, at, data + length - at);
        for (let p = from; p < data + length; p++, seen++) assert.equal(u8[p], (seen * 7) & 0xff);
        const isLast = k === n - 1;
        assert.equal(u8[from - 7] & 9, isLast ? 9 : 0, 'PSH and FIN are the last one’s');
        pool.put(out[k]);
      }
      assert.equal(seen, payload);
      pool.put(frame);
      assert.equal(pool.available, FRAMES);
      assert.equal(pool.availableLarge, LARGE);
    }),
    { numRuns: 60 },
  );
});

test('a kernel is told how to cut, and what it sums up to', () => {
  const pool = makePool();
  const { u8, u16, i32 } = pool.arena;
  for (const isV6 of [false, true]) {
    const frame = superSegment(pool, isV6, 5000, 1448, []);
    const at = i32[(frame >> 2) + FRAME_DATA];
    const length = i32[(frame >> 2) + FRAME_LEN];
    assert.ok(writeGsoHeader(u8, at, length, i32[(frame >> 2) + FRAME_GSO]));
    const header = Buffer.from(u8.buffer, at - VNET_HDR_SIZE, VNET_HDR_SIZE);
    const l4 = 14 + (isV6 ? 40 : 20);
    assert.deepEqual(
      [
        header[0],
        header[1],
        header.readUInt16LE(2),
        header.readUInt16LE(4),
        header.readUInt16LE(6),
        header.readUInt16LE(8),
      ],
      [VNET.NEEDS_CSUM, isV6 ? VNET.GSO_TCPV6 : VNET.GSO_TCPV4, l4 + 20, 1448, l4, 16],
    );
    // Completing the sum over what follows must give a packet that checks out.
    const sum = ~sum16(u8, u16, at + l4, length - l4, 0) & 0xffff;
    u8[at + l4 + 16] = sum;
    u8[at + l4 + 17] = sum >> 8;
    const whole = sum16(u8, u16, at + 14 + (isV6 ? 8 : 12), isV6 ? 32 : 8, 0);
    const size = length - l4;
    const pseudo = whole + (((size & 0xff) << 8) | (size >> 8)) + (6 << 8);
    assert.equal(sum16(u8, u16, at + l4, size, pseudo), 0xffff);
    u8[at + l4 + 16] = 0x55;
    finishGso(u8, u16, at, length, i32[(frame >> 2) + FRAME_GSO]);
    assert.equal(sum16(u8, u16, at + l4, size, pseudo), 0xffff, 'a copy for the slow path is complete');
    u8[at + 12] = 0x81;
    u8[at + 13] = 0;
    assert.equal(writeGsoHeader(u8, at, length, i32[(frame >> 2) + FRAME_GSO]), false, 'a tag in the packet');
    pool.put(frame);
  }
});

test('bytes from an enemy are refused, never read beyond', () => {
  const pool = makePool();
  const { u8, i32 } = pool.arena;
  const out = new Int32Array(64);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 14, maxLength: 200 }), fc.integer(), (bytes, gso) => {
      const frame = pool.takeLarge();
      const at = frame + FRAME_HEADROOM;
      u8.set(bytes, at);
      i32[(frame >> 2) + FRAME_DATA] = at;
      i32[(frame >> 2) + FRAME_LEN] = bytes.length;
      i32[(frame >> 2) + FRAME_GSO] = gso;
      const n = segmentFrame(pool, frame, out, 0);
      for (let k = 0; k < n; k++) pool.put(out[k]);
      writeGsoHeader(u8, at, bytes.length, gso);
      pool.put(frame);
      assert.equal(pool.available, FRAMES);
    }),
  );
});
