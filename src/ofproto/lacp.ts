/**
 * LACP for one bundle: what its members tell the other end and hear from it, and which of them may so be used together.
 * IEEE 802.1AX 6.4, with the selection logic reduced to one aggregator a bundle. `ovs-vswitchd.conf.db(5)`, "LACP"
 *
 * A member is `current` while it hears the other end, `expired` for three seconds without, and then `defaulted`. Members that
 * are not defaulted and whose partners are the same system and aggregation as the foremost member's are attached.
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { LACP_STATE, type LacpInfo, NOBODY, readSlowFrame, sameInfo } from '../packet/lacp.ts';
import { macText } from './mac-learning.ts';

const log = vlog('lacp');

const FAST_TX_MS = 1000;
const SLOW_TX_MS = 30_000;
/** No more PDUs than this in a second, whatever the other end says. IEEE 802.1AX 6.4.16 */
const MAX_PER_SECOND = 3;
/** Silence that is three PDUs long. */
const SILENCE = 3;

export interface LacpConfig {
  readonly isActive: boolean;
  /** Null for the bridge's own address. */
  readonly systemId: Uint8Array | null;
  readonly systemPriority: number;
  readonly isFast: boolean;
  readonly fallback: boolean;
  readonly members: readonly LacpMemberConfig[];
}

export interface LacpMemberConfig {
  readonly ofport: number;
  /** Null for the port's OpenFlow number. */
  readonly portId: number | null;
  readonly portPriority: number;
  /** Null for the first member's, or its port id. */
  readonly key: number | null;
}

/** What LACP needs of a port. */
export interface LacpPort {
  readonly ofport: number;
  readonly name: string;
  readonly mayEnable: boolean;
}

export class LacpMember {
  readonly port: LacpPort;
  config: LacpMemberConfig;
  status: 'current' | 'expired' | 'defaulted' = 'defaulted';
  isAttached = false;
  hasCarrier: boolean;
  partner: LacpInfo = NOBODY;
  /** What the other end believes of this one. */
  known: LacpInfo = NOBODY;
  sendAtMs = 0;
  /** When the second began that `inWindow` PDUs were sent in. */
  windowMs = Number.NEGATIVE_INFINITY;
  inWindow = 0;
  silentAtMs = 0;
  readonly stats = { tx: 0, rx: 0, bad: 0, markers: 0, expired: 0, defaulted: 0, carrierChanges: 0 };

  constructor(port: LacpPort, config: LacpMemberConfig) {
    this.port = port;
    this.config = config;
    this.hasCarrier = port.mayEnable;
  }

  get portId(): number {
    return this.config.portId ?? this.port.ofport;
  }
}

export type LacpStatus = 'negotiated' | 'configured' | 'off';

export interface LacpHost {
  /** The bridge's address. */
  systemId(): Uint8Array;
  send(port: LacpPort, actor: LacpInfo, partner: LacpInfo): void;
  /** Members may be used now that could not, or the other way round. */
  changed(): void;
  /** A member hears its partner now, or no more. */
  statusChanged(): void;
}

export class Lacp {
  readonly name: string;
  config: LacpConfig;
  members: readonly LacpMember[] = [];
  isNegotiated = false;
  private readonly host: LacpHost;
  private timer: Disposable | null = null;

  constructor(name: string, config: LacpConfig, host: LacpHost) {
    this.name = name;
    this.config = config;
    this.host = host;
  }

  get status(): LacpStatus {
    return this.isNegotiated ? 'negotiated' : 'configured';
  }

  get systemId(): Uint8Array {
    return this.config.systemId ?? this.host.systemId();
  }

  /** Of the whole aggregation. */
  get key(): number {
    const [first] = this.members;
    return first ? (first.config.key ?? first.portId) : 0;
  }

  setConfig(config: LacpConfig, ports: readonly LacpPort[]): void {
    const known = new Map(this.members.map((m) => [m.port, m]));
    this.config = config;
    this.members = ports.map((port) => {
      const mine = config.members.find((c) => c.ofport === port.ofport) ?? {
        ofport: port.ofport,
        portId: null,
        portPriority: 0xffff,
        key: null,
      };
      const member = known.get(port) ?? new LacpMember(port, mine);
      member.config = mine;
      if (!known.has(port) && config.isActive) this.expire(member);
      return member;
    });
    this.attach();
    this.run();
  }

  member(port: LacpPort): LacpMember | undefined {
    return this.members.find((m) => m.port === port);
  }

  mayEnable(port: LacpPort): boolean {
    const m = this.member(port);
    if (!m?.isAttached) return false;
    return (m.partner.state & LACP_STATE.synchronized) !== 0 || (this.config.fallback && m.status === 'defaulted');
  }

  isCurrent(port: LacpPort): boolean {
    return this.member(port)?.status === 'current';
  }

  receive(port: LacpPort, frame: Uint8Array): void {
    const m = this.member(port);
    const pdu = m && readSlowFrame(frame);
    if (!m || !pdu) return;
    m.stats.rx++;
    if (pdu.type === 'bad') {
      m.stats.bad++;
      log.rl(20).warn(`${this.name}: received an unparsable LACP PDU.`);
      return;
    }
    if (pdu.type === 'marker_request') {
      m.stats.markers++;
      return;
    }
    if (m.status !== 'current') this.host.statusChanged();
    m.status = 'current';
    m.silentAtMs = clock.nowMs() + SILENCE * (this.config.isFast ? FAST_TX_MS : SLOW_TX_MS);
    m.known = pdu.partner;
    if (!sameInfo(pdu.actor, m.partner)) {
      m.partner = pdu.actor;
      this.attach();
    }
    this.run();
  }

