/**
 * A prefix trie: the prefixes of one field (an IPv4 or IPv6 address, or a pair of ports) that the rules of a classifier
 * use. Looking an address up tells which prefix lengths can match at all, and how many leading bits that took to find
 * out. The classifier skips subtables with it and leaves all later bits of the address wildcarded.
 *
 * Binary with path compression. A node stands for the prefix made of the first `len` bits of `key`; the edge from its
 * parent covers the bits between their two lengths. Invariant: a node without rules has two children (the root may have fewer).
 */

class Node {
  readonly key: Int32Array;
  len: number;
  rules = 0;
  zero: Node | null = null;
  one: Node | null = null;

  constructor(key: Int32Array, len: number) {
    this.key = key;
    this.len = len;
  }
}

/** First bit in `[from, to)` in which the two differ, or `to`. Bits count from the most significant one of word 0. */
function firstDifference(a: Int32Array, b: Int32Array, from: number, to: number): number {
  let bit = from;
  while (bit < to) {
    const word = bit >> 5;
    const x = (a[word] ^ b[word]) << (bit & 31);
    if (x !== 0) {
      const at = bit + Math.clz32(x);
      return at < to ? at : to;
    }
    bit = (word + 1) << 5;
  }
  return to;
}

const bitAt = (a: Int32Array, bit: number): number => (a[bit >> 5] >>> (31 - (bit & 31))) & 1;

const scratch = new Int32Array(4);

/** Network-order bytes as words whose most significant bit comes first. Valid until the next call. */
function load(bytes: Uint8Array, ofs: number, bits: number): Int32Array {
  for (let i = 0, at = ofs; i < bits >> 5; i++, at += 4) {
    scratch[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }
  return scratch;
}

export class PrefixTrie {
  private readonly bits: number;
  private root: Node | null = null;
  /** Prefix lengths that have a rule on the path of the last `lookup`: bit n of the array is length n. */
  readonly plens = new Int32Array(5);

  constructor(bits: number) {
    this.bits = bits;
  }

  get isEmpty(): boolean {
    return this.root === null;
  }

  /** Adds a rule with the prefix in the first `plen` bits at `ofs`. */
  insert(bytes: Uint8Array, ofs: number, plen: number): void {
    const value = load(bytes, ofs, this.bits);
    let parent: Node | null = null;
    let node = this.root;
    let at = 0;
    while (node) {
      const same = firstDifference(value, node.key, at, Math.min(node.len, plen));
      if (same < node.len) {
        const upper = new Node(node.key, same);
        if (bitAt(node.key, same)) upper.one = node;
        else upper.zero = node;
        this.replace(parent, node, upper);
        if (same === plen) upper.rules = 1;
        else this.hang(upper, this.leaf(value, plen));
        return;
      }
      if (node.len === plen) {
        node.rules++;
        return;
      }
      at = node.len;
      parent = node;
      node = bitAt(value, at) ? node.one : node.zero;
    }
    const leaf = this.leaf(value, plen);
    if (parent) this.hang(parent, leaf);
    else this.root = leaf;
  }

  /** Takes away a rule that was inserted with the same arguments. */
  remove(bytes: Uint8Array, ofs: number, plen: number): void {
    const value = load(bytes, ofs, this.bits);
    let grand: Node | null = null;
    let parent: Node | null = null;
    let node = this.root;
    while (node && node.len < plen) {
      grand = parent;
      parent = node;
      node = bitAt(value, node.len) ? node.one : node.zero;
    }
    if (node?.len !== plen || --node.rules > 0) return;
    this.prune(parent, node);
    if (parent && parent.rules === 0) this.prune(grand, parent);
  }

  /**
   * Walks the trie along an address. Fills `plens`, and returns how many leading bits must be looked at to know that no
   * other prefix length matches.
   */
  lookup(bytes: Uint8Array, ofs: number): number {
    const value = load(bytes, ofs, this.bits);
    this.plens.fill(0);
    let previous: Node | null = null;
    let node = this.root;
    let at = 0;
    while (node) {
      const same = firstDifference(value, node.key, at, node.len);
      if (same < node.len) return same + 1;
      at = node.len;
      if (node.rules > 0) this.plens[at >> 5] |= 1 << (at & 31);
      if (at >= this.bits) return this.bits;
      previous = node;
      node = bitAt(value, at) ? node.one : node.zero;
    }
    // A dead end: when there is another branch, the bit that chose this one was looked at.
    return previous && (previous.zero || previous.one) ? at + 1 : at;
  }

  private leaf(value: Int32Array, plen: number): Node {
    const node = new Node(value.slice(0, this.bits >> 5), plen);
    node.rules = 1;
    return node;
  }

  private hang(parent: Node, child: Node): void {
    if (bitAt(child.key, parent.len)) parent.one = child;
    else parent.zero = child;
  }

  private replace(parent: Node | null, old: Node, by: Node | null): void {
    if (!parent) this.root = by;
    else if (parent.one === old) parent.one = by;
    else parent.zero = by;
  }

  /** Removes a node without rules unless it joins two branches. */
  private prune(parent: Node | null, node: Node): void {
    if (node.zero && node.one) return;
    this.replace(parent, node, node.zero ?? node.one);
  }
}
