/**
 * One search over all megaflows of a port, however many masks they have. A tuple space asks one hash table a mask; an attacker,
 * or an honest rule set with many prefix lengths, makes thousands of masks. Megaflows are disjoint, and that is what this
 * index lives on.
 *
 * A *table* hashes the bits that all masks of its flows have in common, or only those of them that tell the flows apart.
 * Whoever shares a place in it shares a *node* of the next level, where the masks are fewer and have more in common; a single
 * flow is compared and is the answer. Masks with nothing useful in common have several tables in a node, all of which are
 * asked, and a few flows that fit nowhere are its *rest*, compared one by one. With one mask this is that mask's hash table, with
 * prefixes of many lengths a trie of many bits a step, with masks that only differ in what does not matter one table.
 *
 * - Every flow stands at exactly one place. A packet that matches a flow agrees with it in all bits of the flow's mask, so in
 *   those of the tables above it, and meets it: the answer is that of a search of all flows. Equal hashes of different values
 *   cost time, never the answer, for each answer is compared.
 * - It is an index and nothing else: it may be thrown away and made anew at any time, and can be made while packets go on.
 */
import { BURST, SLOT_WORDS } from './batch.ts';
import { FLOW_ID, FLOW_KEY, FLOW_SUBTABLE } from './flow-entry.ts';
import type { Mask, MaskPairs } from './mask.ts';
import { finish, mixWord } from './subtable.ts';

/** Flows that a node compares one by one before it looks for a table. */
const FEW = 3;
/** A node with at most so many flows is made anew on the spot when its tables no longer fit. */
const SMALL = 1024;
/** Flows that a choice of bits is made by. */
const SAMPLE = 256;
/** More tables than this in one node are worth another, less particular look. */
const MANY_TABLES = 6;

/** Bits of words: `words` without repetition, all of `bits` other than 0. */
interface Bits {
  readonly words: Int32Array;
  readonly bits: Int32Array;
}

const NO_BITS: Bits = { words: new Int32Array(0), bits: new Int32Array(0) };

class Node {
  readonly tables: Table[] = [];
  rest: number[] = [];
  /** Flows below. */
  size = 0;
  /** All flows below agree in these, but for equal hashes. */
  readonly tested: Bits;
  /** So many flows in `rest` are worth a look for tables. */
  patience = FEW;

  constructor(tested: Bits) {
    this.tested = tested;
  }
}

/** Open addressing: pairs `(hash, target)`, one for each hash. A target is a flow, or -1 - the number of a child; 0 is empty. */
class Table {
  readonly words: Int32Array;
  readonly bits: Int32Array;
  slots = new Int32Array(8);
  m = 3;
  used = 0;
  readonly children: (Node | null)[] = [];
  readonly freeChildren: number[] = [];

  constructor(on: Bits) {
    this.words = on.words;
    this.bits = on.bits;
  }

  hashBatch(i32: Int32Array, seed: number, slots: number, list: Int32Array, n: number, hashes: Int32Array): void {
    const { words, bits } = this;
    if (words.length === 1) {
      const w = words[0];
      const b = bits[0];
      for (let j = 0; j < n; j++) hashes[j] = finish(mixWord(seed, i32[slots + list[j] * SLOT_WORDS + w] & b));
      return;
    }
    for (let j = 0; j < n; j++) {
      const k = slots + list[j] * SLOT_WORDS;
      let h = seed;
      for (let x = 0; x < words.length; x++) h = mixWord(h, i32[k + words[x]] & bits[x]);
      hashes[j] = finish(h);
    }
  }

  accepts(mask: Mask): boolean {
    for (let j = 0; j < this.words.length; j++)
      if ((mask.bitsOf(this.words[j]) & this.bits[j]) !== this.bits[j]) return false;
    return true;
  }

  /** The place of hash `h`: where it is, or where it would be. */
  placeOf(h: number): number {
    let s = h & this.m;
    while (this.slots[s * 2 + 1] !== 0 && this.slots[s * 2] !== h) s = (s + 1) & this.m;
    return s;
  }

  add(h: number, target: number): void {
    if ((this.used + 1) * 2 > this.m + 1) this.grow();
    const s = this.placeOf(h);
    this.slots[s * 2] = h;
    this.slots[s * 2 + 1] = target;
    this.used++;
  }

  addChild(node: Node): number {
    const at = this.freeChildren.pop() ?? this.children.length;
    this.children[at] = node;
    return -1 - at;
  }

  removeChild(target: number): void {
    this.children[-1 - target] = null;
    this.freeChildren.push(-1 - target);
  }

