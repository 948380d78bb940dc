/**
 * The database as the pages show it, from one replica that is kept while somebody looks: the net (bridges, ports, controllers),
 * each table's rows, and what changes.
 */
import { datumToText } from '../ovsdb/datum.ts';
import { Idl, type Row, type RowChange, type TableRequests } from '../ovsdb/idl.ts';
import { isMap, typeToEnglish } from '../ovsdb/types.ts';
import { VSWITCH_SCHEMA_NAME, VSWITCH_TABLES } from '../ovsdb/vswitch-schema.ts';
import type { DbCell, DbChange, DbRef, DbRow, DbRowsData, DbTableInfo, PortRates, Reach } from './api.ts';
import { Feed, type Listener, type Source } from './feed.ts';
import { netData } from './net.ts';

const KEPT_CHANGES = 200;
/** Counters that the switch writes every few seconds are no news. */
const NO_NEWS = new Set(['statistics']);

type Watcher = (changes: readonly RowChange[]) => void;

/** The replica: connected from the first watcher's coming to the last one's leaving. */
export class Database {
  private readonly remote: string;
  private idl: Idl | null = null;
  private readonly watchers = new Set<Watcher>();
  private readonly reachListeners = new Set<() => void>();
  private reached: Reach = { isUp: false, error: 'not asked yet', since: Date.now() };

  constructor(remote: string) {
    this.remote = remote;
  }

  get reach(): Reach {
    return this.reached;
  }

  onReach(listener: () => void): Disposable {
    this.reachListeners.add(listener);
    return { [Symbol.dispose]: () => void this.reachListeners.delete(listener) };
  }

  get replica(): Idl | null {
    return this.idl?.hasEverSynced === true ? this.idl : null;
  }

  watch(watcher: Watcher): Disposable {
    this.watchers.add(watcher);
    if (this.idl === null) this.connect();
    return {
      [Symbol.dispose]: () => {
        if (!this.watchers.delete(watcher) || this.watchers.size > 0) return;
        this.idl?.close();
        this.idl = null;
      },
    };
  }

  private connect(): void {
    const tables: TableRequests = Object.fromEntries(Object.keys(VSWITCH_TABLES).map((name) => [name, 'all' as const]));
    const idl = new Idl(this.remote, { database: VSWITCH_SCHEMA_NAME, tables, leaderOnly: false, maxBackoffMs: 1000 });
    this.idl = idl;
    idl.onChange((changes) => {
      if (idl !== this.idl) return;
      if (idl.isSynced) this.note('');
      for (const watcher of [...this.watchers]) watcher(changes);
    });
    idl.onFailure(({ error }) => {
      if (idl === this.idl) this.note(error || 'the connection was closed');
    });
    idl.start();
  }

  private note(error: string): void {
    const isUp = error === '';
    if (isUp === this.reached.isUp && (isUp || error === this.reached.error)) return;
    this.reached = { isUp, error, since: isUp === this.reached.isUp ? this.reached.since : Date.now() };
    for (const listener of [...this.reachListeners]) listener();
  }
}

/** A feed of something computed from the replica, which hears of it again when it differs. */
function computedFeed(db: Database, compute: (idl: Idl) => unknown): Feed {
  return new Feed((publish): Source => {
    let last: unknown;
    let lastText = '';
    const update = (): void => {
      const { replica } = db;
      if (replica === null) return;
      const data = compute(replica);
      const text = JSON.stringify(data);
      if (text === lastText) return;
      lastText = text;
      publish((last = data));
    };
    const watch = db.watch(update);
    update();
    return { snapshot: () => last, close: () => watch[Symbol.dispose]() };
  });
}

export const netFeed = (db: Database): Feed => computedFeed(db, netData);

/**
 * Traffic of patch ports, a second, from what the switch writes into the database every few seconds: no datapath has ports for them.
 */
export function patchesFeed(db: Database): Feed {
  const before = new Map<string, { at: number | null; counts: readonly number[] }>();
  return new Feed((publish): Source => {
    let last: Record<string, PortRates> = {};
    // What was written before we looked was written at most that long ago.
    const learn = (row: Row): void => void before.set(row.string('name'), { at: null, counts: patchCounts(row) });
    let hasLearnt = false;
    const update = (changes: readonly RowChange[]): void => {
      const { replica } = db;
      if (replica === null) return;
      if (!hasLearnt) {
        hasLearnt = true;
        for (const row of replica.table('Interface').rows()) if (row.string('type') === 'patch') learn(row);
        return;
      }
      const now = performance.now();
      let hasNews = false;
      for (const { row, kind, columns } of changes) {
        if (row.table.name !== 'Interface' || row.string('type') !== 'patch') continue;
        if (kind === 'modify' && !columns.has('statistics')) continue;
        const name = row.string('name');
        const counts = patchCounts(row);
        const old = before.get(name);
        before.set(name, { at: now, counts });
        if (kind === 'delete') before.delete(name);
        if (!old || kind === 'delete') continue;
        const seconds = old.at === null ? STATS_INTERVAL_S : Math.max((now - old.at) / 1000, 0.5);
        const rates = counts.map((n, i) => Math.round((Math.max(0, n - old.counts[i]) / seconds) * 10) / 10);
        last = { ...last, [name]: [...rates, 0] as unknown as PortRates };
        hasNews = true;
      }
      if (hasNews) publish(last);
    };
    const watch = db.watch(update);
    update([]);
    return {
      snapshot: () => last,
      close() {
        watch[Symbol.dispose]();
        before.clear();
      },
    };
  });
}

