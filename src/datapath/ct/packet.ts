/**
 * What connection tracking reads of a packet: its tuple, in the words of `T_…`, after checking that it is whole: lengths,
 * types, checksums. Packets that are not are invalid, as `ovs-fields(7)` says of `inv`.
 *
 * Of an ICMP error the tuple is that of the packet it complains about, turned round: the way the error itself goes.
 */
import type { ArenaViews } from '../../base/arena.ts';
import { FRAME_GSO, type FramePool } from '../../packet/frame.ts';
import type { PacketBatch } from '../batch.ts';
import { icmpPartner, icmpPorts, kindOf, PROTO, reversePorts, T_DST, T_KIND, T_PORTS, T_SRC } from './entry.ts';

const ETH_IP = 0x0008;
const ETH_IPV6 = 0xdd86;

export const PARSED = {
  INVALID: 0,
  /** The packet has the tuple itself. */
  OWN: 1,
  /** An error about a packet of the tuple. */
  ERROR: 2,
} as const;

export interface PacketReader {
  /** Writes the tuple of packet `i`, whose key slot is `k`, to `t`. */
  read(b: PacketBatch, i: number, k: number, zone: number, t: number): number;
  /** Where the transport header's segment ends, and where the packet inside an error begins, of the packet read last. */
  end(): number;
  inner(): number;
  innerTransport(): number;
  /** The packet's own transport protocol. */
  proto(): number;
  /** Ones' complement sum of bytes, folded to 16 bits, as loaded here. */
  sum(at: number, end: number, start: number): number;
  /** Sum of the pseudo header of a packet with these addresses. */
  pseudo(l3: number, isV6: boolean, proto: number, length: number): number;
}

/** `t` may be `from`. */
export function reverseTuple(i32: Int32Array, from: number, t: number): void {
  const kind = i32[from + T_KIND];
  const ports = reversePorts(i32[from + T_PORTS], kind);
  for (let w = 0; w < 4; w++) {
    const src = i32[from + T_SRC + w];
    i32[t + T_SRC + w] = i32[from + T_DST + w];
    i32[t + T_DST + w] = src;
  }
  i32[t + T_KIND] = kind;
  i32[t + T_PORTS] = ports;
}

