/**
 * Which rule goes when a full table gets another. `ovs-vswitchd.conf.db(5)`, "Flow_Table TABLE", `overflow_policy`; OpenFlow
 * 1.4.1 6.5
 *
 * Rules that agree in the table's `groups` fields are a group. The largest group gives up a rule, so that one port or tenant
 * cannot push out everybody else's; of it the least important, then the one that ends soonest. Rules without timeouts stay.
 */

import type { Subfield } from '../flow/field.ts';
import { Match } from '../flow/match.ts';
import { getBits } from '../flow/subfield.ts';
import type { Rule } from './rule.ts';

const scratch = new Match();

/** Null when every rule is to stay. */
export function evictable(rules: Iterable<Rule>, groups: readonly Subfield[], nowMs: number): Rule | null {
  const members = new Map<string, Rule[]>();
  let largest: Rule[] = [];
  for (const rule of rules) {
    if (rule.isHidden || (rule.idleTimeout === 0 && rule.hardTimeout === 0)) continue;
    const name = groups.length === 0 ? '' : groupOf(rule, groups);
    let group = members.get(name);
    if (!group) members.set(name, (group = []));
    group.push(rule);
    if (group.length > largest.length) largest = group;
  }
  let best: Rule | null = null;
  for (const rule of largest) if (best === null || isBefore(rule, best, nowMs)) best = rule;
  return best;
}

function groupOf(rule: Rule, groups: readonly Subfield[]): string {
  scratch.key.clear();
  scratch.mask.clear();
  const { key } = rule.writeMatch(scratch);
  return groups.map((field) => getBits(key, field)).join();
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
