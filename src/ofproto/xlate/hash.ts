/** Choosing by a hash of the packet's headers: `multipath`, `bundle`, select groups. All that is hashed is looked at. */
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import type { OfpactOf } from '../../openflow/actions/types.ts';
import { OFPP } from '../../openflow/ports.ts';
import { hashStep } from '../subtable.ts';
import type { Ctx } from './ctx.ts';
import { noteSubfield, writeSubfield } from './fields.ts';
import { output } from './output.ts';
import { ETH_TYPE, hasVlan, IPPROTO, isIpAny, VLAN_CFI } from './prereq.ts';

type Range = readonly [ofs: number, bytes: number];

/** Hash of some fields (a name of `ovs-actions(7)`, "multipath"), by the same value in both directions if symmetric. */
export function hashFields(ctx: Ctx, fields: string, basis: number): number {
  const { flow, wc } = ctx;
  switch (fields) {
    case 'eth_src':
      return hashRanges(flow, wc, [[OFS.eth_src, 6]], basis);
    case 'symmetric_l4':
      return symmetric(flow, wc, basis, { ethernet: true, vlan: true, udp: false, ports: true });
    case 'symmetric_l3l4':
      return symmetric(flow, wc, basis, { ethernet: false, vlan: false, udp: false, ports: true });
    case 'symmetric_l3l4+udp':
      return symmetric(flow, wc, basis, { ethernet: false, vlan: false, udp: true, ports: true });
    case 'symmetric_l3':
      return symmetric(flow, wc, basis, { ethernet: false, vlan: false, udp: false, ports: false });
    case 'nw_src':
      return hashRanges(flow, wc, addresses(flow, true, false), basis);
    case 'nw_dst':
      return hashRanges(flow, wc, addresses(flow, false, true), basis);
    default:
      return basis;
  }
}

function addresses(flow: FlowKey, src: boolean, dst: boolean): Range[] {
  const type = flow.get16(OFS.eth_type);
  const is6 = type === ETH_TYPE.ipv6;
  if (!is6 && type !== ETH_TYPE.ip) return [];
  const ranges: Range[] = [];
  if (src) ranges.push(is6 ? [OFS.ipv6_src, 16] : [OFS.ip_src, 4]);
  if (dst) ranges.push(is6 ? [OFS.ipv6_dst, 16] : [OFS.ip_dst, 4]);
  return ranges;
}

function hashRanges(flow: FlowKey, wc: FlowKey, ranges: readonly Range[], basis: number): number {
  let h = basis;
  for (const [ofs, bytes] of ranges) {
    for (let i = ofs; i < ofs + bytes; i++) {
      h = hashStep(h, flow.u8[i]);
      wc.u8[i] = 0xff;
    }
  }
  return h >>> 0;
}

interface Parts {
  readonly ethernet: boolean;
  readonly vlan: boolean;
  readonly udp: boolean;
  readonly ports: boolean;
}

/** XOR of source and destination makes both directions equal. */
function symmetric(flow: FlowKey, wc: FlowKey, basis: number, parts: Parts): number {
  let h = basis;
  const fold = (a: number, b: number, bytes: number): void => {
    for (let i = 0; i < bytes; i++) h = hashStep(h, flow.u8[a + i] ^ flow.u8[b + i]);
    wc.u8.fill(0xff, a, a + bytes);
    wc.u8.fill(0xff, b, b + bytes);
  };
  if (parts.ethernet) fold(OFS.eth_src, OFS.eth_dst, 6);
  if (parts.vlan) {
    wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | 0xfff | VLAN_CFI);
    h = hashStep(h, hasVlan(flow) ? flow.get16(OFS.vlan_tci) & 0xfff : 0);
  }
  h = hashStep(h, flow.get16(OFS.eth_type));
  if (!isIpAny(flow)) return h >>> 0;
  if (flow.get16(OFS.eth_type) === ETH_TYPE.ip) fold(OFS.ip_src, OFS.ip_dst, 4);
  else fold(OFS.ipv6_src, OFS.ipv6_dst, 16);
  wc.set8(OFS.ip_proto, 0xff);
  const proto = flow.get8(OFS.ip_proto);
  h = hashStep(h, proto);
  const hasPorts = proto === IPPROTO.tcp || proto === IPPROTO.sctp || (parts.udp && proto === IPPROTO.udp);
  if (parts.ports && hasPorts) fold(OFS.tp_src, OFS.tp_dst, 2);
  return h >>> 0;
}

export function multipath(ctx: Ctx, a: OfpactOf<'multipath'>): void {
  const hash = hashFields(ctx, a.fields, a.basis);
  const links = a.nLinks;
  let link: number;
  switch (a.algorithm) {
    case 'modulo_n':
      link = hash % links;
      break;
    case 'hash_threshold':
      link = links === 1 ? 0 : Math.floor(hash / (Math.floor(0xffffffff / links) + 1));
      break;
    case 'hrw':
      link = highestWeight(hash, links, () => true);
      break;
    case 'iter_hash':
      link = iterate(hash, links, a.arg);
      break;
  }
  writeSubfield(ctx, a.dst, BigInt(link));
  noteSubfield(ctx, a.dst);
}

/** Highest random weight: each link keeps its packets when others come and go. -1 when none is usable. */
function highestWeight(hash: number, n: number, usable: (i: number) => boolean): number {
  let best = -1;
  let bestWeight = -1;
  for (let i = 0; i < n; i++) {
    if (!usable(i)) continue;
    const weight = hashStep(hashStep(hash, i), 0x5bd1e995) >>> 0;
    if (weight > bestWeight) {
      best = i;
      bestWeight = weight;
    }
  }
  return best;
}

function iterate(hash: number, links: number, arg: number): number {
  const modulo = arg > 0 ? Math.max(arg, links) : 2 ** Math.ceil(Math.log2(Math.max(links, 2)));
  let h = hash;
  for (let i = 0; i < 1000; i++) {
    const link = h % modulo;
    if (link < links) return link;
    h = hashStep(h, i + 1) >>> 0;
  }
  return h % links;
}

export function bundle(ctx: Ctx, a: OfpactOf<'bundle'>, place: { readonly isLast: boolean }): void {
  const usable = (i: number): boolean => {
    const port = ctx.bridge.port(a.members[i]);
    return port?.mayEnable ?? a.members[i] === OFPP.LOCAL;
  };
  let chosen = -1;
  if (a.algorithm === 'active_backup') chosen = a.members.findIndex((_, i) => usable(i));
  else chosen = highestWeight(hashFields(ctx, a.fields, a.basis), a.members.length, usable);
  const port = chosen < 0 ? OFPP.NONE : a.members[chosen];
  if (!a.dst) {
    output(ctx, port, { maxLen: 0xffff, isLast: place.isLast });
    return;
  }
  writeSubfield(ctx, a.dst, BigInt(port));
  noteSubfield(ctx, a.dst);
}
