/**
 * The client's copy of a database: tables of rows, kept by the updates a server sends, and the record of what changed.
 *
 * A `Row` object is one row of the database for as long as the row lives: reconnection, even to a server that sends all
 * contents anew, keeps it and reports only what differs. Its datums are replaced, never modified. References are UUIDs in the datums;
 * they are looked up when asked for, so a reference to a row that is not (yet) there is simply absent.
 */
import type { Json, JsonObject } from './json.ts';
import { isObject } from './json.ts';
import type { ColumnSchema, DatabaseSchema, TableSchema } from './schema.ts';
import {
  type Atom,
  type Datum,
  datumApplyDiff,
  datumFromJsonAnySize,
  datumsEqual,
  defaultDatum,
  OvsdbError,
  type Uuid,
} from './types.ts';

export type ChangeKind = 'insert' | 'modify' | 'delete';

export interface RowChange {
  readonly row: Row;
  readonly kind: ChangeKind;
  /** Names of the columns that differ; for an insert or a delete, empty. */
  readonly columns: ReadonlySet<string>;
}

/** Plain JavaScript views of a row's columns; `Row` has them for what is committed, a transaction for what it sees. */
export abstract class RowView {
  /** The datum of a monitored column. */
  abstract get(column: string): Datum;
  protected abstract lookUp(table: string, uuid: Uuid): Row | undefined;
  protected abstract columnSchema(column: string): ColumnSchema;

  string(column: string): string {
    return (this.get(column).keys[0] as string | undefined) ?? '';
  }

  optionalString(column: string): string | null {
    return (this.get(column).keys[0] as string | undefined) ?? null;
  }

  /** Null when empty. A 64-bit integer beyond 2^53 is rounded. */
  integer(column: string): number | null {
    const key = this.get(column).keys[0];
    return key === undefined ? null : Number(key);
  }

  boolean(column: string): boolean {
    return this.get(column).keys[0] === true;
  }

  strings(column: string): readonly string[] {
    return this.get(column).keys as readonly string[];
  }

  integers(column: string): readonly number[] {
    return this.get(column).keys.map(Number);
  }

  /** A map column, keys and values as text. */
  map(column: string): Map<string, string> {
    const { keys, values } = this.get(column);
    return new Map(keys.map((key, i) => [String(key), String(values?.[i])]));
  }

  /** The rows that a set of UUIDs refers to, or a map's values. */
  refs(column: string): Row[] {
    const { type } = this.columnSchema(column);
    const { keys, values } = this.get(column);
    const [table, uuids] = type.value === null ? [type.key.refTable, keys] : [type.value.refTable, values ?? []];
    const rows: Row[] = [];
    for (const uuid of uuids) {
      const row = table === null ? undefined : this.lookUp(table, uuid as Uuid);
      if (row !== undefined) rows.push(row);
    }
    return rows;
  }

  ref(column: string): Row | null {
    return this.refs(column)[0] ?? null;
  }

  /** The rows that are the values of a map, by key. */
  refMap(column: string): Map<Atom, Row> {
    const { type } = this.columnSchema(column);
    const { keys, values } = this.get(column);
    const table = type.value?.refTable ?? null;
    const map = new Map<Atom, Row>();
    keys.forEach((key, i) => {
      const row = table === null ? undefined : this.lookUp(table, values?.[i] as Uuid);
      if (row !== undefined) map.set(key, row);
    });
    return map;
  }
}

export class Row extends RowView {
  /** Another one when the database has got another schema. */
  table: ReplicaTable;
  readonly uuid: Uuid;
  /** By column index; defaults in columns that are not monitored. Only this module and transactions write. */
  datums: readonly Datum[];
  isDeleted = false;

  constructor(table: ReplicaTable, uuid: Uuid, datums: readonly Datum[]) {
    super();
    this.table = table;
    this.uuid = uuid;
    this.datums = datums;
  }

  get(column: string): Datum {
    return this.datums[this.columnSchema(column).index];
  }

  /** All rows of another table, in no order. */
  rowsOf(table: string): Iterable<Row> {
    return this.table.replica.tables.get(table)?.rows() ?? [];
  }

  protected lookUp(table: string, uuid: Uuid): Row | undefined {
    return this.table.replica.tables.get(table)?.get(uuid);
  }

  protected columnSchema(column: string): ColumnSchema {
    return this.table.column(column);
  }
}

