/**
 * Tunnels beside the original: the same configuration and packets, given to both switches with simulated devices, must be
 * translated to the same datapath actions and megaflows, and the commands must say the same.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox } from './support/twin.ts';

const skip = missingOriginal() ?? false;
const both: Sandbox[] = [];

const TUNNELS: readonly (readonly [name: string, ofport: number, options: string])[] = [
  ['t1', 3, 'type=gre options:remote_ip=1.1.2.92 options:key=456 options:seq=true'],
  ['t2', 2, 'type=vxlan options:remote_ip=1.1.2.92 options:key=123'],
  ['t3', 4, 'type=vxlan options:remote_ip=flow options:key=flow options:csum=true options:tos=0x40'],
  ['t4', 5, 'type=geneve options:remote_ip=1.1.2.92 options:key=123 options:csum=true'],
  ['t6', 6, 'type=vxlan options:remote_ip=2001:cafe::92 options:key=77 options:ttl=inherit options:tos=inherit'],
  ['t7', 7, 'type=geneve options:remote_ip=flow options:key=flow options:dst_port=6082 options:df_default=false'],
  ['t9', 9, 'type=gre options:remote_ip=1.1.2.92 options:key=9 options:packet_type=legacy_l3'],
  ['t10', 10, 'type=gre options:remote_ip=1.1.2.93 options:packet_type=ptap'],
  ['t8', 8, 'type=vxlan options:remote_ip=1.1.2.93 options:in_key=5 options:out_key=flow options:local_ip=1.1.2.88'],
];

const COMMANDS = [
  'netdev-dummy/ip4addr br0 1.1.2.88/24',
  'netdev-dummy/ip6addr br0 2001:cafe::88/24',
  'ovs/route/add 1.1.2.92/24 br0',
  'ovs/route/add 2001:cafe::0/24 br0',
  'tnl/neigh/set br0 1.1.2.92 f8:bc:12:44:34:b6',
  'tnl/neigh/set br0 1.1.2.93 f8:bc:12:44:34:b7',
  'tnl/neigh/set br0 2001:cafe::92 f8:bc:12:44:34:c7',
];

const MAPS = '{class=0x102,type=0x80,len=4}->tun_metadata0,{class=0x102,type=0x1,len=4}->tun_metadata5';

const FLOWS = [
  // The original leaves traces of a tunnel in the flow when it has no address to send to.
  ...TUNNELS.filter(([, , options]) => !options.includes('remote_ip=flow')).map(
    ([, ofport]) => `in_port=LOCAL,dl_dst=0a:00:00:00:00:${String(ofport).padStart(2, '0')},actions=output:${ofport}`,
  ),
  'in_port=LOCAL,dl_dst=0a:00:00:00:01:01,actions=set_field:1.1.2.92->tun_dst,set_field:0x1234->tun_id,output:4',
  'in_port=LOCAL,dl_dst=0a:00:00:00:01:02,actions=set_field:2001:cafe::92->tun_ipv6_dst,set_field:0x1234->tun_id,output:7',
  'in_port=LOCAL,dl_dst=0a:00:00:00:01:03,actions=set_field:1.1.2.99->tun_dst,output:4',
  'in_port=LOCAL,dl_dst=0a:00:00:00:01:04,actions=set_field:0x7->tun_metadata0,set_field:0x1234->tun_metadata5,output:5',
  'in_port=LOCAL,dl_dst=0a:00:00:00:01:05,actions=output:2,output:3,output:6',
  'in_port=LOCAL,dl_dst=0a:00:00:00:01:06,actions=decap,output:10,output:9',
  'in_port=9,actions=LOCAL',
  'in_port=10,packet_type=(1,0x800),actions=encap(ethernet),LOCAL',
  'in_port=2,actions=LOCAL',
  'in_port=3,actions=output:2',
  'in_port=4,tun_id=0x7c,actions=LOCAL',
  'in_port=5,tun_metadata0=0x8/0xf,actions=LOCAL',
];

const IP = 'eth_type(0x0800),ipv4(src=192.168.0.1,dst=192.168.0.2,proto=17,tos=TOS,ttl=64,frag=no),udp(src=1,dst=2)';
const INNER = `skb_mark(0),eth(src=50:54:00:00:00:05,dst=0a:00:00:00:00:99),${IP}`;
const from = (port: number, tunnel: string, tos = '4'): string =>
  `tunnel(${tunnel}),in_port(${port}),${INNER.replace('TOS', tos)}`;
const arriving = (rest: string): string => `in_port(1),eth(src=f8:bc:12:44:34:b6,dst=aa:55:aa:55:00:00),${rest}`;

/** Datapath flows to trace. */
const PACKETS = [
  arriving('eth_type(0x0800),ipv4(src=1.1.2.92,dst=1.1.2.88,proto=17,tos=0,ttl=64,frag=no),udp(src=51283,dst=4789)'),
  arriving('eth_type(0x0800),ipv4(src=1.1.2.92,dst=1.1.2.88,proto=47,tos=0,ttl=64,frag=no)'),
  arriving(
    'eth_type(0x86dd),ipv6(src=2001:cafe::92,dst=2001:cafe::88,label=0,proto=17,tclass=0,hlimit=64,frag=no),udp(src=51283,dst=6081)',
  ),
  from(4789, 'tun_id=0x7b,src=1.1.2.92,dst=1.1.2.88,ttl=64,flags(key)'),
  from(4789, 'tun_id=0x7b,src=1.1.2.92,dst=1.1.2.88,tos=0x3,ttl=64,flags(key|csum)', '1'),
  from(4789, 'tun_id=0x7c,src=1.1.2.99,dst=1.1.2.88,ttl=64,flags(key)'),
  from(3, 'tun_id=0x1c8,src=1.1.2.92,dst=1.1.2.88,ttl=64,flags(key)', '2'),
  from(6081, 'tun_id=0x7b,src=1.1.2.92,dst=1.1.2.88,ttl=64,geneve({class=0x102,type=0x80,len=4,0x18}),flags(key)'),
  from(3, 'tun_id=0x9,src=1.1.2.92,dst=1.1.2.88,ttl=64,flags(key)').replace(
    /eth\(src.*?\),/,
    'packet_type(ns=1,id=0x800),',
  ),
  from(3, 'src=1.1.2.93,dst=1.1.2.88,ttl=64').replace(/eth\(src.*?\),/, 'packet_type(ns=1,id=0x800),'),
  from(6081, 'tun_id=0x7f,src=1.1.2.92,dst=1.1.2.88,ttl=64,flags(key)'),
];

