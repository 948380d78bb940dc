/**
 * Meters: token buckets in the arena that all PMDs draw from. A meter's block stays where it is for as long as the
 * datapath lives, and is used again for another meter only after this one was deleted: actions of a megaflow that
 * outlives its meter for a moment meet an empty block, which passes everything, or the new meter, but never other memory.
 *
 * Tokens are packets or bits. A band that has too few for a packet is exceeded; of the exceeded bands the one of the
 * highest rate decides. All bands here drop.
 */
import type { Arena, ArenaViews } from '../base/arena.ts';
import { FRAME_LEN } from '../packet/frame.ts';
import { lock, unlock } from './ct/lock.ts';

export const MAX_METERS = 1 << 18;
export const MAX_BANDS = 8;

/** Words of a block; those in pairs are doubles. */
const LOCK = 0;
const BANDS = 1;
const COUNTS_BITS = 2;
const USED_MS = 4;
const PACKETS = 6;
const BYTES = 8;
const FIRST_BAND = 10;
/** Words of a band. */
const RATE = 0;
const TOKENS = 2;
const MAX_TOKENS = 4;
const BAND_PACKETS = 6;
const BAND_BYTES = 8;
const BAND_WORDS = 10;
const BLOCK_BYTES = (FIRST_BAND + MAX_BANDS * BAND_WORDS) * 4;

export interface MeterLimits {
  /** `rate` is kilobits a second, else packets a second; bursts likewise kilobits or packets. */
  readonly isKbps: boolean;
  readonly bands: readonly { readonly rate: number; readonly burst: number }[];
}

export interface MeterCounts {
  readonly packets: number;
  readonly bytes: number;
  readonly bands: readonly { readonly packets: number; readonly bytes: number }[];
}

/** The main thread's side. */
export class MeterTable {
  private readonly arena: Arena;
  private readonly blocks = new Map<number, number>();
  private readonly spare: number[] = [];
  private readonly all: number[] = [];

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /** The word of a meter's block, 0 when there is no such meter. */
  at(id: number): number {
    return this.blocks.get(id) ?? 0;
  }

  /** Makes a meter, or makes it anew, with full buckets. False without memory. */
  set(id: number, limits: MeterLimits, nowMs: number): boolean {
    let at = this.at(id);
    if (at === 0) {
      at = this.spare.pop() ?? this.arena.alloc(BLOCK_BYTES) >> 2;
      if (at <= 0) return false;
      if (!this.all.includes(at)) this.all.push(at);
      this.blocks.set(id, at);
    }
    const { i32, f64 } = this.arena;
    lock(i32, at + LOCK);
    i32[at + BANDS] = limits.bands.length;
    i32[at + COUNTS_BITS] = limits.isKbps ? 1 : 0;
    f64[(at + USED_MS) >> 1] = nowMs;
    f64[(at + PACKETS) >> 1] = 0;
    f64[(at + BYTES) >> 1] = 0;
    limits.bands.forEach(({ rate, burst }, n) => {
      const b = at + FIRST_BAND + n * BAND_WORDS;
      const tokens = (burst || rate) * (limits.isKbps ? 1000 : 1);
      f64[(b + RATE) >> 1] = rate;
      f64[(b + TOKENS) >> 1] = tokens;
      f64[(b + MAX_TOKENS) >> 1] = tokens;
      f64[(b + BAND_PACKETS) >> 1] = 0;
      f64[(b + BAND_BYTES) >> 1] = 0;
    });
    unlock(i32, at + LOCK);
    return true;
  }

  delete(id: number): void {
    const at = this.blocks.get(id);
    if (at === undefined) return;
    this.blocks.delete(id);
    lock(this.arena.i32, at + LOCK);
    this.arena.i32[at + BANDS] = 0;
    unlock(this.arena.i32, at + LOCK);
    this.spare.push(at);
  }

  counts(id: number): MeterCounts | null {
    const at = this.at(id);
    if (at === 0) return null;
    const { i32, f64 } = this.arena;
    lock(i32, at + LOCK);
    const counts = {
      packets: f64[(at + PACKETS) >> 1],
      bytes: f64[(at + BYTES) >> 1],
      bands: Array.from({ length: i32[at + BANDS] }, (_, n) => {
        const b = at + FIRST_BAND + n * BAND_WORDS;
        return { packets: f64[(b + BAND_PACKETS) >> 1], bytes: f64[(b + BAND_BYTES) >> 1] };
      }),
    };
    unlock(i32, at + LOCK);
    return counts;
  }

  /** PMDs were ended, perhaps with a lock in hand. */
  recover(): void {
    for (const at of this.all) this.arena.i32[at + LOCK] = 0;
  }

  close(): void {
    for (const at of this.all) this.arena.free(at << 2, BLOCK_BYTES);
    this.all.length = 0;
    this.blocks.clear();
  }
}

/**
 * Draws the frames at `frames[list[0…n]]` from the meter at word `at`, at the time `f64[clockAt]`. Those that may pass are
 * written to `passed` (which may be `list`), the others given to `drop`; returns how many passed.
 */
export function drawFromMeter(
  { i32, f64 }: ArenaViews,
  at: number,
  clockAt: number,
  frames: Int32Array,
  list: Int32Array,
  n: number,
  passed: Int32Array,
  drop: (frame: number) => void,
): number {
  lock(i32, at + LOCK);
  const nBands = i32[at + BANDS];
  const isBits = i32[at + COUNTS_BITS] !== 0;
  // A clock of another PMD may be a little ahead.
  const elapsed = Math.max(0, f64[clockAt] - f64[(at + USED_MS) >> 1]);
  f64[(at + USED_MS) >> 1] += elapsed;
  for (let x = 0; x < nBands; x++) {
    const b = at + FIRST_BAND + x * BAND_WORDS;
    const perMs = isBits ? f64[(b + RATE) >> 1] : f64[(b + RATE) >> 1] / 1000;
    const tokens = f64[(b + TOKENS) >> 1] + elapsed * perMs;
    f64[(b + TOKENS) >> 1] = Math.min(tokens, f64[(b + MAX_TOKENS) >> 1]);
  }
  let left = 0;
  for (let j = 0; j < n; j++) {
    const i = list[j];
    const bytes = i32[(frames[i] >> 2) + FRAME_LEN];
    const cost = isBits ? bytes * 8 : 1;
    f64[(at + PACKETS) >> 1] += 1;
    f64[(at + BYTES) >> 1] += bytes;
    let exceeded = 0;
    for (let x = 0; x < nBands; x++) {
      const b = at + FIRST_BAND + x * BAND_WORDS;
      if (f64[(b + TOKENS) >> 1] >= cost) f64[(b + TOKENS) >> 1] -= cost;
      else if (exceeded === 0 || f64[(b + RATE) >> 1] > f64[(exceeded + RATE) >> 1]) exceeded = b;
    }
    if (exceeded === 0) {
      passed[left++] = i;
      continue;
    }
    f64[(exceeded + BAND_PACKETS) >> 1] += 1;
    f64[(exceeded + BAND_BYTES) >> 1] += bytes;
    drop(frames[i]);
  }
  unlock(i32, at + LOCK);
  return left;
}
