/** What the tools tell of their own commands, beside the original's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, Sandbox } from './support/sandbox.ts';

/** Options that only ours have. */
const OWN = /^ {2}((-f, )?--format=FMT|--pretty) |'text', by default|more readable fashion|Requires: --format json/;

const skip = missing('ovs-ofctl', 'ovs-dpctl', 'ovsdb-tool');

test('list-commands and help are the original’s, but for commands that are not there', { skip }, async () => {
  await using sb = await Sandbox.create();
  const absent: Record<string, RegExp> = {
    'ovs-ofctl': /^ {2}(parse-(group|n|oxm|actions|instr|ofp1|pcap|key|packet)|check-vlan|encode-|compose-)/,
    'ovs-dpctl': /^ {2}(offload-stats-show|ipf-)/,
    'ovsdb-tool': /^$/,
  };
  for (const [program, unknown] of Object.entries(absent)) {
    for (const words of [['list-commands'], ['list-commands', 'more'], ['help'], ['help', 'me'], ['--help']]) {
      const [theirs, ours] = await Promise.all([sb.runC(program, words), sb.runOurs(program, words)]);
      const expected = theirs.stdout.split('\n').filter((line) => line === '' || !unknown.test(line));
      const told = ours.stdout.split('\n').filter((line) => !OWN.test(line));
      assert.deepEqual(told, expected, `${program} ${words}`);
      assert.equal(ours.status, theirs.status);
    }
  }
});

test('check-cluster refuses what is no cluster', { skip }, async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  for (const words of [['check-cluster'], ['check-cluster', 'conf.db'], ['check-cluster', 'none.db']]) {
    const [theirs, ours] = await Promise.all([sb.runC('ovsdb-tool', words), sb.runOurs('ovsdb-tool', words)]);
    assert.equal(ours.stderr, theirs.stderr);
    assert.equal(ours.status, theirs.status);
  }
});
