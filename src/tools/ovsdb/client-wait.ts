/** `ovsdb-client wait`: until a server has a database in a state, across reconnections. */
import { isRequest } from '../../base/jsonrpc.ts';
import { JsonRpcSession } from '../../base/session.ts';
import { isObject, type Json, type JsonObject } from '../../ovsdb/json.ts';
import { parseRemoteList } from '../../ovsdb/remote-list.ts';

const STATES = ['added', 'connected', 'removed'];

/** Rejects for a state that does not exist. */
export async function waitForState(server: string, database: string, state: string): Promise<void> {
  if (!STATES.includes(state)) throw new Error(`${state}: unknown state`);
  const session = new JsonRpcSession(parseRemoteList(server).remotes);
  const { promise, resolve } = Promise.withResolvers<void>();
  const rows = new Map<string, { connected: boolean }>();
  const take = (updates: Json | undefined) => {
    const table = isObject(updates) ? updates['Database'] : undefined;
    for (const [uuid, update] of Object.entries((table ?? {}) as Record<string, { new?: JsonObject }>)) {
      const row = update.new;
      if (row === undefined) rows.delete(uuid);
      else if (row['name'] === database) rows.set(uuid, { connected: row['connected'] === true });
    }
    const reached =
      state === 'removed'
        ? rows.size === 0
        : rows.size > 0 && (state === 'added' || [...rows.values()].some((row) => row.connected));
    if (reached) resolve();
  };
  session.onConnected(() => {
    rows.clear();
    const params = ['_Server', null, { Database: { columns: ['name', 'connected'] } }];
    session.send({ id: 1, method: 'monitor', params });
  });
  session.onMessage((message) => {
    if (isRequest(message)) {
      if (message.method === 'update') take(message.params[1] as Json);
    } else if (message.error === null) take(message.result as Json);
  });
  session.open();
  await promise;
  session.close();
}
