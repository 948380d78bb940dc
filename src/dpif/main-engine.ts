/**
 * PMDs in this thread, stepped when packets arrive or commands are given: one packet at a time, its upcall answered before
 * the next. Beside the one that stands for the main thread there is one for each core of `pmd-cpu-mask` as soon as there is
 * a port for PMDs (`dummy-pmd`), so that a simulation shows what threads would.
 */
import { clock } from '../base/clock.ts';
import { RecordRing } from '../base/record-ring.ts';
import { vlog } from '../base/vlog.ts';
import type { Conntrack } from '../datapath/ct/host.ts';
import { makePmd, type Pmd } from '../datapath/pmd.ts';
import { PmdHost, type RingSizes } from '../datapath/pmd-host.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import { UpcallProducer } from '../datapath/upcall-queue.ts';
import { type Cpu, cpus } from '../linux/cpus.ts';
import { openNetdevPort, reclaimNetdevPort } from '../netdev/index.ts';
import type { Netdev, NetdevEnv, NetdevPort, PortContext } from '../netdev/netdev.ts';
import { FRAME_SIZE, FramePool } from '../packet/frame.ts';
import { allocLarge, MAIN_FRAMES, type PmdEngine, textOf } from './netdev-engine.ts';
import type { PmdConfig } from './pmd-config.ts';
import { type PlannedPort, RxqPlan } from './rxq-plan.ts';

const log = vlog('dpif_netdev');

const RINGS: RingSizes = { commandWords: 1 << 16, upcallWords: 1 << 16 };
const POLL_MS = 1;
const LARGE_FRAMES = 64;

interface Unit {
  readonly host: PmdHost;
  readonly pmd: Pmd;
  readonly cpu: Cpu | null;
}

export class MainEngine implements PmdEngine {
  readonly plan: RxqPlan;
  readonly deaths = 0;
  onUpcall: PmdEngine['onUpcall'] = () => {};
  onLetGo: PmdEngine['onLetGo'] = async () => {};
  onRestart: PmdEngine['onRestart'] = () => {};
  onHostsGone: PmdEngine['onHostsGone'] = () => {};
  private readonly env: NetdevEnv;
  private readonly conntrack: Conntrack;
  private readonly pool: FramePool;
  private readonly main: Unit;
  private pmds: Unit[] = [];
  private readonly halves = new Map<number, NetdevPort>();
  private isRunning = false;
  private timer: NodeJS.Timeout | null = null;

  constructor(env: NetdevEnv, conntrack: Conntrack, config: PmdConfig) {
    this.env = env;
    this.conntrack = conntrack;
    this.plan = new RxqPlan(env.arena, config);
    this.plan.onImprovement = () => void this.rebalance();
    const at = env.arena.alloc(MAIN_FRAMES * FRAME_SIZE, FRAME_SIZE);
    if (at < 0) throw new Error('out of packet memory');
    const large = allocLarge(env, LARGE_FRAMES);
    this.pool = new FramePool(
      env.arena,
      at,
      MAIN_FRAMES,
      MAIN_FRAMES,
      large === null ? null : { ...large, first: 0, share: large.count },
    );
    this.main = this.makeUnit(null);
  }

  private makeUnit(cpu: Cpu | null): Unit {
    const { arena } = this.env;
    const host = new PmdHost(cpu?.core ?? -1, arena, RINGS, cpu?.numa ?? 0);
    const pmd = makePmd({
      arena,
      pool: this.pool,
      commands: new RecordRing(arena, host.commandsAt, RINGS.commandWords, 'consumer'),
      upcalls: new UpcallProducer(arena, host.upcallPlaces),
      controlAt: host.controlAt,
      statsAt: host.statsAt,
      scratchAt: host.scratchAt,
      conntrackAt: this.conntrack.at,
      readClock: (f64, at) => {
        f64[at] = clock.nowMs();
      },
      onControl: () => {},
    });
    arena.f64[host.statsAt + PMD_STAT.STARTED_MS] = clock.nowMs();
    host.kick = () => this.run();
    const unit = { host, pmd, cpu };
    this.applySettings(unit);
    return unit;
  }

  get hosts(): readonly PmdHost[] {
    return [...this.pmds, this.main].map((u) => u.host);
  }

  /** Free frames of the pool; when nothing is under way, all there are. */
  get freeFrames(): number {
    return this.pool.available;
  }

  /** Runs until nothing is left to do. Calls from within (an upcall's answers) are picked up by the running loop. */
  run(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    try {
      while (this.runUnit(this.main) || this.pmds.some((u) => this.runUnit(u)));
    } finally {
      this.isRunning = false;
    }
    for (const { netdev } of this.plan.all()) netdev.afterRun?.();
  }

  private runUnit({ pmd, host }: Unit): boolean {
    // What the last packet's upcall asked for comes before the next packet.
    const n = pmd.runCommands() + pmd.run(1);
    this.conntrack.supply();
    const more = host.drain((record) => this.onUpcall(host, record));
    return n !== 0 || more || pmd.takeUpcalls();
  }

  async start(): Promise<void> {}

