/**
 * The spanning tree protocol of one bridge. IEEE 802.1D-1998 8; names of procedures and variables are the standard's.
 *
 * A timer is the time at which it expires, or null. Everything happens in `receive`, in `run`, and when a port changes.
 */
import { clock } from '../base/clock.ts';
import { BPDU_FLAG, type Bpdu, type ConfigBpdu } from '../packet/bpdu.ts';

const HOLD_MS = 1000;
const AGE_INCREMENT_MS = 1000;

export type StpState = 'disabled' | 'listening' | 'learning' | 'forwarding' | 'blocking';
export type StpRole = 'root' | 'designated' | 'alternate' | 'disabled';

export interface StpConfig {
  readonly priority: number;
  readonly systemId: Uint8Array;
  readonly helloTimeMs: number;
  readonly maxAgeMs: number;
  readonly forwardDelayMs: number;
}

export interface StpPortConfig {
  /** 1 to 255. */
  readonly number: number;
  readonly priority: number;
  readonly pathCost: number;
}

export class StpPort {
  readonly name: string;
  readonly ofport: number;
  config: StpPortConfig;
  state: StpState = 'disabled';
  stateSinceMs: number = clock.nowMs();
  designatedRoot = 0n;
  designatedCost = 0;
  designatedBridge = 0n;
  designatedPort = 0;
  topologyChangeAck = false;
  configPending = false;
  messageAge: { readonly sinceMs: number; readonly age: number } | null = null;
  forwardDelay: number | null = null;
  hold: number | null = null;
  readonly stats = { tx: 0, rx: 0, error: 0 };

  constructor(name: string, ofport: number, config: StpPortConfig) {
    this.name = name;
    this.ofport = ofport;
    this.config = config;
  }

  get portId(): number {
    return (this.config.priority << 8) | this.config.number;
  }
}

export interface StpHost {
  send(port: StpPort, bpdu: Bpdu): void;
  /** A port is in another state now. */
  stateChanged(port: StpPort, before: StpState): void;
  /** Addresses may be elsewhere now. */
  flush(): void;
}

const addressNumber = (mac: Uint8Array): bigint => BigInt(`0x${Buffer.from(mac).toString('hex')}`);
export const bridgeId = (priority: number, mac: Uint8Array): bigint => (BigInt(priority) << 48n) | addressNumber(mac);

export class Stp {
  config: StpConfig;
  designatedRoot: bigint;
  rootPathCost = 0;
  rootPort: StpPort | null = null;
  maxAgeMs: number;
  helloTimeMs: number;
  forwardDelayMs: number;
  private topologyChange = false;
  private topologyChangeDetected = false;
  private hello: number | null = null;
  private tcn: number | null = null;
  private topologyChangeTimer: number | null = null;
  private readonly host: StpHost;
  private readonly portMap = new Map<number, StpPort>();
  private timer: Disposable | null = null;

  constructor(config: StpConfig, host: StpHost) {
    this.config = agreeing(config);
    this.host = host;
    this.designatedRoot = this.bridgeId;
    this.maxAgeMs = this.config.maxAgeMs;
    this.helloTimeMs = this.config.helloTimeMs;
    this.forwardDelayMs = this.config.forwardDelayMs;
    this.hello = clock.nowMs() + config.helloTimeMs;
    this.arm();
  }

  get bridgeId(): bigint {
    return bridgeId(this.config.priority, this.config.systemId);
  }

  get isRoot(): boolean {
    return this.designatedRoot === this.bridgeId;
  }

  get ports(): StpPort[] {
    return [...this.portMap.values()].sort((a, b) => a.config.number - b.config.number);
  }

  port(ofport: number): StpPort | undefined {
    return this.portMap.get(ofport);
  }

  role(port: StpPort): StpRole {
    if (port.state === 'disabled') return 'disabled';
    if (port === this.rootPort) return 'root';
    return this.isDesignated(port) ? 'designated' : 'alternate';
  }

  setConfig(config: StpConfig): void {
    const old = this.config;
    const isOther = old.priority !== config.priority || addressNumber(old.systemId) !== addressNumber(config.systemId);
    const wasRoot = this.isRoot;
    const mine = [...this.portMap.values()].filter((p) => this.isDesignated(p));
    this.config = agreeing(config);
    if (wasRoot) this.useOwnTimes();
    if (!isOther) return;
    // 8.8.4: ports that were designated are so by the new identifier.
    for (const p of mine) p.designatedBridge = this.bridgeId;
    if (wasRoot) for (const p of mine) p.designatedRoot = this.bridgeId;
    if (wasRoot) this.designatedRoot = this.bridgeId;
    this.reconsider(wasRoot);
  }

