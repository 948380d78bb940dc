/** What is asked about tables, and how they may be changed. OpenFlow 1.4.1 7.3.4.1, 7.3.5.4, 7.3.5.19 */
import type { TableStats } from '../../openflow/messages.ts';
import type { TableDesc } from '../../openflow/messages-ext.ts';
import { TABLE_ALL, type TableMiss, TBL_INTERNAL } from '../tables.ts';
import { describeTable, setTableOptions } from '../vacancy.ts';
import type { Handler } from './index.ts';
import { featuresOf, MAX_ENTRIES } from './table-features.ts';

const MISS: readonly TableMiss[] = ['controller', 'continue', 'drop', 'default'];
const OFPTC_MISS_MASK = 3;

export const tableStats: Handler<'table_stats_request'> = (bridge, conn, request) => {
  bridge.backer.pushStats();
  const tables: TableStats[] = [];
  for (const table of bridge.tables.tables) {
    if (table.id === TBL_INTERNAL) continue;
    tables.push({
      table: table.id,
      name: table.name,
      maxEntries: table.flowLimit ?? MAX_ENTRIES,
      activeCount: table.visibleSize(),
      lookupCount: table.lookups,
      matchedCount: table.matched,
      // Those that can be told have no word for "by default".
      missConfig: table.miss === 'default' ? 0 : MISS.indexOf(table.miss),
      features: conn.version < 4 ? featuresOf(table, conn.version) : undefined,
    });
  }
  conn.reply(request, { type: 'table_stats_reply', more: false, tables });
};

export const tableDesc: Handler<'table_desc_request'> = (bridge, conn, request) => {
  const tables: TableDesc[] = [];
  for (const table of bridge.tables.tables) {
    if (table.id === TBL_INTERNAL) continue;
    tables.push(describeTable(table, bridge.tableOptions(table.id)));
  }
  conn.reply(request, { type: 'table_desc_reply', more: false, tables });
};

export const tableMod: Handler<'table_mod'> = (bridge, conn, request) => {
  const { table: id, config } = request.message;
  if (id === TBL_INTERNAL) return conn.error(request, 'OFPTMFC_EPERM');
  const tables = id === TABLE_ALL ? bridge.tables.tables.slice(0, TBL_INTERNAL) : [bridge.tables.tables[id]];
  for (const table of tables) {
    if (conn.version === 2 || conn.version === 3) {
      const miss = MISS[config & OFPTC_MISS_MASK];
      if (miss !== 'default' && miss !== table.miss) {
        table.miss = miss;
        bridge.backer.revalidateAll();
      }
    }
    if (conn.version < 5) continue;
    const options = bridge.tableOptions(table.id);
    const { vacancyDown, vacancyUp } = request.message;
    setTableOptions(table, options, config, vacancyDown ?? 0, vacancyUp ?? 0);
    if (options.eviction) table.overflowPolicy = 'evict';
    else table.overflowPolicy = bridge.config.flowTables.get(table.id)?.overflowPolicy ?? 'refuse';
  }
};
