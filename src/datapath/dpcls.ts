/**
 * The megaflow classifier: for each input port a tuple space, its subtables ordered by how often they were hit of late.
 * Megaflows of one classifier never overlap in what they do to a packet, so the first hit is the answer.
 *
 * A port with more than a few masks has an index over all its flows beside its subtables (`tuple-index.ts`): then only a
 * subtable that earns it is asked before the index, and none after. An index is made, or made anew, a few flows at a time
 * between bursts; until it is whole the subtables answer.
 */
import type { ArenaViews } from '../base/arena.ts';
import { BURST, type PacketBatch, SLOT_WORDS } from './batch.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_IN_PORT, FLOW_KEY, FLOW_SUBTABLE } from './flow-entry.ts';
import { Mask, MaskPairs } from './mask.ts';
import { isSimpleMask } from './simple-match.ts';
import { Subtable, SubtableCode } from './subtable.ts';
import { TupleIndex } from './tuple-index.ts';

/** So many masks are worth an index; with half of them it goes. */
const INDEX_FROM = 4;
/** Flows of a sample that an index begins with. */
const INDEX_SAMPLE = 1024;
/** Flows that each insertion adds to an unfinished index, so that it is done some day without anybody's help. */
const WORK_PER_INSERT = 8;

interface Building {
  readonly index: TupleIndex;
  /** All flows of the port when it began. */
  readonly flows: Int32Array;
  next: number;
  /** Flows that came, went or were in the sample: not to be taken from `flows`. */
  readonly settled: Set<number>;
}

class PortFlows {
  /** In the order of search. */
  readonly subtables: Subtable[] = [];
  readonly byMask = new Map<number, Subtable>();
  index: TupleIndex | null = null;
  building: Building | null = null;
  /** Subtables asked before the index. */
  front = 0;
  size = 0;
  /** Flows that look at more than `simple-match.ts` reads. */
  demanding = 0;
  /** Lookups that the index answered, and their steps. */
  found = 0;
  steps = 0;
}

export class Dpcls {
  /** By input port; numbers beyond 65535 (packets of no port) are in the map. */
  private readonly ports: (PortFlows | undefined)[] = [];
  private readonly oddPorts = new Map<number, PortFlows>();
  private readonly masks: (Mask | undefined)[] = [];
  private readonly pairs = new MaskPairs();
  private readonly hashes = new Int32Array(BURST);
  private readonly i32: Int32Array;
  private readonly codes: SubtableCode;
  private readonly seed = (Math.random() * 0x100000000) | 0;
  private nFlows = 0;
  private nBuilding = 0;
  private lastPortWord = 0;
  private lastPort: PortFlows | undefined = undefined;
  /** Subtables, or tables of the index, that the last `lookup` (or `lookupBatch` of one packet) tried. */
  tried = 0;

  constructor(arena: ArenaViews) {
    this.i32 = arena.i32;
    this.codes = new SubtableCode(arena.i32);
  }

  get size(): number {
    return this.nFlows;
  }

  get subtables(): number {
    let n = 0;
    for (const list of this.lists()) n += list[1].length;
    return n;
  }

  /** Does an index answer for an input port? */
  isIndexed(port: number): boolean {
    const flows = this.flowsOf(port);
    return flows !== undefined && flows.index !== null;
  }

  /** Subtables of an input port. */
  subtablesOf(port: number): number {
    return this.flowsOf(port)?.subtables.length ?? 0;
  }

  /** Ports whose lookups go through an index. */
  get indexes(): number {
    let n = 0;
    for (const [, port] of this.portFlows()) if (port.index !== null) n++;
    return n;
  }

  /** Mask `id`, the word index of its `DP_WORDS` words, is known from now on. */
  addMask(id: number, mask: number): void {
    const m = new Mask(id, this.i32, mask);
    this.masks[id] = m;
    this.pairs.add(m);
  }

  removeMask(id: number): void {
    const m = this.masks[id];
    if (m === undefined) return;
    this.pairs.remove(m);
    this.masks[id] = undefined;
  }

