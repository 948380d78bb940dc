/**
 * Which groups of a key slot's words may be other than zero. A slot keeps its shape beside it; all words outside the
 * shape's groups, but for the packet words of the hot line (0, 2..10 and the low half of 11), *are* zero. So a plain IPv4
 * packet after another plain IPv4 packet clears nothing, and whoever compares keys compares only the shape's groups.
 */
import { OFS } from '../flow/layout.ts';

const word = (ofs: number): number => ofs >> 2;

export const SHAPE = {
  /** recirc_id, ct_zone, ct_state, ct_mark, dp_hash, pkt_mark, skb_priority: hot words that a fresh packet has not. */
  META: 1,
  CT: 2,
  TUNNEL: 4,
  PACKET_TYPE: 8,
  VLAN2: 16,
  MPLS: 32,
  IPV6: 64,
  ND: 128,
  LL: 256,
  IGMP: 512,
  NSH: 1024,
  /** Geneve options; always with `TUNNEL`. */
  TUN_OPTIONS: 2048,
} as const;

/** What the packet does not carry itself and recirculation keeps. */
export const SHAPE_METADATA = SHAPE.META | SHAPE.CT | SHAPE.TUNNEL | SHAPE.TUN_OPTIONS | SHAPE.PACKET_TYPE;

/** `[bit, first word, end word]`. ND has a second range. */
export const SHAPE_RANGES: readonly (readonly [number, number, number])[] = [
  [SHAPE.META, 1, 2],
  [SHAPE.META, 12, 17],
  [SHAPE.CT, word(OFS.ct_label), word(OFS.nsh_flags)],
  [SHAPE.TUNNEL, word(OFS.tun_id), word(OFS.tun_metadata)],
  [SHAPE.TUN_OPTIONS, word(OFS.tun_metadata), 148],
  [SHAPE.PACKET_TYPE, word(OFS.packet_type), word(OFS.packet_type) + 1],
  [SHAPE.VLAN2, word(OFS.vlan2_tpid), word(OFS.vlan2_tpid) + 1],
  [SHAPE.MPLS, word(OFS.mpls_lse0), word(OFS.ipv6_src)],
  [SHAPE.IPV6, word(OFS.ipv6_src), word(OFS.nd_target)],
  [SHAPE.ND, word(OFS.nd_target), word(OFS.arp_sha)],
  [SHAPE.ND, word(OFS.nd_reserved), word(OFS.igmp_group)],
  [SHAPE.LL, word(OFS.arp_sha), word(OFS.nd_reserved)],
  [SHAPE.IGMP, word(OFS.igmp_group), word(OFS.igmp_group) + 1],
  [SHAPE.NSH, word(OFS.nsh_flags), word(OFS.tun_id)],
];
const N = SHAPE_RANGES.length;
const BIT = Int32Array.from(SHAPE_RANGES, (r) => r[0]);
const FIRST = Int32Array.from(SHAPE_RANGES, (r) => r[1]);
const END = Int32Array.from(SHAPE_RANGES, (r) => r[2]);

const ZONE_HALF = 11;

export function clearShape(i32: Int32Array, slot: number, shape: number): void {
  if (shape & SHAPE.META) i32[slot + ZONE_HALF] &= 0xffff;
  for (let r = 0; r < N; r++)
    if (shape & BIT[r]) for (let w = slot + FIRST[r], end = slot + END[r]; w < end; w++) i32[w] = 0;
}

/** Copies the groups of `shape` from slot to slot; other words of the target stay. */
export function copyShape(i32: Int32Array, from: number, to: number, shape: number): void {
  if (shape & SHAPE.META) i32[to + ZONE_HALF] = (i32[to + ZONE_HALF] & 0xffff) | (i32[from + ZONE_HALF] & ~0xffff);
  for (let r = 0; r < N; r++) if (shape & BIT[r]) for (let w = FIRST[r]; w < END[r]; w++) i32[to + w] = i32[from + w];
}

export function sameShape(i32: Int32Array, a: number, b: number, shape: number): boolean {
  for (let r = 0; r < N; r++)
    if (shape & BIT[r]) for (let w = FIRST[r]; w < END[r]; w++) if (i32[a + w] !== i32[b + w]) return false;
  return true;
}

/** The shape of a key of which nothing is known: looks at every word. Not for the packet loop. */
export function shapeOf(i32: Int32Array, slot: number): number {
  let shape = i32[slot + ZONE_HALF] & ~0xffff ? SHAPE.META : 0;
  for (let r = 0; r < N; r++) for (let w = FIRST[r]; w < END[r]; w++) if (i32[slot + w] !== 0) shape |= BIT[r];
  return shape;
}
