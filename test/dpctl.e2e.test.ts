/** `dpctl` commands of our switch beside the original's, on the same packets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const eth = 'eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a)';
const ipv4 = (proto: number): string =>
  `${eth},eth_type(0x0800),ipv4(src=10.0.0.2,dst=10.0.0.1,proto=${proto},tos=0,ttl=64,frag=no)`;

const PACKETS: readonly (readonly [port: string, packet: string])[] = [
  ['p1', `in_port(1),${ipv4(1)},icmp(type=8,code=0)`],
  [
    'p1',
    `in_port(1),${eth},eth_type(0x86dd),ipv6(src=::1,dst=::2,label=0,proto=6,tclass=0,hlimit=64,frag=no),tcp(src=1,dst=2)`,
  ],
  ['p2', `in_port(2),${ipv4(1)},icmp(type=8,code=0)`],
  ['p2', `in_port(2),${ipv4(6)},tcp(src=8,dst=9),tcp_flags(syn)`],
  ['p3', `in_port(3),${ipv4(17)},udp(src=8,dst=9)`],
  [
    'p3',
    `in_port(3),${eth},eth_type(0x0806),arp(sip=1.2.3.4,tip=1.2.3.5,op=1,sha=50:54:00:00:00:09,tha=00:00:00:00:00:00)`,
  ],
];

const RULES = [
  'in_port=1,actions=output:2',
  'in_port=2,priority=5,icmp,icmp_type=8,actions=output:1',
  'in_port=2,priority=4,actions=output:3',
  'in_port=3,priority=5,ip,actions=dec_ttl,output:1',
  'in_port=3,priority=4,dl_dst=50:54:00:00:00:0a,actions=output:2',
];

async function prepare(kind: 'original' | 'ours'): Promise<Sandbox> {
  const sandbox = await startSandbox(kind);
  const ports = [1, 2, 3].flatMap((n) => [
    '--',
    'add-port',
    'br0',
    `p${n}`,
    '--',
    'set',
    'int',
    `p${n}`,
    'type=dummy',
    `ofport_request=${n}`,
  ]);
  const add = ['--timeout=15', 'add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath-type=dummy'];
  sandbox.run('ovs-vsctl', `--db=unix:${sandbox.dir}/db.sock`, ...add, ...ports);
  await until(() => sandbox.run('ovs-appctl', 'dpif/show').out.includes('p3 3/3'), 'the ports');
  for (const rule of RULES) assert.equal(sandbox.run('ovs-ofctl', 'add-flow', 'br0', rule).err, '');
  for (const [port, packet] of PACKETS) sandbox.run('ovs-appctl', 'netdev-dummy/receive', port, packet);
  await until(() => flows(sandbox).length === PACKETS.length, 'the megaflows');
  return sandbox;
}

const flows = (sandbox: Sandbox): string[] =>
  sandbox
    .run('ovs-appctl', 'dpctl/dump-flows', '-m')
    .out.split('\n')
    .filter((line) => line.startsWith('ufid:'))
    .map((line) => line.replace(/^ufid:\S+/, ''))
    .sort();

test('megaflows read the same in whole', { timeout: 60_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const theirs = await prepare('original');
  t.after(() => theirs.stop());
  const ours = await prepare('ours');
  t.after(() => ours.stop());
  assert.deepEqual(flows(ours), flows(theirs));
  const refused = ours.run('ovs-appctl', 'dpctl/add-flow', `in_port(1),${ipv4(1)}`, 'ct(commit,helper=sip)');
  assert.match(refused.err, /updating flow table \(Operation not supported\)/);
  const cells = (sandbox: Sandbox): string | undefined =>
    /idl-cells-Open_vSwitch:\d+/.exec(sandbox.run('ovs-appctl', 'memory/show').out)?.[0];
  assert.ok(cells(theirs));
  assert.equal(cells(ours), cells(theirs));
  const counted = ours.run('ovs-appctl', 'coverage/show').out;
  for (const name of ['bridge_reconfigure', 'ofproto_recv_openflow', 'xlate_actions', 'dpif_flow_put', 'txn_success']) {
    assert.match(counted, new RegExp(`^${name} .* total: [1-9]`, 'm'));
  }
  for (const name of ['dpif_execute', 'vconn_received', 'vconn_sent', 'unixctl_received', 'dpif_port_add']) {
    assert.match(counted, new RegExp(`^${name} .* total: [1-9]`, 'm'));
  }
});
