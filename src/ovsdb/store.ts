/**
 * A database that is served: rows in memory, their file, the views that follow it, and the transactions that wait for it to change.
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import type { Uuid } from './atom.ts';
import { CommitBatch, type Submission } from './commit-batch.ts';
import { Conversion } from './convert.ts';
import type { Changes, Database } from './database.ts';
import { OvsdbError } from './error.ts';
import { changesToText, databaseTexts } from './file.ts';
import { checkIntegrity } from './integrity.ts';
import { stringifyJson } from './json.ts';
import type { OvsdbLog } from './log.ts';
import { RecordBatch } from './log-format.ts';
import type { MonitorView } from './monitor.ts';
import type { Relay } from './relay.ts';
import { type DatabaseSchema, schemaToJson } from './schema.ts';
import { Slicer, slicedBytes } from './slices.ts';
import type { Transaction } from './transaction.ts';
import { Updates } from './updates.ts';

const log = vlog('ovsdb_server');

/** Automatic compaction happens no more often, unless the file grows at a rate that will not wait. */
const COMPACT_MIN_MS = 10 * 60 * 1000;

/** Large initial contents are kept so long for the next client that wants the same, if nothing changes. */
const INITIAL_KEPT_MS = 2000;

export interface Follower {
  onUpdates(updates: Updates): void;
}

interface Initial {
  readonly bytes: Promise<readonly Uint8Array[]>;
  readonly forget: Disposable;
}

interface SharedView {
  readonly view: MonitorView;
  readonly followers: Set<Follower>;
}

export class Store {
  db: Database;
  readonly log: OvsdbLog | null;
  /** As the server was told to open it. */
  readonly fileName: string | null;
  /** What it follows, if it is a relay. */
  readonly relay: Relay | null;
  /** A relay that has not yet seen its source has nothing to serve. */
  available = true;
  private readonly views = new Map<string, SharedView>();
  private readonly waiting = new Set<() => void>();
  private readonly observers = new Set<(changes: Changes) => void>();
  private compacting: Promise<void> | null = null;
  private converting: Promise<void> = Promise.resolve();
  private readonly initials = new Map<string, Initial>();
  private wakeScheduled = false;
  private compactedMs = clock.nowMs();
  private readonly batch: CommitBatch;
  private flushing: NodeJS.Immediate | null = null;
  /** Commits that the views have not heard of. */
  private readonly published: Changes[] = [];
  private publishing = false;
  private redoing = false;
  private knownSchema: { readonly schema: DatabaseSchema; readonly text: string } | null = null;
  commits = 0;

  constructor(db: Database, file: OvsdbLog | null, relay: Relay | null = null) {
    this.db = db;
    this.relay = relay;
    this.log = file;
    this.batch = new CommitBatch(file);
    this.fileName = file?.name ?? null;
  }

  get name(): string {
    return this.db.name;
  }

  /**
   * Makes a checked transaction part of the database now. Throws `OvsdbError` when it cannot be written, and then nothing has changed.
   */
  commit(txn: Transaction): void {
    const failures: OvsdbError[] = [];
    const done = (error: OvsdbError | null) => {
      if (error !== null) failures.push(error);
    };
    this.add({ txn, done, redo: done });
    this.flush();
    if (failures.length > 0) throw failures[0];
  }

  /** Makes a checked transaction part of the database together with those of others; or waits for theirs with one that only read. */
  submit(submission: Submission): void {
    this.add(submission);
    if (this.log === null || this.redoing || this.batch.isFull) this.flush();
    else this.flushing ??= setImmediate(() => this.flush());
  }

  private add(submission: Submission): void {
    const { txn } = submission;
    if (txn !== null && txn.changes.size > 0) this.forgetInitials();
    this.batch.add(this.db, submission, clock.wallMs());
  }

  /** Whether what is there to read is not yet written. */
  get hasUnwritten(): boolean {
    return !this.batch.isEmpty;
  }

