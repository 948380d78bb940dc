/**
 * Queues and meters, of which there are none: devices have no QoS yet and the datapath no meters. The answers say so in the
 * way in which a switch does whose ports or datapath have none. OpenFlow 1.3.5 7.3.5.12 to 7.3.5.14, 7.2.2, 7.3.5.10
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

export const meterFeatures: Handler<'meter_features_request'> = (_bridge, conn, request) => {
  const features = { maxMeters: 0, bandTypes: 0, capabilities: 0, maxBands: 0, maxColor: 0 };
  conn.reply(request, { type: 'meter_features_reply', features });
};

/** OFPM_ALL asks for all, of which there are none. */
const OFPM_ALL = 0xffffffff;

export const meterConfig: Handler<'meter_config_request'> = (_bridge, conn, request) => {
  if (request.message.meterId !== OFPM_ALL) conn.error(request, 'OFPMMFC_UNKNOWN_METER');
  else conn.reply(request, { type: 'meter_config_reply', more: false, meters: [] });
};

export const meterStats: Handler<'meter_stats_request'> = (_bridge, conn, request) => {
  if (request.message.meterId !== OFPM_ALL) conn.error(request, 'OFPMMFC_UNKNOWN_METER');
  else conn.reply(request, { type: 'meter_stats_reply', more: false, meters: [] });
};

export const meterMod: Handler<'meter_mod'> = (_bridge, conn, request) => {
  const { command, meter } = request.message;
  if (command === 'delete' && meter.meterId === OFPM_ALL) return;
  conn.error(request, command === 'add' ? 'OFPMMFC_INVALID_METER' : 'OFPMMFC_UNKNOWN_METER');
};

/** There is no IPFIX exporter to have statistics. */
export const ipfixStats: Handler<'ipfix_bridge_stats_request' | 'ipfix_flow_stats_request'> = (
  _bridge,
  conn,
  request,
) => {
  conn.error(request, 'NXST_NOT_CONFIGURED');
};
