/**
 * Tunnels in translation. Output to a tunnel port finds the way to the remote end, puts the outer headers before the packet
 * (`tnl_push`) and carries on with what is now a packet of the machine itself, in the bridge of the device that the way leads
 * by. A packet for a bridge's own device that is a tunnel's is unpacked instead (`tnl_pop`) and comes in again by the tunnel.
 *
 * What the outer packet meets in the lower bridge depends only on what the megaflow has fixed already, so the bits looked
 * at there are not the megaflow's.
 */
import { vlog } from '../../base/vlog.ts';
import { formatEth } from '../../flow/address-text.ts';
import { TnlType } from '../../flow/dp-actions.ts';
import { TUN_FLAG } from '../../flow/flags-text.ts';
import { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, OFS } from '../../flow/layout.ts';
import { formatIp, isAny, isMapped, mapIpv4, type TunnelConfig } from '../../netdev/tunnel-config.ts';
import { OFPP } from '../../openflow/ports.ts';
import { buildHeader, type GeneveOption, IPPROTO_GRE, IPPROTO_UDP } from '../tunnel/header.ts';
import { commitActions } from './commit.ts';
import { type Ctx, MAX_DEPTH } from './ctx.ts';
import { clearConntrack } from './output.ts';
import { ETH_TYPE, isIpAny } from './prereq.ts';
import { finishFreezing, runActionSet, xlateTable } from './table.ts';
import type { XlateBridge, XlatePort } from './types.ts';

const log = vlog('tunnel');

/** The way to an address. */
export interface Way {
  readonly device: string;
  /** All zeros when the address itself is the next hop. */
  readonly gateway: Uint8Array;
  readonly source: Uint8Array;
}

/** The port that a device is. */
export interface Egress {
  readonly bridge: XlateBridge;
  readonly port: XlatePort;
  readonly mac: Uint8Array;
}

/** What translation needs to know about tunnels and the network below them. Addresses are 16 bytes. */
export interface XlateTunnels {
  /** Are there any? Without, nothing of this is looked at. */
  readonly isInUse: boolean;
  /** Do routes depend on packets' marks? */
  readonly usesMarks: boolean;
  route(ip: Uint8Array, mark: number): Way | null;
  /** Is it an address of the machine, by its routes? */
  mayComeFrom(ip: Uint8Array, mark: number): boolean;
  egress(device: string): Egress | null;
  neighbor(egress: Egress, ip: Uint8Array): Uint8Array | null;
  /** A packet went to this neighbor. */
  neighborUsed(egress: Egress, ip: Uint8Array, nowMs: number): void;
  /** Asks who has an address. Called often, asks now and then. */
  ask(egress: Egress, source: Uint8Array, ip: Uint8Array): void;
  /** Somebody in a bridge said who has an address. */
  heard(bridge: XlateBridge, ip: Uint8Array, mac: Uint8Array, nowMs: number): void;
  /** Has this device an address? */
  hasAddress(device: string): boolean;
  isOurMac(mac: Uint8Array): boolean;
  isOurAddress(ip: Uint8Array): boolean;
  /** The datapath port of tunnels that get packets of this protocol and UDP port. */
  listener(proto: number, dstPort: number): number | null;
  /** The options of a Geneve packet with these `tun_metadata` fields; what is looked at is added to the mask. */
  geneveOptions(flow: FlowKey, wc: FlowKey): GeneveOption[];
}

const ECN = 3;
const CE = 3;
const ECT_0 = 2;
const DSCP = 0xfc;

const look = (wc: FlowKey, ofs: number, bytes: number): void => {
  wc.u8.fill(0xff, ofs, ofs + bytes);
};

function address(flow: FlowKey, v4: number, v6: number): Uint8Array {
  const four = flow.u8.subarray(v4, v4 + 4);
  return four.some((b) => b !== 0) ? mapIpv4(four) : flow.u8.slice(v6, v6 + 16);
}

