/**
 * Writing a database file anew beside the old one while that goes on growing: compaction without a pause.
 *
 * The new file is two records, the schema and everything there is. A record's header states its length and hash, known only when it has
 * been written; so room is left in front, and what of it the headers do not need is white space behind the schema's JSON, which
 * every reader skips.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fdatasync,
  fsyncSync,
  openSync,
  read,
  readSync,
  renameSync,
  unlinkSync,
  write,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { type JsonObject, stringifyJson } from './json.ts';
import { encodeBody, headerText } from './log-format.ts';
import { PIECE_LENGTH, pieces, Slicer } from './slices.ts';

const writeAsync = promisify(write);
const readAsync = promisify(read);
const fdatasyncAsync = promisify(fdatasync);

/** Room for the second record's header. */
const HEADER_ROOM = 90;
/** What is copied at one go, and what may remain to be copied while everybody waits. */
const CHUNK = 256 * 1024;

export class Rewrite {
  private readonly path: string;
  readonly fd: number;
  /** End of what was written. */
  end = 0;
  private done = false;

  constructor(path: string, mode: number) {
    this.path = path;
    this.fd = openSync(path, 'w+', mode);
  }

  async writeSnapshot(schema: JsonObject, texts: Iterable<string>): Promise<void> {
    const schemaText = stringifyJson(schema);
    const schemaBytes = Buffer.byteLength(schemaText) + 1;
    // The number of digits of the schema's length must not depend on how much of the room is left over.
    let padding = 0;
    while (String(schemaBytes + padding).length !== String(schemaBytes + padding + HEADER_ROOM).length)
      padding += HEADER_ROOM;
    const room = headerText(schemaBytes + padding, '0'.repeat(40)).length + schemaBytes + padding + HEADER_ROOM;

    const hash = createHash('sha1');
    const slicer = new Slicer();
    let at = room;
    // One buffer for all pieces: the collector counts buffers, and would look through the database for every few dozen megabytes of them.
    const scratch = Buffer.allocUnsafeSlow(4 * PIECE_LENGTH);
    const put = async (text: string) => {
      const fits = 3 * text.length <= scratch.length;
      const bytes = fits ? scratch.subarray(0, scratch.write(text)) : Buffer.from(text);
      hash.update(bytes);
      await this.writeAt(bytes, at);
      at += bytes.length;
      await slicer.turn();
    };
    for (const piece of pieces(texts)) await put(piece);
    await put('\n');

    const header = headerText(at - room, hash.digest('hex'));
    const spaces = ' '.repeat(padding + HEADER_ROOM - header.length);
    await this.writeAt(Buffer.concat([encodeBody(`${schemaText}${spaces}\n`), Buffer.from(header, 'latin1')]), 0);
    this.end = at;
    await fdatasyncAsync(this.fd);
  }

  /** Appends what stands in another file from `from` on, up to where little remains; gives how far it came. */
  async copyMost(source: number, from: number, endOf: () => number): Promise<number> {
    const buffer = Buffer.allocUnsafe(CHUNK);
    let at = from;
    while (endOf() - at > CHUNK / 4) {
      const { bytesRead } = await readAsync(source, buffer, 0, Math.min(CHUNK, endOf() - at), at);
      if (bytesRead === 0) break;
      await this.writeAt(buffer.subarray(0, bytesRead), this.end);
      this.end += bytesRead;
      at += bytesRead;
    }
    if (at > from) await fdatasyncAsync(this.fd);
    return at;
  }

  /** Appends the rest at once and takes the place of the file `path`. */
  finish(source: number, from: number, end: number, path: string): void {
    const buffer = Buffer.allocUnsafe(Math.max(end - from, 1));
    for (let at = from; at < end; ) {
      const n = readSync(source, buffer, 0, end - at, at);
      if (n === 0) throw Object.assign(new Error('short read'), { code: 'EIO' });
      for (let written = 0; written < n; )
        written += writeSync(this.fd, buffer, written, n - written, this.end + written);
      this.end += n;
      at += n;
    }
    if (end > from) fsyncSync(this.fd);
    this.rename(path);
  }

  /** Appends some records at once and takes the place of the file `path`. */
  finishWith(records: Uint8Array, path: string): void {
    for (let at = 0; at < records.length; ) at += writeSync(this.fd, records, at, records.length - at, this.end + at);
    this.end += records.length;
    if (records.length > 0) fsyncSync(this.fd);
    this.rename(path);
  }

  private rename(path: string): void {
    renameSync(this.path, path);
    this.done = true;
  }

  /** Forgets it all, unless it took its place. */
  [Symbol.dispose](): void {
    if (this.done) return;
    closeSync(this.fd);
    try {
      unlinkSync(this.path);
    } catch {
      // It was only temporary.
    }
  }

  private async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await writeAsync(this.fd, bytes, at, bytes.length - at, position + at);
      at += bytesWritten;
    }
  }
}
