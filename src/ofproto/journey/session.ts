/** Somebody who looks for packets: a filter, and the last stories that it brought. */
import type { JourneyFilter } from '../../dpif/dpif.ts';
import { FIELDS } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { parseMatch } from '../../flow/match-text.ts';
import { isFieldMaskZero } from '../../flow/subfield.ts';
import type { Bridge } from '../bridge.ts';
import type { JourneyCollector, Pending } from './collector.ts';
import type { Story } from './story.ts';

export const ONLY = ['all', 'drops', 'upcalls', 'slow'] as const;
export type Only = (typeof ONLY)[number];

export interface JourneyOptions {
  /** As `ovs-ofctl` reads matches; '' for all packets. */
  readonly filter?: string;
  readonly bridge?: string;
  /** Name or OpenFlow number. */
  readonly inPort?: string;
  readonly only?: Only;
  /** Microseconds from which a packet is slow; 1000 unless said otherwise. */
  readonly slowUs?: number;
  /** Stories kept for `take`; the oldest go first. 256 unless said otherwise. */
  readonly keep?: number;
  /** The session ends by itself when it has told so many. */
  readonly count?: number;
  /** Stages before which packets wait, bits of `STOP`; only those that did are told. See `breaks.ts`. */
  readonly stops?: number;
}

export class JourneyError extends Error {
  readonly code = 'JOURNEY_OPTIONS';
}

const MAX_KEPT = 10_000;

export class JourneySession implements Disposable {
  readonly options: JourneyOptions;
  readonly filter: JourneyFilter;
  /** Stories so far, and those that nobody fetched in time. */
  told = 0;
  lost = 0;
  readonly startedMs = performance.now();
  private readonly only: Only;
  private readonly keep: number;
  private readonly collector: JourneyCollector;
  private readonly listener: ((story: Story) => void) | undefined;
  private kept: Story[] = [];
  private waiting: (() => void)[] = [];
  private readonly lostBefore: number;
  isOpen = true;

  constructor(collector: JourneyCollector, options: JourneyOptions, listener?: (story: Story) => void) {
    this.collector = collector;
    this.options = options;
    this.listener = listener;
    this.only = options.only ?? 'all';
    this.keep = Math.min(MAX_KEPT, Math.max(1, options.keep ?? 256));
    const match = matchOf(collector, options);
    const stops = options.stops ?? 0;
    const only = stops === 0 ? this.only : 'held';
    this.filter = { key: match.key, mask: match.mask, only, slowUs: options.slowUs ?? 1000, stops };
    this.lostBefore = collector.source.journeysLost();
  }

  /** Packets that matched some filter but passed without a word, because others were still being told. */
  get untold(): number {
    // Threads that were replaced count anew.
    return Math.max(0, this.collector.source.journeysLost() - this.lostBefore);
  }

  /** Before the story is written: is it worth it? */
  mayWant(p: Pending): boolean {
    if (this.options.stops && !p.wasHeld) return false;
    if (this.options.bridge === undefined) return true;
    const port = p.first?.record.port ?? -1;
    return this.collector.backer.owner(port)?.bridge.name === this.options.bridge;
  }

  wants(story: Story): boolean {
    switch (this.only) {
      case 'drops':
        return story.drop !== null || story.steps.some((s) => s.step === 'drop');
      case 'upcalls':
        return story.steps.some((s) => s.step === 'upcall');
      case 'slow':
        return story.ns >= this.filter.slowUs * 1000;
      default:
        return true;
    }
  }

  take(story: Story): void {
    if (!this.isOpen) return;
    this.told++;
    if (this.listener) this.listener(story);
    else {
      this.kept.push(story);
      if (this.kept.length > this.keep) {
        this.kept.shift();
        this.lost++;
      }
    }
    if (this.options.count !== undefined && this.told >= this.options.count) this.close();
    else this.wake();
  }

  /** The stories since the last call. */
  fetch(max = Number.POSITIVE_INFINITY): Story[] {
    return this.kept.splice(0, max);
  }

  /** Resolves when there is a story to fetch, the session is over, or after so many milliseconds. */
  wait(ms: number): Promise<void> {
    if (this.kept.length > 0 || !this.isOpen) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        resolve();
      }
      this.waiting.push(done);
    });
  }

  private wake(): void {
    const list = this.waiting;
    this.waiting = [];
    for (const fn of list) fn();
  }

  /** Nobody looks any more; what was told can still be fetched. */
  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.collector.stop(this);
    this.wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** In the datapath's terms: what a packet is when it is received. */
function matchOf(collector: JourneyCollector, options: JourneyOptions): Match {
  const bridges = [...collector.backer.bridges];
  const bridge = options.bridge === undefined ? undefined : bridges.find((b) => b.name === options.bridge);
  if (options.bridge !== undefined && !bridge) throw new JourneyError(`${options.bridge}: unknown bridge`);
  const text = options.filter ?? '';
  const scope = bridge ? [bridge] : bridges;
  const parsed = parseMatch(text, { names: { portByName: (name) => portNamed(scope, name)?.of } });
  if (!parsed.ok) throw new JourneyError(parsed.error);
  const match = new Match(parsed.match.key.clone(), parsed.match.mask.clone());
  const port =
    options.inPort ?? (match.mask.get32(OFS.in_port) !== 0 ? String(match.key.get32(OFS.in_port)) : undefined);
  if (port !== undefined) {
    const named = portNamed(scope, options.inPort ?? '') ?? portNumbered(scope, port);
    if (named === null) throw new JourneyError(`port ${port} is of several bridges: say which with --bridge`);
    if (named === undefined) throw new JourneyError(`${port}: unknown port`);
    match.key.set32(OFS.in_port, named.dp);
    match.mask.set32(OFS.in_port, 0xffffffff);
  }
  for (const field of FIELDS) {
    const isLater =
      field.bit >= DP_WORDS * 32 || /^(recirc_id|ct_|dp_hash|conj_id|actset_output|metadata)/.test(field.name);
    if (isLater && !isFieldMaskZero(match.mask, field))
      throw new JourneyError(`${field.name} is not known yet when a packet is received`);
  }
  // What says nothing in a match, and what only the slow path keeps.
  for (let w = DP_WORDS; w < match.mask.w.length; w++) match.mask.w[w] = 0;
  const clean = new FlowKey();
  for (let w = 0; w < DP_WORDS; w++) clean.w[w] = match.key.w[w] & match.mask.w[w];
  return new Match(clean, match.mask);
}

function portNamed(bridges: readonly Bridge[], name: string): { of: number; dp: number } | undefined {
  for (const bridge of bridges) {
    const of = bridge.ofportOf(name);
    const dp = of === undefined ? null : (bridge.port(of)?.dpPort ?? null);
    if (of !== undefined && dp !== null) return { of, dp };
  }
  return undefined;
}

/** Null when several bridges have such a number. */
function portNumbered(bridges: readonly Bridge[], text: string): { dp: number } | undefined | null {
  const no = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  const found = bridges.flatMap((b) => {
    const dp = b.port(no)?.dpPort;
    return dp === undefined || dp === null ? [] : [{ dp }];
  });
  return found.length > 1 ? null : found[0];
}
