/** Plain values and rows as data of columns. */
import { Row } from './idl-replica.ts';
import { type Atom, type ColumnType, type Datum, makeMap, makeSet, scalarDatum } from './types.ts';

/** What a column can be set to: a datum, plain atoms, rows for references, null for empty. */
export type Value =
  | Datum
  | Atom
  | Row
  | null
  | readonly (Atom | Row)[]
  | ReadonlyMap<Atom, Atom | Row>
  | Readonly<Record<string, Atom | Row>>;

export function emptyLike(type: ColumnType): Datum {
  return { keys: [], values: type.value === null ? null : [] };
}

export function unique(atoms: readonly Atom[]): Atom[] {
  return [...new Set(atoms)];
}

export function toAtom(value: Atom | Row): Atom {
  return value instanceof Row ? value.uuid : value;
}

export function toDatum(type: ColumnType, value: Value): Datum {
  if (value === null) return emptyLike(type);
  if (typeof value !== 'object') return scalarDatum(value);
  if (value instanceof Row) return scalarDatum(value.uuid);
  if (Array.isArray(value)) return makeSet(unique((value as readonly (Atom | Row)[]).map(toAtom)));
  if (value instanceof Map) return makeMap([...value].map(([key, v]) => [key as Atom, toAtom(v as Atom | Row)]));
  if (isDatum(value)) return value;
  return makeMap(Object.entries(value as Record<string, Atom | Row>).map(([key, v]) => [key, toAtom(v)]));
}

function isDatum(value: object): value is Datum {
  return 'keys' in value && 'values' in value && Array.isArray(value.keys);
}
