/**
 * The fast path's flow extraction: from frames in the arena to key slots, `OFS` saying where each field goes. What is
 * extracted is what `ovs-fields(7)` says; `src/flow/extract.ts` says the same for the slow path and a test holds both equal.
 *
 * Two ways through: TCP and UDP over plain IPv4, aligned as our receivers align it, is read in words by the loop itself;
 * everything else goes packet by packet through `parse`. Nothing throws: a header that is cut short or lies about its length
 * ends the parse, and its fields stay zero.
 *
 * All multi-byte loads are little-endian loads of network-order bytes, which is just what a key is made of.
 */
import type { ArenaViews } from '../base/arena.ts';
import { OFS } from '../flow/layout.ts';
import { type PacketBatch, SLOT_WORDS } from './batch.ts';
import { clearShape, SHAPE, SHAPE_METADATA } from './shape.ts';

// Network-order 16-bit numbers as a little-endian load sees them.
const ETH_IP = 0x0008;
const ETH_ARP = 0x0608;
const ETH_RARP = 0x3580;
const ETH_IPV6 = 0xdd86;
const ETH_VLAN = 0x0081;
const ETH_QINQ = 0xa888;
const ETH_MPLS = 0x4788;
const ETH_MPLS_MCAST = 0x4888;
const ETH_NSH = 0x4f89;
/** `0x05ff`: an 802.2 frame without SNAP. */
const ETH_NONE = 0xff05;
const VLAN_CFI = 0x0010;
const FRAG_BITS = 0xff3f;
/** An IP packet with more than this behind it is not believed. */
export const MAX_PADDING = 255;

