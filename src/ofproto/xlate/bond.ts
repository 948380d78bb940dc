/** Bonds in NORMAL: which member's packets are taken, and by which member a packet leaves. */
import { OFS } from '../../flow/layout.ts';
import { macKey } from '../mac-learning.ts';
import { hashStep } from '../subtable.ts';
import { commitActions } from './commit.ts';
import type { Ctx } from './ctx.ts';
import { hashFields } from './hash.ts';
import type { XlateBond, XlateBundle, XlatePort } from './types.ts';

/** Keeps out what comes back by another member than it should, or a second time. */
export function bondAdmits(
  ctx: Ctx,
  bundle: XlateBundle,
  port: XlatePort,
  mac: string,
  vlan: number,
  isGratuitousArp: boolean,
): boolean {
  const { flow, bridge, input } = ctx;
  const isMulticast = (flow.u8[OFS.eth_dst] & 1) !== 0;
  const verdict = bundle.bond?.admits(port, isMulticast) ?? 'yes';
  if (verdict === 'no') {
    ctx.note('detail', 'bonding refused admissibility, dropping');
    return false;
  }
  if (verdict === 'yes') return true;
  ctx.effects.push({ kind: 'mac_lookup', key: macKey(mac, vlan) });
  const entry = bridge.macs?.lookup(mac, vlan, input.nowMs);
  if (!entry || entry.port === bundle) return true;
  if (isGratuitousArp && entry.lockedUntilMs <= input.nowMs) return true;
  ctx.note('detail', 'SLB bond thinks this packet looped back, dropping');
  return false;
}

/** The bond's recirculation id, where the datapath's hash shall choose; what leaves by patch ports never meets one. */
export function hashedBy(bond: XlateBond, bundle: XlateBundle): number | null {
  const isHashed = bond.mode === 'balance-tcp' && bundle.ports.every((port) => port.dpPort !== null);
  return isHashed ? (bond.recircId ?? null) : null;
}

/** The packet gets a hash and comes back to the bond's rules. */
export function sendHashed(ctx: Ctx, recircId: number, isDirect: boolean): void {
  if (ctx.flow.get32(OFS.packet_type) !== 0) {
    ctx.note('warn', 'Trying to send non-Ethernet packet through legacy L2 port. Dropping packet.');
    return;
  }
  commitActions(ctx);
  if (isDirect) ctx.actions.push({ kind: 'lb_output', bondId: recircId });
  else ctx.actions.push({ kind: 'hash', algorithm: 'l4', basis: 0 }, { kind: 'recirc', id: recircId });
}

/** By which `balance-slb` tells packets apart: 8 bits of source address and VLAN. */
export function sourceHash(mac: Uint8Array, vlan: number, basis: number): number {
  let h = basis ^ vlan;
  for (const byte of mac) h = hashStep(h, byte);
  return (h ^ (h >>> 16) ^ (h >>> 24)) & 0xff;
}

export function memberFor(ctx: Ctx, bond: XlateBond, vlan: number): XlatePort | null {
  if (bond.mode === 'balance-tcp') {
    const hash = hashFields(ctx, 'symmetric_l4', bond.basis) & 0xff;
    ctx.effects.push({ kind: 'tell', tell: (_packets, bytes) => bond.credit(hash, bytes) });
    return bond.outputFor(hash);
  }
  if (bond.mode !== 'balance-slb') return bond.outputFor(0);
  const { flow, wc } = ctx;
  const hash = sourceHash(flow.u8.subarray(OFS.eth_src, OFS.eth_src + 6), vlan, bond.basis);
  wc.u8.fill(0xff, OFS.eth_src, OFS.eth_src + 6);
  ctx.effects.push({ kind: 'tell', tell: (_packets, bytes) => bond.credit(hash, bytes) });
  return bond.outputFor(hash);
}