/** `other_config:stats-update-interval`, unless somebody has changed it. */
const STATS_INTERVAL_S = 5;

function patchCounts(row: Row): number[] {
  const stats = row.map('statistics');
  return ['rx_packets', 'rx_bytes', 'tx_packets', 'tx_bytes'].map((key) => Number(stats.get(key) ?? 0));
}

export const tablesFeed = (db: Database): Feed =>
  computedFeed(db, (idl): DbTableInfo[] => tableNames(idl).map((name) => ({ name, rows: idl.table(name).size })));

export function tableNames(idl: Idl): string[] {
  return Object.keys(VSWITCH_TABLES).filter((name) => idl.hasTable(name));
}

export function rowsFeed(db: Database, table: string): Feed {
  return new Feed((publish): Source => {
    const send = (changes: readonly RowChange[]): void => {
      if (db.replica === null || !db.replica.hasTable(table)) return;
      const rows: DbRow[] = [];
      const removed: string[] = [];
      for (const { row, kind } of changes) {
        if (row.table.name !== table) continue;
        if (kind === 'delete') removed.push(row.uuid);
        else rows.push(rowData(row));
      }
      if (rows.length + removed.length > 0) publish({ kind: 'change', rows, removed } satisfies DbRowsData);
    };
    let isFirst = true;
    const first = (changes: readonly RowChange[]): void => {
      const now = allRows(db, table);
      if (!isFirst) return send(changes);
      if (now === undefined) return;
      isFirst = false;
      publish(now);
    };
    const watch = db.watch(first);
    first([]);
    return { snapshot: () => (isFirst ? undefined : allRows(db, table)), close: () => watch[Symbol.dispose]() };
  });
}

function allRows(db: Database, name: string): DbRowsData | undefined {
  if (db.replica === null || !db.replica.hasTable(name)) return undefined;
  const table = db.replica.table(name);
  const columns = table.schema.columns.map((c) => ({ name: c.name, type: typeToEnglish(c.type) }));
  return { kind: 'all', columns, rows: [...table.rows()].map(rowData) };
}

function rowData(row: Row): DbRow {
  return { uuid: row.uuid, label: labelOf(row), cells: row.table.schema.columns.map((c) => cellOf(row, c.name)) };
}

/** What people call a row by: its name, else what tells it from others. */
export function labelOf(row: Row): string {
  for (const name of ['name', 'target', 'targets']) {
    const column = row.table.schema.columnByName.get(name);
    if (column === undefined) continue;
    const text = row.strings(name).join(', ');
    if (text !== '') return text;
  }
  return row.uuid.slice(0, 8);
}

function cellOf(row: Row, name: string): DbCell {
  const { type } = row.table.column(name);
  const refTable = (type.value ?? type.key).refTable;
  const datum = row.get(name);
  if (refTable === null) return datumToText(type, datum);
  if (isMap(type)) {
    return [...row.refMap(name)].map(([key, to]): DbRef => ({ key: String(key), ...refOf(to) }));
  }
  return row.refs(name).map((to): DbRef => ({ key: null, ...refOf(to) }));
}

const refOf = (row: Row) => ({ table: row.table.name, uuid: row.uuid, label: labelOf(row) });

/** The last changes, newest last; what came before somebody looked is not known. */
export function changesFeed(db: Database): Feed {
  return new Feed((publish: Listener): Source => {
    const kept: DbChange[] = [];
    const known = new WeakMap<Row, Map<string, string>>();
    const learn = (row: Row): void => {
      const texts = row.table.schema.columns.map((c): [string, string] => [
        c.name,
        datumToText(c.type, row.get(c.name)),
      ]);
      known.set(row, new Map(texts));
    };
    let isFirst = true;
    const look = (changes: readonly RowChange[]): void => {
      const { replica } = db;
      if (replica === null) return;
      if (isFirst) {
        isFirst = false;
        for (const name of tableNames(replica)) for (const row of replica.table(name).rows()) learn(row);
        publish([]);
        return;
      }
      const news = changes.map((change) => tell(change)).filter((change) => change !== null);
      if (news.length === 0) return;
      kept.push(...news);
      kept.splice(0, kept.length - KEPT_CHANGES);
      publish(news);
    };
    const tell = ({ row, kind, columns }: RowChange): DbChange | null => {
      const texts = known.get(row);
      const told: { name: string; old: string; new: string }[] = [];
      const names = kind === 'modify' ? columns : row.table.schema.columnByName.keys();
      for (const name of names) {
        const { type } = row.table.column(name);
        const now = kind === 'delete' ? '' : datumToText(type, row.get(name));
        const old = kind === 'insert' ? '' : (texts?.get(name) ?? '');
        texts?.set(name, now);
        if (NO_NEWS.has(name) || withoutAges(now) === withoutAges(old) || (kind !== 'modify' && isEmpty(now || old)))
          continue;
        told.push({ name, old, new: now });
      }
      if (kind === 'insert') learn(row);
      if (kind === 'modify' && told.length === 0) return null;
      return { at: Date.now(), table: row.table.name, uuid: row.uuid, label: labelOf(row), kind, columns: told };
    };
    const watch = db.watch(look);
    look([]);
    return { snapshot: () => (isFirst ? undefined : kept), close: () => watch[Symbol.dispose]() };
  });
}

/** That a connection is a second older is no news. */
const withoutAges = (text: string): string => text.replace(/sec_since_\w+="?\d+"?/g, '');

const isEmpty = (text: string): boolean => text === '' || text === '[]' || text === '{}' || text === '""';
