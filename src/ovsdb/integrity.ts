/**
 * What must hold when a transaction commits (RFC 7047 3.2, 4.1.3): references, garbage collection, size of tables, uniqueness of indexes.
 *
 * `checkIntegrity` looks only at the overlay and at the counts that `Database` keeps. It may change the overlay: rows of non-root tables that
 * nothing holds any more are deleted, weak references to rows that are gone are removed.
 */
import { type Uuid, ZERO_UUID } from './atom.ts';
import { type Database, diffRefs, type IndexKey, indexKey, sameColumns, type Table } from './database.ts';
import { type Datum, datumToText } from './datum.ts';
import { constraintViolation, OvsdbError } from './error.ts';
import type { Row } from './row.ts';
import type { ColumnSchema } from './schema.ts';
import type { Transaction } from './transaction.ts';

/** Throws `OvsdbError`. Afterwards the overlay holds exactly what the commit changes. */
export function checkIntegrity(txn: Transaction): void {
  for (const _ of checkIntegrityInSteps(txn));
}

/** The same, with pauses in which nobody else may change the overlay or the database. */
export function* checkIntegrityInSteps(txn: Transaction): Generator<void> {
  if (concernsReferences(txn)) {
    const strong = new StrongRefs(txn);
    yield* strong.checkAll();
    yield* strong.collectGarbage();
    // A pair of a map may go with its weak half while its other half is a strong reference.
    while (yield* removeWeakRefs(txn, strong)) yield* strong.collectGarbage();
  }
  txn.dropUnchanged();
  checkMaxRows(txn);
  yield* checkIndexes(txn);
}

const ROWS_PER_STEP = 500;

/** Tables that neither refer to others nor are referred to, the common case of a busy table, need no look at references. */
function concernsReferences(txn: Transaction): boolean {
  for (const { schema, strongColumns, weakColumns, strong, weak } of txn.changes.keys()) {
    if (!schema.isRoot || strongColumns.length > 0 || weakColumns.length > 0) return true;
    if (strong.size > 0 || weak.size > 0) return true;
  }
  return false;
}

/** Changes of the strong reference counts by this transaction, over those that the tables keep. */
class StrongRefs {
  private readonly txn: Transaction;
  private readonly db: Database;
  private readonly deltas = new Map<Table, Map<Uuid, number>>();
  private readonly candidates: [Table, Uuid][] = [];

  constructor(txn: Transaction) {
    this.txn = txn;
    this.db = txn.db;
  }

  *checkAll(): Generator<void> {
    let looked = 0;
    for (const [table, changes] of [...this.txn.changes]) {
      for (const [uuid, change] of changes) {
        this.count(table, uuid, change.old, change.new);
        if (++looked % ROWS_PER_STEP === 0) yield;
      }
    }
    for (const [table, changes] of this.txn.changes) {
      for (const [uuid, change] of changes) {
        if (++looked % ROWS_PER_STEP === 0) yield;
        if (change.new !== null) continue;
        const n = this.refs(table, uuid);
        if (n > 0 && change.old !== null) {
          throw new OvsdbError(
            'referential integrity violation',
            `cannot delete ${table.schema.name} row ${uuid} because of ${n} remaining reference(s)`,
          );
        }
      }
    }
    for (const [table, changes] of this.txn.changes) {
      if (table.strongColumns.length === 0) continue;
      for (const [uuid, change] of changes) {
        this.checkTargets(table, uuid, change.old, change.new);
        if (++looked % ROWS_PER_STEP === 0) yield;
      }
    }
  }

  /** Takes the references of one changed row into account. */
  count(table: Table, uuid: Uuid, before: Row | null, after: Row | null): void {
    if (!table.schema.isRoot && after !== null) this.candidates.push([table, uuid]);
    diffRefs(table.strongColumns, before, after, (target, base, delta) => {
      const targetTable = this.db.refTable(base);
      if (targetTable === table && target === uuid) return;
      let deltas = this.deltas.get(targetTable);
      if (deltas === undefined) this.deltas.set(targetTable, (deltas = new Map()));
      deltas.set(target, (deltas.get(target) ?? 0) + delta);
      if (delta < 0 && !targetTable.schema.isRoot) this.candidates.push([targetTable, target]);
    });
  }

