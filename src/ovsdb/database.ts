/**
 * A database in memory: tables of rows, and what is kept beside the rows so that a transaction costs what it changes and not what there is:
 *
 *   strong   how many strong references from *other* rows hold a row (a row that only holds itself is garbage)
 *   weak     which rows refer weakly to a row, so that a deletion can clean up after itself
 *   indexes  for each index of the schema: the values of its columns → the row
 *
 * Only `applyChanges` changes a database, and only by whole transactions that were found correct.
 */
import type { Atom, Uuid } from './atom.ts';
import { changedSpan, type Datum, datumHas } from './datum.ts';
import type { Row, RowChange } from './row.ts';
import type { ColumnSchema, DatabaseSchema, TableSchema } from './schema.ts';
import { type BaseType, isScalar } from './types.ts';

export type TableChanges = Map<Uuid, RowChange>;
export type Changes = Map<Table, TableChanges>;

/** A column that refers to rows, by its key, its value or both. */
export interface RefColumn {
  readonly column: ColumnSchema;
  /** Null where that half does not refer. */
  readonly key: BaseType | null;
  readonly value: BaseType | null;
}

export class Table {
  readonly schema: TableSchema;
  readonly rows = new Map<Uuid, Row>();
  readonly strong = new Map<Uuid, number>();
  /** Referred row → referring rows, each with its number of references. */
  readonly weak = new Map<Uuid, Map<Uuid, WeakReferrer>>();
  readonly indexes: Map<IndexKey, Uuid>[];
  readonly strongColumns: readonly RefColumn[];
  readonly weakColumns: readonly RefColumn[];

  constructor(schema: TableSchema) {
    this.schema = schema;
    this.indexes = schema.indexes.map(() => new Map());
    this.strongColumns = refColumns(schema, 'strong');
    this.weakColumns = refColumns(schema, 'weak');
  }
}

export interface WeakReferrer {
  readonly table: Table;
  count: number;
}

function refColumns(schema: TableSchema, refType: BaseType['refType']): RefColumn[] {
  const half = (base: BaseType | null) => (base?.refTable != null && base.refType === refType ? base : null);
  return schema.columns
    .map((column) => ({ column, key: half(column.type.key), value: half(column.type.value) }))
    .filter((ref) => ref.key !== null || ref.value !== null);
}

/** What an index compares: an atom for a column that holds just one, else a text. */
export type IndexKey = Atom;

export function indexKey(columns: readonly ColumnSchema[], row: Row): IndexKey {
  if (columns.length === 1) return columnKey(columns[0]!, row.data[columns[0]!.index]!);
  return columns.map((column) => datumKey(row.data[column.index]!)).join('\u0000');
}

/** The key of an index over this column alone. */
export function columnKey({ type }: ColumnSchema, datum: Datum): IndexKey {
  return isScalar(type) ? datum.keys[0]! : datumKey(datum);
}

export function datumKey(datum: Datum): string {
  if (datum.values === null && datum.keys.length === 1) return `=${datum.keys[0]}`;
  const text = (atom: Atom) => JSON.stringify(String(atom));
  return datum.values === null
    ? datum.keys.map(text).join(',')
    : datum.keys.map((k, i) => `${text(k)}=${text(datum.values![i]!)}`).join(',');
}

/** Calls back for each reference that `after` has and `before` has not (1), and the other way round (-1). */
export function diffRefs(
  refs: readonly RefColumn[],
  before: Row | null,
  after: Row | null,
  each: (target: Uuid, base: BaseType, delta: 1 | -1, column: ColumnSchema) => void,
): void {
  for (const { column, key, value } of refs) {
    const a = before?.data[column.index];
    const b = after?.data[column.index];
    if (a === b) continue;
    if (key !== null) {
      // Keys are distinct, so those in both cancel out.
      const oldKeys = a?.keys ?? [];
      const newKeys = b?.keys ?? [];
      const { start, endA, endB } = changedSpan(oldKeys, newKeys);
      for (let i = start; i < endA; i++) {
        const k = oldKeys[i] as Uuid;
        if (b === undefined || !datumHas(b, k)) each(k, key, -1, column);
      }
      for (let i = start; i < endB; i++) {
        const k = newKeys[i] as Uuid;
        if (a === undefined || !datumHas(a, k)) each(k, key, 1, column);
      }
    }
    if (value !== null) {
      for (const v of a?.values ?? []) each(v as Uuid, value, -1, column);
      for (const v of b?.values ?? []) each(v as Uuid, value, 1, column);
    }
  }
}

