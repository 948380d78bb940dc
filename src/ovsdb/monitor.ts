/**
 * Monitors: what a client wants to hear of changes (RFC 7047 4.1.5; ovsdb-server(7) 4.1.12 to 4.1.15).
 *
 * A `MonitorView` is what a set of tables, columns and conditions makes visible; clients that want the same share one view, and each commit is
 * put into text once for every view, not for every client.
 */

import {
  type ColumnRef,
  type Condition,
  columnRefName,
  columnRefType,
  columnValue,
  conditionFromJson,
  findColumn,
  matchesAny,
} from './condition.ts';
import type { Changes, Database, Table } from './database.ts';
import { datumDiff, datumsEqual, datumToJson, defaultDatum } from './datum.ts';
import { OvsdbError, syntaxError } from './error.ts';
import { isObject, type Json, type JsonObject, stringifyJson } from './json.ts';
import { ObjectParser } from './parser.ts';
import type { Row } from './row.ts';

/** `update`, `update2` and `update3` by the method that asked. */
export type MonitorVersion = 1 | 2 | 3;

const KINDS = ['initial', 'insert', 'delete', 'modify'] as const;
type ChangeKind = (typeof KINDS)[number];
type Select = Readonly<Record<ChangeKind, boolean>>;

interface MonitoredColumn {
  readonly column: ColumnRef;
  readonly select: Select;
}

interface MonitoredTable {
  readonly table: Table;
  readonly columns: readonly MonitoredColumn[];
  /** Any column wants it. */
  readonly select: Select;
  readonly condition: Condition;
  /** Text of the condition, which tells views apart. */
  readonly conditionText: string;
}

export class MonitorView {
  readonly version: MonitorVersion;
  readonly tables: ReadonlyMap<string, MonitoredTable>;
  /** Views with the same key show the same. */
  readonly key: string;

  private constructor(version: MonitorVersion, tables: ReadonlyMap<string, MonitoredTable>) {
    this.version = version;
    this.tables = tables;
    this.key = stringifyJson([
      version === 1 ? 1 : 2,
      [...tables].map(([name, t]) => [
        name,
        t.columns.map(({ column, select }) => [columnRefName(column), KINDS.map((kind) => (select[kind] ? 1 : 0))]),
        t.conditionText,
      ]),
    ]);
  }

  /** Reads `<monitor-requests>`; throws `OvsdbError`. */
  static fromJson(db: Database, version: MonitorVersion, json: Json | undefined): MonitorView {
    if (!isObject(json)) throw syntaxError(json, 'monitor-requests must be object');
    const tables = new Map<string, MonitoredTable>();
    for (const [name, requests = null] of Object.entries(json)) {
      const table = db.tables.get(name);
      if (table === undefined) throw new OvsdbError('syntax error', `no table named ${name}`);
      tables.set(name, parseTable(table, Array.isArray(requests) ? requests : [requests], version));
    }
    return new MonitorView(version, tables);
  }

  /** Takes over the conditions of a `monitor_cond_change`; throws `OvsdbError`. */
  withConditions(db: Database, json: Json | undefined): MonitorView {
    if (!isObject(json)) throw new OvsdbError('syntax error', 'monitor-cond-change-requests must be object');
    const tables = new Map(this.tables);
    for (const [name, requests = null] of Object.entries(json)) {
      if (!db.tables.has(name)) throw new OvsdbError('syntax error', `no table named ${name}`);
      const t = tables.get(name);
      if (t === undefined) throw new OvsdbError('syntax error', `no table named ${name} in monitor session`);
      let where: Json[] = [];
      if (!Array.isArray(requests)) {
        throw new OvsdbError('syntax error', `table ${name} no monitor-cond-change JSON array`);
      }
      for (const request of requests) {
        const p = new ObjectParser(request, `table ${name}`);
        const columns = p.optional('columns', 'array');
        where = where.concat((p.optional('where', 'array') ?? []) as Json[]);
        p.finish();
        if (columns !== undefined) throw syntaxError(request, 'changing columns is unsupported');
      }
      tables.set(name, { ...t, ...conditionOf(t.table, where) });
    }
    return new MonitorView(this.version, tables);
  }

