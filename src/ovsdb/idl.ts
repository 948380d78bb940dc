/**
 * The database as a client has it: a replica that follows a server, and transactions on it (ovsdb(7); ovsdb-server(7) 4.1).
 *
 * The replica is kept by `monitor_cond_since`, so that a reconnection asks only for what it missed; older servers get
 * `monitor_cond` or `monitor`. Whatever the server sends after a reconnection, listeners hear of each change once and of
 * nothing that did not change. `_Server`, where there is one, says whether a remote serves the database now (a relay or cluster member
 * may not); if not, the next remote is tried.
 *
 * All state changes happen between `onChange` calls, never during one's own synchronous code: what is read in one turn is consistent.
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { type Opener, openRemote, type RpcChannel } from './idl-channel.ts';
import { Replica, type ReplicaTable, type RowChange, type TableRequests, type UpdateFormat } from './idl-replica.ts';
import { Transaction } from './idl-txn.ts';
import { isObject, type Json, type JsonObject, jsonText, parseJson } from './json.ts';
import { type DatabaseSchema, schemaFromJson } from './schema.ts';
import { OvsdbError, ZERO_UUID } from './types.ts';

export { type Opener, type RpcChannel, streamChannel } from './idl-channel.ts';
export type { Row, RowChange, RowView, TableRequests } from './idl-replica.ts';
export { ReplicaTable } from './idl-replica.ts';
export { type CommitResult, Transaction, type Value } from './idl-txn.ts';

const log = vlog('ovsdb_idl');

export interface IdlOptions {
  readonly database: string;
  readonly tables: TableRequests;
  /** Name of a database lock to hold while connected. */
  readonly lock?: string;
  /** Ask `_Server` first; costs a round trip, needed for clusters, relays and databases that appear later. Default true. */
  readonly serverAware?: boolean;
  /**
   * What the client knows the database by. Tables and columns that the server lacks read as if empty. Unless
   * `serverAware`, the server is believed to have it all, and asked only if it turns out that it has not.
   */
  readonly assumedSchema?: DatabaseSchema;
  /** Only accept the leader of a cluster. Default true. */
  readonly leaderOnly?: boolean;
  /** Idle time after which the server is probed; 0 never. Default: 5000, and 0 for local sockets. */
  readonly probeIntervalMs?: number;
  /** Longest time between attempts to connect. Default 8000. */
  readonly maxBackoffMs?: number;
}

/** One or more remotes separated by commas, a list of them, or a function that makes connections. */
export type Remote = string | readonly string[] | Opener;

type Phase = 'idle' | 'connecting' | 'server' | 'schema' | 'monitor' | 'synced';

type Reply = { ok: true; result: Json } | { ok: false; error: Json };

export class Idl {
  readonly database: string;
  private readonly options: IdlOptions;
  private readonly openers: readonly { readonly name: string; readonly open: Opener }[];
  private nextRemote = 0;
  private phase: Phase = 'idle';
  private channel: RpcChannel | null = null;
  private replica: Replica | null = null;
  private schemaText: string | null = null;
  private lastTransaction = ZERO_UUID;
  private updateFormat: UpdateFormat = 'update2';
  private nextId = 0;
  private readonly pending = new Map<number, (reply: Reply) => void>();
  private readonly changeListeners = new Set<(changes: readonly RowChange[]) => void>();
  private readonly failureListeners = new Set<(remote: string, error: string | null) => void>();
  private readonly syncWaiters: (() => void)[] = [];
  private backoffMs = 0;
  private timer: Disposable | null = null;
  private probe: Disposable | null = null;
  private probeSent = false;
  private heardSinceProbe = false;
  private closed = false;
  private lockHeld = false;
  private lockContended = false;
  private notifyQueued = false;
  /** Counts every change of contents, connection or lock. */
  seqno = 0;

  constructor(remote: Remote, options: IdlOptions) {
    this.options = options;
    this.database = options.database;
    if (typeof remote === 'function') this.openers = [{ name: 'in-process', open: remote }];
    else {
      const names = typeof remote === 'string' ? remote.split(/,(?=(?:unix|tcp|ssl|punix|ptcp|pssl):)/) : remote;
      this.openers = names.map((name) => ({ name, open: () => openRemote(name) }));
    }
  }

