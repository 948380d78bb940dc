/** What a packet begins with: its Ethernet header or, after `encap` and `decap`, some other. */
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { buildNsh } from '../../packet/nsh.ts';
import type { Ctx } from './ctx.ts';
import { ETH_TYPE } from './prereq.ts';

/** Packet types: namespace 1 is that of Ethernet types. */
export const PT_ETHERNET = 0;
export const ofType = (type: number): number => 0x10000 | type;

export function setPacketType(flow: FlowKey, type: number): void {
  flow.set32(OFS.packet_type, type);
  flow.set16(OFS.l2_kind, type === PT_ETHERNET ? 0 : ((type >>> 16) << 8) | 1);
}

export function clearEthernet(flow: FlowKey): void {
  flow.w.fill(0, OFS.eth_dst >> 2, OFS.eth_type >> 2);
  flow.set32(OFS.vlan2_tpid, 0);
}

/** The encapsulation that waits becomes an action. */
export function commitEncap(ctx: Ctx): void {
  const { base, flow, actions } = ctx;
  const outside = flow.get32(OFS.packet_type);
  if (!ctx.pendingEncap && base.get32(OFS.packet_type) === outside) return;
  if (ctx.pendingEncap && outside !== PT_ETHERNET) {
    if (outside === ofType(ETH_TYPE.nsh)) actions.push({ kind: 'push_nsh', header: nshHeader(ctx) });
    else actions.push({ kind: 'add_mpls', ethertype: flow.get16(OFS.eth_type), lse: flow.get32(OFS.mpls_lse0) });
    base.copyPacket(flow);
  } else if (outside === PT_ETHERNET) {
    // Nothing has been encapsulated: a tunnel of layer 3 took the packet's own header off, and it returns.
    if (!ctx.pendingEncap) {
      ctx.wc.w.fill(-1, OFS.eth_dst >> 2, OFS.eth_type >> 2);
      ctx.wc.set32(OFS.vlan2_tpid, 0xffffffff);
    }
    actions.push({
      kind: 'push_eth',
      src: flow.u8.slice(OFS.eth_src, OFS.eth_src + 6),
      dst: flow.u8.slice(OFS.eth_dst, OFS.eth_dst + 6),
    });
    setPacketType(base, PT_ETHERNET);
    base.w.set(flow.w.subarray(OFS.eth_dst >> 2, OFS.vlan_tpid >> 2), OFS.eth_dst >> 2);
    base.set32(OFS.vlan_tpid, 0);
    base.set32(OFS.vlan2_tpid, 0);
  } else {
    actions.push({ kind: 'pop_eth' });
    setPacketType(base, outside);
    clearEthernet(base);
  }
  ctx.pendingEncap = false;
  ctx.reshaped++;
}

function nshHeader({ flow, nshMetadata }: Ctx): Uint8Array {
  const mdType = flow.get8(OFS.nsh_mdtype);
  return buildNsh({
    flags: flow.get8(OFS.nsh_flags),
    ttl: flow.get8(OFS.nsh_ttl),
    np: flow.get8(OFS.nsh_np),
    spi: flow.get32(OFS.nsh_spi) >>> 8,
    si: flow.get8(OFS.nsh_si),
    mdType,
    metadata: mdType === 1 ? flow.u8.slice(OFS.nsh_c1, OFS.nsh_c1 + 16) : (nshMetadata ?? new Uint8Array(0)),
  });
}
