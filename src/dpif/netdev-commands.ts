/** The commands `dpif-netdev/…` of user-space datapaths, in the original's words. A "cycle" of ours is a nanosecond. */
import { type CommandContext, type CommandHandler, registerCommand, UnixctlError } from '../base/commands.ts';
import { PMD_STAT, PMD_STATS } from '../datapath/pmd-stats.ts';
import { INTERVAL_MS, INTERVALS, type PmdView } from './rxq-plan.ts';

/** What the commands need of a datapath. */
export interface CommandedDpif {
  readonly name: string;
  readonly nowMs: number;
  pmdStats(): readonly { readonly id: number; readonly numa: number; readonly stats: Float64Array }[];
  clearPmdStats(id: number | null): void;
  /** Over the last `intervals`. */
  rxQueues(intervals: number): readonly PmdView[];
  rebalance(): Promise<void>;
  /** The longest nap of a PMD in microseconds, or what holds for PMDs of which nothing is said. */
  sleepUs(core: number | null): number;
  subtableUses(): number;
  readonly bonds: { list(): Iterable<{ readonly id: number; readonly ports: readonly number[] }> };
}

const datapaths = new Set<CommandedDpif>();

interface Selection {
  readonly dpif: CommandedDpif;
  /** `-pmd CORE`. */
  readonly pmd: number | null;
  /** `-secs SECONDS`. */
  readonly seconds: number | null;
}

/** With one datapath its name need not be given, nor be right unless `isStrict`. */
function select(args: readonly string[], isStrict = false): Selection {
  let pmd: number | null = null;
  let seconds: number | null = null;
  const names: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '-pmd' && i + 1 < args.length) pmd = Number.parseInt(args[++i], 10);
    else if (args[i] === '-secs' && i + 1 < args.length) seconds = Number.parseInt(args[++i], 10);
    else if (args[i] === '-it' || args[i] === '-ms') i++;
    else if (args[i] !== '-nh') names.push(args[i]);
  }
  const all = [...datapaths];
  const named = all.find((d) => names.some((n) => n === d.name || n.endsWith(`@${d.name}`)));
  const dpif = all.length === 1 && !(isStrict && names.length > 0) ? all[0] : named;
  if (!dpif) throw new UnixctlError('please specify an existing datapath');
  return { dpif, pmd, seconds };
}

const heading = (id: number, numa = 0): string =>
  id < 0 ? 'main thread:\n' : `pmd thread numa_id ${numa} core_id ${id}:\n`;
const per = (a: number, b: number): string => (b > 0 ? a / b : 0).toFixed(2);
const percent = (a: number, b: number): string => (b > 0 ? (a / b) * 100 : 0).toFixed(2);
const whole = (x: number): string => Math.round(x).toString();

/** All PMDs and then the main thread, which has nothing to count where workers do the work. */
function pmds({ dpif, pmd }: Selection): { id: number; numa: number; stats: Float64Array }[] {
  const list = dpif.pmdStats().map(({ id, numa, stats }) => ({ id, numa, stats }));
  if (list.every((p) => p.id >= 0)) list.push({ id: -1, numa: 0, stats: new Float64Array(PMD_STATS) });
  return pmd === null ? list : list.filter((p) => p.id === pmd);
}

/** The counters as they are; the schema is `docs/schema/datapath.json`. */
function statsJson(selection: Selection): string {
  const list = pmds(selection).map(({ id, stats }) => {
    const s = (name: keyof typeof PMD_STAT): number => stats[PMD_STAT[name]];
    return {
      pmd: id,
      numa: id < 0 ? null : 0,
      packets_received: s('RECEIVED'),
      packet_recirculations: s('RECIRCULATED'),
      simple_match_hits: s('SIMPLE_HIT'),
      emc_hits: s('EMC_HIT'),
      smc_hits: s('SMC_HIT'),
      megaflow_hits: s('MEGAFLOW_HIT'),
      subtable_lookups: s('LOOKUPS'),
      misses: s('MISS'),
      lost: s('LOST'),
      packets_sent: s('SENT'),
      batches_sent: s('SENT_BATCHES'),
      packets_dropped: s('DROPPED'),
      busy_ns: s('BUSY_NS'),
      idle_ns: s('IDLE_NS'),
      iterations: s('ITERATIONS'),
      busy_iterations: s('BUSY_ITERATIONS'),
      sleeps: s('SLEEPS'),
    };
  });
  return JSON.stringify({ datapath: selection.dpif.name, pmds: list });
}

