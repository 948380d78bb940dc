/**
 * The rows of the field registry, as `ovs-fields(7)` documents them; `fields.ts` turns them into `Field` values.
 *
 * `name(aliases)`, place in the key, width in bits there, bytes on the wire, bits that people see when they differ, masking, format,
 * prerequisite, access, and the numbers on the wire as `NAME(number) [first OpenFlow version] first release`.
 */
import type { FieldFormat, FieldMasking, FieldPrereq } from './field.ts';
import { OFS } from './layout.ts';

export interface FieldRow {
  readonly names: string;
  readonly bit: number;
  readonly width: number;
  readonly bytes: number;
  readonly nBits?: number;
  readonly masking: FieldMasking;
  readonly format: FieldFormat;
  readonly prereq: FieldPrereq;
  readonly access: 'rw' | 'ro';
  readonly headers: string;
}

const row = (
  names: string,
  bit: number,
  width: number,
  bytes: number,
  masking: FieldMasking,
  format: FieldFormat,
  prereq: FieldPrereq,
  access: 'rw' | 'ro',
  headers: string,
  nBits?: number,
): FieldRow => ({ names, bit, width, bytes, masking, format, prereq, access, headers, nBits });

const range = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

/** Byte offset and bit within to a bit number. */
const at = (ofs: number, bit = 0): number => ofs * 8 + bit;

const TUNNEL: readonly FieldRow[] = [
  row(
    'tun_id(tunnel_id)',
    at(OFS.tun_id),
    64,
    8,
    'any',
    'hex',
    'none',
    'rw',
    'OXM_OF_TUNNEL_ID(38) 1.3 1.10; NXM_NX_TUN_ID(16) 1.1',
  ),
  row('tun_src', at(OFS.tun_src), 32, 4, 'any', 'ipv4', 'none', 'rw', 'NXM_NX_TUN_IPV4_SRC(31) 2.0'),
  row('tun_dst', at(OFS.tun_dst), 32, 4, 'any', 'ipv4', 'none', 'rw', 'NXM_NX_TUN_IPV4_DST(32) 2.0'),
  row('tun_ipv6_src', at(OFS.tun_ipv6_src), 128, 16, 'any', 'ipv6', 'none', 'rw', 'NXM_NX_TUN_IPV6_SRC(109) 2.5'),
  row('tun_ipv6_dst', at(OFS.tun_ipv6_dst), 128, 16, 'any', 'ipv6', 'none', 'rw', 'NXM_NX_TUN_IPV6_DST(110) 2.5'),
  row('tun_flags', at(OFS.tun_flags, 15), 1, 2, 'any', 'tunnel_flags', 'none', 'rw', 'NXM_NX_TUN_FLAGS(104) 2.5'),
  // ovs-ofctl hides tos and ttl: they have no number on the wire.
  row('tun_ttl', at(OFS.tun_ttl), 8, 1, 'none', 'decimal', 'none', 'ro', ''),
  row('tun_tos', at(OFS.tun_tos), 8, 1, 'none', 'decimal', 'none', 'ro', ''),
  row('tun_gbp_id', at(OFS.tun_gbp_id), 16, 2, 'any', 'decimal', 'none', 'rw', 'NXM_NX_TUN_GBP_ID(38) 2.4'),
  row('tun_gbp_flags', at(OFS.tun_gbp_flags), 8, 1, 'any', 'hex', 'none', 'rw', 'NXM_NX_TUN_GBP_FLAGS(39) 2.4'),
  row('tun_erspan_idx', at(OFS.tun_erspan_idx, 12), 20, 4, 'any', 'hex', 'none', 'rw', 'NXOXM_ET_ERSPAN_IDX(11) 2.10'),
  row(
    'tun_erspan_ver',
    at(OFS.tun_erspan_ver, 4),
    4,
    1,
    'any',
    'decimal',
    'none',
    'rw',
    'NXOXM_ET_ERSPAN_VER(12) 2.10',
  ),
  row(
    'tun_erspan_dir',
    at(OFS.tun_erspan_dir, 7),
    1,
    1,
    'any',
    'decimal',
    'none',
    'rw',
    'NXOXM_ET_ERSPAN_DIR(13) 2.10',
  ),
  row('tun_erspan_hwid', at(OFS.tun_erspan_hwid, 2), 6, 1, 'any', 'hex', 'none', 'rw', 'NXOXM_ET_ERSPAN_HWID(14) 2.10'),
  row('tun_gtpu_flags', at(OFS.tun_gtpu_flags), 8, 1, 'any', 'hex', 'none', 'ro', 'NXOXM_ET_GTPU_FLAGS(15) 2.13'),
  row(
    'tun_gtpu_msgtype',
    at(OFS.tun_gtpu_msgtype),
    8,
    1,
    'any',
    'decimal',
    'none',
    'ro',
    'NXOXM_ET_GTPU_MSGTYPE(16) 2.13',
  ),
  ...range(64, (i) =>
    row(
      `tun_metadata${i}`,
      at(OFS.tun_metadata + 4 * i),
      32,
      4,
      'any',
      'hex',
      'none',
      'rw',
      `NXM_NX_TUN_METADATA${i}(${40 + i}) 2.5`,
    ),
  ),
];

