/** BFD on a port: its packets come to the session, and the session's leave by the port. */
import { SlowReason } from '../flow/dp-actions.ts';
import { TUN_FLAG } from '../flow/flags-text.ts';
import { OFS } from '../flow/layout.ts';
import { BFD_PORT, buildBfd } from '../packet/bfd.ts';
import { Bfd, type BfdConfig } from './bfd.ts';
import type { Bridge } from './bridge.ts';
import type { OfPort } from './ofport.ts';
import { setProtocol } from './protocols.ts';
import { sendFrame } from './send-frame.ts';
import { ETH_TYPE, FRAG_LATER, IPPROTO } from './xlate/prereq.ts';
import type { XlateProtocol } from './xlate/protocols.ts';

export function startBfd(bridge: Bridge, port: OfPort, config: BfdConfig): void {
  const bfd: Bfd = new Bfd(config, {
    name: port.name,
    mac: () => port.netdev.mac(),
    rxPackets: () => port.portStats().rxPackets,
    send: (addresses, packet) => {
      sendFrame(bridge, port.ofport, buildBfd(addresses, packet), port.bfd?.config.oam ? TUN_FLAG.oam : 0);
    },
    changed: () => bridge.healthChanged(port),
  });
  port.bfd = bfd;
  setProtocol(port, 'bfd', protocolOf(bfd));
  bridge.healthChanged(port);
}

export function stopBfd(port: OfPort): void {
  port.bfd?.close();
  port.bfd = null;
  setProtocol(port, 'bfd', null);
}

function protocolOf(bfd: Bfd): XlateProtocol {
  return {
    reason: SlowReason.bfd,
    claims: (flow, wc) => {
      const { remoteDstMac, checkTunnelKey } = bfd.config;
      if (remoteDstMac) {
        wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
        if (remoteDstMac.some((byte, i) => flow.u8[OFS.eth_dst + i] !== byte)) return false;
      }
      if (flow.get16(OFS.eth_type) !== ETH_TYPE.ip) return false;
      wc.set8(OFS.ip_proto, 0xff);
      if (flow.get8(OFS.ip_proto) !== IPPROTO.udp || (flow.get8(OFS.ip_frag) & FRAG_LATER) !== 0) return false;
      wc.set16(OFS.tp_dst, 0xffff);
      if (flow.get16(OFS.tp_dst) !== BFD_PORT) return false;
      if (!checkTunnelKey) return true;
      wc.u8.fill(0xff, OFS.tun_id, OFS.tun_id + 8);
      return flow.get64(OFS.tun_id) === 0n;
    },
    receive: (packet) => bfd.receive(packet),
  };
}
