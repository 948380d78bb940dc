/** `dpctl/*`: the datapath itself, ports and megaflows. `ovs-dpctl(8)` */
import { readFileSync } from 'node:fs';
import { type CommandContext, MANY_ARGS, registerCommand, UnixctlError } from '../../base/commands.ts';
import { errorText } from '../../base/errno.ts';
import { unsupportedAction } from '../../datapath/actions-code.ts';
import type { DpFlow, Dpif } from '../../dpif/dpif.ts';
import { formatDpActions, parseDpActions, parseDpKey } from '../../flow/dp-text.ts';
import { Match } from '../../flow/match.ts';
import { parseMatch } from '../../flow/match-text.ts';
import { OFPP } from '../../openflow/ports.ts';
import type { Backer } from '../backer.ts';
import { datapathJson } from '../json/datapath.ts';
import { megaflowJson } from '../json/megaflow.ts';
import { configurationText, portTypeText } from './dpif.ts';
import { type Backers, datapathName, isNamed } from './find.ts';
import { formatFlow, parseUfid } from './flow-text.ts';
import { registerNormalize } from './normalize.ts';

/** All errors of this family begin with the program's name. */
function fail(text: string): never {
  throw new UnixctlError(`ovs-vswitchd: ${text}`);
}

const OPTIONS = new Set(['-m', '--more', '--names', '--no-names', '-s', '--statistics', '--may-create', '--clear']);

interface Arguments {
  readonly options: ReadonlySet<string>;
  readonly rest: string[];
}

function parseArguments(args: readonly string[]): Arguments {
  const options = new Set<string>();
  const rest: string[] = [];
  for (const arg of args) {
    if (arg.startsWith('-') && OPTIONS.has(arg)) options.add(arg);
    else rest.push(arg);
  }
  return { options, rest };
}

export function registerDpctlCommands(backers: Backers): void {
  const named = (name: string): Backer | undefined => [...backers()].find((b) => isNamed(b, name));
  /** The datapath that a command means: the one named first in `rest` (which is taken off), or the only one there is. */
  const choose = (rest: string[], needed: number): Backer => {
    if (rest.length > needed) {
      const found = named(rest[0]);
      if (!found) fail('opening datapath (No such device)');
      rest.shift();
      return found;
    }
    const all = [...backers()];
    if (all.length === 1) return all[0];
    return fail(all.length === 0 ? 'no datapaths exist' : 'multiple datapaths, specify one');
  };
  const register = (
    name: string,
    usage: string,
    min: number,
    max: number,
    run: (a: Arguments, context: CommandContext) => string,
  ): void => {
    registerCommand(`dpctl/${name}`, usage, min, max, (args, context) => run(parseArguments(args), context));
  };

  register('dump-dps', '', 0, MANY_ARGS, () => [...backers()].map((b) => `${datapathName(b)}\n`).join(''));

  register('show', '[-s] [dp...]', 0, MANY_ARGS, ({ options, rest }, { format }) => {
    const withStats = options.has('-s') || options.has('--statistics');
    const show = (all: Backer[]): string =>
      format === 'json'
        ? JSON.stringify(Object.fromEntries(all.map((b) => [datapathName(b), datapathJson(b, portTypeText)])))
        : all.map((b) => showDatapath(b, withStats)).join('');
    if (rest.length === 0) return show([...backers()]);
    const found = rest.map((name) => [name, named(name)] as const);
    const missing = found
      .filter(([, b]) => !b)
      .map(([n]) => `ovs-vswitchd: opening datapath ${n} failed (No such device)`);
    if (missing.length > 0) throw new UnixctlError(missing.join('\n'));
    return show(found.flatMap(([, b]) => (b ? [b] : [])));
  });

  register(
    'dump-flows',
    '[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]',
    0,
    MANY_ARGS,
    ({ options, rest }, { format }) => dumpFlows(rest, options, named, choose, format === 'json'),
  );

  const put =
    (isNew: boolean) =>
    ({ rest, options }: Arguments): string => {
      const backer = choose(rest, 2);
      putFlow(backer.dpif, rest[0], rest[1], isNew, options.has('--may-create'));
      return '';
    };
  register('add-flow', '[dp] flow actions', 2, 3, put(true));
  register('mod-flow', '[dp] flow actions', 2, 4, put(false));

  const putFile =
    (isNew: boolean) =>
    ({ rest }: Arguments): string => {
      const backer = choose(rest, 1);
      for (const line of readLines(rest[0])) {
        const [key, actions] = splitFlow(line);
        putFlow(backer.dpif, key, actions, isNew, false);
      }
      return '';
    };
  register('add-flows', '[dp] file', 1, 2, putFile(true));
  register('mod-flows', '[dp] file', 1, 2, putFile(false));

  register('get-flow', '[dp] ufid', 1, 2, ({ rest, options }) => {
    const backer = choose(rest, 1);
    const ufid = parseUfid(rest[0]);
    if (ufid === null) return 'ovs-vswitchd: parsing flow ufid';
    const flow = backer.dpif.flowByUfid(ufid);
    if (!flow) fail('getting flow (No such file or directory)');
    const isVerbose = options.has('-m') || options.has('--more');
    return `${formatFlow(backer.dpif, flow, { isVerbose, isNamed: isVerbose || options.has('--names'), separator: ', ' })}\n`;
  });

  register('del-flow', '[dp] flow', 1, 2, ({ rest }) => {
    const backer = choose(rest, 1);
    const flow = findFlow(backer.dpif, rest[0]);
    if (!flow) fail('deleting flow (No such file or directory)\nPerhaps you need to specify a UFID?');
    backer.dpif.flowDel(flow);
    return '';
  });

  register('del-flows', '[dp] [file]', 0, 2, ({ rest }) => {
    const first = rest.length > 0 ? named(rest[0]) : undefined;
    if (first) rest.shift();
    const backer = first ?? choose([], 0);
    if (rest.length === 0) {
      backer.revalidator.pushStats();
      backer.dpif.flowFlush();
      return '';
    }
    for (const line of readLines(rest[0])) {
      const flow = findFlow(backer.dpif, splitFlow(line)[0]);
      if (!flow) fail('deleting flow (No such file or directory)');
      backer.dpif.flowDel(flow);
    }
    return '';
  });

  registerNormalize();
  register('parse-actions', 'actions', 1, MANY_ARGS, ({ rest }) =>
    rest.map((text) => `${formatDpActions(actionsOf(text))}\n`).join(''),
  );
}

