/**
 * The operations of `transact` (RFC 7047 5.2), each read and carried out in turn, and the array of results that the client gets.
 */
import { atomFromJson, newUuid, parseUuid, type Uuid, ZERO_UUID } from './atom.ts';
import { type Condition, conditionFromJson, findColumn, matchesAll, uuidOfCondition } from './condition.ts';
import { columnKey, type Database, datumKey, type Table } from './database.ts';
import type { Datum } from './datum.ts';
import { OvsdbError, syntaxError } from './error.ts';
import { checkIntegrity } from './integrity.ts';
import { type Json, type JsonObject, stringifyJson } from './json.ts';
import { applyMutation, mutationsFromJson } from './mutation.ts';
import { ObjectParser } from './parser.ts';
import { type Client, Rbac } from './rbac.ts';
import { columnsFromJson, defaultData, type Row, rowToJson, withColumns } from './row.ts';
import type { ColumnSchema } from './schema.ts';
import { Transaction } from './transaction.ts';

export interface ExecuteContext {
  /** Whether the client owns the lock (`assert`). */
  ownsLock(name: string): boolean;
  readOnly?: boolean;
  /** The database is the server's own. */
  reserved?: boolean;
  /** On whose behalf; rules of the database may apply to it. */
  client?: Client;
  /** Takes what a select of many rows has found, whose place among the results then has nothing to say. */
  onLargeSelect?: (index: number, select: LargeSelect) => void;
  /** Milliseconds since the request arrived. */
  elapsedMs?: number;
}

/** The result of a `select` of many rows, which never change, so that it can be put into text later. */
export interface LargeSelect {
  readonly rows: readonly Row[];
  readonly toJson: (row: Row) => JsonObject;
}

const LARGE_ROWS = 300;

export type ExecuteResult =
  /** `txn` is set when there is something to commit, already checked. */
  | { readonly kind: 'done'; readonly results: Json[]; readonly txn: Transaction | null }
  /** A `wait` that may yet come true: try again after a commit, at the latest in so many milliseconds. */
  | { readonly kind: 'wait'; readonly timeoutMs: number };

class WaitPending {
  readonly timeoutMs: number;
  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs;
  }
}

/**
 * Carries out `params` of a `transact` request, the database's name in front. Never throws: what is wrong with the request is in
 * the results, or is the `OvsdbError` of the whole.
 */
export function executeTransaction(db: Database, params: Json, context: ExecuteContext): ExecuteResult | OvsdbError {
  if (!Array.isArray(params) || params[0] !== db.name) {
    return syntaxError(params, 'database name expected as first parameter');
  }
  const txn = new Transaction(db);
  const names: Names = { byName: null };
  const results: Json[] = [];
  const n = params.length - 1;
  let error: OvsdbError | null = null;
  for (let i = 1; i <= n && error === null; i++) {
    try {
      results.push(new Operation(txn, names, context, params[i]!, new Ordinal(i, n)).run());
    } catch (thrown) {
      if (thrown instanceof WaitPending) return { kind: 'wait', timeoutMs: thrown.timeoutMs };
      if (!(thrown instanceof OvsdbError)) throw thrown;
      error = thrown;
      results.push(error.toJson());
    }
  }
  if (error !== null) {
    while (results.length < n) results.push(null);
    return { kind: 'done', results, txn: null };
  }
  try {
    checkIntegrity(txn);
  } catch (thrown) {
    if (!(thrown instanceof OvsdbError)) throw thrown;
    results.push(thrown.toJson());
    return { kind: 'done', results, txn: null };
  }
  return { kind: 'done', results, txn };
}

interface NamedRow {
  readonly uuid: Uuid;
  readonly isRow: boolean;
}

/** The names that rows have in this transaction; most transactions have none. */
interface Names {
  byName: Map<string, NamedRow> | null;
}

/** Which operation of how many it is. */
class Ordinal {
  readonly i: number;
  private readonly n: number;

  constructor(i: number, n: number) {
    this.i = i;
    this.n = n;
  }

  toString(): string {
    return `ovsdb operation ${this.i} of ${this.n}`;
  }
}

class Operation {
  private readonly txn: Transaction;
  private readonly names: Names;
  private readonly context: ExecuteContext;
  private readonly p: ObjectParser;
  /** Counts from 1. */
  private readonly ordinal: number;

  constructor(txn: Transaction, names: Names, context: ExecuteContext, json: Json, what: Ordinal) {
    this.txn = txn;
    this.names = names;
    this.context = context;
    this.p = new ObjectParser(json, what);
    this.ordinal = what.i;
  }

  run(): JsonObject {
    const op = this.p.required('op', 'id');
    switch (op) {
      case 'insert':
        return this.insert();
      case 'select':
        return this.select();
      case 'update':
        return this.update();
      case 'mutate':
        return this.mutate();
      case 'delete':
        return this.delete();
      case 'wait':
        return this.wait();
      case 'commit':
        return this.commit();
      case 'abort':
        this.p.finish();
        throw new OvsdbError('aborted', 'aborted by request');
      case 'comment':
        return this.comment();
      case 'assert':
        return this.assert();
    }
    throw this.p.error(`No operation "${op}"`);
  }

