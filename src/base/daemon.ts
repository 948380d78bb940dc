/**
 * What makes a program a daemon: `--detach --monitor --pidfile --no-chdir --overwrite-pidfile --user`, as every daemon of
 * Open vSwitch has them. A daemon calls, in this order,
 *
 *     const { options } = getoptOrExit(PROGRAM, argv, [...OWN, ...DAEMON_OPTIONS, ...VLOG_OPTIONS]);
 *     await daemonLaunch(PROGRAM, options);      // goes on only in the process that does the work
 *     for (const option of options) if (!applyDaemonOption(option) && …) …
 *     daemonStart(PROGRAM, { lockFile });        // pidfile
 *     …everything that can fail…
 *     daemonComplete();                          // whoever started it is told that it runs
 *
 * Node can't fork, so a process that detaches runs itself again, as leader of a session of its own, and stays until that
 * says it is ready: it then exits with 0, else with the status of the one that failed, whose messages it has passed on.
 * With `--monitor` the process in between restarts the daemon when it crashes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, readFileSync, renameSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { applyVlogOption } from './common-options.ts';
import { absInDir, ovsRundir } from './dirs.ts';
import { errorText } from './errno.ts';
import { ovsFatal, unlinkAtExit, writeAll } from './fatal.ts';
import type { OptionSpec, ParsedOption } from './getopt.ts';
import { superviseForever } from './monitor-process.ts';
import { guardAgainstExceptions } from './uncaught.ts';
import { vlogSetLevels, vlogSetProgram } from './vlog.ts';

export const DAEMON_OPTIONS: readonly OptionSpec[] = [
  { long: 'detach' },
  { long: 'monitor' },
  { long: 'no-chdir' },
  { long: 'no-self-confinement' },
  { long: 'pidfile', arg: 'optional' },
  { long: 'overwrite-pidfile' },
  { long: 'user', arg: 'required' },
];

export const DAEMON_HELP = (program: string) => `
Daemon options:
  --detach                run in background as daemon
  --monitor               creates a process to monitor this daemon
  --user=username[:group] changes the effective daemon user:group
  --no-chdir              do not chdir to '/'
  --pidfile[=FILE]        create pidfile (default: ${absInDir(ovsRundir(), `${program}.pid`)})
  --overwrite-pidfile     with --pidfile, start even if already running
`;

export interface DaemonHooks {
  /**
   * Locks a file for this process without waiting; throws an error with the owner's `pid` when another has it. The
   * original's programs trust only a locked pidfile.
   */
  readonly lockFile: (path: string) => Disposable;
  /** Does not give up its privileges for `--user`. */
  readonly staysRoot?: boolean;
}

type Role = 'foreground' | 'monitor' | 'daemon';

const ROLE = 'SIGNALBOX_DAEMON_ROLE';
const READY_FD = 3;
const role = (process.env[ROLE] ?? 'foreground') as Role;
delete process.env[ROLE]; // what we start is no daemon of ours

let noChdir = false;
let overwritePidfile = false;
let pidfile: string | null = null;
let user: string | null = null;
let _pidfileLock: Disposable | null = null;

/** Returns in the process that is to do the work; others wait for it, pass on how it ends, and exit. */
export async function daemonLaunch(program: string, options: readonly ParsedOption[]): Promise<void> {
  vlogSetProgram(program);
  const wants = (id: string) => options.some((option) => option.id === id);
  if (wants('help') || wants('version')) return;
  if (role === 'foreground' && wants('detach')) {
    await exitWhenReady(startAgain(wants('monitor') ? 'monitor' : 'daemon', true));
  }
  if (role === 'monitor' || (role === 'foreground' && wants('monitor'))) {
    const openLog = () => {
      for (const option of options) applyVlogOption(program, option);
    };
    await superviseForever(program, {
      start: () => startAgain('daemon', false),
      onReady: role === 'monitor' ? tellReady : () => {},
      onFirstCrash: openLog,
    });
  }
  // `ps` and `pidof` show the program, not what runs it.
  process.title = [program, ...process.argv.slice(2)].join(' ');
}

