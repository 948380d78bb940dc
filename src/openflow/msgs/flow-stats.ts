/** Flow statistics and their sums; in the standard's form and in Nicira's extended one for OpenFlow 1.0. */
import { resolveActions } from '../actions/index.ts';
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import { fitsMatch10, readMatch10, writeMatch10 } from '../match-old.ts';
import type { FlowStats, FlowStatsRequest, OfpVersion } from '../messages.ts';
import { NO_FLAGS, OFPG_ANY } from '../messages-ext.ts';
import { readDuration, writeDuration } from './duration.ts';
import { entry } from './entry.ts';
import { readOxs, writeOxs } from './oxs.ts';
import {
  flagsFromWire,
  flagsToWire,
  readInstructions,
  readMatch,
  readNxm,
  writeInstructions,
  writeMatch,
  writeNxm,
} from './parts.ts';
import { readPort, writePort } from './phy-port.ts';

function encodeRequest10(w: Writer, m: FlowStatsRequest): void {
  writeMatch10(w, m.match);
  w.u8(m.table).zero(1).u16(m.outPort);
}
function decodeRequest10(r: Reader): FlowStatsRequest {
  const match = readMatch10(r);
  const table = r.u8();
  return { match, table, outPort: r.skip(1).u16(), outGroup: OFPG_ANY, cookie: 0n, cookieMask: 0n };
}
function encodeRequestNx(w: Writer, m: FlowStatsRequest): void {
  w.u16(m.outPort);
  const lengthAt = w.len;
  w.u16(0).u8(m.table).zero(3);
  w.set16(lengthAt, writeNxm(w, m.match, m.cookie, m.cookieMask));
}
function decodeRequestNx(r: Reader): FlowStatsRequest {
  const outPort = r.u16();
  const length = r.u16();
  const table = r.u8();
  r.skip(3);
  const nxm = readNxm(r, length);
  if (r.left > 0) r.fail('OFPBRC_BAD_LEN');
  return { outPort, table, outGroup: OFPG_ANY, ...nxm, nxm: true };
}
function encodeRequest11(w: Writer, m: FlowStatsRequest, version: OfpVersion): void {
  w.u8(m.table).zero(3);
  writePort(w, m.outPort, version);
  w.u32(m.outGroup).zero(4).u64(m.cookie).u64(m.cookieMask);
  writeMatch(w, m.match, version);
}
function decodeRequest11(r: Reader, version: OfpVersion): FlowStatsRequest {
  const table = r.u8();
  r.skip(3);
  const outPort = readPort(r, version);
  const outGroup = r.u32();
  r.skip(4);
  const cookie = r.u64();
  const cookieMask = r.u64();
  return { table, outPort, outGroup, cookie, cookieMask, match: readMatch(r) };
}
const requestNeedsNxm = (m: FlowStatsRequest): boolean =>
  m.nxm === true || m.cookieMask !== 0n || !fitsMatch10(m.match);

const requests = (['flow_stats_request', 'aggregate_request'] as const).flatMap((type) => {
  const [of, nx, name] = type === 'flow_stats_request' ? [1, 0, 'FLOW'] : [2, 1, 'AGGREGATE'];
  return [
    codec(
      type,
      [spot('nxreq', 1, 1, nx, `NXST_${name} request`)],
      encodeRequestNx,
      (r) => ({ type, ...decodeRequestNx(r) }),
      (m, version, options) => version === 1 && (options.flowFormat === 'nxm' || requestNeedsNxm(m)),
    ),
    codec(type, [spot('req', 1, 1, of, `OFPST_${name} request`, 56)], encodeRequest10, (r) => ({
      type,
      ...decodeRequest10(r),
    })),
    codec(
      type,
      [spot('req', 2, 6, of, `OFPST_${name} request`)],
      (w, m, { version }) => encodeRequest11(w, m, version),
      (r, { version }) => ({ type, ...decodeRequest11(r, version) }),
    ),
  ];
});

function encodeFlow(w: Writer, f: FlowStats, version: OfpVersion): void {
  const start = w.len;
  w.u16(0);
  if (version === 6) w.zero(2);
  w.u8(f.table).zero(1);
  if (version === 1) writeMatch10(w, f.match);
  if (version !== 6) writeDuration(w, f.durationMs);
  w.u16(f.priority).u16(f.idleTimeout).u16(f.hardTimeout);
  if (version === 1) w.zero(6);
  else {
    w.u16(version >= 4 ? flagsToWire(f.flags, version) : 0);
    w.u16(version >= 5 ? f.importance : 0);
    if (version !== 6) w.zero(2);
  }
  w.u64(f.cookie);
  if (version !== 6) w.count64(f.packets).count64(f.bytes);
  if (version !== 1) writeMatch(w, f.match, version);
  if (version === 6)
    writeOxs(w, {
      durationMs: f.durationMs,
      idleMs: f.idleAge < 0 ? undefined : f.idleAge * 1000,
      packets: f.packets,
      bytes: f.bytes,
    });
  writeInstructions(w, resolveActions(f.actions, f.match), version);
  w.length16(start, start);
}

