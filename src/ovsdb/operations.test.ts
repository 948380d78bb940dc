import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Database } from './database.ts';
import { executeTransaction } from './operations.ts';
import { schemaFromJson } from './schema.ts';
import { type Json, type JsonObject, parseJson, stringifyJson } from './types.ts';

const set = (key: Json, max: Json = 'unlimited') => ({ type: { key, min: 0, max } });
const SCHEMA = {
  name: 'T',
  tables: {
    A: {
      isRoot: true,
      indexes: [['i'], ['s', 'o']],
      columns: {
        i: { type: 'integer' },
        s: { type: 'string' },
        r: { type: 'real' },
        o: set('string', 1),
        set: set('integer'),
        few: set('integer', 3),
        small: { type: { key: { type: 'integer', minInteger: 0, maxInteger: 10 } } },
        m: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
        ref: set({ type: 'uuid', refTable: 'B' }),
        weak: set({ type: 'uuid', refTable: 'B', refType: 'weak' }),
        fixed: { type: 'string', mutable: false },
      },
    },
    B: { maxRows: 3, columns: { n: { type: 'string' }, c: set({ type: 'uuid', refTable: 'B' }) } },
    C: {
      isRoot: true,
      columns: { w: { type: { key: { type: 'uuid', refTable: 'B', refType: 'weak' }, min: 1, max: 3 } } },
    },
  },
};

class Engine {
  readonly db = new Database(schemaFromJson(SCHEMA as Json));

  run(...operations: Json[]): Json[] {
    const outcome = executeTransaction(this.db, ['T', ...operations], { ownsLock: () => false });
    if (outcome instanceof Error) throw outcome;
    if (outcome.kind === 'wait') return [{ waits: outcome.timeoutMs }];
    if (outcome.txn !== null) this.db.applyChanges(outcome.txn.changes);
    return outcome.results;
  }

  rows(table: string, ...columns: string[]): Json {
    return (this.run({ op: 'select', table, where: [], columns })[0] as JsonObject)['rows']!;
  }
}

const A1 = { op: 'insert', table: 'A', row: { i: 1, s: 'a' } };
const NO_ROW = ['uuid', '00000000-0000-0000-0000-000000000001'];

/** The last result of a transaction that fails, as ovsdb-server 3.1 answers it. */
const FAILURES: [string, Json[], JsonObject][] = [
  [
    'no operation',
    [{ op: 'foo' }],
    {
      details: 'Parsing ovsdb operation 1 of 1 failed: No operation "foo"',
      error: 'syntax error',
      syntax: '{"op":"foo"}',
    },
  ],
  ['not an object', [5], { details: 'Parsing ovsdb operation 1 of 1 failed: Object expected.', error: 'syntax error' }],
  [
    'unknown column',
    [{ op: 'insert', table: 'A', row: { zz: 1 } }],
    { details: 'No column zz in table A.', error: 'unknown column', syntax: '{"zz":1}' },
  ],
  [
    'a duplicate in a set',
    [{ op: 'insert', table: 'A', row: { set: ['set', [1, 1]] } }],
    { details: 'set contains duplicate', error: 'ovsdb error' },
  ],
  [
    'a constant column',
    [{ op: 'update', table: 'A', where: [], row: { fixed: 'x' } }],
    {
      details: 'Cannot update immutable column fixed in table A.',
      error: 'constraint violation',
      syntax: '{"op":"update","row":{"fixed":"x"},"table":"A","where":[]}',
    },
  ],
  [
    'an order of strings',
    [{ op: 'select', table: 'A', where: [['s', '<', 'x']] }],
    {
      details: 'Type mismatch: "<" operator may not be applied to column s of type string.',
      error: 'syntax error',
      syntax: '["s","<","x"]',
    },
  ],
  [
    'an unknown function',
    [{ op: 'select', table: 'A', where: [['i', '=', 1]] }],
    { details: 'No function named =.', error: 'unknown function' },
  ],
  [
    'division by zero',
    [A1, { op: 'mutate', table: 'A', where: [], mutations: [['i', '/=', 0]] }],
    { details: 'Division by zero.', error: 'domain error' },
  ],
  [
    'an overflow',
    [A1, { op: 'mutate', table: 'A', where: [], mutations: [['i', '+=', 9223372036854775807n]] }],
    { details: 'Result of "+=" operation is out of range.', error: 'range error' },
  ],
  [
    'too much in a set',
    [
      { op: 'insert', table: 'A', row: { few: ['set', [1, 2, 3]] } },
      { op: 'mutate', table: 'A', where: [], mutations: [['few', 'insert', 4]] },
    ],
    { details: 'Attempted to store 4 elements in set of up to 3 integers.', error: 'constraint violation' },
  ],
  [
    'a range',
    [A1, { op: 'mutate', table: 'A', where: [], mutations: [['small', '+=', 50]] }],
    { details: '50 is not in the valid range 0 to 10 (inclusive)', error: 'constraint violation' },
  ],
  [
    'a mutator of maps',
    [{ op: 'mutate', table: 'A', where: [], mutations: [['m', '+=', 5]] }],
    {
      details: 'Type mismatch: "+=" operator may not be applied to column m of type map of (string, integer) pairs.',
      error: 'syntax error',
      syntax: '["m","+=",5]',
    },
  ],
  [
    'a wait that is not so',
    [{ op: 'wait', table: 'A', where: [], columns: ['i'], until: '==', rows: [{ i: 5 }], timeout: 0 }],
    { details: '"where" clause test failed', error: 'timed out' },
  ],
  ['a lock not held', [{ op: 'assert', lock: 'x' }], { details: 'Asserted lock x not held.', error: 'not owner' }],
  [
    'too many rows',
    [
      { ...A1, row: { ref: ['set', ['x', 'y', 'z', 'w'].map((n) => ['named-uuid', n])] } },
      ...['x', 'y', 'z', 'w'].map((n) => ({ op: 'insert', table: 'B', 'uuid-name': n, row: {} })),
    ],
    {
      details: 'transaction causes "B" table to contain 4 rows, greater than the schema-defined limit of 3 row(s)',
      error: 'constraint violation',
    },
  ],
  [
    'the same name twice',
    [
      { ...A1, 'uuid-name': 'n' },
      { ...A1, 'uuid-name': 'n' },
    ],
    {
      details: 'This "uuid-name" appeared on an earlier "insert" operation.',
      error: 'duplicate uuid-name',
      syntax: '"n"',
    },
  ],
];

