/** Actions on VLAN tags and MPLS labels. A flow holds two tags and three labels. */
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import type { OfpactOf } from '../../openflow/actions/types.ts';
import { PacketInReason } from '../../openflow/messages.ts';
import { commitActions, MPLS_BOS, mplsCount } from './commit.ts';
import { controller } from './controller.ts';
import type { Ctx } from './ctx.ts';
import { ETH_TYPE, hasVlan, hasVlan2, isIpAny, isMplsType, VLAN_CFI } from './prereq.ts';

const VID = 0x0fff;
const PCP = 0xe000;

const orTci = (wc: FlowKey, bits: number): void => wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | bits);

export function setVlanVid(ctx: Ctx, a: OfpactOf<'set_vlan_vid'>): void {
  orTci(ctx.wc, VID | VLAN_CFI);
  if (!hasVlan(ctx.flow)) noTag(ctx);
  if (hasVlan(ctx.flow) || a.pushIfNeeded) writeTci(ctx.flow, VID, a.vid);
}

export function setVlanPcp(ctx: Ctx, a: OfpactOf<'set_vlan_pcp'>): void {
  orTci(ctx.wc, PCP | VLAN_CFI);
  if (!hasVlan(ctx.flow)) noTag(ctx);
  if (hasVlan(ctx.flow) || a.pushIfNeeded) writeTci(ctx.flow, PCP, a.pcp << 13);
}

/**
 * A tag is about to be made where there is none. If actions took the packet's own away before, the new one may happen
 * to be equal to it, which then is no change: all of it has been looked at.
 */
export function noTag(ctx: Ctx): void {
  const { flow, base, wc } = ctx;
  flow.set32(OFS.vlan_tpid, 0);
  flow.set32(OFS.vlan2_tpid, 0);
  if (!hasVlan(base) && !hasVlan(ctx.input.flow)) return;
  wc.set32(OFS.vlan_tpid, 0xffffffff);
  wc.set32(OFS.vlan2_tpid, 0xffffffff);
}

function writeTci(flow: FlowKey, mask: number, value: number): void {
  if (!hasVlan(flow)) flow.set16(OFS.vlan_tpid, 0x8100);
  flow.set16(OFS.vlan_tci, (flow.get16(OFS.vlan_tci) & ~mask) | value | VLAN_CFI);
}

export function popVlan(ctx: Ctx): void {
  const { flow, wc } = ctx;
  orTci(wc, VLAN_CFI);
  if (hasVlan(flow)) {
    // The same tag may be pushed again, which then is no change.
    wc.set32(OFS.vlan_tpid, 0xffffffff);
    wc.set32(OFS.vlan2_tpid, 0xffffffff);
    flow.set32(OFS.vlan_tpid, flow.get32(OFS.vlan2_tpid));
    flow.set32(OFS.vlan2_tpid, 0);
  } else {
    flow.set32(OFS.vlan_tpid, 0);
  }
}

export function pushVlan(ctx: Ctx, a: OfpactOf<'push_vlan'>): void {
  const { flow, wc } = ctx;
  orTci(wc, VLAN_CFI);
  if (hasVlan(flow)) {
    wc.set32(OFS.vlan_tpid, 0xffffffff);
    wc.set16(OFS.vlan2_tci, wc.get16(OFS.vlan2_tci) | VLAN_CFI);
  } else {
    noTag(ctx);
  }
  if (hasVlan2(flow)) {
    // The inner tag is about to leave the flow, but not the packet.
    commitActions(ctx);
    ctx.actions.push({ kind: 'push_vlan', tpid: a.ethertype, tci: VLAN_CFI });
    shiftIn(ctx.base, a.ethertype);
    ctx.hiddenTags++;
  }
  shiftIn(flow, a.ethertype);
}

function shiftIn(flow: FlowKey, tpid: number): void {
  flow.set32(OFS.vlan2_tpid, hasVlan(flow) ? flow.get32(OFS.vlan_tpid) : 0);
  flow.set16(OFS.vlan_tpid, tpid);
  flow.set16(OFS.vlan_tci, VLAN_CFI);
}

const LSES = [OFS.mpls_lse0, OFS.mpls_lse1, OFS.mpls_lse2] as const;

