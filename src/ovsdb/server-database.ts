/** `_Server`, the database in which the server tells of its databases (ovsdb-server(5)). It is in memory only, and clients only read it. */
import { newUuid, type Uuid } from './atom.ts';
import { Database } from './database.ts';
import { type Datum, defaultDatum, scalarDatum } from './datum.ts';
import { jsonText } from './json.ts';
import { defaultData, withColumns } from './row.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { Store } from './store.ts';
import { Transaction } from './transaction.ts';

const SCHEMA = {
  name: '_Server',
  version: '1.2.0',
  cksum: '3009684573 744',
  tables: {
    Database: {
      columns: {
        name: { type: 'string' },
        model: { type: { key: { type: 'string', enum: ['set', ['standalone', 'clustered', 'relay']] } } },
        connected: { type: 'boolean' },
        leader: { type: 'boolean' },
        schema: { type: { key: 'string', min: 0 } },
        cid: { type: { key: 'uuid', min: 0 } },
        sid: { type: { key: 'uuid', min: 0 } },
        index: { type: { key: 'integer', min: 0 } },
      },
    },
  },
};

export class ServerDatabase {
  readonly store = new Store(new Database(schemaFromJson(SCHEMA)), null);
  private readonly rows = new Map<Store, Uuid>();

  constructor() {
    this.update(this.store);
  }

  /** A database was added, or has another schema now. */
  update(store: Store): void {
    const table = this.store.db.tables.get('Database')!;
    const txn = new Transaction(this.store.db);
    const uuid = this.rows.get(store) ?? newUuid();
    this.rows.set(store, uuid);
    const values: Record<string, Datum> = {
      name: scalarDatum(store.name),
      model: scalarDatum(store.relay === null ? 'standalone' : 'relay'),
      connected: scalarDatum(store.relay?.connected ?? true),
      leader: scalarDatum(store.relay === null),
      schema: store.available
        ? scalarDatum(jsonText(schemaToJson(store.schema)))
        : defaultDatum(table.schema.columnByName.get('schema')!.type),
    };
    const columns = new Map(table.schema.columns.filter((c) => c.name in values).map((c) => [c, values[c.name]!]));
    const row = txn.get(table, uuid);
    if (row === undefined) txn.insert(table, uuid, withColumns(defaultData(table.schema), columns));
    else txn.update(table, row, columns);
    this.store.commit(txn);
  }

  remove(store: Store): void {
    const uuid = this.rows.get(store);
    const table = this.store.db.tables.get('Database')!;
    const row = uuid === undefined ? undefined : table.rows.get(uuid);
    if (row === undefined) return;
    this.rows.delete(store);
    const txn = new Transaction(this.store.db);
    txn.delete(table, row);
    this.store.commit(txn);
  }
}
