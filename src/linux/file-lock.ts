/**
 * Whole-file record locks (`fcntl(2)`, `F_SETLK`), the kind by which Open vSwitch's daemons keep each other off a file.
 *
 * Such a lock belongs to the process: it ends with it, and with *any* descriptor of the file that the process closes. So a locked file
 * must be opened only here, and a second lock of the same file by the same process is refused from memory.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { LinuxError, strerror } from './libc.ts';

const F_GETLK = 5;
const F_SETLK = 6;
const F_WRLCK = 1;
/** `struct flock` of 64-bit Linux: type 0, whence 2, start 8, length 16, pid 24. */
const FLOCK_SIZE = 32;
const FLOCK_PID = 24;

type Fcntl = (fd: number, command: number, flock: Uint8Array) => number;
let fcntl: Fcntl | null = null;
let lastErrno: (() => number) | null = null;

function load(): Fcntl {
  if (fcntl === null) {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    fcntl = koffi.load('libc.so.6').func('int fcntl(int, int, _Inout_ void *)') as Fcntl;
    lastErrno = () => koffi.errno();
  }
  return fcntl;
}

export class FileLockedError extends Error {
  /** Who holds the lock; 0 if that cannot be told. */
  readonly pid: number;
  readonly code = 'EAGAIN';

  constructor(path: string, pid: number) {
    super(`${path}: ${strerror(constants.errno.EAGAIN)}`);
    this.pid = pid;
  }
}

const held = new Set<string>();

/** Creates the file if need be and locks it without waiting. Throws `FileLockedError`, or what the system says. */
export function lockFile(path: string): Disposable {
  const fd = openSync(path, 'a+', 0o600);
  const { dev, ino } = fstatSync(fd);
  const inode = `${dev}:${ino}`;
  // Closing would drop the lock of the descriptor that holds it: so this one is kept open, once, for good.
  if (held.has(inode)) throw new FileLockedError(path, process.pid);
  const flock = new Uint8Array(FLOCK_SIZE);
  const view = new DataView(flock.buffer);
  view.setInt16(0, F_WRLCK, true);
  const call = load();
  if (call(fd, F_SETLK, flock) !== 0) {
    const code = lastErrno?.() ?? 0;
    const pid = call(fd, F_GETLK, flock) === 0 ? view.getInt32(FLOCK_PID, true) : 0;
    closeSync(fd);
    if (code === constants.errno.EAGAIN || code === constants.errno.EACCES) throw new FileLockedError(path, pid);
    throw new LinuxError(path, code);
  }
  held.add(inode);
  return {
    [Symbol.dispose]() {
      if (!held.delete(inode)) return;
      closeSync(fd);
    },
  };
}
