/** Commands on flows: dump, aggregate, add, modify, delete, replace, compare. */
import { readFileSync, statSync } from 'node:fs';
import { fieldByName } from '../../flow/fields.ts';
import { formatMatch } from '../../flow/match-text.ts';
import type { Names } from '../../flow/names.ts';
import { getField, isFieldMaskZero } from '../../flow/subfield.ts';
import { formatActions } from '../../openflow/actions/index.ts';
import {
  flagsText,
  flowLines,
  formatFlowStats,
  PROTOCOL_ANY,
  parseFlow,
  parseFlowMod,
} from '../../openflow/flow-text.ts';
import { flowJson } from '../../openflow/json/flows.ts';
import type { FlowMod, FlowModCommand, FlowStats, OfMessage } from '../../openflow/messages.ts';
import { sendBundle } from './bundle.ts';
import type { Command } from './command.ts';
import {
  type Connection,
  connect,
  connectForFlowMods,
  dumpOn,
  fatal,
  mergeDocument,
  namesToAccept,
  namesToShow,
  prepareFlowDump,
  print,
  settings,
  willShowNames,
} from './context.ts';
import { chooseProtocol } from './protocols.ts';

/** `-` is standard input. */
export function readText(path: string, opening = 'open failed'): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    return fatal(`${path}: ${opening} (${errnoText(error)})`);
  }
}
function errnoText(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' ? 'No such file or directory' : code === 'EACCES' ? 'Permission denied' : String(code);
}

interface Selection {
  readonly request: FlowMod;
  readonly usable: number;
}

async function select(target: string, text: string | undefined): Promise<Selection> {
  const names = await namesForSelection(target, text);
  const parsed = parseFlow(text ?? '', 'stats', { names });
  if (!parsed.ok) return fatal(parsed.error);
  return { request: parsed.flow, usable: parsed.usable };
}
/** A selection that says nothing needs no names. */
async function namesForSelection(target: string, text: string | undefined): Promise<Names | undefined> {
  return text === undefined ? undefined : namesToAccept(target);
}

function statsRequest(type: 'flow_stats_request' | 'aggregate_request', s: Selection): OfMessage {
  const { match, table, outPort, outGroup, cookie, cookieMask } = s.request;
  return { type, match, table, outPort, outGroup, cookie, cookieMask };
}

async function dumpFlows([target, text]: readonly string[]): Promise<void> {
  const selection = await select(target, text);
  const isPlain = settings.sort.length === 0 && !willShowNames() && settings.showStats;
  const names = isPlain ? undefined : await namesToShow(target);
  const c = await connect(target);
  await prepareFlowDump(c, selection.usable);
  const request = statsRequest('flow_stats_request', selection);
  if (isPlain) {
    await dumpOn(c, request);
    c.close();
    return;
  }
  const flows = (await c.collect(request, 'flow_stats_reply')).flatMap((p) => [...p.flows]);
  c.close();
  const sorted = sortFlows(flows);
  if (settings.format === 'json') return addFlowsJson(sorted, names);
  // A sorted dump shows no ages.
  let out = '';
  for (const f of sorted)
    out += `${formatFlowStats({ ...f, idleAge: -1, hardAge: -1 }, { names, stats: settings.showStats })}\n`;
  print(out);
}

function addFlowsJson(flows: readonly FlowStats[], names?: Names): void {
  mergeDocument({ flows: flows.map((f) => flowJson(f, names)) });
}

function sortFlows(flows: FlowStats[]): FlowStats[] {
  if (settings.sort.length === 0) return flows;
  const compare = (a: FlowStats, b: FlowStats): number => {
    for (const key of settings.sort) {
      const order = compareBy(a, b, key.field);
      if (order !== 0) return order;
    }
    return 0;
  };
  return flows.sort(compare);
}

/** Flows that do not match on the field come last, whichever way the rest runs. */
function compareBy(a: FlowStats, b: FlowStats, name: string): number {
  const key = settings.sort.find((k) => k.field === name);
  const sign = key?.descending ? -1 : 1;
  if (name === 'priority') return sign * (a.priority - b.priority);
  const field = fieldByName(name);
  if (field === undefined) return 0;
  const aWild = isFieldMaskZero(a.match.mask, field);
  const bWild = isFieldMaskZero(b.match.mask, field);
  if (aWild || bWild) return aWild === bWild ? 0 : aWild ? 1 : -1;
  return sign * Buffer.compare(getField(a.match.key, field), getField(b.match.key, field));
}

async function dumpAggregate([target, text]: readonly string[]): Promise<void> {
  const selection = await select(target, text);
  const c = await connect(target);
  await prepareFlowDump(c, selection.usable);
  await dumpOn(c, statsRequest('aggregate_request', selection));
  c.close();
}

