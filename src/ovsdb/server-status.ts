/**
 * What a server says in its `_Server` database of one database that it serves, and whether that will do for a client (ovsdb-server(5); ovsdb(7),
 * "Understanding Cluster Consistency"): the leader if that is asked for, never a server that is behind another one of the cluster that the client
 * has seen.
 */
import { isObject, type Json, type JsonObject } from './json.ts';

export interface ServerWish {
  readonly database: string;
  readonly leaderOnly: boolean;
  /** The only cluster that will do. */
  readonly clusterId: string | null;
}

/** Columns of `_Server`'s table `Database` that are looked at, besides the schema. */
export const STATUS_COLUMNS = ['name', 'model', 'connected', 'leader', 'cid', 'index'];

/** A column that may be empty. */
function optional(json: Json | undefined): Json | null {
  return json === undefined || (Array.isArray(json) && json[0] === 'set') ? null : json;
}

export class ServerStatus {
  private readonly wish: ServerWish;
  private readonly rows = new Map<string, JsonObject>();
  /** The newest index seen of a cluster. */
  private newest: { clusterId: string; index: number | bigint } | null = null;

  constructor(wish: ServerWish) {
    this.wish = wish;
  }

  /** Another server. */
  reset(): void {
    this.rows.clear();
  }

  /** Takes `<table-updates2>` of `_Server`. */
  apply(updates: Json | undefined): void {
    const rows = isObject(updates) ? updates['Database'] : undefined;
    if (!isObject(rows)) return;
    for (const [uuid, update] of Object.entries(rows)) {
      if (!isObject(update)) continue;
      const content = update['initial'] ?? update['insert'] ?? update['modify'];
      // Columns that are not there have their default values.
      const base = isObject(update['modify']) ? this.rows.get(uuid) : undefined;
      if (isObject(content)) this.rows.set(uuid, { ...base, ...content });
      else this.rows.delete(uuid);
    }
  }

  /** The schema's text, if it was asked for and is known. */
  get schema(): string | null {
    const schema = optional(this.row?.['schema']);
    return typeof schema === 'string' ? schema : null;
  }

  /** Why the server will not do, in the original's words, or null. */
  refusal(knowsSchema = true): string | null {
    const { row } = this;
    const { database, leaderOnly } = this.wish;
    if (row === undefined) return `server does not have ${database} database`;
    const isConnected = row['connected'] === true;
    switch (row['model']) {
      case 'clustered':
        if (knowsSchema && this.schema === null) return another('clustered database server has not yet joined cluster');
        if (!isConnected) return another('clustered database server is disconnected from cluster');
        if (leaderOnly && row['leader'] !== true) return another('clustered database server is not cluster leader');
        return this.isStale(row) ? another('clustered database server has stale data') : null;
      case 'relay':
        if (knowsSchema && this.schema === null) {
          return another('relay database server has not yet connected to the relay source');
        }
        if (!isConnected) return another('relay database server is disconnected from the relay source');
        return leaderOnly ? another('relay database server cannot be a leader') : null;
    }
    return knowsSchema && this.schema === null ? 'missing database schema' : null;
  }

  private get row(): JsonObject | undefined {
    const { database, clusterId } = this.wish;
    return [...this.rows.values()].find(
      (row) => row['name'] === database && (clusterId === null || clusterOf(row) === clusterId),
    );
  }

  private isStale(row: JsonObject): boolean {
    const clusterId = clusterOf(row);
    const index = optional(row['index']);
    if (clusterId === null || (typeof index !== 'number' && typeof index !== 'bigint')) return false;
    if (this.newest?.clusterId === clusterId && index < this.newest.index) return true;
    this.newest = { clusterId, index };
    return false;
  }
}

function clusterOf(row: JsonObject): string | null {
  const cid = optional(row['cid']);
  return Array.isArray(cid) && cid[0] === 'uuid' ? String(cid[1]) : null;
}

function another(text: string): string {
  return `${text}; trying another server`;
}
