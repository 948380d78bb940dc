/**
 * `metrics/show`: counters of datapaths and bridges in Prometheus' format, read when somebody asks. Labels are those of
 * configuration (datapath, bridge, port, thread) and of fixed lists (reasons), so there are never more series than things.
 *
 * The library is loaded when first asked for: programs that nobody scrapes don't pay for it.
 */
import type { CollectFunction, Counter, Gauge, Registry } from 'prom-client';
import { registerCommand } from '../base/commands.ts';
import { DROP_REASON } from '../datapath/drop-reason.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import type { Backer } from './backer.ts';
import type { Backers } from './commands/find.ts';

/** Upper ends of the buckets of upcalls' times, in seconds. */
const UPCALL_BUCKETS = [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3];

/** Times of upcalls, from the slow path's taking one up to its being done with it. Counted whether or not anybody asks. */
export class UpcallTimes {
  readonly counts = new Float64Array(UPCALL_BUCKETS.length + 1);
  seconds = 0;

  add(ms: number): void {
    const s = ms / 1000;
    this.seconds += s;
    let b = 0;
    while (b < UPCALL_BUCKETS.length && s > UPCALL_BUCKETS[b]) b++;
    this.counts[b]++;
  }
}

type Labels = Record<string, string | number>;
type Sample = readonly [value: number, labels: Labels];

let registry: Promise<Registry> | null = null;

export function registerMetrics(backers: Backers): void {
  registry = null;
  registerCommand('metrics/show', '', 0, 0, async () => {
    registry ??= makeRegistry(backers);
    return `${(await (await registry).metrics()) + upcallHistogram(backers)}`;
  });
}

async function makeRegistry(backers: Backers): Promise<Registry> {
  const prom = await import('prom-client');
  const made = new prom.Registry();
  // Event loop, heap, garbage collection, descriptors.
  prom.collectDefaultMetrics({ register: made, prefix: 'signalbox_' });
  const define = (
    type: typeof prom.Counter | typeof prom.Gauge,
    name: string,
    help: string,
    labelNames: readonly string[],
    samples: (backer: Backer) => Iterable<Sample>,
  ): void => {
    const collect = function (this: Counter | Gauge): void {
      this.reset();
      for (const backer of backers())
        for (const [value, labels] of samples(backer)) this.inc({ datapath: datapathOf(backer), ...labels }, value);
    } as CollectFunction<Counter> & CollectFunction<Gauge>;
    const configuration = {
      name: `signalbox_${name}`,
      help,
      labelNames: ['datapath', ...labelNames],
      registers: [made],
    };
    new type({ ...configuration, collect });
  };
  const counter = (name: string, help: string, labels: readonly string[], f: (b: Backer) => Iterable<Sample>): void =>
    define(prom.Counter, name, help, labels, f);
  const gauge = (name: string, help: string, labels: readonly string[], f: (b: Backer) => Iterable<Sample>): void =>
    define(prom.Gauge, name, help, labels, f);

  const port = ['bridge', 'port'];
  counter('port_packets_total', 'Packets of a port', [...port, 'direction'], (b) => portSamples(b, '_packets'));
  counter('port_bytes_total', 'Bytes of a port', [...port, 'direction'], (b) => portSamples(b, '_bytes'));
  counter('port_dropped_total', 'Packets that a device dropped', [...port, 'direction'], (b) =>
    portSamples(b, '_dropped'),
  );
  counter('port_errors_total', 'Errors of a device', [...port, 'direction'], (b) => portSamples(b, '_errors'));
  gauge('port_up', 'The device is up and has a carrier', port, (b) =>
    [...b.dpif.ports()].map(
      ({ no, netdev }) => [netdev.isUp() && netdev.carrier() ? 1 : 0, portLabels(b, no)] as const,
    ),
  );
  const pmd = (stats: readonly (readonly [keyof typeof PMD_STAT, string])[], label: string, scale = 1) =>
    function* (b: Backer): Iterable<Sample> {
      for (const { id, stats: s } of b.dpif.pmdStats?.() ?? [])
        for (const [name, value] of stats)
          yield [s[PMD_STAT[name]] * scale, { thread: threadOf(id), ...(label === '' ? {} : { [label]: value }) }];
    };
  const answers = [
    ['EMC_HIT', 'emc'],
    ['MEGAFLOW_HIT', 'megaflow'],
    ['MISS', 'upcall'],
  ] as const;
  counter('lookups_total', 'Lookups by what answered them', ['thread', 'answer'], pmd(answers, 'answer'));
  counter('received_packets_total', 'Packets that a thread received', ['thread'], pmd([['RECEIVED', '']], ''));
  counter('recirculated_packets_total', 'Packets looked up again', ['thread'], pmd([['RECIRCULATED', '']], ''));
  counter('subtable_lookups_total', 'Subtables tried for hits', ['thread'], pmd([['LOOKUPS', '']], ''));
  counter('upcalls_lost_total', 'Misses that found the ring full', ['thread'], pmd([['LOST', '']], ''));
  const time = [
    ['BUSY_NS', 'busy'],
    ['IDLE_NS', 'idle'],
  ] as const;
  counter('thread_seconds_total', 'Time of a datapath thread', ['thread', 'state'], pmd(time, 'state', 1e-9));
  counter('thread_sleeps_total', 'Times that a datapath thread slept', ['thread'], pmd([['SLEEPS', '']], ''));
  counter('drops_total', 'Packets dropped by reason', ['reason'], dropSamples);
  gauge('megaflows', 'Megaflows in the datapath', [], (b) => [[b.dpif.stats().flows, {}]]);
  gauge('megaflow_limit', 'Megaflows that there may be', [], (b) => [[b.revalidator.flowLimit, {}]]);
  gauge('revalidator_sweep_seconds', 'How long the last sweep over all megaflows took', [], (b) => [
    [b.revalidator.counts.dumpMs / 1000, {}],
  ]);
  gauge('rules', 'OpenFlow rules', ['bridge'], (b) =>
    [...b.bridges].map(
      (bridge) => [bridge.tables.tables.reduce((n, t) => n + t.size, 0), { bridge: bridge.name }] as const,
    ),
  );
  gauge('openflow_connections', 'OpenFlow connections', ['bridge'], (b) =>
    [...b.bridges].map((bridge) => [[...bridge.connmgr.all()].length, { bridge: bridge.name }] as const),
  );
  return made;
}