  async addPort(no: number, netdev: Netdev): Promise<string | null> {
    try {
      const spec = netdev.portSpec();
      const half = openNetdevPort(spec, this.context());
      const port = this.plan.add(no, netdev, spec);
      if (port === null) {
        half.close();
        return 'Cannot allocate memory';
      }
      this.halves.set(no, half);
    } catch (e) {
      return textOf(e);
    }
    netdev.onRxReady?.(() => this.run());
    this.place();
    this.pollIfNeeded();
    this.run();
    return null;
  }

  private context(): PortContext {
    return { arena: this.env.arena, pool: this.pool, now: () => clock.nowMs() };
  }

  private readonly isForPmds = (port: PlannedPort): boolean => port.netdev.isPmd === true && port.queues.length > 0;

  isPolledByPmd(no: number): boolean {
    const port = this.plan.get(no);
    return this.pmds.length > 0 && port !== undefined && this.isForPmds(port);
  }

  /** Every unit can send to every port; each polls its own queues. */
  private place(): void {
    const planned = [...this.plan.all()];
    this.makePmds(planned.some(this.isForPmds));
    if (this.pmds.length > 0)
      this.plan.assign(
        this.pmds.map((u) => ({ core: u.host.id, numa: u.host.numa, statsAt: u.host.statsAt })),
        this.isForPmds,
      );
    for (const port of planned) {
      const half = this.halves.get(port.no);
      if (half === undefined) continue;
      for (const unit of [this.main, ...this.pmds]) {
        const isOurs = this.isForPmds(port)
          ? (core: number): boolean => core === unit.cpu?.core
          : (): boolean => unit === this.main;
        const queues = port.queues.filter((q) => isOurs(q.core));
        unit.pmd.removePort(port.no, false);
        unit.pmd.addPort(
          port.no,
          half,
          queues.map((q) => q.queue),
          queues.map((q) => q.statAt),
          null,
          port.spec.txClasses?.length,
          port.policerAt,
          port.egressAt,
        );
      }
    }
  }

  /** As the original: PMDs are there while there is a port for them. */
  private makePmds(areNeeded: boolean): void {
    const all = cpus();
    const wanted = areNeeded
      ? (this.plan.config.cores ?? all.filter((c, i) => all.findIndex((o) => o.numa === c.numa) === i))
      : [];
    const gone = this.pmds.filter((u) => !wanted.some((c) => c.core === u.host.id));
    if (gone.length > 0) {
      this.onHostsGone(gone.map((u) => u.host));
      this.run();
      for (const unit of gone) {
        for (const no of this.halves.keys()) unit.pmd.removePort(no, false);
        unit.host.dispose();
        log.info(`PMD thread on numa_id: ${unit.host.numa}, core id: ${String(unit.host.id).padStart(2)} destroyed.`);
      }
    }
    const created = wanted.filter((c) => !this.pmds.some((u) => u.host.id === c.core)).map((c) => this.makeUnit(c));
    if (gone.length === 0 && created.length === 0) return;
    this.pmds = [...this.pmds.filter((u) => !gone.includes(u)), ...created].sort((a, b) => a.host.id - b.host.id);
    for (const { host } of created)
      log.info(`PMD thread on numa_id: ${host.numa}, core id: ${String(host.id).padStart(2)} created.`);
    for (const numa of new Set(this.pmds.map((u) => u.host.numa)))
      log.info(`There are ${this.pmds.filter((u) => u.host.numa === numa).length} pmd threads on numa node ${numa}`);
  }

  /** Devices of the kernel do not call us. */
  private pollIfNeeded(): void {
    const needed = this.main.pmd.rxFds().length > 0 || this.pmds.some((u) => u.pmd.rxFds().length > 0);
    if (needed && !this.timer) this.timer = setInterval(() => this.run(), POLL_MS).unref();
    if (!needed && this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    }
  }

  async removePort(no: number, netdev: Netdev): Promise<void> {
    netdev.onRxReady?.(null);
    const spec = this.plan.get(no)?.spec;
    for (const unit of [this.main, ...this.pmds]) unit.pmd.removePort(no, false);
    this.halves.get(no)?.close();
    this.halves.delete(no);
    this.plan.remove(no);
    netdev.release?.();
    if (spec !== undefined) reclaimNetdevPort(spec, this.context());
    if (this.pmds.length > 0) this.place();
    this.pollIfNeeded();
  }

  private applySettings({ pmd }: Unit): void {
    const { config } = this.plan;
    pmd.setEmcInsertInverseProbability(config.emcInverse);
    pmd.setSmc(config.hasSmc);
    pmd.setVlanLimit(config.vlanLimit);
  }

  async configure(config: PmdConfig): Promise<void> {
    const before = this.plan.config;
    this.plan.config = config;
    for (const unit of [this.main, ...this.pmds]) this.applySettings(unit);
    if (this.pmds.length > 0 && assignsAnew(before, config)) this.place();
  }

  async rebalance(): Promise<void> {
    if (this.pmds.length > 0) this.place();
  }

  async close(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    this.plan.dispose();
    for (const unit of [this.main, ...this.pmds]) for (const no of this.halves.keys()) unit.pmd.removePort(no, false);
    for (const half of this.halves.values()) half.close();
  }
}

/** What of a configuration changes who polls what. */
export function assignsAnew(a: PmdConfig, b: PmdConfig): boolean {
  return (
    a.algorithm !== b.algorithm ||
    a.isolates !== b.isolates ||
    a.cores?.map((c) => c.core).join() !== b.cores?.map((c) => c.core).join()
  );
}
