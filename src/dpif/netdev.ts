/**
 * The user-space datapath as a `Dpif`: what the slow path asks becomes commands for PMDs, what PMDs hand up becomes
 * upcalls.
 *
 * In `workers` mode every PMD is a thread; in `main` mode there is one, in this thread, which runs when packets arrive or
 * commands are given and answers upcalls before the next packet, so that simulation is deterministic. Everything else is the
 * same: the same rings, the same records, the same order.
 */

import { clock } from '../base/clock.ts';
import { coverage } from '../base/coverage.ts';
import { vlog } from '../base/vlog.ts';
import { encodeActions, OP, unsupportedAction } from '../datapath/actions-code.ts';
import { BondTables } from '../datapath/bonds.ts';
import { CMD, UPCALL } from '../datapath/commands.ts';
import { Conntrack } from '../datapath/ct/host.ts';
import { byteSwap32 } from '../datapath/extract.ts';
import {
  FLOW_ACTIONS,
  FLOW_ACTIONS_END,
  FLOW_ID,
  FLOW_IN_PORT,
  FLOW_OUT,
  FLOW_PACKETS,
  FLOW_TCP_FLAGS,
} from '../datapath/flow-entry.ts';
import { MAX_BANDS, MAX_METERS, MeterTable } from '../datapath/meter.ts';
import { TX_CLASS } from '../datapath/pmd.ts';
import type { PmdHost, UpcallRecord } from '../datapath/pmd-host.ts';
import { PMD_STAT, PMD_STATS } from '../datapath/pmd-stats.ts';
import type { DpAction, UserspaceAction } from '../flow/dp-actions.ts';
import { FlowKey, type FlowMask } from '../flow/key.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import type { Netdev, NetdevEnv } from '../netdev/netdev.ts';
import { LARGE_FRAME_MAX } from '../packet/frame.ts';
import type { DpFlow, DpFlowStats, Dpif, DpifStats, DpMeters, DpPort, Upcall } from './dpif.ts';
import { NetdevJourneys } from './journeys.ts';
import { MainEngine } from './main-engine.ts';
import { registerNetdevCommands } from './netdev-commands.ts';
import type { PmdEngine } from './netdev-engine.ts';
import { ActionTable, type FlowPart, NetdevFlow, type PlacedActions } from './netdev-flow.ts';
import { type PmdConfig, readPmdConfig, sleepUsOf, tellPmdConfig } from './pmd-config.ts';
import type { PmdView } from './rxq-plan.ts';
import { NetdevTunnels, usesTunnels } from './tunnels.ts';
import { WorkerEngine } from './worker-engine.ts';

const COUNT = {
  portAdd: coverage('dpif_port_add'),
  flowPut: coverage('dpif_flow_put'),
  flowDel: coverage('dpif_flow_del'),
  flowFlush: coverage('dpif_flow_flush'),
  execute: coverage('dpif_execute'),
};

const log = vlog('dpif_netdev');

/** How long PMDs that are replaced have to send what waited at breakpoints. */
const LET_GO_MS = 1000;

/** Flows that a datapath holds at most. */
const MAX_FLOWS = 1 << 20;

const VLAN_WORD = OFS.vlan_tpid >> 2;
/** What `flowPut` compares and stores. */
const wanted = { key: new FlowKey(), mask: new FlowKey() };

export interface DpifOptions {
  /** `main`: one PMD in this thread; `workers`: a thread for each. */
  readonly mode: 'main' | 'workers';
  readonly name: string;
  /** `netdev` unless said otherwise; `dummy` for simulations. */
  readonly type?: string;
  readonly env: NetdevEnv;
}

