/** `ovsdb-client monitor` and its conditional kin: prints what a table holds and then every change, until stopped. */
import type { Table } from '../../base/table.ts';
import { conditionFromJson } from '../../ovsdb/condition.ts';
import { isObject, type Json, type JsonObject, parseJson } from '../../ovsdb/json.ts';
import { jsonErrorText } from '../../ovsdb/json-error.ts';
import type { DatabaseSchema, TableSchema } from '../../ovsdb/schema.ts';
import { isUuid, ZERO_UUID } from '../../ovsdb/types.ts';
import { type ClientRpc, ReplyError } from './client-rpc.ts';
import { updateTable } from './client-tables.ts';

export interface MonitorOutput {
  print(table: Table): void;
  say(text: string): void;
  readonly timestamp: boolean;
  /** Rather than to be disconnected when the database changes its schema or goes, to be told. */
  readonly dbChangeAware: boolean;
  /** The contents have been printed; from now on there are changes. */
  started(): void;
}

interface Monitored {
  readonly table: TableSchema;
  readonly columns: string[];
  readonly requests: JsonObject[];
}

const SELECTS = ['initial', 'insert', 'delete', 'modify'];

export async function monitor(
  rpc: ClientRpc,
  server: string,
  schema: DatabaseSchema,
  method: 'monitor' | 'monitor_cond' | 'monitor_cond_since',
  args: string[],
  output: MonitorOutput,
): Promise<never> {
  let rest = args;
  let lastId: string = ZERO_UUID;
  let condition: string | null = null;
  if (method === 'monitor_cond_since' && isUuid(rest[0]!)) {
    lastId = rest[0]!;
    rest = rest.slice(1);
  }
  if (method !== 'monitor') {
    condition = rest[0]!;
    rest = rest.slice(1);
  }
  const [tableName, ...columnLists] = rest;
  const tables = new Map<string, Monitored>();
  if (method === 'monitor' && tableName === 'ALL' && !schema.tables.has('ALL')) {
    const sorted = [...schema.tables.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const table of sorted) tables.set(table.name, request(server, schema, table, [], null));
  } else {
    const table = schema.tables.get(tableName ?? '');
    if (table === undefined) {
      const prefix = condition === null ? `${server}: ` : '';
      throw new Error(`${prefix}${schema.name} does not have a table named "${tableName}"`);
    }
    const where = condition === null ? null : parseCondition(table, condition);
    tables.set(table.name, request(server, schema, table, columnLists, where));
  }

  const show = (updates: Json | undefined, first: boolean) => {
    for (const [name, { table, columns }] of tables) {
      if (!isObject(updates) || updates[name] === undefined) continue;
      const shown = updateTable(table, columns, updates[name], first);
      if (shown.rows.length === 0) continue;
      output.print({
        ...shown,
        ...(tables.size > 1 ? { caption: name } : {}),
        ...(output.timestamp ? { timestampMs: Date.now() } : {}),
      });
    }
  };
  const closed = new Promise<never>((_, reject) =>
    rpc.onClose((error) => reject(new Error(`${rpc.name}: receive failed (${error ?? 'End of file'})`))),
  );
  rpc.onNotify((name, params) => {
    if (/^update[23]?$/.test(name)) show(params[params.length - 1], false);
    else if (name === 'monitor_canceled') output.say('monitor_canceled');
  });
  if (output.dbChangeAware) await rpc.call('set_db_change_aware', [true]).catch(() => undefined);
  const requests = Object.fromEntries([...tables].map(([name, { requests: list }]) => [name, list]));
  const params: Json[] = [schema.name, null, requests];
  if (method === 'monitor_cond_since') params.push(lastId);
  const reply = await rpc.call(method, params).catch((error: unknown) => {
    if (error instanceof ReplyError) throw new Error(`${method} request failed: ${error.message}`);
    throw error;
  });
  if (method === 'monitor_cond_since' && Array.isArray(reply)) {
    output.say(`found: ${reply[0]}, last_id: ${reply[1]}`);
    show(reply[2], true);
  } else show(reply, true);
  output.started();
  return closed;
}

function parseCondition(table: TableSchema, text: string): Json[] {
  let json: Json;
  try {
    json = parseJson(text);
  } catch {
    throw new Error(`"${text}": ${jsonErrorText(text)}`);
  }
  if (!Array.isArray(json)) throw new Error(`"${text}": condition is not an array`);
  conditionFromJson(table, json);
  return json;
}

function request(
  server: string,
  schema: DatabaseSchema,
  table: TableSchema,
  lists: string[],
  where: Json[] | null,
): Monitored {
  const columns: string[] = [];
  const requests: JsonObject[] = [];
  for (const list of lists.length > 0 ? lists : ['']) {
    const names: string[] = [];
    const select: JsonObject = {};
    for (const word of list.split(',').filter((w) => w !== '')) {
      if (word.startsWith('!') && SELECTS.includes(word.slice(1))) select[word.slice(1)] = false;
      else if (columns.includes(word) || names.includes(word)) {
        throw new Error(`${server}: column "${word}" mentioned multiple times`);
      } else if (table.columnByName.has(word) || word === '_uuid' || word === '_version') names.push(word);
      else throw new Error(`${server}: table "${table.name}" in ${schema.name} does not have a column named "${word}"`);
    }
    if (names.length === 0) names.push(...[...table.columnByName.keys()].sort(), '_version');
    columns.push(...names);
    requests.push({
      columns: names,
      ...(Object.keys(select).length > 0 ? { select } : {}),
      ...(where === null ? {} : { where }),
    });
  }
  return { table, columns, requests };
}
