/**
 * Where the server can be reached: `punix:`, `ptcp:`, `pssl:` it listens, `unix:`, `tcp:`, `ssl:` it connects to, `db:DB,TABLE,COLUMN` says
 * that the remotes stand in the database (ovsdb(7), "Connection Methods"; ovsdb-server(1), `--remote`).
 */
import { clock } from '../base/clock.ts';
import { errorText } from '../base/errno.ts';
import { parseRemote } from '../base/remote.ts';
import { type Listener, listenStreams, type Stream } from '../base/stream.ts';
import { vlog } from '../base/vlog.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import { DatabaseRemotes } from './db-remotes.ts';
import type { OvsdbServer } from './server.ts';

const log = vlog('ovsdb_jsonrpc_server');

/** A listener that could not be opened is tried again after so long. */
const RETRY_MS = 1000;

/** One remote: what it takes to serve it, and what became of it. */
export class RemoteEndpoint {
  readonly target: string;
  readonly options: ConnectionOptions;
  private readonly server: OvsdbServer;
  private listener: Listener | null = null;
  private retry: Disposable | null = null;
  private closed = false;
  /** Of a listener those it accepted; else the one it keeps up. */
  readonly connections = new Set<Connection>();

  constructor(server: OvsdbServer, target: string, options: ConnectionOptions) {
    this.server = server;
    this.target = target;
    this.options = options;
  }

  get isPassive(): boolean {
    return parseRemote(this.target)?.passive === true;
  }

  get boundPort(): number {
    return this.listener?.port ?? 0;
  }

  /** Throws what `listenStreams` throws if the listener cannot be opened at once. */
  async open(): Promise<void> {
    if (!this.isPassive) {
      this.connections.add(Connection.active(this.server, this.target, this.options));
      return;
    }
    const listener = await listenStreams(this.target, (stream) => this.accept(stream), { defaultPort: 6640 });
    if (this.closed) listener.close();
    else this.listener = listener;
  }

  /** Keeps trying instead of throwing; resolves after the first attempt. */
  async openEventually(): Promise<void> {
    try {
      await this.open();
    } catch (error) {
      log.rl(5).err(`${this.target}: listen failed: ${errorText(error)}`);
      if (!this.closed) this.retry = clock.setTimeout(() => void this.openEventually(), RETRY_MS);
    }
  }

  private accept(stream: Stream): void {
    if (this.closed) return stream.close();
    this.connections.add(
      Connection.accepted(this.server, stream, this.options, (connection) => this.connections.delete(connection)),
    );
  }

  reconnect(): void {
    for (const connection of [...this.connections]) connection.drop();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.retry?.[Symbol.dispose]();
    this.listener?.close();
    for (const connection of [...this.connections]) connection.close();
    this.connections.clear();
  }
}

export class Remotes {
  private readonly server: OvsdbServer;
  private readonly byText = new Map<string, RemoteEndpoint | DatabaseRemotes>();

  constructor(server: OvsdbServer) {
    this.server = server;
  }

  names(): string[] {
    return [...this.byText.keys()].sort();
  }

  has(text: string): boolean {
    return this.byText.has(text);
  }

  /**
   * Throws `Error` in the original's words. A listener that cannot be opened is an error too, unless it may be opened `eventually`.
   */
  async add(text: string, eventually = false, options: ConnectionOptions = {}): Promise<void> {
    if (this.byText.has(text)) return;
    if (text.startsWith('db:')) {
      this.byText.set(text, DatabaseRemotes.parse(this.server, text));
      return;
    }
    const endpoint = new RemoteEndpoint(this.server, text, options);
    this.byText.set(text, endpoint);
    if (eventually) return endpoint.openEventually();
    try {
      await endpoint.open();
    } catch (error) {
      this.byText.delete(text);
      throw error;
    }
  }

  remove(text: string): boolean {
    const remote = this.byText.get(text);
    if (remote === undefined) return false;
    this.byText.delete(text);
    remote.close();
    log.info(`${text}: remote deconfigured`);
    return true;
  }

  reconnect(): void {
    for (const remote of this.byText.values()) remote.reconnect();
  }

  close(): void {
    for (const remote of this.byText.values()) remote.close();
    this.byText.clear();
  }
}
