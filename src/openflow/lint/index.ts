/**
 * `lint`: what an engineer would find strange in a bridge's OpenFlow tables, each with the rule and the reason. It works on
 * what any switch tells over OpenFlow, and sends nothing.
 *
 * A finding is never a guess: what is told is so for every packet, or for the packet that is shown. The reverse does not
 * hold: rules are only compared within their table, and questions that take too long are given up, which is told, too.
 */
import { lintEffects } from './effects.ts';
import { lintLoops } from './loops.ts';
import { FINDINGS, type Finding, finding, type LintInput, type LintResult } from './model.ts';
import { lintReferences } from './references.ts';
import { replacedRules } from './replaced.ts';
import { lintRules } from './rules.ts';
import { lintTables, tableGraph } from './tables.ts';

export {
  FINDINGS,
  type Finding,
  type FindingKind,
  type GaveUp,
  type LintInput,
  type LintResult,
  ruleText,
  type Severity,
} from './model.ts';

const SEVERITIES = ['error', 'warning', 'note'] as const;

/** Errors come first, then by table and priority. */
export function lint(input: LintInput): LintResult {
  const replaced = replacedRules(input.flows);
  const stay = input.flows.map((_, i) => i).filter((i) => !replaced.has(i));
  const result = lintSwitch({ ...input, flows: stay.map((i) => input.flows[i]) });
  const findings: Finding[] = result.findings.map((f) => ({
    ...f,
    rule: f.rule === null ? null : stay[f.rule],
    related: f.related.map((i) => stay[i]),
  }));
  for (const [rule, by] of replaced) {
    const reason = 'another rule has its table, priority and match, and replaces it';
    findings.push(finding('replaced', reason, { rule, table: input.flows[rule].table, related: [by] }));
  }
  const gaveUp = result.gaveUp.map((g) => ({ ...g, rule: stay[g.rule] }));
  return { findings: inOrder(findings, input), gaveUp };
}

/** Rules as a switch has them, no two of the same table, priority and match. */
function lintSwitch(input: LintInput): LintResult {
  const groups = new Map((input.groups ?? []).map((g) => [g.groupId, g]));
  const graph = tableGraph(input.flows, groups);
  const { findings, gaveUp, dead } = lintRules(input.flows);
  const all = [
    ...findings,
    ...lintTables(input, graph, dead),
    ...lintLoops(input, graph),
    ...lintEffects(input, graph),
    ...lintReferences(input),
  ];
  return { findings: all, gaveUp };
}

function inOrder(findings: readonly Finding[], input: LintInput): Finding[] {
  const place = (f: Finding): readonly number[] => [
    SEVERITIES.indexOf(FINDINGS[f.kind].severity),
    f.table ?? 256,
    f.rule === null ? 0 : -input.flows[f.rule].priority,
    f.rule ?? 0,
  ];
  return findings
    .map((f, i) => ({ f, at: [...place(f), i] }))
    .sort((a, b) => a.at.reduce((order, v, i) => order || v - b.at[i], 0))
    .map(({ f }) => f);
}
