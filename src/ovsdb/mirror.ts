/**
 * Making a database equal to one elsewhere: `<table-updates2>` of `monitor_cond` (ovsdb-server(7) 4.1.14) become transactions of ours. Their
 * correctness is the source's business, so that only their form is checked.
 */
import { parseUuid, type Uuid } from './atom.ts';
import type { Database, Table } from './database.ts';
import { type Datum, datumApplyDiff, datumFromJson, datumFromJsonAnySize } from './datum.ts';
import { OvsdbError, syntaxError } from './error.ts';
import { isObject, type Json, type JsonObject } from './json.ts';
import { defaultData, withColumns } from './row.ts';
import type { ColumnSchema, DatabaseSchema } from './schema.ts';
import { Transaction } from './transaction.ts';

/** `<monitor-cond-requests>` for everything that both schemas have, without the tables of `excluded`. */
export function mirrorRequests(
  here: DatabaseSchema,
  there: DatabaseSchema,
  excluded: ReadonlySet<string> = new Set(),
): JsonObject {
  const requests: JsonObject = {};
  for (const table of there.tables.values()) {
    const own = here.tables.get(table.name);
    if (own === undefined || excluded.has(table.name)) continue;
    const columns = table.columns.map(({ name }) => name).filter((name) => own.columnByName.has(name));
    requests[table.name] = [{ columns }];
  }
  return requests;
}

/** What makes the tables of `requests` hold exactly `updates`. Rows that are the same already are not touched. Throws `OvsdbError`. */
export function resetTransaction(db: Database, requests: JsonObject, updates: Json): Transaction {
  if (!isObject(updates)) throw syntaxError(updates, 'object expected');
  const txn = new Transaction(db);
  for (const name of Object.keys(requests)) {
    const table = db.tables.get(name);
    if (table === undefined) continue;
    const rows = updates[name] ?? {};
    if (!isObject(rows)) throw syntaxError(rows, 'object expected');
    const wanted = new Set<string>();
    for (const [uuid, json] of Object.entries(rows)) {
      wanted.add(uuid);
      put(txn, table, readUuid(uuid), isObject(json) ? (json['initial'] ?? json['insert']) : json);
    }
    for (const row of table.rows.values()) if (!wanted.has(row.uuid)) txn.delete(table, row);
  }
  return txn;
}

/** The transaction of an `update2`. Throws `OvsdbError`. */
export function updateTransaction(db: Database, updates: Json | undefined): Transaction {
  if (!isObject(updates)) throw syntaxError(updates, 'object expected');
  const txn = new Transaction(db);
  for (const [name, rows] of Object.entries(updates)) {
    const table = db.tables.get(name);
    if (table === undefined) throw syntaxError(updates, `No table named ${name}.`, 'unknown table');
    if (!isObject(rows)) throw syntaxError(rows, 'object expected');
    for (const [uuidText, update] of Object.entries(rows)) change(txn, table, readUuid(uuidText), update);
  }
  return txn;
}

function change(txn: Transaction, table: Table, uuid: Uuid, update: Json | undefined): void {
  if (!isObject(update)) throw syntaxError(update, 'object expected');
  const inserted = update['insert'] ?? update['initial'];
  if (inserted !== undefined) return put(txn, table, uuid, inserted);
  const row = txn.get(table, uuid);
  if (row === undefined)
    throw new OvsdbError('consistency violation', `row ${uuid} of ${table.schema.name} is not here`);
  if (update['delete'] !== undefined) return txn.delete(table, row);
  const values = new Map<ColumnSchema, Datum>();
  for (const [column, value] of columns(table, update['modify'])) {
    const { type } = column;
    const whole = type.max === 1;
    const old = row.data[column.index]!;
    values.set(
      column,
      whole ? datumFromJson(type, value) : datumApplyDiff(type, old, datumFromJsonAnySize(type, value)),
    );
  }
  txn.update(table, row, values);
}

/** The row becomes what `json` says, columns it does not name their defaults. */
function put(txn: Transaction, table: Table, uuid: Uuid, json: Json | undefined): void {
  const values = new Map<ColumnSchema, Datum>();
  for (const [column, value] of columns(table, json)) values.set(column, datumFromJson(column.type, value));
  const data = withColumns(defaultData(table.schema), values);
  const row = txn.get(table, uuid);
  if (row === undefined) txn.insert(table, uuid, data);
  else txn.update(table, row, new Map(table.schema.columns.map((column) => [column, data[column.index]!])));
}

function columns(table: Table, json: Json | undefined): [ColumnSchema, Json | undefined][] {
  if (!isObject(json)) throw syntaxError(json, 'row must be JSON object');
  return Object.entries(json).map(([name, value]) => {
    const column = table.schema.columnByName.get(name);
    if (column === undefined)
      throw syntaxError(json, `No column ${name} in table ${table.schema.name}.`, 'unknown column');
    return [column, value];
  });
}

function readUuid(text: string): Uuid {
  const uuid = parseUuid(text);
  if (uuid === null) throw syntaxError(text, 'bad uuid');
  return uuid;
}
