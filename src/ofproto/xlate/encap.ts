/**
 * Changing what a packet is: `encap`, `decap`, `dec_nsh_ttl`, `delete_field`. `ovs-actions(7)`
 *
 * An encapsulation waits in the flow until it is committed, so that fields of the new header can be set first. What comes to
 * light behind an NSH or a label is only known after recirculation.
 */

import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { setFieldMask } from '../../flow/subfield.ts';
import type { OfpactOf } from '../../openflow/actions/types.ts';
import { PacketInReason } from '../../openflow/messages.ts';
import { NSH_NEXT } from '../../packet/nsh.ts';
import { commitActions, MPLS_BOS } from './commit.ts';
import { controller } from './controller.ts';
import type { Ctx } from './ctx.ts';
import { clearEthernet, ofType, PT_ETHERNET, setPacketType } from './packet-type.ts';
import { ETH_TYPE, hasVlan, isMplsType, VLAN_CFI } from './prereq.ts';
import { freeze } from './table.ts';
import { lookAtLabels, pushLabel } from './tags.ts';

/** What `decap` says of a label it takes off without saying what is behind it, and when that is an Ethernet header. */
const USE_NEXT = 0xfffe;
const TRANSPARENT_BRIDGING = 0x6558;

const NSH_NEXT_TYPE: ReadonlyMap<number, number> = new Map([
  [PT_ETHERNET, NSH_NEXT.ethernet],
  [ofType(ETH_TYPE.ip), NSH_NEXT.ipv4],
  [ofType(ETH_TYPE.ipv6), NSH_NEXT.ipv6],
  [ofType(ETH_TYPE.nsh), NSH_NEXT.nsh],
]);
const DEFAULT_NSH_TTL = 63;
const DEFAULT_NSH_SI = 255;
const DEFAULT_LABEL = MPLS_BOS | 64;
const PROP_MD_TYPE = 1;

const typeText = (type: number): string => `(${type >>> 16},0x${(type & 0xffff).toString(16)})`;

function refuse(ctx: Ctx, text: string): true {
  ctx.note('plain', `Dropping packet${text}`);
  ctx.fail('Unsupported packet type');
  return true;
}

/** True when the packet ends here. */
export function encap(ctx: Ctx, a: OfpactOf<'encap'>): boolean {
  const { flow } = ctx;
  const inside = flow.get32(OFS.packet_type);
  if (a.packetType === PT_ETHERNET) {
    if (inside === PT_ETHERNET) return refuse(ctx, ' as encap(ethernet) is not supported for packet type ethernet.');
    commitActions(ctx);
    setPacketType(flow, PT_ETHERNET);
    clearEthernet(flow);
  } else if (a.packetType === ofType(ETH_TYPE.nsh)) {
    const next = NSH_NEXT_TYPE.get(inside);
    if (next === undefined) return refuse(ctx, ` as encap(nsh) is not supported for packet type ${typeText(inside)}`);
    commitActions(ctx);
    encapNsh(ctx, a, next);
  } else {
    encapMpls(ctx, a.packetType & 0xffff, inside);
  }
  ctx.pendingEncap = ctx.error === 'OK';
  return ctx.error !== 'OK';
}

/** Nothing of the packet can be seen any more: it begins with a header of `type`. */
function hidePacket(flow: FlowKey, type: number): void {
  clearEthernet(flow);
  flow.w.fill(0, OFS.ip_proto >> 2, (OFS.tp_dst >> 2) + 1);
  flow.set16(OFS.tcp_flags, 0);
  flow.w.fill(0, OFS.mpls_lse0 >> 2, (OFS.igmp_group >> 2) + 1);
  flow.w.fill(0, OFS.nsh_flags >> 2, (OFS.nsh_c4 >> 2) + 1);
  setPacketType(flow, ofType(type));
  flow.set16(OFS.eth_type, type);
}

