/**
 * The peer: Debian's Open vSwitch with DPDK, in a sandbox of its own, without huge pages or devices. Packets come from a capture that
 * `net_pcap` holds in memory and copies from for ever; they go out of `net_null`. One PMD thread on the core that is measured;
 * it is stopped (SIGSTOP) while it is not its turn.
 *
 * DPDK's drivers are packages of their own. If they are not installed, `BENCH_DPDK_DRIVERS` names a directory with them, or
 * `BENCH_DPDK_FETCH=1` lets `apt-get download` fetch them into the sandbox; nothing is installed.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Turn } from './measure.ts';
import { ATTACK, ATTACK_FLOWS, framesOf, type Scene } from './memory.ts';
import { until } from './support.ts';

const PROGRAM = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const PACKAGES = [
  'librte-bus-vdev23',
  'librte-bus-pci23',
  'librte-mempool-ring23',
  'librte-net-null23',
  'librte-net-pcap23',
];
/** Its own name, so that a bridge of the machine's user is left alone. */
const BRIDGE = 'sbdpdk0';
const LIBRARIES = ['librte_bus_vdev', 'librte_mempool_ring', 'librte_net_null', 'librte_net_pcap'];

interface Drivers {
  /** Of libraries that are to be loaded first; empty when DPDK finds them itself. */
  readonly dir: string;
}

/** Why there is no peer, or what it takes to start it. */
export function findPeer(): { readonly missing: string } | Drivers {
  if (process.getuid?.() !== 0) return { missing: 'needs root' };
  if (!existsSync(PROGRAM)) return { missing: `no ${PROGRAM} (Debian: openvswitch-switch-dpdk)` };
  if (!existsSync(SCHEMA)) return { missing: `no ${SCHEMA} (Debian: openvswitch-common)` };
  if (globSync('/usr/lib/*/dpdk/pmds-*/librte_net_pcap.so*').length > 0) return { dir: '' };
  const given = process.env.BENCH_DPDK_DRIVERS;
  if (given !== undefined) return { dir: given };
  if (process.env.BENCH_DPDK_FETCH === '1') return { dir: fetchDrivers() };
  return {
    missing: `DPDK's drivers net_pcap and net_null are not installed (Debian: ${PACKAGES.join(' ')}); BENCH_DPDK_FETCH=1 fetches them for this run`,
  };
}

let fetched: string | null = null;

function fetchDrivers(): string {
  if (fetched !== null) return fetched;
  const dir = mkdtempSync(join(tmpdir(), 'sb-dpdk-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  execFileSync('apt-get', ['-qq', 'download', ...PACKAGES], { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] });
  for (const file of readdirSync(dir))
    if (file.endsWith('.deb')) execFileSync('dpkg', ['-x', join(dir, file), join(dir, 'root')]);
  const found = globSync(join(dir, 'root/usr/lib/*/librte_net_pcap.so.*'))[0];
  if (found === undefined) throw new Error('no librte_net_pcap in what apt-get fetched');
  fetched = join(found, '..');
  return fetched;
}

/** A capture of these packets. `pcap-savefile(5)` */
function capture(frames: readonly Uint8Array[]): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65535, 16);
  head.writeUInt32LE(1, 20);
  const parts: Uint8Array[] = [head];
  for (const frame of frames) {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    parts.push(record, frame);
  }
  return Buffer.concat(parts);
}

/** OpenFlow rules that leave just the megaflows of the scene. */
function rules(scene: Scene): string[] {
  if (scene.kind === 'attack')
    return [
      `priority=30,udp,nw_src=10.0.0.1,actions=output:2`,
      `priority=20,udp,tp_src=${ATTACK.source},actions=output:2`,
      `priority=10,udp,tp_dst=${ATTACK.destination},actions=output:2`,
      'priority=0,actions=output:2',
    ];
  if (scene.kind !== 'flows' || scene.cache === 'simple') return ['in_port=1,actions=output:2'];
  const list: string[] = [];
  for (let m = 0; m < scene.masks; m++) {
    const bits = (m * 4).toString(16).padStart(4, '0');
    const match = m === 0 ? '' : `dl_src=00:00:00:00:00:00/00:00:${bits.slice(0, 2)}:${bits.slice(2)}:00:00,`;
    list.push(`table=${m + 1},priority=1,${match}actions=output:2`);
  }
  for (let x = 0; x < scene.flows; x++)
    list.push(
      `table=0,udp,nw_src=10.${x >> 16}.${(x >> 8) & 255}.${x & 255},actions=resubmit(,${1 + (x % scene.masks)})`,
    );
  return list;
}

