/**
 * Random transactions and monitors on our server and on the original's, side by side: the same replies, the same updates, the same contents.
 *
 * What may differ: the identifiers of rows and versions, the order of rows, and which of several errors in one row or of
 * several rows is found first, since the original goes through members in the order of its hash table.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Json, type JsonObject, stringifyJson } from '../src/ovsdb/json.ts';
import { Side } from './support/ovsdb-side.ts';
import { missing, Sandbox } from './support/sandbox.ts';

const set = (key: Json, max: Json = 'unlimited') => ({ type: { key, min: 0, max } });
const ref = (refTable: string, refType = 'strong') => ({ type: 'uuid', refTable, refType });
const SCHEMA = {
  name: 'T',
  version: '1.2.3',
  tables: {
    A: {
      isRoot: true,
      indexes: [['s', 'o']],
      columns: {
        i: { type: 'integer' },
        s: { type: 'string' },
        r: { type: 'real' },
        sl: { type: { key: { type: 'string', maxLength: 4 } } },
        e: set({ type: 'string', enum: ['set', ['x', 'y y']] }, 2),
        set: set('integer'),
        few: set({ type: 'integer', minInteger: 0, maxInteger: 4 }, 3),
        o: set('string', 1),
        m: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
        ref: set(ref('B')),
        wref: set(ref('B', 'weak')),
        eph: { type: 'integer', ephemeral: true },
      },
    },
    B: {
      maxRows: 6,
      columns: {
        n: { type: 'string' },
        c: set(ref('B')),
        mr: { type: { key: 'string', value: ref('B'), min: 0, max: 'unlimited' } },
        mw: { type: { key: ref('A', 'weak'), value: ref('C', 'weak'), min: 0, max: 'unlimited' } },
      },
    },
    C: {
      isRoot: true,
      maxRows: 4,
      indexes: [['x']],
      columns: { x: { type: 'integer' }, w: set(ref('A', 'weak'), 3), r: set(ref('C'), 2) },
    },
  },
};

const mostly = <T>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: good, weight: 60 }, { arbitrary: bad, weight: 1 });
const just = (...values: Json[]) => fc.constantFrom<Json>(...values);
const setOf = (atom: fc.Arbitrary<Json>): fc.Arbitrary<Json> =>
  fc.oneof(
    atom,
    fc.uniqueArray(atom, { maxLength: 3, selector: stringifyJson }).map((atoms): Json => ['set', atoms]),
  );
const mapOf = (key: fc.Arbitrary<Json>, value: fc.Arbitrary<Json>): fc.Arbitrary<Json> =>
  fc
    .uniqueArray(fc.tuple(key, value), { maxLength: 3, selector: ([k]) => stringifyJson(k) })
    .map((pairs): Json => ['map', pairs]);
/** Few rows, so that transactions meet; of different names in each table. */
const uuidsOf = (table: string) =>
  Array.from({ length: 6 }, (_, i) => `${table.charCodeAt(0).toString(16)}000000-0000-4000-8000-00000000000${i}`);
const rowOf = (table: string): fc.Arbitrary<Json> =>
  fc.oneof(
    { arbitrary: fc.constantFrom(...uuidsOf(table)).map((uuid): Json => ['uuid', uuid]), weight: 8 },
    { arbitrary: fc.constantFrom('0', '1').map((n): Json => ['named-uuid', `${table}${n}`]), weight: 1 },
  );
const integers = mostly(just(0, 1, 2, 3, -1, 5, 10, 9223372036854775807n, -9223372036854775808n), just('x', 1.5));
const strings = just('', 'a', 'b', 'abcde', 'é', '😀', '\uffff');

const VALUES: Record<string, Record<string, fc.Arbitrary<Json>>> = {
  A: {
    i: integers,
    s: mostly(strings, just(5)),
    r: just(0, 1.5, -2, 1e300),
    sl: mostly(just('', 'a', 'éé😀é'), just('abcdef')),
    e: setOf(mostly(just('x', 'y y'), just('z'))),
    set: setOf(integers),
    few: setOf(mostly(just(0, 1, 2, 3, 4), just(5))),
    o: setOf(strings),
    m: mapOf(strings, integers),
    ref: setOf(rowOf('B')),
    wref: setOf(rowOf('B')),
    eph: just(0, 1, 2),
  },
  B: { n: strings, c: setOf(rowOf('B')), mr: mapOf(just('k1', 'k2'), rowOf('B')), mw: mapOf(rowOf('A'), rowOf('C')) },
  C: { x: just(0, 1, 2, 3), w: setOf(rowOf('A')), r: setOf(rowOf('C')) },
};

const tables = fc.constantFrom('A', 'A', 'B', 'C');
const columnValue = (table: string) =>
  fc
    .constantFrom(...Object.keys(VALUES[table]!))
    .chain((column) => VALUES[table]![column]!.map((value) => [column, value] as const));
const row = (table: string) =>
  fc.array(columnValue(table), { maxLength: 4 }).map((columns): Json => Object.fromEntries(columns));