function statsShow(args: string[], { format }: CommandContext): string {
  if (format === 'json') return statsJson(select(args));
  return pmds(select(args))
    .map(({ id, numa, stats }) => {
      const s = (name: keyof typeof PMD_STAT): number => stats[PMD_STAT[name]];
      const received = s('RECEIVED');
      const missed = s('MISS');
      const lines = [
        `packets received: ${received}`,
        `packet recirculations: ${s('RECIRCULATED')}`,
        `avg. datapath passes per packet: ${per(received + s('RECIRCULATED'), received)}`,
        'phwol hits: 0',
        'mfex opt hits: 0',
        `simple match hits: ${s('SIMPLE_HIT')}`,
        `emc hits: ${s('EMC_HIT')}`,
        `smc hits: ${s('SMC_HIT')}`,
        `megaflow hits: ${s('MEGAFLOW_HIT')}`,
        `avg. subtable lookups per megaflow hit: ${per(s('LOOKUPS'), s('MEGAFLOW_HIT'))}`,
        `miss with success upcall: ${Math.max(0, missed - s('LOST'))}`,
        `miss with failed upcall: ${s('LOST')}`,
        `avg. packets per output batch: ${per(s('SENT'), s('SENT_BATCHES'))}`,
      ];
      const busy = s('BUSY_NS');
      const total = busy + s('IDLE_NS');
      if (id >= 0 && total > 0) {
        lines.push(
          `idle cycles: ${whole(s('IDLE_NS'))} (${percent(s('IDLE_NS'), total)}%)`,
          `processing cycles: ${whole(busy)} (${percent(busy, total)}%)`,
        );
        if (received > 0)
          lines.push(
            `avg cycles per packet: ${per(total, received)} (${whole(total)}/${received})`,
            `avg processing cycles per packet: ${per(busy, received)} (${whole(busy)}/${received})`,
          );
      }
      return heading(id, numa) + lines.map((line) => `  ${line}\n`).join('');
    })
    .join('');
}

function statsClear(args: string[]): string {
  const { dpif, pmd } = select(args);
  dpif.clearPmdStats(pmd);
  return '';
}

/** The original counts intervals of five seconds, and shows a minute unless asked otherwise. */
function intervalsOf(seconds: number | null): number {
  const asked =
    seconds === null || Number.isNaN(seconds) || seconds <= 0 ? INTERVALS : Math.ceil((seconds * 1000) / INTERVAL_MS);
  return Math.min(asked, INTERVALS);
}

/** Percentages are null while nothing has been measured. */
function rxqJson(dpif: CommandedDpif, pmd: number | null, intervals: number): string {
  const pmds = dpif
    .rxQueues(intervals)
    .filter((view) => pmd === null || view.core === pmd)
    .map(({ core, numa, isIsolated, rxqs, overhead }) => ({
      pmd: core,
      numa,
      isolated: isIsolated,
      rx_queues: rxqs.map((q) => ({
        port: q.port,
        queue: q.queue,
        enabled: q.isEnabled,
        packets: q.packets,
        usage_percent: q.percent,
      })),
      overhead_percent: overhead,
    }));
  return JSON.stringify({ datapath: dpif.name, seconds: (intervals * INTERVAL_MS) / 1000, pmds });
}

function rxqShow(args: string[], { format }: CommandContext): string {
  const { dpif, pmd, seconds } = select(args);
  const intervals = intervalsOf(seconds);
  if (format === 'json') return rxqJson(dpif, pmd, intervals);
  const usage = (percent: number | null): string =>
    percent === null ? 'NOT AVAIL' : `${String(percent).padStart(2)} %`;
  let text = '';
  for (const view of dpif.rxQueues(intervals)) {
    if (pmd !== null && view.core !== pmd) continue;
    if (text === '') text = `Displaying last ${(intervals * INTERVAL_MS) / 1000} seconds pmd usage %\n`;
    text += `${heading(view.core, view.numa)}  isolated : ${view.isIsolated}\n`;
    for (const q of view.rxqs)
      text +=
        `  port: ${q.port.padEnd(16)}  queue-id: ${String(q.queue).padStart(2)} ${q.isEnabled ? '(enabled) ' : '(disabled)'}` +
        `  pmd usage: ${usage(q.percent)}\n`;
    if (view.rxqs.length > 0) text += `  overhead: ${usage(view.overhead)}\n`;
  }
  return text;
}

async function rxqRebalance(args: string[]): Promise<string> {
  const { dpif } = select(args, true);
  await dpif.rebalance();
  return 'pmd rxq rebalance requested.\n';
}

