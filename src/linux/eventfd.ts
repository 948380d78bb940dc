/** A counter in the kernel that one thread adds to and another sleeps on. `eventfd(2)` */
import { EFD } from './constants.ts';
import { addressOf, check, libc } from './libc.ts';

/** A new descriptor, shared by all threads of the process. */
export function openEventFd(): number {
  return check(libc().eventfd(0, EFD.NONBLOCK | EFD.CLOEXEC), 'eventfd');
}

const word = new BigUint64Array(1);
let address = 0;

/** Wakes whoever sleeps on it. */
export function signalEventFd(fd: number): void {
  if (address === 0) address = addressOf(word);
  word[0] = 1n;
  libc().write(fd, address, 8);
}

/** Makes it unsignalled again. */
export function drainEventFd(fd: number): void {
  if (address === 0) address = addressOf(word);
  libc().read(fd, address, 8);
}
