/**
 * `dp-extra-info:miniflow_bits(A,B)`: how many units of 64 bits of a packet's key a megaflow looks at, in the two halves of
 * the original's key, which is what its choice of a lookup function for a subtable depends on. Our key has another order,
 * so the units are told apart here by what lies in them.
 */
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';

/** Offset and bytes of the parts of a unit. */
type Unit = readonly (readonly [ofs: number, bytes: number])[];

const halves = (ofs: number, units: number): Unit[] =>
  Array.from({ length: units }, (_, i) => [[ofs + i * 8, 8]] satisfies Unit);

const FIRST: readonly Unit[] = [
  [
    [OFS.tun_dst, 4],
    [OFS.tun_ipv6_dst, 4],
  ],
  [[OFS.tun_ipv6_dst + 4, 8]],
  [
    [OFS.tun_ipv6_dst + 12, 4],
    [OFS.tun_src, 4],
  ],
  ...halves(OFS.tun_ipv6_src, 2),
  [[OFS.tun_id, 8]],
  [[OFS.tun_flags, 8]],
  [[OFS.tun_gbp_id, 8]],
  ...halves(OFS.tun_metadata, 32),
  [[OFS.tun_metadata_present, 8]],
  [
    [OFS.skb_priority, 4],
    [OFS.pkt_mark, 4],
  ],
  [
    [OFS.dp_hash, 4],
    [OFS.in_port, 4],
  ],
  [
    [OFS.recirc_id, 4],
    [OFS.ct_state, 4],
    [OFS.ct_nw_proto, 1],
    [OFS.ct_zone, 2],
  ],
  [
    [OFS.ct_mark, 4],
    [OFS.packet_type, 4],
  ],
  ...halves(OFS.ct_label, 2),
  [
    [OFS.eth_dst, 6],
    [OFS.eth_src, 2],
  ],
  [
    [OFS.eth_src + 2, 4],
    [OFS.eth_type, 2],
  ],
];

const VLANS: Unit = [
  [OFS.vlan_tpid, 4],
  [OFS.vlan2_tpid, 4],
];

const SECOND: readonly Unit[] = [
  [[OFS.ip_src, 8]],
  [[OFS.ct_nw_src, 8]],
  ...halves(OFS.ipv6_src, 2),
  ...halves(OFS.ipv6_dst, 2),
  ...halves(OFS.ct_ipv6_src, 2),
  ...halves(OFS.ct_ipv6_dst, 2),
  [
    [OFS.ipv6_label, 4],
    [OFS.ip_proto, 4],
  ],
  ...halves(OFS.nd_target, 2),
  [
    [OFS.arp_sha, 6],
    [OFS.arp_tha, 2],
  ],
  [
    [OFS.arp_tha + 2, 4],
    [OFS.tcp_flags, 2],
  ],
  ...halves(OFS.nsh_flags, 3),
  [
    [OFS.tp_src, 4],
    [OFS.ct_tp_src, 4],
  ],
];

export function miniflowBits(key: FlowKey, mask: FlowKey): string {
  const isSeen = (unit: Unit): boolean =>
    unit.some(([ofs, bytes]) => mask.u8.subarray(ofs, ofs + bytes).some((byte) => byte !== 0));
  const count = (units: readonly Unit[]): number => units.filter(isSeen).length;
  // "No tag" is told by the type of the frame.
  const hasTag = key.get16(OFS.vlan_tci) !== 0 && isSeen(VLANS);
  const labels = [OFS.mpls_lse0, OFS.mpls_lse2].filter((ofs) => isSeen([[ofs, ofs === OFS.mpls_lse0 ? 8 : 4]])).length;
  return `miniflow_bits(${count(FIRST) + (hasTag ? 1 : 0) + labels},${count(SECOND)})`;
}
