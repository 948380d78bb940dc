/**
 * The records of a database file: `OVSDB JSON <length> <sha1>`, a newline, and so many bytes of JSON that end in a newline
 * (ovsdb(5), "File Format"). A clustered database starts with another word and is told apart by it.
 */
import { hash } from 'node:crypto';
import { OvsdbError } from './error.ts';
import { isObject, type JsonObject, parseJson, stringifyJson } from './json.ts';

export const MAGIC_STANDALONE = 'JSON';
export const MAGIC_CLUSTER = 'CLUSTER';

const HEADER = /^OVSDB ([A-Z]+) ([0-9]+) ([0-9a-f]{40})$/;
const NEWLINE = 0x0a;
/** No header of a valid record is longer. */
const MAX_HEADER = 100;

export function sha1(bytes: Uint8Array): string {
  return hash('sha1', bytes, 'hex');
}

export function encodeRecord(json: JsonObject, magic: string = MAGIC_STANDALONE): Buffer {
  return encodeBody(`${stringifyJson(json)}\n`, magic);
}

/** A record of which the text stands already, its newline included. */
export function encodeBody(text: string, magic: string = MAGIC_STANDALONE): Buffer {
  const body = Buffer.from(text, 'utf8');
  return Buffer.concat([Buffer.from(headerText(body.length, sha1(body), magic), 'latin1'), body]);
}

export function headerText(length: number, digest: string, magic: string = MAGIC_STANDALONE): string {
  return `OVSDB ${magic} ${length} ${digest}\n`;
}

/** Records one behind the other, ready to be written in one go. */
export class RecordBatch {
  private buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY);
  private readonly ends: number[] = [];
  /** Bytes. */
  size = 0;

  get count(): number {
    return this.ends.length;
  }

  get bytes(): Uint8Array {
    return this.buffer.subarray(0, this.size);
  }

  /** The number of records that are whole in the first `size` bytes. */
  countWithin(size: number): number {
    let n = this.ends.length;
    while (n > 0 && this.ends[n - 1]! > size) n--;
    return n;
  }

  endOf(count: number): number {
    return count === 0 ? 0 : this.ends[count - 1]!;
  }

  /** Adds a record of which this is the JSON. */
  add(json: string): void {
    const text = `${json}\n`;
    this.reserve(this.size + MAX_HEADER + 3 * text.length);
    const { buffer } = this;
    // Where the body begins depends on its length in bytes, which for plain text is that of the text.
    let start = this.size + headerSize(text.length);
    const length = buffer.write(text, start, 'utf8');
    if (headerSize(length) !== headerSize(text.length)) {
      const from = start;
      start = this.size + headerSize(length);
      buffer.copyWithin(start, from, from + length);
    }
    const end = start + length;
    buffer.write(headerText(length, sha1(buffer.subarray(start, end))), this.size, 'latin1');
    this.ends.push((this.size = end));
  }

  clear(): void {
    this.ends.length = 0;
    this.size = 0;
    if (this.buffer.length > KEPT_CAPACITY) this.buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY);
  }

  private reserve(size: number): void {
    if (size <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(size, 2 * this.buffer.length));
    this.buffer.copy(larger, 0, 0, this.size);
    this.buffer = larger;
  }
}

const FIRST_CAPACITY = 16 * 1024;
const KEPT_CAPACITY = 1024 * 1024;
/** Of a header, without the digits of the length. */
const HEADER_FIXED = headerText(0, '0'.repeat(40)).length - 1;

function headerSize(length: number): number {
  return HEADER_FIXED + String(length).length;
}

interface Header {
  readonly magic: string;
  readonly length: number;
  readonly digest: string;
  /** Of the header itself. */
  readonly size: number;
}

const PLAIN_START = Buffer.from('OVSDB JSON ');
const DIGEST_LENGTH = 40;

function parseHeader(line: string): Header | null {
  const m = HEADER.exec(line);
  return m === null ? null : { magic: m[1]!, length: Number(m[2]), digest: m[3]!, size: line.length + 1 };
}

function latin1(bytes: Buffer): string {
  return bytes.toString('latin1');
}

export interface LogRecord {
  readonly json: JsonObject;
  /** Where the record begins and ends in the file. */
  readonly offset: number;
  readonly end: number;
}

/** Where a record stands in the file, by its header. */
export interface RecordPlace {
  readonly offset: number;
  /** Of the body. */
  readonly start: number;
  readonly end: number;
  readonly digest: string;
}

/** Where the bytes of a file come from. */
export interface ByteSource {
  readonly size: number;
  /** Fills `into`, or as much of it as there is from `position` on; gives how much. */
  read(into: Uint8Array, position: number): number;
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read(into, position) {
      const part = bytes.subarray(position, position + into.length);
      into.set(part);
      return part.length;
    },
  };
}

/** What is in memory of a file at a time, unless one record is larger. */
export const WINDOW_SIZE = 256 * 1024;

/**
 * Reads record after record through a window that moves over the file. `next` returns null at the end of the file and throws
 * `OvsdbError` where the file is damaged; `goodEnd` then is the end of the last good record.
 */
export class LogReader {
  private readonly name: string;
  private readonly source: ByteSource;
  private window = Buffer.allocUnsafeSlow(WINDOW_SIZE);
  private windowStart = 0;
  private windowEnd = 0;
  readonly magic: string;
  goodEnd = 0;

