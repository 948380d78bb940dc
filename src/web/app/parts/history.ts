/** The last minutes of every look at the counters, for the charts; kept while the page is open. */
import type { TopData } from '../../api.ts';
import { subscribe } from '../live.ts';

const KEPT = 240;

export interface Sample {
  readonly at: number;
  readonly simple: number;
  readonly emc: number;
  readonly smc: number;
  readonly megaflow: number;
  readonly upcall: number;
  readonly packets: number;
  readonly dropped: number;
  readonly ports: TopData['ports'];
}

const samples: Sample[] = [];

export const samplesSoFar = (): readonly Sample[] => samples;

export function sampleOf(top: TopData): Sample {
  const pmds = top.datapaths.flatMap((dp) => dp.pmds);
  const sum = (f: (p: (typeof pmds)[number]) => number): number => pmds.reduce((n, p) => n + f(p), 0);
  return {
    at: top.time / 1000,
    simple: sum((p) => p.simple ?? 0),
    emc: sum((p) => p.emc),
    smc: sum((p) => p.smc ?? 0),
    megaflow: sum((p) => p.megaflow),
    upcall: sum((p) => p.upcall),
    packets: sum((p) => p.packets),
    dropped: sum((p) => p.dropped),
    ports: top.ports,
  };
}

/** Called once; every page shows the head's numbers. */
export function keepHistory(): () => void {
  return subscribe('top', (data) => {
    const sample = sampleOf(data as TopData);
    if (samples.length > 0 && sample.at <= samples[samples.length - 1].at) return;
    samples.push(sample);
    if (samples.length > KEPT) samples.shift();
  });
}
