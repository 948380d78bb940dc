/** What the commands print with `--format json` is what the published schemas say, and the same as the text says. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { DpAction } from '../src/flow/dp-actions.ts';
import { parseDpActions } from '../src/flow/dp-text.ts';
import { dpActionsJson } from '../src/flow/json.ts';
import { ACTION_DEFS, INSTRUCTIONS, parseActions } from '../src/openflow/actions/index.ts';
import { actionsJson } from '../src/openflow/json/actions.ts';
import { assertValid, type SchemaName } from './support/json-schema.ts';
import { Sandbox } from './support/sandbox.ts';

let sb: Sandbox;

before(async () => {
  sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  await ours(
    'ovs-vsctl',
    ...'-- add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure'.split(' '),
    ...'-- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1'.split(' '),
    ...'-- add-port br0 p2 -- set interface p2 type=dummy ofport_request=2'.split(' '),
  );
  await ours(
    'ovs-ofctl',
    'add-flow',
    'br0',
    'priority=10,udp,nw_dst=10.0.0.0/8,actions=ct(commit),set_field:9->nw_ttl,output:2',
  );
  await ours('ovs-ofctl', 'add-flow', 'br0', 'priority=5,tcp,actions=ct(commit,zone=3),NORMAL');
  await ours('ovs-ofctl', 'add-flow', 'br0', 'table=1,dl_vlan=7,reg1=0x10/0xf0,ct_state=+trk+est,ip,actions=drop');
  await ours(
    'ovs-ofctl',
    '-O',
    'OpenFlow15',
    'add-group',
    'br0',
    'group_id=1,type=select,selection_method=hash,fields(ip_src,tcp_dst),bucket=bucket_id:0,weight:5,actions=output:2,bucket=bucket_id:1,watch_port:1,actions=output:1',
  );
  await ours(
    'ovs-ofctl',
    '-O',
    'OpenFlow13',
    'add-meter',
    'br0',
    'meter=1,kbps,burst,band=type=drop,rate=1000,burst_size=9',
  );
  await ours('ovs-ofctl', 'add-tlv-map', 'br0', '{class=0xffff,type=0,len=4}->tun_metadata3');
});
after(async () => sb?.[Symbol.asyncDispose]());

async function ours(program: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await sb.ours(program, ...args);
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The document that a command prints, which must be what its schema says. */
async function document(schema: SchemaName, definition: string | undefined, program: string, ...args: string[]) {
  const value = JSON.parse(await ours(program, '--format=json', ...args)) as Record<string, unknown>;
  assertValid(schema, value, definition);
  return value;
}
const ofctl = (command: string, ...options: string[]) =>
  document('openflow', undefined, 'ovs-ofctl', ...options, command, 'br0');
const appctl = (schema: SchemaName, definition: string | undefined, ...args: string[]) =>
  document(schema, definition, 'ovs-appctl', ...args);

test('flows: fields, actions, and the text that dump-flows prints', async () => {
  for (const version of ['OpenFlow10', 'OpenFlow13', 'OpenFlow15']) {
    const { flows } = (await ofctl('dump-flows', '-O', version)) as { flows: Record<string, unknown>[] };
    assert.equal(flows.length, 3);
    const text = await ours('ovs-ofctl', '-O', version, '--no-stats', 'dump-flows', 'br0');
    assert.deepEqual(
      flows.map((f) => f['text']),
      text
        .trim()
        .split('\n')
        .map((line) => line.trim()),
    );
  }
  const { flows } = (await ofctl('dump-flows')) as {
    flows: { match: { fields: object }; actions: { list: { action: string }[] } }[];
  };
  assert.deepEqual(flows[0].match.fields, {
    eth_type: { text: '0x800', value: '0800' },
    ip_dst: { text: '10.0.0.0/8', value: '0a000000', mask: 'ff000000' },
    nw_proto: { text: '17', value: '11' },
  });
  assert.deepEqual(
    flows[0].actions.list.map((a) => a.action),
    ['ct', 'set_field', 'output'],
  );
  const named = (await ofctl('dump-flows', '--names')) as { flows: { actions: { list: object[] } }[] };
  assert.deepEqual(named.flows[0].actions.list[2], {
    action: 'output',
    text: 'output:p2',
    port: 2,
    port_name: 'p2',
    max_len: 0,
  });
});

