/**
 * A directory with an Open vSwitch world of its own — sockets, pidfiles, database, logs — in which programs run, theirs (C)
 * and ours, in any mixture. Whatever was started in it is killed, and the directory removed, when it is disposed of.
 *
 *     await using sb = await Sandbox.create();
 *     await sb.createDb();
 *     await sb.startC('ovsdb-server');
 *     await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
 *     const { stdout } = await sb.c('ovs-vsctl', 'show');
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BIN, type Result, type RunOptions, run, systemProgram, until } from './run.ts';

export { BIN, haveProgram, missing, must, notRoot, type Result, ROOT, run, systemProgram, until } from './run.ts';

export const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

export class Daemon {
  readonly name: string;
  readonly process: ChildProcess;
  /** What it has written to standard error so far, its log to the console. */
  stderr = '';
  stdout = '';
  exit: { status: number | null; signal: NodeJS.Signals | null } | null = null;

  constructor(name: string, process: ChildProcess) {
    this.name = name;
    this.process = process;
    process.stdout?.on('data', (b: Buffer) => (this.stdout += b));
    process.stderr?.on('data', (b: Buffer) => (this.stderr += b));
    process.on('exit', (status, signal) => (this.exit = { status, signal }));
    process.on('error', (error) => {
      this.stderr += error.message;
      this.exit = { status: -1, signal: null };
    });
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  /** Sends a signal and waits for the end. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.exit) return;
    this.process.kill(signal);
    try {
      await until(() => this.exit, 5000, `${this.name} ends on ${signal}`);
    } catch (error) {
      this.process.kill('SIGKILL');
      throw error;
    }
  }
}

export class Sandbox implements AsyncDisposable {
  readonly dir: string;
  readonly env: Readonly<Record<string, string>>;
  private readonly daemons: Daemon[] = [];

  private constructor(dir: string) {
    this.dir = dir;
    this.env = {
      OVS_RUNDIR: dir,
      OVS_LOGDIR: dir,
      OVS_DBDIR: dir,
      OVS_SYSCONFDIR: dir,
      OVS_PKGDATADIR: '/usr/share/openvswitch',
    };
  }

  static async create(): Promise<Sandbox> {
    return new Sandbox(mkdtempSync(join(tmpdir(), 'sb-')));
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  read(name: string): string {
    return readFileSync(this.path(name), 'utf8');
  }

  /** `unix:` of the database's socket. */
  get db(): string {
    return `unix:${this.path('db.sock')}`;
  }

  /** Runs the original's program. Rejects when it isn't installed. */
  c(program: string, ...args: string[]): Promise<Result> {
    return this.runC(program, args);
  }

  /** Runs ours. */
  ours(program: string, ...args: string[]): Promise<Result> {
    return this.runOurs(program, args);
  }

  runC(program: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run(cPath(program), args, {
      cwd: this.dir,
      argv0: program,
      ...options,
      env: { ...this.env, ...options.env },
    });
  }

  runOurs(program: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run(join(BIN, program), args, { cwd: this.dir, ...options, env: { ...this.env, ...options.env } });
  }

  /** Makes an empty `conf.db` with the original's tool, of the given schema. */
  async createDb(schema = SCHEMA, name = 'conf.db'): Promise<string> {
    const tool = systemProgram('ovsdb-tool') ?? join(BIN, 'ovsdb-tool');
    const { status, stderr } = await run(tool, ['create', this.path(name), schema], { env: this.env });
    if (status !== 0) throw new Error(`ovsdb-tool create: ${stderr}`);
    return this.path(name);
  }

  /** Starts the original's daemon and waits until it is ready. See `start`. */
  startC(program: string, args: readonly string[] = [], options: StartOptions = {}): Promise<Daemon> {
    return this.start(cPath(program), program, args, options);
  }

  /** Starts ours and waits until it is ready. See `start`. */
  startOurs(program: string, args: readonly string[] = [], options: StartOptions = {}): Promise<Daemon> {
    return this.start(join(BIN, program), program, args, options);
  }

  /**
   * Runs a daemon in the foreground with a pidfile and a log file. `ovsdb-server` listens on `db.sock` and serves
   * `conf.db`, unless `args` name a remote or a database; `ovs-vswitchd` connects to `db.sock` unless `args` name one. Ready
   * is when it answers on its control socket (and `db.sock` accepts connections).
   */
  private async start(path: string, program: string, args: readonly string[], options: StartOptions): Promise<Daemon> {
    const all = ['--pidfile', '--log-file', ...(options.console ? [] : ['-vconsole:off']), ...args];
    const named = args.some((arg) => !arg.startsWith('-'));
    const isConfigured = args.some((arg) => arg.startsWith('--config-file'));
    if (program === 'ovsdb-server' && !isConfigured) {
      if (!args.some((arg) => arg.startsWith('--remote'))) all.push(`--remote=punix:${this.path('db.sock')}`);
      if (!named) all.push(this.path('conf.db'));
    } else if (program === 'ovs-vswitchd' && !named) {
      all.push(this.db);
    }
    const [command, ...before] = [...(options.prefix ?? []), path];
    const child = spawn(command, [...before, ...all], {
      cwd: this.dir,
      env: { ...process.env, ...this.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const daemon = new Daemon(program, child);
    this.daemons.push(daemon);
    killAtExit(child);
    // A test that fails before it can dispose of its sandbox must not keep its process, and with it the whole run, alive.
    child.unref();
    for (const pipe of [child.stdout, child.stderr]) if (pipe instanceof Socket) pipe.unref();
    const ready = async () => {
      if (daemon.exit) return true;
      const pid = Number.parseInt(this.read(`${program}.pid`), 10);
      if (pid !== daemon.pid && options.ownPid !== false) return false;
      if (!(await accepts(this.path(`${program}.${pid}.ctl`)))) return false;
      return (
        program !== 'ovsdb-server' ||
        !all.includes(`--remote=punix:${this.path('db.sock')}`) ||
        accepts(this.path('db.sock'))
      );
    };
    await until(ready, options.timeoutMs ?? 15_000, `${program} is ready\n${this.log(program)}${daemon.stderr}`);
    if (daemon.exit)
      throw new Error(`${program} ended with status ${daemon.exit.status}\n${this.log(program)}${daemon.stderr}`);
    return daemon;
  }

  /** What a daemon has logged, or nothing. */
  log(program: string): string {
    const path = this.path(`${program}.log`);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Ends everything that was started here, the last first. */
  async killAll(signal: NodeJS.Signals): Promise<void> {
    for (const daemon of this.daemons.splice(0).reverse()) await daemon.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const graceful = this.daemons.toReversed();
    for (const daemon of graceful) {
      if (daemon.exit) continue;
      // In order first: a switch takes its devices and namespaces' ports with it.
      await daemon.kill('SIGTERM').catch(() => daemon.kill('SIGKILL'));
    }
    this.killDetached();
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Daemons that were started with --detach are known by their pidfiles. */
  private killDetached(): void {
    for (const name of ['ovs-vswitchd', 'ovsdb-server', 'ovs-testcontroller', 'signalbox']) {
      const path = this.path(`${name}.pid`);
      if (!existsSync(path)) continue;
      const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
      try {
        if (pid > 1 && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(this.dir)) process.kill(pid, 'SIGKILL');
      } catch {
        // Gone.
      }
    }
  }
}

const running = new Set<ChildProcess>();
let listensForExit = false;

/** A test that is broken off leaves nothing running. */
function killAtExit(child: ChildProcess): void {
  if (!listensForExit) process.once('exit', () => running.forEach((c) => void c.kill('SIGKILL')));
  listensForExit = true;
  running.add(child);
  child.on('exit', () => running.delete(child));
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** Words before the command, such as those that run it in a network namespace. */
  readonly prefix?: readonly string[];
  /** Keep the log on the console, for `daemon.stderr`. */
  readonly console?: boolean;
  /** False when the pidfile names another process than the one started. */
  readonly ownPid?: boolean;
}

function cPath(program: string): string {
  const path = systemProgram(program);
  if (!path) throw new Error(`${program} is not installed`);
  return path;
}

/** Whether something listens on a Unix socket. */
export function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
