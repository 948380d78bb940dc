/**
 * The slow path's flow extraction: what `ovs-fields(7)` says of a packet, malformed and cut-short ones included. The fast path has an extraction of its own
 * (`src/datapath/extract.ts`), held equal to this by test.
 *
 * A header that is not whole leaves its fields zero and ends the parse; nothing throws.
 */
import { ARP, checkArp } from '../packet/arp.ts';
import { get16, get32 } from '../packet/bytes.ts';
import { ETH, ETH_TYPE, isMplsType, isVlanType, readEthertype } from '../packet/ethernet.ts';
import { checkIpv4, IP_MORE_FRAGMENTS, IP_OFFSET_MASK, IPPROTO, IPV4 } from '../packet/ipv4.ts';
import { checkIpv6, IPV6, walkIpv6Extensions } from '../packet/ipv6.ts';
import { ICMPV6_LENGTH, ND, ND_ADVERT, ND_SOLICIT, readNdOptions } from '../packet/nd.ts';
import { NSH, readNsh } from '../packet/nsh.ts';
import { checkTcp, ICMP, IGMP, SCTP, TCP, UDP } from '../packet/transport.ts';
import type { FlowKey } from './key.ts';
import { OFS } from './layout.ts';

const VLAN_CFI = 0x1000;
const MAX_MPLS = 3;

/** Words that come from the packet itself; all others are the caller's metadata. */
const PACKET_WORDS: readonly (readonly [first: number, end: number])[] = [
  [OFS.eth_dst >> 2, OFS.tcp_flags >> 2],
  [OFS.vlan2_tpid >> 2, OFS.packet_type >> 2],
  [OFS.mpls_lse0 >> 2, OFS.ct_label >> 2],
  [OFS.nsh_flags >> 2, OFS.tun_id >> 2],
];

/**
 * Fills in everything that `packet` says. What `into` knows beside the packet (ports, recirculation, tunnel, conntrack, registers) stays; its
 * `packet_type` says whether the packet begins with an Ethernet header.
 */
export function extractFlow(packet: Uint8Array, into: FlowKey, vlanLimit = 2): void {
  for (const [first, end] of PACKET_WORDS) into.w.fill(0, first, end);
  into.set16(OFS.tcp_flags, 0);
  const end = packet.length;
  const packetType = into.get32(OFS.packet_type);
  let at = 0;
  let type: number;
  if (packetType === 0) {
    if (end < ETH.length) return;
    into.u8.set(packet.subarray(ETH.dst, ETH.src), OFS.eth_dst);
    into.u8.set(packet.subarray(ETH.src, ETH.type), OFS.eth_src);
    at = ETH.type;
    for (let tags = 0; tags < vlanLimit && isVlanType(get16(packet, at)) && end - at >= 6; tags++) {
      const ofs = tags === 0 ? OFS.vlan_tpid : OFS.vlan2_tpid;
      into.set16(ofs, get16(packet, at));
      into.set16(ofs + 2, get16(packet, at + 2) | VLAN_CFI);
      at += 4;
    }
    ({ type, next: at } = readEthertype(packet, at, end));
  } else {
    // Namespace 1 is Ethertypes: the packet begins at layer 3.
    type = packetType & 0xffff;
    into.set16(OFS.l2_kind, (((packetType >>> 16) & 0xff) << 8) | 1);
  }
  into.set16(OFS.eth_type, type);
  if (type === ETH_TYPE.ip) extractIpv4(packet, at, end, into);
  else if (type === ETH_TYPE.ipv6) extractIpv6(packet, at, end, into);
  else if (type === ETH_TYPE.arp || type === ETH_TYPE.rarp) extractArp(packet, at, end, into);
  else if (isMplsType(type)) extractMpls(packet, at, end, into);
  else if (type === ETH_TYPE.nsh) extractNsh(packet, at, end, into);
}

function extractMpls(b: Uint8Array, at: number, end: number, into: FlowKey): void {
  for (let i = 0; i < MAX_MPLS && end - at >= 4; i++, at += 4) {
    const lse = get32(b, at);
    into.set32(OFS.mpls_lse0 + 4 * i, lse);
    if (lse & 0x100) return;
  }
}

function extractArp(b: Uint8Array, at: number, end: number, into: FlowKey): void {
  if (!checkArp(b, at, end)) return;
  const op = get16(b, at + ARP.op);
  if (op <= 0xff) into.u8[OFS.ip_proto] = op;
  into.set32(OFS.ip_src, get32(b, at + ARP.spa));
  into.set32(OFS.ip_dst, get32(b, at + ARP.tpa));
  into.u8.set(b.subarray(at + ARP.sha, at + ARP.spa), OFS.arp_sha);
  into.u8.set(b.subarray(at + ARP.tha, at + ARP.tpa), OFS.arp_tha);
}

