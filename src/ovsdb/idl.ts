/**
 * The database as a client has it: a replica that follows a server, and transactions on it (ovsdb(7); ovsdb-server(7) 4.1).
 *
 * The replica is kept by `monitor_cond_since`, so that a reconnection asks only for what it missed; older servers get
 * `monitor_cond` or `monitor`. Whatever the server sends after a reconnection, or after its database got another schema, listeners hear of each
 * change once and of nothing that did not change. `_Server`, where there is one, says whether a remote serves the database now (a relay or cluster
 * member may not, or may lag behind); if not, the next remote is tried.
 *
 * All state changes happen between `onChange` calls, never during one's own synchronous code: what is read in one turn is consistent.
 */
import { isRequest, type JsonRpcMessage } from '../base/jsonrpc.ts';
import { OVSDB_PORT } from '../base/remote.ts';
import { JsonRpcSession } from '../base/session.ts';
import { vlog } from '../base/vlog.ts';
import { Calls } from './calls.ts';
import { monitorReplica, replyErrorText } from './idl-monitor.ts';
import { type IdlFailure, type IdlOptions, peersOf, type Remote } from './idl-options.ts';
import { Replica, type ReplicaTable, type RowChange, type UpdateFormat } from './idl-replica.ts';
import { Transaction } from './idl-txn.ts';
import { isObject, type Json, jsonText, parseJson, stringifyJson } from './json.ts';
import { type DatabaseSchema, schemaFromJson } from './schema.ts';
import { ServerStatus, STATUS_COLUMNS } from './server-status.ts';
import { OvsdbError, ZERO_UUID } from './types.ts';

export type { IdlFailure, IdlOptions, Opener, Remote } from './idl-options.ts';
export type { CommitResult } from './idl-outcome.ts';
export type { Row, RowChange, RowView, TableRequests } from './idl-replica.ts';
export { ReplicaTable } from './idl-replica.ts';
export { Transaction } from './idl-txn.ts';
export type { Value } from './idl-values.ts';

const log = vlog('ovsdb_idl');
const serverLog = vlog('ovsdb_cs');

const MIN_BACKOFF_MS = 1000;
const SERVER = '_Server';

export class Idl {
  readonly database: string;
  private readonly options: IdlOptions;
  private readonly transport: JsonRpcSession;
  private readonly calls: Calls;
  private readonly status: ServerStatus;
  private readonly remoteCount: number;
  private failuresInARow = 0;
  private isInSync = false;
  private replica: Replica | null = null;
  /** Text of the schema that the replica is of, as the server has it. */
  private adopted: string | null = null;
  private readonly conditions = new Map<string, readonly Json[]>();
  private lastTransaction = ZERO_UUID;
  private updateFormat: UpdateFormat = 'update2';
  /** What comes behind initial contents, until those are in the replica. */
  private held: { method: string; params: readonly Json[] }[] = [];
  private readonly changeListeners = new Set<(changes: readonly RowChange[]) => void>();
  private readonly failureListeners = new Set<(failure: IdlFailure) => void>();
  private readonly syncWaiters: (() => void)[] = [];
  private started = false;
  private closed = false;
  private lockHeld = false;
  private lockContended = false;
  private notifyQueued = false;
  /** Counts every change of contents, connection or lock. */
  seqno = 0;

  constructor(remote: Remote, options: IdlOptions) {
    this.options = options;
    this.database = options.database;
    const { clusterId, peers } = peersOf(remote, options.shuffle !== false);
    this.remoteCount = peers.length;
    this.status = new ServerStatus({ database: this.database, leaderOnly: options.leaderOnly !== false, clusterId });
    const { maxBackoffMs } = options;
    this.transport = new JsonRpcSession(peers, {
      parse: parseJson,
      stringify: stringifyJson as (value: unknown) => string,
      defaultPort: OVSDB_PORT,
      probeIntervalMs: options.probeIntervalMs,
      maxBackoffMs,
      ...(maxBackoffMs === undefined ? {} : { minBackoffMs: Math.min(MIN_BACKOFF_MS, maxBackoffMs) }),
    });
    this.calls = new Calls((text) => this.transport.sendText(text));
    this.transport.onConnected(() => void this.guarded(() => this.begin()));
    this.transport.onMessage((message) => this.receive(message));
    this.transport.onDisconnected((error) => this.disconnected(error));
  }

  /** Begins to connect, and goes on until `close()`. */
  start(): this {
    if (!this.started) this.transport.open();
    this.started = true;
    return this;
  }

  /** The replica is complete and a server keeps it up to date. */
  get isSynced(): boolean {
    return this.isInSync;
  }

  /** Contents were received at least once. */
  get hasEverSynced(): boolean {
    return this.replica !== null;
  }

  get hasLock(): boolean {
    return this.lockHeld;
  }

  /** Somebody else holds the lock. */
  get isLockContended(): boolean {
    return this.lockContended;
  }

  get schema(): DatabaseSchema | null {
    return this.replica?.schema ?? null;
  }

  /** Resolves when first in sync (at once if it is). */
  synced(): Promise<void> {
    return this.isSynced ? Promise.resolve() : new Promise((resolve) => this.syncWaiters.push(resolve));
  }