  /** Writes what was submitted, tells the views, and answers. Whoever looks at the database otherwise than by a transaction calls this first. */
  flush(): void {
    if (this.flushing !== null) clearImmediate(this.flushing);
    this.flushing = null;
    if (this.batch.isEmpty) return;
    const { good, refused, undone, error } = this.batch.write(this.db);
    for (const submission of good) {
      const { txn } = submission;
      if (txn !== null && txn.changes.size > 0) {
        this.commits++;
        this.published.push(txn.changes);
      }
    }
    this.publish();
    for (const submission of good) submission.done(null);
    if (refused !== null) this.refuse(refused, undone, error!);
    this.compactIfGrown();
  }

  private refuse(refused: Submission, undone: readonly Submission[], error: OvsdbError): void {
    log.rl(5).err(error.message);
    this.forgetInitials();
    refused.done(error);
    // Transactions that waited for something may have seen it come and go.
    this.wake();
    if (undone.length === 0) return;
    this.redoing = true;
    try {
      for (const submission of undone) submission.redo(error);
    } finally {
      this.redoing = false;
    }
  }

  /**
   * Commits what a source elsewhere has committed; it was found correct there, unless only a part of it came. Throws `OvsdbError`.
   */
  commitMirrored(txn: Transaction, isPart = false): void {
    if (isPart) checkIntegrity(txn);
    else txn.dropUnchanged();
    this.commit(txn);
  }

  /** Tells of commits in their order, also when one that hears of them makes another. */
  private publish(): void {
    if (this.publishing) return;
    this.publishing = true;
    try {
      while (this.published.length > 0) {
        const published = this.published.splice(0);
        for (const { view, followers } of this.views.values()) {
          const texts: string[] = [];
          for (const changes of published) {
            const updates = view.updates(changes);
            if (updates !== null) texts.push(stringifyJson(updates));
          }
          if (texts.length === 0) continue;
          const updates = new Updates(texts);
          for (const follower of followers) follower.onUpdates(updates);
        }
        for (const changes of published) for (const observer of this.observers) observer(changes);
        this.wake();
      }
    } finally {
      this.publishing = false;
    }
  }

  /** Called after each commit, in it. */
  observe(observer: (changes: Changes) => void): Disposable {
    this.observers.add(observer);
    return { [Symbol.dispose]: () => void this.observers.delete(observer) };
  }

  follow(view: MonitorView, follower: Follower): void {
    const shared = this.views.get(view.key);
    if (shared === undefined) this.views.set(view.key, { view, followers: new Set([follower]) });
    else shared.followers.add(follower);
  }

  unfollow(view: MonitorView, follower: Follower): void {
    const shared = this.views.get(view.key);
    if (shared?.followers.delete(follower) && shared.followers.size === 0) this.views.delete(view.key);
  }

  /**
   * What a view shows now, as the bytes of `<table-updates>`, made in slices; clients that ask for the same before anything changes share
   * them.
   */
  initial(view: MonitorView): Promise<readonly Uint8Array[]> {
    const key = `${view.version} ${view.key}`;
    let initial = this.initials.get(key);
    if (initial === undefined) {
      const bytes = slicedBytes(view.initialTexts());
      initial = {
        bytes,
        forget: clock.setTimeout(() => this.forgetInitial(key), INITIAL_KEPT_MS, { keepAlive: false }),
      };
      this.initials.set(key, initial);
    }
    return initial.bytes;
  }

  private forgetInitial(key: string): void {
    this.initials.get(key)?.forget[Symbol.dispose]();
    this.initials.delete(key);
  }

  private forgetInitials(): void {
    for (const key of [...this.initials.keys()]) this.forgetInitial(key);
  }

  get viewCount(): number {
    return this.views.size;
  }

  /** `retry` is called after commits, later than they; it is forgotten by the disposable. */
  await(retry: () => void): Disposable {
    this.waiting.add(retry);
    return { [Symbol.dispose]: () => void this.waiting.delete(retry) };
  }

