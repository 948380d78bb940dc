/**
 * One tuple of the classifier: all rules that have the same mask, in a hash table over the masked words. Only the words
 * in which the mask is not zero are stored, hashed and compared.
 *
 * The words stand in the order of the stages (`STAGES` of the flow layout). For every stage but the last one used there
 * is an index of the hashes of the words up to its end, so that a lookup can stop there when no rule agrees so far; what
 * comes later then stays wildcarded.
 *
 * Rules with the same masked words differ in priority only; they hang in a list from the highest to the lowest.
 */
import type { FlowKey } from '../flow/key.ts';
import { FLOW_WORDS, OFS, STAGES } from '../flow/layout.ts';
import type { Match } from '../flow/match.ts';

const STAGE_OF_WORD: Int8Array = (() => {
  const stages = new Int8Array(FLOW_WORDS).fill(STAGES.length - 1);
  STAGES.forEach((ranges, stage) => {
    for (const [first, end] of ranges) stages.fill(stage, first, end);
  });
  return stages;
})();

/** The non-zero words of a mask, sorted by stage. Rules of the same mask share one. */
export class MaskShape {
  readonly index: Uint8Array;
  readonly mask: Int32Array;
  /** Ends (in `index`) of the stages that have words; the last is `index.length`. Empty for a mask of zeros. */
  readonly stageEnds: readonly number[];
  /** Stage number of each element of `stageEnds`. */
  readonly stages: readonly number[];
  readonly hash: number;

  private constructor(mask: Int32Array, used: readonly number[], hash: number) {
    const index: number[] = [];
    const ends: number[] = [];
    const stages: number[] = [];
    for (let stage = 0; stage < STAGES.length; stage++) {
      const before = index.length;
      for (const i of used) if (STAGE_OF_WORD[i] === stage) index.push(i);
      if (index.length > before) {
        ends.push(index.length);
        stages.push(stage);
      }
    }
    this.index = Uint8Array.from(index);
    this.mask = Int32Array.from(index, (i) => mask[i]);
    this.stageEnds = ends;
    this.stages = stages;
    this.hash = hash;
  }

  /** The shape of a mask. Those met lately are kept; equal masks may still have two. */
  static of(mask: Int32Array): MaskShape {
    let hash = 0;
    const used: number[] = [];
    for (let i = 0; i < FLOW_WORDS; i++) {
      if (mask[i] === 0) continue;
      hash = hashStep(hashStep(hash, i), mask[i]);
      used.push(i);
    }
    const known = recentShapes.get(hash);
    if (known?.index.length === used.length && known.equals(mask)) return known;
    const shape = new MaskShape(mask, used, hash);
    if (recentShapes.size >= 1024) recentShapes.clear();
    recentShapes.set(hash, shape);
    return shape;
  }

  /** For a mask with as many words. */
  private equals(mask: Int32Array): boolean {
    for (let i = 0; i < this.index.length; i++) if (mask[this.index[i]] !== this.mask[i]) return false;
    return true;
  }

  isSame(other: MaskShape): boolean {
    if (this === other) return true;
    if (this.hash !== other.hash || this.index.length !== other.index.length) return false;
    for (let i = 0; i < this.index.length; i++) {
      if (this.index[i] !== other.index[i] || this.mask[i] !== other.mask[i]) return false;
    }
    return true;
  }
}

const recentShapes = new Map<number, MaskShape>();

/** What the classifier needs of a rule, and the links it keeps in it. */
export abstract class ClassifierRule {
  readonly priority: number;
  /** The mask, shared with the subtable while the rule is in a classifier. */
  shape: MaskShape;
  /** The match's value in the words of `shape`. */
  readonly values: Int32Array;
  /** Clauses of conjunctive matches that this rule satisfies instead of having actions of its own. */
  conjunctions: readonly ConjunctionClause[] | null = null;
  /** Next lower priority with the same match. */
  next: this | null = null;

  constructor(match: Match, priority: number) {
    this.priority = priority;
    const shape = MaskShape.of(match.mask.w);
    const values = new Int32Array(shape.index.length);
    for (let i = 0; i < values.length; i++) values[i] = match.key.w[shape.index[i]];
    this.shape = shape;
    this.values = values;
  }

  matches(flow: FlowKey): boolean {
    const { index, mask } = this.shape;
    const w = flow.w;
    for (let i = 0; i < index.length; i++) if ((w[index[i]] & mask[i]) !== this.values[i]) return false;
    return true;
  }
}