  private readonly named = (name: string): Uuid => {
    this.names.byName ??= new Map();
    let symbol = this.names.byName.get(name);
    if (symbol === undefined) this.names.byName.set(name, (symbol = { uuid: newUuid(), isRow: false }));
    return symbol.uuid;
  };

  private get rbac(): Rbac | null {
    return Rbac.of(this.txn.db, this.context.client);
  }

  private table(): Table {
    const name = this.p.required('table', 'id') as string;
    const table = this.txn.db.tables.get(name);
    if (table === undefined) throw this.p.error(`No table named ${name}.`);
    return table;
  }

  private checkWritable(): void {
    const op = this.p.json['op'];
    if (this.context.reserved) {
      const details = `${op} operation not allowed on table in reserved database ${this.txn.db.name}`;
      throw new OvsdbError('not allowed', details);
    }
    if (this.context.readOnly) {
      throw new OvsdbError('not allowed', `${op} operation not allowed when database server is in read only mode`);
    }
  }

  private where(table: Table): Condition {
    return conditionFromJson(table.schema, this.p.json['where'] as Json[], this.named);
  }

  private insert(): JsonObject {
    const table = this.table();
    const uuidText = this.p.optional('uuid', 'string') as string | undefined;
    const name = this.p.optional('uuid-name', 'id') as string | undefined;
    const rowJson = this.p.required('row', 'object');
    this.p.finish();

    let uuid: Uuid | null = null;
    if (uuidText !== undefined) {
      uuid = parseUuid(uuidText);
      if (uuid === null) throw syntaxError(uuidText, 'bad uuid');
      if (this.txn.isTaken(table, uuid)) {
        throw syntaxError(
          uuidText,
          'This UUID would duplicate a UUID already present within the table or deleted within the same transaction.',
          'duplicate uuid',
        );
      }
    }
    if (name !== undefined) uuid = this.nameRow(name, uuid);
    const values = columnsFromJson(table.schema, rowJson, this.named);
    this.checkWritable();
    const row = this.txn.insert(table, uuid ?? newUuid(), withColumns(defaultData(table.schema), values));
    this.rbac?.insert(table, row);
    return { uuid: ['uuid', row.uuid] };
  }

  private nameRow(name: string, uuid: Uuid | null): Uuid {
    this.names.byName ??= new Map();
    const symbol = this.names.byName.get(name);
    if (symbol?.isRow) {
      throw syntaxError(name, 'This "uuid-name" appeared on an earlier "insert" operation.', 'duplicate uuid-name');
    }
    const id = uuid ?? symbol?.uuid ?? newUuid();
    this.names.byName.set(name, { uuid: id, isRow: true });
    return id;
  }

  private columns(table: Table): (ColumnSchema | '_uuid' | '_version')[] {
    const json = this.p.json['columns'] as Json[] | undefined;
    if (json === undefined) return ['_uuid', '_version', ...table.schema.columns];
    const seen = new Set<Json>();
    return json.map((name) => {
      if (typeof name !== 'string' || seen.has(name))
        throw syntaxError(json, 'array of distinct column names expected');
      seen.add(name);
      const column = findColumn(table.schema, name);
      if (column === undefined) throw syntaxError(json, `${name} is not a valid column name`);
      return column;
    });
  }

  private select(): JsonObject {
    const table = this.table();
    this.p.required('where', 'array');
    this.p.optional('columns', 'array');
    this.p.finish();
    const condition = this.where(table);
    const columns = this.columns(table);
    const real = columns.filter((column) => typeof column !== 'string');
    const hasUuid = columns.includes('_uuid');
    const toJson = (row: Row) => {
      const json = rowToJson(row, real);
      if (hasUuid) json['_uuid'] = ['uuid', row.uuid];
      if (columns.includes('_version')) json['_version'] = ['uuid', row.version];
      return json;
    };
    const rows = [...this.matching(table, condition)];
    if (hasUuid && rows.length > LARGE_ROWS && this.context.onLargeSelect) {
      this.context.onLargeSelect(this.ordinal - 1, { rows, toJson });
      return {};
    }
    const json = rows.map(toJson);
    return { rows: hasUuid ? json : distinct(json) };
  }

  private *matching(table: Table, condition: Condition): Iterable<Row> {
    const uuid = uuidOfCondition(condition) ?? this.indexed(table, condition);
    if (uuid === undefined) {
      for (const row of this.txn.rows(table)) if (matchesAll(condition, row)) yield row;
      return;
    }
    const row = this.txn.get(table, uuid);
    if (row !== undefined && matchesAll(condition, row)) yield row;
  }

  /** The only candidate for `column == value` on a column that is an index of its own, in a table not yet touched. */
  private indexed(table: Table, condition: Condition): Uuid | undefined {
    if (this.txn.changes.has(table)) return undefined;
    for (const clause of condition) {
      if (typeof clause === 'boolean' || clause.function !== '==') continue;
      const { indexes } = table.schema;
      for (let i = 0; i < indexes.length; i++) {
        const [column] = indexes[i]!;
        if (indexes[i]!.length !== 1 || column !== clause.column) continue;
        return table.indexes[i]!.get(columnKey(column!, clause.argument)) ?? '';
      }
    }
    return undefined;
  }

