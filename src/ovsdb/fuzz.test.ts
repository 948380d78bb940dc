/**
 * Nearly right input: schemas, operations of every kind and records of the file with something in them replaced, left out, doubled or renamed. Each reader returns or
 * throws its own error, leaves what it was applied to as it was, and what it accepts survives being written and read again.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Database } from './database.ts';
import { OvsdbError } from './error.ts';
import { applyRecord, compactRecords, openDatabase } from './file.ts';
import { isObject, type Json, type JsonObject, jsonText, parseJson, stringifyJson } from './json.ts';
import { encodeRecord } from './log-format.ts';
import { executeTransaction } from './operations.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { vswitchSchemaJson } from './vswitch-schema.ts';

const SCHEMA: Json = {
  name: 'T',
  version: '1.0.0',
  tables: {
    A: {
      isRoot: true,
      maxRows: 50,
      indexes: [['i'], ['s', 'o']],
      columns: {
        i: { type: { key: { type: 'integer', minInteger: -5, maxInteger: 500 } } },
        s: { type: { key: { type: 'string', minLength: 0, maxLength: 20 } } },
        e: { type: { key: { type: 'string', enum: ['set', ['', 'x', 'y']] } } },
        r: { type: { key: { type: 'real', minReal: -1.5, maxReal: 2 } } },
        o: { type: { key: 'string', min: 0, max: 1 } },
        m: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
        ref: { type: { key: { type: 'uuid', refTable: 'B', refType: 'strong' }, min: 0, max: 'unlimited' } },
        weak: { type: { key: { type: 'uuid', refTable: 'A', refType: 'weak' }, min: 0, max: 3 } },
      },
    },
    B: { columns: { b: { type: 'boolean', ephemeral: true }, u: { type: 'uuid', mutable: false } } },
  },
};

const UUID = ['uuid', '00000000-0000-4000-8000-000000000001'];
const OPERATIONS: readonly Json[] = [
  { op: 'insert', table: 'A', 'uuid-name': 'n', row: { i: 7, s: 'x', m: ['map', [['k', 1]]], ref: ['set', []] } },
  { op: 'insert', table: 'B', uuid: UUID[1]!, row: { b: true, u: UUID } },
  { op: 'select', table: 'A', where: [['i', '<', 5]], columns: ['i', '_uuid'] },
  { op: 'update', table: 'A', where: [['s', '==', 'x']], row: { o: ['set', ['y']], r: 1.25, weak: UUID } },
  {
    op: 'mutate',
    table: 'A',
    where: [],
    mutations: [
      ['i', '+=', 1],
      ['m', 'insert', ['map', [['a', 2]]]],
      ['m', 'delete', ['set', ['k']]],
    ],
  },
  {
    op: 'delete',
    table: 'A',
    where: [
      ['_uuid', '!=', UUID],
      ['o', 'includes', ['set', []]],
    ],
  },
  { op: 'wait', timeout: 0, table: 'A', where: [true], columns: ['s', 'e'], until: '!=', rows: [{ s: 'a', e: 'x' }] },
  { op: 'commit', durable: false },
  { op: 'abort' },
  { op: 'comment', comment: 'c' },
  { op: 'assert', lock: 'l' },
];

const junk: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    null,
    true,
    -1,
    0,
    1.5,
    1e308,
    9223372036854775807n,
    '',
    'A',
    'B',
    '_uuid',
    'i',
    '__proto__',
    'constructor',
    '\u0001',
  ),
  fc.constantFrom<Json>(
    [],
    {},
    ['set', []],
    ['map', []],
    ['uuid', 'x'],
    ['set', ['set', []]],
    ['map', [['k']]],
    ['named-uuid', 'n'],
    UUID,
  ),
  fc.constantFrom<Json>(
    'integer',
    'real',
    'unlimited',
    'strong',
    'weak',
    '==',
    '<',
    'insert',
    { type: 'uuid', refTable: 'A' },
    { key: 'string' },
  ),
  fc.string({ maxLength: 4 }),
);

type Change = { readonly at: number; readonly kind: 'replace' | 'remove' | 'double' | 'rename'; readonly by: Json };
const changes = fc.array(
  fc.record({
    at: fc.nat(300),
    kind: fc.constantFrom(
      'replace' as const,
      'replace' as const,
      'remove' as const,
      'double' as const,
      'rename' as const,
    ),
    by: junk,
  }),
  { minLength: 1, maxLength: 3 },
);

/** The value with one part of it, counted from the front, changed. */
function changed(json: Json, { at, kind, by }: Change): Json {
  let left = at % Math.max(countParts(json), 1);
  const walk = (part: Json): Json => {
    if (left-- === 0 && kind === 'replace') return by;
    if (Array.isArray(part)) {
      return part.flatMap((item) => {
        const here = left === 0;
        const next = walk(item);
        if (here && kind === 'remove') return [];
        return here && kind === 'double' ? [next, next] : [next];
      });
    }
    if (!isObject(part)) return part;
    const members: [string, Json][] = [];
    for (const [name, value] of Object.entries(part)) {
      const here = left === 0;
      const next = walk(value ?? null);
      if (here && kind === 'remove') continue;
      members.push([here && kind === 'rename' ? (typeof by === 'string' ? by : `${name}x`) : name, next]);
    }
    return Object.fromEntries(members);
  };
  return walk(json);
}