export class DpifNetdev implements Dpif {
  readonly type: string;
  readonly name: string;
  readonly env: NetdevEnv;
  private readonly engine: PmdEngine;
  private readonly portTable = new Map<number, DpPort>();
  private readonly watches = new Map<number, Disposable>();
  private readonly flowTable = new Set<NetdevFlow>();
  private readonly actionTable: ActionTable;
  /** By PMD and entry: what the mirrors find. */
  private readonly byEntry = new Map<number, NetdevFlow>();
  private receiver: (upcalls: readonly Upcall[]) => void = () => {};
  private readonly userspace = new Map<number, UserspaceAction>();
  /** Packets on their way through the slow path that are super-segments, and how they are to be cut. */
  private readonly segmented = new WeakMap<Uint8Array, number>();
  private nextUserspace = 1;
  private nextFlowId = 1;
  private config: PmdConfig;
  private readonly statsBase = new Map<PmdHost, Float64Array>();
  private readonly commandHandles: Disposable;
  readonly conntrack: Conntrack;
  readonly journeys: NetdevJourneys;
  private readonly meterTable: MeterTable;
  private readonly tunnels: NetdevTunnels;
  readonly bonds: BondTables;
  private readonly bondAt = (id: number): number => this.bonds.at(id);
  private readonly meterAt = (id: number): number => this.meterTable.at(id);
  /** `set_queue` names a queue by its number; the port's packet half knows those that it has. */
  private readonly queueOf = (port: number, priority: number): number => {
    const classes = this.engine.plan.get(port)?.spec.txClasses ?? [];
    return port + (classes.indexOf(priority) + 1) * TX_CLASS;
  };
  readonly meters: DpMeters = {
    maxMeters: MAX_METERS,
    maxBands: MAX_BANDS,
    set: (id, config) => {
      if (config.bands.length > MAX_BANDS || config.bands.some((b) => b.type !== 'drop')) return 'bad band';
      return this.meterTable.set(id, config, clock.nowMs()) ? null : 'no memory';
    },
    get: (id) => this.meterTable.counts(id),
    delete: (id) => this.meterTable.delete(id),
  };

  private constructor(options: DpifOptions, engine: PmdEngine, conntrack: Conntrack) {
    this.conntrack = conntrack;
    this.meterTable = new MeterTable(options.env.arena);
    this.bonds = new BondTables(options.env.arena);
    this.tunnels = new NetdevTunnels(options.env.arena, (port) => this.portTable.get(port)?.netdev.type);
    this.name = options.name;
    this.type = options.type ?? 'netdev';
    this.env = options.env;
    this.actionTable = new ActionTable(options.env.arena);
    this.engine = engine;
    engine.onUpcall = (host, record) => this.upcall(host, record);
    engine.onRestart = () => this.reinstall();
    engine.onLetGo = () => this.letGo();
    engine.onHostsGone = (hosts) => this.forgetHosts(hosts);
    this.config = engine.plan.config;
    tellPmdConfig(null, this.config, new Map());
    this.commandHandles = registerNetdevCommands(this);
    this.journeys = new NetdevJourneys({
      i32: options.env.arena.i32,
      f64: options.env.arena.f64,
      hosts: () => engine.hosts,
      userspace: (id) => this.userspace.get(id),
      flowAt: (entry) => this.byEntry.get(entry),
    });
  }

  static async create(options: DpifOptions): Promise<DpifNetdev> {
    const conntrack = new Conntrack(options.env.arena);
    const config = readPmdConfig(new Map());
    const engine =
      options.mode === 'main'
        ? new MainEngine(options.env, conntrack, config)
        : new WorkerEngine(options.env, conntrack, config);
    const dpif = new DpifNetdev(options, engine, conntrack);
    await engine.start();
    return dpif;
  }

  // ---- ports ----

  async portAdd(netdev: Netdev, wanted: number | null): Promise<DpPort | { readonly error: string }> {
    COUNT.portAdd.inc();
    const no = wanted ?? this.freePort(netdev.name);
    if (this.portTable.has(no)) return { error: 'Device or resource busy' };
    const port: DpPort = { no, netdev };
    this.portTable.set(no, port);
    const error = netdev.polled ? await this.engine.addPort(no, netdev) : null;
    if (error !== null) {
      this.portTable.delete(no);
      return { error };
    }
    this.watch(port);
    return port;
  }

  /**
   * A device that vanished and came back is another one to the kernel, one whose queues or frames changed is wired anew: its
   * packet halves are made again. Another affinity only moves queues.
   */
  private watch(port: DpPort): void {
    const { no, netdev } = port;
    const wiring = (): string => `${netdev.ifindex()} ${netdev.wiring?.() ?? ''}`;
    const affinity = (): string => netdev.otherConfig?.get('pmd-rxq-affinity') ?? '';
    const steering = (): string => (netdev.otherConfig?.get('tx-steering') === 'hash' ? 'hash' : 'thread');
    let wired = wiring();
    let hadIndex = netdev.ifindex() !== 0;
    let pinned = affinity();
    let steered = 'thread';
    const tellSteering = (): void => {
      if (steering() === steered) return;
      steered = steering();
      log.info(`${netdev.name}: Tx packet steering mode has been set to '${steered}'.`);
    };
    tellSteering();
    const watch = netdev.onChange(() => {
      if (!netdev.polled) return;
      tellSteering();
      this.engine.plan.police(no);
      const isPinnedAnew = affinity() !== pinned;
      pinned = affinity();
      if (wiring() === wired) {
        if (isPinnedAnew) void this.engine.rebalance();
        return;
      }
      wired = wiring();
      void this.engine.removePort(no, netdev);
      // A device of the kernel that is gone; others have no number.
      if (hadIndex && netdev.ifindex() === 0) return;
      hadIndex = netdev.ifindex() !== 0;
      void this.engine.addPort(no, netdev).then((error) => {
        if (error !== null) log.warn(`${netdev.name}: could not be opened again: ${error}`);
        // Queues may be others now, and actions name them.
        for (const flow of this.flowTable)
          if (usesQueues(flow.actions)) this.replaceActions(flow, flow.actions, flow.user);
      });
    });
    this.watches.set(no, watch);
  }

