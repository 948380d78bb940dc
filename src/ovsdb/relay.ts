/**
 * A relay (ovsdb(7), "Relay Service Model"): a database in memory that follows one elsewhere. Reading and monitoring is served here; a
 * transaction that would change something is carried out at the source, whose update comes back before its reply.
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { Database } from './database.ts';
import { OvsdbError } from './error.ts';
import type { Json } from './json.ts';
import { jsonText } from './json.ts';
import { mirrorRequests, resetTransaction, updateTransaction } from './mirror.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import type { OvsdbServer } from './server.ts';
import { Store } from './store.ts';
import { Upstream } from './upstream.ts';

const log = vlog('relay');

/** A source that is away for less is no reason for clients to go elsewhere. */
const GRACE_MS = 30_000;

interface Forwarded {
  readonly method: string;
  readonly params: Json[];
  resolve(result: Json): void;
  reject(error: OvsdbError): void;
}

export class Relay {
  readonly store: Store;
  private readonly server: OvsdbServer;
  private readonly upstream: Upstream;
  /** What came while the source was away. */
  private readonly waiting: Forwarded[] = [];
  private following = false;
  private grace: Disposable | null = null;
  /** Told to clients in `_Server`. */
  connected = false;

  /** `DB:REMOTE[,REMOTE]…`, as after `relay:`. Throws `OvsdbError`. */
  constructor(server: OvsdbServer, spec: string) {
    const colon = spec.indexOf(':');
    if (colon < 0) throw new OvsdbError('ovsdb error', `relay:${spec}: invalid syntax`);
    const name = spec.slice(0, colon);
    const remotes = spec
      .slice(colon + 1)
      .split(',')
      .filter((remote) => remote !== '');
    if (name === '' || remotes.length === 0) throw new OvsdbError('ovsdb error', `relay:${spec}: invalid syntax`);
    this.server = server;
    const unknown = { name, version: '', cksum: '', tables: new Map() };
    this.store = new Store(new Database(unknown), null, this);
    this.store.available = false;
    this.upstream = new Upstream(remotes, {
      connected: () => void this.follow(),
      notified: (method, params) => this.notified(method, params),
      disconnected: () => this.disconnected(),
    });
  }

  /** Has the source carry out a request. Waits for it if it is away; rejects with `OvsdbError`. */
  forward(method: string, params: Json[]): Promise<Json> {
    if (this.following) return this.upstream.call(method, params);
    return new Promise((resolve, reject) => this.waiting.push({ method, params, resolve, reject }));
  }

  close(): void {
    this.grace?.[Symbol.dispose]();
    this.upstream.close();
    for (const { reject } of this.waiting.splice(0)) reject(new OvsdbError('disconnected', 'database removed'));
  }

  private async follow(): Promise<void> {
    try {
      // Else the source would drop us when its schema changes, where a word is enough.
      await this.upstream.call('set_db_change_aware', [true]);
      const schema = schemaFromJson(await this.upstream.call('get_schema', [this.store.name]));
      const same = this.store.available && jsonText(schemaToJson(schema)) === jsonText(schemaToJson(this.store.schema));
      const requests = mirrorRequests(schema, schema);
      const contents = await this.upstream.call('monitor_cond', [this.store.name, 'relay', requests]);
      if (same) {
        this.store.commitMirrored(resetTransaction(this.store.db, requests, contents));
      } else {
        const db = new Database(schema);
        db.applyChanges(resetTransaction(db, requests, contents).changes);
        const was = this.store.available;
        this.store.adopt(db);
        this.store.available = true;
        if (was) this.server.databaseConverted(this.store);
      }
      this.following = true;
      this.setConnected(true);
      for (const { method, params, resolve, reject } of this.waiting.splice(0)) {
        this.upstream.call(method, params).then(resolve, reject);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  private notified(method: string, params: Json[]): void {
    try {
      if (method === 'update2') this.store.commitMirrored(updateTransaction(this.store.db, params[1]));
      else if (method === 'monitor_canceled') {
        this.following = false;
        void this.follow();
      }
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (!(error instanceof OvsdbError)) throw error;
    if (error.tag === 'disconnected') return;
    log.rl(5).warn(`${this.store.name}: ${error.message}`);
    this.upstream.drop();
  }

  private disconnected(): void {
    this.following = false;
    this.grace?.[Symbol.dispose]();
    this.grace = clock.setTimeout(() => this.setConnected(false), GRACE_MS, { keepAlive: false });
  }

  private setConnected(connected: boolean): void {
    this.grace?.[Symbol.dispose]();
    this.grace = null;
    this.connected = connected;
    this.server.databaseDescribed(this.store);
  }
}