  /** Whoever stands behind the gap and would rather stand in or before it moves up. */
  empty(place: number): void {
    const { slots, m } = this;
    let gap = place;
    for (let t = (place + 1) & m; slots[t * 2 + 1] !== 0; t = (t + 1) & m) {
      const home = slots[t * 2] & m;
      if (((t - home) & m) < ((t - gap) & m)) continue;
      slots[gap * 2] = slots[t * 2];
      slots[gap * 2 + 1] = slots[t * 2 + 1];
      gap = t;
    }
    slots[gap * 2 + 1] = 0;
    this.used--;
  }

  private grow(): void {
    const old = this.slots;
    this.m = this.m * 2 + 1;
    this.slots = new Int32Array((this.m + 1) * 2);
    for (let s = 0; s < old.length; s += 2) {
      if (old[s + 1] === 0) continue;
      const at = this.placeOf(old[s]);
      this.slots[at * 2] = old[s];
      this.slots[at * 2 + 1] = old[s + 1];
    }
  }
}

export class TupleIndex {
  /** Tables and single flows that the last `lookup` looked at. */
  steps = 0;
  /** Hits by mask, until somebody takes them. */
  hits = new Int32Array(64);
  private readonly i32: Int32Array;
  private readonly maskById: readonly (Mask | undefined)[];
  private readonly masks: MaskPairs;
  private readonly seed: number;
  private root: Node;
  /** The root's tables when it was made. */
  private rootTables = 0;
  private inserts = 0;
  private readonly targets = new Int32Array(BURST);
  /** What was read only so that it is in the cache. */
  private touched = 0;

  /** Over `flows`, a sample of those that will be inserted; it need not be all of them, but all their masks are `used`. */
  constructor(
    i32: Int32Array,
    maskById: readonly (Mask | undefined)[],
    masks: MaskPairs,
    flows: readonly number[],
    used: readonly Mask[],
    seed: number,
  ) {
    this.i32 = i32;
    this.maskById = maskById;
    this.masks = masks;
    this.seed = seed;
    for (const mask of used) this.makeRoom(mask.id);
    this.root = this.build(flows, NO_BITS, used);
    this.rootTables = this.root.tables.length;
  }

  get size(): number {
    return this.root.size;
  }

  /** What it was made for is no longer what it is used for. */
  get isWorn(): boolean {
    return this.root.tables.length > 2 * this.rootTables + 2 && this.inserts > 64 && this.inserts * 4 > this.root.size;
  }

  lookup(k: number): number {
    this.steps = 0;
    const flow = this.find(this.root, k);
    if (flow !== 0) this.hits[this.i32[flow + FLOW_SUBTABLE]]++;
    return flow;
  }

  /** For packets `list[0..n-1]` of a batch: `flow[i]` becomes the flow or 0. In strides, as `Subtable.lookupBatch`. */
  lookupBatch(slots: number, list: Int32Array, n: number, flow: Int32Array, hashes: Int32Array): void {
    const { i32, hits, root } = this;
    this.steps = 0;
    if (root.tables.length !== 1 || root.rest.length !== 0) {
      for (let j = 0; j < n; j++) {
        const f = this.find(root, slots + list[j] * SLOT_WORDS);
        flow[list[j]] = f;
        if (f !== 0) hits[i32[f + FLOW_SUBTABLE]]++;
      }
      return;
    }
    const table = root.tables[0];
    const targets = this.targets;
    table.hashBatch(i32, this.seed, slots, list, n, hashes);
    const { slots: pairs, m } = table;
    for (let j = 0; j < n; j++) targets[j] = pairs[(hashes[j] & m) * 2 + 1];
    let t = 0;
    for (let j = 0; j < n; j++) {
      const f = targets[j];
      if (f > 0) t ^= i32[f + FLOW_ID] ^ i32[f + FLOW_KEY];
    }
    this.touched = t;
    this.steps = n;
    for (let j = 0; j < n; j++) {
      const i = list[j];
      const k = slots + i * SLOT_WORDS;
      const h = hashes[j];
      let target = targets[j];
      if (target !== 0 && pairs[(h & m) * 2] !== h) target = pairs[table.placeOf(h) * 2 + 1];
      let f = 0;
      if (target > 0) f = this.matches(target, k) ? target : 0;
      else if (target < 0) f = this.find(table.children[-1 - target]!, k);
      flow[i] = f;
      if (f !== 0) hits[i32[f + FLOW_SUBTABLE]]++;
    }
  }

  private find(from: Node, k: number): number {
    const { i32, seed } = this;
    let node = from;
    descend: for (;;) {
      const { tables, rest } = node;
      for (let j = 0; j < rest.length; j++) {
        this.steps++;
        if (this.matches(rest[j], k)) return rest[j];
      }
      const last = tables.length - 1;
      for (let t = 0; t <= last; t++) {
        const table = tables[t];
        const { words, bits, slots, m } = table;
        let h = seed;
        for (let j = 0; j < words.length; j++) {
          h = mixWord(h, i32[k + words[j]] & bits[j]);
        }
        h = finish(h);
        this.steps++;
        for (let s = h & m; ; s = (s + 1) & m) {
          const target = slots[s * 2 + 1];
          if (target === 0) break;
          if (slots[s * 2] !== h) continue;
          if (target > 0) {
            if (this.matches(target, k)) return target;
            break;
          }
          const child = table.children[-1 - target]!;
          if (t === last) {
            node = child;
            continue descend;
          }
          const flow = this.find(child, k);
          if (flow !== 0) return flow;
          break;
        }
      }
      return 0;
    }
  }

