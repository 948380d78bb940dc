/**
 * A PMD as the main thread sees it, wherever it runs: its rings, its masks and flows, its counters. All memory that a flow
 * needs is allocated and freed here; a PMD acknowledges a removal by its count of finished commands, then the memory
 * is free again.
 *
 * The main thread keeps a classifier of its own over the same flow entries: it finds the flow that a new one replaces, and
 * the flow that was installed while a packet was on its way up, so that a burst of one new flow is translated once.
 */
import type { Arena } from '../base/arena.ts';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import { FlowKey, type FlowMask } from '../flow/key.ts';
import { DP_WORDS } from '../flow/layout.ts';
import { CMD, CONTROL, CONTROL_WORDS, EXECUTE_ACTIONS, EXECUTE_KEY, UPCALL_KEY, UPCALL_PACKET } from './commands.ts';
import { Dpcls } from './dpcls.ts';
import { FLOW_ID, FLOW_KEY, FLOW_N_WORDS, FLOW_SUBTABLE } from './flow-entry.ts';
import { BREAK_KEY, BREAK_PACKET } from './hold.ts';
import { WATCH_FILTERS } from './journey.ts';
import { maskWords } from './mask.ts';
import { PMD_STATS } from './pmd-stats.ts';
import { SCRATCH_BYTES } from './scratch.ts';
import { allocUpcalls, freeUpcalls, UpcallConsumer, type UpcallPlaces } from './upcall-queue.ts';

/** Executes that wait for room in the ring; more are dropped. Other commands always wait. */
const MAX_WAITING_PACKETS = 1024;
/** Upcalls handled before other work of the main thread gets its turn. */
const UPCALL_TURN = 64;

interface Mask {
  readonly name: string;
  readonly id: number;
  readonly at: number;
  readonly words: readonly number[];
  /** For all to read and nobody to write. */
  readonly mask: FlowMask;
  flows: number;
}

export interface UpcallRecord {
  readonly kind: number;
  readonly userspaceId: number;
  /** Word index of the key, valid during the call. */
  readonly key: number;
  /** Byte offset. */
  readonly packet: number;
  readonly length: number;
  /** The packet tells its journey: its id, else 0; and the stages before which it is still to stop. */
  readonly journey: number;
  readonly stops: number;
  /** `FRAME_GSO` of the packet, 0 for an ordinary one. */
  readonly gso: number;
}

export interface RingSizes {
  readonly commandWords: number;
  readonly upcallWords: number;
}

/** Words of the ring for journeys, made when somebody first looks, and how many are taken from it in a turn. */
const JOURNEY_WORDS = 1 << 17;
const JOURNEY_TURN = 16;
const JOURNEY_REST_MS = 2;
/** Each PMD's journeys have ids of their own. */
const JOURNEY_ID_SHIFT = 24;

/** The arena rounds alike. */
const entryClass = (bytes: number): number => Math.ceil(bytes / 64) * 64;

export class PmdHost {
  /** As the slow path and statistics name it: the core, or -1 for the main thread. */
  readonly id: number;
  readonly numa: number;
  readonly arena: Arena;
  readonly sizes: RingSizes;
  readonly commandsAt: number;
  readonly upcallPlaces: UpcallPlaces;
  /** Word index of `CONTROL_WORDS` words. */
  readonly controlAt: number;
  /** Float64 index of `PMD_STATS` doubles. */
  readonly statsAt: number;
  /** Byte offset of the PMD's private memory. */
  readonly scratchAt: number;
  readonly mirror: Dpcls;
  /** Makes the PMD look at its commands: at once, for a packet waits; or soon, for more commands may follow. */
  kick: () => void = () => {};
  kickSoon: () => void = () => this.kick();
  packetsDropped = 0;
  /** Hears of records in the arena: word index, valid during the call. */
  onJourney: (at: number) => void = () => {};
  private readonly commands: RecordRing;
  private readonly upcalls: UpcallConsumer;
  private readonly masks = new Map<string, Mask>();
  private readonly maskById = new Map<number, Mask>();
  /** Places of flows that are gone, by size. */
  private readonly freeEntries = new Map<number, number[]>();
  private nextMask = 1;
  /** Numbers of masks that are gone: they stay small, for tables are indexed by them. */
  private readonly freeMasks: number[] = [];
  /** Commands sent, and those that found the ring full. */
  private sent = 0;
  private waiting: Int32Array[] = [];
  private readonly whenDone: { readonly seq: number; readonly fn: () => void }[] = [];
  private whenDoneHead = 0;
  private retry: NodeJS.Timeout | null = null;
  private journeysAt = -1;
  private journeys: RecordRing | null = null;
  private journeyTimer: NodeJS.Timeout | null = null;

