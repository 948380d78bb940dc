/** Sets of bits of key words: what masks have in common, what a part of an index has already looked at. */
import type { Mask } from './mask.ts';

/** `words` without repetition, and of each the bits, never none. A `Mask` is one. */
export interface Bits {
  readonly words: Int32Array;
  readonly bits: Int32Array;
}

export const NO_BITS: Bits = { words: new Int32Array(0), bits: new Int32Array(0) };

const fromPairs = (pairs: readonly (readonly [number, number])[]): Bits => ({
  words: Int32Array.from(pairs, (p) => p[0]),
  bits: Int32Array.from(pairs, (p) => p[1]),
});

function bitsIn(b: Bits, w: number): number {
  const j = b.words.indexOf(w);
  return j < 0 ? 0 : b.bits[j];
}

export function intersection(a: Bits, b: Bits): Bits {
  const pairs: [number, number][] = [];
  for (let j = 0; j < a.words.length; j++) {
    const bits = a.bits[j] & bitsIn(b, a.words[j]);
    if (bits !== 0) pairs.push([a.words[j], bits]);
  }
  return fromPairs(pairs);
}

export function commonBits(masks: readonly Mask[]): Bits {
  const first = masks[0];
  if (first === undefined) return NO_BITS;
  const bits = Int32Array.from(first.bits);
  for (const mask of masks) for (let j = 0; j < bits.length; j++) bits[j] &= mask.bitsOf(first.words[j]);
  return fromPairs(Array.from(first.words, (w, j) => [w, bits[j]] as const).filter((p) => p[1] !== 0));
}

export function without(a: Bits, b: Bits): Bits {
  const pairs: [number, number][] = [];
  for (let j = 0; j < a.words.length; j++) {
    const bits = a.bits[j] & ~bitsIn(b, a.words[j]);
    if (bits !== 0) pairs.push([a.words[j], bits]);
  }
  return fromPairs(pairs);
}

export function union(a: Bits, b: Bits): Bits {
  const pairs = Array.from(a.words, (w, j): [number, number] => [w, a.bits[j] | bitsIn(b, w)]);
  for (let j = 0; j < b.words.length; j++) if (a.words.indexOf(b.words[j]) < 0) pairs.push([b.words[j], b.bits[j]]);
  return fromPairs(pairs);
}

export const same = (a: Bits, b: Bits): boolean =>
  a.words.length === b.words.length && a.words.every((w, j) => w === b.words[j] && a.bits[j] === b.bits[j]);
