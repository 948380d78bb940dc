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
 *
 * What is longer than such a chunk holds stands in a large one: the same layout, `LARGE_FRAME_SIZE` bytes, in a region of
 * its own, so that a frame's address tells its size. A large frame's word 2 says whether it is a TCP or UDP super-segment
 * (`gsoType << 16 | gsoSize`, numbers of virtio) whose transport checksum nobody has computed, or 0. Word 3 says where its
 * own Ethernet header is, once a tunnel has put others before it, or 0.
 */
import type { Arena } from '../base/arena.ts';

export const FRAME_SIZE = 2048;
export const FRAME_LEN = 0; // word
export const FRAME_DATA = 1; // word
/** Word, of large frames only. */
export const FRAME_GSO = 2;
export const FRAME_INNER = 3;
export const FRAME_HEADROOM = 258;
/** The longest packet a frame holds at its default place. */
export const FRAME_MAX = FRAME_SIZE - FRAME_HEADROOM;
export const LARGE_FRAME_SIZE = 33 * FRAME_SIZE;
/** As long as a super-segment with its Ethernet header and tags may be. */
export const LARGE_FRAME_MAX = LARGE_FRAME_SIZE - FRAME_HEADROOM;

/** The region of all large frames, and which of them a pool begins with. */
export interface LargeFrames {
  readonly at: number;
  readonly count: number;
  readonly first: number;
  readonly share: number;
}

/**
 * A stack of free frames, private to one thread. Frames that were born in another thread's pool may be put here: chunks
 * are all alike.
 */
export class FramePool {
  readonly arena: Arena;
  readonly capacity: number;
  private readonly free: Int32Array;
  private top = 0;
  /** Large frames lie from here to there. */
  private readonly largeAt: number;
  private readonly largeEnd: number;
  private readonly freeLarge: Int32Array;
  private largeTop = 0;

  /** Takes the `count` chunks from byte `first` on; holds up to `capacity` (other threads' frames end up here too). */
  constructor(arena: Arena, first: number, count: number, capacity: number, large: LargeFrames | null = null) {
    this.arena = arena;
    this.capacity = capacity;
    this.free = new Int32Array(capacity);
    for (let i = count - 1; i >= 0; i--) this.free[this.top++] = first + i * FRAME_SIZE;
    this.largeAt = large?.at ?? 0;
    this.largeEnd = this.largeAt + (large?.count ?? 0) * LARGE_FRAME_SIZE;
    this.freeLarge = new Int32Array(large?.count ?? 0);
    if (large === null) return;
    for (let i = large.share - 1; i >= 0; i--)
      this.freeLarge[this.largeTop++] = large.at + (large.first + i) * LARGE_FRAME_SIZE;
  }

  get available(): number {
    return this.top;
  }

  /** Byte offset of a chunk, or -1 when there is none. */
  take(): number {
    return this.top > 0 ? this.free[--this.top] : -1;
  }

  put(frame: number): void {
    if (frame >= this.largeAt && frame < this.largeEnd) this.freeLarge[this.largeTop++] = frame;
    else this.free[this.top++] = frame;
  }

  isLarge(frame: number): boolean {
    return frame >= this.largeAt && frame < this.largeEnd;
  }

  get availableLarge(): number {
    return this.largeTop;
  }

  /** Byte offset of a large chunk, for packets of up to `LARGE_FRAME_MAX` bytes, or -1. Its `FRAME_GSO` is 0. */
  takeLarge(): number {
    if (this.largeTop === 0) return -1;
    const frame = this.freeLarge[--this.largeTop];
    this.arena.i32[(frame >> 2) + FRAME_GSO] = 0;
    this.arena.i32[(frame >> 2) + FRAME_INNER] = 0;
    return frame;
  }

  /** A chunk that holds packets of `length` bytes, or -1. */
  takeFor(length: number): number {
    if (length <= FRAME_MAX) return this.take();
    return length <= LARGE_FRAME_MAX ? this.takeLarge() : -1;
  }

  /** A chunk of the same kind as `frame`, or -1. */
  takeLike(frame: number): number {
    return this.isLarge(frame) ? this.takeLarge() : this.take();
  }
}