const METADATA: readonly FieldRow[] = [
  row('metadata', at(OFS.metadata), 64, 8, 'any', 'hex', 'none', 'rw', 'OXM_OF_METADATA(2) 1.2 1.8'),
  row('in_port', at(OFS.in_port), 32, 2, 'none', 'ofp_port', 'none', 'rw', 'NXM_OF_IN_PORT(0) 1.1', 16),
  row('in_port_oxm', at(OFS.in_port), 32, 4, 'none', 'ofp_port_oxm', 'none', 'rw', 'OXM_OF_IN_PORT(0) 1.2 1.7'),
  row(
    'actset_output',
    at(OFS.actset_output),
    32,
    4,
    'none',
    'ofp_port_oxm',
    'none',
    'ro',
    'ONFOXM_ET_ACTSET_OUTPUT(43) 1.3 2.4; OXM_OF_ACTSET_OUTPUT(43) 1.5 2.4',
  ),
  row('skb_priority', at(OFS.skb_priority), 32, 4, 'none', 'hex', 'none', 'ro', ''),
  row('pkt_mark', at(OFS.pkt_mark), 32, 4, 'any', 'hex', 'none', 'rw', 'NXM_NX_PKT_MARK(33) 2.0'),
];

const CONNTRACK: readonly FieldRow[] = [
  row('ct_state', at(OFS.ct_state), 32, 4, 'any', 'ct_state', 'none', 'ro', 'NXM_NX_CT_STATE(105) 2.5'),
  row('ct_zone', at(OFS.ct_zone), 16, 2, 'none', 'hex', 'none', 'ro', 'NXM_NX_CT_ZONE(106) 2.5'),
  row('ct_mark', at(OFS.ct_mark), 32, 4, 'any', 'hex', 'none', 'rw', 'NXM_NX_CT_MARK(107) 2.5'),
  row('ct_label', at(OFS.ct_label), 128, 16, 'any', 'hex', 'none', 'rw', 'NXM_NX_CT_LABEL(108) 2.5'),
  row('ct_nw_proto', at(OFS.ct_nw_proto), 8, 1, 'none', 'decimal', 'ct_tuple', 'ro', 'NXM_NX_CT_NW_PROTO(119) 2.8'),
  row('ct_nw_src', at(OFS.ct_nw_src), 32, 4, 'any', 'ipv4', 'ct_tuple', 'ro', 'NXM_NX_CT_NW_SRC(120) 2.8'),
  row('ct_nw_dst', at(OFS.ct_nw_dst), 32, 4, 'any', 'ipv4', 'ct_tuple', 'ro', 'NXM_NX_CT_NW_DST(121) 2.8'),
  row('ct_ipv6_src', at(OFS.ct_ipv6_src), 128, 16, 'any', 'ipv6', 'ct_tuple', 'ro', 'NXM_NX_CT_IPV6_SRC(122) 2.8'),
  row('ct_ipv6_dst', at(OFS.ct_ipv6_dst), 128, 16, 'any', 'ipv6', 'ct_tuple', 'ro', 'NXM_NX_CT_IPV6_DST(123) 2.8'),
  row('ct_tp_src', at(OFS.ct_tp_src), 16, 2, 'any', 'decimal', 'ct_tuple', 'ro', 'NXM_NX_CT_TP_SRC(124) 2.8'),
  row('ct_tp_dst', at(OFS.ct_tp_dst), 16, 2, 'any', 'decimal', 'ct_tuple', 'ro', 'NXM_NX_CT_TP_DST(125) 2.8'),
];

