/**
 * A bridge's OpenFlow connections: the service listeners `BRIDGE.mgmt` and `BRIDGE.snoop`, the controllers of the
 * database (active ones that it keeps calling, passive ones that it listens for), roles, and who gets which asynchronous
 * message.
 *
 * Fail-open: in `standalone` mode with controllers of which none has been heard for three probe intervals, a hidden rule
 * makes the bridge an ordinary switch until one is back. `ovs-vswitchd.conf.db(5)`, `fail_mode`
 */

import { existsSync, unlinkSync } from 'node:fs';
import { clock } from '../base/clock.ts';
import { coverage } from '../base/coverage.ts';
import { errorText } from '../base/errno.ts';
import { type Listener, listenStreams, type Stream } from '../base/stream.ts';
import { vlog } from '../base/vlog.ts';
import type { FlowRemoved, PhyPort } from '../openflow/messages.ts';
import { Vconn, withDefaultPort } from '../openflow/vconn.ts';
import { type PacketInOrder, sendFlowRemoved, sendPacketIn, sendPortStatus, wantsImplicitMiss } from './async.ts';
import type { Bridge } from './bridge.ts';
import { OfConn, type Role } from './conn.ts';
import { ControllerCall } from './controller-call.ts';
import { handle } from './handlers/index.ts';
import type { ControllerConfig, ControllerStatus, OfprotoConfig } from './ofproto.ts';

const received = coverage('ofproto_recv_openflow');

const log = vlog('connmgr');

const SNOOP_LIMIT = 1 << 20;

/** Above every priority a controller can give, and hidden from it. */
export const FAIL_OPEN_PRIORITY = 0xf0f0f0;
/** How often fail-open and controllers are looked at. */
const TICK_MS = 500;
/** Stands in for a probe interval of "never". */
const DEFAULT_PROBE_MS = 5000;
/** `enum ofp14_controller_role_reason` */
const OFPCRR_MASTER_REQUEST = 0;

interface Controller {
  readonly config: ControllerConfig;
  /** Calls an active controller. */
  call: ControllerCall | null;
  /** Waits for a passive one. */
  listener: Listener | null;
  /** The connection of `call`, or those accepted by `listener`. */
  readonly conns: Set<OfConn>;
  /** When it was configured or last lost its connection. */
  since: number;
}

export class ConnMgr {
  readonly bridge: Bridge;
  generationId: bigint | null = null;
  private readonly conns = new Set<OfConn>();
  private readonly snoops = new Set<Vconn>();
  private readonly negotiating = new Set<Vconn>();
  /** What to do when a connection ends. */
  private readonly attached = new Map<Vconn, () => void>();
  private readonly controllers = new Map<string, Controller>();
  private readonly listeners: Listener[] = [];
  private rundir: string | null = null;
  private config: OfprotoConfig | null = null;
  private timer: Disposable | null = null;
  private isFailOpen = false;
  private isClosed = false;

  constructor(bridge: Bridge) {
    this.bridge = bridge;
  }

  setConfig(config: OfprotoConfig): void {
    const before = this.config;
    this.config = config;
    if (this.rundir === null) {
      this.rundir = config.rundir;
      void this.listenService('mgmt');
      void this.listenService('snoop');
    }
    this.timer ??= clock.setInterval(() => this.tick(), TICK_MS);
    if (before && !sameVersions(before.protocols, config.protocols)) this.dropAll(config.protocols);
    const called = config.isRestoring ? [] : config.controllers;
    const wanted = new Map(called.map((c) => [c.target, c]));
    for (const [target, controller] of this.controllers) {
      const next = wanted.get(target);
      if (next && sameController(controller.config, next)) continue;
      this.dropController(controller);
      this.controllers.delete(target);
      log.info(`${this.bridge.name}: removed ${isPassive(target) ? 'service' : 'primary'} controller "${target}"`);
    }
    for (const [target, next] of wanted) if (!this.controllers.has(target)) this.addController(target, next);
    this.updateFailOpen();
  }

  all(): Iterable<OfConn> {
    return this.conns;
  }

  /** Does anybody want packets that no flow matched? */
  wantsImplicitMiss(): boolean {
    for (const conn of this.conns) if (wantsImplicitMiss(conn)) return true;
    return false;
  }

  packetIn(order: PacketInOrder): number {
    return sendPacketIn(this.conns, order);
  }

