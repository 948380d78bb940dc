/**
 * A bridge: its ports, bundles, flow tables, MAC table and controllers, put together. Translation sees it as an
 * `XlateBridge`, the database side as an `Ofproto`.
 *
 * Whatever changes here in a way that could make an installed megaflow wrong is told to the backer, which revalidates.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import type { Netdev } from '../netdev/netdev.ts';
import { TunnelNetdev } from '../netdev/tunnel.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import type { PhyPort } from '../openflow/messages.ts';
import type { TlvMap } from '../openflow/messages-ext.ts';
import { OFPM_ALL } from '../openflow/messages-ext.ts';
import { OFPP } from '../openflow/ports.ts';
import { buildLacp, type LacpInfo } from '../packet/lacp.ts';
import type { Backer } from './backer.ts';
import type { BfdConfig } from './bfd.ts';
import { startBfd, stopBfd } from './bfd-port.ts';
import { Bond } from './bond.ts';
import { BondRules } from './bond-rules.ts';
import { Bundle, sameNumbers, sameVlan } from './bundle.ts';
import type { CfmConfig } from './cfm.ts';
import { cfmStatus, startCfm, stopCfm } from './cfm-port.ts';
import { DEFAULT_PREFIXES } from './classifier.ts';
import type { OfConn } from './conn.ts';
import { ConnMgr, FAIL_OPEN_PRIORITY, isPassive } from './connmgr.ts';
import { Exporters, type ExportersConfig } from './export/exporters.ts';
import type { FlowEvent, Origin } from './flow-monitor.ts';
import type { Group } from './group.ts';
import { inBandRules } from './in-band.ts';
import { Lacp, type LacpConfig } from './lacp.ts';
import { type AutoAttachConfig, startLldp, stopLldp } from './lldp.ts';
import { MacLearning } from './mac-learning.ts';
import { McastSnooping } from './mcast-snooping.ts';
import { Meters } from './meters.ts';
import { Mirrors } from './mirrors.ts';
import { OFPPS, OfPort, samePhyPort } from './ofport.ts';
import type {
  BondConfig,
  BundleConfig,
  ControllerStatus,
  McastSnoopingConfig,
  MirrorConfig,
  Ofproto,
  OfprotoConfig,
  StatusColumns,
} from './ofproto.ts';
import { IMPLICIT_MISS } from './packet-in-reason.ts';
import { PortTable } from './port-table.ts';
import { lacpProtocol, setProtocol } from './protocols.ts';
import { RapidSpanningTree, type RstpSetup } from './rapid-spanning-tree.ts';
import { Rule } from './rule.ts';
import { sendFrame } from './send-frame.ts';
import { SpanningTree, type StpSetup } from './spanning-tree.ts';
import { FlowTables, type RuleRemovedReason, TBL_INTERNAL } from './tables.ts';
import { type TableOptions, watchVacancy } from './vacancy.ts';
import type { XlateBridge, XlateBundle, XlatePort } from './xlate/types.ts';

const log = vlog('ofproto');

export const NORMAL_ACTIONS: readonly Ofpact[] = [{ kind: 'output', port: OFPP.NORMAL, maxLen: 0 }];

const UNCONFIGURED: OfprotoConfig = {
  datapathId: 0n,
  failMode: 'standalone',
  controllers: [],
  protocols: [1, 2, 3, 4, 5, 6],
  rundir: '',
  macAgingSeconds: 300,
  macTableSize: 8192,
  forwardBpdu: false,
  floodVlans: [],
  flowTables: new Map(),
  desc: { mfr: 'Nicira, Inc.', hw: 'Open vSwitch', sw: '', serial: 'None', dp: 'None' },
};

/** `enum ofp_flow_removed_reason` */
export const REMOVED_REASON = { idle: 0, hard: 1, delete: 2, group_delete: 3, meter_delete: 4, eviction: 5 } as const;

function hasController(config: OfprotoConfig): boolean {
  return config.controllers.some((c) => !isPassive(c.target));
}

