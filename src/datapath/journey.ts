/**
 * How a packet tells its journey: what the PMD writes down of a packet that somebody looks for, as a record of words in a
 * ring of its own.
 *
 * Nobody looking costs one question a burst. Somebody looking costs a comparison a packet (`makeFilters`); only packets
 * that match leave their burst and go alone, in their order, through code that tells. Where the ring has no room for
 * another journey the packet takes the ordinary way, uncounted but for `JOURNEYS_LOST`: traffic slows down to the speed
 * of the reader only for packets that are told.
 *
 * A record is `HEAD` words and events. An event is `kind | words << 8`, nanoseconds since the record began, arguments. All of
 * a packet's journey that happens in one go is one record; what comes back from an upcall by `CMD.EXECUTE` is another with
 * the same id. So no record can ever be another packet's.
 */
import type { ArenaViews } from '../base/arena.ts';
import type { RecordRing } from '../base/record-ring.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import { FRAME_DATA, FRAME_LEN } from '../packet/frame.ts';
import type { ActionTeller } from './actions.ts';
import { type PacketBatch, SLOT_WORDS } from './batch.ts';
import { FLOW_ID, FLOW_SUBTABLE } from './flow-entry.ts';
import { FILTER_HEAD, type Filters, makeFilters } from './journey-filter.ts';

/** `CMD.WATCH`: ring's byte offset, its words, bits of all ids, generation, words of the command, filters. */
export const WATCH_FILTERS = 6;

/** Which packets a filter wants to hear of once they have passed: bits. */
export const WANT = { ALL: 1, DROPS: 2, UPCALLS: 4, SLOW: 8 } as const;
/** Above them in the same word: the stages before which packets are to wait, bits of `STOP`. */
export const WANT_STOPS_SHIFT = 8;

/** HANDED: another PMD sends it out of a port of its own, and has no key for it; RESUMED: it had waited. */
export const RECORD_KIND = { RECEIVED: 0, EXECUTED: 1, HANDED: 2, RESUMED: 3 } as const;

/** Where things stand in a record. `START` is a double: milliseconds of the monotonic clock, its two halves. */
export const HEAD = {
  KIND: 0,
  ID: 1,
  /** Bits of the filters that matched. */
  FILTERS: 2,
  GENERATION: 3,
  START: 4,
  PORT: 6,
  QUEUE: 7,
  /** Bytes of the packet as it came. */
  LENGTH: 8,
  /** Upcalls made, which the slow path will hear of. */
  UPCALLS: 9,
  NS: 10,
  /** 1: the record had no room for all events. */
  TRUNCATED: 11,
  WORDS: 12,
  /** Bytes of it that follow the key. */
  CAPTURED: 13,
  KEY: 14,
} as const;
export const HEAD_PACKET = HEAD.KEY + DP_WORDS;

export const EVENT = {
  /** flow's id, place */
  EMC: 1,
  /**
   * flow's id, place, mask's id, subtables (or steps of the index) tried, subtables there are, 1 when an index answers, bits of
   * `ASKED`
   */
  MEGAFLOW: 2,
  /** subtables or steps tried, subtables there are, 1 when an index answers, bits of `ASKED` */
  MISS: 3,
  /** miss or action, userspace id, 1 when it went up */
  UPCALL: 4,
  /** level, word where the code begins, code */
  ACTIONS: 5,
  /** level, word of the action, bytes of the packet, bytes shown, header bytes (none: as before) */
  STEP: 6,
  /** port, neighbor or -1, bytes, 1 when it was taken, class of its queue or 0 */
  SENT: 7,
  /** reason, port or -1 */
  DROP: 8,
  /** level, recirculation id, key: looked up again */
  AGAIN: 9,
  /** number of the hold, stage, drop reason or -1, bytes of the packet, captured, words of code; key; packet; code: it waits */
  HELD: 10,
  /** ct_state, zone and mark, label: what connection tracking says of the packet now */
  CT: 11,
  /** flow's id, place */
  SMC: 12,
  SIMPLE: 13,
} as const;