  private matches(flow: number, k: number): boolean {
    const { i32, masks } = this;
    const { pairs } = masks;
    const id = i32[flow + FLOW_SUBTABLE];
    const end = masks.ends[id];
    let at = flow + FLOW_KEY;
    for (let j = masks.starts[id]; j < end; j += 2) if ((i32[k + pairs[j]] & pairs[j + 1]) !== i32[at++]) return false;
    return true;
  }

  insert(flow: number): void {
    this.makeRoom(this.i32[flow + FLOW_SUBTABLE]);
    this.inserts++;
    this.insertAt(this.root, flow);
  }

  remove(flow: number): boolean {
    return this.removeAt(this.root, flow);
  }

  private makeRoom(mask: number): void {
    if (mask < this.hits.length) return;
    const wider = new Int32Array(mask * 2);
    wider.set(this.hits);
    this.hits = wider;
  }

  private maskOf(flow: number): Mask {
    return this.maskById[this.i32[flow + FLOW_SUBTABLE]]!;
  }

  /** The hash that a packet of this flow has in `table`. */
  private hashOf(table: Table, flow: number): number {
    const mask = this.maskOf(flow);
    let h = this.seed;
    for (let j = 0; j < table.words.length; j++) {
      const value = this.i32[flow + FLOW_KEY + mask.placeOf(table.words[j])] & table.bits[j];
      h = mixWord(h, value);
    }
    return finish(h);
  }

  private insertAt(node: Node, flow: number): void {
    node.size++;
    const mask = this.maskOf(flow);
    for (const table of node.tables) {
      if (!table.accepts(mask)) continue;
      this.insertInto(table, flow, node.tested);
      return;
    }
    node.rest.push(flow);
    if (node.rest.length > node.patience) this.arrange(node);
  }

  private insertInto(table: Table, flow: number, tested: Bits): void {
    const h = this.hashOf(table, flow);
    const s = table.placeOf(h) * 2 + 1;
    const target = table.slots[s];
    if (target === 0) table.add(h, flow);
    else if (target < 0) this.insertAt(table.children[-1 - target]!, flow);
    else {
      const child = new Node(union(tested, table));
      this.insertAt(child, target);
      this.insertAt(child, flow);
      table.slots[s] = table.addChild(child);
    }
  }

  /** The rest of a node has become long: finds tables for it, or for the whole node while that is small. */
  private arrange(node: Node): void {
    let flows = node.rest;
    if (node.size <= SMALL && node.tables.length > 0) {
      flows = [];
      gather(node, flows);
      node.tables.length = 0;
    }
    node.rest = [];
    for (const on of this.choose(flows, this.masksOf(flows), node.tested)) node.tables.push(new Table(on));
    node.size -= flows.length;
    node.patience = Number.POSITIVE_INFINITY;
    for (const flow of flows) this.insertAt(node, flow);
    // What fits nowhere now will not do so with one flow more. A large node's looks cost more.
    node.patience = Math.max(FEW, 2 * node.rest.length + 1, Math.min(node.size, SMALL) >> 6);
  }

  private build(flows: readonly number[], tested: Bits, masks: readonly Mask[]): Node {
    const node = new Node(tested);
    node.patience = Number.POSITIVE_INFINITY;
    if (masks.length > 1 || flows.length > FEW)
      for (const on of this.choose(flows, masks, tested)) node.tables.push(new Table(on));
    for (const flow of flows) this.insertAt(node, flow);
    node.patience = Math.max(FEW, 2 * node.rest.length + 1);
    return node;
  }

  private masksOf(flows: readonly number[]): Mask[] {
    const masks = new Set<Mask>();
    for (const flow of flows) masks.add(this.maskOf(flow));
    return [...masks];
  }

