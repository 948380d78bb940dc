/**
 * The database server: databases from files, clients over streams. One process may hold it beside a switch, which then speaks to it through an
 * in-memory stream like any other client.
 */
import { resolve } from 'node:path';
import type { Stream } from '../base/stream.ts';
import { vlog } from '../base/vlog.ts';
import { newUuid, type Uuid } from './atom.ts';
import { Connection } from './connection.ts';
import { Database } from './database.ts';
import { OvsdbError } from './error.ts';
import { type OpenedDatabase, openDatabase, openDatabaseSliced } from './file.ts';
import { LockTable } from './lock-table.ts';
import { ServerCounts } from './metrics.ts';
import { Relay } from './relay.ts';
import { Remotes } from './remotes.ts';
import { Replication } from './replication.ts';
import type { DatabaseSchema } from './schema.ts';
import { ServerDatabase } from './server-database.ts';
import type { Session } from './session.ts';
import { Store } from './store.ts';
import { Turns } from './turns.ts';

const log = vlog('ovsdb_server');

export interface OvsdbServerOptions {
  /** Bytes of updates that a client may leave unread before it is dropped. */
  readonly maxBacklog?: number;
}

export class OvsdbServer {
  /** Identifies this run of the server (`get_server_id`). */
  readonly id: Uuid = newUuid();
  readonly locks = new LockTable();
  readonly turns = new Turns();
  readonly sessions = new Set<Session>();
  readonly counts = new ServerCounts();
  readonly maxBacklog: number;
  readonly remotes: Remotes;
  readonly replication: Replication;
  /** Whether `monitor_cond` and its kin are there; clients of old servers may be tested without. */
  offersConditions = true;
  private readonly serverDatabase = new ServerDatabase();
  private readonly stores = new Map<string, Store>();
  /** No other has unwritten transactions. */
  private transacting: Store | null = null;
  private readonly attached = new Set<Connection>();

  constructor(options: OvsdbServerOptions = {}) {
    this.maxBacklog = options.maxBacklog ?? 64 * 1024 * 1024;
    this.remotes = new Remotes(this);
    this.replication = new Replication(this);
    this.stores.set('_Server', this.serverDatabase.store);
  }

  databaseNames(): string[] {
    return [...this.stores.keys()].sort();
  }

  store(name: string): Store | undefined {
    return this.stores.get(name);
  }

  /** Opens a database file, or follows `relay:DB:REMOTE`, and serves it. Throws `OvsdbError`. Returns the database's name. */
  addDatabase(file: string): string {
    if (file.startsWith('relay:')) return this.addRelay(file.slice('relay:'.length));
    this.refuseOpen(file);
    return this.addOpened(file, openDatabase(file, 'write'));
  }

  /** The same, while others are served. */
  async addDatabaseSliced(file: string): Promise<string> {
    this.refuseOpen(file);
    if (file.startsWith('relay:')) return this.addDatabase(file);
    return this.addOpened(file, await openDatabaseSliced(file, 'write'));
  }

  private refuseOpen(file: string): void {
    for (const store of this.stores.values()) {
      if (store.log?.path === resolve(file)) throw new OvsdbError('ovsdb error', `${file}: already open`);
    }
  }

  private addOpened(file: string, { db, log: file_, damage }: OpenedDatabase): string {
    if (damage !== null) {
      log.err(damage.message);
      log.warn(`${file}: everything before byte ${file_.size} was read and is kept, what follows will be overwritten`);
    }
    if (this.stores.has(db.name)) {
      file_.close();
      throw new OvsdbError('ovsdb error', `${db.name}: duplicate database name`);
    }
    return this.addStore(new Store(db, file_));
  }

  private addRelay(spec: string): string {
    const relay = new Relay(this, spec);
    if (this.stores.has(relay.store.name)) {
      relay.close();
      throw new OvsdbError('ovsdb error', `${relay.store.name}: duplicate database name`);
    }
    return this.addStore(relay.store);
  }

  /** Serves a database that lives only in memory. */
  addMemoryDatabase(schema: DatabaseSchema): string {
    return this.addStore(new Store(new Database(schema), null));
  }

  private addStore(store: Store): string {
    this.stores.set(store.name, store);
    this.serverDatabase.update(store);
    return store.name;
  }

  /** False if there is no such database. */
  removeDatabase(name: string): boolean {
    const store = this.stores.get(name);
    if (store === undefined || store === this.serverDatabase.store) return false;
    store.flush();
    this.stores.delete(name);
    for (const session of [...this.sessions]) session.databaseChanged(store);
    this.serverDatabase.remove(store);
    store.close();
    return true;
  }

  /** What `_Server` says of it has changed. */
  databaseDescribed(store: Store): void {
    if (this.stores.get(store.name) === store) this.serverDatabase.update(store);
  }

  databaseConverted(store: Store): void {
    this.serverDatabase.update(store);
    for (const session of [...this.sessions]) session.databaseChanged(store);
  }

  /** Serves a client at the other end of a stream; gives what ends it. */
  attach(stream: Stream): Disposable {
    const connection = Connection.accepted(this, stream, {}, (ended) => this.attached.delete(ended));
    this.attached.add(connection);
    return { [Symbol.dispose]: () => connection.close() };
  }

  /** `punix:…`, `ptcp:…`, `tcp:…`, `db:DB,TABLE,COLUMN`, …; throws in the original's words. */
  addRemote(remote: string): Promise<void> {
    return this.remotes.add(remote);
  }

  /** Databases other than the server's own. */
  userStores(): Store[] {
    return [...this.stores.values()].filter((store) => store !== this.serverDatabase.store);
  }

  /** Writes what clients have committed and tells of it, before anything else is done with the databases. */
  flush(): void {
    this.transacting?.flush();
  }

  /** Transactions now go to this database; those of one client on several are answered in their order. */
  turnTo(store: Store): void {
    if (this.transacting === store) return;
    this.flush();
    this.transacting = store;
  }

  sessionEnded(session: Session): void {
    this.sessions.delete(session);
  }

  /** For `memory/show`. */
  memory(): Record<string, number> {
    let cells = 0;
    let atoms = 0;
    let weakReferences = 0;
    let monitors = 0;
    let triggers = 0;
    for (const { db } of this.stores.values()) {
      for (const table of db.tables.values()) {
        // As the original, with `_uuid` and `_version`.
        cells += table.rows.size * (table.schema.columns.length + 2);
        atoms += table.rows.size * 2;
        for (const referrers of table.weak.values()) {
          for (const { count } of referrers.values()) weakReferences += count;
        }
        for (const row of table.rows.values()) {
          for (const { keys, values } of row.data) atoms += keys.length + (values?.length ?? 0);
        }
      }
    }
    for (const session of this.sessions) {
      monitors += session.monitorCount;
      triggers += session.triggerCount;
    }
    const usage: Record<string, number> = { atoms, cells, monitors, 'n-weak-refs': weakReferences };
    if (this.sessions.size > 0) usage['sessions'] = this.sessions.size;
    if (triggers > 0) usage['triggers'] = triggers;
    return usage;
  }

  close(): void {
    this.replication.close();
    this.remotes.close();
    for (const connection of [...this.attached]) connection.close();
    for (const store of this.stores.values()) store.close();
  }
}
