/**
 * A transaction of a client: changes are gathered here, seen through `get()`, and sent as one `transact` by `commit()`.
 *
 * Nothing is written to the replica: what was committed comes back as the server's update, which arrives before the
 * reply. `verify()` makes the commit depend on what was read ("wait" operations of zero timeout), so a transaction that was
 * computed from stale data ends in `try again` instead of undoing somebody else's work. Additions to sets and maps are
 * sent as mutations and need no such care.
 */
import { coverage } from '../base/coverage.ts';
import { vlog } from '../base/vlog.ts';
import { type CommitResult, outcome } from './idl-outcome.ts';
import { type ReplicaTable, Row, type RowView } from './idl-replica.ts';
import { TransactionView } from './idl-txn-view.ts';
import { emptyLike, toAtom, toDatum, unique, type Value } from './idl-values.ts';
import type { Json, JsonObject } from './json.ts';
import { isObject, jsonText } from './json.ts';
import type { ColumnSchema } from './schema.ts';
import {
  type Atom,
  type ColumnType,
  type Datum,
  datumSubtract,
  datumsEqual,
  datumToJson,
  datumUnion,
  EMPTY_SET,
  makeSet,
  newUuid,
  scalarDatum,
  type Uuid,
} from './types.ts';

const COUNT = {
  success: coverage('txn_success'),
};

const log = vlog('ovsdb_idl');

/** How a transaction reaches the server. Resolves to the reply's `result`, or to an error. */
export interface TransactPort {
  readonly database: string;
  readonly lock: string | null;
  readonly isReady: boolean;
  lookUp(table: string, uuid: Uuid): Row | undefined;
  transact(params: Json[]): Promise<{ ok: true; result: Json } | { ok: false; error: string | null }>;
}

interface RowEdit {
  isNew: boolean;
  isDeleted: boolean;
  /** Given by the caller; the server is asked to use it. */
  uuidIsFixed: boolean;
  readonly writes: Map<ColumnSchema, Datum>;
  readonly partial: Map<ColumnSchema, { add: Datum; removeKeys: Datum }>;
  readonly verify: Set<ColumnSchema>;
}

export class Transaction {
  private readonly port: TransactPort;
  private readonly edits = new Map<Row, RowEdit>();
  /** Rows of `insert()`, by table and temporary UUID. */
  private readonly inserted = new Map<Uuid, Row>();
  private readonly comments: string[] = [];
  private increments: { row: Row; column: ColumnSchema; force: boolean } | null = null;
  private finished = false;

  constructor(port: TransactPort) {
    this.port = port;
  }

  /** A row as this transaction sees it. */
  view(row: Row): RowView {
    return new TransactionView(this, row);
  }

  get(row: Row, column: string): Datum {
    const schema = row.table.column(column);
    const edit = this.edits.get(row);
    const base = row.datums[schema.index];
    if (edit === undefined) return base;
    const write = edit.writes.get(schema);
    if (write !== undefined) return write;
    const partial = edit.partial.get(schema);
    return partial === undefined ? base : datumUnion(datumSubtract(base, partial.removeKeys), partial.add, true);
  }

  /** Committed rows less those deleted here, then those inserted here. */
  *rows(table: ReplicaTable): Generator<Row> {
    for (const row of table.rows()) if (!this.isDeleted(row)) yield row;
    for (const row of this.inserted.values()) if (row.table === table && !this.isDeleted(row)) yield row;
  }

  insertedRows(): IterableIterator<Row> {
    return this.inserted.values();
  }

  isDeleted(row: Row): boolean {
    return this.edits.get(row)?.isDeleted ?? row.isDeleted;
  }

  lookUp(table: string, uuid: Uuid): Row | undefined {
    const row = this.inserted.get(uuid) ?? this.port.lookUp(table, uuid);
    return row === undefined || row.table.name !== table || this.isDeleted(row) ? undefined : row;
  }