  /** In simulations the number in the device's name, as the original's dummy datapath; else the lowest free one. */
  private freePort(name: string): number {
    const digits = /\d+/.exec(name);
    if (this.type !== 'netdev' && digits) {
      const no = (name.startsWith('br') ? 100 : 0) + Number(digits[0]);
      if (no > 0 && no < 0xff00 && !this.portTable.has(no)) return no;
    }
    let no = 1;
    while (this.portTable.has(no)) no++;
    return no;
  }

  async portDel(no: number): Promise<void> {
    const port = this.portTable.get(no);
    if (!port) return;
    this.portTable.delete(no);
    this.watches.get(no)?.[Symbol.dispose]();
    this.watches.delete(no);
    if (port.netdev.polled) await this.engine.removePort(no, port.netdev);
  }

  ports(): Iterable<DpPort> {
    return this.portTable.values();
  }

  portByNo(no: number): DpPort | undefined {
    return this.portTable.get(no);
  }

  // ---- flows ----

  flowPut(key: FlowKey, mask: FlowMask, actions: readonly DpAction[], pmdId: number, user: unknown): DpFlow | null {
    COUNT.flowPut.inc();
    const refusal = unsupportedAction(actions);
    if (refusal !== null) {
      log.warn(`${this.type}@${this.name}: failed to put flow: ${refusal}`);
      return null;
    }
    const hosts = this.hostsFor(pmdId, byteSwap32(key.w[0]));
    const { key: maskedKey, mask: fullMask } = wanted;
    fullMask.copyFrom(mask);
    // A classifier is per port, so the port is always looked at.
    fullMask.w[0] = -1;
    // A flow's text cannot say "with or without a tag": where nobody looked, it is the tag of this packet or that it has none.
    if (fullMask.w[VLAN_WORD] === 0) fullMask.w[VLAN_WORD] = -1;
    for (let w = DP_WORDS; w < fullMask.w.length; w++) fullMask.w[w] = 0;
    for (let w = 0; w < DP_WORDS; w++) maskedKey.w[w] = key.w[w] & fullMask.w[w];

    const parts: FlowPart[] = [];
    for (const host of hosts) {
      const part = this.makePart(host, maskedKey, fullMask, actions);
      if (part === null) break;
      const existing = this.byEntry.get(host.mirror.find(part.entry));
      if (existing) {
        this.freePart(part);
        this.replaceActions(existing, actions, user);
        return existing;
      }
      parts.push(part);
    }
    if (parts.length < hosts.length || this.flowTable.size >= MAX_FLOWS) {
      for (const part of parts) this.freePart(part);
      return null;
    }
    // A list that grew has room for more, which no flow will need.
    const flow = new NetdevFlow(parts.slice(), parts[0].placed.actions, pmdId, user);
    this.flowTable.add(flow);
    for (const part of parts) {
      this.byEntry.set(part.entry, flow);
      part.host.install(part.entry);
    }
    return flow;
  }

  /** -1 is whoever packets from that port come to. */
  private hostsFor(pmdId: number, inPort: number): readonly PmdHost[] {
    const { hosts } = this.engine;
    if (pmdId < 0 && this.engine.isPolledByPmd(inPort)) return hosts.filter((h) => h.id >= 0);
    const host = hosts.find((h) => h.id === pmdId);
    return host ? [host] : hosts;
  }

