/**
 * Breakpoints: packets that a filter matches wait before the stages it names, shown with their state, until somebody says how
 * they go on. A breakpoint is a journey's session whose filter names stages: `src/datapath/hold.ts` does the waiting in the
 * fast path, this file what the slow path has to wait for (`xlate`, and drops that the tables decide), and keeps the list.
 *
 * Nothing waits for ever: a packet goes on by itself after the breakpoint's limit, all go on when the breakpoint is closed, and
 * closing the datapath closes it.
 */
import { clock } from '../../base/clock.ts';
import { DROP, DROP_REASON, type DropReason } from '../../datapath/drop-reason.ts';
import { MAX_HOLDS, STOP } from '../../datapath/hold.ts';
import type { HoldRecord } from '../../datapath/journey-record.ts';
import type { HeldEdit, Upcall } from '../../dpif/dpif.ts';
import { formatDpActions } from '../../flow/dp-text.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import type { JourneyCollector, Pending } from './collector.ts';
import { monotonicMs } from './collector.ts';
import { edited } from './edit.ts';
import { replayOf } from './megaflow.ts';
import { JourneyError, type JourneyOptions, type JourneySession } from './session.ts';

/** In the order in which a packet meets them. */
export const BREAK_STAGES = [
  'rx',
  'extract',
  'emc',
  'smc',
  'dpcls',
  'upcall',
  'xlate',
  'action',
  'ct',
  'tx',
  'drop',
] as const;
export type BreakStage = (typeof BREAK_STAGES)[number];

const bitOf = (stage: BreakStage): number => 1 << BREAK_STAGES.indexOf(stage);
const stageOfBit = (bit: number): BreakStage => BREAK_STAGES[31 - Math.clz32(bit)] ?? 'rx';

export const DEFAULT_LIMIT_MS = 60_000;

export interface BreakOptions extends Pick<JourneyOptions, 'filter' | 'bridge' | 'inPort'> {
  readonly stages: readonly BreakStage[];
  /** After so many milliseconds a packet goes on by itself; 60 s unless said otherwise. */
  readonly limitMs?: number;
}

/** How a packet went on. */
export type Release = 'continue' | 'step' | 'drop' | 'time limit' | 'deleted';

export interface HeldPacket {
  /** What people call it; the same for as long as the packet is on its way. */
  readonly number: number;
  readonly pending: Pending;
  /** Where it stopped. */
  breakpoints: readonly Breakpoint[];
  readonly stage: BreakStage;
  /** Why it is about to be dropped. */
  readonly reason: DropReason | null;
  /** The thread that it waits in: a PMD, or the slow path's. */
  readonly pmd: number;
  readonly isInSlowPath: boolean;
  readonly sinceMs: number;
  untilMs: number;
  /** What is left to be done with it, as far as the datapath knows. */
  readonly actions: string;
  /** What it is now; edits change it. */
  packet: Uint8Array;
  /** Of a packet of which only the first bytes are known. */
  readonly length: number;
  key: FlowKey;
  readonly edits: string[];
}

interface Entry extends HeldPacket {
  timer: Disposable;
  /** Its way on; null for the packet as it was. */
  readonly go: (verb: 'go' | 'drop', stops: number, edit: HeldEdit | null) => void;
}

let nextBreakpoint = 1;
let nextPacket = 1;

export class Breakpoint implements Disposable {
  readonly name = `b${nextBreakpoint++}`;
  readonly options: BreakOptions;
  readonly limitMs: number;
  /** Packets that stopped here. */
  hits = 0;
  private readonly breaks: Breaks;
  readonly session: JourneySession;

  constructor(breaks: Breaks, options: BreakOptions, session: JourneySession) {
    this.breaks = breaks;
    this.options = options;
    this.session = session;
    this.limitMs = options.limitMs ?? DEFAULT_LIMIT_MS;
  }

  get isOpen(): boolean {
    return this.session.isOpen;
  }

  get stops(): number {
    return this.options.stages.reduce((bits, stage) => bits | bitOf(stage), 0);
  }