before(async () => {
  if (skip) return;
  for (const kind of ['original', 'ours'] as const) {
    const sb = await startSandbox(kind, '--enable-dummy');
    both.push(sb);
    const must = (program: string, ...args: string[]): void => {
      const r = sb.run(program, ...args);
      assert.equal(r.status, 0, `${kind}: ${program} ${args.join(' ')}: ${r.err}`);
    };
    const db = `--db=unix:${sb.dir}/db.sock`;
    const vsctl = (line: string): void => must('ovs-vsctl', '--timeout=15', db, ...line.split(' '));
    vsctl(
      'add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure other-config:hwaddr=aa:55:aa:55:00:00 ' +
        '-- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1',
    );
    vsctl('add-br int-br -- set bridge int-br datapath_type=dummy fail-mode=secure');
    for (const [name, ofport, options] of TUNNELS) {
      vsctl(`add-port int-br ${name} -- set interface ${name} ofport_request=${ofport} ${options}`);
    }
    for (const command of COMMANDS) must('ovs-appctl', ...command.split(' '));
    must('ovs-ofctl', 'add-flow', 'br0', 'actions=normal');
    must('ovs-ofctl', 'add-tlv-map', 'int-br', MAPS);
    for (const flow of FLOWS) must('ovs-ofctl', '-O', 'OpenFlow15', 'add-flow', 'int-br', flow);
  }
});

after(() => {
  for (const sb of both) sb.stop();
});

