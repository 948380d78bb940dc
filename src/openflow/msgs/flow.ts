/** Flows: changes and removals; in the standard's form and in Nicira's extended one for OpenFlow 1.0. */

import { OFS } from '../../flow/layout.ts';
import { resolveActions } from '../actions/index.ts';
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import { fitsMatch10, readMatch10, writeMatch10 } from '../match-old.ts';
import type { FlowMod, FlowRemovedReason, OfpVersion } from '../messages.ts';
import { OFPG_ANY } from '../messages-ext.ts';
import { OFPP } from '../ports.ts';
import { readDuration, writeDuration } from './duration.ts';
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

const COMMANDS = ['add', 'modify', 'modify_strict', 'delete', 'delete_strict'] as const;
const REASONS: readonly FlowRemovedReason[] = ['idle', 'hard', 'delete', 'group_delete', 'meter_delete', 'eviction'];
const KEEP_COOKIE = 0xffffffffffffffffn;
const ALL_TABLES = 255;

const commandOf = (n: number): FlowMod['command'] => COMMANDS[n];

/** OpenFlow 1.0 flow_mods name their table only where NXT_FLOW_MOD_TABLE_ID has been agreed on. */
function splitCommand(r: Reader, raw: number, tableId: boolean): { command: FlowMod['command']; table: number } {
  const number = tableId ? raw & 0xff : raw;
  if (number >= COMMANDS.length) r.fail('OFPFMFC_BAD_COMMAND');
  return { command: commandOf(number), table: tableId ? raw >> 8 : ALL_TABLES };
}

function encodeFlowMod10(w: Writer, m: FlowMod, tableId: boolean, nxm: boolean): void {
  if (!nxm) writeMatch10(w, m.match);
  w.u64(m.newCookie ?? KEEP_COOKIE);
  w.u16(COMMANDS.indexOf(m.command) | (tableId ? m.table << 8 : 0));
  w.u16(m.idleTimeout).u16(m.hardTimeout).u16(m.priority).u32(m.bufferId).u16(m.outPort);
  w.u16(flagsToWire(m.flags, 1));
  if (nxm) {
    const lengthAt = w.len;
    w.u16(0).zero(6);
    w.set16(lengthAt, writeNxm(w, m.match, m.cookie, m.cookieMask));
  }
  writeInstructions(w, m.actions, 1);
}

function decodeFlowMod10(r: Reader, tableId: boolean, nxm: boolean): FlowMod {
  let match = nxm ? null : readMatch10(r);
  const newCookie = r.u64();
  const { command, table } = splitCommand(r, r.u16(), tableId);
  const idleTimeout = r.u16();
  const hardTimeout = r.u16();
  let priority = r.u16();
  const bufferId = r.u32();
  const outPort = r.u16();
  const rawFlags = r.u16();
  let cookie = 0n;
  let cookieMask = 0n;
  if (nxm) {
    const length = r.u16();
    r.skip(6);
    ({ match, cookie, cookieMask } = readNxm(r, length));
    if (command === 'add' && cookieMask !== 0n) r.fail('NXBRC_NXM_INVALID');
  } else if (match!.mask.isZero() === false && fullyExact10(match!)) priority = 65535;
  return {
    type: 'flow_mod',
    command,
    match: match!,
    priority,
    cookie,
    cookieMask,
    newCookie: newCookie === KEEP_COOKIE ? null : newCookie,
    table,
    idleTimeout,
    hardTimeout,
    importance: 0,
    bufferId: command.startsWith('delete') ? 0xffffffff : bufferId,
    outPort,
    outGroup: OFPG_ANY,
    flags: flagsFromWire(rawFlags, 1),
    actions: readInstructions(r, 1),
    nxm,
  };
}

/** OpenFlow 1.0 gives a match without any wildcard the highest priority, whatever it says. */
function fullyExact10(m: FlowMod['match']): boolean {
  return OLD_EXACT.every(([ofs, n]) => m.mask.u8.subarray(ofs, ofs + n).every((b) => b === 0xff));
}
const OLD_EXACT: readonly (readonly [number, number])[] = [
  [OFS.in_port, 4],
  [OFS.eth_src, 6],
  [OFS.eth_dst, 6],
  [OFS.vlan_tci, 2],
  [OFS.eth_type, 2],
  [OFS.ip_proto, 1],
  [OFS.ip_src, 8],
  [OFS.tp_src, 4],
];

