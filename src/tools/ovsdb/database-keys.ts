/** `--private-key=db:DB,TABLE,COLUMN` and its like: file names of keys that stand in a database (ovsdb-server(1)). */
import { setSslConfig } from '../../base/ssl-config.ts';
import type { OvsdbServer } from '../../ovsdb/server.ts';

const KEY_OPTIONS = ['private-key', 'certificate', 'ca-cert', 'bootstrap-ca-cert'] as const;
export type KeyOption = (typeof KEY_OPTIONS)[number];

/** Reads the columns now and after each change. Throws `Error` for a column that is not there. */
export class DatabaseKeys {
  private readonly server: OvsdbServer;
  private readonly columns = new Map<KeyOption, string>();

  constructor(server: OvsdbServer) {
    this.server = server;
  }

  /** True if the option's value names a database column. */
  take(option: string, value: string | null): boolean {
    const key = KEY_OPTIONS.find((name) => name === option);
    if (key === undefined || !value?.startsWith('db:')) return false;
    this.columns.set(key, value);
    return true;
  }

  start(): void {
    const databases = new Set<string>();
    for (const text of this.columns.values()) {
      const { database } = this.locate(text);
      databases.add(database);
    }
    for (const name of databases) this.server.store(name)!.observe(() => this.apply());
    this.apply();
  }

  private locate(text: string) {
    const [database, table, column, ...rest] = text.slice(3).split(',');
    const fail = (reason: string) => new Error(`"${text}": ${reason}`);
    if (!database || !table || !column || rest.length > 0) throw fail('invalid syntax');
    const store = this.server.store(database);
    if (store === undefined) throw fail(`no database named ${database}`);
    const schema = store.schema.tables.get(table);
    if (schema === undefined) throw fail(`no table named ${table}`);
    const found = schema.columnByName.get(column);
    if (found === undefined) throw fail(`table "${table}" has no column "${column}"`);
    return { database, store, table, column: found };
  }

  private apply(): void {
    for (const [option, text] of this.columns) {
      let value: string | null = null;
      const { store, table, column } = this.locate(text);
      for (const row of store.db.tables.get(table)!.rows.values()) {
        const atom = row.data[column.index]!.keys[0];
        if (typeof atom === 'string' && atom !== '') value = atom;
      }
      if (option === 'private-key') setSslConfig({ privateKey: value });
      else if (option === 'certificate') setSslConfig({ certificate: value });
      else setSslConfig({ caCert: value, bootstrapCaCert: option === 'bootstrap-ca-cert' });
    }
  }
}
