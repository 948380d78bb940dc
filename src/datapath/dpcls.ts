/**
 * The megaflow classifier: for each input port a tuple space, its subtables ordered by how often they were hit of late.
 * Megaflows of one classifier never overlap in what they do to a packet, so the first hit is the answer.
 */
import type { ArenaViews } from '../base/arena.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_IN_PORT, FLOW_SUBTABLE } from './flow-entry.ts';
import { Subtable, SubtableCode } from './subtable.ts';

export class Dpcls {
  /** By input port; numbers beyond 65535 (packets of no port) are in the map. */
  private readonly ports: Subtable[][] = [];
  private readonly oddPorts = new Map<number, Subtable[]>();
  private readonly masks = new Map<number, number>();
  private readonly i32: Int32Array;
  private readonly codes: SubtableCode;
  private nFlows = 0;
  /** Subtables that the last `lookup` tried. */
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

  /** Subtables of an input port. */
  subtablesOf(port: number): number {
    return this.listOf(port)?.length ?? 0;
  }

  /** Mask `id`, the word index of its `DP_WORDS` words, is known from now on. */
  addMask(id: number, mask: number): void {
    this.masks.set(id, mask);
  }

  removeMask(id: number): void {
    this.masks.delete(id);
  }

  lookup(slot: number): number {
    const list = this.listOf(byteSwap32(this.i32[slot]));
    if (list === undefined) return 0;
    for (let t = 0; t < list.length; t++) {
      const subtable = list[t];
      const flow = subtable.lookup(slot);
      if (flow !== 0) {
        subtable.hits++;
        this.tried = t + 1;
        return flow;
      }
    }
    this.tried = list.length;
    return 0;
  }

  insert(flow: number): void {
    const port = this.i32[flow + FLOW_IN_PORT];
    const id = this.i32[flow + FLOW_SUBTABLE];
    let list = this.listOf(port);
    if (list === undefined) {
      list = [];
      if (port >= 0 && port <= 0xffff) this.ports[port] = list;
      else this.oddPorts.set(port, list);
    }
    let subtable = list.find((s) => s.id === id);
    if (!subtable) {
      const mask = this.masks.get(id);
      if (mask === undefined) throw new Error(`mask ${id} is unknown`);
      subtable = new Subtable(id, this.i32, mask, this.codes);
      list.push(subtable);
    }
    subtable.insert(flow);
    this.nFlows++;
  }

  remove(flow: number): boolean {
    const list = this.listOf(this.i32[flow + FLOW_IN_PORT]);
    const at = list?.findIndex((s) => s.id === this.i32[flow + FLOW_SUBTABLE]) ?? -1;
    if (list === undefined || at < 0 || !list[at].remove(flow)) return false;
    if (list[at].size === 0) list.splice(at, 1);
    this.nFlows--;
    return true;
  }

  /** The flow whose key and mask are those of entry `flow`. */
  find(flow: number): number {
    const list = this.listOf(this.i32[flow + FLOW_IN_PORT]);
    return list?.find((s) => s.id === this.i32[flow + FLOW_SUBTABLE])?.find(flow) ?? 0;
  }

  /** Puts the subtables hit most first. Called about once a second. */
  rank(): void {
    for (const [, list] of this.lists()) {
      if (list.length > 1) list.sort((a, b) => b.hits - a.hits);
      for (const s of list) s.hits = 0;
    }
  }

  /** Input ports and their subtables in the order of lookup. */
  *lists(): Iterable<readonly [number, Subtable[]]> {
    // A sparse array: forEach-like iteration over the numbers that exist.
    for (const port in this.ports) yield [Number(port), this.ports[port]];
    yield* this.oddPorts;
  }

  private listOf(port: number): Subtable[] | undefined {
    return port >= 0 && port <= 0xffff ? this.ports[port] : this.oddPorts.get(port);
  }
}
