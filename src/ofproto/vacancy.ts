/**
 * What a table is set to by table-mods, and the news that it fills up or empties. OpenFlow 1.4.1 6.5, 7.3.5.18, 7.4.5
 */
import type { TableDesc } from '../openflow/messages-ext.ts';
import type { Bridge } from './bridge.ts';
import { MAX_ENTRIES } from './handlers/table-features.ts';
import type { FlowTable } from './tables.ts';

const OFPTC_EVICTION = 4;
const OFPTC_VACANCY = 8;
/** OFPTMPEF14_*: other, importance, lifetime. */
const EVICTION_FLAGS = 7;
/** OFPTR_* */
const REASON = { down: 3, up: 4 } as const;
/** TABLE_STATUS is of OpenFlow 1.4. */
const FIRST_VERSION = 5;

/** What table-mods set beyond the behaviour of misses. */
export interface TableOptions {
  eviction: boolean;
  /** Percentages; `awaits` is the event that comes next, so that a table at a threshold does not repeat itself. */
  vacancy: { readonly down: number; readonly up: number; awaits: 'down' | 'up' } | null;
}

/** Applies a table-mod's bits and thresholds. */
export function setTableOptions(
  table: FlowTable,
  options: TableOptions,
  config: number,
  down: number,
  up: number,
): void {
  options.eviction = (config & OFPTC_EVICTION) !== 0;
  const awaits = vacancyOf(table) < up ? 'up' : 'down';
  options.vacancy = config & OFPTC_VACANCY ? { down, up, awaits } : null;
}

/** Free room in percent. */
function vacancyOf(table: FlowTable): number {
  const max = table.flowLimit ?? MAX_ENTRIES;
  return max <= table.size ? 0 : Math.floor(((max - table.size) * 100) / max);
}

export function describeTable(table: FlowTable, { eviction, vacancy }: TableOptions): TableDesc {
  return {
    table: table.id,
    config: (eviction ? OFPTC_EVICTION : 0) | (vacancy ? OFPTC_VACANCY : 0),
    evictionFlags: EVICTION_FLAGS,
    vacancyDown: vacancy?.down ?? 0,
    vacancyUp: vacancy?.up ?? 0,
    vacancy: vacancyOf(table),
  };
}

/** A rule came or went: tells who wants to know when a threshold has been passed. */
export function watchVacancy(bridge: Bridge, table: FlowTable, options: TableOptions): void {
  const { vacancy } = options;
  if (!vacancy || table.flowLimit === null) return;
  const now = vacancyOf(table);
  if (vacancy.awaits === 'down' ? now >= vacancy.down : now <= vacancy.up) return;
  const reason = REASON[vacancy.awaits];
  vacancy.awaits = vacancy.awaits === 'down' ? 'up' : 'down';
  const desc = describeTable(table, options);
  for (const conn of bridge.connmgr.all()) {
    if (conn.version >= FIRST_VERSION && conn.wants('tableStatus', reason)) {
      conn.sendAsync({ type: 'table_status', reason, desc });
    }
  }
}