/** In the level of `EVENT.ACTIONS`. */
export const IS_REST = 0x100;
/** Of a key: state, zone, mark, label. */
const CT_WORDS = [OFS.ct_state, OFS.ct_zone, OFS.ct_mark, 0, 4, 8, 12].map((ofs, i) =>
  i < 3 ? ofs >> 2 : (OFS.ct_label + ofs) >> 2,
);
const CT_MASKS = CT_WORDS.map((w) => (w === OFS.ct_zone >> 2 ? ~0xffff : -1));
/** Arguments of `EVENT.HELD` before the key. */
export const HELD_KEY = 6;
/** Caches that were asked in vain. */
export const ASKED = { EMC: 1, SMC: 2, SIMPLE: 4 } as const;

const MAX_WORDS = 8192;
/** Bytes of a packet that a record has; larger ones wait to be segmented. */
const MAX_CAPTURED = 9216;
const MAX_CODE = 1024;
/** Bytes of headers shown before and after each action. */
const SHOWN = 96;

export interface Teller extends ActionTeller {
  /** The journey being told, 0 for none. */
  readonly id: number;
  readonly filters: Filters;
  /** Is there room for a journey? */
  hasRoom(): boolean;
  /** Packet `i`, received at `port`, begins; `bits` are those of the filters that match. */
  received(b: PacketBatch, i: number, port: number, queue: number, bits: number): void;
  /** Packet 0 goes on with journey `id`: `kind` is one of `RECORD_KIND`. */
  executed(kind: number, b: PacketBatch, i: number, journey: number): void;
  /** The stages before which packets that these filters match are to wait. */
  stopsOf(bits: number): number;
  /** Packet `i` waits. False when there is no room to tell it: then it must not. */
  held(hold: number, stage: number, reason: number, frame: number, slot: number, pc: number, end: number): boolean;
  /** `cache` is `EVENT.EMC`, `SMC` or `SIMPLE`. */
  cache(cache: number, flow: number): void;
  megaflow(flow: number, tried: number, subtables: number, isIndexed: boolean, asked: number): void;
  /** `asked`: bits of `ASKED`. */
  miss(tried: number, subtables: number, isIndexed: boolean, asked: number): void;
  upcall(kind: number, userspaceId: number, isSent: boolean): void;
  /** `isRest`: some of them were carried out before the packet waited. */
  actions(first: number, end: number, level: number, isRest?: boolean): void;
  sent(port: number, neighbor: number, bytes: number, isTaken: boolean, txClass: number): void;
  drop(reason: number, port: number): void;
  again(b: PacketBatch, level: number): void;
  /** The journey, as far as it goes, is over: hands it up if anybody wants it. */
  finish(): void;
}

/** A PMD's journeys: where they are told, and the number of the next. Whoever looks, no number is used twice. */
export interface JourneyRing {
  readonly ring: RecordRing;
  next: number;
}

