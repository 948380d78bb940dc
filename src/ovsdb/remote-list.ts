/** `METHOD1,METHOD2,…,METHODN`, how clients name the servers of a cluster (ovsdb(7), "Connection Methods"), `cid:UUID` among them. */

export interface RemoteList {
  readonly remotes: readonly string[];
  /** The cluster that is meant; null for any. */
  readonly clusterId: string | null;
}

const CLUSTER = /^cid:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i;

/** A comma separates only when a method follows, so that names of sockets may have some. */
export function parseRemoteList(text: string): RemoteList {
  const words = text.split(/,\s*(?=[a-z]+:)/);
  const remotes = words.filter((word) => !CLUSTER.test(word));
  const cluster = words.map((word) => CLUSTER.exec(word)?.[1]).find((id) => id !== undefined);
  return { remotes, clusterId: cluster?.toLowerCase() ?? null };
}

/** The same in another order, so that not all clients go to one server. */
export function shuffled<T>(list: readonly T[]): T[] {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}
