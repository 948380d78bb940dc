/**
 * Address translation: choosing what a new connection shall look like on the other side, and rewriting packets.
 *
 * What a translated packet becomes is written in its connection's tuples: a packet of the original direction is made to look
 * like the reply's tuple turned round, one of the reply direction like the original's turned round. Nothing else is
 * remembered. Packets inside ICMP errors go the other way, and are rewritten likewise.
 */
import type { ArenaViews } from '../../base/arena.ts';
import { mix } from '../extract.ts';
import type { HeaderWriter } from '../headers.ts';
import { CT_CODE, CT_FLAG } from './code.ts';
import { FLAG, kindIsV6, kindProto, PROTO, portDst, portSrc, T_DST, T_KIND, T_PORTS, T_SRC } from './entry.ts';
import { type PacketReader, reverseTuple } from './packet.ts';
import type { CtTable } from './table.ts';

/** Tuples tried at most, for whoever looks holds the lock. */
const MAX_TRIES = 4096;
/** The longest range of addresses that is walked through; of longer ones, this many from the chosen one on. */
const MAX_ADDRESSES = 256;

export interface Translator {
  /**
   * Writes to `reply` the tuple of replies to a new connection `original`, translated as the action at `pc` says. False when
   * every tuple it allows is taken.
   */
  choose(pc: number, original: number, reply: number, clock: number): boolean;
  /** Makes the packet at these places look as the tuple `wanted` says. */
  rewrite(l3: number, l4: number, end: number, wanted: number): void;
  /**
   * An ICMP error in direction `direction` of a connection: `outer` is what an own packet would become; `flags` the
   * connection's.
   */
  rewriteError(l3: number, l4: number, end: number, direction: number, outer: number, flags: number): void;
}

const swap16 = (x: number): number => ((x & 0xff) << 8) | ((x >>> 8) & 0xff);
const swap32 = (x: number): number => (x >>> 24) | ((x >>> 8) & 0xff00) | ((x << 8) & 0xff0000) | (x << 24);

