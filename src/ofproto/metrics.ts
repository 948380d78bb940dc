/** What the switch tells Prometheus: datapaths, ports, caches, slow path, bridges. See `base/metrics.ts`. */
import { coverageTotals } from '../base/coverage.ts';
import { type AddSample, type Labels, metricGroup, registerMetricsCommand } from '../base/metrics.ts';
import { DROP_REASON } from '../datapath/drop-reason.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import type { DpPort } from '../dpif/dpif.ts';
import { withLinkStats } from '../netdev/linux-netdev.ts';
import type { Netdev } from '../netdev/netdev.ts';
import { registerOpenflowMetrics } from '../openflow/metrics.ts';
import type { Backer } from './backer.ts';
import { type Backers, datapathName } from './commands/find.ts';

const PORTS = {
  port_packets_total: { type: 'counter', help: 'Packets of a port' },
  port_bytes_total: { type: 'counter', help: 'Bytes of a port' },
  port_dropped_total: { type: 'counter', help: 'Packets that a device dropped' },
  port_errors_total: { type: 'counter', help: 'Errors of a device' },
  port_up: { type: 'gauge', help: 'The device is up and has a carrier' },
} as const;

const QUEUES = {
  queue_packets_total: { type: 'counter', help: 'Packets sent by a queue of a port that has QoS' },
  queue_bytes_total: { type: 'counter', help: 'Bytes sent by a queue of a port that has QoS' },
  queue_dropped_total: { type: 'counter', help: 'Packets that a queue of a port that has QoS dropped' },
  rx_queue_packets_total: {
    type: 'counter',
    help: 'Packets of a receive queue, and the core of the thread that polls it',
  },
} as const;

const THREADS = {
  lookups_total: { type: 'counter', help: 'Lookups by what answered them' },
  received_packets_total: { type: 'counter', help: 'Packets that a thread received' },
  sent_packets_total: { type: 'counter', help: 'Packets that a thread sent' },
  sent_batches_total: { type: 'counter', help: 'Batches in which a thread sent packets' },
  recirculated_packets_total: { type: 'counter', help: 'Packets looked up again' },
  subtable_lookups_total: { type: 'counter', help: 'Subtables tried for hits' },
  upcalls_lost_total: { type: 'counter', help: 'Misses that found the ring full' },
  thread_seconds_total: { type: 'counter', help: 'Time of a datapath thread' },
  thread_iterations_total: { type: 'counter', help: 'Rounds of a datapath thread' },
  thread_sleeps_total: { type: 'counter', help: 'Times that a datapath thread slept' },
} as const;

const DATAPATH = {
  drops_total: { type: 'counter', help: 'Packets dropped by reason' },
  megaflows: { type: 'gauge', help: 'Megaflows in the datapath' },
  megaflow_limit: { type: 'gauge', help: 'Megaflows that there may be' },
  megaflow_masks: { type: 'gauge', help: 'Subtables of megaflows, of all threads' },
  conntrack_connections: { type: 'gauge', help: 'Tracked connections' },
  conntrack_connection_limit: { type: 'gauge', help: 'Connections that there may be' },
  arena_bytes: { type: 'gauge', help: 'Memory of the fast path' },
  arena_used_bytes: { type: 'gauge', help: 'Memory of the fast path that is handed out' },
} as const;

const SLOW_PATH = {
  upcall_seconds: { type: 'histogram', help: 'Time of the slow path for an upcall' },
  revalidator_sweep_seconds: { type: 'histogram', help: 'Time of a sweep over all megaflows' },
  revalidator_flows_total: { type: 'counter', help: 'Megaflows translated again, and removed with the reason' },
} as const;

const BRIDGES = {
  rules: { type: 'gauge', help: 'OpenFlow rules' },
  groups: { type: 'gauge', help: 'OpenFlow groups' },
  macs: { type: 'gauge', help: 'Learned MAC addresses' },
  openflow_connections: { type: 'gauge', help: 'OpenFlow connections' },
} as const;

const EVENTS = { events_total: { type: 'counter', help: 'Events that coverage/show counts' } } as const;

/** The metrics of these datapaths and their bridges, and the command that prints all of the process. */
export function registerMetrics(backers: Backers): void {
  registerMetricsCommand();
  registerOpenflowMetrics();
  metricGroup(PORTS, (add) => {
    const ports = [...backers()].flatMap((b) => [...b.dpif.ports()].map((port) => ({ b, port })));
    // One question to the kernel for all of its devices.
    withLinkStats(() => {
      for (const { b, port } of ports) portSamples(add, b, port);
    });
  });
  metricGroup(QUEUES, (add) => each(backers, (b, datapath) => queueSamples(add, b, datapath)));
  metricGroup(THREADS, (add) => each(backers, (b, datapath) => threadSamples(add, b, datapath)));
  metricGroup(DATAPATH, (add) => each(backers, (b, datapath) => datapathSamples(add, b, datapath)));
  metricGroup(SLOW_PATH, (add) =>
    each(backers, ({ upcalls, revalidator }, datapath) => {
      upcalls.times.samples(add, 'upcall_seconds', { datapath });
      revalidator.sweeps.samples(add, 'revalidator_sweep_seconds', { datapath });
      for (const [what, n] of Object.entries(revalidator.done)) add('revalidator_flows_total', n, { datapath, what });
    }),
  );
  metricGroup(BRIDGES, (add) =>
    each(backers, (b, datapath) => {
      for (const bridge of b.bridges) {
        const labels = { datapath, bridge: bridge.name };
        add(
          'rules',
          bridge.tables.tables.reduce((n, t) => n + t.size, 0),
          labels,
        );
        add('groups', bridge.groups.size, labels);
        add('macs', bridge.macs.size, labels);
        add('openflow_connections', [...bridge.connmgr.all()].length, labels);
      }
    }),
  );
  metricGroup(EVENTS, (add) => {
    for (const [event, n] of coverageTotals()) add('events_total', n, { event });
  });
}

