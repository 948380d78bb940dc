/** What `ovsdb-client` prints as tables: schemas, contents and changes of databases. */
import type { Table, TableCell, ValueCell } from '../../base/table.ts';
import { compareAtoms } from '../../ovsdb/atom.ts';
import {
  type Datum,
  datumFromJson,
  datumFromJsonAnySize,
  datumToBare,
  datumToJson,
  datumToText,
} from '../../ovsdb/datum.ts';
import { isObject, type Json, type JsonObject, jsonText, stringifyJson } from '../../ovsdb/json.ts';
import { type DatabaseSchema, type TableSchema, UUID_TYPE } from '../../ovsdb/schema.ts';
import { type ColumnType, columnTypeToJson } from '../../ovsdb/types.ts';

export function valueCell(type: ColumnType, datum: Datum): ValueCell {
  return {
    text: (style) => (style === 'bare' ? datumToBare(type, datum) : datumToText(type, datum)),
    json: () => stringifyJson(datumToJson(type, datum)),
    isUuid: type.key.type === 'uuid',
  };
}

export function typeOf(table: TableSchema, column: string): ColumnType | undefined {
  if (column === '_uuid' || column === '_version') return UUID_TYPE;
  return table.columnByName.get(column)?.type;
}

/** A JSON value in a table: text of JSON, and a string in it only for `--format=json`. */
function jsonCell(json: Json): ValueCell {
  return { text: () => jsonText(json), json: () => stringifyJson(json) };
}

export function tablesTable(schema: DatabaseSchema): Table {
  return { headings: ['Table'], rows: [...schema.tables.keys()].map((name) => [name]) };
}

export function columnsTable(schema: DatabaseSchema, only: string | undefined): Table {
  const rows: TableCell[][] = [];
  for (const table of schema.tables.values()) {
    if (only !== undefined && table.name !== only) continue;
    for (const name of ['_uuid', '_version', ...table.columnByName.keys()]) {
      const cells: TableCell[] = [name, jsonCell(columnTypeToJson(typeOf(table, name)!))];
      rows.push(only === undefined ? [table.name, ...cells] : cells);
    }
  }
  return { headings: only === undefined ? ['Table', 'Column', 'Type'] : ['Column', 'Type'], rows };
}

/** The rows that a select has found, in an order that depends on their content only. */
export function contentsTable(table: TableSchema, columns: readonly string[], rows: readonly Json[]): Table {
  const data = rows.map((row) =>
    columns.map((name) => datumFromJson(typeOf(table, name)!, isObject(row) ? row[name] : undefined)),
  );
  // Identifiers differ from run to run, so they come last.
  const order = [...columns.keys()].sort((a, b) => Number(columns[a] === '_uuid') - Number(columns[b] === '_uuid'));
  data.sort((a, b) => {
    for (const i of order) {
      const difference = compare(a[i]!, b[i]!);
      if (difference !== 0) return difference;
    }
    return 0;
  });
  return {
    caption: `${table.name} table`,
    headings: columns,
    rows: data.map((row) => row.map((datum, i) => valueCell(typeOf(table, columns[i]!)!, datum))),
  };
}

function compare(a: Datum, b: Datum): number {
  const n = Math.min(a.keys.length, b.keys.length);
  for (let i = 0; i < n; i++) {
    const order = compareAtoms(a.keys[i]!, b.keys[i]!);
    if (order !== 0) return order;
  }
  return a.keys.length - b.keys.length;
}

/** `<table-update>` or `<table-update2>` of one table. `first` marks the contents at the start. */
export function updateTable(
  table: TableSchema,
  columns: readonly string[],
  updates: Json | undefined,
  first: boolean,
): Table {
  const rows: TableCell[][] = [];
  const cells = (json: Json | undefined, name: string): TableCell => {
    const value = isObject(json) ? json[name] : undefined;
    const type = typeOf(table, name)!;
    return value === undefined ? '' : valueCell(type, datumFromJsonAnySize(type, value));
  };
  const add = (uuid: string, action: string, json: Json | undefined) =>
    rows.push([uuid === '' ? '' : rowCell(uuid), action, ...columns.map((name) => cells(json, name))]);
  for (const [uuid, update] of Object.entries((updates ?? {}) as JsonObject)) {
    if (!isObject(update)) continue;
    const { old: before, new: after } = update;
    if (before !== undefined && after !== undefined) {
      add(uuid, 'old', before);
      add('', 'new', after);
    } else if (after !== undefined) add(uuid, first ? 'initial' : 'insert', after);
    else if (before !== undefined) add(uuid, 'delete', before);
    else
      for (const action of ['initial', 'insert', 'delete', 'modify']) {
        if (update[action] !== undefined) add(uuid, action, update[action]);
      }
  }
  return { headings: ['row', 'action', ...columns], rows };
}

/** Which row; in HTML a link to it. */
function rowCell(uuid: string): TableCell {
  return { text: () => uuid, json: () => JSON.stringify(uuid), isUuid: true, isPlain: true };
}
