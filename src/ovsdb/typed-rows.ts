/**
 * Rows with the columns of their schema, known to the compiler: a misspelt column, a number where a string belongs or a reference to a row of the
 * wrong table does not compile.
 *
 *     const db = typedDatabase(idl, VSWITCH_TABLES);
 *     for (const bridge of db.rows('Bridge')) for (const port of bridge.ports) console.log(port.name, port.tag);
 *     const txn = idl.transaction();
 *     db.set(txn, bridge, { fail_mode: 'secure' });
 *
 * The types are read from the texts of `schema-text.ts`; at run time a typed row is a thin view, which reads a column when it is asked for.
 * Integers are numbers (rounded beyond 2^53), columns of at most one value that value or null, others arrays and maps.
 * References lead to rows that are there: one to a row that is not (yet) in the replica reads as null, or is left out.
 */
import type { Uuid } from './atom.ts';
import type { Idl, Row, RowView, Transaction, Value } from './idl.ts';
import type { ColumnSchema } from './schema.ts';
import type { TableTexts } from './schema-text.ts';
import type { Atom, BaseType } from './types.ts';

type Words<S extends string> = S extends `${infer A}|${infer B}` ? A | Words<B> : S;

/** What an atomic type's text holds; `R` maps names of tables to what stands for their rows. */
type AtomOf<S extends string, R> = S extends `->${infer T}` | `~>${infer T}`
  ? T extends keyof R
    ? R[T]
    : never
  : S extends `string(${infer W})`
    ? Words<W>
    : S extends `string${string}`
      ? string
      : S extends `integer${string}` | `real${string}`
        ? number
        : S extends 'boolean'
          ? boolean
          : S extends 'uuid'
            ? Uuid
            : never;

type Plain<S extends string> = S extends `${infer A} ephemeral` | `${infer A} const` ? Plain<A> : S;

type Many<S extends string, R> = S extends `${infer K} = ${infer V}`
  ? ReadonlyMap<AtomOf<K, R>, AtomOf<V, R>>
  : readonly AtomOf<S, R>[];

type One<S extends string, R> = S extends `->${string}` | `~>${string}` ? AtomOf<S, R> | null : AtomOf<S, R>;

type ColumnOf<S extends string, R> =
  Plain<S> extends `${infer B} *` | `${infer B} +` | `${infer B} {${string}}`
    ? Many<B, R>
    : Plain<S> extends `${infer B} ?`
      ? B extends `${string} = ${string}`
        ? Many<B, R>
        : AtomOf<B, R> | null
      : One<Plain<S>, R>;

type RowsOf<T extends TableTexts> = { [Name in keyof T]: TypedRow<T, Name> };

/** A row of table `Name`: its columns, and the row itself. */
export type TypedRow<T extends TableTexts, Name extends keyof T> = {
  readonly [C in keyof T[Name]['columns'] & string]: ColumnOf<T[Name]['columns'][C], RowsOf<T>>;
} & { readonly _row: Row; readonly _uuid: Uuid; readonly _table?: Name };

/** Columns to write. A reference may be to a typed row or to one that `insert` has just given. */
export type TypedValues<T extends TableTexts, Name extends keyof T> = {
  readonly [C in keyof T[Name]['columns'] & string]?: ColumnOf<T[Name]['columns'][C], RowsOf<T>> | null;
};

export interface TypedDatabase<T extends TableTexts> {
  /** Of a table, as committed or as the transaction sees them. */
  rows<Name extends keyof T & string>(name: Name, txn?: Transaction): TypedRow<T, Name>[];
  insert<Name extends keyof T & string>(txn: Transaction, name: Name, values: TypedValues<T, Name>): TypedRow<T, Name>;
  /** Null empties a column. */
  set<Name extends keyof T & string>(txn: Transaction, row: TypedRow<T, Name>, values: TypedValues<T, Name>): void;
}

/** `tables` must be written `as const`. */
export function typedDatabase<const T extends TableTexts>(idl: Idl, tables: T): TypedDatabase<T> {
  // The schema's texts, of which the compiler has made the types, are what the server's columns are called by.
  void tables;
  const typed = <Name extends keyof T>(row: Row, txn?: Transaction) => typedRow(row, txn) as TypedRow<T, Name>;
  return {
    rows(name, txn) {
      const table = idl.table(name);
      return [...(txn === undefined ? table.rows() : txn.rows(table))].map((row) => typed(row, txn));
    },
    insert(txn, name, values) {
      const row = txn.insert(idl.table(name));
      write(txn, row, values);
      return typed(row, txn);
    },
    set: (txn, { _row }, values) => write(txn, _row, values),
  };
}

function write(txn: Transaction, row: Row, values: Readonly<Record<string, unknown>>): void {
  for (const [column, value] of Object.entries(values)) if (value !== undefined) txn.set(row, column, plain(value));
}

/** Typed rows become rows. */
function plain(value: unknown): Value {
  if (Array.isArray(value)) return value.map(plain) as Value;
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key as Atom, plain(item) as Atom | Row]));
  if (typeof value === 'object' && value !== null && '_row' in value) return value._row as Row;
  return value as Value;
}

function typedRow(row: Row, txn: Transaction | undefined): object {
  const view: RowView = txn === undefined ? row : txn.view(row);
  return new Proxy(
    { _row: row, _uuid: row.uuid },
    {
      get(own, name) {
        if (typeof name !== 'string' || name in own) return Reflect.get(own, name);
        const column = row.table.schema.columnByName.get(name);
        return column === undefined ? undefined : read(view, column, txn);
      },
      has: (own, name) => name in own || row.table.schema.columnByName.has(String(name)),
    },
  );
}

function read(view: RowView, { name, type }: ColumnSchema, txn: Transaction | undefined): unknown {
  const typed = (row: Row) => typedRow(row, txn);
  if (type.value !== null) {
    if (type.value.refTable !== null) return new Map([...view.refMap(name)].map(([key, row]) => [key, typed(row)]));
    const { keys, values } = view.get(name);
    return new Map(keys.map((key, i) => [atom(type.key, key), atom(type.value!, values![i]!)]));
  }
  if (type.key.refTable !== null) {
    const rows = view.refs(name).map(typed);
    return type.max === 1 ? (rows[0] ?? null) : rows;
  }
  const atoms = view.get(name).keys.map((key) => atom(type.key, key));
  return type.max === 1 ? (atoms[0] ?? null) : atoms;
}

function atom(base: BaseType, value: Atom): Atom {
  return base.type === 'integer' ? Number(value) : value;
}