  /** Called after each batch of updates, and (with no changes) when connection or lock change. */
  onChange(listener: (changes: readonly RowChange[]) => void): Disposable {
    this.changeListeners.add(listener);
    return { [Symbol.dispose]: () => void this.changeListeners.delete(listener) };
  }

  onFailure(listener: (failure: IdlFailure) => void): Disposable {
    this.failureListeners.add(listener);
    return { [Symbol.dispose]: () => void this.failureListeners.delete(listener) };
  }

  hasTable(name: string): boolean {
    return this.replica?.tables.get(name)?.isPresent ?? false;
  }

  hasColumn(table: string, column: string): boolean {
    return this.replica?.tables.get(table)?.monitored.has(column) ?? false;
  }

  /** A table of the replica. Throws for one that was not asked for, or before the first sync. */
  table(name: string): ReplicaTable {
    const table = this.replica?.tables.get(name);
    if (table === undefined) throw new Error(`no table ${name} in the replica`);
    return table;
  }

  /**
   * Which rows of a table the replica shall have: `<condition>`s of RFC 7047 5.1 of which one must hold, or booleans; null for all rows. Resolves when
   * the replica is so, or the connection has ended, after which the next one makes it so. A server that knows only `monitor` sends all rows all the same.
   */
  async setCondition(table: string, where: readonly Json[] | null): Promise<void> {
    this.conditions.set(table, where ?? [true]);
    if (!this.isInSync || this.updateFormat === 'update') return;
    const change = { [table]: [{ where: [...(where ?? [true])] }] };
    const reply = await this.calls.request('monitor_cond_change', [this.database, this.database, change]);
    if (reply.ok) return;
    // What rows there are now is not known.
    this.lastTransaction = ZERO_UUID;
    if (reply.error !== null) throw new Error(replyErrorText(reply));
  }

  /** Columns of all rows in the replica, for `memory/show`. */
  cells(): number {
    let cells = 0;
    for (const table of this.replica?.tables.values() ?? []) cells += table.size * table.schema.columns.length;
    return cells;
  }

  transaction(): Transaction {
    const self = this;
    return new Transaction({
      database: this.database,
      get lock() {
        return self.options.lock ?? null;
      },
      get isReady() {
        return self.isSynced && (self.options.lock === undefined || self.lockHeld);
      },
      lookUp: (table, uuid) => this.replica?.tables.get(table)?.get(uuid),
      transact: async (params) => {
        const reply = await this.calls.request('transact', params);
        if (reply.ok) return reply;
        if (reply.error === null) return { ok: false, error: null };
        log.warn(`transaction error: ${jsonText(reply.error)}`);
        return { ok: false, error: jsonText(reply.error) };
      },
    });
  }

  close(): void {
    this.closed = true;
    this.transport.close();
    this.calls.fail();
    this.isInSync = false;
  }

  /** What goes wrong while the connection lasts is a reason to try the next one. */
  private async guarded(act: () => Promise<void>): Promise<void> {
    const { seqno } = this.transport;
    try {
      await act();
    } catch (error) {
      if (this.closed || this.transport.seqno !== seqno) return;
      this.transport.refuse(error instanceof Error ? error.message : String(error));
    }
  }

  /** Everything from "connected" to "in sync". */
  private async begin(): Promise<void> {
    this.status.reset();
    const isAcceptable = this.askServer();
    // Who awaits it hears of a failure; nobody may come to that.
    isAcceptable.catch(() => undefined);
    if (this.options.eager && this.replica === null) await this.fillEagerly(isAcceptable);
    else if (await isAcceptable) await this.learnSchemaAndFill();
    if (!(await isAcceptable)) return;
    if (this.options.lock !== undefined) await this.takeLock(this.options.lock);
    this.becomeSynced();
  }

  private becomeSynced(): void {
    for (const { method, params } of this.held.splice(0)) this.applyUpdate(method, params);
    if (!this.transport.isConnected) return;
    this.isInSync = true;
    this.failuresInARow = 0;
    this.changed();
    for (const resolve of this.syncWaiters.splice(0)) resolve();
  }

  /** Whether this server will do. One without `_Server` is taken at its word; one that will not is left. */
  private async askServer(): Promise<boolean> {
    const columns = this.options.eager ? STATUS_COLUMNS : [...STATUS_COLUMNS, 'schema'];
    const reply = await this.calls.request('monitor_cond', [SERVER, SERVER, { Database: [{ columns }] }]);
    if (!reply.ok) {
      if (reply.error === null) throw new Error('connection closed');
      return true;
    }
    this.status.apply(reply.result);
    if (!this.isServed()) return false;
    // Else it would end the connection when the schema changes, where a word is enough.
    if (!this.options.eager) void this.calls.request('set_db_change_aware', [true]);
    return true;
  }

  private isServed(): boolean {
    const refusal = this.status.refusal(!this.options.eager);
    if (refusal === null) return true;
    serverLog.rl(5).info(`${this.transport.name}: ${refusal}`);
    this.transport.refuse();
    return false;
  }

