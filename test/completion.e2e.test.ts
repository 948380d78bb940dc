/** Completion for bash, asked as readline asks: with the line as far as typed. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { BIN, missing, type Result, ROOT, run, Sandbox } from './support/sandbox.ts';

const skip = missing('bash', 'awk');
const COMPLETIONS = join(ROOT, 'share', 'bash-completion', 'completions');
const ASK = `. "$1/$2"
COMP_LINE=$3
COMP_POINT=\${#3}
"_\${2//-/_}_complete" "$2"
printf '%s\\n' "\${COMPREPLY[@]}"`;

function out({ status, stdout, stderr }: Result): string {
  assert.equal(status, 0, stderr);
  return stdout;
}

class Shell {
  private readonly sb: Sandbox;

  constructor(sb: Sandbox) {
    this.sb = sb;
  }

  /** What is offered for the last word of a line. */
  async offers(line: string): Promise<string[]> {
    const program = line.slice(0, line.indexOf(' '));
    const env = { ...this.sb.env, PATH: `${BIN}:${process.env['PATH']}` };
    const { stdout, stderr } = await run('bash', ['--norc', '-c', ASK, 'bash', COMPLETIONS, program, line], { env });
    assert.equal(stderr, '', line);
    return stdout.split('\n').filter((word) => word !== '');
  }
}

async function world(): Promise<{ sb: Sandbox; shell: Shell }> {
  const sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  const set = ['set', 'bridge', 'br0', 'external_ids={color=red,shape=round}', 'fail_mode=secure'];
  const bond = ['add-bond', 'br0', 'bond0', 'e1', 'e2'];
  const ports = ['add-br', 'br0', '--', 'add-br', 'br1', '--', 'add-port', 'br0', 'p1', '--', 'add-port', 'br1', 'p2'];
  out(await sb.ours('ovs-vsctl', '--no-wait', ...ports, '--', ...bond, '--', ...set));
  return { sb, shell: new Shell(sb) };
}

test('bash completes the command lines of ovs-vsctl', { skip }, async () => {
  const { sb, shell } = await world();
  await using _ = sb;
  const expected: Record<string, string[]> = {
    'ovs-vsctl add-b': ['add-bond', 'add-bond-iface', 'add-br'],
    'ovs-vsctl --no-w': ['--no-wait'],
    'ovs-vsctl --if-e': ['--if-exists'],
    'ovs-vsctl --db=': [],
    'ovs-vsctl del-br ': ['--', 'br0', 'br1'],
    'ovs-vsctl --if-exists del-br br1': ['br1'],
    'ovs-vsctl list-br -- --may': ['--may-exist'],
    'ovs-vsctl list-br -- --no-w': [],
    'ovs-vsctl list-br -- port-to-br b': ['bond0'],
    'ovs-vsctl iface-to-br e': ['e1', 'e2'],
    'ovs-vsctl del-port br1 p': ['p2'],
    'ovs-vsctl del-port p': ['p1', 'p2'],
    'ovs-vsctl add-br new br': ['br0', 'br1'],
    'ovs-vsctl set-fail-mode br0 s': ['secure', 'standalone'],
    'ovs-vsctl set-controller br0 pt': ['ptcp:'],
    'ovs-vsctl list Br': ['Bridge'],
    'ovs-vsctl list Bridge br': ['br0', 'br1'],
    'ovs-vsctl list Open_vSwitch .': ['.'],
    'ovs-vsctl clear Bridge br0 fail': ['fail_mode'],
    'ovs-vsctl get Bridge br0 external_ids:c': ['color'],
    'ovs-vsctl set Bridge br0 external_ids:s': ['shape='],
    'ovs-vsctl set Bridge br0 external': ['external_ids:', 'external_ids='],
    'ovs-vsctl set Bridge br0 fail_mode=s': ['secure', 'standalone'],
    'ovs-vsctl set Bridge br0 stp_enable=t': ['true'],
    'ovs-vsctl remove Bridge br0 external_ids c': ['color=red'],
    'ovs-vsctl br-get-external-id br0 s': ['shape'],
    'ovs-vsctl add-port br0 p9 ta': ['tag='],
    'ovs-vsctl nonsense ': ['--'],
    [`ovs-vsctl --db=unix:${sb.path('nowhere')} del-br b`]: [],
    [`ovs-vsctl --db=${sb.db} del-br br1`]: ['br1'],
  };
  for (const [line, words] of Object.entries(expected)) assert.deepEqual(await shell.offers(line), words, line);
});

test('bash completes the command lines of ovs-appctl', { skip }, async () => {
  const { sb, shell } = await world();
  await using _ = sb;
  await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  const expected: Record<string, string[]> = {
    'ovs-appctl --ta': ['--target='],
    'ovs-appctl -t ovsdb': ['ovsdb-server'],
    'ovs-appctl --target=ovs-v': ['ovs-vswitchd'],
    'ovs-appctl fdb/sh': ['fdb/show'],
    'ovs-appctl fdb/show br': ['br0', 'br1'],
    'ovs-appctl -t ovsdb-server ovsdb-server/list-d': ['ovsdb-server/list-dbs'],
    'ovs-appctl -t ovsdb-server fdb/sh': [],
    'ovs-appctl -t nobody fdb/sh': [],
  };
  for (const [line, words] of Object.entries(expected)) assert.deepEqual(await shell.offers(line), words, line);
});
