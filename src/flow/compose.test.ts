import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { finishSum, pseudoHeaderSum, sumBytes } from '../packet/checksum.ts';
import { readPcap, writePcap } from '../packet/pcap.ts';
import { composePacket, defaultPayload } from './compose.ts';
import { extractFlow } from './extract.ts';
import { FlowKey } from './key.ts';
import { OFS } from './layout.ts';
import { parseMatch } from './match-text.ts';

function keyOf(text: string): FlowKey {
  const r = parseMatch(text);
  assert.ok(r.ok, text);
  return r.match.key;
}

/** What the original's `ovs-ofctl compose-packet` makes of the same flow. */
test('a TCP packet equals the one the original composes', () => {
  const key = keyOf(
    'tcp,dl_src=00:00:00:00:00:01,nw_src=1.2.3.4,nw_dst=2.3.4.5,tp_src=80,tp_dst=90,nw_ttl=64,tcp_flags=syn',
  );
  assert.equal(
    Buffer.from(composePacket(key)).toString('hex'),
    '00000000000000000000000108004500002800000000400670c3010203040203040500500' + '05a000000000000000050020000a52b0000',
  );
});

test('the default payload is that of the original', () => {
  for (const [text, length] of [
    ['udp,tp_src=3', 64],
    ['tcp,tcp_flags=ack', 64],
    ['tcp,tcp_flags=syn', 0],
    ['icmp,icmp_type=8,icmp_code=0', 64],
    ['icmp,icmp_type=3,icmp_code=0', 0],
    ['icmp6,icmp_type=129,icmp_code=0', 64],
    ['icmp6,icmp_type=130,icmp_code=0', 0],
    ['sctp', 0],
    ['ip,nw_proto=99', 0],
    ['arp', 0],
    ['udp,nw_frag=later', 0],
  ] as const) {
    assert.equal(defaultPayload(keyOf(text)).length, length, text);
  }
});

const FLOWS = [
  'dl_type=0x1234',
  'dl_type=0x05ff',
  'arp,arp_op=2,arp_spa=1.2.3.4,arp_tpa=2.3.4.5,arp_sha=00:11:22:33:44:55,arp_tha=00:00:00:00:00:07',
  'rarp,arp_op=3',
  'ip,nw_src=1.1.1.1,nw_proto=99,nw_tos=4,nw_ecn=1',
  'tcp,dl_vlan=5,dl_vlan_pcp=3,nw_src=1.1.1.1,tp_src=1,tp_dst=65535,tcp_flags=0xfff',
  'udp,nw_dst=1.1.1.1,tp_src=53',
  'sctp,tp_dst=7',
  'icmp,icmp_type=8,icmp_code=3',
  'ip,nw_proto=2',
  'udp,nw_frag=first,tp_src=3',
  'udp,nw_frag=later',
  'tcp6,ipv6_src=::1,ipv6_dst=fe80::1,ipv6_label=0x12345,nw_ttl=3,nw_tos=8,tp_src=5',
  'udp6,tp_src=3,nw_frag=first',
  'ipv6,nw_proto=44,nw_frag=later',
  'icmp6,icmp_type=128',
  'icmp6,icmp_type=135,icmp_code=0,nd_target=::1,nd_sll=00:00:00:00:00:01,nd_options_type=1',
  'icmp6,icmp_type=136,icmp_code=0,nd_target=::1,nd_tll=00:00:00:00:00:01,nd_options_type=2,nd_reserved=5',
  'mpls,mpls_label=5,mpls_tc=2,mpls_ttl=3,mpls_bos=1',
  'dl_type=0x894f,nsh_flags=1,nsh_ttl=3,nsh_mdtype=1,nsh_np=3,nsh_spi=0x123456,nsh_si=255,nsh_c1=1,nsh_c4=5',
];

for (const text of FLOWS) {
  test(`composed and extracted: ${text}`, () => {
    const key = keyOf(text);
    const out = new FlowKey();
    extractFlow(composePacket(key), out);
    const expected = key.clone();
    if (expected.get16(OFS.vlan_tci) !== 0) expected.set16(OFS.vlan_tpid, 0x8100);
    assert.deepEqual(out.u8, expected.u8);
  });
}

test('transport checksums are right over any payload', () => {
  fc.assert(
    fc.property(fc.constantFrom('tcp', 'udp', 'tcp6', 'udp6'), fc.uint8Array({ maxLength: 100 }), (proto, payload) => {
      const v6 = proto.endsWith('6');
      const packet = composePacket(keyOf(`${proto},tp_src=7,tp_dst=9`), payload);
      const l4 = 14 + (v6 ? 40 : 20);
      const number = proto.startsWith('tcp') ? 6 : 17;
      const length = packet.length - l4;
      const sum =
        sumBytes(packet, l4, length) + pseudoHeaderSum(packet, 14 + (v6 ? 8 : 12), v6 ? 16 : 4, number, length);
      assert.equal(finishSum(sum), 0);
    }),
  );
});

test('random and cut-short packets never throw, and metadata stays', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...FLOWS),
      fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 4 }),
      fc.nat(120),
      (text, edits, cut) => {
        const packet = composePacket(keyOf(text));
        for (const [at, v] of edits) if (at < packet.length) packet[at] = v;
        const key = new FlowKey();
        key.set32(OFS.in_port, 7);
        key.set32(OFS.reg0, 9);
        extractFlow(packet.subarray(0, cut), key);
        assert.equal(key.get32(OFS.in_port), 7);
        assert.equal(key.get32(OFS.reg0), 9);
      },
    ),
  );
});

test('capture files', () => {
  const packets = [Uint8Array.of(1, 2, 3), new Uint8Array(60)];
  const r = readPcap(writePcap(packets));
  assert.ok(r.ok);
  assert.deepEqual(
    r.packets.map((p) => Buffer.from(p.packet).toString('hex')),
    packets.map((p) => Buffer.from(p).toString('hex')),
  );
  assert.ok(!readPcap(new Uint8Array(24)).ok);
});