export class ReplicaTable {
  readonly replica: Replica;
  readonly name: string;
  readonly schema: TableSchema;
  /** Names of the columns that the server keeps us told about. */
  readonly monitored: ReadonlySet<string>;
  /** Whether the server has this table. */
  readonly isPresent: boolean;
  readonly defaults: readonly Datum[];
  private readonly byUuid = new Map<Uuid, Row>();

  constructor(replica: Replica, schema: TableSchema, monitored: ReadonlySet<string>, isPresent: boolean) {
    this.replica = replica;
    this.name = schema.name;
    this.schema = schema;
    this.monitored = monitored;
    this.isPresent = isPresent;
    this.defaults = schema.columns.map((column) => defaultDatum(column.type));
  }

  column(name: string): ColumnSchema {
    const column = this.schema.columnByName.get(name);
    if (column === undefined) throw new Error(`table ${this.name} has no column ${name}`);
    return column;
  }

  rows(): IterableIterator<Row> {
    return this.byUuid.values();
  }

  get(uuid: Uuid): Row | undefined {
    return this.byUuid.get(uuid);
  }

  get size(): number {
    return this.byUuid.size;
  }

  /** The first row, where there is at most one. */
  only(): Row | null {
    return this.byUuid.values().next().value ?? null;
  }

  /** @internal */
  add(row: Row): void {
    this.byUuid.set(row.uuid, row);
  }

  /** @internal */
  remove(row: Row): void {
    this.byUuid.delete(row.uuid);
  }
}

/** Which tables and columns to copy; `'all'` for every column of the table. */
export type TableRequests = Readonly<Record<string, readonly string[] | 'all'>>;

export type UpdateFormat = 'update' | 'update2';

export class Replica {
  readonly schema: DatabaseSchema;
  readonly tables = new Map<string, ReplicaTable>();
  /** What was asked for but the server's schema lacks, as `Table` or `Table:column`. */
  readonly missing: string[] = [];
  private changes = new Map<Row, { kind: ChangeKind; columns: Set<string> }>();

  /**
   * `schema` is what rows look like here; `present` what the server has of it. Columns and tables that the server lacks read as if
   * empty.
   */
  constructor(schema: DatabaseSchema, requests: TableRequests, present: DatabaseSchema = schema) {
    this.schema = present;
    for (const [name, wanted] of Object.entries(requests)) {
      const there = present.tables.get(name);
      const table = schema.tables.get(name) ?? there;
      if (there === undefined) this.missing.push(name);
      if (table === undefined) continue;
      const names = wanted === 'all' ? table.columns.map((column) => column.name) : wanted;
      const monitored = names.filter((column) => there?.columnByName.has(column));
      if (there !== undefined) {
        for (const column of names) if (!there.columnByName.has(column)) this.missing.push(`${name}:${column}`);
      }
      this.tables.set(name, new ReplicaTable(this, table, new Set(monitored), there !== undefined));
    }
  }

  /** What changed since the last call; rows that came and went in between are left out. */
  takeChanges(): RowChange[] {
    const taken: RowChange[] = [];
    for (const [row, change] of this.changes) taken.push({ row, kind: change.kind, columns: change.columns });
    this.changes = new Map();
    return taken;
  }

  /**
   * Takes the rows of a replica of another schema, each the row that it was, so that contents that come next are told of only as far as they
   * differ. Columns of another type are empty until then.
   */
  inherit(old: Replica): void {
    this.changes = old.changes;
    for (const was of old.tables.values()) {
      const table = this.tables.get(was.name);
      for (const row of [...was.rows()]) {
        if (table === undefined) {
          this.delete(row);
          continue;
        }
        row.datums = table.schema.columns.map((column) => {
          const before = was.schema.columnByName.get(column.name);
          const keeps = before !== undefined && hasSameValues(before, column) && table.monitored.has(column.name);
          return keeps ? row.datums[before.index] : table.defaults[column.index];
        });
        row.table = table;
        table.add(row);
      }
    }
  }

  /** Applies the `<table-updates>` of a server; throws `OvsdbError` when they do not fit what we have. */
  apply(updates: Json | undefined, format: UpdateFormat): void {
    for (const [table, uuid, update] of rowUpdates(updates)) {
      const target = this.tables.get(table);
      if (target === undefined) continue;
      if (format === 'update') this.applyUpdate(target, uuid, update);
      else this.applyUpdate2(target, uuid, update);
    }
  }

