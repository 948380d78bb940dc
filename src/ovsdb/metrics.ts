/** What the database server does: clients, requests, transactions, sizes. Labels are databases and methods of RFC 7047. */
import { statSync } from 'node:fs';
import { metricGroup } from '../base/metrics.ts';
import type { OvsdbServer } from './server.ts';

/** Others are counted together: a client may send any. */
const METHODS = new Set([
  'echo',
  'transact',
  'cancel',
  'list_dbs',
  'get_schema',
  'monitor',
  'monitor_cond',
  'monitor_cond_since',
  'monitor_cond_change',
  'monitor_cancel',
  'lock',
  'steal',
  'unlock',
  'get_server_id',
  'set_db_change_aware',
  'convert',
]);

export class ServerCounts {
  clients = 0;
  readonly requests = new Map<string, number>();
  /** Transactions by what became of them; one that waits is counted again when it is done. */
  readonly transactions = { done: 0, failed: 0, waiting: 0 };

  request(method: string): void {
    const name = METHODS.has(method) ? method : 'other';
    this.requests.set(name, (this.requests.get(name) ?? 0) + 1);
  }
}

export function registerOvsdbMetrics(server: OvsdbServer): Disposable {
  return metricGroup(
    {
      ovsdb_clients: { type: 'gauge', help: 'Clients of the database server' },
      ovsdb_clients_total: { type: 'counter', help: 'Clients that have connected to the database server' },
      ovsdb_monitors: { type: 'gauge', help: 'Monitors of all clients' },
      ovsdb_waiting_transactions: { type: 'gauge', help: 'Transactions that wait for a condition' },
      ovsdb_backlog_bytes: { type: 'gauge', help: 'Bytes that clients have not yet read' },
      ovsdb_requests_total: { type: 'counter', help: 'Requests by method' },
      ovsdb_transactions_total: { type: 'counter', help: 'Transactions by what became of them' },
      ovsdb_commits_total: { type: 'counter', help: 'Transactions that changed a database' },
      ovsdb_rows: { type: 'gauge', help: 'Rows of a database' },
      ovsdb_log_bytes: { type: 'gauge', help: 'Size of a database file' },
    },
    (add) => {
      const { counts, sessions } = server;
      let monitors = 0;
      let waiting = 0;
      let backlog = 0;
      for (const s of sessions) {
        monitors += s.monitorCount;
        waiting += s.triggerCount;
        backlog += s.rpc.backlog;
      }
      add('ovsdb_clients', sessions.size);
      add('ovsdb_clients_total', counts.clients);
      add('ovsdb_monitors', monitors);
      add('ovsdb_waiting_transactions', waiting);
      add('ovsdb_backlog_bytes', backlog);
      for (const [method, n] of counts.requests) add('ovsdb_requests_total', n, { method });
      for (const [result, n] of Object.entries(counts.transactions)) add('ovsdb_transactions_total', n, { result });
      for (const store of server.userStores()) {
        const database = store.name;
        add('ovsdb_commits_total', store.commits, { database });
        let rows = 0;
        for (const table of store.db.tables.values()) rows += table.rows.size;
        add('ovsdb_rows', rows, { database });
        const size = store.log === null ? undefined : statSync(store.log.path, { throwIfNoEntry: false })?.size;
        if (size !== undefined) add('ovsdb_log_bytes', size, { database });
      }
    },
  );
}
