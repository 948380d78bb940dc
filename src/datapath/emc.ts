/**
 * The exact match cache: 8192 places of one cache line each, two candidates for a hash. A place holds the packet words
 * of the hot line, the shape, and the flow with its id; a flow that died in between no longer carries the id, so nothing
 * must ever be removed. Keys of a richer shape keep their other words in a parallel table that plain packets never touch.
 *
 * ```
 *   word 0      1      2 .. 11               12     13        14
 *   | in_port | hash | packet words of key | flow | flow id | shape |
 * ```
 */
import type { ArenaViews } from '../base/arena.ts';
import { DP_WORDS } from '../flow/layout.ts';
import { type PacketBatch, SLOT_WORDS } from './batch.ts';
import { FLOW_ID } from './flow-entry.ts';
import type { Alloc } from './scratch.ts';
import { clearShape, copyShape, sameShape } from './shape.ts';

export const EMC_ENTRIES = 8192;
const ENTRY_WORDS = 16;
/** How an entry is found and read, for whoever does it in passing. */
export const EMC_WORD = {
  HASH: 1,
  FLOW: 12,
  ID: 13,
  SHAPE: 14,
  INDEX_MASK: EMC_ENTRIES - 1,
  /** Bits of the hash that choose the second candidate. */
  SECOND_SHIFT: 13,
} as const;
const { HASH, FLOW, ID, SHAPE: SHAPE_WORD, INDEX_MASK, SECOND_SHIFT } = EMC_WORD;

export const EMC_BYTES = EMC_ENTRIES * ENTRY_WORDS * 4;
export const EMC_COLD_BYTES = EMC_ENTRIES * DP_WORDS * 4;

export interface Emc {
  /** Finds what it can: `b.flow[i]` becomes the flow or 0, `b.missed` lists those without. Returns how many those are. */
  lookup(b: PacketBatch, n: number): number;
  /** The flow of packet `i`, or 0; 0 for one whose entry is watched, too. */
  find(b: PacketBatch, i: number): number;
  /**
   * An entry that is watched bears its flow's id inverted, so that a burst does not find it, and whoever looks for the packet
   * meets it among those that were not found; `lookup` does find it.
   */
  insert(b: PacketBatch, i: number, flow: number, isWatched: boolean): void;
  /** Says anew which entries are watched: `isWatched` is asked for each with its key at word `slot`, whose `SLOT_WORDS` are 0. */
  watch(slot: number, isWatched: (slot: number) => boolean): void;
  /** Word index of the first entry. */
  readonly base: number;
  /** Forgets everything. */
  clear(): void;
}

export function makeEmc(views: ArenaViews, alloc: Alloc): Emc {
  const { i32 } = views;
  const base = alloc(EMC_BYTES) >> 2;
  const cold = alloc(EMC_COLD_BYTES) >> 2;

  const coldOf = (e: number): number => cold + ((e - base) / ENTRY_WORDS) * DP_WORDS;

  /** Ids are above 0; inverted they are below. */
  function idOf(e: number): number {
    const id = i32[e + ID];
    return id ^ (id >> 31);
  }

  /** The flow of entry `e` if it is for this key, else 0. The ports and addresses are compared first: they differ most. */
  function match(e: number, k: number, h: number, shape: number, findsWatched: boolean): number {
    if (
      i32[e + HASH] === h &&
      i32[e + 10] === i32[k + 10] &&
      i32[e + 8] === i32[k + 8] &&
      i32[e + 9] === i32[k + 9] &&
      i32[e] === i32[k] &&
      i32[e + 2] === i32[k + 2] &&
      i32[e + 3] === i32[k + 3] &&
      i32[e + 4] === i32[k + 4] &&
      i32[e + 5] === i32[k + 5] &&
      i32[e + 6] === i32[k + 6] &&
      i32[e + 7] === i32[k + 7] &&
      i32[e + 11] === i32[k + 11] &&
      i32[e + SHAPE_WORD] === shape
    ) {
      const flow = i32[e + FLOW];
      const id = findsWatched ? idOf(e) : i32[e + ID];
      if (i32[flow + FLOW_ID] === id && (shape === 0 || sameShape(i32, coldOf(e), k, shape))) return flow;
    }
    return 0;
  }

  function lookup(b: PacketBatch, n: number): number {
    const { hash, shape, flow, missed } = b;
    let k = b.slots;
    let nMissed = 0;
    for (let i = 0; i < n; i++, k += SLOT_WORDS) {
      const h = hash[i];
      const s = shape[i];
      let f = match(base + ((h & INDEX_MASK) << 4), k, h, s, true);
      if (f === 0) {
        f = match(base + (((h >>> SECOND_SHIFT) & INDEX_MASK) << 4), k, h, s, true);
        if (f === 0) missed[nMissed++] = i;
      }
      flow[i] = f;
    }
    return nMissed;
  }

  function find(b: PacketBatch, i: number): number {
    const k = b.slots + i * SLOT_WORDS;
    const h = b.hash[i];
    const f = match(base + ((h & INDEX_MASK) << 4), k, h, b.shape[i], false);
    return f !== 0 ? f : match(base + (((h >>> SECOND_SHIFT) & INDEX_MASK) << 4), k, h, b.shape[i], false);
  }

  const isAlive = (e: number): boolean => i32[e + ID] !== 0 && i32[i32[e + FLOW] + FLOW_ID] === idOf(e);

  function watch(slot: number, isWatched: (slot: number) => boolean): void {
    for (let e = base; e < base + EMC_ENTRIES * ENTRY_WORDS; e += ENTRY_WORDS) {
      if (!isAlive(e)) continue;
      const id = idOf(e);
      const shape = i32[e + SHAPE_WORD];
      i32[slot] = i32[e];
      for (let w = 2; w < 12; w++) i32[slot + w] = i32[e + w];
      if (shape !== 0) copyShape(i32, coldOf(e), slot, shape);
      i32[e + ID] = isWatched(slot) ? ~id : id;
      if (shape !== 0) clearShape(i32, slot, shape);
    }
    for (let w = 0; w < 12; w++) i32[slot + w] = 0;
  }

  function insert(b: PacketBatch, i: number, flow: number, isWatched: boolean): void {
    const h = b.hash[i];
    const k = b.slots + i * SLOT_WORDS;
    let e = base + ((h & INDEX_MASK) << 4);
    if (isAlive(e) && i32[e + HASH] !== h) {
      const second = base + (((h >>> SECOND_SHIFT) & INDEX_MASK) << 4);
      // Both taken by others: a bit of the hash that chose neither place decides.
      if (!isAlive(second) || i32[second + HASH] === h || h < 0) e = second;
    }
    for (let w = 0; w < 12; w++) i32[e + w] = i32[k + w];
    i32[e + HASH] = h;
    i32[e + FLOW] = flow;
    const id = i32[flow + FLOW_ID];
    i32[e + ID] = isWatched ? ~id : id;
    i32[e + SHAPE_WORD] = b.shape[i];
    if (b.shape[i] !== 0) copyShape(i32, k, coldOf(e), b.shape[i]);
  }

  function clear(): void {
    for (let e = base; e < base + EMC_ENTRIES * ENTRY_WORDS; e += ENTRY_WORDS) i32[e + ID] = 0;
  }

  return { lookup, find, insert, watch, clear, base };
}
