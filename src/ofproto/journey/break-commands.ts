/**
 * Breakpoints over the control socket: `journey/break-set`, `-list`, `-show`, `-continue`, `-step`, `-drop`, `-edit`, `-delete`.
 * `signalbox break` and the dashboard are clients of these.
 *
 * Whoever sets a breakpoint has to be heard of again: when no command has asked for it, or for packets, for as long as its
 * lease (its limit, if not said otherwise), it is deleted, and what waited goes on.
 */
import { MANY_ARGS, registerCommand, UnixctlError } from '../../base/commands.ts';
import type { Backer } from '../backer.ts';
import type { Backers } from '../commands/find.ts';
import { breakpointState, breakpointText, heldState, heldText } from './break-state.ts';
import {
  BREAK_STAGES,
  type BreakOptions,
  type Breakpoint,
  type BreakStage,
  type Breaks,
  DEFAULT_LIMIT_MS,
  type HeldPacket,
} from './breaks.ts';
import type { HeldState } from './held.ts';
import { numberOf, parseOptions } from './options.ts';

const MAX_LIMIT_S = 86_400;
const MAX_WAIT_MS = 5000;

interface Open {
  /** One for each datapath; the first one's name is that of all. */
  readonly points: readonly Breakpoint[];
  readonly leaseMs: number;
  timer: NodeJS.Timeout;
}

const opened = new Map<string, Open>();

interface Found {
  readonly backer: Backer;
  readonly breaks: Breaks;
  readonly held: HeldPacket;
}

export function registerBreakCommands(backers: Backers): void {
  const all = (): Breaks[] => [...backers()].flatMap((b) => (b.journeys ? [b.journeys.breaks] : []));
  const packets = (): Found[] =>
    [...backers()]
      .flatMap((backer) => {
        const breaks = backer.journeys?.breaks;
        return breaks ? [...breaks.packets()].map((held) => ({ backer, breaks, held })) : [];
      })
      .sort((a, b) => a.held.sinceMs - b.held.sinceMs || a.held.number - b.held.number);

  /** Without a number, the packet that has waited longest. */
  const chosen = (word: string | undefined): readonly Found[] => {
    touch();
    const list = packets();
    if (word === 'all') return list;
    if (word === undefined) {
      if (list.length === 0) throw new UnixctlError('no packet waits');
      return [list[0]];
    }
    const found = list.filter(({ held }) => String(held.number) === word);
    if (found.length === 0) throw new UnixctlError(`${word}: no such packet waits`);
    return found;
  };

  registerCommand(
    'journey/break-set',
    'STAGE[,STAGE...] [FILTER] [--bridge=BR] [--in-port=P] [--limit=SECS] [--lease=SECS]',
    1,
    MANY_ARGS,
    (args) => `${set(all(), args)}\n`,
  );
  registerCommand('journey/break-list', '[--format=text|json]', 0, 1, (args, context) => {
    const { options } = parseOptions(args);
    touch();
    const states = points(packets());
    if ((options.get('format') ?? context.format) === 'json') return JSON.stringify([...states, ...held(packets())]);
    if (states.length === 0) return 'no breakpoints\n';
    const waiting = packets().map(
      ({ held: h }) =>
        `  packet ${h.number} waits before ${h.stage}, for ${h.breakpoints.map((b) => b.name).join(', ')}\n`,
    );
    return states.map(breakpointText).join('') + waiting.join('');
  });
  registerCommand(
    'journey/break-show',
    '[PACKET] [--format=text|json] [--since=SERIAL] [--wait=MS] [--stories] [--width=N] [--color]',
    0,
    7,
    async (args) => {
      const { options, words } = parseOptions(args);
      touch();
      const serial = (): number => all().reduce((n, b) => n + b.serial, 0);
      const ms = Math.min(MAX_WAIT_MS, numberOf(options, 'wait', 0));
      if (ms > 0 && options.has('since') && serial() === numberOf(options, 'since', -1)) await changed(all(), ms);
      const list = words[0] === undefined ? packets() : chosen(words[0]);
      if ((options.get('format') ?? 'text') !== 'json') {
        const style = { color: options.has('color'), width: numberOf(options, 'width', 0) };
        return held(list)
          .map((h) => heldText(h, style))
          .join('\n');
      }
      const counts = [...backers()].flatMap((b) => (b.dpif.journeys ? [b.dpif.journeys.breakCounts()] : []));
      const sum = (f: (c: (typeof counts)[number]) => number): number => counts.reduce((n, c) => n + f(c), 0);
      const head = {
        type: 'breaks',
        serial: serial(),
        behind: sum((c) => c.behind),
        overflows: sum((c) => c.overflows),
        passed: sum((c) => c.passed) + all().reduce((n, b) => n + b.passed, 0),
      };
      // Their journeys, once they are over; whoever asks takes them away.
      const stories = options.has('stories')
        ? all().flatMap((b) => [...b.list()].flatMap((p) => p.session.fetch().map((s) => ({ type: 'story', ...s }))))
        : [];
      return [head, ...points(packets()), ...held(list), ...stories]
        .map((line) => `${JSON.stringify(line)}\n`)
        .join('');
    },
  );
  for (const verb of ['continue', 'step', 'drop'] as const) {
    registerCommand(`journey/break-${verb}`, '[PACKET|all]', 0, 1, ([word]) => {
      for (const { breaks, held: h } of chosen(word)) breaks[verb](h.number);
      return '';
    });
  }
  registerCommand('journey/break-edit', 'PACKET FIELD=VALUE...', 2, MANY_ARGS, ([word, ...edits]) => {
    const [{ backer, breaks, held: h }] = chosen(word);
    for (const edit of edits) {
      const error = breaks.edit(h.number, edit);
      if (error !== null) throw new UnixctlError(error);
    }
    return backer.journeys ? `${heldState(backer.journeys, h).flow}\n` : '';
  });
  registerCommand('journey/break-delete', '[BREAK|all]', 0, 1, ([name]) => {
    if (name === 'all') {
      for (const open of [...opened.values()]) close(open);
      for (const breaks of all()) breaks.closeAll();
      return '';
    }
    const open = name === undefined ? [...opened.values()].at(-1) : opened.get(name);
    if (!open) throw new UnixctlError(name === undefined ? 'no breakpoints' : `${name}: no such breakpoint`);
    close(open);
    return '';
  });

  const held = (list: readonly Found[]): HeldState[] =>
    list.flatMap(({ backer, held: h }) => (backer.journeys ? [heldState(backer.journeys, h)] : []));

  /** Those set by commands, and those of programs in this process. */
  const points = (list: readonly Found[]) => {
    const groups = [...opened.values()].map((o) => o.points);
    const known = new Set(groups.flat());
    for (const breaks of all()) for (const point of breaks.list()) if (!known.has(point)) groups.push([point]);
    return groups.map((group) =>
      breakpointState(group, list.filter(({ held: h }) => h.breakpoints.some((b) => group.includes(b))).length),
    );
  };
}

