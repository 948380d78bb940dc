/** Flows as text: the lines of `dump-flows`, the language of `add-flow` (`ovs-ofctl(8)`, "Flow Syntax"). */
import { vlog } from '../base/vlog.ts';
import { Match } from '../flow/match.ts';
import { formatMatch, parseMatchField, parseProtocol, splitKeyValues } from '../flow/match-text.ts';
import { formatTable, type Names, parsePort, parseTable } from '../flow/names.ts';
import { actionProtocols } from './action-protocols.ts';
import { formatActions, inspectActions, parseActions } from './actions/index.ts';
import type { Ofpact } from './actions/types.ts';
import { fitsMatch10, fitsMatch11, isNormal, normalizeMatch } from './match-old.ts';
import type { FlowMod, FlowModCommand, FlowModFlags, FlowStats } from './messages.ts';
import { NO_FLAGS, OFPG_ANY } from './messages-ext.ts';
import { OFPP } from './ports.ts';
import { durationText } from './text/common.ts';

export interface FlowTextOptions {
  readonly names?: Names;
  /** Off for `--no-stats`. */
  readonly stats?: boolean;
}

/** Each word is followed by a space. */
export function flagsText(flags: FlowModFlags): string {
  let out = '';
  if (flags.sendFlowRem) out += 'send_flow_rem ';
  if (flags.checkOverlap) out += 'check_overlap ';
  if (flags.resetCounts) out += 'reset_counts ';
  if (flags.noPacketCounts) out += 'no_packet_counts ';
  if (flags.noByteCounts) out += 'no_byte_counts ';
  return out;
}

const count = (v: number): string => (v < 0 ? '?' : `${v}`);

/** One line of a flow dump, without its end. */
export function formatFlowStats(f: FlowStats, options: FlowTextOptions = {}): string {
  const { names, stats = true } = options;
  let out = ' ';
  if (stats || f.cookie !== 0n) out += f.cookie === 0n ? 'cookie=0x0, ' : `cookie=0x${f.cookie.toString(16)}, `;
  if (stats) out += `duration=${durationText(f.durationMs)}, `;
  if (stats || f.table !== 0) out += `table=${formatTable(f.table, names)}, `;
  if (stats) out += `n_packets=${count(f.packets)}, n_bytes=${count(f.bytes)}, `;
  if (f.idleTimeout !== 0) out += `idle_timeout=${f.idleTimeout}, `;
  if (f.hardTimeout !== 0) out += `hard_timeout=${f.hardTimeout}, `;
  out += flagsText(f.flags);
  if (f.importance !== 0) out += `importance=${f.importance}, `;
  if (stats && f.idleAge >= 0) out += `idle_age=${f.idleAge}, `;
  if (stats && f.hardAge >= 0 && f.hardAge !== Math.floor(f.durationMs / 1000)) out += `hard_age=${f.hardAge}, `;
  const match = formatMatch(f.match, f.priority, names);
  if (match !== '') out += `${match} `;
  return `${out}actions=${formatActions(f.actions, names)}`;
}

// ---- parsing ---------------------------------------------------------------------------------------------------------

/** A set of flow formats (`ovs-ofctl(8)`, `--flow-format`). */
export const PROTOCOLS = {
  OpenFlow10: 1,
  NXM: 2,
  OpenFlow11: 4,
  OpenFlow12: 8,
  OpenFlow13: 16,
  OpenFlow14: 32,
  OpenFlow15: 64,
} as const;
export const PROTOCOL_ANY = 127;
export const PROTOCOL_OXM = 8 | 16 | 32 | 64;
export const PROTOCOL_NXM_OXM = 2 | PROTOCOL_OXM;
export const PROTOCOL_11_UP = 4 | PROTOCOL_OXM;

/** `NXM,OXM`: sets print by the names that cover them. With `tableId`, OpenFlow 1.0 is meant only with NXT_FLOW_MOD_TABLE_ID. */
export function formatProtocols(protocols: number, tableId = false): string {
  if (tableId) {
    // The original lists what has an abbreviation first.
    const oxm = (protocols & PROTOCOL_OXM) === PROTOCOL_OXM;
    const words = oxm ? ['OXM'] : [];
    if (protocols & PROTOCOLS.OpenFlow10) words.push('OpenFlow10+table_id');
    if (protocols & PROTOCOLS.NXM) words.push('NXM+table_id');
    const rest = protocols & ~(PROTOCOLS.OpenFlow10 | PROTOCOLS.NXM | (oxm ? PROTOCOL_OXM : 0));
    if (rest !== 0) words.push(formatProtocols(rest));
    return words.join(',');
  }
  if (protocols === 0) return 'none';
  const words: string[] = [];
  let rest = protocols;
  const abbreviations: readonly (readonly [string, number])[] = [
    ['any', PROTOCOL_ANY],
    ['OpenFlow10', 1],
    ['NXM', 2],
    ['OXM', PROTOCOL_OXM],
    ['OpenFlow11', PROTOCOLS.OpenFlow11],
    ['OXM-OpenFlow12', PROTOCOLS.OpenFlow12],
    ['OXM-OpenFlow13', PROTOCOLS.OpenFlow13],
    ['OXM-OpenFlow14', PROTOCOLS.OpenFlow14],
    ['OXM-OpenFlow15', PROTOCOLS.OpenFlow15],
  ];
  for (const [name, bits] of abbreviations) {
    if ((rest & bits) !== bits) continue;
    words.push(name);
    rest &= ~bits;
    if (rest === 0) break;
  }
  return words.join(',');
}

