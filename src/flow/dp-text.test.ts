import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { formatDpActions, formatDpKey, parseDpActions, parseDpKey } from './dp-text.ts';
import { OFS } from './layout.ts';

/** Keys as given to the original's `dpctl/add-flow`, and how its `dpctl/dump-flows` shows them; null for the same words. */
const KEYS: readonly (readonly [given: string, shown: string | null])[] = [
  [
    'in_port(1),eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),ipv4(src=1.1.1.1,dst=2.2.2.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=1,dst=2),tcp_flags(syn)',
    'recirc_id(0),in_port(1),eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),ipv4(src=1.1.1.1,dst=2.2.2.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=1,dst=2),tcp_flags(syn)',
  ],
  [
    'recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1/255.255.255.0,dst=2.2.2.2,proto=17,tos=0/0xfc,ttl=64,frag=no),udp(src=1,dst=2/0xff)',
    null,
  ],
  [
    'in_port(1),eth(),eth_type(0x0806),arp(sip=1.1.1.1,tip=2.2.2.2,op=1,sha=00:00:00:00:00:01,tha=00:00:00:00:00:00)',
    'recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp(sip=1.1.1.1,tip=2.2.2.2,op=1,sha=00:00:00:00:00:01,tha=00:00:00:00:00:00)',
  ],
  [
    'in_port(1),eth(dst=00:00:00:00:00:02),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0800),ipv4(frag=no))',
    'recirc_id(0),in_port(1),eth(dst=00:00:00:00:00:02),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0800),ipv4(frag=no))',
  ],
  [
    'in_port(1),eth(),eth_type(0x86dd),ipv6(src=::1,dst=::2/ffff::,label=0x5,proto=58,tclass=0x4,hlimit=64,frag=no),icmpv6(type=135,code=0),nd(target=::1,sll=00:00:00:00:00:01,tll=00:00:00:00:00:00)',
    'recirc_id(0),in_port(1),eth(),eth_type(0x86dd),ipv6(src=::1,dst=::2/ffff::,label=0x5,proto=58,tclass=0x4,hlimit=64,frag=no),icmpv6(type=135,code=0),nd(target=::1,sll=00:00:00:00:00:01,tll=00:00:00:00:00:00)',
  ],
  [
    'in_port(1),eth(),eth_type(0x8847),mpls(label=5,tc=1,ttl=3,bos=1)',
    'recirc_id(0),in_port(1),eth(),eth_type(0x8847),mpls(label=5,tc=1,ttl=3,bos=1)',
  ],
  ['recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x8847),mpls(label=5/0x0,tc=0/0,ttl=3/0xff,bos=1/0)', null],
  [
    'skb_priority(0x5),skb_mark(0x6/0xf),in_port(2),eth(),eth_type(0x1234)',
    'skb_priority(0x5),skb_mark(0x6/0xf),recirc_id(0),in_port(2),eth(),eth_type(0x1234)',
  ],
  [
    'recirc_id(0x5),dp_hash(0x3/0xf),ct_state(+trk+est-new),ct_zone(0x5),ct_mark(0x3/0xff),ct_label(0x5/0xff),in_port(2),eth(),eth_type(0x0800),ipv4(frag=no)',
    'ct_state(-new+est+trk),ct_zone(0x5),ct_mark(0x3/0xff),ct_label(0x5/0xff),recirc_id(0x5),dp_hash(0x3/0xf),in_port(2),eth(),eth_type(0x0800),ipv4(frag=no)',
  ],
  [
    'recirc_id(0x6),ct_state(0x21/0x21),ct_tuple4(src=1.1.1.1,dst=2.2.2.2,proto=6,tp_src=1,tp_dst=2),in_port(2),eth(),eth_type(0x0800),ipv4(frag=no)',
    'ct_state(+new+trk),ct_tuple4(src=1.1.1.1,dst=2.2.2.2,proto=6,tp_src=1,tp_dst=2),recirc_id(0x6),in_port(2),eth(),eth_type(0x0800),ipv4(frag=no)',
  ],
  [
    'recirc_id(0x6),ct_state(+trk),ct_tuple6(src=::1,dst=::2,proto=6,tp_src=1,tp_dst=2),in_port(2),eth(),eth_type(0x86dd),ipv6(frag=no)',
    'ct_state(+trk),ct_tuple6(src=::1,dst=::2,proto=6,src_port=1,dst_port=2),recirc_id(0x6),in_port(2),eth(),eth_type(0x86dd),ipv6(frag=no)',
  ],
  [
    'tunnel(tun_id=0x5,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(-df+csum+key)),in_port(2),eth(),eth_type(0x1235)',
    'tunnel(tun_id=0x5,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(-df+csum+key)),recirc_id(0),in_port(2),eth(),eth_type(0x1235)',
  ],
  ['recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4(proto=1,frag=no),icmp(type=8,code=0)', null],
  ['recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4(proto=6,frag=later)', null],
  ['recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4(proto=6,frag=first),tcp(dst=5),tcp_flags(+syn-ack)', null],
  ['recirc_id(0),in_port(2),eth(dst=01:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x9999)', null],
  ['recirc_id(0),in_port(1),packet_type(ns=1,id=0x800),eth_type(0x0800),ipv4(frag=no)', null],
  ['recirc_id(0),in_port(1),eth(),eth_type(0x86dd),ipv6(label=0/0xf,proto=17,frag=no),udp(src=53)', null],
  [
    'skb_priority(0),recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=13)',
    null,
  ],
  ['recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0/0xffff)', null],
  ['recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x894f),nsh(ttl=3)', null],
  [
    'recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x8100),vlan(vid=5,pcp=2/0x0),encap(eth_type(0x0800),ipv4(frag=no))',
    null,
  ],
  [
    'recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x8100),vlan(vid=5/0x0,pcp=3),encap(eth_type(0x86dd),ipv6(frag=no))',
    null,
  ],
];

