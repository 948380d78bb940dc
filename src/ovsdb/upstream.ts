/**
 * The server as a client of another one: a connection that is kept up towards the first of several remotes that answers, requests with their
 * replies, and notifications. What replication and relays stand on.
 */
import { clock } from '../base/clock.ts';
import { isRequest, JsonRpc, type JsonRpcMessage } from '../base/jsonrpc.ts';
import { Reconnect } from '../base/reconnect.ts';
import { connectStream, type Stream } from '../base/stream.ts';
import { OvsdbError } from './error.ts';
import { isObject, type Json, type JsonObject, parseJson, stringifyJson } from './json.ts';

export interface UpstreamEvents {
  connected(): void;
  notified(method: string, params: Json[]): void;
  disconnected(): void;
}

interface Caller {
  resolve(result: Json): void;
  reject(error: OvsdbError): void;
}

const DEFAULT_PROBE_MS = 60_000;

export class Upstream implements Disposable {
  private readonly remotes: readonly string[];
  private readonly events: UpstreamEvents;
  private readonly reconnect: Reconnect;
  private readonly callers = new Map<number, Caller>();
  private rpc: JsonRpc | null = null;
  private attempt: AbortController | null = null;
  private timer: Disposable | null = null;
  private next = 0;
  private nextId = 0;
  private seenBytes = 0;
  private closed = false;

  constructor(remotes: readonly string[], events: UpstreamEvents, probeIntervalMs = DEFAULT_PROBE_MS) {
    this.remotes = remotes;
    this.events = events;
    this.reconnect = new Reconnect({ name: remotes[0]!, probeIntervalMs }, clock.nowMs());
    this.reconnect.enable(clock.nowMs());
    this.run();
  }

  get isConnected(): boolean {
    return this.rpc !== null;
  }

  /** 0 turns probes off. */
  setProbeInterval(ms: number): void {
    this.reconnect.setProbeInterval(ms);
    this.arm();
  }

  /** Rejects with `OvsdbError`: the peer's, or that the connection ended before the reply. */
  call(method: string, params: Json[]): Promise<Json> {
    const { rpc } = this;
    if (rpc === null) return Promise.reject(new OvsdbError('disconnected', 'not connected to the database server'));
    const id = this.nextId++;
    const answer = new Promise<Json>((resolve, reject) => this.callers.set(id, { resolve, reject }));
    rpc.sendText(`{"id":${id},"method":${JSON.stringify(method)},"params":${stringifyJson(params)}}`);
    return answer;
  }

  /** Ends the connection; another is made. */
  drop(): void {
    const { rpc } = this;
    if (rpc === null) return;
    this.lost(rpc, null);
    rpc.close();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.timer?.[Symbol.dispose]();
    this.attempt?.abort();
    const { rpc } = this;
    this.rpc = null;
    rpc?.close();
    this.failCallers();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private run(): void {
    if (this.closed) return;
    const now = clock.nowMs();
    if (this.rpc !== null && this.rpc.receivedBytes !== this.seenBytes) {
      this.seenBytes = this.rpc.receivedBytes;
      this.reconnect.activity(now);
    }
    switch (this.reconnect.run(now)) {
      case 'connect':
        this.connect();
        break;
      case 'probe':
        this.rpc?.send({ method: 'echo', params: [], id: 'echo' });
        break;
      case 'disconnect':
        this.giveUp();
        return;
    }
    this.arm();
  }

  private arm(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    if (this.closed) return;
    const ms = this.reconnect.timeoutMs(clock.nowMs());
    if (Number.isFinite(ms)) this.timer = clock.setTimeout(() => this.run(), ms);
  }

  private connect(): void {
    const remote = this.remotes[this.next++ % this.remotes.length]!;
    this.reconnect.name = remote;
    this.reconnect.connecting(clock.nowMs());
    const attempt = new AbortController();
    this.attempt = attempt;
    connectStream(remote, { signal: attempt.signal, defaultPort: 6640 }).then(
      (stream) => {
        if (attempt.signal.aborted || this.closed) return stream.close();
        this.attempt = null;
        this.attach(stream);
      },
      (error: Error) => {
        if (attempt.signal.aborted || this.closed) return;
        this.attempt = null;
        this.reconnect.disconnected(clock.nowMs(), error.message);
        this.run();
      },
    );
  }

  private attach(stream: Stream): void {
    const rpc = new JsonRpc(stream, { parse: parseJson });
    this.rpc = rpc;
    this.seenBytes = 0;
    this.reconnect.connected(clock.nowMs());
    rpc.onClose((error) => this.lost(rpc, error));
    rpc.onMessage((message) => this.receive(rpc, message));
    this.arm();
    this.events.connected();
  }

  private lost(rpc: JsonRpc, error: string | null): void {
    if (this.rpc !== rpc) return;
    this.rpc = null;
    this.failCallers();
    this.reconnect.disconnected(clock.nowMs(), error);
    this.events.disconnected();
    this.run();
  }

  private giveUp(): void {
    const { rpc } = this;
    this.attempt?.abort();
    this.attempt = null;
    if (rpc !== null) {
      this.lost(rpc, 'Connection timed out');
      rpc.close();
      return;
    }
    this.reconnect.disconnected(clock.nowMs(), 'Connection timed out');
    this.run();
  }

  private failCallers(): void {
    const callers = [...this.callers.values()];
    this.callers.clear();
    for (const { reject } of callers) reject(new OvsdbError('disconnected', 'the database server went away'));
  }

  private receive(rpc: JsonRpc, message: JsonRpcMessage): void {
    if (this.rpc !== rpc) return;
    // The parser makes only JSON values.
    if (isRequest(message)) {
      const params = message.params as Json[];
      if (message.id === null) {
        // Behind whoever awaits a reply that came before it.
        queueMicrotask(() => {
          if (this.rpc === rpc) this.events.notified(message.method, params);
        });
      } else if (message.method === 'echo') {
        rpc.sendText(`{"id":${stringifyJson(message.id)},"result":${stringifyJson(params)},"error":null}`);
      }
      return;
    }
    const caller = this.callers.get(message.id as number);
    if (caller === undefined) return;
    this.callers.delete(message.id as number);
    if (message.error === null) caller.resolve(message.result as Json);
    else caller.reject(errorFromJson(message.error as Json));
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