export function makePacketReader(views: ArenaViews, pool: FramePool | null = null): PacketReader {
  const { u8, u16, i32 } = views;
  let segmentEnd = 0;
  let innerAt = 0;
  let innerTransport = 0;
  let ownProto = 0;
  let isV6 = false;

  const load32 = (at: number): number => u16[at >> 1] | (u16[(at >> 1) + 1] << 16);
  const be16 = (at: number): number => (u8[at] << 8) | u8[at + 1];

  function sum(at: number, end: number, start: number): number {
    let s = start;
    if (at & 2 && end - at >= 2) {
      s += u16[at >> 1];
      at += 2;
    }
    let w = at >> 2;
    for (const last = w + ((end - at) >> 2); w < last; w++) {
      const x = i32[w];
      s += (x & 0xffff) + (x >>> 16);
    }
    at += (end - at) & ~3;
    if (end - at >= 2) {
      s += u16[at >> 1];
      at += 2;
    }
    if (at < end) s += u8[at];
    while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
    return s;
  }

  function pseudo(l3: number, v6: boolean, proto: number, length: number): number {
    const s = v6 ? sum(l3 + 8, l3 + 40, 0) : sum(l3 + 12, l3 + 20, 0);
    return s + (proto << 8) + (((length & 0xff) << 8) | (length >> 8));
  }

  /** Its segments will have checksums; it has none. */
  function isSegmentedLater(frame: number): boolean {
    return pool?.isLarge(frame) === true && i32[(frame >> 2) + FRAME_GSO] !== 0;
  }

  /** Segments are checked over `sum`, which wants even addresses; a receiver never gives others. */
  function read(b: PacketBatch, i: number, k: number, zone: number, t: number): number {
    const l3 = b.l3[i];
    const l4 = b.l4[i];
    // A transport header that cannot be trusted, and fragments: nothing to track by.
    if (l4 === 0 || i32[k + 7] >>> 24 !== 0) return PARSED.INVALID;
    const type = i32[k + 6] & 0xffff;
    let proto: number;
    let end: number;
    if (type === ETH_IP) {
      isV6 = false;
      proto = u8[l3 + 9];
      end = l3 + be16(l3 + 2);
      if (sum(l3, l4, 0) !== 0xffff) return PARSED.INVALID;
      i32[t + T_SRC] = load32(l3 + 12);
      i32[t + T_DST] = load32(l3 + 16);
    } else if (type === ETH_IPV6) {
      isV6 = true;
      proto = i32[k + 7] & 0xff;
      end = l3 + 40 + be16(l3 + 4);
      for (let w = 0; w < 4; w++) {
        i32[t + T_SRC + w] = load32(l3 + 8 + w * 4);
        i32[t + T_DST + w] = load32(l3 + 24 + w * 4);
      }
    } else return PARSED.INVALID;
    segmentEnd = end;
    ownProto = proto;
    const size = end - l4;
    i32[t + T_KIND] = kindOf(zone, proto, isV6);
    switch (proto) {
      case PROTO.TCP: {
        if (size < 20) return PARSED.INVALID;
        const header = (u8[l4 + 12] >> 4) * 4;
        if (header < 20 || header > size) return PARSED.INVALID;
        if (!isSegmentedLater(b.frames[i]) && sum(l4, end, pseudo(l3, isV6, proto, size)) !== 0xffff)
          return PARSED.INVALID;
        i32[t + T_PORTS] = load32(l4);
        return u16[l4 >> 1] === 0 || u16[(l4 >> 1) + 1] === 0 ? PARSED.INVALID : PARSED.OWN;
      }
      case PROTO.UDP: {
        if (size < 8) return PARSED.INVALID;
        const length = be16(l4 + 4);
        if (length < 8 || length > size) return PARSED.INVALID;
        if (u16[(l4 + 6) >> 1] === 0) {
          if (isV6) return PARSED.INVALID;
        } else if (!isSegmentedLater(b.frames[i]) && sum(l4, end, pseudo(l3, isV6, proto, size)) !== 0xffff)
          return PARSED.INVALID;
        i32[t + T_PORTS] = load32(l4);
        return u16[l4 >> 1] === 0 || u16[(l4 >> 1) + 1] === 0 ? PARSED.INVALID : PARSED.OWN;
      }
      case PROTO.ICMP:
        if (isV6 || size < 8 || sum(l4, end, 0) !== 0xffff) return PARSED.INVALID;
        return readIcmp(l4, end, zone, t);
      case PROTO.ICMPV6:
        if (!isV6 || size < 8 || sum(l4, end, pseudo(l3, true, proto, size)) !== 0xffff) return PARSED.INVALID;
        return readIcmp(l4, end, zone, t);
      default:
        i32[t + T_PORTS] = 0;
        return PARSED.OWN;
    }
  }

  function isError(type: number): boolean {
    return isV6 ? type >= 1 && type <= 4 : type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
  }

  function readIcmp(l4: number, end: number, zone: number, t: number): number {
    const type = u8[l4];
    if (icmpPartner(type, isV6) >= 0) {
      i32[t + T_PORTS] = icmpPorts(u16[(l4 + 4) >> 1], type, u8[l4 + 1]);
      return PARSED.OWN;
    }
    if (!isError(type)) return PARSED.INVALID;
    innerAt = l4 + 8;
    if (!readInner(innerAt, end, zone, t)) return PARSED.INVALID;
    reverseTuple(i32, t, t);
    return PARSED.ERROR;
  }

  /** The packet inside an error: its headers, and as much of it as there is. */
  function readInner(l3: number, end: number, zone: number, t: number): boolean {
    let proto: number;
    let l4: number;
    if (isV6) {
      if (end - l3 < 40 || u8[l3] >> 4 !== 6) return false;
      proto = u8[l3 + 6];
      l4 = l3 + 40;
      // Options in front of the transport header.
      while (proto === 0 || proto === 43 || proto === 60) {
        if (end - l4 < 8) return false;
        proto = u8[l4];
        l4 += (u8[l4 + 1] + 1) * 8;
      }
      for (let w = 0; w < 4; w++) {
        i32[t + T_SRC + w] = load32(l3 + 8 + w * 4);
        i32[t + T_DST + w] = load32(l3 + 24 + w * 4);
      }
    } else {
      const header = (u8[l3] & 15) * 4;
      if (end - l3 < 20 || u8[l3] >> 4 !== 4 || header < 20) return false;
      // A later fragment has no ports.
      if ((be16(l3 + 6) & 0x1fff) !== 0) return false;
      proto = u8[l3 + 9];
      l4 = l3 + header;
      i32[t + T_SRC] = load32(l3 + 12);
      i32[t + T_DST] = load32(l3 + 16);
    }
    innerTransport = l4;
    i32[t + T_KIND] = kindOf(zone, proto, isV6);
    if (proto === PROTO.TCP || proto === PROTO.UDP) {
      if (end - l4 < 8) return false;
      i32[t + T_PORTS] = load32(l4);
    } else if (proto === (isV6 ? PROTO.ICMPV6 : PROTO.ICMP)) {
      if (end - l4 < 8 || icmpPartner(u8[l4], isV6) < 0) return false;
      i32[t + T_PORTS] = icmpPorts(u16[(l4 + 4) >> 1], u8[l4], u8[l4 + 1]);
    } else i32[t + T_PORTS] = 0;
    return true;
  }

  return {
    read,
    end: () => segmentEnd,
    inner: () => innerAt,
    innerTransport: () => innerTransport,
    proto: () => ownProto,
    sum,
    pseudo,
  };
}