  /** Adds a port or configures it anew. */
  setPort(ofport: number, name: string, config: StpPortConfig, isUp: boolean): void {
    let port = this.portMap.get(ofport);
    if (!port) {
      port = new StpPort(name, ofport, config);
      this.portMap.set(ofport, port);
    }
    const isDesignated = this.isDesignated(port);
    const isOther = port.config.number !== config.number || port.config.priority !== config.priority;
    const isCostlier = port.config.pathCost !== config.pathCost;
    port.config = config;
    if (isOther && isDesignated) port.designatedPort = port.portId;
    if (isUp && port.state === 'disabled') this.enable(port);
    else if (!isUp && port.state !== 'disabled') this.disable(port);
    else if (isOther || isCostlier) this.reconsider(this.isRoot);
  }

  removePort(ofport: number): void {
    const port = this.portMap.get(ofport);
    if (!port) return;
    if (port.state !== 'disabled') this.disable(port);
    this.portMap.delete(ofport);
  }

  private enable(port: StpPort): void {
    this.becomeDesignated(port);
    this.setState(port, 'blocking');
    port.topologyChangeAck = false;
    port.configPending = false;
    port.messageAge = null;
    port.forwardDelay = null;
    port.hold = null;
    this.selectPortStates();
    this.arm();
  }

  private disable(port: StpPort): void {
    const wasRoot = this.isRoot;
    this.becomeDesignated(port);
    this.setState(port, 'disabled');
    port.messageAge = null;
    port.forwardDelay = null;
    this.reconsider(wasRoot);
  }

  private setState(port: StpPort, state: StpState): void {
    if (port.state === state) return;
    const before = port.state;
    port.state = state;
    port.stateSinceMs = clock.nowMs();
    this.host.stateChanged(port, before);
  }

  // ---- what comes in ----

  receive(ofport: number, bpdu: Bpdu | null): void {
    const port = this.portMap.get(ofport);
    if (!port) return;
    port.stats.rx++;
    if (!bpdu) port.stats.error++;
    if (!bpdu || port.state === 'disabled') return;
    if (bpdu.type === 'tcn') this.receivedTcn(port);
    else this.receivedConfig(port, bpdu);
    this.arm();
  }

  private receivedConfig(port: StpPort, c: ConfigBpdu): void {
    if (c.messageAgeMs >= c.maxAgeMs) return;
    const wasRoot = this.isRoot;
    if (this.supersedes(port, c)) {
      port.designatedRoot = c.rootId;
      port.designatedCost = c.rootPathCost;
      port.designatedBridge = c.bridgeId;
      port.designatedPort = c.portId;
      port.messageAge = { sinceMs: clock.nowMs(), age: c.messageAgeMs };
      this.update();
      this.selectPortStates();
      if (!this.isRoot && wasRoot) {
        this.hello = null;
        if (this.topologyChangeDetected) {
          this.topologyChangeTimer = null;
          this.sendTcn();
          this.tcn = clock.nowMs() + this.config.helloTimeMs;
        }
      }
      if (port !== this.rootPort) return;
      this.maxAgeMs = c.maxAgeMs;
      this.helloTimeMs = c.helloTimeMs;
      this.forwardDelayMs = c.forwardDelayMs;
      this.setTopologyChange((c.flags & BPDU_FLAG.topologyChange) !== 0);
      this.generateConfigs();
      if (c.flags & BPDU_FLAG.topologyChangeAck) {
        this.topologyChangeDetected = false;
        this.tcn = null;
      }
    } else if (this.isDesignated(port)) {
      this.sendConfig(port);
    }
  }

  private receivedTcn(port: StpPort): void {
    if (!this.isDesignated(port)) return;
    this.detectTopologyChange();
    port.topologyChangeAck = true;
    this.sendConfig(port);
  }

  private supersedes(port: StpPort, c: ConfigBpdu): boolean {
    if (c.rootId !== port.designatedRoot) return c.rootId < port.designatedRoot;
    if (c.rootPathCost !== port.designatedCost) return c.rootPathCost < port.designatedCost;
    if (c.bridgeId !== port.designatedBridge) return c.bridgeId < port.designatedBridge;
    return c.bridgeId !== this.bridgeId || c.portId <= port.designatedPort;
  }

