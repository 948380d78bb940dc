/**
 * One tuple of the tuple space: all megaflows with the same mask, in an open-addressing hash table. The mask is known
 * when the subtable is made, so its hash and comparison are generated, unrolled over just the words the mask uses. Code
 * costs time to make and memory to keep: with very many masks only those that are hit get theirs.
 *
 * The table is pairs `(hash, flow)` with flow 0 for empty, at most half full; removal closes the gap, so there are no
 * tombstones. The `in_port` word is not hashed: a classifier has its subtables per port.
 */
import { SLOT_WORDS } from './batch.ts';
import { FLOW_ID, FLOW_KEY, FLOW_N_WORDS } from './flow-entry.ts';
import type { Mask } from './mask.ts';

const imul = Math.imul;
const MIX = 0x9e3779b1;
const FINISH = 0x85ebca6b;

/** One word more in a hash; `finish` at the end, or what differs in the upper bits would share a place. */
export function mixWord(h: number, value: number): number {
  h = imul(h ^ value, MIX);
  return h ^ (h >>> 15);
}

export function finish(h: number): number {
  h = imul(h, FINISH);
  return h ^ (h >>> 13);
}

/** Flows that `lookupBatch` has found so far stay; the others are looked for. Returns how many it found. */
type LookupBatch = (
  slots: number,
  list: Int32Array,
  n: number,
  flow: Int32Array,
  hashes: Int32Array,
  table: Int32Array,
  m: number,
) => number;

interface Code {
  /** `(slot, table, index mask)` → flow or 0. */
  readonly lookup: (k: number, table: Int32Array, m: number) => number;
  /** For tables that are in the processor's caches, and for those that are not. */
  readonly lookupEach: LookupBatch;
  readonly lookupBatch: LookupBatch;
}

/**
 * The generated source depends on nothing but numbers that we computed. A batch goes through the table in strides: each loop
 * is short enough for the processor to have the memory of many packets under way at once.
 */
function generate(i32: Int32Array, { words, bits }: Mask): Code {
  const masked = (j: number): string =>
    bits[j] === -1 ? `i32[k + ${words[j]}]` : `(i32[k + ${words[j]}] & ${bits[j]})`;
  let hash = 'let h = 0;\n';
  let equal = 'true';
  for (let j = 0; j < words.length; j++) {
    if (words[j] !== 0) hash += `h = imul(h ^ ${masked(j)}, ${MIX}); h ^= h >>> 15;\n`;
    equal += ` && i32[f + ${FLOW_KEY + j}] === ${masked(j)}`;
  }
  hash += `h = imul(h, ${FINISH}); h ^= h >>> 13;\n`;
  const search = `
for (let s = h & m;; s = (s + 1) & m) {
  const f = table[s * 2 + 1];
  if (f === 0) return 0;
  if (table[s * 2] === h && ${equal}) return f;
}`;
  const source = `'use strict'; const imul = Math.imul;
function lookup(k, table, m) { ${hash} ${search} }
function lookupEach(slots, list, n, flow, hashes, table, m) {
  let found = 0;
  for (let j = 0; j < n; j++) {
    const i = list[j];
    const f = lookup(slots + i * ${SLOT_WORDS}, table, m);
    flow[i] = f;
    if (f !== 0) found++;
  }
  return found;
}
function probe(k, h, table, m) { ${search} }
let touched = 0;
function lookupBatch(slots, list, n, flow, hashes, table, m) {
  for (let j = 0; j < n; j++) {
    const k = slots + list[j] * ${SLOT_WORDS};
    ${hash}
    hashes[j] = h;
  }
  let t = 0;
  for (let j = 0; j < n; j++) t ^= table[(hashes[j] & m) * 2];
  for (let j = 0; j < n; j++) {
    const h = hashes[j];
    let s = h & m;
    let f = table[s * 2 + 1];
    while (f !== 0 && table[s * 2] !== h) { s = (s + 1) & m; f = table[s * 2 + 1]; }
    flow[list[j]] = f;
  }
  for (let j = 0; j < n; j++) { const f = flow[list[j]]; t ^= i32[f + ${FLOW_ID}] ^ i32[f + ${FLOW_KEY}]; }
  touched = t;
  let found = 0;
  for (let j = 0; j < n; j++) {
    const i = list[j];
    const k = slots + i * ${SLOT_WORDS};
    let f = flow[i];
    if (f !== 0 && !(${equal})) f = probe(k, hashes[j], table, m);
    flow[i] = f;
    if (f !== 0) found++;
  }
  return found;
}
return { lookup, lookupEach, lookupBatch };`;
  return new Function('i32', source)(i32) as Code;
}

/** Flows of a subtable that is worth going through in strides. */
const LARGE = 4096;
/** Subtables that get their code when they are made; others earn it. */
const CODES_AT_ONCE = 64;

/** Code is shared by all subtables of one mask (there is one for each port that uses it). */
export class SubtableCode {
  private readonly i32: Int32Array;
  private readonly codes = new Map<string, Code>();

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  of(mask: Mask, isEarned: boolean): Code | null {
    const name = Array.from(mask.words, (w, j) => `${w}:${mask.bits[j]}`).join();
    let code = this.codes.get(name);
    if (!code) {
      if (!isEarned && this.codes.size >= CODES_AT_ONCE) return null;
      code = generate(this.i32, mask);
      this.codes.set(name, code);
    }
    return code;
  }
}

