/**
 * Commits what OpenFlow actions did to the flow: the difference between `base`, which is what the packet is in the
 * datapath by now, and `flow` becomes the fewest set, push and pop actions, in the order in which Open vSwitch writes
 * them. Then `base` equals `flow`.
 *
 * A set writes the bits of a field that the translation has read or written: only those are known to be the same in all
 * packets of the megaflow.
 */
import type { DpHeader } from '../../flow/dp-actions.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import type { Ctx } from './ctx.ts';
import { commitEncap } from './packet-type.ts';
import { ETH_TYPE, hasVlan, hasVlan2, IPPROTO, isMplsType, VLAN_CFI } from './prereq.ts';

/** `[offset, bytes]` of the fields that one `set` action can write. */
const HEADERS: Readonly<Partial<Record<DpHeader, readonly (readonly [number, number])[]>>> = {
  eth: [
    [OFS.eth_src, 6],
    [OFS.eth_dst, 6],
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
    [OFS.ipv6_label, 4],
    [OFS.ip_tos, 1],
    [OFS.ip_ttl, 1],
  ],
  arp: [
    [OFS.ip_src, 4],
    [OFS.ip_dst, 4],
    [OFS.ip_proto, 1],
    [OFS.arp_sha, 6],
    [OFS.arp_tha, 6],
  ],
  tcp: [
    [OFS.tp_src, 2],
    [OFS.tp_dst, 2],
  ],
  udp: [
    [OFS.tp_src, 2],
    [OFS.tp_dst, 2],
  ],
  sctp: [
    [OFS.tp_src, 2],
    [OFS.tp_dst, 2],
  ],
  icmp: [
    [OFS.tp_src, 2],
    [OFS.tp_dst, 2],
  ],
  icmpv6: [
    [OFS.tp_src, 2],
    [OFS.tp_dst, 2],
  ],
  nd: [
    [OFS.nd_target, 16],
    [OFS.arp_sha, 6],
    [OFS.arp_tha, 6],
  ],
  nd_ext: [
    [OFS.nd_reserved, 4],
    [OFS.nd_options_type, 1],
  ],
  nsh: [
    [OFS.nsh_flags, 1],
    [OFS.nsh_ttl, 1],
    [OFS.nsh_spi, 3],
    [OFS.nsh_si, 1],
    [OFS.nsh_c1, 4],
    [OFS.nsh_c2, 4],
    [OFS.nsh_c3, 4],
    [OFS.nsh_c4, 4],
  ],
  skb_priority: [[OFS.skb_priority, 4]],
  skb_mark: [[OFS.pkt_mark, 4]],
};

export function commitActions(ctx: Ctx): void {
  const { base, flow } = ctx;
  commitEncap(ctx);
  const isEthernet = flow.get32(OFS.packet_type) === 0;
  if (isEthernet) commitSet(ctx, 'eth');
  const popsMpls = isMplsType(base.get16(OFS.eth_type)) && !isMplsType(flow.get16(OFS.eth_type));
  // What is behind the labels can only be written once they are gone.
  if (popsMpls) commitMpls(ctx);
  if (base.get16(OFS.eth_type) === flow.get16(OFS.eth_type)) {
    commitNetwork(ctx);
    commitTransport(ctx);
  }
  if (!popsMpls) commitMpls(ctx);
  if (isEthernet) commitVlan(ctx);
  commitSet(ctx, 'skb_priority');
  commitSet(ctx, 'skb_mark');
}

function commitNetwork(ctx: Ctx): void {
  switch (ctx.base.get16(OFS.eth_type)) {
    case ETH_TYPE.ip:
      commitSet(ctx, 'ipv4');
      break;
    case ETH_TYPE.ipv6:
      commitSet(ctx, 'ipv6');
      if (ctx.flow.get8(OFS.ip_proto) === IPPROTO.icmpv6) {
        commitSet(ctx, 'nd');
        commitSet(ctx, 'nd_ext');
      }
      break;
    case ETH_TYPE.arp:
      commitSet(ctx, 'arp');
      break;
    case ETH_TYPE.nsh:
      commitSet(ctx, 'nsh');
      break;
  }
}

function commitTransport(ctx: Ctx): void {
  const type = ctx.base.get16(OFS.eth_type);
  if (type !== ETH_TYPE.ip && type !== ETH_TYPE.ipv6) return;
  // Ports only differ when an action wrote them, which looked at the protocol.
  switch (ctx.flow.get8(OFS.ip_proto)) {
    case IPPROTO.tcp:
      return commitSet(ctx, 'tcp');
    case IPPROTO.udp:
      return commitSet(ctx, 'udp');
    case IPPROTO.sctp:
      return commitSet(ctx, 'sctp');
    case IPPROTO.icmp:
      return commitSet(ctx, 'icmp');
    case IPPROTO.icmpv6:
      return commitSet(ctx, 'icmpv6');
  }
}

function commitSet(ctx: Ctx, header: DpHeader): void {
  const { base, flow, wc } = ctx;
  let key: FlowKey | null = null;
  let mask: FlowKey | null = null;
  for (const [ofs, bytes] of HEADERS[header] ?? []) {
    let differs = false;
    for (let i = ofs; i < ofs + bytes; i++) if (base.u8[i] !== flow.u8[i]) differs = true;
    if (!differs) continue;
    key ??= new FlowKey();
    mask ??= new FlowKey();
    for (let i = ofs; i < ofs + bytes; i++) {
      mask.u8[i] = wc.u8[i];
      key.u8[i] = flow.u8[i] & wc.u8[i];
      base.u8[i] = flow.u8[i];
    }
  }
  if (key && mask) ctx.actions.push({ kind: 'set', header, key, mask });
}

