/** A packet that waits, for people and for scripts: what it is, where it stands, what has been done with it and what is left. */
import { clock } from '../../base/clock.ts';
import { extractFlow } from '../../flow/extract.ts';
import { F, FIELDS } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { getField, prereqsMet } from '../../flow/subfield.ts';
import { formatFieldValue } from '../../flow/value-text.ts';
import type { Backer } from '../backer.ts';
import { namesOf } from '../trace.ts';
import { formatFlow } from '../xlate/flow-text.ts';
import { type Breakpoint, type HeldPacket, inPortOf } from './breaks.ts';
import { buildStory, portName } from './build.ts';
import type { JourneyCollector } from './collector.ts';
import type { BreakpointState, HeldState } from './held.ts';
import { stepsText } from './text.ts';

export function breakpointState(points: readonly Breakpoint[], waiting: number): BreakpointState {
  const [{ name, options, limitMs }] = points;
  return {
    type: 'breakpoint',
    name,
    stages: options.stages,
    filter: options.filter ?? '',
    bridge: options.bridge ?? null,
    in_port: options.inPort ?? null,
    limit_ms: limitMs,
    hits: points.reduce((n, b) => n + b.hits, 0),
    waiting,
  };
}

const METADATA =
  /^(recirc_id|dp_hash|pkt_mark|skb_priority|ct_state|ct_zone|ct_mark|ct_label|ct_nw_|ct_ipv6_|ct_tp_|tun_)/;
/** What other fields say, too. */
const ALSO = new Set([F.vlan_tci, F.vlan_vid, F.vlan_pcp, F.ip_dscp, F.in_port_oxm]);

export function heldState(collector: JourneyCollector, held: HeldPacket): HeldState {
  const { backer } = collector;
  const port = inPortOf(held);
  const key = keyNow(held);
  const first = held.pending.first?.record;
  const story = held.pending.first ? buildStory(collector, held.pending, 0) : null;
  return {
    type: 'held',
    packet: held.number,
    breakpoints: held.breakpoints.map((b) => b.name),
    stage: held.stage,
    reason: held.reason,
    bridge: (backer.owner(port) ?? backer.flowOf(held.key))?.bridge.name ?? null,
    in_port: portName(backer, port),
    pmd: held.pmd,
    held_ms: Math.round(clock.nowMs() - held.sinceMs),
    left_ms: Math.max(0, Math.round(held.untilMs - clock.nowMs())),
    length: held.edits.length > 0 ? held.packet.length : held.length,
    bytes: hex(held.packet),
    received: first ? hex(first.packet) : hex(held.packet),
    flow: flowText(backer, key),
    headers: fieldsOf(key, false).map(({ field, value }) => ({
      field: field.name,
      value,
      is_editable: field.writable,
    })),
    metadata: fieldsOf(key, true).map(({ field, value }) => ({ field: field.name, value })),
    actions: held.actions,
    edits: [...held.edits],
    steps: story?.steps ?? [],
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The key that the packet would have if it were looked up now. */
function keyNow(held: HeldPacket): FlowKey {
  const key = new FlowKey();
  extractFlow(held.packet, key);
  const { w } = held.key;
  for (const at of [OFS.in_port, OFS.recirc_id, OFS.ct_state, OFS.ct_mark, OFS.dp_hash, OFS.pkt_mark, OFS.skb_priority])
    key.w[at >> 2] = w[at >> 2];
  key.set16(OFS.ct_zone, held.key.get16(OFS.ct_zone));
  for (let at = OFS.ct_label >> 2; at < OFS.nsh_flags >> 2; at++) key.w[at] = w[at];
  for (let at = OFS.tun_id >> 2; at < OFS.metadata >> 2; at++) key.w[at] = w[at];
  return key;
}

function fieldsOf(key: FlowKey, isMetadata: boolean): { field: (typeof FIELDS)[number]; value: string }[] {
  return FIELDS.flatMap((field) => {
    if (ALSO.has(field) || field === F.in_port || field.bit >= OFS.metadata * 8) return [];
    if (METADATA.test(field.name) !== isMetadata || !prereqsMet(field, key)) return [];
    const value = getField(key, field);
    const isZero = value.every((b) => b === 0);
    if (isZero && (isMetadata || /^(packet_type|conj_id|actset|nsh_|mpls_|igmp)/.test(field.name))) return [];
    if (field.name.startsWith('dl_vlan') && (key.get16(OFS.vlan_tci) & 0x1000) === 0) return [];
    return [{ field, value: formatFieldValue(field, value) }];
  });
}

function flowText(backer: Backer, key: FlowKey): string {
  const entry = backer.flowOf(key);
  return entry ? formatFlow(entry.flow, namesOf(entry.bridge)) : formatFlow(key);
}

export function breakpointText(b: BreakpointState): string {
  const where = [b.filter || 'any packet'];
  if (b.bridge !== null) where.push(`bridge ${b.bridge}`);
  if (b.in_port !== null) where.push(`in port ${b.in_port}`);
  return `${b.name}: before ${b.stages.join(', ')}: ${where.join(', ')}: ${b.waiting} waiting, ${b.hits} so far\n`;
}

/** A screenful: what it is and how it came here; steps from number `from` on, when the others are known. */
export function heldText(s: HeldState, options: { readonly color: boolean; readonly width: number }, from = 0): string {
  const where = s.bridge === null ? s.in_port.name : `${s.bridge}: ${s.in_port.name}`;
  const left = `goes on by itself in ${Math.ceil(s.left_ms / 1000)} s`;
  const lines = [
    `■ packet ${s.packet}  before ${s.stage}  ${where}, ${s.length} bytes  (${s.breakpoints.join(', ')}; ${left})`,
  ];
  if (s.reason) lines.push(`  about to be dropped: ${s.reason.name}: ${s.reason.text}`);
  lines.push(`  ${s.flow}`);
  for (const { field, value } of s.metadata) lines.push(`  ${field}=${value}`);
  for (const edit of s.edits) lines.push(`  edited: ${edit}`);
  if (s.actions !== '') lines.push(`  left to do: ${s.actions}`);
  const steps = s.steps.length > from ? stepsText(s.steps.slice(from), options) : '';
  return `${lines.join('\n')}\n${steps}`;
}
