/**
 * A megaflow mask as the classifier works with it: the words that it uses, in the order in which flow entries hold their
 * masked key words, and where each of them stands there.
 */
import { DP_WORDS } from '../flow/layout.ts';

/** The words of a mask that are not zero. */
export function maskWords(i32: Int32Array, mask: number): number[] {
  const words: number[] = [];
  for (let w = 0; w < DP_WORDS; w++) if (i32[mask + w] !== 0) words.push(w);
  return words;
}

export class Mask {
  readonly id: number;
  readonly words: Int32Array;
  readonly bits: Int32Array;

  /** `at` is the word index of the mask's `DP_WORDS` words. */
  constructor(id: number, i32: Int32Array, at: number) {
    this.id = id;
    this.words = Int32Array.from(maskWords(i32, at));
    this.bits = this.words.map((w) => i32[at + w]);
  }

  /** The place of word `w` among ours, or -1. */
  placeOf(w: number): number {
    const { words } = this;
    let low = 0;
    let high = words.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (words[middle] === w) return middle;
      if (words[middle] < w) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** What the mask wants of word `w`. */
  bitsOf(w: number): number {
    const place = this.placeOf(w);
    return place < 0 ? 0 : this.bits[place];
  }
}

/** All masks in one array, for loops that compare: of mask `id` pairs `(word, bits)` from `starts[id]` on, up to `ends[id]`. */
export class MaskPairs {
  starts = new Int32Array(64);
  ends = new Int32Array(64);
  pairs = new Int32Array(1024);
  private used = 0;
  private readonly free = new Map<number, number[]>();

  add(mask: Mask): void {
    const n = mask.words.length * 2;
    let at = this.free.get(n)?.pop();
    if (at === undefined) {
      at = this.used;
      this.used += n;
      while (this.used > this.pairs.length) this.pairs = twice(this.pairs);
    }
    while (mask.id >= this.starts.length) {
      this.starts = twice(this.starts);
      this.ends = twice(this.ends);
    }
    for (let j = 0; j < mask.words.length; j++) {
      this.pairs[at + 2 * j] = mask.words[j];
      this.pairs[at + 2 * j + 1] = mask.bits[j];
    }
    this.starts[mask.id] = at;
    this.ends[mask.id] = at + n;
  }

  remove(mask: Mask): void {
    const at = this.starts[mask.id];
    const n = this.ends[mask.id] - at;
    const list = this.free.get(n);
    if (list) list.push(at);
    else this.free.set(n, [at]);
  }
}

function twice(a: Int32Array): Int32Array<ArrayBuffer> {
  const b = new Int32Array(a.length * 2);
  b.set(a);
  return b;
}