function decodeFlow(all: Reader, version: OfpVersion): FlowStats {
  const r = entry(all, version === 1 ? 88 : version === 6 ? 32 : 56);
  if (version === 6) r.skip(2);
  const table = r.u8();
  r.skip(1);
  const oldMatch = version === 1 ? readMatch10(r) : null;
  let durationMs = version === 6 ? 0 : readDuration(r);
  const priority = r.u16();
  const idleTimeout = r.u16();
  const hardTimeout = r.u16();
  let rawFlags = 0;
  let importance = 0;
  if (version === 1) r.skip(6);
  else {
    rawFlags = r.u16();
    importance = r.u16();
    if (version !== 6) r.skip(2);
  }
  const cookie = r.u64();
  let packets = version === 6 ? -1 : r.count64();
  let bytes = version === 6 ? -1 : r.count64();
  const match = oldMatch ?? readMatch(r);
  let idleAge = -1;
  if (version === 6) {
    const stats = readOxs(r);
    durationMs = stats.durationMs ?? 0;
    packets = stats.packets ?? -1;
    bytes = stats.bytes ?? -1;
    if (stats.idleMs !== undefined) idleAge = Math.floor(stats.idleMs / 1000);
  }
  return {
    match,
    priority,
    cookie,
    table,
    durationMs,
    idleTimeout,
    hardTimeout,
    idleAge,
    hardAge: -1,
    importance: version >= 5 ? importance : 0,
    packets,
    bytes,
    flags: version >= 4 ? flagsFromWire(rawFlags & 31, version) : NO_FLAGS,
    actions: readInstructions(r, version),
  };
}

const age = (seconds: number): number => (seconds < 0 ? 0 : Math.min(seconds + 1, 0xffff));

function encodeFlowNx(w: Writer, f: FlowStats): void {
  const start = w.len;
  w.u16(0).u8(f.table).zero(1);
  writeDuration(w, f.durationMs);
  w.u16(f.priority).u16(f.idleTimeout).u16(f.hardTimeout);
  const lengthAt = w.len;
  w.u16(0).u16(age(f.idleAge)).u16(age(f.hardAge)).u64(f.cookie).count64(f.packets).count64(f.bytes);
  w.set16(lengthAt, writeNxm(w, f.match));
  writeInstructions(w, f.actions, 1);
  w.length16(start, start);
}

function decodeFlowNx(all: Reader): FlowStats {
  const r = entry(all, 48);
  const table = r.u8();
  r.skip(1);
  const durationMs = readDuration(r);
  const priority = r.u16();
  const idleTimeout = r.u16();
  const hardTimeout = r.u16();
  const length = r.u16();
  const idleAge = r.u16() - 1;
  const hardAge = r.u16() - 1;
  const cookie = r.u64();
  const packets = r.count64();
  const bytes = r.count64();
  const { match } = readNxm(r, length);
  const times = { durationMs, idleTimeout, hardTimeout, idleAge, hardAge, importance: 0 };
  return { match, priority, cookie, table, ...times, packets, bytes, flags: NO_FLAGS, actions: readInstructions(r, 1) };
}

const flowReplyNx = codec(
  'flow_stats_reply',
  [spot('nxrep', 1, 1, 0, 'NXST_FLOW reply')],
  (w, m) => {
    w.boundary();
    for (const flow of m.flows) {
      encodeFlowNx(w, flow);
      w.boundary();
    }
  },
  (r, { more }) => {
    const flows: FlowStats[] = [];
    while (r.left > 0) flows.push(decodeFlowNx(r));
    return { type: 'flow_stats_reply', more, flows, nxm: true };
  },
  (m, version) => version === 1 && m.nxm === true,
);
const flowReply = codec(
  'flow_stats_reply',
  [spot('rep', 1, 6, 1, 'OFPST_FLOW reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const flow of m.flows) {
      encodeFlow(w, flow, version);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    const flows: FlowStats[] = [];
    while (r.left > 0) flows.push(decodeFlow(r, version));
    return { type: 'flow_stats_reply', more, flows };
  },
);

const aggregateReplyNx = codec(
  'aggregate_reply',
  [spot('nxrep', 1, 1, 1, 'NXST_AGGREGATE reply', 48)],
  (w, m) => void w.count64(m.packets).count64(m.bytes).u32(m.flows).zero(4),
  (r) => ({ type: 'aggregate_reply', packets: r.count64(), bytes: r.count64(), flows: r.u32(), nxm: true }),
  (m, version) => version === 1 && m.nxm === true,
);
const aggregateReply = codec(
  'aggregate_reply',
  [spot('rep', 1, 1, 2, 'OFPST_AGGREGATE reply', 36), spot('rep', 2, 5, 2, 'OFPST_AGGREGATE reply', 40)],
  (w, m) => void w.count64(m.packets).count64(m.bytes).u32(m.flows).zero(4),
  (r) => ({ type: 'aggregate_reply', packets: r.count64(), bytes: r.count64(), flows: r.u32() }),
);
const aggregateReply15 = codec(
  'aggregate_reply',
  [spot('rep', 6, 6, 2, 'OFPST_AGGREGATE reply')],
  (w, m) => writeOxs(w, { packets: m.packets, bytes: m.bytes, flows: m.flows }),
  (r) => {
    const stats = readOxs(r);
    return { type: 'aggregate_reply', packets: stats.packets ?? -1, bytes: stats.bytes ?? -1, flows: stats.flows ?? 0 };
  },
);

export const flowStatsCodecs = [
  ...requests,
  flowReplyNx,
  flowReply,
  aggregateReplyNx,
  aggregateReply,
  aggregateReply15,
];
