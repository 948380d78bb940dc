/**
 * Writing headers of a packet in the arena: masked sets with incremental checksums (RFC 1624), tags and labels.
 *
 * Checksums are computed on 16-bit loads in this machine's byte order: the ones' complement sum does not mind (RFC 1071).
 * Addresses are byte offsets, keys and masks word indices; nothing here allocates, and a header that is not there is left
 * alone.
 */
import type { ArenaViews } from '../base/arena.ts';
import { crc32c } from '../packet/crc32c.ts';

export interface HeaderWriter {
  eth(p: number, key: number, mask: number): void;
  /** `key` is word 7 (proto, tos, ttl, frag) and the addresses. */
  ipv4(l3: number, l4: number, end: number, key: number, mask: number): void;
  /** `key` is word 7, then source, destination and label. */
  ipv6(l3: number, l4: number, end: number, proto: number, key: number, mask: number): void;
  ports(l4: number, end: number, proto: number, key: number, mask: number): void;
  icmp(l4: number, end: number, key: number, mask: number): void;
  arp(l3: number, end: number, key: number, mask: number): void;
  nd(l4: number, end: number, key: number, mask: number): void;
  ndExt(l4: number, end: number, key: number, mask: number): void;
  /** `key` is words of the NSH fields. */
  nsh(l3: number, end: number, key: number, mask: number): void;
  /** Replaces 32 bits under a mask, with no checksum. */
  word(at: number, key: number, mask: number): void;
}

const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;

/** From a key's word of flags and TTL to where they stand in the header, as loaded from memory. */
const nshHalf = (word: number): number =>
  ((word & 3) << 4) | (((word >>> 8) & 0x3f) >>> 2) | (((word >>> 8) & 3) << 14);