interface FlowList {
  readonly flows: FlowMod[];
  readonly usable: number;
  readonly hasTable: boolean;
}

/** The flows of a file, in its order; `-` is standard input. */
export function parseLines(
  path: string,
  command: FlowModCommand | null,
  names: Names | undefined,
  opening?: string,
): FlowList {
  const flows: FlowMod[] = [];
  let usable = PROTOCOL_ANY;
  let hasTable = false;
  const lines = readText(path, opening).split('\n');
  lines.forEach((line, i) => {
    for (const text of flowLines(line)) {
      const parsed = parseFlowMod(text, command, { names });
      if (!parsed.ok) fatal(`${path}:${i + 1}: ${parsed.error}`);
      else {
        usable &= parsed.usable;
        hasTable ||= parsed.hasTable;
        flows.push(parsed.flow);
      }
    }
  });
  return { flows, usable, hasTable };
}

async function sendFlows(target: string, { flows, usable, hasTable }: FlowList): Promise<void> {
  if (settings.bundle) {
    await sendBundle(target, flows, usable);
    return;
  }
  const c = await connectForFlowMods(target, usable, hasTable);
  await c.transactNoreply(flows);
  c.close();
}

async function flowMod(args: readonly string[], command: FlowModCommand): Promise<void> {
  const [target, text] = args;
  const names = await namesToAccept(target);
  if (text === '-') {
    await sendFlows(target, parseLines('-', command, names));
    return;
  }
  const parsed = parseFlowMod(text ?? '', command, { names });
  if (!parsed.ok) return fatal(parsed.error);
  await sendFlows(target, { flows: [parsed.flow], usable: parsed.usable, hasTable: parsed.hasTable });
}

async function addFlows([target, path]: readonly string[]): Promise<void> {
  const names = await namesToAccept(target);
  await sendFlows(target, parseLines(path, null, names));
}

/** What two flows must share to be the same rule. */
const ruleKey = (f: FlowMod | FlowStats): string =>
  `${f.table === 255 ? 0 : f.table} ${f.priority} ${Buffer.from(f.match.mask.u8).toString('latin1')}${Buffer.from(f.match.key.u8).toString('latin1')}`;

interface Version {
  readonly cookie: bigint;
  readonly idleTimeout: number;
  readonly hardTimeout: number;
  readonly importance: number;
  readonly flags: FlowMod['flags'];
  readonly actions: FlowMod['actions'];
  readonly rule: FlowMod | FlowStats;
}
const versionOf = (f: FlowMod | FlowStats): Version => ({
  cookie: 'type' in f ? (f.newCookie ?? 0n) : f.cookie,
  idleTimeout: f.idleTimeout,
  hardTimeout: f.hardTimeout,
  importance: f.importance,
  flags: f.flags,
  actions: f.actions,
  rule: f,
});
const sameVersion = (a: Version, b: Version): boolean =>
  a.cookie === b.cookie &&
  a.idleTimeout === b.idleTimeout &&
  a.hardTimeout === b.hardTimeout &&
  a.importance === b.importance &&
  formatActions(a.actions) === formatActions(b.actions);

function versionText(v: Version, names?: Names): string {
  const f = v.rule;
  let out = f.table !== 0 && f.table !== 255 ? `table=${f.table} ` : '';
  const match = formatMatch(f.match, f.priority, names);
  // The space stands even behind a match of everything.
  out += `${match} `;
  if (v.cookie !== 0n) out += `cookie=0x${v.cookie.toString(16)} `;
  if (v.idleTimeout !== 0) out += `idle_timeout=${v.idleTimeout} `;
  if (v.hardTimeout !== 0) out += `hard_timeout=${v.hardTimeout} `;
  if (v.importance !== 0) out += `importance=${v.importance} `;
  out += flagsText({ ...v.flags, resetCounts: false });
  return `${out}actions=${formatActions(v.actions, names)}`;
}

function fileFlows(
  path: string,
  names?: Names,
  opening?: string,
): { map: Map<string, Version>; usable: number; hasTable: boolean } {
  const { flows, usable, hasTable } = parseLines(path, 'add', names, opening);
  return { map: new Map(flows.map((f) => [ruleKey(f), versionOf(f)])), usable, hasTable };
}

async function switchFlows(c: Connection, usable: number): Promise<Map<string, Version>> {
  const parsed = parseFlow('', 'stats');
  if (!parsed.ok) return fatal(parsed.error);
  await prepareFlowDump(c, usable);
  const request = statsRequest('flow_stats_request', { request: parsed.flow, usable });
  const flows = (await c.collect(request, 'flow_stats_reply')).flatMap((p) => [...p.flows]);
  return new Map(flows.map((f) => [ruleKey(f), versionOf(f)]));
}