  /** Throws if this is no database file. `name` is for messages. */
  constructor(name: string, bytes: Uint8Array | ByteSource) {
    this.name = name;
    this.source = bytes instanceof Uint8Array ? bytesSource(bytes) : bytes;
    if (this.source.size === 0) throw new OvsdbError('ovsdb error', `${name}: cannot identify file type`);
    const first = latin1(this.bytesAt(0, MAX_HEADER)).split('\n')[0]!;
    const magic = parseHeader(first)?.magic;
    if (magic !== MAGIC_STANDALONE && magic !== MAGIC_CLUSTER) {
      throw new OvsdbError('ovsdb error', `${name}: unexpected file format`);
    }
    this.magic = magic;
  }

  next(): LogRecord | null {
    const place = this.place();
    if (place === null) return null;
    const json = this.parse(this.body(place), this.where(place));
    this.goodEnd = place.end;
    return { json, offset: place.offset, end: place.end };
  }

  /** Where the next record is, null at the end. */
  place(): RecordPlace | null {
    const offset = this.goodEnd;
    if (offset >= this.source.size) return null;
    const header = this.plainHeader(offset) ?? this.header(offset);
    const { length, digest } = header;
    const start = offset + header.size;
    if (start + length > this.source.size) {
      throw new OvsdbError('I/O error', `${this.name}: error reading ${length} bytes starting at offset ${start}`, {
        ioError: 'End of file',
      });
    }
    return { offset, start, end: start + length, digest };
  }

  /** What servers write, and others than those that read whole files need not know: without a text in between. */
  private plainHeader(offset: number): Header | null {
    if (offset < this.windowStart || offset + MAX_HEADER > this.windowEnd) this.move(offset, MAX_HEADER);
    const { window } = this;
    let at = offset - this.windowStart;
    const end = Math.min(at + MAX_HEADER, this.windowEnd - this.windowStart);
    const start = at;
    for (let i = 0; i < PLAIN_START.length; i++, at++) if (at >= end || window[at] !== PLAIN_START[i]) return null;
    let length = 0;
    for (; at < end && window[at]! >= 0x30 && window[at]! <= 0x39; at++) length = length * 10 + window[at]! - 0x30;
    if (window[at] !== 0x20 || at + 1 + DIGEST_LENGTH >= end || window[at + 1 + DIGEST_LENGTH] !== NEWLINE) return null;
    const digest = window.toString('latin1', at + 1, at + 1 + DIGEST_LENGTH);
    return { magic: MAGIC_STANDALONE, length, digest, size: at + 2 + DIGEST_LENGTH - start };
  }

  private header(offset: number): Header {
    const window = this.bytesAt(offset, MAX_HEADER);
    const newline = window.indexOf(NEWLINE);
    const line = latin1(newline < 0 ? window : window.subarray(0, newline));
    const header = newline < 0 ? null : parseHeader(line);
    if (header === null || header.magic !== this.magic || !Number.isSafeInteger(header.length)) {
      throw new OvsdbError('syntax error', `${this.name}: parse error at offset ${offset} in header line "${line}"`);
    }
    return header;
  }

  /** The bytes of a record, valid until more is read. */
  body(place: RecordPlace): Buffer {
    const body = this.bytesAt(place.start, place.end - place.start);
    this.checkDigest(place, sha1(body));
    return body;
  }

  checkDigest(place: RecordPlace, digest: string): void {
    if (digest === place.digest) return;
    const details = `${this.where(place)} have SHA-1 hash ${digest} but should have hash ${place.digest}`;
    throw new OvsdbError('syntax error', details);
  }

  /** Bytes of the file, valid until more is read; fewer only where the file ends. */
  bytesAt(offset: number, length: number): Buffer {
    if (offset < this.windowStart || offset + length > this.windowEnd) this.move(offset, length);
    const at = offset - this.windowStart;
    return this.window.subarray(at, Math.min(at + length, this.windowEnd - this.windowStart));
  }

  /** Fills `into` with bytes from a place in the file; gives how many. */
  readInto(into: Uint8Array, position: number): number {
    return this.source.read(into, position);
  }

  private move(offset: number, length: number): void {
    const size = Math.max(length, WINDOW_SIZE);
    const isKept = offset >= this.windowStart && offset < this.windowEnd;
    const kept = isKept ? this.window.subarray(offset - this.windowStart, this.windowEnd - this.windowStart) : EMPTY;
    if (this.window.length < length || (length <= WINDOW_SIZE && this.window.length > WINDOW_SIZE)) {
      const window = Buffer.allocUnsafeSlow(size);
      kept.copy(window);
      this.window = window;
    } else if (kept.length > 0) this.window.copyWithin(0, offset - this.windowStart, this.windowEnd - this.windowStart);
    this.windowStart = offset;
    this.windowEnd = offset + kept.length;
    this.windowEnd += this.source.read(this.window.subarray(kept.length), this.windowEnd);
  }

  private where({ start, end }: RecordPlace): string {
    return `${this.name}: ${end - start} bytes starting at offset ${start}`;
  }

  private parse(body: Buffer, where: string): JsonObject {
    let reason = 'line 0, column 1, byte 1: syntax error at beginning of input';
    try {
      const json = parseJson(body.toString('utf8'));
      if (isObject(json)) return json;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      reason = error.message;
    }
    throw new OvsdbError('syntax error', `${where} are not valid JSON (${reason})`);
  }
}

const EMPTY = Buffer.alloc(0);