  private refs(table: Table, uuid: Uuid): number {
    return (table.strong.get(uuid) ?? 0) + (this.deltas.get(table)?.get(uuid) ?? 0);
  }

  private checkTargets(table: Table, uuid: Uuid, before: Row | null, after: Row | null): void {
    diffRefs(table.strongColumns, before, after, (target, base, delta, column) => {
      if (delta < 0) return;
      const targetTable = this.db.refTable(base);
      if (this.txn.get(targetTable, target) !== undefined) return;
      throw new OvsdbError(
        'referential integrity violation',
        `Table ${table.schema.name} column ${column.name} row ${uuid} references nonexistent row ${target} in table ${targetTable.schema.name}.`,
      );
    });
  }

  *collectGarbage(): Generator<void> {
    let n = 0;
    for (let next = this.candidates.pop(); next !== undefined; next = this.candidates.pop()) {
      const [table, uuid] = next;
      if (++n % ROWS_PER_STEP === 0) yield;
      const row = this.txn.get(table, uuid);
      if (row === undefined || this.refs(table, uuid) > 0) continue;
      this.txn.delete(table, row);
      this.count(table, uuid, row, null);
    }
  }
}

/** Removes weak references to rows that are not there; true if that changed anything. */
function* removeWeakRefs(txn: Transaction, strong: StrongRefs): Generator<void, boolean> {
  let n = 0;
  const affected = new Map<Table, Set<Uuid>>();
  const add = (table: Table, uuid: Uuid) => {
    let rows = affected.get(table);
    if (rows === undefined) affected.set(table, (rows = new Set()));
    rows.add(uuid);
  };
  for (const [table, changes] of txn.changes) {
    for (const [uuid, change] of changes) {
      if (++n % ROWS_PER_STEP === 0) yield;
      if (change.new !== null && table.weakColumns.length > 0) add(table, uuid);
      if (change.new !== null || change.old === null) continue;
      for (const [referrer, { table: referring }] of table.weak.get(uuid) ?? []) add(referring, referrer);
    }
  }
  let changed = false;
  for (const [table, rows] of affected) {
    for (const uuid of rows) {
      if (++n % ROWS_PER_STEP === 0) yield;
      const row = txn.get(table, uuid);
      if (row === undefined) continue;
      const values = danglingRemoved(txn, table, row);
      if (values.size === 0) continue;
      const next = txn.update(table, row, values);
      strong.count(table, uuid, row, next);
      changed = true;
    }
  }
  return changed;
}

function danglingRemoved(txn: Transaction, table: Table, row: Row): Map<ColumnSchema, Datum> {
  const values = new Map<ColumnSchema, Datum>();
  for (const { column, key, value } of table.weakColumns) {
    const datum = row.data[column.index]!;
    const gone = (base: typeof key, atom: Uuid) => base !== null && txn.get(txn.db.refTable(base), atom) === undefined;
    const stays = datum.keys.map(
      (k, i) => !gone(key, k as Uuid) && (value === null || !gone(value, datum.values![i] as Uuid)),
    );
    if (!stays.includes(false)) continue;
    const rest: Datum = {
      keys: datum.keys.filter((_, i) => stays[i]),
      values: datum.values?.filter((_, i) => stays[i]) ?? null,
    };
    const n = datum.keys.length - rest.keys.length;
    if (rest.keys.length === 0 && column.type.min > 0) {
      const zero = datum.keys.some((k, i) => k === ZERO_UUID || datum.values?.[i] === ZERO_UUID);
      throw emptiedColumn(txn, table, row, column, n, zero);
    }
    values.set(column, rest);
  }
  return values;
}

