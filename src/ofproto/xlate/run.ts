/** One translation from beginning to end. */
import type { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, OFS } from '../../flow/layout.ts';
import { OFPM_SLOWPATH } from '../../openflow/messages-ext.ts';
import { runActions } from './actions.ts';
import { Ctx } from './ctx.ts';
import { mirrorReceived } from './mirror.ts';
import { mayReceive } from './output.ts';
import { clearEthernet, PT_ETHERNET, setPacketType } from './packet-type.ts';
import { ETH_TYPE, FRAG_LATER, isFromTunnel, isIpAny, isMplsType, VLAN_CFI } from './prereq.ts';
import { takenByProtocol } from './protocols.ts';
import { type FrozenState, thawRegisters } from './recirc.ts';
import { endSampling, sampleReceived } from './sampling.ts';
import { finishFreezing, runActionSet, xlateTable } from './table.ts';
import { arriveByTunnel, unwrapLast } from './tunnel.ts';
import type { XlateInput, XlateResult } from './types.ts';

export function xlateFlow(input: XlateInput): XlateResult {
  const ctx = new Ctx(input);
  input.observer?.mask?.(ctx.wc);
  beginMask(ctx);
  const recircId = ctx.flow.get32(OFS.recirc_id);
  if (recircId !== 0) {
    const state = input.recirc.lookup(recircId);
    if (!state) {
      input.observer?.enter({ type: 'bridge', bridge: ctx.bridge });
      ctx.note('error', `Recirculation context not found for ID ${recircId.toString(16)}`);
      ctx.fail('No recirculation context');
      input.observer?.leave();
      return result(ctx);
    }
    thaw(ctx, state, recircId);
  } else {
    input.observer?.enter({ type: 'bridge', bridge: ctx.bridge });
    start(ctx);
  }
  if (!ctx.freezing) runActionSet(ctx);
  if (ctx.freezing) finishFreezing(ctx);
  input.observer?.leave();
  return result(ctx);
}

function start(ctx: Ctx): void {
  const { input, flow } = ctx;
  if (input.actions) {
    ctx.inPacketOut = !input.isTrace;
    ctx.ruleCookie = 0xffffffffffffffffn;
    if (mirrorReceived(ctx, ctx.bridge.port(flow.get32(OFS.in_port)))) runActions(ctx, input.actions, true);
    return;
  }
  const inPort = flow.get32(OFS.in_port);
  const port = ctx.bridge.port(inPort);
  if (isFromTunnel(flow) && !arriveByTunnel(ctx)) return;
  if (port?.tunnel?.packetType === 'legacy_l3' && flow.get32(OFS.packet_type) !== PT_ETHERNET) {
    // It is seen as an Ethernet frame, and becomes one when it leaves as such.
    setPacketType(flow, PT_ETHERNET);
    clearEthernet(flow);
    ctx.pendingEncap = true;
  }
  if (port && !mayReceive(flow, port)) {
    ctx.wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
    ctx.note('warn', 'OFPPC_NO_RECV set, dropping');
    return;
  }
  if (port && port.config !== 0 && port.config & 0xc) ctx.wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
  // The first lookup does not deepen the recursion.
  ctx.table = -1;
  const mayBegin = (): boolean =>
    !takenByProtocol(ctx, port) && beginSample(ctx) && mirrorReceived(ctx, port) && (port?.spanning?.learns ?? true);
  xlateTable(ctx, { table: 0, inPort, honorsMiss: true, mayPacketIn: true, mayBegin });
  ctx.table = 0;
  // NORMAL and `learn` have seen it, which is all that a port that is still learning may do.
  if (port?.spanning?.forwards === false && port.spanning.learns) disableForwarding(ctx);
}

const beginSample = (ctx: Ctx): true => {
  sampleReceived(ctx);
  return true;
};

function disableForwarding(ctx: Ctx): void {
  ctx.actions.length = 0;
  ctx.actionSet = [];
  ctx.freezing = false;
  ctx.fail('Forwarding disabled on port');
}

