/** Multicast in NORMAL where a bridge snoops: what hosts and routers say is heard, and groups go where they are wanted. RFC 4541 */
import { formatIpv4, formatIpv6 } from '../../flow/address-text.ts';
import { SlowReason } from '../../flow/dp-actions.ts';
import { OFS } from '../../flow/layout.ts';
import { IGMP_TYPE, MLD_TYPE, readGroupMessage } from '../../packet/igmp.ts';
import type { McastSnooping } from '../mcast-snooping.ts';
import type { Ctx } from './ctx.ts';
import { ETH_TYPE, FRAG_LATER, IPPROTO } from './prereq.ts';
import type { XlateBundle } from './types.ts';

/** How NORMAL sends to a bundle, and to all that carry the packet. */
export interface Sending {
  readonly inBundle: XlateBundle;
  readonly vlan: number;
  send(bundle: XlateBundle): void;
  flood(): void;
}

type Snooping = McastSnooping<XlateBundle>;

const REPORTS: ReadonlySet<number> = new Set([
  IGMP_TYPE.reportV1,
  IGMP_TYPE.reportV2,
  IGMP_TYPE.reportV3,
  IGMP_TYPE.leave,
]);
const MLD: ReadonlySet<number> = new Set(Object.values(MLD_TYPE));
/** Groups on the link alone, which nobody need join. */
const ALL_NODES = 'ff02::1';

/** True when this was a multicast packet, which has been sent. */
export function snoop(ctx: Ctx, snooping: Snooping, to: Sending): boolean {
  const { flow, wc } = ctx;
  const isBroadcast = flow.u8.subarray(OFS.eth_dst, OFS.eth_dst + 6).every((byte) => byte === 0xff);
  if ((flow.u8[OFS.eth_dst] & 1) === 0 || isBroadcast) return false;
  const type = flow.get16(OFS.eth_type);
  if (type === ETH_TYPE.ip) {
    wc.set8(OFS.ip_proto, 0xff);
    if (flow.get8(OFS.ip_proto) === IPPROTO.igmp && (flow.get8(OFS.ip_frag) & FRAG_LATER) === 0) {
      igmp(ctx, snooping, to);
      return true;
    }
    wc.set32(OFS.ip_dst, 0xffffffff);
    const group = formatIpv4(flow.u8, OFS.ip_dst);
    forward(ctx, snooping, to, group, group.startsWith('224.0.0.'));
    return true;
  }
  if (type !== ETH_TYPE.ipv6) return false;
  wc.set8(OFS.ip_proto, 0xff);
  if (flow.get8(OFS.ip_proto) === IPPROTO.icmpv6 && (flow.get8(OFS.ip_frag) & FRAG_LATER) === 0) {
    wc.set16(OFS.tp_src, 0xffff);
    if (MLD.has(flow.get16(OFS.tp_src))) {
      mld(ctx, snooping, to);
      return true;
    }
  }
  wc.u8.fill(0xff, OFS.ipv6_dst, OFS.ipv6_dst + 16);
  const group = formatIpv6(flow.u8, OFS.ipv6_dst);
  forward(ctx, snooping, to, group, group === ALL_NODES);
  return true;
}

/** Every one of these packets must be seen, to keep entries from aging. */
function igmp(ctx: Ctx, snooping: Snooping, to: Sending): void {
  ctx.slow |= SlowReason.action;
  hear(ctx, snooping, to);
  // Megaflows with a reason to be slow decide nothing: what follows is worked out for each packet.
  if (REPORTS.has(ctx.flow.get16(OFS.tp_src))) {
    toRouters(ctx, snooping, to);
    reportsToFlagged(ctx, to);
  } else {
    ctx.note('detail', 'multicast traffic, flooding');
    to.flood();
  }
}

function mld(ctx: Ctx, snooping: Snooping, to: Sending): void {
  ctx.slow |= SlowReason.action;
  hear(ctx, snooping, to);
  if (ctx.flow.get16(OFS.tp_src) === MLD_TYPE.query) {
    ctx.note('detail', 'MLD query, flooding');
    to.flood();
  } else {
    toRouters(ctx, snooping, to);
    reportsToFlagged(ctx, to);
  }
}

const text = (address: Uint8Array): string => (address.length === 4 ? formatIpv4(address) : formatIpv6(address));

