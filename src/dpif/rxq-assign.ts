/**
 * Which PMD polls which receive queue. `ovs-vswitchd.conf.db(5)`: `pmd-rxq-assign`, `pmd-rxq-affinity`, `pmd-rxq-isolate`.
 *
 * Queues that are pinned go where they are pinned to, and keep other queues from that PMD unless `isolate` is false. The
 * others are spread over the rest, on the queue's NUMA node if it has a PMD to offer:
 *
 * - `roundrobin`: in turn;
 * - `cycles`: the busiest first, up and down the PMDs, so that who got the busiest gets the least busy of the next round;
 * - `group`: the busiest first, each to the PMD that has the least to do.
 */

export const RXQ_ALGORITHMS = ['cycles', 'roundrobin', 'group'] as const;
export type RxqAlgorithm = (typeof RXQ_ALGORITHMS)[number];

export interface RxqToAssign {
  readonly port: string;
  readonly no: number;
  readonly queue: number;
  /** Time that packets of the queue took in the last minute. */
  readonly cycles: number;
  /** The core of `pmd-rxq-affinity`, or -1. */
  readonly pinnedTo: number;
  readonly numa: number;
}

export interface PmdToFill {
  readonly core: number;
  readonly numa: number;
}

export interface FilledPmd<Q extends RxqToAssign = RxqToAssign> extends PmdToFill {
  isIsolated: boolean;
  cycles: number;
  readonly rxqs: Q[];
}

export interface Assignment<Q extends RxqToAssign = RxqToAssign> {
  readonly pmds: readonly FilledPmd<Q>[];
  /** Queues that nobody polls. */
  readonly left: readonly Q[];
  /** In the original's words. */
  readonly log: readonly { readonly level: 'info' | 'warn'; readonly text: string }[];
}

const byPlace = (a: RxqToAssign, b: RxqToAssign): number => a.no - b.no || a.queue - b.queue;
const byCycles = (a: RxqToAssign, b: RxqToAssign): number => b.cycles - a.cycles || byPlace(a, b);

/** `pmds` are in the order of their cores. */
export function assignRxqs<Q extends RxqToAssign>(
  pmds: readonly PmdToFill[],
  rxqs: readonly Q[],
  algorithm: RxqAlgorithm,
  isolate: boolean,
): Assignment<Q> {
  const filled = pmds.map(
    (p): FilledPmd<Q> => ({ core: p.core, numa: p.numa, isIsolated: false, cycles: 0, rxqs: [] }),
  );
  const log: { level: 'info' | 'warn'; text: string }[] = [];
  const measured = (q: Q): string =>
    algorithm === 'roundrobin' ? '' : ` (measured processing cycles ${Math.round(q.cycles)})`;
  const put = (pmd: FilledPmd<Q>, q: Q): void => {
    pmd.rxqs.push(q);
    pmd.cycles += q.cycles;
  };
  const what = (q: Q): string => `port '${q.port}' rx queue ${q.queue}`;

  const free: Q[] = [];
  for (const q of [...rxqs].sort(byPlace)) {
    const pmd = q.pinnedTo < 0 ? undefined : filled.find((p) => p.core === q.pinnedTo);
    if (pmd === undefined) {
      free.push(q);
      if (q.pinnedTo >= 0)
        log.push({
          level: 'warn',
          text:
            `Core ${pad(q.pinnedTo)} cannot be pinned with ${what(q)}. Use pmd-cpu-mask to enable a pmd on core ` +
            `${q.pinnedTo}. An alternative core will be assigned.`,
        });
      continue;
    }
    put(pmd, q);
    if (isolate) pmd.isIsolated = true;
    log.push({
      level: 'info',
      text: `Core ${pad(pmd.core)} on numa node ${pmd.numa} is pinned with ${what(q)}${measured(q)}`,
    });
  }

  const left: Q[] = [];
  if (free.length > 0)
    log.push({ level: 'info', text: `Performing pmd to rx queue assignment using ${algorithm} algorithm.` });
  if (algorithm !== 'roundrobin') free.sort(byCycles);
  const hasCycles = free.some((q) => q.cycles > 0);
  const choosers = new Map<number, () => FilledPmd<Q> | null>();
  const open = filled.filter((p) => !p.isIsolated);
  const chooserOf = (numa: number): (() => FilledPmd<Q> | null) => {
    const local = open.filter((p) => p.numa === numa);
    const key = local.length > 0 ? numa : -1;
    let chooser = choosers.get(key);
    if (chooser === undefined) {
      chooser = makeChooser(local.length > 0 ? local : open, algorithm, hasCycles);
      choosers.set(key, chooser);
    }
    return chooser;
  };
  for (const q of free) {
    const pmd = chooserOf(q.numa)();
    if (pmd === null) {
      left.push(q);
      log.push({
        level: 'warn',
        text: `No non-isolated pmd on any numa available for ${what(q)}${measured(q)}. This rx queue will not be polled.`,
      });
      continue;
    }
    put(pmd, q);
    log.push({
      level: 'info',
      text: `Core ${pad(pmd.core)} on numa node ${pmd.numa} assigned ${what(q)}${measured(q)}.`,
    });
  }
  return { pmds: filled, left, log };
}

const pad = (n: number): string => String(n).padStart(2);

function makeChooser<P extends FilledPmd>(
  pmds: readonly P[],
  algorithm: RxqAlgorithm,
  hasCycles: boolean,
): () => P | null {
  if (pmds.length === 0) return () => null;
  if (algorithm === 'group') {
    const load = (p: P): number => (hasCycles ? p.cycles : p.rxqs.length);
    return () => pmds.reduce((least, p) => (load(p) < load(least) ? p : least));
  }
  let next = 0;
  let step = 1;
  return () => {
    const pmd = pmds[next];
    next += step;
    if (algorithm === 'roundrobin') next %= pmds.length;
    else if (next < 0 || next === pmds.length) {
      // The one at the end has two turns in a row.
      step = -step;
      next += step;
    }
    return pmd;
  };
}

/** How uneven the load is. */
export function loadVariance(loads: readonly number[]): number {
  if (loads.length === 0) return 0;
  const mean = loads.reduce((a, b) => a + b, 0) / loads.length;
  return loads.reduce((sum, load) => sum + (load - mean) ** 2, 0) / loads.length;
}

/** `0:3,1:7` as queue → core; null when it is malformed. */
export function parseAffinity(text: string): Map<number, number> | null {
  const affinity = new Map<number, number>();
  for (const pair of text.split(',')) {
    if (pair.trim() === '') continue;
    const m = /^\s*(\d+)\s*:\s*(\d+)\s*$/.exec(pair);
    if (m === null) return null;
    affinity.set(Number(m[1]), Number(m[2]));
  }
  return affinity;
}
