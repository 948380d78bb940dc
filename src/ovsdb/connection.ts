/** A client's connection to the server: accepted from a listener, or kept up towards a client that listens; probed when it is silent. */
import type { JsonRpc } from '../base/jsonrpc.ts';
import type { Reconnect } from '../base/reconnect.ts';
import { OVSDB_PORT } from '../base/remote.ts';
import { JsonRpcSession } from '../base/session.ts';
import type { Stream } from '../base/stream.ts';
import { vlog } from '../base/vlog.ts';
import { parseJson, stringifyJson } from './json.ts';
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

export class Connection {
  session: Session | null = null;
  private readonly server: OvsdbServer;
  private readonly options: ConnectionOptions;
  private readonly transport: JsonRpcSession;

  private constructor(server: OvsdbServer, remotes: readonly string[], options: ConnectionOptions, onEnd: () => void) {
    this.server = server;
    this.options = options;
    this.transport = new JsonRpcSession(remotes, {
      parse: parseJson,
      stringify: stringifyJson as (value: unknown) => string,
      defaultPort: OVSDB_PORT,
      echoesItself: true,
      probeIntervalMs: options.probeIntervalMs,
      maxBackoffMs: options.maxBackoffMs,
    });
    this.transport.onConnected((rpc) => this.begin(rpc));
    this.transport.onMessage((message) => this.session?.handle(message));
    this.transport.onDisconnected((error) => {
      this.session?.end();
      this.session = null;
      if (remotes.length > 0) return;
      // Clients come and go without a word, but not with an error.
      if (error !== null) reconnectLog.warn(`${this.reconnect.name}: connection dropped (${error})`);
      onEnd();
    });
  }

  /** Connects, again and again, until closed. */
  static active(server: OvsdbServer, remote: string, options: ConnectionOptions): Connection {
    const connection = new Connection(server, [remote], options, () => {});
    connection.transport.open();
    return connection;
  }

  static accepted(
    server: OvsdbServer,
    stream: Stream,
    options: ConnectionOptions,
    onEnd: (connection: Connection) => void,
  ): Connection {
    const connection: Connection = new Connection(server, [], options, () => onEnd(connection));
    connection.transport.accept(stream);
    return connection;
  }

  get reconnect(): Reconnect {
    return this.transport.reconnect;
  }

  get isConnected(): boolean {
    return this.transport.isConnected;
  }

  /** Drops the connection; one that we made is made again. */
  drop(): void {
    this.session?.rpc.close();
  }

  close(): void {
    this.session?.end();
    this.session = null;
    this.transport.close();
  }

  private begin(rpc: JsonRpc): void {
    this.session = new Session(this.server, rpc, this.options.readOnly ?? false, this.options.role);
    this.server.sessions.add(this.session);
    this.server.counts.clients++;
  }
}
