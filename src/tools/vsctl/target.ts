/**
 * Which program this is: `ovs-vsctl` and `vtep-ctl` share their command line, the database commands and the way a run goes, and differ in
 * the database and its own commands. A process is one of them, and says so before anything else.
 */
import type { TableSchema } from '../../ovsdb/schema.ts';
import type { Command } from './command.ts';

/** How a person may name a row, besides by UUID. */
export interface RecordId {
  /** Table that has `nameColumn`. */
  readonly nameTable: string;
  /** The column whose value the person types; null for the singleton `.`. */
  readonly nameColumn: string | null;
  /** The column of `nameTable` that refers to the row; null when the row itself has the name. */
  readonly via: string | null;
}

export interface Target {
  readonly program: string;
  /** Of its log. */
  readonly module: string;
  readonly schemaName: string;
  readonly schemaVersion: string;
  /** The table with at most one row, from which everything else is reached. */
  readonly rootTable: string;
  /** In byte order. */
  readonly tableNames: readonly string[];
  readonly recordIds: Readonly<Record<string, readonly RecordId[]>>;
  readonly commands: ReadonlyMap<string, Command>;
  /** Long options that this program does not have. */
  readonly lackedOptions: ReadonlySet<string>;
  /** Whether it waits for a switch to take the configuration. */
  readonly waits: boolean;
  table(name: string): TableSchema | undefined;
  help(db: string, logdir: string): string;
}

let current: Target | null = null;

export function setTarget(target: Target): void {
  current = target;
}

export function target(): Target {
  if (current === null) throw new Error('setTarget() comes first');
  return current;
}
