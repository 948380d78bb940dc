/**
 * The log: modules × destinations (console, syslog, file), each with a level, in the formats and with the options of
 * Open vSwitch (`-v`, `--log-file`, `vlog/set`), so that people's habits and log shippers keep working.
 *
 * A message costs nothing where no destination wants its level: callers with expensive texts ask `isEnabled` first.
 */
import { closeSync, openSync } from 'node:fs';
import { clock } from './clock.ts';
import { errorText } from './errno.ts';
import { setSignalNotice, writeAll } from './fatal.ts';
import { formatLogLine } from './vlog-pattern.ts';

export const LEVELS = ['off', 'emer', 'err', 'warn', 'info', 'dbg'] as const;
export type Level = (typeof LEVELS)[number];
export const DESTINATIONS = ['syslog', 'console', 'file'] as const;
export type Destination = (typeof DESTINATIONS)[number];

const RANK: Readonly<Record<string, number>> = Object.fromEntries(LEVELS.map((level, rank) => [level, rank]));
const INFO = RANK['info'];

/** At most `perMinute` messages a minute, after a first `burst`. */
export interface RateLimit {
  readonly perMinute: number;
  readonly burst?: number;
}

interface Sink {
  emer(text: string): void;
  err(text: string): void;
  warn(text: string): void;
  info(text: string): void;
  dbg(text: string): void;
}

export interface Vlog extends Sink {
  readonly module: string;
  isEnabled(level: Level): boolean;
  /** The same, rate-limited; all that one module sends through the same limit shares one budget. */
  rl(limit?: number | RateLimit): Sink;
}

class Module implements Vlog {
  readonly module: string;
  readonly ranks: Record<Destination, number>;
  honorRateLimits = true;
  private maxRank = 0;
  private readonly limited = new Map<string, Limited>();

  constructor(module: string) {
    this.module = module;
    this.ranks = { ...defaults, ...preset.get(module) };
    this.updateMax();
  }

  setLevel(destination: Destination, level: Level): void {
    this.ranks[destination] = RANK[level];
    this.updateMax();
  }

  isEnabled(level: Level): boolean {
    return RANK[level] <= this.maxRank;
  }

  emer(text: string): void {
    this.log('emer', text);
  }
  err(text: string): void {
    this.log('err', text);
  }
  warn(text: string): void {
    this.log('warn', text);
  }
  info(text: string): void {
    this.log('info', text);
  }
  dbg(text: string): void {
    if (this.maxRank >= 5) this.log('dbg', text);
  }

  rl(limit: number | RateLimit = 1): Sink {
    const perMinute = typeof limit === 'number' ? limit : limit.perMinute;
    const burst = typeof limit === 'number' ? Math.max(limit, 5) : (limit.burst ?? Math.max(limit.perMinute, 1));
    const key = `${perMinute}/${burst}`;
    let limited = this.limited.get(key);
    if (!limited) this.limited.set(key, (limited = new Limited(this, perMinute, burst)));
    return limited;
  }

  log(level: Level, text: string): void {
    if (RANK[level] <= this.maxRank) emit(this, level, text);
  }

  private updateMax(): void {
    const { syslog, console, file } = this.ranks;
    this.maxRank = Math.max(console, logFd >= 0 ? file : 0, syslogSink ? syslog : 0);
  }

  refresh(): void {
    this.updateMax();
  }
}

/** A token bucket in front of a module. */
class Limited implements Sink {
  private readonly module: Module;
  private readonly perMinute: number;
  private readonly burst: number;
  private tokens: number;
  private filledAt = clock.nowMs();
  private dropped = 0;
  private firstDropped = 0;
  private lastDropped = 0;

  constructor(module: Module, perMinute: number, burst: number) {
    this.module = module;
    this.perMinute = perMinute;
    this.burst = burst;
    this.tokens = burst;
  }

  emer(text: string): void {
    this.log('emer', text);
  }
  err(text: string): void {
    this.log('err', text);
  }
  warn(text: string): void {
    this.log('warn', text);
  }
  info(text: string): void {
    this.log('info', text);
  }
  dbg(text: string): void {
    this.log('dbg', text);
  }

  private log(level: Level, text: string): void {
    if (!this.module.isEnabled(level)) return;
    if (this.module.honorRateLimits && !this.take()) return;
    this.module.log(level, text);
  }

  private take(): boolean {
    const now = clock.nowMs();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledAt) * this.perMinute) / 60000);
    this.filledAt = now;
    if (this.tokens < 1) {
      if (this.dropped++ === 0) this.firstDropped = now;
      this.lastDropped = now;
      return false;
    }
    this.tokens--;
    if (this.dropped > 0) {
      const first = Math.round((now - this.firstDropped) / 1000);
      const last = Math.round((now - this.lastDropped) / 1000);
      const n = this.dropped;
      this.dropped = 0;
      this.module.info(
        `Dropped ${n} log messages in last ${first} seconds (most recently, ${last} seconds ago) due to excessive rate`,
      );
    }
    return true;
  }
}

