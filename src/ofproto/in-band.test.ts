import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMatch } from '../flow/match-text.ts';
import { inBandRules, remoteAddress } from './in-band.ts';

test('in-band rules let ARP, DHCP and the controller connection through', () => {
  const mac = Uint8Array.of(0xc6, 0x8a, 0xe8, 1, 0x51, 0x41);
  const text = inBandRules(['tcp:127.0.0.1:9', 'unix:/a'], mac)
    .sort((a, b) => b.priority - a.priority)
    .map(({ match, priority }) => formatMatch(match, priority));
  // As `ovs-appctl bridge/dump-flows` of Open vSwitch 3.1 shows them.
  assert.deepEqual(text, [
    'priority=180008,tcp,nw_src=127.0.0.1,tp_src=9',
    'priority=180007,tcp,nw_dst=127.0.0.1,tp_dst=9',
    'priority=180006,arp,arp_spa=127.0.0.1,arp_op=1',
    'priority=180005,arp,arp_tpa=127.0.0.1,arp_op=2',
    'priority=180002,arp,dl_src=c6:8a:e8:01:51:41,arp_op=1',
    'priority=180001,arp,dl_dst=c6:8a:e8:01:51:41,arp_op=2',
    'priority=180000,udp,in_port=LOCAL,dl_src=c6:8a:e8:01:51:41,tp_src=68,tp_dst=67',
  ]);
});

test('only controllers with an IPv4 address are reached in band', () => {
  assert.deepEqual(remoteAddress('ssl:10.0.0.1'), { ip: 0x0a000001, port: 6653 });
  assert.equal(remoteAddress('ptcp:6653'), null);
  assert.equal(remoteAddress('unix:/tmp/c'), null);
  assert.deepEqual(inBandRules(['ptcp:6653'], new Uint8Array(6)), []);
});
