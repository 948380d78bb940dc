import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseJson, stringifyJson } from './json.ts';
import { jsonErrorText } from './json-error.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import {
  type Atom,
  type AtomicType,
  baseType,
  type ColumnType,
  columnType,
  columnTypeFromJson,
  compareAtoms,
  type Datum,
  datumApplyDiff,
  datumDiff,
  datumFromJson,
  datumGet,
  datumSubtract,
  datumsEqual,
  datumToJson,
  datumToText,
  datumUnion,
  isUuid,
  type Json,
  makeMap,
  newUuid,
  parseDatumText,
  UNLIMITED,
} from './types.ts';

const integers = fc
  .oneof(fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }))
  .map((n) => (Number.isSafeInteger(Number(n)) ? Number(n) || 0 : BigInt(n)));
const ATOMS: Record<AtomicType, fc.Arbitrary<Atom>> = {
  integer: integers,
  real: fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
  boolean: fc.boolean(),
  string: fc.string({ unit: 'binary', maxLength: 12 }).filter((s) => !s.includes('\0')),
  uuid: fc.uuid(),
};

const types: fc.Arbitrary<ColumnType> = fc
  .tuple(
    fc.constantFrom(...(Object.keys(ATOMS) as AtomicType[])),
    fc.option(fc.constantFrom(...(Object.keys(ATOMS) as AtomicType[]))),
  )
  .map(([key, value]) => columnType(baseType(key), value === null ? null : baseType(value), 0, UNLIMITED));

function datumOf(type: ColumnType): fc.Arbitrary<Datum> {
  const value = type.value === null ? fc.constant<Atom>(0) : ATOMS[type.value.type];
  return fc
    .uniqueArray(fc.tuple(ATOMS[type.key.type], value), { maxLength: 8, selector: ([k]) => k })
    .map((entries) => (type.value === null ? { ...makeMap(entries), values: null } : makeMap(entries)));
}

const typed = types.chain((type) => fc.tuple(fc.constant(type), datumOf(type), datumOf(type)));

describe('values', () => {
  test('come back from JSON as they were', () => {
    fc.assert(
      fc.property(typed, ([type, datum]) => {
        const text = stringifyJson(datumToJson(type, datum));
        assert.ok(datumsEqual(datumFromJson(type, parseJson(text)), datum), text);
      }),
    );
  });

  test('come back from the text that tools print', () => {
    fc.assert(
      fc.property(typed, ([type, datum]) => {
        // `%.15g`, as the original prints reals, is shorter than some.
        fc.pre(type.key.type !== 'real' && type.value?.type !== 'real');
        assert.ok(datumsEqual(parseDatumText(type, datumToText(type, datum)), datum), datumToText(type, datum));
      }),
    );
  });

  test('a difference leads from one to the other', () => {
    fc.assert(
      fc.property(typed, ([type, a, b]) => {
        assert.ok(datumsEqual(datumApplyDiff(type, a, datumDiff(a, b)), b));
      }),
    );
  });

  test('union and difference are those of sets of keys', () => {
    fc.assert(
      fc.property(typed, ([type, a, b]) => {
        const union = datumUnion(a, b);
        assert.deepEqual(new Set(union.keys), new Set([...a.keys, ...b.keys]));
        assert.ok(datumsEqual(datumFromJson(type, datumToJson(type, union)), union), 'sorted');
        const replaced = datumUnion(a, b, true);
        if (type.value !== null) {
          for (const key of a.keys) assert.equal(datumGet(union, key), datumGet(a, key));
          for (const key of b.keys) assert.equal(datumGet(replaced, key), datumGet(b, key));
        }
        const rest = datumSubtract(a, { keys: b.keys, values: null });
        assert.deepEqual(
          rest.keys,
          a.keys.filter((key) => !b.keys.includes(key)),
        );
        assert.equal(datumUnion(a, rest), a);
      }),
    );
  });

  test('strings are in the order of their UTF-8 bytes', () => {
    fc.assert(
      fc.property(ATOMS.string, ATOMS.string, (a, b) => {
        const bytes = Buffer.compare(Buffer.from(a as string), Buffer.from(b as string));
        // A lone surrogate has no UTF-8.
        fc.pre((a as string).isWellFormed() && (b as string).isWellFormed());
        assert.equal(Math.sign(compareAtoms(a, b)), bytes);
      }),
    );
  });

  test('no JSON makes the reader do anything but return or throw its error', () => {
    fc.assert(
      fc.property(types, fc.jsonValue(), (type, json) => {
        try {
          datumFromJson(type, json as Json);
        } catch (error) {
          assert.equal((error as Error).constructor.name, 'OvsdbError');
        }
      }),
    );
  });

  test('integers keep 64 bits', () => {
    const json = parseJson('[9223372036854775807,-9223372036854775808,9007199254740993,1e3]');
    assert.deepEqual(json, [9223372036854775807n, -9223372036854775808n, 9007199254740993n, 1000]);
    assert.equal(stringifyJson(json), '[9223372036854775807,-9223372036854775808,9007199254740993,1000]');
  });

  test('strings hold no NUL and no half character, numbers no infinity', () => {
    for (const text of ['["\\u0000"]', '["\\ud800"]', '["\\udc00\\ud800"]', '["a\\ud83dx"]']) {
      assert.throws(() => parseJson(text), SyntaxError, text);
    }
    assert.deepEqual(parseJson('["\\ud83d\\ude00","\\\\u0000","\\u00e9\\u0041"]'), ['😀', '\\u0000', 'éA']);
    assert.throws(() => datumFromJson(columnType(baseType('real')), parseJson('1e400')));
  });

  test('uuids are random and well formed', () => {
    const seen = new Set(Array.from({ length: 1000 }, newUuid));
    assert.equal(seen.size, 1000);
    for (const uuid of seen) assert.ok(isUuid(uuid) && uuid[14] === '4', uuid);
  });
});

