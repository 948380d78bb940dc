/** `ofproto/trace` of our switch and of the original, given the same bridges and rules, word for word. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const RULES: readonly (readonly [bridge: string, rule: string])[] = [
  ['br1', 'actions=load:1->NXM_NX_REG0[],output:1,controller'],
  ['br0', 'in_port=1,ip,nw_dst=10.0.0.0/8 actions=dec_ttl,resubmit(,2),load:5->NXM_NX_REG1[],goto_table:3'],
  ['br0', 'table=2,tcp actions=mod_nw_tos:32,output:2,push_vlan:0x8100,set_field:4099->vlan_vid,output:3'],
  ['br0', 'table=3,priority=7,cookie=0x55 actions=controller(max_len=20),resubmit(,4),write_actions(output:4)'],
  ['br0', 'in_port=1,arp actions=output:9,output:2'],
  ['br0', 'in_port=2 actions=output:9'],
  ['br0', 'in_port=3,tcp actions=mod_nw_ttl:4,output:1'],
  ['br0', 'in_port=4 actions=learn(table=5,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),resubmit(,6)'],
  ['br0', 'table=6 actions=resubmit(,6)'],
  ['br0', 'in_port=5,ip actions=push:NXM_OF_IN_PORT[],pop:NXM_NX_REG0[],pop:NXM_NX_REG0[],clone(output:1),exit'],
  ['br0', 'in_port=6,ip actions=output(port=2,max_len=100),output:3,in_port,output:77,output:6'],
  ['br0', 'in_port=7,tcp actions=clear_actions,write_actions(output:2,set_field:1.1.1.1->ip_dst),goto_table:7'],
  ['br0', 'table=7 actions=write_actions(dec_ttl,output:3)'],
  ['br0', 'priority=40000,dl_src=50:54:00:00:00:00/ff:ff:ff:ff:ff:00 actions=NORMAL'],
];

/** Which bits a megaflow looks at when its packets' headers are written: of rules on a port of their own. */
const WRITES: readonly (readonly [protocol: string, action: string])[] = [
  ['tcp,nw_ttl=64', 'dec_ttl'],
  ['tcp6,nw_ttl=64', 'dec_ttl'],
  ['icmp,nw_ttl=64,icmp_type=8', 'dec_ttl'],
  ['udp', 'mod_nw_ttl:7'],
  ['tcp,nw_src=1.2.3.4', 'mod_nw_src:1.2.3.4'],
  ['tcp', 'mod_nw_tos:32'],
  ['tcp6', 'mod_nw_ecn:1'],
  ['tcp6', 'set_field:::1->ipv6_src'],
  ['sctp', 'load:5->NXM_OF_IP_SRC[0..3]'],
  ['tcp', 'push:NXM_NX_REG1[],pop:NXM_OF_IP_SRC[]'],
  ['arp,arp_op=1', 'set_field:1.2.3.4->arp_spa'],
  ['tcp', 'mod_tp_dst:5'],
];

const TRACES: readonly (readonly string[])[] = [
  ['br0', 'in_port=1,tcp,nw_dst=10.1.2.3,nw_ttl=64,tp_dst=80'],
  ['br0', 'in_port=1,arp'],
  ['br0', 'in_port=2'],
  ['br0', 'in_port=2', '--names'],
  ['br0', 'in_port=3,tcp'],
  ['br0', 'in_port=4,ip,nw_ttl=5'],
  ['br0', 'in_port=5,tcp'],
  ['br0', 'in_port=6,udp'],
  ['br0', 'in_port=7,tcp,nw_ttl=7'],
  ['br0', 'in_port=99,tun_id=5,metadata=3,reg2=5'],
  ['br0', 'recirc_id=55'],
  ['br0', 'in_port=1,arp', '-generate'],
  ['in_port(2),eth(src=00:01:02:03:04:05,dst=00:01:02:03:04:06),eth_type(0x800),ipv4(proto=6,frag=no),tcp(dst=7)'],
  ['br0', 'in_port=1,dl_src=50:54:00:00:00:05,dl_dst=50:54:00:00:00:05', '-generate'],
  ['br0', 'in_port=2,dl_src=50:54:00:00:00:06,dl_dst=50:54:00:00:00:05', '-generate'],
  ['br0', 'in_port=2,dl_src=50:54:00:00:00:05,dl_dst=50:54:00:00:00:06', '-generate'],
  ['br0', 'in_port=1,dl_src=50:54:00:00:00:07,dl_dst=50:54:00:00:00:05'],
  ['br0', 'in_port=1', '50540000000550540000000708004500001400000000ff0000000102030405060708'],
  ['br0', 'in_port=1', '5005aabb'],
  ['br0', 'in_port=1', '50540000000a50540000000b0806xx'],
  ['foo', 'in_port=1'],
  ['ovs-dummy', 'in_port=1'],
  ['dummy@ovs-dummy', 'in_port(7)'],
  ['in_port(77)'],
  ['in_port=1'],
  ['br0', 'nw_src=1.2.3.4'],
  ['br0', 'bogus=1'],
  ['br0', 'ip,tcp6'],
  ['br0', 'in_port=1,dl_src=00:00:00:00:00:00/ff:ff:ff:00:00:00'],
  ['br0', '--foo', 'in_port=1'],
  ['a', 'b', 'c', 'd'],
];