/** Carries on where `freezing` stopped. */
function thaw(ctx: Ctx, state: FrozenState, recircId: number): void {
  ctx.bridge = state.bridge;
  if (isFromTunnel(ctx.flow)) arriveByTunnel(ctx);
  thawRegisters(state, ctx.flow);
  ctx.base.copyFrom(ctx.flow);
  ctx.stack = [...state.stack];
  ctx.actionSet = [...state.actionSet];
  ctx.conntracked = state.conntracked;
  ctx.mirrored = state.mirrored ?? 0;
  ctx.hops = state.hops ?? 0;
  ctx.table = state.table;
  ctx.ruleCookie = state.cookie;
  ctx.input.observer?.enter({ type: 'bridge', bridge: ctx.bridge });
  const { actions } = state;
  const resume = actions.length > 0 ? state.table : state.resume;
  ctx.input.observer?.enter({ type: 'thaw', recircId, resume, actions });
  if (state.actions.length > 0) {
    runActions(ctx, state.actions, true);
  } else if (state.resume !== null) {
    ctx.table = -1;
    xlateTable(ctx, {
      table: state.resume,
      inPort: ctx.flow.get32(OFS.in_port),
      honorsMiss: true,
      mayPacketIn: true,
    });
  }
  ctx.input.observer?.leave();
}

/** What every megaflow looks at. */
function beginMask(ctx: Ctx): void {
  const { wc, flow } = ctx;
  wc.set32(OFS.in_port, 0xffffffff);
  wc.set32(OFS.recirc_id, 0xffffffff);
  wc.set32(OFS.packet_type, 0xffffffff);
  wc.set16(OFS.l2_kind, 0xffff);
  wc.set16(OFS.eth_type, 0xffff);
  if (isIpAny(flow)) wc.set8(OFS.ip_frag, 0xff);
}

/** Makes the mask fit for a datapath. */
function endMask(wc: FlowKey, flow: FlowKey): void {
  // Registers and metadata are zero on arrival, or known from the recirculation id.
  wc.w.fill(0, DP_WORDS);
  for (const tci of [OFS.vlan_tci, OFS.vlan2_tci]) {
    if (wc.get16(tci) !== 0) wc.set16(tci, wc.get16(tci) | VLAN_CFI);
  }
  if (!isMplsType(flow.get16(OFS.eth_type))) wc.w.fill(0, OFS.mpls_lse0 >> 2, (OFS.mpls_lse2 >> 2) + 1);
  if (flow.get16(OFS.eth_type) !== ETH_TYPE.nsh) wc.w.fill(0, OFS.nsh_flags >> 2, (OFS.nsh_c4 >> 2) + 1);
  if (flow.get32(OFS.packet_type) !== 0) {
    wc.w.fill(0, OFS.eth_dst >> 2, OFS.eth_type >> 2);
    wc.set32(OFS.vlan2_tpid, 0);
  }
  // A port that is no tunnel's has only packets without tunnels. What is recirculated may differ.
  if (flow.get32(OFS.recirc_id) === 0 && !isFromTunnel(flow)) wc.w.fill(0, OFS.tun_id >> 2, DP_WORDS);
  // There are no ports in later fragments; a datapath cannot match on them.
  if (isIpAny(flow) && flow.get8(OFS.ip_frag) & FRAG_LATER) wc.set32(OFS.tp_src, 0);
}

function result(ctx: Ctx): XlateResult {
  const { wc, input } = ctx;
  endSampling(ctx);
  endMask(wc, input.flow);
  unwrapLast(ctx);
  return {
    actions: ctx.error === 'OK' ? ctx.actions : [],
    mask: wc,
    finalFlow: ctx.flow,
    effects: ctx.effects,
    slow: ctx.slow,
    slowMeter: ctx.slow ? ctx.bridge.meter(OFPM_SLOWPATH) : null,
    error: ctx.error,
    hasNormal: ctx.hasNormal,
  };
}
