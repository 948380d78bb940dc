/** One bridge twice: in a sandbox of the original, and as a model that our translation works on. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { parseMatch } from '../../src/flow/match-text.ts';
import { TestBridge } from '../../src/ofproto/xlate/test-bridge.ts';
import { parseActions } from '../../src/openflow/actions/index.ts';
import type { Sandbox } from './twin.ts';

export function setUpBridge(sandbox: Sandbox): string {
  const add: string[] = [];
  for (let n = 1; n <= 4; n++)
    add.push('--', 'add-port', 'br0', `p${n}`, '--', 'set', 'int', `p${n}`, 'type=dummy', `ofport_request=${n}`);
  const r = sandbox.run(
    'ovs-vsctl',
    `--db=unix:${sandbox.dir}/db.sock`,
    'add-br',
    'br0',
    '--',
    'set',
    'bridge',
    'br0',
    'datapath-type=dummy',
    'fail-mode=secure',
    'protocols=[OpenFlow10,OpenFlow13,OpenFlow15]',
    '--',
    'set',
    'port',
    'br0',
    'vlan_mode=trunk',
    ...add,
    '--',
    'set',
    'port',
    'p2',
    'tag=5',
    '--',
    'set',
    'port',
    'p3',
    'tag=5',
    'vlan_mode=native-untagged',
  );
  assert.equal(r.err, '');
  const ctl = sandbox
    .run('ls', sandbox.dir)
    .out.split('\n')
    .find((f) => /^ovs-vswitchd.*\.ctl$/.test(f));
  return join(sandbox.dir, ctl ?? '');
}

export function modelBridge(texts: readonly string[]): TestBridge {
  const bridge = new TestBridge('br0');
  // Later releases have tries for IPv6 as well by default.
  for (const table of bridge.tables.tables) table.classifier.setPrefixes(['ip_dst', 'ip_src']);
  bridge.addPort(1, 1);
  bridge.addPort(2, 2, { mode: 'access', tag: 5 });
  bridge.addPort(3, 3, { mode: 'native-untagged', tag: 5 });
  bridge.addPort(4, 4);
  bridge.addPort(0xfffe, 100);
  for (const text of texts) {
    const [match, actions] = text.split(' actions=');
    const table = Number(/table=(\d+)/.exec(match)?.[1] ?? 0);
    const priority = Number(/priority=(\d+)/.exec(match)?.[1] ?? 0);
    const parsed = parseMatch(match.replace(/(table|priority)=\d+,?/g, ''));
    const list = parseActions(actions, { instructions: true });
    assert.ok(parsed.ok, `${text}: ${parsed.ok ? '' : parsed.error}`);
    assert.ok(list.ok, `${text}: ${list.ok ? '' : list.error}`);
    bridge.addRule(table, priority, parsed.match, list.actions);
  }
  return bridge;
}

export const last = (text: string, head: string): string => {
  const line = text.split('\n').findLast((l) => l.startsWith(head));
  return (line ?? '').slice(head.length).replace(/recirc_id=\d+,rule/g, 'recirc_id=N,rule');
};