export class DpdkSwitch implements AsyncDisposable {
  private readonly dir = mkdtempSync(join(tmpdir(), 'sb-bench-'));
  private readonly daemons: ChildProcess[] = [];
  private readonly env: NodeJS.ProcessEnv;
  private thread = '';

  private constructor() {
    const { dir } = this;
    process.once('exit', this.end);
    this.env = { ...process.env, OVS_RUNDIR: dir, OVS_DBDIR: dir, OVS_LOGDIR: dir, OVS_SYSCONFDIR: dir };
  }

  /** Running, its flows made and its caches warm. */
  static async start({ dir }: Drivers, scene: Scene, core: number, otherCore: number): Promise<DpdkSwitch> {
    const s = new DpdkSwitch();
    try {
      await s.boot(dir, scene, core, otherCore);
      await s.forward(scene);
      return s;
    } catch (e) {
      const log = join(s.dir, 'vswitchd.log');
      const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n') : [];
      const why = lines.filter((l) => /\|(ERR|EMER|WARN)\|/.test(l)).slice(-3);
      await s[Symbol.asyncDispose]();
      throw new Error([e instanceof Error ? e.message.split('\n')[0] : String(e), ...why].join('\n  '));
    }
  }

  private async boot(drivers: string, scene: Scene, core: number, otherCore: number): Promise<void> {
    const { dir } = this;
    const db = `unix:${dir}/db.sock`;
    this.run('ovsdb-tool', 'create', join(dir, 'conf.db'), SCHEMA);
    this.spawn('/usr/sbin/ovsdb-server', {}, `--remote=punix:${dir}/db.sock`, join(dir, 'conf.db'));
    await until(() => existsSync(join(dir, 'db.sock')), 'ovsdb-server');
    const cache = scene.kind === 'flows' ? scene.cache : 'megaflow';
    const config = {
      'dpdk-init': 'true',
      'dpdk-extra': '"--no-huge --legacy-mem --no-shconf --no-pci -m 1024 --no-telemetry"',
      'dpdk-lcore-mask': `0x${(1 << otherCore).toString(16)}`,
      'pmd-cpu-mask': `0x${(1 << core).toString(16)}`,
      'emc-insert-inv-prob': cache === 'emc' ? (scene.kind === 'flows' && scene.flows > 8192 ? 100 : 1) : 0,
      'smc-enable': cache === 'smc',
      'max-idle': 3_600_000,
      'flow-limit': 1_000_000,
    };
    this.vsctl(
      '--no-wait',
      'init',
      '--',
      'set',
      'Open_vSwitch',
      '.',
      ...Object.entries(config).map(([k, v]) => `other_config:${k}=${v}`),
    );
    const env =
      drivers === ''
        ? {}
        : { LD_LIBRARY_PATH: drivers, LD_PRELOAD: LIBRARIES.map((l) => libraryIn(drivers, l)).join(' ') };
    this.spawn(PROGRAM, env, db, `--log-file=${dir}/vswitchd.log`, `--unixctl=${dir}/vswitchd.ctl`);
    await until(
      () =>
        existsSync(join(dir, 'vswitchd.ctl')) ||
        this.daemons[1]?.exitCode !== null ||
        this.daemons[1]?.signalCode !== null,
      'ovs-vswitchd',
    );
    if (this.daemons[1]?.exitCode !== null || this.daemons[1]?.signalCode !== null)
      throw new Error('ovs-vswitchd-dpdk does not start');
  }