function encodeFlowMod11(w: Writer, m: FlowMod, version: OfpVersion): void {
  // In 1.1+ one cookie field is what to set for an add and what to select by for the rest.
  if (m.command === 'add') w.u64(m.newCookie ?? 0n).u64(0n);
  else w.u64(m.cookie & m.cookieMask).u64(m.cookieMask);
  w.u8(m.table).u8(COMMANDS.indexOf(m.command));
  w.u16(m.idleTimeout).u16(m.hardTimeout).u16(m.priority).u32(m.bufferId);
  writePort(w, m.outPort, version);
  w.u32(m.outGroup)
    .u16(flagsToWire(m.flags, version))
    .u16(version >= 5 ? m.importance : 0);
  writeMatch(w, m.match, version);
  writeInstructions(w, resolveActions(m.actions, m.match), version);
}

function decodeFlowMod11(r: Reader, version: OfpVersion): FlowMod {
  const cookie = r.u64();
  const cookieMask = r.u64();
  const table = r.u8();
  const number = r.u8();
  if (number >= COMMANDS.length) r.fail('OFPFMFC_BAD_COMMAND');
  const command = commandOf(number);
  const idleTimeout = r.u16();
  const hardTimeout = r.u16();
  const priority = r.u16();
  const bufferId = r.u32();
  const isDelete = command.startsWith('delete');
  const outPort = isDelete ? readPort(r, version) : OFPP.NONE;
  const outGroup = isDelete ? r.u32() : OFPG_ANY;
  if (!isDelete) r.skip(8);
  const rawFlags = r.u16();
  const importance = r.u16();
  const match = readMatch(r);
  const isAdd = command === 'add';
  if (!isDelete && table === ALL_TABLES) r.fail('OFPFMFC_BAD_TABLE_ID');
  return {
    type: 'flow_mod',
    command,
    match,
    priority,
    cookie: isAdd ? 0n : cookie,
    cookieMask: isAdd ? 0n : cookieMask,
    newCookie: isAdd ? cookie : null,
    table,
    idleTimeout,
    hardTimeout,
    importance: version >= 5 && isAdd ? importance : 0,
    bufferId: isDelete ? 0xffffffff : bufferId,
    outPort,
    outGroup,
    flags: flagsFromWire(rawFlags, version),
    actions: readInstructions(r, version),
  };
}

/** Does this need the extended form in OpenFlow 1.0? */
function needsNxm(m: FlowMod): boolean {
  return m.nxm === true || m.cookieMask !== 0n || !fitsMatch10(m.match);
}

const flowModNx = codec(
  'flow_mod',
  [spot('nx', 1, 1, 13, 'NXT_FLOW_MOD')],
  (w, m, { options }) => encodeFlowMod10(w, m, options.tableId ?? true, true),
  (r, { options }) => decodeFlowMod10(r, options.tableId ?? true, true),
  (m, version, options) => version === 1 && (options.flowFormat === 'nxm' || needsNxm(m)),
);
const flowMod10 = codec(
  'flow_mod',
  [spot('of', 1, 1, 14, 'OFPT_FLOW_MOD')],
  (w, m, { options }) => encodeFlowMod10(w, m, options.tableId ?? true, false),
  (r, { options }) => decodeFlowMod10(r, options.tableId ?? true, false),
);
const flowMod11 = codec(
  'flow_mod',
  [spot('of', 2, 6, 14, 'OFPT_FLOW_MOD')],
  (w, m, { version }) => encodeFlowMod11(w, m, version),
  (r, { version }) => decodeFlowMod11(r, version),
);

const removed = (r: Reader, n: number): FlowRemovedReason => REASONS[n] ?? r.fail('NXBRC_BAD_REASON');