  constructor(id: number, arena: Arena, sizes: RingSizes, numa = 0) {
    this.id = id;
    this.numa = numa;
    this.arena = arena;
    this.sizes = sizes;
    const alloc = (bytes: number): number => {
      const at = arena.alloc(bytes);
      if (at < 0) throw new Error('out of packet memory');
      return at;
    };
    this.commandsAt = alloc(ringBytes(sizes.commandWords));
    this.upcallPlaces = allocUpcalls(alloc, sizes.upcallWords);
    this.controlAt = alloc(CONTROL_WORDS * 4) >> 2;
    this.statsAt = alloc(PMD_STATS * 8) >> 3;
    this.scratchAt = alloc(SCRATCH_BYTES);
    this.commands = new RecordRing(arena, this.commandsAt, sizes.commandWords, 'producer');
    this.upcalls = new UpcallConsumer(arena, this.upcallPlaces);
    this.mirror = new Dpcls(arena);
  }

  /** Gives the memory back; the PMD must be gone. */
  dispose(): void {
    if (this.retry) clearTimeout(this.retry);
    if (this.journeyTimer) clearTimeout(this.journeyTimer);
    if (this.journeysAt >= 0) this.arena.free(this.journeysAt, ringBytes(JOURNEY_WORDS));
    this.journeys = null;
    for (let i = this.whenDoneHead; i < this.whenDone.length; i++) this.whenDone[i].fn();
    this.whenDone.length = 0;
    for (const [size, list] of this.freeEntries) for (const at of list) this.arena.free(at, size);
    for (const mask of this.masks.values()) this.arena.free(mask.at << 2, DP_WORDS * 4);
    this.arena.free(this.commandsAt, ringBytes(this.sizes.commandWords));
    freeUpcalls((at, bytes) => this.arena.free(at, bytes), this.upcallPlaces);
    this.arena.free(this.controlAt << 2, CONTROL_WORDS * 4);
    this.arena.free(this.statsAt << 3, PMD_STATS * 8);
    this.arena.free(this.scratchAt, SCRATCH_BYTES);
  }

  get maskCount(): number {
    return this.masks.size;
  }

  /** Sends a command and tells the PMD. */
  send(...words: number[]): void {
    this.record(words.length, (i32, at) => i32.set(words, at), false);
    this.kickSoon();
  }

  /** Runs `fn` when the PMD has done all that was sent so far. */
  afterDone(fn: () => void): void {
    this.whenDone.push({ seq: this.sent, fn });
    Atomics.store(this.arena.i32, this.controlAt + CONTROL.WANTS_DONE, 1);
    // The PMD may have been done before it could see that. Upcalls that wait are drained first, and that runs what is due.
    if (this.whenDone.length - this.whenDoneHead === 1)
      setImmediate(() => {
        const done = this.done();
        if (this.upcalls.peek() < 0) this.runDone(done);
      });
  }

  private record(words: number, fill: (i32: Int32Array, at: number) => void, isPacket: boolean): void {
    if (this.waiting.length === 0) {
      const at = this.commands.reserve(words);
      if (at >= 0) {
        fill(this.arena.i32, at);
        this.commands.commit();
        this.sent = (this.sent + 1) | 0;
        return;
      }
    }
    if (isPacket && this.waiting.length >= MAX_WAITING_PACKETS) {
      this.packetsDropped++;
      return;
    }
    const copy = new Int32Array(words);
    fill(copy, 0);
    this.waiting.push(copy);
    this.sent = (this.sent + 1) | 0;
    this.retry ??= setTimeout(() => this.sendWaiting(), 1);
  }

  private sendWaiting(): void {
    this.retry = null;
    let n = 0;
    for (const words of this.waiting) {
      const at = this.commands.reserve(words.length);
      if (at < 0) break;
      this.arena.i32.set(words, at);
      this.commands.commit();
      n++;
    }
    this.waiting = this.waiting.slice(n);
    if (this.waiting.length > 0) this.retry = setTimeout(() => this.sendWaiting(), 1);
    if (n > 0) this.kick();
  }

