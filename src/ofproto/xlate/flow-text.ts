/** A flow as a match that shows all the fields its packet has. */
import { TUN_FLAG } from '../../flow/flags-text.ts';
import { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, FLOW_WORDS, OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { formatMatch } from '../../flow/match-text.ts';
import type { Names } from '../../flow/names.ts';
import { mplsCount } from './commit.ts';
import { ETH_TYPE, FRAG_LATER, hasVlan, hasVlan2, IPPROTO, isFromTunnel } from './prereq.ts';

export function formatFlow(flow: FlowKey, names?: Names): string {
  const match = new Match(flow, fieldsOf(flow));
  return flow.get32(OFS.recirc_id) === 0 ? formatMatch(match, undefined, names) : withEthernet(match, names);
}

/** What stands before the protocol: recirculation, hashes, marks and connection state. */
const HEAD: readonly (readonly [first: number, end: number])[] = [
  [OFS.recirc_id >> 2, (OFS.recirc_id >> 2) + 1],
  [OFS.ct_state >> 2, (OFS.skb_priority >> 2) + 1],
  [OFS.ct_label >> 2, (OFS.ct_nw_proto >> 2) + 1],
];

/** A match on `recirc_id` says that it is about Ethernet, too. */
function withEthernet(match: Match, names?: Names, saysProtocol = false): string {
  const head = new Match();
  const rest = match.clone();
  for (const [first, end] of HEAD) {
    for (let i = first; i < end; i++) {
      head.key.w[i] = match.key.w[i];
      head.mask.w[i] = match.mask.w[i];
      rest.key.w[i] = 0;
      rest.mask.w[i] = 0;
    }
  }
  head.key.set16(OFS.ct_zone, match.key.get16(OFS.ct_zone));
  head.mask.set16(OFS.ct_zone, match.mask.get16(OFS.ct_zone));
  rest.mask.set16(OFS.ct_zone, 0);
  const isEthernet = match.key.get32(OFS.packet_type) === 0 && match.mask.get32(OFS.packet_type) !== 0;
  let kind = isEthernet ? 'eth' : '';
  if (saysProtocol && !isEthernet) {
    // A megaflow of other packets says both their type and the protocol that follows from it.
    const type = new Match();
    type.key.set32(OFS.packet_type, match.key.get32(OFS.packet_type));
    type.mask.set32(OFS.packet_type, match.mask.get32(OFS.packet_type));
    rest.key.set32(OFS.packet_type, 0);
    rest.mask.set32(OFS.packet_type, 0);
    kind = formatMatch(type, undefined, names);
  }
  return [formatMatch(head, undefined, names), kind, formatMatch(rest, undefined, names)]
    .filter((part) => part !== '')
    .join(',');
}

/** The megaflow's match; a mask that says "no tag" goes without saying. */
export function formatMegaflow(flow: FlowKey, mask: FlowKey, names?: Names): string {
  const shown = mask.clone();
  if (!hasVlan(flow)) {
    shown.set32(OFS.vlan_tpid, 0);
    shown.set32(OFS.vlan2_tpid, 0);
  }
  if (!hasVlan2(flow)) shown.set32(OFS.vlan2_tpid, 0);
  shown.set16(OFS.vlan_tpid, 0);
  shown.set16(OFS.vlan2_tpid, 0);
  shown.set16(OFS.l2_kind, 0);
  const key = new FlowKey();
  for (let i = 0; i < FLOW_WORDS; i++) key.w[i] = flow.w[i] & shown.w[i];
  return asPartsOfPorts(withEthernet(new Match(key, shown), names, true), shown);
}

/** Type and code of ICMP lie in the lower bytes of where ports are, and a megaflow shows them so. */
function asPartsOfPorts(text: string, mask: FlowKey): string {
  if (!text.includes('icmp_')) return text;
  return text.replace(/\bicmp_(type|code)=(\d+)(?=,|$)/g, (whole, part: string, value: string) =>
    mask.get16(part === 'type' ? OFS.tp_src : OFS.tp_dst) === 0xff
      ? `icmp_${part}=0x${Number(value).toString(16)}/0xff`
      : whole,
  );
}

/** Words of context shown only when they are not zero. */
const CONTEXT: readonly (readonly [first: number, end: number])[] = [
  [OFS.recirc_id >> 2, (OFS.recirc_id >> 2) + 1],
  [OFS.ct_state >> 2, (OFS.skb_priority >> 2) + 1],
  [OFS.ct_label >> 2, (OFS.ct_nw_proto >> 2) + 1],
  [DP_WORDS, FLOW_WORDS],
];

/** Fields of several words: shown whole or not at all. */
const WIDE: readonly (readonly [ofs: number, bytes: number])[] = [
  [OFS.ct_label, 16],
  [OFS.ct_ipv6_src, 16],
  [OFS.ct_ipv6_dst, 16],
  [OFS.metadata, 8],
];

function fieldsOf(flow: FlowKey): FlowKey {
  const mask = new FlowKey();
  const see = (ofs: number, bytes: number): void => {
    mask.u8.fill(0xff, ofs, ofs + bytes);
  };
  see(OFS.in_port, 4);
  if (isFromTunnel(flow)) {
    if (flow.get16(OFS.tun_flags) & TUN_FLAG.key) see(OFS.tun_id, 8);
    see(OFS.tun_src, OFS.tun_tp_src - OFS.tun_src);
    see(OFS.tun_gbp_id, OFS.tun_erspan_dir - OFS.tun_gbp_id);
    const [first, end] = [OFS.tun_metadata >> 2, OFS.tun_metadata_present >> 2];
    for (let i = first; i < end; i++) if (flow.w[i] !== 0) mask.w[i] = -1;
  } else if (flow.get64(OFS.tun_id) !== 0n) see(OFS.tun_id, 8);
  for (const [first, end] of CONTEXT) for (let i = first; i < end; i++) if (flow.w[i] !== 0) mask.w[i] = -1;
  for (const [ofs, bytes] of WIDE) {
    for (let i = ofs; i < ofs + bytes; i++) if (mask.u8[i] !== 0) mask.u8.fill(0xff, ofs, ofs + bytes);
  }
  if (flow.get16(OFS.ct_zone) !== 0) see(OFS.ct_zone, 2);
  see(OFS.packet_type, 4);
  if (flow.get32(OFS.packet_type) === 0) {
    see(OFS.eth_dst, 12);
    see(OFS.vlan_tci, 2);
    if (hasVlan(flow)) see(OFS.vlan2_tci, 2);
  }
  see(OFS.eth_type, 2);
  switch (flow.get16(OFS.eth_type)) {
    case ETH_TYPE.ip:
      see(OFS.ip_src, 8);
      break;
    case ETH_TYPE.ipv6:
      see(OFS.ipv6_src, 32);
      see(OFS.ipv6_label, 4);
      break;
    case ETH_TYPE.arp:
    case ETH_TYPE.rarp:
      see(OFS.ip_src, 8);
      see(OFS.ip_proto, 1);
      see(OFS.arp_sha, 12);
      return mask;
    case ETH_TYPE.mpls:
    case ETH_TYPE.mplsMcast:
      for (let i = 0; i < Math.max(1, mplsCount(flow)); i++) see(OFS.mpls_lse0 + i * 4, 4);
      return mask;
    case ETH_TYPE.nsh:
      // Only metadata type 1 has its four words; the fields of IP are shown though there are none.
      see(OFS.nsh_flags, flow.get8(OFS.nsh_mdtype) === 1 ? 24 : 8);
      see(OFS.ip_proto, 4);
      return mask;
    default:
      return mask;
  }
  see(OFS.ip_proto, 4);
  if (flow.get8(OFS.ip_frag) & FRAG_LATER) return mask;
  seeTransport(flow, see);
  return mask;
}

function seeTransport(flow: FlowKey, see: (ofs: number, bytes: number) => void): void {
  switch (flow.get8(OFS.ip_proto)) {
    case IPPROTO.tcp:
      see(OFS.tp_src, 4);
      see(OFS.tcp_flags, 2);
      break;
    case IPPROTO.udp:
    case IPPROTO.sctp:
    case IPPROTO.icmp:
      see(OFS.tp_src, 4);
      break;
    case IPPROTO.igmp:
      see(OFS.tp_src, 4);
      see(OFS.igmp_group, 4);
      break;
    case IPPROTO.icmpv6: {
      see(OFS.tp_src, 4);
      const type = flow.get16(OFS.tp_src);
      if ((type === 135 || type === 136) && flow.get16(OFS.tp_dst) === 0) {
        see(OFS.nd_target, 16);
        see(OFS.arp_sha, 12);
      }
      break;
    }
  }
}