  /** Replaces a column's value. A write of what is there already costs nothing. */
  set(row: Row, column: string, value: Value): void {
    const schema = row.table.column(column);
    const edit = this.edit(row);
    edit.partial.delete(schema);
    edit.writes.set(schema, toDatum(schema.type, value));
  }

  /** Adds elements to a set, or pairs to a map (replacing the values of keys it has). */
  add(row: Row, column: string, value: Value): void {
    this.changePartly(row, column, toDatum(row.table.column(column).type, value), EMPTY_SET);
  }

  /** Removes elements from a set or keys from a map. */
  remove(row: Row, column: string, keys: readonly (Atom | Row)[]): void {
    this.changePartly(row, column, null, makeSet(unique(keys.map(toAtom))));
  }

  private changePartly(row: Row, column: string, add: Datum | null, removeKeys: Datum): void {
    const schema = row.table.column(column);
    const edit = this.edit(row);
    const write = edit.writes.get(schema);
    if (write !== undefined || edit.isNew) {
      const less = datumSubtract(write ?? row.datums[schema.index], removeKeys);
      edit.writes.set(schema, add === null ? less : datumUnion(less, add, true));
      return;
    }
    const before = edit.partial.get(schema) ?? { add: emptyLike(schema.type), removeKeys: EMPTY_SET };
    const kept = datumSubtract(before.add, removeKeys);
    edit.partial.set(schema, {
      add: add === null ? kept : datumUnion(kept, add, true),
      removeKeys: datumUnion(add === null ? before.removeKeys : without(before.removeKeys, add), removeKeys),
    });
  }

  /** A new row. References to it may be made at once. With `uuid` the server is asked to give it that one. */
  insert(table: ReplicaTable, values: Readonly<Record<string, Value>> = {}, uuid?: Uuid): Row {
    return this.insertRow(table, values, uuid ?? newUuid(), uuid !== undefined);
  }

  /** A new row that goes by `temporary` inside this transaction, where references to it may have been made already. */
  insertNamed(table: ReplicaTable, temporary: Uuid = newUuid()): Row {
    return this.insertRow(table, {}, temporary, false);
  }

  private insertRow(
    table: ReplicaTable,
    values: Readonly<Record<string, Value>>,
    uuid: Uuid,
    uuidIsFixed: boolean,
  ): Row {
    const row = new Row(table, uuid, table.defaults);
    this.inserted.set(uuid, row);
    const edit = this.edit(row);
    edit.isNew = true;
    edit.uuidIsFixed = uuidIsFixed;
    for (const [column, value] of Object.entries(values)) this.set(row, column, value);
    return row;
  }

  delete(row: Row): void {
    const edit = this.edit(row);
    edit.isDeleted = true;
    if (edit.isNew) {
      this.inserted.delete(row.uuid);
      this.edits.delete(row);
      this.edits.set(row, { ...edit, writes: new Map(), partial: new Map() });
    }
  }

  /** The commit succeeds only if the column still has the value that the replica shows now. */
  verify(row: Row, column: string): void {
    const edit = this.edit(row);
    if (!edit.isNew) edit.verify.add(row.table.column(column));
  }

  /** Adds 1 to an integer column if anything else changes (or always, with `force`); see `CommitResult.incremented`. */
  increment(row: Row, column: string, force = false): void {
    this.increments = { row, column: row.table.column(column), force };
  }

  comment(text: string): void {
    this.comments.push(text);
  }

  abort(): void {
    this.finished = true;
  }

  /** Whether a commit would send anything that changes the database. */
  hasChanges(): boolean {
    for (const [row, edit] of this.edits) if (this.changesOf(row, edit)) return true;
    return this.increments?.force === true;
  }

  private changesOf(row: Row, edit: RowEdit): boolean {
    if (edit.isDeleted) return !edit.isNew;
    return edit.isNew || this.realWrites(row, edit).length > 0 || this.realPartial(row, edit).length > 0;
  }

