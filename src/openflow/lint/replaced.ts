/** Rules that others replace, as the later of a file does: a switch has one rule for each table, priority and match. */
import { hexText } from '../../flow/json.ts';
import type { FlowStats } from '../messages.ts';

/** By the place of the rule that is replaced, that of the rule that stays. */
export function replacedRules(flows: readonly FlowStats[]): Map<number, number> {
  const last = new Map<string, number>();
  const keys = flows.map(({ table, priority, match }, i) => {
    const key = `${table} ${priority} ${hexText(match.key.u8)} ${hexText(match.mask.u8)}`;
    last.set(key, i);
    return key;
  });
  const replaced = new Map<number, number>();
  keys.forEach((key, i) => {
    const stays = last.get(key);
    if (stays !== undefined && stays !== i) replaced.set(i, stays);
  });
  return replaced;
}
