import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseJson } from './json.ts';
import { jsonErrorText } from './json-error.ts';

/** What ovsdb-client 3.1 says of a text that it is to send as a transaction. */
const SAID: readonly (readonly [string, string])[] = [
  ['["a",@]', "line 0, column 5, byte 5: invalid character '@'"],
  ['@', "line 0, column 0, byte 0: invalid character '@'"],
  ['  @', "line 0, column 2, byte 2: invalid character '@'"],
  ['A', "line 0, column 0, byte 0: invalid character 'A'"],
  ['"abc', 'line 0, column 4, byte 4: unexpected end of input in quoted string'],
  ['"\\x"', 'line 0, column 3, byte 3: bad escape \\x'],
  ['[1.]', 'line 0, column 3, byte 3: decimal point must be followed by digit'],
  ['[1e]', 'line 0, column 3, byte 3: exponent must contain at least one digit'],
  ['-', "line 0, column 1, byte 1: '-' must be followed by digit"],
  ['[-]', "line 0, column 2, byte 2: '-' must be followed by digit"],
  ['"a" x', 'line 0, column 2, byte 2: syntax error at beginning of input'],
  ['', 'line 0, column 0, byte 0: empty input stream'],
  [' ', 'line 0, column 1, byte 1: empty input stream'],
  ['[,1]', 'line 0, column 1, byte 1: syntax error expecting value'],
  ['{"a":1,}', 'line 0, column 7, byte 7: syntax error parsing object expecting string'],
  ['{,}', 'line 0, column 1, byte 1: syntax error parsing object expecting string'],
  ['[}', 'line 0, column 1, byte 1: syntax error expecting value'],
  ['{]', 'line 0, column 1, byte 1: syntax error parsing object expecting string'],
  ['"\\ud800"', 'line 0, column 7, byte 7: malformed escaped surrogate pair'],
  ['"\\u12"', 'line 0, column 5, byte 5: quoted string ends within \\u escape'],
  ['"\\ud800\\u0041"', 'line 0, column 13, byte 13: second half of escaped surrogate pair is not trailing surrogate'],
  ['"\t"', 'line 0, column 1, byte 1: U+0009 must be escaped in quoted string'],
  ['[\n@', "line 1, column 0, byte 2: invalid character '@'"],
  ['[\n"a\n', 'line 1, column 2, byte 4: U+000A must be escaped in quoted string'],
  ['[null', 'line 0, column 6, byte 6: unexpected end of input'],
  ['1e500', 'line 0, column 5, byte 5: number outside valid range'],
  ['1.5.5', 'line 0, column 5, byte 5: syntax error in number'],
  ['+1', "line 0, column 0, byte 0: invalid character '+'"],
  ['"\\u0000"', 'line 0, column 7, byte 7: null bytes not supported in quoted strings'],
  ['[1}', "line 0, column 2, byte 2: syntax error expecting ']' or ','"],
  ['"a\\"', 'line 0, column 4, byte 4: unexpected end of input in quoted string'],
  ['[1,]', 'line 0, column 3, byte 3: syntax error expecting value'],
  ['[1 2]', "line 0, column 4, byte 4: syntax error expecting ']' or ','"],
  ['{} x', "line 0, column 4, byte 4: invalid keyword 'x'"],
  ['[[[', 'line 0, column 3, byte 3: unexpected end of input'],
  ['5', 'line 0, column 1, byte 1: syntax error at beginning of input'],
  ['{"a"', 'line 0, column 4, byte 4: unexpected end of input'],
  ['{"a":1', 'line 0, column 7, byte 7: unexpected end of input'],
  ['[]\n\n x', "line 2, column 2, byte 6: invalid keyword 'x'"],
  ['[1E5,--1]', "line 0, column 8, byte 8: '-' must be followed by digit"],
  ['[1-1]', 'line 0, column 4, byte 4: syntax error in number'],
  ['[5x]', "line 0, column 3, byte 3: invalid keyword 'x'"],
  ['[é]', 'line 0, column 1, byte 1: invalid character U+00c3'],
  ['[tA', "line 0, column 3, byte 3: invalid keyword 'tA'"],
  ['[\u0001]', 'line 0, column 1, byte 1: invalid character U+0001'],
  ['['.repeat(1001), 'line 0, column 1000, byte 1000: input exceeds maximum nesting depth 1000'],
];

test('a text that is no JSON is refused in the words, and at the place, of the original', () => {
  for (const [text, words] of SAID) assert.equal(jsonErrorText(text), words, JSON.stringify(text.slice(0, 40)));
});

test('whatever is wrong with a text, a place in it is named', () => {
  const pieces = fc.constantFrom('[', ']', '{', '}', ',', ':', '"a"', '1', 'null', ' ', '\n', '"', '\\', 'é');
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (list) => {
      const text = list.join('');
      try {
        if (typeof parseJson(text) === 'object') return;
      } catch {
        // As it should.
      }
      const match = /^line (\d+), column (\d+), byte (\d+): ./.exec(jsonErrorText(text));
      assert.ok(match !== null, text);
      assert.ok(Number(match[3]) <= Buffer.byteLength(text) + 1, text);
    }),
  );
});
