import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { DpAction, DpHeader } from '../flow/dp-actions.ts';
import { extractFlow } from '../flow/extract.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { FRAME_HEADROOM } from '../packet/frame.ts';
import { arbitraryPacket } from './arbitrary.ts';
import { UPCALL_KEY } from './commands.ts';
import { byteSwap32 } from './extract.ts';
import { PMD_STAT } from './pmd-stats.ts';
import { TestBed, TestPort } from './testing.ts';

const bed = new TestBed(64);
const ports = [1, 2, 3].map((no) => {
  const port = new TestPort(`p${no}`, bed);
  bed.pmd.addPort(no, port);
  return port;
});
const FRAMES = bed.pool.available;

/** Runs actions on a packet from port 1 by a flow that matches everything of that port; what each port sent comes back. */
function run(packet: Uint8Array, actions: readonly DpAction[]): Uint8Array[][] {
  const key = new FlowKey();
  const mask = new FlowKey();
  key.w[0] = byteSwap32(1);
  mask.w[0] = -1;
  mask.w[1] = -1;
  const flow = bed.flow(key, mask, actions);
  ports[0].input.push(packet);
  bed.pmd.run();
  bed.command(4, flow);
  const sent = ports.map((p) => p.output.splice(0));
  assert.equal(bed.pool.available, FRAMES, 'every frame came back');
  return sent;
}

const output = (port: number): DpAction => ({ kind: 'output', port });
const hex = (p: Uint8Array | undefined): string => Buffer.from(p ?? []).toString('hex');

/** Ones' complement sum of 16-bit words, as far as it goes from `start`. */
function sum(bytes: Uint8Array, start = 0): number {
  let s = start;
  for (let i = 0; i < bytes.length; i += 2) s += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  return s;
}

/** Sets the IPv4 and transport checksums of a packet without tags right. */
function withChecksums(packet: Uint8Array): Uint8Array {
  const p = packet.slice();
  const isV6 = p[12] === 0x86;
  const l4 = isV6 ? 54 : 14 + (p[14] & 15) * 4;
  const proto = isV6 ? p[20] : p[23];
  const put = (at: number, v: number): void => {
    p[at] = v >> 8;
    p[at + 1] = v;
  };
  if (!isV6) {
    put(24, 0);
    put(24, ~sum(p.subarray(14, l4)) & 0xffff);
  }
  const at = l4 + (proto === 6 ? 16 : proto === 17 ? 6 : 2);
  put(at, 0);
  const isIcmp4 = proto === 1;
  const pseudo = isIcmp4 ? 0 : sum(isV6 ? p.subarray(22, 54) : p.subarray(26, 34), proto + p.length - l4);
  const result = ~sum(p.subarray(l4), pseudo) & 0xffff;
  put(at, result === 0 && proto === 17 ? 0xffff : result);
  return p;
}

function ipPacket(version: 4 | 6, proto: number, seed: number[], payload: number): Uint8Array {
  const l3 = version === 4 ? 20 : 40;
  const l4 = proto === 6 ? 20 : 8;
  const size = l4 + payload;
  const p = new Uint8Array(14 + l3 + size).map((_, i) => seed[i % seed.length] + i);
  if (version === 4) {
    p.set([8, 0, 0x45, seed[0], (20 + size) >> 8, 20 + size, 0, 1, 0, 0, 64, proto], 12);
  } else p.set([0x86, 0xdd, 0x60, 0, 0, 0, size >> 8, size, proto, 64], 12);
  if (proto === 6) p[14 + l3 + 12] = 0x50;
  if (proto === 17) p.set([size >> 8, size], 14 + l3 + 4);
  return withChecksums(p);
}

/** Fields that `set` may write, by header. */
const FIELDS: Partial<Record<DpHeader, readonly (readonly [number, number])[]>> = {
  eth: [
    [OFS.eth_dst, 6],
    [OFS.eth_src, 6],
  ],
  ipv4: [
    [OFS.ip_src, 4],
    [OFS.ip_dst, 4],
    [OFS.ip_tos, 1],
    [OFS.ip_ttl, 1],
  ],
  ipv6: [
    [OFS.ipv6_src, 16],
    [OFS.ipv6_dst, 16],
    [OFS.ip_tos, 1],
    [OFS.ip_ttl, 1],
    [OFS.ipv6_label + 2, 2],
  ],
  tcp: [[OFS.tp_src, 4]],
  udp: [[OFS.tp_src, 4]],
  icmp: [
    [OFS.tp_src + 1, 1],
    [OFS.tp_dst + 1, 1],
  ],
  icmpv6: [[OFS.tp_src + 1, 1]],
};

