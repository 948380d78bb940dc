/**
 * Makes stories of what packets tell: records of PMDs, what the slow path did for their upcalls, and the next records of what
 * it sent on. A packet's parts name its journey, so they may come in any order; a story is whole when there are as many
 * upcalls and executions as its parts speak of, or waited for too long.
 *
 * Everything here is bounded: stories under way, and those that a session keeps (the oldest goes, and is counted).
 */
import { clock } from '../../base/clock.ts';
import { vlog } from '../../base/vlog.ts';
import type { JourneyRecord } from '../../datapath/journey-record.ts';
import type { DpFlow, JourneyNews, JourneySource, Upcall } from '../../dpif/dpif.ts';
import type { FlowKey } from '../../flow/key.ts';
import type { Backer } from '../backer.ts';
import type { Bridge } from '../bridge.ts';
import type { XlateResult } from '../xlate/types.ts';
import { type BreakStage, Breaks, type Release } from './breaks.ts';
import { buildStory } from './build.ts';
import { JourneyError, type JourneyOptions, JourneySession } from './session.ts';
import type { Story } from './story.ts';
import { Telling } from './telling.ts';

const log = vlog('journey');

const MAX_PENDING = 1024;
/** A packet that goes round and round has told enough. */
const MAX_PARTS = 256;
const PATIENCE_MS = 1000;
/** Changes of who looks, back to which records are understood. */
const KEPT_GENERATIONS = 16;

/** What the slow path did with an upcall. Times are those of the kernel's monotonic clock. */
export type SlowStep = { readonly atMs: number } & (
  | {
      readonly type: 'translation';
      readonly bridge: Bridge;
      readonly flow: FlowKey;
      readonly telling: Telling;
      readonly result: XlateResult;
      readonly installed: DpFlow | null;
    }
  | { readonly type: 'overtaken'; readonly flow: DpFlow | null }
  | { readonly type: 'controller'; readonly reason: number; readonly table: number | null }
  | { readonly type: 'lost'; readonly reason: LostReason }
  | { readonly type: 'held'; readonly stage: BreakStage }
  | { readonly type: 'released'; readonly how: Release; readonly edits: readonly string[] }
);

/** Why nobody translated a packet that came up. */
export type LostReason = 'upcall-queue-full' | 'unknown-port' | 'flow-restore-wait' | 'breakpoint';

export interface Part {
  readonly pmdId: number;
  readonly record: JourneyRecord;
}

export interface Pending {
  readonly id: number;
  first: Part | null;
  readonly parts: Part[];
  readonly slow: SlowStep[];
  /** Upcalls that parts speak of and that were heard of; executions asked for and told. */
  upcalls: number;
  answered: number;
  asked: number;
  executed: number;
  /** Handed over to other PMDs, and told by those. */
  handed: number;
  arrived: number;
  /** Breakpoints that it waits at now; has it ever; is it to stop at the next stage; what people call it, 0 for nothing yet. */
  waits: number;
  wasHeld: boolean;
  isStepping: boolean;
  number: number;
  /** Sessions that looked for it when it was received; null until that is known. */
  takers: readonly JourneySession[] | null;
  sinceMs: number;
  isLate: boolean;
}

