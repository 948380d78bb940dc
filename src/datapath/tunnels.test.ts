/** Encapsulation and decapsulation of random packets: what goes in comes out, and every checksum between is right. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type DpAction, TnlType } from '../flow/dp-actions.ts';
import { parseDpActions } from '../flow/dp-text.ts';
import { FlowKey } from '../flow/key.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import { checksum, finishSum, pseudoHeaderSum } from '../packet/checksum.ts';
import { UPCALL_KEY } from './commands.ts';
import { DROP } from './drop-reason.ts';
import { PMD_STAT } from './pmd-stats.ts';
import { TestBed, TestPort } from './testing.ts';
import { encodeOptionTable } from './tunnel-options.ts';

const TUNNEL_PORT = 9;
const LOCAL = 100;
const ETH = 'eth(dst=f8:bc:12:44:34:b6,src=aa:55:aa:55:00:00,dl_type=0x0800)';
const ETH6 = ETH.replace('0800', '86dd');
const ip4 = (proto: number): string => `ipv4(src=1.1.2.88,dst=1.1.2.92,proto=${proto},tos=0x40,ttl=64,frag=0x4000)`;
const IP6 = 'ipv6(src=2001:cafe::88,dst=2001:cafe::92,label=0,proto=17,tclass=0x2,hlimit=63)';

const HEADERS: readonly { name: string; type: number; text: string }[] = [
  {
    name: 'VXLAN',
    type: TnlType.vxlan,
    text: `size=50,type=4,${ETH},${ip4(17)},udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x7b)`,
  },
  {
    name: 'VXLAN with a checksum',
    type: TnlType.vxlan,
    text: `size=50,type=4,${ETH},${ip4(17)},udp(src=0,dst=4789,csum=0xffff),vxlan(flags=0x8000000,vni=0x7b)`,
  },
  {
    name: 'VXLAN over IPv6',
    type: TnlType.vxlan,
    text: `size=70,type=4,${ETH6},${IP6},udp(src=0,dst=4789,csum=0xffff),vxlan(flags=0x8000000,vni=0x7b)`,
  },
  {
    name: 'Geneve',
    type: TnlType.geneve,
    text: `size=58,type=5,${ETH},${ip4(17)},udp(src=0,dst=6081,csum=0xffff),geneve(vni=0x7b,options({class=0x102,type=0x80,len=4,0x1234}))`,
  },
  { name: 'GRE', type: TnlType.gre, text: `size=38,type=3,${ETH},${ip4(47)},gre((flags=0x0,proto=0x6558))` },
  {
    name: 'GRE with all there is',
    type: TnlType.gre,
    text: `size=50,type=3,${ETH},${ip4(47)},gre((flags=0xb000,proto=0x6558),csum=0x0,key=0x7b,seq=0x0)`,
  },
];

interface Bench {
  readonly bed: TestBed;
  readonly inner: TestPort;
  readonly outer: TestPort;
  readonly far: TestPort;
}

/** Port 1 encapsulates to port 2; port 3 decapsulates, and what comes out of the tunnel goes to port 4. */
function bench(type: number, header: string): Bench {
  const bed = new TestBed();
  const table = bed.arena.alloc(64) >> 2;
  bed.arena.i32.set(encodeOptionTable([{ optionClass: 0x102, type: 0x80, length: 4, field: 3 }]), table);
  const sequence = bed.arena.alloc(64) >> 2;
  bed.tunnels = { typeOf: () => type, sequenceAt: () => sequence, sourcePorts: [40000, 100], optionsAt: table };
  const [inner, outer, entry, far] = [1, 2, 3, 4].map((no) => {
    const port = new TestPort(`p${no}`, bed);
    bed.pmd.addPort(no, port);
    return port;
  });
  const mask = new FlowKey();
  mask.set32(OFS.in_port, 0xffffffff);
  const rule = (inPort: number, actions: readonly DpAction[]): void => {
    const key = new FlowKey();
    key.set32(OFS.in_port, inPort);
    bed.flow(key, mask, actions);
  };
  const push = parseDpActions(`tnl_push(tnl_port(${TUNNEL_PORT}),header(${header}),out_port(${LOCAL})),2`);
  ok(push.ok);
  rule(1, push.actions);
  rule(3, [{ kind: 'tnl_pop', port: TUNNEL_PORT }]);
  rule(TUNNEL_PORT, [{ kind: 'output', port: 4 }]);
  return { bed, inner, outer: Object.assign(outer, { entry }), far };
}

