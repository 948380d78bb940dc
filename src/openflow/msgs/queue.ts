/** Queues: statistics, and how they are configured. */
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { OfpVersion } from '../messages.ts';
import type { QueueConfig, QueueStats } from '../messages-ext.ts';
import { readDuration, writeDuration } from './duration.ts';
import { entry } from './entry.ts';
import { properties, property, readPort, writePort } from './phy-port.ts';

const MIN_RATE = 1;
const MAX_RATE = 2;
const NO_RATE = 0xffff;
const ALL_QUEUES = 0xffffffff;

const statsRequest = codec(
  'queue_stats_request',
  [spot('req', 1, 1, 5, 'OFPST_QUEUE request', 20), spot('req', 2, 6, 5, 'OFPST_QUEUE request', 24)],
  (w, m, { version }) => {
    writePort(w, m.portNo, version);
    if (version === 1) w.zero(2);
    w.u32(m.queueId);
  },
  (r, { version }) => {
    const portNo = readPort(r, version);
    if (version === 1) r.skip(2);
    return { type: 'queue_stats_request', portNo, queueId: r.u32() };
  },
);

const statsReply = codec(
  'queue_stats_reply',
  [spot('rep', 1, 6, 5, 'OFPST_QUEUE reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const q of m.queues) {
      const start = w.len;
      if (version >= 5) w.u16(48).zero(6);
      writePort(w, q.portNo, version);
      if (version === 1) w.zero(2);
      w.u32(q.queueId).count64(q.txBytes).count64(q.txPackets).count64(q.txErrors);
      if (version >= 4) writeDuration(w, q.durationMs);
      if (version >= 5) w.length16(start, start);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    const queues: QueueStats[] = [];
    while (r.left > 0) {
      const e = version >= 5 ? entry(r, 48).skip(6) : r;
      const portNo = readPort(e, version);
      if (version === 1) e.skip(2);
      const counts = { queueId: e.u32(), txBytes: e.count64(), txPackets: e.count64(), txErrors: e.count64() };
      queues.push({ portNo, ...counts, durationMs: version >= 4 ? readDuration(e) : -1 });
    }
    return { type: 'queue_stats_reply', more, queues };
  },
);

const configRequest = codec(
  'queue_get_config_request',
  [
    spot('of', 1, 1, 20, 'OFPT_QUEUE_GET_CONFIG_REQUEST', 12),
    spot('of', 2, 4, 22, 'OFPT_QUEUE_GET_CONFIG_REQUEST', 16),
    spot('req', 5, 6, 15, 'OFPST_QUEUE_DESC request', 24),
  ],
  (w, m, { version }) => {
    writePort(w, m.portNo, version);
    if (version === 1) w.zero(2);
    else if (version <= 4) w.zero(4);
    else w.u32(m.queueId);
  },
  (r, { version }) => {
    const portNo = readPort(r, version);
    return { type: 'queue_get_config_request', portNo, queueId: version >= 5 ? r.u32() : ALL_QUEUES };
  },
);

function writeQueue(w: Writer, q: QueueConfig, version: OfpVersion): void {
  const start = w.len;
  if (version >= 5) {
    writePort(w, q.portNo, version);
    w.u32(q.queueId).u16(0).zero(6);
    if (q.minRate !== NO_RATE) property(w, MIN_RATE, () => w.u16(q.minRate).zero(2));
    if (q.maxRate !== NO_RATE) property(w, MAX_RATE, () => w.u16(q.maxRate).zero(2));
    w.length16(start + 8, start);
    return;
  }
  w.u32(q.queueId);
  if (version >= 3) writePort(w, q.portNo, version);
  const lengthAt = w.len;
  w.u16(0).zero(version >= 3 ? 6 : 2);
  for (const [type, rate] of [
    [MIN_RATE, q.minRate],
    [MAX_RATE, q.maxRate],
  ])
    if (rate !== NO_RATE) w.u16(type).u16(16).zero(4).u16(rate).zero(6);
  w.length16(lengthAt, start);
}

function readQueue(r: Reader, version: OfpVersion, port: number): QueueConfig {
  const at = r.pos;
  let portNo = port;
  if (version >= 5) portNo = readPort(r, version);
  const queueId = r.u32();
  if (version === 3 || version === 4) portNo = readPort(r, version);
  const length = r.u16();
  r.skip(version >= 3 ? 6 : 2);
  const header = r.pos - at;
  if (length < header || length - header > r.left) r.fail('OFPBRC_BAD_LEN');
  const body = r.sub(length - header);
  let minRate: number = NO_RATE;
  let maxRate: number = NO_RATE;
  for (const [type, p] of properties(body)) {
    if (version <= 4) p.skip(4);
    if (type === MIN_RATE) minRate = p.u16();
    else if (type === MAX_RATE) maxRate = p.u16();
  }
  return { portNo, queueId, minRate, maxRate };
}

const configReply = codec(
  'queue_get_config_reply',
  [
    spot('of', 1, 1, 21, 'OFPT_QUEUE_GET_CONFIG_REPLY'),
    spot('of', 2, 4, 23, 'OFPT_QUEUE_GET_CONFIG_REPLY'),
    spot('rep', 5, 6, 15, 'OFPST_QUEUE_DESC reply'),
  ],
  (w, m, { version }) => {
    if (version <= 4) {
      writePort(w, m.portNo, version);
      w.zero(version === 1 ? 6 : 4);
    }
    w.boundary();
    for (const q of m.queues) {
      writeQueue(w, q, version);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    let portNo = 0xffff;
    if (version <= 4) {
      portNo = readPort(r, version);
      r.skip(version === 1 ? 6 : 4);
    }
    const queues: QueueConfig[] = [];
    while (r.left > 0) queues.push(readQueue(r, version, portNo));
    if (version >= 5 && queues.length > 0) portNo = queues[0].portNo;
    return { type: 'queue_get_config_reply', more, portNo, queues };
  },
);

export const queueCodecs = [statsRequest, statsReply, configRequest, configReply];