/** A packet that came out of a tunnel. False when it must not be taken. RFC 6040 4.2 */
export function arriveByTunnel(ctx: Ctx): boolean {
  const { flow, wc } = ctx;
  look(wc, OFS.tun_id, 8);
  if (flow.get32(OFS.tun_dst) !== 0) look(wc, OFS.tun_src, 8);
  else look(wc, OFS.tun_ipv6_src, 32);
  wc.set16(OFS.tun_flags, wc.get16(OFS.tun_flags) | TUN_FLAG.df | TUN_FLAG.csum | TUN_FLAG.key);
  look(wc, OFS.tun_tos, 1);
  if (flow.get32(OFS.recirc_id) !== 0) return true;
  const stats = ctx.bridge.port(flow.get32(OFS.in_port))?.stats;
  if (stats) {
    ctx.effects.push({
      kind: 'tell',
      tell: (packets, bytes) => {
        stats.rxPackets += packets;
        stats.rxBytes += bytes;
      },
    });
  }
  if (!isIpAny(flow) || (flow.get8(OFS.tun_tos) & ECN) !== CE) return true;
  wc.set8(OFS.ip_tos, wc.get8(OFS.ip_tos) | ECN);
  if ((flow.get8(OFS.ip_tos) & ECN) === 0) {
    log.rl(60).warn('dropping tunnel packet marked ECN CE but is not ECN capable');
    return false;
  }
  flow.set8(OFS.ip_tos, flow.get8(OFS.ip_tos) | CE);
  return true;
}

