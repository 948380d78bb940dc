/**
 * What a record of a database file says: the schema first, then a transaction each (ovsdb(5), "File Format"). Rows changed since a
 * previous record hold only the columns that changed, under `_is_diff` as differences.
 */
import { parseUuid, type Uuid } from './atom.ts';
import { type Changes, Database, type Table } from './database.ts';
import {
  datumApplyDiff,
  datumDiff,
  datumFromJson,
  datumFromJsonAnySize,
  datumsEqual,
  datumToJson,
  standsWhole,
} from './datum.ts';
import { OvsdbError, syntaxError } from './error.ts';
import { isObject, type Json, type JsonObject, stringifyJson } from './json.ts';
import { OvsdbLog } from './log.ts';
import { type LogRecord, MAGIC_CLUSTER } from './log-format.ts';
import { RecordReader } from './record-reader.ts';
import { defaultData, makeRow, type Row } from './row.ts';
import { type DatabaseSchema, schemaFromJson, schemaToJson } from './schema.ts';
import { Slicer } from './slices.ts';

let columnDiffs = true;

/** `--disable-file-column-diff`: changed columns are written whole, as servers before 2.15 want them. */
export function disableColumnDiffs(): void {
  columnDiffs = false;
}

/** The record of a transaction; null if nothing of it outlives the server. `diffs`: changed columns are differences. */
export function changesToRecord(
  changes: Changes,
  comments: readonly string[],
  dateMs: number,
  diffs = columnDiffs,
): JsonObject | null {
  const record: JsonObject = { _date: dateMs };
  if (comments.length > 0) record['_comment'] = comments.join('\n');
  if (diffs) record['_is_diff'] = true;
  let any = false;
  for (const [table, rows] of changes) {
    const tableJson: JsonObject = {};
    let anyRow = false;
    for (const [uuid, change] of rows) {
      const json = change.new === null ? null : rowRecord(table, change.old, change.new, diffs);
      if (json === undefined) continue;
      if (json === UNREADABLE) return changesToRecord(changes, comments, dateMs, false);
      tableJson[uuid] = json;
      anyRow = true;
    }
    if (!anyRow) continue;
    record[table.schema.name] = tableJson;
    any = true;
  }
  return any ? record : null;
}

/** The same as text. */
export function changesToText(changes: Changes, comments: readonly string[], dateMs: number): string | null {
  const record = changesToRecord(changes, comments, dateMs);
  return record === null ? null : stringifyJson(record);
}

/**
 * A difference of more members than the column may have, such as of two values by two others. The original writes it and then cannot read its file, so
 * such a record holds whole values.
 */
const UNREADABLE: JsonObject = {};

function rowRecord(table: Table, old: Row | null, row: Row, diffs: boolean): JsonObject | undefined {
  const json: JsonObject = {};
  let changed = old === null;
  const base = old?.data ?? defaultData(table.schema);
  for (const { type, index, name, ephemeral } of table.schema.columns) {
    if (ephemeral) continue;
    const before = base[index]!;
    const after = row.data[index]!;
    if (datumsEqual(before, after)) continue;
    const whole = old === null || !diffs || standsWhole(type, before);
    const datum = whole ? after : datumDiff(before, after);
    if (datum.keys.length > type.max) return UNREADABLE;
    json[name] = datumToJson(type, datum);
    changed = true;
  }
  return changed ? json : undefined;
}

/** All rows as one record. */
export function databaseToRecord(db: Database, comment: string, dateMs: number): JsonObject {
  const changes: Changes = new Map();
  for (const table of db.tables.values()) {
    if (table.rows.size === 0) continue;
    changes.set(table, new Map([...table.rows].map(([uuid, row]) => [uuid, { old: null, new: row }])));
  }
  return changesToRecord(changes, [comment], dateMs) ?? { _date: dateMs, _comment: comment };
}

/**
 * Applies a record of a transaction. Throws `OvsdbError`. With `lenient`, tables and columns that the schema does not have are skipped, as
 * `convert` needs.
 */
export function applyRecord(db: Database, record: JsonObject, lenient = false): void {
  const isDiff = record['_is_diff'] === true;
  const changes: Changes = new Map();
  for (const [tableName, rows] of Object.entries(record)) {
    const table = db.tables.get(tableName);
    if (table === undefined) {
      if (tableName.startsWith('_') || lenient) continue;
      throw syntaxError(record, `No table named ${tableName}.`, 'unknown table');
    }
    if (!isObject(rows)) throw syntaxError(rows, 'object expected');
    const tableChanges = new Map<Uuid, { old: Row | null; new: Row | null }>();
    changes.set(table, tableChanges);
    for (const [uuidText, json] of Object.entries(rows)) {
      const uuid = parseUuid(uuidText);
      if (uuid === null) throw syntaxError(rows, `"${uuidText}" is not a valid UUID`);
      const old = table.rows.get(uuid) ?? null;
      if (json === null && old === null) {
        throw new OvsdbError('syntax error', `transaction deletes row ${uuid} that does not exist`);
      }
      tableChanges.set(uuid, { old, new: json === null ? null : readRow(table, uuid, old, json, isDiff, lenient) });
    }
  }
  db.applyChanges(changes);
}

