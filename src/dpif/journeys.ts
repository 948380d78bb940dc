/** Journeys of the user-space datapath: filters as commands for its PMDs, their records as objects. */

import { DROP_REASONS } from '../datapath/drop-reason.ts';
import { FLOW_ID } from '../datapath/flow-entry.ts';
import { BREAK } from '../datapath/hold.ts';
import { WANT, WANT_STOPS_SHIFT } from '../datapath/journey.ts';
import { FILTER_HEAD, MAX_FILTERS } from '../datapath/journey-filter.ts';
import { readRecord } from '../datapath/journey-record.ts';
import type { PmdHost } from '../datapath/pmd-host.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import type { UserspaceAction } from '../flow/dp-actions.ts';
import { DP_WORDS } from '../flow/layout.ts';
import type { BreakCounts, DpFlow, HeldEdit, JourneyFilter, JourneyNews, JourneySource } from './dpif.ts';

const WANTED = { all: WANT.ALL, drops: WANT.DROPS, upcalls: WANT.UPCALLS, slow: WANT.SLOW, held: 0 } as const;

export interface JourneysHost {
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  hosts(): readonly PmdHost[];
  userspace(id: number): UserspaceAction | undefined;
  flowAt(entry: number): DpFlow | undefined;
}

export class NetdevJourneys implements JourneySource {
  private readonly host: JourneysHost;
  private receiver: (news: JourneyNews) => void = () => {};
  private filters: readonly (readonly number[])[] = [];
  private generation = 0;
  private whenRestarted: () => void = () => {};

  constructor(host: JourneysHost) {
    this.host = host;
  }

  watch(filters: readonly JourneyFilter[], generation: number): void {
    if (filters.length > MAX_FILTERS) throw new Error(`at most ${MAX_FILTERS} filters at a time`);
    this.filters = filters.map(encodeFilter);
    this.generation = generation;
    this.tellPmds();
  }

  /** Packets that wait go on, and nobody is looked for until `restarted`. False: nobody was. */
  letGo(): boolean {
    if (this.filters.length === 0) return false;
    this.host.hosts().forEach((host, index) => {
      host.watch([], this.generation, index);
    });
    return true;
  }

  /** New PMDs know of no filters. */
  restarted(): void {
    this.whenRestarted();
    if (this.filters.length > 0) this.tellPmds();
  }

  private tellPmds(): void {
    this.host.hosts().forEach((host, index) => {
      host.onJourney = (at) => {
        const record = readRecord(this.host.i32, at, (id) => this.host.userspace(id));
        this.receiver({ type: 'record', pmdId: host.id, record });
      };
      host.watch(this.filters, this.generation, index);
    });
  }

  onJourneys(receiver: (news: JourneyNews) => void): void {
    this.receiver = receiver;
  }

  overtaken(host: PmdHost, id: number, flow: DpFlow | undefined): void {
    this.receiver({ type: 'overtaken', id, pmdId: host.id, flow: flow ?? null });
  }

  journeyFlow(entry: number, flowId: number): DpFlow | undefined {
    return this.host.i32[entry + FLOW_ID] === flowId ? this.host.flowAt(entry) : undefined;
  }

  /** A PMD's neighbors are all the others, in order. */
  neighborOf(pmdId: number, neighbor: number): number {
    const others = this.host.hosts().filter((h) => h.id !== pmdId);
    return others[neighbor]?.id ?? -1;
  }

  onRestart(receiver: () => void): void {
    this.whenRestarted = receiver;
  }

  resume(pmdId: number, hold: number, verb: 'go' | 'drop', stops: number, edited: HeldEdit | null): void {
    const words = edited === null ? null : { packet: edited.packet, key: edited.key.w };
    this.hostOf(pmdId)?.resume(hold, verb === 'go' ? BREAK.GO : BREAK.DROP, stops, words);
  }

  answered(pmdId: number, journey: number): void {
    this.hostOf(pmdId)?.resume(journey, BREAK.ANSWERED, 0, null);
  }

  private hostOf(pmdId: number): PmdHost | undefined {
    return this.host.hosts().find((h) => h.id === pmdId);
  }

  breakCounts(): BreakCounts {
    return {
      behind: this.sum(PMD_STAT.BREAK_BEHIND),
      overflows: this.sum(PMD_STAT.BREAK_OVERFLOWS),
      passed: this.sum(PMD_STAT.BREAKS_PASSED),
    };
  }

  private sum(stat: number): number {
    return this.host.hosts().reduce((n, h) => n + this.host.f64[h.statsAt + stat], 0);
  }

  drops(): { reason: number; packets: number }[] {
    return Array.from({ length: DROP_REASONS }, (_, reason) => ({
      reason,
      packets: this.sum(PMD_STAT.DROPS + reason),
    }));
  }

  journeysLost(): number {
    return this.sum(PMD_STAT.JOURNEYS_LOST);
  }
}

function encodeFilter({ key, mask, only, slowUs, stops = 0 }: JourneyFilter): number[] {
  const words: number[] = [];
  for (let w = 0; w < DP_WORDS; w++) if (mask.w[w] !== 0) words.push(w, key.w[w], mask.w[w]);
  const code = [
    WANTED[only] | (stops << WANT_STOPS_SHIFT),
    Math.max(0, Math.round(slowUs)),
    words.length / 3,
    ...words,
  ];
  if (code.length !== FILTER_HEAD + words.length) throw new Error('filter layout');
  return code;
}
