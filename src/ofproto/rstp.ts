/**
 * The rapid spanning tree protocol of one bridge. IEEE 802.1D-2004 17; names of variables are the standard's, its state machines
 * are rules that are tried until none applies any more. All links count as point to point. Timers count seconds.
 */
import { clock } from '../base/clock.ts';
import { BPDU_FLAG, type Bpdu, type ConfigBpdu } from '../packet/bpdu.ts';
import { bridgeId } from './stp.ts';

const MIGRATE_S = 3;
const TICK_MS = 1000;
const MAX_ROUNDS = 1000;

export type RstpRole = 'Root' | 'Designated' | 'Alternate' | 'Backup' | 'Disabled';
export type RstpState = 'Disabled' | 'Discarding' | 'Learning' | 'Forwarding';

/** 17.5: compared part by part, less is better. */
export interface PriorityVector {
  readonly root: bigint;
  readonly cost: number;
  readonly bridge: bigint;
  readonly port: number;
  readonly bridgePort: number;
}

function compare(a: PriorityVector, b: PriorityVector): number {
  if (a.root !== b.root) return a.root < b.root ? -1 : 1;
  if (a.cost !== b.cost) return a.cost - b.cost;
  if (a.bridge !== b.bridge) return a.bridge < b.bridge ? -1 : 1;
  return a.port - b.port || a.bridgePort - b.bridgePort;
}

interface Times {
  readonly messageAge: number;
  readonly maxAge: number;
  readonly forwardDelay: number;
  readonly helloTime: number;
}

const sameTimes = (a: Times, b: Times): boolean =>
  a.messageAge === b.messageAge &&
  a.maxAge === b.maxAge &&
  a.forwardDelay === b.forwardDelay &&
  a.helloTime === b.helloTime;

export interface RstpConfig {
  readonly priority: number;
  readonly address: Uint8Array;
  readonly maxAge: number;
  readonly forwardDelay: number;
  readonly transmitHoldCount: number;
  /** Speak as an STP bridge does. */
  readonly forceStp: boolean;
}

export interface RstpPortConfig {
  readonly number: number;
  readonly priority: number;
  readonly pathCost: number;
  readonly adminEdge: boolean;
  readonly autoEdge: boolean;
}

export class RstpPort {
  readonly name: string;
  readonly ofport: number;
  config: RstpPortConfig;
  isEnabled = false;
  role: RstpRole = 'Disabled';
  state: RstpState = 'Disabled';
  readonly sinceMs = clock.nowMs();
  infoIs: 'disabled' | 'mine' | 'aged' | 'received' = 'disabled';
  portPriority: PriorityVector;
  portTimes: Times;
  designatedPriority: PriorityVector;
  designatedTimes: Times;
  updtInfo = false;
  learn = false;
  forward = false;
  proposed = false;
  proposing = false;
  agree = false;
  agreed = false;
  sync = false;
  synced = false;
  reRoot = false;
  disputed = false;
  operEdge = false;
  newInfo = false;
  sendRstp = true;
  rcvdTc = false;
  tcProp = false;
  tcAck = false;
  isTcActive = false;
  fdWhile = 0;
  rrWhile = 0;
  rbWhile = 0;
  tcWhile = 0;
  rcvdInfoWhile = 0;
  edgeDelayWhile = 0;
  mdelayWhile = 0;
  helloWhen = 0;
  txCount = 0;
  readonly stats = { tx: 0, rx: 0, error: 0 };

  constructor(name: string, ofport: number, config: RstpPortConfig, vector: PriorityVector, times: Times) {
    this.name = name;
    this.ofport = ofport;
    this.config = config;
    this.portPriority = vector;
    this.designatedPriority = vector;
    this.portTimes = times;
    this.designatedTimes = times;
    this.operEdge = config.adminEdge;
  }

  get portId(): number {
    return (this.config.priority << 8) | this.config.number;
  }
}

