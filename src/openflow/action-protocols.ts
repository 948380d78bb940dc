/** Which flow formats can carry a list of actions on packets that a match lets through. */
import { OFS } from '../flow/layout.ts';
import type { Match } from '../flow/match.ts';
import type { Ofpact } from './actions/types.ts';

const OF10 = 1 | 2;
const NXM_OXM = 2 | 120;
const SINCE_11 = 4 | 120;
const NXM_SINCE_11 = 2 | SINCE_11;
const SINCE_13 = 112;
const ANY = 127;
const CFI = 0x1000;
const TCP = 6;

/** Fields that OpenFlow 1.0 had actions for. */
const OLD_FIELDS: ReadonlySet<string> = new Set(
  'eth_src eth_dst vlan_vid vlan_pcp ip_src ip_dst nw_tos ip_dscp tcp_src tcp_dst udp_src udp_dst'.split(' '),
);

export function actionProtocols(actions: readonly Ofpact[], match: Match): number {
  let usable = ANY;
  let hasVlan = (match.mask.get16(OFS.vlan_tci) & match.key.get16(OFS.vlan_tci) & CFI) !== 0;
  const ethType = match.key.get16(OFS.eth_type);
  let hasMpls = ethType === 0x8847 || ethType === 0x8848;
  const isTcp = match.key.get8(OFS.ip_proto) === TCP;
  for (const a of actions) {
    switch (a.kind) {
      case 'push_vlan':
        usable &= SINCE_11;
        hasVlan = true;
        break;
      case 'set_vlan_vid':
      case 'set_vlan_pcp':
        // Since 1.1 these need a tag; 1.0's add one.
        if (!hasVlan && !a.pushIfNeeded) usable &= OF10;
        hasVlan = true;
        break;
      case 'strip_vlan':
        if (!hasVlan) usable &= OF10;
        hasVlan = false;
        break;
      case 'push_mpls':
        hasMpls = true;
        break;
      case 'set_mpls_label':
      case 'set_mpls_tc':
      case 'set_mpls_ttl':
      case 'dec_mpls_ttl':
        if (!hasMpls) usable &= OF10;
        break;
      case 'fin_timeout':
        if (!isTcp) usable &= OF10;
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
        if (a.as === undefined && !OLD_FIELDS.has(a.field.name)) usable &= NXM_OXM;
        break;
    }
  }
  return usable;
}