  private makePart(host: PmdHost, key: FlowKey, mask: FlowMask, actions: readonly DpAction[]): FlowPart | null {
    const maskId = host.useMask(mask.w);
    if (maskId < 0) return null;
    const entry = host.newEntry(key.w, maskId, mask.w);
    const placed = entry === 0 ? null : this.placeActions(actions);
    if (placed === null) {
      if (entry !== 0) host.freeEntry(entry);
      host.dropMask(maskId);
      return null;
    }
    const { i32 } = this.env.arena;
    i32[entry + FLOW_IN_PORT] = byteSwap32(key.w[0]);
    i32[entry + FLOW_ACTIONS] = placed.at;
    i32[entry + FLOW_ACTIONS_END] = placed.at + placed.words;
    i32[entry + FLOW_OUT] = placed.out;
    i32[entry + FLOW_ID] = this.nextFlowId;
    this.nextFlowId = this.nextFlowId === 0x7fffffff ? 1 : this.nextFlowId + 1;
    return { host, entry, maskId, placed };
  }

  private freePart(part: FlowPart): void {
    this.env.arena.i32[part.entry + FLOW_ID] = 0;
    part.host.freeEntry(part.entry);
    this.freeActions(part.placed);
    part.host.dropMask(part.maskId);
  }

  private placeActions(actions: readonly DpAction[]): PlacedActions | null {
    const userspaceIds: number[] = [];
    const code = encodeActions(actions, {
      add: (u) => this.addUserspace(u, userspaceIds),
      meterAt: this.meterAt,
      bondAt: this.bondAt,
      queueOf: this.queueOf,
      tunnels: this.tunnels.facts,
    });
    const out = actions.length === 1 && (code[0] & 0xff) === OP.OUTPUT ? code[1] : -1;
    const placed = this.actionTable.place(actions, code, out, userspaceIds);
    if (placed === null) for (const id of userspaceIds) this.userspace.delete(id);
    return placed;
  }

  private freeActions(placed: PlacedActions): void {
    if (this.actionTable.release(placed)) for (const id of placed.userspaceIds) this.userspace.delete(id);
  }

  private addUserspace(userspace: UserspaceAction, ids: number[]): number {
    const id = this.nextUserspace;
    this.nextUserspace = id === 0x7fffffff ? 1 : id + 1;
    this.userspace.set(id, userspace);
    ids.push(id);
    return id;
  }

  private replaceActions(flow: NetdevFlow, actions: readonly DpAction[], user: unknown): void {
    flow.user = user;
    flow.actions = actions;
    for (const part of flow.parts) {
      const placed = this.placeActions(actions);
      if (placed === null) continue;
      const old = part.placed;
      part.placed = placed;
      flow.actions = placed.actions;
      part.host.send(CMD.FLOW_MOD, part.entry, placed.at, placed.at + placed.words, placed.out);
      part.host.afterDone(() => this.freeActions(old));
    }
  }

  flowDel(flow: DpFlow): void {
    COUNT.flowDel.inc();
    // Flows are made by `flowPut` alone.
    const f = flow as NetdevFlow;
    if (!this.flowTable.delete(f)) return;
    for (const part of f.parts) {
      this.byEntry.delete(part.entry);
      part.host.uninstall(part.entry, () => {
        this.keepCounters(f, part);
        f.keep();
        f.parts = f.parts.filter((p) => p !== part);
        this.freePart(part);
      });
    }
  }

  flowFlush(): void {
    COUNT.flowFlush.inc();
    for (const flow of [...this.flowTable]) this.flowDel(flow);
  }

  flows(): Iterable<DpFlow> {
    return this.flowTable;
  }

  flowByUfid(ufid: string): DpFlow | undefined {
    const id = ufid.replaceAll('-', '').toLowerCase();
    for (const flow of this.flowTable) if (flow.ufid === id) return flow;
    return undefined;
  }

  flowStats(flow: DpFlow, into: DpFlowStats): void {
    const f = flow as NetdevFlow;
    into.packets = f.past?.packets ?? 0;
    into.bytes = f.past?.bytes ?? 0;
    into.usedMs = f.past?.usedMs ?? 0;
    into.tcpFlags = f.past?.tcpFlags ?? 0;
    for (const part of f.parts) this.count(part, into);
  }

  private keepCounters(flow: NetdevFlow, part: FlowPart): void {
    flow.past ??= { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };
    this.count(part, flow.past);
  }

