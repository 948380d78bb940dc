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