/** Which formats can carry this match. */
export function matchProtocols(match: Match): number {
  let usable = PROTOCOL_NXM_OXM;
  if (fitsMatch10(match)) usable |= PROTOCOLS.OpenFlow10;
  if (fitsMatch11(match)) usable |= PROTOCOLS.OpenFlow11;
  return usable;
}

export type FlowCommand = FlowModCommand | 'stats';

export type ParsedFlow =
  | { readonly ok: true; readonly flow: FlowMod; readonly usable: number; readonly hasTable: boolean }
  | { readonly ok: false; readonly error: string };

export interface FlowParseOptions {
  readonly names?: Names;
  readonly warn?: (text: string) => void;
}

interface Accepts {
  readonly actions: boolean;
  readonly timeout: boolean;
  readonly priority: boolean;
  readonly flags: boolean;
  readonly importance: boolean;
  readonly out: boolean;
}
const CHANGES: Accepts = { actions: true, timeout: true, priority: true, flags: true, importance: false, out: false };
const ACCEPTS: Readonly<Record<FlowCommand, Accepts>> = {
  add: { ...CHANGES, importance: true },
  modify: CHANGES,
  modify_strict: CHANGES,
  delete: { actions: false, timeout: false, priority: false, flags: false, importance: false, out: true },
  delete_strict: { actions: false, timeout: false, priority: true, flags: false, importance: false, out: true },
  stats: { actions: false, timeout: false, priority: false, flags: false, importance: false, out: true },
};
const COMMAND_WORDS: Readonly<Record<string, FlowModCommand>> = {
  add: 'add',
  delete: 'delete',
  delete_strict: 'delete_strict',
  modify: 'modify',
  modify_strict: 'modify_strict',
};
/** What `dump-flows` prints but nobody can set. */
const IGNORED: ReadonlySet<string> = new Set(['duration', 'n_packets', 'n_bytes', 'idle_age', 'hard_age']);
const FLAG_WORDS: Readonly<Record<string, keyof FlowModFlags>> = {
  send_flow_rem: 'sendFlowRem',
  check_overlap: 'checkOverlap',
  reset_counts: 'resetCounts',
  no_packet_counts: 'noPacketCounts',
  no_byte_counts: 'noByteCounts',
};
const ALL_ONES = 0xffffffffffffffffn;

const u16 = (text: string): number | null => {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const n = Number(text);
  return n <= 0xffff ? n : null;
};

function u64(text: string): bigint | null {
  if (/^-\d+$/.test(text)) return BigInt.asUintN(64, BigInt(text));
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const n = BigInt(text);
  return n <= ALL_ONES ? n : null;
}

/** Reads one flow; for `stats` and deletions only what selects flows may be said. */
export function parseFlow(text: string, command: FlowCommand, options: FlowParseOptions = {}): ParsedFlow {
  try {
    return parse(text.trim(), command, options);
  } catch (error) {
    if (error instanceof FlowSyntaxError) return { ok: false, error: error.message };
    throw error;
  }
}

class FlowSyntaxError extends Error {}
function syntax(text: string): never {
  throw new FlowSyntaxError(text);
}

const logPort = (text: string): void => vlog('ofp_port').rl().warn(text);

