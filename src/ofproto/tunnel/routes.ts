/**
 * Where packets for an address leave, and from which of our addresses: the kernel's routes, and those that
 * `ovs/route/add` added. Addresses are 16 bytes, IPv4 as `::ffff:a.b.c.d`; prefix lengths count all 128 bits.
 */
import { formatIp, isAny, isMapped } from '../../netdev/tunnel-config.ts';

export interface Route {
  readonly kind: 'Cached' | 'User';
  /** Packets with this mark alone; 0 for all. */
  readonly mark: number;
  readonly prefix: Uint8Array;
  readonly prefixLength: number;
  readonly device: string;
  /** All zeros without. */
  readonly gateway: Uint8Array;
  readonly source: Uint8Array;
  readonly isLocal: boolean;
}

export interface Address {
  readonly device: string;
  readonly ip: Uint8Array;
  readonly prefixLength: number;
}

/** A route before its source address is known. */
export type RouteSpec = Omit<Route, 'source'> & { readonly source: Uint8Array | null };

export const ANY: Uint8Array = new Uint8Array(16);

/** Routes to our own addresses come first, as in the kernel's rules. */
const LOCAL_FIRST = 64;
const priority = (r: Route): number => r.prefixLength + (r.isLocal ? LOCAL_FIRST : 0);

export class Routes {
  private cached: Route[] = [];
  private user: Route[] = [];
  private sorted: Route[] = [];

  /** Takes the kernel's routes over; those from a device without an address are of no use. */
  setCached(specs: readonly RouteSpec[], addresses: readonly Address[]): void {
    const known = new Map<string, Route>();
    for (const spec of specs) {
      const route = withSource(spec, addresses);
      if (route) known.set(`${route.prefixLength} ${route.prefix.join()}`, route);
    }
    this.cached = [...known.values()];
    this.sort();
  }

  /** False when the device has no address to send from. Replaces the route with the same mark and prefix. */
  add(spec: RouteSpec, addresses: readonly Address[]): boolean {
    const route = withSource(spec, addresses);
    if (!route) return false;
    this.user = this.user.filter((r) => !same(r, route));
    this.user.push(route);
    this.sort();
    return true;
  }

  /** False when there is none. */
  remove(mark: number, prefix: Uint8Array, prefixLength: number): boolean {
    const before = this.user.length;
    this.user = this.user.filter((r) => !same(r, { mark, prefix, prefixLength }));
    this.sort();
    return this.user.length < before;
  }

  private sort(): void {
    this.sorted = [...this.user, ...this.cached].sort((a, b) => priority(b) - priority(a));
  }

  lookup(ip: Uint8Array, mark: number): Route | null {
    for (const r of this.sorted) {
      if (r.mark === mark && contains(r.prefix, r.prefixLength, ip)) return r;
    }
    return mark === 0 ? null : this.lookup(ip, 0);
  }

  all(): readonly Route[] {
    return this.sorted;
  }

  /** `ovs/route/show` */
  show(): string {
    return `Route Table:\n${this.sorted.map(line).join('')}`;
  }
}

function line(r: Route): string {
  const length = isMapped(r.prefix) && r.prefixLength >= 96 ? r.prefixLength - 96 : r.prefixLength;
  const mark = r.mark === 0 ? '' : ` MARK ${r.mark}`;
  const gateway = isAny(r.gateway) ? '' : ` GW ${formatIp(r.gateway)}`;
  return `${r.kind}: ${formatIp(r.prefix)}/${length}${mark} dev ${r.device}${gateway} SRC ${formatIp(r.source)}${r.isLocal ? ' local' : ''}\n`;
}

const same = (a: Pick<Route, 'mark' | 'prefix' | 'prefixLength'>, b: typeof a): boolean =>
  a.mark === b.mark && a.prefixLength === b.prefixLength && a.prefix.every((x, i) => x === b.prefix[i]);

export function contains(prefix: Uint8Array, length: number, ip: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) {
    const bits = Math.min(8, Math.max(0, length - i * 8));
    const mask = (0xff00 >> bits) & 0xff;
    if ((prefix[i] ^ ip[i]) & mask) return false;
  }
  return true;
}

function withSource(spec: RouteSpec, addresses: readonly Address[]): Route | null {
  const source = spec.source ?? sourceFor(spec, addresses);
  return source && { ...spec, source };
}

/** The address of the device in whose subnet the next hop is, else its first of that family. */
function sourceFor(spec: RouteSpec, addresses: readonly Address[]): Uint8Array | null {
  const hop = isAny(spec.gateway) ? spec.prefix : spec.gateway;
  const own = addresses.filter((a) => a.device === spec.device && isMapped(a.ip) === isMapped(hop));
  const near = own.filter((a) => contains(a.ip, a.prefixLength, hop)).sort((a, b) => b.prefixLength - a.prefixLength);
  return (near[0] ?? own[0])?.ip ?? null;
}
