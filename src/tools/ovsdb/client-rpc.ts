/** A simple conversation with a database server, as `ovsdb-client` has it: one request at a time, notifications besides. */
import { isRequest, JsonRpc, type JsonRpcMessage } from '../../base/jsonrpc.ts';
import { parseRemote } from '../../base/remote.ts';
import { connectStream, listenStreams, type Stream } from '../../base/stream.ts';
import { type Json, jsonText, parseJson, stringifyJson } from '../../ovsdb/json.ts';

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
  private readonly waiting = new Map<number, { resolve: (result: Json) => void; reject: (error: Error) => void }>();
  private nextId = 0;
  private notifyCb: (method: string, params: Json[]) => void = () => {};
  private closeCb: (error: string | null) => void = () => {};

  constructor(stream: Stream) {
    this.rpc = new JsonRpc(stream, { parse: parseJson });
    this.rpc.onMessage((message) => this.receive(message));
    this.rpc.onClose((error) => {
      const failure = new Error(`${this.rpc.name}: ${error ?? 'connection closed by peer'}`);
      for (const { reject } of this.waiting.values()) reject(failure);
      this.waiting.clear();
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
      return new ClientRpc(
        remote.passive ? await acceptOne(server) : await connectStream(server, { defaultPort: 6640 }),
      );
    } catch (error) {
      throw new Error(
        `failed to ${remote.passive ? 'listen' : 'connect'} to "${server}" (${(error as Error).message})`,
      );
    }
  }

  onNotify(cb: (method: string, params: Json[]) => void): void {
    this.notifyCb = cb;
  }

  onClose(cb: (error: string | null) => void): void {
    this.closeCb = cb;
  }

  /** Rejects with `ReplyError` for an error reply. */
  call(method: string, params: Json[]): Promise<Json> {
    const id = this.nextId++;
    const answer = new Promise<Json>((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.rpc.sendText(`{"id":${id},"method":${JSON.stringify(method)},"params":${stringifyJson(params)}}`);
    return answer;
  }

  close(): void {
    this.rpc.close();
  }

  private receive(message: JsonRpcMessage): void {
    // The parser makes only JSON values.
    if (isRequest(message)) {
      const params = message.params as Json[];
      if (message.method === 'echo' && message.id !== null) {
        this.rpc.sendText(`{"id":${stringifyJson(message.id)},"result":${stringifyJson(params)},"error":null}`);
      } else this.notifyCb(message.method, params);
      return;
    }
    const caller = this.waiting.get(message.id as number);
    if (caller === undefined) return;
    this.waiting.delete(message.id as number);
    if (message.error !== null) caller.reject(new ReplyError(message.error as Json));
    else caller.resolve(message.result as Json);
  }
}

async function acceptOne(server: string): Promise<Stream> {
  const { promise, resolve } = Promise.withResolvers<Stream>();
  const listener = await listenStreams(server, resolve, { defaultPort: 6640 });
  const stream = await promise;
  listener.close();
  return stream;
}