for (const [given, shown] of KEYS) {
  test(`key ${given}`, () => {
    const r = parseDpKey(given);
    assert.ok(r.ok, JSON.stringify(r));
    assert.equal(formatDpKey(r.key, r.mask), shown ?? given);
    const again = parseDpKey(shown ?? given);
    assert.ok(again.ok);
    assert.ok(again.key.equals(r.key) && again.mask.equals(r.mask));
  });
}

test('a verbose key shows what it does not look at', () => {
  const r = parseDpKey(
    'in_port(2),eth(),eth_type(0x0800),ipv4(proto=6,frag=first),tcp(dst=5),tcp_flags(+syn-ack),ct_state(0x21/0x21)',
  );
  assert.ok(r.ok);
  assert.equal(
    formatDpKey(r.key, r.mask, { verbose: true, names: (no) => (no === 2 ? 'p2' : undefined) }),
    'skb_priority(0/0),skb_mark(0/0),ct_state(0x21/0x21),ct_zone(0/0),ct_mark(0/0),ct_label(0/0),recirc_id(0),dp_hash(0/0),in_port(p2),packet_type(ns=0/0,id=0/0),eth(src=00:00:00:00:00:00/00:00:00:00:00:00,dst=00:00:00:00:00:00/00:00:00:00:00:00),eth_type(0x0800),ipv4(src=0.0.0.0/0.0.0.0,dst=0.0.0.0/0.0.0.0,proto=6,tos=0/0,ttl=0/0,frag=first),tcp(src=0/0,dst=5),tcp_flags(+syn-ack)',
  );
});

