/** Journeys of the user-space datapath: filters as commands for its PMDs, their records as objects. */

import { DROP_REASONS } from '../datapath/drop-reason.ts';
import { FLOW_ID } from '../datapath/flow-entry.ts';
import { FILTER_HEAD, MAX_FILTERS, WANT } from '../datapath/journey.ts';
import { readRecord } from '../datapath/journey-record.ts';
import type { PmdHost } from '../datapath/pmd-host.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import type { UserspaceAction } from '../flow/dp-actions.ts';
import { DP_WORDS } from '../flow/layout.ts';
import type { DpFlow, JourneyFilter, JourneyNews, JourneySource } from './dpif.ts';

const WANTED = { all: WANT.ALL, drops: WANT.DROPS, upcalls: WANT.UPCALLS, slow: WANT.SLOW } as const;

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

  constructor(host: JourneysHost) {
    this.host = host;
  }

  watch(filters: readonly JourneyFilter[], generation: number): void {
    if (filters.length > MAX_FILTERS) throw new Error(`at most ${MAX_FILTERS} filters at a time`);
    this.filters = filters.map(encodeFilter);
    this.generation = generation;
    this.tellPmds();
  }

  /** New PMDs know of no filters. */
  restarted(): void {
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

  drops(): { reason: number; packets: number }[] {
    return Array.from({ length: DROP_REASONS }, (_, reason) => ({
      reason,
      packets: this.host.hosts().reduce((n, h) => n + this.host.f64[h.statsAt + PMD_STAT.DROPS + reason], 0),
    }));
  }

  journeysLost(): number {
    return this.host.hosts().reduce((n, h) => n + this.host.f64[h.statsAt + PMD_STAT.JOURNEYS_LOST], 0);
  }
}

function encodeFilter({ key, mask, only, slowUs }: JourneyFilter): number[] {
  const words: number[] = [];
  for (let w = 0; w < DP_WORDS; w++) if (mask.w[w] !== 0) words.push(w, key.w[w], mask.w[w]);
  const code = [WANTED[only], Math.max(0, Math.round(slowUs)), words.length / 3, ...words];
  if (code.length !== FILTER_HEAD + words.length) throw new Error('filter layout');
  return code;
}