  /** All that waits here goes on. */
  close(): void {
    this.breaks.delete(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export class Breaks {
  private readonly collector: JourneyCollector;
  private readonly points = new Set<Breakpoint>();
  private readonly entries = new Map<number, Entry>();
  private readonly listeners = new Set<() => void>();
  /** Packets that did not stop in the slow path because as many as may wait there did. */
  passed = 0;
  /** Goes up with each change: for those who wait for one. */
  serial = 0;

  constructor(collector: JourneyCollector) {
    this.collector = collector;
  }

  // ---- breakpoints ----

  /** Throws `JourneyError`: what is wrong with the options. */
  set(options: BreakOptions): Breakpoint {
    if (options.stages.length === 0) throw new JourneyError('no stage to stop at');
    const { filter, bridge, inPort } = options;
    const stops = options.stages.reduce((bits, stage) => bits | bitOf(stage), 0);
    const session = this.collector.start({
      stops,
      keep: 64,
      ...(filter === undefined ? {} : { filter }),
      ...(bridge === undefined ? {} : { bridge }),
      ...(inPort === undefined ? {} : { inPort }),
    });
    const point = new Breakpoint(this, options, session);
    this.points.add(point);
    this.changed();
    return point;
  }

  delete(point: Breakpoint): void {
    if (!this.points.delete(point)) return;
    // First those that wait: the datapath is to carry them on while it still tells.
    for (const e of [...this.entries.values()]) if (this.stopsFor(e.pending) === 0) this.release(e, 'deleted', 0);
    point.session.close();
    this.changed();
  }

  closeAll(): void {
    for (const point of [...this.points]) this.delete(point);
  }

  list(): Iterable<Breakpoint> {
    return this.points;
  }

  packets(): Iterable<HeldPacket> {
    return this.entries.values();
  }

  packet(number: number): HeldPacket | undefined {
    return this.entries.get(number);
  }

  onChange(listener: () => void): Disposable {
    this.listeners.add(listener);
    return { [Symbol.dispose]: () => this.listeners.delete(listener) };
  }

  private changed(): void {
    this.serial++;
    for (const listener of [...this.listeners]) listener();
  }

  // ---- what people ask of packets ----

  continue(number: number): boolean {
    return this.goOn(number, 'continue');
  }

  /** On to the next stage, whichever it is. */
  step(number: number): boolean {
    return this.goOn(number, 'step');
  }

  drop(number: number): boolean {
    return this.goOn(number, 'drop');
  }

  private goOn(number: number, how: Release): boolean {
    const entry = this.entries.get(number);
    if (!entry) return false;
    this.release(entry, how, this.stopsFor(entry.pending));
    return true;
  }

  /** `FIELD=VALUE`. Null when done, else what is wrong. */
  edit(number: number, text: string): string | null {
    const entry = this.entries.get(number);
    if (!entry) return `${number}: no such packet waits`;
    if (entry.packet.length < entry.length && entry.edits.length === 0) return 'a packet that long cannot be edited';
    if (entry.stage === 'drop') return 'a packet that is about to be dropped cannot be edited';
    const { backer } = this.collector;
    const bridge = backer.flowOf(entry.key)?.bridge ?? [...backer.bridges][0];
    if (!bridge) return 'there is no bridge';
    const result = edited(entry.packet, entry.key, text, bridge);
    if (!result.ok) return result.error;
    entry.packet = result.edit.packet;
    entry.key = result.edit.key;
    entry.edits.push(text);
    this.changed();
    return null;
  }

  // ---- packets ----

  /** Stages before which the breakpoints that are still there stop this packet. */
  private stopsFor(p: Pending): number {
    let bits = 0;
    for (const point of this.pointsOf(p)) bits |= point.stops;
    return bits;
  }

  private pointsOf(p: Pending): Breakpoint[] {
    return [...this.points].filter((b) => b.isOpen && p.takers?.includes(b.session) && b.session.mayWant(p));
  }

  /** A PMD holds the packet. */
  held(p: Pending, pmdId: number, hold: HoldRecord): void {
    const names = (no: number): string | undefined => this.collector.backer.dpif.portByNo(no)?.netdev.name;
    this.add(p, stageOfBit(hold.stage), {
      reason: this.reasonOf(p, hold.reason),
      pmd: pmdId,
      isInSlowPath: false,
      packet: hold.packet,
      length: hold.length,
      key: hold.key,
      actions: hold.actions.map((a) => (typeof a === 'string' ? a : formatDpActions([a], names))).join(','),
      go: (verb, stops, edit) => this.collector.source.resume(pmdId, hold.id, verb, stops, edit),
    });
  }

  private reasonOf(p: Pending, number: number): DropReason | null {
    if (number < 0) return null;
    if (number === DROP.NO_ACTIONS) {
      // The tables know why the megaflow that answered has none.
      for (const { record } of p.parts.toReversed())
        for (const e of record.events.toReversed()) {
          if (!('entry' in e)) continue;
          const flow = this.collector.source.journeyFlow(e.entry, e.flowId);
          const again = flow ? replayOf(this.collector, flow) : null;
          return again?.replay.is_current ? again.drop : DROP_REASON[number];
        }
    }
    return DROP_REASON[number] ?? null;
  }

  /** For the upcall handler: must this upcall wait before it is translated? `go` answers it, or drops it. */
  stopsTranslation(upcall: Upcall, go: (upcall: Upcall | null) => void): boolean {
    const p = this.stopped(upcall, STOP.XLATE);
    if (!p) return false;
    p.slow.push({ atMs: monotonicMs(), type: 'held', stage: 'xlate' });
    this.add(p, 'xlate', {
      reason: null,
      pmd: -1,
      isInSlowPath: true,
      packet: upcall.packet,
      length: upcall.packet.length,
      key: upcall.key,
      actions: '',
      go: (verb, stops, edit) => {
        p.waits--;
        go(verb === 'drop' ? null : { ...upcall, ...(edit ?? {}), stops });
        this.collector.look(p);
      },
    });
    return true;
  }

  /** The tables want the packet dropped: must it wait before it is? */
  stopsDrop(upcall: Upcall, reason: DropReason, go: () => void): boolean {
    const p = this.stopped(upcall, STOP.DROP);
    if (!p) return false;
    p.slow.push({ atMs: monotonicMs() + 1e-5, type: 'held', stage: 'drop' });
    this.add(p, 'drop', {
      reason,
      pmd: -1,
      isInSlowPath: true,
      packet: upcall.packet,
      length: upcall.packet.length,
      key: upcall.key,
      actions: 'drop',
      go: () => {
        p.waits--;
        go();
        this.collector.look(p);
      },
    });
    return true;
  }

  private stopped(upcall: Upcall, stage: number): Pending | null {
    if (!upcall.stops || (upcall.stops & (stage | STOP.STEP)) === 0 || this.points.size === 0) return null;
    let waiting = 0;
    for (const entry of this.entries.values()) if (entry.isInSlowPath) waiting++;
    if (waiting < MAX_HOLDS) return this.collector.pendingOf(upcall.journey ?? 0);
    this.passed++;
    return null;
  }

  private add(
    p: Pending,
    stage: BreakStage,
    state: Pick<Entry, 'reason' | 'pmd' | 'isInSlowPath' | 'packet' | 'length' | 'key' | 'actions' | 'go'>,
  ): void {
    p.waits++;
    p.wasHeld = true;
    p.number ||= nextPacket++;
    const number = this.entries.has(p.number) ? nextPacket++ : p.number;
    const sinceMs = clock.nowMs();
    const times = { sinceMs, untilMs: sinceMs, timer: { [Symbol.dispose]: () => {} } };
    const entry: Entry = { ...state, ...times, number, pending: p, breakpoints: [], stage, edits: [] };
    this.entries.set(number, entry);
    // What came up before its first record does not know its breakpoints yet.
    if (p.takers === null) this.limit(entry, Math.max(0, ...[...this.points].map((b) => b.limitMs)));
    else this.attach(entry);
    this.changed();
  }

  /** Its breakpoints are known by now. */
  known(p: Pending): void {
    for (const entry of [...this.entries.values()]) if (entry.pending === p) this.attach(entry);
  }

  private attach(entry: Entry): void {
    const p = entry.pending;
    const points = this.pointsOf(p);
    const { isStepping } = p;
    p.isStepping = false;
    entry.breakpoints = points.filter((b) => isStepping || b.stops & bitOf(entry.stage));
    // Of a bridge that nobody asked for, or its breakpoint has gone meanwhile.
    if (entry.breakpoints.length === 0) this.release(entry, 'deleted', this.stopsFor(p));
    else this.limit(entry, Math.max(...points.map((b) => b.limitMs)));
    for (const b of entry.breakpoints) b.hits++;
  }

  private limit(entry: Entry, ms: number): void {
    entry.timer[Symbol.dispose]();
    entry.untilMs = entry.sinceMs + ms;
    const left = Math.max(0, entry.untilMs - clock.nowMs());
    entry.timer = clock.setTimeout(() => this.release(entry, 'time limit', 0), left, { keepAlive: false });
  }

  private release(entry: Entry, how: Release, stops: number): void {
    if (!this.entries.delete(entry.number)) return;
    entry.timer[Symbol.dispose]();
    const p = entry.pending;
    p.isStepping = how === 'step';
    p.sinceMs = monotonicMs();
    p.slow.push({ atMs: monotonicMs(), type: 'released', how, edits: entry.edits });
    const edit = entry.edits.length === 0 ? null : { packet: entry.packet, key: entry.key };
    entry.go(how === 'drop' ? 'drop' : 'go', how === 'step' ? stops | STOP.STEP : stops, edit);
    this.changed();
  }

  /** The PMDs are new ones: what waited in the old ones went on when these ended. */
  restarted(): void {
    for (const entry of [...this.entries.values()]) {
      if (entry.isInSlowPath) continue;
      this.entries.delete(entry.number);
      entry.timer[Symbol.dispose]();
      entry.pending.waits = 0;
    }
    this.changed();
  }
}

/** Where the packet came in, as the datapath numbers ports. */
export const inPortOf = (held: HeldPacket): number => held.pending.first?.record.port ?? held.key.get32(OFS.in_port);
