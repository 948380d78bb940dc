/**
 * Active-backup (ovsdb(7), "Active-Backup Database Service Model"): as a backup the server copies its databases from the active server and lets
 * clients only read; as an active one it is like any other. Tables that are excluded keep what they have.
 *
 * When the connection ends, the backup stays a backup and tries again: only an operator makes it active.
 */
import { vlog } from '../base/vlog.ts';
import { OvsdbError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { mirrorRequests, resetTransaction, updateTransaction } from './mirror.ts';
import { parseRemoteList } from './remote-list.ts';
import { type DatabaseSchema, schemaFromJson } from './schema.ts';
import type { OvsdbServer } from './server.ts';
import type { Store } from './store.ts';
import { Upstream } from './upstream.ts';

const log = vlog('replication');

export class Replication {
  private readonly server: OvsdbServer;
  private upstream: Upstream | null = null;
  /** Databases that are being copied, once the first contents are here. */
  private copied: Store[] = [];
  private isReplicating = false;
  private probeIntervalMs: number | undefined = undefined;
  source: string | null = null;
  excludedText = '';

  constructor(server: OvsdbServer) {
    this.server = server;
  }

  get isBackup(): boolean {
    return this.upstream !== null;
  }

  /** Becomes a backup of `source`, or starts again as such. */
  connect(): void {
    if (this.source === null) return;
    const was = this.isBackup;
    const { source } = this;
    this.stop();
    const upstream = new Upstream(
      parseRemoteList(source).remotes,
      {
        connected: () => void this.begin(upstream),
        notified: (method, params) => this.notified(upstream, method, params),
        // As the original, which says that it replicates until it is told otherwise.
        disconnected: () => {},
      },
      this.probeIntervalMs,
    );
    this.upstream = upstream;
    // What clients may do has changed, and they shall notice.
    if (!was) this.server.remotes.reconnect();
  }

  /** Becomes active. */
  disconnect(): void {
    if (!this.isBackup) return;
    this.stop();
    this.server.remotes.reconnect();
  }

  /** `DB:TABLE[,DB:TABLE]…` */
  setExcluded(text: string): void {
    this.excludedText = text;
    if (this.isBackup) this.connect();
  }

  setProbeInterval(ms: number): void {
    this.probeIntervalMs = ms;
    this.upstream?.setProbeInterval(ms);
  }

  /** Text of `ovsdb-server/sync-status`. */
  status(): string {
    if (!this.isBackup) return 'state: active\n';
    if (!this.isReplicating) return `state: backup\nconnecting: ${this.source}\n`;
    const excluded = [...this.excluded()].flatMap(([db, tables]) =>
      [...tables].sort().map((table) => `${db}:${table}`),
    );
    const databases = this.copied.map(({ name }) => name).join(', ');
    const tail = excluded.length === 0 ? '' : `exclude: ${excluded.join(',')}\n`;
    return `state: backup\nreplicating: ${this.source}\ndatabase: ${databases}\n${tail}`;
  }

  close(): void {
    this.stop();
  }

  private stop(): void {
    this.upstream?.close();
    this.upstream = null;
    this.isReplicating = false;
    this.copied = [];
  }

  private excluded(): Map<string, Set<string>> {
    const excluded = new Map<string, Set<string>>();
    for (const word of this.excludedText.split(/[,\s]+/)) {
      const [db, table] = word.split(':');
      if (!db || !table) continue;
      const tables = excluded.get(db) ?? new Set();
      excluded.set(db, tables.add(table));
    }
    return excluded;
  }

  private async begin(upstream: Upstream): Promise<void> {
    try {
      if ((await upstream.call('get_server_id', [])) === this.server.id) {
        throw new OvsdbError('Server ID check failed', 'Self replicating is not allowed');
      }
      const names = (await upstream.call('list_dbs', [])) as Json[];
      const stores = this.server.userStores().filter((store) => names.includes(store.name));
      const copied: Store[] = [];
      for (const store of stores) {
        const requests = await this.requests(upstream, store);
        if (requests === null) continue;
        // The reply holds the contents; updates that follow it are applied in their order, behind.
        const contents = await upstream.call('monitor_cond', [store.name, store.name, requests]);
        if (this.upstream !== upstream) return;
        log.info('Monitor request received. Resetting the database');
        store.commitMirrored(resetTransaction(store.db, requests, contents), this.excludedText !== '');
        copied.push(store);
      }
      if (this.upstream !== upstream) return;
      this.copied = copied;
      this.isReplicating = true;
      if (copied.length === 0) log.warn(`${this.source}: no database that is here too, nothing to replicate`);
    } catch (error) {
      this.fail(upstream, error);
    }
  }

  private async requests(upstream: Upstream, store: Store): Promise<JsonObject | null> {
    const there = schemaFromJson(await upstream.call('get_schema', [store.name]));
    const missing = firstMissing(store.schema, there);
    if (missing !== null) {
      log.warn(`cannot replicate database ${store.name}: its schema here lacks ${missing} of the active server's`);
      return null;
    }
    return mirrorRequests(store.schema, there, this.excluded().get(store.name));
  }

  private notified(upstream: Upstream, method: string, params: Json[]): void {
    if (this.upstream !== upstream || method !== 'update2') return;
    try {
      const store = this.server.store(String(params[0]));
      if (store !== undefined) {
        store.commitMirrored(updateTransaction(store.db, params[1]), this.excludedText !== '');
      }
    } catch (error) {
      this.fail(upstream, error);
    }
  }

  private fail(upstream: Upstream, error: unknown): void {
    if (!(error instanceof OvsdbError)) throw error;
    if (this.upstream !== upstream || error.tag === 'disconnected') return;
    vlog('ovsdb_error').err(`unexpected ovsdb error: ${error.message}`);
    // What cannot be copied cannot be copied on another try either: as the original, stop and be active.
    this.disconnect();
  }
}

function firstMissing(here: DatabaseSchema, there: DatabaseSchema): string | null {
  for (const table of there.tables.values()) {
    const own = here.tables.get(table.name);
    if (own === undefined) return `table ${table.name}`;
    for (const { name } of table.columns)
      if (!own.columnByName.has(name)) return `column ${name} of table ${table.name}`;
  }
  return null;
}
