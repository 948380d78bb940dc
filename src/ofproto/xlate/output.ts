/** Output: to a port, to the reserved ports, through patch ports into the next bridge. */

import { SlowReason } from '../../flow/dp-actions.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import type { TunnelConfig } from '../../netdev/tunnel-config.ts';
import { PacketInReason } from '../../openflow/messages.ts';
import { OFPP } from '../../openflow/ports.ts';
import { EXPLICIT_MISS } from '../packet-in-reason.ts';
import { commitActions } from './commit.ts';
import { controller } from './controller.ts';
import { type Ctx, MAX_DEPTH, onCopy } from './ctx.ts';
import { mirrorSent } from './mirror.ts';
import { normal } from './normal.ts';
import { clearEthernet, ofType, PT_ETHERNET, setPacketType } from './packet-type.ts';
import { takenByProtocol } from './protocols.ts';
import { sampleSent } from './sampling.ts';
import { finishFreezing, runActionSet, xlateTable } from './table.ts';
import { outputTunnel, terminate } from './tunnel.ts';
import { PortConfig, type XlatePort } from './types.ts';

export interface OutputOptions {
  readonly maxLen: number;
  readonly isLast: boolean;
  readonly truncate?: number;
}

export function output(ctx: Ctx, port: number, options: OutputOptions): void {
  const inPort = ctx.flow.get32(OFS.in_port);
  switch (port) {
    case OFPP.IN_PORT:
      return sendTo(ctx, inPort, options.truncate);
    case OFPP.TABLE:
      return xlateTable(ctx, { table: 0, inPort, honorsMiss: true, mayPacketIn: true });
    case OFPP.NORMAL:
      return normal(ctx);
    case OFPP.FLOOD:
      return flood(ctx, false);
    case OFPP.ALL:
      return flood(ctx, true);
    case OFPP.CONTROLLER:
      return controller(ctx, { maxLen: options.maxLen, reason: outputReason(ctx), controllerId: 0 });
    case OFPP.NONE:
      return;
    default:
      if (port !== inPort) sendTo(ctx, port, options.truncate);
      else ctx.note('warn', 'skipping output to input port');
  }
}

export function outputReason(ctx: Ctx): number {
  if (ctx.inPacketOut) return PacketInReason.packet_out;
  if (ctx.inGroup) return PacketInReason.group;
  if (ctx.inActionSet) return PacketInReason.action_set;
  const isTableMiss = ctx.rule?.priority === 0 && ctx.rule.shape.index.length === 0;
  return isTableMiss ? EXPLICIT_MISS : PacketInReason.action;
}

function flood(ctx: Ctx, all: boolean): void {
  ctx.hasFlooded = true;
  const inPort = ctx.flow.get32(OFS.in_port);
  for (const port of ctx.bridge.ports()) {
    if (port.ofport === inPort) continue;
    if (all || (port.config & PortConfig.noFlood) === 0) sendTo(ctx, port.ofport);
  }
}

/** Puts the packet, as it is now, out of a port. */
export function sendTo(ctx: Ctx, ofport: number, truncate = 0): void {
  const port = ctx.bridge.port(ofport);
  if (!port) {
    ctx.note('warn', 'Nonexistent output port');
  } else if (port.config & PortConfig.noFwd) {
    ctx.note('detail', 'OFPPC_NO_FWD set, skipping output');
  } else if (isBlocked(ctx, port)) {
    return;
  } else if (port.bundle?.vlan.protected && ctx.bridge.port(ctx.flow.get32(OFS.in_port))?.bundle?.vlan.protected) {
    ctx.note('warn', 'Flow is between protected ports, skipping output.');
  } else if (port.peer && ctx.mirrorSnaplen > 0) {
    ctx.note('warn', 'Mirror truncate to ODPP_NONE, skipping output');
  } else if (port.peer) {
    throughPatch(ctx, port, port.peer);
  } else if (ctx.flow.get32(OFS.packet_type) !== 0 && (port.tunnel?.packetType ?? 'legacy_l2') === 'legacy_l2') {
    ctx.note('warn', 'Trying to send non-Ethernet packet through legacy L2 port. Dropping packet.');
  } else if (port.tunnel) {
    throughTunnel(ctx, port, port.tunnel, truncate || ctx.mirrorSnaplen);
    mirrorSent(ctx, port);
  } else if (port.dpPort !== null) {
    if (truncate > 0) ctx.actions.push({ kind: 'trunc', maxLen: truncate });
    commitActions(ctx);
    sampleSent(ctx, port.dpPort);
    if (ctx.mirrorSnaplen > 0) ctx.actions.push({ kind: 'trunc', maxLen: ctx.mirrorSnaplen });
    const tunnelPort = terminate(ctx, port);
    ctx.actions.push(
      tunnelPort === null ? { kind: 'output', port: port.dpPort } : { kind: 'tnl_pop', port: tunnelPort },
    );
    mirrorSent(ctx, port);
  }
}

