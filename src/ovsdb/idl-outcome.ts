/** What has become of a client's transaction. */
import { coverage } from '../base/coverage.ts';
import type { Row } from './idl-replica.ts';
import type { Uuid } from './types.ts';

export type CommitStatus = 'success' | 'unchanged' | 'try again' | 'aborted' | 'not locked' | 'error';

export interface CommitResult {
  readonly status: CommitStatus;
  /** The server's error as JSON text, for `error`. */
  readonly error?: string;
  /** The value after `increment()`. */
  readonly incremented?: number | bigint;
  /** The UUID the server gave to a row of `insert()`. */
  insertedUuid(row: Row): Uuid | null;
}

export function outcome(status: CommitStatus): CommitResult {
  coverage(`txn_${status.replaceAll(' ', '_')}`).inc();
  return { status, insertedUuid: () => null };
}
