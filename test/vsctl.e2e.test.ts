import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, type Result, Sandbox } from './support/sandbox.ts';
import { splitLine, VSCTL_LINES } from './support/vsctl-lines.ts';

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const LOG_STAMP = /^\d{4}-\d\d-\d\dT[\d:]+Z\|\d+\|/gm;
/** `getopt_long` names the program as it was called. */
const PROGRAM_PATH = /^\/\S*\/(?=ovs-vsctl: )/gm;

/** What may differ between two databases: UUIDs, dates of log lines, and for some commands the order of rows. */
function comparable(text: string, sorted: boolean): string {
  const plain = text
    .replace(UUID, 'UUID')
    .replace(/(name|#)="?UUID"?>[0-9a-f]{8}/g, '$1=UUID>UUID')
    .replace(LOG_STAMP, '')
    .replace(PROGRAM_PATH, '');
  return sorted ? plain.split('\n').sort().join('\n') : plain;
}

function shown({ status, stdout, stderr }: Result, sorted: boolean): string {
  return `${comparable(stdout, sorted)}${comparable(stderr.split('\0')[0], false)}=> ${status}`;
}

/** Gives lines to both programs, each with a new database, and tells where they differ. */
async function differences(lines: readonly string[], server: 'theirs' | 'ours'): Promise<string[]> {
  await using left = await Sandbox.create();
  await using right = await Sandbox.create();
  await Promise.all([left.createDb(), right.createDb()]);
  await left.startC('ovsdb-server');
  await (server === 'theirs' ? right.startC('ovsdb-server') : right.startOurs('ovsdb-server'));
  const found: string[] = [];
  for (const line of lines) {
    const sorted = line.startsWith('~');
    const args = ['--no-wait', ...splitLine(sorted ? line.slice(1) : line)];
    const [theirs, ours] = await Promise.all([left.runC('ovs-vsctl', args), right.runOurs('ovs-vsctl', args)]);
    const [expected, actual] = [shown(theirs, sorted), shown(ours, sorted)];
    if (expected !== actual) {
      found.push(`ovs-vsctl ${args.join(' ')}\n--- original\n${expected}\n--- ours\n${actual}\n`);
    }
  }
  return found;
}

/** Each with a database of its own. */
const worlds: string[][] = [[]];
for (const line of VSCTL_LINES) {
  if (line.startsWith('#')) worlds.push([]);
  else worlds.at(-1)!.push(line);
}
const skip = missing('ovs-vsctl', 'ovsdb-server');

test('ovs-vsctl prints, complains and exits as the original does', { skip }, async () => {
  const found = await Promise.all(worlds.map((lines) => differences(lines, 'theirs')));
  assert.deepEqual(found.flat(), []);
});

test('it makes no difference to ovs-vsctl whether the server is ours', { skip }, async () => {
  assert.deepEqual(await differences(worlds[0].slice(0, 45), 'ours'), []);
});