/** A tunnel of layer 3 takes what is behind the Ethernet header; the packet itself keeps it. */
function throughTunnel(ctx: Ctx, port: XlatePort, config: TunnelConfig, truncate: number): void {
  const { flow } = ctx;
  if (config.packetType !== 'legacy_l3' || flow.get32(OFS.packet_type) !== PT_ETHERNET) {
    outputTunnel(ctx, port, config, truncate);
    return;
  }
  commitActions(ctx);
  const before = flow.clone();
  setPacketType(flow, ofType(flow.get16(OFS.eth_type)));
  clearEthernet(flow);
  outputTunnel(ctx, port, config, truncate);
  flow.copyFrom(before);
}

/** A spanning tree keeps the packet from leaving by the port. Link health detection passes. */
function isBlocked(ctx: Ctx, { spanning, protocols }: XlatePort): boolean {
  if (!spanning || spanning.forwards) return false;
  const { base, wc } = ctx;
  if (STP_ADDRESS.every((byte, i) => base.u8[OFS.eth_dst + i] === byte)) {
    wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
    if (spanning.passesBpdus) return false;
    const text = spanning.word === 'STP' ? 'STP not in listening state' : 'RSTP not managing BPDU in this state';
    ctx.note('warn', `${text}, skipping bpdu output`);
    return true;
  }
  wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
  const isHealth = (reason: number): boolean => reason === SlowReason.cfm || reason === SlowReason.bfd;
  if (protocols?.some((p) => isHealth(p.reason) && p.claims(base, wc))) return false;
  ctx.note('warn', `${spanning.word} not in forwarding state, skipping output`);
  return true;
}

/** The packet leaves by a patch port and enters the bridge at the other end, whose tables see it without registers. */
function throughPatch(ctx: Ctx, from: XlatePort, peer: NonNullable<XlatePort['peer']>): void {
  if (ctx.depth + 1 > MAX_DEPTH) {
    ctx.note('error', `over max translation depth ${MAX_DEPTH}`);
    ctx.fail('Recursion too deep');
    return;
  }
  const { flow } = ctx;
  const saved = {
    flow: flow.clone(),
    bridge: ctx.bridge,
    table: ctx.table,
    rule: ctx.rule,
    cookie: ctx.ruleCookie,
    stack: ctx.stack,
    actionSet: ctx.actionSet,
    inActionSet: ctx.inActionSet,
    inGroup: ctx.inGroup,
    inPacketOut: ctx.inPacketOut,
    conntracked: ctx.conntracked,
    wasMpls: ctx.wasMpls,
    exit: ctx.exit,
    mirrored: ctx.mirrored,
  };
  const baseBefore = ctx.base.clone();
  ctx.effects.push({ kind: 'patch', from, to: peer.port });
  ctx.bridge = peer.bridge;
  ctx.depth++;
  ctx.stack = [];
  ctx.actionSet = [];
  ctx.inActionSet = false;
  ctx.inGroup = false;
  ctx.inPacketOut = false;
  ctx.mirrored = 0;
  // Neither registers nor tunnels cross.
  flow.w.fill(0, OFS.tun_id >> 2);
  flow.set32(OFS.in_port, peer.port.ofport);
  clearConntrack(ctx);
  ctx.input.observer?.enter({ type: 'bridge', bridge: peer.bridge });
  const { spanning } = peer.port;
  if (!takenByProtocol(ctx, peer.port) && mayReceive(flow, peer.port) && (spanning?.learns ?? true)) {
    const before = ctx.actions.length;
    onCopy(ctx, () => {
      xlateTable(ctx, { table: 0, inPort: peer.port.ofport, honorsMiss: true, mayPacketIn: true });
      if (!ctx.freezing) runActionSet(ctx);
      if (ctx.freezing) finishFreezing(ctx);
    });
    // What came of it is not to be done; nor is it to be taken for done.
    if (spanning?.forwards === false) {
      ctx.actions.length = before;
      ctx.base.copyFrom(baseBefore);
    }
  }
  ctx.input.observer?.leave();
  ctx.depth--;
  flow.copyFrom(saved.flow);
  ctx.bridge = saved.bridge;
  ctx.table = saved.table;
  ctx.rule = saved.rule;
  ctx.ruleCookie = saved.cookie;
  ctx.stack = saved.stack;
  ctx.actionSet = saved.actionSet;
  ctx.inActionSet = saved.inActionSet;
  ctx.inGroup = saved.inGroup;
  ctx.inPacketOut = saved.inPacketOut;
  ctx.conntracked = saved.conntracked;
  ctx.wasMpls = saved.wasMpls;
  ctx.mirrored = saved.mirrored;
  // An `exit` there ends that bridge's part only; an error ends everything.
  if (ctx.error === 'OK') ctx.exit = saved.exit;
}

export function mayReceive(flow: FlowKey, port: XlatePort): boolean {
  const stp = STP_ADDRESS.every((byte, i) => flow.u8[OFS.eth_dst + i] === byte);
  return (port.config & (stp ? PortConfig.noRecvStp : PortConfig.noRecv)) === 0;
}

const STP_ADDRESS = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00];

export function clearConntrack(ctx: Ctx): void {
  const { flow } = ctx;
  ctx.conntracked = false;
  flow.set32(OFS.ct_state, 0);
  flow.set16(OFS.ct_zone, 0);
  flow.set32(OFS.ct_mark, 0);
  flow.w.fill(0, OFS.ct_label >> 2, (OFS.ct_nw_proto >> 2) + 1);
}
