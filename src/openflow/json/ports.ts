/** Ports, their counters and queues as JSON. The schema is `docs/schema/openflow.json`. */
import { type Json, type JsonObject, macJson } from '../../flow/json.ts';
import type { Names } from '../../flow/names.ts';
import type { PhyPort, PortStats } from '../messages.ts';
import type { QueueConfig, QueueStats } from '../messages-ext.ts';
import { bitNames } from '../text/common.ts';
import { FULL_RATE } from '../text/family.ts';
import { PORT_CONFIG, PORT_FEATURES, PORT_STATE, RFC2819, STP_MASK, STP_STATES } from '../text/port.ts';
import { portJson } from './actions.ts';
import { known, seconds, words } from './flows.ts';

const bits = (value: number, table: readonly (string | null)[]): string[] => words(bitNames(value, table, ' '));

/** A port's description. Speeds are in Mbit/s. */
export function phyPortJson(p: PhyPort): JsonObject {
  const stp = STP_STATES[p.state & STP_MASK];
  return {
    port: p.portNo,
    name: p.name,
    mac: macJson(p.hwAddr),
    config: bits(p.config, PORT_CONFIG),
    state: [...(stp === undefined ? [] : [stp]), ...bits(p.state & ~STP_MASK, PORT_STATE)],
    current: bits(p.curr, PORT_FEATURES),
    advertised: bits(p.advertised, PORT_FEATURES),
    supported: bits(p.supported, PORT_FEATURES),
    peer: bits(p.peer, PORT_FEATURES),
    speed_mbps: Math.floor(p.currSpeed / 1000),
    max_speed_mbps: Math.floor(p.maxSpeed / 1000),
  };
}

export function portStatsJson(s: PortStats, names?: Names): JsonObject {
  const out: Record<string, Json> = {
    ...portJson('port', s.portNo, names),
    duration_s: seconds(s.durationMs),
    rx: {
      packets: known(s.rxPackets),
      bytes: known(s.rxBytes),
      dropped: known(s.rxDropped),
      errors: known(s.rxErrors),
      frame: known(s.rxFrameErr),
      over: known(s.rxOverErr),
      crc: known(s.rxCrcErr),
    },
    tx: {
      packets: known(s.txPackets),
      bytes: known(s.txBytes),
      dropped: known(s.txDropped),
      errors: known(s.txErrors),
      collisions: known(s.collisions),
    },
  };
  const sizes = RFC2819.flat().map((name, i) => [name, s.rfc2819?.[i] ?? -1] as const);
  if (sizes.some(([, n]) => n >= 0)) out['rfc2819'] = Object.fromEntries(sizes.filter(([, n]) => n >= 0));
  if (s.custom !== undefined && s.custom.length > 0)
    out['custom'] = Object.fromEntries(s.custom.map(({ name, value }) => [name, value]));
  return out;
}

export function queueStatsJson(q: QueueStats, names?: Names): JsonObject {
  return {
    ...portJson('port', q.portNo, names),
    queue: q.queueId,
    packets: known(q.txPackets),
    bytes: known(q.txBytes),
    errors: known(q.txErrors),
    duration_s: seconds(q.durationMs),
  };
}

/** Rates are in percent of the port's, null where there is none. `port` is what the message says where its queues don't. */
export function queueConfigJson(q: QueueConfig, port: number, names?: Names): JsonObject {
  const percent = (rate: number): number | null => (rate <= FULL_RATE ? rate / 10 : null);
  return {
    ...portJson('port', q.portNo >= 0 ? q.portNo : port, names),
    queue: q.queueId,
    min_rate_percent: percent(q.minRate),
    max_rate_percent: percent(q.maxRate),
  };
}
