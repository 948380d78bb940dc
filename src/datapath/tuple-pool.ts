/**
 * The memory of a tuple index: records in one array of words, so that a lookup touches few cache lines and no objects.
 *
 * ```
 *   word 0    1             2            3      4 ...                then
 *   | words | index mask | next record | used | (word, bits) pairs | (hash, target) pairs |   a table
 *   | 0     | -          | next record | used | flows ...          |                          a node's rest
 * ```
 *
 * A first word of -1 - (word | shift << 10) is a table that goes by divergence (`divergence.ts`) and has the reference in place of bits.
 * A record's `next` is the next one of the same node, 0 is none. A table is open addressing with one pair for each hash; a
 * target is a flow, or minus the first record of a node; 0 is empty.
 */
export const WORDS = 0;
export const INDEX_MASK = 1;
export const NEXT = 2;
export const USED = 3;
export const HEADER = 4;

/** Records are multiples of this, so that lists of free ones are few. */
const UNIT = 8;

export class TuplePool {
  w = new Int32Array(1024);
  private top = UNIT;
  private readonly free = new Map<number, number[]>();

  /** A record of zeros with room for `size` words. */
  alloc(size: number): number {
    const rounded = Math.ceil(size / UNIT) * UNIT;
    const reused = this.free.get(rounded)?.pop();
    if (reused !== undefined) return reused;
    const at = this.top;
    this.top += rounded;
    if (this.top > this.w.length) {
      const wider = new Int32Array(Math.ceil(this.top * 1.25));
      wider.set(this.w);
      this.w = wider;
    }
    return at;
  }

  release(at: number, size: number): void {
    const rounded = Math.ceil(size / UNIT) * UNIT;
    this.w.fill(0, at, at + rounded);
    const list = this.free.get(rounded);
    if (list) list.push(at);
    else this.free.set(rounded, [at]);
  }

  get bytes(): number {
    return this.w.length * 4;
  }

  // ---- tables ----

  newTable(words: Int32Array, bits: Int32Array, places: number): number {
    const n = words.length;
    const at = this.alloc(HEADER + 2 * n + 2 * places);
    this.w[at + WORDS] = n;
    this.w[at + INDEX_MASK] = places - 1;
    for (let j = 0; j < n; j++) {
      this.w[at + HEADER + 2 * j] = words[j];
      this.w[at + HEADER + 2 * j + 1] = bits[j];
    }
    return at;
  }

  private pairs(at: number): number {
    return at + HEADER + 2 * this.w[at + WORDS];
  }

  /** Word index of the pair of hash `h`: where it is, or where it would be. */
  pairOf(at: number, h: number): number {
    const { w } = this;
    const pairs = this.pairs(at);
    const m = w[at + INDEX_MASK];
    let s = h & m;
    while (w[pairs + 2 * s + 1] !== 0 && w[pairs + 2 * s] !== h) s = (s + 1) & m;
    return pairs + 2 * s;
  }

  /** Adds a hash that is not there; returns the table, which may have moved. */
  add(at: number, h: number, target: number): number {
    const { w } = this;
    let table = at;
    if ((w[at + USED] + 1) * 5 > (w[at + INDEX_MASK] + 1) * 4) table = this.grow(at);
    const pair = this.pairOf(table, h);
    this.w[pair] = h;
    this.w[pair + 1] = target;
    this.w[table + USED]++;
    return table;
  }

  /** Takes a pair out: whoever stands behind the gap and would rather stand in or before it moves up. */
  remove(at: number, pair: number): void {
    const { w } = this;
    const pairs = this.pairs(at);
    const m = w[at + INDEX_MASK];
    let gap = (pair - pairs) / 2;
    for (let t = (gap + 1) & m; w[pairs + 2 * t + 1] !== 0; t = (t + 1) & m) {
      const home = w[pairs + 2 * t] & m;
      if (((t - home) & m) < ((t - gap) & m)) continue;
      w[pairs + 2 * gap] = w[pairs + 2 * t];
      w[pairs + 2 * gap + 1] = w[pairs + 2 * t + 1];
      gap = t;
    }
    w[pairs + 2 * gap + 1] = 0;
    w[at + USED]--;
  }

  releaseTable(at: number): void {
    const n = this.w[at + WORDS];
    this.release(at, HEADER + 2 * n + 2 * (this.w[at + INDEX_MASK] + 1));
  }

  /** Calls `each` with every target of the table. */
  targets(at: number, each: (target: number) => void): void {
    const pairs = this.pairs(at);
    const end = pairs + 2 * (this.w[at + INDEX_MASK] + 1);
    for (let p = pairs + 1; p < end; p += 2) if (this.w[p] !== 0) each(this.w[p]);
  }

  private grow(old: number): number {
    const n = this.w[old + WORDS];
    const places = (this.w[old + INDEX_MASK] + 1) * 2;
    const at = this.alloc(HEADER + 2 * n + 2 * places);
    const { w } = this;
    w.copyWithin(at, old, old + HEADER + 2 * n);
    w[at + INDEX_MASK] = places - 1;
    const from = this.pairs(old);
    for (let p = from; p < from + places; p += 2) {
      if (w[p + 1] === 0) continue;
      const pair = this.pairOf(at, w[p]);
      w[pair] = w[p];
      w[pair + 1] = w[p + 1];
    }
    this.releaseTable(old);
    return at;
  }

  // ---- a node's rest ----

  newRest(flows: readonly number[]): number {
    const at = this.alloc(HEADER + flows.length);
    this.w[at + USED] = flows.length;
    for (let j = 0; j < flows.length; j++) this.w[at + HEADER + j] = flows[j];
    return at;
  }

  releaseRest(at: number): void {
    this.release(at, HEADER + this.w[at + USED]);
  }
}