  private async forward(scene: Scene): Promise<void> {
    const file = join(this.dir, 'in.pcap');
    writeFileSync(file, capture(framesOf(scene)));
    const port = (name: string, no: number, args: string): string[] => [
      '--',
      'add-port',
      BRIDGE,
      name,
      '--',
      'set',
      'Interface',
      name,
      'type=dpdk',
      `ofport_request=${no}`,
      `options:dpdk-devargs=${args}`,
    ];
    this.vsctl(
      'add-br',
      BRIDGE,
      '--',
      'set',
      'Bridge',
      BRIDGE,
      'datapath_type=netdev',
      'fail_mode=secure',
      ...port('out', 2, 'net_null0,no-rx=1'),
    );
    const list = join(this.dir, 'rules');
    writeFileSync(list, `${rules(scene).join('\n')}\n`);
    this.run('ovs-ofctl', '--bundle', 'add-flows', BRIDGE, list);
    // It would begin with 10 000 and allow itself a thousand more twice a second.
    this.appctl('upcall/set-flow-limit', '1000000');
    // The packets come last, or what they did before there were rules would be megaflows too.
    this.vsctl(...port('in', 1, `net_pcap0,rx_pcap=${file},infinite_rx=1`).slice(1));
    await until(() => this.pmdThread() !== '', 'the PMD thread');
    this.thread = this.pmdThread();
    const wanted =
      scene.kind === 'attack'
        ? scene.victim
          ? 1
          : ATTACK_FLOWS
        : scene.kind === 'flows' && scene.cache !== 'simple'
          ? scene.flows
          : 1;
    // Until all flows are there and no packet misses any more.
    let missed = -1;
    await until(
      () => {
        const now = this.stat('miss with success upcall') + this.stat('miss with failed upcall');
        const flows = Number(/current (\d+)/.exec(this.appctl('upcall/show'))?.[1] ?? 0);
        const isReady = now === missed && flows >= wanted;
        missed = now;
        if (!isReady) execFileSync('sleep', ['0.3']);
        return isReady;
      },
      'flows',
      180_000,
    );
    this.appctl('dpif-netdev/pmd-stats-clear');
    await new Promise((resolve) => setTimeout(resolve, 300));
  }

  private pmdThread(): string {
    const tasks = `/proc/${this.daemons[1]?.pid}/task`;
    return readdirSync(tasks).find((t) => readFileSync(join(tasks, t, 'comm'), 'utf8').startsWith('pmd-c')) ?? '';
  }

  private stat(name: string): number {
    const text = this.appctl('dpif-netdev/pmd-stats-show');
    return Number(new RegExp(`${name}: (\\d+)`).exec(text)?.[1] ?? 0);
  }

  /** The share of `cache`'s hits, and subtables asked by megaflow hits. */
  hits(): string {
    const text = this.appctl('dpif-netdev/pmd-stats-show');
    const of = (name: string): number => Number(new RegExp(`${name}: ([\\d.]+)`).exec(text)?.[1] ?? 0);
    const names = ['simple match hits', 'emc hits', 'smc hits', 'megaflow hits'];
    const all = names.reduce((n, name) => n + of(name), 0);
    const best = names.reduce((a, b) => (of(b) > of(a) ? b : a));
    const tables = best === 'megaflow hits' ? `, ${of('avg. subtable lookups per megaflow hit')} subtables` : '';
    return `${best} ${((of(best) / Math.max(1, all)) * 100).toFixed(0)} %${tables}`;
  }

  pause(): void {
    process.kill(this.daemons[1]?.pid ?? 0, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.daemons[1]?.pid ?? 0, 'SIGCONT');
  }

  async turn(ms: number): Promise<Turn> {
    const schedstat = `/proc/${this.daemons[1]?.pid}/task/${this.thread}/schedstat`;
    const cpu = (): number => Number(readFileSync(schedstat, 'utf8').split(' ')[0]);
    const packets = this.stat('packets received');
    const before = cpu();
    await new Promise((resolve) => setTimeout(resolve, ms));
    const received = this.stat('packets received') - packets;
    return { packets: received, ns: cpu() - before };
  }

  private run(name: string, ...args: string[]): string {
    return execFileSync(`/usr/bin/${name}`, args, {
      env: this.env,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  private appctl(...args: string[]): string {
    return this.run('ovs-appctl', '-t', join(this.dir, 'vswitchd.ctl'), ...args);
  }

  private vsctl(...args: string[]): void {
    this.run('ovs-vsctl', `--db=unix:${this.dir}/db.sock`, '--timeout=60', ...args);
  }

  private spawn(path: string, more: NodeJS.ProcessEnv, ...args: string[]): void {
    const child = spawn(path, ['-vconsole:off', ...args], {
      cwd: this.dir,
      env: { ...this.env, ...more },
      stdio: 'ignore',
    });
    this.daemons.push(child);
  }

  /** Nothing stays, whatever ends us. */
  private readonly end = (): void => {
    for (const d of this.daemons) d.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  };

  async [Symbol.asyncDispose](): Promise<void> {
    const alive = this.daemons.filter((d) => d.exitCode === null && d.signalCode === null);
    const gone = alive.map((d) => new Promise((resolve) => d.once('exit', resolve)));
    this.end();
    await Promise.all(gone);
    process.removeListener('exit', this.end);
  }
}

function libraryIn(dir: string, name: string): string {
  const file = readdirSync(dir).find((f) => f.startsWith(`${name}.so`));
  if (file === undefined) throw new Error(`no ${name} in ${dir}`);
  return join(dir, file);
}