const clause = (table: string): fc.Arbitrary<Json> =>
  fc.oneof(
    {
      arbitrary: fc
        .tuple(columnValue(table), fc.constantFrom('==', '!=', '<', '<=', '>', '>=', 'includes', 'excludes'))
        .map(([[column, value], fn]): Json => [column, fn, value]),
      weight: 6,
    },
    {
      arbitrary: fc
        .tuple(rowOf(table), fc.constantFrom('==', '!=', 'includes', 'excludes'))
        .map(([uuid, fn]): Json => ['_uuid', fn, uuid]),
      weight: 3,
    },
    { arbitrary: fc.boolean(), weight: 1 },
  );
const where = (table: string) => fc.array(clause(table), { maxLength: 2 });

// Only harmless factors: the original dies of a negative number times zero.
const mutation = (table: string) =>
  fc
    .tuple(columnValue(table), fc.constantFrom('+=', '-=', '*=', '/=', '%=', 'insert', 'delete'))
    .map(([[column, value], mutator]): Json => [column, mutator, mutator === '*=' || mutator === '%=' ? 3 : value]);

const operation: fc.Arbitrary<Json> = tables.chain(
  (table) =>
    fc.oneof(
      {
        arbitrary: fc.record(
          {
            op: just('insert'),
            table: just(table),
            row: row(table),
            uuid: just(...uuidsOf(table)),
            'uuid-name': just(`${table}0`, `${table}1`),
          },
          { requiredKeys: ['op', 'table', 'row', 'uuid'] },
        ),
        weight: 4,
      },
      {
        arbitrary: fc.record({ op: just('update'), table: just(table), where: where(table), row: row(table) }),
        weight: 2,
      },
      {
        arbitrary: fc.record({
          op: just('mutate'),
          table: just(table),
          where: where(table),
          mutations: fc.array(mutation(table), { minLength: 1, maxLength: 2 }),
        }),
        weight: 3,
      },
      { arbitrary: fc.record({ op: just('delete'), table: just(table), where: where(table) }), weight: 1 },
      {
        arbitrary: fc.record({
          op: just('select'),
          table: just(table),
          where: where(table),
          columns: just(['_uuid', ...Object.keys(VALUES[table]!)]),
        }),
        weight: 1,
      },
      {
        arbitrary: fc.record({
          op: just('wait'),
          timeout: just(0),
          table: just(table),
          where: where(table),
          columns: columnValue(table).map(([column]) => [column]),
          until: just('==', '!='),
          rows: fc.array(row(table), { maxLength: 1 }),
        }),
        weight: 1,
      },
    ) as fc.Arbitrary<Json>,
);

test('random transactions and monitors give what the original gives', async (t) => {
  const absent = missing('ovsdb-server', 'ovsdb-tool');
  if (absent) return t.skip(absent);
  await using left = await Sandbox.create();
  await using right = await Sandbox.create();
  for (const sb of [left, right]) {
    writeFileSync(sb.path('t.ovsschema'), JSON.stringify(SCHEMA));
    await sb.createDb(sb.path('t.ovsschema'));
  }
  await Promise.all([left.startC('ovsdb-server'), right.startOurs('ovsdb-server')]);
  const sides = [await Side.connect(left.db), await Side.connect(right.db)] as const;
  const both = async (method: string, ...params: Json[]) => {
    const [theirs, ours] = await Promise.all(sides.map((side) => side.call(method, ...params)));
    assert.equal(ours, theirs, `${method} ${stringifyJson(params)}`);
    return theirs!;
  };
  const everything = Object.keys(VALUES).map((table) => ({
    op: 'select',
    table,
    where: [],
    columns: ['_uuid', ...Object.keys(VALUES[table]!)],
  }));
  const request: JsonObject = { A: [{ columns: ['i', 's', 'set', 'm'] }], B: [{}], C: [{ columns: ['x', 'w'] }] };

  let commits = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('monitor', 'monitor_cond', 'monitor_cond_since'),
      where('A'),
      fc.array(fc.array(operation, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 }),
      async (method, condition, transactions) => {
        await both('monitor_cancel', 'm');
        await both(
          method,
          'T',
          'm',
          request,
          ...(method === 'monitor_cond_since' ? ['00000000-0000-0000-0000-000000000000'] : []),
        );
        for (const [i, operations] of transactions.entries()) {
          if (i === 2 && method !== 'monitor')
            await both('monitor_cond_change', 'm', 'm', { A: [{ where: condition }] });
          if (!(await both('transact', 'T', ...operations)).includes('ERROR')) commits++;
          await both('transact', 'T', ...everything);
          assert.deepEqual(sides[1].news(), sides[0].news(), `updates after ${stringifyJson(operations)}`);
        }
      },
    ),
    // The seed is fixed because the original, once in thousands of transactions, keeps a weak reference to no row.
    { numRuns: 150, endOnFailure: true, seed: 7 },
  );
  assert.ok(commits > 50, `${commits} transactions had an effect`);
  for (const side of sides) side.rpc.close();
});