function readRow(
  table: Table,
  uuid: Uuid,
  old: Row | null,
  json: Json | undefined,
  isDiff: boolean,
  lenient: boolean,
): Row {
  if (!isObject(json)) throw syntaxError(json, 'object expected');
  const data = [...(old?.data ?? defaultData(table.schema))];
  for (const [name, value] of Object.entries(json)) {
    const column = table.schema.columnByName.get(name);
    if (column === undefined) {
      if (lenient) continue;
      throw syntaxError(json, `No column ${name} in table ${table.schema.name}.`, 'unknown column');
    }
    const { type, index } = column;
    if (!isDiff || old === null || standsWhole(type, data[index]!)) {
      data[index] = datumFromJson(type, value);
    } else {
      data[index] = datumApplyDiff(type, data[index]!, datumFromJsonAnySize(type, value));
    }
  }
  return makeRow(uuid, data);
}

export interface OpenedDatabase {
  readonly db: Database;
  readonly log: OvsdbLog;
  /** What stopped the reading before the end, if the file's tail is damaged. */
  readonly damage: OvsdbError | null;
  readonly records: number;
}

/** Reads the schema record. Throws `OvsdbError`. */
export function readSchema(log: OvsdbLog): DatabaseSchema {
  if (log.magic === MAGIC_CLUSTER) {
    throw new OvsdbError('ovsdb error', `${log.name}: not a standalone database`);
  }
  const record = log.read();
  if (record === null) throw new OvsdbError('I/O error', `${log.name}: database file contains no schema`);
  return schemaFromJson(record.json);
}

/** Opens a database file and reads it up to its end or its first damage. Throws `OvsdbError`. */
export function openDatabase(name: string, mode: 'read' | 'write', as?: DatabaseSchema): OpenedDatabase {
  const steps = openInSteps(name, mode, as);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same, while others are served. */
export async function openDatabaseSliced(name: string, mode: 'read' | 'write'): Promise<OpenedDatabase> {
  const steps = openInSteps(name, mode);
  const slicer = new Slicer();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await slicer.turn();
  }
}

const RECORDS_PER_STEP = 64;

function* openInSteps(name: string, mode: 'read' | 'write', as?: DatabaseSchema): Generator<void, OpenedDatabase> {
  const log = OvsdbLog.open(name, mode);
  try {
    const schema = readSchema(log);
    const db = new Database(as ?? schema);
    // What is not of the file's own schema needs a closer look.
    const reader = as === undefined ? new RecordReader(db) : null;
    let records = 1;
    let damage: OvsdbError | null = null;
    for (;;) {
      let record: LogRecord | null = null;
      try {
        const place = log.records!.place();
        if (place === null) break;
        const isPlain =
          reader !== null &&
          (RecordReader.isSmall(place)
            ? reader.apply(log.records!, place)
            : yield* reader.applyLarge(log.records!, place));
        if (isPlain) log.accept(place);
        else {
          record = log.read()!;
          applyRecord(db, record.json, as !== undefined);
        }
        if (++records % RECORDS_PER_STEP === 0) yield;
      } catch (error) {
        if (!(error instanceof OvsdbError)) throw error;
        damage = error;
        if (record !== null) log.unread(record);
        break;
      }
    }
    log.markSnapshot();
    return { db, log, damage, records };
  } catch (error) {
    log.close();
    throw error;
  }
}

/** The text of `databaseToRecord` for what is there at the first call of `next`, in pieces that later changes do not touch. */
export function* databaseTexts(db: Database, comment: string, dateMs: number): Generator<string> {
  const tables = [...db.tables.values()].filter((table) => table.rows.size > 0);
  const snapshot = tables.map((table) => [...table.rows.values()]);
  yield `{"_date":${dateMs},"_comment":${JSON.stringify(comment)}${columnDiffs ? ',"_is_diff":true' : ''}`;
  for (const [i, table] of tables.entries()) {
    let before = `,${JSON.stringify(table.schema.name)}:{`;
    for (const row of snapshot[i]!) {
      yield `${before}"${row.uuid}":${stringifyJson(rowRecord(table, null, row, false))}`;
      before = ',';
    }
    yield '}';
  }
  yield '}';
}

/** Records of a file that holds exactly this database. */
export function compactRecords(db: Database, comment: string, dateMs: number): JsonObject[] {
  return [schemaToJson(db.schema), databaseToRecord(db, comment, dateMs)];
}

/** Creates a database file with some records. Throws `OvsdbError`. */
export function createDatabase(name: string, records: readonly JsonObject[]): OvsdbLog {
  const log = OvsdbLog.open(name, 'create');
  try {
    for (const record of records) log.append(record);
    return log;
  } catch (error) {
    log.close();
    throw error;
  }
}