  private update(): JsonObject {
    const table = this.table();
    this.p.required('where', 'array');
    const rowJson = this.p.required('row', 'object');
    this.p.finish();
    this.checkWritable();
    const values = columnsFromJson(table.schema, rowJson, this.named);
    for (const name in rowJson as JsonObject) {
      if (table.schema.columnByName.get(name)?.mutable) continue;
      const details = `Cannot update immutable column ${name} in table ${table.schema.name}.`;
      throw syntaxError(this.p.json, details, 'constraint violation');
    }
    const condition = this.where(table);
    this.rbac?.update(table, values.keys(), this.matching(table, condition));
    return this.each(table, condition, (row) => this.txn.update(table, row, values));
  }

  private mutate(): JsonObject {
    const table = this.table();
    this.p.required('where', 'array');
    const mutationsJson = this.p.required('mutations', 'array') as Json[];
    this.p.finish();
    this.checkWritable();
    const mutations = mutationsFromJson(table.schema, mutationsJson, this.named);
    const condition = this.where(table);
    const columns = mutations.map(({ column }) => column);
    this.rbac?.mutate(table, columns, this.matching(table, condition));
    return this.each(table, condition, (row) => {
      const values = new Map<ColumnSchema, Datum>();
      for (const mutation of mutations) {
        const { column } = mutation;
        values.set(column, applyMutation(mutation, values.get(column) ?? row.data[column.index]!));
      }
      this.txn.update(table, row, values);
    });
  }

  private delete(): JsonObject {
    this.p.required('where', 'array');
    const table = this.table();
    this.p.finish();
    this.checkWritable();
    const condition = this.where(table);
    this.rbac?.delete(table, this.matching(table, condition));
    return this.each(table, condition, (row) => this.txn.delete(table, row));
  }

  private each(table: Table, condition: Condition, act: (row: Row) => void): JsonObject {
    let count = 0;
    for (const row of [...this.matching(table, condition)]) {
      act(row);
      count++;
    }
    return { count };
  }

  private wait(): JsonObject {
    const table = this.table();
    const timeoutJson = this.p.optional('timeout', 'integer');
    const timeout = timeoutJson === undefined ? undefined : Number(timeoutJson);
    this.p.required('where', 'array');
    this.p.optional('columns', 'array');
    const until = this.p.required('until', 'string');
    const rowsJson = this.p.required('rows', 'array') as Json[];
    this.p.finish();
    const condition = this.where(table);
    const columns = this.columns(table);
    if (until !== '==' && until !== '!=') throw syntaxError(until, '"until" must be "==" or "!="');
    if (timeout !== undefined && timeout < 0) throw syntaxError(timeout, 'timeout must be nonnegative');

    // Without `columns` the special ones count too: a row that does not name them has zeros there.
    const key = (row: Row) =>
      columns
        .map((c) => (c === '_uuid' ? row.uuid : c === '_version' ? row.version : datumKey(row.data[c.index]!)))
        .join('\u0000');
    const expected = new Set<string>();
    for (const rowJson of rowsJson) {
      const values = columnsFromJson(table.schema, rowJson, this.named);
      const special = (name: string) => {
        const json = (rowJson as JsonObject)[name];
        return json === undefined ? ZERO_UUID : (atomFromJson('uuid', json, this.named) as Uuid);
      };
      const data = withColumns(defaultData(table.schema), values);
      expected.add(key({ uuid: special('_uuid'), version: special('_version'), data }));
    }
    const actual = new Set<string>();
    for (const row of this.matching(table, condition)) actual.add(key(row));

    const equal = actual.size === expected.size && [...actual].every((k) => expected.has(k));
    if (equal === (until === '==')) return {};
    const elapsed = this.context.elapsedMs ?? 0;
    if (timeout !== undefined && elapsed >= timeout) {
      throw new OvsdbError(
        'timed out',
        elapsed > 0 ? `"wait" timed out after ${elapsed} ms` : '"where" clause test failed',
      );
    }
    throw new WaitPending(timeout === undefined ? Number.POSITIVE_INFINITY : timeout - elapsed);
  }

  private commit(): JsonObject {
    const durable = this.p.required('durable', 'boolean');
    this.p.finish();
    if (durable) this.txn.durable = true;
    return {};
  }

  private comment(): JsonObject {
    const text = this.p.required('comment', 'string') as string;
    this.p.finish();
    this.txn.comments.push(text);
    return {};
  }

  private assert(): JsonObject {
    const lock = this.p.required('lock', 'id') as string;
    this.p.finish();
    if (!this.context.ownsLock(lock)) throw new OvsdbError('not owner', `Asserted lock ${lock} not held.`);
    return {};
  }
}

/** As the original, a selection without rows' identifiers has each combination of values once. */
function distinct(rows: Json[]): Json[] {
  return rows.length < 2 ? rows : [...new Map(rows.map((row) => [stringifyJson(row), row])).values()];
}