function set(all: readonly Breaks[], args: readonly string[]): string {
  const { options, words } = parseOptions(args);
  const [stages = '', ...filter] = words;
  const limitS = numberOf(options, 'limit', DEFAULT_LIMIT_MS / 1000);
  if (limitS < 1 || limitS > MAX_LIMIT_S) throw new UnixctlError(`--limit: not between 1 and ${MAX_LIMIT_S} seconds`);
  const leaseS = numberOf(options, 'lease', limitS);
  for (const name of options.keys())
    if (!['bridge', 'in-port', 'limit', 'lease'].includes(name)) throw new UnixctlError(`--${name}: unknown option`);
  const bridge = options.get('bridge');
  const inPort = options.get('in-port');
  const wanted: BreakOptions = {
    stages: stages.split(',').map(stageNamed),
    filter: filter.join(','),
    limitMs: limitS * 1000,
    ...(bridge === undefined ? {} : { bridge }),
    ...(inPort === undefined ? {} : { inPort }),
  };
  const made: Breakpoint[] = [];
  let refusal: Error | null = null;
  for (const breaks of all) {
    try {
      made.push(breaks.set(wanted));
    } catch (error) {
      refusal = error as Error;
    }
  }
  // A port or bridge need only be known to one datapath.
  if (made.length === 0) throw new UnixctlError(refusal?.message ?? 'no datapath whose packets can wait');
  const open: Open = { points: made, leaseMs: Math.max(1, leaseS) * 1000, timer: setTimeout(() => {}, 0) };
  opened.set(made[0].name, open);
  remember(open);
  return made[0].name;
}

function stageNamed(text: string): BreakStage {
  const stage = BREAK_STAGES.find((s) => s === text);
  if (!stage) throw new UnixctlError(`${text}: no such stage (${BREAK_STAGES.join(', ')})`);
  return stage;
}

function remember(open: Open): void {
  clearTimeout(open.timer);
  open.timer = setTimeout(() => close(open), open.leaseMs);
  open.timer.unref();
}

/** Somebody is there. */
function touch(): void {
  for (const open of opened.values()) remember(open);
}

function close(open: Open): void {
  clearTimeout(open.timer);
  opened.delete(open.points[0].name);
  for (const point of open.points) point.close();
}

function changed(all: readonly Breaks[], ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    const handles = all.map((b) => b.onChange(done));
    function done(): void {
      clearTimeout(timer);
      for (const handle of handles) handle[Symbol.dispose]();
      resolve();
    }
  });
}