function countParts(json: Json): number {
  if (Array.isArray(json)) return 1 + json.reduce((sum: number, item) => sum + countParts(item), 0);
  return isObject(json) ? 1 + Object.values(json).reduce((sum: number, item) => sum + countParts(item ?? null), 0) : 1;
}

/** What `read` returns, or null for its own kind of error. Any other fails the test. */
function attempt<T>(read: () => T, what: Json): T | null {
  try {
    return read();
  } catch (error) {
    assert.ok(error instanceof OvsdbError, `${jsonText(what)}: ${(error as Error).stack}`);
    assert.ok(error.message.length > 0);
    return null;
  }
}

function contents(db: Database): string {
  return compactRecords(db, '', 0)
    .slice(1)
    .map((record) => jsonText(record))
    .join('\n');
}

function filled(): Database {
  const db = new Database(schemaFromJson(SCHEMA));
  const rows = Array.from({ length: 3 }, (_, i) => ({ op: 'insert', table: 'A', row: { i, s: `s${i}` } }));
  const outcome = executeTransaction(db, ['T', ...rows], { ownsLock: () => false });
  assert.ok(!(outcome instanceof OvsdbError) && outcome.kind !== 'wait' && outcome.txn !== null);
  db.applyChanges(outcome.txn.changes);
  return db;
}

test('a schema with something wrong in it is refused, or is one that can be written and read', () => {
  const schemas = fc.constantFrom<Json>(SCHEMA, vswitchSchemaJson() as Json);
  let accepted = 0;
  fc.assert(
    fc.property(schemas, changes, (json, list) => {
      const wrong = list.reduce(changed, json);
      const schema = attempt(() => schemaFromJson(wrong), wrong);
      if (schema === null) return;
      accepted++;
      const again = schemaFromJson(parseJson(stringifyJson(schemaToJson(schema))));
      assert.equal(jsonText(schemaToJson(again)), jsonText(schemaToJson(schema)));
      new Database(schema);
    }),
    { numRuns: 1500 },
  );
  assert.ok(accepted > 20, `${accepted} were accepted`);
});

test('an operation with something wrong in it is an error that changes nothing, or is carried out', () => {
  const db = filled();
  const before = contents(db);
  let [done, refused] = [0, 0];
  fc.assert(
    fc.property(fc.constantFrom(...OPERATIONS), changes, fc.boolean(), (json, list, alone) => {
      const wrong = list.reduce(changed, json);
      const params: Json[] = ['T', ...(alone ? [] : [OPERATIONS[0]!]), wrong];
      const outcome = attempt(() => executeTransaction(db, params, { ownsLock: () => true }), params);
      assert.ok(outcome !== null, 'errors are results');
      assert.equal(contents(db), before);
      if (outcome instanceof OvsdbError || outcome.kind === 'wait') return;
      // Each operation has its result, up to the one that failed; then a last one may say what is wrong with all of them.
      const errors = outcome.results.filter((result) => isObject(result) && typeof result['error'] === 'string');
      assert.ok(errors.length <= 1, jsonText(outcome.results));
      assert.equal(outcome.txn === null || errors.length === 0, true, jsonText(outcome.results));
      if (errors.length > 0) refused++;
      else done++;
      parseJson(stringifyJson(outcome.results));
    }),
    { numRuns: 3000 },
  );
  assert.ok(done > 100 && refused > 100, `${done} carried out, ${refused} refused`);
});

test('a record with something wrong in it is refused whole, or applied', () => {
  const record: JsonObject = {
    _date: 1,
    _comment: 'c',
    _is_diff: true,
    A: {
      '00000000-0000-4000-8000-000000000009': { i: 9, s: 'nine', m: ['map', [['k', 1]]] },
      '00000000-0000-4000-8000-00000000000a': { i: 10, s: 'ten', o: 'x', weak: ['set', [UUID]] },
    },
    B: {},
  };
  fc.assert(
    fc.property(changes, (list) => {
      const db = filled();
      const before = contents(db);
      const wrong = list.reduce(changed, record as Json);
      if (!isObject(wrong)) return;
      if (attempt(() => applyRecord(db, wrong), wrong) === null) assert.equal(contents(db), before, jsonText(wrong));
    }),
    { numRuns: 1000 },
  );
});

test('a file with something wrong in it is read up to there', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sb-fuzz-'));
  const file = join(dir, 'f.db');
  try {
    const db = filled();
    const good = compactRecords(db, 'good', 1).map((record) => encodeRecord(record));
    const whole = Buffer.concat(good);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(3), (at, flip, cut) => {
        const bytes = Buffer.from(whole);
        bytes[at]! ^= flip;
        writeFileSync(file, cut === 0 ? bytes.subarray(0, at) : bytes);
        const opened = attempt(() => openDatabase(file, 'read'), at);
        if (opened === null) return;
        const text = contents(opened.db);
        opened.log.close();
        assert.ok(
          text === contents(db) || opened.damage !== null || at < good[0]!.length || cut === 0,
          `byte ${at} ^ ${flip}`,
        );
      }),
      { numRuns: 300 },
    );
  } finally {
    rmSync(dir, { recursive: true });
  }
});