export class Bridge implements Ofproto, XlateBridge {
  readonly name: string;
  readonly type: string;
  readonly backer: Backer;
  readonly tables = new FlowTables();
  readonly macs = new MacLearning<XlateBundle>();
  readonly exporters = new Exporters(this);
  mcast: McastSnooping<XlateBundle> | null = null;
  spanningTree: SpanningTree | null = null;
  rapidTree: RapidSpanningTree | null = null;
  autoAttach: AutoAttachConfig | null = null;
  readonly groups = new Map<number, Group>();
  /** Geneve options by the number of their `tun_metadata` field. */
  readonly tlvTable = new Map<number, TlvMap>();
  readonly meters: Meters;
  /** Continuations of other bridges, or of one of this name before, are refused. */
  readonly continuationId: Uint8Array = randomBytes(16);
  mirrors: Mirrors | null = null;
  readonly connmgr: ConnMgr;
  config: OfprotoConfig = UNCONFIGURED;
  /** OFPC_FRAG_* of set-config. */
  fragFlags = 0;
  wantsPacketInOnMiss = false;
  readonly vlanLimit = 1;
  readonly hasConntrack: boolean;
  private readonly portTable = new PortTable();
  private readonly bundleTable = new Map<string, Bundle>();
  private readonly options = new Map<number, TableOptions>();
  /** Whose flow-mod is being carried out, for flow monitors. */
  flowModOrigin: Origin | null = null;
  /** The connection whose port-mod is being carried out. */
  private origin: OfConn | null = null;
  private inBand: readonly Rule[] = [];
  /** Has there been a rule that could expire? Else nobody need look for one. */
  private mayExpire = false;
  /** Something of what the database shall know has changed. */
  onStatus: () => void = () => {};
  private isFlushed = false;
  private isDestroyed = false;

  constructor(name: string, type: string, backer: Backer) {
    this.name = name;
    this.type = type;
    this.backer = backer;
    this.hasConntrack = backer.dpif.conntrack !== undefined;
    this.meters = new Meters(this);
    this.connmgr = new ConnMgr(this);
    this.macs.onChange = (key) => backer.macsChanged(key);
    this.tables.listener = {
      added: (rule) => {
        this.ruleChanged(rule);
        this.tellMonitors('added', rule, 0);
        this.sizeChanged(rule.table);
      },
      modified: (rule, actionsChanged) => {
        if (actionsChanged) this.ruleChanged(rule);
        this.tellMonitors('modified', rule, 0);
      },
      removed: (rule, reason) => {
        this.ruleRemoved(rule, reason);
        if (reason !== 'replaced') this.sizeChanged(rule.table);
      },
    };
    this.addInternalRules();
  }

  // ---- what translation asks ----

  get forwardBpdu(): boolean {
    return this.config.forwardBpdu;
  }

  port(ofport: number): XlatePort | undefined {
    return this.portTable.get(ofport);
  }

  ports(): Iterable<XlatePort> {
    return this.portTable;
  }

  bundles(): Iterable<XlateBundle> {
    return this.bundleTable.values();
  }

  group(id: number): Group | null {
    return this.groups.get(id) ?? null;
  }

  meter(id: number): number | null {
    return this.meters.dpId(id);
  }

  // ---- ports ----

  ofport(ofport: number): OfPort | undefined {
    return this.portTable.get(ofport);
  }

  namedPort(name: string): OfPort | undefined {
    return this.portTable.named(name);
  }

  sortedPorts(): OfPort[] {
    return this.portTable.sorted();
  }

  phyPorts(): PhyPort[] {
    return this.sortedPorts().map((port) => port.phyPort());
  }

  ofportOf(netdevName: string): number | undefined {
    return this.portTable.named(netdevName)?.ofport;
  }

  async portAdd(netdev: Netdev, request: number | null): Promise<{ ofport: number } | { error: string }> {
    if (this.portTable.named(netdev.name)) return { error: 'File exists' };
    let dpPort: number | null = null;
    if (netdev instanceof TunnelNetdev) {
      const added = await this.backer.tunnels.ports.add(netdev, { bridge: this, netdev });
      if ('error' in added) {
        log.warn(`${this.name}: could not add port ${netdev.name} (${added.error})`);
        return added;
      }
      dpPort = added.dpPort;
    } else if (netdev.type !== 'patch') {
      const added = await this.backer.dpif.portAdd(netdev, null);
      if ('error' in added) return added;
      dpPort = added.no;
    }
    const ofport = netdev.name === this.name ? OFPP.LOCAL : this.portTable.choose(netdev.name, request);
    if (ofport === null || this.portTable.get(ofport)) {
      if (netdev instanceof TunnelNetdev) await this.backer.tunnels.ports.remove(netdev.name);
      else if (dpPort !== null) await this.backer.dpif.portDel(dpPort);
      return { error: 'No space left on device' };
    }
    const port = new OfPort(ofport, netdev, dpPort, (p) => this.backer.peerOf(p));
    this.portTable.add(port);
    this.backer.portAdded(this, port);
    port.changes = netdev.onChange(() => this.portChanged(port));
    this.refreshBundles();
    port.announced = port.phyPort();
    this.connmgr.portStatus('add', port.announced, null);
    if (ofport === OFPP.LOCAL) this.updateInBand();
    this.backer.tunnels.portsChanged();
    this.backer.revalidateAll();
    return { ofport };
  }

