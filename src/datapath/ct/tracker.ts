/**
 * The `ct` action: finds or makes the connection of each packet, says in the packet's key what it is to it (`ct_state`,
 * zone, mark, label, original tuple), and translates addresses.
 *
 * What the states mean is `ovs-fields(7)`'s; where that leaves room we do as the original does: a packet that is of no
 * connection is `new` only if it could open one; `est` needs packets of both directions; a zone at its limit leaves
 * packets `new`, a full table makes them `inv`.
 */
import type { ArenaViews } from '../../base/arena.ts';
import { OFS } from '../../flow/layout.ts';
import type { FramePool } from '../../packet/frame.ts';
import { type PacketBatch, SLOT_WORDS } from '../batch.ts';
import type { HeaderWriter } from '../headers.ts';
import type { Alloc } from '../scratch.ts';
import { clearShape, SHAPE } from '../shape.ts';
import { CT_CODE, CT_FLAG } from './code.ts';
import {
  E_FLAGS,
  E_HELPER,
  E_KIND,
  E_LABEL,
  E_MARK,
  E_PARENT,
  E_STATE,
  E_TUPLE,
  FLAG,
  kindIsV6,
  kindProto,
  OTHER,
  PROTO,
  shownPorts,
  T_DST,
  T_KIND,
  T_PORTS,
  T_SRC,
  T_WORDS,
  TIMEOUT,
} from './entry.ts';
import { makeHelpers } from './helpers.ts';
import { makeTranslator } from './nat.ts';
import { makePacketReader, PARSED, reverseTuple } from './packet.ts';
import { CT, makeCtTable } from './table.ts';
import { makeTcpTracker, mayOpen, VERDICT } from './tcp.ts';

/** `ct_state` bits. `ovs-fields(7)` */
export const CS = { NEW: 1, EST: 2, REL: 4, RPL: 8, INV: 16, TRK: 32, SNAT: 64, DNAT: 128 } as const;

const W = {
  zone: OFS.ct_zone >> 2,
  state: OFS.ct_state >> 2,
  mark: OFS.ct_mark >> 2,
  label: OFS.ct_label >> 2,
  nw_src: OFS.ct_nw_src >> 2,
  nw_dst: OFS.ct_nw_dst >> 2,
  ipv6_src: OFS.ct_ipv6_src >> 2,
  ipv6_dst: OFS.ct_ipv6_dst >> 2,
  ports: OFS.ct_tp_src >> 2,
  proto: OFS.ct_nw_proto >> 2,
} as const;

/** What a tracker takes of a PMD's memory. */
export const TRACKER_BYTES = 512;

export interface Tracker {
  /** Runs `ct`, whose code begins at word `pc`, on `n` packets; `clock` is the Float64 index of the time in milliseconds. */
  track(b: PacketBatch, list: Int32Array, n: number, pc: number, clock: number): void;
  /** `ct_clear`: the packet was never tracked. */
  clear(b: PacketBatch, i: number): void;
}

