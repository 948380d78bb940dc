/** Network devices through rtnetlink: what they are, their counters, and changes to them. `rtnetlink(7)` */
import { IFF } from './constants.ts';
import { attribute, cstring, NetlinkSocket, NLM_F, parseAttributes, u32 } from './netlink.ts';

const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;
const RTM = { NEWLINK: 16, DELLINK: 17, GETLINK: 18, SETLINK: 19, NEWNSID: 88, GETNSID: 90, GETSTATS: 94 } as const;
const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  STATS64: 23,
  LINKINFO: 18,
  CARRIER: 33,
  LINK_NETNSID: 37,
} as const;
const IFINFOMSG = 16;
const IF_STATS_MSG = 12;
const IFLA_STATS_LINK_64 = 1;
const NETNSA = { NSID: 1, FD: 3 } as const;

export interface LinkStats {
  rxPackets: number;
  txPackets: number;
  rxBytes: number;
  txBytes: number;
  rxErrors: number;
  txErrors: number;
  rxDropped: number;
  txDropped: number;
  multicast: number;
  collisions: number;
  rxLengthErrors: number;
  rxOverErrors: number;
  rxCrcErrors: number;
  rxFrameErrors: number;
  rxFifoErrors: number;
  rxMissedErrors: number;
}

const STATS64: readonly (keyof LinkStats)[] = [
  'rxPackets',
  'txPackets',
  'rxBytes',
  'txBytes',
  'rxErrors',
  'txErrors',
  'rxDropped',
  'txDropped',
  'multicast',
  'collisions',
  'rxLengthErrors',
  'rxOverErrors',
  'rxCrcErrors',
  'rxFrameErrors',
  'rxFifoErrors',
  'rxMissedErrors',
];

export interface LinkInfo {
  readonly ifindex: number;
  readonly name: string;
  readonly flags: number;
  readonly mtu: number;
  readonly mac: Uint8Array;
  readonly carrier: boolean;
  /** `veth`, `bridge`, …; '' for a physical device. */
  readonly kind: string;
  /** The device below or at the other end (a veth's peer), 0 without. */
  readonly peerIfindex: number;
  /** The namespace `peerIfindex` counts in, null for our own. */
  readonly peerNetnsid: number | null;
  readonly stats: LinkStats | null;
}

let requests: NetlinkSocket | null = null;
function route(): NetlinkSocket {
  requests ??= new NetlinkSocket(NETLINK_ROUTE);
  return requests;
}

function ifinfo(ifindex: number, flags = 0, change = 0): Buffer {
  const b = Buffer.alloc(IFINFOMSG);
  b.writeInt32LE(ifindex, 4);
  b.writeUInt32LE(flags, 8);
  b.writeUInt32LE(change, 12);
  return b;
}

function parseLink(payload: Buffer): LinkInfo {
  const a = parseAttributes(payload.subarray(IFINFOMSG));
  const number = (type: number): number => a.get(type)?.readUInt32LE(0) ?? 0;
  const info = a.get(IFLA.LINKINFO);
  const kind = info ? parseAttributes(info).get(1) : undefined;
  const s = a.get(IFLA.STATS64);
  const stats = parseStats(s);
  return {
    ifindex: payload.readInt32LE(4),
    flags: payload.readUInt32LE(8),
    name: (a.get(IFLA.IFNAME)?.toString() ?? '').replace(/\0.*/s, ''),
    mtu: number(IFLA.MTU),
    mac: new Uint8Array(a.get(IFLA.ADDRESS) ?? Buffer.alloc(6)),
    // A tap's carrier says only that somebody holds it open; no device that is down carries anything.
    carrier: (payload.readUInt32LE(8) & IFF.UP) !== 0 && (a.get(IFLA.CARRIER)?.[0] ?? 0) !== 0,
    kind: (kind?.toString() ?? '').replace(/\0.*/s, ''),
    peerIfindex: number(IFLA.LINK),
    peerNetnsid: a.get(IFLA.LINK_NETNSID)?.readInt32LE(0) ?? null,
    stats,
  };
}

function parseStats(s: Buffer | undefined): LinkStats | null {
  if (!s || s.length < STATS64.length * 8) return null;
  const stats = {} as LinkStats;
  for (let i = 0; i < STATS64.length; i++)
    stats[STATS64[i]] = s.readUInt32LE(i * 8) + s.readUInt32LE(i * 8 + 4) * 0x100000000;
  return stats;
}