const REGISTERS: readonly FieldRow[] = [
  // Registers 16 to 31 came with 3.7; they have no number on the wire of their own, xxreg4 … xxreg7 carry them.
  ...range(32, (i) =>
    row(`reg${i}`, at(OFS.reg0 + 4 * i), 32, 4, 'any', 'hex', 'none', 'rw', i < 16 ? `NXM_NX_REG${i}(${i}) 1.1` : ''),
  ),
  ...range(16, (i) =>
    row(`xreg${i}`, at(OFS.reg0 + 8 * i), 64, 8, 'any', 'hex', 'none', 'rw', `OXM_OF_PKT_REG${i}(${i}) 1.3 2.4`),
  ),
  ...range(8, (i) =>
    row(`xxreg${i}`, at(OFS.reg0 + 16 * i), 128, 16, 'any', 'hex', 'none', 'rw', `NXM_NX_XXREG${i}(${111 + i}) 2.6`),
  ),
];

const ETHERNET: readonly FieldRow[] = [
  row(
    'eth_src(dl_src)',
    at(OFS.eth_src),
    48,
    6,
    'any',
    'ethernet',
    'ethernet',
    'rw',
    'OXM_OF_ETH_SRC(4) 1.2 1.7; NXM_OF_ETH_SRC(2) 1.1',
  ),
  row(
    'eth_dst(dl_dst)',
    at(OFS.eth_dst),
    48,
    6,
    'any',
    'ethernet',
    'ethernet',
    'rw',
    'OXM_OF_ETH_DST(3) 1.2 1.7; NXM_OF_ETH_DST(1) 1.1',
  ),
  row(
    'eth_type(dl_type)',
    at(OFS.eth_type),
    16,
    2,
    'none',
    'hex',
    'ethernet',
    'ro',
    'OXM_OF_ETH_TYPE(5) 1.2 1.7; NXM_OF_ETH_TYPE(3) 1.1',
  ),
  row('vlan_tci', at(OFS.vlan_tci), 16, 2, 'any', 'hex', 'ethernet', 'rw', 'NXM_OF_VLAN_TCI(4) 1.1'),
  row('dl_vlan', at(OFS.vlan_tci, 4), 12, 2, 'none', 'decimal', 'ethernet', 'rw', ''),
  // The wire's VLAN_VID carries "a tag is present" in bit 12, which lies beside the VID in the TCI too.
  row('vlan_vid', at(OFS.vlan_tci, 3), 13, 2, 'any', 'decimal', 'ethernet', 'rw', 'OXM_OF_VLAN_VID(6) 1.2 1.7', 12),
  row('dl_vlan_pcp', at(OFS.vlan_tci), 3, 1, 'none', 'decimal', 'ethernet', 'rw', ''),
  row('vlan_pcp', at(OFS.vlan_tci), 3, 1, 'none', 'decimal', 'vlan', 'rw', 'OXM_OF_VLAN_PCP(7) 1.2 1.7'),
  row('mpls_label', at(OFS.mpls_lse0), 20, 4, 'none', 'decimal', 'mpls', 'rw', 'OXM_OF_MPLS_LABEL(34) 1.2 1.11'),
  row('mpls_tc', at(OFS.mpls_lse0, 20), 3, 1, 'none', 'decimal', 'mpls', 'rw', 'OXM_OF_MPLS_TC(35) 1.2 1.11'),
  row('mpls_bos', at(OFS.mpls_lse0, 23), 1, 1, 'none', 'decimal', 'mpls', 'ro', 'OXM_OF_MPLS_BOS(36) 1.3 1.11'),
  row('mpls_ttl', at(OFS.mpls_lse0, 24), 8, 1, 'none', 'decimal', 'mpls', 'rw', 'NXM_NX_MPLS_TTL(30) 2.6'),
];

