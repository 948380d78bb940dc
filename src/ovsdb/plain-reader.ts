/**
 * Reads compact JSON, and the values of columns in it, straight from bytes: as servers write them, with sets and maps sorted, uuids in lower case, and
 * values that the schema allows. At anything else it throws `NOT_PLAIN`, and whoever knows all of JSON has to look.
 *
 * Behind the bytes that are there must stand one that JSON does not have, a zero or a newline, so that nobody asks where they end.
 */
import { type Atom, compareAtoms, type Uuid } from './atom.ts';
import { type Datum, emptyDatum, scalarDatum } from './datum.ts';
import { parseJson } from './json.ts';
import type { ColumnSchema } from './schema.ts';
import { type BaseType, checkAtom } from './types.ts';

/** Thrown at whatever is not plain. One object, since nobody looks at where it came from. */
export const NOT_PLAIN = new Error('not plain');

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
export const COLON = 0x3a;
const OPEN = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE = 0x5d;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const NEWLINE = 0x0a;

const UUID_LENGTH = 36;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const SET_START = Buffer.from('["set",[');
const MAP_START = Buffer.from('["map",[');
const UUID_START = Buffer.from('["uuid",');

/** More digits may be too many for a `number`. */
const SAFE_DIGITS = 15;

/** Short strings that were met lately are not made anew: the same few names, keys and uuids make up most of a file. */
const INTERN_SLOTS = 4096;
const INTERN_LENGTH = 128;

export class PlainReader {
  protected buffer: Buffer = Buffer.alloc(1);
  protected pos = 0;
  private readonly interned: string[] = new Array<string>(INTERN_SLOTS).fill('');
  private readonly internedHashes = new Int32Array(INTERN_SLOTS);
  private readonly keyScratch: Atom[] = [];
  private readonly valueScratch: Atom[] = [];

  protected expect(byte: number): void {
    if (this.buffer[this.pos] !== byte) throw NOT_PLAIN;
    this.pos++;
  }

  protected take(byte: number): boolean {
    if (this.buffer[this.pos] !== byte) return false;
    this.pos++;
    return true;
  }

  /** After a member of an object: whether it was the last one. */
  protected isLast(): boolean {
    if (this.take(COMMA)) return false;
    this.expect(CLOSE_BRACE);
    return true;
  }

