/**
 * Finishes packets that a kernel hands over half done: checksums to be completed, and TCP or UDP super-segments to be cut
 * to size. What there is to do stands in the `virtio_net_hdr` before the packet (virtio 1.2, 5.1.6).
 *
 * The input is ordinary memory; the output goes into frames of the arena. Nothing is allocated. A header that does not
 * fit the packet makes the packet an error (-1), never an access out of bounds.
 */
import {
  FRAME_DATA,
  FRAME_GSO,
  FRAME_HEADROOM,
  FRAME_INNER,
  FRAME_LEN,
  type FramePool,
  LARGE_FRAME_MAX,
} from './frame.ts';
import { gsoPlaces, locate } from './gso.ts';

export { VNET, VNET_HDR_SIZE } from './vnet.ts';

/**
 * Sum of the 16-bit little-endian words of `length` bytes from `at` (even), on top of `sum`, folded to 16 bits. Byte order
 * does not matter as long as the result is stored as it was summed (RFC 1071).
 */
export function sum16(u8: Uint8Array, u16: Uint16Array, at: number, length: number, sum: number): number {
  let i = at >> 1;
  const end = (at + length) >> 1;
  for (const last = end - 7; i < last; i += 8) {
    sum += u16[i] + u16[i + 1] + u16[i + 2] + u16[i + 3] + u16[i + 4] + u16[i + 5] + u16[i + 6] + u16[i + 7];
  }
  for (; i < end; i++) sum += u16[i];
  if (length & 1) sum += u8[at + length - 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return sum;
}

/** Copies `n` bytes to an even place and returns the sum of what it copied, as `sum16` would. */
function copySum(from: SegmentSource, fromAt: number, to: SegmentSource, toAt: number, n: number): number {
  let sum = 0;
  if ((fromAt & 1) === 0) {
    const a = from.u16;
    const b = to.u16;
    let j = toAt >> 1;
    for (let i = fromAt >> 1, end = (fromAt + n) >> 1; i < end; i++, j++) {
      const v = a[i];
      b[j] = v;
      sum += v;
    }
    if (n & 1) {
      const v = from.u8[fromAt + n - 1];
      to.u8[toAt + n - 1] = v;
      sum += v;
    }
  } else {
    for (let k = 0; k < n; k++) to.u8[toAt + k] = from.u8[fromAt + k];
    sum = sum16(to.u8, to.u16, toAt, n, 0);
  }
  return sum;
}

function store16(u8: Uint8Array, at: number, littleEndian: number): void {
  u8[at] = littleEndian;
  u8[at + 1] = littleEndian >> 8;
}

const swap16 = (n: number): number => ((n & 0xff) << 8) | ((n >> 8) & 0xff);

/** Completes the checksum at `start + offset` of the `length` bytes at `at`; false when it lies outside. */
export function completeChecksum(
  u8: Uint8Array,
  u16: Uint16Array,
  at: number,
  length: number,
  start: number,
  offset: number,
): boolean {
  if (start + offset + 2 > length || (start & 1) !== 0) return false;
  const sum = ~sum16(u8, u16, at + start, length - start, 0) & 0xffff;
  // A UDP checksum of zero would mean "none".
  store16(u8, at + start + offset, sum === 0 && offset === 6 ? 0xffff : sum);
  return true;
}

/** Memory seen as bytes and as 16-bit words. */
export interface SegmentSource {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
}

/**
 * Cuts the `length` bytes at `at` (2 mod 4, so that headers are aligned as in a frame) of `source` into segments of
 * `gsoSize` bytes of payload behind the headers (before which a tunnel's may stand: `outer` bytes), writes them to frames from `pool`, and their names to `out` from `outAt` on. Returns how many,
 * or -1 when the packet is malformed or there are not enough frames.
 */
export function segment(
  source: SegmentSource,
  at: number,
  length: number,
  gsoType: number,
  gsoSize: number,
  pool: FramePool,
  out: Int32Array,
  outAt: number,
  outer = 0,
): number {
  const s = source.u8;
  const { u8, u16, i32 } = pool.arena;
  if (!locate(s, at + outer, length - outer, gsoType)) return -1;
  const { isV6, isUdp } = gsoPlaces;
  const l3 = outer + gsoPlaces.l3;
  const l4 = outer + gsoPlaces.l4;
  const header = outer + gsoPlaces.header;
  if (gsoSize === 0 || header + gsoSize > LARGE_FRAME_MAX) return -1;

  const payload = length - header;
  const count = Math.max(1, Math.ceil(payload / gsoSize));
  if (outAt + count > out.length) return -1;
  const seq = ((s[at + l4 + 4] << 24) | (s[at + l4 + 5] << 16) | (s[at + l4 + 6] << 8) | s[at + l4 + 7]) >>> 0;
  const id = (s[at + l3 + 4] << 8) | s[at + l3 + 5];
  const flags = s[at + l4 + 13];
  const addresses = isV6 ? 32 : 8;
  const addressesAt = isV6 ? 8 : 12;

  for (let i = 0; i < count; i++) {
    const from = header + i * gsoSize;
    const n = Math.min(gsoSize, length - from);
    const frame = pool.takeFor(header + n);
    if (frame < 0) {
      for (let k = 0; k < i; k++) pool.put(out[outAt + k]);
      return -1;
    }
    const data = frame + FRAME_HEADROOM;
    i32[(frame >> 2) + FRAME_LEN] = header + n;
    i32[(frame >> 2) + FRAME_DATA] = data;
    for (let k = 0; k < header; k++) u8[data + k] = s[at + k];
    const payloadSum = copySum(source, at + from, pool.arena, data + header, n);

    const l4Length = header - l4 + n;
    if (isV6) {
      const len = header - l3 - 40 + n;
      u8[data + l3 + 4] = len >> 8;
      u8[data + l3 + 5] = len;
    } else {
      const len = header - l3 + n;
      u8[data + l3 + 2] = len >> 8;
      u8[data + l3 + 3] = len;
      u8[data + l3 + 4] = (id + i) >> 8;
      u8[data + l3 + 5] = id + i;
      u8[data + l3 + 10] = 0;
      u8[data + l3 + 11] = 0;
      store16(u8, data + l3 + 10, ~sum16(u8, u16, data + l3, l4 - l3, 0) & 0xffff);
    }
    const checksumAt = data + l4 + (isUdp ? 6 : 16);
    if (isUdp) {
      u8[data + l4 + 4] = l4Length >> 8;
      u8[data + l4 + 5] = l4Length;
    } else {
      const q = (seq + i * gsoSize) >>> 0;
      u8[data + l4 + 4] = q >>> 24;
      u8[data + l4 + 5] = q >>> 16;
      u8[data + l4 + 6] = q >>> 8;
      u8[data + l4 + 7] = q;
      // FIN and PSH belong to the last segment, CWR to the first.
      u8[data + l4 + 13] = flags & ~((i < count - 1 ? 0x09 : 0) | (i > 0 ? 0x80 : 0));
    }
    u8[checksumAt] = 0;
    u8[checksumAt + 1] = 0;
    let sum = sum16(u8, u16, data + l3 + addressesAt, addresses, swap16(l4Length) + swap16(isUdp ? 17 : 6));
    sum = ~sum16(u8, u16, data + l4, header - l4, sum + payloadSum) & 0xffff;
    store16(u8, checksumAt, sum === 0 && isUdp ? 0xffff : sum);
    if (outer !== 0) finishOuter(pool.arena, data, header + n, outer, i);
    out[outAt + i] = frame;
  }
  return count;
}

const GRE_CSUM = 0x80;

/** A tunnel's headers before one of the segments: lengths, identification, checksums. */
function finishOuter({ u8, u16 }: SegmentSource, data: number, length: number, outer: number, index: number): void {
  let l3 = 12;
  while (u8[data + l3] === 0x81 || u8[data + l3] === 0x88) l3 += 4;
  const isV6 = u8[data + l3] === 0x86;
  l3 += 2;
  const at = data + l3;
  const l4 = isV6 ? at + 40 : at + (u8[at] & 15) * 4;
  const size = data + length - l4;
  const protocol = isV6 ? u8[at + 6] : u8[at + 9];
  if (isV6) big16(u8, at + 4, size);
  else {
    big16(u8, at + 2, data + length - at);
    big16(u8, at + 4, ((u8[at + 4] << 8) | u8[at + 5]) + index);
    big16(u8, at + 10, 0);
    store16(u8, at + 10, ~sum16(u8, u16, at, l4 - at, 0) & 0xffff);
  }
  if (l4 >= data + outer) return;
  if (protocol === 17) {
    big16(u8, l4 + 4, size);
    if (u8[l4 + 6] === 0 && u8[l4 + 7] === 0) return;
    big16(u8, l4 + 6, 0);
    const pseudo = sum16(u8, u16, at + (isV6 ? 8 : 12), isV6 ? 32 : 8, swap16(size & 0xffff) + swap16(17));
    const sum = ~sum16(u8, u16, l4, size, pseudo) & 0xffff;
    store16(u8, l4 + 6, sum === 0 ? 0xffff : sum);
  } else if (protocol === 47 && (u8[l4] & GRE_CSUM) !== 0) {
    big16(u8, l4 + 4, 0);
    store16(u8, l4 + 4, ~sum16(u8, u16, l4, size, 0) & 0xffff);
  }
}

function big16(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value >> 8;
  u8[at + 1] = value;
}

/** Cuts the super-segment in a large frame, whatever tunnel it is in; as `segment`. */
export function segmentFrame(pool: FramePool, frame: number, out: Int32Array, outAt: number): number {
  const { i32 } = pool.arena;
  const f = frame >> 2;
  const gso = i32[f + FRAME_GSO];
  const at = i32[f + FRAME_DATA];
  const inner = i32[f + FRAME_INNER];
  const outer = inner === 0 ? 0 : inner - at;
  return segment(pool.arena, at, i32[f + FRAME_LEN], gso >>> 16, gso & 0xffff, pool, out, outAt, outer);
}
