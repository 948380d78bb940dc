/** Programs of both families run in a directory of their own: `OVS_RUNDIR` and its siblings point there, and all that was started is stopped. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const ROOT = new URL('../..', import.meta.url).pathname;
export const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

/** Where the original's program is, or null. */
export function original(program: string): string | null {
  for (const dir of ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin']) {
    if (existsSync(join(dir, program))) return join(dir, program);
  }
  return null;
}

/** The command line of our own program, run from source. */
export function ours(program: string): string[] {
  return [join(ROOT, 'scripts/node26'), join(ROOT, 'src/tools', `${program}.ts`)];
}

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Sandbox implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'sbx-'));
  private readonly children: ChildProcess[] = [];

  get env(): NodeJS.ProcessEnv {
    const { dir } = this;
    return {
      ...process.env,
      OVS_RUNDIR: dir,
      OVS_LOGDIR: dir,
      OVS_DBDIR: dir,
      OVS_SYSCONFDIR: dir,
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(tmpdir(), 'signalbox-test-cache'),
    };
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  run(command: readonly string[], args: readonly string[] = [], timeoutMs = 10000): Ran {
    const [program, ...first] = command;
    const ran = spawnSync(program, [...first, ...args], { env: this.env, encoding: 'utf8', timeout: timeoutMs });
    return { status: ran.status, stdout: ran.stdout ?? '', stderr: ran.stderr ?? '' };
  }

  /** Starts a program that stays; it is ended with the sandbox. */
  start(command: readonly string[], args: readonly string[] = []): ChildProcess {
    const [program, ...first] = command;
    const child = spawn(program, [...first, ...args], { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.resume();
    child.stderr.resume();
    this.children.push(child);
    return child;
  }

  /** A server of a new vswitch database at `db.sock`. */
  async startOvsdb(command: readonly string[]): Promise<ChildProcess> {
    const db = this.path('conf.db');
    if (!existsSync(db)) this.run([original('ovsdb-tool')!, 'create', db, SCHEMA]); // Callers have looked for the original.
    const child = this.start(command, [`--remote=punix:${this.path('db.sock')}`, '--no-chdir', '-vconsole:off', db]);
    await until('ovsdb-server listens', () => existsSync(this.path('db.sock')));
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.children.map(stop));
    rmSync(this.dir, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    for (const child of this.children) child.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Ends a program and waits for it: kindly, then not. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
  await gone;
  clearTimeout(timer);
}

/** Polls until `condition` holds or fails after `timeoutMs`, saying what did not happen. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