  private count(part: FlowPart, into: DpFlowStats): void {
    const { i32, f64 } = this.env.arena;
    const counters = (part.entry + FLOW_PACKETS) >> 1;
    into.packets += f64[counters];
    into.bytes += f64[counters + 1];
    into.usedMs = Math.max(into.usedMs, f64[counters + 2]);
    // Network-order bits, as the key has them.
    const flags = i32[part.entry + FLOW_TCP_FLAGS];
    into.tcpFlags |= ((flags & 0xff) << 8) | ((flags >> 8) & 0xff);
  }

  // ---- packets ----

  execute(packet: Uint8Array, key: FlowKey, actions: readonly DpAction[], pmdId: number, journey = 0, stops = 0): void {
    COUNT.execute.inc();
    const host = this.hostsFor(pmdId, byteSwap32(key.w[0]))[0];
    const refusal = packet.length > LARGE_FRAME_MAX ? 'packet is too long' : unsupportedAction(actions);
    if (refusal !== null || !host) {
      log.warn(`${this.type}@${this.name}: failed to execute actions: ${refusal ?? 'no PMD'}`);
      return;
    }
    const ids: number[] = [];
    const code = encodeActions(actions, {
      add: (u) => this.addUserspace(u, ids),
      meterAt: this.meterAt,
      bondAt: this.bondAt,
      queueOf: this.queueOf,
      tunnels: this.tunnels.facts,
    });
    const gso = this.segmented.get(packet) ?? 0;
    host.execute(0, key.w, 0, code, packet, 0, packet.length, journey, stops, gso);
    if (ids.length > 0)
      host.afterDone(() => {
        for (const id of ids) this.userspace.delete(id);
      });
  }

  onUpcalls(receiver: (upcalls: readonly Upcall[]) => void): void {
    this.receiver = receiver;
  }

  private upcall(host: PmdHost, record: UpcallRecord): void {
    const { i32, u8 } = this.env.arena;
    if (record.kind === UPCALL.MISS) {
      const flow = host.lookup(record.key);
      if (flow !== 0) {
        const { journey, stops, gso } = record;
        host.execute(flow, i32, record.key, [], u8, record.packet, record.length, journey, stops, gso);
        if (journey !== 0) this.journeys.overtaken(host, journey, this.byEntry.get(flow));
        if (stops !== 0) this.journeys.answered(host.id, journey);
        return;
      }
    }
    const userspace = record.kind === UPCALL.ACTION ? (this.userspace.get(record.userspaceId) ?? null) : null;
    if (record.kind === UPCALL.ACTION && userspace === null) {
      if (record.stops !== 0) this.journeys.answered(host.id, record.journey);
      return;
    }
    const key = new FlowKey();
    for (let w = 0; w < DP_WORDS; w++) key.w[w] = i32[record.key + w];
    const packet = u8.slice(record.packet, record.packet + record.length);
    if (record.gso !== 0) this.segmented.set(packet, record.gso);
    const reason = record.kind === UPCALL.MISS ? 'miss' : 'action';
    try {
      const { journey, stops } = record;
      this.receiver([{ reason, packet, key, userspace, pmdId: host.id, journey, stops }]);
    } catch (e) {
      log.err(`${this.type}@${this.name}: upcall failed: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`);
    }
  }

  /** A thread that has died answers no more. */
  private async letGo(): Promise<void> {
    if (this.journeys.letGo())
      await Promise.race([this.quiesce(), new Promise((resolve) => setTimeout(resolve, LET_GO_MS).unref())]);
  }

  async quiesce(): Promise<void> {
    await Promise.all(
      this.engine.hosts.map(
        (host) =>
          new Promise<void>((resolve) => {
            host.send(CMD.NOP);
            host.afterDone(resolve);
          }),
      ),
    );
  }

  /** Actions carry these facts in them, so those of flows are made anew. */
  setTunnels(facts: Parameters<NonNullable<Dpif['setTunnels']>>[0]): void {
    const release = this.tunnels.set(facts);
    if (release === null) return;
    for (const flow of this.flowTable) {
      if (usesTunnels(flow.actions)) this.replaceActions(flow, flow.actions, flow.user);
    }
    void this.quiesce().then(release);
  }

  // ---- configuration and counters ----

  configure(config: ReadonlyMap<string, string>): void {
    const before = this.config;
    this.config = readPmdConfig(config);
    tellPmdConfig(before, this.config, config);
    void this.engine.configure(this.config);
  }

  /** Flows of PMDs that end go with them. */
  private forgetHosts(hosts: readonly PmdHost[]): void {
    for (const flow of [...this.flowTable]) if (flow.parts.some((p) => hosts.includes(p.host))) this.flowDel(flow);
  }

