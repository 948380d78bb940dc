/** Queues of devices that have QoS. OpenFlow 1.3.5 7.2.2, 7.3.5.10 */
import { clock } from '../../base/clock.ts';
import type { IpfixStats, QueueConfig, QueueStats } from '../../openflow/messages-ext.ts';
import { OFPP } from '../../openflow/ports.ts';
import type { Bridge } from '../bridge.ts';
import type { Ipfix } from '../export/ipfix.ts';
import type { OfPort } from '../ofport.ts';
import type { Handler } from './index.ts';

const OFPQ_ALL = 0xffffffff;
/** OFPQ_MIN_RATE_UNCFG, OFPQ_MAX_RATE_UNCFG: the rates are not told in tenths of a percent. */
const RATE_UNKNOWN = 0xffff;

/** The ports that a request means; null where there is no such port. */
function portsOf(bridge: Bridge, portNo: number): OfPort[] | null {
  if (portNo === OFPP.NONE || portNo === OFPP.ALL) return bridge.sortedPorts();
  const port = bridge.ofport(portNo);
  return port === undefined ? null : [port];
}

export const queueStats: Handler<'queue_stats_request'> = (bridge, conn, request) => {
  const { portNo, queueId } = request.message;
  const ports = portsOf(bridge, portNo);
  if (ports === null) {
    conn.error(request, 'OFPQOFC_BAD_PORT');
    return;
  }
  const queues: QueueStats[] = [];
  for (const port of ports)
    for (const { queue, stats, sinceMs } of port.netdev.qos?.queues() ?? []) {
      if (queueId !== OFPQ_ALL && queue !== queueId) continue;
      queues.push({
        portNo: port.ofport,
        queueId: queue,
        txBytes: stats?.bytes ?? 0,
        txPackets: stats?.packets ?? 0,
        txErrors: stats?.drops ?? 0,
        durationMs: clock.nowMs() - sinceMs,
      });
    }
  if (queues.length === 0 && queueId !== OFPQ_ALL) conn.error(request, 'OFPQOFC_BAD_QUEUE');
  else conn.reply(request, { type: 'queue_stats_reply', more: false, queues });
};

export const queueGetConfig: Handler<'queue_get_config_request'> = (bridge, conn, request) => {
  const { portNo } = request.message;
  const ports = portsOf(bridge, portNo);
  if (ports === null) {
    conn.error(request, 'OFPQOFC_BAD_PORT');
    return;
  }
  const queues: QueueConfig[] = [];
  for (const port of ports)
    for (const queueId of port.netdev.qos?.queueIds() ?? [])
      queues.push({ portNo: port.ofport, queueId, minRate: RATE_UNKNOWN, maxRate: RATE_UNKNOWN });
  conn.reply(request, { type: 'queue_get_config_reply', more: false, portNo, queues });
};

export const ipfixStats: Handler<'ipfix_bridge_stats_request' | 'ipfix_flow_stats_request'> = (
  bridge,
  conn,
  request,
) => {
  const { bridgeIpfix, flowIpfix } = bridge.exporters;
  const isBridge = request.message.type === 'ipfix_bridge_stats_request';
  const all: (readonly [id: number, exporter: Ipfix])[] = isBridge
    ? bridgeIpfix
      ? [[0, bridgeIpfix]]
      : []
    : [...flowIpfix];
  if (all.length === 0) return conn.error(request, 'NXST_NOT_CONFIGURED');
  const type = isBridge ? 'ipfix_bridge_stats_reply' : 'ipfix_flow_stats_reply';
  conn.reply(request, { type, more: false, stats: all.map(([id, exporter]) => statsOfIpfix(id, exporter)) });
};

function statsOfIpfix(collectorSetId: number, { stats, collectors, currentFlows }: Ipfix): IpfixStats {
  return {
    flows: stats.totalFlows,
    currentFlows,
    packets: stats.sampled,
    ipv4Packets: stats.ipv4,
    ipv6Packets: stats.ipv6,
    errorPackets: 0,
    ipv4ErrorPackets: 0,
    ipv6ErrorPackets: 0,
    txPackets: collectors.sent,
    txErrors: collectors.errors,
    collectorSetId,
  };
}