  async portDel(ofport: number): Promise<void> {
    const port = this.portTable.get(ofport);
    if (!port) return;
    port.changes?.[Symbol.dispose]();
    this.tree?.removePort(ofport);
    stopBfd(port);
    stopCfm(port);
    stopLldp(port);
    this.portTable.remove(port);
    this.backer.portRemoved(port);
    this.refreshBundles();
    const phy = port.announced;
    if (phy) this.connmgr.portStatus('delete', phy, null);
    this.backer.revalidateAll();
    if (port.netdev instanceof TunnelNetdev) await this.backer.tunnels.ports.remove(port.name);
    else if (port.dpPort !== null) await this.backer.dpif.portDel(port.dpPort);
    this.backer.tunnels.portsChanged();
  }

  private portChanged(port: OfPort): void {
    if (port.refresh()) this.backer.revalidateAll();
    port.bundle?.lacp?.linksChanged();
    this.tree?.linkChanged(port);
    port.bundle?.bond?.run();
    if (port.netdev instanceof TunnelNetdev) void this.tunnelChanged(port, port.netdev);
    this.announce(port, this.origin);
    if (port.ofport === OFPP.LOCAL) this.updateInBand();
  }

  /** Other options are another tunnel. */
  private async tunnelChanged(port: OfPort, netdev: TunnelNetdev): Promise<void> {
    const { tunnels } = this.backer;
    if (tunnels.ports.configOf(port.name) === netdev.config || this.portTable.get(port.ofport) !== port) return;
    await tunnels.ports.remove(port.name);
    const added = await tunnels.ports.add(netdev, { bridge: this, netdev });
    if ('error' in added) log.warn(`${this.name}: could not configure tunnel ${port.name} (${added.error})`);
    port.dpPort = 'error' in added ? null : added.dpPort;
    tunnels.portsChanged();
    this.backer.revalidateAll();
  }

  modifyPort(port: OfPort, config: number, mask: number, origin: OfConn): void {
    // The device may tell of its change on the way.
    this.origin = origin;
    if (port.modify(config, mask)) this.backer.revalidateAll();
    port.bundle?.lacp?.linksChanged();
    port.bundle?.bond?.run();
    this.announce(port, origin);
    this.origin = null;
  }

  private announce(port: OfPort, origin: OfConn | null): void {
    const before = port.announced;
    const now = port.phyPort();
    if (!before || samePhyPort(before, now)) return;
    port.announced = now;
    // Who asked for the change hears of what was asked first, then of what it did to the device.
    const between = { ...now, state: before.state & ~OFPPS.LIVE };
    const isTwofold = origin !== null && now.state !== before.state && !samePhyPort(before, between);
    if (isTwofold) this.connmgr.portStatus('modify', between, before, origin);
    this.connmgr.portStatus('modify', now, isTwofold ? between : before, origin);
  }

  virtualPortStats(ofport: number) {
    const stats = this.portTable.get(ofport)?.stats;
    if (!stats) return null;
    this.backer.pushStats();
    return { ...stats };
  }

  // ---- bundles ----

  setBundle(config: BundleConfig): void {
    let bundle = this.bundleTable.get(config.name);
    const hasSamePorts = bundle !== undefined && sameNumbers(bundle.config.ofports, config.ofports);
    if (!bundle) {
      bundle = new Bundle(config);
      this.bundleTable.set(config.name, bundle);
    } else if (!sameVlan(bundle.vlan, config.vlan)) {
      bundle.vlan = config.vlan;
      this.mcast?.removePort(bundle);
      this.macs.removePort(bundle);
      this.backer.revalidateAll();
    }
    const isFlooded = bundle.mcastFlood !== (config.mcastFlood ?? false);
    if (isFlooded || bundle.mcastFloodReports !== (config.mcastFloodReports ?? false)) this.backer.revalidateAll();
    bundle.config = config;
    // Every bundle is set at every change of the configuration.
    if (!hasSamePorts) this.refreshBundles();
    this.setLacp(bundle, config.lacp ?? null);
    this.setBond(bundle, config.bond ?? null);
  }