// ---- show ----

function showDatapath(backer: Backer, withStats: boolean): string {
  const { dpif } = backer;
  const { hit, missed, flows, ...stats } = dpif.stats();
  const lost = stats.lost + backer.upcalls.overflows + backer.upcalls.withheld;
  let text = `${datapathName(backer)}:\n  lookups: hit:${hit} missed:${missed} lost:${lost}\n  flows: ${flows}\n`;
  for (const port of [...dpif.ports()].sort((a, b) => a.no - b.no)) {
    const isOwn = port.no === 0 && port.netdev.name === dpif.name;
    const type = portTypeText(backer, port.netdev, isOwn || backer.owner(port.no)?.port.ofport === OFPP.LOCAL);
    const config = configurationText(port.netdev);
    text += `  port ${port.no}: ${port.netdev.name}${type === 'system' ? '' : ` (${type}${config})`}\n`;
    if (withStats) text += portStats(port.netdev.stats());
  }
  return text;
}

function portStats(s: Readonly<Record<string, number | undefined>>): string {
  const n = (name: string): string => String(s[name] ?? '?');
  return (
    `    RX packets:${n('rx_packets')} errors:${n('rx_errors')} dropped:${n('rx_dropped')} overruns:${n('rx_over_errors')} frame:${n('rx_frame_errors')}\n` +
    `    TX packets:${n('tx_packets')} errors:${n('tx_errors')} dropped:${n('tx_dropped')} aborted:${n('tx_aborted_errors')} carrier:${n('tx_carrier_errors')}\n` +
    `    collisions:${n('collisions')}\n` +
    `    RX bytes:${n('rx_bytes')}${inUnits(s['rx_bytes'])}  TX bytes:${n('tx_bytes')}${inUnits(s['tx_bytes'])}\n`
  );
}

/** ` (1.5 KiB)` from 1024 on. */
function inUnits(bytes: number | undefined): string {
  if (bytes === undefined || bytes < 1024) return '';
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes / 1024;
  let i = 0;
  while (value >= 1024 && i < units.length - 1) {
    value /= 1024;
    i++;
  }
  return ` (${value.toFixed(1)} ${units[i]})`;
}

// ---- flows ----

const TYPES = new Set(['ovs', 'tc', 'dpdk', 'offloaded', 'non-offloaded', 'partially-offloaded', 'all']);
/** Ours are all carried out by software. */
const SOFTWARE_TYPES = new Set(['ovs', 'dpdk', 'non-offloaded', 'all']);