function extractIpv4(b: Uint8Array, at: number, end: number, into: FlowKey): void {
  const lengths = checkIpv4(b, at, end);
  if (!lengths) return;
  const frag = get16(b, at + IPV4.frag);
  const isLater = (frag & IP_OFFSET_MASK) !== 0;
  const proto = b[at + IPV4.proto];
  into.set32(OFS.ip_src, get32(b, at + IPV4.src));
  into.set32(OFS.ip_dst, get32(b, at + IPV4.dst));
  into.u8[OFS.ip_proto] = proto;
  into.u8[OFS.ip_tos] = b[at + IPV4.tos];
  into.u8[OFS.ip_ttl] = b[at + IPV4.ttl];
  into.u8[OFS.ip_frag] = isLater ? 3 : (frag & IP_MORE_FRAGMENTS) !== 0 ? 1 : 0;
  if (!isLater) extractTransport(b, at + lengths.headerLength, at + lengths.totalLength, proto, into);
}

function extractIpv6(b: Uint8Array, at: number, end: number, into: FlowKey): void {
  const total = checkIpv6(b, at, end);
  if (total < 0) return;
  into.u8.set(b.subarray(at + IPV6.src, at + IPV6.length), OFS.ipv6_src);
  const chain = walkIpv6Extensions(b, at + IPV6.length, at + total, b[at + IPV6.nextHeader]);
  if (!chain) return;
  const flow = get32(b, at);
  into.set32(OFS.ipv6_label, flow & 0xfffff);
  into.u8[OFS.ip_proto] = chain.proto;
  into.u8[OFS.ip_tos] = (flow >>> 20) & 0xff;
  into.u8[OFS.ip_ttl] = b[at + IPV6.hopLimit];
  into.u8[OFS.ip_frag] = chain.frag;
  if ((chain.frag & 2) === 0) extractTransport(b, chain.at, at + total, chain.proto, into);
}

function extractTransport(b: Uint8Array, at: number, end: number, proto: number, into: FlowKey): void {
  const size = end - at;
  switch (proto) {
    case IPPROTO.tcp:
      if (!checkTcp(b, at, end)) return;
      into.set32(OFS.tp_src, get32(b, at + TCP.src));
      into.set16(OFS.tcp_flags, get16(b, at + TCP.offsetFlags) & 0x0fff);
      return;
    case IPPROTO.udp:
      if (size >= UDP.length) into.set32(OFS.tp_src, get32(b, at + UDP.src));
      return;
    case IPPROTO.sctp:
      if (size >= SCTP.length) into.set32(OFS.tp_src, get32(b, at + SCTP.src));
      return;
    case IPPROTO.icmp:
      if (size < ICMP.length) return;
      into.set16(OFS.tp_src, b[at + ICMP.type]);
      into.set16(OFS.tp_dst, b[at + ICMP.code]);
      return;
    case IPPROTO.igmp:
      if (size < IGMP.length) return;
      into.set16(OFS.tp_src, b[at + IGMP.type]);
      into.set16(OFS.tp_dst, b[at + IGMP.code]);
      into.set32(OFS.igmp_group, get32(b, at + IGMP.group));
      return;
    case IPPROTO.icmpv6:
      if (size >= ICMPV6_LENGTH) extractIcmpv6(b, at, end, into);
      return;
  }
}

function extractIcmpv6(b: Uint8Array, at: number, end: number, into: FlowKey): void {
  const type = b[at + ND.type];
  const code = b[at + ND.code];
  into.set16(OFS.tp_src, type);
  into.set16(OFS.tp_dst, code);
  if (code !== 0 || (type !== ND_SOLICIT && type !== ND_ADVERT)) return;
  into.set32(OFS.nd_reserved, get32(b, at + ND.reserved));
  if (end - at < ND.options) return;
  const options = readNdOptions(b, at + ND.options, end);
  if (!options) return;
  into.u8.set(b.subarray(at + ND.target, at + ND.options), OFS.nd_target);
  if (options.sll) into.u8.set(options.sll, OFS.arp_sha);
  if (options.tll) into.u8.set(options.tll, OFS.arp_tha);
  into.u8[OFS.nd_options_type] = options.type;
}

function extractNsh(b: Uint8Array, at: number, end: number, into: FlowKey): void {
  const nsh = readNsh(b, at, end);
  if (!nsh) return;
  into.u8[OFS.nsh_flags] = nsh.flags;
  into.u8[OFS.nsh_ttl] = nsh.ttl;
  into.u8[OFS.nsh_mdtype] = nsh.mdType;
  into.u8[OFS.nsh_np] = nsh.np;
  into.u8.set(b.subarray(at + NSH.path, at + NSH.context), OFS.nsh_spi);
  if (nsh.mdType === 1) into.u8.set(b.subarray(at + NSH.context, at + NSH.md1Length), OFS.nsh_c1);
}
