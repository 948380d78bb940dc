/** The connection under a replica: JSON-RPC messages over any stream, so that tests and in-process servers can stand in. */
import { JsonRpc, type JsonRpcMessage } from '../base/jsonrpc.ts';
import { connectStream, type Listener, listenStreams, type Stream } from '../base/stream.ts';
import { type JsonObject, parseJson, stringifyJson } from './json.ts';

/** IANA's port for OVSDB. */
export const OVSDB_PORT = 6640;

export interface RpcChannel {
  send(message: JsonObject): void;
  onMessage(listener: (message: JsonObject) => void): void;
  onClose(listener: (error: string | null) => void): void;
  close(): void;
}

/** Makes a connection, or rejects with the reason. */
export type Opener = () => Promise<RpcChannel>;

/** Connects to `remote`, or, for a passive one, waits until somebody connects to it. */
export async function openRemote(remote: string): Promise<RpcChannel> {
  const options = { defaultPort: OVSDB_PORT };
  if (!/^p(unix|tcp|ssl):/.test(remote)) return streamChannel(await connectStream(remote, options));
  let listener: Listener | null = null;
  const stream = await new Promise<Stream>((resolve, reject) => {
    listenStreams(remote, resolve, options).then((made) => {
      listener = made;
    }, reject);
  });
  (listener as Listener | null)?.close();
  return streamChannel(stream);
}

export function streamChannel(stream: Stream): RpcChannel {
  const rpc = new JsonRpc(stream, { parse: parseJson });
  return {
    send: (message) => void rpc.sendText(stringifyJson(message)),
    // JsonRpc has checked the shape; its members are JSON.
    onMessage: (listener) => rpc.onMessage((message: JsonRpcMessage) => listener(message as unknown as JsonObject)),
    onClose: (listener) => rpc.onClose(listener),
    close: () => rpc.close(),
  };
}
