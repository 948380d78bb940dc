/**
 * The MAC learning table of a bridge: (VLAN, MAC) → bundle.
 *
 * Entries age out when no packet refreshed them for `agingSeconds`; static ones (`fdb/add`) never do. When the table is
 * full, room is made by dropping the entry used longest ago of the bundle that holds the most entries, so that one port
 * flooding the switch with addresses cannot push out everybody else's.
 *
 * A gratuitous ARP that moves an address locks it for five seconds against being taken back by the reflections of
 * itself that bonded links deliver.
 *
 * A change that could alter where packets go bumps `revision` and calls `onChange`: megaflows must be revalidated.
 */
import { coverage } from '../base/coverage.ts';

const COUNT = {
  learned: coverage('mac_learning_learned'),
  expired: coverage('mac_learning_expired'),
  evicted: coverage('mac_learning_evicted'),
  moved: coverage('mac_learning_moved'),
};

export interface MacEntry<P> {
  readonly mac: string;
  readonly vlan: number;
  port: P;
  expiresMs: number;
  isStatic: boolean;
  lockedUntilMs: number;
}

export const MAC_LEARNING_DEFAULT_SIZE = 8192;
export const MAC_LEARNING_DEFAULT_AGING_S = 300;
const GRATUITOUS_ARP_LOCK_MS = 5000;

const hex: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** Six bytes as the text that keys the table, `aa:bb:cc:dd:ee:ff`. */
export const macText = (b: Uint8Array, ofs = 0): string =>
  `${hex[b[ofs]]}:${hex[b[ofs + 1]]}:${hex[b[ofs + 2]]}:${hex[b[ofs + 3]]}:${hex[b[ofs + 4]]}:${hex[b[ofs + 5]]}`;

/** What names an entry. */
export const macKey = (mac: string, vlan: number): string => `${vlan} ${mac}`;

export class MacLearning<P> {
  /** In order of last use: the oldest first. */
  private readonly entries = new Map<string, MacEntry<P>>();
  /** The same entries by bundle, each also oldest first. */
  private readonly byPort = new Map<P, Map<string, MacEntry<P>>>();
  private agingMs = MAC_LEARNING_DEFAULT_AGING_S * 1000;
  private maxEntries = MAC_LEARNING_DEFAULT_SIZE;
  /** VLANs in which nothing is learned, so that all is flooded. */
  private floodVlans: ReadonlySet<number> = new Set();
  revision = 0;
  /** `key` names the one entry that changed; null when it may be any. */
  onChange: (key: string | null) => void = () => {};

  readonly stats = { learned: 0, expired: 0, evicted: 0, moved: 0, staticEntries: 0 };

  get size(): number {
    return this.entries.size;
  }

  get limit(): number {
    return this.maxEntries;
  }

  get agingSeconds(): number {
    return this.agingMs / 1000;
  }

  configure(agingSeconds: number, maxEntries: number, floodVlans: readonly number[], nowMs: number): void {
    const aging = Math.min(3600, Math.max(15, agingSeconds)) * 1000;
    if (aging !== this.agingMs) {
      for (const e of this.entries.values()) e.expiresMs += aging - this.agingMs;
      this.agingMs = aging;
    }
    this.maxEntries = Math.min(1000000, Math.max(10, maxEntries));
    const flood = new Set(floodVlans);
    if (flood.size !== this.floodVlans.size || floodVlans.some((v) => !this.floodVlans.has(v))) {
      this.floodVlans = flood;
      for (const e of [...this.entries.values()]) if (flood.has(e.vlan)) this.drop(e);
      this.changed();
    }
    this.run(nowMs);
  }

  mayLearn(mac: string, vlan: number): boolean {
    return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && !this.floodVlans.has(vlan);
  }

  isFloodVlan(vlan: number): boolean {
    return this.floodVlans.has(vlan);
  }

  lookup(mac: string, vlan: number, nowMs: number): MacEntry<P> | null {
    const e = this.entries.get(macKey(mac, vlan));
    return e && (e.isStatic || e.expiresMs > nowMs) ? e : null;
  }

  /**
   * Would learning change where packets go? Asked on every translation, so that the common refresh stays cheap.
   */
  needsLearning(
    mac: string,
    vlan: number,
    port: P,
    isGratuitousArp: boolean,
    fromBond: boolean,
    nowMs: number,
  ): boolean {
    if (!this.mayLearn(mac, vlan)) return false;
    const e = this.lookup(mac, vlan, nowMs);
    if (!e) return true;
    if (e.isStatic) return false;
    if (isGratuitousArp && !fromBond) return true;
    return e.port !== port && e.lockedUntilMs <= nowMs;
  }

