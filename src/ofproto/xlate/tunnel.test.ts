/** Megaflows of tunnels: whatever their mask leaves out makes no difference. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { vlogParse } from '../../base/vlog.ts';
import { formatDpActions } from '../../flow/dp-text.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { parseMatch } from '../../flow/match-text.ts';
import { formatIp, mapIpv4, parseTunnelConfig, type TunnelType } from '../../netdev/tunnel-config.ts';
import { parseActions } from '../../openflow/actions/index.ts';
import { OFPP } from '../../openflow/ports.ts';
import { RecircTable } from './recirc.ts';
import { xlateFlow } from './run.ts';
import { TestBridge } from './test-bridge.ts';
import type { XlateTunnels } from './tunnel.ts';

// Packets whose ECN marks do not agree are many here, and each is told of.
vlogParse('tunnel:off');

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const OTHER = Uint8Array.of(2, 0, 0, 0, 0, 2);
const LOCAL = mapIpv4(Uint8Array.of(10, 0, 0, 1));

/** Every address is reached by the lower bridge, and has a neighbor when its last byte is even. */
function world() {
  const lower = new TestBridge('lower');
  const wire = lower.addPort(1, 1);
  const local = lower.addPort(OFPP.LOCAL, 100);
  rule(lower, '', 'NORMAL');
  const upper = new TestBridge('upper');
  upper.addPort(1, 2);
  const tunnel = (ofport: number, type: TunnelType, options: Record<string, string>): void => {
    const parsed = parseTunnelConfig('t', type, new Map(Object.entries(options)));
    if ('error' in parsed) throw new Error(parsed.error);
    upper.addPort(ofport, 4000 + ofport).tunnel = parsed.config;
  };
  tunnel(2, 'vxlan', { remote_ip: 'flow', key: 'flow', local_ip: 'flow' });
  tunnel(3, 'geneve', { remote_ip: '10.0.0.2', key: '7', tos: 'inherit', ttl: 'inherit', csum: 'true' });
  tunnel(4, 'gre', { remote_ip: '10.0.0.4', key: 'flow', seq: 'true' });
  tunnel(5, 'geneve', { remote_ip: 'flow', in_key: '1', out_key: 'flow', egress_pkt_mark: '9' });
  tunnel(6, 'gre', { remote_ip: '10.0.0.6', packet_type: 'legacy_l3', tos: 'inherit' });
  tunnel(7, 'gre', { remote_ip: 'flow', key: 'flow', packet_type: 'ptap' });
  const egress = { bridge: lower, port: local, mac: MAC };
  const tunnels: XlateTunnels = {
    isInUse: true,
    usesMarks: true,
    route: (_ip, mark) => ({ device: 'local', gateway: mark & 1 ? LOCAL : new Uint8Array(16), source: LOCAL }),
    mayComeFrom: (ip) => (ip[15] & 3) !== 3,
    egress: () => egress,
    neighbor: (_egress, ip) => (ip[15] & 1 ? null : OTHER),
    neighborUsed: () => {},
    ask: () => {},
    heard: () => {},
    hasAddress: () => true,
    isOurMac: (mac) => mac.every((b, i) => b === MAC[i]),
    isOurAddress: (ip) => ip.every((b, i) => b === LOCAL[i]),
    listener: (proto, port) => (proto === 47 ? 4004 : port === 4789 ? 4002 : null),
    geneveOptions: (flow, wc) => {
      wc.set32(OFS.tun_metadata, 0xffffffff);
      return [{ optionClass: 1, type: 2, data: flow.u8.slice(OFS.tun_metadata, OFS.tun_metadata + 4) }];
    },
  };
  return { lower, upper, tunnels, wire };
}

function rule(bridge: TestBridge, match: string, actions: string, priority = 1): void {
  const m = parseMatch(match);
  const a = parseActions(actions, {});
  if (!m.ok || !a.ok) throw new Error(`${match} ${actions}`);
  bridge.addRule(0, priority, m.match, a.actions);
}

const ACTIONS = fc.constantFrom(
  'output:2',
  'output:3',
  'output:4',
  'output:5,output:1',
  'NORMAL',
  'move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],output:2,output:3',
  'set_field:5/0xf->tun_id,output:4',
  'ct(table=0),output:3',
  'output:6',
  'output:7,output:6',
  'encap(ethernet),set_field:02:00:00:00:00:09->eth_dst,output:7,output:1',
  'decap(),output:7,output:6',
  'dec_ttl,output:6,output:1',
);
const MATCH = fc.constantFrom('', 'tun_id=7', 'tun_src=10.0.0.2', 'tun_metadata0=1/1', 'in_port=2,tun_dst=10.0.0.1');