export interface ConjunctionClause {
  readonly id: number;
  readonly clause: number;
  readonly nClauses: number;
}

export const hashStep = (h: number, word: number): number => {
  const x = Math.imul(h ^ word, 0x9e3779b1);
  return x ^ (x >>> 15);
};

/** A multiset of 32-bit hashes. Open addressing; a count of zero with `used` set is a tombstone. */
export class HashBag {
  private keys = new Int32Array(8);
  private counts = new Int32Array(8);
  private used = 0;

  has(key: number): boolean {
    const limit = this.keys.length - 1;
    for (let i = key & limit; ; i = (i + 1) & limit) {
      const count = this.counts[i];
      if (count === 0) return false;
      if (this.keys[i] === key) return count > 0;
    }
  }

  add(key: number): void {
    if ((this.used + 1) * 2 > this.keys.length) this.grow();
    const limit = this.keys.length - 1;
    for (let i = key & limit; ; i = (i + 1) & limit) {
      if (this.counts[i] === 0) {
        this.keys[i] = key;
        this.counts[i] = 1;
        this.used++;
        return;
      }
      if (this.keys[i] === key) {
        this.counts[i] = this.counts[i] < 0 ? 1 : this.counts[i] + 1;
        return;
      }
    }
  }

  delete(key: number): void {
    const limit = this.keys.length - 1;
    for (let i = key & limit; this.counts[i] !== 0; i = (i + 1) & limit) {
      if (this.keys[i] !== key) continue;
      // -1 keeps the place: a probe must not stop here.
      if (this.counts[i] > 0 && --this.counts[i] === 0) this.counts[i] = -1;
      return;
    }
  }

  private grow(): void {
    const { keys, counts } = this;
    let live = 0;
    for (let i = 0; i < counts.length; i++) if (counts[i] > 0) live++;
    let size = 8;
    while (size < (live + 1) * 4) size *= 2;
    this.keys = new Int32Array(size);
    this.counts = new Int32Array(size);
    this.used = live;
    for (let i = 0; i < keys.length; i++) {
      if (counts[i] <= 0) continue;
      let at = keys[i] & (size - 1);
      while (this.counts[at] !== 0) at = (at + 1) & (size - 1);
      this.keys[at] = keys[i];
      this.counts[at] = counts[i];
    }
  }
}

const PORTS_WORD = OFS.tp_src >> 2;

export class Subtable<R extends ClassifierRule> {
  readonly shape: MaskShape;
  /** Rules, counting those of equal match. */
  size = 0;
  maxPriority = -1;
  private maxCount = 0;
  /** Hashes up to the end of each stage but the last. */
  readonly indices: readonly HashBag[];
  /** Prefix length of each of the classifier's prefix fields in this mask, 0 where it is no prefix. */
  triePlens: readonly number[] = [];
  /** Last masked bit of the ports' word counted from its front, 0 without ports. */
  readonly portsLen: number;
  /** Where the ports' word stands in `shape`, -1 without. */
  readonly portsAt: number;

  /** Made once the subtable has proved to be in use. */
  private code: Compiled | null = null;
  private lookups = 0;
  private slots = 0;
  private heads: (R | null)[] = [];
  private values: Int32Array;
  private hashes = new Int32Array(8);
  private free: number[] = [];
  /** Open addressing: slot + 1, 0 empty, -1 deleted. */
  private table = new Int32Array(16);
  private tableUsed = 0;

  constructor(shape: MaskShape) {
    this.shape = shape;
    this.values = new Int32Array(8 * shape.index.length);
    this.indices = shape.stageEnds.slice(0, -1).map(() => new HashBag());
    const at = shape.index.indexOf(PORTS_WORD);
    this.portsAt = at;
    this.portsLen = at < 0 ? 0 : portsPrefix(shape.mask[at]);
  }

  /** Did the last `insert` bring a match that was not here? */
  wasNew = false;