async function prepare(sandbox: Sandbox): Promise<void> {
  const add: string[] = [];
  for (let n = 1; n <= 4; n++) {
    add.push('--', 'add-port', 'br0', `p${n}`, '--', 'set', 'int', `p${n}`, 'type=dummy', `ofport_request=${n}`);
  }
  for (const bridge of ['br0', 'br1']) {
    add.push('--', 'set', 'bridge', bridge, 'datapath-type=dummy', 'fail-mode=secure');
    add.push('protocols=[OpenFlow10,OpenFlow13,OpenFlow15]');
  }
  const patch = (bridge: string, name: string, peer: string): string[] => [
    ...[
      '--',
      'add-port',
      bridge,
      name,
      '--',
      'set',
      'int',
      name,
      'type=patch',
      `options:peer=${peer}`,
      'ofport_request=9',
    ],
  ];
  const done = sandbox.run(
    'ovs-vsctl',
    ...[`--db=unix:${sandbox.dir}/db.sock`, '--timeout=15', 'add-br', 'br0', '--', 'add-br', 'br1', ...add],
    ...[...patch('br0', 'pa', 'pb'), ...patch('br1', 'pb', 'pa')],
    ...['--', 'add-port', 'br1', 'q1', '--', 'set', 'int', 'q1', 'type=dummy', 'ofport_request=1'],
  );
  assert.equal(done.err, '');
  await until(() => sandbox.run('ovs-appctl', 'dpif/show').out.includes('q1 1/5'), 'the ports');
  for (const [bridge, rule] of RULES) {
    const added = sandbox.run('ovs-ofctl', '-O', 'OpenFlow13', 'add-flow', bridge, rule);
    assert.equal(added.status, 0, `${rule}: ${added.err}`);
  }
}

/** Recirculation ids are each switch's own. */
const text = (sandbox: Sandbox, args: readonly string[]): string => {
  const r = sandbox.run('ovs-appctl', 'ofproto/trace', ...args);
  return (r.out + r.err.replace(/^ovs-appctl: .*$/m, ''))
    .replace(/recirc_id=[1-9]\d*,rule/g, 'recirc_id=N,rule')
    .replace(/recirc\(0x[0-9a-f]+\)/g, 'recirc(N)')
    .replace(/recirc_id=0x[1-9a-f][0-9a-f]*/g, 'recirc_id=N');
};

test('a trace reads the same from both switches', { timeout: 90_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const theirs = await startSandbox('original');
  t.after(() => theirs.stop());
  const ours = await startSandbox('ours');
  t.after(() => ours.stop());
  await prepare(theirs);
  await prepare(ours);
  for (const [i, [flow, action]] of WRITES.entries()) {
    const [protocol] = flow.split(',');
    await t.test(`${flow}: ${action}`, () => {
      for (const sandbox of [ours, theirs]) {
        const rule = `priority=${50000 + i},in_port=4,${protocol} actions=${action},output:2`;
        assert.equal(sandbox.run('ovs-ofctl', '-O', 'OpenFlow13', 'add-flow', 'br0', rule).err, '');
      }
      const args = ['br0', `in_port=4,${flow}`];
      // Some headers the original's datapath can't write by itself.
      assert.equal(text(ours, args), text(theirs, args).replace(/^This flow is handled[\s\S]*$/m, ''));
      for (const sandbox of [ours, theirs])
        sandbox.run('ovs-ofctl', '--strict', 'del-flows', 'br0', `priority=${50000 + i},in_port=4,${protocol}`);
    });
  }
  await t.test('icmp_type in a match', () => {
    for (const sandbox of [ours, theirs])
      sandbox.run('ovs-ofctl', 'add-flow', 'br0', 'priority=50000,icmp,icmp_type=8 actions=output:2');
    const args = ['br0', 'in_port=4,icmp,icmp_type=8'];
    assert.equal(text(ours, args), text(theirs, args));
  });
  for (const args of TRACES) {
    await t.test(args.join(' ') || 'nothing', () => {
      assert.equal(text(ours, args), text(theirs, args));
    });
  }
});
