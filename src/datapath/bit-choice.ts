/**
 * Which bits the tables of a tuple index hash: those that all masks of some flows have in common, and of them only what tells
 * the flows apart. Looks at samples; a choice that fits badly costs steps, not answers.
 */
import { chooseReference, flowDivergence, type Reference } from './divergence.ts';
import { FLOW_KEY, FLOW_SUBTABLE } from './flow-entry.ts';
import type { Mask } from './mask.ts';
import { type Bits, commonBits, intersection, same, without } from './mask-bits.ts';

/** Flows that a choice is made by. */
const SAMPLE = 256;
/** Of each mask, and of each group of masks, when masks are sorted into groups. */
const MASK_SAMPLE = 8;
const GROUP_SAMPLE = 64;
/** More tables than this in one node are worth another, less particular look. */
const MANY_TABLES = 6;
/** Common bits that leave one flow in so many are good enough. */
const GOOD = 8;
/** Flows that a divergence may leave to be compared one by one. */
const FEW_OTHERS = 2;

/** What a table tells flows apart by: bits that it hashes, or where a field leaves a reference. */
export type Criterion =
  | { readonly kind: 'bits'; readonly on: Bits }
  | { readonly kind: 'divergence'; readonly reference: Reference };

export function sample(flows: readonly number[], n: number): number[] {
  if (flows.length <= n) return [...flows];
  return Array.from({ length: n }, (_, i) => flows[Math.floor((i * flows.length) / n)]);
}

export class BitChoice {
  private readonly i32: Int32Array;
  private readonly masks: readonly (Mask | undefined)[];

  constructor(i32: Int32Array, masks: readonly (Mask | undefined)[]) {
    this.i32 = i32;
    this.masks = masks;
  }

  maskOf(flow: number): Mask {
    // A flow's mask is known as long as the flow is.
    return this.masks[this.i32[flow + FLOW_SUBTABLE]]!;
  }

  masksOf(flows: readonly number[]): Mask[] {
    const masks = new Set<Mask>();
    for (const flow of flows) masks.add(this.maskOf(flow));
    return [...masks];
  }

  /** One criterion when what all masks have in common tells flows apart, else several; none when nothing does. */
  choose(flows: readonly number[], masks: readonly Mask[], tested: Bits, depth = 0): Criterion[] {
    const some = sample(flows, SAMPLE);
    const one = this.narrow(some, without(commonBits(masks), tested));
    const left = one === null ? some.length : this.leftBy(some, (flow) => this.nameOf(flow, one));
    // Next to nothing is left to do, or there is but one mask: no need to look for better.
    if (one !== null && (left <= 2 || left * GOOD < some.length || masks.length === 1))
      return [{ kind: 'bits', on: one }];
    if (masks.length === 1) return [];
    const found = this.findReference(some, masks);
    if (found !== null && found.left * 1.5 < left && depth < MANY_TABLES) {
      const { reference } = found;
      const others = flows.filter((flow) => flowDivergence(this.i32, flow, this.maskOf(flow), reference) < 0);
      const more = others.length > FEW_OTHERS ? this.choose(others, this.masksOf(others), tested, depth + 1) : [];
      return [{ kind: 'divergence', reference }, ...more];
    }
    if (one !== null) return [{ kind: 'bits', on: one }];
    return this.groups(flows, masks, tested).map((on) => ({ kind: 'bits', on }));
  }

  private groups(flows: readonly number[], masks: readonly Mask[], tested: Bits): Bits[] {
    const particular = this.partition(flows, masks, tested, 2);
    if (particular.length <= MANY_TABLES) return particular;
    const lenient = this.partition(flows, masks, tested, 16);
    return lenient.length < particular.length ? lenient : particular;
  }

  /** How many of the flows a packet of one of them is left with, on average. A flow without a name stays with all. */
  private leftBy(flows: readonly number[], nameOf: (flow: number) => string | number | null): number {
    const sizes = new Map<string | number, number>();
    let unnamed = 0;
    for (const flow of flows) {
      const name = nameOf(flow);
      if (name === null) unnamed++;
      else sizes.set(name, (sizes.get(name) ?? 0) + 1);
    }
    let squares = 0;
    for (const size of sizes.values()) squares += size * size;
    return unnamed + squares / flows.length;
  }

