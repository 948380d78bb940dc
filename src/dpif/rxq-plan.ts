/**
 * The receive queues of a datapath, what their packets cost, and which PMD polls each. It decides; the engines carry out.
 *
 * Every five seconds what PMDs have counted becomes an interval; the last twelve are the minute that assignment, rebalancing
 * and `pmd-rxq-show` look at.
 */
import type { Arena } from '../base/arena.ts';
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { PMD_STAT, RXQ_STAT, RXQ_STATS_BYTES } from '../datapath/pmd-stats.ts';
import { POLICER_BYTES, setEgressPolicer, setPolicer } from '../datapath/policer.ts';
import type { Netdev, PortSpec } from '../netdev/netdev.ts';
import type { PmdConfig } from './pmd-config.ts';
import {
  type Assignment,
  assignRxqs,
  loadVariance,
  type PmdToFill,
  parseAffinity,
  type RxqToAssign,
} from './rxq-assign.ts';

const log = vlog('dpif_netdev');

export const INTERVAL_MS = 5000;
export const INTERVALS = 12;

/** A PMD as the plan sees it. */
export interface PlannedPmd extends PmdToFill {
  /** Float64 index of its counters. */
  readonly statsAt: number;
}

export interface PlannedPort {
  readonly no: number;
  readonly netdev: Netdev;
  readonly spec: PortSpec;
  readonly queues: readonly PlannedQueue[];
  /** Word indices: of what it may receive, and send. */
  readonly policerAt: number;
  readonly egressAt: number;
  /** What its policers were last set to. */
  limits: string;
}

export interface PlannedQueue {
  readonly no: number;
  readonly queue: number;
  /** Float64 index of its `RXQ_STAT`. */
  readonly statAt: number;
  /** Nanoseconds of the last intervals, newest last. */
  readonly history: number[];
  counted: number;
  /** The core that polls it, or -1. */
  core: number;
}

type Candidate = RxqToAssign & { readonly of: PlannedQueue };

interface PmdLoad {
  busy: number;
  total: number;
  readonly history: { busy: number; total: number }[];
  isIsolated: boolean;
}

/** A line of `pmd-rxq-show`. Percentages are null while nothing has been measured. */
export interface PmdView {
  readonly core: number;
  readonly numa: number;
  readonly isIsolated: boolean;
  readonly rxqs: readonly {
    readonly port: string;
    readonly queue: number;
    readonly packets: number;
    readonly isEnabled: boolean;
    readonly percent: number | null;
  }[];
  readonly overhead: number | null;
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

export class RxqPlan {
  config: PmdConfig;
  /** Something better than the present assignment was found. */
  onImprovement: () => void = () => {};
  private readonly arena: Arena;
  private readonly ports = new Map<number, PlannedPort>();
  private pmds: readonly PlannedPmd[] = [];
  private loads = new Map<number, PmdLoad>();
  /** Whole intervals since the queues were last assigned. */
  private measured = 0;
  private overloaded = 0;
  private balancedAtMs = clock.nowMs();
  private timer: Disposable;

  constructor(arena: Arena, config: PmdConfig) {
    this.arena = arena;
    this.config = config;
    this.timer = this.startTimer();
  }

  private startTimer(): Disposable {
    return clock.setInterval(() => this.sample(), INTERVAL_MS, { keepAlive: false });
  }

  dispose(): void {
    this.timer[Symbol.dispose]();
    for (const no of [...this.ports.keys()]) this.remove(no);
  }

  get(no: number): PlannedPort | undefined {
    return this.ports.get(no);
  }

  all(): Iterable<PlannedPort> {
    return this.ports.values();
  }

  /** Null when memory is out. */
  add(no: number, netdev: Netdev, spec: PortSpec): PlannedPort | null {
    const queues: PlannedQueue[] = [];
    for (let queue = 0; queue < spec.nRxq; queue++) {
      const at = this.arena.alloc(RXQ_STATS_BYTES);
      if (at < 0) return null;
      queues.push({ no, queue, statAt: at >> 3, history: [], counted: 0, core: -1 });
    }
    const policer = this.arena.alloc(POLICER_BYTES);
    const egress = this.arena.alloc(POLICER_BYTES);
    if (policer < 0 || egress < 0) return null;
    const port: PlannedPort = { no, netdev, spec, queues, policerAt: policer >> 2, egressAt: egress >> 2, limits: '' };
    this.ports.set(no, port);
    this.police(no);
    return port;
  }

