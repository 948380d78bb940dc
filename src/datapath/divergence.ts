/**
 * Telling flows apart by where they leave a reference: of a field, the place of the first bit in which a value is another than the
 * reference's. Prefix matches are made by such differences (a packet that a rule does not concern was looked at up to the first bit
 * that says so), so one step sorts flows with prefixes of all lengths that hashes of common bits would take a step a bit for.
 *
 * A flow has a place of divergence when its mask wants all bits up to there; then every packet that matches it has the same.
 */
import { byteSwap32 } from './extract.ts';
import { FLOW_KEY } from './flow-entry.ts';
import type { Mask } from './mask.ts';
import type { Bits } from './mask-bits.ts';

/** The field is what is left of a word, in network order, after a shift to the left: addresses, both ports, the second port. */
export interface Reference {
  readonly word: number;
  readonly shift: number;
  /** In host order and shifted, as all below. */
  readonly value: number;
}

const leading = (value: number, { shift }: Pick<Reference, 'shift'>): number => byteSwap32(value) << shift;

/** Where a key's word leaves the reference; 32 when it does not. */
export const divergenceOf = (word: number, reference: Reference): number =>
  Math.clz32(leading(word, reference) ^ reference.value);

/** Where a flow leaves the reference; -1 when it does not, or the mask does not look that far. */
export function flowDivergence(i32: Int32Array, flow: number, mask: Mask, reference: Reference): number {
  const place = mask.placeOf(reference.word);
  if (place < 0) return -1;
  const at = divergenceOf(i32[flow + FLOW_KEY + place], reference);
  return at < prefixLength(mask.bits[place], reference) ? at : -1;
}

const prefixLength = (bits: number, field: Pick<Reference, 'shift'>): number => Math.clz32(~leading(bits, field));

/** The bits that all who leave the reference at `at` have in common. */
export function bitsUpTo({ word, shift }: Reference, at: number): Bits {
  const bits = byteSwap32((-1 << (31 - at)) >>> shift);
  return { words: Int32Array.of(word), bits: Int32Array.of(bits) };
}

/** A value for the field that many flows leave, and at many places: the way of the most, bit by bit. */
export function chooseReference(
  i32: Int32Array,
  flows: readonly number[],
  maskOf: (flow: number) => Mask,
  word: number,
  shift: number,
): Reference {
  const field = { shift };
  let left: { value: number; length: number }[] = [];
  for (const flow of flows) {
    const mask = maskOf(flow);
    const place = mask.placeOf(word);
    if (place < 0) continue;
    const length = prefixLength(mask.bits[place], field);
    if (length > 0) left.push({ value: leading(i32[flow + FLOW_KEY + place], field), length });
  }
  let value = 0;
  for (let bit = 0; bit < 32 - shift && left.length > 0; bit++) {
    const isOne = (f: { value: number }): boolean => ((f.value << bit) & 0x80000000) !== 0;
    let ones = 0;
    let onesGoOn = 0;
    let zerosGoOn = 0;
    for (const f of left) {
      const goesOn = f.length > bit + 1;
      if (isOne(f)) {
        ones++;
        if (goesOn) onesGoOn++;
      } else if (goesOn) zerosGoOn++;
    }
    // Who ends here should leave here; the reference goes with those who do not end.
    const one = onesGoOn !== zerosGoOn ? onesGoOn > zerosGoOn : ones * 2 < left.length;
    if (one) value |= 1 << (31 - bit);
    left = left.filter((f) => isOne(f) === one && f.length > bit + 1);
  }
  return { word, shift, value };
}