function changeTo(v: Version, command: 'add' | 'delete_strict'): FlowMod {
  const f = v.rule;
  const isAdd = command === 'add';
  return {
    type: 'flow_mod',
    command,
    match: f.match,
    priority: f.priority,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: isAdd ? v.cookie : null,
    table: f.table === 255 ? 0 : f.table,
    idleTimeout: isAdd ? v.idleTimeout : 0,
    hardTimeout: isAdd ? v.hardTimeout : 0,
    importance: isAdd ? v.importance : 0,
    bufferId: 0xffffffff,
    outPort: 0xffff,
    outGroup: 0xffffffff,
    flags: { ...v.flags, resetCounts: false },
    actions: isAdd ? v.actions : [],
  };
}

async function replaceFlows([target, path]: readonly string[]): Promise<void> {
  const names = await namesToAccept(target);
  const { map: wanted, usable, hasTable } = fileFlows(path, names);
  const c = await connectForFlowMods(target, usable, hasTable);
  const present = await switchFlows(c, usable);
  const changes: FlowMod[] = [];
  for (const [key, v] of present) if (!wanted.has(key)) changes.push(changeTo(v, 'delete_strict'));
  for (const [key, v] of wanted) {
    const now = present.get(key);
    if (settings.readd || now === undefined || !sameVersion(now, v)) changes.push(changeTo(v, 'add'));
  }
  if (settings.bundle) {
    c.close();
    await sendBundle(target, changes, usable);
    return;
  }
  await c.transactNoreply(changes);
  c.close();
}

/** What looks like a path, or is there; anything else is a switch. */
function isFile(source: string): boolean {
  if (source.includes(':')) return false;
  const found = statSync(source, { throwIfNoEntry: false });
  return found === undefined ? /[/.]/.test(source) : !found.isSocket();
}

async function diffFlows([first, second]: readonly string[]): Promise<void> {
  const sides: Map<string, Version>[] = [];
  let names: Names | undefined;
  for (const source of [first, second]) {
    if (isFile(source)) sides.push(fileFlows(source, undefined, 'open').map);
    else {
      names ??= await namesToShow(source);
      const c = await connect(source);
      sides.push(await switchFlows(c, PROTOCOL_ANY));
      c.close();
    }
  }
  const [a, b] = sides;
  let differs = false;
  let out = '';
  const all = new Map([...a, ...b]);
  for (const key of all.keys()) {
    const x = a.get(key);
    const y = b.get(key);
    if (x !== undefined && y !== undefined && sameVersion(x, y)) continue;
    differs = true;
    if (x !== undefined) out += `-${versionText(x, names)}\n`;
    if (y !== undefined) out += `+${versionText(y, names)}\n`;
  }
  print(out);
  if (differs) process.exit(2);
}

/** Prints what a flow would be on the wire's terms, without a switch. */
async function parseFlowCommand([text]: readonly string[]): Promise<void> {
  const parsed = parseFlowMod(text, settings.strict ? 'delete_strict' : 'add');
  if (!parsed.ok) return fatal(parsed.error);
  printFlows([parsed.flow], parsed.usable, parsed.hasTable);
}
async function parseFlowsCommand([path]: readonly string[]): Promise<void> {
  const { flows, usable, hasTable } = parseLines(path, null, undefined);
  printFlows(flows, usable, hasTable);
}
function printFlows(flows: readonly FlowMod[], usable: number, hasTable: boolean): void {
  const chosen = chooseProtocol(usable, hasTable);
  print(`usable protocols: ${chosen.usable}\nchosen protocol: ${chosen.name}\n`);
  for (const f of flows) print(chosen.text(f));
}
export const FLOW_COMMANDS: readonly Command[] = [
  { name: 'dump-flows', min: 1, max: 2, dumps: true, run: dumpFlows },
  { name: 'dump-aggregate', min: 1, max: 2, dumps: true, run: dumpAggregate },
  { name: 'add-flow', min: 2, max: 2, writes: true, run: (args) => flowMod(args, 'add') },
  { name: 'add-flows', min: 2, max: 2, writes: true, run: addFlows },
  {
    name: 'mod-flows',
    min: 2,
    max: 2,
    writes: true,
    run: (args) => flowMod(args, settings.strict ? 'modify_strict' : 'modify'),
  },
  {
    name: 'del-flows',
    min: 1,
    max: 2,
    writes: true,
    run: (args) => flowMod(args, settings.strict ? 'delete_strict' : 'delete'),
  },
  { name: 'replace-flows', min: 2, max: 2, writes: true, run: replaceFlows },
  { name: 'diff-flows', min: 2, max: 2, run: diffFlows },
  { name: 'parse-flow', min: 1, max: 1, run: parseFlowCommand },
  { name: 'parse-flows', min: 1, max: 1, run: parseFlowsCommand },
];