  protected expectBytes(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) this.expect(bytes[i]!);
  }

  protected datum(column: ColumnSchema): Datum {
    const { key, value } = column.type;
    if (value !== null) return this.map(column, key, value);
    if (this.buffer[this.pos] === OPEN && this.buffer[this.pos + 2] === SET_START[2]) return this.set(column, key);
    return sharedScalar(this.atom(key));
  }

  private set(column: ColumnSchema, key: BaseType): Datum {
    this.expectBytes(SET_START);
    const { keyScratch } = this;
    let n = 0;
    if (!this.take(CLOSE)) {
      do this.ascend(n++, this.atom(key));
      while (this.take(COMMA));
      this.expect(CLOSE);
    }
    this.expect(CLOSE);
    return n === 0 ? emptyDatum(column.type) : { keys: keyScratch.slice(0, n), values: null };
  }

  private map(column: ColumnSchema, key: BaseType, value: BaseType): Datum {
    this.expectBytes(MAP_START);
    const { keyScratch, valueScratch } = this;
    let n = 0;
    if (!this.take(CLOSE)) {
      do {
        this.expect(OPEN);
        this.ascend(n, this.atom(key));
        this.expect(COMMA);
        valueScratch[n++] = this.atom(value);
        this.expect(CLOSE);
      } while (this.take(COMMA));
      this.expect(CLOSE);
    }
    this.expect(CLOSE);
    return n === 0 ? emptyDatum(column.type) : { keys: keyScratch.slice(0, n), values: valueScratch.slice(0, n) };
  }

  private ascend(n: number, key: Atom): void {
    if (n > 0 && compareAtoms(this.keyScratch[n - 1]!, key) >= 0) throw NOT_PLAIN;
    this.keyScratch[n] = key;
  }

  private atom(base: BaseType): Atom {
    const atom = this.bareAtom(base);
    if (base.enum === null && base.min === null && base.max === null && base.type !== 'string') return atom;
    try {
      checkAtom(base, atom);
    } catch {
      throw NOT_PLAIN;
    }
    return atom;
  }

  private bareAtom(base: BaseType): Atom {
    switch (base.type) {
      case 'string':
        return this.string();
      case 'integer':
        return this.integer();
      case 'boolean':
        return this.boolean();
      case 'real':
        return this.real();
      case 'uuid': {
        this.expectBytes(UUID_START);
        const uuid = this.uuid();
        this.expect(CLOSE);
        return uuid;
      }
    }
  }

  protected boolean(): boolean {
    const is = this.buffer[this.pos] === TRUE[0];
    this.expectBytes(is ? TRUE : FALSE);
    return is;
  }

  protected integer(): number {
    const isNegative = this.take(MINUS);
    const start = this.pos;
    const { buffer } = this;
    let value = 0;
    let at = start;
    for (let c = buffer[at]!; c >= ZERO && c <= NINE; c = buffer[++at]!) value = value * 10 + (c - ZERO);
    const digits = at - start;
    if (digits === 0 || digits > SAFE_DIGITS || (buffer[start] === ZERO && (digits > 1 || isNegative))) throw NOT_PLAIN;
    this.pos = at;
    this.endOfNumber();
    return isNegative ? -value : value;
  }

  private real(): number {
    const start = this.pos;
    const { buffer } = this;
    let at = start;
    while (isNumberByte(buffer[at]!)) at++;
    let value: unknown;
    try {
      value = JSON.parse(this.text(start, at));
    } catch {
      throw NOT_PLAIN;
    }
    if (typeof value !== 'number' || !Number.isFinite(value) || at - start > SAFE_DIGITS) throw NOT_PLAIN;
    this.pos = at;
    this.endOfNumber();
    return value;
  }

  private endOfNumber(): void {
    const c = this.buffer[this.pos];
    if (c !== COMMA && c !== CLOSE && c !== CLOSE_BRACE) throw NOT_PLAIN;
  }

  protected uuid(): Uuid {
    const text = this.string();
    if (!isPlainUuid(text)) throw NOT_PLAIN;
    return text;
  }

  protected string(): string {
    this.expect(QUOTE);
    const { buffer } = this;
    const start = this.pos;
    let at = start;
    let hash = 0;
    let c = buffer[at]!;
    while (c !== QUOTE && c !== BACKSLASH && c >= 0x20 && c < 0x80) {
      hash = (Math.imul(hash, 31) + c) | 0;
      c = buffer[++at]!;
    }
    if (c !== QUOTE) return this.specialString(start, at);
    this.pos = at + 1;
    return at - start <= INTERN_LENGTH ? this.intern(start, at, hash) : this.text(start, at);
  }

  /** One with escapes or letters beyond ASCII. */
  private specialString(start: number, from: number): string {
    const { buffer } = this;
    let at = from;
    for (let c = buffer[at]!; c !== QUOTE; c = buffer[at]!) {
      // Behind a backslash may be the last byte there is.
      if (c < 0x20 || (c === BACKSLASH && buffer[at + 1]! < 0x20)) throw NOT_PLAIN;
      at += c === BACKSLASH ? 2 : 1;
    }
    const quoted = buffer.toString('utf8', start - 1, at + 1);
    this.pos = at + 1;
    try {
      return parseJson(quoted) as string;
    } catch {
      throw NOT_PLAIN;
    }
  }

  private intern(start: number, end: number, hash: number): string {
    const slot = (hash ^ (hash >>> 12)) & (INTERN_SLOTS - 1);
    const known = this.interned[slot]!;
    if (this.internedHashes[slot] === hash && known.length === end - start && this.isAt(known, start)) return known;
    this.internedHashes[slot] = hash;
    return (this.interned[slot] = this.text(start, end));
  }

  private isAt(text: string, start: number): boolean {
    const { buffer } = this;
    for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== buffer[start + i]) return false;
    return true;
  }

  private text(start: number, end: number): string {
    return this.buffer.toString('latin1', start, end);
  }
}

// Scalars that many rows have.
const EMPTY_STRING = scalarDatum('');
const ZERO_DATUM = scalarDatum(0);
const ONE_DATUM = scalarDatum(1);
const TRUE_DATUM = scalarDatum(true);
const FALSE_DATUM = scalarDatum(false);

function sharedScalar(atom: Atom): Datum {
  switch (atom) {
    case '':
      return EMPTY_STRING;
    case 0:
      return ZERO_DATUM;
    case 1:
      return ONE_DATUM;
    case true:
      return TRUE_DATUM;
    case false:
      return FALSE_DATUM;
  }
  return scalarDatum(atom);
}

export function isPlainUuid(text: string): boolean {
  return text.length === UUID_LENGTH && UUID.test(text);
}

function isNumberByte(c: number): boolean {
  return (c >= ZERO && c <= NINE) || c === MINUS || c === 0x2b || c === 0x2e || c === 0x45 || c === 0x65;
}
