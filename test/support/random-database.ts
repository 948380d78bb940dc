/**
 * Random schemas, with every type, constraint and kind of reference, and random operations on databases of them. Values are few, so that they meet; some
 * are wrong.
 */
import fc from 'fast-check';
import { type Json, type JsonObject, stringifyJson } from '../../src/ovsdb/json.ts';

type Gen = fc.Arbitrary<Json>;

interface RandomColumn {
  readonly name: string;
  readonly json: JsonObject;
  readonly values: Gen;
}

interface RandomTable {
  readonly name: string;
  readonly json: JsonObject;
  readonly columns: readonly RandomColumn[];
}

export interface RandomSchema {
  readonly json: JsonObject;
  readonly tables: readonly RandomTable[];
}

const just = (...values: Json[]): Gen => fc.constantFrom<Json>(...values);
const mostly = (good: Gen, bad: Gen): Gen => fc.oneof({ arbitrary: good, weight: 40 }, { arbitrary: bad, weight: 1 });
const TABLES = ['A', 'B', 'C'];

/** Few rows, of different names in each table: the original takes a reference to another table's row of the same name for one to itself. */
const uuidsOf = (table: string): string[] =>
  Array.from({ length: 5 }, (_, i) => `${table.charCodeAt(0).toString(16)}000000-0000-4000-8000-00000000000${i}`);
const rowOf = (table: string): Gen =>
  fc.oneof(
    { arbitrary: fc.constantFrom(...uuidsOf(table)).map((uuid): Json => ['uuid', uuid]), weight: 20 },
    { arbitrary: fc.constantFrom('0', '1').map((n): Json => ['named-uuid', `${table}${n}`]), weight: 1 },
  );

interface Base {
  readonly json: Json;
  readonly atoms: Gen;
  readonly isReference?: boolean;
}

const STRINGS = ['', 'a', 'b', 'abc', 'é', '😀'];

const bases = (names: readonly string[]): fc.Arbitrary<Base> => {
  const plain = (json: Json, atoms: Gen): fc.Arbitrary<Base> => fc.constant({ json, atoms });
  const wrong = just(null, { x: 1 }, ['set', [1, 'a']]);
  const reference = (refTable: string, refType: string) =>
    fc.constant({
      json: { type: 'uuid', refTable, refType },
      atoms: mostly(rowOf(refTable), just('x')),
      isReference: true,
    });
  return fc.oneof(
    plain('integer', mostly(just(0, 1, 2, -3, 9223372036854775807n, -9223372036854775808n), just('x', 1.5))),
    plain({ type: 'integer', minInteger: -1, maxInteger: 3 }, mostly(just(-1, 0, 1, 2, 3), just(4, -2))),
    plain({ type: 'integer', enum: ['set', [0, 1, 5]] }, mostly(just(0, 1, 5), just(2))),
    plain('real', mostly(just(0, 1, -1.5, 1e300, 0.1), just('x'))),
    plain({ type: 'real', minReal: -1, maxReal: 1.5 }, mostly(just(0, 1, -0.5, 1.5), just(2, -7.5))),
    plain('boolean', mostly(just(true, false), just(1))),
    plain('string', mostly(just(...STRINGS), wrong)),
    plain({ type: 'string', minLength: 0, maxLength: 2 }, mostly(just('', 'a', 'é😀'), just('abc'))),
    plain({ type: 'string', enum: ['set', ['', 'a', 'b']] }, mostly(just('', 'a', 'b'), just('c'))),
    plain('uuid', mostly(rowOf('Z'), wrong)),
    ...names.flatMap((name) => [reference(name, 'strong'), reference(name, 'weak')]),
  );
};

const column = (name: string, names: readonly string[]): fc.Arbitrary<RandomColumn> =>
  fc
    .record({
      key: bases(names),
      value: fc.option(bases(names), { freq: 3 }),
      min: fc.constantFrom(0, 1, 1),
      max: fc.constantFrom<Json>(1, 1, 2, 3, 'unlimited'),
      mayRefer: fc.oneof({ arbitrary: fc.constant(false), weight: 6 }, fc.constant(true)),
      mutable: fc.oneof({ arbitrary: fc.constant(true), weight: 8 }, fc.constant(false)),
      ephemeral: fc.oneof({ arbitrary: fc.constant(false), weight: 6 }, fc.constant(true)),
    })
    .map(({ key, value, min: least, max, mutable, ephemeral, mayRefer }) => {
      // A reference that must be there fails nearly always.
      const min = (key.isReference || value?.isReference) && !mayRefer ? 0 : least;
      return {
        name,
        json: {
          type: { key: key.json, ...(value === null ? {} : { value: value.json }), min, max },
          ...(mutable ? {} : { mutable }),
          // A strong reference that no file keeps leads nowhere when the file is read.
          ...(ephemeral && !key.isReference && !value?.isReference ? { ephemeral } : {}),
        } as JsonObject,
        values: value === null ? setOf(key.atoms, min, max) : mapOf(key.atoms, value.atoms, min, max),
      };
    });

/** Mostly as many as there may be. */
const sizes = (min: number, max: Json): fc.Arbitrary<{ minLength: number; maxLength: number }> =>
  fc.constantFrom(
    ...Array.from({ length: 9 }, () => ({ minLength: min, maxLength: typeof max === 'number' ? max : 3 })),
    {
      minLength: 0,
      maxLength: 3,
    },
  );
