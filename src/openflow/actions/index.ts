/**
 * The door to actions: lists of them as text and on the wire. `OpenFlow 1.5.1 7.2.6`, `ovs-actions(7)`
 *
 * The table of all definitions is assembled here; parsing, printing and both codecs only walk it.
 */
import type { Names } from '../../flow/names.ts';
import { formatTable, parsePort, parseTable } from '../../flow/names.ts';
import { Reader } from '../bytes.ts';
import { NX_VENDOR_ID, OfDecodeError, type OfErrorName } from '../errors.ts';
import { OFPP } from '../ports.ts';
import { CONTROL_ACTIONS } from './control.ts';
import { CT_ACTIONS, formatCt } from './ct.ts';
import {
  ActionTextError,
  type AnyActionDef,
  bad,
  type DecodeContext,
  hex,
  type ParseContext,
  parseNumber,
  parseU32,
  putNx,
  putOf,
  splitKeyValues,
  syntax,
  type WireSpot,
  Writer,
} from './def.ts';
import { ENCAP_ACTIONS } from './encap.ts';
import { LEARN_ACTIONS } from './learn.ts';
import { MOVE_ACTIONS } from './move.ts';
import { OUTPUT_ACTIONS } from './output.ts';
import { SET_FIELD_ACTIONS } from './set-field.ts';
import { SPREAD_ACTIONS } from './spread.ts';
import { TAG_ACTIONS } from './tags.ts';
import type { Ofpact, OfpactKind } from './types.ts';

export { checkActions, inspectActions, resolveActions } from './check.ts';

/** Every action that is not an instruction. */
export const ACTION_DEFS: readonly AnyActionDef[] = [
  ...OUTPUT_ACTIONS,
  ...SET_FIELD_ACTIONS,
  ...TAG_ACTIONS,
  ...MOVE_ACTIONS,
  ...CONTROL_ACTIONS,
  ...SPREAD_ACTIONS,
  ...LEARN_ACTIONS,
  ...CT_ACTIONS,
  ...ENCAP_ACTIONS,
];

/** Instructions in the order in which they take effect; their numbers on the wire. `OpenFlow 1.5.1 7.2.5` */
export const INSTRUCTIONS = [
  { kind: 'meter', type: 6, first: 4, last: 5 },
  { kind: 'apply_actions', type: 4, first: 2, last: 6 },
  { kind: 'clear_actions', type: 5, first: 2, last: 6 },
  { kind: 'write_actions', type: 3, first: 2, last: 6 },
  { kind: 'write_metadata', type: 2, first: 2, last: 6 },
  { kind: 'goto_table', type: 1, first: 2, last: 6 },
] as const;
/** Of those that have a fixed one, by type. */
const INSTRUCTION_LENGTHS: Readonly<Record<number, number>> = { 1: 8, 2: 24, 5: 8, 6: 8 };
const ORDER = new Map<string, number>(INSTRUCTIONS.map((x, i) => [x.kind, i]));
const APPLY = 1;
const ALL_ONES = 0xffffffffffffffffn;
const MAX_DEPTH = 32;

const BY_KIND = new Map<OfpactKind, AnyActionDef>(ACTION_DEFS.map((d) => [d.kind, d]));
const BY_WORD = new Map<string, AnyActionDef>(ACTION_DEFS.flatMap((d) => d.words.map((w) => [w, d] as const)));

const spotKey = (space: WireSpot['space'], version: number, number: number): number =>
  (space === 'nx' ? 1 << 20 : 0) | (version << 16) | number;
const BY_SPOT = new Map<number, WireSpot>();
for (const d of ACTION_DEFS) {
  for (const s of d.spots) for (let v = s.first; v <= s.last; v++) BY_SPOT.set(spotKey(s.space, v, s.number), s);
}

// ---- text ---------------------------------------------------------------------------------------------------------

export interface ParseActionsOptions {
  readonly names?: Names;
  readonly warn?: (text: string) => void;
  /** Are instructions allowed, as in a flow (not in a group's bucket or a packet-out)? */
  readonly instructions?: boolean;
}

