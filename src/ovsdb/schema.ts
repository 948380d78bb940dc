/**
 * Database schemas (RFC 7047 3.2): parsed, checked, and written back as JSON.
 *
 * Columns are numbered; a row is an array of datums in that order. `_uuid` and `_version` are not columns here: every row has them, and
 * whoever accepts column names from a client knows the two.
 */
import { isId } from './atom.ts';
import { OvsdbError, syntaxError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { ObjectParser } from './parser.ts';
import { baseType, type ColumnType, columnType, columnTypeFromJson, columnTypeToJson, UNLIMITED } from './types.ts';

export interface ColumnSchema {
  readonly name: string;
  /** Place in a row. */
  readonly index: number;
  readonly type: ColumnType;
  readonly mutable: boolean;
  readonly ephemeral: boolean;
}

export interface TableSchema {
  readonly name: string;
  readonly columns: readonly ColumnSchema[];
  readonly columnByName: ReadonlyMap<string, ColumnSchema>;
  readonly mutable: boolean;
  readonly isRoot: boolean;
  readonly maxRows: number;
  readonly indexes: readonly (readonly ColumnSchema[])[];
}

export interface DatabaseSchema {
  readonly name: string;
  /** Empty when the schema has none. */
  readonly version: string;
  readonly cksum: string;
  readonly tables: ReadonlyMap<string, TableSchema>;
}

/** What `_uuid` and `_version` are to selects, conditions and monitors. */
export const UUID_TYPE: ColumnType = columnType(baseType('uuid'));

export function isSchemaVersion(text: string): boolean {
  return /^[0-9]+\.[0-9]+\.[0-9]+$/.test(text);
}

/** Throws `OvsdbError` with the original's words. */
export function schemaFromJson(json: Json | undefined): DatabaseSchema {
  const p = new ObjectParser(json, 'database schema');
  const name = p.required('name', 'id') as string;
  const version = (p.optional('version', 'string') ?? '') as string;
  const cksum = (p.optional('cksum', 'string') ?? '') as string;
  const tablesJson = p.required('tables', 'object') as JsonObject;
  p.finish();
  if (version !== '' && !isSchemaVersion(version)) {
    throw syntaxError(json, `schema version "${version}" not in format x.y.z`);
  }
  const tables = new Map<string, TableSchema>();
  for (const [tableName, tableJson] of Object.entries(tablesJson)) {
    checkName(tableName, json);
    tables.set(tableName, tableFromJson(tableName, tableJson));
  }
  // Databases from before `isRoot` existed have only root tables.
  if (![...tables.values()].some((table) => table.isRoot)) {
    for (const [tableName, table] of tables) tables.set(tableName, { ...table, isRoot: true });
  }
  const schema: DatabaseSchema = { name, version, cksum, tables };
  for (const table of tables.values()) for (const column of table.columns) checkRefs(schema, column);
  return schema;
}

function checkName(name: string, json: Json | undefined): void {
  if (name.startsWith('_')) throw syntaxError(json, 'names beginning with "_" are reserved');
  if (!isId(name)) throw syntaxError(json, 'name must be a valid id');
}

function checkRefs(schema: DatabaseSchema, column: ColumnSchema): void {
  const check = (refTable: string | null | undefined, role: string) => {
    if (refTable == null || schema.tables.has(refTable)) return;
    throw new OvsdbError('syntax error', `column ${column.name} ${role} refers to undefined table ${refTable}`);
  };
  check(column.type.key.refTable, 'key');
  check(column.type.value?.refTable, 'value');
}

/** One table; references to others are not looked at. Throws `OvsdbError`. */
export function tableFromJson(name: string, json: Json | undefined): TableSchema {
  const p = new ObjectParser(json, `table schema for table ${name}`);
  const columnsJson = p.required('columns', 'object') as JsonObject;
  const mutable = (p.optional('mutable', 'boolean') ?? true) as boolean;
  const maxRows = p.optional('maxRows', 'integer');
  const isRoot = (p.optional('isRoot', 'boolean') ?? false) as boolean;
  const indexesJson = (p.optional('indexes', 'array') ?? []) as Json[];
  p.finish();
  if (maxRows !== undefined && (maxRows as number) <= 0) throw syntaxError(json, 'maxRows must be at least 1');
  const names = Object.keys(columnsJson);
  if (names.length === 0) throw syntaxError(json, 'table must have at least one column');
  const columns = names.map((columnName, index) => {
    checkName(columnName, json);
    return columnFromJson(columnName, index, columnsJson[columnName]);
  });
  const columnByName = new Map(columns.map((column) => [column.name, column]));
  const indexes = indexesJson.map((index) => indexFromJson(index, columnByName, json));
  return {
    name,
    columns,
    columnByName,
    mutable,
    isRoot,
    maxRows: maxRows === undefined ? UNLIMITED : Math.min(Number(maxRows), UNLIMITED),
    indexes,
  };
}

function indexFromJson(json: Json, byName: ReadonlyMap<string, ColumnSchema>, table: Json | undefined): ColumnSchema[] {
  if (!Array.isArray(json)) throw syntaxError(json, 'array of distinct column names expected');
  if (json.length === 0) throw syntaxError(table, 'index must have at least one column');
  const seen = new Set<Json>();
  return json.map((name) => {
    if (typeof name !== 'string' || seen.has(name)) throw syntaxError(json, 'array of distinct column names expected');
    seen.add(name);
    const column = byName.get(name);
    if (column === undefined) throw syntaxError(json, `${name} is not a valid column name`);
    if (column.ephemeral) throw syntaxError(table, `ephemeral columns (such as ${name}) may not be indexed`);
    return column;
  });
}

function columnFromJson(name: string, index: number, json: Json | undefined): ColumnSchema {
  const p = new ObjectParser(json, `schema for column ${name}`);
  const mutable = (p.optional('mutable', 'boolean') ?? true) as boolean;
  const ephemeral = (p.optional('ephemeral', 'boolean') ?? false) as boolean;
  const type = p.required('type', 'string', 'object');
  p.finish();
  const parsed = columnTypeFromJson(type);
  // A reference that garbage collection may clear cannot be constant.
  const weak = [parsed.key, parsed.value].some((base) => base?.refTable != null && base.refType === 'weak');
  return { name, index, type: parsed, mutable: mutable || weak, ephemeral };
}

export function schemaToJson(schema: DatabaseSchema): JsonObject {
  const json: JsonObject = { name: schema.name };
  if (schema.version !== '') json['version'] = schema.version;
  if (schema.cksum !== '') json['cksum'] = schema.cksum;
  const tables: JsonObject = {};
  // When every table is a root the word says nothing (see schemaFromJson).
  const showRoot = [...schema.tables.values()].some((table) => !table.isRoot);
  for (const table of schema.tables.values()) tables[table.name] = tableToJson(table, showRoot);
  json['tables'] = tables;
  return json;
}

function tableToJson(table: TableSchema, showRoot: boolean): JsonObject {
  const json: JsonObject = {};
  if (!table.mutable) json['mutable'] = false;
  if (showRoot && table.isRoot) json['isRoot'] = true;
  const columns: JsonObject = {};
  for (const column of table.columns) {
    const c: JsonObject = { type: columnTypeToJson(column.type) };
    if (!column.mutable) c['mutable'] = false;
    if (column.ephemeral) c['ephemeral'] = true;
    columns[column.name] = c;
  }
  json['columns'] = columns;
  if (table.maxRows !== UNLIMITED) json['maxRows'] = table.maxRows;
  if (table.indexes.length > 0) json['indexes'] = table.indexes.map((index) => index.map((column) => column.name));
  return json;
}

/** The same with all columns kept in the file, as a clustered database must have them, and which these are. */
export function persistEphemeralColumns(schema: DatabaseSchema): {
  schema: DatabaseSchema;
  changed: readonly { readonly table: string; readonly column: string }[];
} {
  const changed: { table: string; column: string }[] = [];
  const tables = new Map<string, TableSchema>();
  for (const [name, table] of schema.tables) {
    const columns = table.columns.map((column) => {
      if (!column.ephemeral) return column;
      changed.push({ table: name, column: column.name });
      return { ...column, ephemeral: false };
    });
    const columnByName = new Map(columns.map((column) => [column.name, column]));
    const indexes = table.indexes.map((index) => index.map((column) => columnByName.get(column.name)!));
    tables.set(name, { ...table, columns, columnByName, indexes });
  }
  return { schema: { ...schema, tables }, changed };
}
