/**
 * Runs a flow's actions over a list of packets of a batch. The packets are consumed: whatever is not sent on goes back to
 * the pool. Copies are made only where a packet is needed again.
 *
 * `exec` is an interpreter over the words of `actions-code.ts`; the common flow, one output, never comes here.
 */
import type { ArenaViews } from '../base/arena.ts';
import { FRAME_DATA, FRAME_GSO, FRAME_INNER, FRAME_LEN, type FramePool } from '../packet/frame.ts';
import { OP, SET_HEADERS, SET_RANGES } from './actions-code.ts';
import { BURST, PacketBatch, SLOT_WORDS } from './batch.ts';
import { BOND_BUCKETS } from './bonds.ts';
import { makeTracker } from './ct/tracker.ts';
import { DROP } from './drop-reason.ts';
import { type Extractor, mix } from './extract.ts';
import { makeHeaderWriter } from './headers.ts';
import { drawFromMeter } from './meter.ts';
import type { Alloc } from './scratch.ts';
import { clearShape, copyShape, SHAPE, SHAPE_METADATA } from './shape.ts';
import { makeTunnels } from './tunnels.ts';

/** Clones, samples and recirculations inside one another; the packets of a deeper one are dropped. */
export const MAX_LEVELS = 20;
export const MAX_RECIRC_DEPTH = 8;

const ETH_VLAN = 0x0081;
const ETH_QINQ = 0xa888;
const ETH_IP = 0x0008;
const ETH_IPV6 = 0xdd86;
const ETH_ARP = 0x0608;
const ETH_RARP = 0x3580;
const ETH_NSH = 0x4f89;
/** Transparent Ethernet bridging: behind this type comes an Ethernet header. */
const ETH_TEB = 0x5865;
/** What an NSH says comes next, as the packet's Ethernet type. RFC 8300 2.2 */
const NSH_NEXT_TYPES = Uint16Array.of(0, ETH_IP, ETH_IPV6, 0, ETH_NSH, 0x4788);
const NSH_NEXT_ETHERNET = 3;
const isMpls = (type: number): boolean => type === 0x4788 || type === 0x4888;

const SET = Object.fromEntries(SET_HEADERS.map((h, i) => [h, i])) as Record<(typeof SET_HEADERS)[number], number>;
/** Where the mask begins in a `set`: as many words behind the key. */
const SET_WORDS = SET_HEADERS.map((h) => SET_RANGES[h].reduce((n, [first, end]) => n + end - first, 0));
const PROTO_OF: Record<number, number> = { [SET.tcp]: 6, [SET.udp]: 17, [SET.sctp]: 132 };

/** What actions need of the PMD that runs them. */
export interface ActionsHost {
  readonly arena: ArenaViews;
  readonly alloc: Alloc;
  readonly pool: FramePool;
  readonly extractor: Extractor;
  /** Word index of the table of connections; 0 for none, and `ct` does nothing. */
  readonly conntrackAt: number;
  /** Float64 index of the time in milliseconds. */
  readonly clockAt: number;
  /** Sends a frame out of a port, or frees it when there is no such port. */
  send(port: number, frame: number): void;
  /** `reason` is one of `DROP`. */
  drop(frame: number, reason: number): void;
  /** A copy that could not be made, or was not worth making, is dropped: there is no frame to give back. */
  countDrop(reason: number): void;
  /** Hands packet `i` up; does not consume it. */
  upcall(b: PacketBatch, i: number, userspaceId: number): void;
  /** Looks the batch's first `n` packets up again and runs what is found; consumes them. */
  process(b: PacketBatch, n: number, level: number): void;
  countRecirculated(n: number): void;
}

/** Hears of each action before it is carried out on packet `i`; the rest goes to `end`, `cut` bytes go out next. */
export interface ActionTeller {
  /** False: it has taken the packet, and nothing more is to be done with it here. */
  step(b: PacketBatch, i: number, pc: number, end: number, level: number, cut: number): boolean;
}

/** No `trunc` is in force. */
export const UNCUT = 0x7fffffff;

