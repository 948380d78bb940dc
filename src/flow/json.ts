/**
 * Matches, fields and datapath actions as JSON. The shapes are published in `docs/schema/` and do not change: members may
 * be added, none is renamed or removed. They derive from the table of fields and from the kinds of actions, so that what is
 * new there shows here by itself.
 *
 * Conventions, here and in every other shape: names are `snake_case`; counters and ids are numbers; what may have 64 bits
 * and is no counter (cookies, metadata) is text in hexadecimal, bytes are text of hex digits; what is unknown is null.
 */

import { formatDpAction } from './dp-action-text.ts';
import type { DpAction } from './dp-actions.ts';
import { formatDpActions, formatDpKey, type PortNamer } from './dp-text.ts';
import type { Field, Subfield } from './field.ts';
import { F, FIELDS } from './fields.ts';
import type { FlowKey, FlowMask } from './key.ts';
import { OFS } from './layout.ts';
import { Match } from './match.ts';
import { formatMatch } from './match-format.ts';
import type { Names } from './names.ts';
import { formatSubfield, getField, getFieldMask, isFieldMaskExact, isFieldMaskZero, prereqsMet } from './subfield.ts';
import { formatFieldValue } from './value-text.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** One field's value: `text` as `ovs-fields(7)` writes it, `value` and `mask` as hex digits, without `mask` where all bits count. */
export interface FieldValueJson extends JsonObject {
  readonly text: string;
  readonly value: string;
}

/** `text` is what `ovs-ofctl` prints, `fields` the same by the names of `ovs-fields(7)`. */
export interface MatchJson extends JsonObject {
  readonly text: string;
  readonly fields: Readonly<Record<string, FieldValueJson>>;
}

export const hexText = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const hexNumber = (n: bigint | number): string => `0x${n.toString(16)}`;
export const macJson = (bytes: Uint8Array): string => hexText(bytes).replace(/(..)(?!$)/g, '$1:');

export function fieldValueJson(
  field: Field,
  value: Uint8Array,
  mask: Uint8Array | null = null,
  names?: Names,
): FieldValueJson {
  const text = formatFieldValue(field, value, mask, names);
  return mask === null ? { text, value: hexText(value) } : { text, value: hexText(value), mask: hexText(mask) };
}

/** Fields that are other names for the same bits as fields before or behind them. */
const ALIASES = new Set(
  [F.in_port_oxm, F.vlan_tci, F.dl_vlan, F.vlan_vid, F.dl_vlan_pcp, F.vlan_pcp, F.nw_tos].map((f) => f.name),
);
const PLAIN_FIELDS = FIELDS.filter((f) => !ALIASES.has(f.name) && !/^xx?reg/.test(f.name));

/** What a match or a megaflow says, field by field. */
export function fieldsJson(key: FlowKey, mask: FlowMask, names?: Names): Record<string, FieldValueJson> {
  const fields: Record<string, FieldValueJson> = {};
  const put = (field: Field): void => {
    if (isFieldMaskZero(mask, field) || !prereqsMet(field, key)) return;
    const bits = isFieldMaskExact(mask, field) ? null : getFieldMask(mask, field);
    // A megaflow's key may be a whole packet's.
    const value = getField(key, field);
    if (bits !== null) for (let i = 0; i < bits.length; i++) value[i] &= bits[i];
    fields[field.name] = fieldValueJson(field, value, bits, names);
  };
  for (const field of PLAIN_FIELDS) put(field);
  for (const field of vlanFields(key, mask)) put(field);
  return fields;
}

const CFI = 0x1000;
/** A tag by its parts where each is whole, else as the 16 bits that it is. */
function vlanFields(key: FlowKey, mask: FlowMask): readonly Field[] {
  const bits = mask.get16(OFS.vlan_tci);
  const vid = bits & 0xfff;
  const pcp = bits & 0xe000;
  const isWhole = (vid === 0 || vid === 0xfff) && (pcp === 0 || pcp === 0xe000) && vid + pcp !== 0;
  return isWhole && (bits & key.get16(OFS.vlan_tci) & CFI) !== 0 ? [F.dl_vlan, F.dl_vlan_pcp] : [F.vlan_tci];
}