export type ParsedActions =
  | { readonly ok: true; readonly actions: readonly Ofpact[] }
  | { readonly ok: false; readonly error: string };

/** Reads a list of actions as `ovs-ofctl` takes it. Errors are in its words. */
export function parseActions(text: string, options: ParseActionsOptions = {}): ParsedActions {
  try {
    return { ok: true, actions: parseList(text, options, options.instructions ?? false, 0) };
  } catch (e) {
    if (e instanceof ActionTextError) return { ok: false, error: e.message };
    throw e;
  }
}

function parseList(
  text: string,
  options: ParseActionsOptions,
  instructions: boolean,
  depth: number,
  within = '',
): Ofpact[] {
  if (depth > MAX_DEPTH) syntax('Action nested too deeply');
  const out: Ofpact[] = [];
  let drop = false;
  const context: ParseContext = {
    names: options.names,
    warn: options.warn,
    nested(inner, within) {
      const list = parseList(inner, options, false, depth + 1, within);
      if (within === 'ct') checkCtActions(list);
      return list;
    },
  };
  for (const { key, value } of splitKeyValues(text)) {
    const word = key.toLowerCase();
    if (word === 'drop') {
      drop = true;
      continue;
    }
    if (ORDER.has(word)) {
      out.push(parseInstruction(word, value, options, depth));
      continue;
    }
    const d = BY_WORD.get(word);
    if (d) {
      const parsed = d.parse(value, context, word);
      if (Array.isArray(parsed)) out.push(...(parsed as Ofpact[]));
      else out.push(parsed as Ofpact);
      continue;
    }
    const port = parsePort(key, options.names, options.warn);
    if (port < 0) syntax(`unknown action ${key}`);
    out.push({ kind: 'output', port, maxLen: port === OFPP.CONTROLLER && value === '' ? 0xffff : portLength(value) });
  }
  const wrong = within === 'ct' ? null : misplaced(out);
  if (wrong === 'nat') syntax('Cannot have NAT action outside of "ct" action');
  if (wrong === 'field') syntax('cannot set CT fields outside of ct action');
  if (drop && out.length > 0) syntax('"drop" must not be accompanied by any other action or instruction');
  verifyOrder(out, instructions);
  return out;
}

const isCtField = (name: string): boolean => name === 'ct_mark' || name === 'ct_label';

/** Does a list that is not a ct's hold what only a ct may hold? */
function misplaced(list: readonly Ofpact[]): 'nat' | 'field' | null {
  for (const a of list) {
    if (a.kind === 'nat') return 'nat';
    if (a.kind === 'set_field' && isCtField(a.field.name)) return 'field';
    if (a.kind === 'reg_move' && isCtField(a.dst.field.name)) return 'field';
  }
  return null;
}

const portLength = (value: string): number => (value === '' ? 0 : parseU32(value) & 0xffff);

function checkCtActions(list: readonly Ofpact[]): void {
  for (const a of list) {
    if (a.kind === 'nat') continue;
    if (a.kind === 'set_field' || a.kind === 'reg_move') {
      const field = a.kind === 'set_field' ? a.field : a.dst.field;
      if (field.name === 'ct_mark' || field.name === 'ct_label') continue;
      syntax(`ct action doesn't support nested modification of ${field.name}`);
    }
    syntax(`ct action doesn't support nested action ${BY_KIND.get(a.kind)?.words[0] ?? a.kind}`);
  }
}

function parseInstruction(word: string, value: string, options: ParseActionsOptions, depth: number): Ofpact {
  switch (word) {
    case 'apply_actions':
      return syntax('apply_actions is the default instruction');
    case 'meter':
      return { kind: 'meter', meterId: parseU32(value) };
    case 'clear_actions':
      return { kind: 'clear_actions' };
    case 'write_actions':
      return { kind: 'write_actions', actions: parseList(value, options, false, depth + 1) };
    case 'write_metadata': {
      const slash = value.indexOf('/');
      const number = (t: string): bigint => parseNumber(t) ?? syntax(`invalid numeric format ${t}`);
      const mask = slash < 0 ? ALL_ONES : number(value.slice(slash + 1));
      return { kind: 'write_metadata', metadata: number(slash < 0 ? value : value.slice(0, slash)), mask };
    }
    default: {
      const table = parseTable(value, options.names);
      if (table < 0) {
        if (/^\d+$/.test(value)) options.warn?.(`table ${value} is outside the supported range 0 through 255`);
        syntax(`unknown table "${value}"`);
      }
      return { kind: 'goto_table', table };
    }
  }
}

