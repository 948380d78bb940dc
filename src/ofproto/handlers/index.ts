/**
 * Which function answers which OpenFlow message. A handler answers through `conn` and may return a promise: later
 * requests of the same connection wait for it.
 */
import type { OfMessageType } from '../../openflow/messages.ts';
import type { Bridge } from '../bridge.ts';
import type { OfConn, Request } from '../conn.ts';
import { bundleAdd, bundleControl } from './bundle.ts';
import { ctFlush, ctFlushZone } from './conntrack.ts';
import { aggregateStats, flowMod, flowStats } from './flows.ts';
import { groupDesc, groupFeatures, groupMod, groupStats } from './groups.ts';
import { meterConfig, meterFeatures, meterMod, meterStats } from './meters.ts';
import { flowMonitor, flowMonitorCancel } from './monitors.ts';
import { packetOut } from './packet-out.ts';
import { portDesc, portMod, portStats } from './ports.ts';
import { ipfixStats, queueGetConfig, queueStats } from './queues.ts';
import { resume } from './resume.ts';
import {
  barrier,
  desc,
  echo,
  features,
  getAsync,
  getConfig,
  hello,
  role,
  setAsync,
  setConfig,
  setControllerId,
  setFlowFormat,
  setFlowModTableId,
  setPacketInFormat,
} from './session.ts';
import { tableFeatures } from './table-features.ts';
import { tableDesc, tableMod, tableStats } from './tables.ts';
import { tlvTableMod, tlvTableRequest } from './tlv.ts';

export type Handler<T extends OfMessageType> = (
  bridge: Bridge,
  conn: OfConn,
  request: Request<T>,
) => void | Promise<void>;

/** Each handler sees the type it is filed under, which the table's own type cannot say. */
const HANDLERS: { readonly [T in OfMessageType]?: Handler<T> } = {
  hello,
  error: () => {},
  echo_request: echo,
  echo_reply: () => {},
  features_request: features,
  get_config_request: getConfig,
  set_config: setConfig,
  barrier_request: barrier,
  role_request: role,
  desc_request: desc,
  get_async_request: getAsync,
  set_async: setAsync,
  nx_set_flow_format: setFlowFormat,
  nx_flow_mod_table_id: setFlowModTableId,
  nx_set_packet_in_format: setPacketInFormat,
  nx_set_controller_id: setControllerId,
  flow_mod: flowMod,
  flow_stats_request: flowStats,
  aggregate_request: aggregateStats,
  bundle_control: bundleControl,
  ct_flush_zone: ctFlushZone,
  ct_flush: ctFlush,
  bundle_add: bundleAdd,
  group_mod: groupMod,
  group_desc_request: groupDesc,
  group_stats_request: groupStats,
  group_features_request: groupFeatures,
  flow_monitor_request: flowMonitor,
  flow_monitor_cancel: flowMonitorCancel,
  queue_stats_request: queueStats,
  queue_get_config_request: queueGetConfig,
  meter_features_request: meterFeatures,
  meter_config_request: meterConfig,
  meter_stats_request: meterStats,
  meter_mod: meterMod,
  ipfix_bridge_stats_request: ipfixStats,
  ipfix_flow_stats_request: ipfixStats,
  packet_out: packetOut,
  nx_resume: resume,
  port_mod: portMod,
  port_stats_request: portStats,
  port_desc_request: portDesc,
  table_mod: tableMod,
  table_stats_request: tableStats,
  table_desc_request: tableDesc,
  table_features_request: tableFeatures,
  tlv_table_mod: tlvTableMod,
  tlv_table_request: tlvTableRequest,
};

/** Types of messages that have a handler. */
export function answeredTypes(): ReadonlySet<OfMessageType> {
  return new Set(Object.keys(HANDLERS) as OfMessageType[]);
}

/** What a secondary controller may not do. OpenFlow 1.3.5 6.3.6 */
const CHANGES: ReadonlySet<OfMessageType> = new Set([
  'flow_mod',
  'group_mod',
  'meter_mod',
  'packet_out',
  'nx_resume',
  'port_mod',
  'table_mod',
  'bundle_control',
  'bundle_add',
  'tlv_table_mod',
]);

export function handle(bridge: Bridge, conn: OfConn, request: Request): void | Promise<void> {
  const type = request.message.type;
  const handler = HANDLERS[type] as Handler<OfMessageType> | undefined;
  if (!handler) return conn.error(request, unknownError(request.bytes, conn.version));
  if (conn.role === 'secondary' && CHANGES.has(type)) return conn.error(request, 'OFPBRC_IS_SECONDARY');
  return handler(bridge, conn, request);
}

const OFPT_VENDOR = 4;

/** What a switch without the feature would say. */
function unknownError(bytes: Uint8Array, version: number): string {
  const type = bytes[1];
  if (type === OFPT_VENDOR) return 'OFPBRC_BAD_SUBTYPE';
  return type === (version === 1 ? 16 : 18) ? 'OFPBRC_BAD_STAT' : 'OFPBRC_BAD_TYPE';
}