function randomSet(header: DpHeader, values: readonly number[], masks: readonly number[]): DpAction {
  const key = new FlowKey();
  const mask = new FlowKey();
  let n = 0;
  for (const [ofs, length] of FIELDS[header] ?? [])
    for (let i = 0; i < length; i++, n++) {
      mask.u8[ofs + i] = masks[n % masks.length];
      key.u8[ofs + i] = values[n % values.length] & mask.u8[ofs + i];
    }
  return { kind: 'set', header, key, mask };
}

describe('fast path actions', () => {
  it('sets masked fields and keeps every checksum right', () => {
    const bytes = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 7, maxLength: 41 });
    fc.assert(
      fc.property(
        fc.constantFrom<readonly [4 | 6, number]>([4, 6], [4, 17], [4, 1], [6, 6], [6, 17], [6, 58]),
        fc.constantFrom<DpHeader>('eth', 'ipv4', 'ipv6', 'tcp', 'udp', 'icmp', 'icmpv6'),
        bytes,
        bytes,
        bytes,
        fc.integer({ min: 0, max: 50 }),
        ([version, proto], header, seed, values, masks, payload) => {
          const packet = ipPacket(version, proto, seed, payload);
          // Neighbor discovery would bring more fields than this test knows of.
          if (proto === 58) packet[54] = 128;
          const before = proto === 58 ? withChecksums(packet) : packet;
          const action = randomSet(header, values, masks);
          if (header === 'icmpv6') (action as { key: FlowKey }).key.u8[OFS.tp_src + 1] &= 0x7f;
          const [, sent] = run(before, [action, output(2)]);
          assert.equal(sent.length, 1);
          const applies =
            header === 'eth' ||
            (header === 'ipv4' && version === 4) ||
            (header === 'ipv6' && version === 6) ||
            (header === 'tcp' && proto === 6) ||
            (header === 'udp' && proto === 17) ||
            (header === 'icmp' && proto === 1) ||
            (header === 'icmpv6' && proto === 58);
          if (!applies) {
            assert.equal(hex(sent[0]), hex(before));
            return;
          }
          // Checksums made anew are the ones it has; 0 and 0xffff are the same sum.
          const right = withChecksums(sent[0]);
          const zeroIsOnes = (s: string): string => s.replaceAll('ffff', '0000');
          assert.equal(zeroIsOnes(hex(sent[0])), zeroIsOnes(hex(right)));
          const flow = new FlowKey();
          const old = new FlowKey();
          extractFlow(sent[0], flow);
          extractFlow(before, old);
          const { key, mask } = action as { key: FlowKey; mask: FlowKey };
          for (let w = 2; w < 40; w++)
            assert.equal(flow.w[w], (old.w[w] & ~mask.w[w]) | (key.w[w] & mask.w[w]), `word ${w}`);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('leaves a UDP checksum of zero alone over IPv4', () => {
    const packet = ipPacket(4, 17, [1, 2, 3], 10);
    packet[40] = 0;
    packet[41] = 0;
    const [, sent] = run(packet, [randomSet('ipv4', [9, 8, 7, 6], [255]), output(2)]);
    assert.equal(hex(sent[0].subarray(40, 42)), '0000');
    assert.equal(hex(sent[0].subarray(26, 30)), '09080706');
  });

  it('keeps the CRC of SCTP right', () => {
    // An INIT from port 32836 to 80.
    const chunk = '8044 0050 00000000 00000000 01000014 2bb1d1a9 0001a000 000a ffff 3f8a2c11'.replaceAll(' ', '');
    const ip = '4500 0034 0000 4000 40 84 0000 0a000001 0a000002'.replaceAll(' ', '');
    const packet = Uint8Array.from(Buffer.from(`020000000002020000000001${'0800'}${ip}${chunk}`, 'hex'));
    const crc = (p: Uint8Array): number => {
      const q = p.slice(34);
      q.set([0, 0, 0, 0], 8);
      let c = 0xffffffff;
      for (const b of q) {
        c ^= b;
        for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
      }
      return ~c >>> 0;
    };
    new DataView(packet.buffer).setUint32(42, crc(packet), true);
    const key = new FlowKey();
    const mask = new FlowKey();
    key.set16(OFS.tp_dst, 8080);
    mask.set16(OFS.tp_dst, 0xffff);
    const [, sent] = run(packet, [{ kind: 'set', header: 'sctp', key, mask }, output(2)]);
    assert.equal(hex(sent[0].subarray(34, 38)), '80441f90');
    assert.equal(new DataView(sent[0].buffer).getUint32(42, true), crc(sent[0]));
  });

  /** Sets all bytes of some fields and expects the packet to be extracted so, with a right checksum where it has one. */
  function setsFields(
    packet: Uint8Array,
    header: DpHeader,
    fields: readonly (readonly [number, number])[],
  ): Uint8Array {
    const key = new FlowKey();
    const mask = new FlowKey();
    for (const [ofs, length] of fields)
      for (let i = 0; i < length; i++) {
        key.u8[ofs + i] = 0x31 + i;
        mask.u8[ofs + i] = 0xff;
      }
    const [, sent] = run(packet, [{ kind: 'set', header, key, mask }, output(2)]);
    const before = new FlowKey();
    const after = new FlowKey();
    extractFlow(packet, before);
    extractFlow(sent[0], after);
    for (let w = 2; w < 63; w++) assert.equal(after.w[w], (before.w[w] & ~mask.w[w]) | key.w[w], `word ${w}`);
    return sent[0];
  }

  it('sets ARP', () => {
    const packet = Uint8Array.from({ length: 60 }, (_, i) => i);
    packet.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1], 12);
    const fields = [
      [OFS.ip_proto, 1],
      [OFS.ip_src, 4],
      [OFS.ip_dst, 4],
      [OFS.arp_sha, 6],
      [OFS.arp_tha, 6],
    ] as const;
    setsFields(packet, 'arp', fields);
  });

  it('sets neighbor discovery: target and link-layer addresses', () => {
    const target = new Uint8Array(16).fill(0xfe);
    const options = [1, 1, 2, 2, 2, 2, 2, 2, 2, 1, 3, 3, 3, 3, 3, 3];
    const body = [135, 0, 0, 0, 0, 0, 0, 0, ...target, ...options];
    const ip = [0x60, 0, 0, 0, 0, body.length, 58, 255, ...new Array(32).fill(0x20)];
    const packet = withChecksums(Uint8Array.from([...new Array(12).fill(2), 0x86, 0xdd, ...ip, ...body]));
    const sent = setsFields(packet, 'nd', [
      [OFS.nd_target, 16],
      [OFS.arp_sha, 6],
      [OFS.arp_tha, 6],
    ]);
    assert.equal(hex(sent), hex(withChecksums(sent)));
  });

  it('sets an MPLS label', () => {
    const packet = Uint8Array.from([
      ...new Array(12).fill(2),
      0x88,
      0x47,
      0,
      1,
      0x11,
      64,
      0x45,
      ...new Array(30).fill(0),
    ]);
    const key = new FlowKey();
    const mask = new FlowKey();
    key.set32(OFS.mpls_lse0, 0x0007f000);
    mask.set32(OFS.mpls_lse0, 0xfffff000);
    const [, sent] = run(packet, [{ kind: 'set', header: 'mpls', key, mask }, output(2)]);
    assert.equal(hex(sent[0].subarray(14, 18)), '0007f140');
  });

  it('keeps the mark and the tunnel over recirculation', () => {
    const metadata = (header: 'skb_mark' | 'tunnel', ofs: number, value: number): DpAction => {
      const key = new FlowKey();
      const mask = new FlowKey();
      key.set32(ofs, value);
      mask.set32(ofs, 0xffffffff);
      return { kind: 'set', header, key, mask };
    };
    const key = new FlowKey();
    const mask = new FlowKey();
    for (const [ofs, value] of [
      [OFS.in_port, 1],
      [OFS.recirc_id, 21],
      [OFS.pkt_mark, 0x1234],
      [OFS.tun_dst, 0x0a0b0c0d],
    ]) {
      key.set32(ofs, value);
      mask.set32(ofs, 0xffffffff);
    }
    bed.flow(key, mask, [output(3)]);
    const [, , three] = run(ipPacket(4, 17, [1, 2, 3], 18), [
      metadata('skb_mark', OFS.pkt_mark, 0x1234),
      metadata('tunnel', OFS.tun_dst, 0x0a0b0c0d),
      vlan(3),
      { kind: 'recirc', id: 21 },
    ]);
    assert.equal(three.length, 1);
    assert.equal(hex(three[0].subarray(12, 16)), '81000003');
    // The next packet has none of that.
    assert.equal(run(ipPacket(4, 17, [1, 2, 3], 18), [{ kind: 'recirc', id: 21 }])[2].length, 0);
    for (let at = bed.upcalls.peek(); at >= 0; at = bed.upcalls.peek()) bed.upcalls.release();
  });

  describe('network service headers', () => {
    const md1 = Uint8Array.from(Buffer.from('0fc60103000123ff00000001000000020000000300000004', 'hex'));
    const eth = (type: string): string => `111111111111222222222222${type}`;
    const addresses = { dst: new Uint8Array(6).fill(0x11), src: new Uint8Array(6).fill(0x22) };
    const pushEth: DpAction = { kind: 'push_eth', ...addresses };

    it('are put before an Ethernet packet, changed, and taken off again', () => {
      const key = new FlowKey();
      const mask = new FlowKey();
      for (const [ofs, value] of [
        [OFS.nsh_ttl, 0x15],
        [OFS.nsh_spi + 2, 0x77],
        [OFS.nsh_c2 + 3, 0x88],
      ]) {
        key.u8[ofs] = value;
        mask.u8[ofs] = 0xff;
      }
      const [, two, three] = run(udp, [
        { kind: 'push_nsh', header: md1 },
        { kind: 'set', header: 'nsh', key, mask },
        pushEth,
        output(2),
        { kind: 'pop_eth' },
        { kind: 'pop_nsh' },
        output(3),
      ]);
      const changed = hex(md1).replace('0fc6', '0546').replace('000123ff', '000177ff').replace('00000002', '00000088');
      assert.equal(hex(two[0]), `${eth('894f')}${changed}${hex(udp)}`);
      assert.equal(hex(three[0]), hex(udp));
      const flow = new FlowKey();
      extractFlow(two[0], flow);
      assert.equal(flow.get8(OFS.nsh_ttl), 0x15);
      assert.equal(flow.get32(OFS.nsh_c2), 0x88);
    });

    it('bring an IP packet without Ethernet to light, which the next lookup sees', () => {
      const ip = md1.slice();
      ip[3] = 1;
      const key = new FlowKey();
      const mask = new FlowKey();
      for (const [ofs, value] of [
        [OFS.in_port, 1],
        [OFS.recirc_id, 77],
        [OFS.packet_type, 0x10800],
        [OFS.ip_src, new DataView(udp.buffer).getUint32(26)],
      ]) {
        key.set32(ofs, value);
        mask.set32(ofs, 0xffffffff);
      }
      const flow = bed.flow(key, mask, [pushEth, output(3)]);
      const [, , three] = run(udp, [
        { kind: 'pop_eth' },
        { kind: 'push_nsh', header: ip },
        { kind: 'pop_nsh' },
        { kind: 'recirc', id: 77 },
      ]);
      assert.equal(hex(three[0]), `${eth('0800')}${hex(udp.subarray(14))}`);
      bed.command(4, flow);
    });

    it('that say nothing known is behind them stay', () => {
      const odd = md1.slice();
      odd[3] = 9;
      const [, two] = run(udp, [{ kind: 'push_nsh', header: odd }, { kind: 'pop_nsh' }, pushEth, output(2)]);
      assert.equal(hex(two[0]), `${eth('894f')}${hex(odd)}${hex(udp)}`);
    });
  });

  it('puts a label before a whole packet, and an Ethernet packet comes out from behind it', () => {
    const lse = 0x00007140;
    const pushEth: DpAction = { kind: 'push_eth', dst: new Uint8Array(6), src: new Uint8Array(6) };
    const [, two, three] = run(udp, [
      { kind: 'add_mpls', ethertype: 0x8847, lse },
      pushEth,
      output(2),
      { kind: 'pop_eth' },
      { kind: 'pop_mpls', ethertype: 0x6558 },
      output(3),
    ]);
    assert.equal(hex(two[0]), `${'00'.repeat(12)}884700007140${hex(udp)}`);
    assert.equal(hex(three[0]), hex(udp));
  });

  const udp = ipPacket(4, 17, [1, 2, 3], 18);
  const vlan = (tci: number): DpAction => ({ kind: 'push_vlan', tpid: 0x8100, tci: 0x1000 | tci });

  it('pushes, sets and pops VLAN tags', () => {
    const key = new FlowKey();
    const mask = new FlowKey();
    key.set16(OFS.vlan_tpid, 0x8100);
    key.set16(OFS.vlan_tci, 0x1064);
    mask.set16(OFS.vlan_tpid, 0xffff);
    mask.set16(OFS.vlan_tci, 0x1fff);
    const actions: DpAction[] = [
      vlan(5),
      output(2),
      { kind: 'set', header: 'vlan', key, mask },
      output(3),
      { kind: 'pop_vlan' },
      output(2),
      { kind: 'pop_vlan' },
      output(3),
    ];
    const [, two, three] = run(udp, actions);
    assert.equal(hex(two[0]), hex(udp.subarray(0, 12)) + '81000005' + hex(udp.subarray(12)));
    assert.equal(hex(three[0]), hex(udp.subarray(0, 12)) + '81000064' + hex(udp.subarray(12)));
    assert.equal(hex(two[1]), hex(udp));
    assert.equal(hex(three[1]), hex(udp), 'popping what is not there changes nothing');
  });

  it('pushes and pops MPLS labels behind the tags, and Ethernet headers', () => {
    const lse = 0x00010140;
    const actions: DpAction[] = [
      vlan(5),
      { kind: 'push_mpls', ethertype: 0x8847, lse },
      output(2),
      { kind: 'pop_mpls', ethertype: 0x0800 },
      { kind: 'pop_vlan' },
      output(3),
      { kind: 'pop_eth' },
      { kind: 'push_eth', dst: Uint8Array.of(1, 2, 3, 4, 5, 6), src: Uint8Array.of(7, 8, 9, 10, 11, 12) },
      output(2),
    ];
    const [, two, three] = run(udp, actions);
    assert.equal(hex(two[0]), `${hex(udp.subarray(0, 12))}81000005884700010140${hex(udp.subarray(14))}`);
    assert.equal(hex(three[0]), hex(udp));
    assert.equal(hex(two[1]), `0102030405060708090a0b0c${hex(udp.subarray(12))}`);
  });

  it('truncates only the next output', () => {
    const [, two, three] = run(udp, [{ kind: 'trunc', maxLen: 20 }, output(2), output(3)]);
    assert.equal(two[0].length, 20);
    assert.equal(three[0].length, udp.length);
  });

  it('keeps what a clone does to itself', () => {
    const [, two, three] = run(udp, [{ kind: 'clone', actions: [vlan(7), output(2)] }, output(3)]);
    assert.equal(two[0].length, udp.length + 4);
    assert.equal(hex(three[0]), hex(udp));
  });

  it('chooses by length', () => {
    const check = (size: number): DpAction => ({
      kind: 'check_pkt_len',
      size,
      greater: [output(2)],
      lessOrEqual: [output(3)],
    });
    assert.deepEqual(
      run(udp, [check(udp.length)]).map((list) => list.length),
      [0, 0, 1],
    );
    assert.deepEqual(
      run(udp, [check(udp.length - 1)]).map((list) => list.length),
      [0, 1, 0],
    );
  });

  it('samples about as often as asked', () => {
    const sample = (probability: number): DpAction => ({ kind: 'sample', probability, actions: [output(2)] });
    let sent = 0;
    for (let i = 0; i < 400; i++) sent += run(udp, [sample(0x80000000), output(3)])[1].length;
    assert.ok(sent > 120 && sent < 280, `${sent} of 400`);
    assert.equal(run(udp, [sample(0xffffffff)])[1].length, 1);
    assert.equal(run(udp, [sample(0)])[1].length, 0);
  });

  it('recirculates with the hash it computed, and drops what recirculates for ever', () => {
    const key = new FlowKey();
    const mask = new FlowKey();
    key.w[0] = byteSwap32(1);
    mask.w[0] = -1;
    key.set32(OFS.recirc_id, 9);
    mask.w[1] = -1;
    mask.set32(OFS.dp_hash, 1);
    for (const odd of [0, 1]) {
      key.set32(OFS.dp_hash, odd);
      bed.flow(key.clone(), mask, [output(2 + odd)]);
    }
    const hash: DpAction = { kind: 'hash', algorithm: 'l4', basis: 3 };
    const first = run(udp, [hash, { kind: 'recirc', id: 9 }]).map((list) => list.length);
    assert.equal(first[1] + first[2], 1);
    assert.deepEqual(
      run(udp, [hash, { kind: 'recirc', id: 9 }]).map((list) => list.length),
      first,
    );

    const loop = new FlowKey();
    loop.w[0] = byteSwap32(1);
    loop.set32(OFS.recirc_id, 10);
    const loopMask = new FlowKey();
    loopMask.w[0] = -1;
    loopMask.w[1] = -1;
    bed.flow(loop, loopMask, [output(2), { kind: 'recirc', id: 10 }]);
    const [, two] = run(udp, [{ kind: 'recirc', id: 10 }]);
    assert.equal(two.length, 8);
  });

  it('hands up the packet as it is by then, with its key', () => {
    const before = bed.stat(PMD_STAT.UPCALLS);
    run(udp, [vlan(9), { kind: 'userspace', userspace: { type: 'slow_path', reasons: 1 } }]);
    assert.equal(bed.stat(PMD_STAT.UPCALLS), before + 1);
    let at = -1;
    for (let next = bed.upcalls.peek(); next >= 0; next = bed.upcalls.peek()) {
      at = next;
      bed.upcalls.release();
    }
    const { i32 } = bed.arena;
    assert.equal(i32[at], 1);
    assert.equal(i32[at + 2], udp.length + 4);
    // vlan_tpid and vlan_tci, network order.
    assert.equal(byteSwap32(i32[at + UPCALL_KEY + 5]) >>> 0, 0x81001009);
  });

  it('survives any actions on any packet, and gives every frame back', () => {
    const anyAction: fc.Arbitrary<DpAction> = fc.letrec<{ action: DpAction; list: DpAction[] }>((tie) => ({
      list: fc.array(tie('action'), { maxLength: 5 }),
      action: fc.oneof(
        { depthSize: 'small' },
        fc.integer({ min: 1, max: 4 }).map(output),
        fc
          .tuple(
            fc.constantFrom<DpHeader>(
              'eth',
              'vlan',
              'ipv4',
              'ipv6',
              'tcp',
              'udp',
              'sctp',
              'icmp',
              'icmpv6',
              'arp',
              'nd',
              'nd_ext',
              'mpls',
              'tunnel',
              'skb_priority',
              'skb_mark',
            ),
            fc.uint8Array({ minLength: 736, maxLength: 736 }),
          )
          .map(([header, noise]): DpAction => {
            const key = new FlowKey();
            key.u8.set(noise);
            const mask = key.clone();
            for (let w = 0; w < mask.w.length; w++) mask.w[w] *= 7919;
            return { kind: 'set', header, key, mask };
          }),
        fc.integer({ min: 0, max: 0xfff }).map(vlan),
        fc.constantFrom<DpAction>(
          { kind: 'pop_vlan' },
          { kind: 'push_mpls', ethertype: 0x8847, lse: 0x12345140 },
          { kind: 'pop_mpls', ethertype: 0x0800 },
          { kind: 'push_eth', dst: new Uint8Array(6), src: new Uint8Array(6) },
          { kind: 'pop_eth' },
          { kind: 'recirc', id: 1 },
          { kind: 'recirc', id: 10 },
          { kind: 'hash', algorithm: 'sym_l4', basis: 0 },
          { kind: 'hash', algorithm: 'l4', basis: 1 },
          { kind: 'trunc', maxLen: 14 },
          { kind: 'drop', reason: 1 },
          { kind: 'userspace', userspace: { type: 'slow_path', reasons: 1 } },
        ),
        tie('list').map((actions): DpAction => ({ kind: 'clone', actions })),
        tie('list').map((actions): DpAction => ({ kind: 'sample', probability: 0x80000000, actions })),
        fc
          .tuple(tie('list'), tie('list'))
          .map(([greater, lessOrEqual]): DpAction => ({ kind: 'check_pkt_len', size: 60, greater, lessOrEqual })),
      ),
    })).action;
    fc.assert(
      fc.property(arbitraryPacket, fc.array(anyAction, { maxLength: 8 }), (packet, actions) => {
        run(packet, actions);
        for (let at = bed.upcalls.peek(); at >= 0; at = bed.upcalls.peek()) bed.upcalls.release();
      }),
      { numRuns: 1500 },
    );
    assert.ok(FRAME_HEADROOM > 0);
  });
});
