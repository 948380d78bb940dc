/** Flow monitors: Nicira's, ONF's for OpenFlow 1.3, and the standard's since 1.4. */
import type { Match } from '../../flow/match.ts';
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { OfMessageOf, OfpVersion } from '../messages.ts';
import { type FlowMonitorRequest, type FlowUpdate, OFPG_ANY } from '../messages-ext.ts';
import { entry } from './entry.ts';
import { readInstructions, readMatch, readNxm, writeInstructions, writeMatch, writeNxm } from './parts.ts';
import { readPort, writePort } from './phy-port.ts';

const COMMANDS = ['add', 'modify', 'delete'] as const;
const NX_EVENTS = ['added', 'deleted', 'modified', 'abbrev'] as const;
const EVENTS = ['initial', 'added', 'deleted', 'modified', 'abbrev', 'paused', 'resumed'] as const;
const NX_FLAGS_ALL = 0x3f;
/** OFPFMF14_ONLY_OWN is one bit higher than Nicira's; the bit between says "never abbreviate". */
const flagsTo14 = (f: number): number => (f & 0x1f) | (f & 0x20 ? 0x40 : 0);

const requestNx = codec(
  'flow_monitor_request',
  [spot('nxreq', 1, 3, 2, 'NXST_FLOW_MONITOR request')],
  (w, m) => {
    w.u32(m.id)
      .u16(m.flags & NX_FLAGS_ALL)
      .u16(m.outPort);
    const lengthAt = w.len;
    w.u16(0).u8(m.table).zero(5);
    w.set16(lengthAt, writeNxm(w, m.match));
  },
  (r) => {
    const id = r.u32();
    const flags = r.u16();
    if (flags & ~NX_FLAGS_ALL) r.fail('OFPMOFC_BAD_FLAGS');
    const outPort = r.u16();
    const length = r.u16();
    const table = r.u8();
    if (r.take(5).some((b) => b !== 0)) r.fail('NXBRC_MUST_BE_ZERO');
    const { match } = readNxm(r, length);
    return { type: 'flow_monitor_request', id, command: 'add', flags, outPort, outGroup: OFPG_ANY, table, match };
  },
  (_m, version) => version <= 3,
);

/** Length of a match with its header, before padding. */
function writeSizedMatch(w: Writer, lengthAt: number, match: Match, version: OfpVersion): void {
  const start = w.len;
  writeMatch(w, match, version);
  w.set16(lengthAt, (w.buf[start + 2] << 8) | w.buf[start + 3]);
}

/** ONF's extension for OpenFlow 1.3: Nicira's flags and order, the standard's ports and match. */
const requestOnf = codec(
  'flow_monitor_request',
  [spot('onfreq', 4, 4, 1870, 'ONFST_FLOW_MONITOR request')],
  (w, m, { version }) => {
    w.u32(m.id).u16(m.flags & NX_FLAGS_ALL);
    const lengthAt = w.len;
    w.u16(0);
    writePort(w, m.outPort, version);
    w.u8(m.table).zero(3);
    writeSizedMatch(w, lengthAt, m.match, version);
  },
  (r, { version }) => {
    const id = r.u32();
    const flags = r.u16();
    if (flags & ~NX_FLAGS_ALL) r.fail('OFPMOFC_BAD_FLAGS');
    r.skip(2);
    const outPort = readPort(r, version);
    const table = r.u8();
    if (r.take(3).some((b) => b !== 0)) r.fail('NXBRC_MUST_BE_ZERO');
    const match = readMatch(r);
    return { type: 'flow_monitor_request', id, command: 'add', flags, outPort, outGroup: OFPG_ANY, table, match };
  },
  (_m, version) => version === 4,
);

const request14 = codec(
  'flow_monitor_request',
  [spot('req', 5, 6, 16, 'OFPST_FLOW_MONITOR request')],
  (w, m, { version }) => {
    w.u32(m.id);
    writePort(w, m.outPort, version);
    w.u32(m.outGroup).u16(flagsTo14(m.flags)).u8(m.table).u8(COMMANDS.indexOf(m.command));
    writeMatch(w, m.match, version);
  },
  (r, { version }): FlowMonitorRequest => {
    const id = r.u32();
    const outPort = readPort(r, version);
    const outGroup = r.u32();
    const raw = r.u16();
    if (raw & ~0x5f) r.fail('OFPMOFC_BAD_FLAGS');
    const table = r.u8();
    const command = COMMANDS[r.u8()];
    if (command === undefined) r.fail('OFPMOFC_BAD_COMMAND');
    const flags = (raw & 0x1f) | (raw & 0x40 ? 0x20 : 0);
    return { type: 'flow_monitor_request', id, command, flags, outPort, outGroup, table, match: readMatch(r) };
  },
);