  // ---- what follows from it ----

  private isDesignated(port: StpPort): boolean {
    return port.designatedBridge === this.bridgeId && port.designatedPort === port.portId;
  }

  private becomeDesignated(port: StpPort): void {
    port.designatedRoot = this.designatedRoot;
    port.designatedCost = this.rootPathCost;
    port.designatedBridge = this.bridgeId;
    port.designatedPort = port.portId;
  }

  private reconsider(wasRoot: boolean): void {
    this.update();
    this.selectPortStates();
    if (this.isRoot && !wasRoot) this.becameRoot();
    this.arm();
  }

  private useOwnTimes(): void {
    this.maxAgeMs = this.config.maxAgeMs;
    this.helloTimeMs = this.config.helloTimeMs;
    this.forwardDelayMs = this.config.forwardDelayMs;
  }

  private becameRoot(): void {
    this.useOwnTimes();
    this.detectTopologyChange();
    this.tcn = null;
    this.generateConfigs();
    this.hello = clock.nowMs() + this.helloTimeMs;
  }

  /** 8.6.7: the root, and which ports are designated. */
  private update(): void {
    let best: StpPort | null = null;
    for (const p of this.portMap.values()) {
      if (p.state === 'disabled' || this.isDesignated(p) || p.designatedRoot >= this.bridgeId) continue;
      if (!best || isBetter(p, best)) best = p;
    }
    this.rootPort = best;
    this.designatedRoot = best ? best.designatedRoot : this.bridgeId;
    this.rootPathCost = best ? best.designatedCost + best.config.pathCost : 0;
    for (const p of this.portMap.values()) if (this.shallBeDesignated(p)) this.becomeDesignated(p);
  }

  private shallBeDesignated(p: StpPort): boolean {
    if (this.isDesignated(p) || p.designatedRoot !== this.designatedRoot) return true;
    if (this.rootPathCost !== p.designatedCost) return this.rootPathCost < p.designatedCost;
    if (this.bridgeId !== p.designatedBridge) return this.bridgeId < p.designatedBridge;
    return p.portId <= p.designatedPort;
  }

  /** 8.6.11 */
  private selectPortStates(): void {
    for (const p of this.portMap.values()) {
      if (p.state === 'disabled') continue;
      if (p === this.rootPort) {
        p.configPending = false;
        p.topologyChangeAck = false;
        this.makeForwarding(p);
      } else if (this.isDesignated(p)) {
        p.messageAge = null;
        this.makeForwarding(p);
      } else {
        p.configPending = false;
        p.topologyChangeAck = false;
        this.makeBlocking(p);
      }
    }
  }

  private makeForwarding(p: StpPort): void {
    if (p.state !== 'blocking') return;
    this.setState(p, 'listening');
    p.forwardDelay = clock.nowMs() + this.forwardDelayMs;
  }

  private makeBlocking(p: StpPort): void {
    if (p.state === 'disabled' || p.state === 'blocking') return;
    if (p.state === 'forwarding' || p.state === 'learning') this.detectTopologyChange();
    this.setState(p, 'blocking');
    p.forwardDelay = null;
  }

  private setTopologyChange(isOn: boolean): void {
    if (isOn && !this.topologyChange) this.host.flush();
    this.topologyChange = isOn;
  }

  /** 8.6.14 */
  detectTopologyChange(): void {
    const now = clock.nowMs();
    if (this.isRoot) {
      this.setTopologyChange(true);
      this.topologyChangeTimer = now + this.config.maxAgeMs + this.config.forwardDelayMs;
    } else if (!this.topologyChangeDetected) {
      this.sendTcn();
      this.tcn = now + this.config.helloTimeMs;
    }
    this.topologyChangeDetected = true;
    this.host.flush();
    this.arm();
  }

  // ---- what goes out ----

  private generateConfigs(): void {
    for (const p of this.portMap.values()) if (p.state !== 'disabled' && this.isDesignated(p)) this.sendConfig(p);
  }