const setOf = (atoms: Gen, min: number, max: Json): Gen =>
  fc.oneof(
    { arbitrary: atoms, weight: max === 1 ? 6 : 2 },
    {
      arbitrary: sizes(min, max).chain((size) =>
        fc.uniqueArray(atoms, { ...size, selector: (atom) => stringifyJson(atom) }).map((list): Json => ['set', list]),
      ),
      weight: 3,
    },
  );
const mapOf = (keys: Gen, values: Gen, min: number, max: Json): Gen =>
  sizes(min, max).chain((size) =>
    fc
      .uniqueArray(fc.tuple(keys, values), { ...size, selector: ([key]) => stringifyJson(key) })
      .map((pairs): Json => ['map', pairs]),
  );

const table = (name: string, names: readonly string[]): fc.Arbitrary<RandomTable> =>
  fc
    .record({
      columns: fc
        .integer({ min: 1, max: 5 })
        .chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => column(`c${i}`, names)))),
      isRoot: fc.boolean(),
      maxRows: fc.constantFrom(0, 0, 2, 4),
      indexed: fc.array(fc.array(fc.nat(4), { minLength: 1, maxLength: 2 }), { maxLength: 2 }),
    })
    .map(({ columns, isRoot, maxRows, indexed }) => {
      const indexes = indexed
        .map((list) => [...new Set(list.map((i) => columns[i % columns.length]!))])
        .map((list) => list.filter((one) => one.json['ephemeral'] !== true).map((one) => one.name))
        .filter((list) => list.length > 0);
      const distinct = [...new Map(indexes.map((list) => [[...list].sort().join(), list])).values()];
      const json: JsonObject = {
        columns: Object.fromEntries(columns.map((one) => [one.name, one.json])),
        isRoot,
        ...(maxRows > 0 ? { maxRows } : {}),
        ...(distinct.length > 0 ? { indexes: distinct } : {}),
      };
      return { name, json, columns };
    });

export const randomSchema: fc.Arbitrary<RandomSchema> = fc
  .integer({ min: 1, max: TABLES.length })
  .chain((n) => {
    const names = TABLES.slice(0, n);
    return fc.tuple(...names.map((name) => table(name, names)));
  })
  .map((tables) => ({
    tables,
    json: { name: 'R', version: '1.0.0', tables: Object.fromEntries(tables.map(({ name, json }) => [name, json])) },
  }));

const FUNCTIONS = ['==', '!=', '<', '<=', '>', '>=', 'includes', 'excludes'];
const MUTATORS = ['+=', '-=', '*=', '/=', '%=', 'insert', 'delete'];

/** Operations of one transaction. */
export function randomOperations(schema: RandomSchema): fc.Arbitrary<Json[]> {
  const operation = fc.constantFrom(...schema.tables).chain(operationOn);
  return fc.oneof(
    { arbitrary: fc.array(operation, { minLength: 1, maxLength: 1 }), weight: 3 },
    { arbitrary: fc.array(operation, { minLength: 2, maxLength: 4 }), weight: 1 },
  );
}

function operationOn({ name, columns }: RandomTable): Gen {
  const value = fc.constantFrom(...columns).chain((one) => one.values.map((json) => [one.name, json] as const));
  const row = fc.array(value, { maxLength: 4 }).map((list): Json => Object.fromEntries(list));
  const clause: Gen = fc.oneof(
    {
      arbitrary: fc.tuple(value, fc.constantFrom(...FUNCTIONS)).map(([[one, json], fn]): Json => [one, fn, json]),
      weight: 5,
    },
    {
      arbitrary: fc.tuple(rowOf(name), fc.constantFrom('==', '!=')).map(([uuid, fn]): Json => ['_uuid', fn, uuid]),
      weight: 4,
    },
    { arbitrary: fc.boolean(), weight: 1 },
  );
  const where = fc.array(clause, { maxLength: 2 });
  // Only harmless factors: the original dies of a negative number times zero.
  const mutation = fc
    .tuple(value, fc.constantFrom(...MUTATORS))
    .map(([[one, json], mutator]): Json => [one, mutator, mutator === '*=' || mutator === '%=' ? 3 : json]);
  const about = { table: fc.constant(name) };
  const all = ['_uuid', ...columns.map((one) => one.name)];
  return fc.oneof(
    {
      arbitrary: fc.record(
        {
          op: just('insert'),
          ...about,
          row,
          uuid: just(...uuidsOf(name)),
          'uuid-name': just(`${name}0`, `${name}1`),
        },
        { requiredKeys: ['op', 'table', 'row', 'uuid'] },
      ),
      weight: 8,
    },
    { arbitrary: fc.record({ op: just('update'), ...about, where, row }), weight: 3 },
    {
      arbitrary: fc.record({
        op: just('mutate'),
        ...about,
        where,
        mutations: fc.array(mutation, { minLength: 1, maxLength: 2 }),
      }),
      weight: 4,
    },
    { arbitrary: fc.record({ op: just('delete'), ...about, where }), weight: 2 },
    {
      arbitrary: fc.record({ op: just('select'), ...about, where, columns: just(all, all.slice(1), [all[1]!]) }),
      weight: 2,
    },
    {
      arbitrary: fc.record({
        op: just('wait'),
        timeout: just(0),
        ...about,
        where,
        columns: value.map(([one]): Json => [one]),
        until: just('==', '!='),
        rows: fc.array(row, { maxLength: 2 }),
      }),
      weight: 1,
    },
    {
      arbitrary: just(
        { op: 'comment', comment: 'said' },
        { op: 'commit', durable: false },
        { op: 'abort' },
        { op: 'assert', lock: 'l' },
      ),
      weight: 1,
    },
  ) as Gen;
}