test('every other dump of ovs-ofctl', async () => {
  const commands = {
    OpenFlow10:
      'show dump-desc dump-aggregate dump-ports dump-ports-desc dump-tables queue-stats queue-get-config dump-tlv-map dump-groups',
    OpenFlow13:
      'show dump-tables dump-table-features dump-meters meter-stats meter-features dump-group-stats dump-group-features',
    OpenFlow15: 'dump-table-desc queue-get-config dump-groups dump-ports',
  };
  for (const [version, list] of Object.entries(commands))
    await Promise.all(list.split(' ').map((command) => ofctl(command, '-O', version)));
  const { ports, features } = (await ofctl('show')) as { ports: { name: string; port: number }[]; features: object };
  assert.ok(features);
  assert.deepEqual(
    ports.map((p) => [p.port, p.name]),
    [
      [1, 'p1'],
      [2, 'p2'],
      [65534, 'br0'],
    ],
  );
  const { groups } = (await ofctl('dump-groups', '-O', 'OpenFlow15')) as {
    groups: { buckets: { watch_port: number | null }[] }[];
  };
  assert.deepEqual(
    groups[0].buckets.map((b) => b.watch_port),
    [null, 1],
  );
});

test('a command without a JSON form says so, and an error is no document', async () => {
  const probe = await sb.ours('ovs-ofctl', '--format=json', 'probe', 'br0');
  assert.deepEqual([probe.status, probe.stderr], [1, "ovs-ofctl: 'probe' command has no JSON form\n"]);
  const pretty = await sb.ours('ovs-ofctl', '--pretty', 'dump-flows', 'br0');
  assert.match(pretty.stderr, /--pretty is supported with --format json only/);
  const bad = await sb.ours('ovs-ofctl', '--format=xml', 'dump-flows', 'br0');
  assert.match(bad.stderr, /value xml on --format is invalid/);
  const refused = await sb.ours('ovs-ofctl', '-O', 'OpenFlow13', '--format=json', 'dump-meter', 'br0', 'meter=77');
  assert.deepEqual([refused.status, refused.stdout], [1, '']);
  assert.match(refused.stderr, /OFPMMFC_UNKNOWN_METER/);
  assert.match(
    await ours('ovs-ofctl', '--format=json', '--pretty', 'dump-aggregate', 'br0'),
    /^{\n {2}"aggregate": {\n/,
  );
});

test('megaflows, datapaths, bridges, threads', async () => {
  // Late, for megaflows don't live long without packets.
  for (const proto of ['17', '6'])
    await ours(
      'ovs-appctl',
      'netdev-dummy/receive',
      'p1',
      `in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=${proto},tos=0,ttl=64,frag=no),${proto === '6' ? 'tcp(src=5,dst=6),tcp_flags(syn)' : 'udp(src=5,dst=6)'}`,
    );
  const { megaflows } = (await appctl('datapath', 'megaflows', 'dpctl/dump-flows', '--names')) as {
    megaflows: { match: { fields: Record<string, { text: string }> } }[];
  };
  assert.equal(megaflows.length, 2);
  assert.deepEqual(
    megaflows.map((m) => m.match.fields['in_port'].text),
    ['p1', 'p1'],
  );
  await appctl('datapath', 'megaflows', 'dpif/dump-flows', 'br0');
  await appctl('datapath', 'datapaths', 'dpctl/show');
  await appctl('datapath', 'bridges', 'dpif/show');
  await appctl('datapath', 'upcalls', 'upcall/show');
  await appctl('datapath', 'rx_queues', 'dpif-netdev/pmd-rxq-show');
  const { pmds } = (await appctl('datapath', 'pmds', 'dpif-netdev/pmd-stats-show')) as { pmds: { misses: number }[] };
  assert.equal(pmds[0].misses, 2);
  await document('datapath', 'megaflows', 'ovs-dpctl', 'dump-flows');
});

test('connections, MAC addresses, rules of a bridge', async () => {
  const { connections } = (await appctl('conntrack', undefined, 'dpctl/dump-conntrack')) as {
    connections: { proto_name: string; zone: number }[];
  };
  assert.deepEqual(connections.map((c) => [c.proto_name, c.zone]).sort(), [
    ['tcp', 3],
    ['udp', 0],
  ]);
  const macs = (await appctl('fdb', undefined, 'fdb/show', 'br0')) as unknown as { mac: string; port: number }[];
  assert.deepEqual(
    macs.map((m) => [m.mac, m.port]),
    [['50:54:00:00:00:05', 1]],
  );
  await appctl('fdb', undefined, 'fdb/stats-show', 'br0');
  const { flows } = await appctl('openflow', undefined, 'bridge/dump-flows', 'br0');
  assert.ok((flows as unknown[]).length > 3, 'hidden rules, too');
});

/** An action of each kind. */
const ACTIONS = [
  'output:1,output:NXM_NX_REG0[],output(port=2,max_len=100),group:1,controller(reason=no_match,userdata=01,pause),CONTROLLER:65535,enqueue:1:2',
  'bundle(eth_src,0,hrw,ofport,members:1,2),bundle_load(eth_src,0,hrw,ofport,NXM_NX_REG0[],members:1)',
  'multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[]),mod_dl_src:00:00:00:00:00:01,set_field:1/3->reg0,load:1->NXM_NX_REG1[0..3]',
  'move:NXM_NX_REG0[]->NXM_NX_REG1[],push:NXM_NX_REG0[],pop:NXM_NX_REG0[],mod_vlan_vid:1,mod_vlan_pcp:2,strip_vlan,push_vlan:0x8100',
  'push_mpls:0x8847,set_mpls_label:1,set_mpls_tc:2,set_mpls_ttl:3,dec_mpls_ttl,pop_mpls:0x0800,dec_ttl,dec_ttl(1,2),set_queue:1,pop_queue',
  'fin_timeout(idle_timeout=1,hard_timeout=2),resubmit:1,resubmit(,2),resubmit(3,4),resubmit(,5,ct),note:00.11,sample(probability=1,collector_set_id=2)',
  'learn(table=1,idle_timeout=1,result_dst=NXM_NX_REG0[0],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:5->NXM_NX_REG0[0..3],output:NXM_OF_IN_PORT[])',
  'ct(commit,force,zone=NXM_NX_REG0[0..15],table=5,nat(dst=10.0.0.1-10.0.0.2:1-2,random),exec(load:1->NXM_NX_CT_MARK[])),ct(nat),ct_clear,clone(output:1)',
  'check_pkt_larger(1500)->NXM_NX_REG0[0],encap(ethernet),decap(),encap(nsh(md_type=1)),dec_nsh_ttl,delete_field:tun_metadata0,debug_recirc,debug_slow',
  'meter:1,output:1,clear_actions,write_actions(output:2),write_metadata:1/3,goto_table:5',
  'conjunction(1,1/2)',
  'unroll_xlate,exit',
];

test('actions of every kind', () => {
  const seen = new Set<string>();
  for (const text of ACTIONS) {
    const parsed = parseActions(text.replace('unroll_xlate,', ''), { instructions: true });
    assert.ok(parsed.ok, `${text}: ${parsed.ok ? '' : parsed.error}`);
    const json = actionsJson(parsed.actions, { port: (n) => (n < 5 ? `port${n}` : undefined), table: (n) => `t${n}` });
    assertValid('common', JSON.parse(JSON.stringify(json)), 'actions');
    const visit = (list: readonly { action: string; actions?: unknown }[]): void => {
      for (const a of list) {
        seen.add(a.action);
        if (Array.isArray(a.actions)) visit(a.actions as { action: string }[]);
      }
    };
    visit(json.list);
  }
  const kinds = [...ACTION_DEFS.map((d) => d.kind), ...INSTRUCTIONS.map((i) => i.kind)] as string[];
  // The first has no text that is read, the second is a list in itself.
  const expected = kinds.filter((k) => k !== 'unroll_xlate' && k !== 'apply_actions');
  assert.deepEqual(
    expected.filter((k) => !seen.has(k)),
    [],
  );
});

test("a datapath's actions", () => {
  const texts = [
    '1,set(eth(src=00:00:00:00:00:01)),set(ipv4(ttl=9)),set(tcp(dst=5)),set(tunnel(tun_id=0x5,dst=1.1.1.1,ttl=64,flags(df|key))),push_vlan(vid=5,pcp=0),pop_vlan',
    'push_mpls(label=1,tc=0,ttl=64,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800),push_eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),pop_eth',
    'hash(l4(0)),recirc(0x5),sample(sample=50.0%,actions(2)),clone(3),trunc(100),meter(1),check_pkt_len(size=200,gt(1),le(2)),ct_clear',
    'drop',
    'push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=2,c1=0x0,c2=0x0,c3=0x0,c4=0x0),add_mpls(label=1,tc=0,ttl=64,bos=1,eth_type=0x8847),tnl_pop(4)',
    'ct(commit,zone=5,mark=0x1/0x1,label=0x1/0x1,nat(src=1.1.1.1-1.1.1.2:1-2,random)),ct,userspace(pid=0,slow_path(action))',
  ];
  for (const text of texts) {
    const parsed = parseDpActions(text);
    assert.ok(parsed.ok, text);
    const json = dpActionsJson(parsed.actions as readonly DpAction[], (no) => `port${no}`);
    assertValid('common', JSON.parse(JSON.stringify(json)), 'dp_actions');
  }
});