  private wake(): void {
    if (this.wakeScheduled || this.waiting.size === 0) return;
    this.wakeScheduled = true;
    queueMicrotask(() => {
      this.wakeScheduled = false;
      for (const retry of [...this.waiting]) if (this.waiting.has(retry)) retry();
    });
  }

  private compactIfGrown(): void {
    if (!this.log?.hasGrown || clock.nowMs() - this.compactedMs < COMPACT_MIN_MS) return;
    log.info(`compacting ${this.name} database after ${this.log.size} bytes`);
    this.compact().catch((error: unknown) => {
      if (!(error instanceof OvsdbError)) throw error;
      log.warn(`compacting ${this.name} database failed (${error.message}); will retry`);
    });
  }

  /** Rewrites the file to hold just what there is, while everything goes on. Rejects with `OvsdbError`. */
  compact(): Promise<void> {
    this.compactedMs = clock.nowMs();
    if (this.log === null) return Promise.resolve();
    this.flush();
    const texts = databaseTexts(this.db, 'compacting database online', clock.wallMs());
    // The first piece takes the snapshot, now.
    const first = texts.next().value as string;
    this.compacting ??= this.log.rewrite(schemaToJson(this.schema), chain(first, texts)).finally(() => {
      this.compacting = null;
    });
    return this.compacting;
  }

  /** Moves to another schema, while everything goes on; one conversion after the other. Rejects with `OvsdbError`. */
  convert(schema: DatabaseSchema): Promise<void> {
    this.converting = this.converting.catch(() => {}).then(() => this.convertNow(schema));
    return this.converting;
  }

  private async convertNow(schema: DatabaseSchema, isSecond = false): Promise<void> {
    this.flush();
    const conversion = new Conversion(this.db, schema);
    const touched = new Map<string, Set<Uuid>>();
    const observing = this.observe((changes) => noteTouched(touched, changes));
    try {
      const slicer = new Slicer();
      for (const _ of conversion.steps()) await slicer.turn();
      const texts = databaseTexts(conversion.to, CONVERTED, clock.wallMs());
      const first = texts.next().value as string;
      const last = () => {
        this.flush();
        const records = new RecordBatch();
        const text = changesToText(conversion.catchUp(touched), [CONVERTED], clock.wallMs());
        if (text !== null) records.add(text);
        return records;
      };
      const adopt = () => this.adopt(conversion.to);
      await this.log!.replaceSliced(schemaToJson(schema), chain(first, texts), last, adopt);
    } catch (error) {
      // What was garbage may not be so any more: a conversion of what there is now has the last word.
      if (!(error instanceof OvsdbError) || touched.size === 0 || isSecond) throw error;
      await this.convertNow(schema, true);
    } finally {
      observing[Symbol.dispose]();
    }
  }

  /** Goes on with another database in the place of the present one. */
  adopt(db: Database): void {
    this.db = db;
    this.forgetInitials();
    this.views.clear();
    this.wake();
  }

  get schema(): DatabaseSchema {
    return this.db.schema;
  }

  /** As JSON. */
  get schemaText(): string {
    if (this.knownSchema?.schema !== this.schema) {
      this.knownSchema = { schema: this.schema, text: stringifyJson(schemaToJson(this.schema)) };
    }
    return this.knownSchema.text;
  }

  close(): void {
    this.flush();
    this.relay?.close();
    this.log?.close();
  }
}

/** In the comments of the file. */
const CONVERTED = 'converted by ovsdb-server';

function noteTouched(touched: Map<string, Set<Uuid>>, changes: Changes): void {
  for (const [{ schema }, rows] of changes) {
    let uuids = touched.get(schema.name);
    if (uuids === undefined) touched.set(schema.name, (uuids = new Set()));
    for (const uuid of rows.keys()) uuids.add(uuid);
  }
}

function* chain(first: string, rest: Iterable<string>): Generator<string> {
  yield first;
  yield* rest;
}