/** `ctAt`: word index of the table's control block. */
export function makeTracker(
  arena: ArenaViews,
  ctAt: number,
  alloc: Alloc,
  write: HeaderWriter,
  pool: FramePool | null = null,
): Tracker {
  const { u8, i32 } = arena;
  const table = makeCtTable(arena, ctAt);
  const reader = makePacketReader(arena, pool);
  const tcp = makeTcpTracker(arena);
  const memory = alloc(TRACKER_BYTES) >> 2;
  const own = memory;
  const other = memory + T_WORDS;
  const translate = makeTranslator(arena, table, reader, write, memory + 64);
  const helpers = makeHelpers(arena, table, memory + 24);

  /** What the state of a packet is whose connection could not be made. */
  let refused: number = CS.INV;

  const swap16 = (x: number): number => ((x & 0xff) << 8) | ((x >>> 8) & 0xff);

  /** Bits of `ct_state` for a packet of `direction` that the connection translates. */
  function natBits(flags: number, direction: number): number {
    if (flags & FLAG.SNAT) return direction === 0 ? CS.SNAT : CS.DNAT;
    return flags & FLAG.DNAT ? (direction === 0 ? CS.DNAT : CS.SNAT) : 0;
  }

  function mayBegin(l4: number): boolean {
    const kind = i32[own + T_KIND];
    switch (kindProto(kind)) {
      case PROTO.TCP:
        return mayOpen(u8[l4 + 13]);
      case PROTO.ICMP:
        return u8[l4] === 8 || u8[l4] === 13 || u8[l4] === 15;
      case PROTO.ICMPV6:
        return u8[l4] === 128;
      default:
        return true;
    }
  }

  /** A packet of a known connection; a `VERDICT`. */
  function update(e: number, direction: number, l4: number, clock: number): number {
    const proto = kindProto(i32[e + E_KIND]);
    if (proto === PROTO.TCP) {
      const verdict = tcp.update(e, direction, l4, reader.end() - l4, i32[ctAt + CT.LIBERAL] !== 0);
      if (tcp.seconds() !== 0) table.touch(e, tcp.seconds(), clock);
      return verdict;
    }
    const isIcmp = proto === PROTO.ICMP || proto === PROTO.ICMPV6;
    if (direction === 1) i32[e + E_STATE] = OTHER.BOTH_WAYS;
    if (i32[e + E_STATE] === OTHER.BOTH_WAYS) {
      table.touch(e, isIcmp ? TIMEOUT.ICMP_REPLY : TIMEOUT.OTHER_BOTH_WAYS, clock);
      return VERDICT.ESTABLISHED;
    }
    i32[e + E_STATE] = OTHER.MULTIPLE;
    table.touch(e, isIcmp ? TIMEOUT.ICMP_FIRST : TIMEOUT.OTHER_MULTIPLE, clock);
    return VERDICT.NEW;
  }

  /** A connection for the packet read last, whose tuple is `own`; 0 when there can be none, and `refused` says how. */
  function commit(pc: number, l4: number, zone: number, expected: number, clock: number): number {
    const action = i32[pc + CT_CODE.FLAGS];
    refused = CS.INV;
    if (!table.hasRoom()) {
      Atomics.add(i32, ctAt + CT.FULL, 1);
      return 0;
    }
    if (table.isZoneFull(zone)) {
      refused = CS.NEW;
      return 0;
    }
    let flags = 0;
    if (action & (CT_FLAG.NAT_SRC | CT_FLAG.NAT_DST)) {
      if (!translate.choose(pc, own, other, clock)) return 0;
      flags = action & CT_FLAG.NAT_SRC ? FLAG.SNAT : FLAG.DNAT;
    } else reverseTuple(i32, own, other);
    const e = table.insert(own, other, clock);
    if (e === 0) {
      Atomics.add(i32, ctAt + CT.FULL, 1);
      return 0;
    }
    i32[e + E_FLAGS] = flags;
    i32[e + E_HELPER] = i32[pc + CT_CODE.HELPER];
    if (expected !== 0) {
      // Of the connection that announced it: its tuple, mark and label.
      i32[e + E_FLAGS] |= FLAG.RELATED;
      for (let w = 0; w < T_WORDS; w++) i32[e + E_PARENT + w] = i32[expected + E_PARENT + w];
      i32[e + E_MARK] = i32[expected + E_MARK];
      for (let w = 0; w < 4; w++) i32[e + E_LABEL + w] = i32[expected + E_LABEL + w];
      table.remove(expected);
    }
    const proto = kindProto(i32[own + T_KIND]);
    let seconds: number = TIMEOUT.OTHER_FIRST;
    if (proto === PROTO.TCP) seconds = tcp.open(e, l4, reader.end() - l4);
    table.touch(e, seconds, clock);
    return e;
  }

  /** Makes the packet look as its connection does on the other side. `wanted` is left in `other`. */
  function translatePacket(b: PacketBatch, i: number, e: number, direction: number, isError: boolean): void {
    table.getTuple(e, direction ^ 1, other);
    reverseTuple(i32, other, other);
    if (isError) translate.rewriteError(b.l3[i], b.l4[i], reader.end(), direction, other, i32[e + E_FLAGS]);
    else translate.rewrite(b.l3[i], b.l4[i], reader.end(), other);
  }

  function trackOne(b: PacketBatch, i: number, pc: number, clock: number): void {
    const k = b.slots + i * SLOT_WORDS;
    const action = i32[pc + CT_CODE.FLAGS];
    const zone = i32[pc + CT_CODE.ZONE];
    const l4 = b.l4[i];
    const before = b.shape[i] & SHAPE.META ? i32[k + W.state] >>> 24 : 0;
    const parsed = reader.read(b, i, k, zone, own);
    if (parsed === PARSED.INVALID) {
      describe(b, i, k, CS.INV | CS.TRK, zone, 0, false);
      return;
    }
    const isError = parsed === PARSED.ERROR;
    let e = table.lookup(own, clock);
    let direction = table.direction();
    let isTranslated = false;
    if (e === 0 && before & (CS.SNAT | CS.DNAT)) {
      // It was translated before: it is what the replies to its replies look like.
      reverseTuple(i32, own, other);
      e = table.lookup(other, clock);
      direction = table.direction() ^ 1;
      isTranslated = e !== 0;
    }
    if (e !== 0 && direction === 1 && !isError && action & CT_FLAG.FORCE) {
      table.remove(e);
      e = 0;
    }
    let state = 0;
    let announced = 0;
    if (e !== 0) {
      const verdict = isError ? VERDICT.ESTABLISHED : update(e, direction, l4, clock);
      if (verdict === VERDICT.REOPEN) {
        table.remove(e);
        e = 0;
        isTranslated = false;
      } else {
        state = isError ? CS.REL : verdict === VERDICT.INVALID ? CS.INV : verdict === VERDICT.NEW ? CS.NEW : CS.EST;
        if (direction === 1 && state & (CS.REL | CS.EST)) state |= CS.RPL;
        if (i32[e + E_FLAGS] & FLAG.RELATED && state !== CS.INV) state |= CS.REL;
        // Invalid packets of a connection are translated as well, so that its inside does not show.
        if (isTranslated) state |= before & (CS.SNAT | CS.DNAT);
        else if (action & CT_FLAG.NAT && i32[e + E_FLAGS] & (FLAG.SNAT | FLAG.DNAT)) {
          translatePacket(b, i, e, direction, isError);
          state |= natBits(i32[e + E_FLAGS], direction);
        }
      }
    }
    if (e === 0) {
      if (isError || !mayBegin(l4)) {
        describe(b, i, k, CS.INV | CS.TRK, zone, 0, false);
        return;
      }
      direction = 0;
      const expected = helpers.find(own, clock);
      state = expected === 0 ? CS.NEW : CS.NEW | CS.REL;
      announced = expected;
      if (action & CT_FLAG.COMMIT) {
        e = commit(pc, l4, zone, expected, clock);
        announced = 0;
        if (e === 0) state = refused;
        else if (i32[e + E_FLAGS] & (FLAG.SNAT | FLAG.DNAT)) {
          translatePacket(b, i, e, 0, false);
          state |= natBits(i32[e + E_FLAGS], 0);
        }
      }
    }
    if (e !== 0 && action & CT_FLAG.COMMIT && !(state & CS.INV)) {
      if (action & CT_FLAG.MARK) setWords(e + E_MARK, pc + CT_CODE.MARK, pc + CT_CODE.MARK_MASK, 1);
      if (action & CT_FLAG.LABEL) setWords(e + E_LABEL, pc + CT_CODE.LABEL, pc + CT_CODE.LABEL_MASK, 4);
    }
    if (e !== 0 && i32[e + E_HELPER] !== 0 && !isError && !(state & CS.INV))
      helpers.look(e, direction, l4, reader.end(), clock);
    describe(b, i, k, state | CS.TRK, zone, e !== 0 ? e : announced, (state & CS.INV) === 0);
  }

  function setWords(at: number, value: number, mask: number, n: number): void {
    for (let w = 0; w < n; w++) i32[at + w] = (i32[at + w] & ~i32[mask + w]) | (i32[value + w] & i32[mask + w]);
  }

  /** Writes the packet's conntrack fields: of connection `e`, or of its own tuple when there is none. */
  function describe(
    b: PacketBatch,
    i: number,
    k: number,
    state: number,
    zone: number,
    e: number,
    hasTuple: boolean,
  ): void {
    b.shape[i] |= SHAPE.META | SHAPE.CT;
    i32[k + W.zone] = (i32[k + W.zone] & 0xffff) | (swap16(zone) << 16);
    i32[k + W.state] = state << 24;
    for (let w = k + W.label; w <= k + W.proto; w++) i32[w] = 0;
    if (e !== 0) {
      i32[k + W.mark] = i32[e + E_MARK];
      for (let w = 0; w < 4; w++) i32[k + W.label + w] = i32[e + E_LABEL + w];
    } else i32[k + W.mark] = 0;
    if (!hasTuple) return;
    if (e !== 0 && (i32[e + E_FLAGS] & FLAG.RELATED) === 0 && !kindIsV6(i32[e + E_KIND])) {
      i32[k + W.nw_src] = i32[e + E_TUPLE];
      i32[k + W.nw_dst] = i32[e + E_TUPLE + 1];
      i32[k + W.ports] = shownPorts(i32[e + E_TUPLE + 2], i32[e + E_KIND]);
      i32[k + W.proto] = kindProto(i32[e + E_KIND]);
      return;
    }
    let t = own;
    if (e !== 0) {
      t = other;
      if (i32[e + E_FLAGS] & FLAG.RELATED) t = e + E_PARENT;
      else table.getTuple(e, 0, other);
    }
    const kind = i32[t + T_KIND];
    if (kindIsV6(kind)) {
      for (let w = 0; w < 4; w++) {
        i32[k + W.ipv6_src + w] = i32[t + T_SRC + w];
        i32[k + W.ipv6_dst + w] = i32[t + T_DST + w];
      }
    } else {
      i32[k + W.nw_src] = i32[t + T_SRC];
      i32[k + W.nw_dst] = i32[t + T_DST];
    }
    i32[k + W.ports] = shownPorts(i32[t + T_PORTS], kind);
    i32[k + W.proto] = kindProto(kind);
  }

  return {
    track(b, list, n, pc, clock) {
      const zone = i32[pc + CT_CODE.ZONE];
      table.lock(zone);
      for (let j = 0; j < n; j++) trackOne(b, list[j], pc, clock);
      table.unlock(zone);
    },

    clear(b, i) {
      const k = b.slots + i * SLOT_WORDS;
      if (b.shape[i] & SHAPE.CT) clearShape(i32, k, SHAPE.CT);
      b.shape[i] &= ~SHAPE.CT;
      if (!(b.shape[i] & SHAPE.META)) return;
      i32[k + W.zone] &= 0xffff;
      i32[k + W.state] = 0;
      i32[k + W.mark] = 0;
    },
  };
}