const rank = (a: Ofpact): number => ORDER.get(a.kind) ?? APPLY;

/** Instructions stand once each, and in order, as OpenFlow 1.1 and later carry them. */
function verifyOrder(list: readonly Ofpact[], instructions: boolean): void {
  let last = -1;
  for (const a of list) {
    const at = rank(a);
    const name = INSTRUCTIONS[at].kind;
    if (!instructions && at !== APPLY && a.kind !== 'meter') syntax(`${name} instruction not allowed here`);
    if (at === last && at !== APPLY)
      syntax(`duplicate ${name} instruction not allowed, for OpenFlow 1.1+ compatibility`);
    if (at < last) {
      syntax(
        `invalid instruction ordering: ${name} must appear before ${INSTRUCTIONS[last].kind}, for OpenFlow 1.1+ compatibility`,
      );
    }
    last = at;
  }
}

/** A list as `ovs-ofctl dump-flows` prints it behind `actions=`; an empty one is `drop`. */
export function formatActions(list: readonly Ofpact[], names?: Names): string {
  return list.length === 0 ? 'drop' : list.map((a) => formatAction(a, names)).join(',');
}

export function formatAction(a: Ofpact, names?: Names): string {
  switch (a.kind) {
    case 'meter':
      return `meter:${a.meterId}`;
    case 'clear_actions':
      return 'clear_actions';
    case 'write_actions':
      return `write_actions(${formatActions(a.actions, names)})`;
    case 'clone':
      return `clone(${formatActions(a.actions, names)})`;
    case 'write_metadata':
      return `write_metadata:${hex(a.metadata)}${a.mask === ALL_ONES ? '' : `/${hex(a.mask)}`}`;
    case 'goto_table':
      return `goto_table:${formatTable(a.table, names)}`;
    case 'ct':
      return formatCt(a, names, (list) => formatActions(list, names));
    default:
      return BY_KIND.get(a.kind)!.format(a as never, names);
  }
}

// ---- wire ---------------------------------------------------------------------------------------------------------

export function encodeActions(version: number, list: readonly Ofpact[]): Uint8Array {
  const w = new Writer();
  putActions(w, version, list);
  return w.finish();
}

const ENCODE_CONTEXTS = Array.from({ length: 7 }, (_, version) => ({
  version,
  actions: (to: Writer, inner: readonly Ofpact[]) => putActions(to, version, inner),
}));

/** Writes actions for OpenFlow `version` (wire number). Instructions become their Nicira twins where there are any. */
export function putActions(w: Writer, version: number, list: readonly Ofpact[]): void {
  const context = ENCODE_CONTEXTS[version];
  for (const a of list) {
    switch (a.kind) {
      case 'meter':
        if (version >= 6) putOf(w, 29, () => w.u32(a.meterId));
        break;
      case 'clear_actions':
      case 'write_actions':
        break;
      case 'write_metadata':
        putNx(w, 22, () => w.zero(6).u64(a.metadata).u64(a.mask));
        break;
      case 'goto_table':
        putNx(w, 14, () => w.u16(OFPP.IN_PORT).u8(a.table).zero(3));
        break;
      default:
        BY_KIND.get(a.kind)!.encode(w, a as never, context);
    }
  }
}

export function encodeInstructions(version: number, list: readonly Ofpact[]): Uint8Array {
  const w = new Writer();
  putInstructions(w, version, list);
  return w.finish();
}

