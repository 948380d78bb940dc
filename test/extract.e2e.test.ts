/** What our extraction reads from whole, odd and broken packets is what the original's `ovs-ofctl parse-pcap` prints. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { composePacket } from '../src/flow/compose.ts';
import { extractFlow } from '../src/flow/extract.ts';
import { FlowKey } from '../src/flow/key.ts';
import { OFS } from '../src/flow/layout.ts';
import { parseMatch } from '../src/flow/match-text.ts';
import { OFPP } from '../src/flow/ofpp.ts';
import { formatFlow } from '../src/ofproto/xlate/flow-text.ts';
import { writePcap } from '../src/packet/pcap.ts';

const FLOWS = [
  'dl_type=0x1234',
  'dl_type=0x05ff',
  'arp,arp_op=2,arp_spa=1.2.3.4,arp_tpa=2.3.4.5,arp_sha=00:11:22:33:44:55,arp_tha=00:00:00:00:00:07',
  'tcp,dl_vlan=5,dl_vlan_pcp=3,nw_src=1.1.1.1,tp_src=1,tp_dst=65535,tcp_flags=0xfff',
  'tcp,nw_src=1.1.1.1,tp_src=1,tp_dst=65535,tcp_flags=0x2',
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

/** A small generator, so that a failure comes again. */
function generator(seed: number): (n: number) => number {
  let s = seed;
  return (n) => {
    s = (Math.imul(s, 1103515245) + 12345) & 0x7fffffff;
    return (s >>> 8) % n;
  };
}

function packets(): Uint8Array[] {
  const random = generator(1);
  const out: Uint8Array[] = [];
  for (const text of FLOWS) {
    const r = parseMatch(text);
    assert.ok(r.ok);
    const whole = composePacket(r.match.key, new Uint8Array(20));
    out.push(whole);
    for (let cut = 14; cut < whole.length; cut += 3) out.push(whole.slice(0, cut));
    for (let i = 0; i < 100; i++) {
      const p = whole.slice();
      for (let n = 1 + random(3); n > 0; n--)
        p[12 + random(Math.min(p.length - 12, 70))] = random(4) === 0 ? random(256) : random(8);
      out.push(p);
    }
    // Extension headers and second tags in front of what the protocol says.
    for (const next of [0, 43, 44, 51, 60, 135]) {
      const p = whole.slice();
      p[20] = next;
      p[54] = [6, 17, 58, 44][random(4)];
      p[55] = random(3);
      p[56] = random(2);
      p[57] = random(10);
      out.push(p);
    }
    const tag = Uint8Array.of(
      0x88,
      0xa8,
      random(256),
      random(256),
      0x81,
      0x00,
      random(256),
      random(256),
      0x81,
      0,
      0,
      1,
    );
    for (const length of [4, 8, 12]) {
      out.push(Buffer.concat([whole.subarray(0, 12), tag.subarray(0, length), whole.subarray(12)]));
    }
  }
  return out;
}

test('extraction equals the original on whole, cut and corrupted packets', (t) => {
  if (spawnSync('ovs-ofctl', ['--version']).status !== 0) {
    t.skip('ovs-ofctl is not installed');
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), 'extract-'));
  try {
    const input = packets();
    const file = join(dir, 'in.pcap');
    writeFileSync(file, writePcap(input));
    const lines = execFileSync('ovs-ofctl', ['parse-pcap', file], { encoding: 'utf8', maxBuffer: 1 << 26 })
      .trimEnd()
      .split('\n');
    assert.equal(lines.length, input.length);
    input.forEach((packet, i) => {
      const key = new FlowKey();
      key.set32(OFS.in_port, OFPP.NONE);
      extractFlow(packet, key);
      assert.equal(formatFlow(key), lines[i], Buffer.from(packet).toString('hex'));
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