  removeBundle(name: string): void {
    const bundle = this.bundleTable.get(name);
    if (!bundle) return;
    this.bundleTable.delete(name);
    this.setLacp(bundle, null);
    this.setBond(bundle, null);
    this.mcast?.removePort(bundle);
    this.macs.removePort(bundle);
    this.refreshBundles();
    this.backer.revalidateAll();
  }

  /** Ties ports and bundles together anew after either changed. */
  private refreshBundles(): void {
    let isChanged = false;
    const owner = new Map<OfPort, Bundle>();
    for (const bundle of this.bundleTable.values()) {
      const ports = bundle.config.ofports.flatMap((n) => this.portTable.get(n) ?? []);
      if (ports.length !== bundle.ports.length || ports.some((p, i) => p !== bundle.ports[i])) {
        bundle.ports = ports;
        if (bundle.lacp) this.setLacp(bundle, bundle.lacp.config);
        bundle.bond?.setPorts(ports);
        isChanged = true;
      }
      for (const port of ports) owner.set(port, bundle);
    }
    for (const port of this.portTable) {
      const bundle = owner.get(port) ?? null;
      if (port.bundle === bundle) continue;
      port.bundle = bundle;
      isChanged = true;
    }
    if (isChanged) this.backer.revalidateAll();
  }

  private setBond(bundle: Bundle, config: BondConfig | null): void {
    if (!config) {
      bundle.bond?.close();
      bundle.bond = null;
      bundle.bondRules?.close();
      bundle.bondRules = null;
      return;
    }
    if (!bundle.bond) {
      const bond = new Bond(bundle.name, config, () => this.bondChanged(bundle));
      bond.onCount = () => bundle.bondRules?.creditAll(bond);
      bundle.bond = bond;
    }
    bundle.bond.setLacp(bundle.lacp);
    bundle.bond.setConfig(config);
    bundle.bond.setPorts(bundle.ports);
    this.bondChanged(bundle);
  }

  /** Members or loads of a bond are others now. */
  private bondChanged(bundle: Bundle): void {
    const { bond } = bundle;
    if (!bond) return;
    if (bond.mode === 'balance-tcp') {
      bundle.bondRules ??= new BondRules(this);
      bundle.bondRules.update(bond);
      bond.lbOutput = bundle.bondRules.updateTable(bond);
    } else {
      bundle.bondRules?.close();
      bundle.bondRules = null;
      bond.lbOutput = false;
    }
    bond.recircId = bundle.bondRules?.recircId ?? null;
    this.backer.revalidateAll();
  }

  private setLacp(bundle: Bundle, config: LacpConfig | null): void {
    if ((config !== null) !== (bundle.lacp !== null)) this.backer.revalidateAll();
    if (!config) {
      bundle.lacp?.close();
      bundle.lacp = null;
      for (const port of bundle.ports) setProtocol(port, 'lacp', null);
      return;
    }
    bundle.lacp ??= new Lacp(bundle.name, config, {
      systemId: () => this.localMac(),
      send: (port, actor, partner) => this.sendLacp(port.ofport, actor, partner),
      changed: () => bundle.bond?.lacpChanged(),
      statusChanged: () => this.onStatus(),
    });
    const { lacp } = bundle;
    lacp.setConfig(config, bundle.ports);
    for (const port of bundle.ports) setProtocol(port, 'lacp', lacpProtocol(lacp, port));
  }

  private sendLacp(ofport: number, actor: LacpInfo, partner: LacpInfo): void {
    const mac = this.portTable.get(ofport)?.netdev.mac();
    if (mac) sendFrame(this, ofport, buildLacp(mac, actor, partner));
  }

  /** The bridge's own address. */
  localMac(): Uint8Array {
    return this.portTable.get(OFPP.LOCAL)?.netdev.mac() ?? new Uint8Array(6);
  }

  lacps(): Lacp[] {
    return [...this.bundleTable.values()].flatMap((bundle) => bundle.lacp ?? []);
  }

