/** Texts are the original's, from `ofproto/trace` and `dpctl/dump-flows`. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { formatDpActions, parseDpActions } from './dp-text.ts';

const ETH = 'eth(dst=f8:bc:12:44:34:b6,src=aa:55:aa:55:00:00,dl_type=0x0800)';
const TEXTS = [
  `tnl_push(tnl_port(4789),header(size=50,type=4,${ETH},ipv4(src=1.1.2.88,dst=1.1.2.92,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x7b)),out_port(100)),1`,
  'clone(tnl_push(tnl_port(4789),header(size=70,type=4,eth(dst=f8:bc:12:44:34:c7,src=aa:55:aa:55:00:00,dl_type=0x86dd),ipv6(src=2001:cafe::88,dst=2001:cafe::92,label=0,proto=17,tclass=0x2,hlimit=64),udp(src=0,dst=4789,csum=0xffff),vxlan(flags=0x8000000,vni=0x4d)),out_port(100)),1),2',
  `tnl_push(tnl_port(6081),header(size=58,type=5,${ETH},ipv4(src=1.1.2.88,dst=1.1.2.92,proto=17,tos=0x40,ttl=64,frag=0x4000),udp(src=0,dst=6081,csum=0xffff),geneve(crit,vni=0x7b,options({class=0x102,type=0x80,len=4,0xa}))),out_port(100)),1`,
  `tnl_push(tnl_port(3),header(size=46,type=3,${ETH},ipv4(src=1.1.2.88,dst=1.1.2.92,proto=47,tos=0,ttl=64,frag=0x4000),gre((flags=0x3000,proto=0x6558),key=0x1c8,seq=0x0)),out_port(100)),1`,
  'tnl_pop(4789)',
];

for (const text of TEXTS) {
  test(`tunnel actions survive reading and printing: ${text.slice(0, 40)}`, () => {
    const read = parseDpActions(text);
    ok(read.ok);
    equal(formatDpActions(read.actions), text);
  });
}

test('a header whose size is not what its parts add up to is refused', () => {
  const read = parseDpActions(TEXTS[0].replace('size=50', 'size=54'));
  equal(read.ok, false);
});

test('ports of tunnel actions may be named', () => {
  const read = parseDpActions('tnl_pop(vxlan_sys_4789)', (name) => (name === 'vxlan_sys_4789' ? 7 : undefined));
  deepEqual(read, { ok: true, actions: [{ kind: 'tnl_pop', port: 7 }] });
});
