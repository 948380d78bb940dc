/**
 * `top/show`: how busy everything is, from two looks at the counters: ports, PMDs and their caches, upcalls, the busiest
 * megaflows and rules. Nothing is counted for it that is not counted anyway.
 */
import { registerCommand, UnixctlError } from '../base/commands.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import type { DpFlow, DpFlowStats } from '../dpif/dpif.ts';
import { formatDpActions } from '../flow/dp-text.ts';
import { formatMatch } from '../flow/match-text.ts';
import { formatActions } from '../openflow/actions/index.ts';
import type { Backer } from './backer.ts';
import type { Backers } from './commands/find.ts';
import { formatUfid } from './commands/flow-text.ts';
import type { Rule } from './rule.ts';
import { namesOf } from './trace.ts';
import { Ukey } from './ukey.ts';
import { formatMegaflow } from './xlate/flow-text.ts';

/** All rates are a second's. */
export interface TopView {
  readonly time: string;
  readonly seconds: number;
  readonly datapaths: readonly TopDatapath[];
}

export interface TopDatapath {
  readonly name: string;
  readonly pmds: readonly {
    /** -1 is the main thread. */
    readonly pmd: number;
    /** Share of the time, 0 to 1; null where that is not measured. */
    readonly load: number | null;
    readonly packets: number;
    /** Lookups, recirculated packets' too, and what answered them. */
    readonly lookups: number;
    /** Packets of ports whose flows look at nothing but port, type and tag. */
    readonly simple: number;
    readonly emc: number;
    readonly smc: number;
    readonly megaflow: number;
    readonly upcall: number;
    readonly lost: number;
    readonly dropped: number;
    readonly subtables_per_hit: number;
  }[];
  readonly ports: readonly {
    readonly name: string;
    readonly bridge: string | null;
    readonly of_port: number | null;
    readonly rx_packets: number;
    readonly rx_bytes: number;
    readonly tx_packets: number;
    readonly tx_bytes: number;
    readonly drops: number;
  }[];
  /** How many there are, and the busiest. */
  readonly n_megaflows: number;
  readonly megaflows: readonly {
    readonly ufid: string;
    readonly packets: number;
    readonly bytes: number;
    readonly match: string;
    readonly actions: string;
  }[];
  readonly n_rules: number;
  readonly rules: readonly {
    readonly bridge: string;
    readonly table: number;
    readonly packets: number;
    readonly bytes: number;
    readonly rule: string;
    readonly actions: string;
  }[];
}

interface Sample {
  readonly pmds: ReadonlyMap<number, Float64Array>;
  readonly ports: ReadonlyMap<number, readonly number[]>;
  readonly flows: ReadonlyMap<DpFlow, readonly [number, number]>;
  readonly rules: ReadonlyMap<Rule, readonly [number, number]>;
}

const MAX_SECONDS = 60;
const stats: DpFlowStats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };

export function registerTop(backers: Backers): void {
  registerCommand('top/show', '[--seconds=N] [--lines=N]', 0, 2, async (args) => {
    let seconds = 1;
    let lines = 10;
    for (const arg of args) {
      const found = /^--(seconds|lines)=(\d+(?:\.\d+)?)$/.exec(arg);
      if (!found) throw new UnixctlError(`${arg}: unknown option`);
      if (found[1] === 'seconds') seconds = Number(found[2]);
      else lines = Math.min(1000, Number(found[2]));
    }
    if (seconds > MAX_SECONDS) throw new UnixctlError(`--seconds: not between 0 and ${MAX_SECONDS}`);
    return `${JSON.stringify(await look([...backers()], seconds * 1000, lines))}\n`;
  });
}

/** What happens in the next `ms` milliseconds, with up to `lines` megaflows and rules of each datapath. */
export async function look(backers: readonly Backer[], ms: number, lines: number): Promise<TopView> {
  // Without lines nobody asks for single megaflows and rules, of which there may be a million.
  const take = (backer: Backer): Sample => sample(backer, lines > 0);
  const before = backers.map(take);
  const started = performance.now();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const seconds = Math.max((performance.now() - started) / 1000, 1e-3);
  const datapaths = backers.map((backer, i) => view(backer, before[i], take(backer), seconds, lines));
  return { time: new Date().toISOString(), seconds, datapaths };
}

function sample(backer: Backer, withEach: boolean): Sample {
  const { dpif } = backer;
  const flows = new Map<DpFlow, readonly [number, number]>();
  const rules = new Map<Rule, readonly [number, number]>();
  if (withEach) {
    backer.revalidator.pushStats();
    for (const flow of dpif.flows()) {
      dpif.flowStats(flow, stats);
      flows.set(flow, [stats.packets, stats.bytes]);
    }
    for (const bridge of backer.bridges)
      for (const table of bridge.tables.tables)
        for (const rule of table.classifier) rules.set(rule, [rule.packets, rule.bytes]);
  }
  const ports = new Map<number, readonly number[]>();
  for (const { no, netdev } of dpif.ports()) {
    const s = netdev.stats();
    const drops = (s.rx_dropped ?? 0) + (s.rx_errors ?? 0) + (s.tx_dropped ?? 0) + (s.tx_errors ?? 0);
    ports.set(no, [s.rx_packets ?? 0, s.rx_bytes ?? 0, s.tx_packets ?? 0, s.tx_bytes ?? 0, drops]);
  }
  const pmds = new Map((dpif.pmdStats?.() ?? []).map((p) => [p.id, p.stats]));
  return { pmds, ports, flows, rules };
}