const NETWORK: readonly FieldRow[] = [
  row(
    'ip_src(nw_src)',
    at(OFS.ip_src),
    32,
    4,
    'any',
    'ipv4',
    'ipv4',
    'rw',
    'OXM_OF_IPV4_SRC(11) 1.2 1.7; NXM_OF_IP_SRC(7) 1.1',
  ),
  row(
    'ip_dst(nw_dst)',
    at(OFS.ip_dst),
    32,
    4,
    'any',
    'ipv4',
    'ipv4',
    'rw',
    'OXM_OF_IPV4_DST(12) 1.2 1.7; NXM_OF_IP_DST(8) 1.1',
  ),
  row(
    'ipv6_src',
    at(OFS.ipv6_src),
    128,
    16,
    'any',
    'ipv6',
    'ipv6',
    'rw',
    'OXM_OF_IPV6_SRC(26) 1.2 1.1; NXM_NX_IPV6_SRC(19) 1.1',
  ),
  row(
    'ipv6_dst',
    at(OFS.ipv6_dst),
    128,
    16,
    'any',
    'ipv6',
    'ipv6',
    'rw',
    'OXM_OF_IPV6_DST(27) 1.2 1.1; NXM_NX_IPV6_DST(20) 1.1',
  ),
  row(
    'ipv6_label',
    at(OFS.ipv6_label, 12),
    20,
    4,
    'any',
    'hex',
    'ipv6',
    'rw',
    'OXM_OF_IPV6_FLABEL(28) 1.2 1.7; NXM_NX_IPV6_LABEL(27) 1.4',
  ),
  row(
    'nw_proto(ip_proto)',
    at(OFS.ip_proto),
    8,
    1,
    'none',
    'decimal',
    'ip',
    'ro',
    'OXM_OF_IP_PROTO(10) 1.2 1.7; NXM_OF_IP_PROTO(6) 1.1',
  ),
  row('nw_tos', at(OFS.ip_tos), 8, 1, 'none', 'decimal', 'ip', 'rw', 'NXM_OF_IP_TOS(5) 1.1'),
  row('ip_dscp', at(OFS.ip_tos), 6, 1, 'none', 'decimal', 'ip', 'rw', 'OXM_OF_IP_DSCP(8) 1.2 1.7'),
  row(
    'nw_ecn(ip_ecn)',
    at(OFS.ip_tos, 6),
    2,
    1,
    'none',
    'decimal',
    'ip',
    'rw',
    'OXM_OF_IP_ECN(9) 1.2 1.7; NXM_NX_IP_ECN(28) 1.4',
  ),
  row('nw_ttl', at(OFS.ip_ttl), 8, 1, 'none', 'decimal', 'ip', 'rw', 'NXM_NX_IP_TTL(29) 1.4'),
  row('ip_frag(nw_frag)', at(OFS.ip_frag, 6), 2, 1, 'any', 'frag', 'ip', 'ro', 'NXM_NX_IP_FRAG(26) 1.3'),
  row(
    'arp_op',
    at(OFS.ip_proto),
    8,
    2,
    'none',
    'decimal',
    'arp',
    'rw',
    'OXM_OF_ARP_OP(21) 1.2 1.7; NXM_OF_ARP_OP(15) 1.1',
    16,
  ),
  row(
    'arp_spa',
    at(OFS.ip_src),
    32,
    4,
    'any',
    'ipv4',
    'arp',
    'rw',
    'OXM_OF_ARP_SPA(22) 1.2 1.7; NXM_OF_ARP_SPA(16) 1.1',
  ),
  row(
    'arp_tpa',
    at(OFS.ip_dst),
    32,
    4,
    'any',
    'ipv4',
    'arp',
    'rw',
    'OXM_OF_ARP_TPA(23) 1.2 1.7; NXM_OF_ARP_TPA(17) 1.1',
  ),
  row(
    'arp_sha',
    at(OFS.arp_sha),
    48,
    6,
    'any',
    'ethernet',
    'arp',
    'rw',
    'OXM_OF_ARP_SHA(24) 1.2 1.7; NXM_NX_ARP_SHA(17) 1.1',
  ),
  row(
    'arp_tha',
    at(OFS.arp_tha),
    48,
    6,
    'any',
    'ethernet',
    'arp',
    'rw',
    'OXM_OF_ARP_THA(25) 1.2 1.7; NXM_NX_ARP_THA(18) 1.1',
  ),
];

