/** What a packet must be for a field to exist, asked of a flow; the answer's bits are marked as looked at. */
import type { FieldPrereq } from '../../flow/field.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';

export const ETH_TYPE = {
  ip: 0x0800,
  arp: 0x0806,
  ipv6: 0x86dd,
  rarp: 0x8035,
  mpls: 0x8847,
  mplsMcast: 0x8848,
  nsh: 0x894f,
} as const;
export const IPPROTO = { icmp: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
export const VLAN_CFI = 0x1000;
export const FRAG_LATER = 2;

export const isIpAny = (flow: FlowKey): boolean => {
  const type = flow.get16(OFS.eth_type);
  return type === ETH_TYPE.ip || type === ETH_TYPE.ipv6;
};
export const isMplsType = (type: number): boolean => type === ETH_TYPE.mpls || type === ETH_TYPE.mplsMcast;

export const hasVlan = (flow: FlowKey): boolean => (flow.get16(OFS.vlan_tci) & VLAN_CFI) !== 0;
export const hasVlan2 = (flow: FlowKey): boolean => (flow.get16(OFS.vlan2_tci) & VLAN_CFI) !== 0;

/** `eth_type`, `packet_type` and, for IP, `ip_frag` are always in the mask. */
export function prereqMet(prereq: FieldPrereq, flow: FlowKey, wc: FlowKey): boolean {
  const type = flow.get16(OFS.eth_type);
  switch (prereq) {
    case 'none':
      return true;
    case 'ethernet':
      return flow.get32(OFS.packet_type) === 0;
    case 'arp':
      return type === ETH_TYPE.arp || type === ETH_TYPE.rarp;
    case 'vlan':
      wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | VLAN_CFI);
      return hasVlan(flow);
    case 'ipv4':
      return type === ETH_TYPE.ip;
    case 'ipv6':
      return type === ETH_TYPE.ipv6;
    case 'ip':
      return isIpAny(flow);
    case 'nsh':
      return type === ETH_TYPE.nsh;
    case 'mpls':
      return isMplsType(type);
    case 'tcp':
      return isIpAny(flow) && isProto(flow, wc, IPPROTO.tcp) && isFirst(flow);
    case 'udp':
      return isIpAny(flow) && isProto(flow, wc, IPPROTO.udp) && isFirst(flow);
    case 'sctp':
      return isIpAny(flow) && isProto(flow, wc, IPPROTO.sctp) && isFirst(flow);
    case 'icmpv4':
      return type === ETH_TYPE.ip && isProto(flow, wc, IPPROTO.icmp) && isFirst(flow);
    case 'icmpv6':
      return type === ETH_TYPE.ipv6 && isProto(flow, wc, IPPROTO.icmpv6) && isFirst(flow);
    case 'nd':
      return isNd(flow, wc, 135) || isNd(flow, wc, 136);
    case 'nd_solicit':
      return isNd(flow, wc, 135);
    case 'nd_advert':
      return isNd(flow, wc, 136);
    case 'ct_tuple':
      return isIpAny(flow);
  }
}

/** Did the packet come out of a tunnel, or is it to go into one? */
export const isFromTunnel = (flow: FlowKey): boolean =>
  flow.get32(OFS.tun_dst) !== 0 || flow.u8.subarray(OFS.tun_ipv6_dst, OFS.tun_ipv6_dst + 16).some((b) => b !== 0);

function isProto(flow: FlowKey, wc: FlowKey, proto: number): boolean {
  wc.set8(OFS.ip_proto, 0xff);
  return flow.get8(OFS.ip_proto) === proto;
}

const isFirst = (flow: FlowKey): boolean => (flow.get8(OFS.ip_frag) & FRAG_LATER) === 0;

function isNd(flow: FlowKey, wc: FlowKey, icmpType: number): boolean {
  if (!prereqMet('icmpv6', flow, wc)) return false;
  wc.set16(OFS.tp_src, 0xffff);
  wc.set16(OFS.tp_dst, 0xffff);
  return flow.get16(OFS.tp_src) === icmpType && flow.get16(OFS.tp_dst) === 0;
}
