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
}

function parseHeader(line: string): Header | null {
  const m = HEADER.exec(line);
  return m === null ? null : { magic: m[1]!, length: Number(m[2]), digest: m[3]! };
}

// Not `Buffer.from(...)`, which would copy.
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export interface LogRecord {
  readonly json: JsonObject;
  /** Where the record begins and ends in the file. */
  readonly offset: number;
  readonly end: number;
}

/**
 * Reads record after record. `next` returns null at the end of the file and throws `OvsdbError` where the file is damaged; `goodEnd` then
 * is the end of the last good record.
 */
export class LogReader {
  private readonly name: string;
  private readonly bytes: Uint8Array;
  readonly magic: string;
  goodEnd = 0;

  /** Throws if this is no database file. `name` is for messages. */
  constructor(name: string, bytes: Uint8Array) {
    this.name = name;
    this.bytes = bytes;
    if (bytes.length === 0) throw new OvsdbError('ovsdb error', `${name}: cannot identify file type`);
    const first = latin1(bytes.subarray(0, MAX_HEADER)).split('\n')[0]!;
    const magic = parseHeader(first)?.magic;
    if (magic !== MAGIC_STANDALONE && magic !== MAGIC_CLUSTER) {
      throw new OvsdbError('ovsdb error', `${name}: unexpected file format`);
    }
    this.magic = magic;
  }

  next(): LogRecord | null {
    const { bytes, name } = this;
    const offset = this.goodEnd;
    if (offset >= bytes.length) return null;
    const window = bytes.subarray(offset, offset + MAX_HEADER);
    const newline = window.indexOf(NEWLINE);
    const line = latin1(newline < 0 ? window : window.subarray(0, newline));
    const header = newline < 0 ? null : parseHeader(line);
    if (header === null || header.magic !== this.magic || !Number.isSafeInteger(header.length)) {
      throw new OvsdbError('syntax error', `${name}: parse error at offset ${offset} in header line "${line}"`);
    }
    const { length } = header;
    const start = offset + newline + 1;
    const end = start + length;
    if (end > bytes.length) {
      throw new OvsdbError('I/O error', `${name}: error reading ${length} bytes starting at offset ${start}`, {
        ioError: 'End of file',
      });
    }
    const body = bytes.subarray(start, end);
    const digest = sha1(body);
    const where = `${name}: ${length} bytes starting at offset ${start}`;
    if (digest !== header.digest) {
      throw new OvsdbError('syntax error', `${where} have SHA-1 hash ${digest} but should have hash ${header.digest}`);
    }
    const json = this.parse(body, where);
    this.goodEnd = end;
    return { json, offset, end };
  }

  private parse(body: Uint8Array, where: string): JsonObject {
    let reason = 'line 0, column 1, byte 1: syntax error at beginning of input';
    try {
      const json = parseJson(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8'));
      if (isObject(json)) return json;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      reason = error.message;
    }
    throw new OvsdbError('syntax error', `${where} are not valid JSON (${reason})`);
  }
}
