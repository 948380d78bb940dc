/**
 * Big-endian reading and writing for the OpenFlow codecs.
 *
 * `Reader` never goes past its end: it throws `OfDecodeError` with the error a switch answers for a bad length
 * (OFPBRC_BAD_LEN unless told otherwise). `Writer` grows as needed and can cut a long list into several messages.
 */
import { OfDecodeError, type OfErrorName } from './errors.ts';

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export class Reader {
  readonly bytes: Uint8Array;
  pos: number;
  readonly end: number;
  /** What reading too far means here. */
  readonly shortError: OfErrorName;

  constructor(bytes: Uint8Array, pos = 0, end = bytes.length, shortError: OfErrorName = 'OFPBRC_BAD_LEN') {
    this.bytes = bytes;
    this.pos = pos;
    this.end = end;
    this.shortError = shortError;
  }

  get left(): number {
    return this.end - this.pos;
  }
  need(n: number): number {
    const at = this.pos;
    if (n < 0 || at + n > this.end) throw new OfDecodeError(this.shortError, `${n} bytes wanted, ${this.left} left`);
    this.pos = at + n;
    return at;
  }
  u8(): number {
    return this.bytes[this.need(1)];
  }
  u16(): number {
    const p = this.need(2);
    return (this.bytes[p] << 8) | this.bytes[p + 1];
  }
  u32(): number {
    const p = this.need(4);
    const b = this.bytes;
    return ((b[p] << 24) | (b[p + 1] << 16) | (b[p + 2] << 8) | b[p + 3]) >>> 0;
  }
  u64(): bigint {
    const high = this.u32();
    const low = this.u32();
    if (high === 0) return low === 0 ? 0n : BigInt(low);
    return (BigInt(high) << 32n) | BigInt(low);
  }
  /** A counter: exact to 2^53; all ones is "unknown", given as -1. */
  count64(): number {
    const high = this.u32();
    const low = this.u32();
    if (high === 0xffffffff && low === 0xffffffff) return -1;
    return high * 4294967296 + low;
  }
  skip(n: number): this {
    this.need(n);
    return this;
  }
  /** A view, not a copy. */
  take(n: number): Uint8Array {
    const p = this.need(n);
    return this.bytes.subarray(p, p + n);
  }
  rest(): Uint8Array {
    return this.take(this.left);
  }
  copy(n: number): Uint8Array {
    return this.take(n).slice();
  }
  /** A NUL-padded string in a fixed room. */
  text(n: number): string {
    const b = this.take(n);
    const nul = b.indexOf(0);
    return decoder.decode(nul < 0 ? b : b.subarray(0, nul));
  }
  /** A reader over the next `n` bytes, which this one passes over. */
  sub(n: number, shortError: OfErrorName = this.shortError): Reader {
    const p = this.need(n);
    return new Reader(this.bytes, p, p + n, shortError);
  }
  fail(code: OfErrorName, detail = ''): never {
    throw new OfDecodeError(code, detail);
  }
}

/** Most messages fit; a piece of a slab costs much less than a buffer of its own. */
const SMALL = 64;
const SLAB_PIECES = 64;
let slab = new ArrayBuffer(SMALL * SLAB_PIECES);
let slabUsed = 0;

function smallBytes(): Uint8Array {
  if (slabUsed === SLAB_PIECES) {
    slab = new ArrayBuffer(SMALL * SLAB_PIECES);
    slabUsed = 0;
  }
  return new Uint8Array(slab, SMALL * slabUsed++, SMALL);
}

export class Writer {
  buf: Uint8Array;
  len = 0;
  /** Bytes at the front that every part of a multipart message repeats; 0 when the message must stay whole. */
  partHeader = 0;
  /** Where the parts that are complete end. */
  readonly partEnds: number[] = [];
  private partStart = 0;
  private elementStart = 0;

  constructor(size = SMALL) {
    this.buf = size <= SMALL ? smallBytes() : new Uint8Array(size);
  }

  private room(n: number): number {
    const at = this.len;
    const want = at + n;
    if (want > this.buf.length) {
      const bigger = new Uint8Array(Math.max(want, this.buf.length * 4));
      bigger.set(this.buf.subarray(0, at));
      this.buf = bigger;
    }
    this.len = want;
    return at;
  }
  u8(v: number): this {
    const p = this.room(1);
    this.buf[p] = v;
    return this;
  }
  u16(v: number): this {
    const p = this.room(2);
    this.buf[p] = v >>> 8;
    this.buf[p + 1] = v;
    return this;
  }
  u32(v: number): this {
    const p = this.room(4);
    const b = this.buf;
    b[p] = v >>> 24;
    b[p + 1] = v >>> 16;
    b[p + 2] = v >>> 8;
    b[p + 3] = v;
    return this;
  }
  u64(v: bigint): this {
    if (v === 0n) return this.zero(8);
    return this.u32(Number((v >> 32n) & 0xffffffffn)).u32(Number(v & 0xffffffffn));
  }
  /** The inverse of `Reader.count64`. */
  count64(v: number): this {
    if (v < 0) return this.u32(0xffffffff).u32(0xffffffff);
    return this.u32(Math.floor(v / 4294967296) >>> 0).u32((v % 4294967296) >>> 0);
  }
  zero(n: number): this {
    const p = this.room(n);
    this.buf.fill(0, p, p + n);
    return this;
  }
  bytes(b: Uint8Array): this {
    const p = this.room(b.length);
    this.buf.set(b, p);
    return this;
  }
  text(s: string, n: number): this {
    const p = this.room(n);
    this.buf.fill(0, p, p + n);
    const b = encoder.encode(s);
    this.buf.set(b.subarray(0, n - 1), p);
    return this;
  }
  /** Zeros up to a multiple of `n` counted from `from`. */
  align(n: number, from = 0): this {
    const over = (this.len - from) % n;
    return over === 0 ? this : this.zero(n - over);
  }
  set16(at: number, v: number): this {
    this.buf[at] = v >>> 8;
    this.buf[at + 1] = v;
    return this;
  }
  /** Writes a 16-bit length of what stands between `from` and here, at `at`. */
  length16(at: number, from: number): this {
    return this.set16(at, this.len - from);
  }

  /** Says that the list so far may be cut here. A part that has outgrown 64 kB gives its last element to a new part. */
  boundary(): void {
    if (this.partHeader > 0 && this.len - this.partStart > 0xffff && this.elementStart > this.partStart) {
      const element = this.buf.slice(this.elementStart, this.len);
      const header = this.buf.slice(this.partStart, this.partStart + this.partHeader);
      this.len = this.elementStart;
      this.partEnds.push(this.len);
      this.partStart = this.len;
      this.bytes(header).bytes(element);
    }
    this.elementStart = this.len;
  }
  finish(): Uint8Array {
    return this.buf.subarray(0, this.len);
  }
}
