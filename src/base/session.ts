/**
 * A JSON-RPC connection that is kept, by whichever end made it: connects to one of several peers in turn, reconnects with back-off
 * (`reconnect.ts`), probes when nothing is heard. Or a stream that a listener accepted, which is probed and ends with its first loss.
 *
 * Messages do not survive a reconnection; whoever needs them again hears `onConnected` and starts over.
 */
import { clock } from './clock.ts';
import { isRequest, JsonRpc, type JsonRpcMessage, type JsonRpcOptions } from './jsonrpc.ts';
import { Reconnect } from './reconnect.ts';
import {
  connectStream,
  type Listener,
  listenStreams,
  type Stream,
  type StreamError,
  type StreamOptions,
} from './stream.ts';

/** A peer: a remote, or a way of our own to a stream. */
export type Peer = string | { readonly name: string; readonly open: () => Promise<Stream> };

export interface SessionOptions extends JsonRpcOptions, StreamOptions {
  readonly minBackoffMs?: number | undefined;
  readonly maxBackoffMs?: number | undefined;
  /** Default: 5000 for peers over a network, for others 0, which is never. */
  readonly probeIntervalMs?: number | undefined;
  /** Gives up after the first failed attempt at each peer: `onDisconnected` tells why, and no more follows. */
  readonly once?: boolean;
  /** The owner answers echo requests too, in the order of its other answers. */
  readonly echoesItself?: boolean;
}

export const DEFAULT_PROBE_MS = 5000;

/** Streams that are local need no probes: their end is always heard of. */
export function defaultProbeMs(name: string): number {
  return /^p?(tcp|ssl):/.test(name) ? DEFAULT_PROBE_MS : 0;
}

const nameOf = (peer: Peer): string => (typeof peer === 'string' ? peer : peer.name);

export class JsonRpcSession implements Disposable {
  readonly reconnect: Reconnect;
  /** Changes whenever a connection is made or lost. */
  seqno = 0;
  private readonly peers: readonly Peer[];
  private readonly options: SessionOptions;
  private probeIntervalMs: number | undefined;
  private next = 0;
  private rpc: JsonRpc | null = null;
  private attempt: AbortController | null = null;
  private timer: Disposable | null = null;
  private closed = false;
  private seenBytes = 0;
  private messageCb: (m: JsonRpcMessage) => void = () => {};
  private connectedCb: (rpc: JsonRpc) => void = () => {};
  private disconnectedCb: (error: string | null) => void = () => {};

  /** Nothing happens before `open`, or `accept`. */
  constructor(peers: readonly Peer[], options: SessionOptions = {}) {
    this.peers = peers;
    this.options = options;
    this.probeIntervalMs = options.probeIntervalMs;
    const name = peers[0] === undefined ? 'void' : nameOf(peers[0]);
    const { minBackoffMs, maxBackoffMs } = options;
    this.reconnect = new Reconnect(
      {
        name,
        ...(minBackoffMs === undefined ? {} : { minBackoffMs }),
        ...(maxBackoffMs === undefined ? {} : { maxBackoffMs }),
        probeIntervalMs: this.probeIntervalMs ?? defaultProbeMs(name),
        peers: peers.length,
        ...(options.once ? { tries: peers.length } : {}),
        // Accepted streams come and go without a word, and what is in this process is no news.
        quiet: typeof peers[0] !== 'string',
      },
      clock.nowMs(),
    );
  }

  open(): void {
    this.reconnect.enable(clock.nowMs());
    this.run();
  }

  /** Takes a stream that is there already. A session without peers ends with it. */
  accept(stream: Stream): void {
    this.reconnect.name = stream.name;
    this.reconnect.setProbeInterval(this.probeIntervalMs ?? defaultProbeMs(stream.name));
    this.reconnect.enable(clock.nowMs());
    this.attach(stream);
  }

  get isConnected(): boolean {
    return this.rpc !== null;
  }

  /** The peer in use or tried last. */
  get name(): string {
    return this.reconnect.name;
  }

  get backlog(): number {
    return this.rpc?.backlog ?? 0;
  }

  /** False when there is no connection, and the message goes nowhere. */
  send(message: JsonRpcMessage): boolean {
    this.rpc?.send(message);
    return this.rpc?.closed === false;
  }

