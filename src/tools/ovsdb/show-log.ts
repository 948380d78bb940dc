/** `ovsdb-tool show-log`: the records of a database file for people, in more detail with each `-m`. */
import { type Datum, datumFromJsonAnySize, datumToText } from '../../ovsdb/datum.ts';
import { isObject, type Json, type JsonObject, jsonText } from '../../ovsdb/json.ts';
import type { OvsdbLog } from '../../ovsdb/log.ts';
import { type DatabaseSchema, schemaFromJson, type TableSchema } from '../../ovsdb/schema.ts';

/** Yields the text of each record. Throws `OvsdbError` where the file is damaged. */
export function* showLog(log: OvsdbLog, more: number): Iterable<string> {
  const rows = new RowNames();
  let schema: DatabaseSchema | null = null;
  for (let n = 0; ; n++) {
    const record = log.read();
    if (record === null) return;
    if (n === 0) {
      schema = schemaFromJson(record.json);
      yield `record 0: "${schema.name}" schema, version="${schema.version}", cksum="${schema.cksum}"\n\n`;
      continue;
    }
    yield `record ${n}:${headLine(record.json)}\n`;
    const details = [...changes(schema!, record.json, rows, more)];
    if (more > 0 && details.length > 0) yield `${details.join('')}\n`;
  }
}

function headLine(record: JsonObject): string {
  let head = '';
  const date = record['_date'];
  if (typeof date === 'number') head += ` ${dateText(date)}`;
  if (typeof record['_comment'] === 'string') head += ` "${record['_comment']}"`;
  return head;
}

/** Seconds since 1970 in very old files, milliseconds since. */
function dateText(date: number): string {
  const ms = date < 2 ** 31 ? date * 1000 : date;
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
}

/** What rows are called, as far as their `name` column was seen. */
class RowNames {
  private readonly names = new Map<string, string | null>();

  known(uuid: string): boolean {
    return this.names.has(uuid);
  }

  see(uuid: string, row: JsonObject): void {
    const name = row['name'];
    if (typeof name === 'string') this.names.set(uuid, name);
    else if (!this.known(uuid)) this.names.set(uuid, null);
  }

  forget(uuid: string): void {
    this.names.delete(uuid);
  }

  show(uuid: string, inserted: boolean): string {
    const name = this.names.get(uuid);
    const short = uuid.slice(0, 8);
    if (name != null) return `"${name}" (${short})`;
    return inserted ? short : `${short} (${short})`;
  }
}

function* changes(schema: DatabaseSchema, record: JsonObject, rows: RowNames, more: number): Iterable<string> {
  const isDiff = record['_is_diff'] === true;
  for (const [tableName, tableRows] of Object.entries(record)) {
    if (tableName.startsWith('_') || !isObject(tableRows)) continue;
    const table = schema.tables.get(tableName);
    for (const [uuid, row] of Object.entries(tableRows)) {
      const inserted = !rows.known(uuid);
      if (isObject(row)) rows.see(uuid, row);
      const head = `  table ${tableName} ${inserted ? 'insert ' : ''}row ${rows.show(uuid, inserted)}`;
      yield `${head}${isDiff && !inserted ? ' diff' : ''}:\n`;
      if (row === null) {
        yield '    delete row\n';
        rows.forget(uuid);
      } else if (isObject(row) && more > 1) {
        for (const [column, value] of Object.entries(row)) yield `    ${column}=${valueText(table, column, value)}\n`;
      }
    }
  }
}

function valueText(table: TableSchema | undefined, name: string, value: Json | undefined): string {
  const column = table?.columnByName.get(name);
  if (column === undefined) return jsonText(value);
  let datum: Datum;
  try {
    datum = datumFromJsonAnySize(column.type, value);
  } catch {
    return jsonText(value);
  }
  return datumToText(column.type, datum);
}