function sleepShow(args: string[]): string {
  const { dpif, pmd } = select(args);
  const us = (n: number): string => `${String(n).padStart(4)} us\n`;
  let text = `Default max sleep: ${us(dpif.sleepUs(null))}`;
  for (const { id, numa } of dpif.pmdStats()) {
    if (id < 0 || (pmd !== null && id !== pmd)) continue;
    text += `${heading(id, numa)}  max sleep: ${us(dpif.sleepUs(id))}`;
  }
  return text;
}

function perfShow(args: string[]): string {
  const selection = select(args);
  const { dpif } = selection;
  const wall = new Date();
  let text = '';
  for (const { id, numa, stats } of pmds(selection)) {
    if (id < 0) continue;
    const s = (name: keyof typeof PMD_STAT): number => stats[PMD_STAT[name]];
    const seconds = Math.max((dpif.nowMs - s('STARTED_MS')) / 1000, 1e-3);
    const used = s('BUSY_NS') + s('IDLE_NS');
    const received = s('RECEIVED');
    const passes = received + s('RECIRCULATED');
    const share = (n: number, of: number): string => (of > 0 ? (n / of) * 100 : 0).toFixed(1).padStart(5);
    const row = (label: string, n: number, rest = ''): string =>
      `  ${label.padEnd(20)}${whole(n).padStart(14)}${rest === '' ? '' : `  (${rest})`}\n`;
    const kpps = (n: number): string => `${whole(n / seconds / 1000)} Kpps`;
    const idle = s('ITERATIONS') - s('BUSY_ITERATIONS');
    text += `\nTime: ${wall.toISOString().slice(11, 23)}\nMeasurement duration: ${seconds.toFixed(3)} s\n\n${heading(id, numa)}\n`;
    text += row('Iterations:', s('ITERATIONS'), `${per(used / 1000, s('ITERATIONS'))} us/it`);
    text += row('- Used TSC cycles:', used, `${share(used, seconds * 1e9)} % of total cycles`);
    text += row('- idle iterations:', idle, `${share(s('IDLE_NS'), used)} % of used cycles`);
    text += row('- busy iterations:', s('BUSY_ITERATIONS'), `${share(s('BUSY_NS'), used)} % of used cycles`);
    text += row('- sleep iterations:', s('SLEEPS'), `${share(s('SLEEPS'), s('ITERATIONS'))} % of iterations`);
    const naps = s('NAP_US');
    text += row(
      '  Sleep time (us):',
      naps,
      `${whole(s('SLEEPS') > 0 ? naps / s('SLEEPS') : 0).padStart(3)} us/iteration avg.`,
    );
    if (received === 0) {
      text += `${row('Rx packets:', 0)}${row('Tx packets:', s('SENT'))}\n`;
      continue;
    }
    text += row('Rx packets:', received, `${kpps(received)}, ${whole(s('BUSY_NS') / received)} cycles/pkt`);
    text += row('Datapath passes:', passes, `${per(passes, received)} passes/pkt`);
    text += row('- PHWOL hits:', 0, `${share(0, 1)} %`);
    text += row('- MFEX Opt hits:', 0, `${share(0, 1)} %`);
    text += row('- Simple Match hits:', s('SIMPLE_HIT'), `${share(s('SIMPLE_HIT'), passes)} %`);
    text += row('- EMC hits:', s('EMC_HIT'), `${share(s('EMC_HIT'), passes)} %`);
    text += row('- SMC hits:', s('SMC_HIT'), `${share(s('SMC_HIT'), passes)} %`);
    const lookups = `${per(s('LOOKUPS'), s('MEGAFLOW_HIT'))} subtbl lookups/hit`;
    text += row('- Megaflow hits:', s('MEGAFLOW_HIT'), `${share(s('MEGAFLOW_HIT'), passes)} %, ${lookups}`);
    text += row('- Upcalls:', s('MISS'), `${share(s('MISS'), passes)} %, 0.0 us/upcall`);
    text += row('- Lost upcalls:', s('LOST'), `${share(s('LOST'), passes)} %`);
    text += row('Tx packets:', s('SENT'), kpps(s('SENT')));
    text += row('Tx batches:', s('SENT_BATCHES'), `${per(s('SENT'), s('SENT_BATCHES'))} pkts/batch`);
  }
  return text;
}

/** There is one way to look a subtable up, made for its mask. Its priority is remembered, as people set it. */
let lookupPriority = 1;

