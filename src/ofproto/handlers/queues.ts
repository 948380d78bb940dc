/**
 * Queues, of which there are none: devices have no QoS yet. The answers say so in the way in which a switch does whose
 * ports have none. OpenFlow 1.3.5 7.2.2, 7.3.5.10
 */
import { OFPP } from '../../openflow/ports.ts';
import type { Bridge } from '../bridge.ts';
import type { Handler } from './index.ts';

function isPort(bridge: Bridge, portNo: number): boolean {
  return portNo === OFPP.NONE || portNo === OFPP.ALL || bridge.ofport(portNo) !== undefined;
}

export const queueStats: Handler<'queue_stats_request'> = (bridge, conn, request) => {
  if (isPort(bridge, request.message.portNo)) {
    conn.reply(request, { type: 'queue_stats_reply', more: false, queues: [] });
  } else {
    conn.error(request, 'OFPQOFC_BAD_PORT');
  }
};

export const queueGetConfig: Handler<'queue_get_config_request'> = (bridge, conn, request) => {
  const { portNo } = request.message;
  if (isPort(bridge, portNo)) {
    conn.reply(request, { type: 'queue_get_config_reply', more: false, portNo, queues: [] });
  } else {
    conn.error(request, 'OFPQOFC_BAD_PORT');
  }
};

/** There is no IPFIX exporter to have statistics. */
export const ipfixStats: Handler<'ipfix_bridge_stats_request' | 'ipfix_flow_stats_request'> = (
  _bridge,
  conn,
  request,
) => {
  conn.error(request, 'NXST_NOT_CONFIGURED');
};