const VLANS: readonly (readonly [number, number])[] = [
  [OFS.vlan_tpid, OFS.vlan_tci],
  [OFS.vlan2_tpid, OFS.vlan2_tci],
];

const VLAN_WORD = OFS.vlan_tpid >> 2;
const VLAN2_WORD = OFS.vlan2_tpid >> 2;

const vlanCount = (flow: FlowKey): number => (hasVlan(flow) ? (hasVlan2(flow) ? 2 : 1) : 0);

/** Tags that both have innermost stay; the others of `base` are popped, then those of `flow` pushed. */
function commitVlan(ctx: Ctx): void {
  const { base, flow, wc, actions } = ctx;
  if (base.w[VLAN_WORD] === flow.w[VLAN_WORD] && base.w[VLAN2_WORD] === flow.w[VLAN2_WORD]) return;
  // How many tags there are decides what is popped and pushed.
  wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | VLAN_CFI);
  if (hasVlan(base)) wc.set16(OFS.vlan2_tci, wc.get16(OFS.vlan2_tci) | VLAN_CFI);
  let have = vlanCount(base);
  let want = vlanCount(flow);
  while (have > 0 && want > 0 && sameTag(base, have - 1, flow, want - 1)) {
    have--;
    want--;
    // It may be the same by chance: what was written could equal what was there.
    wc.set16(VLANS[have][0], 0xffff);
    wc.set16(VLANS[have][1], 0xffff);
  }
  for (let i = have - 1; i >= 0; i--) {
    actions.push({ kind: 'pop_vlan' });
    wc.set16(VLANS[i][0], 0xffff);
    wc.set16(VLANS[i][1], 0xffff);
  }
  for (let i = want - 1; i >= 0; i--) {
    const [tpid, tci] = VLANS[i];
    actions.push({ kind: 'push_vlan', tpid: flow.get16(tpid) || 0x8100, tci: flow.get16(tci) });
  }
  for (const [tpid, tci] of VLANS) {
    base.set16(tpid, flow.get16(tpid));
    base.set16(tci, flow.get16(tci));
  }
}

const sameTag = (a: FlowKey, i: number, b: FlowKey, j: number): boolean =>
  a.get16(VLANS[i][0]) === b.get16(VLANS[j][0]) && a.get16(VLANS[i][1]) === b.get16(VLANS[j][1]);

const LSES = [OFS.mpls_lse0, OFS.mpls_lse1, OFS.mpls_lse2] as const;
export const MPLS_BOS = 0x100;

/** Labels down to the one with the bottom-of-stack bit, as far as a key holds them. */
export function mplsCount(flow: FlowKey): number {
  if (!isMplsType(flow.get16(OFS.eth_type))) return 0;
  for (let i = 0; i < LSES.length; i++) if (flow.get32(LSES[i]) & MPLS_BOS) return i + 1;
  return LSES.length;
}

function commitMpls(ctx: Ctx): void {
  const { base, flow, actions } = ctx;
  let have = mplsCount(base);
  let want = mplsCount(flow);
  if (have === 0 && want === 0) return;
  let common = 0;
  while (common < have && common < want) {
    if (base.get32(LSES[have - 1 - common]) !== flow.get32(LSES[want - 1 - common])) break;
    common++;
  }
  while (have > common) {
    if (have === want && have - 1 === common) {
      const key = new FlowKey();
      const mask = new FlowKey();
      const top = want - 1 - common;
      // A label is written whole.
      ctx.wc.set32(LSES[top], 0xffffffff);
      key.set32(OFS.mpls_lse0, flow.get32(LSES[top]));
      mask.set32(OFS.mpls_lse0, 0xffffffff);
      actions.push({ kind: 'set', header: 'mpls', key, mask });
      have--;
      want--;
      break;
    }
    const ethertype = have > 1 ? base.get16(OFS.eth_type) : flow.get16(OFS.eth_type);
    actions.push({ kind: 'pop_mpls', ethertype });
    have--;
  }
  for (let i = want - Math.max(have, common) - 1; i >= 0; i--) {
    actions.push({ kind: 'push_mpls', ethertype: flow.get16(OFS.eth_type), lse: flow.get32(LSES[i]) });
  }
  base.set16(OFS.eth_type, flow.get16(OFS.eth_type));
  for (const lse of LSES) base.set32(lse, flow.get32(lse));
  // Pushing a label hid the network and transport headers.
  if (want > 0) copyHidden(flow, base);
}

/** After a push the flow knows nothing of L3 and L4 any more; so shall `base`. */
function copyHidden(flow: FlowKey, base: FlowKey): void {
  base.w.set(flow.w.subarray(OFS.ip_proto >> 2, (OFS.tcp_flags >> 2) + 1), OFS.ip_proto >> 2);
  base.w.set(flow.w.subarray(OFS.ipv6_src >> 2, (OFS.igmp_group >> 2) + 1), OFS.ipv6_src >> 2);
}
