/**
 * Where each field lives in a flow key.
 *
 * A flow key is `FLOW_WORDS` 32-bit words of memory. Every field occupies its *network-order bytes* at a fixed byte
 * offset; words are only a way to hash, mask and compare those bytes quickly, so their own byte order never matters.
 * A mask has the same shape: a 1-bit is a bit somebody looked at.
 *
 * - Words `0 .. HOT_WORDS-1` are one cache line and hold all that plain Ethernet, ARP and IPv4 packets need.
 * - Words `0 .. DP_WORDS-1` are the datapath's key: what a packet itself and its port can tell. A datapath key *is* the
 *   front of a slow-path key; nothing is converted between them except `in_port`.
 * - Words `DP_WORDS .. FLOW_WORDS-1` exist only in the slow path (registers, metadata, …).
 *
 * `in_port` is the datapath's 32-bit port number in a datapath key, and the 16-bit OpenFlow port number (0..0xffff) in
 * a slow-path flow, both as 32 bits big-endian.
 */
const W = (word: number, byte = 0): number => word * 4 + byte;

export const HOT_WORDS = 16;
export const DP_WORDS = 148;
export const FLOW_WORDS = 184;
export const FLOW_BYTES = FLOW_WORDS * 4;

/** Byte offsets. The comment gives the width in bits. */
export const OFS = {
  in_port: W(0), // 32
  recirc_id: W(1), // 32
  eth_dst: W(2), // 48
  eth_src: W(3, 2), // 48
  vlan_tpid: W(5), // 16, 0 without a tag
  vlan_tci: W(5, 2), // 16, bit 12 (CFI) set when a tag is present
  eth_type: W(6), // 16, innermost; 0x05ff for an 802.2 frame without SNAP
  /** 0 on Ethernet, else the packet's namespace << 8 | 1; spares EMC from reading `packet_type`. */
  l2_kind: W(6, 2), // 16
  ip_proto: W(7), // 8, the low byte of the ARP opcode for ARP
  ip_tos: W(7, 1), // 8
  ip_ttl: W(7, 2), // 8
  ip_frag: W(7, 3), // 8: bit 0 any fragment, bit 1 later fragment
  ip_src: W(8), // 32, ARP SPA for ARP
  ip_dst: W(9), // 32, ARP TPA for ARP
  tp_src: W(10), // 16, ICMP type in the low byte
  tp_dst: W(10, 2), // 16, ICMP code in the low byte
  tcp_flags: W(11), // 16
  ct_zone: W(11, 2), // 16
  ct_state: W(12), // 32
  ct_mark: W(13), // 32
  dp_hash: W(14), // 32
  pkt_mark: W(15), // 32
  // ---- beyond the hot line ----
  skb_priority: W(16), // 32
  vlan2_tpid: W(17), // 16
  vlan2_tci: W(17, 2), // 16
  packet_type: W(18), // 32: namespace << 16 | type; 0 is Ethernet
  mpls_lse0: W(19), // 32
  mpls_lse1: W(20), // 32
  mpls_lse2: W(21), // 32
  ipv6_src: W(22), // 128
  ipv6_dst: W(26), // 128
  ipv6_label: W(30), // 32, low 20 bits used
  nd_target: W(31), // 128
  arp_sha: W(35), // 48, ND SLL for ND
  arp_tha: W(36, 2), // 48, ND TLL for ND
  nd_reserved: W(38), // 32
  nd_options_type: W(39), // 8
  igmp_group: W(40), // 32
  ct_label: W(41), // 128
  ct_nw_src: W(45), // 32
  ct_nw_dst: W(46), // 32
  ct_ipv6_src: W(47), // 128
  ct_ipv6_dst: W(51), // 128
  ct_tp_src: W(55), // 16
  ct_tp_dst: W(55, 2), // 16
  ct_nw_proto: W(56), // 8
  nsh_flags: W(57), // 8
  nsh_ttl: W(57, 1), // 8
  nsh_mdtype: W(57, 2), // 8
  nsh_np: W(57, 3), // 8
  nsh_spi: W(58), // 24
  nsh_si: W(58, 3), // 8
  nsh_c1: W(59), // 32 each
  nsh_c2: W(60),
  nsh_c3: W(61),
  nsh_c4: W(62),
  tun_id: W(63), // 64
  tun_src: W(65), // 32
  tun_dst: W(66), // 32
  tun_ipv6_src: W(67), // 128
  tun_ipv6_dst: W(71), // 128
  tun_flags: W(75), // 16
  tun_tos: W(75, 2), // 8
  tun_ttl: W(75, 3), // 8
  tun_tp_src: W(76), // 16
  tun_tp_dst: W(76, 2), // 16
  tun_gbp_id: W(77), // 16
  tun_gbp_flags: W(77, 2), // 8
  tun_erspan_ver: W(77, 3), // 8
  tun_gtpu_flags: W(78), // 8
  tun_gtpu_msgtype: W(78, 1), // 8
  tun_erspan_dir: W(78, 2), // 8
  tun_erspan_hwid: W(78, 3), // 8
  tun_erspan_idx: W(79), // 32
  tun_metadata: W(80), // 64 × 4 bytes
  tun_metadata_present: W(144), // 64
  // ---- slow path only ----
  metadata: W(148), // 64
  reg0: W(150), // 32 × 32 bits, so xreg and xxreg are plain overlays
  conj_id: W(182), // 32
  actset_output: W(183), // 32
} as const;

/**
 * The slow-path classifier looks at a rule's mask in stages and stops at the first that rules every rule of a tuple out,
 * so that later stages stay wildcarded in the megaflow. A stage is the list of word ranges `[first, end)` it adds.
 */
export const STAGES: readonly (readonly (readonly [number, number])[])[] = [
  // metadata: port, recirculation, conntrack, tunnel, registers
  [
    [0, 2],
    [12, 17],
    [41, 57],
    [63, FLOW_WORDS],
  ],
  // L2
  [
    [2, 7],
    [17, 22],
  ],
  // L3
  [
    [7, 10],
    [22, 31],
  ],
  // L4 (ct_zone shares a word with tcp_flags and is looked at here), and what only ARP, ND and NSH have
  [
    [10, 12],
    [31, 41],
    [57, 63],
  ],
];