  lookup(slot: number): number {
    const word = this.i32[slot];
    if (word !== this.lastPortWord || this.lastPort === undefined) {
      this.lastPortWord = word;
      this.lastPort = this.flowsOf(byteSwap32(word));
      if (this.lastPort === undefined) {
        this.tried = 0;
        return 0;
      }
    }
    const port = this.lastPort;
    const { subtables, index } = port;
    const n = index === null ? subtables.length : port.front;
    for (let t = 0; t < n; t++) {
      const subtable = subtables[t];
      const flow = subtable.lookup(slot);
      if (flow !== 0) {
        subtable.hits++;
        this.tried = t + 1;
        return flow;
      }
    }
    if (index === null) {
      this.tried = n;
      return 0;
    }
    const flow = index.lookup(slot);
    this.tried = n + index.steps;
    port.found++;
    port.steps += index.steps;
    return flow;
  }

  /** Looks packets `b.missed[0..n-1]` up: `b.flow[i]` becomes the flow or 0. Returns what hits tried, all together. */
  lookupBatch(b: PacketBatch, n: number): number {
    const { slots, missed, flow } = b;
    const word = this.i32[slots + missed[0] * SLOT_WORDS];
    let isOnePort = true;
    for (let j = 1; j < n; j++) if (this.i32[slots + missed[j] * SLOT_WORDS] !== word) isOnePort = false;
    const port = isOnePort ? this.flowsOf(byteSwap32(word)) : undefined;
    if (port !== undefined) {
      const { subtables, index } = port;
      if (index === null && subtables.length === 1) {
        const found = subtables[0].lookupBatch(slots, missed, n, flow, this.hashes);
        subtables[0].hits += found;
        this.tried = 1;
        return found;
      }
      if (index !== null && port.front === 0) {
        index.lookupBatch(slots, missed, n, flow, this.hashes);
        port.found += n;
        port.steps += index.steps;
        this.tried = index.steps;
        return index.steps;
      }
    }
    let tried = 0;
    for (let j = 0; j < n; j++) {
      const i = missed[j];
      flow[i] = this.lookup(slots + i * SLOT_WORDS);
      if (flow[i] !== 0) tried += this.tried;
    }
    return tried;
  }

  insert(flow: number): void {
    const port = this.portOf(this.i32[flow + FLOW_IN_PORT]);
    const id = this.i32[flow + FLOW_SUBTABLE];
    let subtable = port.byMask.get(id);
    if (!subtable) {
      const mask = this.masks[id];
      if (mask === undefined) throw new Error(`mask ${id} is unknown`);
      subtable = new Subtable(mask, this.i32, this.codes);
      port.subtables.push(subtable);
      port.byMask.set(id, subtable);
    }
    subtable.insert(flow);
    this.nFlows++;
    port.size++;
    if (!isSimpleMask(subtable.mask)) port.demanding++;
    port.index?.insert(flow);
    if (port.building !== null) {
      port.building.index.insert(flow);
      port.building.settled.add(flow);
      this.workOn(port, WORK_PER_INSERT);
    } else if (port.index === null ? port.subtables.length >= INDEX_FROM : port.index.isWorn) this.beginIndex(port);
  }

  remove(flow: number): boolean {
    const port = this.flowsOf(this.i32[flow + FLOW_IN_PORT]);
    const id = this.i32[flow + FLOW_SUBTABLE];
    const subtable = port?.byMask.get(id);
    if (port === undefined || subtable === undefined || !subtable.remove(flow)) return false;
    port.index?.remove(flow);
    if (port.building !== null) {
      port.building.index.remove(flow);
      port.building.settled.add(flow);
    }
    if (subtable.size === 0) {
      const at = port.subtables.indexOf(subtable);
      port.subtables.splice(at, 1);
      if (at < port.front) port.front--;
      port.byMask.delete(id);
      if (port.subtables.length * 2 < INDEX_FROM) this.dropIndex(port);
    }
    port.size--;
    if (!isSimpleMask(subtable.mask)) port.demanding--;
    this.nFlows--;
    return true;
  }

  /** The port has flows, and packets need not be looked at for more than `simple-match.ts` does. `word`: the port as in a key. */
  isSimple(word: number): boolean {
    const port = this.flowsOf(byteSwap32(word));
    return port !== undefined && port.size !== 0 && port.demanding === 0;
  }

  /** The packet's key is the flow's, under its mask. */
  matches(flow: number, k: number): boolean {
    const { i32, pairs } = this;
    const id = i32[flow + FLOW_SUBTABLE];
    const end = pairs.ends[id];
    let at = flow + FLOW_KEY;
    for (let j = pairs.starts[id]; j < end; j += 2)
      if ((i32[k + pairs.pairs[j]] & pairs.pairs[j + 1]) !== i32[at++]) return false;
    return true;
  }