export interface RstpHost {
  send(port: RstpPort, bpdu: Bpdu): void;
  stateChanged(port: RstpPort, before: RstpState): void;
  flush(port: RstpPort): void;
}

const HELLO = 2;

export class Rstp {
  config: RstpConfig;
  rootPriority: PriorityVector;
  rootTimes: Times;
  rootPort: RstpPort | null = null;
  private readonly host: RstpHost;
  private readonly portMap = new Map<number, RstpPort>();
  private readonly timer: Disposable;
  private isRunning = false;

  constructor(config: RstpConfig, host: RstpHost) {
    this.config = config;
    this.host = host;
    this.rootPriority = this.ownPriority();
    this.rootTimes = this.ownTimes();
    this.timer = clock.setInterval(() => this.tick(), TICK_MS, { keepAlive: false });
  }

  get bridgeId(): bigint {
    return bridgeId(this.config.priority, this.config.address);
  }

  get isRoot(): boolean {
    return this.rootPort === null;
  }

  get ports(): RstpPort[] {
    return [...this.portMap.values()].sort((a, b) => a.config.number - b.config.number);
  }

  port(ofport: number): RstpPort | undefined {
    return this.portMap.get(ofport);
  }

  private ownPriority(): PriorityVector {
    return { root: this.bridgeId, cost: 0, bridge: this.bridgeId, port: 0, bridgePort: 0 };
  }

  private ownTimes(): Times {
    const { maxAge, forwardDelay } = this.config;
    return { messageAge: 0, maxAge, forwardDelay, helloTime: HELLO };
  }

  setConfig(config: RstpConfig): void {
    this.config = config;
    for (const p of this.portMap.values()) if (p.isEnabled && p.infoIs === 'mine') p.updtInfo = true;
    this.reselect();
    this.settle();
  }

  setPort(ofport: number, name: string, config: RstpPortConfig, isUp: boolean): void {
    let p = this.portMap.get(ofport);
    if (!p) {
      p = new RstpPort(name, ofport, config, this.ownPriority(), this.ownTimes());
      this.portMap.set(ofport, p);
    } else if (p.config.adminEdge !== config.adminEdge) {
      p.operEdge = config.adminEdge;
    }
    p.config = config;
    if (isUp !== p.isEnabled) this.enable(p, isUp);
    this.reselect();
    this.settle();
  }

  removePort(ofport: number): void {
    const p = this.portMap.get(ofport);
    if (!p) return;
    this.enable(p, false);
    this.settle();
    this.portMap.delete(ofport);
    this.reselect();
    this.settle();
  }

  private enable(p: RstpPort, isEnabled: boolean): void {
    p.isEnabled = isEnabled;
    p.infoIs = isEnabled ? 'aged' : 'disabled';
    p.rcvdInfoWhile = 0;
    p.proposed = false;
    p.proposing = false;
    p.agree = false;
    p.agreed = false;
    p.operEdge = p.config.adminEdge;
    p.sendRstp = !this.config.forceStp;
    p.mdelayWhile = MIGRATE_S;
    p.edgeDelayWhile = MIGRATE_S;
    p.fdWhile = this.rootTimes.forwardDelay;
    p.helloWhen = 0;
  }

  // ---- what comes in ----

  receive(ofport: number, bpdu: Bpdu | null): void {
    const p = this.portMap.get(ofport);
    if (!p) return;
    p.stats.rx++;
    if (!bpdu) p.stats.error++;
    if (!bpdu || !p.isEnabled) return;
    p.operEdge = false;
    p.edgeDelayWhile = MIGRATE_S;
    this.migrate(p, bpdu.type === 'rstp');
    if (bpdu.type === 'tcn') {
      p.rcvdTc = true;
      p.tcAck = p.role === 'Designated';
    } else this.receivedInfo(p, bpdu);
    this.settle();
  }

