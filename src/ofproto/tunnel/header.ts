/** The outer headers of a tunnel's packets, all but what differs from packet to packet. RFC 7348, RFC 8926, RFC 2890 */
import { isMapped, type TunnelType } from '../../netdev/tunnel-config.ts';

export interface OuterHeader {
  /** GRE's word for what is inside; without it, an Ethernet frame. */
  readonly protocol?: number;
  readonly type: TunnelType;
  readonly srcMac: Uint8Array;
  readonly dstMac: Uint8Array;
  /** 16 bytes each, of one family. */
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly tos: number;
  readonly ttl: number;
  readonly dontFragment: boolean;
  readonly dstPort: number;
  readonly csum: boolean;
  readonly key: bigint;
  readonly hasKey: boolean;
  readonly hasSequence: boolean;
  readonly oam: boolean;
  readonly options: readonly GeneveOption[];
}

export interface GeneveOption {
  readonly optionClass: number;
  readonly type: number;
  /** A multiple of 4 bytes. */
  readonly data: Uint8Array;
}

export const IPPROTO_GRE = 47;
export const IPPROTO_UDP = 17;
const PROTO_TEB = 0x6558;

export function buildHeader(o: OuterHeader): Uint8Array {
  const isIpv4 = isMapped(o.dst);
  const optionBytes = o.options.reduce((n, option) => n + 4 + option.data.length, 0);
  const greBytes = 4 + (o.csum ? 4 : 0) + (o.hasKey ? 4 : 0) + (o.hasSequence ? 4 : 0);
  const own = o.type === 'gre' ? greBytes : 16 + optionBytes;
  const h = new Uint8Array(14 + (isIpv4 ? 20 : 40) + own);
  const v = new DataView(h.buffer);
  h.set(o.dstMac, 0);
  h.set(o.srcMac, 6);
  v.setUint16(12, isIpv4 ? 0x0800 : 0x86dd);
  const proto = o.type === 'gre' ? IPPROTO_GRE : IPPROTO_UDP;
  if (isIpv4) {
    h[14] = 0x45;
    h[15] = o.tos;
    v.setUint16(20, o.dontFragment ? 0x4000 : 0);
    h[22] = o.ttl;
    h[23] = proto;
    h.set(o.src.subarray(12), 26);
    h.set(o.dst.subarray(12), 30);
  } else {
    v.setUint32(14, ((6 << 28) | (o.tos << 20)) >>> 0);
    h[20] = proto;
    h[21] = o.ttl;
    h.set(o.src, 22);
    h.set(o.dst, 38);
  }
  const l4 = isIpv4 ? 34 : 54;
  if (o.type === 'gre') writeGre(v, l4, o);
  else {
    v.setUint16(l4 + 2, o.dstPort);
    // IPv6 has no other checksum. RFC 8200 8.1
    v.setUint16(l4 + 6, o.csum || !isIpv4 ? 0xffff : 0);
    const at = l4 + 8;
    v.setUint32(at + 4, Number((o.key & 0xffffffn) << 8n));
    if (o.type === 'vxlan') v.setUint32(at, 0x08000000);
    else writeGeneve(h, v, at, o, optionBytes);
  }
  return h;
}

function writeGre(v: DataView, l4: number, o: OuterHeader): void {
  v.setUint16(l4, (o.csum ? 0x8000 : 0) | (o.hasKey ? 0x2000 : 0) | (o.hasSequence ? 0x1000 : 0));
  v.setUint16(l4 + 2, o.protocol ?? PROTO_TEB);
  if (o.hasKey) v.setUint32(l4 + 4 + (o.csum ? 4 : 0), Number(o.key & 0xffffffffn));
}

function writeGeneve(h: Uint8Array, v: DataView, at: number, o: OuterHeader, optionBytes: number): void {
  const isCritical = o.options.some((option) => option.type & 0x80);
  h[at] = optionBytes / 4;
  h[at + 1] = (o.oam ? 0x80 : 0) | (isCritical ? 0x40 : 0);
  v.setUint16(at + 2, PROTO_TEB);
  let p = at + 8;
  for (const { optionClass, type, data } of o.options) {
    v.setUint16(p, optionClass);
    h[p + 2] = type;
    h[p + 3] = data.length / 4;
    h.set(data, p + 4);
    p += 4 + data.length;
  }
}
