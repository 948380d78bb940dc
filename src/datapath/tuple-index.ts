/**
 * One search over all megaflows of a port, however many masks they have. A tuple space asks one hash table a mask; an attacker,
 * or an honest rule set with many prefix lengths, makes thousands of masks. Megaflows are disjoint, and that is what this
 * index lives on.
 *
 * A *table* hashes the bits that all masks of its flows have in common, or only those of them that tell the flows apart; or it goes
 * by where a field first differs from a reference, which is what prefixes of many lengths differ in (`divergence.ts`).
 * Whoever shares a place in it shares a *node* of the next level, where the masks are fewer and have more in common; a single
 * flow is compared and is the answer. Masks with nothing useful in common have several tables in a node, all of which are
 * asked, and a few flows that fit nowhere are its *rest*, compared one by one. With one mask this is that mask's hash table, with
 * prefixes of many lengths a trie of many bits a step, with masks that only differ in what does not matter one table.
 *
 * - Every flow stands at exactly one place. A packet that matches a flow agrees with it in all bits of the flow's mask, so in
 *   those of the tables above it, and meets it: the answer is that of a search of all flows. Equal hashes of different values
 *   cost time, never the answer, for each answer is compared.
 * - It is an index and nothing else: it may be thrown away and made anew at any time, and can be made while packets go on.
 *
 * Lookups read `TuplePool` records and flow entries only; objects are there for changes.
 */
import { BURST, SLOT_WORDS } from './batch.ts';
import { BitChoice, type Criterion } from './bit-choice.ts';
import { bitsUpTo, flowDivergence, type Reference } from './divergence.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_ID, FLOW_KEY, FLOW_SUBTABLE } from './flow-entry.ts';
import type { Mask, MaskPairs } from './mask.ts';
import { type Bits, union } from './mask-bits.ts';
import { HEADER, INDEX_MASK, NEXT, TuplePool, USED, WORDS } from './tuple-pool.ts';

/** Flows that a node compares one by one before it looks for a table. */
const FEW = 3;
/** A node with at most so many flows is made anew on the spot when its tables no longer fit. */
const SMALL = 1024;
const NEW_TABLE_PLACES = 4;
/** Words of a table are multiplied by these; behind the last one comes the first again. A power of two. */
const FACTORS = 16;

const imul = Math.imul;

/** A reference as a record of the pool has it. */
const encoded = ({ word, shift, value }: Reference): Bits => ({
  words: Int32Array.of(-1 - (word | (shift << 10))),
  bits: Int32Array.of(value),
});

/** A sum of products is quick, for one does not wait for the other; what differs in upper bits only still shares the lower. */
function finishSum(sum: number): number {
  let h = sum | 0;
  h ^= h >>> 15;
  h = imul(h, 0x85ebca6b);
  return h ^ (h >>> 13);
}

class Node {
  readonly tables: Table[] = [];
  rest: number[] = [];
  /** Flows below. */
  size = 0;
  /** All flows below agree in these, but for equal hashes. */
  readonly tested: Bits;
  /** So many flows in `rest` are worth a look for tables. */
  patience = FEW;
  /** The first record: the rest's, if there is one, then those of the tables. 0 while there is none. */
  head = 0;
  restAt = 0;
  /** The table that leads here, and by which hash; the root has none. */
  readonly parent: Table | null;
  readonly hash: number;

  constructor(tested: Bits, parent: Table | null, hash: number) {
    this.tested = tested;
    this.parent = parent;
    this.hash = hash;
  }
}

class Table {
  readonly by: Criterion;
  readonly node: Node;
  at: number;

  constructor(by: Criterion, node: Node, at: number) {
    this.by = by;
    this.node = node;
    this.at = at;
  }
}