  async commit(): Promise<CommitResult> {
    if (this.finished) return outcome('aborted');
    this.finished = true;
    if (!this.hasChanges()) return outcome('unchanged');
    if (!this.port.isReady) return outcome('try again');
    const built = this.build();
    const reply = await this.port.transact([this.port.database, ...built.operations]);
    if (!reply.ok) return reply.error === null ? outcome('try again') : { ...outcome('error'), error: reply.error };
    return this.conclude(reply.result, built);
  }

  private build(): { operations: Json[]; inserts: Map<Row, number>; selectAt: number } {
    const operations: Json[] = [];
    const inserts = new Map<Row, number>();
    if (this.port.lock !== null) operations.push({ op: 'assert', lock: this.port.lock });
    for (const [row, edit] of this.edits) if (edit.verify.size > 0) operations.push(this.waitOperation(row, edit));
    for (const [row, edit] of this.edits) {
      if (edit.isDeleted && !edit.isNew) operations.push({ op: 'delete', table: row.table.name, where: byUuid(row) });
    }
    for (const [row, edit] of this.edits) {
      if (edit.isDeleted) continue;
      const columns: JsonObject = {};
      const writes = this.realWrites(row, edit);
      for (const [column, datum] of writes) columns[column.name] = this.datumJson(column.type, datum);
      if (edit.isNew) {
        inserts.set(row, operations.length);
        const operation: JsonObject = { op: 'insert', table: row.table.name, row: columns };
        if (edit.uuidIsFixed) operation['uuid'] = row.uuid;
        operation['uuid-name'] = uuidName(row.uuid);
        operations.push(operation);
        continue;
      }
      if (writes.length > 0) operations.push({ op: 'update', table: row.table.name, where: byUuid(row), row: columns });
      const mutations = this.mutations(row, edit);
      if (mutations.length > 0) operations.push({ op: 'mutate', table: row.table.name, where: byUuid(row), mutations });
    }
    let selectAt = -1;
    if (this.increments !== null) {
      const { row, column } = this.increments;
      operations.push({
        op: 'mutate',
        table: row.table.name,
        where: this.where(row),
        mutations: [[column.name, '+=', 1]],
      });
      selectAt = operations.length;
      operations.push({ op: 'select', table: row.table.name, where: this.where(row), columns: [column.name] });
    }
    if (this.comments.length > 0) operations.push({ op: 'comment', comment: this.comments.join('\n') });
    return { operations, inserts, selectAt };
  }

  private where(row: Row): Json {
    return [['_uuid', '==', this.inserted.has(row.uuid) ? ['named-uuid', uuidName(row.uuid)] : ['uuid', row.uuid]]];
  }

  private waitOperation(row: Row, edit: RowEdit): Json {
    const content: JsonObject = {};
    for (const column of edit.verify) content[column.name] = datumToJson(column.type, row.datums[column.index]);
    return {
      op: 'wait',
      table: row.table.name,
      timeout: 0,
      where: byUuid(row),
      columns: [...edit.verify].map((column) => column.name),
      until: '==',
      rows: [content],
    };
  }

  /** Writes that differ from what is there (for a new row, from the default). */
  private realWrites(row: Row, edit: RowEdit): [ColumnSchema, Datum][] {
    return [...edit.writes].filter(([column, datum]) => {
      const isKnown = edit.isNew || row.table.monitored.has(column.name);
      return !isKnown || !datumsEqual(datum, row.datums[column.index]);
    });
  }

  private realPartial(row: Row, edit: RowEdit): [ColumnSchema, { add: Datum; removeKeys: Datum }][] {
    return [...edit.partial].filter(([column, { add, removeKeys }]) => {
      if (!row.table.monitored.has(column.name)) return true;
      const base = row.datums[column.index];
      return datumUnion(datumSubtract(base, removeKeys), add, true) !== base;
    });
  }