/** Writes the instructions of OpenFlow 1.1 and later. */
export function putInstructions(w: Writer, version: number, list: readonly Ofpact[]): void {
  const isAction = (a: Ofpact): boolean => rank(a) === APPLY || (a.kind === 'meter' && version >= 6);
  for (let i = 0; i < list.length; ) {
    const a = list[i];
    const start = w.len;
    if (isAction(a)) {
      const first = i;
      while (i < list.length && isAction(list[i])) i++;
      w.u16(4).u16(0).zero(4);
      putActions(w, version, list.slice(first, i));
      w.length16(start + 2, start);
      continue;
    }
    i++;
    switch (a.kind) {
      case 'meter':
        if (version >= 4) w.u16(6).u16(8).u32(a.meterId);
        break;
      case 'clear_actions':
        w.u16(5).u16(8).zero(4);
        break;
      case 'write_actions':
        if (a.actions.length === 0) break;
        w.u16(3).u16(0).zero(4);
        putActions(w, version, a.actions);
        w.length16(start + 2, start);
        break;
      case 'write_metadata':
        w.u16(2).u16(24).zero(4).u64(a.metadata).u64(a.mask);
        break;
      case 'goto_table':
        w.u16(1).u16(8).u8(a.table).zero(3);
        break;
    }
  }
}

export type DecodedActions =
  | { readonly ok: true; readonly actions: readonly Ofpact[] }
  | { readonly ok: false; readonly error: OfErrorName };

function decoding(body: () => Ofpact[]): DecodedActions {
  try {
    return { ok: true, actions: body() };
  } catch (e) {
    if (e instanceof OfDecodeError) return { ok: false, error: e.code };
    throw e;
  }
}

/** Lists of actions met lately, by version, kind and bytes: thousands of flows share a few, which nobody ever changes. */
const recentLists = new Map<string, DecodedActions>();
const MAX_RECENT = 1024;
const MAX_RECENT_BYTES = 96;

function recalling(kind: string, bytes: Uint8Array, decode: () => DecodedActions): DecodedActions {
  if (bytes.length > MAX_RECENT_BYTES) return decode();
  const name = kind + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  const known = recentLists.get(name);
  if (known) return known;
  const decoded = decode();
  if (!decoded.ok) return decoded;
  if (recentLists.size >= MAX_RECENT) recentLists.clear();
  recentLists.set(name, decoded);
  return decoded;
}

const ACTIONS_OF = Array.from({ length: 8 }, (_, version) => `a${version}`);
const INSTRUCTIONS_OF = Array.from({ length: 8 }, (_, version) => `i${version}`);

/** Reads a list of actions that fills `bytes`. Equal lists may be one object. */
export function decodeActions(bytes: Uint8Array, version: number): DecodedActions {
  return recalling(ACTIONS_OF[version], bytes, () => decodeActionList(bytes, version));
}

function decodeActionList(bytes: Uint8Array, version: number): DecodedActions {
  return decoding(() => {
    const list = getActions(new Reader(bytes, 0, bytes.length, 'OFPBAC_BAD_LEN'), version, 0);
    // OpenFlow 1.0 has no instructions to put such actions in order.
    let last = -1;
    for (const a of list) {
      if (rank(a) < last && a.kind !== 'meter') bad('OFPBAC_UNSUPPORTED_ORDER');
      last = Math.max(last, rank(a));
    }
    if (misplaced(list)) bad('OFPBAC_BAD_SET_ARGUMENT');
    return list;
  });
}