describe('a transaction fails for', () => {
  for (const [name, operations, error] of FAILURES) {
    test(name, () => {
      const results = new Engine().run(...operations).filter((result) => result !== null);
      assert.deepEqual(JSON.parse(stringifyJson(results[results.length - 1])), error);
    });
  }

  test('an error in one operation undoes those before and skips those behind', () => {
    const engine = new Engine();
    const results = engine.run(A1, { op: 'abort' }, A1);
    assert.deepEqual(results.slice(1), [{ error: 'aborted', details: 'aborted by request' }, null]);
    assert.deepEqual(engine.rows('A', 'i'), []);
  });

  test('two rows with the values of one index', () => {
    const engine = new Engine();
    const first = (engine.run(A1)[0] as { uuid: string[] }).uuid[1];
    const [second, error] = engine.run({ ...A1, row: { i: 1, s: 'b' } }) as [{ uuid: string[] }, JsonObject];
    assert.equal(
      error['details'],
      `Transaction causes multiple rows in "A" table to have identical values (1) for index on column "i".  First row, with UUID ${second.uuid[1]}, was inserted by this transaction.  Second row, with UUID ${first}, existed in the database before this transaction and was not modified by the transaction.`,
    );
  });

  test('a reference to no row, and a row that is still referred to', () => {
    const engine = new Engine();
    const [{ uuid }, dangling] = engine.run({ ...A1, row: { i: 1, ref: NO_ROW } }) as [{ uuid: string[] }, JsonObject];
    assert.deepEqual(dangling, {
      error: 'referential integrity violation',
      details: `Table A column ref row ${uuid[1]} references nonexistent row ${NO_ROW[1]} in table B.`,
    });
    const held = insertHeld(engine);
    assert.deepEqual(engine.run({ op: 'delete', table: 'B', where: [] })[1], {
      error: 'referential integrity violation',
      details: `cannot delete B row ${held} because of 1 remaining reference(s)`,
    });
  });
});

function insertHeld(engine: Engine, weak = false): string {
  const results = engine.run(
    {
      op: 'insert',
      table: 'A',
      row: { i: 7, s: 'h', ref: ['named-uuid', 'b'], ...(weak ? { weak: ['named-uuid', 'b'] } : {}) },
    },
    { op: 'insert', table: 'B', 'uuid-name': 'b', row: { n: 'held' } },
  );
  return (results[1] as { uuid: string[] }).uuid[1]!;
}