function encapNsh(ctx: Ctx, a: OfpactOf<'encap'>, next: number): void {
  const { flow } = ctx;
  let mdType = 1;
  const tlvs: number[] = [];
  for (const p of a.props) {
    if (p[2] === PROP_MD_TYPE) mdType = p[4];
    else {
      tlvs.push(...p.subarray(4, 8 + p[7]));
      while (tlvs.length % 4 !== 0) tlvs.push(0);
    }
  }
  hidePacket(flow, ETH_TYPE.nsh);
  flow.set8(OFS.nsh_ttl, DEFAULT_NSH_TTL);
  flow.set8(OFS.nsh_mdtype, mdType);
  flow.set8(OFS.nsh_np, next);
  flow.set8(OFS.nsh_si, DEFAULT_NSH_SI);
  ctx.nshMetadata = mdType === 2 ? Uint8Array.from(tlvs) : null;
}

function encapMpls(ctx: Ctx, type: number, inside: number): void {
  const { flow } = ctx;
  commitActions(ctx);
  if (inside >>> 16 === 1 && isMplsType(inside & 0xffff)) {
    if (!pushLabel(ctx)) return;
    setPacketType(flow, ofType(type));
    flow.set16(OFS.eth_type, type);
    return;
  }
  hidePacket(flow, type);
  flow.set32(OFS.mpls_lse0, DEFAULT_LABEL);
}

/** True when the packet ends here. */
export function decap(ctx: Ctx, a: OfpactOf<'decap'>): boolean {
  const { flow, wc } = ctx;
  const outside = flow.get32(OFS.packet_type);
  if (outside === PT_ETHERNET) {
    wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | VLAN_CFI);
    if (hasVlan(flow)) return refuse(ctx, ', cannot decap Ethernet if VLAN is present.');
    commitActions(ctx);
    setPacketType(flow, ofType(flow.get16(OFS.eth_type)));
    clearEthernet(flow);
    return false;
  }
  const type = outside >>> 16 === 1 ? outside & 0xffff : 0;
  if (type === ETH_TYPE.nsh) {
    commitActions(ctx);
    wc.set8(OFS.nsh_np, 0xff);
    const next = flow.get8(OFS.nsh_np);
    if (![...NSH_NEXT_TYPE.values()].includes(next)) {
      return refuse(ctx, ` as NSH next protocol ${next} is not supported`);
    }
    ctx.actions.push({ kind: 'pop_nsh' });
  } else if (isMplsType(type)) {
    if (flow.get32(OFS.mpls_lse0) & MPLS_BOS) wc.set32(OFS.mpls_lse0, wc.get32(OFS.mpls_lse0) | MPLS_BOS);
    else lookAtLabels(ctx);
    commitActions(ctx);
    const next = a.packetType ?? USE_NEXT;
    const ethertype = a.packetType === PT_ETHERNET ? TRANSPARENT_BRIDGING : next & 0xffff;
    ctx.actions.push({ kind: 'pop_mpls', ethertype });
  } else {
    return refuse(ctx, ` as the decap() does not support packet type ${typeText(outside)}`);
  }
  ctx.reshaped++;
  freeze(ctx, null);
  return false;
}

/** True when the packet ends here. */
export function decNshTtl(ctx: Ctx): boolean {
  const { flow, wc } = ctx;
  if (flow.get16(OFS.eth_type) !== ETH_TYPE.nsh) return false;
  wc.set8(OFS.nsh_ttl, 0xff);
  const ttl = flow.get8(OFS.nsh_ttl);
  if (ttl > 1) {
    flow.set8(OFS.nsh_ttl, ttl - 1);
    return false;
  }
  controller(ctx, { maxLen: 0xffff, reason: PacketInReason.invalid_ttl, controllerId: 0 });
  ctx.note('warn', 'NSH decrement TTL exception');
  return true;
}

/** A tunnel option that the packet shall not have. */
export function deleteField(ctx: Ctx, a: OfpactOf<'delete_field'>): void {
  const { flow, wc } = ctx;
  const index = (a.field.bit - OFS.tun_metadata * 8) >> 5;
  const present = OFS.tun_metadata_present + 7 - (index >> 3);
  // Whether this is a change decides what is written before recirculation.
  setFieldMask(wc, a.field);
  wc.u8[present] |= 1 << (index & 7);
  flow.w[(OFS.tun_metadata >> 2) + index] = 0;
  flow.u8[present] &= ~(1 << (index & 7));
  ctx.note('detail', `delete ${a.field.name}`);
}