export function matchJson(match: Match, names?: Names): MatchJson {
  return { text: formatMatch(match, undefined, names), fields: fieldsJson(match.key, match.mask, names) };
}

/** A megaflow's match; ports are the datapath's. */
export function dpMatchJson(key: FlowKey, mask: FlowMask, port?: PortNamer): MatchJson {
  return { text: formatDpKey(key, mask, { names: port }), fields: fieldsJson(key, mask, { port }) };
}

// ---- actions -------------------------------------------------------------------------------------------------------

/** `action` is its kind; the other members are the action's own. */
export interface ActionJson extends JsonObject {
  readonly action: string;
  readonly text: string;
}

/** How members that need to know more than their value are written. */
export type MemberWriter = (name: string, value: unknown) => JsonObject | undefined;

const snake = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/** All of an object but `kind`, each member under its name in snake_case, unless `write` knows better. */
export function membersJson(object: object, write?: MemberWriter): Record<string, Json> {
  const out: Record<string, Json> = {};
  for (const [name, value] of Object.entries(object)) {
    if (name === 'kind' || value === undefined) continue;
    const own = write?.(name, value);
    if (own !== undefined) Object.assign(out, own);
    else out[snake(name)] = valueJson(value);
  }
  return out;
}

function isSubfield(value: object): value is Subfield {
  return 'field' in value && 'ofs' in value && 'nBits' in value;
}
const isField = (value: object): value is Field => 'headers' in value && 'prereq' in value;

export function valueJson(value: unknown): Json {
  if (value === null || value === undefined) return null;
  if (typeof value === 'bigint') return hexNumber(value);
  if (typeof value !== 'object') return value as Json;
  if (value instanceof Uint8Array) return hexText(value);
  if (value instanceof Match) return matchJson(value) as unknown as Json;
  if (Array.isArray(value)) return value.map(valueJson);
  if (isField(value)) return value.name;
  if (isSubfield(value)) return formatSubfield(value);
  return membersJson(value);
}

export function dpActionsJson(actions: readonly DpAction[], port?: PortNamer): { text: string; list: ActionJson[] } {
  return { text: formatDpActions(actions, port), list: actions.map((a) => dpActionJson(a, port)) };
}

function dpActionJson(a: DpAction, port?: PortNamer): ActionJson {
  const text = formatDpAction(a, port);
  if (a.kind === 'set')
    return { action: a.kind, text, header: a.header, fields: fieldsJson(setKey(a.key, a.header), a.mask) };
  const members = membersJson(a, (name, value) => {
    if (Array.isArray(value)) return { [snake(name)]: (value as DpAction[]).map((b) => dpActionJson(b, port)) };
    const named = name === 'port' || name === 'outPort' ? port?.(value as number) : undefined;
    return named === undefined ? undefined : { [snake(name)]: value as number, [`${snake(name)}_name`]: named };
  });
  return { action: a.kind, text, ...members };
}

/** A rewritten header says of itself only that it is one; the fields' prerequisites want to know which. */
const HEADER_TYPES: Readonly<Record<string, readonly [ethType: number, proto: number]>> = {
  ipv4: [0x0800, 0],
  ipv6: [0x86dd, 0],
  arp: [0x0806, 0],
  mpls: [0x8847, 0],
  nsh: [0x894f, 0],
  tcp: [0x0800, 6],
  udp: [0x0800, 17],
  sctp: [0x0800, 132],
  icmp: [0x0800, 1],
  icmpv6: [0x86dd, 58],
  nd: [0x86dd, 58],
  nd_ext: [0x86dd, 58],
};
function setKey(key: FlowKey, header: string): FlowKey {
  const types = HEADER_TYPES[header];
  if (types === undefined) return key;
  const full = key.clone();
  full.set16(OFS.eth_type, types[0]);
  if (types[1] !== 0) full.u8[OFS.ip_proto] = types[1];
  return full;
}
