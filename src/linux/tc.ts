/**
 * Queueing disciplines of a device through rtnetlink. `tc(8)`, `tc-htb(8)`, `rtnetlink(7)`, `include/uapi/linux/pkt_sched.h`
 *
 * Rates are bytes a second, bursts bytes. The kernel counts a burst in ticks of 64 ns at the rate it belongs to.
 */
import { attribute, cstring, NetlinkSocket, NLM_F, parseAttributes, u32 } from './netlink.ts';

const NETLINK_ROUTE = 0;
const RTM = { NEWQDISC: 36, DELQDISC: 37, NEWTCLASS: 40, DELTCLASS: 41, GETTCLASS: 42 } as const;
const NLM_F_REPLACE = 0x100;
const TCA = { KIND: 1, OPTIONS: 2, STATS2: 7 } as const;
const TCA_STATS = { BASIC: 1, QUEUE: 3 } as const;
const TCA_HTB = { PARMS: 1, INIT: 2, RATE64: 6, CEIL64: 7 } as const;
const TC_H_ROOT = 0xffffffff;
const TCMSG = 20;
const NS_PER_TICK = 64;
const LINKLAYER_ETHERNET = 1;
/** Everything of ours is below handle 1:. */
const MAJOR = 0x10000;
const HTB_VERSION = 3;
const HTB_RATE_TO_QUANTUM = 10;
const ENOENT = 2;
const EINVAL = 22;

function tcmsg(ifindex: number, handle: number, parent: number): Buffer {
  const b = Buffer.alloc(TCMSG);
  b.writeInt32LE(ifindex, 4);
  b.writeUInt32LE(handle >>> 0, 8);
  b.writeUInt32LE(parent >>> 0, 12);
  return b;
}

function request(type: number, flags: number, parts: readonly Uint8Array[], what: string): void {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  socket.request(type, flags | NLM_F.ACK, Buffer.concat(parts), what);
}

/** Takes away whatever discipline was put on the device; none is no error. Throws `LinuxError`. */
export function deleteRootQdisc(ifindex: number): void {
  try {
    request(RTM.DELQDISC, 0, [tcmsg(ifindex, 0, TC_H_ROOT)], 'removing qdisc');
  } catch (e) {
    const code = (e as { code?: number }).code;
    if (code !== ENOENT && code !== EINVAL) throw e;
  }
}

/** A discipline without options of its own at the root of the device. Throws `LinuxError` where the kernel has none such. */
export function addRootQdisc(ifindex: number, kind: string, options: Uint8Array | null = null): void {
  const parts = [tcmsg(ifindex, MAJOR, TC_H_ROOT), attribute(TCA.KIND, cstring(kind))];
  if (options !== null) parts.push(attribute(TCA.OPTIONS, options));
  request(RTM.NEWQDISC, NLM_F.CREATE | NLM_F.EXCL, parts, `installing ${kind}`);
}

/** Packets of no class go to 1:`defaultMinor`. */
export function addHtb(ifindex: number, defaultMinor: number): void {
  const init = Buffer.concat([u32(HTB_VERSION), u32(HTB_RATE_TO_QUANTUM), u32(defaultMinor), u32(0), u32(0)]);
  addRootQdisc(ifindex, 'htb', attribute(TCA_HTB.INIT, init));
}

export interface HtbClass {
  readonly rate: number;
  readonly ceil: number;
  readonly burst: number;
  readonly priority: number;
}

const MAX_U32 = 0xffffffff;

function rateSpec(rate: number): Buffer {
  const b = Buffer.alloc(12);
  b[1] = LINKLAYER_ETHERNET;
  b.writeUInt32LE(Math.min(Math.floor(rate), MAX_U32), 8);
  return b;
}

const ticks = (bytes: number, rate: number): number =>
  Math.min(MAX_U32, Math.floor((bytes * 1e9) / rate / NS_PER_TICK));

function u64(value: number): Buffer {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(Math.floor(value)));
  return b;
}

/** Makes or changes class 1:`minor` below 1:`parentMinor` (0: the root). Throws `LinuxError`. */
export function setHtbClass(ifindex: number, minor: number, parentMinor: number, c: HtbClass): void {
  const parms = Buffer.concat([
    rateSpec(c.rate),
    rateSpec(c.ceil),
    u32(ticks(c.burst, c.rate)),
    u32(ticks(c.burst, c.ceil)),
    u32(0),
    u32(0),
    u32(c.priority),
  ]);
  const options = [attribute(TCA_HTB.PARMS, parms)];
  if (c.rate > MAX_U32) options.push(attribute(TCA_HTB.RATE64, u64(c.rate)));
  if (c.ceil > MAX_U32) options.push(attribute(TCA_HTB.CEIL64, u64(c.ceil)));
  request(
    RTM.NEWTCLASS,
    NLM_F.CREATE | NLM_F_REPLACE,
    [
      tcmsg(ifindex, MAJOR + minor, parentMinor === 0 ? MAJOR : MAJOR + parentMinor),
      attribute(TCA.KIND, cstring('htb')),
      attribute(TCA.OPTIONS, Buffer.concat(options)),
    ],
    'setting class',
  );
}

export function deleteClass(ifindex: number, minor: number): void {
  request(RTM.DELTCLASS, 0, [tcmsg(ifindex, MAJOR + minor, 0)], 'removing class');
}

export interface ClassStats {
  readonly bytes: number;
  readonly packets: number;
  readonly drops: number;
}

/** Counters by minor number. */
export function classStats(ifindex: number): Map<number, ClassStats> {
  const stats = new Map<number, ClassStats>();
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  for (const { payload } of socket.request(RTM.GETTCLASS, NLM_F.DUMP, tcmsg(ifindex, 0, 0), 'reading classes')) {
    if (payload.readInt32LE(4) !== ifindex) continue;
    const a = parseAttributes(payload.subarray(TCMSG));
    const nested = parseAttributes(a.get(TCA.STATS2) ?? Buffer.alloc(0));
    const basic = nested.get(TCA_STATS.BASIC);
    const queue = nested.get(TCA_STATS.QUEUE);
    if (basic === undefined || basic.length < 12) continue;
    stats.set(payload.readUInt32LE(8) & 0xffff, {
      bytes: Number(basic.readBigUInt64LE(0)),
      packets: basic.readUInt32LE(8),
      drops: queue !== undefined && queue.length >= 12 ? queue.readUInt32LE(8) : 0,
    });
  }
  return stats;
}