const datapathOf = (backer: Backer): string => `${backer.dpif.type}@${backer.dpif.name}`;
const threadOf = (id: number): string => (id < 0 ? 'main' : String(id));

const portLabels = (b: Backer, no: number): Labels => ({
  bridge: b.owner(no)?.bridge.name ?? '',
  port: b.dpif.portByNo(no)?.netdev.name ?? String(no),
});

function* portSamples(b: Backer, kind: '_packets' | '_bytes' | '_dropped' | '_errors'): Iterable<Sample> {
  for (const { no, netdev } of b.dpif.ports()) {
    const stats = netdev.stats();
    for (const direction of ['rx', 'tx'] as const) {
      const value = stats[`${direction}${kind}`];
      if (value !== undefined) yield [value, { ...portLabels(b, no), direction }];
    }
  }
}

function* dropSamples(b: Backer): Iterable<Sample> {
  for (const { reason, packets } of b.dpif.journeys?.drops() ?? []) {
    const name = DROP_REASON[reason]?.name;
    if (name !== undefined) yield [packets, { reason: name }];
  }
  yield [b.upcalls.overflows, { reason: 'upcall-queue-full' }];
  yield [b.upcalls.withheld, { reason: 'flow-restore-wait' }];
}

/** The library's histograms want each value as it comes; ours are counted all the time, without it. */
function upcallHistogram(backers: Backers): string {
  const name = 'signalbox_upcall_seconds';
  let text = `# HELP ${name} Time of the slow path for an upcall\n# TYPE ${name} histogram\n`;
  for (const backer of backers()) {
    const { counts, seconds } = backer.upcalls.times;
    const datapath = `datapath="${datapathOf(backer)}"`;
    let sum = 0;
    counts.forEach((n, i) => {
      sum += n;
      text += `${name}_bucket{le="${UPCALL_BUCKETS[i] ?? '+Inf'}",${datapath}} ${sum}\n`;
    });
    text += `${name}_sum{${datapath}} ${seconds}\n${name}_count{${datapath}} ${sum}\n`;
  }
  return text;
}
