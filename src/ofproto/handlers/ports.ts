/** Port descriptions, counters and configuration. OpenFlow 1.3.5 7.3.4.3, 7.3.5.6, 7.3.5.7 */

import type { OfMessageOf } from '../../openflow/messages.ts';
import { OFPP } from '../../openflow/ports.ts';
import type { Bridge } from '../bridge.ts';
import type { OfConn } from '../conn.ts';
import type { Handler } from './index.ts';

export const portStats: Handler<'port_stats_request'> = (bridge, conn, request) => {
  bridge.backer.pushStats();
  const { portNo } = request.message;
  const ports = portNo === OFPP.NONE ? bridge.sortedPorts() : [bridge.ofport(portNo)].filter((p) => p !== undefined);
  conn.reply(request, { type: 'port_stats_reply', more: false, ports: ports.map((p) => p.portStats()) });
};

export const portDesc: Handler<'port_desc_request'> = (bridge, conn, request) => {
  const { portNo } = request.message;
  const all = portNo === OFPP.NONE;
  const ports = bridge.phyPorts().filter((p) => all || p.portNo === portNo);
  conn.reply(request, { type: 'port_desc_reply', more: false, ports });
};

export const portMod: Handler<'port_mod'> = (bridge, conn, request) => {
  const error = checkPortMod(bridge, request.message);
  if (error) conn.error(request, error);
  else applyPortMod(bridge, conn, request.message);
};

type PortMod = OfMessageOf<'port_mod'>;

export function checkPortMod(bridge: Bridge, { portNo, hwAddr }: PortMod): string | null {
  const port = bridge.ofport(portNo);
  if (!port) return 'OFPPMFC_BAD_PORT';
  const mac = port.netdev.mac();
  return hwAddr.every((byte, i) => byte === mac[i]) ? null : 'OFPPMFC_BAD_HW_ADDR';
}

export function applyPortMod(bridge: Bridge, conn: OfConn, { portNo, config, mask }: PortMod): void {
  const port = bridge.ofport(portNo);
  if (port) bridge.modifyPort(port, config, mask, conn);
}
