/**
 * The system calls the switch makes, typed, by FFI. Nothing outside this room calls the kernel except through Node.
 *
 * Pointers are plain numbers: user-space addresses stay below 2^47, which a double holds exactly, and so a call makes no
 * garbage. `koffi` is loaded on first use, so that programs which never call the kernel start without it.
 *
 * Every function returns what the C function returns; -1 leaves the reason in `errno()`.
 */
import { createRequire } from 'node:module';
import { constants as osConstants } from 'node:os';

type Koffi = typeof import('koffi');

let koffi: Koffi | null = null;
function ffi(): Koffi {
  koffi ??= createRequire(import.meta.url)('koffi') as Koffi;
  return koffi;
}

export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array): number;
  sendto(fd: number, buffer: number, length: number, flags: number, address: number, addressLength: number): number;
  recvfrom(fd: number, buffer: number, length: number, flags: number, address: number, addressLength: number): number;
  sendmmsg(fd: number, messages: number, count: number, flags: number): number;
  read(fd: number, buffer: number, length: number): number;
  write(fd: number, buffer: number, length: number): number;
  open(path: string, flags: number): number;
  close(fd: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array | null): number;
  /** `ioctl` whose argument is a number. */
  ioctlNumber(fd: number, request: number, argument: number): number;
  poll(fds: number, count: number, timeoutMs: number): number;
  eventfd(initial: number, flags: number): number;
  mmap(at: number, length: number, protection: number, flags: number, fd: number, offset: number): number;
  madvise(at: number, length: number, advice: number): number;
  sched_yield(): number;
  usleep(us: number): number;
  setns(fd: number, type: number): number;
  syscall(number: number, a: number, b: Uint8Array, c: number): number;
}

const SIGNATURES = [
  'int socket(int, int, int)',
  'int bind(int, const void *, uint32_t)',
  'int setsockopt(int, int, int, const void *, uint32_t)',
  'int getsockopt(int, int, int, void *, void *)',
  'int64_t sendto(int, intptr_t, size_t, int, intptr_t, uint32_t)',
  'int64_t recvfrom(int, intptr_t, size_t, int, intptr_t, intptr_t)',
  'int sendmmsg(int, intptr_t, uint32_t, int)',
  'int64_t read(int, intptr_t, size_t)',
  'int64_t write(int, intptr_t, size_t)',
  'int open(const char *, int)',
  'int close(int)',
  'int ioctl(int, unsigned long, void *)',
  'int poll(intptr_t, unsigned long, int)',
  'int eventfd(unsigned int, int)',
  'intptr_t mmap(intptr_t, size_t, int, int, int, int64_t)',
  'int madvise(intptr_t, size_t, int)',
  'int sched_yield()',
  'int usleep(uint32_t)',
  'int setns(int, int)',
  'int64_t syscall(int64_t, int64_t, void *, int64_t)',
] as const;

let loaded: Libc | null = null;

/** The C library, bound once per thread. */
export function libc(): Libc {
  if (loaded) return loaded;
  const library = ffi().load('libc.so.6');
  const functions: Record<string, unknown> = {};
  for (const signature of SIGNATURES) {
    const name = /(\w+)\(/.exec(signature)?.[1] as string;
    functions[name] = library.func(signature);
  }
  functions.ioctlNumber = library.func('ioctl', 'int', ['int', 'unsigned long', 'unsigned long']);
  // The signatures above are the implementation of the interface, name by name.
  loaded = functions as unknown as Libc;
  return loaded;
}

/** The number of the last error of a call made in this thread. */
export function errno(): number {
  return ffi().errno();
}

/** Where the memory of a typed array begins. The array must stay referenced as long as the kernel may use it. */
export function addressOf(view: ArrayBufferView): number {
  return Number(ffi().address(view));
}

const ERROR_TEXT: Record<string, string> = {
  EPERM: 'Operation not permitted',
  ENOENT: 'No such file or directory',
  EINTR: 'Interrupted system call',
  EIO: 'Input/output error',
  ENXIO: 'No such device or address',
  EBADF: 'Bad file descriptor',
  EAGAIN: 'Resource temporarily unavailable',
  ENOMEM: 'Cannot allocate memory',
  EACCES: 'Permission denied',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  ENODEV: 'No such device',
  EINVAL: 'Invalid argument',
  EMFILE: 'Too many open files',
  ENOTTY: 'Inappropriate ioctl for device',
  ENOSPC: 'No space left on device',
  ERANGE: 'Numerical result out of range',
  EOPNOTSUPP: 'Operation not supported',
  ENETDOWN: 'Network is down',
  ENOBUFS: 'No buffer space available',
};

const NUMBER_TO_NAME = new Map(Object.entries(osConstants.errno).map(([name, n]) => [n, name]));

/** `strerror(3)`. */
export function strerror(code: number): string {
  const name = NUMBER_TO_NAME.get(code);
  return (name && ERROR_TEXT[name]) ?? `Unknown error ${code}`;
}

/** A call failed: what was tried, and the kernel's reason. */
export class LinuxError extends Error {
  readonly code: number;

  constructor(what: string, code: number = errno()) {
    super(`${what} (${strerror(code)})`);
    this.name = 'LinuxError';
    this.code = code;
  }
}

/** Passes `result` through, or throws what `errno` says. For set-up paths only, never in the packet loop. */
export function check(result: number, what: string): number {
  if (result < 0) throw new LinuxError(what);
  return result;
}