export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export class JourneyCollector {
  readonly backer: Backer;
  readonly source: JourneySource;
  private readonly pending = new Map<number, Pending>();
  private readonly open = new Set<JourneySession>();
  /** Sessions by the filter bits of a generation; the last is the current one. */
  private readonly watchedBy = new Map<number, readonly JourneySession[]>();
  private watched: readonly JourneySession[] = [];
  private generation = 0;
  readonly breaks = new Breaks(this);
  private next = 1;
  private timer: NodeJS.Timeout | null = null;
  /** Which journey told the translation of a megaflow, and which one's upcall made it. */
  readonly toldIn = new Map<string, number>();
  readonly madeBy = new WeakMap<object, number>();
  /** From the monotonic clock to the time of day; the same for all stories of a session, so that they keep their order. */
  wallOffsetMs = 0;
  private isHeard = false;
  private isClosed = false;

  constructor(backer: Backer, source: JourneySource) {
    this.backer = backer;
    this.source = source;
  }

  // ---- sessions ----

  /** From now on packets that match tell their journey, until the session is closed. Throws what is wrong with the options. */
  start(options: JourneyOptions, onStory?: (story: Story) => void): JourneySession {
    if (this.isClosed) throw new JourneyError('the datapath is gone');
    const session = new JourneySession(this, options, onStory);
    if (!this.isHeard) {
      this.isHeard = true;
      this.source.onJourneys((news) => this.hear(news));
      this.source.onRestart(() => {
        this.breaks.restarted();
        // New threads count their journeys anew.
        for (const p of [...this.pending.values()]) if (p.waits <= 0) this.giveUp(p);
      });
    }
    this.open.add(session);
    this.toldIn.clear();
    this.wallOffsetMs = clock.wallMs() - monotonicMs();
    this.watch();
    return session;
  }

  stop(session: JourneySession): void {
    if (this.open.delete(session)) this.watch();
  }

  /** Before the datapath goes. */
  close(): void {
    this.breaks.closeAll();
    for (const session of [...this.open]) session.close();
    this.isClosed = true;
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
  }

  sessions(): Iterable<JourneySession> {
    return this.open;
  }

  private watch(): void {
    if (this.isClosed) return;
    this.watched = [...this.open];
    this.generation = (this.generation + 1) & 0x7fffffff;
    this.watchedBy.set(this.generation, this.watched);
    if (this.watchedBy.size > KEPT_GENERATIONS) this.watchedBy.delete(this.watchedBy.keys().next().value as number);
    this.source.watch(
      this.watched.map((s) => s.filter),
      this.generation,
    );
    if (this.watched.length === 0) this.pending.clear();
  }

  // ---- what is heard ----

  private hear(news: JourneyNews): void {
    const p = this.pendingOf(news.type === 'record' ? news.record.id : news.id);
    if (!p) return;
    if (news.type === 'overtaken') {
      p.answered++;
      p.asked++;
      p.slow.push({ atMs: monotonicMs(), type: 'overtaken', flow: news.flow });
      return this.look(p);
    }
    const part = { pmdId: news.pmdId, record: news.record };
    p.upcalls += news.record.upcalls;
    p.parts.push(part);
    switch (news.record.kind) {
      case 'received':
        p.first = part;
        p.takers =
          this.watchedBy.get(news.record.generation)?.filter((_, bit) => news.record.filters & (1 << bit)) ?? [];
        break;
      case 'handed':
        p.arrived++;
        break;
      case 'resumed':
        p.waits--;
        break;
      default:
        p.executed++;
    }
    if (p.waits > 0 && news.record.kind === 'received') this.breaks.known(p);
    for (const e of news.record.events) if (e.type === 'sent' && e.neighbor >= 0 && e.isTaken) p.handed++;
    const last = news.record.events.at(-1);
    if (last?.type === 'held') this.breaks.held(p, news.pmdId, last.hold);
    this.look(p);
  }

  /** For the upcall handler: what a translation should tell, null when its packet tells nothing. */
  telling(upcall: Upcall): Telling | null {
    return upcall.journey && this.watched.length > 0 ? new Telling() : null;
  }

  translated(
    upcall: Upcall,
    telling: Telling,
    entry: { readonly bridge: Bridge; readonly flow: FlowKey },
    result: XlateResult,
    installed: DpFlow | null,
  ): void {
    const p = this.pendingOf(upcall.journey ?? 0);
    if (!p) return;
    p.slow.push({ atMs: telling.atMs, type: 'translation', ...entry, telling, result, installed });
    p.answered++;
    if (result.actions.length > 0) p.asked++;
    this.look(p);
  }

  sentToController(upcall: Upcall, reason: number, table: number | null): void {
    const p = this.pendingOf(upcall.journey ?? 0);
    if (!p) return;
    p.slow.push({ atMs: monotonicMs(), type: 'controller', reason, table });
    p.answered++;
    this.look(p);
  }

  lost(upcall: Upcall, reason: LostReason): void {
    const p = this.pendingOf(upcall.journey ?? 0);
    if (!p) return;
    p.slow.push({ atMs: monotonicMs(), type: 'lost', reason });
    p.answered++;
    this.look(p);
  }

  pendingOf(id: number): Pending | null {
    if (id === 0 || this.watched.length === 0) return null;
    let p = this.pending.get(id);
    if (!p) {
      const zeros = { upcalls: 0, answered: 0, asked: 0, executed: 0, handed: 0, arrived: 0, waits: 0, number: 0 };
      const nothing = { wasHeld: false, isStepping: false, isLate: false, takers: null };
      p = { id, first: null, parts: [], slow: [], sinceMs: monotonicMs(), ...zeros, ...nothing };
      this.pending.set(id, p);
      if (this.pending.size > MAX_PENDING) this.giveUpOldest();
      this.timer ??= setInterval(() => this.lookAtAll(), PATIENCE_MS / 4).unref();
    }
    return p;
  }

  /** Is it whole? */
  look(p: Pending): void {
    if (p.waits > 0) return;
    const isWhole = p.answered >= p.upcalls && p.executed >= p.asked && p.arrived >= p.handed;
    if (p.first && isWhole) this.tell(p);
    else if (p.parts.length + p.slow.length > MAX_PARTS) this.giveUp(p);
  }

  private giveUpOldest(): void {
    for (const p of this.pending.values()) if (p.waits === 0) return this.giveUp(p);
  }

  private lookAtAll(): void {
    const now = monotonicMs();
    for (const p of [...this.pending.values()]) if (p.waits <= 0 && now - p.sinceMs > PATIENCE_MS) this.giveUp(p);
    if (this.pending.size === 0 && this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    }
  }

  private giveUp(p: Pending): void {
    p.isLate = true;
    this.tell(p);
  }

  private tell(p: Pending): void {
    this.pending.delete(p.id);
    if (!p.first || !p.takers) return;
    try {
      const wanted = p.takers.filter((s) => s.isOpen && s.mayWant(p));
      if (wanted.length === 0) return;
      const story = buildStory(this, p, this.next);
      const takers = wanted.filter((s) => s.wants(story));
      if (takers.length === 0) return;
      this.next++;
      for (const s of takers) s.take(story);
    } catch (cause) {
      log.rl(5).err(`a journey could not be told: ${cause instanceof Error ? cause.stack : cause}`);
    }
  }
}
