/**
 * `ovsdb-client`, line by line: ours and the original's on the original's server, and the original's on both servers. Output, complaint and exit
 * status are the same.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { missing, type Result, Sandbox } from './support/sandbox.ts';
import { splitLine } from './support/vsctl-lines.ts';

const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovsdb-client');

const SCHEMA = {
  name: 'T',
  version: '1.2.3',
  cksum: '1 2',
  tables: {
    A: {
      isRoot: true,
      columns: {
        i: { type: 'integer' },
        s: { type: 'string' },
        r: { type: 'real' },
        b: { type: 'boolean' },
        u: { type: 'uuid' },
        si: { type: { key: 'integer', min: 0, max: 'unlimited' } },
        m: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
        o: { type: { key: 'string', min: 0 } },
        ref: { type: { key: { type: 'uuid', refTable: 'B' }, min: 0, max: 'unlimited' } },
        eph: { type: 'integer', ephemeral: true },
        e: { type: { key: { type: 'string', enum: ['set', ['x', 'y']] }, min: 0 } },
      },
    },
    B: {
      columns: { n: { type: 'string' }, bits: { type: { key: { type: 'integer', minInteger: 1, maxInteger: 9 } } } },
    },
  },
};

const ROWS = [
  'T',
  { op: 'insert', table: 'B', 'uuid-name': 'b', row: { n: 'bee', bits: 3 } },
  {
    op: 'insert',
    table: 'A',
    row: {
      i: 5,
      s: 'plain',
      r: 1.5,
      b: true,
      si: ['set', [1, 2, 3]],
      m: [
        'map',
        [
          ['k', 1],
          ['with space', 2],
        ],
      ],
      o: 'opt',
      ref: ['named-uuid', 'b'],
      eph: 7,
      e: 'x',
    },
  },
  { op: 'insert', table: 'A', row: { i: -5, s: 'qu"o,te\n<&>é', r: 1e300 } },
  { op: 'insert', table: 'A', row: { s: '', u: ['uuid', '00000000-1111-2222-3333-444444444444'] } },
];

const LINES = readFileSync(join(import.meta.dirname, 'data', 'ovsdb-client.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

async function world(kind: 'startC' | 'startOurs'): Promise<Sandbox> {
  const sb = await Sandbox.create();
  writeFileSync(sb.path('t.ovsschema'), JSON.stringify(SCHEMA));
  await sb.createDb(sb.path('t.ovsschema'));
  await sb[kind]('ovsdb-server');
  const { status, stderr } = await sb.c('ovsdb-client', 'transact', sb.db, JSON.stringify(ROWS));
  assert.equal(status, 0, stderr);
  return sb;
}

/** What may differ between two databases: identifiers, times, and for some commands the order of lines. */
function shown({ stdout, stderr, status }: Result, sb: Sandbox, isUnordered: boolean): string {
  const plain = `${stdout}${stderr}`
    .replaceAll(sb.dir, 'DIR')
    .replace(/^\/\S*\/(?=ovsdb-client: )/gm, '')
    .replace(/^\d{4}-\S*Z\|\d+\|/gm, '')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replace(/(?<=#UUID">)[0-9a-f]{8}/g, 'UUID')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?/g, 'TIME');
  return `${isUnordered ? plain.split('\n').sort().join('\n') : plain}=> ${status}`;
}

type Program = 'runC' | 'runOurs';

async function differences(left: [Sandbox, Program], right: [Sandbox, Program]): Promise<string[]> {
  const found: string[] = [];
  const lines = [...LINES];
  const work = async () => {
    for (let line = lines.shift(); line !== undefined; line = lines.shift()) {
      const isUnordered = line.startsWith('~');
      const args = splitLine(isUnordered ? line.slice(1) : line);
      const [expected, actual] = await Promise.all(
        [left, right].map(async ([sb, program]) => shown(await sb[program]('ovsdb-client', args), sb, isUnordered)),
      );
      if (actual !== expected) found.push(`ovsdb-client ${line}\n--- expected\n${expected}\n--- actual\n${actual}\n`);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  return found;
}

test('our ovsdb-client says what the original’s says', { skip }, async () => {
  await using theirs = await world('startC');
  assert.deepEqual(await differences([theirs, 'runC'], [theirs, 'runOurs']), []);
});

test('it makes no difference to the original’s ovsdb-client whether the server is ours', { skip }, async () => {
  await using theirs = await world('startC');
  await using ours = await world('startOurs');
  assert.deepEqual(await differences([theirs, 'runC'], [ours, 'runC']), []);
});
