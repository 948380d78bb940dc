/**
 * The server as a client of another one: a connection that is kept up towards the first of several remotes that answers, requests with their
 * replies, and notifications. What replication and relays stand on.
 */
import { isRequest } from '../base/jsonrpc.ts';
import { OVSDB_PORT } from '../base/remote.ts';
import { JsonRpcSession } from '../base/session.ts';
import { Calls } from './calls.ts';
import { OvsdbError } from './error.ts';
import { isObject, type Json, type JsonObject, parseJson, stringifyJson } from './json.ts';

export interface UpstreamEvents {
  connected(): void;
  notified(method: string, params: Json[]): void;
  disconnected(): void;
}

const DEFAULT_PROBE_MS = 60_000;

export class Upstream implements Disposable {
  private readonly transport: JsonRpcSession;
  private readonly calls: Calls;

  constructor(remotes: readonly string[], events: UpstreamEvents, probeIntervalMs = DEFAULT_PROBE_MS) {
    this.transport = new JsonRpcSession(remotes, {
      parse: parseJson,
      stringify: stringifyJson as (value: unknown) => string,
      defaultPort: OVSDB_PORT,
      probeIntervalMs,
    });
    this.calls = new Calls((text) => this.transport.sendText(text));
    this.transport.onMessage((message) => {
      if (!isRequest(message)) return this.calls.receive(message);
      if (message.id !== null) return;
      const { seqno } = this.transport;
      // Behind whoever awaits a reply that came before it.
      queueMicrotask(() => {
        if (this.transport.seqno === seqno) events.notified(message.method, message.params as Json[]);
      });
    });
    let wasConnected = false;
    this.transport.onConnected(() => {
      wasConnected = true;
      events.connected();
    });
    this.transport.onDisconnected(() => {
      this.calls.fail();
      if (wasConnected) events.disconnected();
      wasConnected = false;
    });
    this.transport.open();
  }

  get isConnected(): boolean {
    return this.transport.isConnected;
  }

  /** 0 turns probes off. */
  setProbeInterval(ms: number): void {
    this.transport.setProbeInterval(ms);
  }

  /** Rejects with `OvsdbError`: the peer's, or that the connection ended before the reply. */
  call(method: string, params: Json[]): Promise<Json> {
    if (!this.isConnected)
      return Promise.reject(new OvsdbError('disconnected', 'not connected to the database server'));
    return new Promise((resolve, reject) =>
      this.calls.ask(method, params, (reply) => {
        if (reply.ok) resolve(reply.result);
        else if (reply.error === null) reject(new OvsdbError('disconnected', 'the database server went away'));
        else reject(errorFromJson(reply.error));
      }),
    );
  }

  /** Ends the connection, which was of no use; another is made. */
  drop(): void {
    this.transport.refuse();
  }

  close(): void {
    this.transport.close();
    this.calls.fail();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function errorFromJson(json: Json): OvsdbError {
  if (!isObject(json)) return new OvsdbError(String(json));
  const text = (name: keyof JsonObject) => (typeof json[name] === 'string' ? (json[name] as string) : undefined);
  const more: { syntax?: string; ioError?: string } = {};
  const syntax = text('syntax');
  const ioError = text('io-error');
  if (syntax !== undefined) more.syntax = syntax;
  if (ioError !== undefined) more.ioError = ioError;
  return new OvsdbError(text('error') ?? 'error', text('details'), more);
}
