/** IPv4. RFC 791 */
import { get16, set16 } from './bytes.ts';
import { checksum } from './checksum.ts';

export const IPV4 = {
  verIhl: 0,
  tos: 1,
  totalLength: 2,
  id: 4,
  frag: 6,
  ttl: 8,
  proto: 9,
  checksum: 10,
  src: 12,
  dst: 16,
  length: 20,
} as const;

export const IPPROTO = { icmp: 1, igmp: 2, tcp: 6, udp: 17, gre: 47, esp: 50, ah: 51, icmpv6: 58, sctp: 132 } as const;

export const IP_MORE_FRAGMENTS = 0x2000;
export const IP_OFFSET_MASK = 0x1fff;

/** More bytes than this behind the packet are no Ethernet padding: something lies about its length. */
const MAX_PADDING = 255;

/** Header and total length when `[at, end)` holds a whole IPv4 packet, else null. */
export function checkIpv4(
  b: Uint8Array,
  at: number,
  end: number,
): { headerLength: number; totalLength: number } | null {
  const size = end - at;
  if (size < IPV4.length) return null;
  const headerLength = (b[at] & 15) * 4;
  const totalLength = get16(b, at + IPV4.totalLength);
  if (headerLength < IPV4.length || headerLength > size) return null;
  if (totalLength > size || headerLength > totalLength || size - totalLength > MAX_PADDING) return null;
  return { headerLength, totalLength };
}

export interface Ipv4Fields {
  readonly tos: number;
  readonly ttl: number;
  readonly proto: number;
  /** Flags and offset, as the 16-bit field holds them. */
  readonly frag: number;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
}

/** Header without options; `totalLength` includes it. The checksum is right. */
export function writeIpv4(b: Uint8Array, at: number, ip: Ipv4Fields, totalLength: number): number {
  b[at] = 0x45;
  b[at + IPV4.tos] = ip.tos;
  set16(b, at + IPV4.totalLength, totalLength);
  set16(b, at + IPV4.id, 0);
  set16(b, at + IPV4.frag, ip.frag);
  b[at + IPV4.ttl] = ip.ttl;
  b[at + IPV4.proto] = ip.proto;
  set16(b, at + IPV4.checksum, 0);
  b.set(ip.src, at + IPV4.src);
  b.set(ip.dst, at + IPV4.dst);
  set16(b, at + IPV4.checksum, checksum(b, at, IPV4.length));
  return at + IPV4.length;
}