export function pushMpls(ctx: Ctx, a: OfpactOf<'push_mpls'>): void {
  const { flow, wc } = ctx;
  lookAtLabels(ctx);
  const n = mplsCount(flow);
  if (n === LSES.length) return tooManyLabels(ctx);
  // Headers behind a label can't be written any more, and an encapsulation is one label.
  if (n === 0 || ctx.pendingEncap) commitActions(ctx);
  if (n > 0) {
    shiftLabels(flow, n);
  } else {
    let label = 0;
    let tc = 0;
    let ttl = 64;
    if (isIpAny(flow)) {
      if (flow.get16(OFS.eth_type) === ETH_TYPE.ipv6) label = 2;
      wc.set8(OFS.ip_tos, wc.get8(OFS.ip_tos) | 0xfc);
      tc = ((flow.get8(OFS.ip_tos) & 0xfc) >> 2) >> 3;
      wc.set8(OFS.ip_ttl, 0xff);
      ttl = flow.get8(OFS.ip_ttl) || 64;
    }
    clearUpperLayers(flow);
    flow.set32(LSES[0], ((label << 12) | (tc << 9) | MPLS_BOS | ttl) >>> 0);
  }
  flow.set16(OFS.eth_type, a.ethertype);
}

function tooManyLabels(ctx: Ctx): void {
  ctx.note(
    'warn',
    `bridge ${ctx.bridge.name}: dropping packet on which an MPLS push action can't be performed as it would have more MPLS LSEs than the 3 supported.`,
  );
  ctx.fail('Too many MPLS labels');
}

function shiftLabels(flow: FlowKey, n: number): void {
  for (let i = n; i > 0; i--) flow.set32(LSES[i], flow.get32(LSES[i - 1]));
  flow.set32(LSES[0], (flow.get32(LSES[1]) & ~MPLS_BOS) >>> 0);
}

/** One more label before those that are there. False when there is no room for it. */
export function pushLabel(ctx: Ctx): boolean {
  lookAtLabels(ctx);
  const n = mplsCount(ctx.flow);
  if (n === LSES.length) tooManyLabels(ctx);
  else shiftLabels(ctx.flow, n);
  return n < LSES.length;
}

function clearUpperLayers(flow: FlowKey): void {
  const zone = flow.get16(OFS.ct_zone);
  flow.w.fill(0, OFS.ip_proto >> 2, (OFS.tcp_flags >> 2) + 1);
  flow.w.fill(0, OFS.ipv6_src >> 2, (OFS.igmp_group >> 2) + 1);
  flow.set16(OFS.ct_zone, zone);
  flow.set32(OFS.dp_hash, 0);
}

export function popMpls(ctx: Ctx, a: OfpactOf<'pop_mpls'>): void {
  const { flow } = ctx;
  if (!isMplsType(flow.get16(OFS.eth_type))) return;
  if (flow.get32(LSES[0]) & MPLS_BOS) ctx.wc.set32(LSES[0], ctx.wc.get32(LSES[0]) | MPLS_BOS);
  else lookAtLabels(ctx);
  // A label pushed just now must be there to be popped: what it hid is not known any more.
  commitActions(ctx);
  const n = mplsCount(flow);
  const isLast = (flow.get32(LSES[0]) & MPLS_BOS) !== 0;
  for (let i = 0; i < LSES.length; i++) flow.set32(LSES[i], i + 1 < n ? flow.get32(LSES[i + 1]) : 0);
  flow.set16(OFS.eth_type, a.ethertype);
  if (isLast && !isMplsType(a.ethertype)) ctx.wasMpls = true;
}

export function setMpls(ctx: Ctx, mask: number, value: number): void {
  const { flow, wc } = ctx;
  if (!isMplsType(flow.get16(OFS.eth_type))) return;
  wc.set32(OFS.mpls_lse0, wc.get32(OFS.mpls_lse0) | mask);
  flow.set32(OFS.mpls_lse0, ((flow.get32(OFS.mpls_lse0) & ~mask) | value) >>> 0);
}

/** True when the packet ends here. */
export function decMplsTtl(ctx: Ctx): boolean {
  const { flow, wc } = ctx;
  if (!isMplsType(flow.get16(OFS.eth_type))) return false;
  wc.set32(OFS.mpls_lse0, wc.get32(OFS.mpls_lse0) | 0xff);
  const ttl = flow.get32(OFS.mpls_lse0) & 0xff;
  if (ttl > 1) {
    flow.set32(OFS.mpls_lse0, flow.get32(OFS.mpls_lse0) - 1);
    return false;
  }
  controller(ctx, { maxLen: 0xffff, reason: PacketInReason.invalid_ttl, controllerId: 0 });
  ctx.note('warn', 'MPLS decrement TTL exception');
  return true;
}

/** How many labels there are, and what they say, decides what pushing and popping does. */
export function lookAtLabels(ctx: Ctx): void {
  if (!isMplsType(ctx.flow.get16(OFS.eth_type))) return;
  for (const lse of LSES) ctx.wc.set32(lse, 0xffffffff);
}