  /** Runs `actions` (or, with `flow`, that flow's) on a packet. The key is `DP_WORDS` words from `key` on. */
  execute(
    flow: number,
    key: Int32Array,
    keyAt: number,
    actions: readonly number[],
    packet: Uint8Array,
    packetAt: number,
    length: number,
    journey = 0,
    stops = 0,
    gso = 0,
  ): void {
    const words = EXECUTE_ACTIONS + actions.length + ((length + 3) >> 2);
    this.record(
      words,
      (i32, at) => {
        i32[at] = CMD.EXECUTE;
        i32[at + 1] = flow;
        i32[at + 2] = actions.length;
        i32[at + 3] = length;
        i32[at + 4] = journey;
        i32[at + 5] = stops;
        i32[at + 6] = gso;
        for (let w = 0; w < DP_WORDS; w++) i32[at + EXECUTE_KEY + w] = key[keyAt + w];
        for (let a = 0; a < actions.length; a++) i32[at + EXECUTE_ACTIONS + a] = actions[a];
        const to = i32.byteOffset + (at + EXECUTE_ACTIONS + actions.length) * 4;
        new Uint8Array(i32.buffer, to, length).set(packet.subarray(packetAt, packetAt + length));
      },
      true,
    );
    this.kick();
  }

  /** The mask's number, for `FLOW_SUBTABLE`; -1 when memory is out. Counts one flow more that uses it. */
  useMask(mask: Int32Array): number {
    let name = '';
    for (let w = 0; w < DP_WORDS; w++) if (mask[w] !== 0) name += `${w}:${mask[w]},`;
    let m = this.masks.get(name);
    if (!m) {
      const at = this.arena.alloc(DP_WORDS * 4) >> 2;
      if (at < 0) return -1;
      for (let w = 0; w < DP_WORDS; w++) this.arena.i32[at + w] = mask[w];
      const copy = new FlowKey();
      copy.w.set(mask.subarray(0, DP_WORDS));
      const id = this.freeMasks.pop() ?? this.nextMask++;
      m = { name, id, at, words: maskWords(this.arena.i32, at), mask: copy, flows: 0 };
      this.masks.set(name, m);
      this.maskById.set(m.id, m);
      this.mirror.addMask(m.id, m.at);
      this.send(CMD.MASK_ADD, m.id, m.at);
    }
    m.flows++;
    return m.id;
  }

  maskWordsOf(id: number): readonly number[] {
    return this.maskById.get(id)?.words ?? [];
  }

  maskOf(id: number): FlowMask {
    return this.maskById.get(id)?.mask ?? new FlowKey();
  }

  /** One flow less uses the mask; with the last it goes. */
  dropMask(id: number): void {
    const m = this.maskById.get(id);
    if (!m || --m.flows > 0) return;
    this.masks.delete(m.name);
    this.maskById.delete(id);
    this.freeMasks.push(id);
    this.mirror.removeMask(id);
    this.send(CMD.MASK_DEL, id);
    this.afterDone(() => this.arena.free(m.at << 2, DP_WORDS * 4));
  }

  /** A flow entry for this key with room for the mask's words, not yet known to anybody; 0 when memory is out. */
  newEntry(key: Int32Array, maskId: number, mask: Int32Array): number {
    const { i32 } = this.arena;
    const words = this.maskWordsOf(maskId);
    const size = (FLOW_KEY + words.length) * 4;
    const reused = this.freeEntries.get(entryClass(size))?.pop();
    const at = reused ?? this.arena.alloc(size);
    if (at < 0) return 0;
    const flow = at >> 2;
    if (reused !== undefined) i32.fill(0, flow, flow + FLOW_KEY);
    i32[flow + FLOW_SUBTABLE] = maskId;
    i32[flow + FLOW_N_WORDS] = words.length;
    for (let j = 0; j < words.length; j++) i32[flow + FLOW_KEY + j] = key[words[j]] & mask[words[j]];
    return flow;
  }

  /**
   * The place stays a place for flows as long as the PMD lives: its caches may still name it, and only a flow's id tells
   * them that it is another's now.
   */
  freeEntry(flow: number): void {
    const size = entryClass((FLOW_KEY + this.arena.i32[flow + FLOW_N_WORDS]) * 4);
    const list = this.freeEntries.get(size);
    if (list) list.push(flow << 2);
    else this.freeEntries.set(size, [flow << 2]);
  }

  /** The PMD learns of the entry; from now on its counters are the PMD's. */
  install(flow: number): void {
    this.mirror.insert(flow);
    this.send(CMD.FLOW_PUT, flow);
  }