  /** The bits to hash by: one table when what all masks have in common tells flows apart, else several. */
  private choose(flows: readonly number[], masks: readonly Mask[], tested: Bits): Bits[] {
    const one = this.narrow(sample(flows, SAMPLE), without(commonBits(masks), tested));
    if (one !== null) return [one];
    if (masks.length === 1) return [];
    const particular = this.partition(flows, masks, tested, 2);
    if (particular.length <= MANY_TABLES) return particular;
    const lenient = this.partition(flows, masks, tested, 16);
    return lenient.length < particular.length ? lenient : particular;
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
      const some = sample(its, 8);
      const isTaken = groups.some((g) => {
        const common = intersection(g.common, own);
        if (common.words.length === 0) return false;
        const together = [...g.flows, ...some];
        if (same(common, g.common) && g.flows.length >= 64) return true;
        const on = this.narrow(together, common);
        if (on === null || this.countGroups(together, on) * sharing < together.length) return false;
        g.common = common;
        g.on = on;
        g.flows = sample(together, 64);
        return true;
      });
      if (!isTaken) groups.push({ common: own, flows: some, on: this.narrow(some, own) ?? own });
    }
    return groups.map((g) => g.on);
  }

  private countGroups(flows: readonly number[], on: Bits): number {
    const names = new Set<string>();
    for (const flow of flows) {
      let name = '';
      for (let j = 0; j < on.words.length; j++) name += `${this.valueOf(flow, on.words[j]) & on.bits[j]}:`;
      names.add(name);
    }
    return names.size;
  }

  private removeAt(node: Node, flow: number): boolean {
    const mask = this.maskOf(flow);
    let isGone = false;
    const at = node.rest.indexOf(flow);
    if (at >= 0) {
      node.rest.splice(at, 1);
      isGone = true;
    } else
      for (let t = 0; t < node.tables.length && !isGone; t++)
        isGone = node.tables[t].accepts(mask) && this.removeFrom(node.tables[t], flow);
    if (isGone) node.size--;
    return isGone;
  }

  private removeFrom(table: Table, flow: number): boolean {
    const place = table.placeOf(this.hashOf(table, flow));
    const target = table.slots[place * 2 + 1];
    if (target === flow) {
      table.empty(place);
      return true;
    }
    if (target >= 0) return false;
    const child = table.children[-1 - target]!;
    if (!this.removeAt(child, flow)) return false;
    if (child.size > 1) return true;
    const left: number[] = [];
    gather(child, left);
    table.removeChild(target);
    if (left.length === 0) table.empty(place);
    else table.slots[place * 2 + 1] = left[0];
    return true;
  }
}

/** All flows below `node`. */
function gather(node: Node, into: number[]): void {
  for (const flow of node.rest) into.push(flow);
  for (const table of node.tables)
    for (let s = 1; s < table.slots.length; s += 2) {
      const target = table.slots[s];
      if (target > 0) into.push(target);
      else if (target < 0) gather(table.children[-1 - target]!, into);
    }
}

function sample(flows: readonly number[], n: number): number[] {
  if (flows.length <= n) return [...flows];
  return Array.from({ length: n }, (_, i) => flows[Math.floor((i * flows.length) / n)]);
}

const fromPairs = (pairs: readonly (readonly [number, number])[]): Bits => ({
  words: Int32Array.from(pairs, (p) => p[0]),
  bits: Int32Array.from(pairs, (p) => p[1]),
});

function bitsIn(b: Bits, w: number): number {
  const j = b.words.indexOf(w);
  return j < 0 ? 0 : b.bits[j];
}

function intersection(a: Bits, b: Bits): Bits {
  const pairs: [number, number][] = [];
  for (let j = 0; j < a.words.length; j++) {
    const bits = a.bits[j] & bitsIn(b, a.words[j]);
    if (bits !== 0) pairs.push([a.words[j], bits]);
  }
  return fromPairs(pairs);
}

function commonBits(masks: readonly Mask[]): Bits {
  const first = masks[0];
  if (first === undefined) return NO_BITS;
  const bits = Int32Array.from(first.bits);
  for (const mask of masks) for (let j = 0; j < bits.length; j++) bits[j] &= mask.bitsOf(first.words[j]);
  return fromPairs(Array.from(first.words, (w, j) => [w, bits[j]] as const).filter((p) => p[1] !== 0));
}

/** A port has an index of its own: the port tells nothing apart. */
function without(a: Bits, tested: Bits): Bits {
  const pairs: [number, number][] = [];
  for (let j = 0; j < a.words.length; j++) {
    const bits = a.bits[j] & ~bitsIn(tested, a.words[j]);
    if (bits !== 0 && a.words[j] !== 0) pairs.push([a.words[j], bits]);
  }
  return fromPairs(pairs);
}

function union(a: Bits, b: Bits): Bits {
  const pairs = Array.from(a.words, (w, j): [number, number] => [w, a.bits[j] | bitsIn(b, w)]);
  for (let j = 0; j < b.words.length; j++) if (a.words.indexOf(b.words[j]) < 0) pairs.push([b.words[j], b.bits[j]]);
  return fromPairs(pairs);
}

const same = (a: Bits, b: Bits): boolean =>
  a.words.length === b.words.length && a.words.every((w, j) => w === b.words[j] && a.bits[j] === b.bits[j]);
