import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalize } from './normalize.ts';

const UDP =
  'in_port(1),eth(src=00:01:02:03:04:05,dst=10:11:12:13:14:15),eth_type(0x0800),ipv4(src=1.2.3.4,dst=5.6.7.8,proto=17,tos=0,ttl=128,frag=no),udp(src=1,dst=2)';

/** Answers of Open vSwitch 3.1. */
test('actions are sorted by the tags that the packet has then', () => {
  const cases: [string, string][] = [
    ['1,2', 'no vlan: no mpls: 1,2'],
    [
      'set(ipv4(ttl=1)),push_vlan(vid=7,pcp=0),1,pop_vlan,2',
      'no vlan: no mpls: set(ipv4(ttl=1)),2vlan(vid=7,pcp=0): no mpls: 1',
    ],
    [
      'push_vlan(vid=7,pcp=0),1,push_vlan(vid=8,pcp=3),2,pop_vlan,pop_vlan,push_vlan(vid=3,pcp=0),1',
      'vlan(vid=3,pcp=0): no mpls: 1vlan(vid=7,pcp=0): no mpls: 1vlan(vid=8,pcp=3): vlan(vid=7,pcp=0): no mpls: 2',
    ],
    ['drop', 'no vlan: no mpls: drop'],
    ['ct(commit),recirc(1)', 'no vlan: no mpls: ct(commit),recirc(0x1)'],
  ];
  for (const [actions, sorted] of cases) assert.equal(normalize([UDP, actions]), `input flow: ${UDP}\n${sorted}\n`);
  assert.equal(normalize([UDP, '']), `input flow: ${UDP}\n`);
});

test('errors say what could not be read', () => {
  const whole = 'odp_flow_key_to_flow failed (reason unknown) (No such file or directory)';
  assert.throws(() => normalize(['in_port(1),eth_type(0x0806)', '1']), {
    message: `input flow: in_port(1),eth_type(0x0806)\novs-vswitchd: ${whole}`,
  });
  assert.throws(() => normalize(['in_port(1)', 'bogus']), {
    message: 'input flow: in_port(1)\novs-vswitchd: odp_actions_from_string (Invalid argument)',
  });
  assert.throws(() => normalize(['bogus(1)', '1']), {
    message: 'ovs-vswitchd: odp_flow_key_from_string (syntax error at bogus(1)) (Invalid argument)',
  });
});
