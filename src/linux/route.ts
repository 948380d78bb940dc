/** The kernel's routes, addresses and neighbors through rtnetlink, and word of changes to them. `rtnetlink(7)` */
import { NetlinkSocket, NLM_F, parseAttributes } from './netlink.ts';

const NETLINK_ROUTE = 0;
const RTM = { GETLINK: 18, GETADDR: 22, GETROUTE: 26, GETNEIGH: 30 } as const;
/** Links, addresses and routes of IPv4 and IPv6. */
const GROUPS = 1 | 0x10 | 0x40 | 0x100 | 0x400;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PREFSRC: 7, TABLE: 15 } as const;
const IFA = { ADDRESS: 1, LOCAL: 2 } as const;
const NDA = { DST: 1, LLADDR: 2 } as const;
const IFLA_IFNAME = 3;
const ROUTE_TYPE = { UNICAST: 1, LOCAL: 2 } as const;
const TABLES: ReadonlySet<number> = new Set([253, 254, 255]);
const CLONED = 0x200;
const AF_INET = 2;
/** Neighbor states that have an address worth using: reachable, stale, delay, probe, permanent. */
const NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
const POLL_INTERVAL_MS = 100;

/** Addresses are 16 bytes, IPv4 as `::ffff:a.b.c.d`; prefix lengths count all 128 bits. */
export interface KernelRoute {
  readonly prefix: Uint8Array;
  readonly prefixLength: number;
  readonly gateway: Uint8Array | null;
  readonly source: Uint8Array | null;
  readonly device: string;
  readonly isLocal: boolean;
}

export interface KernelAddress {
  readonly device: string;
  readonly ip: Uint8Array;
  readonly prefixLength: number;
}

function mapped(b: Uint8Array): Uint8Array {
  const out = new Uint8Array(16);
  if (b.length === 16) out.set(b);
  else {
    out[10] = 0xff;
    out[11] = 0xff;
    out.set(b.subarray(0, 4), 12);
  }
  return out;
}

const header = (bytes: number, family = 0): Buffer => {
  const b = Buffer.alloc(bytes);
  b[0] = family;
  return b;
};

function names(socket: NetlinkSocket): Map<number, string> {
  const out = new Map<number, string>();
  for (const { payload } of socket.request(RTM.GETLINK, NLM_F.DUMP, header(16), 'reading links')) {
    const name = parseAttributes(payload.subarray(16)).get(IFLA_IFNAME);
    if (name) out.set(payload.readInt32LE(4), name.toString().replace(/\0.*/s, ''));
  }
  return out;
}

function withSocket<T>(read: (socket: NetlinkSocket) => T): T {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    return read(socket);
  } finally {
    socket[Symbol.dispose]();
  }
}

/** Routes of the tables main, local and default. Throws `LinuxError`. */
export function readRoutes(): KernelRoute[] {
  return withSocket((socket) => {
    const devices = names(socket);
    const routes: KernelRoute[] = [];
    for (const { payload } of socket.request(RTM.GETROUTE, NLM_F.DUMP, header(12), 'reading routes')) {
      const route = parseRoute(payload, devices);
      if (route) routes.push(route);
    }
    return routes;
  });
}

function parseRoute(payload: Buffer, devices: ReadonlyMap<number, string>): KernelRoute | null {
  const [family, length] = payload;
  const type = payload[7];
  const a = parseAttributes(payload.subarray(12));
  const table = a.get(RTA.TABLE)?.readUInt32LE(0) ?? payload[4];
  const device = devices.get(a.get(RTA.OIF)?.readInt32LE(0) ?? 0);
  if (!TABLES.has(table) || payload.readUInt32LE(8) & CLONED || device === undefined) return null;
  if (type !== ROUTE_TYPE.UNICAST && type !== ROUTE_TYPE.LOCAL) return null;
  const isIpv4 = family === AF_INET;
  const dst = a.get(RTA.DST) ?? Buffer.alloc(isIpv4 ? 4 : 16);
  const gateway = a.get(RTA.GATEWAY);
  const source = a.get(RTA.PREFSRC);
  return {
    prefix: mapped(dst),
    prefixLength: isIpv4 ? length + 96 : length,
    gateway: gateway ? mapped(gateway) : null,
    source: source ? mapped(source) : null,
    device,
    isLocal: type === ROUTE_TYPE.LOCAL,
  };
}

/** Throws `LinuxError`. */
export function readAddresses(): KernelAddress[] {
  return withSocket((socket) => {
    const devices = names(socket);
    const addresses: KernelAddress[] = [];
    for (const { payload } of socket.request(RTM.GETADDR, NLM_F.DUMP, header(8), 'reading addresses')) {
      const a = parseAttributes(payload.subarray(8));
      const ip = a.get(IFA.LOCAL) ?? a.get(IFA.ADDRESS);
      const device = devices.get(payload.readUInt32LE(4));
      if (!ip || device === undefined) continue;
      addresses.push({ device, ip: mapped(ip), prefixLength: payload[0] === AF_INET ? payload[1] + 96 : payload[1] });
    }
    return addresses;
  });
}

/** The Ethernet address that the kernel knows for a neighbor at a device, or null. */
export function kernelNeighbor(device: string, ip: Uint8Array): Uint8Array | null {
  try {
    return withSocket((socket) => {
      const devices = names(socket);
      for (const { payload } of socket.request(RTM.GETNEIGH, NLM_F.DUMP, header(12), 'reading neighbors')) {
        if (devices.get(payload.readInt32LE(4)) !== device || (payload.readUInt16LE(8) & NUD_USABLE) === 0) continue;
        const a = parseAttributes(payload.subarray(12));
        const dst = a.get(NDA.DST);
        const mac = a.get(NDA.LLADDR);
        if (dst && mac?.length === 6 && mapped(dst).every((b, i) => b === ip[i])) return new Uint8Array(mac);
      }
      return null;
    });
  } catch {
    return null;
  }
}

/** Calls `listener` after links, addresses or routes have changed, until disposed. Node cannot wait on a netlink socket. */
export function watchRoutes(listener: () => void): Disposable {
  const socket = new NetlinkSocket(NETLINK_ROUTE, GROUPS);
  const timer = setInterval(() => {
    if (socket.pending().length > 0) listener();
  }, POLL_INTERVAL_MS);
  timer.unref();
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      socket[Symbol.dispose]();
    },
  };
}