const entryOf = (b: Bench): TestPort => (b.outer as TestPort & { entry: TestPort }).entry;

function carry(b: Bench, packet: Uint8Array): { outside: Uint8Array; inside: Uint8Array | undefined } {
  b.inner.input.push(packet);
  b.bed.pmd.run();
  const outside = b.outer.output.pop();
  ok(outside, 'nothing came out');
  entryOf(b).input.push(outside);
  b.bed.pmd.run();
  return { outside, inside: b.far.output.pop() };
}

const inner = fc.uint8Array({ minLength: 14, maxLength: 1600 });

for (const { name, type, text } of HEADERS) {
  test(`${name}: packets go through unchanged, in right headers`, () => {
    const b = bench(type, text);
    const free = b.bed.pool.available;
    fc.assert(
      fc.property(inner, (packet) => {
        const { outside, inside } = carry(b, packet);
        deepEqual(inside, packet);
        checkOuter(outside);
      }),
      { numRuns: 60 },
    );
    equal(b.bed.pool.available, free, 'a frame was lost');
  });
}

function checkOuter(p: Uint8Array): void {
  const v = new DataView(p.buffer, p.byteOffset, p.byteLength);
  const isIpv4 = v.getUint16(12) === 0x0800;
  const l4 = isIpv4 ? 34 : 54;
  if (isIpv4) {
    equal(v.getUint16(16), p.length - 14);
    equal(checksum(p, 14, 20), 0);
  } else equal(v.getUint16(18), p.length - 54);
  const proto = isIpv4 ? p[23] : p[20];
  if (proto === 17) {
    equal(v.getUint16(l4 + 4), p.length - l4);
    const port = v.getUint16(l4);
    ok(port >= 40000 && port < 40100);
    if (v.getUint16(l4 + 6) === 0) return;
    const start = isIpv4 ? pseudoHeaderSum(p, 26, 4, 17, p.length - l4) : pseudoHeaderSum(p, 22, 16, 17, p.length - l4);
    let sum = start;
    for (let i = l4; i < p.length; i++) sum += (i - l4) & 1 ? p[i] : p[i] << 8;
    equal(finishSum(sum), 0);
  } else if (v.getUint16(l4) & 0x8000) equal(checksum(p, l4, p.length - l4), 0);
}

test('GRE sequence numbers count up', () => {
  const b = bench(TnlType.gre, HEADERS[5].text);
  for (let n = 0; n < 5; n++) {
    const { outside } = carry(b, new Uint8Array(60));
    equal(new DataView(outside.buffer).getUint32(34 + 12), n);
  }
});

test('what the outer headers say is in the key', () => {
  const b = bench(TnlType.geneve, HEADERS[3].text.replace('vni=0x7b', 'oam,vni=0xabcdef'));
  // Without a megaflow for the tunnel port the packet goes up, with its key.
  b.bed.tunnels = { ...b.bed.tunnels!, typeOf: () => TnlType.geneve };
  const key = new FlowKey();
  key.set32(OFS.in_port, 5);
  const mask = new FlowKey();
  mask.set32(OFS.in_port, 0xffffffff);
  b.bed.flow(key, mask, [{ kind: 'tnl_pop', port: 77 }]);
  const port = new TestPort('p5', b.bed);
  b.bed.pmd.addPort(5, port);
  b.inner.input.push(new Uint8Array(60));
  b.bed.pmd.run();
  port.input.push(b.outer.output.pop()!);
  b.bed.pmd.run();
  const at = b.bed.upcalls.peek();
  ok(at >= 0);
  const got = new FlowKey();
  for (let w = 0; w < DP_WORDS; w++) got.w[w] = b.bed.arena.i32[at + UPCALL_KEY + w];
  equal(got.get32(OFS.in_port), 77);
  equal(got.get64(OFS.tun_id), 0xabcdefn);
  equal(got.get32(OFS.tun_src), 0x01010258);
  equal(got.get32(OFS.tun_dst), 0x0101025c);
  equal(got.get8(OFS.tun_tos), 0x40);
  equal(got.get8(OFS.tun_ttl), 64);
  equal(got.get16(OFS.tun_flags), 0x0d);
  equal(got.get16(OFS.tun_tp_dst), 6081);
  equal(got.get32(OFS.tun_metadata + 12), 0x1234);
  equal(got.get64(OFS.tun_metadata_present), 8n);
});