function emptiedColumn(
  txn: Transaction,
  table: Table,
  row: Row,
  column: ColumnSchema,
  n: number,
  zero: boolean,
): OvsdbError {
  const inserted = txn.changes.get(table)?.get(row.uuid)?.old === null ? '(inserted within this transaction) ' : '';
  const name = table.schema.name;
  if (zero) {
    return constraintViolation(
      `Weak reference column "${column.name}" in "${name}" row ${row.uuid} ${inserted}contained all-zeros UUID (probably as the default value for this column) but deleting this value caused a constraint volation because this column is not allowed to be empty.`,
    );
  }
  return constraintViolation(
    `Deletion of ${n} weak reference(s) to deleted (or never-existing) rows from column "${column.name}" in "${name}" row ${row.uuid} ${inserted}caused this column to become empty, but constraints on this column disallow an empty column.`,
  );
}

function checkMaxRows(txn: Transaction): void {
  for (const [table, changes] of txn.changes) {
    if (table.rows.size + changes.size <= table.schema.maxRows) continue;
    let n = table.rows.size;
    for (const change of changes.values()) n += (change.new === null ? 0 : 1) - (change.old === null ? 0 : 1);
    if (n > table.schema.maxRows && n > table.rows.size) {
      throw constraintViolation(
        `transaction causes "${table.schema.name}" table to contain ${n} rows, greater than the schema-defined limit of ${table.schema.maxRows} row(s)`,
      );
    }
  }
}

function* checkIndexes(txn: Transaction): Generator<void> {
  let n = 0;
  for (const [table, changes] of txn.changes) {
    // What is alone and has not moved meets no other.
    const [only] = changes.size === 1 ? changes.values() : [];
    for (const [i, columns] of table.schema.indexes.entries()) {
      if (only !== undefined && sameColumns(columns, only)) continue;
      const seen = new Map<IndexKey, Row>();
      for (const [uuid, change] of changes) {
        if (++n % ROWS_PER_STEP === 0) yield;
        if (change.new === null) continue;
        const key = indexKey(columns, change.new);
        const twin = seen.get(key) ?? existingTwin(txn, table, i, key, uuid);
        if (twin !== undefined) {
          const pair: [Row, Row] = seen.has(key) ? [twin, change.new] : [change.new, twin];
          throw duplicateIndex(txn, table, columns, ...pair);
        }
        seen.set(key, change.new);
      }
    }
  }
}

// A row that this transaction changes too is met through the overlay.
function existingTwin(txn: Transaction, table: Table, index: number, key: IndexKey, uuid: Uuid): Row | undefined {
  const other = table.indexes[index]!.get(key);
  if (other === undefined || other === uuid || txn.changes.get(table)?.has(other)) return undefined;
  return table.rows.get(other);
}

function duplicateIndex(txn: Transaction, table: Table, columns: readonly ColumnSchema[], a: Row, b: Row): OvsdbError {
  const values = columns.map((column) => datumToText(column.type, a.data[column.index]!));
  const names = columns.map((column) => `"${column.name}"`);
  return constraintViolation(
    `Transaction causes multiple rows in "${table.schema.name}" table to have identical values (${list(values)}) for index on column${columns.length > 1 ? 's' : ''} ${list(names)}.  First row, with UUID ${a.uuid}, ${origin(txn, table, columns, a)}.  Second row, with UUID ${b.uuid}, ${origin(txn, table, columns, b)}.`,
  );
}

function list(words: string[]): string {
  if (words.length < 3) return words.join(' and ');
  return `${words.slice(0, -1).join(', ')}, and ${words[words.length - 1]}`;
}

function origin(txn: Transaction, table: Table, columns: readonly ColumnSchema[], row: Row): string {
  const change = txn.changes.get(table)?.get(row.uuid);
  if (change === undefined) {
    return 'existed in the database before this transaction and was not modified by the transaction';
  }
  if (change.old === null) return 'was inserted by this transaction';
  const same = indexKey(columns, change.old) === indexKey(columns, row);
  return same
    ? "existed in the database before this transaction, which modified some of the row's columns but not any columns in this index"
    : 'had the following index values before the transaction: ' +
        list(columns.map((column) => datumToText(column.type, change.old!.data[column.index]!)));
}
