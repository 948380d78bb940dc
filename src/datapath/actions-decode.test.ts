/** What the fast path runs reads back as what it was made from. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDpActions, parseDpActions } from '../flow/dp-text.ts';
import { encodeActions } from './actions-code.ts';
import { decodeActions } from './actions-decode.ts';

const LINES = [
  '1,2,3',
  'set(ipv4(dst=10.0.0.3,ttl=63)),5',
  'set(eth(src=02:00:00:00:00:01/01:00:00:00:00:ff)),set(tcp(dst=99)),4',
  'push_vlan(vid=7,pcp=3),1,pop_vlan,2',
  'push_mpls(label=77,tc=0,ttl=64,bos=1,eth_type=0x8847),2,pop_mpls(eth_type=0x800),recirc(0x1234)',
  'clone(set(ipv6(dst=2001:db8::1)),3),4',
  'sample(sample=50.0%,actions(1,2)),3',
  'check_pkt_len(size=1500,gt(1),le(2,3))',
  'hash(l4(7)),recirc(0x5)',
  'trunc(100),2',
  'ct(commit,zone=5,mark=0x7/0xff,nat(src=10.0.0.1-10.0.0.9:1000-2000)),recirc(0x9)',
  'ct(zone=1,nat),recirc(0x2)',
  'ct(commit,zone=1,helper=ftp,nat(dst=2001:db8::5)),1',
  'ct_clear,meter(3),1',
  'tnl_pop(4)',
  'tnl_push(tnl_port(4),header(size=50,type=4,eth(dst=46:4a:bc:20:0d:c8,src=32:97:03:36:7b:43,dl_type=0x0800),ipv4(src=172.31.9.1,dst=172.31.9.2,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x7)),out_port(1)),2',
];

test('actions survive their way through the arena', () => {
  for (const line of LINES) {
    const parsed = parseDpActions(line);
    assert.ok(parsed.ok, `${line}: ${parsed.ok ? '' : parsed.error}`);
    const code = Int32Array.from(encodeActions(parsed.actions, { add: () => 1 }));
    const back = decodeActions(code, 0, code.length, () => undefined).map(({ action }) => {
      assert.ok(action, line);
      return action;
    });
    assert.equal(formatDpActions(back), formatDpActions(parsed.actions));
  }
});

test('what it has no words for has a name', () => {
  const [output] = encodeActions([{ kind: 'output', port: 1 }], { add: () => 1 });
  const code = Int32Array.of((output & ~0xff) | 250, 1);
  assert.deepEqual(
    decodeActions(code, 0, code.length, () => undefined),
    [{ action: null, op: 250 }],
  );
});
