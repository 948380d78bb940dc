/** Flows as JSON. `ovs-ofctl dump-flows --format json`; the schema is `docs/schema/openflow.json`. */
import { hexNumber, type Json, type JsonObject, type MatchJson, matchJson } from '../../flow/json.ts';
import type { Names } from '../../flow/names.ts';
import { flagsText, formatFlowStats } from '../flow-text.ts';
import type { FlowStats } from '../messages.ts';
import { type ActionsJson, actionsJson, tableJson } from './actions.ts';

export interface FlowJson extends JsonObject {
  readonly text: string;
  readonly cookie: string;
  readonly priority: number;
  readonly match: MatchJson;
  readonly actions: ActionsJson;
}

/** Null where the wire says "unknown". */
export const known = (n: number): number | null => (n < 0 ? null : n);
export const seconds = (ms: number): number | null => (ms < 0 ? null : Math.round(ms) / 1000);
export const words = (text: string): string[] => text.split(' ').filter((w) => w !== '' && w !== '0');

/** `text` leaves out what changes by itself, so that the same rule always has the same. */
export function flowJson(f: FlowStats, names?: Names): FlowJson {
  const out: Record<string, Json> = {
    text: formatFlowStats(f, { names, stats: false }).trim(),
    ...tableJson('table', f.table, names),
    cookie: hexNumber(f.cookie),
    priority: f.priority,
    duration_s: seconds(f.durationMs),
    packets: known(f.packets),
    bytes: known(f.bytes),
    idle_timeout: f.idleTimeout,
    hard_timeout: f.hardTimeout,
    idle_age: known(f.idleAge),
    hard_age: known(f.hardAge),
    importance: f.importance,
    flags: words(flagsText(f.flags)),
    match: matchJson(f.match, names) as Json,
    actions: actionsJson(f.actions, names) as Json,
  };
  return out as unknown as FlowJson;
}