const TRANSPORT: readonly FieldRow[] = [
  ...(['tcp', 'udp', 'sctp'] as const).flatMap((proto, i) => {
    const upper = proto.toUpperCase();
    return (['src', 'dst'] as const).map((side, j) => {
      const aliases = proto === 'tcp' ? `(tp_${side})` : '';
      const since = proto === 'sctp' ? '2.0' : '1.7';
      const nxm = proto === 'sctp' ? '' : `; NXM_OF_${upper}_${side.toUpperCase()}(${9 + 2 * i + j}) 1.1`;
      const oxm = `OXM_OF_${upper}_${side.toUpperCase()}(${13 + 2 * i + j}) 1.2 ${since}`;
      return row(
        `${proto}_${side}${aliases}`,
        at(j === 0 ? OFS.tp_src : OFS.tp_dst),
        16,
        2,
        'any',
        'decimal',
        proto,
        'rw',
        oxm + nxm,
      );
    });
  }),
  row(
    'tcp_flags',
    at(OFS.tcp_flags, 4),
    12,
    2,
    'any',
    'tcp_flags',
    'tcp',
    'ro',
    'NXM_NX_TCP_FLAGS(34) 2.1; ONFOXM_ET_TCP_FLAGS(42) 1.3 2.4; OXM_OF_TCP_FLAGS(42) 1.5 2.3',
  ),
  row(
    'icmp_type',
    at(OFS.tp_src, 8),
    8,
    1,
    'none',
    'decimal',
    'icmpv4',
    'rw',
    'OXM_OF_ICMPV4_TYPE(19) 1.2 1.7; NXM_OF_ICMP_TYPE(13) 1.1',
  ),
  row(
    'icmp_code',
    at(OFS.tp_dst, 8),
    8,
    1,
    'none',
    'decimal',
    'icmpv4',
    'rw',
    'OXM_OF_ICMPV4_CODE(20) 1.2 1.7; NXM_OF_ICMP_CODE(14) 1.1',
  ),
  row(
    'icmpv6_type',
    at(OFS.tp_src, 8),
    8,
    1,
    'none',
    'decimal',
    'icmpv6',
    'rw',
    'OXM_OF_ICMPV6_TYPE(29) 1.2 1.7; NXM_NX_ICMPV6_TYPE(21) 1.1',
  ),
  row(
    'icmpv6_code',
    at(OFS.tp_dst, 8),
    8,
    1,
    'none',
    'decimal',
    'icmpv6',
    'rw',
    'OXM_OF_ICMPV6_CODE(30) 1.2 1.7; NXM_NX_ICMPV6_CODE(22) 1.1',
  ),
  row(
    'nd_target',
    at(OFS.nd_target),
    128,
    16,
    'any',
    'ipv6',
    'nd',
    'rw',
    'OXM_OF_IPV6_ND_TARGET(31) 1.2 1.7; NXM_NX_ND_TARGET(23) 1.1',
  ),
  row(
    'nd_sll',
    at(OFS.arp_sha),
    48,
    6,
    'any',
    'ethernet',
    'nd_solicit',
    'rw',
    'OXM_OF_IPV6_ND_SLL(32) 1.2 1.7; NXM_NX_ND_SLL(24) 1.1',
  ),
  row(
    'nd_tll',
    at(OFS.arp_tha),
    48,
    6,
    'any',
    'ethernet',
    'nd_advert',
    'rw',
    'OXM_OF_IPV6_ND_TLL(33) 1.2 1.7; NXM_NX_ND_TLL(25) 1.1',
  ),
  row(
    'nd_reserved',
    at(OFS.nd_reserved),
    32,
    4,
    'none',
    'decimal',
    'nd',
    'rw',
    'ERICOXM_OF_ICMPV6_ND_RESERVED(1) 2.11',
  ),
  row(
    'nd_options_type',
    at(OFS.nd_options_type),
    8,
    1,
    'none',
    'decimal',
    'nd',
    'rw',
    'ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE(2) 2.11',
  ),
];