  flowRemoved(message: FlowRemoved): void {
    sendFlowRemoved(this.conns, message);
  }

  portStatus(
    reason: 'add' | 'delete' | 'modify',
    port: PhyPort,
    before: PhyPort | null,
    origin: OfConn | null = null,
  ): void {
    sendPortStatus(this.conns, reason, port, before, origin);
  }

  /** Takes a role request's generation; false when it is older than what was seen. OpenFlow 1.3.5 6.3.6 */
  acceptGeneration(id: bigint): boolean {
    if (this.generationId !== null && BigInt.asIntN(64, id - this.generationId) < 0n) return false;
    this.generationId = id;
    return true;
  }

  setRole(conn: OfConn, role: Role): void {
    if (role === 'primary') {
      for (const other of this.conns) {
        if (other === conn || other.role !== 'primary') continue;
        other.role = 'secondary';
        if (other.version >= 5 && other.wants('roleStatus', OFPCRR_MASTER_REQUEST)) {
          const generationId = this.generationId ?? -1n;
          other.sendAsync({ type: 'role_status', role: 'secondary', reason: OFPCRR_MASTER_REQUEST, generationId });
        }
      }
    }
    conn.role = role;
  }

  status(): readonly ControllerStatus[] {
    return [...this.controllers].map(([target, c]) => {
      const conn = c.conns.values().next().value;
      const role = conn?.role === 'primary' ? 'master' : conn?.role === 'secondary' ? 'slave' : 'other';
      const isConnected = conn !== undefined;
      return { target, isConnected, role, status: c.call?.status() ?? new Map() };
    });
  }

  /** `bridge/reconnect`: drops every controller connection, they come back by themselves. */
  reconnect(): void {
    for (const controller of this.controllers.values()) {
      controller.call?.again();
      if (!controller.call) for (const conn of [...controller.conns]) conn.close();
    }
  }

  close(): void {
    this.isClosed = true;
    this.timer?.[Symbol.dispose]();
    for (const controller of this.controllers.values()) this.dropController(controller);
    this.controllers.clear();
    for (const listener of this.listeners) listener.close();
    for (const conn of [...this.conns]) conn.close();
    for (const vconn of [...this.snoops, ...this.negotiating]) vconn.close();
  }

  private async listenService(kind: 'mgmt' | 'snoop'): Promise<void> {
    const path = `${this.rundir}/${this.bridge.name}.${kind}`;
    try {
      if (existsSync(path)) unlinkSync(path);
      const listener = await listenStreams(`punix:${path}`, (stream) =>
        kind === 'mgmt' ? this.accept(stream, null) : this.acceptSnoop(stream),
      );
      if (this.isClosed) listener.close();
      else this.listeners.push(listener);
    } catch (cause) {
      log.err(`failed to listen on punix:${path}: ${errorText(cause)}`);
    }
  }

  private addController(target: string, config: ControllerConfig): void {
    const controller: Controller = { config, call: null, listener: null, conns: new Set(), since: clock.nowMs() };
    this.controllers.set(target, controller);
    log.info(`${this.bridge.name}: added ${isPassive(target) ? 'service' : 'primary'} controller "${target}"`);
    if (isPassive(target)) {
      listenStreams(withDefaultPort(target), (stream) => this.accept(stream, controller)).then(
        (listener) => {
          if (this.controllers.get(target) === controller) controller.listener = listener;
          else listener.close();
        },
        (cause) => log.err(`${this.bridge.name}: failed to listen on ${target}: ${errorText(cause)}`),
      );
      return;
    }
    const name = `${this.bridge.name}<->${target}`;
    controller.call = new ControllerCall(target, {
      name,
      versions: this.versions(),
      maxBackoffMs: config.maxBackoffMs,
      probeIntervalMs: config.inactivityProbeMs,
      onConnected: (vconn) => this.attach(vconn, name, controller),
      onClosed: (vconn) => this.detach(vconn),
    });
  }

  private dropController(controller: Controller): void {
    controller.call?.close();
    controller.listener?.close();
    for (const conn of [...controller.conns]) conn.close();
  }

  /** The versions that may be spoken, as a set of bits. */
  private versions(): number {
    return (this.config?.protocols ?? []).reduce((set, v) => set | (1 << v), 0);
  }

