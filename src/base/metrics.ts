/**
 * Metrics for Prometheus: rooms add groups of them at start, `metrics/show` reads all and writes them down. A group is
 * asked once for each reading, for all its metrics together, so what belongs together is read together and once.
 *
 * Labels are of configuration (datapath, bridge, port, thread) or of fixed lists (reasons, types of messages), never of
 * packets: there are never more series than things.
 *
 * A library writes the text. It is loaded when first asked for, so that programs which nobody reads don't pay for it; its
 * own metrics, those of the process (event loop, heap, garbage collection, descriptors), begin then. Its counters and
 * gauges are not used: ours count in their own places all the time, and handing thousands of them over would take
 * longer than writing them.
 */
import type { Metric, Registry } from 'prom-client';
import { registerCommand } from './commands.ts';

export type Labels = Readonly<Record<string, string | number>>;

export interface MetricFamily {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
}

/**
 * Says a value. `shared` are labels of an object that lives on, whose text is made once; `suffix` is that of a histogram's
 * parts.
 */
export type AddSample<N extends string> = (
  name: N,
  value: number,
  labels?: Labels,
  shared?: Labels,
  suffix?: '_bucket' | '_sum' | '_count',
) => void;

interface Sample {
  readonly value: number;
  readonly labels: Labels | undefined;
  readonly sharedLabels: Labels | undefined;
  readonly metricName: string | undefined;
}

interface Group {
  readonly families: Readonly<Record<string, MetricFamily>>;
  readonly collect: (add: AddSample<string>) => void;
}

const PREFIX = 'signalbox_';
const groups = new Set<Group>();
let registry: Promise<Registry> | null = null;

/** Adds metrics by name (without the prefix that all have); a new group of the same names replaces the old one. */
export function metricGroup<F extends Readonly<Record<string, MetricFamily>>>(
  families: F,
  collect: (add: AddSample<Extract<keyof F, string>>) => void,
): Disposable {
  const names = new Set(Object.keys(families));
  for (const other of groups) if (Object.keys(other.families).some((name) => names.has(name))) groups.delete(other);
  const group: Group = { families, collect: collect as Group['collect'] };
  groups.add(group);
  registry = null;
  return {
    [Symbol.dispose]: () => {
      groups.delete(group);
      registry = null;
    },
  };
}

export function registerMetricsCommand(): void {
  registerCommand('metrics/show', '', 0, 0, () => metricsText());
}

/** All metrics in Prometheus' text format. */
export async function metricsText(): Promise<string> {
  registry ??= makeRegistry();
  const made = await registry;
  read();
  return made.metrics();
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const samples = new Map<string, Sample[]>();

function read(): void {
  for (const list of samples.values()) list.length = 0;
  for (const { families, collect } of groups) {
    for (const name in families) if (!samples.has(name)) samples.set(name, []);
    collect((name, value, labels, sharedLabels, suffix) => {
      const metricName = suffix === undefined ? undefined : `${PREFIX}${name}${suffix}`;
      samples.get(name)?.push({ value, labels, sharedLabels, metricName });
    });
  }
}

let processMetrics: Registry | null = null;

async function makeRegistry(): Promise<Registry> {
  const prom = await import('prom-client');
  if (processMetrics === null) {
    processMetrics = new prom.Registry();
    prom.collectDefaultMetrics({ register: processMetrics, prefix: PREFIX });
  }
  const made = new prom.Registry();
  for (const { families } of groups) {
    for (const [name, { type, help }] of Object.entries(families)) {
      const metric = {
        name: PREFIX + name,
        get: async () => ({ name: PREFIX + name, help, type, values: samples.get(name) ?? [], aggregator: 'sum' }),
        reset: () => {},
      };
      // All that the registry asks of a metric is these.
      made.registerMetric(metric as unknown as Metric);
    }
  }
  return prom.Registry.merge([made, processMetrics]);
}

/** Times counted into buckets, all the time, whether or not anybody reads them. */
export class Histogram {
  /** Upper ends of the buckets, in seconds. */
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  seconds = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  add(ms: number): void {
    const s = ms / 1000;
    this.seconds += s;
    let b = 0;
    while (b < this.bounds.length && s > this.bounds[b]) b++;
    this.counts[b]++;
  }

  samples<N extends string>(add: AddSample<N>, name: N, labels?: Labels): void {
    let sum = 0;
    this.counts.forEach((n, i) => {
      sum += n;
      add(name, sum, { ...labels, le: this.bounds[i] ?? '+Inf' }, undefined, '_bucket');
    });
    add(name, this.seconds, labels, undefined, '_sum');
    add(name, sum, labels, undefined, '_count');
  }
}
