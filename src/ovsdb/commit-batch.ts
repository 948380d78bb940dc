/**
 * Group commit: transactions of one turn of the event loop, whoever sent them, go to the file in one write.
 *
 * A transaction of a batch is part of the database in memory at once, so that the next can build on it, but nobody hears of it before it is
 * written: neither its client nor a monitor. So it can still be taken back. When only a part of a batch could be written, those records
 * that are whole stay; the transactions behind them are undone, last first; the first of these is refused, with the reason; and those after it, which
 * may have seen what is no more, are carried out again, each with a write of its own.
 */
import type { Changes, Database, TableChanges } from './database.ts';
import type { OvsdbError } from './error.ts';
import { changesToText } from './file.ts';
import type { OvsdbLog } from './log.ts';
import { RecordBatch } from './log-format.ts';
import type { Transaction } from './transaction.ts';

/** A request that is answered when the batch is written. */
export interface Submission {
  /** Null for one that only read; it is in the batch because what it read is. */
  readonly txn: Transaction | null;
  /** It is written; or it is not, and why. */
  done(error: OvsdbError | null): void;
  /** It was taken back because of another that was refused for this reason: carry it out again. */
  redo(reason: OvsdbError): void;
}

/** So many bytes or requests are written without waiting for more. */
const FULL_BYTES = 64 * 1024;
const FULL_REQUESTS = 256;

export interface BatchOutcome {
  /** Written, in order. */
  readonly good: readonly Submission[];
  /** Not written. */
  readonly refused: Submission | null;
  /** Taken back because of the refused one. */
  readonly undone: readonly Submission[];
  readonly error: OvsdbError | null;
}

export class CommitBatch {
  private submissions: Submission[] = [];
  /** Of each submission, the number of records in the batch behind it. */
  private recordCounts: number[] = [];
  private readonly records = new RecordBatch();
  private readonly log: OvsdbLog | null;

  /** Without a log nothing is written, and all is well at once. */
  constructor(log: OvsdbLog | null) {
    this.log = log;
  }

  get isEmpty(): boolean {
    return this.submissions.length === 0;
  }

  get isFull(): boolean {
    return this.submissions.length >= FULL_REQUESTS || this.records.size >= FULL_BYTES;
  }

  /** Applies the transaction to the database and remembers to write it. */
  add(db: Database, submission: Submission, dateMs: number): void {
    const { txn } = submission;
    if (txn !== null && txn.changes.size > 0) {
      const text = this.log === null ? null : changesToText(txn.changes, txn.comments, dateMs);
      if (text !== null) this.records.add(text);
      db.applyChanges(txn.changes);
    }
    this.submissions.push(submission);
    this.recordCounts.push(this.records.count);
  }

  /** Writes what there is; the batch is empty afterwards. */
  write(db: Database): BatchOutcome {
    const { log, submissions, recordCounts, records } = this;
    this.submissions = [];
    this.recordCounts = [];
    if (log === null || records.count === 0) return { good: submissions, refused: null, undone: [], error: null };
    const { written, error } = log.appendBatch(records);
    const total = records.count;
    records.clear();
    if (error === null || written === total) return { good: submissions, refused: null, undone: [], error: null };
    const first = recordCounts.findIndex((count) => count > written);
    for (let i = submissions.length - 1; i >= first; i--) {
      const changes = submissions[i]!.txn?.changes;
      if (changes !== undefined) db.applyChanges(inverse(changes));
    }
    return {
      good: submissions.slice(0, first),
      refused: submissions[first]!,
      undone: submissions.slice(first + 1),
      error,
    };
  }
}

function inverse(changes: Changes): Changes {
  const back: Changes = new Map();
  for (const [table, rows] of changes) {
    const rowsBack: TableChanges = new Map();
    for (const [uuid, { old, new: now }] of rows) rowsBack.set(uuid, { old: now, new: old });
    back.set(table, rowsBack);
  }
  return back;
}