  remove(no: number): void {
    const port = this.ports.get(no);
    if (port === undefined) return;
    this.ports.delete(no);
    for (const q of port.queues) this.arena.free(q.statAt << 3, RXQ_STATS_BYTES);
    this.arena.free(port.policerAt << 2, POLICER_BYTES);
    this.arena.free(port.egressAt << 2, POLICER_BYTES);
  }

  /** Takes the limits of what the port may receive and send from its device. */
  police(no: number): void {
    const port = this.ports.get(no);
    if (port === undefined) return;
    const { policing, qos } = port.netdev;
    // Setting limits fills the buckets: only when they are others.
    const limits = JSON.stringify([policing, qos?.egress.cir, qos?.egress.cbs]);
    if (limits === port.limits) return;
    port.limits = limits;
    if (policing) setPolicer(this.arena.i32, port.policerAt, policing);
    if (qos) setEgressPolicer(this.arena.i32, port.egressAt, qos.egress.cir, qos.egress.cbs);
  }

  /** Gives every queue of the ports that `isPlanned` a core, and says so in the log. */
  assign(pmds: readonly PlannedPmd[], isPlanned: (port: PlannedPort) => boolean = () => true): void {
    this.pmds = pmds;
    const result = this.plan(pmds, isPlanned);
    for (const { level, text } of result.log) log[level](text);
    for (const port of this.ports.values()) if (isPlanned(port)) for (const q of port.queues) q.core = -1;
    const loads = new Map<number, PmdLoad>();
    for (const [i, pmd] of result.pmds.entries()) {
      for (const { of } of pmd.rxqs) of.core = pmd.core;
      loads.set(pmd.core, { ...this.countedBy(pmds[i]), history: [], isIsolated: pmd.isIsolated });
    }
    this.loads = loads;
    // What was counted of the interval under way is left out.
    for (const port of this.ports.values())
      for (const q of port.queues) q.counted = this.arena.f64[q.statAt + RXQ_STAT.BUSY_NS];
    this.timer[Symbol.dispose]();
    this.timer = this.startTimer();
    this.measured = 0;
    this.overloaded = 0;
  }

  private plan(pmds: readonly PlannedPmd[], isPlanned: (port: PlannedPort) => boolean): Assignment<Candidate> {
    const candidates: Candidate[] = [];
    for (const port of this.ports.values()) {
      if (!isPlanned(port)) continue;
      const affinity = this.affinityOf(port);
      const numa = port.netdev.numaNode?.() ?? 0;
      for (const q of port.queues)
        candidates.push({
          port: port.netdev.name,
          no: port.no,
          queue: q.queue,
          cycles: sum(q.history),
          pinnedTo: affinity.get(q.queue) ?? -1,
          numa,
          of: q,
        });
    }
    return assignRxqs(pmds, candidates, this.config.algorithm, this.config.isolates);
  }

  private affinityOf(port: PlannedPort): ReadonlyMap<number, number> {
    const text = port.netdev.otherConfig?.get('pmd-rxq-affinity');
    if (text === undefined) return new Map();
    const affinity = parseAffinity(text);
    if (affinity === null) log.warn(`${port.netdev.name}: Could not parse rxq affinity '${text}'`);
    return affinity ?? new Map();
  }

  private countedBy(pmd: PlannedPmd): { busy: number; total: number } {
    return { busy: this.arena.f64[pmd.statsAt + PMD_STAT.BUSY_NS], total: clock.nowMs() * 1e6 };
  }

