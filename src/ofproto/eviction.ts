/**
 * Which rule goes when a full table gets another. `ovs-vswitchd.conf.db(5)`, "Flow_Table TABLE", `overflow_policy`; OpenFlow
 * 1.4.1 6.5
 *
 * Rules that agree in the table's `groups` fields are a group. The largest group gives up a rule, so that one port or tenant
 * cannot push out everybody else's; of it the least important, then the one that ends soonest. Rules without timeouts stay.
 */

import type { Subfield } from '../flow/field.ts';
import { FlowKey } from '../flow/key.ts';
import { getBits } from '../flow/subfield.ts';
import type { Rule } from './rule.ts';

const scratch = new FlowKey();

/** Null when every rule is to stay. */
export function evictable(rules: Iterable<Rule>, groups: readonly Subfield[], nowMs: number): Rule | null {
  const sizes = new Map<string, Rule[]>();
  let largest: Rule[] = [];
  for (const rule of rules) {
    if (rule.isHidden || (rule.idleTimeout === 0 && rule.hardTimeout === 0)) continue;
    const name = groups.length === 0 ? '' : groupOf(rule, groups);
    const group = sizes.get(name);
    if (group) group.push(rule);
    else sizes.set(name, [rule]);
    const members = group ?? sizes.get(name)!; // put there above
    if (members.length > largest.length) largest = members;
  }
  let best: Rule | null = null;
  for (const rule of largest) if (best === null || isBefore(rule, best, nowMs)) best = rule;
  return best;
}

function groupOf(rule: Rule, groups: readonly Subfield[]): string {
  scratch.clear();
  const { index } = rule.shape;
  for (let i = 0; i < index.length; i++) scratch.w[index[i]] = rule.values[i];
  return groups.map((field) => getBits(scratch, field)).join();
}

function isBefore(a: Rule, b: Rule, nowMs: number): boolean {
  return a.importance !== b.importance ? a.importance < b.importance : endOf(a, nowMs) < endOf(b, nowMs);
}

/** Milliseconds left. */
function endOf(rule: Rule, nowMs: number): number {
  const idleEnd = rule.idleTimeout > 0 ? rule.usedMs + rule.idleTimeout * 1000 : Number.POSITIVE_INFINITY;
  const hardEnd = rule.hardTimeout > 0 ? rule.modifiedMs + rule.hardTimeout * 1000 : Number.POSITIVE_INFINITY;
  return Math.min(idleEnd, hardEnd) - nowMs;
}