test('a verbose megaflow shows the whole packet it was made for', () => {
  const text =
    'in_port(9),packet_type(ns=0,id=0),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x86dd),ipv6(src=::1,dst=::2,label=0,proto=58,tclass=0,hlimit=255,frag=no),icmpv6(type=135,code=0),nd(target=::5,sll=00:00:00:00:00:01)';
  const packet = parseDpKey(text, undefined, { exact: true });
  const mask = parseDpKey(
    'recirc_id(0),in_port(9),packet_type(ns=0,id=0),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135)',
  );
  assert.ok(packet.ok && mask.ok);
  assert.equal(
    formatDpKey(packet.key, mask.mask, { verbose: true, names: () => 'p-1' }),
    'skb_priority(0/0),skb_mark(0/0),ct_state(0/0),ct_zone(0/0),ct_mark(0/0),ct_label(0/0),recirc_id(0),dp_hash(0/0),in_port(p-1),packet_type(ns=0,id=0),eth(src=50:54:00:00:00:09/00:00:00:00:00:00,dst=50:54:00:00:00:0a/00:00:00:00:00:00),eth_type(0x86dd),ipv6(src=::1/::,dst=::2/::,label=0/0,proto=58,tclass=0/0,hlimit=255/0,frag=no),icmpv6(type=135,code=0/0),nd(target=::5/::,sll=00:00:00:00:00:01/00:00:00:00:00:00,tll=00:00:00:00:00:00/00:00:00:00:00:00)',
  );
});

test('an exact key has no masks', () => {
  const r = parseDpKey('in_port(1),eth(src=50:54:00:00:00:09/ff:ff:ff:ff:00:00)', undefined, { exact: true });
  assert.equal(r.ok ? 'ok' : r.error, 'syntax error at eth(src=50:54:00:00:00:09/ff:ff:ff:ff:00:00)');
});

test('two tags', () => {
  const text =
    'recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x88a8),vlan(vid=5,pcp=3),encap(eth_type(0x8100),vlan(vid=6,pcp=0),encap(eth_type(0x0800),ipv4(frag=no)))';
  const r = parseDpKey(text);
  assert.ok(r.ok);
  assert.equal(r.key.get16(OFS.vlan_tpid), 0x88a8);
  assert.equal(r.key.get16(OFS.vlan2_tci), 0x1006);
  assert.equal(formatDpKey(r.key, r.mask), text);
});

test('what cannot be read is named', () => {
  for (const [text, rest] of [
    ['foo(1)', 'foo(1)'],
    ['in_port(1),eth(src=1)', 'eth(src=1)'],
    ['in_port(1', 'in_port(1'],
    ['in_port(1),ipv4(frag=sometimes)', 'ipv4(frag=sometimes)'],
  ]) {
    const r = parseDpKey(text);
    assert.equal(r.ok ? 'ok' : r.error, `syntax error at ${rest}`);
  }
});

