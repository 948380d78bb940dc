/**
 * One client's conversation with the server (RFC 7047 4.1, ovsdb-server(7) 4.1.11 to 4.1.21).
 *
 * What is sent keeps its order even when a reply must wait for the disk: later messages queue behind it, so a client never sees a reply before
 * an earlier one. Only a transaction with an unfulfilled `wait` lets others pass.
 */
import { clock } from '../base/clock.ts';
import { isRequest, type JsonRpc, type JsonRpcMessage } from '../base/jsonrpc.ts';
import { vlog } from '../base/vlog.ts';
import { isId } from './atom.ts';
import { OvsdbError, syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { stringifyJson } from './json.ts';
import type { LockClient } from './lock-table.ts';
import type { MonitorVersion } from './monitor.ts';
import { executeTransaction, type LargeSelect } from './operations.ts';
import { type Message, Outbox, type Place } from './outbox.ts';
import type { Client } from './rbac.ts';
import type { Relay } from './relay.ts';
import { Results } from './results.ts';
import { schemaFromJson } from './schema.ts';
import type { OvsdbServer } from './server.ts';
import { SessionMonitors } from './session-monitors.ts';
import { slicedBytes } from './slices.ts';
import type { Store } from './store.ts';

const log = vlog('ovsdb_jsonrpc_server');

interface Trigger {
  readonly store: Store;
  readonly retry: Disposable;
  timer: Disposable | null;
}

export class Session implements LockClient {
  readonly server: OvsdbServer;
  readonly rpc: JsonRpc;
  readonly readOnly: boolean;
  private readonly client: Client;
  readonly locks = new Map<string, 'lock' | 'steal'>();
  dbChangeAware = false;
  locksLost = 0;
  private readonly monitors: SessionMonitors;
  private readonly triggers = new Map<string, Trigger>();
  private readonly outbox: Outbox;
  /** Messages that wait for the next turn. */
  private readonly deferred: JsonRpcMessage[] = [];
  private closed = false;

  constructor(server: OvsdbServer, rpc: JsonRpc, readOnly: boolean, role = '') {
    this.server = server;
    this.rpc = rpc;
    this.outbox = new Outbox(rpc, server.maxBacklog, (bytes) => this.drop(bytes));
    this.monitors = new SessionMonitors(this.outbox);
    this.readOnly = readOnly;
    this.client = { role, id: rpc.stream.peerId ?? null };
  }

  get locksHeld(): number {
    return [...this.locks.keys()].filter((name) => this.server.locks.owns(name, this)).length;
  }

  get monitorCount(): number {
    return this.monitors.size;
  }

  get triggerCount(): number {
    return this.triggers.size;
  }

  /** Takes a message now, or in a later turn when this one has been long; in the order of their coming all the same. */
  handle(message: JsonRpcMessage): void {
    if (this.deferred.length === 0 && !this.server.turns.isOver) return this.take(message);
    this.deferred.push(message);
    if (this.deferred.length > 1) return;
    this.rpc.stream.pause();
    this.server.turns.defer(this.goOn);
  }

  private readonly goOn = (): void => {
    const messages = this.deferred;
    let done = 0;
    while (done < messages.length && !this.closed && (done === 0 || !this.server.turns.isOver)) {
      this.take(messages[done++]!);
    }
    messages.splice(0, done);
    if (this.closed) messages.length = 0;
    if (messages.length > 0) this.server.turns.defer(this.goOn);
    else if (!this.closed) this.rpc.stream.resume();
  };

  private take(message: JsonRpcMessage): void {
    if (this.closed) return;
    if (!isRequest(message)) {
      // Replies to our own echo requests, by which the owner of the connection probes.
      if (message.id !== 'echo') {
        log.rl(5).warn(`${this.rpc.name}: received unexpected reply message`);
        this.rpc.close();
      }
      return;
    }
    // The parser this server gives to its connections makes only JSON values.
    const params = message.params as Json[];
    this.server.counts.request(message.method);
    if (message.id === null) {
      if (message.method === 'cancel') this.cancel(params);
      return;
    }
    const id = stringifyJson(message.id);
    try {
      const result = this.call(message.method, params, id);
      if (result !== undefined) this.reply(id, result);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      this.replyError(id, error.toJson());
    }
  }

  /** The result as JSON text, or undefined when the reply was sent or will be. Throws `OvsdbError`. */
  private call(method: string, params: Json[], id: string): string | undefined {
    // Requests are answered in their order.
    if (method !== 'transact') this.server.flush();
    if (method.startsWith('monitor_cond') && !this.server.offersConditions) {
      this.replyError(id, 'unknown method');
      return undefined;
    }
    switch (method) {
      case 'echo':
        return stringifyJson(params);
      case 'transact':
        return this.transact(params, id);
      case 'list_dbs':
        return stringifyJson(this.server.databaseNames());
      case 'get_schema':
        return this.store(method, params).schemaText;
      case 'monitor':
        return this.monitor(method, params, 1, id);
      case 'monitor_cond':
        return this.monitor(method, params, 2, id);
      case 'monitor_cond_since':
        return this.monitor(method, params, 3, id);
      case 'monitor_cond_change':
        this.monitors.change(params);
        return '{}';
      case 'monitor_cancel':
        return this.monitorCancel(params, id);
      case 'lock':
      case 'steal':
        return this.lock(method, params);
      case 'unlock':
        return this.unlock(params);
      case 'get_server_id':
        return stringifyJson(this.server.id);
      case 'set_db_change_aware':
        if (params.length !== 1 || typeof params[0] !== 'boolean') {
          throw syntaxError(params, 'set_db_change_aware: true or false parameter expected');
        }
        this.dbChangeAware = params[0];
        return '{}';
      case 'convert':
        return this.convert(params, id);
    }
    this.replyError(id, 'unknown method');
    return undefined;
  }

  private store(method: string, params: Json[]): Store {
    const name = params[0];
    if (typeof name !== 'string') {
      throw syntaxError(params, `${method} request params must begin with <db-name>`);
    }
    const store = this.server.store(name);
    if (store?.available === false) {
      throw new OvsdbError(
        'database not available',
        `${method} request specifies database ${name} which is not yet available because it has not completed joining its cluster`,
      );
    }
    if (store !== undefined) return store;
    throw syntaxError(params, `${method} request specifies unknown database ${name}`, 'unknown database');
  }

  private transact(params: Json[], id: string): undefined {
    const store = this.store('transact', params);
    if (this.triggers.has(id)) throw syntaxError(params, 'transact: duplicate request ID');
    this.attempt(store, params, id, clock.nowMs());
  }

  private attempt(store: Store, params: Json[], id: string, startMs: number): void {
    this.server.turnTo(store);
    let large: Map<number, LargeSelect> | null = null;
    const context = {
      onLargeSelect: (index: number, select: LargeSelect) => {
        large ??= new Map();
        large.set(index, select);
      },
      ownsLock: (name: string) => this.server.locks.owns(name, this),
      readOnly: this.readOnly || this.server.replication.isBackup,
      elapsedMs: Math.round(clock.nowMs() - startMs),
      reserved: store.name === '_Server',
      client: this.client,
    };
    const outcome = executeTransaction(store.db, params, context);
    if (outcome instanceof OvsdbError) {
      this.server.counts.transactions.failed++;
      this.forget(id);
      store.flush();
      this.replyError(id, outcome.toJson());
      return;
    }
    if (outcome.kind === 'wait') {
      this.server.counts.transactions.waiting++;
      this.waitFor(store, params, id, startMs, outcome.timeoutMs);
      return;
    }
    this.forget(id);
    this.server.counts.transactions.done++;
    const { txn } = outcome;
    const results = new Results(id, outcome.results, large);
    const changes = txn !== null && txn.changes.size > 0;
    if (changes && store.relay !== null) {
      void this.forward(store.relay, 'transact', params, id);
      return;
    }
    // What others have not written yet may be what this one has read.
    if (changes || txn?.durable || store.hasUnwritten) {
      store.submit({
        txn,
        done: (error) => this.committed(store, results, error === null && txn?.durable === true, error),
        redo: () => {
          if (!this.closed) this.attempt(store, params, id, startMs);
        },
      });
    } else this.replyResults(results);
  }

  private committed(store: Store, results: Results, durable: boolean, error: OvsdbError | null): void {
    if (error !== null) results.add(error.toJson());
    if (!durable || store.log === null) return this.replyResults(results);
    const place = this.outbox.reserve();
    store.log.sync((failure) => {
      if (failure !== null) results.add(failure.toJson());
      this.fillResults(place, results);
    });
  }

  private replyResults(results: Results): void {
    if (results.isLarge) this.fillResults(this.outbox.reserve(), results);
    else this.outbox.reply(results.text());
  }

  private fillResults(place: Place, results: Results): void {
    if (!results.isLarge) return this.outbox.fill(place, results.text());
    void slicedBytes(results.texts()).then((parts) => this.outbox.fillLong(place, parts));
  }

  // Not a place in the queue: the updates that the transaction causes come first, and other requests need not wait for the source.
  private async forward(relay: Relay, method: string, params: Json[], id: string): Promise<void> {
    try {
      this.reply(id, stringifyJson(await relay.forward(method, params)));
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      this.replyError(id, error.toJson());
    }
  }

  private waitFor(store: Store, params: Json[], id: string, startMs: number, timeoutMs: number): void {
    if (this.triggers.has(id)) return;
    const again = () => this.attempt(store, params, id, startMs);
    const timer = Number.isFinite(timeoutMs) ? clock.setTimeout(again, Math.max(timeoutMs, 1)) : null;
    this.triggers.set(id, { store, retry: store.await(again), timer });
  }

  private forget(id: string): Trigger | undefined {
    const trigger = this.triggers.get(id);
    trigger?.retry[Symbol.dispose]();
    trigger?.timer?.[Symbol.dispose]();
    this.triggers.delete(id);
    return trigger;
  }

  private cancel(params: Json[]): void {
    if (params.length !== 1) return;
    const id = stringifyJson(params[0]);
    if (this.forget(id) !== undefined) this.replyError(id, 'canceled');
  }

  private monitor(method: string, params: Json[], version: MonitorVersion, id: string): string | undefined {
    return this.monitors.add(this.store(method, params), params, version, id);
  }

  private monitorCancel(params: Json[], id: string): string | undefined {
    const wrong = this.monitors.cancel(params);
    if (wrong === null) return '{}';
    this.replyError(id, wrong);
    return undefined;
  }

  /** The database is going away or changing its shape: tells a client that knows of such things, drops one that does not. */
  databaseChanged(store: Store): void {
    if (!this.dbChangeAware) {
      this.outbox.writeOut();
      this.rpc.close();
      return;
    }
    this.monitors.endAll(store);
    for (const [id, trigger] of [...this.triggers]) {
      if (trigger.store !== store) continue;
      this.forget(id);
      this.replyError(id, 'canceled');
    }
  }

  private lockName(method: string, params: Json[]): string {
    const name = params[0];
    if (params.length === 1 && typeof name === 'string' && isId(name)) return name;
    throw syntaxError(params, `${method} request params must be <id>`);
  }

  private lock(method: 'lock' | 'steal', params: Json[]): string {
    const name = this.lockName(method, params);
    if (this.locks.has(name)) throw syntaxError(params, `must issue "unlock" before new "${method}"`);
    this.locks.set(name, method);
    if (method === 'lock') return `{"locked":${this.server.locks.lock(name, this)}}`;
    this.server.locks.steal(name, this);
    return '{"locked":true}';
  }

  private unlock(params: Json[]): string {
    const name = this.lockName('unlock', params);
    if (!this.locks.delete(name)) throw syntaxError(params, 'unlock: "unlock" without "lock" or "steal"');
    this.server.locks.unlock(name, this);
    return '{}';
  }

  onLocked(name: string): void {
    this.notify(`{"id":null,"method":"locked","params":["${name}"]}`);
  }

  onStolen(name: string): void {
    this.locksLost++;
    this.notify(`{"id":null,"method":"stolen","params":["${name}"]}`);
  }

  private convert(params: Json[], id: string): undefined {
    const store = this.store('convert', params);
    if (params.length !== 2) throw syntaxError(params, 'array expected');
    const schema = schemaFromJson(params[1]);
    if (schema.name !== store.name) {
      throw new OvsdbError(
        'invalid parameters',
        `new schema name (${schema.name}) does not match database name (${store.name})`,
      );
    }
    if (store.relay !== null) return void this.forward(store.relay, 'convert', params, id);
    if (store.log === null) throw new OvsdbError('not allowed', `conversion not allowed for database ${store.name}`);
    const place = this.outbox.reserve();
    store.convert(schema).then(
      () => {
        this.outbox.fill(place, replyText(id, '{}'));
        this.server.databaseConverted(store);
      },
      (error: unknown) => {
        if (!(error instanceof OvsdbError)) throw error;
        this.outbox.fill(place, errorText(id, error.toJson()));
      },
    );
  }

  private reply(id: string, result: string): void {
    this.outbox.reply(replyText(id, result));
  }

  private replyError(id: string, error: Json | object): void {
    this.outbox.reply(errorText(id, error));
  }

  notify(message: Message): void {
    this.outbox.send(message);
  }

  private drop(backlog: number): void {
    log.warn(`${this.rpc.name}: excessive sending backlog of ${backlog} bytes, dropping connection`);
    this.rpc.close();
    this.end();
  }

  /** Gives back everything the client had. */
  end(): void {
    if (this.closed) return;
    this.closed = true;
    this.monitors.close();
    for (const id of [...this.triggers.keys()]) this.forget(id);
    for (const name of this.locks.keys()) this.server.locks.unlock(name, this);
    this.locks.clear();
    this.outbox.close();
    this.server.sessionEnded(this);
  }
}

function errorText(id: string, error: Json | object): string {
  return `{"id":${id},"error":${stringifyJson(error)}}`;
}

function replyText(id: string, result: string): string {
  return `{"id":${id},"result":${result},"error":null}`;
}
