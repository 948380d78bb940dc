/** CFM on a port: its messages come to the maintenance point, and the maintenance point's leave by the port. */
import { SlowReason } from '../flow/dp-actions.ts';
import { OFS } from '../flow/layout.ts';
import { buildCcm, CCM_ADDRESS, CFM_TYPE } from '../packet/ccm.ts';
import type { Bridge } from './bridge.ts';
import { CFM_FAULTS, Cfm, type CfmConfig } from './cfm.ts';
import type { OfPort } from './ofport.ts';
import type { StatusColumns } from './ofproto.ts';
import { setProtocol } from './protocols.ts';
import { sendFrame } from './send-frame.ts';
import type { XlateProtocol } from './xlate/protocols.ts';

export function startCfm(bridge: Bridge, port: OfPort, config: CfmConfig): void {
  const cfm = new Cfm(config, {
    name: port.name,
    rxPackets: () => port.portStats().rxPackets,
    send: (ccm, tci) => sendFrame(bridge, port.ofport, buildCcm(port.netdev.mac(), ccm, tci)),
    changed: () => bridge.healthChanged(port),
  });
  port.cfm = cfm;
  setProtocol(port, 'cfm', protocolOf(cfm));
  bridge.healthChanged(port);
}

export function stopCfm(port: OfPort): void {
  port.cfm?.close();
  port.cfm = null;
  setProtocol(port, 'cfm', null);
}

function protocolOf(cfm: Cfm): XlateProtocol {
  return {
    reason: SlowReason.cfm,
    claims: (flow, wc) => {
      if (flow.get16(OFS.eth_type) !== CFM_TYPE) return false;
      wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
      const { isExtended, checkTunnelKey } = cfm.config;
      const address = isExtended ? CCM_ADDRESS.extended : CCM_ADDRESS.standard;
      if (address.some((byte, i) => flow.u8[OFS.eth_dst + i] !== byte)) return false;
      if (!checkTunnelKey) return true;
      wc.u8.fill(0xff, OFS.tun_id, OFS.tun_id + 8);
      return flow.get64(OFS.tun_id) === 0n;
    },
    receive: (packet) => cfm.receive(packet),
  };
}

/** Columns of `Interface`. */
export function cfmStatus(cfm: Cfm | null): StatusColumns {
  if (!cfm) {
    return {
      cfm_fault: null,
      cfm_fault_status: [],
      cfm_flap_count: null,
      cfm_health: null,
      cfm_remote_mpids: [],
      cfm_remote_opstate: null,
    };
  }
  return {
    cfm_fault: cfm.hasFault,
    cfm_fault_status: cfm.override ? ['override'] : CFM_FAULTS.filter((fault) => cfm.faults.has(fault)),
    cfm_flap_count: cfm.flapCount,
    cfm_health: cfm.health,
    cfm_remote_mpids: cfm.remotes.map(({ mpid }) => Number(mpid)),
    cfm_remote_opstate: cfm.config.isExtended ? (cfm.isRemoteOpUp ? 'up' : 'down') : null,
  };
}