  /** 17.24: speak as the neighbour does. */
  private migrate(p: RstpPort, isRstp: boolean): void {
    if (p.mdelayWhile > 0 || this.config.forceStp || p.sendRstp === isRstp) return;
    p.sendRstp = isRstp;
    p.mdelayWhile = MIGRATE_S;
  }

  private receivedInfo(p: RstpPort, c: ConfigBpdu): void {
    const role = c.type === 'config' ? BPDU_FLAG.roleMask : c.flags & BPDU_FLAG.roleMask;
    const msg: PriorityVector = {
      root: c.rootId,
      cost: c.rootPathCost,
      bridge: c.bridgeId,
      port: c.portId,
      bridgePort: p.portId,
    };
    const times: Times = {
      messageAge: Math.round(c.messageAgeMs / 1000),
      maxAge: Math.round(c.maxAgeMs / 1000),
      forwardDelay: Math.round(c.forwardDelayMs / 1000),
      helloTime: Math.max(1, Math.round(c.helloTimeMs / 1000)),
    };
    const hasTc = (c.flags & BPDU_FLAG.topologyChange) !== 0;
    if (role === BPDU_FLAG.roleMask) this.receivedDesignated(p, c, msg, times, hasTc);
    else if (role === 0x08 || role === 0x04) {
      // From a root or alternate port: an answer to our proposal.
      if (c.flags & BPDU_FLAG.agreement && c.type === 'rstp') {
        p.agreed = true;
        p.proposing = false;
      }
      if (hasTc) p.rcvdTc = true;
    }
    if (c.flags & BPDU_FLAG.topologyChangeAck) p.tcWhile = 0;
  }

  private receivedDesignated(p: RstpPort, c: ConfigBpdu, msg: PriorityVector, times: Times, hasTc: boolean): void {
    const order = compare(msg, p.portPriority);
    const isSameSender = msg.bridge === p.portPriority.bridge && msg.port === p.portPriority.port;
    const isRepeated = order === 0 && sameTimes(times, p.portTimes) && p.infoIs === 'received';
    const isSuperior = order < 0 || (isSameSender && !isRepeated) || (order === 0 && p.infoIs !== 'received');
    if (!isRepeated && !(isSuperior && msg.bridge !== this.bridgeId)) {
      if (order > 0 && c.type === 'rstp' && c.flags & BPDU_FLAG.learning) {
        p.agreed = false;
        p.proposing = false;
        p.disputed = true;
      } else if (order > 0 && p.role === 'Designated') p.newInfo = true;
      return;
    }
    if (c.flags & BPDU_FLAG.proposal && c.type === 'rstp') p.proposed = true;
    if (hasTc) p.rcvdTc = true;
    if (!isRepeated) {
      p.agreed = false;
      p.proposing = false;
      p.synced = false;
      p.agree = p.agree && compare(msg, p.portPriority) <= 0 && p.infoIs === 'received';
      p.portPriority = msg;
      p.portTimes = times;
      p.infoIs = 'received';
    }
    const effectiveAge = times.messageAge + 1;
    p.rcvdInfoWhile = effectiveAge <= times.maxAge ? 3 * times.helloTime : 0;
    if (!isRepeated) this.reselect();
  }

  // ---- 17.21.25: which port is what ----

  private reselect(): void {
    let best = this.ownPriority();
    this.rootPort = null;
    for (const p of this.portMap.values()) {
      if (p.infoIs !== 'received' || p.portPriority.bridge === this.bridgeId) continue;
      const path = { ...p.portPriority, cost: p.portPriority.cost + p.config.pathCost, bridgePort: p.portId };
      if (compare(path, best) < 0) {
        best = path;
        this.rootPort = p;
      }
    }
    this.rootPriority = best;
    const { rootPort } = this;
    this.rootTimes = rootPort
      ? { ...rootPort.portTimes, messageAge: rootPort.portTimes.messageAge + 1 }
      : this.ownTimes();
    for (const p of this.portMap.values()) {
      p.designatedPriority = {
        root: best.root,
        cost: best.cost,
        bridge: this.bridgeId,
        port: p.portId,
        bridgePort: p.portId,
      };
      p.designatedTimes = { ...this.rootTimes, helloTime: HELLO };
      this.chooseRole(p);
    }
  }

