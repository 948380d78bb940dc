/** A simple conversation with a database server, as `ovsdb-client` has it: one request at a time, notifications besides. */
import { isRequest, JsonRpc, type JsonRpcMessage } from '../../base/jsonrpc.ts';
import { OVSDB_PORT, parseRemote } from '../../base/remote.ts';
import { acceptOne, JsonRpcSession } from '../../base/session.ts';
import { connectStream, type Stream } from '../../base/stream.ts';
import { Calls } from '../../ovsdb/calls.ts';
import { isObject, type Json, jsonText, parseJson, stringifyJson } from '../../ovsdb/json.ts';
import type { RemoteList } from '../../ovsdb/remote-list.ts';
import { ServerStatus } from '../../ovsdb/server-status.ts';

const FORM = { parse: parseJson, stringify: stringifyJson as (value: unknown) => string, defaultPort: OVSDB_PORT };

/** The server answered a request with an error. */
export class ReplyError extends Error {
  readonly error: Json;
  constructor(error: Json) {
    super(jsonText(error));
    this.error = error;
  }
}

export class ClientRpc {
  private readonly rpc: JsonRpc;
  private readonly calls: Calls;
  private end: string | null = null;
  private notifyCb: (method: string, params: Json[]) => void = () => {};
  private closeCb: (error: string | null) => void = () => {};

  constructor(connection: Stream | JsonRpc) {
    this.rpc = connection instanceof JsonRpc ? connection : new JsonRpc(connection, FORM);
    this.calls = new Calls((text) => {
      this.rpc.sendText(text);
      return !this.rpc.closed;
    });
    this.rpc.onMessage((message) => this.receive(message));
    this.rpc.onClose((error) => {
      this.end = `transaction failed (${error ?? 'End of file'})`;
      this.calls.fail();
      this.closeCb(error);
    });
  }

  /** Connects, or for a passive remote waits to be connected to. Rejects with the tool's words. */
  static async open(server: string): Promise<ClientRpc> {
    const remote = parseRemote(server);
    if (remote === null) {
      throw new Error(`failed to connect or listen to "${server}" (Address family not supported by protocol)`);
    }
    try {
      return new ClientRpc(await (remote.passive ? acceptOne(server, FORM) : connectStream(server, FORM)));
    } catch (error) {
      throw new Error(
        `failed to ${remote.passive ? 'listen' : 'connect'} to "${server}" (${(error as Error).message})`,
      );
    }
  }

  /**
   * Connects to the first of several servers that serves the database, if one is named, and leads its cluster, if that is asked for. Rejects when none
   * does.
   */
  static async openCluster(list: RemoteList, database: string | null, leaderOnly: boolean): Promise<ClientRpc> {
    const session = new JsonRpcSession(list.remotes, { ...FORM, once: true });
    const calls = new Calls((text) => session.sendText(text));
    const { promise, resolve, reject } = Promise.withResolvers<ClientRpc>();
    const take = () => resolve(new ClientRpc(session.steal()!));
    session.onMessage((message) => {
      if (!isRequest(message)) calls.receive(message);
    });
    session.onConnected(() => {
      if (database === null) return queueMicrotask(take);
      const select = { op: 'select', table: 'Database', where: [['name', '==', database]] };
      calls.ask('transact', ['_Server', select], (reply) => {
        if (!reply.ok && reply.error === null) return;
        const status = new ServerStatus({ database, leaderOnly, clusterId: list.clusterId });
        status.apply({ Database: rowsOf(reply.ok ? reply.result : null) });
        if (status.refusal() === null) take();
        else session.refuse();
      });
    });
    session.onDisconnected(() => {
      calls.fail();
      queueMicrotask(() => {
        if (session.isClosed) reject(new Error('no servers were available'));
      });
    });
    session.open();
    return promise;
  }

  get name(): string {
    return this.rpc.name;
  }

  onNotify(cb: (method: string, params: Json[]) => void): void {
    this.notifyCb = cb;
  }

  onClose(cb: (error: string | null) => void): void {
    this.closeCb = cb;
  }

  /** Rejects with `ReplyError` for an error reply. */
  call(method: string, params: Json[]): Promise<Json> {
    return new Promise((resolve, reject) =>
      this.calls.ask(method, params, (reply) => {
        if (reply.ok) resolve(reply.result);
        else if (this.end !== null) reject(new Error(this.end));
        else reject(new ReplyError(reply.error));
      }),
    );
  }

  /** `list_dbs`. */
  async databases(): Promise<string[]> {
    const names = await this.call('list_dbs', []);
    if (!Array.isArray(names)) throw new Error('list_dbs response is not array');
    return names.map((name, i) => {
      if (typeof name !== 'string') throw new Error(`list_dbs response ${i} is not string`);
      return name;
    });
  }

  close(): void {
    this.rpc.close();
  }

  private receive(message: JsonRpcMessage): void {
    if (!isRequest(message)) return this.calls.receive(message);
    if (message.method === 'echo' && message.id !== null) {
      this.rpc.send({ id: message.id, result: message.params, error: null });
    } else this.notifyCb(message.method, message.params as Json[]); // The parser makes only JSON values.
  }
}

/** The rows of the only result, as updates have them. */
function rowsOf(result: Json): Record<string, Json> {
  const first = Array.isArray(result) ? result[0] : null;
  const rows = isObject(first) && Array.isArray(first['rows']) ? first['rows'] : [];
  return Object.fromEntries(rows.map((row, i) => [String(i), { initial: row }]));
}