export class TupleIndex {
  /** Tables, and flows of a node's rest, that the last `lookup` looked at. */
  steps = 0;
  /** Hits by mask, until somebody takes them. */
  hits = new Int32Array(64);
  private readonly i32: Int32Array;
  private readonly masks: MaskPairs;
  private readonly choice: BitChoice;
  private readonly seed: number;
  /** Odd, and nobody's to guess. */
  private readonly factors: Int32Array;
  private readonly pool = new TuplePool();
  /** Nodes but the root, by their first record. */
  private readonly nodes = new Map<number, Node>();
  private readonly root: Node;
  /** The root's tables when it was made. */
  private readonly rootTables: number;
  private inserts = 0;
  private readonly targets = new Int32Array(BURST);
  /** Read only so that it is in the cache. */
  touched = 0;

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
    this.masks = masks;
    this.choice = new BitChoice(i32, maskById);
    this.seed = seed;
    this.factors = Int32Array.from({ length: FACTORS }, (_, j) => imul(seed ^ (j + 1), 0x9e3779b1) | 1);
    for (const mask of used) this.makeRoom(mask.id);
    // A port has an index of its own: the port tells nothing apart.
    this.root = new Node({ words: Int32Array.of(0), bits: Int32Array.of(-1) }, null, 0);
    this.fill(this.root, flows, this.choice.choose(flows, used, this.root.tested));
    this.rootTables = this.root.tables.length;
  }

  get size(): number {
    return this.root.size;
  }

  get bytes(): number {
    return this.pool.bytes;
  }

  /** What it was made for is no longer what it is used for. */
  get isWorn(): boolean {
    return this.root.tables.length > 2 * this.rootTables + 2 && this.inserts > 64 && this.inserts * 4 > this.root.size;
  }

  // ---- packets ----

  lookup(k: number): number {
    this.steps = 0;
    const flow = this.find(this.root.head, k);
    if (flow !== 0) this.hits[this.i32[flow + FLOW_SUBTABLE]]++;
    return flow;
  }

  /** For packets `list[0..n-1]` of a batch: `flow[i]` becomes the flow or 0. In strides, as `Subtable.lookupBatch`. */
  lookupBatch(slots: number, list: Int32Array, n: number, flow: Int32Array, hashes: Int32Array): void {
    const { i32, hits, targets } = this;
    const { w } = this.pool;
    const { head } = this.root;
    this.steps = 0;
    if (head === 0 || w[head + WORDS] === 0 || w[head + NEXT] !== 0) {
      for (let j = 0; j < n; j++) {
        const f = this.find(head, slots + list[j] * SLOT_WORDS);
        flow[list[j]] = f;
        if (f !== 0) hits[i32[f + FLOW_SUBTABLE]]++;
      }
      return;
    }
    for (let j = 0; j < n; j++) hashes[j] = this.hashOf(head, slots + list[j] * SLOT_WORDS);
    const pairs = head + HEADER + 2 * w[head + WORDS];
    const m = w[head + INDEX_MASK];
    let touched = 0;
    for (let j = 0; j < n; j++) touched ^= w[pairs + 2 * (hashes[j] & m)];
    for (let j = 0; j < n; j++) {
      const h = hashes[j];
      let s = h & m;
      let target = w[pairs + 2 * s + 1];
      while (target !== 0 && w[pairs + 2 * s] !== h) {
        s = (s + 1) & m;
        target = w[pairs + 2 * s + 1];
      }
      targets[j] = target;
    }
    for (let j = 0; j < n; j++) {
      const target = targets[j];
      touched ^= target > 0 ? i32[target + FLOW_ID] ^ i32[target + FLOW_KEY] : w[-target];
    }
    this.touched = touched;
    this.steps = n;
    for (let j = 0; j < n; j++) {
      const i = list[j];
      const k = slots + i * SLOT_WORDS;
      const target = targets[j];
      let f = 0;
      if (target > 0) f = this.matches(target, k) ? target : 0;
      else if (target < 0) f = this.find(-target, k);
      flow[i] = f;
      if (f !== 0) hits[i32[f + FLOW_SUBTABLE]]++;
    }
  }

  private hashOf(record: number, k: number): number {
    const { i32, seed, factors } = this;
    const { w } = this.pool;
    const first = record + HEADER;
    const words = w[record + WORDS];
    const word = w[first];
    if (word < 0) {
      const code = -1 - word;
      const value = byteSwap32(i32[k + (code & 1023)]) << (code >> 10);
      return finishSum(seed + imul(Math.clz32(value ^ w[first + 1]), factors[0]));
    }
    let h = (seed + imul(i32[k + word] & w[first + 1], factors[0])) | 0;
    for (let j = 1; j < words; j++)
      h = (h + imul(i32[k + w[first + 2 * j]] & w[first + 2 * j + 1], factors[j & (FACTORS - 1)])) | 0;
    return finishSum(h);
  }

  /** Searches the records of a node from `first` on, and all below. */
  private find(first: number, k: number): number {
    const { w } = this.pool;
    let at = first;
    while (at !== 0) {
      const words = w[at + WORDS];
      const next = w[at + NEXT];
      if (words === 0) {
        for (let p = at + HEADER, end = p + w[at + USED]; p < end; p++) {
          this.steps++;
          if (this.matches(w[p], k)) return w[p];
        }
        at = next;
        continue;
      }
      this.steps++;
      const h = this.hashOf(at, k);
      const m = w[at + INDEX_MASK];
      const pairs = at + HEADER + 2 * words;
      let s = h & m;
      let target = w[pairs + 2 * s + 1];
      while (target !== 0 && w[pairs + 2 * s] !== h) {
        s = (s + 1) & m;
        target = w[pairs + 2 * s + 1];
      }
      if (target > 0) {
        if (this.matches(target, k)) return target;
      } else if (target < 0) {
        if (next === 0) {
          at = -target;
          continue;
        }
        const flow = this.find(-target, k);
        if (flow !== 0) return flow;
      }
      at = next;
    }
    return 0;
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

  // ---- changes ----

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

  /** All packets of the flow find the same place in `table`. */
  private accepts({ by }: Table, flow: number): boolean {
    const mask = this.choice.maskOf(flow);
    if (by.kind === 'divergence') return flowDivergence(this.i32, flow, mask, by.reference) >= 0;
    const { words, bits } = by.on;
    for (let j = 0; j < words.length; j++) if ((mask.bitsOf(words[j]) & bits[j]) !== bits[j]) return false;
    return true;
  }

  /** The hash that a packet of this flow has in `table`. */
  private hashOfFlow({ by }: Table, flow: number): number {
    const { i32, seed, factors } = this;
    const mask = this.choice.maskOf(flow);
    if (by.kind === 'divergence')
      return finishSum(seed + imul(flowDivergence(i32, flow, mask, by.reference), factors[0]));
    const { words, bits } = by.on;
    let h = seed;
    for (let j = 0; j < words.length; j++) {
      const value = i32[flow + FLOW_KEY + mask.placeOf(words[j])] & bits[j];
      h = (h + imul(value, factors[j & (FACTORS - 1)])) | 0;
    }
    return finishSum(h);
  }

  /** What all flows agree in that share a place with `flow`. */
  private testedBy({ by }: Table, flow: number): Bits {
    if (by.kind === 'bits') return by.on;
    return bitsUpTo(by.reference, flowDivergence(this.i32, flow, this.choice.maskOf(flow), by.reference));
  }

  private insertAt(node: Node, flow: number): void {
    node.size++;
    for (const table of node.tables) {
      if (!this.accepts(table, flow)) continue;
      this.insertInto(table, flow);
      return;
    }
    node.rest.push(flow);
    if (node.rest.length > node.patience) this.arrange(node);
    else this.writeRest(node);
  }

  private insertInto(table: Table, flow: number): void {
    const { pool } = this;
    const h = this.hashOfFlow(table, flow);
    const pair = pool.pairOf(table.at, h);
    const target = pool.w[pair + 1];
    if (target === 0) {
      const at = pool.add(table.at, h, flow);
      if (at !== table.at) {
        table.at = at;
        this.link(table.node);
      }
    } else if (target < 0) this.insertAt(this.nodes.get(-target)!, flow);
    else this.fill(new Node(union(table.node.tested, this.testedBy(table, flow)), table, h), [target, flow], []);
  }

  /** The rest of a node has become long: finds tables for it, or for the whole node while that is small. */
  private arrange(node: Node): void {
    let flows = node.rest;
    if (node.size <= SMALL && node.tables.length > 0) {
      flows = [];
      this.gather(node, flows);
      for (const table of node.tables) this.dropTable(table);
      node.tables.length = 0;
    }
    node.rest = [];
    if (node.restAt !== 0) this.pool.releaseRest(node.restAt);
    node.restAt = 0;
    node.size -= flows.length;
    this.fill(node, flows, this.choice.choose(flows, this.choice.masksOf(flows), node.tested));
  }

  /** Gives a node new tables, and these flows. */
  private fill(node: Node, flows: readonly number[], criteria: readonly Criterion[]): void {
    for (const by of criteria) {
      const { words, bits } = by.kind === 'bits' ? by.on : encoded(by.reference);
      node.tables.push(new Table(by, node, this.pool.newTable(words, bits, NEW_TABLE_PLACES)));
    }
    node.patience = Number.POSITIVE_INFINITY;
    this.link(node);
    for (const flow of flows) this.insertAt(node, flow);
    // What fits nowhere now will not do so with one flow more. A large node's looks cost more.
    node.patience = Math.max(FEW, 2 * node.rest.length + 1, Math.min(node.size, SMALL) >> 6);
  }

  private removeAt(node: Node, flow: number): boolean {
    const at = node.rest.indexOf(flow);
    let isGone = at >= 0;
    if (isGone) {
      node.rest.splice(at, 1);
      this.writeRest(node);
    } else {
      isGone = node.tables.some((table) => this.accepts(table, flow) && this.removeFrom(table, flow));
    }
    if (isGone) node.size--;
    return isGone;
  }

  private removeFrom(table: Table, flow: number): boolean {
    const { pool } = this;
    const h = this.hashOfFlow(table, flow);
    const target = pool.w[pool.pairOf(table.at, h) + 1];
    if (target === flow) {
      pool.remove(table.at, pool.pairOf(table.at, h));
      return true;
    }
    if (target >= 0) return false;
    const child = this.nodes.get(-target)!;
    if (!this.removeAt(child, flow)) return false;
    if (child.size > 1) return true;
    const left: number[] = [];
    this.gather(child, left);
    this.dropNode(child);
    const pair = pool.pairOf(table.at, h);
    if (left.length === 0) pool.remove(table.at, pair);
    else pool.w[pair + 1] = left[0];
    return true;
  }

  /** All flows below `node`. */
  private gather(node: Node, into: number[]): void {
    for (const flow of node.rest) into.push(flow);
    for (const table of node.tables)
      this.pool.targets(table.at, (target) => {
        if (target > 0) into.push(target);
        else this.gather(this.nodes.get(-target)!, into);
      });
  }

  private dropTable(table: Table): void {
    this.pool.targets(table.at, (target) => {
      if (target < 0) this.dropNode(this.nodes.get(-target)!);
    });
    this.pool.releaseTable(table.at);
  }

  private dropNode(node: Node): void {
    this.nodes.delete(node.head);
    for (const table of node.tables) this.dropTable(table);
    if (node.restAt !== 0) this.pool.releaseRest(node.restAt);
  }

  private writeRest(node: Node): void {
    if (node.restAt !== 0) this.pool.releaseRest(node.restAt);
    node.restAt = node.rest.length === 0 ? 0 : this.pool.newRest(node.rest);
    this.link(node);
  }

  /** Puts a node's records in a row, and tells whoever leads there. */
  private link(node: Node): void {
    const { w } = this.pool;
    let next = 0;
    for (let t = node.tables.length - 1; t >= 0; t--) {
      w[node.tables[t].at + NEXT] = next;
      next = node.tables[t].at;
    }
    if (node.restAt !== 0) {
      w[node.restAt + NEXT] = next;
      next = node.restAt;
    }
    if (next === node.head) return;
    if (node.parent !== null) {
      this.nodes.delete(node.head);
      if (next !== 0) {
        this.nodes.set(next, node);
        w[this.pool.pairOf(node.parent.at, node.hash) + 1] = -next;
      }
    }
    node.head = next;
  }
}