export function makeHeaderWriter(views: ArenaViews): HeaderWriter {
  const { u8, u16, i32 } = views;

  /** Sum of what the halfwords written since `begin` changed: ~old + new for each. */
  let delta = 0;

  /** Writes the 16 bits at `at` under mask; `value` and `mask` as loaded from a key. */
  function half(at: number, value: number, mask: number): void {
    if (mask === 0) return;
    const old = u16[at >> 1];
    const now = (old & ~mask) | (value & mask);
    if (now === old) return;
    u16[at >> 1] = now;
    delta += (~old & 0xffff) + now;
  }

  function wide(at: number, value: number, mask: number): void {
    half(at, value & 0xffff, mask & 0xffff);
    half(at + 2, value >>> 16, mask >>> 16);
  }

  function fold(sum: number): number {
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    return sum;
  }

  function apply(at: number): void {
    u16[at >> 1] = ~fold((~u16[at >> 1] & 0xffff) + delta) & 0xffff;
  }

  /** The transport's checksum after something of it, or of its pseudo header, changed. */
  function applyTransport(l4: number, end: number, proto: number, isV6: boolean): void {
    if (l4 === 0 || delta === 0) return;
    if (proto === TCP && l4 + 20 <= end) apply(l4 + 16);
    else if (proto === UDP && l4 + 8 <= end) {
      if (u16[(l4 + 6) >> 1] === 0 && !isV6) return;
      apply(l4 + 6);
      if (u16[(l4 + 6) >> 1] === 0) u16[(l4 + 6) >> 1] = 0xffff;
    } else if (isV6 && proto === ICMPV6 && l4 + 4 <= end) apply(l4 + 2);
  }

  /** Does a routing header follow? Then the checksum is over the final destination, not this one. RFC 8200 8.1 */
  function isRouted(l3: number, l4: number): boolean {
    let next = u8[l3 + 6];
    let at = l3 + 40;
    while (at < l4) {
      if (next === 43) return true;
      const length = next === 51 ? (u8[at + 1] + 2) * 4 : next === 44 ? 8 : (u8[at + 1] + 1) * 8;
      next = u8[at];
      at += length;
    }
    return false;
  }

  /** The CRC32c of an SCTP packet, its checksum taken as 0, as 32 bits loaded from memory. */
  function sctpSum(l4: number, end: number): number {
    const at = (l4 + 8) >> 1;
    const a = u16[at];
    const b = u16[at + 1];
    u16[at] = 0;
    u16[at + 1] = 0;
    const crc = crc32c(u8, l4, end - l4) | 0;
    u16[at] = a;
    u16[at + 1] = b;
    return crc;
  }

  return {
    eth(p, key, mask) {
      for (let w = 0; w < 3; w++) wide(p + w * 4, i32[key + w], i32[mask + w]);
    },

    ipv4(l3, l4, end, key, mask) {
      if (l3 + 20 > end) return;
      const proto = u8[l3 + 9];
      delta = 0;
      wide(l3 + 12, i32[key + 1], i32[mask + 1]);
      wide(l3 + 16, i32[key + 2], i32[mask + 2]);
      applyTransport(l4, end, proto, false);
      const k = i32[key];
      const m = i32[mask];
      // tos is the second byte of its halfword, ttl the first.
      half(l3, k & 0xff00, m & 0xff00);
      half(l3 + 8, (k >>> 16) & 0xff, (m >>> 16) & 0xff);
      if (delta !== 0) apply(l3 + 10);
    },

    ipv6(l3, l4, end, proto, key, mask) {
      if (l3 + 40 > end) return;
      delta = 0;
      for (let w = 0; w < 4; w++) wide(l3 + 8 + w * 4, i32[key + 1 + w], i32[mask + 1 + w]);
      const sourceDelta = delta;
      for (let w = 0; w < 4; w++) wide(l3 + 24 + w * 4, i32[key + 5 + w], i32[mask + 5 + w]);
      if (delta !== sourceDelta && isRouted(l3, l4)) delta = sourceDelta;
      applyTransport(l4, end, proto, true);
      const k = i32[key];
      const m = i32[mask];
      // Traffic class lies across two bytes: 4 bits of version, 8 of class, 20 of label.
      const tos = (k >>> 8) & 0xff;
      const tosMask = (m >>> 8) & 0xff;
      wide(l3, (tos >> 4) | ((tos & 15) << 12), (tosMask >> 4) | ((tosMask & 15) << 12));
      wide(l3, i32[key + 9], i32[mask + 9] & 0xffff0f00);
      half(l3 + 6, (k >>> 8) & 0xff00, (m >>> 8) & 0xff00);
      delta = 0;
    },

    ports(l4, end, proto, key, mask) {
      if (l4 === 0 || l4 + (proto === TCP ? 20 : proto === SCTP ? 12 : 8) > end) return;
      if (proto === SCTP) {
        const right = sctpSum(l4, end);
        wide(l4, i32[key], i32[mask]);
        // What was wrong before stays wrong.
        const change = right ^ sctpSum(l4, end);
        u16[(l4 + 8) >> 1] ^= change & 0xffff;
        u16[(l4 + 10) >> 1] ^= change >>> 16;
        return;
      }
      delta = 0;
      wide(l4, i32[key], i32[mask]);
      applyTransport(l4, end, proto, false);
    },

    icmp(l4, end, key, mask) {
      if (l4 === 0 || l4 + 8 > end) return;
      delta = 0;
      // The key has type and code each in the low byte of 16 bits.
      const value = ((i32[key] >>> 8) & 0xff) | ((i32[key] >>> 16) & 0xff00);
      half(l4, value, ((i32[mask] >>> 8) & 0xff) | ((i32[mask] >>> 16) & 0xff00));
      if (delta !== 0) apply(l4 + 2);
    },

    arp(l3, end, key, mask) {
      if (l3 + 28 > end) return;
      half(l3 + 6, (i32[key] & 0xff) << 8, (i32[mask] & 0xff) << 8);
      wide(l3 + 14, i32[key + 1], i32[mask + 1]);
      wide(l3 + 24, i32[key + 2], i32[mask + 2]);
      wide(l3 + 8, i32[key + 3], i32[mask + 3]);
      half(l3 + 12, i32[key + 4] & 0xffff, i32[mask + 4] & 0xffff);
      half(l3 + 18, i32[key + 4] >>> 16, i32[mask + 4] >>> 16);
      wide(l3 + 20, i32[key + 5], i32[mask + 5]);
    },

    nd(l4, end, key, mask) {
      if (l4 === 0 || l4 + 24 > end) return;
      delta = 0;
      for (let w = 0; w < 4; w++) wide(l4 + 8 + w * 4, i32[key + w], i32[mask + w]);
      for (let at = l4 + 24; at + 8 <= end; ) {
        const length = u8[at + 1] * 8;
        if (length === 0 || at + length > end) break;
        const option = u8[at];
        if ((option === 1 || option === 2) && length === 8) {
          // Source address: words 4 and half of 5; target address: the other half of 5, and 6.
          const from = ((key + 4) << 1) + (option - 1) * 3;
          const under = ((mask + 4) << 1) + (option - 1) * 3;
          for (let h = 0; h < 3; h++) half(at + 2 + h * 2, u16[from + h], u16[under + h]);
        }
        at += length;
      }
      if (delta !== 0) apply(l4 + 2);
    },

    ndExt(l4, end, key, mask) {
      if (l4 === 0 || l4 + 8 > end) return;
      delta = 0;
      wide(l4 + 4, i32[key], i32[mask]);
      if (l4 + 32 <= end) half(l4 + 24, i32[key + 1] & 0xff, i32[mask + 1] & 0xff);
      if (delta !== 0) apply(l4 + 2);
    },

    nsh(l3, end, key, mask) {
      if (l3 + 8 > end) return;
      // Flags and TTL share the header's first 16 bits with its version and length.
      half(l3, nshHalf(i32[key]), nshHalf(i32[mask]));
      wide(l3 + 4, i32[key + 1], i32[mask + 1]);
      if (u8[l3 + 2] !== 1 || l3 + 24 > end) return;
      for (let w = 2; w < 6; w++) wide(l3 + 4 * w, i32[key + w], i32[mask + w]);
    },

    word(at, key, mask) {
      wide(at, i32[key], i32[mask]);
    },
  };
}