export interface ActionRunner {
  /** Batches by level; those beyond level 0 are made on first use. */
  batch(level: number): PacketBatch;
  /** Runs the code from word `pc` to `end` on the first `n` packets of `list`, and consumes them. */
  exec(b: PacketBatch, list: Int32Array, n: number, pc: number, end: number, level: number, cut?: number): void;
  /** Puts packet `i` (or a copy of it) with its key behind the packets of `to`. */
  transfer(b: PacketBatch, i: number, to: PacketBatch, move: boolean): void;
  /** While one packet tells its journey: who listens. */
  setTeller(teller: ActionTeller | null): void;
  /** Recirculations around what runs now. */
  depth(): number;
  setDepth(depth: number): void;
}

export function makeActionRunner(host: ActionsHost): ActionRunner {
  const { arena, pool, extractor } = host;
  const { u8, u16, i32 } = arena;
  const write = makeHeaderWriter(arena);
  const tracker = host.conntrackAt === 0 ? null : makeTracker(arena, host.conntrackAt, host.alloc, write, pool);
  const tunnels = makeTunnels(arena, extractor, pool);
  const batches: PacketBatch[] = [];
  const identity = Int32Array.from({ length: BURST }, (_, i) => i);
  let recircDepth = 0;
  let random = 0x2545f491;
  let teller: ActionTeller | null = null;

  function batch(level: number): PacketBatch {
    while (batches.length <= level) batches.push(new PacketBatch(host.alloc));
    return batches[level];
  }

  const slotOf = (b: PacketBatch, i: number): number => b.slots + i * SLOT_WORDS;
  const dropMetered = (frame: number): void => host.drop(frame, DROP.METER);

  function copyGso(frame: number, copy: number): void {
    const inner = i32[(frame >> 2) + FRAME_INNER];
    i32[(copy >> 2) + FRAME_GSO] = i32[(frame >> 2) + FRAME_GSO];
    i32[(copy >> 2) + FRAME_INNER] = inner === 0 ? 0 : inner + copy - frame;
  }

  /** A copy of at most `max` bytes of the packet, at the same place of a chunk; -1 without memory. */
  function copyFrame(frame: number, max: number): number {
    const copy = pool.takeLike(frame);
    if (copy < 0) {
      host.countDrop(DROP.NO_MEMORY);
      return -1;
    }
    if (pool.isLarge(frame)) copyGso(frame, copy);
    const p = i32[(frame >> 2) + FRAME_DATA];
    const len = Math.min(i32[(frame >> 2) + FRAME_LEN], max);
    const to = copy + (p - frame);
    i32[(copy >> 2) + FRAME_LEN] = len;
    i32[(copy >> 2) + FRAME_DATA] = to;
    u8.copyWithin(to, p, p + len);
    return copy;
  }

  /** Puts packet `i` (or a copy of it) with its key behind the packets of `to`. */
  function transfer(b: PacketBatch, i: number, to: PacketBatch, move: boolean): void {
    const frame = b.frames[i];
    const other = move ? frame : copyFrame(frame, 0x7fffffff);
    if (other < 0) return;
    const j = to.n++;
    const shift = other - frame;
    to.frames[j] = other;
    to.len[j] = i32[(other >> 2) + FRAME_LEN];
    to.l3[j] = b.l3[i] === 0 ? 0 : b.l3[i] + shift;
    to.l4[j] = b.l4[i] === 0 ? 0 : b.l4[i] + shift;
    to.hash[j] = b.hash[i];
    const from = slotOf(b, i);
    const k = slotOf(to, j);
    clearShape(i32, k, to.shape[j]);
    i32[k] = i32[from];
    for (let w = 2; w < 12; w++) i32[k + w] = i32[from + w];
    copyShape(i32, from, k, b.shape[i]);
    to.shape[j] = b.shape[i];
  }

  /** Makes the key what the packet is now; its metadata stays. */
  function refresh(b: PacketBatch, i: number): void {
    clearShape(i32, slotOf(b, i), b.shape[i] & ~SHAPE_METADATA);
    b.shape[i] &= SHAPE_METADATA;
    extractor.again(b, i);
  }

  /** Without `isOurs` the packets are needed on, and only copies are lost. */
  function dropAll(b: PacketBatch, list: Int32Array, n: number, reason: number, isOurs: boolean): void {
    for (let j = 0; j < n; j++) {
      if (isOurs) host.drop(b.frames[list[j]], reason);
      else host.countDrop(reason);
    }
  }

  /** Whatever was to be done with these packets has been done. */
  function putAll(b: PacketBatch, list: Int32Array, n: number): void {
    for (let j = 0; j < n; j++) pool.put(b.frames[list[j]]);
  }

  /** `cut`: bytes that the next output or userspace action may see. */
  function exec(
    b: PacketBatch,
    list: Int32Array,
    n: number,
    pc: number,
    end: number,
    level: number,
    cut: number = UNCUT,
  ): void {
    if (pc === end) {
      dropAll(b, list, n, DROP.NO_ACTIONS, true);
      return;
    }
    while (pc < end) {
      if (teller !== null && !teller.step(b, list[0], pc, end, level, cut)) return;
      const next = pc + (i32[pc] >>> 8);
      const isLast = next >= end;
      switch (i32[pc] & 0xff) {
        case OP.OUTPUT: {
          const port = i32[pc + 1];
          for (let j = 0; j < n; j++) {
            const frame = b.frames[list[j]];
            if (isLast) {
              const f = frame >> 2;
              if (i32[f + FRAME_LEN] > cut) i32[f + FRAME_LEN] = cut;
              host.send(port, frame);
            } else {
              const copy = copyFrame(frame, cut);
              if (copy >= 0) host.send(port, copy);
            }
          }
          if (isLast) return;
          cut = UNCUT;
          break;
        }
        case OP.LB_OUTPUT:
          for (let j = 0; j < n; j++) lbOutput(b, list[j], i32[pc + 1], cut, isLast);
          if (isLast) return;
          cut = UNCUT;
          break;
        case OP.USERSPACE:
          for (let j = 0; j < n; j++) {
            refresh(b, list[j]);
            const len = i32[(b.frames[list[j]] >> 2) + FRAME_LEN];
            b.len[list[j]] = Math.min(len, cut);
            host.upcall(b, list[j], i32[pc + 1]);
            b.len[list[j]] = len;
          }
          cut = UNCUT;
          break;
        case OP.SET:
          for (let j = 0; j < n; j++) set(b, list[j], i32[pc + 1], pc + 2);
          break;
        case OP.PUSH_VLAN:
          for (let j = 0; j < n; j++) pushVlan(b, list[j], i32[pc + 1]);
          break;
        case OP.POP_VLAN:
          for (let j = 0; j < n; j++) popVlan(b, list[j]);
          break;
        case OP.PUSH_MPLS:
          for (let j = 0; j < n; j++) pushMpls(b, list[j], i32[pc + 1], i32[pc + 2]);
          break;
        case OP.POP_MPLS:
          for (let j = 0; j < n; j++) popMpls(b, list[j], i32[pc + 1]);
          break;
        case OP.PUSH_ETH:
          for (let j = 0; j < n; j++) pushEth(b, list[j], pc + 1);
          break;
        case OP.POP_ETH:
          for (let j = 0; j < n; j++) popEth(b, list[j]);
          break;
        case OP.PUSH_NSH:
          for (let j = 0; j < n; j++) pushNsh(b, list[j], pc + 2, i32[pc + 1]);
          break;
        case OP.POP_NSH:
          for (let j = 0; j < n; j++) popNsh(b, list[j]);
          break;
        case OP.ADD_MPLS:
          for (let j = 0; j < n; j++) addMpls(b, list[j], i32[pc + 1], i32[pc + 2]);
          break;
        case OP.HASH:
          for (let j = 0; j < n; j++) hash(b, list[j], i32[pc + 1], i32[pc + 2]);
          break;
        case OP.TRUNC:
          cut = i32[pc + 1];
          break;
        case OP.METER:
          if (i32[pc + 1] === 0) break;
          n = drawFromMeter(arena, i32[pc + 1], host.clockAt, b.frames, list, n, b.missed, dropMetered);
          if (n === 0) return;
          list = b.missed;
          break;
        case OP.TNL_PUSH:
          for (let j = 0; j < n; j++) {
            const f = b.frames[list[j]] >> 2;
            if (i32[f + FRAME_LEN] > cut) i32[f + FRAME_LEN] = cut;
          }
          cut = UNCUT;
          n = tnlPush(b, list, n, pc, (i32[next] & 0xff) === OP.OUTPUT && next + 2 === end);
          if (n === 0) return;
          list = b.missed;
          break;
        case OP.TNL_POP:
          tnlPop(b, list, n, pc, level, isLast);
          if (isLast) return;
          break;
        case OP.CT:
          if (tracker !== null) tracker.track(b, list, n, pc + 1, host.clockAt);
          break;
        case OP.CT_CLEAR:
          if (tracker !== null) for (let j = 0; j < n; j++) tracker.clear(b, list[j]);
          break;
        case OP.RECIRC:
          recirc(b, list, n, i32[pc + 1], level, isLast);
          if (isLast) return;
          break;
        case OP.CLONE:
          nested(b, list, n, 1, 0, pc + 1, next, level, isLast);
          if (isLast) return;
          break;
        case OP.SAMPLE:
          nested(b, list, n, 2, i32[pc + 1], pc + 2, next, level, false);
          break;
        case OP.CHECK_PKT_LEN: {
          const greater = pc + 3;
          const lessOrEqual = greater + i32[pc + 2];
          nested(b, list, n, 3, i32[pc + 1], greater, lessOrEqual, level, false);
          nested(b, list, n, 4, i32[pc + 1], lessOrEqual, next, level, false);
          break;
        }
        case OP.DROP:
          dropAll(b, list, n, DROP.ACTION, true);
          return;
      }
      pc = next;
    }
    putAll(b, list, n);
  }

  /** Which packets go into a nested list: 1 all, 2 by chance `limit` of 2^32, 3 longer than `limit`, 4 not longer. */
  function nested(
    b: PacketBatch,
    list: Int32Array,
    n: number,
    which: number,
    limit: number,
    pc: number,
    end: number,
    level: number,
    move: boolean,
  ): void {
    if (pc === end) {
      if (move) putAll(b, list, n);
      return;
    }
    if (level + 1 >= MAX_LEVELS) {
      dropAll(b, list, n, DROP.NESTING_LIMIT, move);
      return;
    }
    const to = batch(level + 1);
    to.n = 0;
    for (let j = 0; j < n; j++) {
      const i = list[j];
      const len = i32[(b.frames[i] >> 2) + FRAME_LEN];
      if (which === 2) {
        random ^= random << 13;
        random ^= random >>> 17;
        random ^= random << 5;
        if (limit !== -1 && random >>> 0 >= limit >>> 0) continue;
      } else if (which === 3) {
        if (len <= limit) continue;
      } else if (which === 4 && len > limit) continue;
      transfer(b, i, to, move);
    }
    if (to.n > 0) exec(to, identity, to.n, pc, end, level + 1);
  }

  /** Sends the packet, or a copy of it, to the member of a bond that its hash names. */
  function lbOutput(b: PacketBatch, i: number, table: number, cut: number, isLast: boolean): void {
    const bucket = b.hash[i] & (BOND_BUCKETS - 1);
    const port = table === 0 ? -1 : i32[table + bucket];
    if (port === -1) {
      if (isLast) host.drop(b.frames[i], DROP.NO_PORT);
      else host.countDrop(DROP.NO_PORT);
      return;
    }
    const frame = isLast ? b.frames[i] : copyFrame(b.frames[i], cut);
    if (frame < 0) return;
    const f = frame >> 2;
    if (i32[f + FRAME_LEN] > cut) i32[f + FRAME_LEN] = cut;
    Atomics.add(i32, table + BOND_BUCKETS + bucket, i32[f + FRAME_LEN]);
    host.send(port, frame);
  }

  function recirc(b: PacketBatch, list: Int32Array, n: number, id: number, level: number, move: boolean): void {
    if (recircDepth >= MAX_RECIRC_DEPTH || level + 1 >= MAX_LEVELS) {
      dropAll(b, list, n, DROP.RECIRC_LIMIT, move);
      return;
    }
    const to = batch(level + 1);
    to.n = 0;
    for (let j = 0; j < n; j++) transfer(b, list[j], to, move);
    for (let j = 0; j < to.n; j++) {
      const k = slotOf(to, j);
      i32[k + 1] = id;
      to.shape[j] |= SHAPE.META;
      refresh(to, j);
    }
    host.countRecirculated(to.n);
    recircDepth++;
    host.process(to, to.n, level + 1);
    recircDepth--;
  }

  /**
   * Those without room are dropped; `b.missed`, which nobody needs while actions run, lists the others, whose number is
   * returned. Nobody looks at the keys of packets that are only `sent` on.
   */
  function tnlPush(b: PacketBatch, list: Int32Array, n: number, pc: number, sent: boolean): number {
    let left = 0;
    for (let j = 0; j < n; j++) {
      const i = list[j];
      if (!tunnels.push(b, i, pc)) {
        host.drop(b.frames[i], DROP.TUNNEL);
        continue;
      }
      b.missed[left++] = i;
      if (!sent) refresh(b, i);
    }
    return left;
  }

  function tnlPop(b: PacketBatch, list: Int32Array, n: number, pc: number, level: number, move: boolean): void {
    if (recircDepth >= MAX_RECIRC_DEPTH || level + 1 >= MAX_LEVELS) {
      dropAll(b, list, n, DROP.RECIRC_LIMIT, move);
      return;
    }
    const to = batch(level + 1);
    to.n = 0;
    for (let j = 0; j < n; j++) {
      const before = to.n;
      transfer(b, list[j], to, move);
      if (to.n === before || tunnels.pop(to, before, pc)) continue;
      host.drop(to.frames[before], DROP.TUNNEL);
      to.n = before;
    }
    if (to.n === 0) return;
    host.countRecirculated(to.n);
    recircDepth++;
    host.process(to, to.n, level + 1);
    recircDepth--;
  }

  function hash(b: PacketBatch, i: number, algorithm: number, basis: number): void {
    const k = slotOf(b, i);
    let h: number;
    if (algorithm === 0) h = mix(b.hash[i], basis);
    else {
      const ports = i32[k + 10];
      h = mix(mix(basis, i32[k + 8] ^ i32[k + 9]), (ports & 0xffff) ^ (ports >>> 16) ^ ((i32[k + 7] & 0xff) << 16));
      if (b.shape[i] & SHAPE.IPV6) for (let w = k + 22; w < k + 26; w++) h = mix(h, i32[w] ^ i32[w + 4]);
      else if (i32[k + 8] === 0) {
        // No addresses of layer 3: the two Ethernet addresses, each in any order.
        h = mix(h, i32[k + 2] ^ (i32[k + 3] >>> 16) ^ (i32[k + 4] << 16));
      }
    }
    h ^= h >>> 16;
    i32[k + 14] = h === 0 ? 1 : h;
    b.shape[i] |= SHAPE.META;
  }

  /** The byte behind the transport payload; padding behind an IP packet is not part of it. */
  function endOfIp(l3: number, type: number, end: number): number {
    if (type === ETH_IP && l3 + 20 <= end) return Math.min(end, l3 + ((u8[l3 + 2] << 8) | u8[l3 + 3]));
    if (type === ETH_IPV6 && l3 + 40 <= end) return Math.min(end, l3 + 40 + ((u8[l3 + 4] << 8) | u8[l3 + 5]));
    return end;
  }

  function set(b: PacketBatch, i: number, header: number, key: number): void {
    const mask = key + SET_WORDS[header];
    const f = b.frames[i] >> 2;
    const p = i32[f + FRAME_DATA];
    const end = p + i32[f + FRAME_LEN];
    const k = slotOf(b, i);
    const l3 = b.l3[i];
    const l4 = b.l4[i];
    const type = i32[k + 6] & 0xffff;
    const proto = i32[k + 7] & 0xff;
    switch (header) {
      case SET.eth:
        if (l3 !== 0 && !(b.shape[i] & SHAPE.PACKET_TYPE)) write.eth(p, key, mask);
        break;
      case SET.vlan:
        if (hasTag(p, end, b.shape[i])) write.word(p + 12, key, mask);
        break;
      case SET.ipv4:
        if (type === ETH_IP && i32[k + 7] !== 0) write.ipv4(l3, l4, endOfIp(l3, type, end), key, mask);
        break;
      case SET.ipv6:
        if (type === ETH_IPV6 && b.shape[i] & SHAPE.IPV6) write.ipv6(l3, l4, endOfIp(l3, type, end), proto, key, mask);
        break;
      case SET.tcp:
      case SET.udp:
      case SET.sctp:
        if (proto === PROTO_OF[header]) write.ports(l4, endOfIp(l3, type, end), proto, key, mask);
        break;
      case SET.icmp:
        if (type === ETH_IP && proto === 1) write.icmp(l4, endOfIp(l3, type, end), key, mask);
        break;
      case SET.icmpv6:
        if (type === ETH_IPV6 && proto === 58) write.icmp(l4, endOfIp(l3, type, end), key, mask);
        break;
      case SET.arp:
        if ((type === ETH_ARP || type === ETH_RARP) && b.shape[i] & SHAPE.LL) write.arp(l3, end, key, mask);
        break;
      case SET.nd:
        if (b.shape[i] & SHAPE.ND) write.nd(l4, endOfIp(l3, type, end), key, mask);
        break;
      case SET.nd_ext:
        if (b.shape[i] & SHAPE.ND) write.ndExt(l4, endOfIp(l3, type, end), key, mask);
        break;
      case SET.mpls:
        if (isMpls(type) && l3 + 4 <= end) write.word(l3, key, mask);
        break;
      case SET.tunnel:
        setWords(k + 63, key, mask, 148 - 63);
        b.shape[i] |= SHAPE.TUNNEL | SHAPE.TUN_OPTIONS;
        break;
      case SET.skb_priority:
        setWords(k + 16, key, mask, 1);
        b.shape[i] |= SHAPE.META;
        break;
      case SET.nsh:
        if (type === ETH_NSH && b.shape[i] & SHAPE.NSH) write.nsh(l3, end, key, mask);
        break;
      case SET.skb_mark:
        setWords(k + 15, key, mask, 1);
        b.shape[i] |= SHAPE.META;
        break;
    }
  }

  function setWords(at: number, key: number, mask: number, n: number): void {
    for (let w = 0; w < n; w++) i32[at + w] = (i32[at + w] & ~i32[mask + w]) | (i32[key + w] & i32[mask + w]);
  }

  function hasTag(p: number, end: number, shape: number): boolean {
    const tpid = u16[(p + 12) >> 1];
    return !(shape & SHAPE.PACKET_TYPE) && end - p >= 18 && (tpid === ETH_VLAN || tpid === ETH_QINQ);
  }

  /** Moves the first `keep` bytes by `grow` (negative: forward) and changes where the packet begins. False without room. */
  function resize(frame: number, keep: number, grow: number): boolean {
    const f = frame >> 2;
    const p = i32[f + FRAME_DATA];
    if (p - grow < frame + 8) return false;
    if (keep > 0) u8.copyWithin(p - grow, p, p + keep);
    i32[f + FRAME_DATA] = p - grow;
    i32[f + FRAME_LEN] += grow;
    return true;
  }

  function pushVlan(b: PacketBatch, i: number, tag: number): void {
    if (b.l3[i] === 0 || b.shape[i] & SHAPE.PACKET_TYPE || !resize(b.frames[i], 12, 4)) return;
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    u16[(p + 12) >> 1] = tag;
    u16[(p + 14) >> 1] = tag >>> 16;
  }

  function popVlan(b: PacketBatch, i: number): void {
    const f = b.frames[i] >> 2;
    const p = i32[f + FRAME_DATA];
    if (hasTag(p, p + i32[f + FRAME_LEN], b.shape[i])) resize(b.frames[i], 12, -4);
  }

  /** Writes the type that stands before layer 3, in the packet and where the key keeps it. */
  function setType(b: PacketBatch, i: number, type: number): void {
    const k = slotOf(b, i);
    i32[k + 6] = (i32[k + 6] & ~0xffff) | type;
    if (b.shape[i] & SHAPE.PACKET_TYPE) i32[k + 18] = (i32[k + 18] & 0xffff) | (type << 16);
    else u16[(b.l3[i] - 2) >> 1] = type;
  }

  function pushMpls(b: PacketBatch, i: number, type: number, lse: number): void {
    if (b.l3[i] === 0) return;
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    if (!resize(b.frames[i], b.l3[i] - p, 4)) return;
    b.l3[i] -= 4;
    b.l4[i] = 0;
    u16[b.l3[i] >> 1] = lse;
    u16[(b.l3[i] >> 1) + 1] = lse >>> 16;
    setType(b, i, type);
  }

  function popMpls(b: PacketBatch, i: number, type: number): void {
    const f = b.frames[i] >> 2;
    const p = i32[f + FRAME_DATA];
    if (!isMpls(i32[slotOf(b, i) + 6] & 0xffff) || b.l3[i] + 4 > p + i32[f + FRAME_LEN]) return;
    resize(b.frames[i], b.l3[i] - p, -4);
    b.l3[i] += 4;
    b.l4[i] = 0;
    if (type === ETH_TEB && b.shape[i] & SHAPE.PACKET_TYPE) beginWith(b, i, type);
    else setType(b, i, type);
  }

  function pushEth(b: PacketBatch, i: number, addresses: number): void {
    if (!(b.shape[i] & SHAPE.PACKET_TYPE) || !resize(b.frames[i], 0, 14)) return;
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    for (let h = 0; h < 6; h++) u16[(p >> 1) + h] = u16[(addresses << 1) + h];
    const k = slotOf(b, i);
    u16[(p >> 1) + 6] = i32[k + 6] & 0xffff;
    b.l3[i] = p + 14;
    clearShape(i32, k, SHAPE.PACKET_TYPE);
    b.shape[i] &= ~SHAPE.PACKET_TYPE;
    i32[k + 6] &= 0xffff;
  }

  function popEth(b: PacketBatch, i: number): void {
    if (b.l3[i] === 0 || b.shape[i] & SHAPE.PACKET_TYPE) return;
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    const k = slotOf(b, i);
    const type = i32[k + 6] & 0xffff;
    resize(b.frames[i], 0, p - b.l3[i]);
    // Namespace 1 (Ethernet types) in network order.
    i32[k + 18] = 0x0100 | (type << 16);
    b.shape[i] |= SHAPE.PACKET_TYPE;
    i32[k + 6] = type | (0x0101 << 16);
  }

  /** From here on the packet begins with what stands behind an Ethernet header of this type. */
  function beginWith(b: PacketBatch, i: number, type: number): void {
    const k = slotOf(b, i);
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    if (type === ETH_TEB) {
      clearShape(i32, k, SHAPE.PACKET_TYPE);
      b.shape[i] &= ~SHAPE.PACKET_TYPE;
      refresh(b, i);
      return;
    }
    // Namespace 1 (Ethernet types) in network order.
    i32[k + 18] = 0x0100 | (type << 16);
    b.shape[i] |= SHAPE.PACKET_TYPE;
    i32[k + 6] = type | (0x0101 << 16);
    b.l3[i] = p;
    b.l4[i] = 0;
  }

  function pushNsh(b: PacketBatch, i: number, header: number, length: number): void {
    if (!resize(b.frames[i], 0, length)) return;
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    for (let h = 0; h < length >> 1; h++) u16[(p >> 1) + h] = u16[(header << 1) + h];
    beginWith(b, i, ETH_NSH);
    refresh(b, i);
  }

  /** The header that the packet begins with. */
  function popNsh(b: PacketBatch, i: number): void {
    const f = b.frames[i] >> 2;
    const p = i32[f + FRAME_DATA];
    const length = i32[f + FRAME_LEN];
    if (!(b.shape[i] & SHAPE.PACKET_TYPE) || (i32[slotOf(b, i) + 6] & 0xffff) !== ETH_NSH || length < 8) return;
    const size = (u8[p + 1] & 0x3f) << 2;
    const next = u8[p + 3];
    const type = next === NSH_NEXT_ETHERNET ? ETH_TEB : next < NSH_NEXT_TYPES.length ? NSH_NEXT_TYPES[next] : 0;
    if (size < 8 || size > length || type === 0) return;
    resize(b.frames[i], 0, -size);
    beginWith(b, i, type);
  }

  function addMpls(b: PacketBatch, i: number, type: number, lse: number): void {
    if (!resize(b.frames[i], 0, 4)) return;
    const p = i32[(b.frames[i] >> 2) + FRAME_DATA];
    u16[p >> 1] = lse;
    u16[(p >> 1) + 1] = lse >>> 16;
    beginWith(b, i, type);
  }

  return {
    batch,
    exec,
    transfer,
    setTeller(listener): void {
      teller = listener;
    },
    depth: () => recircDepth,
    setDepth(depth): void {
      recircDepth = depth;
    },
  };
}
