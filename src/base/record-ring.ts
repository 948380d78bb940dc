/**
 * A single-producer single-consumer ring of records in the arena. Each side makes its own `RecordRing` over the same
 * address; nothing but the two positions is shared.
 *
 * ```
 *   word 0           16              32
 *   | consumer pos | producer pos  | [n | n-1 payload words] [n | …] … [-1: rest unused] |
 * ```
 *
 * Positions count words and wrap at 2^32. A record never wraps: when it does not fit before the end, the rest of the data
 * is skipped. The producer's store of its position publishes the record; the consumer's store frees it.
 */
import type { ArenaViews } from './arena.ts';

const CONSUMED = 0;
const PRODUCED = 16;
const DATA = 32;

/** Bytes that a ring of `words` data words takes in the arena. */
export const ringBytes = (words: number): number => (DATA + words) * 4;

export class RecordRing {
  /** Word index of the producer's position, to wait on. */
  readonly producedAt: number;
  private readonly i32: Int32Array;
  private readonly at: number;
  private readonly words: number;
  private pos: number;
  private reserved = 0;
  private other: number;

  /** `at` is a byte offset, `words` a power of two. */
  constructor(views: ArenaViews, at: number, words: number, side: 'producer' | 'consumer') {
    this.i32 = views.i32;
    this.at = at >> 2;
    this.words = words;
    this.producedAt = this.at + PRODUCED;
    this.pos = Atomics.load(this.i32, this.at + (side === 'producer' ? PRODUCED : CONSUMED));
    this.other = Atomics.load(this.i32, this.at + (side === 'producer' ? CONSUMED : PRODUCED));
  }

  /** Longest payload, in words, that always fits an empty ring. */
  get maxPayload(): number {
    return (this.words >> 1) - 2;
  }

  /** Producer: word index of room for `payload` words, or -1 when the ring is full. Follow with `commit`. */
  reserve(payload: number): number {
    const need = payload + 1;
    const data = this.at + DATA;
    let ofs = this.pos & (this.words - 1);
    const toEnd = this.words - ofs;
    const total = need <= toEnd ? need : toEnd + need;
    if (((this.pos - this.other) | 0) + total > this.words) {
      this.other = Atomics.load(this.i32, this.at + CONSUMED);
      if (((this.pos - this.other) | 0) + total > this.words) return -1;
    }
    if (need > toEnd) {
      this.i32[data + ofs] = -1;
      ofs = 0;
    }
    this.i32[data + ofs] = need;
    this.reserved = total;
    return data + ofs + 1;
  }

  commit(): void {
    this.pos = (this.pos + this.reserved) | 0;
    this.reserved = 0;
    Atomics.store(this.i32, this.at + PRODUCED, this.pos);
  }

  /** Consumer: word index of the next record's payload, or -1. It stays valid until `release`. */
  peek(): number {
    if (this.pos === this.other) {
      this.other = Atomics.load(this.i32, this.at + PRODUCED);
      if (this.pos === this.other) return -1;
    }
    const data = this.at + DATA;
    let ofs = this.pos & (this.words - 1);
    const n = this.i32[data + ofs];
    if (n === -1) {
      this.pos = (this.pos + this.words - ofs) | 0;
      ofs = 0;
      return this.peek();
    }
    this.reserved = n;
    return data + ofs + 1;
  }

  /** Consumer: where the producer is now, for `isBefore`. */
  mark(): number {
    return Atomics.load(this.i32, this.at + PRODUCED);
  }

  /** Consumer: is there a record that was published before `mark` was taken? */
  isBefore(mark: number): boolean {
    return ((mark - this.pos) | 0) > 0;
  }

  release(): void {
    this.pos = (this.pos + this.reserved) | 0;
    this.reserved = 0;
    Atomics.store(this.i32, this.at + CONSUMED, this.pos);
  }
}
