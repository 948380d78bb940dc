/** Flow messages for people: changes, removals, statistics, monitors. */
import { formatMatch } from '../../flow/match-text.ts';
import { formatTable } from '../../flow/names.ts';
import { formatActions } from '../actions/index.ts';
import { flagsText, formatFlowStats } from '../flow-text.ts';
import type { FlowMod, FlowRemoved, OfMessageOf } from '../messages.ts';
import { OFPP } from '../ports.ts';
import { bitNames, counter, durationText, hex, portText, type TextContext } from './common.ts';

const COMMANDS = {
  add: 'ADD',
  modify: 'MOD',
  modify_strict: 'MOD_STRICT',
  delete: 'DEL',
  delete_strict: 'DEL_STRICT',
} as const;
const DEFAULT_PRIORITY = 32768;
const NO_BUFFER = 0xffffffff;

export function flowModText(m: FlowMod, { names, version }: TextContext): string {
  let out = ` ${COMMANDS[m.command]}`;
  if (m.table !== 0) out += ` table:${formatTable(m.table, names)}`;
  out += ' ';
  const match = formatMatch(m.match, m.priority, names);
  out += match;
  if (match !== '') out += ' ';
  if (m.newCookie !== null && m.newCookie !== 0n) out += `cookie:${hex(m.newCookie)} `;
  if (m.cookieMask !== 0n) out += `cookie:${hex(m.cookie)}/${hex(m.cookieMask)} `;
  if (m.idleTimeout !== 0) out += `idle:${m.idleTimeout} `;
  if (m.hardTimeout !== 0) out += `hard:${m.hardTimeout} `;
  if (m.importance !== 0) out += `importance:${m.importance} `;
  if (m.bufferId !== NO_BUFFER) out += `buf:${hex(m.bufferId)} `;
  if (m.outPort !== OFPP.NONE) out += `out_port:${portText(m.outPort, names)} `;
  out += flagsText(version <= 2 ? { ...m.flags, resetCounts: false } : m.flags);
  return `${out}actions=${formatActions(m.actions, names)}`;
}

export function flowRemovedText(m: FlowRemoved, { names }: TextContext): string {
  const match = formatMatch(m.match, m.priority, names);
  let out = ` ${match}${match === '' ? '' : ' '}reason=${m.reason}`;
  if (m.table !== 255) out += ` table_id=${formatTable(m.table, names)}`;
  if (m.cookie !== 0n) out += ` cookie:${hex(m.cookie)}`;
  out += ` duration${durationText(m.durationMs)} idle${m.idleTimeout}`;
  if (m.hardTimeout !== 0) out += ` hard${m.hardTimeout}`;
  return `${out} pkts${m.packets} bytes${m.bytes}\n`;
}

export function flowStatsRequestText(
  m: OfMessageOf<'flow_stats_request' | 'aggregate_request'>,
  { names }: TextContext,
): string {
  let out = '';
  if (m.table !== 255) out += ` table=${formatTable(m.table, names)}`;
  if (m.outPort !== OFPP.NONE) out += ` out_port=${portText(m.outPort, names)}`;
  const match = formatMatch(m.match, DEFAULT_PRIORITY, names);
  return match === '' ? out : `${out} ${match}`;
}

export function flowStatsText(m: OfMessageOf<'flow_stats_reply'>, { names }: TextContext): string {
  const options = { names };
  let out = '';
  for (const flow of m.flows) out += `\n${formatFlowStats(flow, options)}`;
  return out;
}

export function aggregateText(m: OfMessageOf<'aggregate_reply'>): string {
  return ` packet_count=${counter(m.packets)} byte_count=${counter(m.bytes)} flow_count=${m.flows}`;
}

const MONITOR_FLAGS = ['initial', 'add', 'delete', 'modify', 'actions', 'own'];
export function monitorRequestText(m: OfMessageOf<'flow_monitor_request'>, { names }: TextContext): string {
  let out = `\n id=${m.id} flags=${bitNames(m.flags, MONITOR_FLAGS, ',')}`;
  if (m.outPort !== OFPP.NONE) out += ` out_port=${portText(m.outPort, names)}`;
  if (m.table !== 255) out += ` table=${formatTable(m.table, names)}`;
  const match = formatMatch(m.match, DEFAULT_PRIORITY, names);
  return match === '' ? out : `${out} ${match}`;
}

const REMOVED = ['idle', 'hard', 'delete', 'group_delete', 'meter_delete', 'eviction'];
const EVENTS = { initial: 'INITIAL', added: 'ADDED', modified: 'MODIFIED', deleted: 'DELETED' } as const;
export function monitorReplyText(m: OfMessageOf<'flow_monitor_reply'>, { names }: TextContext): string {
  let out = '';
  for (const u of m.updates) {
    out += '\n event=';
    if (u.event === 'abbrev') {
      out += `ABBREV xid=${hex(u.xid)}`;
      continue;
    }
    if (u.event === 'paused' || u.event === 'resumed') {
      out += u.event.toUpperCase();
      continue;
    }
    out += EVENTS[u.event];
    if (u.event === 'deleted') out += ` reason=${REMOVED[u.reason] ?? u.reason}`;
    out += ` table=${formatTable(u.table, names)}`;
    if (u.idleTimeout !== 0) out += ` idle_timeout=${u.idleTimeout}`;
    if (u.hardTimeout !== 0) out += ` hard_timeout=${u.hardTimeout}`;
    const match = formatMatch(u.match, DEFAULT_PRIORITY, names);
    // A zero is written without its 0x, and the space stands even before nothing.
    out += ` cookie=${u.cookie === 0n ? '0' : hex(u.cookie)} ${match}`;
    if (u.actions.length > 0) out += `${match === '' ? '' : ' '}actions=${formatActions(u.actions, names)}`;
  }
  return out;
}