/** Whether a row was and is the same to an index, as far as that can be told at a glance. */
export function sameColumns(columns: readonly ColumnSchema[], { old, new: now }: RowChange): boolean {
  if (old === null || now === null) return false;
  for (const { index } of columns) if (old.data[index] !== now.data[index]) return false;
  return true;
}

export class Database {
  readonly schema: DatabaseSchema;
  readonly tables = new Map<string, Table>();
  /** Rows over all tables. */
  rowCount = 0;

  constructor(schema: DatabaseSchema) {
    this.schema = schema;
    for (const table of schema.tables.values()) this.tables.set(table.name, new Table(table));
  }

  get name(): string {
    return this.schema.name;
  }

  /** The table that a reference points into; the schema's check has made sure that there is one. */
  refTable(base: BaseType): Table {
    return this.tables.get(base.refTable!)!;
  }

  applyChanges(changes: Changes): void {
    for (const [table, rows] of changes) {
      if (table.indexes.length === 0) continue;
      for (const [uuid, change] of rows) this.dropIndexes(table, uuid, change);
    }
    for (const [table, rows] of changes) {
      for (const [uuid, change] of rows) this.put(table, uuid, change);
    }
  }

  /**
   * Makes a row what a file says that it is. `leave` is called first, and for all rows that change together, since one may take the place in
   * an index that was another's.
   */
  replace(table: Table, uuid: Uuid, change: RowChange): void {
    this.put(table, uuid, change);
  }

  leave(table: Table, uuid: Uuid, change: RowChange): void {
    if (table.indexes.length > 0) this.dropIndexes(table, uuid, change);
  }

  private put(table: Table, uuid: Uuid, change: RowChange): void {
    if (change.new === null) table.rows.delete(uuid);
    else table.rows.set(uuid, change.new);
    this.rowCount += (change.new === null ? 0 : 1) - (change.old === null ? 0 : 1);
    this.addIndexes(table, change);
    this.countRefs(table, uuid, change.old, change.new);
  }

  private dropIndexes(table: Table, uuid: Uuid, change: RowChange): void {
    const { old } = change;
    if (old === null) return;
    const { indexes } = table.schema;
    for (let i = 0; i < indexes.length; i++) {
      const columns = indexes[i]!;
      if (sameColumns(columns, change)) continue;
      const key = indexKey(columns, old);
      if (table.indexes[i]!.get(key) === uuid) table.indexes[i]!.delete(key);
    }
  }

  private addIndexes(table: Table, change: RowChange): void {
    const row = change.new;
    if (row === null) return;
    const { indexes } = table.schema;
    for (let i = 0; i < indexes.length; i++) {
      const columns = indexes[i]!;
      if (!sameColumns(columns, change)) table.indexes[i]!.set(indexKey(columns, row), row.uuid);
    }
  }

  private countRefs(table: Table, uuid: Uuid, before: Row | null, after: Row | null): void {
    if (table.strongColumns.length === 0 && table.weakColumns.length === 0) return;
    diffRefs(table.strongColumns, before, after, (target, base, delta) => {
      const targetTable = this.refTable(base);
      if (targetTable === table && target === uuid) return;
      const count = (targetTable.strong.get(target) ?? 0) + delta;
      if (count === 0) targetTable.strong.delete(target);
      else targetTable.strong.set(target, count);
    });
    diffRefs(table.weakColumns, before, after, (target, base, delta) => {
      const { weak } = this.refTable(base);
      let referrers = weak.get(target);
      if (referrers === undefined) weak.set(target, (referrers = new Map()));
      const referrer = referrers.get(uuid);
      const count = (referrer?.count ?? 0) + delta;
      if (count !== 0) referrers.set(uuid, { table, count });
      else if (referrers.delete(uuid) && referrers.size === 0) weak.delete(target);
    });
  }
}