  /** Everything there is now, as `<table-updates>`. */
  initial(): JsonObject {
    const updates: JsonObject = {};
    for (const [name, t] of this.tables) {
      if (!t.select.initial) continue;
      const rows: JsonObject = {};
      let any = false;
      for (const row of t.table.rows.values()) {
        if (!matchesAny(t.condition, row)) continue;
        rows[row.uuid] = this.added(t, row, 'initial');
        any = true;
      }
      if (any) updates[name] = rows;
    }
    return updates;
  }

  /** How many rows `initial` has to look at. */
  get size(): number {
    let size = 0;
    for (const { select, table } of this.tables.values()) if (select.initial) size += table.rows.size;
    return size;
  }

  /** The text of `initial` for what is there at the first call of `next`, in pieces that later changes do not touch. */
  *initialTexts(): Generator<string> {
    const tables = [...this.tables].filter(([, t]) => t.select.initial);
    const snapshot = tables.map(([, { table }]) => [...table.rows.values()]);
    yield '{';
    let anyTable = false;
    for (const [i, [name, t]] of tables.entries()) {
      let before = `${anyTable ? ',' : ''}${JSON.stringify(name)}:{`;
      let any = false;
      for (const row of snapshot[i]!) {
        // A piece, though empty: rows that do not match take their time too.
        if (!matchesAny(t.condition, row)) {
          yield '';
          continue;
        }
        yield `${before}"${row.uuid}":${stringifyJson(this.added(t, row, 'initial'))}`;
        before = ',';
        any = true;
      }
      if (!any) continue;
      yield '}';
      anyTable = true;
    }
    yield '}';
  }

  /** What a commit means to this view, null if nothing. */
  updates(changes: Changes): JsonObject | null {
    return this.collect((t) => {
      const rows = changes.get(t.table);
      return rows === undefined
        ? []
        : [...rows].map(([uuid, change]) => [uuid, this.rowUpdate(t, t.condition, change)]);
    });
  }

  /** What becomes visible and invisible when this view takes the place of `old`; null if nothing. */
  transition(old: MonitorView): JsonObject | null {
    return this.collect((t, name) => {
      const before = old.tables.get(name)!;
      if (before.conditionText === t.conditionText) return [];
      return [...t.table.rows.values()].map((row) => {
        const was = matchesAny(before.condition, row);
        const is = matchesAny(t.condition, row);
        if (was === is) return [row.uuid, undefined];
        return [row.uuid, this.rowUpdate(t, [], is ? { old: null, new: row } : { old: row, new: null })];
      });
    });
  }

  private collect(
    rowsOf: (t: MonitoredTable, name: string) => (readonly [string, Json | undefined])[],
  ): JsonObject | null {
    const updates: JsonObject = {};
    let any = false;
    for (const [name, t] of this.tables) {
      const rows: JsonObject = {};
      let anyRow = false;
      for (const [uuid, update] of rowsOf(t, name)) {
        if (update === undefined) continue;
        rows[uuid] = update;
        anyRow = true;
      }
      if (!anyRow) continue;
      updates[name] = rows;
      any = true;
    }
    return any ? updates : null;
  }

  private rowUpdate(
    t: MonitoredTable,
    condition: Condition,
    change: { old: Row | null; new: Row | null },
  ): Json | undefined {
    const before = change.old !== null && matchesAny(condition, change.old) ? change.old : null;
    const after = change.new !== null && matchesAny(condition, change.new) ? change.new : null;
    if (before === null && after === null) return undefined;
    if (before === null) return t.select.insert ? this.added(t, after!, 'insert') : undefined;
    if (after === null) return t.select.delete ? this.removed(t, before) : undefined;
    return t.select.modify ? this.modified(t, before, after) : undefined;
  }

