/**
 * The table of connections: one for all threads of a datapath, in the arena.
 *
 * It is cut into `PARTITIONS` by zone, for both tuples of a connection are of one zone. A partition has a lock, hash buckets
 * and a timer wheel; whoever tracks packets of a zone holds its lock for the burst. Free entries are shared: a list and an
 * unused extent, under a lock of their own, which is only ever taken inside a partition's. Extents come from the main
 * thread (`host.ts`), one ahead of need.
 *
 * The wheel has a slot a second. An entry is looked at when its slot comes; if packets have given it more time by then, it
 * moves on, so packets write a time and touch no list. Only a shorter time moves an entry at once.
 */
import type { ArenaViews } from '../../base/arena.ts';
import { mix } from '../extract.ts';
import {
  E_BUCKET,
  E_CREATED,
  E_EXPIRES,
  E_KIND,
  E_NEXT,
  E_REST,
  E_TUPLE,
  E_WHEEL_NEXT,
  E_WHEEL_PREV,
  E_WHEEL_SECOND,
  ENTRY_WORDS,
  KIND_EXPECTED,
  kindIsV6,
  kindZone,
  REST_WORDS,
  T_DST,
  T_KIND,
  T_PORTS,
  T_SRC,
  TUPLE_WORDS,
} from './entry.ts';
import { lock, unlock } from './lock.ts';

export const PARTITIONS = 16;
export const WHEEL_SLOTS = 512;
/** Seconds ahead that the wheel is used for; half of it, so that what moves on never falls into a slot being emptied. */
const WHEEL_AHEAD = 255;

const CT_LOCKS = 16;

/** Words of the control block. */
export const CT = {
  COUNT: 0,
  MAX: 1,
  /** 1: TCP's sequence numbers are not looked at. */
  LIBERAL: 2,
  FREE: 3,
  FRESH: 4,
  FRESH_END: 5,
  NEXT: 6,
  NEXT_END: 7,
  /** 1 when `NEXT` was taken: the main thread shall put another extent there. It waits here. */
  WANTS: 8,
  POOL_LOCK: 9,
  BUCKETS: 10,
  BUCKET_MASK: 11,
  WHEELS: 12,
  /** Two words for each zone: limit (-1 none of its own) and connections. */
  ZONES: 13,
  /** Of zones without a limit of their own; 0 for none. */
  DEFAULT_LIMIT: 14,
  /** Connections that could not be made: no room, and zone at its limit. */
  FULL: 15,
  /** Expected connections. */
  EXPECTED: CT_LOCKS + PARTITIONS * 16,
  LOCKS: CT_LOCKS,
} as const;
export const CT_WORDS = CT.EXPECTED + 16;

export const ZONES = 65536;

export const partitionOf = (zone: number): number => zone & (PARTITIONS - 1);

export type CtTable = ReturnType<typeof makeCtTable>;

