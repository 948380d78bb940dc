/**
 * The fast path's memory: one shared `WebAssembly.Memory` that never grows, moves or is collected. Its pages are aligned,
 * so the kernel's rings can be mapped into it with MAP_FIXED, and every thread sees it through the same typed arrays.
 *
 * Regions are handed out once, at start or when a port is added, by the main thread only; `free` returns a region to a
 * list of its size class. Addresses are byte offsets; word indices are offset >> 2.
 */
export interface ArenaViews {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f64: Float64Array;
}

export class Arena implements ArenaViews {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f64: Float64Array;
  private top = 64;
  private readonly freed = new Map<number, number[]>();

  /** A new arena of `bytes`, or the view of another thread's `memory`. */
  constructor(source: number | WebAssembly.Memory) {
    if (typeof source === 'number') {
      const pages = Math.ceil(source / 65536);
      this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } else {
      this.memory = source;
    }
    const b = this.memory.buffer;
    this.u8 = new Uint8Array(b);
    this.u16 = new Uint16Array(b);
    this.i32 = new Int32Array(b);
    this.u32 = new Uint32Array(b);
    this.f64 = new Float64Array(b);
  }

  get size(): number {
    return this.u8.length;
  }

  get used(): number {
    return this.top;
  }

  /** Byte offset of `bytes` zeroed bytes, aligned to `align` (a power of two), or -1 when the arena is full. */
  alloc(bytes: number, align = 64): number {
    const rounded = Math.ceil(bytes / 64) * 64;
    const list = align <= 64 ? this.freed.get(rounded) : undefined;
    const reused = list?.pop();
    if (reused !== undefined) {
      this.u8.fill(0, reused, reused + rounded);
      return reused;
    }
    const at = Math.ceil(this.top / align) * align;
    if (at + rounded > this.u8.length) return -1;
    this.top = at + rounded;
    return at;
  }

  /** Gives back what `alloc(bytes)` returned, with the same `bytes`. */
  free(at: number, bytes: number): void {
    const rounded = Math.ceil(bytes / 64) * 64;
    const list = this.freed.get(rounded);
    if (list) list.push(at);
    else this.freed.set(rounded, [at]);
  }
}
