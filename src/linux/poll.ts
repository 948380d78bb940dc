/** Sleeping on descriptors, for threads without an event loop. `poll(2)` */
import { POLL } from './constants.ts';
import { addressOf, libc } from './libc.ts';

const POLLFD_WORDS = 2;

/** A fixed set of descriptors to wait for input on; makes no garbage when waiting. */
export class PollSet {
  private readonly words: Int32Array;
  private readonly address: number;
  private readonly n: number;

  constructor(fds: readonly number[]) {
    this.n = fds.length;
    this.words = new Int32Array(Math.max(1, fds.length) * POLLFD_WORDS);
    fds.forEach((fd, i) => {
      this.words[i * POLLFD_WORDS] = fd;
      this.words[i * POLLFD_WORDS + 1] = POLL.IN;
    });
    this.address = addressOf(this.words);
  }

  /** Returns how many are ready: 0 after `timeoutMs`, negative on error. */
  wait(timeoutMs: number): number {
    return libc().poll(this.address, this.n, timeoutMs);
  }
}