// Said by ovs-vsctl 3.1 for the same input.
const TYPED: [string, Json, string][] = [
  ['x', { key: 'integer', min: 0 }, '"x" is not a valid integer or range'],
  ['[1,2]', { key: 'integer', min: 0 }, '[1,2]: 2 value(s) specified but the maximum number is 1'],
  [
    '0',
    { key: { type: 'integer', minInteger: 1, maxInteger: 65279 } },
    'constraint violation: 0 is not in the valid range 1 to 65279 (inclusive)',
  ],
  ['[5', { key: 'integer', min: 0 }, '[5: missing "]" at end of data'],
  ['5]', { key: 'integer', min: 0 }, '5]: unexpected "]" parsing set of up to 1 integers'],
  ['1-3', { key: 'integer', min: 0 }, '1-3: 3 value(s) specified but the maximum number is 1'],
  ['5-1', { key: 'integer', min: 0 }, '"5-1" is not a valid range. Range end cannot be before start.'],
  ['1,2,2', { key: 'integer', min: 0, max: 'unlimited' }, '1,2,2: set contains duplicate value'],
  ['{a=1', { key: 'string', value: 'integer', min: 0, max: 'unlimited' }, '{a=1: missing "}" at end of data'],
  ['{a=1,b}', { key: 'string', value: 'integer', min: 0, max: 'unlimited' }, 'b}: syntax error at "}" expecting "="'],
  ['{a=1,a=2}', { key: 'string', value: 'integer', min: 0, max: 'unlimited' }, '{a=1,a=2}: map contains duplicate key'],
  [
    'foo',
    { key: { type: 'string', enum: ['set', ['up', 'down']] } },
    'constraint violation: foo is not one of the allowed values ([down, up])',
  ],
  ['TRUE', 'boolean', '"TRUE" is not a valid boolean (use "true" or "false")'],
  ['"abc', 'string', '"abc: quoted string extends past end of argument'],
  ['"x"y', 'string', '"x"y: missing quote at end of quoted string'],
  ['"\\x"', 'string', '"\\x": bad escape \\x'],
  ['a:b', 'string', 'a:b: unexpected ":" parsing string'],
  ['zz', { key: 'uuid', min: 0, max: 'unlimited' }, '"zz" is not a valid UUID'],
];

