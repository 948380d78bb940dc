import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { bytesOfHex, headersOf, summary } from './headers.ts';

const PING = '12ada2605978a209d2c3488e08004500005493c640004001920e0a4d00010a4d00020800d3b300010002' + '00'.repeat(56);
const values = (hex: string): Record<string, string> =>
  Object.fromEntries(headersOf(bytesOfHex(hex)).map((f) => [`${f.layer}.${f.name}`, f.value]));

test('headers are read with the bytes they stand in', () => {
  const fields = values(PING);
  assert.equal(fields['Ethernet.source'], 'a2:09:d2:c3:48:8e');
  assert.equal(fields['IPv4.destination'], '10.77.0.2');
  assert.equal(fields['IPv4.TTL'], '64');
  assert.equal(fields['ICMP.sequence'], '2');
  const ttl = headersOf(bytesOfHex(PING)).find((f) => f.name === 'TTL');
  assert.deepEqual([ttl?.start, ttl?.end], [22, 23]);
});

test('tags, ARP, IPv6 and what a VXLAN tunnel carries', () => {
  const tagged = `${PING.slice(0, 24)}8100600a${PING.slice(24)}`;
  assert.equal(values(tagged)['VLAN.VLAN'], '10');
  assert.equal(values(tagged)['VLAN.priority'], '3');
  assert.equal(values(tagged)['IPv4.source'], '10.77.0.1');
  const arp = 'ffffffffffffc2ef6102ab9808060001080006040001c2ef6102ab980a0000010000000000000a000002';
  assert.equal(summary(bytesOfHex(arp)), 'ARP request 10.0.0.1 → 10.0.0.2');
  const v6 = `33330000000286bbdb5054db86dd60000000001000fffe80000000000000${'84bbdbfffe5054db'}ff020000000000000000000000000002${'85003ab000000000'}`;
  assert.match(summary(bytesOfHex(v6)), /→ ff02::2$/);
  const outer = `020000000002020000000001080045000086000040004011b4e8c0000201c0000202${'c000'}12b5${'0072'}0000${'0800000000002a00'}`;
  const tunneled = values(outer + PING);
  assert.equal(tunneled['VXLAN.VNI'], '42');
  assert.equal(tunneled['inner IPv4.destination'], '10.77.0.2');
  assert.equal(summary(bytesOfHex(outer + PING)), 'inner ICMP 10.77.0.1 → 10.77.0.2');
});

test('whatever the bytes, fields lie inside of them', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(PING.length), (noise, cut) => {
      const bytes = new Uint8Array([...bytesOfHex(PING.slice(0, cut & ~1)), ...noise]);
      for (const f of headersOf(bytes))
        assert.ok(f.start >= 0 && f.start < f.end && f.end <= bytes.length, JSON.stringify(f));
      assert.ok(summary(bytes).length > 0);
    }),
  );
});