function view(backer: Backer, before: Sample, now: Sample, seconds: number, lines: number): TopDatapath {
  const rate = (a: number | undefined, b: number): number => Math.max(0, b - (a ?? 0)) / seconds;
  return {
    name: `${backer.dpif.type}@${backer.dpif.name}`,
    pmds: [...now.pmds].map(([pmd, s]) => pmdView(pmd, before.pmds.get(pmd), s, rate)),
    ports: [...now.ports].map(([no, counts]) => {
      const owner = backer.owner(no);
      const name = backer.dpif.portByNo(no)?.netdev.name ?? String(no);
      const [rxPackets, rxBytes, txPackets, txBytes, drops] = counts.map((n, i) =>
        rate(before.ports.get(no)?.[i] ?? n, n),
      );
      return {
        name,
        bridge: owner?.bridge.name ?? null,
        of_port: owner?.port.ofport ?? null,
        rx_packets: rxPackets,
        rx_bytes: rxBytes,
        tx_packets: txPackets,
        tx_bytes: txBytes,
        drops,
      };
    }),
    n_megaflows: lines > 0 ? now.flows.size : [...backer.dpif.flows()].length,
    megaflows: busiest(now.flows, before.flows, rate, lines).map(([flow, packets, bytes]) => {
      const entry = backer.flowOf(flow.key);
      const key = flow.user instanceof Ukey ? flow.user.key : (entry?.flow ?? flow.key);
      return {
        ufid: formatUfid(flow.ufid),
        packets,
        bytes,
        match: formatMegaflow(key, flow.mask, entry ? namesOf(entry.bridge) : undefined),
        actions: formatDpActions(flow.actions, (no) => backer.dpif.portByNo(no)?.netdev.name),
      };
    }),
    n_rules: [...backer.bridges].reduce(
      (n, b) => n + b.tables.tables.reduce((sum, t) => sum + t.classifier.size, 0),
      0,
    ),
    rules: ruleViews(backer, busiest(now.rules, before.rules, rate, lines)),
  };
}

type Rate = (a: number | undefined, b: number) => number;

function pmdView(pmd: number, old: Float64Array | undefined, s: Float64Array, rate: Rate): TopDatapath['pmds'][number] {
  const of = (name: keyof typeof PMD_STAT): number => rate(old?.[PMD_STAT[name]], s[PMD_STAT[name]]);
  const busy = of('BUSY_NS');
  const time = busy + of('IDLE_NS');
  const [emc, smc, megaflow, upcall] = [of('EMC_HIT'), of('SMC_HIT'), of('MEGAFLOW_HIT'), of('MISS')];
  const simple = of('SIMPLE_HIT');
  return {
    pmd,
    load: pmd < 0 || time === 0 ? null : busy / time,
    packets: of('RECEIVED'),
    lookups: simple + emc + smc + megaflow + upcall,
    simple,
    emc,
    smc,
    megaflow,
    upcall,
    lost: of('LOST'),
    dropped: of('DROPPED'),
    subtables_per_hit: megaflow > 0 ? of('LOOKUPS') / megaflow : 0,
  };
}

/** Those with the most packets since `before`, most first; the idle ones are left out. */
function busiest<T>(
  now: ReadonlyMap<T, readonly [number, number]>,
  before: ReadonlyMap<T, readonly [number, number]>,
  rate: Rate,
  lines: number,
): [T, number, number][] {
  const moved: [T, number, number][] = [];
  for (const [item, [packets, bytes]] of now) {
    const old = before.get(item);
    if (packets > (old?.[0] ?? 0)) moved.push([item, rate(old?.[0], packets), rate(old?.[1], bytes)]);
  }
  return moved.sort((a, b) => b[1] - a[1]).slice(0, lines);
}

function ruleViews(backer: Backer, list: readonly [Rule, number, number][]): TopDatapath['rules'] {
  const owners = new Map<Rule, string>();
  const wanted = new Set(list.map(([rule]) => rule));
  for (const bridge of backer.bridges)
    for (const table of bridge.tables.tables)
      for (const rule of table.classifier) if (wanted.has(rule)) owners.set(rule, bridge.name);
  return list.map(([rule, packets, bytes]) => {
    const name = owners.get(rule) ?? '';
    const bridge = backer.bridge(name);
    const names = bridge ? namesOf(bridge) : undefined;
    const match = formatMatch(rule.match, rule.priority, names) || `priority=${rule.priority}`;
    const cookie = rule.cookie === 0n ? '' : `cookie=0x${rule.cookie.toString(16)}, `;
    return {
      bridge: name,
      table: rule.table,
      packets,
      bytes,
      rule: cookie + match,
      actions: formatActions(rule.actions, names),
    };
  });
}