const flowRemovedNx = codec(
  'flow_removed',
  [spot('nx', 1, 1, 14, 'NXT_FLOW_REMOVED')],
  (w, m) => {
    w.u64(m.cookie)
      .u16(m.priority)
      .u8(REASONS.indexOf(m.reason))
      .u8(m.table + 1);
    writeDuration(w, m.durationMs);
    w.u16(m.idleTimeout);
    const lengthAt = w.len;
    w.u16(0).count64(m.packets).count64(m.bytes);
    w.set16(lengthAt, writeNxm(w, m.match));
  },
  (r) => {
    const cookie = r.u64();
    const priority = r.u16();
    const reason = removed(r, r.u8());
    const table = r.u8();
    const durationMs = readDuration(r);
    const idleTimeout = r.u16();
    const length = r.u16();
    const packets = r.count64();
    const bytes = r.count64();
    const { match } = readNxm(r, length);
    const counts = { durationMs, idleTimeout, hardTimeout: 0, packets, bytes };
    return {
      type: 'flow_removed',
      match,
      priority,
      cookie,
      reason,
      table: table === 0 ? 255 : table - 1,
      ...counts,
      nxm: true,
    };
  },
  (m, version, options) => version === 1 && (m.nxm === true || options.flowFormat === 'nxm' || !fitsMatch10(m.match)),
);

const flowRemoved10 = codec(
  'flow_removed',
  [spot('of', 1, 1, 11, 'OFPT_FLOW_REMOVED')],
  (w, m) => {
    writeMatch10(w, m.match);
    w.u64(m.cookie).u16(m.priority).u8(REASONS.indexOf(m.reason)).zero(1);
    writeDuration(w, m.durationMs);
    w.u16(m.idleTimeout).zero(2).count64(m.packets).count64(m.bytes);
  },
  (r) => {
    const match = readMatch10(r);
    const cookie = r.u64();
    const priority = r.u16();
    const reason = removed(r, r.u8());
    r.skip(1);
    const durationMs = readDuration(r);
    const idleTimeout = r.u16();
    r.skip(2);
    const counts = { durationMs, idleTimeout, hardTimeout: 0, packets: r.count64(), bytes: r.count64() };
    return { type: 'flow_removed', match, priority, cookie, reason, table: 255, ...counts };
  },
);

const flowRemoved11 = codec(
  'flow_removed',
  [spot('of', 2, 5, 11, 'OFPT_FLOW_REMOVED')],
  (w, m, { version }) => {
    w.u64(m.cookie).u16(m.priority).u8(REASONS.indexOf(m.reason)).u8(m.table);
    writeDuration(w, m.durationMs);
    w.u16(m.idleTimeout)
      .u16(version >= 3 ? m.hardTimeout : 0)
      .count64(m.packets)
      .count64(m.bytes);
    writeMatch(w, m.match, version);
  },
  (r, { version }) => {
    const cookie = r.u64();
    const priority = r.u16();
    const reason = removed(r, r.u8());
    const table = r.u8();
    const durationMs = readDuration(r);
    const idleTimeout = r.u16();
    const hardTimeout = r.u16();
    const counts = {
      durationMs,
      idleTimeout,
      hardTimeout: version >= 3 ? hardTimeout : 0,
      packets: r.count64(),
      bytes: r.count64(),
    };
    return { type: 'flow_removed', match: readMatch(r), priority, cookie, reason, table, ...counts };
  },
);

const flowRemoved15 = codec(
  'flow_removed',
  [spot('of', 6, 6, 11, 'OFPT_FLOW_REMOVED')],
  (w, m, { version }) => {
    w.u8(m.table).u8(REASONS.indexOf(m.reason)).u16(m.priority).u16(m.idleTimeout).u16(m.hardTimeout).u64(m.cookie);
    writeMatch(w, m.match, version);
    writeOxs(w, { durationMs: m.durationMs, packets: m.packets, bytes: m.bytes });
  },
  (r) => {
    const table = r.u8();
    const reason = removed(r, r.u8());
    const priority = r.u16();
    const idleTimeout = r.u16();
    const hardTimeout = r.u16();
    const cookie = r.u64();
    const match = readMatch(r);
    const stats = readOxs(r);
    const counts = { durationMs: stats.durationMs ?? 0, packets: stats.packets ?? -1, bytes: stats.bytes ?? -1 };
    return { type: 'flow_removed', match, priority, cookie, reason, table, idleTimeout, hardTimeout, ...counts };
  },
);

export const flowCodecs = [flowModNx, flowMod10, flowMod11, flowRemovedNx, flowRemoved10, flowRemoved11, flowRemoved15];