const FIELDS: readonly (readonly [ofs: number, bytes: number])[] = [
  [OFS.tun_id, 8],
  [OFS.tun_src, 8],
  [OFS.tun_flags, 4],
  [OFS.tun_tp_src, 4],
  [OFS.tun_metadata, 8],
  [OFS.ip_tos, 2],
  [OFS.ip_src, 8],
  [OFS.tp_src, 4],
  [OFS.pkt_mark, 4],
];

/** An IPv4 packet in whose fields stand `bytes`, from a tunnel or from the plain port. */
function packet(inPort: number, bytes: Uint8Array): FlowKey {
  const flow = new FlowKey();
  let at = 0;
  for (const [ofs, n] of FIELDS) for (let i = 0; i < n; i++) flow.u8[ofs + i] = bytes[at++];
  flow.u8.set(OTHER, OFS.eth_src);
  flow.set16(OFS.eth_type, 0x0800);
  flow.set8(OFS.ip_proto, 17);
  flow.set16(OFS.tun_flags, flow.get16(OFS.tun_flags) & 0x0f);
  flow.set32(OFS.in_port, inPort);
  if (inPort === 1) flow.w.fill(0, OFS.tun_id >> 2, OFS.metadata >> 2);
  else if (flow.get32(OFS.tun_dst) === 0) flow.set32(OFS.tun_dst, 0x0a000001);
  if (inPort === 6 || (inPort === 7 && flow.get16(OFS.tp_src) & 1)) {
    flow.set32(OFS.packet_type, 0x10800);
    flow.w.fill(0, OFS.eth_dst >> 2, OFS.eth_type >> 2);
    flow.u8.fill(0, OFS.eth_dst, OFS.eth_src + 6);
  }
  return flow;
}

const BYTES = FIELDS.reduce((n, [, bytes]) => n + bytes, 0);
/** Small numbers, so that tables and tunnels often match. */
const bytes = fc.uint8Array({ minLength: BYTES, maxLength: BYTES, max: 10 });

test('bits outside the mask make no difference to what a tunnel does', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(MATCH, ACTIONS), { minLength: 1, maxLength: 3 }),
      fc.constantFrom(1, 2, 3, 4, 5, 6, 7),
      bytes,
      fc.uint8Array({ minLength: BYTES, maxLength: BYTES }),
      (rules, inPort, first, noise) => {
        const { upper, tunnels } = world();
        for (const [i, [match, actions]] of rules.entries()) rule(upper, match, actions, i + 1);
        const recirc = new RecircTable();
        const translate = (flow: FlowKey) =>
          xlateFlow({ bridge: upper, flow, packet: null, recirc, tunnels, nowMs: 0 });
        const flow = packet(inPort, first);
        const result = translate(flow);
        const other = flow.clone();
        const random = packet(inPort, noise);
        for (let w = 0; w < OFS.metadata >> 2; w++) {
          other.w[w] = (flow.w[w] & result.mask.w[w]) | (random.w[w] & ~result.mask.w[w]);
        }
        equal(formatDpActions(translate(other).actions), formatDpActions(result.actions));
      },
    ),
    { numRuns: 1500 },
  );
});

test('a packet for a tunnel is unpacked where it reaches the device with the address', () => {
  const { lower, tunnels } = world();
  const flow = new FlowKey();
  flow.set32(OFS.in_port, 1);
  flow.u8.set(MAC, OFS.eth_dst);
  flow.u8.set(OTHER, OFS.eth_src);
  flow.set16(OFS.eth_type, 0x0800);
  flow.set8(OFS.ip_proto, 17);
  flow.set32(OFS.ip_dst, 0x0a000001);
  flow.set16(OFS.tp_dst, 4789);
  const translate = () =>
    xlateFlow({ bridge: lower, flow, packet: null, recirc: new RecircTable(), tunnels, nowMs: 0 });
  const result = translate();
  deepEqual(result.actions, [{ kind: 'tnl_pop', port: 4002 }]);
  ok(result.mask.get16(OFS.tp_dst) === 0xffff && result.mask.get32(OFS.ip_dst) === 0xffffffff);
  flow.set16(OFS.tp_dst, 4790);
  equal(formatDpActions(translate().actions), '100');
  flow.set16(OFS.tp_dst, 4789);
  flow.set8(OFS.ip_frag, 1);
  equal(formatDpActions(translate().actions), '100', 'fragments are for the machine');
});

test('addresses as text', () => {
  equal(formatIp(LOCAL), '10.0.0.1');
});
