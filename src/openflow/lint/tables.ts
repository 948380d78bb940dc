/** Which tables packets get to: by `goto_table`, `resubmit` and `ct(table=…)` from rules that can match, and by misses. */
import type { FlowStats } from '../messages.ts';
import type { GroupDesc } from '../messages-ext.ts';
import { type Finding, finding, type LintInput } from './model.ts';
import { edgesOf, visitActions } from './walk.ts';

const LAST_TABLE = 254;

export interface TableGraph {
  /** Each rule's targets, in the order of `LintInput.flows`. */
  readonly targets: readonly (readonly { readonly kind: 'goto' | 'resubmit' | 'ct'; readonly table: number }[])[];
  /** Places of the rules of each table. */
  readonly rules: ReadonlyMap<number, readonly number[]>;
  /** Do packets come back from this table to the actions behind a resubmit? */
  readonly isResubmitted: ReadonlySet<number>;
}

export function tableGraph(flows: readonly FlowStats[], groups: ReadonlyMap<number, GroupDesc>): TableGraph {
  const targets = flows.map((f) => edgesOf(f.actions, f.table, groups));
  const rules = new Map<number, number[]>();
  flows.forEach((f, i) => {
    const list = rules.get(f.table);
    if (list) list.push(i);
    else rules.set(f.table, [i]);
  });
  const isResubmitted = new Set<number>();
  for (const edges of targets) for (const e of edges) if (e.kind === 'resubmit') isResubmitted.add(e.table);
  // What is reached from a table that comes back comes back.
  for (let grew = true; grew; ) {
    grew = false;
    flows.forEach((f, i) => {
      if (!isResubmitted.has(f.table)) return;
      for (const e of targets[i]) {
        if (isResubmitted.has(e.table)) continue;
        isResubmitted.add(e.table);
        grew = true;
      }
    });
  }
  return { targets, rules, isResubmitted };
}

export function lintTables(input: LintInput, graph: TableGraph, dead: ReadonlySet<number>): Finding[] {
  const reached = reachable(input, graph, (i) => !dead.has(i));
  // Tables that only rules that never match lead to say so.
  const named = reachable(input, graph, () => true);
  const findings: Finding[] = [];
  for (const [table, rules] of [...graph.rules].sort(([a], [b]) => a - b)) {
    if (reached.has(table)) continue;
    const why = named.has(table) ? 'only rules that never match lead to it' : 'no rule leads to it';
    const never = rules.length === 1 ? 'its rule never matches' : `its ${rules.length} rules never match`;
    findings.push(
      finding('unreached-table', `table ${table} is never reached (${why}), so ${never}`, {
        table,
        related: rules.slice(0, 3),
      }),
    );
  }
  findings.push(...emptyTables(input, graph));
  return findings;
}

function reachable(input: LintInput, graph: TableGraph, isAlive: (rule: number) => boolean): Set<number> {
  const reached = new Set([0]);
  const queue = [0];
  for (let table = queue.pop(); table !== undefined; table = queue.pop()) {
    const next = (graph.rules.get(table) ?? []).filter(isAlive).flatMap((i) => graph.targets[i].map((e) => e.table));
    if (input.continuing.has(table) && table < LAST_TABLE) next.push(table + 1);
    for (const t of next) {
      if (reached.has(t)) continue;
      reached.add(t);
      queue.push(t);
    }
  }
  return reached;
}

/** Rules that send packets where nothing matches. Tables that rules are learned into, or whose misses go on, may fill. */
function emptyTables(input: LintInput, graph: TableGraph): Finding[] {
  const filled = new Set<number>([...graph.rules.keys(), ...input.continuing]);
  const visit = (actions: FlowStats['actions']): void =>
    visitActions(actions, (a) => {
      if (a.kind === 'learn') filled.add(a.spec.table);
    });
  for (const f of input.flows) visit(f.actions);
  for (const g of input.groups ?? []) for (const b of g.buckets) visit(b.actions);
  const findings: Finding[] = [];
  input.flows.forEach((f, rule) => {
    for (const table of new Set(graph.targets[rule].map((e) => e.table))) {
      if (filled.has(table)) continue;
      findings.push(
        finding('empty-table', `sends packets to table ${table}, which has no rules`, { rule, table: f.table }),
      );
    }
  });
  return findings;
}
