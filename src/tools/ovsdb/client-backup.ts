/** `ovsdb-client backup` and `restore`: a database as a file, through the server that serves it. */
import { readFileSync } from 'node:fs';
import { clock } from '../../base/clock.ts';
import { errorText } from '../../base/errno.ts';
import { Database } from '../../ovsdb/database.ts';
import { type Datum, datumFromJson, datumToJson } from '../../ovsdb/datum.ts';
import { applyRecord, compactRecords } from '../../ovsdb/file.ts';
import { isObject, type Json, type JsonObject } from '../../ovsdb/json.ts';
import { encodeRecord, LogReader } from '../../ovsdb/log-format.ts';
import { defaultData, makeRow } from '../../ovsdb/row.ts';
import { type DatabaseSchema, schemaFromJson } from '../../ovsdb/schema.ts';
import type { ColumnType } from '../../ovsdb/types.ts';
import type { ClientRpc } from './client-rpc.ts';

export async function backup(rpc: ClientRpc, schema: DatabaseSchema): Promise<Buffer> {
  const db = new Database(schema);
  const tables = [...db.tables.values()];
  const operations = tables.map(({ schema: t }) => ({
    op: 'select',
    table: t.name,
    where: [],
    columns: ['_uuid', ...t.columns.filter((column) => !column.ephemeral).map((column) => column.name)],
  }));
  const results = (await rpc.call('transact', [schema.name, ...operations])) as Json[];
  for (const [i, table] of tables.entries()) {
    const result = results[i];
    for (const row of isObject(result) ? (result['rows'] as JsonObject[]) : []) {
      const data: Datum[] = [...defaultData(table.schema)];
      for (const column of table.schema.columns) {
        if (!column.ephemeral) data[column.index] = datumFromJson(column.type, row[column.name]);
      }
      const uuid = (row['_uuid'] as [string, string])[1];
      db.applyChanges(new Map([[table, new Map([[uuid, { old: null, new: makeRow(uuid, data) }]])]]));
    }
  }
  const records = compactRecords(db, 'produced by "ovsdb-client backup"', clock.wallMs());
  return Buffer.concat(records.map((record) => encodeRecord(record)));
}

/** Puts what a file holds in the place of all the server has; throws `Error` when the schemas differ, unless forced. */
export async function restore(rpc: ClientRpc, schema: DatabaseSchema, force: boolean): Promise<void> {
  const db = readBackup(0, '/dev/stdin');
  if (!force) checkSame(db.schema, schema);
  const operations: JsonObject[] = [];
  for (const table of db.tables.keys()) operations.push({ op: 'delete', table, where: [] });
  for (const [name, table] of db.tables) {
    for (const row of table.rows.values()) {
      const columns: JsonObject = {};
      for (const { name: column, type, index, ephemeral } of table.schema.columns) {
        if (!ephemeral) columns[column] = renamed(db, type, row.data[index]!);
      }
      operations.push({ op: 'insert', table: name, 'uuid-name': rowName(row.uuid), row: columns });
    }
  }
  operations.push({ op: 'comment', comment: 'ovsdb-client restore' });
  const results = (await rpc.call('transact', [schema.name, ...operations])) as Json[];
  for (const result of results) {
    if (isObject(result) && result['error'] !== undefined) {
      throw new Error(`transaction returned error: ${JSON.stringify(result)}`);
    }
  }
}

function readBackup(fd: number, path: string): Database {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(fd);
  } catch (error) {
    throw new Error(`I/O error: ${path}: read failed (${errorText(error)})`);
  }
  const reader = new LogReader(path, bytes);
  const first = reader.next();
  if (first === null) throw new Error(`I/O error: ${path}: database file contains no schema`);
  const db = new Database(schemaFromJson(first.json));
  for (let record = reader.next(); record !== null; record = reader.next()) applyRecord(db, record.json);
  return db;
}

function checkSame(backed: DatabaseSchema, now: DatabaseSchema): void {
  const differ = (what: string, a: string, b: string) =>
    new Error(
      `backup schema has ${what} "${a}" but database schema has ${what} "${b}" (use --force to override differences, or "ovsdb-client convert" to change the schema)`,
    );
  if (backed.name !== now.name) throw differ('name', backed.name, now.name);
  if (backed.version !== now.version) throw differ('version', backed.version, now.version);
  if (backed.cksum !== now.cksum) throw differ('checksum', backed.cksum, now.cksum);
}

// Rows that a transaction deletes keep their identifiers from being used in it, so restored rows get new ones.
function rowName(uuid: string): string {
  return `row${uuid.replaceAll('-', '_')}`;
}

function renamed(db: Database, type: ColumnType, datum: Datum): Json {
  const rename = (json: Json, refTable: string | null | undefined): Json => {
    if (refTable == null || !Array.isArray(json) || json[0] !== 'uuid') return json;
    const uuid = json[1] as string;
    return db.tables.get(refTable)?.rows.has(uuid) ? ['named-uuid', rowName(uuid)] : json;
  };
  const json = datumToJson(type, datum);
  if (type.value !== null) {
    const pairs = (json as [string, [Json, Json][]])[1];
    return ['map', pairs.map(([k, v]) => [rename(k, type.key.refTable), rename(v, type.value!.refTable)])];
  }
  if (datum.keys.length === 1) return rename(json, type.key.refTable);
  return ['set', (json as [string, Json[]])[1].map((atom) => rename(atom, type.key.refTable))];
}
