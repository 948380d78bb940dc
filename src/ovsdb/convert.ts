/** Converting a database to another schema: what both know is kept, the rest is dropped or takes its default. */
import type { Uuid } from './atom.ts';
import { type Changes, Database, type Table } from './database.ts';
import { type Datum, datumFromJson, datumToJson } from './datum.ts';
import { OvsdbError } from './error.ts';
import { checkIntegrity, checkIntegrityInSteps } from './integrity.ts';
import { stringifyJson } from './json.ts';
import { defaultData, type Row } from './row.ts';
import type { DatabaseSchema } from './schema.ts';
import { Transaction } from './transaction.ts';
import { type ColumnType, columnTypeToJson } from './types.ts';

const ROWS_PER_STEP = 100;

/** Throws `OvsdbError` where a value does not fit the new schema. */
export function convertDatabase(from: Database, schema: DatabaseSchema): Database {
  const conversion = new Conversion(from, schema);
  for (const _ of conversion.steps());
  return conversion.to;
}

/** From where a column of the new schema takes its value. */
interface Source {
  /** In the new row, and in the old. */
  readonly index: number;
  readonly oldIndex: number;
  readonly name: string;
  readonly type: ColumnType;
  readonly oldType: ColumnType;
  /** The value is good as it is. */
  readonly isSame: boolean;
}

/**
 * A conversion while the database goes on changing: first all the rows there are, then (`catchUp`) those that changed meanwhile.
 */
export class Conversion {
  readonly from: Database;
  readonly to: Database;
  private readonly sources = new Map<Table, readonly Source[]>();
  private readonly rows: readonly (readonly Row[])[];

  constructor(from: Database, schema: DatabaseSchema) {
    this.from = from;
    this.to = new Database(schema);
    for (const table of this.to.tables.values()) this.sources.set(table, this.sourcesOf(table));
    this.rows = [...this.to.tables.keys()].map((name) => [...(from.tables.get(name)?.rows.values() ?? [])]);
  }

  /** Throws `OvsdbError`. */
  *steps(): Generator<void> {
    const tables = [...this.to.tables.values()];
    for (const [i, table] of tables.entries()) if (standsAlone(table)) yield* this.insertPieces(table, this.rows[i]!);
    const txn = new Transaction(this.to);
    for (const [i, table] of tables.entries()) if (!standsAlone(table)) yield* this.insert(txn, table, this.rows[i]!);
    yield* checkIntegrityInSteps(txn);
    for (const [table, changes] of txn.changes) {
      let n = 0;
      for (const [uuid, change] of changes) {
        this.to.replace(table, uuid, change);
        if (n++ % ROWS_PER_STEP === 0) yield;
      }
    }
  }

  private *insert(txn: Transaction, table: Table, rows: readonly Row[]): Generator<void> {
    for (const [n, row] of rows.entries()) {
      txn.insert(table, row.uuid, this.convert(table, row));
      if (n % ROWS_PER_STEP === 0) yield;
    }
  }

  private *insertPieces(table: Table, rows: readonly Row[]): Generator<void> {
    for (let at = 0; at < rows.length; at += ROWS_PER_STEP) {
      const txn = new Transaction(this.to);
      for (const row of rows.slice(at, at + ROWS_PER_STEP)) txn.insert(table, row.uuid, this.convert(table, row));
      try {
        checkIntegrity(txn);
      } catch (error) {
        this.failAsWhole();
        throw error;
      }
      this.to.applyChanges(txn.changes);
      yield;
    }
  }

  /** The whole has the words for what is wrong with a piece. */
  private failAsWhole(): void {
    const txn = new Transaction(new Database(this.to.schema));
    for (const [i, table] of [...txn.db.tables.values()].entries()) {
      const own = this.to.tables.get(table.schema.name)!;
      for (const row of this.rows[i]!) txn.insert(table, row.uuid, this.convert(own, row));
    }
    checkIntegrity(txn);
  }

  /** Takes over what became of some rows of the old tables; gives what that changed, to be written as well. Throws `OvsdbError`. */
  catchUp(touched: ReadonlyMap<string, ReadonlySet<Uuid>>): Changes {
    const txn = new Transaction(this.to);
    for (const table of this.to.tables.values()) {
      const source = this.from.tables.get(table.schema.name);
      for (const uuid of touched.get(table.schema.name) ?? []) {
        const now = source?.rows.get(uuid);
        const known = txn.get(table, uuid);
        if (now === undefined) {
          if (known !== undefined) txn.delete(table, known);
        } else if (known === undefined) txn.insert(table, uuid, this.convert(table, now));
        else txn.replace(table, known, this.convert(table, now));
      }
    }
    checkIntegrity(txn);
    this.to.applyChanges(txn.changes);
    return txn.changes;
  }

  private sourcesOf(table: Table): Source[] {
    const source = this.from.tables.get(table.schema.name);
    return table.schema.columns.flatMap(({ name, index, type }) => {
      const old = source?.schema.columnByName.get(name);
      if (old === undefined) return [];
      const isSame = stringifyJson(columnTypeToJson(type)) === stringifyJson(columnTypeToJson(old.type));
      return [{ index, oldIndex: old.index, name, type, oldType: old.type, isSame }];
    });
  }

  private convert(table: Table, row: Row): Datum[] {
    const data: Datum[] = [...defaultData(table.schema)];
    for (const { index, oldIndex, name, type, oldType, isSame } of this.sources.get(table)!) {
      const value = row.data[oldIndex]!;
      try {
        data[index] = isSame ? value : datumFromJson(type, datumToJson(oldType, value));
      } catch (error) {
        if (!(error instanceof OvsdbError)) throw error;
        throw error.within(`converting table ${table.schema.name} column ${name}`);
      }
    }
    return data;
  }
}

/** What must hold for such a table holds when it holds for each piece. */
function standsAlone({ schema, strongColumns, weakColumns }: Table): boolean {
  return schema.isRoot && strongColumns.length === 0 && weakColumns.length === 0;
}