  lacpCurrent(ofport: number): boolean | null {
    const port = this.portTable.get(ofport);
    return port?.bundle?.lacp?.isCurrent(port) ?? null;
  }

  bonds(): Bond[] {
    return [...this.bundleTable.values()].flatMap((bundle) => bundle.bond ?? []);
  }

  bondActiveMac(name: string): Uint8Array | null {
    const bond = this.bundleTable.get(name)?.bond;
    return bond ? (bond.active?.port.netdev.mac() ?? new Uint8Array(6)) : null;
  }

  // ---- mirrors ----

  setMirrors(configs: readonly MirrorConfig[]): void {
    if (this.mirrors === null ? configs.length === 0 : this.mirrors.equals(configs)) return;
    const find = (name: string): Bundle | undefined => this.bundleTable.get(name);
    this.mirrors = configs.length === 0 ? null : new Mirrors(configs, find, this.mirrors);
    this.macs.flush();
    this.backer.revalidateAll();
  }

  mirrorStats(id: string) {
    const stats = this.mirrors?.statistics(id);
    if (!stats) return null;
    this.backer.pushStats();
    return stats;
  }

  // ---- configuration ----

  setConfig(config: OfprotoConfig): void {
    const before = this.config;
    this.config = config;
    this.macs.configure(config.macAgingSeconds, config.macTableSize, config.floodVlans, clock.nowMs());
    this.setMcastSnooping(config.mcastSnooping ?? null);
    if (before.forwardBpdu !== config.forwardBpdu) this.backer.revalidateAll();
    for (const table of this.tables.tables) {
      const wanted = config.flowTables.get(table.id);
      table.name = wanted?.name ?? '';
      table.flowLimit = wanted?.flowLimit ?? null;
      table.overflowPolicy = wanted?.overflowPolicy ?? 'refuse';
      table.groups = wanted?.groups ?? [];
      this.tables.shrink(table, clock.nowMs());
      const prefixes = wanted?.prefixes ?? DEFAULT_PREFIXES;
      const had = before.flowTables.get(table.id)?.prefixes ?? DEFAULT_PREFIXES;
      if (prefixes.join() !== had.join()) table.classifier.setPrefixes(prefixes);
    }
    this.connmgr.setConfig(config);
    const hadControllers = hasController(before);
    const hasControllers = hasController(config);
    if (!this.isFlushed || hadControllers !== hasControllers || before.failMode !== config.failMode) this.flushFlows();
    else this.updateInBand();
  }

  setExporters(config: ExportersConfig): void {
    this.exporters.configure(config);
  }

  setStp(setup: StpSetup | null): void {
    if (!setup) {
      this.spanningTree?.close();
      this.spanningTree = null;
    } else if (this.spanningTree) this.spanningTree.configure(setup);
    else this.spanningTree = new SpanningTree(this, setup);
  }

  setRstp(setup: RstpSetup | null): void {
    if (!setup) {
      this.rapidTree?.close();
      this.rapidTree = null;
    } else if (this.rapidTree) this.rapidTree.configure(setup);
    else this.rapidTree = new RapidSpanningTree(this, setup);
  }

  /** There is at most one. */
  private get tree(): SpanningTree | RapidSpanningTree | null {
    return this.spanningTree ?? this.rapidTree;
  }

  bridgeStatus(): StatusColumns {
    return { status: new Map(), rstp_status: new Map(), ...this.tree?.columns() };
  }

  bundleStatus(name: string): StatusColumns {
    const ports = this.bundleTable.get(name)?.ports ?? [];
    const none = { status: new Map(), statistics: new Map(), rstp_status: new Map(), rstp_statistics: new Map() };
    return ports.length === 1 ? { ...none, ...this.tree?.portColumns(ports[0].ofport) } : none;
  }

  interfaceStatus(ofport: number): StatusColumns {
    const port = this.portTable.get(ofport);
    return { bfd_status: port?.bfd?.status() ?? new Map(), ...cfmStatus(port?.cfm ?? null) };
  }

  setBfd(ofport: number, config: BfdConfig | null): void {
    const port = this.portTable.get(ofport);
    if (!port || isDeepStrictEqual(config, port.bfd?.config ?? null)) return;
    if (config && port.bfd) port.bfd.setConfig(config);
    else if (config) startBfd(this, port, config);
    else stopBfd(port);
    if (!config) this.healthChanged(port);
    // Whose packets those are has changed.
    this.backer.revalidateAll();
  }

