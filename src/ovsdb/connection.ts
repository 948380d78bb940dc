/**
 * A transport under a session: accepted from a listener or kept up towards a client that listens; probed when it is silent.
 */
import { clock } from '../base/clock.ts';
import { JsonRpc } from '../base/jsonrpc.ts';
import { Reconnect } from '../base/reconnect.ts';
import { connectStream, type Stream } from '../base/stream.ts';
import { vlog } from '../base/vlog.ts';
import { parseJson } from './json.ts';
import type { OvsdbServer } from './server.ts';
import { Session } from './session.ts';

const reconnectLog = vlog('reconnect');

export interface ConnectionOptions {
  /** Undefined for the default of the transport: none for local ones, 5 s for those over a network. */
  readonly probeIntervalMs?: number | undefined;
  readonly maxBackoffMs?: number | undefined;
  readonly readOnly?: boolean;
  /** What role-based access control takes its clients for. */
  readonly role?: string;
}

export const DEFAULT_PROBE_MS = 5000;

export function defaultProbeMs(name: string): number {
  return /^p?(tcp|ssl):/.test(name) ? DEFAULT_PROBE_MS : 0;
}

export class Connection {
  readonly reconnect: Reconnect;
  session: Session | null = null;
  private readonly server: OvsdbServer;
  /** Null for an accepted stream, which is over when it is closed. */
  private readonly remote: string | null;
  private readonly readOnly: boolean;
  private readonly role: string;
  private rpc: JsonRpc | null = null;
  private attempt: AbortController | null = null;
  private timer: Disposable | null = null;
  private seenBytes = 0;
  private closed = false;
  private readonly onEnd: (connection: Connection) => void;

  private constructor(
    server: OvsdbServer,
    name: string,
    remote: string | null,
    options: ConnectionOptions,
    onEnd: (connection: Connection) => void,
  ) {
    this.server = server;
    this.remote = remote;
    this.onEnd = onEnd;
    this.readOnly = options.readOnly ?? false;
    this.role = options.role ?? '';
    this.reconnect = new Reconnect(
      {
        name,
        probeIntervalMs: options.probeIntervalMs ?? defaultProbeMs(name),
        ...(options.maxBackoffMs === undefined ? {} : { maxBackoffMs: options.maxBackoffMs }),
        quiet: remote === null,
      },
      clock.nowMs(),
    );
  }

  /** Connects, again and again, until closed. */
  static active(server: OvsdbServer, remote: string, options: ConnectionOptions): Connection {
    const connection = new Connection(server, remote, remote, options, () => {});
    connection.reconnect.enable(clock.nowMs());
    connection.run();
    return connection;
  }

  static accepted(
    server: OvsdbServer,
    stream: Stream,
    options: ConnectionOptions,
    onEnd: (connection: Connection) => void,
  ): Connection {
    const connection = new Connection(server, stream.name, null, options, onEnd);
    connection.reconnect.enable(clock.nowMs());
    connection.attach(stream);
    return connection;
  }

  get isConnected(): boolean {
    return this.rpc !== null;
  }

  /** Drops the connection; one that we made is made again. */
  drop(): void {
    this.rpc?.close();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.reconnect.disable(clock.nowMs());
    this.timer?.[Symbol.dispose]();
    this.attempt?.abort();
    const { rpc } = this;
    this.rpc = null;
    this.session?.end();
    this.session = null;
    rpc?.close();
  }

  private attach(stream: Stream): void {
    const rpc = new JsonRpc(stream, { parse: parseJson });
    this.rpc = rpc;
    this.seenBytes = 0;
    this.reconnect.connected(clock.nowMs());
    const session = new Session(this.server, rpc, this.readOnly, this.role);
    this.session = session;
    this.server.sessions.add(session);
    rpc.onClose((error) => this.lost(rpc, error));
    rpc.onMessage((message) => session.handle(message));
    this.arm();
  }

  private lost(rpc: JsonRpc, error: string | null): void {
    if (this.rpc !== rpc) return;
    this.rpc = null;
    this.session?.end();
    this.session = null;
    this.reconnect.disconnected(clock.nowMs(), error);
    if (this.remote === null) {
      // Clients come and go without a word, but not with an error.
      if (error !== null) reconnectLog.warn(`${this.reconnect.name}: connection dropped (${error})`);
      this.close();
      this.onEnd(this);
    } else this.run();
  }

  private run(): void {
    if (this.closed) return;
    const now = clock.nowMs();
    if (this.rpc && this.rpc.receivedBytes !== this.seenBytes) {
      this.seenBytes = this.rpc.receivedBytes;
      this.reconnect.activity(now);
    }
    switch (this.reconnect.run(now)) {
      case 'connect':
        this.connect(this.remote!);
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

  private giveUp(): void {
    const { rpc } = this;
    this.attempt?.abort();
    this.attempt = null;
    if (rpc !== null) {
      this.lost(rpc, 'Connection timed out');
      rpc.close();
    } else {
      this.reconnect.disconnected(clock.nowMs(), 'Connection timed out');
      this.run();
    }
  }

  private arm(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    if (this.closed) return;
    const ms = this.reconnect.timeoutMs(clock.nowMs());
    if (Number.isFinite(ms)) this.timer = clock.setTimeout(() => this.run(), ms);
  }

  private connect(remote: string): void {
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
}
