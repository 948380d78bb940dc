/** Converting a database to another schema: what both know is kept, the rest is dropped or takes its default. */
import { Database, type TableChanges } from './database.ts';
import { type Datum, datumFromJson, datumToJson } from './datum.ts';
import { OvsdbError } from './error.ts';
import { checkIntegrity } from './integrity.ts';
import { defaultData } from './row.ts';
import type { DatabaseSchema } from './schema.ts';
import { Transaction } from './transaction.ts';

/** Throws `OvsdbError` where a value does not fit the new schema. */
export function convertDatabase(from: Database, schema: DatabaseSchema): Database {
  const to = new Database(schema);
  const txn = new Transaction(to);
  for (const table of to.tables.values()) {
    const source = from.tables.get(table.schema.name);
    if (source === undefined) continue;
    for (const row of source.rows.values()) {
      const data: Datum[] = [...defaultData(table.schema)];
      for (const column of table.schema.columns) {
        const old = source.schema.columnByName.get(column.name);
        if (old === undefined) continue;
        try {
          data[column.index] = datumFromJson(column.type, datumToJson(old.type, row.data[old.index]!));
        } catch (error) {
          if (!(error instanceof OvsdbError)) throw error;
          throw error.within(`converting table ${table.schema.name} column ${column.name}`);
        }
      }
      txn.insert(table, row.uuid, data);
    }
  }
  checkIntegrity(txn);
  to.applyChanges(txn.changes as Map<never, TableChanges>);
  return to;
}
