/** Rows: never changed once made; a transaction replaces them. */
import { newUuid, type Uuid } from './atom.ts';
import { type Datum, datumFromJson, datumsEqual, datumToJson, defaultDatum } from './datum.ts';
import { syntaxError } from './error.ts';
import { isObject, type Json, type JsonObject } from './json.ts';
import type { ColumnSchema, TableSchema } from './schema.ts';
import type { NamedUuids } from './types.ts';

export interface Row {
  readonly uuid: Uuid;
  /** Changes with every change of the row (RFC 7047 3.2). */
  readonly version: Uuid;
  /** By `ColumnSchema.index`. */
  readonly data: readonly Datum[];
}

/** What a commit did to a row: `old` is null for an insertion, `new` for a deletion. */
export interface RowChange {
  readonly old: Row | null;
  readonly new: Row | null;
}

const defaults = new WeakMap<TableSchema, readonly Datum[]>();

export function defaultData(table: TableSchema): readonly Datum[] {
  let data = defaults.get(table);
  if (data === undefined) {
    data = table.columns.map((column) => defaultDatum(column.type));
    defaults.set(table, data);
  }
  return data;
}

/** Few ever ask for a row's version, so it is made when one does. */
class VersionedRow implements Row {
  readonly uuid: Uuid;
  readonly data: readonly Datum[];
  private known: Uuid | null;

  constructor(uuid: Uuid, data: readonly Datum[], version: Uuid | null) {
    this.uuid = uuid;
    this.data = data;
    this.known = version;
  }

  get version(): Uuid {
    return (this.known ??= newUuid());
  }
}

export function makeRow(uuid: Uuid, data: readonly Datum[], version: Uuid | null = null): Row {
  return new VersionedRow(uuid, data, version);
}

/**
 * Reads the members of a `<row>`. `_uuid` and `_version` are checked and ignored. Throws `OvsdbError`.
 */
export function columnsFromJson(
  table: TableSchema,
  json: Json | undefined,
  named?: NamedUuids,
): Map<ColumnSchema, Datum> {
  if (!isObject(json)) throw syntaxError(json, 'row must be JSON object');
  const values = new Map<ColumnSchema, Datum>();
  for (const name of Object.keys(json)) {
    const value = json[name];
    const column = table.columnByName.get(name);
    if (column !== undefined) {
      values.set(column, datumFromJson(column.type, value, named));
    } else if (name === '_uuid' || name === '_version') {
      datumFromJson(UUID, value, named);
    } else {
      throw syntaxError(json, `No column ${name} in table ${table.name}.`, 'unknown column');
    }
  }
  return values;
}

const UUID = {
  key: {
    type: 'uuid',
    enum: null,
    min: null,
    max: null,
    minLength: 0,
    maxLength: 0,
    refTable: null,
    refType: 'strong',
  },
  value: null,
  min: 1,
  max: 1,
} as const;

/** `data` with some columns replaced; `data` itself if they were the same. */
export function withColumns(data: readonly Datum[], values: ReadonlyMap<ColumnSchema, Datum>): readonly Datum[] {
  let copy: Datum[] | null = null;
  for (const [column, value] of values) {
    if (datumsEqual(data[column.index]!, value)) continue;
    copy ??= [...data];
    copy[column.index] = value;
  }
  return copy ?? data;
}

export function sameData(a: readonly Datum[], b: readonly Datum[]): boolean {
  if (a === b) return true;
  for (let i = 0; i < a.length; i++) if (!datumsEqual(a[i]!, b[i]!)) return false;
  return true;
}

/** A `<row>` with these columns. */
export function rowToJson(row: Row, columns: Iterable<ColumnSchema>): JsonObject {
  const json: JsonObject = {};
  for (const column of columns) json[column.name] = datumToJson(column.type, row.data[column.index]!);
  return json;
}
