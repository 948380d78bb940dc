/**
 * A switch in a directory of its own: database, daemon, sockets, all simulated devices. Either the original's programs or
 * ours, so that a test can run the same commands against both and compare.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const ORIGINALS = ['ovsdb-server', 'ovsdb-tool', 'ovs-vswitchd', 'ovs-vsctl', 'ovs-ofctl', 'ovs-appctl'];
const START_MS = 15_000;

export interface Result {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface Sandbox {
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs one of the original's clients against this switch. */
  run(program: string, ...args: string[]): Result;
  /** The same in the background; `stop` ends it and gives what it printed. */
  watch(program: string, ...args: string[]): { text(): string; stop(): void };
  log(): string;
  stop(): void;
}

/** What of the original is missing, or null. */
export function missingOriginal(): string | null {
  for (const program of ORIGINALS) {
    if (spawnSync(program, ['--version']).error) return `${program} is not installed`;
  }
  return existsSync(SCHEMA) ? null : `${SCHEMA} is not there`;
}

/** `kind` says whose `ovs-vswitchd` runs; the database server is the original's in both. */
export async function startSandbox(kind: 'original' | 'ours', dummy = '--enable-dummy=override'): Promise<Sandbox> {
  const dir = mkdtempSync(join(tmpdir(), `sbx-${kind}-`));
  const env = {
    ...process.env,
    OVS_RUNDIR: dir,
    OVS_LOGDIR: dir,
    OVS_DBDIR: dir,
    OVS_SYSCONFDIR: dir,
  };
  const children: ChildProcess[] = [];
  const start = (command: string, args: string[]): void => {
    children.push(spawn(command, args, { env, stdio: 'ignore' }));
  };
  const run = (program: string, ...args: string[]): Result => {
    const r = spawnSync(program, args, { env, encoding: 'utf8', timeout: 20_000 });
    return { status: r.status ?? -1, out: r.stdout, err: r.stderr };
  };
  const sandbox: Sandbox = {
    dir,
    env,
    run,
    watch(program, ...args) {
      let text = '';
      const child = spawn(program, args, { env });
      children.push(child);
      child.stdout.on('data', (chunk) => (text += chunk));
      child.stderr.on('data', (chunk) => (text += chunk));
      return { text: () => text, stop: () => void child.kill() };
    },
    log: () => (existsSync(join(dir, 'ovs-vswitchd.log')) ? readFileSync(join(dir, 'ovs-vswitchd.log'), 'utf8') : ''),
    stop() {
      for (const child of children.reverse()) child.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    },
  };
  const db = `unix:${join(dir, 'db.sock')}`;
  run('ovsdb-tool', 'create', join(dir, 'conf.db'), SCHEMA);
  start('ovsdb-server', [join(dir, 'conf.db'), `--remote=p${db}`, '--no-chdir']);
  await until(() => existsSync(join(dir, 'db.sock')), 'the database server');
  run('ovs-vsctl', '--no-wait', `--db=${db}`, 'init');
  const options = [dummy, '--disable-system', '--pidfile', '--log-file', db];
  if (kind === 'original') start('ovs-vswitchd', options);
  else start(join(ROOT, 'scripts', 'node26'), [join(ROOT, 'src', 'tools', 'ovs-vswitchd.ts'), ...options]);
  await until(() => existsSync(join(dir, 'ovs-vswitchd.pid')), 'ovs-vswitchd');
  await until(() => run('ovs-appctl', '-t', 'ovs-vswitchd', 'version').status === 0, 'the control socket');
  return sandbox;
}

/** Waits for a condition; fails the test when it does not come. */
export async function until(condition: () => boolean, what: string, ms = START_MS): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what} did not come within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