  private chooseRole(p: RstpPort): void {
    p.updtInfo = false;
    if (p.infoIs === 'disabled') return this.setRole(p, 'Disabled');
    if (p.infoIs === 'received' && p === this.rootPort) return this.setRole(p, 'Root');
    const isBetter = compare(p.designatedPriority, p.portPriority) < 0;
    if (p.infoIs === 'received' && !isBetter) {
      return this.setRole(p, p.portPriority.bridge === this.bridgeId ? 'Backup' : 'Alternate');
    }
    const isOther = compare(p.designatedPriority, p.portPriority) !== 0 || !sameTimes(p.designatedTimes, p.portTimes);
    p.updtInfo = p.infoIs !== 'mine' || isOther;
    this.setRole(p, 'Designated');
  }

  private setRole(p: RstpPort, role: RstpRole): void {
    if (p.role === role) return;
    const was = p.role;
    p.role = role;
    if (role === 'Alternate' || role === 'Backup') {
      if (was === 'Root' || was === 'Designated') p.agree = false;
      p.fdWhile = this.rootTimes.forwardDelay;
    } else if (role === 'Designated' && was !== 'Root') {
      p.proposing = false;
    }
    if (role === 'Root') p.rrWhile = this.rootTimes.forwardDelay;
    if (was === 'Backup') p.rbWhile = 2 * HELLO;
  }

  // ---- the state machines ----