  /** Ends an interval. */
  sample(): void {
    const { f64 } = this.arena;
    for (const port of this.ports.values())
      for (const q of port.queues) {
        const now = f64[q.statAt + RXQ_STAT.BUSY_NS];
        remember(q.history, now - q.counted);
        q.counted = now;
      }
    let isOverloaded = false;
    for (const pmd of this.pmds) {
      const load = this.loads.get(pmd.core);
      if (load === undefined) continue;
      const now = this.countedBy(pmd);
      const last = { busy: now.busy - load.busy, total: now.total - load.total };
      remember(load.history, last);
      load.busy = now.busy;
      load.total = now.total;
      const percent = last.total > 0 ? (last.busy * 100) / last.total : 0;
      if (!load.isIsolated && percent >= this.config.autoBalance.loadThreshold) isOverloaded = true;
    }
    this.measured = Math.min(this.measured + 1, INTERVALS);
    this.overloaded = isOverloaded ? this.overloaded + 1 : 0;
    this.balance();
  }

  private balance(): void {
    const { autoBalance, algorithm } = this.config;
    if (!autoBalance.isEnabled || algorithm === 'roundrobin' || this.overloaded < INTERVALS) return;
    const now = clock.nowMs();
    if (now - this.balancedAtMs < autoBalance.intervalMinutes * 60_000) return;
    this.balancedAtMs = now;
    this.overloaded = 0;
    const improvement = this.improvement();
    if (improvement === null || improvement < autoBalance.improvement) return;
    log.info(`PMD auto load balance: the load would vary ${Math.round(improvement)}% less, assigning rx queues anew.`);
    this.onImprovement();
  }

  /** By how many percent the variance of the load would fall; null where nothing can be won. */
  improvement(): number | null {
    const polled = (port: PlannedPort): boolean => port.queues.some((q) => q.core >= 0);
    const free = this.pmds.filter((p) => this.loads.get(p.core)?.isIsolated === false);
    const counts = new Map<number, number>();
    const current = new Map<number, number>(free.map((p) => [p.core, 0]));
    for (const port of this.ports.values())
      for (const q of port.queues) {
        counts.set(q.core, (counts.get(q.core) ?? 0) + 1);
        if (current.has(q.core)) current.set(q.core, (current.get(q.core) ?? 0) + sum(q.history));
      }
    if (free.length < 2 || !free.some((p) => (counts.get(p.core) ?? 0) > 1)) return null;
    const planned = this.plan(this.pmds, polled).pmds.filter((p) => !p.isIsolated);
    const before = loadVariance([...current.values()]);
    const after = loadVariance(planned.map((p) => p.cycles));
    return before > after ? ((before - after) * 100) / before : 0;
  }

  /** `pmd-rxq-show` over the last `intervals`. */
  view(intervals: number): PmdView[] {
    const n = Math.min(intervals, this.measured);
    const { f64 } = this.arena;
    const last = (list: readonly number[]): number => sum(list.slice(list.length - n));
    return [...this.pmds]
      .sort((a, b) => a.core - b.core)
      .map((pmd) => {
        const load = this.loads.get(pmd.core);
        const recent = load?.history.slice(-n) ?? [];
        const total = n === 0 ? 0 : sum(recent.map((r) => r.total));
        const percent = (ns: number): number | null => (total > 0 ? Math.round((ns * 100) / total) : null);
        let inQueues = 0;
        const rxqs = [];
        for (const port of this.ports.values())
          for (const q of port.queues) {
            if (q.core !== pmd.core) continue;
            const ns = n === 0 ? 0 : last(q.history);
            inQueues += ns;
            rxqs.push({
              port: port.netdev.name,
              queue: q.queue,
              packets: f64[q.statAt + RXQ_STAT.PACKETS],
              isEnabled: true,
              percent: percent(ns),
            });
          }
        rxqs.sort((a, b) => (a.port < b.port ? -1 : a.port > b.port ? 1 : a.queue - b.queue));
        const overhead = percent(Math.max(0, sum(recent.map((r) => r.busy)) - inQueues));
        return { core: pmd.core, numa: pmd.numa, isIsolated: load?.isIsolated ?? false, rxqs, overhead };
      });
  }
}

function remember<T>(history: T[], value: T): void {
  history.push(value);
  if (history.length > INTERVALS) history.shift();
}
