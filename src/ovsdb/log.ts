/**
 * The file of a database: append-only records under a lock.
 *
 * `append` returns when the kernel has the bytes: a process that dies afterwards, however it dies, has lost nothing. `sync` returns when the
 * disk has them; syncs asked for while one is running share the next one (group commit). A failed append leaves the file as it was,
 * so that the next may succeed. Replacing the whole content (compaction, conversion) writes a new file beside it, syncs it, and renames: a crash
 * leaves the old content or the new.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { errorCode, errorText } from '../base/errno.ts';
import { vlog } from '../base/vlog.ts';
import { OvsdbError } from './error.ts';
import { type JsonObject, stringifyJson } from './json.ts';
import {
  type ByteSource,
  bytesSource,
  encodeRecord,
  LogReader,
  type LogRecord,
  RecordBatch,
  type RecordPlace,
} from './log-format.ts';
import { Rewrite } from './rewrite.ts';

const log = vlog('ovsdb_log');

/** Takes a lock on a file or throws; given by whoever may call the kernel (see `src/linux/file-lock.ts`). */
export type FileLocker = (path: string) => Disposable;

let locker: FileLocker | null = null;

/** Every program that opens databases for writing calls this once. */
export function setFileLocker(lock: FileLocker): void {
  locker = lock;
}

export function ioError(details: string, cause: unknown): OvsdbError {
  return new OvsdbError('I/O error', details, { ioError: errorText(cause), cause });
}

/** `/dir/.NAME.~lock~`, beside the file that `path` really is. */
export function lockPath(path: string): string {
  const real = followLinks(path);
  return join(dirname(real), `.${basename(real)}.~lock~`);
}

// The file itself need not exist, so realpath(3) will not do.
function followLinks(path: string): string {
  for (let depth = 0; depth < 10; depth++) {
    try {
      if (!lstatSync(path).isSymbolicLink()) return path;
    } catch {
      return path;
    }
    path = resolve(dirname(path), readlinkSync(path));
  }
  return path;
}

/** The lock's path as people know the file: relative if they named it so. */
function lockName(name: string, path: string): string {
  return resolve(name) === path ? lockPath(name) : lockPath(path);
}

/** Keeps other processes off a database file; null where nothing can. Throws `OvsdbError`. */
export function takeLock(name: string, path: string): Disposable | null {
  if (locker === null) return null;
  const file = lockPath(path);
  try {
    return locker(file);
  } catch (error) {
    const pid = (error as { pid?: unknown }).pid;
    if (typeof pid === 'number') {
      const who = pid === process.pid ? 'this process has already locked it' : `it is already locked by pid ${pid}`;
      vlog('lockfile').warn(`${lockName(name, path)}: cannot lock file because ${who}`);
    } else {
      vlog('lockfile').warn(`${file}: failed to open lock file: ${errorText(error)}`);
      vlog('lockfile').warn(`${file}: failed to lock file: ${errorText(error)}`);
    }
    throw ioError(`${name}: failed to lock lockfile`, error);
  }
}

export type OpenMode = 'read' | 'write' | 'create';

export class OvsdbLog {
  /** As the user named it, for messages. */
  readonly name: string;
  readonly path: string;
  private fd: number;
  private lock: Disposable | null;
  private reader: LogReader | null;
  /** End of the last good record. */
  private end = 0;
  /** Size when last rewritten whole, which automatic compaction measures growth from. */
  private snapshotBytes = 0;
  /** Counts replacements of the whole content. */
  private contentSerial = 0;
  private syncing = false;
  private waiters: ((error: OvsdbError | null) => void)[] = [];
  private warnedOfWrite = false;
  /** There may be something useless behind `end`. */
  private hasTail = true;

  private constructor(name: string, path: string, fd: number, lock: Disposable | null, reader: LogReader | null) {
    this.name = name;
    this.path = path;
    this.fd = fd;
    this.lock = lock;
    this.reader = reader;
  }

  /** Throws `OvsdbError`. */
  static open(name: string, mode: OpenMode): OvsdbLog {
    const path = followLinks(resolve(name));
    const lock = mode === 'read' ? null : takeLock(name, path);
    let fd = -1;
    try {
      const flags = {
        read: constants.O_RDONLY,
        write: constants.O_RDWR,
        create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
      };
      try {
        fd = openSync(path, flags[mode], 0o660);
      } catch (error) {
        throw ioError(`${name}: ${mode === 'create' ? 'create' : 'open'} failed`, error);
      }
      const reader = mode === 'create' ? null : new LogReader(name, fileSource(name, fd));
      return new OvsdbLog(name, path, fd, lock, reader);
    } catch (error) {
      if (fd >= 0) closeSync(fd);
      lock?.[Symbol.dispose]();
      throw error;
    }
  }