  private sendConfig(p: StpPort): void {
    const now = clock.nowMs();
    if (p.hold !== null && now < p.hold) {
      p.configPending = true;
      return;
    }
    const heard = this.rootPort?.messageAge;
    const messageAgeMs = this.isRoot || !heard ? 0 : heard.age + (now - heard.sinceMs) + AGE_INCREMENT_MS;
    if (messageAgeMs >= this.maxAgeMs) return;
    const flags =
      (this.topologyChange ? BPDU_FLAG.topologyChange : 0) | (p.topologyChangeAck ? BPDU_FLAG.topologyChangeAck : 0);
    p.topologyChangeAck = false;
    p.configPending = false;
    p.hold = now + HOLD_MS;
    this.send(p, {
      type: 'config',
      flags,
      rootId: this.designatedRoot,
      rootPathCost: this.rootPathCost,
      bridgeId: this.bridgeId,
      portId: p.portId,
      messageAgeMs,
      maxAgeMs: this.maxAgeMs,
      helloTimeMs: this.helloTimeMs,
      forwardDelayMs: this.forwardDelayMs,
    });
  }

  private sendTcn(): void {
    if (this.rootPort) this.send(this.rootPort, { type: 'tcn' });
  }

  private send(p: StpPort, bpdu: Bpdu): void {
    p.stats.tx++;
    this.host.send(p, bpdu);
  }

  // ---- time ----

  private run(): void {
    const now = clock.nowMs();
    const isDue = (at: number | null): boolean => at !== null && now >= at;
    if (isDue(this.hello)) {
      this.generateConfigs();
      this.hello = now + this.helloTimeMs;
    }
    if (isDue(this.tcn)) {
      this.sendTcn();
      this.tcn = now + this.config.helloTimeMs;
    }
    if (isDue(this.topologyChangeTimer)) {
      this.topologyChangeTimer = null;
      this.topologyChangeDetected = false;
      this.topologyChange = false;
    }
    for (const p of this.portMap.values()) {
      if (p.messageAge && now >= this.expiry(p)) this.messageExpired(p);
      if (isDue(p.forwardDelay)) this.forwardDelayExpired(p);
      if (isDue(p.hold)) {
        p.hold = null;
        if (p.configPending) this.sendConfig(p);
      }
    }
    this.arm();
  }

  private expiry(p: StpPort): number {
    return p.messageAge ? p.messageAge.sinceMs + this.maxAgeMs - p.messageAge.age : Number.POSITIVE_INFINITY;
  }

  private messageExpired(p: StpPort): void {
    const wasRoot = this.isRoot;
    p.messageAge = null;
    this.becomeDesignated(p);
    this.update();
    this.selectPortStates();
    if (this.isRoot && !wasRoot) this.becameRoot();
  }

  private forwardDelayExpired(p: StpPort): void {
    p.forwardDelay = null;
    if (p.state === 'listening') {
      p.forwardDelay = clock.nowMs() + this.forwardDelayMs;
      this.setState(p, 'learning');
    } else if (p.state === 'learning') {
      this.setState(p, 'forwarding');
      for (const q of this.portMap.values()) {
        if (!this.isDesignated(q)) continue;
        this.detectTopologyChange();
        break;
      }
    }
  }

  private arm(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    let next = Number.POSITIVE_INFINITY;
    const see = (at: number | null): void => {
      if (at !== null && at < next) next = at;
    };
    see(this.hello);
    see(this.tcn);
    see(this.topologyChangeTimer);
    for (const p of this.portMap.values()) {
      see(p.forwardDelay);
      if (p.configPending) see(p.hold);
      see(this.expiry(p));
    }
    if (Number.isFinite(next))
      this.timer = clock.setTimeout(() => this.run(), Math.max(1, next - clock.nowMs()), { keepAlive: false });
  }

  close(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    this.portMap.clear();
  }
}

/** 8.10.2: 2 × (forward delay - 1 s) ≥ max age ≥ 2 × (hello time + 1 s). */
function agreeing(config: StpConfig): StpConfig {
  const maxAgeMs = Math.max(config.maxAgeMs, 2 * (config.helloTimeMs + 1000));
  return { ...config, maxAgeMs, forwardDelayMs: Math.max(config.forwardDelayMs, maxAgeMs / 2 + 1000) };
}

/** 8.6.8.3.1 */
function isBetter(a: StpPort, b: StpPort): boolean {
  if (a.designatedRoot !== b.designatedRoot) return a.designatedRoot < b.designatedRoot;
  const [costA, costB] = [a.designatedCost + a.config.pathCost, b.designatedCost + b.config.pathCost];
  if (costA !== costB) return costA < costB;
  if (a.designatedBridge !== b.designatedBridge) return a.designatedBridge < b.designatedBridge;
  if (a.designatedPort !== b.designatedPort) return a.designatedPort < b.designatedPort;
  return a.portId < b.portId;
}