/** Counters of all devices in our namespace by their index, in one answer. Empty where the kernel has no such request. */
export function allLinkStats(): Map<number, LinkStats> {
  const all = new Map<number, LinkStats>();
  const header = Buffer.alloc(IF_STATS_MSG);
  header.writeUInt32LE(1 << (IFLA_STATS_LINK_64 - 1), 8);
  try {
    for (const { payload } of route().request(RTM.GETSTATS, NLM_F.DUMP, header, 'reading statistics')) {
      const attributes = parseAttributes(payload.subarray(IF_STATS_MSG));
      const stats = parseStats(attributes.get(IFLA_STATS_LINK_64));
      if (stats) all.set(payload.readUInt32LE(4), stats);
    }
  } catch {
    all.clear();
  }
  return all;
}

/** The device of that name in our namespace, or null when there is none. */
export function getLink(name: string): LinkInfo | null {
  if (name.length === 0 || name.length > 15) return null;
  try {
    const answers = route().request(
      RTM.GETLINK,
      0,
      Buffer.concat([ifinfo(0), attribute(IFLA.IFNAME, cstring(name))]),
      `${name}: reading link`,
    );
    const first = answers[0];
    return first ? parseLink(first.payload) : null;
  } catch {
    return null;
  }
}

/** The name of device `ifindex` in the namespace this thread is in. */
export function getLinkByIndexName(ifindex: number): string | null {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    const first = socket.request(RTM.GETLINK, 0, ifinfo(ifindex), 'reading link')[0];
    return first ? parseLink(first.payload).name : null;
  } catch {
    return null;
  } finally {
    socket[Symbol.dispose]();
  }
}

/** Throws `LinuxError`. */
export function setLink(ifindex: number, change: { up?: boolean; mtu?: number; mac?: Uint8Array }): void {
  const attributes: Buffer[] = [];
  if (change.mtu !== undefined) attributes.push(attribute(IFLA.MTU, u32(change.mtu)));
  if (change.mac) attributes.push(attribute(IFLA.ADDRESS, change.mac));
  const header = change.up === undefined ? ifinfo(ifindex) : ifinfo(ifindex, change.up ? IFF.UP : 0, IFF.UP);
  route().request(RTM.SETLINK, NLM_F.ACK, Buffer.concat([header, ...attributes]), 'changing link');
}

/** The number our namespace knows the namespace behind `fd` by, or null when it knows none. */
export function netnsidOf(fd: number): number | null {
  const header = Buffer.alloc(4);
  try {
    const answers = route().request(
      RTM.GETNSID,
      0,
      Buffer.concat([header, attribute(NETNSA.FD, u32(fd))]),
      'reading nsid',
    );
    const first = answers[0];
    const id = first && parseAttributes(first.payload.subarray(4)).get(NETNSA.NSID)?.readInt32LE(0);
    return id === undefined || id < 0 ? null : id;
  } catch {
    return null;
  }
}

const POLL_INTERVAL_MS = 100;

type LinkListener = (name: string, link: LinkInfo | null) => void;
const listeners = new Set<LinkListener>();
let monitor: { socket: NetlinkSocket; timer: NodeJS.Timeout } | null = null;

/**
 * Calls `listener` with each device that appears, changes or (null) goes, until disposed. Node cannot wait on a netlink
 * socket, so it is looked at ten times a second, which costs one system call each time.
 */
export function watchLinks(listener: LinkListener): Disposable {
  listeners.add(listener);
  if (!monitor) {
    const socket = new NetlinkSocket(NETLINK_ROUTE, RTMGRP_LINK);
    const timer = setInterval(() => {
      for (const m of socket.pending()) {
        if (m.type !== RTM.NEWLINK && m.type !== RTM.DELLINK) continue;
        const link = parseLink(m.payload);
        for (const l of [...listeners]) l(link.name, m.type === RTM.NEWLINK ? link : null);
      }
    }, POLL_INTERVAL_MS);
    timer.unref();
    monitor = { socket, timer };
  }
  return {
    [Symbol.dispose]() {
      listeners.delete(listener);
      if (listeners.size === 0 && monitor) {
        clearInterval(monitor.timer);
        monitor.socket[Symbol.dispose]();
        monitor = null;
      }
    },
  };
}