  private added(t: MonitoredTable, row: Row, kind: 'initial' | 'insert'): JsonObject {
    const json: JsonObject = {};
    for (const { column, select } of t.columns) {
      if (!select[kind]) continue;
      const type = columnRefType(column);
      const value = columnValue(row, column);
      if (this.version > 1 && datumsEqual(value, defaultDatum(type))) continue;
      json[columnRefName(column)] = datumToJson(type, value);
    }
    return this.version === 1 ? { new: json } : { [kind]: json };
  }

  private removed(t: MonitoredTable, row: Row): JsonObject {
    if (this.version > 1) return { delete: null };
    const json: JsonObject = {};
    for (const { column, select } of t.columns) {
      if (select.delete) json[columnRefName(column)] = datumToJson(columnRefType(column), columnValue(row, column));
    }
    return { old: json };
  }

  private modified(t: MonitoredTable, before: Row, after: Row): JsonObject | undefined {
    const old: JsonObject = {};
    const diff: JsonObject = {};
    const now: JsonObject = {};
    let changed = false;
    for (const { column, select } of t.columns) {
      if (!select.modify) continue;
      const name = columnRefName(column);
      const type = columnRefType(column);
      const a = columnValue(before, column);
      const b = columnValue(after, column);
      const same = datumsEqual(a, b);
      if (!same) changed = true;
      if (this.version === 1) {
        now[name] = datumToJson(type, b);
        if (!same) old[name] = datumToJson(type, a);
      } else if (!same) {
        diff[name] = datumToJson(type, type.max === 1 ? b : datumDiff(a, b));
      }
    }
    if (!changed) return undefined;
    return this.version === 1 ? { old, new: now } : { modify: diff };
  }
}

function parseTable(table: Table, requests: Json[], version: MonitorVersion): MonitoredTable {
  const columns: MonitoredColumn[] = [];
  const selects: Select[] = [];
  const seen = new Set<string>();
  let where: Json[] = [];
  for (const request of requests) {
    const p = new ObjectParser(request, `table ${table.schema.name}`);
    const names = p.optional('columns', 'array') as Json[] | undefined;
    if (version > 1) where = where.concat((p.optional('where', 'array') ?? []) as Json[]);
    const select = parseSelect(table, p.optional('select', 'object'));
    p.finish();
    selects.push(select);
    for (const name of names ?? ['_version', ...table.schema.columnByName.keys()]) {
      if (typeof name !== 'string') throw syntaxError(names, 'array of column names expected');
      const column = findColumn(table.schema, name);
      if (column === undefined) throw syntaxError(names, `${name} is not a valid column name`);
      if (seen.has(name)) throw syntaxError(names, `column ${name} mentioned more than once`);
      seen.add(name);
      columns.push({ column, select });
    }
  }
  // A request without columns still tells of the coming and going of rows.
  const any = (kind: ChangeKind) => selects.some((select) => select[kind]);
  const select: Select = {
    initial: any('initial'),
    insert: any('insert'),
    delete: any('delete'),
    modify: any('modify'),
  };
  return { table, columns, select, ...conditionOf(table, where) };
}

function conditionOf(table: Table, where: Json[]): { condition: Condition; conditionText: string } {
  return { condition: conditionFromJson(table.schema, where), conditionText: stringifyJson(where) };
}

function parseSelect(table: Table, json: Json | undefined): Select {
  const p = new ObjectParser(json ?? {}, `table ${table.schema.name} select`);
  const flag = (name: ChangeKind) => (p.optional(name, 'boolean') ?? true) as boolean;
  const select = { initial: flag('initial'), insert: flag('insert'), delete: flag('delete'), modify: flag('modify') };
  p.finish();
  return select;
}