  /** Makes the replica equal to the complete contents in `updates`, recording only differences. */
  replace(updates: Json | undefined, format: UpdateFormat): void {
    const seen = new Set<Row>();
    for (const [table, uuid, update] of rowUpdates(updates)) {
      const target = this.tables.get(table);
      if (target === undefined) continue;
      const content = format === 'update' ? update['new'] : (update['initial'] ?? update['insert']);
      if (!isObject(content)) throw new OvsdbError('syntax error', `initial contents of table ${table} lack a row`);
      const row = target.get(uuid);
      if (row === undefined) seen.add(this.insert(target, uuid, content));
      else {
        seen.add(row);
        this.modify(row, this.parseColumns(target, content, target.defaults, false), true);
      }
    }
    for (const table of this.tables.values()) {
      for (const row of [...table.rows()]) if (!seen.has(row)) this.delete(row);
    }
  }

  private applyUpdate(table: ReplicaTable, uuid: Uuid, update: JsonObject): void {
    const row = table.get(uuid);
    const content = update['new'];
    if (isObject(content)) {
      if (row === undefined) this.insert(table, uuid, content);
      else this.modify(row, this.parseColumns(table, content, row.datums, false), false);
    } else if (row !== undefined) {
      this.delete(row);
    }
  }

  private applyUpdate2(table: ReplicaTable, uuid: Uuid, update: JsonObject): void {
    const row = table.get(uuid);
    const content = update['initial'] ?? update['insert'];
    if (isObject(content)) {
      if (row === undefined) this.insert(table, uuid, content);
      else this.modify(row, this.parseColumns(table, content, table.defaults, false), true);
    } else if (isObject(update['modify'])) {
      if (row === undefined)
        throw new OvsdbError('syntax error', `cannot modify missing row ${uuid} in table ${table.name}`);
      this.modify(row, this.parseColumns(table, update['modify'], row.datums, true), false);
    } else if ('delete' in update) {
      if (row === undefined)
        throw new OvsdbError('syntax error', `cannot delete missing row ${uuid} from table ${table.name}`);
      this.delete(row);
    }
  }

  /** `base` with the columns of `content` replaced, or changed by a difference. */
  private parseColumns(
    table: ReplicaTable,
    content: JsonObject,
    base: readonly Datum[],
    isDiff: boolean,
  ): readonly Datum[] {
    const datums = [...base];
    for (const [name, json] of Object.entries(content)) {
      const column = table.schema.columnByName.get(name);
      if (column === undefined || json === undefined) continue;
      const datum = datumFromJsonAnySize(column.type, json);
      // The difference of a column with a single value or pair, which may be none, is its new value.
      const isSingle = column.type.max === 1;
      datums[column.index] = isDiff && !isSingle ? datumApplyDiff(column.type, base[column.index], datum) : datum;
    }
    return datums;
  }

  private insert(table: ReplicaTable, uuid: Uuid, content: JsonObject): Row {
    const row = new Row(table, uuid, this.parseColumns(table, content, table.defaults, false));
    table.add(row);
    this.changes.set(row, { kind: 'insert', columns: new Set() });
    return row;
  }

  private modify(row: Row, datums: readonly Datum[], monitoredOnly: boolean): void {
    const differing: string[] = [];
    for (const column of row.table.schema.columns) {
      if (monitoredOnly && !row.table.monitored.has(column.name)) continue;
      if (!datumsEqual(row.datums[column.index], datums[column.index])) differing.push(column.name);
    }
    if (differing.length === 0) return;
    row.datums = datums;
    const change = this.changes.get(row);
    if (change === undefined) this.changes.set(row, { kind: 'modify', columns: new Set(differing) });
    else if (change.kind === 'modify') for (const name of differing) change.columns.add(name);
  }

  private delete(row: Row): void {
    row.table.remove(row);
    row.isDeleted = true;
    const change = this.changes.get(row);
    if (change?.kind === 'insert') this.changes.delete(row);
    else this.changes.set(row, { kind: 'delete', columns: new Set() });
  }
}

function* rowUpdates(updates: Json | undefined): Generator<[string, Uuid, JsonObject]> {
  if (!isObject(updates)) throw new OvsdbError('syntax error', 'table updates must be an object');
  for (const [table, rows] of Object.entries(updates)) {
    if (!isObject(rows)) throw new OvsdbError('syntax error', `updates of table ${table} must be an object`);
    for (const [uuid, update] of Object.entries(rows)) {
      if (!isObject(update)) throw new OvsdbError('syntax error', `update of row ${uuid} must be an object`);
      yield [table, uuid, update];
    }
  }
}

/** Whether values of one column are values of the other, but for their number and range. */
function hasSameValues(a: ColumnSchema, b: ColumnSchema): boolean {
  return a.type.key.type === b.type.key.type && a.type.value?.type === b.type.value?.type;
}
