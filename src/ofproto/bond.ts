/**
 * A bond: several ports that are one to NORMAL. Which of them may be used follows from their links, with delays; which of
 * these a packet takes follows from the mode. `ovs-vswitchd.conf.db(5)`, "Bonding Configuration"
 *
 * `balance-tcp` needs LACP; without a partner such a bond sends only when it may fall back to `active-backup`.
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import type { Lacp, LacpStatus } from './lacp.ts';
import type { OfPort } from './ofport.ts';
import type { BondConfig } from './ofproto.ts';
import type { XlateBond, XlatePort } from './xlate/types.ts';

const log = vlog('bond');

export const BOND_BUCKETS = 256;
/** A rebalancing moves nothing for less. */
const MIN_OVERLOAD_BYTES = 100_000;

export class BondMember {
  readonly port: OfPort;
  isEnabled = false;
  /** When the link has been the other way for long enough; null while it is as it was. */
  changesAtMs: number | null = null;

  constructor(port: OfPort) {
    this.port = port;
  }

  get name(): string {
    return this.port.name;
  }
}

interface HashBucket {
  member: BondMember | null;
  bytes: number;
}

export class Bond implements XlateBond {
  readonly name: string;
  config: BondConfig;
  members: readonly BondMember[] = [];
  active: BondMember | null = null;
  readonly buckets: readonly HashBucket[] = Array.from({ length: BOND_BUCKETS }, () => ({ member: null, bytes: 0 }));
  nextRebalanceMs: number;
  /** Packets may go another way from now on. */
  private readonly onChange: () => void;
  private timer: Disposable | null = null;
  private lacp: Lacp | null = null;
  /** Of the rules that send what the datapath has hashed. */
  recircId: number | null = null;
  /** The datapath has a table of its own for the bond. */
  lbOutput = false;
  /** Before loads are compared. */
  onCount: () => void = () => {};

  constructor(name: string, config: BondConfig, onChange: () => void) {
    this.name = name;
    this.config = config;
    this.onChange = onChange;
    this.nextRebalanceMs = clock.nowMs() + config.rebalanceIntervalMs;
  }

  // ---- what translation asks ----

  /** The mode in force. */
  get mode(): BondConfig['mode'] | 'none' {
    const { mode, lacpFallback } = this.config;
    const status = this.lacpStatus;
    if (status === 'negotiated' || (status === 'off' && mode !== 'balance-tcp')) return mode;
    return lacpFallback ? 'active-backup' : 'none';
  }

  get lacpStatus(): LacpStatus {
    return this.lacp?.status ?? (this.config.lacp === 'off' ? 'off' : 'configured');
  }

  get basis(): number {
    return this.config.hashBasis;
  }

  admits(port: XlatePort, isMulticast: boolean): 'yes' | 'no' | 'unless moved' {
    const { mode } = this;
    if (mode === 'none') return 'no';
    if (this.lacpStatus === 'negotiated') {
      const member = this.members.find((m) => m.port === port);
      return member && (member.isEnabled || this.mayEnable(member)) ? 'yes' : 'no';
    }
    const isActive = this.active?.port === port;
    if (isMulticast && !isActive && !(mode === 'balance-slb' && this.config.allMembersActive)) return 'no';
    if (mode === 'balance-slb') return 'unless moved';
    return isActive ? 'yes' : 'no';
  }

  outputFor(hash: number): XlatePort | null {
    switch (this.mode) {
      case 'active-backup':
        return this.active?.port ?? null;
      case 'balance-slb':
      case 'balance-tcp':
        return this.memberOf(hash)?.port ?? null;
      default:
        return null;
    }
  }

  credit(hash: number, bytes: number): void {
    this.buckets[hash & (BOND_BUCKETS - 1)].bytes += bytes;
  }

  /** The member that packets with this hash leave by. */
  memberOf(hash: number): BondMember | null {
    const bucket = this.buckets[hash & (BOND_BUCKETS - 1)];
    if (bucket.member?.isEnabled) return bucket.member;
    const enabled = this.members.filter((m) => m.isEnabled);
    // By the hash, so that asking changes nothing.
    return enabled.length === 0 ? null : enabled[hash % enabled.length];
  }

  // ---- changes ----

  /** The ports that the bond has now. */
  setPorts(ports: readonly OfPort[]): void {
    const known = new Map(this.members.map((m) => [m.port, m]));
    this.members = ports.map((port) => known.get(port) ?? new BondMember(port));
    if (this.active && !this.members.includes(this.active)) this.active = null;
    for (const bucket of this.buckets) if (bucket.member && !this.members.includes(bucket.member)) bucket.member = null;
    this.run();
  }

  setConfig(config: BondConfig): void {
    this.config = config;
    this.nextRebalanceMs = Math.min(this.nextRebalanceMs, clock.nowMs() + config.rebalanceIntervalMs);
    this.run();
  }

  setLacp(lacp: Lacp | null): void {
    this.lacp = lacp;
  }

