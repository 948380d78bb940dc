/**
 * Unix socket addresses hold 107 bytes of path; directories of sandboxes and containers get longer. A long path is
 * reached through a descriptor of its directory.
 */
import { closeSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

const MAX_PATH = 107;

/** Calls `use` with a path to the same file that fits a socket address; dispose of the result after its use. */
export function shortUnixPath(path: string): { path: string } & Disposable {
  if (Buffer.byteLength(path) <= MAX_PATH) return { path, [Symbol.dispose]: () => {} };
  const fd = openSync(dirname(path), 'r');
  return { path: `/proc/self/fd/${fd}/${basename(path)}`, [Symbol.dispose]: () => closeSync(fd) };
}