/** Runs this very program with these very arguments again, in a role. Its descriptor 3 tells when it is ready. */
function startAgain(as: Role, detached: boolean): ChildProcess {
  const script = process.argv[1];
  return spawn(process.execPath, [...process.execArgv, script, ...process.argv.slice(2)], {
    env: { ...process.env, [ROLE]: as },
    detached,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
}

function exitWhenReady(child: ChildProcess): Promise<never> {
  return new Promise(() => {
    child.stdout?.on('data', (bytes: Uint8Array) => writeAll(1, bytes));
    child.stderr?.on('data', (bytes: Uint8Array) => writeAll(2, bytes));
    const ready = child.stdio[READY_FD];
    // What was written before the byte may still be on its way through the other pipes.
    ready?.once('data', () => setImmediate(() => setImmediate(() => process.exit(0))));
    child.on('close', (status, signal) => {
      if (signal !== null) writeAll(2, `${process.argv[1]}: child process died, killed (${signal})\n`);
      process.exit(status ?? 1);
    });
  });
}

function tellReady(): void {
  try {
    writeSync(READY_FD, '\0');
    closeSync(READY_FD);
  } catch {
    // Nobody waits.
  }
}

/** Takes note of one option of `DAEMON_OPTIONS`. False when it is none of them. */
export function applyDaemonOption(program: string, option: ParsedOption): boolean {
  switch (option.id) {
    case 'detach':
    case 'monitor':
    case 'no-self-confinement':
      return true;
    case 'no-chdir':
      noChdir = true;
      return true;
    case 'pidfile':
      pidfile = absInDir(ovsRundir(), option.value ?? `${program}.pid`);
      return true;
    case 'overwrite-pidfile':
      overwritePidfile = true;
      return true;
    case 'user':
      user = option.value;
      return true;
    default:
      return false;
  }
}

/** Creates the pidfile, locked, and lets go of privileges as asked. Exits with a message when it can't. */
export function daemonStart(program: string, hooks: DaemonHooks): void {
  process.umask(0o027);
  if (pidfile !== null) _pidfileLock = makePidfile(program, pidfile, hooks.lockFile);
  if (user !== null && !hooks.staysRoot) becomeUser(program, user);
}

function makePidfile(program: string, path: string, lockFile: DaemonHooks['lockFile']): Disposable {
  if (!overwritePidfile) refuseIfRunning(program, path, lockFile);
  const temporary = `${path}.tmp`;
  try {
    // A descriptor closed after locking would drop the lock, so the content comes first.
    writeFileSync(temporary, `${process.pid}\n`);
    chmodSync(temporary, 0o644);
  } catch (error) {
    ovsFatal(program, `${temporary}: create failed (${errorText(error)})`);
  }
  try {
    const lock = lockFile(temporary);
    renameSync(temporary, path);
    unlinkAtExit(path);
    return lock;
  } catch (error) {
    unlinkSync(temporary);
    return ovsFatal(program, `${temporary}: fcntl(F_SETLK) failed (${errorText(error)})`);
  }
}

function refuseIfRunning(program: string, path: string, lockFile: DaemonHooks['lockFile']): void {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch {
    return;
  }
  try {
    lockFile(path)[Symbol.dispose](); // nobody holds it: it is stale
  } catch (error) {
    const owner = (error as { pid?: number }).pid;
    if (owner !== undefined) {
      ovsFatal(program, `${path}: already running as pid ${owner || Number.parseInt(text, 10)}, aborting`);
    }
    ovsFatal(program, `${path}: pidfile check failed (${errorText(error)}), aborting`);
  }
}

function becomeUser(program: string, spec: string): void {
  const [name, group] = spec.split(':');
  try {
    if (group) process.setgid?.(group);
    if (name) {
      // Missing from the types, not from POSIX.
      (process as { initgroups?: (user: string, group: string | number) => void }).initgroups?.(
        name,
        group || process.getgid?.() || 0,
      );
      process.setuid?.(name);
    }
  } catch (error) {
    ovsFatal(program, `--user=${spec}: ${errorText(error)}`);
  }
}

/** To be called when nothing more can go wrong: releases the terminal and tells whoever waits. */
export function daemonComplete(): void {
  guardAgainstExceptions();
  if (role !== 'daemon') return;
  // The pipes lead to a process that is about to end.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  vlogSetLevels(null, 'console', 'off');
  if (!noChdir) process.chdir('/');
  tellReady();
}
