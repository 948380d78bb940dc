/**
 * Matches of one table as cubes: sets of packets given by the values of some bits. Only words that some match looks at
 * are kept, so that two matches are compared in a few instructions.
 *
 * The question asked of them: is a cube covered by the union of others? It is that of a tautology, so hard in general and
 * easy in practice: cubes that together are smaller than the one in question cannot cover it, and what remains is cut in
 * halves at the bit that most of them look at. Steps are counted against a budget; without budget the answer is null.
 */
import { FLOW_WORDS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';

/** Rounding errors of volumes are smaller than this, and no real gap is. */
const EPSILON = 1e-9;

function bitCount(v: number): number {
  let x = v - ((v >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return (((x + (x >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

export interface Budget {
  /** Looks at cubes that may still be taken. */
  left: number;
}

export class Cubes {
  /** Words kept of a match. */
  readonly words: readonly number[];
  readonly count: number;
  private readonly key: Int32Array;
  private readonly mask: Int32Array;

  constructor(matches: readonly Match[]) {
    const used = new Int32Array(FLOW_WORDS);
    for (const { mask } of matches) for (let w = 0; w < FLOW_WORDS; w++) used[w] |= mask.w[w];
    // Words that tell most matches apart come first: a comparison ends at the first difference.
    const exact = (w: number): number => matches.reduce((n, m) => n + (m.mask.w[w] !== 0 ? 1 : 0), 0);
    const words = [...used.keys()].filter((w) => used[w] !== 0);
    const weight = new Map(words.map((w) => [w, new Set(matches.map((m) => m.key.w[w])).size * exact(w)]));
    this.words = words.sort((a, b) => (weight.get(b) ?? 0) - (weight.get(a) ?? 0));
    this.count = matches.length;
    const n = this.words.length;
    this.key = new Int32Array(this.count * n);
    this.mask = new Int32Array(this.count * n);
    matches.forEach((m, i) => {
      this.words.forEach((w, at) => {
        this.key[i * n + at] = m.key.w[w];
        this.mask[i * n + at] = m.mask.w[w];
      });
    });
  }

  overlap(a: number, b: number): boolean {
    const { key, mask } = this;
    const n = this.words.length;
    for (let w = 0, i = a * n, j = b * n; w < n; w++, i++, j++)
      if (((key[i] ^ key[j]) & mask[i] & mask[j]) !== 0) return false;
    return true;
  }

  /** Is all of `b` in `a`? */
  contains(a: number, b: number): boolean {
    const { key, mask } = this;
    const n = this.words.length;
    for (let w = 0, i = a * n, j = b * n; w < n; w++, i++, j++)
      if ((mask[i] & ~mask[j]) !== 0 || ((key[i] ^ key[j]) & mask[i]) !== 0) return false;
    return true;
  }

  /** Is all of `cube` in the union of `others`? Null when the budget does not suffice. */
  isCovered(cube: number, others: readonly number[], budget: Budget): boolean | null {
    const n = this.words.length;
    return this.covered(
      this.key.slice(cube * n, cube * n + n),
      this.mask.slice(cube * n, cube * n + n),
      others,
      budget,
    );
  }

  private covered(key: Int32Array, mask: Int32Array, others: readonly number[], budget: Budget): boolean | null {
    const n = this.words.length;
    budget.left -= others.length + 1;
    if (budget.left < 0) return null;
    const relevant: number[] = [];
    let volume = 0;
    for (const c of others) {
      let extra = 0;
      let at = c * n;
      let w = 0;
      for (; w < n; w++, at++) {
        const bits = this.mask[at];
        if (((this.key[at] ^ key[w]) & bits & mask[w]) !== 0) break;
        extra += bitCount(bits & ~mask[w]);
      }
      if (w < n) continue;
      if (extra === 0) return true;
      volume += 2 ** -extra;
      relevant.push(c);
    }
    if (volume < 1 - EPSILON) return false;
    const split = this.chooseBit(mask, relevant, budget);
    let unknown = false;
    // Of a bit that all who look at it want alike, only the other half can be left uncovered.
    for (const value of split.isUnate ? [1 - split.wanted] : [1 - split.wanted, split.wanted]) {
      const halfKey = key.slice();
      const halfMask = mask.slice();
      halfMask[split.word] |= split.bit;
      if (value === 1) halfKey[split.word] |= split.bit;
      else halfKey[split.word] &= ~split.bit;
      const answer = this.covered(halfKey, halfMask, relevant, budget);
      if (answer === false) return false;
      if (answer === null) unknown = true;
    }
    return unknown ? null : true;
  }

  /** The free bit that most cubes look at, one that all want alike before others; `wanted` is the value most want. */
  private chooseBit(
    mask: Int32Array,
    cubes: readonly number[],
    budget: Budget,
  ): { word: number; bit: number; wanted: number; isUnate: boolean } {
    const n = this.words.length;
    let best = { word: 0, bit: 0, wanted: 0, isUnate: false, score: -1 };
    for (let w = 0; w < n; w++) {
      let free = 0;
      for (const c of cubes) free |= this.mask[c * n + w];
      free &= ~mask[w];
      for (; free !== 0; free &= free - 1) {
        const bit = free & -free;
        let ones = 0;
        let all = 0;
        budget.left -= cubes.length;
        for (const c of cubes) {
          if ((this.mask[c * n + w] & bit) === 0) continue;
          all++;
          if ((this.key[c * n + w] & bit) !== 0) ones++;
        }
        const isUnate = ones === 0 || ones === all;
        const score = all + (isUnate ? cubes.length : 0);
        if (score > best.score) best = { word: w, bit, wanted: 2 * ones >= all ? 1 : 0, isUnate, score };
      }
    }
    return best;
  }
}