  private async fillEagerly(isAcceptable: Promise<boolean>): Promise<void> {
    const assumed = this.options.assumedSchema;
    if (assumed === undefined) throw new Error('an eager client must assume a schema');
    const replica = new Replica(assumed, this.options.tables);
    this.replica = replica;
    try {
      await this.fill();
    } catch (error) {
      this.replica = null;
      if (!this.transport.isConnected) throw error;
      if (await isAcceptable) await this.learnSchemaAndFill();
    }
  }

  private async learnSchemaAndFill(): Promise<void> {
    const known = this.status.schema;
    if (known !== null) this.adoptSchema(parseJson(known));
    else {
      const reply = await this.calls.request('get_schema', [this.database]);
      if (!reply.ok) throw new Error(replyErrorText(reply));
      this.adoptSchema(reply.result);
    }
    await this.fill();
  }

  /** Keeps the rows, and their identity. */
  private adoptSchema(json: Json): void {
    const text = jsonText(json);
    const old = this.replica;
    if (old !== null && this.adopted === text) return;
    const schema = schemaFromJson(json);
    this.replica = new Replica(this.options.assumedSchema ?? schema, this.options.tables, schema);
    if (old !== null) this.replica.inherit(old);
    this.adopted = text;
    this.lastTransaction = ZERO_UUID;
    for (const name of this.replica.missing) {
      const [table, column] = name.split(':');
      if (column === undefined) log.warn(`${this.database} database lacks ${table} table (database needs upgrade?)`);
      else log.warn(`${table} table in ${this.database} database lacks ${column} column (database needs upgrade?)`);
    }
  }

  private async fill(): Promise<void> {
    const { calls, database, conditions, lastTransaction } = this;
    const monitored = await monitorReplica(calls, database, this.replica!, conditions, lastTransaction);
    this.updateFormat = monitored.format;
    this.lastTransaction = monitored.lastTransaction;
  }

  /** The database has another schema now. */
  private async startOver(): Promise<void> {
    this.isInSync = false;
    this.held = [];
    this.changed();
    const reply = await this.calls.request('get_schema', [this.database]);
    if (!reply.ok) throw new Error(replyErrorText(reply));
    this.adoptSchema(reply.result);
    await this.fill();
    this.becomeSynced();
  }

  private async takeLock(name: string): Promise<void> {
    const reply = await this.calls.request('lock', [name]);
    if (!reply.ok) throw new Error(replyErrorText(reply));
    this.lockHeld = isObject(reply.result) && reply.result['locked'] === true;
    this.lockContended = !this.lockHeld;
  }

  private receive(message: JsonRpcMessage): void {
    if (!isRequest(message)) return this.calls.receive(message);
    // The parser makes only JSON values.
    const params = message.params as Json[];
    switch (message.method) {
      case 'update':
      case 'update2':
      case 'update3':
        this.receiveUpdate(message.method, params);
        return;
      case 'monitor_canceled':
        if (params[0] === this.database) void this.guarded(() => this.startOver());
        return;
      case 'locked':
      case 'stolen':
        if (params[0] !== this.options.lock) return;
        this.lockHeld = message.method === 'locked';
        this.lockContended = !this.lockHeld;
        this.changed();
        return;
    }
  }

  private receiveUpdate(method: string, params: readonly Json[]): void {
    if (params[0] === SERVER) {
      this.status.apply(params[1]);
      // A new schema is heard of twice: here, and as `monitor_canceled`, or as the end of the connection.
      if (this.isInSync) this.isServed();
    } else if (params[0] !== this.database) return;
    else if (!this.isInSync) this.held.push({ method, params });
    else this.applyUpdate(method, params);
  }

  private applyUpdate(method: string, params: readonly Json[]): void {
    try {
      this.replica?.apply(method === 'update3' ? params[2] : params[1], this.updateFormat);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      log.warn(`row update received for inconsistent IDL: reconnecting IDL and resync all data (${error.message})`);
      this.lastTransaction = ZERO_UUID;
      this.transport.refuse(error.message);
      return;
    }
    if (method === 'update3' && typeof params[1] === 'string') this.lastTransaction = params[1];
    if (this.isInSync) this.changed();
  }

  private disconnected(error: string | null): void {
    if (this.closed) return;
    const wasSynced = this.isInSync;
    this.isInSync = false;
    this.held = [];
    this.lockHeld = false;
    this.lockContended = false;
    this.calls.fail();
    const isLast = wasSynced || ++this.failuresInARow % this.remoteCount === 0;
    const failure: IdlFailure = { remote: this.transport.name, error, isLast };
    for (const listener of [...this.failureListeners]) listener(failure);
    if (wasSynced && !this.closed) this.changed();
  }

  /** Tells listeners once for all messages that arrived together. */
  private changed(): void {
    this.seqno++;
    if (this.notifyQueued) return;
    this.notifyQueued = true;
    queueMicrotask(() => {
      this.notifyQueued = false;
      if (this.closed) return;
      const changes = this.isInSync ? (this.replica?.takeChanges() ?? []) : [];
      for (const listener of [...this.changeListeners]) listener(changes);
    });
  }
}
