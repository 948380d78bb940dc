/**
 * Port mirroring: copies of what a port receives, as it came, and of what it sends, as it leaves. A mirror sends to a port
 * or into a VLAN, and to each place at most one copy of a packet. `ovs-vswitchd.conf.db(5)`, "Mirror TABLE"
 */
import { OFS } from '../../flow/layout.ts';
import type { Ctx } from './ctx.ts';
import { admitsVid, carries, enter, isReserved, readTags, send, tagsOf } from './normal.ts';
import { VLAN_CFI } from './prereq.ts';
import type { XlateBundle, XlatePort } from './types.ts';

export interface XlateMirror {
  /** Its bit and those of mirrors with the same destination. */
  readonly duplicates: number;
  /** Null for all VLANs. */
  readonly vlans: ReadonlySet<number> | null;
  readonly output: { readonly bundle: XlateBundle | null } | { readonly vlan: number };
  /** Bytes that are kept, 0 for all. */
  readonly snaplen: number;
  credit(packets: number, bytes: number): void;
}

/** A bridge's mirrors; sets of them are bits by place in `list`. */
export interface XlateMirrors {
  readonly list: readonly XlateMirror[];
  ofReceived(bundle: XlateBundle): number;
  ofSent(bundle: XlateBundle): number;
  /** Ports that mirrors send to are for that alone. */
  isOutput(bundle: XlateBundle): boolean;
}

/** The packet is new in this bridge. False when it must go no further. */
export function mirrorReceived(ctx: Ctx, port: XlatePort | undefined): boolean {
  const { mirrors } = ctx.bridge;
  const bundle = port?.bundle;
  if (!mirrors || !bundle) return true;
  if (mirrors.isOutput(bundle)) {
    ctx.note('error', `dropping packet received on port ${bundle.name}, which is reserved exclusively for mirroring`);
    return false;
  }
  mirror(ctx, mirrors, bundle, mirrors.ofReceived(bundle));
  return true;
}

/** The packet has just been sent out of `port`. */
export function mirrorSent(ctx: Ctx, port: XlatePort): void {
  const { mirrors } = ctx.bridge;
  if (mirrors && port.bundle) mirror(ctx, mirrors, port.bundle, mirrors.ofSent(port.bundle));
}

function mirror(ctx: Ctx, mirrors: XlateMirrors, bundle: XlateBundle, selected: number): void {
  let left = selected & ~ctx.mirrored;
  const { wc, flow, bridge } = ctx;
  if (left === 0) {
    // Nothing to do, but people are told if there would be nothing to mirror anyway.
    admitsVid(ctx, tagsOf(flow), bundle);
    return;
  }
  wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | 0x0fff | VLAN_CFI);
  const tags = readTags(ctx, bundle);
  if (!admitsVid(ctx, tags, bundle)) return;
  const inside = enter(tags, bundle);
  const { mirrorSnaplen } = ctx;
  for (let i = 0; i < mirrors.list.length; i++) {
    if ((left & (1 << i)) === 0) continue;
    const one = mirrors.list[i];
    if (one.vlans && !one.vlans.has(inside.vid)) continue;
    ctx.effects.push({ kind: 'mirror', mirror: one });
    ctx.mirrored |= one.duplicates;
    ctx.mirrorSnaplen = one.snaplen;
    if ('bundle' in one.output) {
      if (one.output.bundle) send(ctx, one.output.bundle, inside);
    } else if (inside.vid !== one.output.vlan) {
      wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
      const there = { ...inside, vid: one.output.vlan, tpid: inside.tpid || 0x8100 };
      if (!isReserved(flow.u8)) {
        for (const to of bridge.bundles()) if (!mirrors.isOutput(to) && carries(ctx, to, there)) send(ctx, to, there);
      }
    }
    ctx.mirrorSnaplen = mirrorSnaplen;
    // What was sent may have been mirrored in its turn.
    left &= ~ctx.mirrored;
  }
}
