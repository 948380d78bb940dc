/**
 * Remotes that stand in the database: a column of targets, or of references to rows (such as `Manager`) with a `target` column and
 * settings, into which the state of each is written back (ovs-vswitchd.conf.db(5), "Manager TABLE").
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import type { Atom, Uuid } from './atom.ts';
import type { Connection, ConnectionOptions } from './connection.ts';
import type { Database, Table } from './database.ts';
import { type Datum, makeMap } from './datum.ts';
import { OvsdbError } from './error.ts';
import { checkIntegrity } from './integrity.ts';
import { RemoteEndpoint } from './remotes.ts';
import type { Row } from './row.ts';
import type { ColumnSchema } from './schema.ts';
import type { OvsdbServer } from './server.ts';
import { Transaction } from './transaction.ts';

const log = vlog('ovsdb_server');
const STATUS_INTERVAL_MS = 2500;

interface Wanted {
  readonly target: string;
  readonly options: ConnectionOptions;
  /** The row that describes it, if it is more than a word. */
  readonly row: { readonly table: Table; readonly uuid: Uuid } | null;
}

interface Present {
  readonly endpoint: RemoteEndpoint;
  readonly settings: string;
  wanted: Wanted;
}

export class DatabaseRemotes {
  private readonly server: OvsdbServer;
  private readonly database: string;
  private readonly tableName: string;
  private readonly columnName: string;
  private readonly present = new Map<string, Present>();
  private observer: Disposable | null = null;
  private observed: Database | null = null;
  private readonly timer: Disposable;

  /** Throws `Error` in the original's words. */
  static parse(server: OvsdbServer, text: string): DatabaseRemotes {
    const [database, table, column, ...rest] = text.slice(3).split(',');
    if (!database || !table || !column || rest.length > 0) throw new Error(`"${text}": invalid syntax`);
    const store = server.store(database);
    if (store === undefined) throw new Error(`"${text}": no database named ${database}`);
    const schema = store.schema.tables.get(table);
    if (schema === undefined) throw new Error(`"${text}": no table named ${table}`);
    const found = schema.columnByName.get(column);
    if (found === undefined) throw new Error(`"${text}": table "${table}" has no column "${column}"`);
    const { type, refTable } = found.type.key;
    if (!(type === 'string' || (type === 'uuid' && refTable !== null)) || found.type.value !== null) {
      throw new Error(`"${text}": type mismatch: not string or map`);
    }
    return new DatabaseRemotes(server, database, table, column);
  }

  private constructor(server: OvsdbServer, database: string, table: string, column: string) {
    this.server = server;
    this.database = database;
    this.tableName = table;
    this.columnName = column;
    this.reconfigure();
    this.timer = clock.setInterval(() => this.writeStatus(), STATUS_INTERVAL_MS, { keepAlive: false });
  }

  /** Follows the database; to be called again when it was replaced. */
  reconfigure(): void {
    const store = this.server.store(this.database);
    if (store?.db !== this.observed) {
      this.observer?.[Symbol.dispose]();
      this.observed = store?.db ?? null;
      this.observer =
        store?.observe((changes) => {
          const relevant = [...changes.keys()].some((t) => t.schema.name === this.tableName || this.refersTo(t));
          // The commit is still being told to others: connections must not come and go meanwhile.
          if (relevant) queueMicrotask(() => this.reconfigure());
        }) ?? null;
    }
    const wanted = store === undefined ? new Map<string, Wanted>() : this.wanted(store.db);
    for (const [target, present] of this.present) {
      const want = wanted.get(target);
      if (want !== undefined && settingsOf(want) === present.settings) {
        present.wanted = want;
        continue;
      }
      present.endpoint.close();
      this.present.delete(target);
    }
    for (const [target, want] of wanted) {
      if (this.present.has(target)) continue;
      const endpoint = new RemoteEndpoint(this.server, target, want.options);
      this.present.set(target, { endpoint, settings: settingsOf(want), wanted: want });
      void endpoint.openEventually();
    }
  }

  private column(db: Database): { table: Table; column: ColumnSchema } | null {
    const table = db.tables.get(this.tableName);
    const column = table?.schema.columnByName.get(this.columnName);
    return table === undefined || column === undefined ? null : { table, column };
  }

  private refersTo(table: Table): boolean {
    const found = this.observed === null ? null : this.column(this.observed);
    return found?.column.type.key.refTable === table.schema.name;
  }