  /** Adds a rule; returns the one of the same match and priority whose place it takes. */
  insert(rule: R): R | null {
    rule.shape = this.shape;
    const hash = this.hashValues(rule.values);
    const slot = this.findSlot(rule.values, hash);
    this.wasNew = slot < 0;
    if (slot >= 0) {
      // a slot that is found has a head
      let at: R = this.heads[slot]!;
      if (rule.priority > at.priority) {
        rule.next = at;
        this.heads[slot] = rule;
      } else if (rule.priority === at.priority) {
        rule.next = at.next;
        at.next = null;
        this.heads[slot] = rule;
        return at;
      } else {
        while (at.next && at.next.priority > rule.priority) at = at.next;
        const below: R | null = at.next;
        at.next = rule;
        if (below?.priority === rule.priority) {
          rule.next = below.next;
          below.next = null;
          return below;
        }
        rule.next = below;
      }
    } else {
      this.addSlot(rule, hash);
    }
    this.size++;
    if (rule.priority > this.maxPriority) {
      this.maxPriority = rule.priority;
      this.maxCount = 1;
    } else if (rule.priority === this.maxPriority) {
      this.maxCount++;
    }
    return null;
  }

  /** Returns whether the rule was the last of its match, or null when it is not here. */
  remove(rule: R): boolean | null {
    const slot = this.findSlot(rule.values, this.hashValues(rule.values));
    if (slot < 0) return null;
    let before: R | null = null;
    let at = this.heads[slot];
    while (at && at !== rule) {
      before = at;
      at = at.next;
    }
    if (!at) return null;
    if (before) before.next = rule.next;
    else this.heads[slot] = rule.next;
    rule.next = null;
    const last = this.heads[slot] === null;
    if (last) this.dropSlot(slot);
    this.size--;
    if (rule.priority === this.maxPriority) this.maxCount--;
    return last;
  }

  /** Highest rule with exactly these values. */
  find(values: Int32Array): R | null {
    const slot = this.findSlot(values, this.hashValues(values));
    return slot < 0 ? null : this.heads[slot];
  }

  /** Highest rule that lets the flow through. */
  lookup(f: Int32Array): R | null {
    if (this.code) return this.lookupHashed(f, this.code.hash(f, 0));
    if (++this.lookups === COMPILE_AFTER) this.code = compile(this.shape);
    return this.lookupHashed(f, this.hashUpTo(f, 0, 0, this.shape.index.length));
  }

  /** Continues a hash over the flow's masked words of stage `s`, or of all when there is one only. */
  hashStage(f: Int32Array, h: number, s: number): number {
    if (this.code) return this.code.stages[s](f, h);
    if (s === 0 && ++this.lookups === COMPILE_AFTER) this.code = compile(this.shape);
    const { stageEnds } = this.shape;
    return this.hashUpTo(f, h, s === 0 ? 0 : stageEnds[s - 1], stageEnds[s]);
  }

  lookupHashed(f: Int32Array, hash: number): R | null {
    const { table, hashes } = this;
    const limit = table.length - 1;
    for (let i = hash & limit; ; i = (i + 1) & limit) {
      const entry = table[i];
      if (entry === 0) return null;
      if (entry > 0 && hashes[entry - 1] === hash && this.isAt(f, entry - 1)) return this.heads[entry - 1];
    }
  }

  private isAt(f: Int32Array, slot: number): boolean {
    const { index, mask } = this.shape;
    const n = index.length;
    const base = slot * n;
    for (let j = 0; j < n; j++) if ((f[index[j]] & mask[j]) !== this.values[base + j]) return false;
    return true;
  }

  private hashUpTo(f: Int32Array, h: number, from: number, to: number): number {
    const { index, mask } = this.shape;
    let hash = h;
    for (let i = from; i < to; i++) hash = hashStep(hash, f[index[i]] & mask[i]);
    return hash;
  }

  *[Symbol.iterator](): Generator<R> {
    for (let i = 0; i < this.slots; i++) {
      let at = this.heads[i];
      while (at) {
        const next: R | null = at.next;
        yield at;
        at = next;
      }
    }
  }

  /** Calls `visit` for every rule that agrees with `value` under `mask` (words parallel to `shape.index`). */
  forEachAgreeing(value: Int32Array, mask: Int32Array, visit: (rule: R) => void): void {
    const n = this.shape.index.length;
    for (let slot = 0; slot < this.slots; slot++) {
      let at = this.heads[slot];
      if (!at) continue;
      const base = slot * n;
      let j = 0;
      while (j < n && ((this.values[base + j] ^ value[j]) & mask[j]) === 0) j++;
      if (j < n) continue;
      while (at) {
        const next: R | null = at.next;
        visit(at);
        at = next;
      }
    }
  }

  private hashValues(values: Int32Array): number {
    let h = 0;
    for (let i = 0; i < values.length; i++) h = hashStep(h, values[i]);
    return h;
  }

