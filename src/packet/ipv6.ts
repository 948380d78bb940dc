/** IPv6 and its extension headers. RFC 8200 */
import { get16, set16, set32 } from './bytes.ts';

export const IPV6 = { flow: 0, payloadLength: 4, nextHeader: 6, hopLimit: 7, src: 8, dst: 24, length: 40 } as const;

export const IPV6_EXT = { hopByHop: 0, routing: 43, fragment: 44, ah: 51, destination: 60 } as const;

const MAX_PADDING = 255;

/** Length of header and payload when `[at, end)` holds a whole packet, else -1. */
export function checkIpv6(b: Uint8Array, at: number, end: number): number {
  const size = end - at;
  if (size < IPV6.length) return -1;
  const total = IPV6.length + get16(b, at + IPV6.payloadLength);
  return total > size || size - total > MAX_PADDING ? -1 : total;
}

export interface Ipv6Chain {
  /** The protocol behind the extension headers; `IPV6_EXT.fragment` for a later fragment. */
  readonly proto: number;
  /** Where it begins. */
  readonly at: number;
  /** Bit 0: a fragment; bit 1: not the first. */
  readonly frag: number;
}

/** Walks the extension headers from `at`; null when one is cut short. */
export function walkIpv6Extensions(b: Uint8Array, at: number, end: number, proto: number): Ipv6Chain | null {
  let frag = 0;
  for (;;) {
    switch (proto) {
      case IPV6_EXT.hopByHop:
      case IPV6_EXT.routing:
      case IPV6_EXT.destination:
      case IPV6_EXT.ah: {
        if (end - at < 8) return null;
        const length = proto === IPV6_EXT.ah ? (b[at + 1] + 2) * 4 : (b[at + 1] + 1) * 8;
        if (end - at < length) return null;
        proto = b[at];
        at += length;
        break;
      }
      case IPV6_EXT.fragment: {
        if (end - at < 8) return null;
        const offset = get16(b, at + 2);
        const next = b[at];
        at += 8;
        if (offset !== 0) {
          frag = 1;
          if ((offset & 0xfff8) !== 0) return { proto: IPV6_EXT.fragment, at, frag: 3 };
        }
        proto = next;
        break;
      }
      default:
        return { proto, at, frag };
    }
  }
}

export interface Ipv6Fields {
  readonly tos: number;
  readonly label: number;
  readonly hopLimit: number;
  readonly nextHeader: number;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
}

export function writeIpv6(b: Uint8Array, at: number, ip: Ipv6Fields, payloadLength: number): number {
  set32(b, at, 0x60000000 + ip.tos * 0x100000 + (ip.label & 0xfffff));
  set16(b, at + IPV6.payloadLength, payloadLength);
  b[at + IPV6.nextHeader] = ip.nextHeader;
  b[at + IPV6.hopLimit] = ip.hopLimit;
  b.set(ip.src, at + IPV6.src);
  b.set(ip.dst, at + IPV6.dst);
  return at + IPV6.length;
}
