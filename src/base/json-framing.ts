/**
 * Cuts a stream of JSON values (objects, one after the other, white space between) into the bytes of each, without
 * parsing: a state machine over bytes that knows braces, strings and escapes.
 *
 * Work is linear in the bytes received however they are chunked; what is kept is at most one unfinished value. Bytes
 * outside any object other than white space, too deep nesting and too long values are errors, after which the framer is dead.
 */

export interface FramingLimits {
  /** The longest value, in bytes. */
  readonly maxBytes: number;
  readonly maxDepth: number;
}

export const DEFAULT_LIMITS: FramingLimits = { maxBytes: 0x7fffffff, maxDepth: 1000 };

export class JsonFramer {
  private readonly limits: FramingLimits;
  private parts: Uint8Array[] = [];
  private partBytes = 0;
  private depth = 0;
  private inString = false;
  private escaped = false;
  private error: string | null = null;
  private consumed = 0;

  constructor(limits: FramingLimits = DEFAULT_LIMITS) {
    this.limits = limits;
  }

  /** Bytes of the value that is not yet complete. */
  get pendingBytes(): number {
    return this.partBytes;
  }

  /** Takes a chunk, calls `onValue` for each value that it completes, and returns what is wrong with the stream, or null. */
  push(chunk: Uint8Array, onValue: (bytes: Uint8Array) => void): string | null {
    if (this.error) return this.error;
    let start = this.depth > 0 ? 0 : -1;
    let { depth, inString, escaped } = this;
    const n = chunk.length;
    const { maxDepth } = this.limits;
    for (let i = 0; i < n; i++) {
      const c = chunk[i];
      if (inString) {
        if (escaped) escaped = false;
        else if (c === 0x22) inString = false;
        else if (c === 0x5c) escaped = true;
        continue;
      }
      if (c === 0x22) {
        if (depth === 0) return this.fail(i, 'syntax error at beginning of input');
        inString = true;
      } else if (c === 0x7b || c === 0x5b) {
        if (depth === 0) start = i;
        if (++depth > maxDepth) return this.fail(i, `input exceeds maximum nesting depth ${maxDepth}`);
      } else if (c === 0x7d || c === 0x5d) {
        if (depth === 0) return this.fail(i, 'syntax error at beginning of input');
        if (--depth === 0) {
          if (this.tooLong(i + 1 - start)) return this.fail(i, 'value is too long');
          onValue(this.take(chunk.subarray(start, i + 1)));
          start = -1;
        }
      } else if (depth === 0 && c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) {
        return this.fail(i, 'syntax error at beginning of input');
      }
    }
    this.depth = depth;
    this.inString = inString;
    this.escaped = escaped;
    this.consumed += n;
    if (start >= 0) {
      if (this.tooLong(n - start)) return this.fail(n, 'value is too long');
      this.parts.push(chunk.subarray(start));
      this.partBytes += n - start;
    }
    return null;
  }

  private tooLong(more: number): boolean {
    return this.partBytes + more > this.limits.maxBytes;
  }

  private take(last: Uint8Array): Uint8Array {
    if (this.parts.length === 0) return last;
    this.parts.push(last);
    const whole = Buffer.concat(this.parts, this.partBytes + last.length);
    this.parts = [];
    this.partBytes = 0;
    return whole;
  }

  private fail(at: number, text: string): string {
    this.error = `byte ${this.consumed + at}: ${text}`;
    this.parts = [];
    this.partBytes = 0;
    return this.error;
  }
}