  private findSlot(wanted: Int32Array, hash: number): number {
    const { table, hashes, values } = this;
    const n = wanted.length;
    const limit = table.length - 1;
    for (let i = hash & limit; ; i = (i + 1) & limit) {
      const entry = table[i];
      if (entry === 0) return -1;
      if (entry < 0 || hashes[entry - 1] !== hash) continue;
      const base = (entry - 1) * n;
      let j = 0;
      while (j < n && wanted[j] === values[base + j]) j++;
      if (j === n) return entry - 1;
    }
  }

  private addSlot(rule: R, hash: number): void {
    if ((this.tableUsed + 1) * 2 > this.table.length) this.rehash();
    const slot = this.free.pop() ?? this.slots++;
    const n = this.shape.index.length;
    if (slot >= this.hashes.length) {
      const hashes = new Int32Array(this.hashes.length * 2);
      hashes.set(this.hashes);
      this.hashes = hashes;
      const values = new Int32Array(hashes.length * n);
      values.set(this.values);
      this.values = values;
    }
    this.hashes[slot] = hash;
    this.values.set(rule.values, slot * n);
    this.heads[slot] = rule;
    this.forEachStage(rule.values, (bag, h) => bag.add(h));
    this.place(hash, slot + 1);
  }

  private dropSlot(slot: number): void {
    const values = this.values.slice(slot * this.shape.index.length, (slot + 1) * this.shape.index.length);
    this.forEachStage(values, (bag, h) => bag.delete(h));
    const limit = this.table.length - 1;
    let i = this.hashes[slot] & limit;
    while (this.table[i] !== slot + 1) i = (i + 1) & limit;
    this.table[i] = -1;
    this.heads[slot] = null;
    this.free.push(slot);
  }

  private forEachStage(values: Int32Array, visit: (bag: HashBag, hash: number) => void): void {
    let h = 0;
    let i = 0;
    for (let stage = 0; stage < this.indices.length; stage++) {
      for (; i < this.shape.stageEnds[stage]; i++) h = hashStep(h, values[i]);
      visit(this.indices[stage], h);
    }
  }

  private place(hash: number, entry: number): void {
    const limit = this.table.length - 1;
    let i = hash & limit;
    while (this.table[i] !== 0) i = (i + 1) & limit;
    this.table[i] = entry;
    this.tableUsed++;
  }

  private rehash(): void {
    const live = this.slots - this.free.length;
    let size = 16;
    while (size < (live + 1) * 4) size *= 2;
    this.table = new Int32Array(size);
    this.tableUsed = 0;
    for (let slot = 0; slot < this.slots; slot++) if (this.heads[slot]) this.place(this.hashes[slot], slot + 1);
  }

  /** After removals `maxPriority` may be too high, which costs lookups time but is right; this makes it exact. */
  refreshMaxPriority(): void {
    if (this.maxCount > 0) return;
    this.maxPriority = -1;
    this.maxCount = 0;
    for (let slot = 0; slot < this.slots; slot++) {
      const priority = this.heads[slot]?.priority;
      if (priority === undefined || priority < this.maxPriority) continue;
      if (priority > this.maxPriority) {
        this.maxPriority = priority;
        this.maxCount = 0;
      }
      this.maxCount++;
    }
  }
}

type HashCode = (f: Int32Array, h: number) => number;

interface Compiled {
  readonly hash: HashCode;
  readonly stages: readonly HashCode[];
}

const COMPILE_AFTER = 256;

/** Unrolled hashing of just the words of a shape, several times faster than the loop. */
function compile({ index, mask, stageEnds }: MaskShape): Compiled {
  const unrolled = (from: number, to: number): HashCode => {
    let body = '';
    for (let i = from; i < to; i++) {
      body += `h = Math.imul(h ^ (f[${index[i]}] & ${mask[i]}), ${0x9e3779b1}); h ^= h >>> 15;\n`;
    }
    return new Function('f', 'h', `${body}return h;`) as HashCode;
  };
  return {
    hash: unrolled(0, index.length),
    stages: stageEnds.map((end, s) => unrolled(s === 0 ? 0 : stageEnds[s - 1], end)),
  };
}

/** Length of the shortest prefix that covers a mask, of a word in native byte order. */
function portsPrefix(mask: number): number {
  const bytes = new Uint8Array(Int32Array.of(mask).buffer);
  for (let bit = 31; bit >= 0; bit--) if ((bytes[bit >> 3] >> (7 - (bit & 7))) & 1) return bit + 1;
  return 0;
}