  mayEnable(member: BondMember): boolean {
    if (!member.port.mayEnable) return false;
    return this.lacp ? this.lacp.mayEnable(member.port) : this.config.lacp === 'off';
  }

  /** Another LACP status, or other members that may be used. */
  lacpChanged(): void {
    this.run();
    this.onChange();
  }

  /** Follows the links and the time. */
  run(): void {
    const now = clock.nowMs();
    for (const member of this.members) this.followLink(member, now);
    this.chooseActive();
    if (now >= this.nextRebalanceMs) {
      this.rebalance();
      this.nextRebalanceMs = now + this.config.rebalanceIntervalMs;
    }
    this.schedule(now);
  }

  private followLink(member: BondMember, now: number): void {
    const isUp = this.mayEnable(member);
    if (isUp === member.isEnabled) {
      if (member.changesAtMs !== null)
        log.info(`bond ${this.name}: member ${member.name}: will not be ${isUp ? 'disabled' : 'enabled'}`);
      member.changesAtMs = null;
      return;
    }
    if (member.changesAtMs === null) {
      // With nobody else there is nothing to wait for.
      const delay = !isUp ? this.config.downDelayMs : this.active ? this.config.upDelayMs : 0;
      member.changesAtMs = now + delay;
    }
    if (now >= member.changesAtMs) this.enable(member, isUp);
  }

  enable(member: BondMember, isEnabled: boolean): void {
    member.changesAtMs = null;
    if (member.isEnabled === isEnabled) return;
    member.isEnabled = isEnabled;
    log.info(`member ${member.name}: ${isEnabled ? 'enabled' : 'disabled'}`);
    this.onChange();
  }

  private chooseActive(): void {
    const { members, active } = this;
    const primary = members.find((m) => m.name === this.config.primary && m.isEnabled);
    const remembered = members.find((m) => m.isEnabled && sameMac(m.port.netdev.mac(), this.config.activeMac));
    const isFit = active?.isEnabled ?? false;
    if (primary) this.setActive(primary);
    else if (!isFit) this.setActive(remembered ?? members.find((m) => m.isEnabled) ?? this.soonest());
  }

  /** With no member enabled, the one that will be first. */
  private soonest(): BondMember | null {
    const rising = this.members.filter((m) => m.changesAtMs !== null && this.mayEnable(m));
    const [first] = rising.sort((a, b) => (a.changesAtMs ?? 0) - (b.changesAtMs ?? 0));
    if (first) this.enable(first, true);
    return first ?? null;
  }

  setActive(member: BondMember | null): void {
    if (member === this.active) return;
    this.active = member;
    if (member) log.info(`bond ${this.name}: active member is now ${member.name}`);
    else log.info(`bond ${this.name}: all members disabled`);
    this.onChange();
  }

  /** Puts a hash on a member. */
  migrate(hash: number, member: BondMember): void {
    this.buckets[hash & (BOND_BUCKETS - 1)].member = member;
    this.onChange();
  }

  /** Moves hashes from the member that sends most to the one that sends least while that evens them out. */
  private rebalance(): void {
    if (this.mode !== 'balance-slb' && this.mode !== 'balance-tcp') return;
    this.onCount();
    const enabled = this.members.filter((m) => m.isEnabled);
    const loads = new Map(enabled.map((m) => [m, 0]));
    const byMember = this.buckets.map((bucket, hash) => ({ bucket, hash, member: this.memberOf(hash) }));
    for (const { bucket, member } of byMember) if (member) loads.set(member, (loads.get(member) ?? 0) + bucket.bytes);
    for (let n = 0; n < BOND_BUCKETS && enabled.length > 1; n++) {
      const sorted = [...loads].sort(([, a], [, b]) => a - b);
      const [to, least] = sorted[0];
      const [from, most] = sorted[sorted.length - 1];
      const overload = most - least;
      if (overload < MIN_OVERLOAD_BYTES || overload < least / 32) break;
      const movable = byMember.filter(({ bucket, member }) => member === from && bucket.bytes > 0);
      const best = movable
        .filter(({ bucket }) => bucket.bytes < overload)
        .sort((a, b) => b.bucket.bytes - a.bucket.bytes)[0];
      if (!best || movable.length < 2) break;
      log.info(
        `bond ${this.name}: shift ${Math.floor(best.bucket.bytes / 1024)}kB of load (with hash ${best.hash}) from ${from.name} to ${to.name}`,
      );
      best.member = to;
      this.migrate(best.hash, to);
      loads.set(to, least + best.bucket.bytes);
      loads.set(from, most - best.bucket.bytes);
    }
    for (const bucket of this.buckets) bucket.bytes = Math.floor(bucket.bytes / 2);
  }

  private schedule(now: number): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    const times = this.members.flatMap((m) => m.changesAtMs ?? []);
    if (times.length > 0) this.timer = clock.setTimeout(() => this.run(), Math.max(1, Math.min(...times) - now));
  }

  close(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
  }
}

function sameMac(a: Uint8Array, b: Uint8Array | null): boolean {
  return b !== null && a.every((byte, i) => byte === b[i]);
}
