/** What the benchmarks share: a switch of either make in a sandbox of its own, and tables of ratios. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getLink } from '../src/linux/link.ts';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const GENERATED = join(ROOT, 'schema', 'vswitch.ovsschema');
/** Both makes serve the same schema. */
export const SCHEMA = existsSync(GENERATED) ? GENERATED : '/usr/share/openvswitch/vswitch.ovsschema';

export type Make = 'original' | 'signalbox';

/** A database server and a switch, of one make, with the tools of the same make. */
export class Switch implements AsyncDisposable {
  readonly make: Make;
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
  private readonly daemons: ChildProcess[] = [];

  private constructor(make: Make) {
    this.make = make;
    this.dir = mkdtempSync(join(tmpdir(), 'sb-bench-'));
    const where = { OVS_RUNDIR: this.dir, OVS_DBDIR: this.dir, OVS_LOGDIR: this.dir, OVS_SYSCONFDIR: this.dir };
    this.env = { ...process.env, ...where };
  }

  /** `config` is of `Open_vSwitch`, as `ovs-vsctl set` takes it, and there before the switch starts. */
  static async start(
    make: Make,
    vswitchdOptions: readonly string[] = ['--disable-system'],
    config: readonly string[] = [],
  ): Promise<Switch> {
    const s = new Switch(make);
    s.run('ovsdb-tool', 'create', join(s.dir, 'conf.db'), SCHEMA);
    s.spawn('ovsdb-server', `--remote=punix:${s.dir}/db.sock`, join(s.dir, 'conf.db'));
    await until(() => existsSync(join(s.dir, 'db.sock')), 'ovsdb-server');
    s.run('ovs-vsctl', '--no-wait', 'init');
    if (config.length > 0) s.run('ovs-vsctl', '--no-wait', 'set', 'open', '.', ...config);
    s.spawn('ovs-vswitchd', ...vswitchdOptions, `unix:${s.dir}/db.sock`);
    await until(() => s.tryRun('ovs-appctl', '-t', s.control(), 'version').status === 0, 'ovs-vswitchd');
    return s;
  }

  /** The path of a program of this make. */
  program(name: string): string {
    if (this.make === 'signalbox') return join(ROOT, 'bin', name);
    return name === 'ovsdb-server' || name === 'ovs-vswitchd' ? `/usr/sbin/${name}` : `/usr/bin/${name}`;
  }

  run(name: string, ...args: string[]): string {
    return execFileSync(this.program(name), args, { env: this.env, encoding: 'utf8', maxBuffer: 1 << 30 });
  }

  /** The same program for both makes: Debian's. */
  runOriginal(name: string, ...args: string[]): string {
    return execFileSync(`/usr/bin/${name}`, args, { env: this.env, encoding: 'utf8', maxBuffer: 1 << 30 });
  }

  tryRun(name: string, ...args: string[]): { status: number | null } {
    return spawnSync(this.program(name), args, { env: this.env, stdio: 'ignore' });
  }

  appctl(...args: string[]): string {
    return this.run('ovs-appctl', '-t', this.control(), ...args);
  }

  get vswitchdPid(): number {
    return this.daemons[1]?.pid ?? 0;
  }

  private control(): string {
    return join(this.dir, 'vswitchd.ctl');
  }

  private spawn(name: string, ...args: string[]): void {
    const control = name === 'ovs-vswitchd' ? [`--unixctl=${this.control()}`] : [];
    const child = spawn(this.program(name), [...control, '-vconsole:off', ...args], { env: this.env, stdio: 'ignore' });
    this.daemons.push(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const d of this.daemons.reverse()) {
      const gone = new Promise((resolve) => d.once('exit', resolve));
      if (d.exitCode === null && d.kill('SIGTERM')) await gone;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function until(condition: () => boolean, what: string, ms = 20000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what}: not ready after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? 0;
}

export function machine(): string {
  const model = cpus()[0]?.model ?? 'unknown CPU';
  return `${cpus().length} cores of ${model}, Linux ${execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim()}, Node ${process.version}`;
}

/** Prints rows as a Markdown table. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [head, head.map(() => '---'), ...rows];
  for (const row of all) console.log(`| ${row.join(' | ')} |`);
  console.log();
}

/** Makes rows that compare one figure of both makes. */
export function comparing<F>(theirs: F, ours: F) {
  return (name: string, get: (f: F) => number, unit: (v: number) => string): string[] => [
    name,
    unit(get(theirs)),
    unit(get(ours)),
    ratio(get(ours), get(theirs)),
  ];
}

/** Veth pairs, up and quiet, for as long as `body` runs. */
export async function withVeths<T>(pairs: readonly (readonly [string, string])[], body: () => Promise<T>): Promise<T> {
  const ip = (...args: string[]): void => void execFileSync('ip', args);
  const cleanUp = (): void => {
    for (const [a] of pairs) if (getLink(a)) ip('link', 'del', a);
  };
  cleanUp();
  try {
    for (const [a, b] of pairs) {
      ip('link', 'add', a, 'type', 'veth', 'peer', 'name', b);
      for (const n of [a, b]) {
        execFileSync('sysctl', ['-qw', `net.ipv6.conf.${n}.disable_ipv6=1`]);
        ip('link', 'set', n, 'up');
      }
    }
    return await body();
  } finally {
    cleanUp();
  }
}

export const mpps = (pps: number): string => `${(pps / 1e6).toFixed(2)} Mpps`;
export const ratio = (ours: number, theirs: number): string => `${(ours / theirs).toFixed(2)} ×`;
