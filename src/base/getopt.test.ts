import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getopt, type OptionSpec } from './getopt.ts';

const SPECS: OptionSpec[] = [
  { long: 'target', short: 't', arg: 'required' },
  { long: 'timeout', short: 'T', arg: 'required' },
  { long: 'pidfile', arg: 'optional' },
  { long: 'verbose', short: 'v', arg: 'optional' },
  { long: 'help', short: 'h' },
  { short: 'q', id: 'quiet' },
];

function parse(...argv: string[]) {
  const result = getopt(argv, SPECS);
  return result.ok
    ? [result.options.map((o) => (o.value === null ? o.id : `${o.id}=${o.value}`)), result.operands]
    : result.error;
}

test('long, short, clustered, attached, following, abbreviated, and operands between', () => {
  assert.deepEqual(parse('a', '--target=x', 'b', '-ty', '-t', 'z', '--tim', '3'), [
    ['target=x', 'target=y', 'target=z', 'timeout=3'],
    ['a', 'b'],
  ]);
  assert.deepEqual(parse('-qhvinfo', '-v', 'x', '--pidfile', '--pidfile=p', '--help'), [
    ['quiet', 'help', 'verbose=info', 'verbose', 'pidfile', 'pidfile=p', 'help'],
    ['x'],
  ]);
  assert.deepEqual(parse('-t', '-h', '--', '-q', '-'), [['target=-h'], ['-q', '-']]);
  assert.deepEqual(parse('-', '--target='), [['target='], ['-']]);
});

test('errors have the words of getopt_long', () => {
  assert.equal(parse('--foo=3'), "unrecognized option '--foo=3'");
  assert.equal(parse('-hZ'), "invalid option -- 'Z'");
  assert.equal(parse('-t'), "option requires an argument -- 't'");
  assert.equal(parse('--timeo'), "option '--timeout' requires an argument");
  assert.equal(parse('--help=3'), "option '--help' doesn't allow an argument");
  assert.equal(parse('--t=x'), "option '--t=x' is ambiguous; possibilities: '--target' '--timeout'");
});

test('a program may stop at its first operand', () => {
  const result = getopt(['-q', 'cmd', '-t', '--x'], SPECS, { stopAtOperand: true });
  assert.ok(result.ok);
  assert.deepEqual(result.operands, ['cmd', '-t', '--x']);
});