  /** The field and the reference that leave the least to do. */
  private findReference(
    flows: readonly number[],
    masks: readonly Mask[],
  ): { readonly reference: Reference; readonly left: number } | null {
    const words = new Set<number>();
    for (const mask of masks) for (const w of mask.words) words.add(w);
    words.delete(0);
    let best: { reference: Reference; left: number } | null = null;
    for (const word of words)
      for (const shift of [0, 16]) {
        const reference = chooseReference(this.i32, flows, (flow) => this.maskOf(flow), word, shift);
        const left = this.leftBy(flows, (flow) => {
          const at = flowDivergence(this.i32, flow, this.maskOf(flow), reference);
          return at < 0 ? null : at;
        });
        if (best === null || left < best.left) best = { reference, left };
      }
    return best;
  }

  /** Only those of `bits` that tell flows apart which others did not; null when none does. */
  private narrow(flows: readonly number[], bits: Bits): Bits | null {
    const order: { readonly j: number; readonly values: number }[] = [];
    for (let j = 0; j < bits.words.length; j++) {
      const values = new Set<number>();
      for (const flow of flows) values.add(this.valueOf(flow, bits.words[j]) & bits.bits[j]);
      if (values.size > 1) order.push({ j, values: values.size });
    }
    order.sort((a, b) => b.values - a.values);
    const chosen: number[] = [];
    let group = new Array<number>(flows.length).fill(0);
    let groups = 1;
    for (const { j } of order) {
      if (groups === flows.length) break;
      const names = new Map<string, number>();
      const finer = flows.map((flow, i) => {
        const name = `${group[i]}:${this.valueOf(flow, bits.words[j]) & bits.bits[j]}`;
        const known = names.get(name);
        if (known !== undefined) return known;
        names.set(name, names.size);
        return names.size - 1;
      });
      if (names.size === groups) continue;
      chosen.push(j);
      group = finer;
      groups = names.size;
    }
    if (groups === 1) return null;
    return {
      words: Int32Array.from(chosen, (j) => bits.words[j]),
      bits: Int32Array.from(chosen, (j) => bits.bits[j]),
    };
  }

  private valueOf(flow: number, w: number): number {
    return this.i32[flow + FLOW_KEY + this.maskOf(flow).placeOf(w)];
  }

  /** Masks together as long as what they have in common tells at least one in `sharing` of their flows apart. */
  private partition(flows: readonly number[], masks: readonly Mask[], tested: Bits, sharing: number): Bits[] {
    const byMask = new Map<Mask, number[]>();
    for (const mask of masks) byMask.set(mask, []);
    for (const flow of flows) byMask.get(this.maskOf(flow))?.push(flow);
    const groups: { common: Bits; flows: number[]; on: Bits }[] = [];
    for (const [mask, its] of [...byMask].sort((a, b) => b[1].length - a[1].length)) {
      const own = without(mask, tested);
      if (own.words.length === 0 || its.length === 0) continue;
      const some = sample(its, MASK_SAMPLE);
      const isTaken = groups.some((g) => {
        const common = intersection(g.common, own);
        if (common.words.length === 0) return false;
        if (g.flows.length >= GROUP_SAMPLE && same(common, g.common)) return true;
        const together = [...g.flows, ...some];
        const on = this.narrow(together, common);
        if (on === null || this.countGroups(together, on) * sharing < together.length) return false;
        g.common = common;
        g.on = on;
        g.flows = sample(together, GROUP_SAMPLE);
        return true;
      });
      if (!isTaken) groups.push({ common: own, flows: some, on: this.narrow(some, own) ?? own });
    }
    return groups.map((g) => g.on);
  }

  private countGroups(flows: readonly number[], on: Bits): number {
    return new Set(flows.map((flow) => this.nameOf(flow, on))).size;
  }

  private nameOf(flow: number, on: Bits): string {
    let name = '';
    for (let j = 0; j < on.words.length; j++) name += `${this.valueOf(flow, on.words[j]) & on.bits[j]}:`;
    return name;
  }
}
