/** One line about a packet's headers, as packet-ins and packet-outs show it: every field it has, and its checksum. */
import { extractFlow } from '../../flow/extract.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { formatMatch } from '../../flow/match-text.ts';

const ETH_IPV4 = 0x0800;
const ETH_ARP = 0x0806;
const ETH_RARP = 0x8035;
const ETH_IPV6 = 0x86dd;
const LATER_FRAGMENT = 2;

/** Where the transport header's checksum stands, how long it is, and what it is called. */
const CHECKSUMS: Readonly<Record<number, readonly [string, offset: number, bytes: number]>> = {
  1: ['icmp', 2, 2],
  6: ['tcp', 16, 2],
  17: ['udp', 6, 2],
  58: ['icmp6', 2, 2],
  132: ['sctp', 8, 4],
};

export function packetLine(packet: Uint8Array): string {
  const key = new FlowKey();
  extractFlow(packet, key);
  const mask = new FlowKey();
  const all = (ofs: number, bytes: number) => mask.u8.fill(0xff, ofs, ofs + bytes);
  all(OFS.eth_dst, 6);
  all(OFS.eth_src, 6);
  all(OFS.vlan_tci, 2);
  if (key.get16(OFS.vlan_tci) & 0x1000) all(OFS.vlan2_tci, 2);
  all(OFS.eth_type, 2);
  const type = key.get16(OFS.eth_type);
  const proto = key.get8(OFS.ip_proto);
  let checksum = '';
  if (type === ETH_IPV4 || type === ETH_IPV6) {
    all(OFS.ip_proto, 4);
    if (type === ETH_IPV4) all(OFS.ip_src, 8);
    else {
      all(OFS.ipv6_src, 32);
      mask.set32(OFS.ipv6_label, 0xfffff);
    }
    const isLater = (key.get8(OFS.ip_frag) & LATER_FRAGMENT) !== 0;
    const where = CHECKSUMS[proto];
    if (where !== undefined && !isLater) {
      all(OFS.tp_src, 4);
      if (proto === 6) mask.set16(OFS.tcp_flags, 0x0fff);
      if (proto === 58) {
        const icmpType = key.get16(OFS.tp_src);
        if (icmpType === 135 || icmpType === 136) {
          all(OFS.nd_target, 16);
          all(icmpType === 135 ? OFS.arp_sha : OFS.arp_tha, 6);
        }
      }
      checksum = checksumText(packet, type, where);
    }
    // Only what may be fragmented says so; the two low bits are all there is.
    mask.set8(OFS.ip_frag, 3);
  } else if (type === ETH_ARP || type === ETH_RARP) {
    all(OFS.ip_proto, 1);
    all(OFS.ip_src, 8);
    all(OFS.arp_sha, 6);
    all(OFS.arp_tha, 6);
  } else if (type === 0x8847 || type === 0x8848) mask.set32(OFS.mpls_lse0, 0xffffffff);
  return `${formatMatch(new Match(key, mask))}${checksum}\n`;
}

function checksumText(
  packet: Uint8Array,
  type: number,
  [name, offset, bytes]: readonly [string, number, number],
): string {
  let at = 12;
  while (at + 4 <= packet.length && [0x8100, 0x88a8].includes((packet[at] << 8) | packet[at + 1])) at += 4;
  at += 2;
  at += type === ETH_IPV4 ? (packet[at] & 15) * 4 : 40;
  const field = packet.subarray(at + offset, at + offset + bytes);
  if (field.length < bytes) return '';
  return ` ${name}_csum:${Number.parseInt(Buffer.from(field).toString('hex'), 16).toString(16)}`;
}