/** `at`: word index of 32 words of scratch memory. */
export function makeTranslator(
  views: ArenaViews,
  table: CtTable,
  reader: PacketReader,
  write: HeaderWriter,
  at: number,
): Translator {
  const { u16, i32 } = views;
  const key = at;
  const mask = at + 12;
  let random = 0x1f123bb5;
  let tries = 0;

  function nextRandom(): number {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    return random >>> 0;
  }

  function isFree(t: number, clock: number): boolean {
    tries++;
    return table.lookup(t, clock) === 0;
  }

  function setPort(t: number, isSource: boolean, port: number): void {
    const p = swap16(port);
    i32[t + T_PORTS] = isSource ? (i32[t + T_PORTS] & ~0xffff) | p : (i32[t + T_PORTS] & 0xffff) | (p << 16);
  }

  /** Ports `first` to `last` in the place `isSource`, from `start` on and round. */
  function tryPorts(t: number, isSource: boolean, first: number, last: number, start: number, clock: number): boolean {
    const n = last - first + 1;
    for (let x = 0; x < n && tries < MAX_TRIES; x++) {
      setPort(t, isSource, first + ((start - first + x) % n));
      if (isFree(t, clock)) return true;
    }
    return false;
  }

  /** Ports for a tuple whose addresses are chosen already. */
  function choosePorts(pc: number, original: number, t: number, hash: number, clock: number): boolean {
    const flags = i32[pc + CT_CODE.FLAGS];
    const proto = kindProto(i32[t + T_KIND]);
    if (proto === PROTO.ICMP || proto === PROTO.ICMPV6) {
      if (isFree(t, clock)) return true;
      // Another identifier, as if it were a port.
      const ports = i32[t + T_PORTS] & ~0xffff;
      for (let x = 0; x < 0xffff && tries < MAX_TRIES; x++) {
        i32[t + T_PORTS] = ports | ((hash + x) & 0xffff);
        if (isFree(t, clock)) return true;
      }
      return false;
    }
    if (proto !== PROTO.TCP && proto !== PROTO.UDP) return isFree(t, clock);
    const isSnat = (flags & CT_FLAG.NAT_SRC) !== 0;
    const own = isSnat ? portSrc(i32[original + T_PORTS]) : portDst(i32[original + T_PORTS]);
    const min = i32[pc + CT_CODE.PORT_MIN];
    const max = i32[pc + CT_CODE.PORT_MAX];
    if (min !== 0) {
      const start =
        flags & CT_FLAG.RANDOM
          ? min + (nextRandom() % (max - min + 1))
          : own >= min && own <= max
            ? own
            : min + ((hash >>> 0) % (max - min + 1));
      if (tryPorts(t, !isSnat, min, max, start, clock)) return true;
      if (isSnat) return false;
    } else if (isFree(t, clock)) return true;
    // A source port of the same sort. With DNAT too: the client's port makes way.
    const client = portSrc(i32[original + T_PORTS]);
    if (client < 512) return tryPorts(t, false, 1, 511, client, clock);
    if (client < 1024) return tryPorts(t, false, 600, 1023, Math.max(client, 600), clock);
    return tryPorts(t, false, 1024, 65535, flags & CT_FLAG.RANDOM ? 1024 + (nextRandom() % 64512) : client, clock);
  }

  function choose(pc: number, original: number, reply: number, clock: number): boolean {
    const flags = i32[pc + CT_CODE.FLAGS];
    tries = 0;
    reverseTuple(i32, original, reply);
    let hash = mix(mix(mix(0, i32[original + T_SRC]), i32[original + T_DST]), i32[original + T_PORTS]);
    const isV6 = kindIsV6(i32[original + T_KIND]);
    if (isV6) for (let w = 1; w < 4; w++) hash = mix(mix(hash, i32[original + T_SRC + w]), i32[original + T_DST + w]);
    hash ^= hash >>> 16;
    const ports = i32[reply + T_PORTS];
    if (!(flags & CT_FLAG.ADDRESSES)) return choosePorts(pc, original, reply, hash, clock);

    // Addresses of the other family translate nothing.
    if (isV6 !== ((flags & CT_FLAG.NAT_V6) !== 0)) return false;
    const to = reply + (flags & CT_FLAG.NAT_SRC ? T_DST : T_SRC);
    const words = isV6 ? 4 : 1;
    const min = pc + CT_CODE.ADDR_MIN;
    const last = words - 1;
    // The range as far as its last word goes.
    const low = swap32(i32[min + last]) >>> 0;
    const high = swap32(i32[pc + CT_CODE.ADDR_MAX + last]) >>> 0;
    const n = high >= low ? high - low + 1 : 1;
    // A persistent range is chosen from by the source alone.
    const other = flags & CT_FLAG.PERSISTENT ? 0 : i32[original + T_DST + last];
    const from = (flags & CT_FLAG.RANDOM ? nextRandom() : mix(i32[original + T_SRC + last], other) >>> 0) % n;
    for (let w = 0; w < words; w++) i32[to + w] = i32[min + w];
    for (let x = 0; x < n && x < MAX_ADDRESSES && tries < MAX_TRIES; x++) {
      i32[to + last] = swap32(low + ((from + x) % n));
      i32[reply + T_PORTS] = ports;
      if (choosePorts(pc, original, reply, hash, clock)) return true;
    }
    return false;
  }

  /** Source and destination of `wanted` into key and mask of a set; `sides`: 1 source, 2 destination. */
  function prepare(wanted: number, sides: number, isV6: boolean): void {
    const words = isV6 ? 4 : 1;
    i32[key] = 0;
    i32[mask] = 0;
    for (let w = 0; w < words; w++) {
      i32[key + 1 + w] = i32[wanted + T_SRC + w];
      i32[mask + 1 + w] = sides & 1 ? -1 : 0;
      i32[key + 1 + words + w] = i32[wanted + T_DST + w];
      i32[mask + 1 + words + w] = sides & 2 ? -1 : 0;
    }
    if (isV6) {
      i32[key + 9] = 0;
      i32[mask + 9] = 0;
    }
  }

  function writeAddresses(l3: number, l4: number, end: number, wanted: number, sides: number): void {
    const kind = i32[wanted + T_KIND];
    const isV6 = kindIsV6(kind);
    prepare(wanted, sides, isV6);
    // An error's own protocol is ICMP, whatever the connection's is.
    if (isV6) write.ipv6(l3, l4, end, reader.proto(), key, mask);
    else write.ipv4(l3, l4, end, key, mask);
  }

  function rewrite(l3: number, l4: number, end: number, wanted: number): void {
    const kind = i32[wanted + T_KIND];
    const proto = kindProto(kind);
    writeAddresses(l3, l4, end, wanted, 3);
    if (proto === PROTO.TCP || proto === PROTO.UDP) {
      i32[key] = i32[wanted + T_PORTS];
      i32[mask] = -1;
      write.ports(l4, end, proto, key, mask);
    } else if (proto === PROTO.ICMP || proto === PROTO.ICMPV6) {
      const id = i32[wanted + T_PORTS] & 0xffff;
      const old = u16[(l4 + 4) >> 1];
      if (id !== old) {
        u16[(l4 + 4) >> 1] = id;
        u16[(l4 + 2) >> 1] = ~fold((~u16[(l4 + 2) >> 1] & 0xffff) + (~old & 0xffff) + id) & 0xffff;
      }
    }
  }

  const fold = (s: number): number => {
    let x = s;
    while (x > 0xffff) x = (x & 0xffff) + (x >>> 16);
    return x;
  };

  /** Writes 16 bits and keeps the checksum at `sum` right; 0 for none. */
  function patch(to: number, value: number, sum: number): void {
    const old = u16[to >> 1];
    if (old === value) return;
    u16[to >> 1] = value;
    if (sum !== 0) u16[sum >> 1] = ~fold((~u16[sum >> 1] & 0xffff) + (~old & 0xffff) + value) & 0xffff;
  }

  /** The packet inside an error: it was of the other direction, so source and destination change places in `outer`. */
  function rewriteInner(end: number, outer: number): void {
    const isV6 = kindIsV6(i32[outer + T_KIND]);
    const l3 = reader.inner();
    const l4 = reader.innerTransport();
    const proto = kindProto(i32[outer + T_KIND]);
    const words = isV6 ? 4 : 1;
    const header = isV6 ? 0 : l3 + 10;
    let sum = 0;
    if (proto === PROTO.TCP && l4 + 18 <= end) sum = l4 + 16;
    else if (proto === PROTO.UDP && u16[(l4 + 6) >> 1] !== 0) sum = l4 + 6;
    else if (proto === PROTO.ICMPV6) sum = l4 + 2;
    for (let side = 0; side < 2; side++) {
      const from = outer + (side === 0 ? T_DST : T_SRC);
      const to = l3 + (isV6 ? 8 + side * 16 : 12 + side * 4);
      for (let w = 0; w < words; w++) {
        for (let half = 0; half < 2; half++) {
          const value = (i32[from + w] >>> (half * 16)) & 0xffff;
          const place = to + w * 4 + half * 2;
          // ICMP of IPv4 has no pseudo header; the others sum the addresses as they do the IP header.
          if (sum !== 0) {
            const old = u16[place >> 1];
            u16[sum >> 1] = ~fold((~u16[sum >> 1] & 0xffff) + (~old & 0xffff) + value) & 0xffff;
          }
          patch(place, value, header);
        }
      }
    }
    if (proto === PROTO.TCP || proto === PROTO.UDP) {
      const ports = i32[outer + T_PORTS];
      patch(l4, ports >>> 16, sum);
      patch(l4 + 2, ports & 0xffff, sum);
    } else if (proto === PROTO.ICMP || proto === PROTO.ICMPV6) patch(l4 + 4, i32[outer + T_PORTS] & 0xffff, l4 + 2);
  }

  function rewriteError(l3: number, l4: number, end: number, direction: number, outer: number, flags: number): void {
    rewriteInner(end, outer);
    // Whoever sent the error need not be an end of the connection: only the translated side is hidden.
    const isSource = ((flags & FLAG.SNAT) !== 0) === (direction === 0);
    writeAddresses(l3, l4, end, outer, isSource ? 1 : 2);
    const isV6 = kindIsV6(i32[outer + T_KIND]);
    const sum = (l4 + 2) >> 1;
    u16[sum] = 0;
    u16[sum] = ~reader.sum(l4, end, isV6 ? reader.pseudo(l3, true, PROTO.ICMPV6, end - l4) : 0) & 0xffff;
  }

  return { choose, rewrite, rewriteError };
}