const PROTO = { ICMP: 1, IGMP: 2, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;
const EXT = { HOPOPTS: 0, ROUTING: 43, FRAGMENT: 44, AH: 51, DSTOPTS: 60 } as const;

const W = {
  skb_priority: OFS.skb_priority >> 2,
  vlan2: OFS.vlan2_tpid >> 2,
  packet_type: OFS.packet_type >> 2,
  mpls: OFS.mpls_lse0 >> 2,
  ipv6_src: OFS.ipv6_src >> 2,
  ipv6_label: OFS.ipv6_label >> 2,
  nd_target: OFS.nd_target >> 2,
  sha: OFS.arp_sha >> 2,
  nd_reserved: OFS.nd_reserved >> 2,
  nd_options: OFS.nd_options_type >> 2,
  igmp: OFS.igmp_group >> 2,
  nsh: OFS.nsh_flags >> 2,
  tun_id: OFS.tun_id >> 2,
} as const;

export const byteSwap32 = (x: number): number =>
  (x >>> 24) | ((x >>> 8) & 0xff00) | ((x << 8) & 0xff0000) | (x << 24) | 0;

const imul = Math.imul;
export function mix(h: number, d: number): number {
  d = imul(d, 0xcc9e2d51);
  d = (d << 15) | (d >>> 17);
  h ^= imul(d, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  return (imul(h, 5) + 0xe6546b64) | 0;
}

export function finishHash(h: number): number {
  let x = h ^ (h >>> 16);
  x = imul(x, 0x85ebca6b);
  return x ^ (x >>> 13);
}

export interface Extractor {
  /** Packets 0 to n-1 of the batch, as received from the port whose number, byte-swapped, is `inPort`. */
  received(b: PacketBatch, n: number, inPort: number): void;
  /** Packet `i`, as received; whatever it is. */
  one(b: PacketBatch, i: number, inPort: number): void;
  /** Packet `i`, whose slot and shape already hold its metadata and nothing else. */
  again(b: PacketBatch, i: number): void;
  /** At most this many VLAN tags are matched (1 or 2); the rest is payload. */
  setVlanLimit(limit: number): void;
}

export function makeExtractor(views: ArenaViews): Extractor {
  const { u8, u16, i32 } = views;
  let vlanLimit = 2;

  function received(b: PacketBatch, n: number, inPort: number): void {
    const { frames, shape, len: lens, l3, l4, hash } = b;
    let k = b.slots;
    for (let i = 0; i < n; i++, k += SLOT_WORDS) {
      const f = frames[i] >> 2;
      const len = i32[f];
      const p = i32[f + 1];
      const h = p >> 1;
      if (shape[i] !== 0) {
        clearShape(i32, k, shape[i]);
        shape[i] = 0;
      }
      i32[k] = inPort;
      if ((p & 3) === 2 && len >= 42 && u16[h + 6] === ETH_IP && u8[p + 14] === 0x45) {
        const w = (p + 14) >> 2;
        const proto = u8[p + 23];
        const total = (u8[p + 16] << 8) | u8[p + 17];
        const frag = u16[h + 10] & FRAG_BITS;
        // A TCP header is long enough if its data offset says so and the packet holds it.
        if (
          frag === 0 &&
          total <= len - 14 &&
          len - 14 - total <= MAX_PADDING &&
          ((proto === PROTO.UDP && total >= 28) ||
            (proto === PROTO.TCP && total >= 40 && (u8[p + 46] & 0xf0) >= 0x50 && (u8[p + 46] >> 4) * 4 <= total - 20))
        ) {
          const src = i32[w + 3];
          const dst = i32[w + 4];
          const ports = i32[w + 5];
          i32[k + 2] = u16[h] | (u16[h + 1] << 16);
          i32[k + 3] = u16[h + 2] | (u16[h + 3] << 16);
          i32[k + 4] = u16[h + 4] | (u16[h + 5] << 16);
          i32[k + 5] = 0;
          i32[k + 6] = ETH_IP;
          i32[k + 7] = proto | (u8[p + 15] << 8) | (u8[p + 22] << 16);
          i32[k + 8] = src;
          i32[k + 9] = dst;
          i32[k + 10] = ports;
          i32[k + 11] = proto === PROTO.TCP ? u16[h + 23] & 0xff0f : 0;
          hash[i] = finishHash(mix(mix(mix(inPort ^ proto, src), dst), ports));
          lens[i] = len;
          l3[i] = p + 14;
          l4[i] = p + 34;
          continue;
        }
      }
      parse(b, i, k, p, len);
    }
  }

  function one(b: PacketBatch, i: number, inPort: number): void {
    const k = b.slots + i * SLOT_WORDS;
    if (b.shape[i] !== 0) {
      clearShape(i32, k, b.shape[i]);
      b.shape[i] = 0;
    }
    i32[k] = inPort;
    again(b, i);
  }

  function again(b: PacketBatch, i: number): void {
    const f = b.frames[i] >> 2;
    parse(b, i, b.slots + i * SLOT_WORDS, i32[f + 1], i32[f]);
  }

  function load32(at: number): number {
    return u16[at >> 1] | (u16[(at >> 1) + 1] << 16);
  }

  /** Makes an odd begin even, so that all 16-bit loads are aligned. Only somebody who pops odd bytes could need it. */
  function align(f: number, p: number, len: number): number {
    u8.copyWithin(p - 1, p, p + len);
    i32[f + 1] = p - 1;
    return p - 1;
  }

  function parse(b: PacketBatch, i: number, k: number, begin: number, len: number): void {
    let p = begin & 1 ? align(b.frames[i] >> 2, begin, len) : begin;
    const end0 = p + len;
    let shape = b.shape[i] & SHAPE_METADATA;
    b.len[i] = len;
    b.l3[i] = 0;
    b.l4[i] = 0;
    let type = 0;
    let kind = 0;
    for (let w = 2; w < 11; w++) i32[k + w] = 0;
    i32[k + 11] &= ~0xffff;

    if (shape & SHAPE.PACKET_TYPE) {
      // Namespace 1: the packet begins at layer 3 and the type is its Ethernet type.
      const pt = i32[k + W.packet_type];
      kind = ((pt >>> 8) & 0xff) | 0x0100;
      type = pt >>> 16;
    } else {
      if (len < 14) {
        finish(b, i, k, shape);
        return;
      }
      i32[k + 2] = load32(p);
      i32[k + 3] = load32(p + 4);
      i32[k + 4] = load32(p + 8);
      p += 12;
      let tags = 0;
      while (tags < vlanLimit) {
        const tpid = u16[p >> 1];
        if ((tpid !== ETH_VLAN && tpid !== ETH_QINQ) || end0 - p < 6) break;
        const tag = tpid | ((u16[(p >> 1) + 1] | VLAN_CFI) << 16);
        if (tags === 0) i32[k + 5] = tag;
        else {
          i32[k + W.vlan2] = tag;
          shape |= SHAPE.VLAN2;
        }
        tags++;
        p += 4;
      }
      type = u16[p >> 1];
      p += 2;
      if ((type & 0xff) < 6) {
        // A length: 802.2, and perhaps SNAP with organization 0 behind it.
        const h = p >> 1;
        if (end0 - p >= 8 && u16[h] === 0xaaaa && u16[h + 1] === 0x0003 && u16[h + 2] === 0) {
          type = u16[h + 3];
          p += 8;
          if ((type & 0xff) < 6) type = ETH_NONE;
        } else type = ETH_NONE;
      }
    }
    i32[k + 6] = type | (kind << 16);
    b.l3[i] = p;
    const size = end0 - p;

    if (type === ETH_IP) ipv4(b, i, k, p, size);
    else if (type === ETH_IPV6) shape = ipv6(b, i, k, p, size, shape);
    else if (type === ETH_ARP || type === ETH_RARP) shape = arp(k, p, size, shape);
    else if (type === ETH_MPLS || type === ETH_MPLS_MCAST) {
      for (let n = 0, at = p; n < 3 && end0 - at >= 4; n++, at += 4) {
        i32[k + W.mpls + n] = load32(at);
        shape |= SHAPE.MPLS;
        if (u8[at + 2] & 1) break;
      }
    } else if (type === ETH_NSH) shape = nsh(k, p, size, shape);
    if (shapeAfterL4 !== 0) {
      shape |= shapeAfterL4;
      shapeAfterL4 = 0;
    }
    finish(b, i, k, shape);
  }

  /** Groups that `transport` has filled. */
  let shapeAfterL4 = 0;

  function finish(b: PacketBatch, i: number, k: number, shape: number): void {
    b.shape[i] = shape;
    let x = i32[k] ^ (i32[k + 7] & 0xff);
    if (shape & SHAPE.META) x = mix(x, i32[k + 1] ^ i32[k + 12]);
    if (shape & SHAPE.TUNNEL) x = mix(x, i32[k + W.tun_id + 1] ^ i32[k + W.tun_id + 2]);
    x = mix(mix(mix(x, i32[k + 8]), i32[k + 9]), i32[k + 10]);
    if (shape & SHAPE.IPV6) for (let w = k + W.ipv6_src, e = w + 8; w < e; w++) x = mix(x, i32[w]);
    else if ((i32[k + 6] & 0xffff) !== ETH_IP) x = mix(mix(mix(x, i32[k + 2]), i32[k + 3]), i32[k + 4]);
    b.hash[i] = finishHash(x);
  }

  function ipv4(b: PacketBatch, i: number, k: number, p: number, size: number): void {
    if (size < 20) return;
    const headerLength = (u8[p] & 15) * 4;
    const total = (u8[p + 2] << 8) | u8[p + 3];
    if (headerLength < 20 || headerLength > size || total > size || headerLength > total || size - total > MAX_PADDING)
      return;
    const fragBits = u16[(p >> 1) + 3] & FRAG_BITS;
    // Offset other than 0: a later fragment. (Bit 5 of the first byte is "more fragments".)
    const frag = fragBits === 0 ? 0 : (fragBits & ~0x0020) !== 0 ? 3 : 1;
    const proto = u8[p + 9];
    i32[k + 7] = proto | (u8[p + 1] << 8) | (u8[p + 8] << 16) | (frag << 24);
    i32[k + 8] = load32(p + 12);
    i32[k + 9] = load32(p + 16);
    if (frag & 2) return;
    b.l4[i] = p + headerLength;
    transport(k, p + headerLength, total - headerLength, proto);
  }

  function ipv6(b: PacketBatch, i: number, k: number, p: number, size: number, shape: number): number {
    if (size < 40) return shape;
    const payload = (u8[p + 4] << 8) | u8[p + 5];
    if (payload + 40 > size || size - payload - 40 > MAX_PADDING) return shape;
    for (let w = 0; w < 8; w++) i32[k + W.ipv6_src + w] = load32(p + 8 + w * 4);
    i32[k + W.ipv6_label] = 0;
    shape |= SHAPE.IPV6;
    const end = p + 40 + payload;
    let at = p + 40;
    let proto = u8[p + 6];
    let frag = 0;
    for (;;) {
      if (proto === EXT.HOPOPTS || proto === EXT.ROUTING || proto === EXT.DSTOPTS) {
        if (end - at < 8) return shape;
        const length = (u8[at + 1] + 1) * 8;
        if (end - at < length) return shape;
        proto = u8[at];
        at += length;
      } else if (proto === EXT.AH) {
        if (end - at < 8) return shape;
        const length = (u8[at + 1] + 2) * 4;
        if (end - at < length) return shape;
        proto = u8[at];
        at += length;
      } else if (proto === EXT.FRAGMENT) {
        if (end - at < 8) return shape;
        // All bits zero: an "atomic" fragment, which is a whole packet. RFC 6946
        if ((u8[at + 2] | u8[at + 3]) !== 0) frag = 1;
        // The offset is the upper 13 bits.
        if (u8[at + 2] !== 0 || (u8[at + 3] & 0xf8) !== 0) {
          frag = 3;
          break;
        }
        proto = u8[at];
        at += 8;
      } else break;
    }
    i32[k + W.ipv6_label] = load32(p) & 0xffff0f00;
    i32[k + 7] = proto | ((((u8[p] << 4) | (u8[p + 1] >> 4)) & 0xff) << 8) | (u8[p + 7] << 16) | (frag << 24);
    if (frag & 2) return shape;
    b.l4[i] = at;
    transport(k, at, end - at, proto);
    return shape;
  }

  /** By the protocol's number alone: ICMPv6 over IPv4 is read too, as in the original. */
  function transport(k: number, p: number, size: number, proto: number): void {
    if (proto === PROTO.TCP) {
      if (size < 20) return;
      const headerLength = (u8[p + 12] >> 4) * 4;
      if (headerLength < 20 || headerLength > size) return;
      i32[k + 10] = load32(p);
      i32[k + 11] |= u16[(p >> 1) + 6] & 0xff0f;
    } else if (proto === PROTO.UDP) {
      if (size >= 8) i32[k + 10] = load32(p);
    } else if (proto === PROTO.SCTP) {
      if (size >= 12) i32[k + 10] = load32(p);
    } else if (proto === PROTO.ICMP) {
      if (size >= 8) i32[k + 10] = (u8[p] << 8) | (u8[p + 1] << 24);
    } else if (proto === PROTO.IGMP) {
      if (size < 8) return;
      i32[k + 10] = (u8[p] << 8) | (u8[p + 1] << 24);
      i32[k + W.igmp] = load32(p + 4);
      shapeAfterL4 |= SHAPE.IGMP;
    } else if (proto === PROTO.ICMPV6) {
      if (size >= 8) icmpv6(k, p, size);
    }
  }

  function icmpv6(k: number, p: number, size: number): void {
    const type = u8[p];
    const code = u8[p + 1];
    i32[k + 10] = (type << 8) | (code << 24);
    if (code !== 0 || (type !== 135 && type !== 136)) return;
    for (let w = W.nd_target; w <= W.nd_options; w++) i32[k + w] = 0;
    shapeAfterL4 |= SHAPE.ND | SHAPE.LL;
    i32[k + W.nd_reserved] = load32(p + 4);
    if (size < 24) return;
    for (let w = 0; w < 4; w++) i32[k + W.nd_target + w] = load32(p + 8 + w * 4);
    const end = p + size;
    let at = p + 24;
    const sll = (k + W.sha) * 4;
    let firstOption = 0;
    while (end - at >= 8) {
      const length = u8[at + 1] * 8;
      if (length === 0 || length > end - at) break;
      const option = u8[at];
      if ((option === 1 || option === 2) && length === 8) {
        const to = option === 1 ? sll : sll + 6;
        if ((u16[to >> 1] | u16[(to >> 1) + 1] | u16[(to >> 1) + 2]) !== 0) {
          // The same address twice: the packet lies, and nothing of it is believed.
          for (let w = 0; w < 4; w++) i32[k + W.nd_target + w] = 0;
          for (let w = 0; w < 3; w++) i32[k + W.sha + w] = 0;
          firstOption = 0;
          break;
        }
        for (let j = 0; j < 3; j++) u16[(to >> 1) + j] = u16[(at >> 1) + 1 + j];
        if (firstOption === 0) firstOption = option;
      }
      at += length;
    }
    u8[(k + W.nd_options) * 4] = firstOption;
  }

  function arp(k: number, p: number, size: number, shape: number): number {
    const h = p >> 1;
    if (size < 28 || u16[h] !== 0x0100 || u16[h + 1] !== ETH_IP || u16[h + 2] !== 0x0406) return shape;
    if (u8[p + 6] === 0) i32[k + 7] = u8[p + 7];
    i32[k + 8] = load32(p + 14);
    i32[k + 9] = load32(p + 24);
    i32[k + W.sha] = load32(p + 8);
    i32[k + W.sha + 1] = u16[h + 6] | (u16[h + 9] << 16);
    i32[k + W.sha + 2] = load32(p + 20);
    return shape | SHAPE.LL;
  }

  function nsh(k: number, p: number, size: number, shape: number): number {
    if (size < 8) return shape;
    const first = (u8[p] << 8) | u8[p + 1];
    const length = (first & 0x3f) * 4;
    const mdType = u8[p + 2];
    if (first >>> 14 !== 0 || length > size || length < 8) return shape;
    if (mdType === 1 && length !== 24) return shape;
    const n = k + W.nsh;
    i32[n] = ((first >> 12) & 3) | (((first >> 6) & 63) << 8) | (mdType << 16) | (u8[p + 3] << 24);
    i32[n + 1] = load32(p + 4);
    for (let w = 0; w < 4; w++) i32[n + 2 + w] = mdType === 1 ? load32(p + 8 + w * 4) : 0;
    return shape | SHAPE.NSH;
  }

  return {
    received,
    one,
    again,
    setVlanLimit(limit) {
      vlanLimit = limit === 1 ? 1 : 2;
    },
  };
}