for (const { name, type, text } of HEADERS) {
  test(`${name}: damaged packets are dropped or carried, never anything worse`, () => {
    const b = bench(type, text);
    const free = b.bed.pool.available;
    fc.assert(
      fc.property(
        inner,
        fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 3 }),
        fc.nat(120),
        (packet, changes, cut) => {
          b.inner.input.push(packet);
          b.bed.pmd.run();
          const outside = b.outer.output.pop()!;
          for (const [at, value] of changes) if (at >= 14 && at < outside.length) outside[at] = value;
          entryOf(b).input.push(outside.subarray(0, Math.max(14, outside.length - cut)));
          b.bed.pmd.run();
          b.far.output.length = 0;
        },
      ),
      { numRuns: 100 },
    );
    equal(b.bed.pool.available, free, 'a frame was lost');
  });
}

test('what is truncated before it goes into a tunnel is shorter inside, and whole outside', () => {
  const b = bench(TnlType.vxlan, HEADERS[1].text);
  const key = new FlowKey();
  key.set32(OFS.in_port, 6);
  key.set32(OFS.eth_dst, 0x0a000000);
  const mask = new FlowKey();
  mask.set32(OFS.in_port, 0xffffffff);
  mask.set32(OFS.eth_dst, 0xffffffff);
  const push = parseDpActions(
    `trunc(100),tnl_push(tnl_port(${TUNNEL_PORT}),header(${HEADERS[1].text}),out_port(${LOCAL})),2`,
  );
  ok(push.ok);
  b.bed.flow(key, mask, push.actions);
  const packet = new Uint8Array(400).fill(7);
  packet.set([0x0a, 0, 0, 0]);
  const other = new TestPort('p6', b.bed);
  b.bed.pmd.addPort(6, other);
  other.input.push(packet);
  b.bed.pmd.run();
  const outside = b.outer.output.pop()!;
  checkOuter(outside);
  entryOf(b).input.push(outside);
  b.bed.pmd.run();
  deepEqual(b.far.output.pop(), packet.slice(0, 100));
});

test('a packet of another tunnel is dropped and counted', () => {
  const b = bench(TnlType.vxlan, HEADERS[0].text);
  b.inner.input.push(new Uint8Array(60));
  b.bed.pmd.run();
  const outside = b.outer.output.pop()!;
  outside[42] = 0;
  entryOf(b).input.push(outside);
  b.bed.pmd.run();
  equal(b.far.output.length, 0);
  equal(b.bed.stat(PMD_STAT.DROPS + DROP.TUNNEL), 1);
});

test('a packet of IP in GRE comes up as one, without an Ethernet header', () => {
  const b = bench(TnlType.gre, HEADERS[4].text.replace('0x6558', '0x800'));
  const key = new FlowKey();
  key.set32(OFS.in_port, 5);
  const mask = new FlowKey();
  mask.set32(OFS.in_port, 0xffffffff);
  b.bed.flow(key, mask, [{ kind: 'tnl_pop', port: 77 }]);
  const port = new TestPort('p5', b.bed);
  b.bed.pmd.addPort(5, port);
  const ip = new Uint8Array(28);
  ip.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
  new DataView(ip.buffer).setUint16(10, checksum(ip, 0, 20));
  b.inner.input.push(ip);
  b.bed.pmd.run();
  port.input.push(b.outer.output.pop()!);
  b.bed.pmd.run();
  const at = b.bed.upcalls.peek();
  ok(at >= 0);
  const got = new FlowKey();
  for (let w = 0; w < DP_WORDS; w++) got.w[w] = b.bed.arena.i32[at + UPCALL_KEY + w];
  equal(got.get32(OFS.in_port), 77);
  equal(got.get32(OFS.packet_type), 0x10800);
  equal(got.get32(OFS.ip_src), 0x0a000001);
});
