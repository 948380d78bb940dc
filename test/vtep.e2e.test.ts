import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, Sandbox } from './support/sandbox.ts';

const skip = missing('ovsdb-server', 'ovsdb-tool', 'vtep-ctl');
const SCHEMA = '/usr/share/openvswitch/vtep.ovsschema';
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

const STORY = `
show
list-ps
add-ps ps0
add-ps ps0
--may-exist add-ps ps0
add-ps ps1 -- add-port ps1 q1 -- add-ls lsq -- bind-ls ps1 q1 5 lsq
list-ps
ps-exists ps0
ps-exists x
add-port ps0 p1
add-port ps0 p1
--may-exist add-port ps0 p1
add-port ps0 p2
list-ports ps0
list-ports x
add-port nosw p
del-port ps0 nope
--if-exists del-port ps0 nope
add-ls ls0
add-ls ls0
--may-exist add-ls ls0
add-ls ls1
list-ls
ls-exists ls0
ls-exists y
del-ls z
--if-exists del-ls z
bind-ls ps0 p1 10 ls0
bind-ls ps0 p1 11 ls1
bind-ls ps0 p1 10 ls1
bind-ls ps0 p1 9999 ls0
bind-ls ps0 p1 x ls0
bind-ls ps0 nop 1 ls0
bind-ls ps0 p2 1 nols
list-bindings ps0 p1
show
del-ls ls1
unbind-ls ps0 p1 99
unbind-ls ps0 p1 11
list-bindings ps0 p1
get-replication-mode ls0
set-replication-mode ls0 source_node
get-replication-mode ls0
set-replication-mode ls0 foo
add-ucast-local ls0 00:11:22:33:44:66 vxlan_over_ipv4 10.0.0.2
add-ucast-local ls0 00:11:22:33:44:55 10.0.0.1
add-ucast-local ls0 00:11:22:33:44:55 10.0.0.3
list-local-macs ls0
del-ucast-local ls0 00:11:22:33:44:55
del-ucast-local ls0 00:11:22:33:44:55
add-mcast-local ls0 unknown-dst 10.0.0.1
add-mcast-local ls0 unknown-dst 10.0.0.1
add-mcast-local ls0 unknown-dst bad 10.0.0.2
add-mcast-local ls0 01:00:00:00:00:01 10.0.0.7
list-local-macs ls0
del-mcast-local ls0 unknown-dst 10.9.0.1
del-mcast-local ls0 unknown-dst 10.0.0.1
list-local-macs ls0
add-ucast-remote ls0 00:11:22:33:44:77 10.0.0.9
add-mcast-remote ls0 unknown-dst 10.0.0.9
list-remote-macs ls0
clear-remote-macs ls0
clear-remote-macs nols
list-remote-macs ls0
list-local-macs nols
clear-local-macs ls0
list-local-macs ls0
del-ls ls0
add-lr lr0
add-lr lr0
list-lr
lr-exists lr0
lr-exists q
del-lr nope
--if-exists del-lr nope
del-lr lr0
add-manager tcp:1.2.3.4:1
get-manager
set-manager tcp:1.1.1.1:2 ptcp:3
get-manager
show
del-manager
get-manager
del-ps nope
--if-exists del-ps nope
del-ps ps1
list Physical_Switch ps0
--columns=name,ports list Physical_Switch
get Logical_Switch ls0 name
set Logical_Switch ls0 tunnel_key=5
find Logical_Switch name=ls0
list Physical_Port p1
list Global .
foo
add-ps
list Foo
del-port ps0 p1
list-ports ps0
--no-wait show
--leader-only show
--oneline list-ls
--help
--version
`
  .trim()
  .split('\n');

async function story(make: 'C' | 'ours'): Promise<string[]> {
  await using sb = await Sandbox.create();
  await sb.createDb(SCHEMA);
  await (make === 'C' ? sb.startC('ovsdb-server') : sb.startOurs('ovsdb-server'));
  const told: string[] = [];
  for (const line of STORY) {
    const args = ['-t5', '-vconsole:off', ...line.split(' ')];
    const { status, stdout, stderr } = await (make === 'C' ? sb.c('vtep-ctl', ...args) : sb.ours('vtep-ctl', ...args));
    // References come in the order of their random identifiers.
    const shown = line === 'show' ? stdout.split('\n').sort().join('\n') : stdout;
    const text = `${line}\n${shown}${stderr}status ${status}`;
    told.push(
      text
        .replace(UUID, 'UUID')
        .replaceAll(sb.dir, 'DIR')
        .replace(/^vtep-ctl \(.*\n/m, ''),
    );
  }
  return told;
}

test('vtep-ctl says and does what the original says and does', { skip }, async () => {
  const [theirs, ours] = await Promise.all([story('C'), story('ours')]);
  assert.deepEqual(ours, theirs);
});