  get magic(): string {
    return this.reader?.magic ?? 'JSON';
  }

  /** Bytes of good records. */
  get size(): number {
    return this.end;
  }

  /** Next record, null at the end; throws `OvsdbError` at damage, before which everything was good. */
  read(): LogRecord | null {
    if (this.reader === null) return null;
    const record = this.reader.next();
    this.end = this.reader.goodEnd;
    return record;
  }

  /** For who reads records otherwise, and then says `accept`. Null when reading is over. */
  get records(): LogReader | null {
    return this.reader;
  }

  accept(place: RecordPlace): void {
    this.end = place.end;
    if (this.reader !== null) this.reader.goodEnd = place.end;
  }

  /** Takes back the last `read`: that record proved useless, and the next append replaces it. */
  unread(record: LogRecord): void {
    this.end = record.offset;
  }

  /** Ends reading: from now on `append` writes behind the last good record. */
  markSnapshot(): void {
    this.reader = null;
    this.snapshotBytes = this.end;
  }

  /** Throws `OvsdbError` and leaves the file as it was. */
  append(json: JsonObject): void {
    const batch = new RecordBatch();
    batch.add(stringifyJson(json));
    const { error } = this.appendBatch(batch);
    if (error !== null) throw error;
  }

  /** Says how many of the records are in the file now, and what kept the others out; nothing of those is in it. */
  appendBatch(batch: RecordBatch): { written: number; error: OvsdbError | null } {
    this.reader = null;
    const { bytes } = batch;
    let at = 0;
    try {
      if (this.hasTail) ftruncateSync(this.fd, this.end);
      this.hasTail = false;
      while (at < bytes.length) at += writeSync(this.fd, bytes, at, bytes.length - at, this.end + at);
    } catch (error) {
      const written = batch.countWithin(at);
      this.end += batch.endOf(written);
      this.undo();
      if (!this.warnedOfWrite) log.warn(`${this.path}: write failed (${errorText(error)})`);
      this.warnedOfWrite = true;
      return { written, error: ioError(`${this.name}: write failed`, error) };
    }
    this.warnedOfWrite = false;
    this.end += bytes.length;
    return { written: batch.count, error: null };
  }

  private undo(): void {
    try {
      ftruncateSync(this.fd, this.end);
    } catch (error) {
      this.hasTail = true;
      log.warn(`${this.path}: truncate to ${this.end} bytes failed (${errorText(error)})`);
    }
  }

  /** Calls back when everything appended so far is on the disk, or with the reason why it may not be. */
  sync(done: (error: OvsdbError | null) => void): void {
    this.waiters.push(done);
    if (!this.syncing) this.startSync();
  }

  private startSync(): void {
    const waiters = this.waiters;
    this.waiters = [];
    this.syncing = true;
    fdatasync(this.fd, (error) => {
      this.syncing = false;
      for (const done of waiters) done(error ? ioError(`${this.name}: fsync failed`, error) : null);
      if (this.waiters.length > 0) this.startSync();
      else this.afterSync?.();
    });
  }

  private afterSync: (() => void) | null = null;

  /** The file has doubled since it was last written whole, and is not small (the original's rule). */
  get hasGrown(): boolean {
    return this.end >= 10 * 1024 * 1024 && this.end / 2 >= this.snapshotBytes;
  }

