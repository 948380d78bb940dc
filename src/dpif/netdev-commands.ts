/** The commands `dpif-netdev/…` of user-space datapaths, in the original's words. A "cycle" of ours is a nanosecond. */
import { type CommandHandler, registerCommand, UnixctlError } from '../base/commands.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import type { RxqInfo } from './netdev-engine.ts';

/** What the commands need of a datapath. */
export interface CommandedDpif {
  readonly name: string;
  readonly nowMs: number;
  pmdStats(): readonly { readonly id: number; readonly stats: Float64Array }[];
  clearPmdStats(id: number | null): void;
  rxQueues(): Promise<readonly RxqInfo[]>;
  subtableUses(): number;
}

const datapaths = new Set<CommandedDpif>();

interface Selection {
  readonly dpif: CommandedDpif;
  /** `-pmd CORE`. */
  readonly pmd: number | null;
}

/** With one datapath its name need not be given, nor be right. */
function select(args: readonly string[]): Selection {
  let pmd: number | null = null;
  const names: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '-pmd' && i + 1 < args.length) pmd = Number.parseInt(args[++i], 10);
    else if (args[i] === '-secs' || args[i] === '-it' || args[i] === '-ms') i++;
    else if (args[i] !== '-nh') names.push(args[i]);
  }
  const all = [...datapaths];
  const dpif = all.length === 1 ? all[0] : all.find((d) => names.some((n) => n === d.name || n.endsWith(`@${d.name}`)));
  if (!dpif) throw new UnixctlError('please specify an existing datapath');
  return { dpif, pmd };
}

const heading = (id: number): string => (id < 0 ? 'main thread:\n' : `pmd thread numa_id 0 core_id ${id}:\n`);
const per = (a: number, b: number): string => (b > 0 ? a / b : 0).toFixed(2);
const percent = (a: number, b: number): string => (b > 0 ? (a / b) * 100 : 0).toFixed(2);
const whole = (x: number): string => Math.round(x).toString();

/** All PMDs and then the main thread, which has nothing to count where workers do the work. */
function pmds({ dpif, pmd }: Selection): { id: number; stats: Float64Array }[] {
  const list = dpif.pmdStats().map(({ id, stats }) => ({ id, stats }));
  if (list.every((p) => p.id >= 0)) list.push({ id: -1, stats: new Float64Array(32) });
  return pmd === null ? list : list.filter((p) => p.id === pmd);
}

function statsShow(args: string[]): string {
  return pmds(select(args))
    .map(({ id, stats }) => {
      const s = (name: keyof typeof PMD_STAT): number => stats[PMD_STAT[name]];
      const received = s('RECEIVED');
      const missed = s('MISS');
      const lines = [
        `packets received: ${received}`,
        `packet recirculations: ${s('RECIRCULATED')}`,
        `avg. datapath passes per packet: ${per(received + s('RECIRCULATED'), received)}`,
        'phwol hits: 0',
        'mfex opt hits: 0',
        'simple match hits: 0',
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
      return heading(id) + lines.map((line) => `  ${line}\n`).join('');
    })
    .join('');
}

function statsClear(args: string[]): string {
  const { dpif, pmd } = select(args);
  dpif.clearPmdStats(pmd);
  return '';
}

async function rxqShow(args: string[]): Promise<string> {
  const selection = select(args);
  const queues = await selection.dpif.rxQueues();
  let text = 'Displaying last 60 seconds pmd usage %\n';
  for (const { id } of pmds(selection)) {
    if (id < 0) continue;
    text += `${heading(id)}  isolated : false\n`;
    const mine = queues.filter((q) => q.pmdId === id);
    mine.sort((a, b) => (a.port < b.port ? -1 : a.port > b.port ? 1 : a.queue - b.queue));
    for (const q of mine)
      text += `  port: ${q.port.padEnd(16)}  queue-id: ${String(q.queue).padStart(2)} (enabled)   pmd usage: NOT AVAIL\n`;
    text += '  overhead: NOT AVAIL\n';
  }
  return text;
}

function perfShow(args: string[]): string {
  const selection = select(args);
  const { dpif } = selection;
  const wall = new Date();
  let text = '';
  for (const { id, stats } of pmds(selection)) {
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
    text += `\nTime: ${wall.toISOString().slice(11, 23)}\nMeasurement duration: ${seconds.toFixed(3)} s\n\n${heading(id)}\n`;
    text += row('Iterations:', s('ITERATIONS'), `${per(used / 1000, s('ITERATIONS'))} us/it`);
    text += row('- Used TSC cycles:', used, `${share(used, seconds * 1e9)} % of total cycles`);
    text += row('- idle iterations:', idle, `${share(s('IDLE_NS'), used)} % of used cycles`);
    text += row('- busy iterations:', s('BUSY_ITERATIONS'), `${share(s('BUSY_NS'), used)} % of used cycles`);
    text += row('- sleep iterations:', s('SLEEPS'), `${share(s('SLEEPS'), s('ITERATIONS'))} % of iterations`);
    text += row(
      'Rx packets:',
      received,
      `${kpps(received)}, ${whole(received > 0 ? s('BUSY_NS') / received : 0)} cycles/pkt`,
    );
    text += row('Datapath passes:', passes, `${per(passes, received)} passes/pkt`);
    text += row('- PHWOL hits:', 0, `${share(0, 1)} %`);
    text += row('- MFEX Opt hits:', 0, `${share(0, 1)} %`);
    text += row('- Simple Match hits:', 0, `${share(0, 1)} %`);
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

function lookupInfo(): string {
  let uses = 0;
  for (const dpif of datapaths) uses += dpif.subtableUses();
  return `Available dpcls implementations:\n  generic (Use count: ${uses}, Priority: 1)\n`;
}

const COMMANDS: readonly (readonly [string, string, number, number, CommandHandler])[] = [
  ['pmd-stats-show', '[-pmd core] [dp]', 0, 3, statsShow],
  ['pmd-stats-clear', '[-pmd core] [dp]', 0, 3, statsClear],
  ['pmd-rxq-show', '[-pmd core] [-secs secs] [dp]', 0, 5, rxqShow],
  ['pmd-perf-show', '[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]', 0, 8, perfShow],
  ['subtable-lookup-info-get', '', 0, 0, lookupInfo],
  ['subtable-lookup-prio-get', '', 0, 0, lookupInfo],
];

/** The commands answer for `dpif` until disposed. */
export function registerNetdevCommands(dpif: CommandedDpif): Disposable {
  datapaths.add(dpif);
  if (datapaths.size === 1)
    for (const [name, usage, min, max, handler] of COMMANDS)
      registerCommand(`dpif-netdev/${name}`, usage, min, max, handler);
  return { [Symbol.dispose]: () => void datapaths.delete(dpif) };
}
