/**
 * What all bridges of one datapath type share: the `Dpif`, the handler of its upcalls, the revalidator, recirculation
 * ids, and the map from datapath ports to bridges. Patch ports carry packets from bridge to bridge inside one
 * translation, so the bridges of a backer know each other's ports.
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import type { DpFlow, Dpif } from '../dpif/dpif.ts';
import type { DpAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import type { TunnelNetdev } from '../netdev/tunnel.ts';
import { OFPP } from '../openflow/ports.ts';
import { Bridge } from './bridge.ts';
import { executePacketOut } from './handlers/packet-out.ts';
import { JourneyCollector } from './journey/collector.ts';
import { DropLedger } from './journey/drops.ts';
import type { AutoAttachConfig } from './lldp.ts';
import type { OfPort } from './ofport.ts';
import type { Ofproto, OfprotoBacker } from './ofproto.ts';
import { Revalidator } from './revalidator.ts';
import type { Rule } from './rule.ts';
import { TunnelSpace } from './tunnel/space.ts';
import { Ukey } from './ukey.ts';
import { UpcallHandler } from './upcall.ts';
import { metered } from './xlate/controller.ts';
import { RecircTable, type XlateInput, type XlatePort, type XlateResult, xlateFlow } from './xlate.ts';

const log = vlog('ofproto_dpif');

export interface PortOwner {
  readonly bridge: Bridge;
  readonly port: OfPort;
}

export interface TunnelOwner {
  readonly bridge: Bridge;
  readonly netdev: TunnelNetdev;
}

export class Backer implements OfprotoBacker {
  readonly type: string;
  readonly dpif: Dpif;
  readonly recirc = new RecircTable();
  readonly tunnels: TunnelSpace<TunnelOwner>;
  /** Numbers of the datapath's meters, which bridges share. */
  readonly meterIds = new Set<number>();
  readonly revalidator: Revalidator;
  readonly upcalls: UpcallHandler;
  /** Null where the datapath's packets cannot tell. */
  readonly journeys: JourneyCollector | null;
  /** What the tables dropped, by port, table and rule. */
  readonly drops = new DropLedger();
  private readonly bridgeTable = new Map<string, Bridge>();
  private readonly byDpPort = new Map<number, PortOwner>();
  private readonly patches = new Map<string, PortOwner>();
  onClosed: () => void = () => {};
  private isPushed = false;

  constructor(type: string, dpif: Dpif) {
    this.type = type;
    this.dpif = dpif;
    this.revalidator = new Revalidator(this);
    this.tunnels = new TunnelSpace({
      dpif,
      bridges: { [Symbol.iterator]: () => this.bridgeTable.values() },
      revalidateAll: () => this.revalidateAll(),
      inject,
      netdevOf: ({ netdev }) => netdev,
    });
    this.upcalls = new UpcallHandler(this);
    this.journeys = dpif.journeys ? new JourneyCollector(this, dpif.journeys) : null;
    dpif.onUpcalls((batch) => this.upcalls.handle(batch));
  }

  get bridges(): Iterable<Bridge> {
    return this.bridgeTable.values();
  }

  createBridge(name: string, type: string): Ofproto {
    const bridge = new Bridge(name, type, this);
    this.bridgeTable.set(name, bridge);
    return bridge;
  }

  bridge(name: string): Bridge | undefined {
    return this.bridgeTable.get(name);
  }

  bridgeRemoved(bridge: Bridge): void {
    this.bridgeTable.delete(bridge.name);
    this.revalidator.everythingChanged();
  }

  configure(config: ReadonlyMap<string, string>): void {
    const r = this.revalidator;
    r.maxIdleMs = Math.max(100, number(config, 'max-idle', 10_000));
    r.setInterval(Math.min(r.maxIdleMs, Math.max(100, number(config, 'max-revalidator', 500))));
    r.configuredLimit = Math.max(0, number(config, 'flow-limit', 200_000));
    this.upcalls.isRestoring = config.get('flow-restore-wait') === 'true';
    this.dpif.configure(config);
  }

  async letGo(): Promise<void> {
    if (!this.journeys) return;
    this.journeys.close();
    await this.dpif.quiesce();
    // What went up meanwhile has been answered by now.
    await this.dpif.quiesce();
  }

  async close(): Promise<void> {
    this.journeys?.close();
    this.tunnels[Symbol.dispose]();
    this.revalidator.close();
    for (const bridge of [...this.bridgeTable.values()]) await bridge.destroy();
    this.dpif.flowFlush();
    await this.dpif.close();
    this.onClosed();
  }

  // ---- ports ----

  portAdded(bridge: Bridge, port: OfPort): void {
    if (port.dpPort === null) this.patches.set(port.name, { bridge, port });
    else if (!port.tunnel) this.byDpPort.set(port.dpPort, { bridge, port });
  }

  portRemoved(port: OfPort): void {
    if (port.dpPort === null) this.patches.delete(port.name);
    else if (!port.tunnel) this.byDpPort.delete(port.dpPort);
  }

  owner(dpPort: number): PortOwner | undefined {
    return this.byDpPort.get(dpPort);
  }

  /** The patch port that `port` names as its peer, if that one names it back. */
  peerOf(port: OfPort): XlatePort['peer'] {
    const peer = this.patches.get(port.peerName ?? '');
    return peer && peer.port.peerName === port.name ? peer : null;
  }

  // ---- translation ----

  /** The slow-path flow of a datapath key, with the bridge that it enters. Null for an unknown port. */
  flowOf(dpKey: FlowKey): { readonly flow: FlowKey; readonly bridge: Bridge } | null {
    const owner = this.owner(dpKey.get32(OFS.in_port)) ?? this.tunnelOwner(dpKey);
    if (!owner) return this.recirculatedFlow(dpKey);
    const flow = dpKey.clone();
    flow.set32(OFS.in_port, owner.port.ofport);
    return { flow, bridge: owner.bridge };
  }

  private tunnelOwner(dpKey: FlowKey): PortOwner | undefined {
    if (!this.tunnels.ports.isTunnelPort(dpKey.get32(OFS.in_port))) return undefined;
    const tunnel = this.tunnels.ports.receive(dpKey);
    const port = tunnel?.owner.bridge.namedPort(tunnel.name);
    return tunnel && port ? { bridge: tunnel.owner.bridge, port } : undefined;
  }

  /** A packet-out may come from a port that is no port: only its recirculation says where it belongs. */
  private recirculatedFlow(dpKey: FlowKey): { readonly flow: FlowKey; readonly bridge: Bridge } | null {
    const state = this.recirc.lookup(dpKey.get32(OFS.recirc_id));
    if (!state || !(state.bridge instanceof Bridge)) return null;
    const flow = dpKey.clone();
    flow.set32(OFS.in_port, state.inPort);
    return { flow, bridge: state.bridge };
  }

  /** A bridge's own settings, or those of any bridge: they are the machine's. */
  autoAttach(bridge: Bridge): AutoAttachConfig | null {
    if (bridge.autoAttach) return bridge.autoAttach;
    for (const other of this.bridgeTable.values()) if (other.autoAttach) return other.autoAttach;
    return null;
  }

  nowMs(): number {
    return clock.nowMs();
  }

  translate(input: Omit<XlateInput, 'recirc' | 'nowMs'>): XlateResult {
    const result = xlateFlow({ ...input, recirc: this.recirc, tunnels: this.tunnels, nowMs: clock.nowMs() });
    if (result.actions.length > 0) return result;
    return { ...result, effects: [...result.effects, this.drops.effect(input.bridge, input.flow, result)] };
  }

  /** For revalidation; null when the megaflow's bridge or port is gone. */
  translateAgain(ukey: Ukey): XlateResult | null {
    const dpKey = ukey.flow?.key;
    const entry = dpKey && this.flowOf(dpKey);
    if (!entry || entry.bridge !== ukey.bridge) return null;
    const flow = ukey.key;
    flow.set32(OFS.in_port, entry.flow.get32(OFS.in_port));
    return this.translate({ bridge: entry.bridge, flow, packet: null, tcpFlags: ukey.tcpFlags });
  }

  /** For a flow that somebody else put in the datapath. */
  ukeyFor(flow: DpFlow): Ukey | null {
    const entry = this.flowOf(flow.key);
    if (!entry) return null;
    const result = this.translate({ ...entry, packet: null });
    const mask = new FlowKey();
    mask.w.set(flow.mask.w);
    return new Ukey(entry.flow, entry.bridge, { ...result, mask }, clock.nowMs());
  }

  /** What goes into the datapath: the actions, or "hand every packet up" where the datapath cannot do them. */
  installable(result: XlateResult): readonly DpAction[] {
    if (result.slow === 0) return result.actions;
    return metered(
      { kind: 'userspace', userspace: { type: 'slow_path', reasons: result.slow } },
      result.slowMeter ?? null,
    );
  }

  // ---- changes ----

  ruleChanged(bridge: Bridge, rule: Rule): void {
    this.revalidator.ruleChanged(bridge.tables.tables[rule.table], rule);
  }

  /** The entry of a MAC table that changed; null when it may be any. */
  macsChanged(key: string | null): void {
    this.revalidator.macsChanged(key);
  }

  revalidateAll(): void {
    this.revalidator.everythingChanged();
  }

  /** Null when all that was configured is in force already. */
  inForce(): Promise<void> | null {
    return this.revalidator.inForce();
  }

  /** Brings counters of rules and ports up to date; many calls in one turn of the event loop cost one. */
  pushStats(): void {
    if (this.isPushed) return;
    this.isPushed = true;
    setImmediate(() => {
      this.isPushed = false;
    });
    this.revalidator.pushStats();
  }

  /** After each sweep. */
  run(): void {
    const now = clock.nowMs();
    this.tunnels.run(now);
    for (const bridge of this.bridgeTable.values()) {
      try {
        bridge.run(now);
      } catch (cause) {
        log.err(`${bridge.name}: ${cause instanceof Error ? cause.stack : cause}`);
      }
    }
  }
}

/** A packet of nobody's takes its way through a bridge's tables. */
function inject(bridge: unknown, packet: Uint8Array): void {
  if (!(bridge instanceof Bridge)) return;
  const metadata = new Match();
  metadata.key.set32(OFS.in_port, OFPP.NONE);
  metadata.mask.set32(OFS.in_port, 0xffffffff);
  const actions = [{ kind: 'output', port: OFPP.TABLE, maxLen: 0 }] as const;
  executePacketOut(bridge, { type: 'packet_out', bufferId: NO_BUFFER, packet, actions, metadata });
}

const NO_BUFFER = 0xffffffff;

function number(config: ReadonlyMap<string, string>, key: string, fallback: number): number {
  const text = config.get(key);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : fallback;
}