function getActions(r: Reader, version: number, depth: number): Ofpact[] {
  if (depth > MAX_DEPTH) bad('OFPBAC_TOO_MANY');
  const out: Ofpact[] = [];
  const context: DecodeContext = { version, depth, actions: (inner) => getActions(inner, version, depth + 1) };
  while (r.left > 0) {
    if (r.left < 8) bad('OFPBAC_BAD_LEN');
    const start = r.pos;
    const type = r.u16();
    const length = r.u16();
    if (length < 8 || length % 8 !== 0 || length > r.end - start) bad('OFPBAC_BAD_LEN');
    const body = r.sub(length - 4, 'OFPBAC_BAD_LEN');
    let s: WireSpot | undefined;
    if (type === 0xffff) {
      if (body.u32() !== NX_VENDOR_ID) bad('OFPBAC_BAD_VENDOR');
      const subtype = body.u16();
      if (subtype === 22) {
        body.skip(6);
        out.push({ kind: 'write_metadata', metadata: body.u64(), mask: body.u64() });
        continue;
      }
      s = BY_SPOT.get(spotKey('nx', version, subtype));
      if (!s) bad('OFPBAC_BAD_VENDOR_TYPE');
    } else if (type === 29 && version >= 6) {
      out.push({ kind: 'meter', meterId: body.u32() });
      continue;
    } else {
      s = BY_SPOT.get(spotKey('of', version, type));
      if (!s) bad('OFPBAC_BAD_TYPE');
    }
    const decoded = s.decode(body, context);
    if (Array.isArray(decoded)) out.push(...(decoded as Ofpact[]));
    else out.push(decoded as Ofpact);
  }
  return out;
}

/** Reads the instructions of OpenFlow 1.1 and later that fill `bytes`, and puts them in order. Equal lists may be one object. */
export function decodeInstructions(bytes: Uint8Array, version: number): DecodedActions {
  return recalling(INSTRUCTIONS_OF[version], bytes, () => decodeInstructionList(bytes, version));
}

function decodeInstructionList(bytes: Uint8Array, version: number): DecodedActions {
  return decoding(() => {
    const r = new Reader(bytes, 0, bytes.length, 'OFPBIC_BAD_LEN');
    const parts: Ofpact[][] = [];
    /** Bit by place in `INSTRUCTIONS`. */
    let seen = 0;
    let only: Ofpact[] | null = null;
    while (r.left > 0) {
      if (r.left < 8) bad('OFPBIC_BAD_LEN');
      const start = r.pos;
      const type = r.u16();
      const length = r.u16();
      if (length < 8 || length % 8 !== 0 || length > r.end - start) bad('OFPBIC_BAD_LEN');
      const body = r.sub(length - 4, 'OFPBIC_BAD_LEN');
      if (type === 0xffff) bad(body.u32() === NX_VENDOR_ID ? 'OFPBIC_BAD_EXP_TYPE' : 'OFPBIC_BAD_EXPERIMENTER');
      const at = INSTRUCTIONS.findIndex((x) => x.type === type && version >= x.first && version <= x.last);
      if (at < 0) bad('OFPBIC_UNKNOWN_INST');
      if ((seen & (1 << at)) !== 0) bad('OFPBIC_DUP_INST');
      seen |= 1 << at;
      const exact = INSTRUCTION_LENGTHS[type];
      if (exact !== undefined && length !== exact) bad('OFPBIC_BAD_LEN');
      switch (INSTRUCTIONS[at].kind) {
        case 'meter':
          parts[at] = [{ kind: 'meter', meterId: body.u32() }];
          break;
        case 'apply_actions':
          body.skip(4);
          parts[at] = getActions(actionsReader(body), version, 0);
          if (misplaced(parts[at])) bad('OFPBAC_BAD_SET_ARGUMENT');
          break;
        case 'clear_actions':
          parts[at] = [{ kind: 'clear_actions' }];
          break;
        case 'write_actions':
          body.skip(4);
          parts[at] = [{ kind: 'write_actions', actions: getActions(actionsReader(body), version, 0) }];
          break;
        case 'write_metadata':
          body.skip(4);
          parts[at] = [{ kind: 'write_metadata', metadata: body.u64(), mask: body.u64() }];
          break;
        case 'goto_table':
          parts[at] = [{ kind: 'goto_table', table: body.u8() }];
          break;
      }
      only = parts[at];
    }
    return seen === 0 || only === null ? [] : (seen & (seen - 1)) === 0 ? only : parts.flat();
  });
}

/** Lists of actions inside an instruction: errors in them are of actions, not of instructions. */
function actionsReader(r: Reader): Reader {
  return new Reader(r.bytes, r.pos, r.end, 'OFPBAC_BAD_LEN');
}
