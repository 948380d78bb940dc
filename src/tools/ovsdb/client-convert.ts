/** `ovsdb-client convert` and `needs-conversion`: a database and the schema it should have. */
import { vlog } from '../../base/vlog.ts';
import { isObject, jsonText } from '../../ovsdb/json.ts';
import { type DatabaseSchema, persistEphemeralColumns, schemaFromJson, schemaToJson } from '../../ovsdb/schema.ts';
import type { ClientRpc } from './client-rpc.ts';

const log = vlog('ovsdb');

/** Rejects when the server refuses. */
export async function convert(rpc: ClientRpc, schema: DatabaseSchema, file: string): Promise<void> {
  const wanted = await fitting(rpc, schema, file);
  // Else the conversion would end the connection before the reply.
  await rpc.call('set_db_change_aware', [true]).catch(() => undefined);
  await rpc.call('convert', [wanted.name, schemaToJson(wanted)]);
}

export async function needsConversion(rpc: ClientRpc, schema: DatabaseSchema, file: string): Promise<boolean> {
  const wanted = await fitting(rpc, schema, file);
  const now = schemaFromJson(await rpc.call('get_schema', [wanted.name]));
  return jsonText(schemaToJson(now)) !== jsonText(schemaToJson(wanted));
}

/** The schema of `file` as the server's kind of database can have it: in a cluster nothing is ephemeral. */
async function fitting(rpc: ClientRpc, schema: DatabaseSchema, file: string): Promise<DatabaseSchema> {
  const where = [['name', '==', schema.name]];
  const select = { op: 'select', table: 'Database', where, columns: ['model'] };
  // Older servers have no `_Server`, nor clusters.
  const results = await rpc.call('transact', ['_Server', select]).catch(() => null);
  const first = Array.isArray(results) ? results[0] : null;
  const [row] = isObject(first) && Array.isArray(first['rows']) ? first['rows'] : [];
  if (!isObject(row) || row['model'] !== 'clustered') return schema;
  const { schema: persistent, changed } = persistEphemeralColumns(schema);
  const example = changed[0];
  if (example !== undefined) {
    log.warn(
      `${file}: changed ${changed.length} columns in '${schema.name}' database from ephemeral to persistent, including '${example.column}' column in '${example.table}' table, because clusters do not support ephemeral columns`,
    );
  }
  return persistent;
}