/** What the original's `ovs-dpctl parse-actions` and `dpctl/dump-flows` write. */
const ACTIONS = [
  '1',
  '1,2',
  'drop',
  'push_vlan(vid=1,pcp=0),2',
  'push_vlan(tpid=0x88a8,vid=1,pcp=3,cfi=0)',
  'pop_vlan',
  'set(ipv4(src=1.2.3.4))',
  'set(ipv4(src=1.2.3.0/255.255.255.0,dst=1.1.1.1,tos=0/0xfc,ttl=63))',
  'set(ipv4(tos=0x4/0xfc)),2',
  'set(eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02))',
  'set(tcp(src=80))',
  'set(tcp(src=80/0xff))',
  'set(udp(dst=80))',
  'set(sctp(src=1,dst=2))',
  'set(ipv6(src=::1,dst=::/ffff::,label=0x5,tclass=0x4,hlimit=5))',
  'set(arp(sip=1.1.1.1,tip=2.2.2.2,op=1,sha=00:00:00:00:00:01,tha=00:00:00:00:00:02))',
  'set(nd(target=::1,sll=00:00:00:00:00:01))',
  'set(icmp(type=8,code=0))',
  'set(icmpv6(type=8,code=0))',
  'set(mpls(label=5,tc=1,ttl=3,bos=1))',
  'set(nsh(ttl=5)),2',
  'set(skb_mark(0x5))',
  'set(skb_mark(0x5/0xf))',
  'set(skb_priority(0x5))',
  'set(tunnel(tun_id=0x5,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(df|key)))',
  'set(tunnel(tun_id=0x5,dst=2.2.2.2,ttl=64,tp_dst=4789,flags(df|csum|key)))',
  'set(tunnel(dst=2.2.2.2,ttl=64,vxlan(gbp(id=5,flags=0x1)),flags(df)))',
  'set(tunnel(ipv6_src=::1,ipv6_dst=::2,ttl=64,flags(df)))',
  'userspace(pid=0,controller(reason=1,dont_send=0,continuation=0,recirc_id=1,rule_cookie=0x1,controller_id=0,max_len=65535))',
  'userspace(pid=0,slow_path(action))',
  'userspace(pid=0,userdata(0102000000000000))',
  'ct',
  'ct(commit)',
  'ct(commit,zone=1,mark=0x5/0xf,label=0x5/0xff)',
  'ct(commit,zone=1,nat(src=1.1.1.1-1.1.1.5:5-10,random))',
  'ct(commit,nat(dst=[::1]:5,persistent,hash))',
  'ct(force_commit,helper=ftp)',
  'ct(commit,timeout=foo)',
  'ct(nat)',
  'ct(commit,nat(src))',
  'ct_clear',
  'ct(commit,zone=1,mark=0x5/0xffffffff,nat(src=1.1.1.1)),recirc(0x3)',
  'hash(l4(0)),recirc(0x5)',
  'sample(sample=50.0%,actions(1,2))',
  'clone(1,2)',
  'trunc(100),1',
  'meter(5),1',
  'check_pkt_len(size=100,gt(drop),le(2))',
  'push_mpls(label=5,tc=0,ttl=64,bos=1,eth_type=0x8847),2',
  'pop_mpls(eth_type=0x800)',
  'push_eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02)',
  'push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1234,si=255,c1=0x11223344,c2=0x0,c3=0x0,c4=0x0)',
  'push_nsh(flags=0,ttl=63,mdtype=2,np=3,spi=0x0,si=255,md2=0x10000a0412345678)',
  'pop_nsh()',
  'lb_output(19)',
  'userspace(pid=0,sFlow(vid=5,pcp=2,output=2147483650),actions)',
  'userspace(pid=0,ipfix(output_port=4294967295))',
  'userspace(pid=0,flow_sample(probability=1000,collector_set_id=7,obs_domain_id=2,obs_point_id=3,output_port=1,egress))',
  'add_mpls(label=7,tc=0,ttl=63,bos=1,eth_type=0x8848)',
  'pop_eth',
];

for (const text of ACTIONS) {
  test(`actions ${text}`, () => {
    const r = parseDpActions(text);
    assert.ok(r.ok);
    assert.equal(formatDpActions(r.actions), text);
  });
}

test('bad actions are refused', () => {
  for (const text of [
    'foo',
    'set(foo)',
    'drop(5)',
    'userspace(pid=0,slow_path(controller|cfm))',
    'ct(commit,force_commit)',
    'push_vlan(vid=4096,pcp=0)',
  ]) {
    assert.equal(parseDpActions(text).ok, false, text);
  }
  assert.equal(parseDpActions('clone('.repeat(100) + '1' + ')'.repeat(100)).ok, false);
});

test('ports by name', () => {
  const r = parseDpActions('p1,clone(p2)', (name) => ({ p1: 1, p2: 2 })[name]);
  assert.ok(r.ok);
  assert.equal(
    formatDpActions(r.actions, (no) => `p${no}`),
    'p1,clone(p2)',
  );
});

test('no text makes a parser throw', () => {
  const words = fc.constantFrom(
    'in_port(',
    'eth(',
    'ipv4(',
    'set(',
    'ct(',
    'nat(',
    ')',
    ',',
    '=',
    '/',
    '1',
    'src',
    '0x',
    'vlan(',
    'encap(',
    'mpls(',
    'label=',
    'tunnel(',
    'flags(',
    '+',
    '%',
  );
  fc.assert(
    fc.property(fc.array(words, { maxLength: 12 }), (parts) => {
      parseDpKey(parts.join(''));
      parseDpActions(parts.join(''));
    }),
    { numRuns: 2000 },
  );
});