/** `at`: payload of `CMD.WATCH`. Null when nobody looks any more. */
export function makeTeller(arena: ArenaViews, at: number, journeys: JourneyRing): Teller | null {
  const { i32, u8 } = arena;
  const end = at + i32[at + 5];
  const filtersAt = at + WATCH_FILTERS;
  if (filtersAt >= end) return null;
  const out = journeys.ring;
  const idBase = i32[at + 3];
  const generation = i32[at + 4];
  const wants: number[] = [];
  const stops: number[] = [];
  const slowNs: number[] = [];
  for (let f = filtersAt; f < end; f += FILTER_HEAD + i32[f + 2] * 3) {
    wants.push(i32[f] & ((1 << WANT_STOPS_SHIFT) - 1));
    stops.push(i32[f] >>> WANT_STOPS_SHIFT);
    slowNs.push(i32[f + 1] * 1000);
  }
  const filters = makeFilters(arena, filtersAt, end);
  const words = new Int32Array(MAX_WORDS);
  const bytes = new Uint8Array(words.buffer);
  const start = new Float64Array(1);
  const startWords = new Int32Array(start.buffer);
  /** To the kernel's monotonic milliseconds, which all threads share. */
  const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  const shown = new Uint8Array(SHOWN);
  let nShown = -1;
  let length = -1;
  let n = 0;
  let id = 0;
  let flags = 0;
  let isHeld = false;
  const ct = new Int32Array(CT_WORDS.length);

  const ns = (): number => Math.round((performance.now() + offset - start[0]) * 1e6) | 0;

  /** Room for an event with `args` words; -1 when the record is full. */
  function event(kind: number, args: number): number {
    if (n + 2 + args > MAX_WORDS) {
      words[HEAD.TRUNCATED] = 1;
      return -1;
    }
    const e = n;
    n += 2 + args;
    words[e] = kind | ((2 + args) << 8);
    words[e + 1] = ns();
    return e + 2;
  }

  function begin(kind: number, b: PacketBatch, i: number): void {
    start[0] = performance.now() + offset;
    const frame = b.frames[i] >> 2;
    const bytesLong = i32[frame + FRAME_LEN];
    words[HEAD.KIND] = kind;
    words[HEAD.ID] = id;
    words[HEAD.GENERATION] = generation;
    words[HEAD.START] = startWords[0];
    words[HEAD.START + 1] = startWords[1];
    words[HEAD.LENGTH] = bytesLong;
    words[HEAD.UPCALLS] = 0;
    words[HEAD.TRUNCATED] = 0;
    const k = b.slots + i * SLOT_WORDS;
    for (let w = 0; w < DP_WORDS; w++) words[HEAD.KEY + w] = i32[k + w];
    const p = i32[frame + FRAME_DATA];
    const captured = Math.min(bytesLong, MAX_CAPTURED);
    words[HEAD.CAPTURED] = captured;
    bytes.set(u8.subarray(p, p + captured), HEAD_PACKET * 4);
    n = HEAD_PACKET + ((captured + 3) >> 2);
    nShown = -1;
    flags = 0;
    isHeld = false;
    for (let w = 0; w < CT_WORDS.length; w++) ct[w] = i32[k + CT_WORDS[w]] & CT_MASKS[w];
    remember(p, bytesLong);
  }

  /** What connection tracking says, when that is new. */
  function tellCt(k: number): void {
    let isSame = true;
    for (let w = 0; w < CT_WORDS.length; w++) {
      const now = i32[k + CT_WORDS[w]] & CT_MASKS[w];
      if (now === ct[w]) continue;
      ct[w] = now;
      isSame = false;
    }
    if (isSame) return;
    const e = event(EVENT.CT, CT_WORDS.length);
    if (e >= 0) for (let w = 0; w < CT_WORDS.length; w++) words[e + w] = ct[w];
  }

  /** Do the packet's headers differ from what was last shown? Then they are shown from now on. */
  function remember(p: number, bytesLong: number): boolean {
    const m = Math.min(bytesLong, SHOWN);
    let isSame = m === nShown && bytesLong === length;
    for (let j = 0; isSame && j < m; j++) isSame = shown[j] === u8[p + j];
    if (isSame) return false;
    for (let j = 0; j < m; j++) shown[j] = u8[p + j];
    nShown = m;
    length = bytesLong;
    return true;
  }

  return {
    get id() {
      return id;
    },
    filters,
    hasRoom: () => out.reserve(MAX_WORDS) >= 0,

    received(b, i, port, queue, bits) {
      id = idBase | journeys.next;
      journeys.next = journeys.next === 0xffffff ? 1 : journeys.next + 1;
      begin(RECORD_KIND.RECEIVED, b, i);
      words[HEAD.FILTERS] = bits;
      words[HEAD.PORT] = port;
      words[HEAD.QUEUE] = queue;
    },

    stopsOf(bits) {
      let all = 0;
      for (let f = 0; f < stops.length; f++) if (bits & (1 << f)) all |= stops[f];
      return all;
    },

    executed(kind, b, i, journey) {
      id = journey;
      begin(kind, b, i);
      words[HEAD.FILTERS] = 0;
      words[HEAD.PORT] = -1;
      words[HEAD.QUEUE] = -1;
    },

    held(hold, stage, reason, frame, slot, pc, last) {
      const bytesLong = i32[(frame >> 2) + FRAME_LEN];
      const captured = Math.min(bytesLong, MAX_CAPTURED);
      const packetWords = (captured + 3) >> 2;
      tellCt(slot);
      const code = Math.min(last - pc, MAX_CODE);
      if (out.reserve(MAX_WORDS) < 0) return false;
      const e = event(EVENT.HELD, HELD_KEY + DP_WORDS + packetWords + code);
      if (e < 0) return false;
      words[e] = hold;
      words[e + 1] = stage;
      words[e + 2] = reason;
      words[e + 3] = bytesLong;
      words[e + 4] = captured;
      words[e + 5] = code;
      for (let w = 0; w < DP_WORDS; w++) words[e + HELD_KEY + w] = i32[slot + w];
      const to = e + HELD_KEY + DP_WORDS;
      const p = i32[(frame >> 2) + FRAME_DATA];
      bytes.set(u8.subarray(p, p + captured), to * 4);
      for (let j = 0; j < code; j++) words[to + packetWords + j] = i32[pc + j];
      isHeld = true;
      return true;
    },

    cache(kind, flow) {
      const e = event(kind, 2);
      if (e < 0) return;
      words[e] = i32[flow + FLOW_ID];
      words[e + 1] = flow;
    },

    megaflow(flow, tried, subtables, isIndexed, asked) {
      const e = event(EVENT.MEGAFLOW, 7);
      if (e < 0) return;
      words[e] = i32[flow + FLOW_ID];
      words[e + 1] = flow;
      words[e + 2] = i32[flow + FLOW_SUBTABLE];
      words[e + 3] = tried;
      words[e + 4] = subtables;
      words[e + 5] = isIndexed ? 1 : 0;
      words[e + 6] = asked;
    },

    miss(tried, subtables, isIndexed, asked) {
      const e = event(EVENT.MISS, 4);
      if (e < 0) return;
      words[e] = tried;
      words[e + 1] = subtables;
      words[e + 2] = isIndexed ? 1 : 0;
      words[e + 3] = asked;
    },

    upcall(kind, userspaceId, isSent) {
      flags |= WANT.UPCALLS;
      if (isSent) words[HEAD.UPCALLS]++;
      const e = event(EVENT.UPCALL, 3);
      if (e < 0) return;
      words[e] = kind;
      words[e + 1] = userspaceId;
      words[e + 2] = isSent ? 1 : 0;
    },

    actions(first, last, level, isRest = false) {
      const m = Math.min(last - first, MAX_CODE);
      const e = event(EVENT.ACTIONS, 3 + m);
      if (e < 0) return;
      words[e] = level | (isRest ? IS_REST : 0);
      words[e + 1] = first;
      words[e + 2] = last - first;
      for (let j = 0; j < m; j++) words[e + 3 + j] = i32[first + j];
    },

    step(b, i, pc, _end, level) {
      tellCt(b.slots + i * SLOT_WORDS);
      const frame = b.frames[i] >> 2;
      const p = i32[frame + FRAME_DATA];
      const m = remember(p, i32[frame + FRAME_LEN]) ? nShown : 0;
      const e = event(EVENT.STEP, 4 + ((m + 3) >> 2));
      if (e < 0) return true;
      words[e] = level;
      words[e + 1] = pc;
      words[e + 2] = i32[frame + FRAME_LEN];
      words[e + 3] = m;
      for (let j = 0; j < m; j++) bytes[(e + 4) * 4 + j] = shown[j];
      return true;
    },

    sent(port, neighbor, bytesLong, isTaken, txClass) {
      const e = event(EVENT.SENT, 5);
      if (e < 0) return;
      words[e] = port;
      words[e + 1] = neighbor;
      words[e + 2] = bytesLong;
      words[e + 3] = isTaken ? 1 : 0;
      words[e + 4] = txClass;
    },

    drop(reason, port) {
      flags |= WANT.DROPS;
      const e = event(EVENT.DROP, 2);
      if (e < 0) return;
      words[e] = reason;
      words[e + 1] = port;
    },

    again(b, level) {
      const e = event(EVENT.AGAIN, 2 + DP_WORDS);
      if (e < 0) return;
      words[e] = level;
      words[e + 1] = i32[b.slots + 1];
      for (let w = 0; w < DP_WORDS; w++) words[e + 2 + w] = i32[b.slots + w];
    },

    finish() {
      const took = ns();
      words[HEAD.NS] = took;
      words[HEAD.WORDS] = n;
      const isWanted = isHeld || words[HEAD.KIND] !== RECORD_KIND.RECEIVED || anyWants(words[HEAD.FILTERS], took);
      id = 0;
      if (!isWanted) return;
      const to = out.reserve(n);
      if (to < 0) return;
      i32.set(words.subarray(0, n), to);
      out.commit();
    },
  };

  /** What has an upcall is not over: whether it is dropped, or slow, only the slow path will know. */
  function anyWants(bits: number, took: number): boolean {
    for (let f = 0; f < wants.length; f++) {
      if (!(bits & (1 << f))) continue;
      const want = wants[f];
      if (want & WANT.ALL || want & flags || flags & WANT.UPCALLS) return true;
      if (want & WANT.SLOW && took >= slowNs[f]) return true;
    }
    return false;
  }
}