describe('a commit', () => {
  test('collects rows that nothing holds, cycles of one included, and weak references to them', () => {
    const engine = new Engine();
    engine.run({ op: 'insert', table: 'B', 'uuid-name': 'x', row: { c: ['named-uuid', 'x'] } });
    assert.deepEqual(engine.rows('B', 'n'), []);
    insertHeld(engine, true);
    engine.run({ op: 'insert', table: 'A', row: { i: 8, s: 'w' } });
    engine.run({ op: 'update', table: 'A', where: [['i', '==', 7]], row: { ref: ['set', []] } });
    assert.deepEqual(engine.rows('B', 'n'), []);
    assert.deepEqual((engine.rows('A', 'i', 'weak') as JsonObject[])[0], { i: 7, weak: ['set', []] });
  });

  test('drops weak references to rows that never were, unless the column may not be empty', () => {
    const engine = new Engine();
    engine.run({ ...A1, row: { weak: NO_ROW } });
    assert.deepEqual(engine.rows('A', 'weak'), [{ weak: ['set', []] }]);
    const [{ uuid }, error] = engine.run({ op: 'insert', table: 'C', row: { w: NO_ROW } }) as [
      { uuid: string[] },
      JsonObject,
    ];
    assert.equal(
      error['details'],
      `Deletion of 1 weak reference(s) to deleted (or never-existing) rows from column "w" in "C" row ${uuid[1]} (inserted within this transaction) caused this column to become empty, but constraints on this column disallow an empty column.`,
    );
  });

  test('gives a row a new version when it changes, and only then', () => {
    const engine = new Engine();
    engine.run(A1);
    const version = () => (engine.rows('A', '_version') as JsonObject[])[0]!['_version'];
    const before = version();
    engine.run({ op: 'update', table: 'A', where: [], row: { i: 1 } });
    assert.deepEqual(version(), before);
    engine.run({ op: 'update', table: 'A', where: [], row: { i: 2 } });
    assert.notDeepEqual(version(), before);
  });

  test('lets two rows exchange the values of an index', () => {
    const engine = new Engine();
    engine.run(A1, { op: 'insert', table: 'A', row: { i: 2, s: 'b' } });
    const results = engine.run(
      { op: 'update', table: 'A', where: [['s', '==', 'a']], row: { i: 2 } },
      { op: 'update', table: 'A', where: [['s', '==', 'b']], row: { i: 1 } },
    );
    assert.deepEqual(results, [{ count: 1 }, { count: 1 }]);
    assert.deepEqual(engine.run({ op: 'select', table: 'A', where: [['i', '==', 1]], columns: ['s'] }), [
      { rows: [{ s: 'b' }] },
    ]);
  });
});

test('arithmetic has 64 bits and truncates towards zero', () => {
  const engine = new Engine();
  engine.run({ ...A1, row: { i: 9007199254740993n, set: ['set', [-7, 7]] } });
  engine.run({
    op: 'mutate',
    table: 'A',
    where: [],
    mutations: [
      ['i', '*=', 3],
      ['set', '/=', 2],
      ['set', '*=', 10],
      ['set', '%=', 4],
    ],
  });
  assert.deepEqual(engine.rows('A', 'i', 'set'), [{ i: 27021597764222979n, set: ['set', [-2, 2]] }]);
});

test('a wait that may come true says how long it will wait', () => {
  const wait = { op: 'wait', table: 'A', where: [], columns: ['i'], until: '==', rows: [{ i: 5 }] };
  assert.deepEqual(new Engine().run({ ...wait, timeout: 50 }), [{ waits: 50 }]);
  assert.deepEqual(new Engine().run(wait), [{ waits: Number.POSITIVE_INFINITY }]);
});

test('any JSON at all gets results or an error', () => {
  const engine = new Engine();
  for (const text of [
    '{"op":"insert","table":"A","row":[]}',
    '{"op":"mutate","table":"A","where":{},"mutations":[]}',
    '[]',
    'null',
    '"x"',
    '{"op":5}',
  ]) {
    const [result] = engine.run(parseJson(text)) as [JsonObject];
    assert.equal(result['error'], 'syntax error', text);
  }
});