/** `version` 1 is Nicira's message, 4 ONF's, which differ in how they write matches and actions. */
function writeUpdateNx(w: Writer, u: FlowUpdate, version: OfpVersion): void {
  const start = w.len;
  if (u.event === 'abbrev') {
    w.u16(8).u16(3).u32(u.xid);
    return;
  }
  if (u.event === 'paused' || u.event === 'resumed') return;
  const event = u.event === 'initial' ? 'added' : u.event;
  w.u16(0).u16(NX_EVENTS.indexOf(event)).u16(u.reason).u16(u.priority).u16(u.idleTimeout).u16(u.hardTimeout);
  const lengthAt = w.len;
  w.u16(0).u8(u.table).zero(1).u64(u.cookie);
  if (version >= 4) writeSizedMatch(w, lengthAt, u.match, version);
  else w.set16(lengthAt, writeNxm(w, u.match));
  writeInstructions(w, u.actions, version >= 4 ? version : 1);
  w.length16(start, start);
}

function readUpdateNx(all: Reader, version: OfpVersion): FlowUpdate {
  const r = entry(all, 4, 'NXBRC_FM_BAD_EVENT');
  const event = NX_EVENTS[r.u16()];
  if (event === undefined) r.fail('NXBRC_FM_BAD_EVENT');
  if (event === 'abbrev') return { event, xid: r.u32() };
  const reason = r.u16();
  const priority = r.u16();
  const idleTimeout = r.u16();
  const hardTimeout = r.u16();
  const length = r.u16();
  const table = r.u8();
  const cookie = r.skip(1).u64();
  const match = version >= 4 ? readMatch(r) : readNxm(r, length).match;
  const actions = readInstructions(r, version >= 4 ? version : 1);
  return { event, reason, priority, idleTimeout, hardTimeout, table, cookie, match, actions };
}

function writeUpdate14(w: Writer, u: FlowUpdate, version: OfpVersion): void {
  const start = w.len;
  w.u16(8).u16(EVENTS.indexOf(u.event));
  if (u.event === 'abbrev') w.u32(u.xid);
  else if (u.event === 'paused' || u.event === 'resumed') w.zero(4);
  else {
    w.u8(u.table).u8(u.reason).u16(u.idleTimeout).u16(u.hardTimeout).u16(u.priority).zero(4).u64(u.cookie);
    writeMatch(w, u.match, version);
    writeInstructions(w, u.actions, version);
    w.length16(start, start);
  }
}

function readUpdate14(all: Reader, version: OfpVersion): FlowUpdate {
  const r = entry(all, 8, 'NXBRC_FM_BAD_EVENT');
  const event = EVENTS[r.u16()];
  if (event === undefined) r.fail('NXBRC_FM_BAD_EVENT');
  if (event === 'abbrev') return { event, xid: r.u32() };
  if (event === 'paused' || event === 'resumed') return { event };
  const table = r.u8();
  const reason = r.u8();
  const times = { idleTimeout: r.u16(), hardTimeout: r.u16() };
  const priority = r.u16();
  const cookie = r.skip(4).u64();
  const match: Match = readMatch(r);
  return { event, reason, ...times, table, priority, cookie, match, actions: readInstructions(r, version) };
}

const replyNx = codec(
  'flow_monitor_reply',
  [spot('nxrep', 1, 3, 2, 'NXST_FLOW_MONITOR reply'), spot('onfrep', 4, 4, 1870, 'ONFST_FLOW_MONITOR reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const u of m.updates) {
      writeUpdateNx(w, u, version);
      w.boundary();
    }
  },
  (r, { more, version }) => {
    const updates: FlowUpdate[] = [];
    while (r.left > 0) updates.push(readUpdateNx(r, version));
    return { type: 'flow_monitor_reply', more, updates };
  },
);
const reply14 = codec(
  'flow_monitor_reply',
  [spot('rep', 5, 6, 16, 'OFPST_FLOW_MONITOR reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const u of m.updates) {
      writeUpdate14(w, u, version);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    const updates: FlowUpdate[] = [];
    while (r.left > 0) updates.push(readUpdate14(r, version));
    return { type: 'flow_monitor_reply', more, updates };
  },
);

const cancel = codec(
  'flow_monitor_cancel',
  [spot('nx', 1, 6, 21, 'NXT_FLOW_MONITOR_CANCEL', 20), spot('onf', 4, 4, 1870, 'ONFT_FLOW_MONITOR_CANCEL', 20)],
  (w, m) => void w.u32(m.id),
  (r) => ({ type: 'flow_monitor_cancel', id: r.u32() }),
);
const pauseResume = (type: 'flow_monitor_paused' | 'flow_monitor_resumed', nx: number, onf: number, name: string) =>
  codec(
    type,
    [spot('nx', 1, 6, nx, `NXT_FLOW_MONITOR_${name}`), spot('onf', 4, 4, onf, `ONFT_FLOW_MONITOR_${name}`)],
    () => {},
    (): OfMessageOf<typeof type> => ({ type }),
  );

export const monitorCodecs = [
  requestNx,
  requestOnf,
  request14,
  replyNx,
  reply14,
  cancel,
  pauseResume('flow_monitor_paused', 22, 1871, 'PAUSED'),
  pauseResume('flow_monitor_resumed', 23, 1872, 'RESUMED'),
];