function each(backers: Backers, f: (backer: Backer, datapath: string) => void): void {
  for (const backer of backers()) f(backer, datapathName(backer));
}

/** Labels of a port, the same objects as long as they stay the same: their text is made once. */
interface PortLabels {
  readonly plain: Labels;
  readonly rx: Labels;
  readonly tx: Labels;
}
const portLabels = new WeakMap<Netdev, PortLabels>();

function labelsOf(b: Backer, { no, netdev }: DpPort): PortLabels {
  const datapath = datapathName(b);
  const bridge = b.owner(no)?.bridge.name ?? '';
  const known = portLabels.get(netdev);
  if (known && known.plain['bridge'] === bridge && known.plain['datapath'] === datapath) return known;
  const plain = { datapath, bridge, port: netdev.name };
  const labels = { plain, rx: { ...plain, direction: 'rx' }, tx: { ...plain, direction: 'tx' } };
  portLabels.set(netdev, labels);
  return labels;
}

function portSamples(add: AddSample<keyof typeof PORTS>, b: Backer, port: DpPort): void {
  const labels = labelsOf(b, port);
  const { netdev } = port;
  const s = netdev.stats();
  const put = (name: keyof typeof PORTS, rx: number | undefined, tx: number | undefined): void => {
    if (rx !== undefined) add(name, rx, undefined, labels.rx);
    if (tx !== undefined) add(name, tx, undefined, labels.tx);
  };
  put('port_packets_total', s['rx_packets'], s['tx_packets']);
  put('port_bytes_total', s['rx_bytes'], s['tx_bytes']);
  put('port_dropped_total', s['rx_dropped'], s['tx_dropped']);
  put('port_errors_total', s['rx_errors'], s['tx_errors']);
  add('port_up', netdev.isUp() && netdev.carrier() ? 1 : 0, undefined, labels.plain);
}

function queueSamples(add: AddSample<keyof typeof QUEUES>, b: Backer, datapath: string): void {
  for (const { core, rxqs } of b.dpif.rxQueues?.(1) ?? [])
    for (const { port, queue, packets } of rxqs)
      add('rx_queue_packets_total', packets, { datapath, port, queue, thread: threadOf(core) });
  for (const port of b.dpif.ports()) {
    const queues = port.netdev.qos?.queues() ?? [];
    if (queues.length === 0) continue;
    const { plain } = labelsOf(b, port);
    for (const { queue, stats } of queues) {
      if (stats === null) continue;
      add('queue_packets_total', stats.packets, { queue }, plain);
      add('queue_bytes_total', stats.bytes, { queue }, plain);
      add('queue_dropped_total', stats.drops, { queue }, plain);
    }
  }
}

const ANSWERS = [
  ['SIMPLE_HIT', 'simple'],
  ['EMC_HIT', 'emc'],
  ['SMC_HIT', 'smc'],
  ['MEGAFLOW_HIT', 'megaflow'],
  ['MISS', 'upcall'],
] as const;
const COUNTERS = [
  ['RECEIVED', 'received_packets_total'],
  ['SENT', 'sent_packets_total'],
  ['SENT_BATCHES', 'sent_batches_total'],
  ['RECIRCULATED', 'recirculated_packets_total'],
  ['LOOKUPS', 'subtable_lookups_total'],
  ['LOST', 'upcalls_lost_total'],
  ['SLEEPS', 'thread_sleeps_total'],
] as const;
const NS = 1e-9;

function threadSamples(add: AddSample<keyof typeof THREADS>, b: Backer, datapath: string): void {
  for (const { id, stats } of b.dpif.pmdStats?.() ?? []) {
    const thread = threadOf(id);
    for (const [stat, answer] of ANSWERS) add('lookups_total', stats[PMD_STAT[stat]], { datapath, thread, answer });
    for (const [stat, name] of COUNTERS) add(name, stats[PMD_STAT[stat]], { datapath, thread });
    add('thread_seconds_total', stats[PMD_STAT.BUSY_NS] * NS, { datapath, thread, state: 'busy' });
    add('thread_seconds_total', stats[PMD_STAT.IDLE_NS] * NS, { datapath, thread, state: 'idle' });
    const busy = stats[PMD_STAT.BUSY_ITERATIONS];
    add('thread_iterations_total', busy, { datapath, thread, state: 'busy' });
    add('thread_iterations_total', stats[PMD_STAT.ITERATIONS] - busy, { datapath, thread, state: 'idle' });
  }
}

const threadOf = (id: number): string => (id < 0 ? 'main' : String(id));

function datapathSamples(add: AddSample<keyof typeof DATAPATH>, b: Backer, datapath: string): void {
  const { dpif } = b;
  for (const { reason, packets } of dpif.journeys?.drops() ?? []) {
    const name = DROP_REASON[reason]?.name;
    if (name !== undefined) add('drops_total', packets, { datapath, reason: name });
  }
  add('drops_total', b.upcalls.overflows, { datapath, reason: 'upcall-queue-full' });
  const { flows, masks } = dpif.stats();
  add('megaflows', flows, { datapath });
  add('megaflow_limit', b.revalidator.flowLimit, { datapath });
  add('megaflow_masks', masks, { datapath });
  if (dpif.conntrack) {
    add('conntrack_connections', dpif.conntrack.count, { datapath });
    add('conntrack_connection_limit', dpif.conntrack.maxConnections, { datapath });
  }
  if (dpif.memory) {
    add('arena_bytes', dpif.memory.size, { datapath });
    add('arena_used_bytes', dpif.memory.used, { datapath });
  }
}
