/** What the datapath can do, as commands and the database say it. */

/**
 * What our datapath can do: the key in `Datapath:capabilities` of the database, the name in `dpif/show-dp-features`, and the
 * answer.
 */
export const FEATURES: readonly (readonly [key: string, name: string, value: 'Yes' | 'No' | number])[] = [
  ['masked_set_action', 'Masked set action', 'Yes'],
  ['tnl_push_pop', 'Tunnel push pop', 'Yes'],
  ['ufid', 'Ufid', 'Yes'],
  ['trunc', 'Truncate action', 'Yes'],
  ['clone', 'Clone action', 'Yes'],
  ['sample_nesting', 'Sample nesting', 10],
  ['ct_eventmask', 'Conntrack eventmask', 'No'],
  ['ct_clear', 'Conntrack clear', 'Yes'],
  ['max_hash_alg', 'Max dp_hash algorithm', 1],
  ['check_pkt_len', 'Check pkt length action', 'Yes'],
  ['ct_timeout', 'Conntrack timeout policy', 'No'],
  ['explicit_drop_action', 'Explicit Drop action', 'Yes'],
  ['lb_output_action', 'Optimized Balance TCP mode', 'Yes'],
  ['ct_zero_snat', 'Conntrack all-zero IP SNAT', 'Yes'],
  ['add_mpls', 'MPLS Label add', 'Yes'],
  ['max_vlan_headers', 'Max VLAN headers', 2],
  ['max_mpls_depth', 'Max MPLS depth', 3],
  ['recirc', 'Recirc', 'Yes'],
  ['ct_state', 'CT state', 'Yes'],
  ['ct_zone', 'CT zone', 'Yes'],
  ['ct_mark', 'CT mark', 'Yes'],
  ['ct_label', 'CT label', 'Yes'],
  ['ct_state_nat', 'CT state NAT', 'Yes'],
  ['ct_orig_tuple', 'CT orig tuple', 'Yes'],
  ['ct_orig_tuple6', 'CT orig tuple for IPv6', 'Yes'],
  ['nd_ext', 'IPv6 ND Extension', 'No'],
];

/** `Datapath:capabilities`. `ovs-vswitchd.conf.db(5)` */
export function datapathCapabilities(): Map<string, string> {
  const answers = FEATURES.map(([key, , value]): [string, string] => [
    key,
    // How deep samples may be in one another is told as no more than that they may, as the original does.
    typeof value === 'number' && key.startsWith('max_') ? String(value) : String(value !== 'No'),
  ]);
  // Connections are flushed by tuples, whole or in part.
  return new Map([...answers, ['ct_flush', 'true']]);
}