  /** The flow whose key and mask are those of entry `flow`. */
  find(flow: number): number {
    return (
      this.flowsOf(this.i32[flow + FLOW_IN_PORT])
        ?.byMask.get(this.i32[flow + FLOW_SUBTABLE])
        ?.find(flow) ?? 0
    );
  }

  /** Puts the subtables hit most first. Called about once a second. */
  rank(): void {
    for (const [, port] of this.portFlows()) {
      const { subtables, index } = port;
      let total = 0;
      let most = 0;
      for (let t = 0; t < subtables.length; t++) {
        const s = subtables[t];
        if (index !== null) s.hits += index.hits[s.id];
        total += s.hits;
        if (s.hits > subtables[most].hits) most = t;
      }
      if (index === null) subtables.sort((a, b) => b.hits - a.hits);
      else if (most > 0) {
        // Thousands are not worth an order when only the first is asked.
        const first = subtables[0];
        subtables[0] = subtables[most];
        subtables[most] = first;
      }
      port.front = 0;
      // A subtable before the index costs each packet a step, and saves those of its own what the index would take.
      if (index !== null && port.found > 0) {
        const saved = (subtables[0].hits / Math.max(total, 1)) * (port.steps / port.found);
        if (saved > 1.5) {
          port.front = 1;
          subtables[0].compile();
        }
      }
      for (const s of subtables) s.hits = 0;
      index?.hits.fill(0);
      port.found = 0;
      port.steps = 0;
    }
  }

  /** There is work to do between bursts. */
  get isBuilding(): boolean {
    return this.nBuilding !== 0;
  }

  /** Adds up to `n` flows to unfinished indexes. */
  work(n: number): void {
    for (const [, port] of this.portFlows()) if (port.building !== null) this.workOn(port, n);
  }

  private beginIndex(port: PortFlows): void {
    const flows = new Int32Array(port.size);
    let n = 0;
    for (const s of port.subtables) n = s.copyFlows(flows, n);
    const settled = new Set<number>();
    // Some of each mask.
    const each = Math.max(1, Math.floor(INDEX_SAMPLE / port.subtables.length));
    const first: number[] = [];
    n = 0;
    for (const s of port.subtables) {
      const step = Math.max(1, Math.floor(s.size / each));
      for (let i = 0; i < s.size && first.length < 2 * INDEX_SAMPLE; i += step) {
        first.push(flows[n + i]);
        settled.add(flows[n + i]);
      }
      n += s.size;
    }
    const masks = port.subtables.map((s) => s.mask);
    const index = new TupleIndex(this.i32, this.masks, this.pairs, first, masks, this.seed);
    port.building = { index, flows, next: 0, settled };
    this.nBuilding++;
    this.workOn(port, WORK_PER_INSERT);
  }

  private workOn(port: PortFlows, n: number): void {
    const b = port.building;
    if (b === null) return;
    const end = Math.min(b.next + n, b.flows.length);
    for (let i = b.next; i < end; i++) if (!b.settled.has(b.flows[i])) b.index.insert(b.flows[i]);
    b.next = end;
    if (end < b.flows.length) return;
    port.index = b.index;
    port.building = null;
    port.front = 0;
    this.nBuilding--;
  }

  private dropIndex(port: PortFlows): void {
    if (port.building !== null) this.nBuilding--;
    port.building = null;
    port.index = null;
    port.front = 0;
  }

  private portOf(no: number): PortFlows {
    let port = this.flowsOf(no);
    if (port === undefined) {
      port = new PortFlows();
      if (no >= 0 && no <= 0xffff) this.ports[no] = port;
      else this.oddPorts.set(no, port);
    }
    return port;
  }

  /** Input ports and their subtables in the order of search. */
  *lists(): Iterable<readonly [number, readonly Subtable[]]> {
    for (const [no, port] of this.portFlows()) yield [no, port.subtables];
  }

  private *portFlows(): Iterable<readonly [number, PortFlows]> {
    // A sparse array: forEach-like iteration over the numbers that exist.
    for (const no in this.ports) {
      const port = this.ports[no];
      if (port !== undefined) yield [Number(no), port];
    }
    yield* this.oddPorts;
  }

  private flowsOf(no: number): PortFlows | undefined {
    return no >= 0 && no <= 0xffff ? this.ports[no] : this.oddPorts.get(no);
  }
}