function hear(ctx: Ctx, snooping: Snooping, { inBundle, vlan }: Sending): void {
  const { packet, sideEffects, nowMs } = ctx.input;
  const message = packet && sideEffects ? readGroupMessage(packet) : null;
  if (!message) return;
  const where = `on port ${inBundle.name} in VLAN ${vlan}`;
  switch (message.type) {
    case 'bad checksum': {
      const protocol = ctx.flow.get16(OFS.eth_type) === ETH_TYPE.ip ? 'IGMP' : 'MLD';
      ctx.note('detail', `multicast snooping received bad ${protocol} checksum ${where}`);
      break;
    }
    case 'query':
      // A query from nobody is a switch's that took over for a router.
      if (message.source.every((byte) => byte === 0)) break;
      if (snooping.heardQuery(vlan, inBundle, nowMs)) {
        const from = message.source.length === 4 ? ` from ${text(message.source)} is` : '';
        ctx.note('detail', `multicast snooping query${from} ${where}`);
      }
      break;
    case 'report':
      if (snooping.join(text(message.group), vlan, inBundle, nowMs) && message.group.length === 4) {
        ctx.note('detail', `multicast snooping learned that ${text(message.group)} is ${where}`);
      }
      break;
    case 'leave':
      if (snooping.leave(text(message.group), vlan, inBundle) && message.group.length === 4) {
        ctx.note('detail', `multicast snooping leaving ${text(message.group)} is ${where}`);
      }
      break;
    case 'records': {
      let count = 0;
      for (const { joins, group } of message.changes) {
        const isNew = joins
          ? snooping.join(text(group), vlan, inBundle, nowMs)
          : snooping.leave(text(group), vlan, inBundle);
        if (isNew) count++;
      }
      if (count > 0) ctx.note('detail', `multicast snooping processed ${count} addresses ${where}`);
      break;
    }
  }
}

/** A packet for a group. */
function forward(ctx: Ctx, snooping: Snooping, to: Sending, group: string, isLocal: boolean): void {
  if (isLocal) {
    ctx.note('detail', 'RFC4541: section 2.1.2, item 2, flooding');
    to.flood();
    return;
  }
  const entry = snooping.lookup(group, to.vlan);
  if (entry) {
    const sent = new Set<XlateBundle>();
    for (const { port } of entry.members) {
      give(ctx, to, port, 'forwarding to mcast group port', 'mcast group port is input port, dropping', sent);
    }
    toFlagged(ctx, to, sent);
    toRouters(ctx, snooping, to, sent);
  } else if (snooping.floodsUnregistered) {
    ctx.note('detail', 'unregistered multicast, flooding');
    to.flood();
  } else {
    const sent = new Set<XlateBundle>();
    toRouters(ctx, snooping, to, sent);
    toFlagged(ctx, to, sent);
  }
}

function give(ctx: Ctx, to: Sending, bundle: XlateBundle, text: string, refusal: string, sent: Set<XlateBundle>): void {
  if (bundle === to.inBundle) {
    ctx.note('detail', refusal);
  } else if (!sent.has(bundle)) {
    sent.add(bundle);
    ctx.note('detail', text);
    to.send(bundle);
  }
}

function toRouters(ctx: Ctx, snooping: Snooping, to: Sending, sent = new Set<XlateBundle>()): void {
  for (const { port, vlan } of snooping.routers) {
    if (vlan !== to.vlan) ctx.note('detail', 'mcast router is on another vlan, dropping');
    else give(ctx, to, port, 'forwarding to mcast router port', 'mcast router port is input port, dropping', sent);
  }
}

function toFlagged(ctx: Ctx, to: Sending, sent: Set<XlateBundle>): void {
  for (const bundle of ctx.bridge.bundles()) {
    if (!bundle.mcastFlood) continue;
    give(ctx, to, bundle, 'forwarding to mcast flood port', 'mcast flood port is input port, dropping', sent);
  }
}

function reportsToFlagged(ctx: Ctx, to: Sending): void {
  const sent = new Set<XlateBundle>();
  for (const bundle of ctx.bridge.bundles()) {
    if (!bundle.mcastFloodReports) continue;
    const refusal = 'mcast port is input port, dropping the Report';
    give(ctx, to, bundle, 'forwarding report to mcast flagged port', refusal, sent);
  }
}