const defaults: Record<Destination, number> = { syslog: INFO, console: INFO, file: INFO };
const preset = new Map<string, Partial<Record<Destination, number>>>();
const modules = new Map<string, Module>();
const patterns: Record<Destination, string> = {
  syslog: 'ovs|%05N|%c%T|%p|%m',
  console: '%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m',
  file: '%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m',
};
let program = 'ovs';
let sequence = 0;
let logPath: string | null = null;
let logFd = -1;
let syslogSink: ((level: Level, line: string) => void) | null = null;
let subprogram = '';

/** The module's log; one object for each name. */
export function vlog(module: string): Vlog {
  return moduleOf(module);
}

function moduleOf(name: string): Module {
  let module = modules.get(name);
  if (!module) modules.set(name, (module = new Module(name)));
  return module;
}

const self = moduleOf('vlog');
setSignalNotice((text) => moduleOf('fatal_signal').warn(text));

function emit(module: Module, level: Level, text: string): void {
  sequence = (sequence + 1) % 1e9;
  const facts = { program, subprogram, module: module.module, level, text, sequence, wallMs: clock.wallMs() };
  const rank = RANK[level];
  if (module.ranks.console >= rank) writeAll(2, `${formatLogLine(patterns.console, facts)}\n`);
  if (logFd >= 0 && module.ranks.file >= rank) writeAll(logFd, `${formatLogLine(patterns.file, facts)}\n`);
  if (syslogSink && module.ranks.syslog >= rank) syslogSink(level, formatLogLine(patterns.syslog, facts));
}

/** Names the program, for the `%A` of patterns. */
export function vlogSetProgram(name: string, thread = ''): void {
  program = name;
  subprogram = thread;
}

/** Sets the level of one module (or all) at one destination (or all). */
export function vlogSetLevels(module: string | null, destination: Destination | null, level: Level): void {
  const where = destination ? [destination] : DESTINATIONS;
  for (const d of where) {
    if (module === null) {
      defaults[d] = RANK[level];
      preset.clear();
      for (const m of modules.values()) m.setLevel(d, level);
    } else {
      preset.set(module, { ...preset.get(module), [d]: RANK[level] });
      modules.get(module)?.setLevel(d, level);
    }
  }
}

export function vlogSetPattern(destination: Destination, pattern: string): void {
  patterns[destination] = pattern;
}

export function vlogGetPattern(destination: Destination): string {
  return patterns[destination];
}

/** Where messages for syslog go; the level and the line, formatted but without syslog's own header. */
export function vlogSetSyslog(sink: ((level: Level, line: string) => void) | null): void {
  syslogSink = sink;
  refresh();
}

/** Starts logging to `path`. Returns an error's text or null. */
export function vlogSetFile(path: string): string | null {
  let fd: number;
  try {
    fd = openSync(path, 'a', 0o640);
  } catch (error) {
    self.warn(`failed to open ${path} for logging: ${errorText(error)}`);
    return errorText(error);
  }
  if (logFd >= 0) {
    self.info('closing log file');
    closeSync(logFd);
  }
  logFd = fd;
  logPath = path;
  refresh();
  self.info(`opened log file ${path}`);
  return null;
}

/** Closes and opens the log file, for log rotation. Returns an error's text or null. */
export function vlogReopen(): string | null {
  return logPath === null ? 'Logging to file not configured' : vlogSetFile(logPath);
}

export function vlogCloseFile(): void {
  if (logFd < 0) return;
  closeSync(logFd);
  logFd = -1;
  refresh();
}

export function vlogFilePath(): string | null {
  return logPath;
}

function refresh(): void {
  for (const module of modules.values()) module.refresh();
}

/** For `vlog/list` and the like. */
export function vlogModules(): { name: string; levels: Record<Destination, Level> }[] {
  return [...modules.values()]
    .map(({ module, ranks }) => ({
      name: module,
      levels: { syslog: LEVELS[ranks.syslog], console: LEVELS[ranks.console], file: LEVELS[ranks.file] },
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Whether a module's rate limits count. False when there is no such module; null names all. */
export function vlogHonorRateLimits(name: string | null, honor: boolean): boolean {
  if (name !== null && !modules.has(name)) return false;
  for (const module of modules.values()) if (name === null || module.module === name) module.honorRateLimits = honor;
  return true;
}

export function vlogHasModule(name: string): boolean {
  return modules.has(name);
}

export { vlogParse } from './vlog-spec.ts';
