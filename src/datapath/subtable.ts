/**
 * One tuple of the tuple space: all megaflows with the same mask, in an open-addressing hash table. The mask is known
 * when the subtable is made, so its hash and comparison are generated, unrolled over just the words the mask uses.
 *
 * The table is pairs `(hash, flow)` with flow 0 for empty, at most half full; removal closes the gap, so there are no
 * tombstones. The `in_port` word is not hashed: a classifier has its subtables per port.
 */
import { DP_WORDS } from '../flow/layout.ts';
import { FLOW_KEY, FLOW_N_WORDS } from './flow-entry.ts';

/** `(slot, table, index mask) → flow or 0`; and the hash of a flow's own key. */
interface Code {
  readonly lookup: (k: number, table: Int32Array, m: number) => number;
  readonly hashOf: (flow: number) => number;
}

/** The words of a mask that are not zero. */
export function maskWords(i32: Int32Array, mask: number): number[] {
  const words: number[] = [];
  for (let w = 0; w < DP_WORDS; w++) if (i32[mask + w] !== 0) words.push(w);
  return words;
}

/** The generated source depends on nothing but numbers that we computed. */
function generate(i32: Int32Array, words: readonly number[], bits: readonly number[]): Code {
  const masked = (value: string, j: number): string => (bits[j] === -1 ? value : `(${value} & ${bits[j]})`);
  const mixing = (value: (j: number) => string): string => {
    let code = 'let h = 0, d = 0;\n';
    for (let j = 0; j < words.length; j++) {
      if (words[j] === 0) continue;
      code += `d = imul(${value(j)}, 0xcc9e2d51); d = (d << 15) | (d >>> 17); h ^= imul(d, 0x1b873593);
h = (h << 13) | (h >>> 19); h = (imul(h, 5) + 0xe6546b64) | 0;\n`;
    }
    return `${code}h ^= h >>> 16; h = imul(h, 0x85ebca6b); h ^= h >>> 13;\n`;
  };
  const equal =
    words.map((w, j) => `i32[f + ${FLOW_KEY + j}] === ${masked(`i32[k + ${w}]`, j)}`).join(' && ') || 'true';
  const source = `'use strict'; const imul = Math.imul;
return {
lookup(k, table, m) {
${mixing((j) => masked(`i32[k + ${words[j]}]`, j))}
for (let s = h & m;; s = (s + 1) & m) {
  const f = table[s * 2 + 1];
  if (f === 0) return 0;
  if (table[s * 2] === h && ${equal}) return f;
} },
hashOf(f) { ${mixing((j) => `i32[f + ${FLOW_KEY + j}]`)} return h; } };`;
  return new Function('i32', source)(i32) as Code;
}

/** Code is shared by all subtables of one mask (there is one for each port that uses it). */
export class SubtableCode {
  private readonly i32: Int32Array;
  private readonly codes = new Map<string, Code>();

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  of(mask: number): Code {
    const words = maskWords(this.i32, mask);
    const bits = words.map((w) => this.i32[mask + w]);
    const name = words.map((w, j) => `${w}:${bits[j]}`).join();
    let code = this.codes.get(name);
    if (!code) {
      code = generate(this.i32, words, bits);
      this.codes.set(name, code);
    }
    return code;
  }
}

export class Subtable {
  readonly id: number;
  readonly nWords: number;
  /** Hits since the classifier last ranked its subtables. */
  hits = 0;
  private readonly i32: Int32Array;
  private readonly code: Code;
  private table = new Int32Array(16);
  private m = 7;
  private n = 0;

  constructor(id: number, i32: Int32Array, mask: number, codes: SubtableCode) {
    this.id = id;
    this.i32 = i32;
    this.code = codes.of(mask);
    this.nWords = maskWords(i32, mask).length;
  }

  get size(): number {
    return this.n;
  }

  lookup(slot: number): number {
    return this.code.lookup(slot, this.table, this.m);
  }

  insert(flow: number): void {
    if ((this.n + 1) * 2 > this.m + 1) this.grow();
    this.place(this.code.hashOf(flow), flow);
    this.n++;
  }

  remove(flow: number): boolean {
    const { table, m } = this;
    let s = this.code.hashOf(flow) & m;
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
    const h = this.code.hashOf(flow);
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
