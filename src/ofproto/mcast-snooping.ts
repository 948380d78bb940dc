/**
 * What a bridge has learned of multicast groups: which bundles have members of a group in a VLAN, behind which bundles there are
 * multicast routers, and which bundles get everything. RFC 4541; `ovs-vswitchd.conf.db(5)`, "Multicast Snooping"
 *
 * Groups are keyed by their text. What changes where packets go is told; refreshing an entry is not.
 */
import { coverage } from '../base/coverage.ts';

const COUNT = { learned: coverage('mcast_snooping_learned'), expired: coverage('mcast_snooping_expired') };

export const MCAST_DEFAULT_SIZE = 2048;
export const MCAST_DEFAULT_AGING_S = 300;
const ROUTER_IDLE_MS = 180_000;

export interface McastMember<P> {
  readonly port: P;
  expiresMs: number;
}

export interface McastGroup<P> {
  readonly group: string;
  readonly vlan: number;
  /** The latest first. */
  members: McastMember<P>[];
}

export interface McastRouter<P> {
  readonly port: P;
  readonly vlan: number;
  expiresMs: number;
}

const groupKey = (group: string, vlan: number): string => `${vlan} ${group}`;

export class McastSnooping<P> {
  /** In order of last use: the oldest first. */
  private readonly table = new Map<string, McastGroup<P>>();
  private routerList: McastRouter<P>[] = [];
  private agingMs = MCAST_DEFAULT_AGING_S * 1000;
  private maxEntries = MCAST_DEFAULT_SIZE;
  /** Are packets for groups that nobody joined sent everywhere? */
  floodsUnregistered = true;
  onChange: () => void = () => {};

  configure(agingSeconds: number, maxEntries: number, floodsUnregistered: boolean): void {
    const aging = Math.min(3600, Math.max(15, agingSeconds)) * 1000;
    for (const { members } of this.table.values()) for (const m of members) m.expiresMs += aging - this.agingMs;
    this.agingMs = aging;
    this.maxEntries = Math.min(1_000_000, Math.max(10, maxEntries));
    if (floodsUnregistered === this.floodsUnregistered) return;
    this.floodsUnregistered = floodsUnregistered;
    this.onChange();
  }

  lookup(group: string, vlan: number): McastGroup<P> | undefined {
    return this.table.get(groupKey(group, vlan));
  }

  groups(): IterableIterator<McastGroup<P>> {
    return this.table.values();
  }

  get routers(): readonly McastRouter<P>[] {
    return this.routerList;
  }

  private hasRouter(port: P, vlan: number): McastRouter<P> | undefined {
    return this.routerList.find((r) => r.port === port && r.vlan === vlan);
  }

  /** True when the bundle is new in the group. */
  join(group: string, vlan: number, port: P, nowMs: number): boolean {
    // A router gets all of it anyway.
    if (this.hasRouter(port, vlan)) return false;
    const key = groupKey(group, vlan);
    let entry = this.table.get(key);
    if (!entry) {
      this.makeRoom();
      COUNT.learned.inc();
      entry = { group, vlan, members: [] };
    }
    this.table.delete(key);
    this.table.set(key, entry);
    const known = entry.members.find((m) => m.port === port);
    const member = known ?? { port, expiresMs: 0 };
    member.expiresMs = nowMs + this.agingMs;
    entry.members = [member, ...entry.members.filter((m) => m !== member)];
    if (!known) this.onChange();
    return known === undefined;
  }

  /**
   * True when the bundle was in the group. A group that nobody wants any more is still known, so that its packets do not go
   * everywhere the moment the last member leaves, until it is the one heard of longest ago.
   */
  leave(group: string, vlan: number, port: P): boolean {
    if (this.hasRouter(port, vlan)) return false;
    const entry = this.lookup(group, vlan);
    if (!entry?.members.some((m) => m.port === port)) return false;
    entry.members = entry.members.filter((m) => m.port !== port);
    this.onChange();
    return true;
  }

  /** A query came by this bundle. True when it was not known to lead to a router. */
  heardQuery(vlan: number, port: P, nowMs: number): boolean {
    const known = this.hasRouter(port, vlan);
    if (known) {
      known.expiresMs = nowMs + ROUTER_IDLE_MS;
      return false;
    }
    this.routerList.push({ port, vlan, expiresMs: nowMs + ROUTER_IDLE_MS });
    this.onChange();
    return true;
  }

  private drop(entry: McastGroup<P>, isGone: (m: McastMember<P>) => boolean): boolean {
    const left = entry.members.filter((m) => !isGone(m));
    const isChanged = left.length !== entry.members.length;
    entry.members = left;
    if (left.length === 0) {
      this.table.delete(groupKey(entry.group, entry.vlan));
      COUNT.expired.inc();
    }
    return isChanged;
  }

  private makeRoom(): void {
    for (const [key] of this.table) {
      if (this.table.size < this.maxEntries) return;
      this.table.delete(key);
      COUNT.expired.inc();
    }
  }

  flush(): void {
    if (this.table.size === 0 && this.routerList.length === 0) return;
    this.table.clear();
    this.routerList = [];
    this.onChange();
  }

  /** Forgets a bundle. */
  removePort(port: P): void {
    const before = this.routerList.length;
    this.routerList = this.routerList.filter((r) => r.port !== port);
    let isChanged = this.routerList.length !== before;
    for (const entry of [...this.table.values()]) if (this.drop(entry, (m) => m.port === port)) isChanged = true;
    if (isChanged) this.onChange();
  }

  run(nowMs: number): void {
    const before = this.routerList.length;
    this.routerList = this.routerList.filter((r) => r.expiresMs > nowMs);
    let isChanged = this.routerList.length !== before;
    for (const entry of this.table.values()) {
      const isEmpty = entry.members.length === 0;
      if (!this.drop(entry, (m) => m.expiresMs <= nowMs) && !isEmpty) break;
      isChanged = true;
    }
    if (isChanged) this.onChange();
  }

  /** Seconds since last heard of. */
  memberAge(m: McastMember<P>, nowMs: number): number {
    return Math.floor((nowMs - (m.expiresMs - this.agingMs)) / 1000);
  }

  routerAge(r: McastRouter<P>, nowMs: number): number {
    return Math.floor((nowMs - (r.expiresMs - ROUTER_IDLE_MS)) / 1000);
  }
}
