/**
 * A transaction: an overlay of changed rows over a database that stays as it is until the commit. Reading sees the overlay; giving up is
 * forgetting it.
 */
import type { Uuid } from './atom.ts';
import type { Changes, Database, Table, TableChanges } from './database.ts';
import type { Datum } from './datum.ts';
import { makeRow, type Row, sameData, withColumns } from './row.ts';
import type { ColumnSchema } from './schema.ts';

export class Transaction {
  readonly db: Database;
  readonly changes: Changes = new Map();
  readonly comments: string[] = [];
  durable = false;

  constructor(db: Database) {
    this.db = db;
  }

  private tableChanges(table: Table): TableChanges {
    let changes = this.changes.get(table);
    if (changes === undefined) this.changes.set(table, (changes = new Map()));
    return changes;
  }

  get(table: Table, uuid: Uuid): Row | undefined {
    const change = this.changes.get(table)?.get(uuid);
    return change === undefined ? table.rows.get(uuid) : (change.new ?? undefined);
  }

  /** Rows as the transaction sees them. The overlay may be changed for a row once it was yielded. */
  *rows(table: Table): Iterable<Row> {
    const changes = this.changes.get(table);
    for (const row of table.rows.values()) {
      const change = changes?.get(row.uuid);
      if (change === undefined) yield row;
      else if (change.new !== null) yield change.new;
    }
    if (changes === undefined) return;
    for (const change of [...changes.values()]) if (change.old === null && change.new !== null) yield change.new;
  }

  /** Whether the uuid is in use, or was before this transaction deleted it. */
  isTaken(table: Table, uuid: Uuid): boolean {
    return table.rows.has(uuid) || this.get(table, uuid) !== undefined;
  }

  insert(table: Table, uuid: Uuid, data: readonly Datum[]): Row {
    const row = makeRow(uuid, data);
    this.tableChanges(table).set(uuid, { old: null, new: row });
    return row;
  }

  /** Replaces columns; a row that stays the same is not touched. */
  update(table: Table, row: Row, values: ReadonlyMap<ColumnSchema, Datum>): Row {
    const data = withColumns(row.data, values);
    return data === row.data ? row : this.replace(table, row, data);
  }

  replace(table: Table, row: Row, data: readonly Datum[]): Row {
    const changes = this.tableChanges(table);
    const change = changes.get(row.uuid);
    const old = change === undefined ? row : change.old;
    const next = makeRow(row.uuid, data, change === undefined ? null : row.version);
    changes.set(row.uuid, { old, new: next });
    return next;
  }

  delete(table: Table, row: Row): void {
    const changes = this.tableChanges(table);
    const old = changes.get(row.uuid)?.old;
    // An insertion undone stays in the overlay, so that its uuid stays taken; the commit drops it.
    changes.set(row.uuid, { old: old === undefined ? row : old, new: null });
  }

  /** Removes from the overlay what is no change after all. */
  dropUnchanged(): void {
    for (const [table, changes] of this.changes) {
      for (const [uuid, change] of changes) {
        const same =
          change.old === null ? change.new === null : change.new !== null && sameData(change.old.data, change.new.data);
        if (same) changes.delete(uuid);
      }
      if (changes.size === 0) this.changes.delete(table);
    }
  }
}