function parse(text: string, command: FlowCommand, { names, warn = logPort }: FlowParseOptions): ParsedFlow {
  const accepts = ACCEPTS[command];
  const match = new Match();
  const flags: { -readonly [K in keyof FlowModFlags]: boolean } = { ...NO_FLAGS };
  let usable = PROTOCOL_ANY;
  let priority = 32768;
  let cookie = 0n;
  let cookieMask = 0n;
  let newCookie: bigint | null = command === 'add' ? 0n : null;
  let table = command === 'add' ? 0 : 255;
  let hasTable = false;
  let idleTimeout = 0;
  let hardTimeout = 0;
  let importance = 0;
  let outPort: number = OFPP.NONE;
  let outGroup = OFPG_ANY;
  let fields = text;
  let actionText = '';
  if (accepts.actions) {
    const at = text.indexOf('action');
    const equals = at < 0 ? -1 : text.indexOf('=', at);
    if (equals < 0) syntax('must specify an action');
    fields = text.slice(0, at);
    actionText = text.slice(equals + 1);
  }
  for (const { key, value, hasValue } of splitKeyValues(fields)) {
    if (!hasValue && parseProtocol(match, key)) continue;
    const flag = accepts.flags && !hasValue && Object.hasOwn(FLAG_WORDS, key) ? FLAG_WORDS[key] : undefined;
    if (flag !== undefined) {
      flags[flag] = true;
      if (flag === 'noPacketCounts' || flag === 'noByteCounts') usable &= PROTOCOL_OXM & ~PROTOCOLS.OpenFlow12;
      else if (flag === 'resetCounts') usable &= PROTOCOL_OXM;
      continue;
    }
    if (value === '') syntax(`field ${key} missing value`);
    const number16 = (): number => u16(value) ?? syntax(`invalid ${key} "${value}"`);
    if (key === 'table') {
      table = parseTable(value, names);
      hasTable = true;
      if (/^\d+$/.test(value) && Number(value) > 255)
        vlog('ofp_table').warn(`table ${value} is outside the supported range 0 through 255`);
      if (table < 0) syntax(`unknown table "${value}"`);
    } else if (accepts.out && key === 'out_port') {
      outPort = parsePort(value, names, warn);
      if (outPort < 0) syntax(`${value} is not a valid OpenFlow port`);
    } else if (accepts.out && key === 'out_group') {
      usable &= PROTOCOL_11_UP;
      outGroup = parseGroupId(value) ?? syntax(`invalid group id ${value}`);
    } else if (accepts.priority && key === 'priority') priority = number16();
    else if (accepts.timeout && key === 'idle_timeout') idleTimeout = number16();
    else if (accepts.timeout && key === 'hard_timeout') hardTimeout = number16();
    else if (accepts.importance && key === 'importance') importance = number16();
    else if (key === 'cookie') {
      const slash = value.indexOf('/');
      const read = (word: string): bigint => u64(word) ?? syntax(`invalid numeric format ${word}`);
      if (slash >= 0) {
        if (command === 'add') syntax('flow additions cannot use a cookie mask');
        cookie = read(value.slice(0, slash));
        cookieMask = read(value.slice(slash + 1));
        usable &= PROTOCOL_NXM_OXM | PROTOCOLS.OpenFlow11;
      } else {
        if (command !== 'add' && command !== 'modify' && command !== 'modify_strict')
          syntax(`cannot set cookie (to match on a cookie, specify a mask, e.g. cookie=${value}/-1)`);
        newCookie = read(value);
      }
    } else {
      const error = parseMatchField(match, key, value, { names, warn });
      if (typeof error === 'string') syntax(error);
      else if (error === undefined && !IGNORED.has(key)) syntax(`unknown keyword ${key}`);
    }
  }
  // A modify without a mask adds the flow when there is none, so it needs a cookie.
  if (cookieMask === 0n && newCookie === null && (command === 'modify' || command === 'modify_strict')) newCookie = 0n;
  let actions: readonly Ofpact[] = [];
  if (accepts.actions) {
    const parsed = parseActions(actionText, { names, warn, instructions: true });
    if (!parsed.ok) syntax(parsed.error);
    actions = parsed.actions;
  }
  normalizeWithWarning(match, names);
  const { error, needs10 } = inspectActions(actions, match.key, {
    table,
    warn: (module, text) => vlog(module).rl().warn(text),
  });
  if (error) syntax(`actions are invalid with specified match (${error})`);
  usable &= matchProtocols(match) & actionProtocols(actions, needs10);
  return {
    ok: true,
    usable,
    hasTable,
    flow: {
      type: 'flow_mod',
      command: command === 'stats' ? 'delete' : command,
      match,
      priority,
      cookie,
      cookieMask,
      newCookie,
      table,
      idleTimeout,
      hardTimeout,
      importance,
      bufferId: 0xffffffff,
      outPort,
      outGroup,
      flags,
      actions,
    },
  };
}

function parseGroupId(text: string): number | null {
  const word = text.toLowerCase();
  if (word === 'any') return OFPG_ANY;
  if (word === 'all') return 0xfffffffc;
  if (!/^(0x[0-9a-f]+|\d+)$/.test(word) || Number(word) > 0xffffffff) return null;
  return Number(word);
}

function normalizeWithWarning(match: Match, names?: Names): void {
  if (isNormal(match)) return;
  const before = match.clone();
  normalizeMatch(match);
  const log = vlog('ofp_match');
  log.info('normalization changed ofp_match, details:');
  log.info(` pre: ${formatMatch(before, undefined, names)}`);
  log.info(`post: ${formatMatch(match, undefined, names)}`);
}

/** One line of a flow file, which may start with its command: `add`, `delete`, … */
export function parseFlowMod(text: string, command: FlowModCommand | null, options: FlowParseOptions = {}): ParsedFlow {
  if (command !== null) return parseFlow(text, command, options);
  const word = /^\s*([a-z_]+)\s+(?=\S)/.exec(text);
  const named = word !== null ? COMMAND_WORDS[word[1]] : undefined;
  if (word !== null && named !== undefined) return parseFlow(text.slice(word[0].length), named, options);
  const bare = COMMAND_WORDS[text.trim()];
  if (bare !== undefined) return parseFlow('', bare, options);
  return parseFlow(text, 'add', options);
}

/** Lines without comments and blank ones. */
export function flowLines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/#.*$/, '').trim())
    .filter((line) => line !== '');
}
