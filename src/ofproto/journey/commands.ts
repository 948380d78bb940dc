/**
 * `journey/start`, `journey/show`, `journey/stop`, `journey/list`: journeys over the control socket. `signalbox journey` is
 * a client of these.
 *
 * A session that nobody asks for its stories any more ends by itself.
 */
import { MANY_ARGS, registerCommand, UnixctlError } from '../../base/commands.ts';
import type { Backers } from '../commands/find.ts';
import { registerBreakCommands } from './break-commands.ts';
import { registerExplain } from './explain.ts';
import { numberOf, parseOptions } from './options.ts';
import { type JourneyOptions, type JourneySession, ONLY, type Only } from './session.ts';
import { storyText } from './text.ts';

const FORGOTTEN_MS = 60_000;
const MAX_WAIT_MS = 5000;
const MAX_SESSIONS = 16;

interface Open {
  readonly name: string;
  /** One for each datapath. */
  readonly sessions: readonly JourneySession[];
  readonly text: string;
  readonly count: number;
  shown: number;
  timer: NodeJS.Timeout;
}

const sessions = new Map<string, Open>();
let serial = 0;

const START_USAGE =
  '[FILTER] [--count=N] [--bridge=BR] [--in-port=P] [--only=drops|upcalls|slow] [--slow-us=N] [--keep=N]';

export function registerJourneyCommands(backers: Backers): void {
  registerBreakCommands(backers);
  registerExplain(backers);
  registerCommand('journey/start', START_USAGE, 0, MANY_ARGS, (args) => start(backers, args).name);
  registerCommand(
    'journey/show',
    '[SESSION] [--format=text|json] [--wait=MS] [--max=N] [--width=N] [--color]',
    0,
    6,
    show,
  );
  registerCommand('journey/stop', '[SESSION]', 0, 1, ([name]) => {
    const open = find(name);
    close(open);
    return '';
  });
  registerCommand('journey/list', '', 0, 0, (_args, { format }) => {
    const list = [...sessions.values()].map((s) => ({ session: s.name, filter: s.text, ...countsOf(s) }));
    if (format === 'json') return JSON.stringify(list);
    if (list.length === 0) return 'nobody looks for packets\n';
    return list
      .map((s) => `${s.session}: ${s.filter || 'any packet'}: told ${s.told}, lost ${s.lost}, untold ${s.untold}\n`)
      .join('');
  });
}

export interface Counts {
  readonly told: number;
  /** Told, but gone before anybody fetched them. */
  readonly lost: number;
  /** Matched, but passed without a word: others were still being told. */
  readonly untold: number;
  readonly is_open: boolean;
}

function countsOf(open: Open): Counts {
  const sum = (f: (s: JourneySession) => number): number => open.sessions.reduce((n, s) => n + f(s), 0);
  return {
    told: sum((s) => s.told),
    lost: sum((s) => s.lost),
    untold: sum((s) => s.untold),
    is_open: open.sessions.some((s) => s.isOpen),
  };
}

function start(backers: Backers, args: readonly string[]): Open {
  if (sessions.size >= MAX_SESSIONS) throw new UnixctlError(`at most ${MAX_SESSIONS} sessions at a time`);
  const { options, words } = parseOptions(args);
  const journey = optionsOf(options, words.join(','));
  const made: JourneySession[] = [];
  let refusal: Error | null = null;
  for (const backer of backers()) {
    try {
      if (backer.journeys) made.push(backer.journeys.start(journey));
    } catch (error) {
      refusal = error as Error;
    }
  }
  // A port or bridge need only be known to one datapath.
  if (made.length === 0) throw new UnixctlError(refusal?.message ?? 'no datapath whose packets can tell their journey');
  const name = `j${++serial}`;
  const timer = setTimeout(() => {}, 0);
  const open: Open = { name, sessions: made, text: journeyText(journey), count: journey.count ?? 0, shown: 0, timer };
  sessions.set(name, open);
  remember(open);
  return open;
}

function journeyText(j: JourneyOptions): string {
  const parts = [j.filter ?? ''];
  if (j.bridge !== undefined) parts.push(`bridge ${j.bridge}`);
  if (j.inPort !== undefined) parts.push(`in port ${j.inPort}`);
  if (j.only !== undefined && j.only !== 'all') parts.push(`only ${j.only}`);
  return parts.filter((p) => p !== '').join(', ');
}

function remember(open: Open): void {
  clearTimeout(open.timer);
  open.timer = setTimeout(() => close(open), FORGOTTEN_MS);
  open.timer.unref();
}

function close(open: Open): void {
  clearTimeout(open.timer);
  for (const s of open.sessions) s.close();
  sessions.delete(open.name);
}

function find(name: string | undefined): Open {
  const open = name === undefined ? [...sessions.values()].at(-1) : sessions.get(name);
  if (!open) throw new UnixctlError(name === undefined ? 'nobody looks for packets' : `${name}: no such session`);
  return open;
}

/** JSON: first a line of counts, then a line for each story. */
async function show(args: string[]): Promise<string> {
  const { options, words } = parseOptions(args);
  const open = find(words[0]);
  remember(open);
  const ms = Math.min(MAX_WAIT_MS, numberOf(options, 'wait', 0));
  if (ms > 0) await Promise.race(open.sessions.map((s) => s.wait(ms)));
  const max = Math.min(
    numberOf(options, 'max', 1000),
    open.count > 0 ? open.count - open.shown : Number.POSITIVE_INFINITY,
  );
  const stories = open.sessions.flatMap((s) => s.fetch(max)).slice(0, max);
  open.shown += stories.length;
  if ((options.get('format') ?? 'text') === 'json') {
    return [countsOf(open), ...stories].map((item) => `${JSON.stringify(item)}\n`).join('');
  }
  const style = { color: options.has('color'), width: numberOf(options, 'width', 0) };
  return stories.map((story) => storyText(story, style)).join('\n');
}

// ---- arguments ----

const KNOWN = new Set(['count', 'bridge', 'in-port', 'only', 'slow-us', 'keep']);

function optionsOf(options: ReadonlyMap<string, string>, filter: string): JourneyOptions {
  for (const name of options.keys()) if (!KNOWN.has(name)) throw new UnixctlError(`--${name}: unknown option`);
  const only = options.get('only') as Only | undefined;
  if (only !== undefined && !ONLY.includes(only))
    throw new UnixctlError(`--only: ${only}: not one of ${ONLY.join(', ')}`);
  const bridge = options.get('bridge');
  const inPort = options.get('in-port');
  const count = numberOf(options, 'count', 0);
  return {
    filter,
    ...(bridge === undefined ? {} : { bridge }),
    ...(inPort === undefined ? {} : { inPort }),
    ...(only === undefined ? {} : { only }),
    ...(count > 0 ? { count } : {}),
    slowUs: numberOf(options, 'slow-us', 1000),
    keep: numberOf(options, 'keep', 256),
  };
}
