/** Findings for people and for programs. The schema of the latter is `docs/schema/lint.json`. */
import { hexNumber, type Json, type JsonObject } from '../../flow/json.ts';
import type { FlowStats } from '../messages.ts';
import { FINDINGS, type Finding, type LintInput, type LintResult, ruleText, type Severity } from './model.ts';

export type Counts = Record<Severity, number>;

export function countFindings(findings: readonly Finding[]): Counts {
  const counts: Counts = { error: 0, warning: 0, note: 0 };
  for (const f of findings) counts[FINDINGS[f.kind].severity]++;
  return counts;
}

export function lintJson(bridge: string, input: LintInput, result: LintResult): JsonObject {
  const rule = (i: number): JsonObject => ruleJson(input.flows[i], input);
  return {
    bridge,
    rules: input.flows.length,
    tables: new Set(input.flows.map((f) => f.table)).size,
    counts: countFindings(result.findings),
    findings: result.findings.map((f) => ({
      kind: f.kind,
      severity: FINDINGS[f.kind].severity,
      reason: f.reason,
      table: f.table,
      group: f.group,
      action: f.action,
      rule: f.rule === null ? null : rule(f.rule),
      related: f.related.map(rule),
      packet: f.packet ?? null,
    })),
    gave_up: result.gaveUp.map((g) => ({ rule: rule(g.rule), reason: g.reason }) as Json),
  };
}

function ruleJson(f: FlowStats, { names }: LintInput): JsonObject {
  return { text: ruleText(f, names), table: f.table, priority: f.priority, cookie: hexNumber(f.cookie) };
}

const plural = (n: number, one: string): string => `${n} ${n === 1 ? one : `${one}s`}`;

/** The last line sums up. */
export function lintText(bridge: string, input: LintInput, result: LintResult): string {
  const rule = (i: number): string => ruleText(input.flows[i], input.names);
  let out = '';
  for (const f of result.findings) {
    const subject = f.rule !== null ? rule(f.rule) : f.group !== null ? `group_id=${f.group}` : `table=${f.table}`;
    out += `${FINDINGS[f.kind].severity}: ${f.kind}\n  ${subject}\n  ${f.reason}\n`;
    for (const r of f.related) out += `    ${rule(r)}\n`;
    if (f.packet !== undefined)
      out += `  for example in table ${f.table}: ${f.packet === '' ? 'any packet' : f.packet}\n`;
    out += '\n';
  }
  for (const g of result.gaveUp) out += `gave up: ${rule(g.rule)}\n  ${g.reason}\n\n`;
  const { error, warning, note } = countFindings(result.findings);
  const found = [plural(error, 'error'), plural(warning, 'warning'), plural(note, 'note')].join(', ');
  const unknown = result.gaveUp.length === 0 ? '' : `, ${plural(result.gaveUp.length, 'rule')} not judged`;
  return `${out}${bridge}: ${plural(input.flows.length, 'rule')}: ${found}${unknown}\n`;
}