  /** A peer called. `controller` is the passive one that it called; null is a service connection. */
  private accept(stream: Stream, controller: Controller | null): void {
    const name = `${this.bridge.name}<->${stream.name}`;
    const vconn = new Vconn(stream, this.versions(), name);
    this.negotiating.add(vconn);
    vconn.onClose(() => {
      this.negotiating.delete(vconn);
      this.detach(vconn);
    });
    vconn.onConnected(() => {
      this.negotiating.delete(vconn);
      this.attach(vconn, name, controller);
    });
  }

  private acceptSnoop(stream: Stream): void {
    const vconn = new Vconn(stream, this.versions(), `${this.bridge.name}<->snoop`);
    vconn.onConnected(() => {
      this.snoops.add(vconn);
      vconn.onMessage(() => {});
      vconn.onClose(() => this.snoops.delete(vconn));
    });
  }

  /** A connection has its version: it is one of ours from now on. */
  private attach(vconn: Vconn, name: string, controller: Controller | null): void {
    const conn = new OfConn(vconn, name, !controller?.call, (c, request) => handle(this.bridge, c, request));
    const { rateLimit, burstLimit } = controller?.config ?? { rateLimit: null, burstLimit: null };
    if (rateLimit) conn.limitPacketIns(rateLimit, burstLimit ?? 0);
    this.conns.add(conn);
    controller?.conns.add(conn);
    vconn.onBad((failure, raw) => {
      if (failure.error) conn.receiveBad(failure.error, failure.xid, raw);
    });
    conn.onClosedHere = () => {
      this.detach(vconn);
      controller?.call?.hungUp(vconn);
    };
    this.attached.set(vconn, () => {
      conn.closed();
      this.conns.delete(conn);
      if (controller) {
        controller.conns.delete(conn);
        controller.since = clock.nowMs();
      }
      if (!this.isClosed) this.bridge.connectionsChanged();
    });
    if (controller) vconn.onSent((_message, _xid, raw) => this.copyToSnoops(raw));
    this.updateFailOpen();
    this.bridge.connectionsChanged();
    vconn.onMessage((message, xid, raw) => {
      received.inc();
      if (controller) this.copyToSnoops(raw);
      conn.receive(message, xid, raw);
    });
  }

  private detach(vconn: Vconn): void {
    const detach = this.attached.get(vconn);
    this.attached.delete(vconn);
    detach?.();
  }

  private copyToSnoops(bytes: Uint8Array): void {
    for (const snoop of this.snoops) if (snoop.backlogBytes < SNOOP_LIMIT) snoop.sendRaw(bytes.slice());
  }

  private tick(): void {
    this.updateFailOpen();
    const now = clock.nowMs();
    for (const conn of this.conns) conn.logFlowMods(now);
  }

  /** Enters fail-open when every controller has been silent for three probe intervals; leaves it when one is back. */
  private updateFailOpen(): void {
    const isWanted = this.config?.failMode === 'standalone' && this.allSilent();
    if (isWanted === this.isFailOpen) return;
    this.isFailOpen = isWanted;
    if (isWanted) log.warn(`${this.bridge.name}: Could not connect to controller, failing open`);
    else log.warn(`${this.bridge.name}: No longer in fail-open mode`);
    this.bridge.setFailOpen(isWanted);
  }

  private allSilent(): boolean {
    const now = clock.nowMs();
    let patience = Number.POSITIVE_INFINITY;
    let lastHeard = 0;
    for (const controller of this.controllers.values()) {
      if (!controller.call) continue;
      if (controller.conns.size > 0) return false;
      if (!Number.isFinite(patience)) patience = 0;
      patience = Math.max(patience, 3 * (controller.config.inactivityProbeMs || DEFAULT_PROBE_MS));
      lastHeard = Math.max(lastHeard, controller.since);
    }
    return now - lastHeard >= patience;
  }

  /** Connections whose version is no longer allowed are closed. */
  private dropAll(versions: readonly number[]): void {
    for (const conn of [...this.conns]) if (!versions.includes(conn.version)) conn.close();
  }
}

/** Who calls us is served, but is not the controller that a bridge depends on. */
export function isPassive(target: string): boolean {
  return /^p(tcp|ssl|unix):/.test(target);
}

function sameVersions(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((v) => b.includes(v));
}

function sameController(a: ControllerConfig, b: ControllerConfig): boolean {
  return (Object.keys(a) as (keyof ControllerConfig)[]).every((key) => a[key] === b[key]);
}
