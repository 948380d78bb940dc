/** What `Open_vSwitch.other_config` says of PMDs, read once and told in the log, in the original's words, as it changes. */
import { vlog } from '../base/vlog.ts';
import { type Cpu, cpus } from '../linux/cpus.ts';
import { RXQ_ALGORITHMS, type RxqAlgorithm } from './rxq-assign.ts';

const log = vlog('dpif_netdev');

export interface AutoBalance {
  readonly isEnabled: boolean;
  readonly intervalMinutes: number;
  /** Percent of a core. */
  readonly loadThreshold: number;
  /** Percent less variance. */
  readonly improvement: number;
}

export interface PmdConfig {
  /** Inverse probability that a flow enters the EMC. */
  readonly emcInverse: number;
  readonly hasSmc: boolean;
  readonly vlanLimit: number;
  readonly txFlushUs: number;
  /** The cores of `pmd-cpu-mask`; null without one. */
  readonly cores: readonly Cpu[] | null;
  readonly algorithm: RxqAlgorithm;
  readonly isolates: boolean;
  readonly autoBalance: AutoBalance;
  /** Longest nap of a PMD that has little to do, in microseconds; 0: it sleeps until a packet comes. */
  readonly sleepUs: number;
  readonly sleepUsByCore: ReadonlyMap<number, number>;
}

const MAX_SLEEP_US = 10_000;
const MAX_FLUSH_US = 1_000_000;

export function readPmdConfig(config: ReadonlyMap<string, string>): PmdConfig {
  const number = (key: string, otherwise: number, max: number): number => {
    const n = Number.parseInt(config.get(key) ?? '', 10);
    return Number.isInteger(n) && n >= 0 && n <= max ? n : otherwise;
  };
  const assign = config.get('pmd-rxq-assign') ?? 'cycles';
  const isKnown = (RXQ_ALGORITHMS as readonly string[]).includes(assign);
  const algorithm = isKnown ? (assign as RxqAlgorithm) : 'cycles';
  const sleep = readSleep(config.get('pmd-sleep-max') ?? config.get('pmd-maxsleep') ?? '');
  return {
    emcInverse: number('emc-insert-inv-prob', 100, 0xffffffff),
    hasSmc: config.get('smc-enable') === 'true',
    vlanLimit: number('vlan-limit', 1, 255) === 1 ? 1 : 2,
    txFlushUs: number('tx-flush-interval', 0, MAX_FLUSH_US),
    cores: readMask(config.get('pmd-cpu-mask')),
    algorithm,
    isolates: config.get('pmd-rxq-isolate') !== 'false' || algorithm !== 'group',
    autoBalance: {
      isEnabled: config.get('pmd-auto-lb') === 'true',
      intervalMinutes: number('pmd-auto-lb-rebal-interval', 1, 20_000) || 1,
      loadThreshold: number('pmd-auto-lb-load-threshold', 95, 100),
      improvement: number('pmd-auto-lb-improvement-threshold', 25, 100),
    },
    sleepUs: sleep.all,
    sleepUsByCore: sleep.byCore,
  };
}

/** Hex digits, `0x` allowed. Cores that are not there are left out; null where none remains. */
function readMask(mask: string | undefined): readonly Cpu[] | null {
  if (mask === undefined) return null;
  let bits: bigint;
  try {
    bits = BigInt(/^0x/i.test(mask) ? mask : `0x${mask}`);
  } catch {
    return null;
  }
  const cores = cpus().filter(({ core }) => (bits >> BigInt(core)) & 1n);
  return cores.length > 0 ? cores : null;
}

/** `50,8:0,9:100`: for all, and for single cores. */
function readSleep(text: string): { all: number; byCore: Map<number, number> } {
  let all = 0;
  const byCore = new Map<number, number>();
  for (const part of text.split(',')) {
    const m = /^\s*(?:(\d+)\s*:)?\s*(\d+)\s*$/.exec(part);
    if (m === null) continue;
    const us = Math.min(Number(m[2]), MAX_SLEEP_US);
    if (m[1] === undefined) all = us;
    else byCore.set(Number(m[1]), us);
  }
  return { all, byCore };
}

/** The sleep of the PMD on `core`. */
export function sleepUsOf(config: PmdConfig, core: number): number {
  return config.sleepUsByCore.get(core) ?? config.sleepUs;
}

/** Says what is new since `before`; null before the first configuration. */
export function tellPmdConfig(before: PmdConfig | null, now: PmdConfig, raw: ReadonlyMap<string, string>): void {
  const assign = raw.get('pmd-rxq-assign') ?? 'cycles';
  if (assign !== now.algorithm)
    log.warn(`Unsupported rx queue to PMD assignment mode in pmd-rxq-assign. Defaulting to 'cycles'.`);
  if (before === null ? now.algorithm !== 'cycles' : before.algorithm !== now.algorithm)
    log.info(`Rxq to PMD assignment mode changed to: '${now.algorithm}'.`);
  if (raw.get('pmd-rxq-isolate') === 'false' && now.algorithm !== 'group')
    log.warn('pmd-rxq-isolate can only be set false when using pmd-rxq-assign=group');
  if (before?.isolates !== now.isolates)
    log.info(`pmd-rxq-affinity ${now.isolates ? 'isolates' : 'does not isolate'} PMD core`);
  if ((before?.txFlushUs ?? 0) !== now.txFlushUs)
    log.info(`Flushing interval for tx queues set to ${now.txFlushUs} us`);
  tellAutoBalance(before?.autoBalance ?? null, now);
  tellSleep(before, now);
}

function tellAutoBalance(before: AutoBalance | null, { autoBalance: now, algorithm }: PmdConfig): void {
  if (before?.intervalMinutes !== now.intervalMinutes)
    log.info(`PMD auto load balance interval set to ${now.intervalMinutes} mins`);
  if (before?.improvement !== now.improvement)
    log.info(`PMD auto load balance improvement threshold set to ${now.improvement}%`);
  if (before?.loadThreshold !== now.loadThreshold)
    log.info(`PMD auto load balance load threshold set to ${now.loadThreshold}%`);
  if (before !== null && JSON.stringify(before) === JSON.stringify(now)) return;
  if (!now.isEnabled || algorithm === 'roundrobin') {
    if (before === null || before.isEnabled) log.info('PMD auto load balance is disabled.');
    return;
  }
  log.info(
    `PMD auto load balance is enabled, interval ${now.intervalMinutes} mins, pmd load threshold ${now.loadThreshold}%, ` +
      `improvement threshold ${now.improvement}%.`,
  );
}

function tellSleep(before: PmdConfig | null, now: PmdConfig): void {
  if (before?.sleepUs !== now.sleepUs) {
    log.info(`PMD max sleep request is ${now.sleepUs} usecs by default.`);
    log.info(`PMD load based sleeps are ${now.sleepUs > 0 ? 'enabled' : 'disabled'} by default.`);
  }
  for (const [core, us] of now.sleepUsByCore)
    if (before?.sleepUsByCore.get(core) !== us)
      log.info(
        `PMD thread core ${String(core).padStart(3)} NUMA ${String(cpus().find((c) => c.core === core)?.numa ?? 0).padStart(2)}: ` +
          `Max sleep request set to ${String(us).padStart(4)} usecs.`,
      );
}