/** Sends the packet, as it is now, through a tunnel. */
export function outputTunnel(ctx: Ctx, port: XlatePort, config: TunnelConfig, truncate: number): void {
  const { flow, wc, input } = ctx;
  const { tunnels } = input;
  if (!tunnels || port.dpPort === null) return;
  if (config.remoteFlow) {
    look(wc, OFS.tun_dst, 4);
    if (flow.get32(OFS.tun_dst) === 0) look(wc, OFS.tun_ipv6_dst, 16);
  }
  const remote = config.remoteFlow ? address(flow, OFS.tun_dst, OFS.tun_ipv6_dst) : config.remote;
  if (sameBytes(remote, address(input.flow, OFS.tun_dst, OFS.tun_ipv6_dst))) {
    ctx.note('warn', 'Not tunneling to our own address');
    return;
  }
  const { stats } = port;
  if (stats) {
    ctx.effects.push({
      kind: 'tell',
      tell: (packets, bytes) => {
        stats.txPackets += packets;
        stats.txBytes += bytes;
      },
    });
  }
  ctx.note('detail', 'output to native tunnel');
  commitActions(ctx);
  const tos = outerTos(ctx, config);
  const ttl = outerTtl(ctx, config);
  const mark = config.egressMark || flow.get32(OFS.pkt_mark);
  if (tunnels.usesMarks && config.egressMark === 0) look(wc, OFS.pkt_mark, 4);
  const fixed = outerSource(ctx, config);
  const way = isAny(fixed) || tunnels.mayComeFrom(fixed, mark) ? tunnels.route(remote, mark) : null;
  const egress = way && tunnels.egress(way.device);
  if (!way || !egress) {
    ctx.note('warn', 'native tunnel routing failed');
    return;
  }
  const hop = isAny(way.gateway) ? remote : way.gateway;
  ctx.note('detail', `tunneling to ${formatIp(hop)} via ${way.device}`);
  const source = isAny(fixed) ? way.source : fixed;
  const dstMac = tunnels.neighbor(egress, hop);
  if (!dstMac) {
    const request = isMapped(hop) ? 'ARP' : 'ND';
    ctx.note(
      'detail',
      `neighbor cache miss for ${formatIp(hop)} on bridge ${egress.bridge.name}, sending ${request} request`,
    );
    ctx.effects.push({ kind: 'tell', tell: () => tunnels.ask(egress, source, hop) });
    return;
  }
  ctx.effects.push({ kind: 'tell', tell: (_packets, _bytes, usedMs) => tunnels.neighborUsed(egress, hop, usedMs) });
  const srcMac = egress.mac;
  ctx.note(
    'detail',
    `tunneling from ${formatEth(srcMac)} ${formatIp(source)} to ${formatEth(dstMac)} ${formatIp(hop)}`,
  );
  if (config.outKey.flow) look(wc, OFS.tun_id, 8);
  if (config.type === 'geneve') wc.set16(OFS.tun_flags, wc.get16(OFS.tun_flags) | TUN_FLAG.oam);
  const header = buildHeader({
    type: config.type,
    srcMac,
    dstMac,
    src: source,
    dst: remote,
    tos,
    ttl,
    dontFragment: config.dontFragment,
    dstPort: config.dstPort,
    csum: config.csum,
    key: config.outKey.flow ? flow.get64(OFS.tun_id) : config.outKey.value,
    hasKey: config.outKey.present,
    hasSequence: config.sequence,
    oam: (flow.get16(OFS.tun_flags) & TUN_FLAG.oam) !== 0,
    options: config.type === 'geneve' ? tunnels.geneveOptions(flow, wc) : [],
    ...(flow.get32(OFS.packet_type) === 0 ? {} : { protocol: flow.get16(OFS.eth_type) }),
  });
  const outer = outerFlow(egress, header);
  const nested = underlay(ctx, egress, outer, () => {
    if (truncate > 0) ctx.actions.push({ kind: 'trunc', maxLen: truncate });
    ctx.actions.push({
      kind: 'tnl_push',
      port: port.dpPort!, // Checked above.
      outPort: egress.port.dpPort ?? 0,
      type: TnlType[config.type],
      header,
    });
  });
  if (nested.length > 0) ctx.actions.push({ kind: 'clone', actions: nested });
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.every((x, i) => x === b[i]);

function outerTos({ flow, wc }: Ctx, config: TunnelConfig): number {
  if (!isIpAny(flow)) return config.tos;
  const inner = flow.get8(OFS.ip_tos);
  let tos = config.tos;
  if (config.tosInherit) {
    wc.set8(OFS.ip_tos, wc.get8(OFS.ip_tos) | DSCP);
    tos = inner & DSCP;
  }
  // RFC 6040 4.1, but CE stays inside. RFC 3168 9.1.1
  wc.set8(OFS.ip_tos, wc.get8(OFS.ip_tos) | ECN);
  return tos | ((inner & ECN) === CE ? ECT_0 : inner & ECN);
}

function outerTtl({ flow, wc }: Ctx, config: TunnelConfig): number {
  if (!config.ttlInherit || !isIpAny(flow)) return config.ttl;
  wc.set8(OFS.ip_ttl, 0xff);
  return flow.get8(OFS.ip_ttl);
}

/** All zeros when the route shall say. */
function outerSource({ flow, wc }: Ctx, config: TunnelConfig): Uint8Array {
  if (!config.localFlow) return config.local;
  look(wc, OFS.tun_src, 4);
  if (flow.get32(OFS.tun_src) === 0) look(wc, OFS.tun_ipv6_src, 16);
  return address(flow, OFS.tun_src, OFS.tun_ipv6_src);
}

/** What the slow path knows of a packet with these headers. */
function outerFlow(egress: Egress, h: Uint8Array): FlowKey {
  const flow = new FlowKey();
  const v = new DataView(h.buffer, h.byteOffset);
  flow.set32(OFS.in_port, egress.port.ofport);
  flow.u8.set(h.subarray(0, 12), OFS.eth_dst);
  flow.set16(OFS.eth_type, v.getUint16(12));
  const isIpv4 = v.getUint16(12) === ETH_TYPE.ip;
  if (isIpv4) {
    flow.u8.set(h.subarray(26, 34), OFS.ip_src);
    flow.set8(OFS.ip_tos, h[15]);
    flow.set8(OFS.ip_ttl, h[22]);
    flow.set8(OFS.ip_proto, h[23]);
  } else {
    flow.u8.set(h.subarray(22, 54), OFS.ipv6_src);
    flow.set8(OFS.ip_tos, (v.getUint16(14) >> 4) & 0xff);
    flow.set8(OFS.ip_ttl, h[21]);
    flow.set8(OFS.ip_proto, h[20]);
  }
  if (flow.get8(OFS.ip_proto) === IPPROTO_UDP) flow.set16(OFS.tp_dst, v.getUint16((isIpv4 ? 34 : 54) + 2));
  return flow;
}

/** Translates the outer packet in the lower bridge. Returns what `begin` and that did, nothing when it leads nowhere. */
function underlay(ctx: Ctx, egress: Egress, outer: FlowKey, begin: () => void): Ctx['actions'] {
  if (ctx.depth + 1 > MAX_DEPTH) {
    ctx.note('error', `over max translation depth ${MAX_DEPTH}`);
    ctx.fail('Recursion too deep');
    return [];
  }
  const { flow, base, wc } = ctx;
  const saved = {
    actions: ctx.actions,
    bridge: ctx.bridge,
    table: ctx.table,
    rule: ctx.rule,
    ruleCookie: ctx.ruleCookie,
    stack: ctx.stack,
    actionSet: ctx.actionSet,
    inActionSet: ctx.inActionSet,
    inGroup: ctx.inGroup,
    inPacketOut: ctx.inPacketOut,
    conntracked: ctx.conntracked,
    wasMpls: ctx.wasMpls,
    hiddenTags: ctx.hiddenTags,
    pendingEncap: ctx.pendingEncap,
    nshMetadata: ctx.nshMetadata,
  };
  const { exit } = ctx;
  const [flowBefore, baseBefore, wcBefore] = [flow.clone(), base.clone(), wc.clone()];
  ctx.actions = [];
  begin();
  const first = ctx.actions.length;
  Object.assign(ctx, { bridge: egress.bridge, stack: [], actionSet: [], inActionSet: false, inGroup: false });
  Object.assign(ctx, { inPacketOut: false, wasMpls: false, hiddenTags: 0 });
  ctx.depth++;
  flow.copyFrom(outer);
  base.copyFrom(outer);
  wc.clear();
  clearConntrack(ctx);
  ctx.input.observer?.enter({ type: 'bridge', bridge: egress.bridge });
  xlateTable(ctx, { table: 0, inPort: egress.port.ofport, honorsMiss: true, mayPacketIn: true });
  if (ctx.freezing) finishFreezing(ctx);
  else runActionSet(ctx);
  ctx.input.observer?.leave();
  ctx.depth--;
  const done = ctx.actions.length > first ? ctx.actions : [];
  Object.assign(ctx, saved);
  flow.copyFrom(flowBefore);
  base.copyFrom(baseBefore);
  wc.copyFrom(wcBefore);
  // An `exit` there ends that bridge's part only; an error ends everything.
  if (ctx.error === 'OK') ctx.exit = exit;
  return done;
}

/** The datapath port by which the packet comes in again when it is for a tunnel rather than for the device `port`. */
export function terminate(ctx: Ctx, port: XlatePort): number | null {
  const { flow, wc, input } = ctx;
  const { tunnels } = input;
  if (!tunnels?.isInUse || port.ofport !== OFPP.LOCAL) return null;
  const type = flow.get16(OFS.eth_type);
  if (!tunnels.hasAddress(port.name)) return null;
  if (type === ETH_TYPE.arp) {
    hearArp(ctx, tunnels);
    return null;
  }
  const isIpv4 = type === ETH_TYPE.ip;
  if (!isIpv4 && type !== ETH_TYPE.ipv6) return null;
  look(wc, OFS.eth_dst, 6);
  const isOurs = tunnels.isOurMac(flow.u8.subarray(OFS.eth_dst, OFS.eth_dst + 6));
  if (!isOurs) {
    hearNd(ctx, tunnels);
    return null;
  }
  const [ofs, bytes] = isIpv4 ? [OFS.ip_dst, 4] : [OFS.ipv6_dst, 16];
  look(wc, ofs, bytes);
  const dst = flow.u8.subarray(ofs, ofs + bytes);
  if (!tunnels.isOurAddress(isIpv4 ? mapIpv4(dst) : dst)) return null;
  look(wc, OFS.ip_proto, 1);
  const proto = flow.get8(OFS.ip_proto);
  if (flow.get8(OFS.ip_frag) !== 0) return null;
  if (proto === IPPROTO_GRE) return tunnels.listener(proto, 0);
  if (proto === IPPROTO_UDP) {
    look(wc, OFS.tp_dst, 2);
    return tunnels.listener(proto, flow.get16(OFS.tp_dst));
  }
  hearNd(ctx, tunnels);
  return null;
}

const ARP_REPLY = 2;
const ICMPV6 = 58;
const ND_ADVERT = 136;

function hearArp({ flow, wc, bridge, effects }: Ctx, tunnels: XlateTunnels): void {
  look(wc, OFS.ip_proto, 1);
  if (flow.get8(OFS.ip_proto) !== ARP_REPLY) return;
  look(wc, OFS.ip_src, 8);
  look(wc, OFS.arp_sha, 6);
  const mac = flow.u8.slice(OFS.arp_sha, OFS.arp_sha + 6);
  const sender = mapIpv4(flow.u8.subarray(OFS.ip_src, OFS.ip_src + 4));
  const target = mapIpv4(flow.u8.subarray(OFS.ip_dst, OFS.ip_dst + 4));
  if (mac.every((b) => b === 0) || !(sameBytes(sender, target) || tunnels.isOurAddress(target))) return;
  effects.push({ kind: 'tell', tell: (_packets, _bytes, usedMs) => tunnels.heard(bridge, sender, mac, usedMs) });
}

function hearNd({ flow, wc, bridge, effects }: Ctx, tunnels: XlateTunnels): void {
  if (flow.get16(OFS.eth_type) !== ETH_TYPE.ipv6) return;
  look(wc, OFS.ip_proto, 1);
  if (flow.get8(OFS.ip_proto) !== ICMPV6 || flow.get8(OFS.ip_frag) !== 0) return;
  look(wc, OFS.tp_src, 4);
  if (flow.get16(OFS.tp_src) !== ND_ADVERT || flow.get16(OFS.tp_dst) !== 0) return;
  look(wc, OFS.nd_target, 16);
  look(wc, OFS.arp_tha, 6);
  const mac = flow.u8.slice(OFS.arp_tha, OFS.arp_tha + 6);
  if (mac.every((b) => b === 0)) return;
  const target = flow.u8.slice(OFS.nd_target, OFS.nd_target + 16);
  effects.push({ kind: 'tell', tell: (_packets, _bytes, usedMs) => tunnels.heard(bridge, target, mac, usedMs) });
}

/** What the tunnel fields say must last beyond recirculation. */
export function commitTunnel(ctx: Ctx): void {
  const { flow, base } = ctx;
  const first = OFS.tun_id >> 2;
  let differs = false;
  for (let w = first; w < DP_WORDS; w++) if (flow.w[w] !== base.w[w]) differs = true;
  if (!differs) return;
  const key = new FlowKey();
  const mask = new FlowKey();
  for (let w = first; w < DP_WORDS; w++) {
    if (flow.w[w] === base.w[w]) continue;
    ctx.wc.w[w] = -1;
    mask.w[w] = -1;
    key.w[w] = flow.w[w];
    base.w[w] = flow.w[w];
  }
  ctx.actions.push({ kind: 'set', header: 'tunnel', key, mask });
}

/** The last thing that is done to a packet need not be done to a copy. */
export function unwrapLast(ctx: Ctx): void {
  const last = ctx.actions.at(-1);
  if (last?.kind !== 'clone' || !last.actions.some((a) => a.kind === 'tnl_push')) return;
  ctx.actions.pop();
  ctx.actions.push(...last.actions);
}