  private mutations(row: Row, edit: RowEdit): Json[] {
    const mutations: Json[] = [];
    for (const [column, { add, removeKeys }] of this.realPartial(row, edit)) {
      const keySet: ColumnType = { ...column.type, value: null, min: 0 };
      // "insert" leaves the values of existing keys alone, so keys that change are deleted first.
      const base = row.datums[column.index];
      const stale = column.type.value === null ? [] : add.keys.filter((key) => base.keys.includes(key));
      const gone = datumUnion(removeKeys, makeSet(stale));
      if (gone.keys.length > 0) mutations.push([column.name, 'delete', this.setJson(keySet, gone)]);
      if (add.keys.length > 0) {
        const json = column.type.value === null ? this.setJson(keySet, add) : this.datumJson(column.type, add);
        mutations.push([column.name, 'insert', json]);
      }
    }
    return mutations;
  }

  /** Always `["set", […]]`, which tells the server that a lone element is meant as a set. */
  private setJson(type: ColumnType, datum: Datum): Json {
    return ['set', datum.keys.map((key) => this.datumJson({ ...type, max: 1 }, scalarDatum(key)))];
  }

  /** As `datumToJson()`, but rows of this transaction go by their names. */
  private datumJson(type: ColumnType, datum: Datum): Json {
    const json = datumToJson(type, datum);
    const hasUuids = type.key.type === 'uuid' || type.value?.type === 'uuid';
    return hasUuids && this.inserted.size > 0 ? this.nameUuids(json) : json;
  }

  private nameUuids(json: Json): Json {
    if (!Array.isArray(json)) return json;
    if (json.length === 2 && json[0] === 'uuid' && this.inserted.has(json[1] as string)) {
      return ['named-uuid', uuidName(json[1] as string)];
    }
    return json.map((element) => this.nameUuids(element));
  }

  private conclude(
    result: Json,
    built: { operations: Json[]; inserts: Map<Row, number>; selectAt: number },
  ): CommitResult {
    const results = Array.isArray(result) ? result : [];
    for (const one of results) {
      if (!isObject(one) || one['error'] === undefined) continue;
      if (one['error'] === 'timed out') return outcome('try again');
      if (one['error'] === 'not owner') return outcome('not locked');
      if (one['error'] !== 'aborted') {
        log.warn(`transaction error: ${jsonText(one)}`);
        return { ...outcome('error'), error: jsonText(one) };
      }
    }
    if (results.length < built.operations.length || results.some((one) => one === null)) {
      return { ...outcome('error'), error: `reply does not match the transaction: ${jsonText(result)}` };
    }
    const uuids = new Map<Row, Uuid>();
    for (const [row, at] of built.inserts) {
      const reply = results[at];
      const uuid = isObject(reply) ? reply['uuid'] : undefined;
      if (Array.isArray(uuid) && typeof uuid[1] === 'string') uuids.set(row, uuid[1]);
    }
    const selected = built.selectAt < 0 ? undefined : results[built.selectAt];
    COUNT.success.inc();
    return {
      status: 'success',
      incremented: this.increments === null ? undefined : selectedValue(selected, this.increments.column.name),
      insertedUuid: (row) => uuids.get(row) ?? null,
    };
  }

  private edit(row: Row): RowEdit {
    let edit = this.edits.get(row);
    if (edit === undefined) {
      edit = {
        isNew: false,
        isDeleted: row.isDeleted,
        uuidIsFixed: false,
        writes: new Map(),
        partial: new Map(),
        verify: new Set(),
      };
      this.edits.set(row, edit);
    }
    return edit;
  }
}

function byUuid(row: Row): Json {
  return [['_uuid', '==', ['uuid', row.uuid]]];
}

function uuidName(uuid: Uuid): string {
  return 'row' + uuid.replaceAll('-', '_');
}

function selectedValue(select: Json | undefined, column: string): number | bigint | undefined {
  const rows = isObject(select) ? select['rows'] : undefined;
  const row = Array.isArray(rows) ? rows[0] : undefined;
  const value = isObject(row) ? row[column] : undefined;
  return typeof value === 'number' || typeof value === 'bigint' ? value : undefined;
}

/** `set` less the keys of `other`. */
function without(set: Datum, other: Datum): Datum {
  return datumSubtract(set, { keys: other.keys, values: null });
}