  /** Puts other records in the place of all. Throws `OvsdbError`, and then nothing has changed. */
  replace(records: Iterable<JsonObject>): void {
    const temporary = `${this.path}.tmp`;
    const tmpLock = locker?.(lockPath(temporary)) ?? null;
    let fd = -1;
    try {
      fd = openSync(temporary, 'w+', fstatSync(this.fd).mode & 0o777);
      let end = 0;
      for (const record of records) {
        const bytes = encodeRecord(record);
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, end + at);
        end += bytes.length;
      }
      fsyncSync(fd);
      renameSync(temporary, this.path);
      syncDirectory(dirname(this.path));
      this.closeFd();
      this.fd = fd;
      this.contentSerial++;
      this.reader = null;
      this.hasTail = false;
      this.end = end;
      this.snapshotBytes = end;
    } catch (error) {
      if (fd >= 0) {
        closeSync(fd);
        unlinkQuietly(temporary);
      }
      throw error instanceof OvsdbError ? error : ioError(`${this.name}: replace failed`, error);
    } finally {
      tmpLock?.[Symbol.dispose]();
      if (tmpLock !== null) unlinkQuietly(lockPath(temporary));
    }
  }

  /**
   * Puts a schema and one record, given as pieces of its text, in the place of everything up to now, while records go on being appended.
   * Rejects with `OvsdbError`, and then nothing has changed.
   */
  rewrite(schema: JsonObject, texts: Iterable<string>): Promise<void> {
    const from = this.end;
    const serial = this.contentSerial;
    return this.writeAnew('.compact.tmp', schema, texts, async (rewrite) => {
      const snapshotBytes = rewrite.end;
      const overtaken = () => this.fd < 0 || this.contentSerial !== serial;
      // The old descriptor may be closed while we wait for the disk.
      if (overtaken()) return;
      const copied = await rewrite.copyMost(this.fd, from, () => (overtaken() ? 0 : this.end));
      if (overtaken()) return;
      rewrite.finish(this.fd, copied, this.end, this.path);
      this.adopt(rewrite, snapshotBytes);
    });
  }

  /**
   * The same with records that take the place of whatever was appended meanwhile: `last` gives them, at once before it is done, and
   * `replaced` is called at once behind.
   */
  replaceSliced(
    schema: JsonObject,
    texts: Iterable<string>,
    last: () => RecordBatch,
    replaced: () => void,
  ): Promise<void> {
    return this.writeAnew('.tmp', schema, texts, async (rewrite) => {
      if (this.fd < 0) throw new OvsdbError('ovsdb error', `${this.name}: closed`);
      const snapshotBytes = rewrite.end;
      rewrite.finishWith(last().bytes, this.path);
      this.adopt(rewrite, snapshotBytes);
      replaced();
    });
  }

  private async writeAnew(
    suffix: string,
    schema: JsonObject,
    texts: Iterable<string>,
    finish: (rewrite: Rewrite) => Promise<void>,
  ): Promise<void> {
    const temporary = `${this.path}${suffix}`;
    const tmpLock = locker?.(lockPath(temporary)) ?? null;
    try {
      using rewrite = new Rewrite(temporary, fstatSync(this.fd).mode & 0o777);
      await rewrite.writeSnapshot(schema, texts);
      await finish(rewrite);
    } catch (error) {
      throw error instanceof OvsdbError ? error : ioError(`${this.name}: replace failed`, error);
    } finally {
      tmpLock?.[Symbol.dispose]();
      if (tmpLock !== null) unlinkQuietly(lockPath(temporary));
    }
  }

  /** The file that took the place of ours is ours. */
  private adopt(rewrite: Rewrite, snapshotBytes: number): void {
    syncDirectory(dirname(this.path));
    this.closeFd();
    this.fd = rewrite.fd;
    this.contentSerial++;
    this.reader = null;
    this.hasTail = false;
    this.end = rewrite.end;
    this.snapshotBytes = snapshotBytes;
  }

  // A descriptor that is being synced stays open until that is done; what was to be synced is in the new file too.
  private closeFd(): void {
    const { fd } = this;
    if (!this.syncing) closeSync(fd);
    else this.afterSync = () => closeSync(fd);
  }

  close(): void {
    if (this.fd < 0) return;
    this.closeFd();
    this.fd = -1;
    this.lock?.[Symbol.dispose]();
    this.lock = null;
  }
}

function fileSource(name: string, fd: number): ByteSource {
  const fail = (error: unknown) => ioError(`${name}: read failed`, error);
  let size: number;
  try {
    const status = fstatSync(fd);
    // What is no ordinary file has no size of its own.
    if (!status.isFile()) return bytesSource(readFileSync(fd));
    size = status.size;
  } catch (error) {
    throw fail(error);
  }
  const read = (into: Uint8Array, position: number) => {
    const wanted = Math.min(into.length, size - position);
    let done = 0;
    try {
      while (done < wanted) {
        const n = readSync(fd, into, done, wanted - done, position + done);
        if (n === 0) break;
        done += n;
      }
    } catch (error) {
      throw fail(error);
    }
    return done;
  };
  return { size, read };
}

function syncDirectory(path: string): void {
  let fd = -1;
  try {
    fd = openSync(path, 'r');
    fsyncSync(fd);
  } catch (error) {
    if (errorCode(error) !== 'EINVAL') log.warn(`${path}: fsync failed (${errorText(error)})`);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was only temporary.
  }
}
