/**
 * One of two servers that are asked the same: what it answers and tells, without what may differ — the identifiers of rows and versions, the order of
 * rows, and which of several errors in one row or of several rows is found first, since the original goes through members in the order of its hash table.
 */
import { connectStream } from '../../src/base/stream.ts';
import { type Json, type JsonObject, jsonText } from '../../src/ovsdb/json.ts';
import { ClientRpc } from '../../src/tools/ovsdb/client-rpc.ts';

const ERROR = /\{"details":"(?:[^"\\]|\\.)*","error":"[^"]*"(?:,"syntax":"(?:[^"\\]|\\.)*")?\}/g;
/** Identifiers that clients chose. */
const FIXED = /^[0-9a-f]{2}000000-0000-4000-8000-/;
const FRESH = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/** The same for all that may differ: random identifiers, and the order of what stands in their order. */
function canonical(json: Json | undefined): Json {
  if (typeof json === 'string') return json.replace(FRESH, (uuid) => (FIXED.test(uuid) ? uuid : 'UUID'));
  if (Array.isArray(json)) {
    const list = json.map(canonical);
    if ((list[0] === 'set' || list[0] === 'map') && Array.isArray(list[1])) return [list[0], sorted(list[1])];
    return list;
  }
  if (typeof json !== 'object' || json === null) return json ?? null;
  if (Array.isArray(json['rows'])) return { rows: sorted(json['rows'].map(canonical)) };
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => [
      canonical(name) as string,
      name === '_version' ? 'V' : canonical(value),
    ]),
  );
}

function sorted(list: Json[]): Json[] {
  return list.map((item) => jsonText(item)).sort();
}

export function comparable(json: Json): string {
  return jsonText(canonical(json)).replace(ERROR, 'ERROR');
}

/** Updates without those that say nothing, such as of a row that a transaction changes and the end of it restores; the original sends some. */
function telling(updates: Json): Json {
  const tables = Object.entries(updates as JsonObject).map(([table, rows]): [string, Json] => [
    table,
    Object.fromEntries(Object.entries(rows as JsonObject).filter(([, update]) => says(update as JsonObject))),
  ]);
  const kept = tables.filter(([, rows]) => Object.keys(rows as JsonObject).length > 0);
  return kept.length === 0 ? null : Object.fromEntries(kept);
}

function says(update: JsonObject): boolean {
  const changed = update['modify'] ?? ('new' in update ? update['old'] : undefined);
  if (changed === undefined) return true;
  return Object.keys(changed as JsonObject).some((column) => column !== '_version');
}

export class Side {
  readonly rpc: ClientRpc;
  readonly heard: string[] = [];

  static async connect(remote: string): Promise<Side> {
    return new Side(new ClientRpc(await connectStream(remote)));
  }

  private constructor(rpc: ClientRpc) {
    this.rpc = rpc;
    rpc.onNotify((method, params) => {
      const updates = method.startsWith('update') ? telling(params.at(-1) ?? null) : params.at(-1);
      if (updates !== null) this.heard.push(comparable([method, ...params.slice(0, -1), updates ?? null]));
    });
  }

  async call(method: string, ...params: Json[]): Promise<string> {
    try {
      return comparable(await this.rpc.call(method, params));
    } catch {
      return 'ERROR';
    }
  }

  news(): string[] {
    return this.heard.splice(0).sort();
  }
}
