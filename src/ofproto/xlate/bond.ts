/** Bonds in NORMAL: which member's packets are taken, and by which member a packet leaves. */
import { OFS } from '../../flow/layout.ts';
import { macKey } from '../mac-learning.ts';
import { hashStep } from '../subtable.ts';
import type { Ctx } from './ctx.ts';
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

export function memberFor(ctx: Ctx, bond: XlateBond, vlan: number): XlatePort | null {
  if (bond.mode !== 'balance-slb') return bond.outputFor(0);
  const { flow, wc } = ctx;
  let h = bond.basis ^ vlan;
  for (let i = OFS.eth_src; i < OFS.eth_src + 6; i++) {
    h = hashStep(h, flow.u8[i]);
    wc.u8[i] = 0xff;
  }
  const hash = (h ^ (h >>> 16) ^ (h >>> 24)) & 0xff;
  ctx.effects.push({ kind: 'tell', tell: (_packets, bytes) => bond.credit(hash, bytes) });
  return bond.outputFor(hash);
}