function dumpFlows(
  rest: string[],
  options: ReadonlySet<string>,
  named: (name: string) => Backer | undefined,
  choose: (rest: string[], needed: number) => Backer,
  isJson: boolean,
): string {
  let filter: Match | null = null;
  let pmd: number | null = null;
  let types: string[] = [];
  let dp: string | null = null;
  for (const arg of rest) {
    if (arg.startsWith('filter=')) filter = parseFilter(arg.slice(7));
    else if (arg.startsWith('pmd=')) pmd = Number.parseInt(arg.slice(4), 10);
    else if (arg.startsWith('type=')) {
      types = arg.slice(5).split(',');
      for (const type of types) if (!TYPES.has(type)) fail(`Failed to parse type (${type}) (Invalid argument)`);
    } else dp ??= arg;
  }
  const backer = dp === null ? choose([], 0) : named(dp);
  if (!backer) return fail('datapath not found (Invalid argument)');
  if (types.length > 0 && !types.some((type) => SOFTWARE_TYPES.has(type)))
    return isJson ? JSON.stringify({ megaflows: [] }) : '';
  const isVerbose = options.has('-m') || options.has('--more');
  const isNamed = options.has('--no-names') ? false : options.has('--names') || isVerbose;
  let text = '';
  let last: number | null = null;
  const flows = [...backer.dpif.flows()]
    .filter((flow) => (filter === null || overlaps(filter, flow)) && (pmd === null || flow.pmdId === pmd))
    .sort((a, b) => a.pmdId - b.pmdId);
  if (isJson) return JSON.stringify({ megaflows: flows.map((flow) => megaflowJson(backer.dpif, flow, isNamed)) });
  for (const flow of flows) {
    if (pmd === null && flow.pmdId !== last) {
      text += flow.pmdId < 0 ? 'flow-dump from the main thread:\n' : `flow-dump from pmd on cpu core: ${flow.pmdId}\n`;
      last = flow.pmdId;
    }
    text += `${formatFlow(backer.dpif, flow, { isVerbose, isNamed, separator: ', ', hasOrigin: true })}\n`;
  }
  return text;
}

function parseFilter(text: string): Match {
  const parsed = parseMatch(text);
  if (!parsed.ok) {
    fail(`Failed to parse filter (${text}: ${parsed.error.replace(/^unknown keyword/, 'unknown field')})`);
  }
  return parsed.match;
}

function overlaps(filter: Match, flow: DpFlow): boolean {
  const { key, mask } = filter;
  for (let i = 0; i < flow.key.w.length; i++) {
    if (((key.w[i] ^ flow.key.w[i]) & mask.w[i] & flow.mask.w[i]) !== 0) return false;
  }
  return true;
}

function putFlow(dpif: Dpif, keyText: string, actionsText: string, isNew: boolean, mayCreate: boolean): void {
  const { key, mask } = keyOf(keyText);
  const actions = actionsOf(actionsText);
  const existing = findFlow(dpif, keyText);
  if (isNew && existing) fail('updating flow table (File exists)');
  if (!isNew && !mayCreate && !existing) fail('updating flow table (No such file or directory)');
  if (unsupportedAction(actions) !== null) fail('updating flow table (Operation not supported)');
  const flow = dpif.flowPut(key, mask, actions, existing?.pmdId ?? -1, existing?.user ?? null);
  if (!flow) fail('updating flow table (No space left on device)');
}

function keyOf(text: string): Match {
  const parsed = parseDpKey(text);
  if (!parsed.ok) fail(`parsing flow key (${parsed.error}) (Invalid argument)`);
  return new Match(parsed.key, parsed.mask);
}

function actionsOf(text: string) {
  const parsed = parseDpActions(text);
  if (!parsed.ok) fail('parsing actions (Invalid argument)');
  return parsed.actions;
}

/** By `ufid:…` or by what it matches. */
function findFlow(dpif: Dpif, text: string): DpFlow | undefined {
  const ufid = parseUfid(text.split(/[ ,]/)[0]);
  if (ufid !== null) return dpif.flowByUfid(ufid);
  const { key, mask } = keyOf(text);
  for (const flow of dpif.flows()) {
    if (sameMasked(flow, key.w, mask.w)) return flow;
  }
  return undefined;
}

function sameMasked(flow: DpFlow, key: Int32Array, mask: Int32Array): boolean {
  for (let i = 0; i < key.length; i++) {
    if (flow.mask.w[i] !== mask[i] || ((flow.key.w[i] ^ key[i]) & mask[i]) !== 0) return false;
  }
  return true;
}

function readLines(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    return fail(`${path}: open failed (${errorText(cause)})`);
  }
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
}

/** As `dump-flows` prints it: key, statistics that do not matter, `actions:…`. */
function splitFlow(line: string): [string, string] {
  const at = line.indexOf('actions:');
  if (at < 0) return [line, ''];
  const key = line
    .slice(0, at)
    .replace(/,?\s*packets:.*$/, '')
    .replace(/,\s*$/, '');
  return [key, line.slice(at + 'actions:'.length)];
}
