/** `ovsdb-tool`, line by line: output, complaint and exit status of ours are those of the original. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { missing, must, type Result, Sandbox } from './support/sandbox.ts';
import { splitLine } from './support/vsctl-lines.ts';

const SCHEMAS = '/usr/share/openvswitch';
const LINES = readFileSync(join(import.meta.dirname, 'data', 'ovsdb-tool.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

const map = (value: object) => ({ type: { key: 'string', value, min: 0, max: 'unlimited' } });
const words = { type: { key: 'string', min: 0, max: 'unlimited' } };
/** A database with role-based access control. */
const RBAC = {
  name: 'R',
  version: '1.0.0',
  tables: {
    RBAC_Role: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        permissions: map({ type: 'uuid', refTable: 'RBAC_Permission', refType: 'weak' }),
      },
    },
    RBAC_Permission: {
      isRoot: true,
      columns: { table: { type: 'string' }, authorization: words, insert_delete: { type: 'boolean' }, update: words },
    },
    T: { isRoot: true, columns: { x: { type: 'integer' } } },
  },
};

async function world(): Promise<Sandbox> {
  const sb = await Sandbox.create();
  for (const name of ['vswitch.ovsschema', 'vtep.ovsschema']) copyFileSync(join(SCHEMAS, name), sb.path(name));
  writeFileSync(sb.path('rbac.ovsschema'), JSON.stringify(RBAC));
  return sb;
}

function shown({ stdout, stderr, status }: Result, sb: Sandbox): string {
  const plain = `${stdout}${stderr}`
    .replaceAll(sb.dir, 'DIR')
    .replace(/^\/\S*\/(?=ovsdb-tool: )/gm, '')
    .replace(/^\d{4}-\S*Z\|\d+\|/gm, '')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+/g, 'TIME');
  return `${plain}=> ${status}`;
}

test('ovsdb-tool says and does what the original says and does', { skip: missing('ovsdb-tool', 'bash') }, async () => {
  await using theirs = await world();
  await using ours = await world();
  for (const line of LINES) {
    if (line.startsWith('$')) {
      for (const sb of [theirs, ours]) await must('bash', ['-c', line.slice(1)], { cwd: sb.dir });
      continue;
    }
    const args = splitLine(line);
    const [expected, actual] = await Promise.all([theirs.runC('ovsdb-tool', args), ours.runOurs('ovsdb-tool', args)]);
    assert.equal(shown(actual, ours), shown(expected, theirs), `ovsdb-tool ${line}`);
  }
});