  /** After PMDs were replaced: their successors get all flows anew. */
  private reinstall(): void {
    this.meterTable.recover();
    const flows = [...this.flowTable];
    this.byEntry.clear();
    this.statsBase.clear();
    this.journeys.restarted();
    for (const flow of flows) {
      flow.keep();
      const { key, mask } = flow;
      for (const part of flow.parts) {
        this.keepCounters(flow, part);
        this.env.arena.i32[part.entry + FLOW_ID] = 0;
        part.host.freeEntry(part.entry);
        this.freeActions(part.placed);
      }
      const parts: FlowPart[] = [];
      for (const host of this.hostsFor(flow.pmdId, byteSwap32(key.w[0]))) {
        const part = this.makePart(host, key, mask, flow.actions);
        if (part === null) continue;
        parts.push(part);
        this.byEntry.set(part.entry, flow);
        host.install(part.entry);
      }
      flow.moveTo(parts);
    }
  }

  /** Counters of each PMD since the last `clearPmdStats`, in the places of `PMD_STAT`. */
  pmdStats(): { readonly id: number; readonly numa: number; readonly stats: Float64Array; readonly flows: number }[] {
    return this.engine.hosts.map((host) => {
      const stats = this.env.arena.f64.slice(host.statsAt, host.statsAt + PMD_STATS);
      const base = this.statsBase.get(host);
      if (base) for (let i = 0; i < PMD_STATS; i++) if (i !== PMD_STAT.STARTED_MS) stats[i] -= base[i];
      return { id: host.id, numa: host.numa, stats, flows: host.mirror.size };
    });
  }

  clearPmdStats(id: number | null): void {
    for (const host of this.engine.hosts)
      if (id === null || host.id === id)
        this.statsBase.set(host, this.env.arena.f64.slice(host.statsAt, host.statsAt + PMD_STATS));
  }

  /** Who polls what, and what it cost in the last `intervals` of five seconds. */
  rxQueues(intervals: number): PmdView[] {
    return this.engine.plan.view(intervals);
  }

  rebalance(): Promise<void> {
    return this.engine.rebalance();
  }

  /** The longest naps of PMDs, in microseconds. */
  sleepUs(core: number | null): number {
    return core === null ? this.config.sleepUs : sleepUsOf(this.config, core);
  }

  get memory(): { size: number; used: number } {
    return this.env.arena;
  }

  subtableUses(): number {
    return this.engine.hosts.reduce((n, host) => n + host.mirror.subtables, 0);
  }

  get nowMs(): number {
    return clock.nowMs();
  }

  stats(): DpifStats {
    const total: DpifStats = {
      hit: 0,
      missed: 0,
      lost: 0,
      flows: this.flowTable.size,
      maskHit: 0,
      masks: 0,
      cacheHit: 0,
    };
    const { f64 } = this.env.arena;
    for (const host of this.engine.hosts) {
      // `pmd-stats-clear` begins these anew too.
      const base = this.statsBase.get(host);
      const since = (stat: number): number => f64[host.statsAt + stat] - (base?.[stat] ?? 0);
      const cached = since(PMD_STAT.EMC_HIT) + since(PMD_STAT.SMC_HIT);
      total.hit += cached + since(PMD_STAT.SIMPLE_HIT) + since(PMD_STAT.MEGAFLOW_HIT);
      total.cacheHit += cached;
      total.missed += since(PMD_STAT.MISS);
      total.lost += since(PMD_STAT.LOST) + host.packetsDropped;
      total.maskHit += since(PMD_STAT.LOOKUPS);
      total.masks += host.maskCount;
    }
    return total;
  }

  async close(): Promise<void> {
    this.commandHandles[Symbol.dispose]();
    this.receiver = () => {};
    for (const no of [...this.portTable.keys()]) await this.portDel(no);
    await this.engine.close();
    this.conntrack.close();
    this.meterTable.close();
    this.flowTable.clear();
  }
}

function usesQueues(actions: readonly DpAction[]): boolean {
  return actions.some((a) => {
    if (a.kind === 'clone' || a.kind === 'sample') return usesQueues(a.actions);
    if (a.kind === 'check_pkt_len') return usesQueues(a.greater) || usesQueues(a.lessOrEqual);
    return a.kind === 'set' && a.header === 'skb_priority';
  });
}

/** Makes a user-space datapath, running. */
export function createDpif(options: DpifOptions): Promise<DpifNetdev> {
  return DpifNetdev.create(options);
}
