import assert from 'node:assert/strict';
import { test } from 'node:test';
import { original, ours, Sandbox } from './support/ovs.ts';
import { splitLine, VSCTL_LINES } from './support/vsctl-lines.ts';

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const LOG_STAMP = /^\d{4}-\d\d-\d\dT[\d:]+Z\|\d+\|/gm;

/** `getopt_long` names the program as it was called. */
const PROGRAM_PATH = /^\/\S*\/(?=ovs-vsctl: )/gm;

/** What may differ between two databases: UUIDs, and dates of log lines. */
function comparable(text: string, sorted: boolean): string {
  const plain = text
    .replace(UUID, 'UUID')
    .replace(/(name|#)="?UUID"?>[0-9a-f]{8}/g, '$1=UUID>UUID')
    .replace(LOG_STAMP, '')
    .replace(PROGRAM_PATH, '');
  return sorted ? plain.split('\n').sort().join('\n') : plain;
}

test('ovs-vsctl prints, complains and exits as the original does', async (t) => {
  const theirs = original('ovs-vsctl');
  const server = original('ovsdb-server');
  if (theirs === null || server === null) return t.skip('openvswitch is not installed');
  await using left = new Sandbox();
  await using right = new Sandbox();
  await Promise.all([left.startOvsdb([server]), right.startOvsdb([server])]);

  const differences: string[] = [];
  for (const line of VSCTL_LINES) {
    const sorted = line.startsWith('~');
    const args = ['--no-wait', ...splitLine(sorted ? line.slice(1) : line)];
    const expected = left.run([theirs], args);
    const actual = right.run(ours('ovs-vsctl'), args);
    const show = ({ status, stdout, stderr }: typeof expected) =>
      `${comparable(stdout, sorted)}${comparable(stderr.split('\0')[0], false)}=> ${status}`;
    if (show(expected) !== show(actual)) {
      differences.push(`ovs-vsctl ${args.join(' ')}\n--- original\n${show(expected)}\n--- ours\n${show(actual)}\n`);
    }
  }
  assert.deepEqual(differences, []);
});
