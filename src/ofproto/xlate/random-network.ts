/** Random bridges and packets for property tests of translation: few values, so that rules and packets meet often. */
import assert from 'node:assert/strict';
import type { Field, Subfield } from '../../flow/field.ts';
import { FIELDS } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { FLOW_WORDS, OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { fieldMaskBytes, setFieldMask } from '../../flow/subfield.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import { type GroupType, OFPG_ANY } from '../../openflow/messages-ext.ts';
import { OFPP } from '../../openflow/ports.ts';
import { Group } from '../group.ts';
import { macText } from '../mac-learning.ts';
import { McastSnooping } from '../mcast-snooping.ts';
import { Mirrors } from '../mirrors.ts';
import type { MirrorConfig } from '../ofproto.ts';
import { connect, TestBridge } from './test-bridge.ts';
import type { XlateBond, XlateBundle } from './types.ts';

/** Small, seeded, and quicker than drawing each number from fast-check. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed >>> 0 || 1;
  }
  next(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state;
  }
  below(n: number): number {
    return this.next() % n;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
  bytes(n: number): Uint8Array {
    return Uint8Array.from({ length: n }, () => this.next() & 0xff);
  }
}

const MACS = ['020000000001', '020000000002', '0180c2000001', 'ffffffffffff', '020000000003', '01005e010203'].map((t) =>
  Uint8Array.from({ length: 6 }, (_, i) => Number.parseInt(t.slice(i * 2, i * 2 + 2), 16)),
);
const ETH_TYPES = [0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8847, 0x894f, 0x1234];
const PROTOS = [6, 17, 1, 58, 132, 47];

export function randomFlow(r: Random): FlowKey {
  const flow = new FlowKey();
  const type = r.of(ETH_TYPES);
  flow.set32(OFS.in_port, r.of([1, 2, 3, 4, 0xffff]));
  flow.u8.set(r.of(MACS), OFS.eth_dst);
  flow.u8.set(r.of(MACS), OFS.eth_src);
  flow.set16(OFS.eth_type, type);
  if (r.chance(40)) {
    flow.set16(OFS.vlan_tpid, r.of([0x8100, 0x88a8]));
    flow.set16(OFS.vlan_tci, r.of([0x1000, 0x1005, 0x2000 | 0x1005, 0x1006]));
    if (r.chance(30)) {
      flow.set16(OFS.vlan2_tpid, 0x8100);
      flow.set16(OFS.vlan2_tci, r.of([0x1005, 0x1007]));
    }
  }
  if (type === 0x0800 || type === 0x0806) {
    flow.set32(OFS.ip_src, r.of([0x0a000001, 0x0a000002, 0x0a010001, 0xc0a80001]));
    flow.set32(OFS.ip_dst, r.of([0x0a000001, 0x0a000002, 0x0a010001, 0xc0a80001, 0xe1010203, 0xe0000009]));
    flow.set8(OFS.ip_proto, type === 0x0806 ? r.of([1, 2]) : r.of(PROTOS));
  }
  if (type === 0x86dd) {
    flow.set32(OFS.ipv6_src, 0x20010db8);
    flow.set32(OFS.ipv6_src + 12, r.below(4));
    flow.set32(OFS.ipv6_dst, r.of([0x20010db8, 0xfe800000, 0xff050000, 0xff020000]));
    flow.set32(OFS.ipv6_dst + 12, r.below(4));
    flow.set8(OFS.ip_proto, r.of(PROTOS));
  }
  if (type === 0x0800 || type === 0x86dd) {
    flow.set8(OFS.ip_tos, r.of([0, 0x20, 0x23]));
    flow.set8(OFS.ip_ttl, r.of([0, 1, 2, 64]));
    flow.set8(OFS.ip_frag, r.of([0, 0, 0, 0, 1, 3]));
    if (flow.get8(OFS.ip_frag) !== 3) {
      flow.set16(OFS.tp_src, r.of([135, 136, 8, 80, 1024]));
      flow.set16(OFS.tp_dst, r.of([0, 80, 443, 1024]));
      flow.set16(OFS.tcp_flags, flow.get8(OFS.ip_proto) === 6 ? r.of([2, 0x12, 0x11]) : 0);
    }
  }
  if (type === 0x894f) {
    flow.set32(OFS.nsh_flags, r.of([0x003f0103, 0x003f0101, 0x00010103, 0x003f0207]));
    flow.set32(OFS.nsh_spi, r.of([0x1ff, 0x2ff, 0x1fe]));
    if (flow.get8(OFS.nsh_mdtype) === 1) flow.set32(OFS.nsh_c1, r.below(3));
  }
  if (type === 0x8847) {
    flow.set32(OFS.mpls_lse0, r.of([0x00064140, 0x00064040, 0x00064101]));
    if ((flow.get32(OFS.mpls_lse0) & 0x100) === 0) flow.set32(OFS.mpls_lse1, 0x000c8140);
  }
  if (r.chance(20)) flow.set32(OFS.skb_priority, r.below(3));
  if (r.chance(20)) flow.set32(OFS.pkt_mark, r.below(3));
  return flow;
}

/** Can a packet with the Ethernet type of `flow` have anything in this word? */
export function isWordOf(flow: FlowKey, word: number): boolean {
  const type = flow.get16(OFS.eth_type);
  const isIp = type === 0x0800;
  // What has not been back yet has no hash.
  if (word === OFS.dp_hash >> 2) return flow.get32(OFS.recirc_id) !== 0;
  if (word < 7 || (word >= 11 && word < 18)) return true;
  if (word === 7 || word === 10) return isIp || type === 0x86dd || (word === 7 && type === 0x0806);
  if (word === 8 || word === 9) return isIp || type === 0x0806;
  if (word >= 19 && word < 22) return type === 0x8847;
  if (word >= 22 && word < 31) return type === 0x86dd;
  if (word >= 57 && word < 63) return type === 0x894f;
  if (word >= 35 && word < 38) return type === 0x86dd || type === 0x0806;
  return word >= 31 && word < 40 && type === 0x86dd;
}

const MATCHED = FIELDS.filter((f) => {
  const word = f.bit >> 5;
  // Tunnels and connections have rooms of their own; conj_id and actset_output are not the packet's.
  return (
    (word < 40 || (word >= 57 && word < 63) || (word >= 150 && word < 154) || word === 148) &&
    !/^(in_port_oxm|recirc_id|packet_type|dl_vlan_pcp|ct_)/.test(f.name) &&
    f.format !== 'ct_state'
  );
});
const WRITABLE = MATCHED.filter((f) => f.writable && f.name !== 'in_port');

export function randomMatch(r: Random, like: FlowKey): Match {
  const match = new Match();
  setFieldMask(match.mask, FIELDS.find((f) => f.name === 'eth_type') ?? FIELDS[0]);
  if (r.chance(30)) match.mask.clear();
  const n = r.below(4);
  for (let i = 0; i < n; i++) {
    const field = r.of(MATCHED);
    let bits = fieldMaskBytes(field);
    if (field.masking === 'any' && r.chance(50)) {
      if (r.chance(70)) bits = prefix(field, 1 + r.below(field.width));
      else bits = bits.map((b) => b & r.next());
    }
    setFieldMask(match.mask, field, bits);
  }
  for (let i = 0; i < FLOW_WORDS; i++) match.key.w[i] = like.w[i] & match.mask.w[i];
  return match;
}

function prefix(field: Field, length: number): Uint8Array {
  const mask = fieldMaskBytes(field).slice();
  let drop = field.width - length;
  for (let i = mask.length - 1; i >= 0 && drop > 0; i--, drop -= 8) mask[i] &= drop >= 8 ? 0 : 0xff << drop;
  return mask;
}

function randomSubfield(r: Random, fields: readonly Field[], bits: number): Subfield {
  const wide = fields.filter((f) => f.nBits >= bits);
  const field = r.of(wide);
  return { field, ofs: r.below(field.nBits - bits + 1), nBits: bits };
}

function setFieldAction(r: Random): Ofpact {
  const field = r.of(WRITABLE);
  const full = fieldMaskBytes(field);
  const value = r.bytes(field.bytes).map((b, i) => b & full[i]);
  if (field.masking === 'none' || r.chance(60)) return { kind: 'set_field', field, value, mask: null };
  const mask = r.bytes(field.bytes).map((b, i) => b & full[i]);
  return { kind: 'set_field', field, value: value.map((b, i) => b & mask[i]), mask };
}

function randomAction(r: Random, table: number, depth = 0): Ofpact {
  const port = r.of([1, 2, 3, 4, 9, 77, OFPP.IN_PORT, OFPP.FLOOD, OFPP.ALL, OFPP.NORMAL, OFPP.NORMAL]);
  switch (r.below(depth > 0 ? 17 : 22)) {
    case 0:
    case 1:
    case 2:
      return { kind: 'output', port, maxLen: 0 };
    case 3:
    case 4:
    case 5:
      return setFieldAction(r);
    case 6: {
      const bits = r.of([1, 4, 8, 16, 32]);
      return { kind: 'reg_move', src: randomSubfield(r, MATCHED, bits), dst: randomSubfield(r, WRITABLE, bits) };
    }
    case 7:
      return { kind: 'push_vlan', ethertype: r.of([0x8100, 0x88a8]) };
    case 8:
      return { kind: 'strip_vlan' };
    case 9:
      return { kind: 'dec_ttl', ids: [0] };
    case 10:
      return { kind: 'set_vlan_vid', vid: r.below(8), pushIfNeeded: r.chance(50) };
    case 11:
      return { kind: 'set_vlan_pcp', pcp: r.below(8), pushIfNeeded: r.chance(50) };
    case 12:
      return { kind: 'stack_push', subfield: randomSubfield(r, MATCHED, 8) };
    case 13:
      return { kind: 'stack_pop', subfield: randomSubfield(r, WRITABLE, 8) };
    case 14:
      return { kind: 'output_reg', src: randomSubfield(r, MATCHED, 8), maxLen: 0 };
    case 15:
      return r.chance(50)
        ? {
            kind: 'multipath',
            fields: r.of(['eth_src', 'symmetric_l4', 'symmetric_l3l4+udp', 'nw_dst']),
            basis: 3,
            algorithm: r.of(['modulo_n', 'hrw', 'iter_hash', 'hash_threshold']),
            nLinks: 3,
            arg: 0,
            dst: randomSubfield(r, WRITABLE, 16),
          }
        : { kind: 'enqueue', port: r.of([1, 2]), queue: r.below(3) };
    case 16:
      return r.of<Ofpact>([
        { kind: 'push_mpls', ethertype: 0x8847 },
        { kind: 'pop_mpls', ethertype: 0x8847 },
        { kind: 'pop_mpls', ethertype: 0x0800 },
        { kind: 'dec_mpls_ttl' },
        { kind: 'set_mpls_label', label: 7 },
        {
          kind: 'ct',
          commit: r.chance(50),
          force: false,
          zone: randomSubfield(r, MATCHED, 16),
          recircTable: r.of([null, 2]),
          alg: 0,
          actions: [],
        },
        { kind: 'controller', maxLen: 64, controllerId: 0, reason: 1, userdata: null, pause: false, meterId: null },
        { kind: 'ct_clear' },
        { kind: 'group', groupId: 1 + r.below(3) },
        { kind: 'group', groupId: 1 + r.below(3) },
        { kind: 'group', groupId: 1 + r.below(3) },
        { kind: 'meter', meterId: 1 },
        { kind: 'encap', packetType: 0x1894f, props: [] },
        { kind: 'encap', packetType: 0x18847, props: [] },
        { kind: 'encap', packetType: 0, props: [] },
        { kind: 'encap', packetType: 0, props: [] },
        { kind: 'decap', packetType: null },
        { kind: 'decap', packetType: 0 },
        { kind: 'dec_nsh_ttl' },
        {
          kind: 'sample',
          probability: 1000,
          collectorSetId: 1,
          obsDomainId: randomSubfield(r, MATCHED, 16),
          obsPointId: 3,
          samplingPort: r.of([1, 77, OFPP.NONE]),
          direction: r.of(['default', 'ingress', 'egress']),
        },
        { kind: 'exit' },
      ]);
    case 17:
    case 18:
      return {
        kind: 'resubmit',
        inPort: r.of([OFPP.IN_PORT, OFPP.IN_PORT, 2]),
        table: Math.min(3, table + r.below(3)),
        ct: false,
      };
    case 19:
      return { kind: 'clone', actions: [randomAction(r, table, 1), randomAction(r, table, 1)] };
    case 20:
      return {
        kind: 'write_actions',
        actions: [setFieldAction(r), { kind: 'output', port: r.of([1, 2, 3]), maxLen: 0 }],
      };
    default:
      return {
        kind: 'check_pkt_larger',
        pktLen: 100,
        dst: randomSubfield(
          r,
          FIELDS.filter((f) => f.name === 'reg1'),
          1,
        ),
      };
  }
}

export function randomActions(r: Random, table: number): Ofpact[] {
  const list = Array.from({ length: r.below(5) }, () => randomAction(r, table));
  if (r.chance(60)) list.push({ kind: 'output', port: r.of([1, 2, 3, 4, 9]), maxLen: 0 });
  if (r.chance(15)) list.push({ kind: 'group', groupId: 1 + r.below(3) });
  if (table < 3 && r.chance(40)) list.push({ kind: 'goto_table', table: table + 1 });
  return list;
}

export function randomNetwork(r: Random): TestBridge {
  const br0 = new TestBridge('br0');
  const br1 = new TestBridge('br1');
  br0.addPort(1, 1);
  br0.addPort(2, 2, { mode: 'access', tag: 5 });
  br0.addPort(3, 3, {
    mode: r.of(['native-untagged', 'native-tagged']),
    tag: 5,
    priorityTags: r.of(['no', 'if-nonzero', 'always']),
  });
  br0.addPort(4, 4, { mode: r.of(['trunk', 'dot1q-tunnel']), tag: 6, trunks: [5, 6] });
  const patch = br0.addPort(9, null);
  if (r.chance(30)) br0.join(br0.port(1) ?? assert.fail(), br0.addPort(5, 6), randomBond(r, br0));
  br1.addPort(1, 5);
  connect(br0, patch, br1, br1.addPort(9, null));
  for (const bridge of [br0, br1]) {
    bridge.macs.learn(macText(MACS[0]), 5, bridge.port(1)?.bundle ?? assert.fail(), false, false, 0);
    bridge.macs.learn(macText(MACS[1]), 0, bridge.port(1)?.bundle ?? assert.fail(), false, false, 0);
    for (let table = 0; table < 4; table++) {
      const n = 1 + r.below(6);
      for (let i = 0; i < n; i++) {
        bridge.addRule(table, r.below(4), randomMatch(r, randomFlow(r)), randomActions(r, table));
      }
    }
  }
  if (r.chance(40)) {
    br0.mcast = new McastSnooping();
    br0.mcast.configure(300, 2048, r.chance(50));
    for (const group of ['225.1.2.3', 'ff05::1', 'ff02::2']) {
      br0.mcast.join(group, r.of([0, 5]), br0.port(r.of([1, 2, 4]))?.bundle ?? assert.fail(), 0);
    }
    if (r.chance(50)) br0.mcast.heardQuery(r.of([0, 5]), br0.port(3)?.bundle ?? assert.fail(), 0);
  }
  if (r.chance(40)) {
    br0.exporters = {
      sflow: r.of([null, 0xffffffff, 1000]),
      ipfix: r.of([null, { probability: 1000, input: r.chance(50), output: r.chance(50) }]),
      samplesFlows: r.chance(50),
      netflow: r.of([null, () => {}]),
      ifindex: (port) => 1000 + port,
    };
  }
  br0.meters.set(1, 7);
  for (let id = 1; id <= 3; id++) br0.groups.set(id, randomGroup(r, id));
  if (r.chance(40)) br0.mirrors = new Mirrors(randomMirrors(r), (name) => bundleNamed(br0, name), null);
  return br0;
}

function bundleNamed(bridge: TestBridge, name: string): XlateBundle | undefined {
  return [...bridge.bundles()].find((bundle) => bundle.name === name);
}

function randomBond(r: Random, bridge: TestBridge): XlateBond {
  const mode = r.of(['active-backup', 'balance-slb', 'balance-tcp'] as const);
  return {
    mode,
    recircId: r.of([77, null]),
    basis: 3,
    admits: (port, isMulticast) =>
      isMulticast ? (port.ofport === 1 ? 'yes' : 'no') : mode === 'balance-slb' ? 'unless moved' : 'yes',
    outputFor: (hash) => bridge.port(hash & 1 ? 5 : 1) ?? null,
    credit: () => {},
  };
}

function randomMirrors(r: Random): MirrorConfig[] {
  const ports = ['p1', 'p2', 'p3', 'p4', 'p9'];
  const some = (): string[] => ports.filter(() => r.chance(40));
  return Array.from({ length: 1 + r.below(3) }, (_, i) => ({
    id: `${i}`,
    name: `m${i}`,
    receivedBy: r.chance(30) ? 'all' : some(),
    sentBy: r.chance(30) ? 'all' : some(),
    vlans: r.chance(50) ? [] : [5, 6],
    output: r.chance(60) ? { port: r.of(['p2', 'p3', 'p4']) } : { vlan: r.of([5, 6, 9]) },
    snaplen: r.of([0, 0, 64]),
  }));
}

function randomGroup(r: Random, id: number): Group {
  const type = r.of<GroupType>(['all', 'select', 'select', 'select', 'indirect', 'ff']);
  const buckets = Array.from({ length: type === 'indirect' ? 1 : 1 + r.below(4) }, (_, bucketId) => ({
    bucketId,
    weight: type === 'select' ? r.below(4) : 0,
    watchPort: type === 'ff' ? r.of([1, 2, 77]) : OFPP.NONE,
    watchGroup: OFPG_ANY,
    actions: [
      ...(r.chance(50) ? [setFieldAction(r)] : []),
      r.chance(20) && id < 3
        ? ({ kind: 'group', groupId: id + 1 } as const)
        : ({ kind: 'output', port: r.of([1, 2, 3, 4, 9]), maxLen: 0 } as const),
    ],
  }));
  const fields = ['ip_src', 'ip_dst', 'tcp_dst', 'eth_src', 'vlan_vid'].filter(() => r.chance(40));
  const hash = {
    selectionMethod: r.of(['hash', 'hash', 'dp_hash', '']),
    selectionMethodParam: BigInt(r.below(100)),
    fields: FIELDS.filter((f) => fields.includes(f.name)).map((field) => ({ field, value: fieldMaskBytes(field) })),
  };
  return new Group(id, type, buckets, type === 'select' && r.chance(70) ? hash : null);
}
