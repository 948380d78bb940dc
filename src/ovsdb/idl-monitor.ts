/**
 * How a replica is filled and kept: the newest of the three monitor methods that the server has. `monitor_cond_since` tells only what was missed, if the
 * server still knows; the others all contents.
 */
import type { Calls, Reply } from './calls.ts';
import type { Replica, UpdateFormat } from './idl-replica.ts';
import { isObject, type Json, type JsonObject, jsonText } from './json.ts';
import { ZERO_UUID } from './types.ts';

export interface Monitored {
  readonly format: UpdateFormat;
  /** What `monitor_cond_since` is to be asked for next. */
  readonly lastTransaction: string;
}

/** Conditions of tables; a table without one is wanted whole. */
export type Conditions = ReadonlyMap<string, readonly Json[]>;

const METHODS = ['monitor_cond_since', 'monitor_cond', 'monitor'] as const;

/** Brings the replica up to date. Rejects with what is wrong; the replica is then as it was. */
export async function monitorReplica(
  calls: Calls,
  database: string,
  replica: Replica,
  conditions: Conditions,
  lastTransaction: string,
): Promise<Monitored> {
  for (const method of METHODS) {
    const params: Json[] = [database, database, requests(replica, method === 'monitor' ? null : conditions)];
    if (method === 'monitor_cond_since') params.push(lastTransaction);
    const reply = await calls.request(method, params);
    if (!reply.ok) {
      if (isUnknownMethod(reply.error) && method !== 'monitor') continue;
      throw new Error(replyErrorText(reply));
    }
    return method === 'monitor_cond_since'
      ? applySince(replica, reply.result)
      : applyWhole(replica, method, reply.result);
  }
  throw new Error('unreachable');
}

function applyWhole(replica: Replica, method: 'monitor' | 'monitor_cond', contents: Json): Monitored {
  const format = method === 'monitor' ? 'update' : 'update2';
  replica.replace(contents, format);
  return { format, lastTransaction: ZERO_UUID };
}

function applySince(replica: Replica, result: Json): Monitored {
  const [found, last, updates] = Array.isArray(result) ? result : [];
  if (found === true) replica.apply(updates, 'update2');
  else replica.replace(updates, 'update2');
  return { format: 'update2', lastTransaction: typeof last === 'string' ? last : ZERO_UUID };
}

/** `monitor` knows no conditions. */
function requests(replica: Replica, conditions: Conditions | null): JsonObject {
  const all: JsonObject = {};
  for (const table of replica.tables.values()) {
    if (!table.isPresent) continue;
    const columns = [...table.monitored];
    const where = conditions?.get(table.name);
    if (conditions === null) all[table.name] = { columns };
    else all[table.name] = [where === undefined ? { columns } : { columns, where: [...where] }];
  }
  return all;
}

function isUnknownMethod(error: Json): boolean {
  return error === 'unknown method' || (isObject(error) && error['error'] === 'unknown method');
}

export function replyErrorText(reply: Extract<Reply, { ok: false }>): string {
  return reply.error === null ? 'connection closed' : jsonText(reply.error);
}
