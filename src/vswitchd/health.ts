/** `Interface.bfd` and `cfm_*`, as sessions want them. `ovs-vswitchd.conf.db(5)`, "BFD Configuration" and "Connectivity Fault Management" */
import { parseIpv4 } from '../flow/address-text.ts';
import type { BfdConfig } from '../ofproto/bfd.ts';
import type { CfmConfig } from '../ofproto/cfm.ts';
import { type InterfaceSpec, parseMac } from './config.ts';

const BFD_DST_MAC = Uint8Array.of(0x00, 0x23, 0x20, 0x00, 0x00, 0x01);
const BFD_SRC_IP = Uint8Array.of(169, 254, 1, 1);
const BFD_DST_IP = Uint8Array.of(169, 254, 1, 0);

/** Null where BFD is off. */
export function bfdConfig(bfd: ReadonlyMap<string, string>): BfdConfig | null {
  if (bfd.get('enable') !== 'true') return null;
  const whole = (key: string, fallback: number, least: number): number => {
    const text = bfd.get(key) ?? '';
    return /^\d+$/.test(text) && Number(text) >= least ? Number(text) : fallback;
  };
  const mult = whole('mult', 3, 1);
  const minRxMs = whole('min_rx', 1000, 1);
  const decay = whole('decay_min_rx', 0, 0);
  return {
    minRxMs,
    minTxMs: whole('min_tx', 100, 1),
    decayMinRxMs: decay === 0 ? 0 : Math.max(decay, minRxMs),
    forwardingIfRx: bfd.get('forwarding_if_rx') === 'true',
    cpathDown: bfd.get('cpath_down') === 'true',
    checkTunnelKey: bfd.get('check_tnl_key') === 'true',
    mult: mult > 255 ? 3 : mult,
    oam: bfd.get('oam') === 'true',
    localSrcMac: parseMac(bfd.get('bfd_local_src_mac')),
    localDstMac: parseMac(bfd.get('bfd_local_dst_mac')) ?? BFD_DST_MAC,
    remoteDstMac: parseMac(bfd.get('bfd_remote_dst_mac')),
    srcIp: parseIpv4(bfd.get('bfd_src_ip') ?? '') ?? BFD_SRC_IP,
    dstIp: parseIpv4(bfd.get('bfd_dst_ip') ?? '') ?? BFD_DST_IP,
  };
}

const CFM_INTERVAL_MS = 1000;

/** Null where CFM is off. */
export function cfmConfig({ cfmMpid, otherConfig }: InterfaceSpec): CfmConfig | null {
  if (cfmMpid === null || cfmMpid === undefined) return null;
  const get = (key: string): string => otherConfig?.get(key) ?? '';
  const whole = (key: string, fallback: number): number => (/^\d+$/.test(get(key)) ? Number(get(key)) : fallback);
  const interval = whole('cfm_interval', CFM_INTERVAL_MS);
  const vlan = get('cfm_ccm_vlan') === 'random' ? 'random' : whole('cfm_ccm_vlan', 0);
  return {
    mpid: cfmMpid,
    isExtended: get('cfm_extended') === 'true',
    isDemand: get('cfm_demand') === 'true',
    intervalMs:
      interval === 0 ? CFM_INTERVAL_MS : Math.min(interval, get('cfm_extended') === 'true' ? 0xffff : 600_000),
    isOpUp: get('cfm_opstate').toLowerCase() !== 'down',
    vlan: vlan === 'random' || (vlan >= 1 && vlan <= 4095) ? vlan : null,
    pcp: whole('cfm_ccm_pcp', 0) & 7,
    checkTunnelKey: get('cfm_check_tnl_key') === 'true',
  };
}