  /** `fn` runs when the PMD no longer uses the entry. */
  uninstall(flow: number, fn: () => void): void {
    this.mirror.remove(flow);
    this.send(CMD.FLOW_DEL, flow);
    this.afterDone(fn);
  }

  /** A flow for the key at word `slot` of the arena that is installed by now; 0 when there is none. */
  lookup(slot: number): number {
    const flow = this.mirror.lookup(slot);
    return flow !== 0 && this.arena.i32[flow + FLOW_ID] !== 0 ? flow : 0;
  }

  /** Hands upcalls to `receiver`, up to a turn's worth; true when there may be more. Runs what waited for the PMD. */
  drain(receiver: (upcall: UpcallRecord) => void): boolean {
    const { i32 } = this.arena;
    // Read before the upcalls: what is done by then has no upcall left that would miss what its end takes away.
    const done = this.done();
    let n = 0;
    for (let at = this.upcalls.peek(); at >= 0; at = this.upcalls.peek()) {
      if (n++ === UPCALL_TURN) return true;
      try {
        receiver({
          kind: i32[at],
          userspaceId: i32[at + 1],
          length: i32[at + 2],
          key: at + UPCALL_KEY,
          packet: (at + UPCALL_PACKET) * 4,
          journey: i32[at + 3],
          stops: i32[at + 4],
          gso: i32[at + 5],
        });
      } finally {
        this.upcalls.release();
      }
    }
    this.runDone(done);
    this.drainJourneys();
    return false;
  }

  /** The packets that match one of `filters` tell their journey from now on; `index` is this PMD's among all. */
  watch(filters: readonly (readonly number[])[], generation: number, index: number): void {
    if (this.journeys === null) {
      if (filters.length === 0) return;
      this.journeysAt = this.arena.alloc(ringBytes(JOURNEY_WORDS));
      if (this.journeysAt < 0) throw new Error('out of packet memory');
      this.journeys = new RecordRing(this.arena, this.journeysAt, JOURNEY_WORDS, 'consumer');
    }
    const words = filters.flat();
    const id = (index + 1) << JOURNEY_ID_SHIFT;
    this.send(CMD.WATCH, this.journeysAt, JOURNEY_WORDS, id, generation, WATCH_FILTERS + words.length, ...words);
  }

  /** A packet that waits goes on, or is dropped; with another packet and key in its place, if they are given. */
  resume(hold: number, verb: number, stops: number, edited: { packet: Uint8Array; key: Int32Array } | null): void {
    const bytes = edited?.packet.length ?? -1;
    const words = BREAK_PACKET + ((Math.max(0, bytes) + 3) >> 2);
    this.record(
      words,
      (i32, at) => {
        i32[at] = CMD.BREAK;
        i32[at + 1] = hold;
        i32[at + 2] = verb;
        i32[at + 3] = stops;
        i32[at + 4] = bytes;
        if (edited === null) return;
        i32.set(edited.key.subarray(0, DP_WORDS), at + BREAK_KEY);
        new Uint8Array(i32.buffer, i32.byteOffset + (at + BREAK_PACKET) * 4, bytes).set(edited.packet);
      },
      false,
    );
    this.kick();
  }

  /** A few at a time: journeys wait, upcalls do not. */
  private drainJourneys(): void {
    const ring = this.journeys;
    if (ring === null || this.journeyTimer !== null) return;
    let n = 0;
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      if (n++ === JOURNEY_TURN) {
        this.journeyTimer = setTimeout(() => {
          this.journeyTimer = null;
          this.drainJourneys();
        }, JOURNEY_REST_MS);
        return;
      }
      try {
        this.onJourney(at);
      } finally {
        ring.release();
      }
    }
  }

  private done(): number {
    return Atomics.load(this.arena.i32, this.controlAt + CONTROL.DONE);
  }

  private runDone(done: number): void {
    const list = this.whenDone;
    while (this.whenDoneHead < list.length && ((done - list[this.whenDoneHead].seq) | 0) >= 0)
      list[this.whenDoneHead++].fn();
    if (this.whenDoneHead === list.length) {
      list.length = 0;
      this.whenDoneHead = 0;
      Atomics.store(this.arena.i32, this.controlAt + CONTROL.WANTS_DONE, 0);
    } else if (this.whenDoneHead > 1024) {
      list.splice(0, this.whenDoneHead);
      this.whenDoneHead = 0;
    }
  }
}