/** What both say must be equal, times aside. */
function same(program: string, ...args: string[]): string {
  const [original, ours] = both.map((sb) => {
    const r = sb.run(program, ...args);
    return { status: r.status, out: r.out, err: r.err.replace(/^\S+Z\|\d+\|/gm, '') };
  });
  assert.deepEqual(ours, original, `${program} ${args.join(' ')}`);
  return ours.out;
}

const result = (trace: string): string => trace.slice(trace.indexOf('Megaflow:'));

test('packets into tunnels: the same actions and megaflows', { skip }, () => {
  for (const flow of FLOWS) {
    const dst = /dl_dst=([\da-f:]+)/.exec(flow)?.[1];
    if (!dst) continue;
    for (const tos of ['nw_tos=0', 'nw_tos=0xb8,nw_ecn=2', 'nw_ecn=3']) {
      const packet = `in_port=LOCAL,dl_src=50:54:00:00:00:05,dl_dst=${dst},udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=37,${tos}`;
      assert.match(same('ovs-appctl', 'ofproto/trace', 'int-br', packet), /Datapath actions: /);
    }
    same('ovs-appctl', 'ofproto/trace', 'int-br', `in_port=LOCAL,dl_dst=${dst},arp,arp_op=1`);
  }
});

test('packets out of tunnels: the same tunnel, actions and megaflow', { skip }, () => {
  for (const packet of PACKETS) {
    const [original, ours] = both.map((sb) => sb.run('ovs-appctl', 'ofproto/trace', 'ovs-dummy', packet));
    assert.equal(result(ours.out), result(original.out), packet);
    assert.equal(ours.err.split('\n')[0], original.err.split('\n')[0], packet);
  }
});

test('commands say the same', { skip }, () => {
  for (const command of [
    'tnl/egress_port_range',
    'tnl/neigh/aging',
    'ovs/route/lookup 1.1.2.9',
    'ovs/route/del 9.9.9.0/24',
  ]) {
    same('ovs-appctl', ...command.split(' '));
  }
  for (const command of ['ovs/route/add foo br0', 'ovs/route/add 5.5.5.0/24 nodev', 'tnl/neigh/set br0 1.2.3.4 x']) {
    same('ovs-appctl', ...command.split(' '));
  }
  const lines = (text: string): string[] => text.split('\n').sort();
  for (const command of ['ofproto/list-tunnels', 'tnl/ports/show', 'tnl/neigh/show']) {
    const [original, ours] = both.map((sb) => lines(sb.run('ovs-appctl', command).out));
    assert.deepEqual(ours, original, command);
  }
  const tunnels = both.map((sb) =>
    sb
      .run('ovs-appctl', 'dpif/show')
      .out.split('\n')
      .filter((l) => /^ {4}t\d/.test(l)),
  );
  assert.deepEqual(tunnels[1], tunnels[0]);
  same('ovs-ofctl', 'dump-tlv-map', 'int-br');
  same('ovs-ofctl', 'add-tlv-map', 'int-br', '{class=0x102,type=0x80,len=4}->tun_metadata9');
  same('ovs-ofctl', 'del-tlv-map', 'int-br');
  same('ovs-ofctl', 'add-flow', 'int-br', 'tun_metadata3=7,actions=drop');
});

const WRONG = [
  'vxlan',
  'vxlan options:remote_ip=foo',
  'vxlan options:remote_ip=224.0.0.1',
  'vxlan options:remote_ip=1.1.1.1 options:local_ip=::1',
  'vxlan options:local_ip=flow options:remote_ip=1.1.1.1',
  'geneve',
];

test('wrong options: the same errors', { skip }, () => {
  for (const options of WRONG) {
    const errors = both.map((sb) => {
      const db = `--db=unix:${sb.dir}/db.sock`;
      const set = `add-port int-br bad -- set interface bad type=${options}`;
      sb.run('ovs-vsctl', '--timeout=10', db, ...set.split(' '));
      const error = sb.run('ovs-vsctl', db, 'get', 'interface', 'bad', 'error').out;
      sb.run('ovs-vsctl', '--timeout=10', db, 'del-port', 'bad');
      return error;
    });
    assert.equal(errors[1], errors[0], options);
  }
});