  /** Lets every rule apply that can. */
  private settle(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    try {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        let isChanged = false;
        for (const p of this.portMap.values()) {
          if (this.update(p)) isChanged = true;
          if (this.transition(p)) isChanged = true;
          if (this.topologyChange(p)) isChanged = true;
        }
        if (!isChanged) break;
      }
      for (const p of this.portMap.values()) this.applyState(p);
      for (const p of this.portMap.values()) this.transmit(p);
    } finally {
      this.isRunning = false;
    }
  }

  private update(p: RstpPort): boolean {
    if (!p.updtInfo) return false;
    p.updtInfo = false;
    p.agreed = p.agreed && compare(p.portPriority, p.designatedPriority) <= 0;
    p.synced = p.synced && p.agreed;
    p.portPriority = p.designatedPriority;
    p.portTimes = p.designatedTimes;
    p.infoIs = 'mine';
    p.newInfo = true;
    return true;
  }

  private others(p: RstpPort): RstpPort[] {
    return [...this.portMap.values()].filter((q) => q !== p);
  }

  private get allSynced(): boolean {
    for (const p of this.portMap.values()) if (p.role !== 'Root' && p.role !== 'Disabled' && !p.synced) return false;
    return true;
  }

  private get reRooted(): boolean {
    return this.others(this.rootPort as RstpPort).every((p) => p.rrWhile === 0);
  }

  private transition(p: RstpPort): boolean {
    switch (p.role) {
      case 'Root':
        return this.rootRules(p);
      case 'Designated':
        return this.designatedRules(p);
      default:
        return this.otherRules(p);
    }
  }

  private agreement(p: RstpPort): boolean {
    if (p.proposed && !p.agree) {
      for (const q of this.portMap.values()) if (!q.sync) q.sync = true;
      p.proposed = false;
      return true;
    }
    if ((this.allSynced && !p.agree) || (p.proposed && p.agree)) {
      p.proposed = false;
      p.sync = false;
      p.agree = true;
      p.newInfo = true;
      return true;
    }
    return false;
  }

  private rootRules(p: RstpPort): boolean {
    if (this.agreement(p)) return true;
    if (!p.forward && !p.reRoot) {
      for (const q of this.portMap.values()) q.reRoot = true;
      return true;
    }
    p.rrWhile = Math.max(p.rrWhile, this.rootTimes.forwardDelay);
    if (p.reRoot && p.forward) {
      p.reRoot = false;
      return true;
    }
    const mayPass = p.fdWhile === 0 || (this.reRooted && p.rbWhile === 0 && !this.config.forceStp);
    return mayPass && this.openUp(p);
  }

  /** One step from discarding to forwarding. */
  private openUp(p: RstpPort): boolean {
    if (!p.learn) {
      p.fdWhile = this.rootTimes.forwardDelay;
      p.learn = true;
      return true;
    }
    if (!p.forward) {
      p.fdWhile = 0;
      p.forward = true;
      return true;
    }
    return false;
  }

  private designatedRules(p: RstpPort): boolean {
    if (!p.forward && !p.agreed && !p.proposing && !p.operEdge) {
      p.proposing = true;
      p.edgeDelayWhile = MIGRATE_S;
      p.newInfo = true;
      return true;
    }
    const isShut = !p.learn && !p.forward;
    if ((!p.synced && (isShut || p.agreed || p.operEdge)) || (p.sync && p.synced)) {
      p.rrWhile = 0;
      p.synced = true;
      p.sync = false;
      return true;
    }
    const mustShut = (p.sync && !p.synced) || (p.reRoot && p.rrWhile !== 0) || p.disputed;
    if (mustShut && !p.operEdge && (p.learn || p.forward)) {
      p.learn = false;
      p.forward = false;
      p.disputed = false;
      p.fdWhile = this.rootTimes.forwardDelay;
      return true;
    }
    if (p.disputed) {
      p.disputed = false;
      return true;
    }
    if (p.rrWhile === 0 && p.reRoot) {
      p.reRoot = false;
      return true;
    }
    const mayPass = p.fdWhile === 0 || p.agreed || p.operEdge;
    if (!mayPass || (p.rrWhile !== 0 && p.reRoot) || p.sync) return false;
    const hadForward = p.forward;
    const isChanged = this.openUp(p);
    if (p.forward && !hadForward) p.agreed = p.sendRstp;
    return isChanged;
  }

  private otherRules(p: RstpPort): boolean {
    if (p.learn || p.forward) {
      p.learn = false;
      p.forward = false;
      return true;
    }
    if (p.role !== 'Disabled' && this.agreement(p)) return true;
    p.fdWhile = this.rootTimes.forwardDelay;
    if (p.role === 'Backup') p.rbWhile = 2 * HELLO;
    if (p.synced && p.rrWhile === 0 && !p.sync && !p.reRoot) return false;
    p.synced = true;
    p.rrWhile = 0;
    p.sync = false;
    p.reRoot = false;
    return true;
  }

  /** 17.31 */
  private topologyChange(p: RstpPort): boolean {
    const isActive = (p.role === 'Root' || p.role === 'Designated') && p.forward && !p.operEdge;
    if (isActive !== p.isTcActive) {
      p.isTcActive = isActive;
      if (isActive) {
        this.newTcWhile(p);
        for (const q of this.others(p)) q.tcProp = true;
        p.newInfo = true;
      } else {
        this.host.flush(p);
        p.tcWhile = 0;
      }
      return true;
    }
    if (p.rcvdTc) {
      p.rcvdTc = false;
      if (isActive) for (const q of this.others(p)) q.tcProp = true;
      return true;
    }
    if (p.tcProp) {
      p.tcProp = false;
      if (isActive) {
        this.newTcWhile(p);
        this.host.flush(p);
      }
      return true;
    }
    return false;
  }

  private newTcWhile(p: RstpPort): void {
    if (p.tcWhile !== 0) return;
    p.tcWhile = p.sendRstp ? HELLO + 1 : this.rootTimes.maxAge + this.rootTimes.forwardDelay;
    p.newInfo = true;
  }

  private applyState(p: RstpPort): void {
    const state: RstpState = !p.isEnabled ? 'Disabled' : p.forward ? 'Forwarding' : p.learn ? 'Learning' : 'Discarding';
    if (state === p.state) return;
    const before = p.state;
    p.state = state;
    this.host.stateChanged(p, before);
  }

  // ---- what goes out ----

  private transmit(p: RstpPort): void {
    if (!p.newInfo || !p.isEnabled || p.txCount >= this.config.transmitHoldCount) return;
    p.newInfo = false;
    if (p.role === 'Disabled') return;
    if (!p.sendRstp && p.role === 'Root') {
      if (p.tcWhile !== 0) this.send(p, { type: 'tcn' });
      return;
    }
    if (!p.sendRstp && p.role !== 'Designated') return;
    const roleBits = p.role === 'Designated' ? 0x0c : p.role === 'Root' ? 0x08 : 0x04;
    const { designatedPriority: d, designatedTimes: t } = p;
    const tc = p.tcWhile !== 0 ? BPDU_FLAG.topologyChange : 0;
    const flags = p.sendRstp
      ? roleBits |
        (p.agree && p.role !== 'Designated' ? BPDU_FLAG.agreement : 0) |
        (p.proposing ? BPDU_FLAG.proposal : 0) |
        (p.learn ? BPDU_FLAG.learning : 0) |
        (p.forward ? BPDU_FLAG.forwarding : 0)
      : p.tcAck
        ? BPDU_FLAG.topologyChangeAck
        : 0;
    p.tcAck = false;
    this.send(p, {
      type: p.sendRstp ? 'rstp' : 'config',
      flags: flags | tc,
      rootId: d.root,
      rootPathCost: d.cost,
      bridgeId: d.bridge,
      portId: d.port,
      messageAgeMs: t.messageAge * 1000,
      maxAgeMs: t.maxAge * 1000,
      helloTimeMs: t.helloTime * 1000,
      forwardDelayMs: t.forwardDelay * 1000,
    });
  }

  private send(p: RstpPort, bpdu: Bpdu): void {
    p.txCount++;
    p.stats.tx++;
    p.helloWhen = HELLO;
    this.host.send(p, bpdu);
  }

  // ---- time ----

  private tick(): void {
    let isAged = false;
    const less = (n: number): number => (n > 0 ? n - 1 : 0);
    for (const p of this.portMap.values()) {
      p.helloWhen = less(p.helloWhen);
      p.tcWhile = less(p.tcWhile);
      p.fdWhile = less(p.fdWhile);
      p.rbWhile = less(p.rbWhile);
      p.mdelayWhile = less(p.mdelayWhile);
      p.edgeDelayWhile = less(p.edgeDelayWhile);
      p.txCount = less(p.txCount);
      if (p.role !== 'Root') p.rrWhile = less(p.rrWhile);
      if (p.rcvdInfoWhile > 0 && --p.rcvdInfoWhile === 0 && p.infoIs === 'received') {
        p.infoIs = 'aged';
        isAged = true;
      }
      if (p.edgeDelayWhile === 0 && p.config.autoEdge && p.sendRstp && p.proposing) p.operEdge = true;
      if (p.helloWhen === 0 && (p.role === 'Designated' || (p.role === 'Root' && p.tcWhile !== 0))) p.newInfo = true;
    }
    if (isAged) this.reselect();
    this.settle();
  }

  /** `rstp/tcn`: as if a neighbour had told of a change. */
  noteTopologyChange(): void {
    for (const p of this.portMap.values()) p.rcvdTc = true;
    this.settle();
  }

  /** `rstp-port-mcheck`: begin again with RSTP. */
  check(ofport: number): void {
    const p = this.portMap.get(ofport);
    if (!p || this.config.forceStp) return;
    p.sendRstp = true;
    p.mdelayWhile = MIGRATE_S;
  }

  close(): void {
    this.timer[Symbol.dispose]();
    this.portMap.clear();
  }
}
