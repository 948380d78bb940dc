/** `ovsdb-server/tlog-set` and `tlog-list`: changes of chosen tables in the daemon's log, a line a row. */
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { vlog } from '../../base/vlog.ts';
import type { Changes } from '../../ovsdb/database.ts';
import type { Row, RowChange } from '../../ovsdb/row.ts';
import type { TableSchema } from '../../ovsdb/schema.ts';
import type { OvsdbServer } from '../../ovsdb/server.ts';
import type { Store } from '../../ovsdb/store.ts';
import { datumToText } from '../../ovsdb/types.ts';

const log = vlog('transaction');

export function registerTableLogCommands(server: OvsdbServer): void {
  const logged = new TableLog();
  registerCommand('ovsdb-server/tlog-set', 'DB:TABLE on|off', 2, 2, ([where, value]) => {
    const [database, table] = where!.split(':');
    if (!database || !table) throw new UnixctlError('invalid DB:TABLE argument');
    const store = server.store(database);
    if (store === undefined) throw new UnixctlError('no such database');
    if (!store.schema.tables.has(table)) throw new UnixctlError('no such table');
    if (value !== 'on' && value !== 'off') throw new UnixctlError('invalid command argument');
    logged.set(store, table, value === 'on');
    return '';
  });
  registerCommand('ovsdb-server/tlog-list', '', 0, 0, () => {
    let text = 'database        table                       logging\n';
    text += '--------        -----                       -------\n';
    for (const name of server.databaseNames()) {
      const store = server.store(name)!; // It is one of the server's.
      text += `${name.padEnd(16)} \n`;
      for (const table of [...store.schema.tables.keys()].sort()) {
        text += `${''.padEnd(16)}${table.padEnd(28)}${logged.has(store, table) ? 'ON' : 'OFF'}\n`;
      }
    }
    return text;
  });
}

class TableLog {
  private readonly byStore = new Map<Store, { readonly tables: Set<string>; readonly observer: Disposable }>();

  has(store: Store, table: string): boolean {
    return this.byStore.get(store)?.tables.has(table) ?? false;
  }

  set(store: Store, table: string, on: boolean): void {
    let entry = this.byStore.get(store);
    if (entry === undefined) {
      const tables = new Set<string>();
      entry = { tables, observer: store.observe((changes) => logChanges(tables, changes)) };
      this.byStore.set(store, entry);
    }
    if (on) entry.tables.add(table);
    else entry.tables.delete(table);
    if (entry.tables.size > 0) return;
    entry.observer[Symbol.dispose]();
    this.byStore.delete(store);
  }
}

function logChanges(tables: ReadonlySet<string>, changes: Changes): void {
  for (const [{ schema }, rows] of changes) {
    if (!tables.has(schema.name)) continue;
    for (const change of rows.values()) {
      const row = change.new ?? change.old;
      if (row !== null) log.info(`table:${schema.name},op:${kindOf(change)},${rowText(schema, row)}`);
    }
  }
}

function kindOf(change: RowChange): string {
  if (change.old === null) return 'inserted';
  return change.new === null ? 'deleted' : 'updated';
}

function rowText({ columns }: TableSchema, row: Row): string {
  const values = columns.map(({ name, type, index }) => `${name}:${datumToText(type, row.data[index]!)}`);
  return [`_uuid:${row.uuid}`, `_version:${row.version}`, ...values].join(',');
}