  setCfm(ofport: number, config: CfmConfig | null): void {
    const port = this.portTable.get(ofport);
    if (!port || isDeepStrictEqual(config, port.cfm?.config ?? null)) return;
    if (config && port.cfm?.config.mpid === config.mpid) port.cfm.setConfig(config);
    else {
      stopCfm(port);
      if (config) startCfm(this, port, config);
    }
    if (!config) this.healthChanged(port);
    this.backer.revalidateAll();
  }

  setLldp(ofport: number, isEnabled: boolean): void {
    const port = this.portTable.get(ofport);
    if (!port || isEnabled === (port.lldp !== null)) return;
    if (isEnabled) startLldp(this, port);
    else {
      stopLldp(port);
      this.backer.revalidateAll();
    }
  }

  setAutoAttach(config: AutoAttachConfig | null): void {
    this.autoAttach = config;
  }

  /** Link health detection found a port fit, or no more so. */
  healthChanged(port: OfPort): void {
    if (this.portTable.get(port.ofport) !== port) return;
    if (port.refresh()) {
      this.backer.revalidateAll();
      port.bundle?.lacp?.linksChanged();
      this.tree?.linkChanged(port);
      port.bundle?.bond?.run();
      this.announce(port, null);
    }
    this.onStatus();
  }

  /** What may pass a port has changed. */
  portStateChanged(port: OfPort): void {
    this.announce(port, null);
    this.backer.revalidateAll();
  }

  private setMcastSnooping(config: McastSnoopingConfig | null): void {
    if (!config) {
      if (this.mcast) this.backer.revalidateAll();
      this.mcast = null;
      return;
    }
    if (!this.mcast) {
      this.mcast = new McastSnooping();
      this.mcast.onChange = () => this.backer.revalidateAll();
      this.backer.revalidateAll();
    }
    this.mcast.configure(config.agingSeconds, config.tableSize, config.floodsUnregistered);
  }

  controllerStatus(): readonly ControllerStatus[] {
    return this.connmgr.status();
  }

  /** Without controllers a standalone bridge starts out as an ordinary switch. */
  flushFlows(): void {
    this.isFlushed = true;
    this.tables.flush();
    this.groups.clear();
    this.meters.delete(OFPM_ALL);
    this.macs.flush();
    this.addInternalRules();
    for (const { bond, bondRules } of this.bundleTable.values()) if (bond) bondRules?.update(bond);
    if (this.config.failMode === 'standalone' && !hasController(this.config)) {
      this.addRule(new Match(), 0, 0, NORMAL_ACTIONS);
    }
    this.updateInBand();
  }

  private sizeChanged(table: number): void {
    const options = this.options.get(table);
    if (options) watchVacancy(this, this.tables.tables[table], options);
  }

  tableOptions(table: number): TableOptions {
    let options = this.options.get(table);
    if (!options) this.options.set(table, (options = { eviction: false, vacancy: null }));
    return options;
  }

  /** Brings the hidden rules of in-band control up to date with controllers and the local port's address. */
  private updateInBand(): void {
    const targets = this.config.controllers.filter((c) => c.connectionMode === 'in-band').map((c) => c.target);
    const local = this.portTable.get(OFPP.LOCAL);
    const wanted = local ? inBandRules(targets, local.netdev.mac()) : [];
    const kept: Rule[] = [];
    for (const rule of this.inBand) {
      if (rule.removed) continue;
      const at = wanted.findIndex((w) => w.priority === rule.priority && w.match.equals(rule.match));
      if (at >= 0) {
        wanted.splice(at, 1);
        kept.push(rule);
      } else {
        this.tables.remove(rule, 'flush');
      }
    }
    const added = wanted.map(({ match, priority }) => this.addRule(match, priority, 0, NORMAL_ACTIONS));
    this.inBand = [...kept, ...added];
  }

  setFailOpen(isActive: boolean): void {
    const match = new Match();
    const rule = this.tables.tables[0].classifier.findExactly(match, FAIL_OPEN_PRIORITY);
    if (isActive && !rule) this.addRule(match, FAIL_OPEN_PRIORITY, 0, NORMAL_ACTIONS);
    else if (!isActive && rule) this.tables.remove(rule, 'flush');
  }

