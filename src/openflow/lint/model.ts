/** What `lint` looks at and what it says. */
import type { Names } from '../../flow/names.ts';
import { formatFlowStats } from '../flow-text.ts';
import type { FlowStats, PhyPort } from '../messages.ts';
import type { GroupDesc, MeterConfig } from '../messages-ext.ts';

/** A bridge's OpenFlow side. What could not be asked for is null, and what depends on it is not judged. */
export interface LintInput {
  readonly flows: readonly FlowStats[];
  readonly ports: readonly PhyPort[] | null;
  readonly groups: readonly GroupDesc[] | null;
  readonly meters: readonly MeterConfig[] | null;
  /** Tables whose misses go on to the next table (OpenFlow 1.1 and 1.2). */
  readonly continuing: ReadonlySet<number>;
  readonly names?: Names;
}

export type Severity = 'error' | 'warning' | 'note';

/** All that may be found. An error does harm whenever a packet meets it; a note may well be meant so. */
export const FINDINGS = {
  shadowed: { severity: 'warning', about: 'a rule never matches: others of higher priority take all its packets' },
  impossible: { severity: 'warning', about: 'a rule never matches: no packet is like that' },
  replaced: { severity: 'warning', about: 'another rule has the same table, priority and match, and replaces it' },
  redundant: { severity: 'note', about: 'a rule does what a rule of lower priority would do without it' },
  ambiguous: { severity: 'note', about: 'two rules of one priority match the same packets and do different things' },
  'unreached-table': { severity: 'warning', about: 'no rule that can match goes to a table that has rules' },
  'empty-table': { severity: 'note', about: 'a rule goes to a table without rules' },
  loop: { severity: 'error', about: 'a packet is resubmitted until the switch gives up' },
  'group-loop': { severity: 'error', about: 'a group leads to itself' },
  'no-effect': { severity: 'warning', about: 'an action changes nothing' },
  'missing-port': { severity: 'warning', about: 'a port does not exist' },
  'missing-group': { severity: 'error', about: 'a group does not exist' },
  'missing-meter': { severity: 'error', about: 'a meter does not exist' },
  prerequisite: { severity: 'warning', about: 'a field is written that not all packets of the rule have' },
} as const satisfies Record<string, { readonly severity: Severity; readonly about: string }>;
export type FindingKind = keyof typeof FINDINGS;

/** Rules are named by their place in `LintInput.flows`. */
export interface Finding {
  readonly kind: FindingKind;
  readonly rule: number | null;
  readonly group: number | null;
  /** Of `no-effect`: the place of the action in the rule's list. */
  readonly action: number | null;
  readonly table: number | null;
  /** One sentence. */
  readonly reason: string;
  /** The rules that the reason speaks of. */
  readonly related: readonly number[];
  /** A packet that shows it, as a match. */
  readonly packet?: string;
}

/** A question that was too long to answer. */
export interface GaveUp {
  readonly rule: number;
  readonly reason: string;
}

export interface LintResult {
  readonly findings: readonly Finding[];
  readonly gaveUp: readonly GaveUp[];
}

/** A rule as `ovs-ofctl dump-flows --no-stats` prints it, without the flag that all rules from old versions have. */
export function ruleText(flow: FlowStats, names?: Names): string {
  return formatFlowStats(flow, { names, stats: false }).trim().replace('reset_counts ', '');
}

export const finding = (kind: FindingKind, reason: string, of: Partial<Omit<Finding, 'kind' | 'reason'>>): Finding => ({
  kind,
  reason,
  rule: of.rule ?? null,
  group: of.group ?? null,
  action: of.action ?? null,
  table: of.table ?? null,
  related: of.related ?? [],
  ...(of.packet === undefined ? {} : { packet: of.packet }),
});