describe('typed values', () => {
  for (const [text, type, error] of TYPED) {
    test(`${text} → ${error}`, () => {
      assert.throws(() => parseDatumText(columnTypeFromJson(type), text), { message: error });
    });
  }

  test('ranges, spaces, trailing commas and quotes are understood', () => {
    const set = columnTypeFromJson({ key: 'integer', min: 0, max: 'unlimited' });
    for (const [text, shown] of [
      ['[1-5]', '[1, 2, 3, 4, 5]'],
      ['1,2,', '[1, 2]'],
      ['[1 2]', '[1, 2]'],
      ['', '[]'],
    ] as const) {
      assert.equal(datumToText(set, parseDatumText(set, text)), shown);
    }
    const map = columnTypeFromJson({ key: 'string', value: 'string', min: 0, max: 'unlimited' });
    const text =
      '{"a=b"=c, d="true", e=abc, g="00000000-0000-0000-0000-000000000001", h="é", i=a-b, j="-b", k=_x, l="0a"}';
    assert.equal(datumToText(map, parseDatumText(map, text)), text);
  });
});

describe('schemas', () => {
  const bad: [string, string][] = [
    ['{}', `syntax "{}": syntax error: Parsing database schema failed: Required 'name' member is missing.`],
    [
      '{"name":"1T","tables":{}}',
      `syntax "{"name":"1T","tables":{}}": syntax error: Parsing database schema failed: Type mismatch for member 'name'.`,
    ],
    [
      '{"name":"T","tables":{"_A":{"columns":{}}}}',
      `syntax "{"name":"T","tables":{"_A":{"columns":{}}}}": syntax error: names beginning with "_" are reserved`,
    ],
    [
      '{"name":"T","tables":{"A":{"columns":{}}}}',
      `syntax "{"columns":{}}": syntax error: table must have at least one column`,
    ],
    ['{"name":"T","tables":{"A":5}}', 'syntax error: Parsing table schema for table A failed: Object expected.'],
    [
      '{"name":"T","tables":{"A":{"columns":{"x":{"type":{"key":{"type":"uuid","refTable":"Z"}}}}}}}',
      'syntax error: column x key refers to undefined table Z',
    ],
    [
      '{"name":"T","tables":{"A":{"columns":{"x":{"type":{"key":"integer","zz":1,"yy":1}}}}}}',
      `syntax "{"key":"integer","yy":1,"zz":1}": syntax error: Parsing ovsdb type failed: Member 'yy' and 1 other member are present but not allowed here.`,
    ],
    [
      '{"name":"T","tables":{"A":{"columns":{"x":{"type":{"key":{"type":"integer","minInteger":5,"maxInteger":1}}}}}}}',
      `syntax "{"maxInteger":1,"minInteger":5,"type":"integer"}": syntax error: minInteger exceeds maxInteger`,
    ],
  ];
  for (const [text, error] of bad) {
    test(error, () => assert.throws(() => schemaFromJson(parseJson(text)), { message: error }));
  }

  test('a schema written and read again is the same', () => {
    const text =
      '{"name":"T","version":"1.2.3","tables":{"A":{"isRoot":true,"columns":{"m":{"type":{"key":"string","value":{"type":"uuid","refTable":"B","refType":"weak"},"min":0,"max":"unlimited"}},"e":{"type":{"key":{"type":"string","enum":["set",["a","b"]]}},"ephemeral":true,"mutable":false}},"indexes":[["m"]]},"B":{"maxRows":3,"columns":{"n":{"type":"integer"}}}}}';
    const once = schemaToJson(schemaFromJson(parseJson(text)));
    assert.deepEqual(schemaToJson(schemaFromJson(once)), once);
    assert.equal(once['version'], '1.2.3');
  });
});

test('what is wrong with JSON is told in the original words', () => {
  for (const [text, error] of [
    ['["X"', 'line 0, column 4, byte 4: unexpected end of input'],
    ['{x', "line 0, column 2, byte 2: invalid keyword 'x'"],
    ['5', 'line 0, column 1, byte 1: syntax error at beginning of input'],
    ['["\\u0000"]', 'line 0, column 8, byte 8: null bytes not supported in quoted strings'],
    ['["\\ud800"]', 'line 0, column 8, byte 8: malformed escaped surrogate pair'],
    ['[01]', 'line 0, column 3, byte 3: leading zeros not allowed'],
    ['[1]]', 'line 0, column 3, byte 3: trailing garbage at end of input'],
  ] as const) {
    assert.equal(jsonErrorText(text), error);
  }
  fc.assert(fc.property(fc.string(), (text) => jsonErrorText(text).startsWith('line ')));
});