  /** The same for what is text already. */
  sendText(text: string): boolean {
    this.rpc?.sendText(text);
    return this.rpc?.closed === false;
  }

  onMessage(cb: (m: JsonRpcMessage) => void): void {
    this.messageCb = cb;
  }

  onConnected(cb: (rpc: JsonRpc) => void): void {
    this.connectedCb = cb;
  }

  /** Also after each failed attempt; null when the peer closed the connection in order. */
  onDisconnected(cb: (error: string | null) => void): void {
    this.disconnectedCb = cb;
  }

  /** 0 turns probes off; undefined is the default of the peer's kind. */
  setProbeInterval(ms: number | undefined): void {
    this.probeIntervalMs = ms;
    this.reconnect.setProbeInterval(ms ?? defaultProbeMs(this.name));
    this.arm();
  }

  /** Drops the connection and makes it anew, with the next peer if there are several. */
  forceReconnect(): void {
    this.reconnect.force(clock.nowMs());
    this.run();
  }

  /** Drops a connection that is of no use, which counts as a failure, and tries the next peer. `reason` is for `onDisconnected`. */
  refuse(reason = ''): void {
    if (this.rpc === null) return;
    this.drop();
    this.reconnect.refused(clock.nowMs());
    this.lost(reason);
  }

  /** Gives the connection away, if there is one, and ends. */
  steal(): JsonRpc | null {
    const { rpc } = this;
    this.rpc = null;
    this.close();
    return rpc;
  }

  get isClosed(): boolean {
    return this.closed;
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
    const peer = this.peers[this.next++ % this.peers.length]!;
    const name = nameOf(peer);
    this.reconnect.name = name;
    this.reconnect.setPassive(isPassive(name));
    this.reconnect.setProbeInterval(this.probeIntervalMs ?? defaultProbeMs(name));
    this.reconnect.connecting(clock.nowMs());
    const attempt = new AbortController();
    this.attempt = attempt;
    this.opened(peer, attempt.signal).then(
      (stream) => {
        if (attempt.signal.aborted || this.closed) return stream.close();
        this.attempt = null;
        this.attach(stream);
      },
      (error: StreamError) => {
        if (attempt.signal.aborted || this.closed) return;
        this.attempt = null;
        this.lost(error.message);
      },
    );
  }

  private opened(peer: Peer, signal: AbortSignal): Promise<Stream> {
    if (typeof peer !== 'string') return peer.open();
    const options = { ...this.options, signal };
    return isPassive(peer) ? acceptOne(peer, options) : connectStream(peer, options);
  }

  private attach(stream: Stream): void {
    const rpc = new JsonRpc(stream, this.options);
    this.rpc = rpc;
    this.seenBytes = 0;
    this.seqno++;
    this.reconnect.connected(clock.nowMs());
    rpc.onClose((error) => {
      if (this.rpc !== rpc) return;
      this.rpc = null;
      this.seqno++;
      this.lost(error);
    });
    this.arm();
    this.connectedCb(rpc);
    rpc.onMessage((m) => this.receive(rpc, m));
  }

  private receive(rpc: JsonRpc, m: JsonRpcMessage): void {
    if (this.rpc !== rpc) return;
    // While the connection is not in doubt, its bytes are counted when the timer comes.
    if (this.reconnect.state === 'IDLE') {
      this.reconnect.activity(clock.nowMs());
      this.arm();
    }
    if (isRequest(m)) {
      if (m.method === 'echo' && m.id !== null && !this.options.echoesItself) {
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
    const wasLast = this.peers.length === 0 || (this.options.once === true && this.next >= this.peers.length);
    if (wasLast) this.close();
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

function isPassive(name: string): boolean {
  return /^p(unix|tcp|ssl):/.test(name);
}

/** Listens until somebody connects. */
export async function acceptOne(remote: string, options: StreamOptions = {}): Promise<Stream> {
  const { promise, resolve, reject } = Promise.withResolvers<Stream>();
  const listener: Listener = await listenStreams(remote, resolve, options);
  options.signal?.addEventListener('abort', () => reject(new Error('aborted')));
  try {
    return await promise;
  } finally {
    listener.close();
  }
}