/** The table whose control block is at word `at`, as one thread uses it. */
export function makeCtTable(arena: ArenaViews, at: number) {
  const { i32, f64 } = arena;
  const buckets = i32[at + CT.BUCKETS];
  const mask = i32[at + CT.BUCKET_MASK];
  const wheels = i32[at + CT.WHEELS];
  const zones = i32[at + CT.ZONES];
  let foundDirection = 0;

  const lockOf = (zone: number): number => at + CT.LOCKS + partitionOf(zone) * 16;

  function bucketOf(t: number): number {
    const kind = i32[t + T_KIND];
    let h = mix(mix(mix(kind, i32[t + T_SRC]), i32[t + T_DST]), i32[t + T_PORTS]);
    if (kindIsV6(kind)) for (let w = 1; w < 4; w++) h = mix(mix(h, i32[t + T_SRC + w]), i32[t + T_DST + w]);
    h ^= h >>> 16;
    h = Math.imul(h, 0x85ebca6b);
    h ^= h >>> 13;
    return buckets + partitionOf(kindZone(kind)) * (mask + 1) + (h & mask);
  }

  function isTuple(e: number, direction: number, t: number): boolean {
    const tuple = e + E_TUPLE + direction * TUPLE_WORDS;
    if (
      i32[e + E_KIND] !== i32[t + T_KIND] ||
      i32[tuple + 2] !== i32[t + T_PORTS] ||
      i32[tuple] !== i32[t + T_SRC] ||
      i32[tuple + 1] !== i32[t + T_DST]
    )
      return false;
    if (!kindIsV6(i32[t + T_KIND])) return true;
    const rest = e + E_REST + direction * REST_WORDS;
    for (let w = 0; w < 3; w++)
      if (i32[rest + w] !== i32[t + T_SRC + 1 + w] || i32[rest + 3 + w] !== i32[t + T_DST + 1 + w]) return false;
    return true;
  }

  /** The entry with this tuple, alive at `f64[clock]`; 0 when there is none. Expired ones met on the way are removed. */
  function lookup(t: number, clock: number): number {
    const bucket = bucketOf(t);
    let link = i32[bucket];
    while (link !== 0) {
      const e = link & ~(ENTRY_WORDS - 1);
      const direction = link & 1;
      const next = i32[e + E_NEXT + direction];
      if (isTuple(e, direction, t)) {
        if (f64[(e + E_EXPIRES) >> 1] > f64[clock]) {
          foundDirection = direction;
          return e;
        }
        remove(e);
        // It may have been in this chain twice: begin again.
        link = i32[bucket];
        continue;
      }
      link = next;
    }
    return 0;
  }

  /** A free entry, zeroed; 0 when there is none. */
  function take(): number {
    const pool = at + CT.POOL_LOCK;
    lock(i32, pool);
    let e = i32[at + CT.FREE];
    if (e !== 0) i32[at + CT.FREE] = i32[e + E_NEXT];
    else {
      if (i32[at + CT.FRESH] === i32[at + CT.FRESH_END] && i32[at + CT.NEXT] !== 0) {
        i32[at + CT.FRESH] = i32[at + CT.NEXT];
        i32[at + CT.FRESH_END] = i32[at + CT.NEXT_END];
        i32[at + CT.NEXT] = 0;
        Atomics.store(i32, at + CT.WANTS, 1);
        Atomics.notify(i32, at + CT.WANTS);
      }
      if (i32[at + CT.FRESH] !== i32[at + CT.FRESH_END]) {
        e = i32[at + CT.FRESH];
        i32[at + CT.FRESH] = e + ENTRY_WORDS;
      }
    }
    unlock(i32, pool);
    if (e !== 0) for (let w = e; w < e + ENTRY_WORDS; w++) i32[w] = 0;
    return e;
  }

  function give(e: number): void {
    const pool = at + CT.POOL_LOCK;
    i32[e + E_KIND] = 0;
    lock(i32, pool);
    i32[e + E_NEXT] = i32[at + CT.FREE];
    i32[at + CT.FREE] = e;
    unlock(i32, pool);
  }

  /** Is there room for one more connection in the zone? */
  function hasRoom(): boolean {
    return Atomics.load(i32, at + CT.COUNT) < i32[at + CT.MAX];
  }

  function isZoneFull(zone: number): boolean {
    const own = i32[zones + zone * 2];
    const limit = own >= 0 ? own : i32[at + CT.DEFAULT_LIMIT];
    return limit > 0 && i32[zones + zone * 2 + 1] >= limit;
  }

  function setTuple(e: number, direction: number, t: number): void {
    const tuple = e + E_TUPLE + direction * TUPLE_WORDS;
    const rest = e + E_REST + direction * REST_WORDS;
    i32[tuple] = i32[t + T_SRC];
    i32[tuple + 1] = i32[t + T_DST];
    i32[tuple + 2] = i32[t + T_PORTS];
    for (let w = 0; w < 3; w++) {
      i32[rest + w] = i32[t + T_SRC + 1 + w];
      i32[rest + 3 + w] = i32[t + T_DST + 1 + w];
    }
  }

  /** Reads a tuple of an entry. */
  function getTuple(e: number, direction: number, t: number): void {
    const tuple = e + E_TUPLE + direction * TUPLE_WORDS;
    const rest = e + E_REST + direction * REST_WORDS;
    i32[t + T_KIND] = i32[e + E_KIND];
    i32[t + T_SRC] = i32[tuple];
    i32[t + T_DST] = i32[tuple + 1];
    i32[t + T_PORTS] = i32[tuple + 2];
    for (let w = 0; w < 3; w++) {
      i32[t + T_SRC + 1 + w] = i32[rest + w];
      i32[t + T_DST + 1 + w] = i32[rest + 3 + w];
    }
  }

  /** Makes a connection of both tuples; nobody else has either. 0 without memory. It has no time to live yet: `touch`. */
  function insert(original: number, reply: number, clock: number): number {
    const e = take();
    if (e === 0) return 0;
    i32[e + E_KIND] = i32[original + T_KIND];
    setTuple(e, 0, original);
    setTuple(e, 1, reply);
    for (let direction = 0; direction < 2; direction++) {
      const bucket = bucketOf(direction === 0 ? original : reply);
      i32[e + E_BUCKET + direction] = bucket;
      i32[e + E_NEXT + direction] = i32[bucket];
      i32[bucket] = e | direction;
    }
    f64[(e + E_CREATED) >> 1] = f64[clock];
    countEntry(i32[e + E_KIND], 1);
    return e;
  }

  function countEntry(kind: number, n: number): void {
    if (kind & KIND_EXPECTED) {
      Atomics.add(i32, at + CT.EXPECTED, n);
      return;
    }
    Atomics.add(i32, at + CT.COUNT, n);
    i32[zones + kindZone(kind) * 2 + 1] += n;
  }

  function unlink(e: number, direction: number): void {
    let from = i32[e + E_BUCKET + direction];
    const wanted = e | direction;
    while (i32[from] !== wanted) {
      const link = i32[from];
      from = (link & ~(ENTRY_WORDS - 1)) + E_NEXT + (link & 1);
    }
    i32[from] = i32[e + E_NEXT + direction];
  }

  function remove(e: number): void {
    unlink(e, 0);
    unlink(e, 1);
    unwheel(e);
    countEntry(i32[e + E_KIND], -1);
    give(e);
  }

  const slotOf = (e: number, second: number): number =>
    wheels + partitionOf(kindZone(i32[e])) * WHEEL_SLOTS + (second & (WHEEL_SLOTS - 1));

  function wheel(e: number, clock: number): void {
    const now = Math.floor(f64[clock] / 1000);
    const due = Math.ceil(f64[(e + E_EXPIRES) >> 1] / 1000);
    // Two seconds at least: the clock of whoever empties the wheel may be ahead of ours.
    const second = Math.max(now + 2, Math.min(due, now + WHEEL_AHEAD));
    const slot = slotOf(e, second);
    const head = i32[slot];
    i32[e + E_WHEEL_SECOND] = second;
    i32[e + E_WHEEL_NEXT] = head;
    i32[e + E_WHEEL_PREV] = 0;
    if (head !== 0) i32[head + E_WHEEL_PREV] = e;
    i32[slot] = e;
  }

  function unwheel(e: number): void {
    if (i32[e + E_WHEEL_SECOND] === 0) return;
    const next = i32[e + E_WHEEL_NEXT];
    const prev = i32[e + E_WHEEL_PREV];
    if (prev !== 0) i32[prev + E_WHEEL_NEXT] = next;
    else i32[slotOf(e, i32[e + E_WHEEL_SECOND])] = next;
    if (next !== 0) i32[next + E_WHEEL_PREV] = prev;
  }

  /** The connection lives for `seconds` more. */
  function touch(e: number, seconds: number, clock: number): void {
    const expires = f64[clock] + seconds * 1000;
    f64[(e + E_EXPIRES) >> 1] = expires;
    const second = i32[e + E_WHEEL_SECOND];
    if (second !== 0 && second * 1000 <= expires + 1000) return;
    unwheel(e);
    wheel(e, clock);
  }

  /**
   * Empties slot `second` of a partition's wheel of what has expired, looking at up to `max` entries; what has not moves
   * on. True when the slot is done. The partition is locked.
   */
  function expire(partition: number, second: number, max: number, clock: number): boolean {
    let e = i32[wheels + partition * WHEEL_SLOTS + (second & (WHEEL_SLOTS - 1))];
    for (let n = 0; e !== 0; n++) {
      if (n === max) return false;
      const next = i32[e + E_WHEEL_NEXT];
      if (i32[e + E_WHEEL_SECOND] <= second) {
        if (f64[(e + E_EXPIRES) >> 1] <= f64[clock]) remove(e);
        else {
          unwheel(e);
          wheel(e, clock);
        }
      }
      e = next;
    }
    return true;
  }

  return {
    lookup,
    /** Direction of what `lookup` found: 0 original, 1 reply. */
    direction: (): number => foundDirection,
    insert,
    remove,
    getTuple,
    touch,
    expire,
    hasRoom,
    hasExpected: (): boolean => i32[at + CT.EXPECTED] !== 0,
    isZoneFull,
    lock: (zone: number): void => lock(i32, lockOf(zone)),
    unlock: (zone: number): void => unlock(i32, lockOf(zone)),
  };
}