export class Subtable {
  readonly id: number;
  readonly mask: Mask;
  /** Hits since the classifier last ranked its subtables. */
  hits = 0;
  private readonly i32: Int32Array;
  private readonly codes: SubtableCode;
  private code: Code | null;
  private table = new Int32Array(16);
  private m = 7;
  private n = 0;

  constructor(mask: Mask, i32: Int32Array, codes: SubtableCode) {
    this.id = mask.id;
    this.mask = mask;
    this.i32 = i32;
    this.codes = codes;
    this.code = codes.of(mask, false);
  }

  get nWords(): number {
    return this.mask.words.length;
  }

  get size(): number {
    return this.n;
  }

  /** From now on with code of its own. */
  compile(): void {
    this.code ??= this.codes.of(this.mask, true);
  }

  lookup(slot: number): number {
    return this.code === null ? this.search(slot) : this.code.lookup(slot, this.table, this.m);
  }

  /** For packets `list[0..n-1]` of a batch: `flow[i]` becomes the flow or 0; `hashes` is scratch. Returns the flows found. */
  lookupBatch(slots: number, list: Int32Array, n: number, flow: Int32Array, hashes: Int32Array): number {
    if (this.code !== null) {
      if (this.n < LARGE) return this.code.lookupEach(slots, list, n, flow, hashes, this.table, this.m);
      return this.code.lookupBatch(slots, list, n, flow, hashes, this.table, this.m);
    }
    let found = 0;
    for (let j = 0; j < n; j++) {
      const f = this.search(slots + list[j] * SLOT_WORDS);
      flow[list[j]] = f;
      if (f !== 0) found++;
    }
    return found;
  }

  private search(slot: number): number {
    const { table, m, i32 } = this;
    const { words, bits } = this.mask;
    let h = 0;
    for (let j = 0; j < words.length; j++) if (words[j] !== 0) h = mixWord(h, i32[slot + words[j]] & bits[j]);
    h = finish(h);
    for (let s = h & m; table[s * 2 + 1] !== 0; s = (s + 1) & m) {
      if (table[s * 2] !== h) continue;
      const f = table[s * 2 + 1];
      let j = 0;
      while (j < words.length && i32[f + FLOW_KEY + j] === (i32[slot + words[j]] & bits[j])) j++;
      if (j === words.length) return f;
    }
    return 0;
  }

  private hashOf(flow: number): number {
    const { words } = this.mask;
    let h = 0;
    for (let j = 0; j < words.length; j++) if (words[j] !== 0) h = mixWord(h, this.i32[flow + FLOW_KEY + j]);
    return finish(h);
  }

  /** Writes all flows behind the first `n` of `into`; returns how many there are then. */
  copyFlows(into: Int32Array, n: number): number {
    for (let s = 1; s < this.table.length; s += 2) if (this.table[s] !== 0) into[n++] = this.table[s];
    return n;
  }

  insert(flow: number): void {
    if ((this.n + 1) * 2 > this.m + 1) this.grow();
    this.place(this.hashOf(flow), flow);
    this.n++;
  }

  remove(flow: number): boolean {
    const { table, m } = this;
    let s = this.hashOf(flow) & m;
    while (table[s * 2 + 1] !== flow) {
      if (table[s * 2 + 1] === 0) return false;
      s = (s + 1) & m;
    }
    // Whoever stands behind the gap and would rather stand in or before it moves up.
    let gap = s;
    for (let t = (s + 1) & m; table[t * 2 + 1] !== 0; t = (t + 1) & m) {
      const home = table[t * 2] & m;
      if (((t - home) & m) >= ((t - gap) & m)) {
        table[gap * 2] = table[t * 2];
        table[gap * 2 + 1] = table[t * 2 + 1];
        gap = t;
      }
    }
    table[gap * 2 + 1] = 0;
    this.n--;
    return true;
  }

  /** Finds the flow with exactly this (masked) key among ours; `flow` is an entry that need not be in the table. */
  find(flow: number): number {
    const { table, m, i32 } = this;
    const h = this.hashOf(flow);
    for (let s = h & m; table[s * 2 + 1] !== 0; s = (s + 1) & m) {
      if (table[s * 2] !== h) continue;
      const f = table[s * 2 + 1];
      let w = 0;
      while (w < i32[flow + FLOW_N_WORDS] && i32[f + FLOW_KEY + w] === i32[flow + FLOW_KEY + w]) w++;
      if (w === i32[flow + FLOW_N_WORDS]) return f;
    }
    return 0;
  }

  private place(h: number, flow: number): void {
    let s = h & this.m;
    while (this.table[s * 2 + 1] !== 0) s = (s + 1) & this.m;
    this.table[s * 2] = h;
    this.table[s * 2 + 1] = flow;
  }

  private grow(): void {
    const old = this.table;
    this.m = this.m * 2 + 1;
    this.table = new Int32Array((this.m + 1) * 2);
    for (let s = 0; s < old.length; s += 2) if (old[s + 1] !== 0) this.place(old[s], old[s + 1]);
  }
}
