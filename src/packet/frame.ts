/**
 * A frame's place in the arena. A chunk is `FRAME_SIZE` bytes, aligned to its size:
 *
 * ```
 *   0        16                      256+2                               2048
 *   | words  | headroom (encap grows) | Ethernet header … payload … | room |
 * ```
 *
 * Word 0 is the length of the packet in bytes, word 1 the byte offset in the arena at which it begins. The default place
 * puts the Ethernet header at 2 mod 4, so that an IP header behind it is 4-byte aligned. AF_XDP delivers wherever its
 * headroom puts it; the receive path writes word 1 accordingly.
 */
import type { Arena } from '../base/arena.ts';

export const FRAME_SIZE = 2048;
export const FRAME_LEN = 0; // word
export const FRAME_DATA = 1; // word
export const FRAME_HEADROOM = 258;
/** The longest packet a frame holds at its default place. */
export const FRAME_MAX = FRAME_SIZE - FRAME_HEADROOM;

/**
 * A stack of free frames, private to one thread. Frames that were born in another thread's pool may be put here: chunks
 * are all alike.
 */
export class FramePool {
  readonly arena: Arena;
  readonly capacity: number;
  private readonly free: Int32Array;
  private top = 0;

  /** Takes the `count` chunks from byte `first` on; holds up to `capacity` (other threads' frames end up here too). */
  constructor(arena: Arena, first: number, count: number, capacity: number) {
    this.arena = arena;
    this.capacity = capacity;
    this.free = new Int32Array(capacity);
    for (let i = count - 1; i >= 0; i--) this.free[this.top++] = first + i * FRAME_SIZE;
  }

  get available(): number {
    return this.top;
  }

  /** Byte offset of a chunk, or -1 when there is none. */
  take(): number {
    return this.top > 0 ? this.free[--this.top] : -1;
  }

  put(frame: number): void {
    this.free[this.top++] = frame;
  }
}
