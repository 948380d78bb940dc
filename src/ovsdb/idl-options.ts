/** What a client says of the replica it wants, and where it is to be had. */
import type { Peer } from '../base/session.ts';
import type { Stream } from '../base/stream.ts';
import type { TableRequests } from './idl-replica.ts';
import { parseRemoteList, shuffled } from './remote-list.ts';
import type { DatabaseSchema } from './schema.ts';

export interface IdlOptions {
  readonly database: string;
  readonly tables: TableRequests;
  /** Name of a database lock to hold while connected. */
  readonly lock?: string;
  /**
   * What the client knows the database by. Tables and columns that the server lacks read as if empty.
   */
  readonly assumedSchema?: DatabaseSchema;
  /**
   * Asks for contents at once, believing that the server has all of `assumedSchema`, and for what it has only if it turns out that it has not. Saves
   * two round trips, for clients that soon end.
   */
  readonly eager?: boolean;
  /** Only accept the leader of a cluster. Default true. */
  readonly leaderOnly?: boolean;
  /** Try several remotes in random order. Default true. */
  readonly shuffle?: boolean;
  /** Idle time after which the server is probed; 0 never. Default: 5000, and 0 for local sockets. */
  readonly probeIntervalMs?: number;
  /** Longest time between attempts to connect. Default 8000. */
  readonly maxBackoffMs?: number;
}

/** Makes a stream to a server, or rejects with the reason. */
export type Opener = () => Promise<Stream>;

/** One or more remotes separated by commas, a list of them, or a function that makes connections. */
export type Remote = string | readonly string[] | Opener;

/** An attempt to connect has failed, or a connection ended. */
export interface IdlFailure {
  readonly remote: string;
  /** Null for a regular end, empty for a server that would not do. */
  readonly error: string | null;
  /** Whether all remotes have failed since one was in sync. */
  readonly isLast: boolean;
}

/** The servers to be tried, in the order of trying. */
export function peersOf(remote: Remote, shuffle: boolean): { clusterId: string | null; peers: readonly Peer[] } {
  if (typeof remote === 'function') return { clusterId: null, peers: [{ name: 'in-process', open: remote }] };
  const { clusterId, remotes } =
    typeof remote === 'string' ? parseRemoteList(remote) : { clusterId: null, remotes: remote };
  return { clusterId, peers: shuffle ? shuffled(remotes) : remotes };
}