  /** A member's link came or went. */
  linksChanged(): void {
    for (const m of this.members) {
      if (m.hasCarrier === m.port.mayEnable) continue;
      m.hasCarrier = m.port.mayEnable;
      m.stats.carrierChanges++;
      if (m.status === 'current' || this.config.isActive) this.expire(m);
    }
    this.attach();
    this.run();
  }

  private expire(m: LacpMember): void {
    if (m.status === 'current') this.host.statusChanged();
    m.status = 'expired';
    m.partner = {
      ...m.partner,
      state: (m.partner.state | LACP_STATE.timeout) & ~LACP_STATE.synchronized,
    };
    m.silentAtMs = clock.nowMs() + SILENCE * FAST_TX_MS;
    m.sendAtMs = clock.nowMs();
  }

  private run(): void {
    const now = clock.nowMs();
    let isChanged = false;
    for (const m of this.members) {
      if (m.status === 'defaulted' || now < m.silentAtMs) continue;
      isChanged = true;
      if (m.status === 'current') {
        m.stats.expired++;
        this.expire(m);
      } else {
        m.stats.defaulted++;
        m.status = 'defaulted';
        m.partner = NOBODY;
      }
    }
    if (isChanged) this.attach();
    for (const m of this.members) this.maySend(m, now);
    this.schedule(now);
  }

  private maySend(m: LacpMember, now: number): void {
    if (!this.config.isActive && (m.partner.state & LACP_STATE.activity) === 0) return;
    const actor = this.actor(m);
    if (now < m.sendAtMs && sameInfo(actor, m.known)) return;
    if (now - m.windowMs >= FAST_TX_MS) {
      m.windowMs = now;
      m.inWindow = 0;
    }
    if (m.inWindow >= MAX_PER_SECOND) {
      m.sendAtMs = m.windowMs + FAST_TX_MS;
      return;
    }
    m.inWindow++;
    m.known = actor;
    m.sendAtMs = now + (m.partner.state & LACP_STATE.timeout ? FAST_TX_MS : SLOW_TX_MS);
    if (!m.hasCarrier) return;
    m.stats.tx++;
    this.host.send(m.port, actor, m.partner);
  }

  /** Decides who belongs together. */
  private attach(): void {
    const before = this.members.map((m) => this.mayEnable(m.port)).join();
    const wasNegotiated = this.isNegotiated;
    let lead: LacpMember | null = null;
    for (const m of this.members) {
      m.isAttached = false;
      if (m.status === 'defaulted') continue;
      if (macText(m.partner.systemId) === macText(this.systemId)) {
        log.rl(20).warn(`member ${m.port.name}: Loopback detected. Interface is connected to its own bond`);
        continue;
      }
      m.isAttached = true;
      if (!lead || this.rank(m) < this.rank(lead)) lead = m;
    }
    this.isNegotiated = lead !== null;
    for (const m of this.members) {
      if (lead) m.isAttached = m.isAttached && isSamePeer(m.partner, lead.partner);
      else if (this.config.fallback) m.isAttached = m.status === 'defaulted';
    }
    const now = this.members.map((m) => this.mayEnable(m.port)).join();
    if (now !== before || wasNegotiated !== this.isNegotiated) this.host.changed();
  }

  /** The better of the two systems decides, by its priorities of ports. Less is better. */
  private rank(m: LacpMember): string {
    const actor = this.actor(m);
    const [a, b] = [systemRank(actor), systemRank(m.partner)];
    return a < b ? a + portRank(actor) : b + portRank(m.partner);
  }

  actor(m: LacpMember): LacpInfo {
    const { config } = this;
    let state = 0;
    if (config.isActive) state |= LACP_STATE.activity;
    if (config.isFast) state |= LACP_STATE.timeout;
    if (this.members.length > 1) state |= LACP_STATE.aggregation;
    if (m.isAttached) state |= LACP_STATE.synchronized;
    if (m.hasCarrier) state |= LACP_STATE.collecting | LACP_STATE.distributing;
    if (m.status === 'defaulted') state |= LACP_STATE.defaulted;
    if (m.status === 'expired') state |= LACP_STATE.expired;
    return {
      systemPriority: config.systemPriority,
      systemId: this.systemId,
      key: this.key,
      portPriority: m.config.portPriority,
      portId: m.portId,
      state,
    };
  }

  private schedule(now: number): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    let next = Number.POSITIVE_INFINITY;
    for (const m of this.members) {
      if (m.status !== 'defaulted') next = Math.min(next, m.silentAtMs);
      if (this.config.isActive || m.partner.state & LACP_STATE.activity) next = Math.min(next, m.sendAtMs);
    }
    if (Number.isFinite(next)) this.timer = clock.setTimeout(() => this.run(), Math.max(1, next - now));
  }

  close(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
  }
}

const isSamePeer = (a: LacpInfo, b: LacpInfo): boolean =>
  a.key === b.key && macText(a.systemId) === macText(b.systemId);

const digits = (n: number): string => n.toString(16).padStart(4, '0');
const systemRank = (info: LacpInfo): string => digits(info.systemPriority) + macText(info.systemId);
const portRank = (info: LacpInfo): string => digits(info.portPriority) + digits(info.portId);