  /** A packet from `mac` came in by `port`. Returns whether an address is new or moved. */
  learn(mac: string, vlan: number, port: P, isGratuitousArp: boolean, fromBond: boolean, nowMs: number): boolean {
    if (!this.mayLearn(mac, vlan)) return false;
    const key = macKey(mac, vlan);
    let e = this.entries.get(key);
    if (e?.isStatic) return false;
    if (e && e.expiresMs <= nowMs) {
      this.drop(e);
      this.stats.expired++;
      COUNT.expired.inc();
      e = undefined;
    }
    if (!e) {
      this.makeRoom();
      this.stats.learned++;
      COUNT.learned.inc();
      e = { mac, vlan, port, expiresMs: nowMs + this.agingMs, isStatic: false, lockedUntilMs: 0 };
      if (isGratuitousArp && !fromBond) e.lockedUntilMs = nowMs + GRATUITOUS_ARP_LOCK_MS;
      this.put(e);
      this.changed(e);
      return true;
    }
    if (fromBond && isGratuitousArp) {
      if (e.lockedUntilMs > nowMs) return false;
    } else if (isGratuitousArp) {
      e.lockedUntilMs = nowMs + GRATUITOUS_ARP_LOCK_MS;
    } else if (e.port !== port && e.lockedUntilMs > nowMs) {
      return false;
    }
    const moved = e.port !== port;
    this.unlink(e);
    e.expiresMs = nowMs + this.agingMs;
    e.port = port;
    this.put(e);
    if (moved) {
      this.stats.moved++;
      COUNT.moved.inc();
      this.changed(e);
    }
    return moved;
  }

  /** A static entry replaces a learned one and never ages. */
  addStatic(mac: string, vlan: number, port: P): void {
    const old = this.entries.get(macKey(mac, vlan));
    if (old) this.drop(old);
    const e = { mac, vlan, port, expiresMs: Number.POSITIVE_INFINITY, isStatic: true, lockedUntilMs: 0 };
    this.put(e);
    this.changed(e);
  }

  /** `fdb/del`. Returns whether there was one. */
  delete(mac: string, vlan: number): boolean {
    const e = this.entries.get(macKey(mac, vlan));
    if (!e) return false;
    this.drop(e);
    this.changed(e);
    return true;
  }

  /** Forgets all learned entries; static ones stay. */
  flush(): void {
    for (const e of [...this.entries.values()]) if (!e.isStatic) this.drop(e);
    this.changed();
  }

  /** Forgets everything about a bundle that goes away. */
  removePort(port: P): void {
    const mine = this.byPort.get(port);
    if (!mine) return;
    for (const e of [...mine.values()]) this.drop(e);
    this.changed();
  }

  /** Ages entries out. Returns when it wants to be called again, or null. */
  run(nowMs: number): number | null {
    let next: number | null = null;
    for (const e of this.entries.values()) {
      if (e.isStatic) continue;
      if (this.entries.size <= this.maxEntries && e.expiresMs > nowMs) {
        next = e.expiresMs;
        break;
      }
      const why = e.expiresMs > nowMs ? 'evicted' : 'expired';
      this.stats[why]++;
      COUNT[why].inc();
      this.drop(e);
      this.changed(e);
    }
    return next;
  }

  /** Oldest use first. */
  [Symbol.iterator](): IterableIterator<MacEntry<P>> {
    return this.entries.values();
  }

  /** Seconds since the entry was last used. */
  age(e: MacEntry<P>, nowMs: number): number {
    return e.isStatic ? 0 : Math.floor((nowMs - (e.expiresMs - this.agingMs)) / 1000);
  }

  private makeRoom(): void {
    if (this.entries.size < this.maxEntries) return;
    let most: Map<string, MacEntry<P>> | null = null;
    for (const list of this.byPort.values()) if (!most || list.size > most.size) most = list;
    for (const e of most?.values() ?? []) {
      if (e.isStatic) continue;
      this.drop(e);
      this.stats.evicted++;
      COUNT.evicted.inc();
      this.changed(e);
      return;
    }
  }

  private put(e: MacEntry<P>): void {
    const key = macKey(e.mac, e.vlan);
    this.entries.set(key, e);
    const list = this.byPort.get(e.port) ?? new Map();
    this.byPort.set(e.port, list.set(key, e));
    if (e.isStatic) this.stats.staticEntries++;
  }

  private unlink(e: MacEntry<P>): void {
    const key = macKey(e.mac, e.vlan);
    this.entries.delete(key);
    const list = this.byPort.get(e.port);
    list?.delete(key);
    if (list?.size === 0) this.byPort.delete(e.port);
  }

  private drop(e: MacEntry<P>): void {
    this.unlink(e);
    if (e.isStatic) this.stats.staticEntries--;
  }

  private changed(e: MacEntry<P> | null = null): void {
    this.revision++;
    this.onChange(e === null ? null : macKey(e.mac, e.vlan));
  }
}
