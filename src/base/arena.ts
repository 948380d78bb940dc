/**
 * The fast path's memory: one shared `WebAssembly.Memory` that never grows, moves or is collected. Its pages are aligned,
 * so the kernel's rings can be mapped into it with MAP_FIXED, and every thread sees it through the same typed arrays.
 *
 * Regions are handed out once, at start or when a port is added; `free` returns a region to a list of its size class. How
 * much is handed out is a word of the arena itself, so that threads never get the same memory; the lists are each
 * thread's own. Addresses are byte offsets; word indices are offset >> 2.
 */

/** Regions begin at multiples of this; the first unit holds the arena's own words. */
const UNIT = 64;
/** Word: units handed out, the first included. */
const TOP = 0;

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
    Atomics.compareExchange(this.i32, TOP, 0, 1);
  }

  get size(): number {
    return this.u8.length;
  }

  get used(): number {
    return Atomics.load(this.i32, TOP) * UNIT;
  }

  /** Byte offset of `bytes` zeroed bytes, aligned to `align` (a power of two), or -1 when the arena is full. */
  alloc(bytes: number, align = UNIT): number {
    const rounded = Math.ceil(bytes / UNIT) * UNIT;
    const list = align <= UNIT ? this.freed.get(rounded) : undefined;
    const reused = list?.pop();
    if (reused !== undefined) {
      this.u8.fill(0, reused, reused + rounded);
      return reused;
    }
    for (;;) {
      const top = Atomics.load(this.i32, TOP);
      const at = Math.ceil((top * UNIT) / align) * align;
      if (at + rounded > this.u8.length) return -1;
      if (Atomics.compareExchange(this.i32, TOP, top, (at + rounded) / UNIT) === top) return at;
    }
  }

  /** Gives back what `alloc(bytes)` returned, with the same `bytes`. */
  free(at: number, bytes: number): void {
    const rounded = Math.ceil(bytes / UNIT) * UNIT;
    const list = this.freed.get(rounded);
    if (list) list.push(at);
    else this.freed.set(rounded, [at]);
  }
}
