/**
 * Ethernet addresses of next hops, for each bridge: heard from ARP and ND answers that cross it, or set by command. What is
 * not used for a while is forgotten.
 */
import { formatEth } from '../../flow/address-text.ts';
import { formatIp } from '../../netdev/tunnel-config.ts';

interface Entry {
  readonly bridge: string;
  readonly ip: Uint8Array;
  readonly mac: Uint8Array;
  expiresMs: number;
}

const DEFAULT_AGING_SECONDS = 15 * 60;
export const MAX_AGING_SECONDS = 3600;

export class Neighbors {
  agingSeconds = DEFAULT_AGING_SECONDS;
  /** Somebody new, gone, or moved: what was translated before may be wrong. */
  onChange: () => void = () => {};
  private readonly table = new Map<string, Entry>();

  lookup(bridge: string, ip: Uint8Array, nowMs: number): Uint8Array | null {
    const entry = this.table.get(keyOf(bridge, ip));
    return entry && entry.expiresMs > nowMs ? entry.mac : null;
  }

  set(bridge: string, ip: Uint8Array, mac: Uint8Array, nowMs: number): void {
    const key = keyOf(bridge, ip);
    const expiresMs = nowMs + this.agingSeconds * 1000;
    const old = this.table.get(key);
    if (old?.mac.every((b, i) => b === mac[i])) {
      old.expiresMs = expiresMs;
      return;
    }
    this.table.set(key, { bridge, ip: ip.slice(), mac: mac.slice(), expiresMs });
    this.onChange();
  }

  /** A tunnel's packets went there. */
  used(bridge: string, ip: Uint8Array, nowMs: number): void {
    const entry = this.table.get(keyOf(bridge, ip));
    if (entry) entry.expiresMs = nowMs + this.agingSeconds * 1000;
  }

  setAging(seconds: number, nowMs: number): void {
    this.agingSeconds = seconds;
    for (const entry of this.table.values()) entry.expiresMs = Math.min(entry.expiresMs, nowMs + seconds * 1000);
  }

  flush(): void {
    if (this.table.size === 0) return;
    this.table.clear();
    this.onChange();
  }

  expire(nowMs: number): void {
    let isGone = false;
    for (const [key, entry] of this.table) {
      if (entry.expiresMs > nowMs) continue;
      this.table.delete(key);
      isGone = true;
    }
    if (isGone) this.onChange();
  }

  /** `tnl/neigh/show` */
  show(nowMs: number): string {
    let text = `${'IP'.padEnd(45)} ${'MAC'.padEnd(19)} Bridge\n${'='.repeat(74)}\n`;
    for (const { bridge, ip, mac, expiresMs } of this.table.values()) {
      const stale = expiresMs <= nowMs ? ' STALE' : '';
      text += `${formatIp(ip).padEnd(45)} ${formatEth(mac).padEnd(19)} ${bridge}${stale}\n`;
    }
    return text;
  }
}

const keyOf = (bridge: string, ip: Uint8Array): string => `${bridge} ${ip.join()}`;