function lookupInfo(): string {
  let uses = 0;
  for (const dpif of datapaths) uses += dpif.subtableUses();
  return `Available dpcls implementations:\n  generic (Use count: ${uses}, Priority: ${lookupPriority})\n`;
}

function lookupSet([name, text]: string[]): string {
  const priority = /^\d+$/.test(text) ? Number(text) : -1;
  if (priority < 0 || priority > 255) throw new UnixctlError('error converting priority, use integer in range 0-255');
  if (name !== 'generic') throw new UnixctlError('error, subtable lookup function not found');
  lookupPriority = priority;
  return 'Lookup priority change affected 0 dpcls ports and 0 subtables.\n';
}

/** `0,1,2`, of all datapaths. */
function pmdList(): string {
  const ids = [...datapaths].flatMap((d) => d.pmdStats().map((p) => p.id)).filter((id) => id >= 0);
  return ids.length > 0 ? ids.sort((a, b) => a - b).join(',') : 'none';
}

const implementationGet = (): string => `Available DPIF implementations:\n  dpif_scalar (pmds: ${pmdList()})\n`;

function implementationSet([name]: string[]): string {
  if (name !== 'dpif_scalar')
    throw new UnixctlError(`DPIF implementation not available: Unknown DPIF implementation ${name}.`);
  return 'DPIF implementation set to dpif_scalar.\n';
}

const parserGet = (): string => `Available MFEX implementations:\n  scalar (available: True pmds: ${pmdList()})\n`;

function parserSet(args: string[]): string {
  const hasPmd = args[0] === '-pmd';
  const name = args[hasPmd ? 2 : 0];
  if (name === undefined) throw new UnixctlError('Error: -pmd option requires a thread id argument.');
  if (name !== 'scalar') throw new UnixctlError(`Error: unknown miniflow extract implementation ${name}.`);
  if (!hasPmd) return 'Miniflow extract implementation set to scalar.\n';
  const isThere = [...datapaths].some((d) => d.pmdStats().some((p) => String(p.id) === args[1]));
  if (!isThere)
    throw new UnixctlError(
      `Error: miniflow extract parser not changed, PMD thread ${args[1]} not in use, pass a valid pmd thread ID.`,
    );
  return `Miniflow extract implementation set to scalar, on pmd thread ${args[1]}.\n`;
}

/** Bonds that the datapath sends by itself. */
function bondShow(args: string[]): string {
  const { dpif } = select(args, true);
  const lines: string[] = [];
  for (const { id, ports } of dpif.bonds.list()) {
    if (lines.length === 0) lines.push('Bonds:');
    lines.push(`  bond-id ${id}:`, ...ports.map((port, bucket) => `    bucket ${bucket} - member ${port}`));
  }
  return lines.map((line) => `${line}\n`).join('');
}

const COMMANDS: readonly (readonly [string, string, number, number, CommandHandler])[] = [
  ['pmd-stats-show', '[-pmd core] [dp]', 0, 3, statsShow],
  ['pmd-stats-clear', '[-pmd core] [dp]', 0, 3, statsClear],
  ['pmd-rxq-show', '[-pmd core] [-secs secs] [dp]', 0, 5, rxqShow],
  ['pmd-perf-show', '[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]', 0, 8, perfShow],
  ['subtable-lookup-info-get', '', 0, 0, lookupInfo],
  ['subtable-lookup-prio-get', '', 0, 0, lookupInfo],
  ['subtable-lookup-prio-set', '[lookup_func] [prio]', 2, 2, lookupSet],
  ['pmd-rxq-rebalance', '[dp]', 0, 1, rxqRebalance],
  ['pmd-sleep-show', '[-pmd core] [dp]', 0, 3, sleepShow],
  ['dpif-impl-get', '', 0, 0, implementationGet],
  ['dpif-impl-set', 'dpif_implementation_name', 1, 1, implementationSet],
  ['miniflow-parser-get', '', 0, 0, parserGet],
  ['miniflow-parser-set', '[-pmd core] miniflow_implementation_name [study_pkt_cnt]', 1, 5, parserSet],
  ['bond-show', '[dp]', 0, 1, bondShow],
];

/** The commands answer for `dpif` until disposed. */
export function registerNetdevCommands(dpif: CommandedDpif): Disposable {
  datapaths.add(dpif);
  if (datapaths.size === 1)
    for (const [name, usage, min, max, handler] of COMMANDS)
      registerCommand(`dpif-netdev/${name}`, usage, min, max, handler);
  return { [Symbol.dispose]: () => void datapaths.delete(dpif) };
}
