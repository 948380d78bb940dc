import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Database } from './database.ts';
import { applyRecord } from './file.ts';
import { encodeBody, LogReader, WINDOW_SIZE } from './log-format.ts';
import { RecordReader } from './record-reader.ts';
import { schemaFromJson } from './schema.ts';
import { type Atom, type Json, type JsonObject, OvsdbError, stringifyJson } from './types.ts';

const SCHEMA = schemaFromJson({
  name: 'T',
  version: '1.0.0',
  tables: {
    A: {
      isRoot: true,
      columns: {
        i: { type: { key: { type: 'integer', minInteger: -5 } } },
        s: { type: { key: 'string', min: 0, max: 3 } },
        m: { type: { key: 'string', value: 'real', min: 0, max: 'unlimited' } },
        b: { type: { key: 'boolean', min: 0, max: 1 } },
        e: { type: { key: { type: 'string', enum: ['set', ['x', 'y']] }, min: 0, max: 1 } },
        weak: { type: { key: { type: 'uuid', refTable: 'B', refType: 'weak' }, min: 0, max: 'unlimited' } },
      },
      indexes: [['i', 'b']],
    },
    B: { columns: { strong: { type: { key: { type: 'uuid', refTable: 'A' }, min: 0, max: 'unlimited' } } } },
  },
});

const uuid = (i: number) => `${i.toString(16).padStart(8, '0')}-0000-4000-8000-00000000000A`.toLowerCase();

/** Everything that a database knows, its books included. */
function all(db: Database): Json {
  const entries = (map: ReadonlyMap<Atom, unknown>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.parse(
    stringifyJson(
      [...db.tables].map(([name, table]) => [
        name,
        entries(new Map([...table.rows].map(([id, row]) => [id, row.data]))),
        entries(table.strong),
        entries(
          new Map([...table.weak].map(([id, from]) => [id, entries(new Map([...from].map(([r, f]) => [r, f.count])))])),
        ),
        table.indexes.map(entries),
      ]),
    ),
  );
}

/** What a reader that knows everything makes of a record: the text of its error, or of the database. */
function slowly(db: Database, text: string): string {
  const reader = new LogReader('x', encodeBody(text));
  return outcome(db, () => applyRecord(db, reader.next()!.json));
}

function quickly(db: Database, text: string): { result: string; wasPlain: boolean } {
  const reader = new LogReader('x', encodeBody(text));
  const records = new RecordReader(db);
  const place = reader.place()!;
  let wasPlain = false;
  const result = outcome(db, () => {
    if (RecordReader.isSmall(place)) wasPlain = records.apply(reader, place);
    else {
      const steps = records.applyLarge(reader, place);
      for (let step = steps.next(); ; step = steps.next()) {
        if (!step.done) continue;
        wasPlain = step.value;
        break;
      }
    }
    if (!wasPlain) applyRecord(db, reader.next()!.json);
  });
  return { result, wasPlain };
}

function outcome(db: Database, act: () => void): string {
  try {
    act();
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    return `${error.message} ${stringifyJson(all(db))}`;
  }
  return stringifyJson(all(db));
}

/** Mostly what is right. */
function mostly<T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 30, arbitrary: usual }, { weight: 1, arbitrary: odd });
}

const string = fc.oneof(
  fc.constantFrom('x', 'y', '', 'a"b', 'a\\b', 'ü', '😀', 'line\nend'),
  fc.string({ maxLength: 50, unit: 'grapheme' }),
);
const refs = fc
  .uniqueArray(fc.integer({ min: 0, max: 4 }), { maxLength: 3 })
  .map((a): Json => ['set', a.sort().map((i) => ['uuid', uuid(i)])]);
