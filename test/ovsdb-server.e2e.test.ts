/** `ovs-appctl -t ovsdb-server`, line by line, and command lines of `ovsdb-server` that cannot be: our server answers and fails as the original does. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { missing, type Result, Sandbox } from './support/sandbox.ts';
import { splitLine } from './support/vsctl-lines.ts';

const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovs-appctl');

const LINES = readFileSync(join(import.meta.dirname, 'data', 'ovsdb-server.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

async function world(): Promise<Sandbox> {
  const sb = await Sandbox.create();
  await sb.createDb();
  for (const name of ['T', 'R']) {
    const file = name.toLowerCase();
    const tables = { A: { isRoot: true, columns: { s: { type: { key: 'string', min: 0, max: 'unlimited' } } } } };
    writeFileSync(sb.path(`${file}.ovsschema`), JSON.stringify({ name, version: '1.0.0', tables }));
    await sb.createDb(sb.path(`${file}.ovsschema`), `${file}.db`);
  }
  return sb;
}

function shown({ stdout, stderr, status }: Result, sb: Sandbox): string {
  const plain = `${stdout}${stderr}`
    .replaceAll(sb.dir, 'DIR')
    .replace(/^\/\S*\/(?=ovsdb-server: )/gm, '')
    .replace(/^\d{4}-\S*Z\|\d+\|/gm, '');
  return `${plain}=> ${status}`;
}

test('ovsdb-server answers ovs-appctl as the original does', { skip }, async () => {
  const stories = await Promise.all(
    (['startC', 'startOurs'] as const).map(async (kind) => {
      await using sb = await world();
      const files = ['conf.db', 't.db'].map((file) => sb.path(file));
      await sb[kind]('ovsdb-server', [`--remote=punix:${sb.path('db.sock')}`, ...files]);
      const story: string[] = [];
      for (const line of LINES) {
        const args = splitLine(line.replace(/\b([rt])\.db\b/g, (file) => sb.path(file)));
        story.push(`${line}\n${shown(await sb.c('ovs-appctl', '-t', 'ovsdb-server', ...args), sb)}`);
      }
      return story;
    }),
  );
  assert.deepEqual(stories[1], stories[0]);
});

const WRONG = [
  'nofile.db --run=true',
  't.ovsschema --run=true',
  't.db t.db --run=true',
  '--run=true --remote=db:T,A,s t.db',
  '--run=true --remote=db:T,A,zz t.db',
  '--run=true --remote=db:T,Z,zz t.db',
  '--run=true --remote=db:X,Z,zz t.db',
  '--run=true --remote=db:X t.db',
  "--run='exit 3' t.db",
  "--run='kill -9 $$' t.db",
  '--run',
  '--nope',
  '--private-key=db:X,Y,Z t.db --run=true',
  '--log-file=/nonexistent/x t.db --run=true',
  '--pidfile=/nonexistent/pid t.db --run=true',
  'relay:T t.db --run=true',
  '-vfoo t.db',
];

test('ovsdb-server refuses command lines as the original does', { skip }, async () => {
  await using theirs = await world();
  await using ours = await world();
  for (const line of WRONG) {
    const args = splitLine(line);
    const [expected, actual] = await Promise.all([
      theirs.runC('ovsdb-server', args),
      ours.runOurs('ovsdb-server', args),
    ]);
    assert.equal(shown(actual, ours), shown(expected, theirs), `ovsdb-server ${line}`);
  }
});
