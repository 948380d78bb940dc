/** Groups in bundles: with flows that need them, all or none. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const BUNDLES: readonly (readonly string[])[] = [
  ['group add group_id=2,type=all,bucket=output:1', 'flow add in_port=1,actions=group:2'],
  // The last line fails, so nothing of the others stays.
  [
    'group add group_id=3,type=all,bucket=output:1',
    'flow add in_port=2,actions=group:3',
    'group modify group_id=9,type=all,bucket=output:3',
  ],
  ['group modify group_id=2,type=all,bucket=output:3', 'flow add in_port=3,actions=group:77'],
  // A group must be there before the flow that uses it.
  ['flow add in_port=3,actions=group:4', 'group add group_id=4,type=all,bucket=output:3'],
  ['group delete', 'group add group_id=4,type=all,bucket=output:3', 'flow add in_port=3,actions=group:4'],
];

function carryOut(sandbox: Sandbox, lines: readonly string[]): string {
  const path = join(sandbox.dir, 'bundle');
  writeFileSync(path, `${lines.join('\n')}\n`);
  const done = sandbox.run('ovs-ofctl', '-O', 'OpenFlow14', 'bundle', 'br0', path);
  const groups = sandbox.run('ovs-ofctl', '-O', 'OpenFlow14', 'dump-groups', 'br0').out;
  const flows = sandbox.run('ovs-ofctl', '-O', 'OpenFlow14', '--no-stats', 'dump-flows', 'br0').out;
  return `${done.status} ${done.err.replaceAll(sandbox.dir, '')}${groups}${flows}`;
}

test('bundles of groups and flows do the same in both switches', { timeout: 60_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const said: string[][] = [];
  for (const kind of ['original', 'ours'] as const) {
    const sandbox = await startSandbox(kind);
    t.after(() => sandbox.stop());
    const add = [
      '--timeout=15',
      'add-br',
      'br0',
      '--',
      'set',
      'bridge',
      'br0',
      'datapath-type=dummy',
      'fail-mode=secure',
    ];
    sandbox.run('ovs-vsctl', `--db=unix:${sandbox.dir}/db.sock`, ...add);
    await until(() => sandbox.run('ovs-ofctl', 'show', 'br0').status === 0, 'the bridge');
    said.push(BUNDLES.map((lines) => carryOut(sandbox, lines)));
  }
  assert.deepEqual(said[1], said[0]);
  assert.match(said[1][4], /^0 .*group_id=4.*in_port=3 actions=group:4/s);
});