  private wanted(db: Database): Map<string, Wanted> {
    const wanted = new Map<string, Wanted>();
    const found = this.column(db);
    if (found === null) return wanted;
    const { table, column } = found;
    const { refTable } = column.type.key;
    for (const row of table.rows.values()) {
      for (const key of row.data[column.index]!.keys) {
        if (refTable === null) {
          wanted.set(key as string, { target: key as string, options: {}, row: null });
          continue;
        }
        const target = db.tables.get(refTable)!;
        const managerRow = target.rows.get(key as Uuid);
        const want = managerRow && fromRow(target, managerRow);
        if (want) wanted.set(want.target, want);
      }
    }
    return wanted;
  }

  private writeStatus(): void {
    const store = this.server.store(this.database);
    if (store === undefined || store.db !== this.observed) return;
    const txn = new Transaction(store.db);
    for (const { endpoint, wanted } of this.present.values()) {
      if (wanted.row === null) continue;
      const { table, uuid } = wanted.row;
      const row = txn.get(table, uuid);
      if (row === undefined) continue;
      txn.update(table, row, statusColumns(table, endpoint));
    }
    if (txn.changes.size === 0) return;
    try {
      checkIntegrity(txn);
      store.commit(txn);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      log.rl(1).err(`failed to update remote status: ${error.message}`);
    }
  }

  reconnect(): void {
    for (const { endpoint } of this.present.values()) endpoint.reconnect();
  }

  close(): void {
    this.timer[Symbol.dispose]();
    this.observer?.[Symbol.dispose]();
    for (const { endpoint } of this.present.values()) endpoint.close();
    this.present.clear();
  }
}

function settingsOf(want: Wanted): string {
  return JSON.stringify([want.options, want.row?.uuid]);
}

function datumOf(table: Table, row: Row, name: string): Datum | undefined {
  const column = table.schema.columnByName.get(name);
  return column === undefined ? undefined : row.data[column.index];
}

function fromRow(table: Table, row: Row): Wanted | null {
  const first = (name: string): Atom | undefined => datumOf(table, row, name)?.keys[0];
  const target = first('target');
  if (typeof target !== 'string' || target === '') {
    log.rl(1).info(`Table \`${table.schema.name}' has missing or invalid \`target' column`);
    return null;
  }
  const number = (name: string) => {
    const value = first(name);
    return typeof value === 'number' ? value : undefined;
  };
  const readOnly = first('read_only');
  const role = first('role');
  return {
    target,
    options: {
      maxBackoffMs: number('max_backoff'),
      probeIntervalMs: number('inactivity_probe'),
      readOnly: readOnly === true,
      role: typeof role === 'string' ? role : '',
    },
    row: { table, uuid: row.uuid },
  };
}

/** The columns `is_connected` and `status`, as far as the table has them. */
function statusColumns(table: Table, endpoint: RemoteEndpoint): Map<ColumnSchema, Datum> {
  const values = new Map<ColumnSchema, Datum>();
  const set = (name: string, datum: Datum) => {
    const column = table.schema.columnByName.get(name);
    if (column !== undefined && (column.type.value === null) === (datum.values === null)) values.set(column, datum);
  };
  const connections = [...endpoint.connections];
  set('is_connected', { keys: [connections.some((connection) => connection.isConnected)], values: null });
  set('status', makeMap(Object.entries(statusOf(endpoint, connections))));
  return values;
}

function statusOf(endpoint: RemoteEndpoint, connections: Connection[]): Record<string, string> {
  const status: Record<string, string> = {};
  const first = connections[0];
  if (first !== undefined) {
    const { reconnect, session } = first;
    const now = clock.nowMs();
    const since = (ms: number | null) => (ms === null ? null : String(Math.floor((now - ms) / 1000)));
    status['state'] = reconnect.state;
    if (reconnect.lastError !== null) status['last_error'] = reconnect.lastError;
    const connect = since(reconnect.lastConnectedMs);
    if (connect !== null && first.isConnected) status['sec_since_connect'] = connect;
    const disconnect = since(reconnect.lastDisconnectedMs);
    if (disconnect !== null && !first.isConnected) status['sec_since_disconnect'] = disconnect;
    if (session !== null) {
      const held = session.locksHeld;
      if (held > 0) status['locks_held'] = String(held);
      if (session.locks.size > held) status['locks_waiting'] = String(session.locks.size - held);
      if (session.locksLost > 0) status['locks_lost'] = String(session.locksLost);
    }
  }
  if (endpoint.isPassive) {
    if (connections.length > 1) status['n_connections'] = String(connections.length);
    if (endpoint.boundPort > 0) status['bound_port'] = String(endpoint.boundPort);
  }
  return status;
}