const rowA: fc.Arbitrary<Json> = fc.record(
  {
    i: mostly<Json>(fc.integer({ min: -5, max: 100 }), fc.constantFrom<Json>(-9, 1.5, '1', 123456789012345680, -0)),
    s: mostly<Json>(
      fc.uniqueArray(string, { maxLength: 3 }).map((a): Json => (a.length === 1 ? a[0]! : ['set', a.sort()])),
      fc.uniqueArray(string, { maxLength: 4 }).map((a): Json => ['set', a]),
    ),
    m: fc
      .uniqueArray(fc.tuple(string, fc.oneof(fc.double(), fc.integer())), { maxLength: 4, selector: ([k]) => k })
      .map((a): Json => ['map', a.sort(([x], [y]) => (x < y ? -1 : 1)) as Json]),
    b: fc.oneof(fc.boolean(), fc.constant<Json>(['set', []])),
    e: mostly<Json>(fc.constantFrom<Json>('x', 'y', ['set', []], ['set', ['x']]), fc.constant('z')),
    weak: refs,
  },
  { requiredKeys: [] },
);
const rows = (row: fc.Arbitrary<Json>) =>
  fc.dictionary(
    fc.integer({ min: 0, max: 5 }).map(uuid),
    fc.oneof({ weight: 5, arbitrary: row }, { weight: 1, arbitrary: fc.constant(null) }),
    { maxKeys: 4 },
  );
const record: fc.Arbitrary<JsonObject> = fc
  .record(
    {
      _date: fc.integer({ min: 0 }),
      _comment: string,
      _is_diff: fc.boolean(),
      A: mostly(rows(rowA), rows(fc.constant({ nothing: 1 }))),
      B: rows(fc.record({ strong: refs })),
    },
    { requiredKeys: ['_date'] },
  )
  // Members may come in any order.
  .chain((json) =>
    fc
      .shuffledSubarray(Object.keys(json), { minLength: Object.keys(json).length })
      .map((names) => Object.fromEntries(names.map((n) => [n, json[n as keyof typeof json]])) as JsonObject),
  );

describe('records read from bytes', () => {
  test('change a database as their JSON does, or fail as it does', () => {
    let plain = 0;
    fc.assert(
      fc.property(fc.array(record, { maxLength: 8 }), (records) => {
        const a = new Database(SCHEMA);
        const b = new Database(SCHEMA);
        for (const json of records) {
          const text = `${stringifyJson(json)}\n`;
          const { result, wasPlain } = quickly(b, text);
          if (wasPlain) plain++;
          assert.equal(result, slowly(a, text), text);
        }
      }),
      { numRuns: 300 },
    );
    assert.ok(plain > 100, `only ${plain} were plain`);
  });

  test('of any size, wherever the window ends', () => {
    const filler = 'f'.repeat(900);
    const row = (i: number) => ({
      i,
      s: ['set', [`${filler}${i}`, 'ü"'].sort()],
      m: ['map', [['k', i / 2]]],
      weak: ['uuid', uuid(i + 1)],
    });
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [uuid(i), row(i) as Json]));
    for (const comment of ['', 'c', 'c'.repeat(WINDOW_SIZE), 'c'.repeat(3 * WINDOW_SIZE)]) {
      const a = new Database(SCHEMA);
      const b = new Database(SCHEMA);
      const text = `${stringifyJson({ _date: 1, _comment: comment, A: many })}\n`;
      const { result, wasPlain } = quickly(b, text);
      assert.ok(wasPlain);
      assert.equal(result, slowly(a, text));
      const update = `${stringifyJson({ A: Object.fromEntries(Object.keys(many).map((id, i) => [id, i % 3 ? { i: -1 - (i % 2), s: 'x' } : null])), _is_diff: true, _comment: comment })}\n`;
      assert.equal(quickly(b, update).result, slowly(a, update));
    }
  });

  test('that name a thing twice mean the last', () => {
    const twice = [
      `{"A":{"${uuid(1)}":{"i":1}},"A":{"${uuid(2)}":{"i":2}}}`,
      `{"A":{"${uuid(1)}":{"i":1},"${uuid(1)}":{"i":2}}}`,
      `{"A":{"${uuid(1)}":{"i":1,"i":3}}}`,
    ];
    for (const text of twice)
      assert.equal(quickly(new Database(SCHEMA), `${text}\n`).result, slowly(new Database(SCHEMA), `${text}\n`));
  });

  test('leave everything as it was when the hash of a large one is wrong', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [uuid(i), { i, s: 'y'.repeat(60) }]));
    const bytes = encodeBody(`${stringifyJson({ A: many })}\n`);
    bytes[bytes.length - 10] = 'z'.charCodeAt(0);
    const reader = new LogReader('x', bytes);
    const db = new Database(SCHEMA);
    assert.throws(() => [...new RecordReader(db).applyLarge(reader, reader.place()!)], /have SHA-1 hash/);
    assert.equal(db.rowCount, 0);
  });
});