  /** Begins to connect, and goes on until `close()`. */
  start(): this {
    if (this.phase === 'idle') void this.connect();
    return this;
  }

  /** The replica is complete and a server keeps it up to date. */
  get isSynced(): boolean {
    return this.phase === 'synced';
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

  /** Called when an attempt to connect fails or a connection ends; `error` null for a regular end. */
  onFailure(listener: (remote: string, error: string | null) => void): Disposable {
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
        const reply = await this.request('transact', params);
        if (reply.ok) return reply;
        if (reply.error === null) return { ok: false, error: null };
        log.warn(`transaction error: ${jsonText(reply.error)}`);
        return { ok: false, error: jsonText(reply.error) };
      },
    });
  }

  close(): void {
    this.closed = true;
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    this.dropChannel();
    this.phase = 'idle';
  }

  private async connect(): Promise<void> {
    const remote = this.openers[this.nextRemote++ % this.openers.length];
    this.phase = 'connecting';
    let channel: RpcChannel;
    try {
      channel = await remote.open();
    } catch (error) {
      this.disconnected(remote.name, error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.closed) return channel.close();
    this.channel = channel;
    channel.onMessage((message) => {
      if (channel === this.channel) this.receive(remote.name, message);
    });
    channel.onClose((error) => {
      if (channel === this.channel) this.disconnected(remote.name, error);
    });
    this.startProbes(remote.name);
    this.dialogue(remote.name).catch((error: unknown) => {
      if (channel !== this.channel) return;
      this.disconnected(remote.name, error instanceof Error ? error.message : String(error));
    });
  }

  /** Everything from "connected" to "in sync". */
  private async dialogue(remote: string): Promise<void> {
    if (this.options.serverAware !== false && !(await this.askServer())) {
      const name = this.database;
      log.info(`${remote}: clustered database server is not ready to serve ${name}; trying another server`);
      throw new Error(`${name} is not available`);
    }
    await this.learnSchemaAndMonitor();
    if (this.options.lock !== undefined) await this.takeLock(this.options.lock);
    this.backoffMs = 0;
    this.phase = 'synced';
    this.changed();
    for (const resolve of this.syncWaiters.splice(0)) resolve();
  }

  private async learnSchemaAndMonitor(): Promise<void> {
    const assumed = this.options.assumedSchema;
    if (assumed !== undefined && this.replica === null && this.options.serverAware === false) {
      this.replica = new Replica(assumed, this.options.tables);
      try {
        return await this.monitor();
      } catch (error) {
        if (this.channel === null) throw error;
        this.replica = null;
      }
    }
    const isKnown = this.options.serverAware !== false && this.schemaText !== null && this.replica !== null;
    if (!isKnown) {
      this.phase = 'schema';
      this.adoptSchema(await this.call('get_schema', [this.database]));
    }
    await this.monitor();
  }

  /** Whether this server serves our database now, by its `_Server` database; servers without one do. */
  private async askServer(): Promise<boolean> {
    this.phase = 'server';
    const columns = ['name', 'model', 'connected', 'leader', 'schema'];
    const reply = await this.request('monitor_cond', ['_Server', 'server', { Database: [{ columns }] }]);
    if (!reply.ok) {
      if (reply.error === null) throw new Error('connection closed');
      return true;
    }
    this.serverRows.clear();
    this.applyServerUpdate(reply.result);
    const row = [...this.serverRows.values()].find((one) => one['name'] === this.database);
    if (row === undefined) return false;
    if (!this.serves(row)) return false;
    const schema = row['schema'];
    if (typeof schema === 'string' && (schema !== this.schemaText || this.replica === null)) {
      this.adoptSchema(parseJson(schema));
      this.schemaText = schema;
    }
    return true;
  }

  private readonly serverRows = new Map<string, JsonObject>();

  private serves(row: JsonObject): boolean {
    if (row['connected'] !== true) return false;
    return row['model'] !== 'clustered' || this.options.leaderOnly === false || row['leader'] === true;
  }

  private applyServerUpdate(updates: Json): void {
    const rows = isObject(updates) ? updates['Database'] : undefined;
    if (!isObject(rows)) return;
    for (const [uuid, update] of Object.entries(rows)) {
      if (!isObject(update)) continue;
      const content = update['initial'] ?? update['insert'] ?? update['modify'];
      if (isObject(content)) this.serverRows.set(uuid, { ...this.serverRows.get(uuid), ...content });
      else this.serverRows.delete(uuid);
    }
  }

  /** A server that has stopped serving our database, or serves another schema of it, is left for the next one. */
  private serverChanged(remote: string): void {
    const row = [...this.serverRows.values()].find((one) => one['name'] === this.database);
    const schemaChanged = typeof row?.['schema'] === 'string' && row['schema'] !== this.schemaText;
    if (row !== undefined && this.serves(row) && !schemaChanged) return;
    this.disconnected(remote, schemaChanged ? 'database schema changed' : `${this.database} is not available`);
  }

  /** Keeps the rows (and their identity) when the schema is what it was. */
  private adoptSchema(json: Json): void {
    const text = jsonText(json);
    if (this.replica !== null && jsonText(this.adopted) === text) return;
    const schema = schemaFromJson(json);
    this.adopted = json;
    this.replica = new Replica(this.options.assumedSchema ?? schema, this.options.tables, schema);
    this.lastTransaction = ZERO_UUID;
    for (const name of this.replica.missing) {
      const [table, column] = name.split(':');
      if (column === undefined) log.warn(`${this.database} database lacks ${table} table (database needs upgrade?)`);
      else log.warn(`${table} table in ${this.database} database lacks ${column} column (database needs upgrade?)`);
    }
  }

  private adopted: Json = null;

  private async monitor(): Promise<void> {
    this.phase = 'monitor';
    const replica = this.replica!; // adoptSchema() came before.
    const conditional: JsonObject = {};
    const tables = [...replica.tables.values()].filter((table) => table.isPresent);
    for (const table of tables) conditional[table.name] = [{ columns: [...table.monitored] }];

    const since = await this.request('monitor_cond_since', [
      this.database,
      this.database,
      conditional,
      this.lastTransaction,
    ]);
    if (since.ok) {
      const [found, last, updates] = Array.isArray(since.result) ? since.result : [];
      this.updateFormat = 'update2';
      if (found === true) replica.apply(updates, 'update2');
      else replica.replace(updates, 'update2');
      this.lastTransaction = typeof last === 'string' ? last : ZERO_UUID;
      return;
    }
    if (!isUnknownMethod(since.error)) throw new Error(errorText(since.error));
    this.lastTransaction = ZERO_UUID;

    const cond = await this.request('monitor_cond', [this.database, this.database, conditional]);
    if (cond.ok) {
      this.updateFormat = 'update2';
      replica.replace(cond.result, 'update2');
      return;
    }
    if (!isUnknownMethod(cond.error)) throw new Error(errorText(cond.error));

    const plain: JsonObject = {};
    for (const table of tables) plain[table.name] = { columns: [...table.monitored] };
    this.updateFormat = 'update';
    replica.replace(await this.call('monitor', [this.database, this.database, plain]), 'update');
  }

  private async takeLock(name: string): Promise<void> {
    const result = await this.call('lock', [name]);
    this.lockHeld = isObject(result) && result['locked'] === true;
    this.lockContended = !this.lockHeld;
  }

  private receive(remote: string, message: JsonObject): void {
    this.heardSinceProbe = true;
    this.probeSent = false;
    if (typeof message['method'] === 'string') {
      this.receiveRequest(remote, message['method'], message);
      return;
    }
    const settle = this.pending.get(message['id'] as number);
    if (settle === undefined) return;
    this.pending.delete(message['id'] as number);
    const error = message['error'];
    settle(
      error === null || error === undefined ? { ok: true, result: message['result'] ?? null } : { ok: false, error },
    );
  }

  private receiveRequest(remote: string, method: string, message: JsonObject): void {
    const params = Array.isArray(message['params']) ? message['params'] : [];
    switch (method) {
      case 'echo':
        this.channel?.send({ id: message['id'], result: params, error: null });
        return;
      case 'update':
      case 'update2':
      case 'update3':
        this.receiveUpdate(remote, method, params);
        return;
      case 'locked':
      case 'stolen':
        if (params[0] !== this.options.lock) return;
        this.lockHeld = method === 'locked';
        this.lockContended = !this.lockHeld;
        this.changed();
        return;
    }
  }

  private receiveUpdate(remote: string, method: string, params: readonly Json[]): void {
    if (params[0] === 'server') {
      this.applyServerUpdate(params[1]);
      if (this.phase === 'synced') this.serverChanged(remote);
      return;
    }
    if (params[0] !== this.database || this.replica === null) return;
    try {
      this.replica.apply(method === 'update3' ? params[2] : params[1], this.updateFormat);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      log.warn(`row update received for inconsistent IDL: reconnecting IDL and resync all data (${error.message})`);
      this.lastTransaction = ZERO_UUID;
      this.disconnected(remote, error.message);
      return;
    }
    if (method === 'update3' && typeof params[1] === 'string') this.lastTransaction = params[1];
    this.changed();
  }

  private request(method: string, params: Json[]): Promise<Reply> {
    if (this.channel === null) return Promise.resolve({ ok: false, error: null });
    const id = this.nextId++;
    const promise = new Promise<Reply>((resolve) => this.pending.set(id, resolve));
    this.channel.send({ id, method, params });
    return promise;
  }

  /** Like `request()`, for what has no other answer than success. */
  private async call(method: string, params: Json[]): Promise<Json> {
    const reply = await this.request(method, params);
    if (!reply.ok) throw new Error(reply.error === null ? 'connection closed' : errorText(reply.error));
    return reply.result;
  }

  private startProbes(remote: string): void {
    const interval = this.options.probeIntervalMs ?? (/^p?(tcp|ssl):/.test(remote) ? 5000 : 0);
    if (interval === 0) return;
    this.heardSinceProbe = true;
    this.probe = clock.setInterval(() => {
      if (this.heardSinceProbe) {
        this.heardSinceProbe = false;
        return;
      }
      if (this.probeSent) {
        log.err(`${remote}: no response to inactivity probe after ${interval / 1000} seconds, disconnecting`);
        this.disconnected(remote, 'Connection timed out');
        return;
      }
      this.probeSent = true;
      this.channel?.send({ id: 'echo', method: 'echo', params: [] });
    }, interval);
  }

  private dropChannel(): void {
    const channel = this.channel;
    this.channel = null;
    this.probe?.[Symbol.dispose]();
    this.probe = null;
    this.probeSent = false;
    channel?.close();
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const settle of waiting) settle({ ok: false, error: null });
  }

  private disconnected(remote: string, error: string | null): void {
    if (this.closed) return;
    const wasSynced = this.phase === 'synced';
    this.dropChannel();
    this.phase = 'connecting';
    this.lockHeld = false;
    this.lockContended = false;
    for (const listener of [...this.failureListeners]) listener(remote, error);
    if (this.closed) return;
    if (wasSynced) this.changed();
    // Another remote may be tried at once; the same one only after a growing pause.
    const roundDone = this.nextRemote % this.openers.length === 0;
    const delay = roundDone ? this.backoffMs : 0;
    if (roundDone) this.backoffMs = Math.min(Math.max(1000, this.backoffMs * 2), this.options.maxBackoffMs ?? 8000);
    this.timer = clock.setTimeout(() => {
      this.timer = null;
      void this.connect();
    }, delay);
  }

  /** Tells listeners once for all messages that arrived together. */
  private changed(): void {
    this.seqno++;
    if (this.notifyQueued) return;
    this.notifyQueued = true;
    queueMicrotask(() => {
      this.notifyQueued = false;
      if (this.closed) return;
      const changes = this.phase === 'synced' ? (this.replica?.takeChanges() ?? []) : [];
      for (const listener of [...this.changeListeners]) listener(changes);
    });
  }
}

function isUnknownMethod(error: Json): boolean {
  return error === 'unknown method' || (isObject(error) && error['error'] === 'unknown method');
}

function errorText(error: Json): string {
  return error === null ? 'connection closed' : jsonText(error);
}
