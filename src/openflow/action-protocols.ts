/** Which flow formats can carry a list of actions. */
import type { Ofpact } from './actions/types.ts';

const OF10 = 1 | 2;
const NXM_OXM = 2 | 120;
const SINCE_11 = 4 | 120;
const NXM_SINCE_11 = 2 | SINCE_11;
const SINCE_13 = 112;
const ANY = 127;

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

/** Fields that OpenFlow 1.0 could match on. */
const FIELDS_10 = words(
  'in_port eth_src eth_dst vlan_tci vlan_vid vlan_pcp ip_src ip_dst nw_tos ip_dscp arp_op arp_spa arp_tpa tcp_src tcp_dst udp_src udp_dst icmp_type icmp_code',
);
/** Those that came with 1.1. */
const FIELDS_11 = words('in_port_oxm metadata nw_ecn sctp_src sctp_dst mpls_label mpls_tc');

/** `needs10`: what `inspectActions` found. */
export function actionProtocols(actions: readonly Ofpact[], needs10: boolean): number {
  let usable = needs10 ? OF10 : ANY;
  for (const a of actions) {
    switch (a.kind) {
      case 'push_vlan':
        usable &= SINCE_11;
        break;
      case 'write_metadata':
        usable &= NXM_SINCE_11;
        break;
      case 'meter':
      case 'encap':
      case 'decap':
      case 'dec_nsh_ttl':
        usable &= SINCE_13;
        break;
      case 'set_field':
        if (a.as === 'mod_nw_ecn') usable &= NXM_SINCE_11;
        else if (a.as === undefined && !FIELDS_10.has(a.field.name)) {
          usable &= FIELDS_11.has(a.field.name) ? NXM_SINCE_11 : NXM_OXM;
        }
        break;
    }
  }
  return usable;
}