  setFragFlags(flags: number): void {
    if (flags === this.fragFlags) return;
    this.fragFlags = flags;
    this.backer.revalidateAll();
  }

  /** A controller came or went, or wants other messages. */
  connectionsChanged(): void {
    const wants = this.connmgr.wantsImplicitMiss();
    if (wants === this.wantsPacketInOnMiss) return;
    this.wantsPacketInOnMiss = wants;
    this.backer.revalidateAll();
  }

  async settled(): Promise<void> {
    await this.backer.inForce();
  }

  async destroy(): Promise<void> {
    if (this.isDestroyed) return;
    this.isDestroyed = true;
    this.setStp(null);
    this.setRstp(null);
    this.exporters.close();
    this.connmgr.close();
    for (const port of this.sortedPorts()) await this.portDel(port.ofport);
    this.tables.listener = {};
    this.meters.delete(OFPM_ALL);
    this.backer.bridgeRemoved(this);
    await this.backer.inForce();
  }

  /** Time passes: MACs age, rules expire. Statistics must have been pushed. */
  run(nowMs: number): void {
    this.macs.run(nowMs);
    this.mcast?.run(nowMs);
    for (const bundle of this.bundleTable.values()) bundle.bond?.run();
    if (this.mayExpire) this.tables.expire(nowMs);
  }

  // ---- rules ----

  /** One of the switch's own, in the table that nobody sees. */
  addInternalRule(match: Match, priority: number, actions: readonly Ofpact[]): Rule {
    return this.addRule(match, priority, TBL_INTERNAL, actions);
  }

  private addRule(match: Match, priority: number, table: number, actions: readonly Ofpact[]): Rule {
    const rule = new Rule({ match, priority, table, actions, nowMs: clock.nowMs() });
    this.tables.insert(rule);
    return rule;
  }

  /**
   * The switch's own table: where packets go that recirculated to nowhere or that no rule matched, so that they are
   * counted. `reg0` says which: 1 to controllers, 2 dropped, 3 a fragment dropped.
   */
  private addInternalRules(): void {
    const recirculated = new Match();
    recirculated.mask.set32(OFS.recirc_id, 0xffffffff);
    this.addRule(recirculated, 2, TBL_INTERNAL, []);
    const toController: Ofpact = {
      kind: 'controller',
      maxLen: 0xffff,
      controllerId: 0,
      reason: IMPLICIT_MISS,
      userdata: null,
      pause: false,
      meterId: null,
    };
    for (const [reg0, actions] of [[1, [toController]] as const, [2, []] as const, [3, []] as const]) {
      const match = new Match();
      match.key.set32(OFS.reg0, reg0);
      match.mask.set32(OFS.reg0, 0xffffffff);
      this.addRule(match, 0, TBL_INTERNAL, actions);
    }
  }

  private tellMonitors(event: FlowEvent, rule: Rule, reason: number): void {
    for (const conn of this.connmgr.all()) conn.monitors.note(event, rule, reason, this.flowModOrigin);
  }

  private ruleChanged(rule: Rule): void {
    const { idleTimeout, hardTimeout, actions } = rule;
    this.mayExpire ||= idleTimeout > 0 || hardTimeout > 0 || actions.some((a) => a.kind === 'fin_timeout');
    this.backer.ruleChanged(this, rule);
  }

  private ruleRemoved(rule: Rule, reason: RuleRemovedReason): void {
    this.backer.ruleChanged(this, rule);
    if (reason === 'flush') return;
    if (reason !== 'replaced') this.tellMonitors('deleted', rule, REMOVED_REASON[reason]);
    if (reason === 'replaced') {
      // Its counters are about to pass to its successor.
      this.backer.pushStats();
      return;
    }
    if (!rule.flags.sendFlowRem || rule.isHidden) return;
    this.backer.pushStats();
    log.dbg(`${this.name}: flow removed from table ${rule.table} (${reason})`);
    this.connmgr.flowRemoved({
      type: 'flow_removed',
      match: rule.match,
      priority: rule.priority,
      cookie: rule.cookie,
      reason,
      table: rule.table,
      durationMs: Math.floor(clock.nowMs() - rule.createdMs),
      idleTimeout: rule.idleTimeout,
      hardTimeout: rule.hardTimeout,
      packets: rule.flags.noPacketCounts ? -1 : rule.packets,
      bytes: rule.flags.noByteCounts ? -1 : rule.bytes,
    });
  }
}