const NSH: readonly FieldRow[] = [
  row('nsh_flags', at(OFS.nsh_flags), 8, 1, 'any', 'decimal', 'nsh', 'rw', 'NXOXM_NSH_FLAGS(1) 2.8'),
  row('nsh_ttl', at(OFS.nsh_ttl), 8, 1, 'none', 'decimal', 'nsh', 'rw', 'NXOXM_NSH_TTL(10) 2.9'),
  row('nsh_mdtype', at(OFS.nsh_mdtype), 8, 1, 'none', 'decimal', 'nsh', 'ro', 'NXOXM_NSH_MDTYPE(2) 2.8'),
  row('nsh_np', at(OFS.nsh_np), 8, 1, 'none', 'decimal', 'nsh', 'ro', 'NXOXM_NSH_NP(3) 2.8'),
  row('nsh_spi(nsp)', at(OFS.nsh_spi), 24, 4, 'none', 'hex', 'nsh', 'rw', 'NXOXM_NSH_SPI(4) 2.8'),
  row('nsh_si(nsi)', at(OFS.nsh_si), 8, 1, 'none', 'decimal', 'nsh', 'rw', 'NXOXM_NSH_SI(5) 2.8'),
  ...([OFS.nsh_c1, OFS.nsh_c2, OFS.nsh_c3, OFS.nsh_c4] as const).map((ofs, i) =>
    row(`nsh_c${i + 1}(nshc${i + 1})`, at(ofs), 32, 4, 'any', 'hex', 'nsh', 'rw', `NXOXM_NSH_C${i + 1}(${6 + i}) 2.8`),
  ),
];

export const FIELD_ROWS: readonly FieldRow[] = [
  row('dp_hash', at(OFS.dp_hash), 32, 4, 'any', 'hex', 'none', 'ro', 'NXM_NX_DP_HASH(35) 2.2'),
  row('recirc_id', at(OFS.recirc_id), 32, 4, 'none', 'decimal', 'none', 'ro', 'NXM_NX_RECIRC_ID(36) 2.2'),
  row('packet_type', at(OFS.packet_type), 32, 4, 'none', 'packet_type', 'none', 'ro', 'OXM_OF_PACKET_TYPE(44) 1.5 2.8'),
  row('conj_id', at(OFS.conj_id), 32, 4, 'none', 'decimal', 'none', 'ro', 'NXM_NX_CONJ_ID(37) 2.4'),
  ...TUNNEL,
  ...METADATA,
  ...CONNTRACK,
  ...REGISTERS,
  ...ETHERNET,
  ...NETWORK,
  ...TRANSPORT,
  ...NSH,
];
