/**
 * A JSON-RPC connection that is kept: connects to one of several remotes, reconnects with back-off, answers and sends echo
 * probes. Messages do not survive a reconnection; whoever needs them again hears `onConnected` and starts over.
 */
import { clock } from './clock.ts';
import { isRequest, JsonRpc, type JsonRpcMessage, type JsonRpcOptions } from './jsonrpc.ts';
import { Reconnect } from './reconnect.ts';
import { connectStream, type StreamError, type StreamOptions } from './stream.ts';

export interface SessionOptions extends JsonRpcOptions, StreamOptions {
  readonly minBackoffMs?: number;
  readonly maxBackoffMs?: number;
  readonly probeIntervalMs?: number;
  /** Gives up after the first failed attempt at each remote: `onDisconnected` tells why, and no more follows. */
  readonly once?: boolean;
}

export class JsonRpcSession implements Disposable {
  readonly reconnect: Reconnect;
  /** Changes whenever a connection is made or lost. */
  seqno = 0;
  private readonly remotes: readonly string[];
  private readonly options: SessionOptions;
  private next = 0;
  private rpc: JsonRpc | null = null;
  private attempt: AbortController | null = null;
  private timer: Disposable | null = null;
  private closed = false;
  private seenBytes = 0;
  private messageCb: (m: JsonRpcMessage) => void = () => {};
  private connectedCb: () => void = () => {};
  private disconnectedCb: (error: string | null) => void = () => {};

  /** `remotes` are tried in turn. Nothing happens before `open`. */
  constructor(remotes: readonly string[], options: SessionOptions = {}) {
    this.remotes = remotes;
    this.options = options;
    this.reconnect = new Reconnect({ ...options, name: remotes[0] ?? 'void' }, clock.nowMs());
  }

  open(): void {
    this.reconnect.enable(clock.nowMs());
    this.run();
  }

  get isConnected(): boolean {
    return this.rpc !== null;
  }

  /** The remote in use or tried last. */
  get name(): string {
    return this.reconnect.name;
  }

  get backlog(): number {
    return this.rpc?.backlog ?? 0;
  }

  /** False when there is no connection, and the message goes nowhere. */
  send(message: JsonRpcMessage): boolean {
    return this.rpc?.send(message) ?? false;
  }

  onMessage(cb: (m: JsonRpcMessage) => void): void {
    this.messageCb = cb;
  }

  onConnected(cb: () => void): void {
    this.connectedCb = cb;
  }

  /** Also after each failed attempt. */
  onDisconnected(cb: (error: string | null) => void): void {
    this.disconnectedCb = cb;
  }

  setProbeInterval(ms: number): void {
    this.reconnect.setProbeInterval(ms);
    this.arm();
  }

  /** Drops the connection and makes it anew. */
  forceReconnect(): void {
    this.reconnect.force(clock.nowMs());
    this.run();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.reconnect.disable(clock.nowMs());
    this.timer?.[Symbol.dispose]();
    this.drop();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private run(): void {
    if (this.closed) return;
    const now = clock.nowMs();
    // A long message on its way is a sign of life too.
    if (this.rpc && this.rpc.receivedBytes !== this.seenBytes) {
      this.seenBytes = this.rpc.receivedBytes;
      this.reconnect.activity(now);
    }
    switch (this.reconnect.run(now)) {
      case 'connect':
        this.connect();
        break;
      case 'disconnect':
        this.drop();
        this.lost('Connection timed out');
        return;
      case 'probe':
        this.rpc?.send({ method: 'echo', params: [], id: 'echo' });
        break;
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
    const remote = this.remotes[this.next++ % this.remotes.length];
    this.reconnect.name = remote;
    this.reconnect.connecting(clock.nowMs());
    const attempt = new AbortController();
    this.attempt = attempt;
    connectStream(remote, { ...this.options, signal: attempt.signal }).then(
      (stream) => {
        if (attempt.signal.aborted || this.closed) return stream.close();
        this.attempt = null;
        this.attach(new JsonRpc(stream, this.options));
      },
      (error: StreamError) => {
        if (attempt.signal.aborted || this.closed) return;
        this.attempt = null;
        this.lost(error.message);
      },
    );
  }

  private attach(rpc: JsonRpc): void {
    this.rpc = rpc;
    this.seqno++;
    this.reconnect.connected(clock.nowMs());
    rpc.onClose((error) => {
      if (this.rpc !== rpc) return;
      this.rpc = null;
      this.seqno++;
      this.lost(error);
    });
    rpc.onMessage((m) => this.receive(rpc, m));
    this.arm();
    this.connectedCb();
  }

  private receive(rpc: JsonRpc, m: JsonRpcMessage): void {
    if (this.rpc !== rpc) return;
    const wasIdle = this.reconnect.state === 'IDLE';
    this.reconnect.activity(clock.nowMs());
    if (wasIdle) this.arm();
    if (isRequest(m)) {
      if (m.method === 'echo' && m.id !== null) {
        rpc.send({ result: m.params, error: null, id: m.id });
        return;
      }
    } else if (m.id === 'echo') {
      return;
    }
    this.messageCb(m);
  }

  /** The connection, or the attempt at one, is over. */
  private lost(error: string | null): void {
    if (this.closed) return;
    this.reconnect.disconnected(clock.nowMs(), error);
    this.disconnectedCb(error);
    if (this.options.once && this.next >= this.remotes.length) this.close();
    else this.run();
  }

  private drop(): void {
    this.attempt?.abort();
    this.attempt = null;
    const { rpc } = this;
    this.rpc = null;
    if (!rpc) return;
    this.seqno++;
    rpc.close();
  }
}
