/**
 * The fixed-size matches of OpenFlow 1.0 (40 bytes) and 1.1 (88 bytes).
 *
 * Their fields are a small part of what a `Match` can say: `fitsMatch10`/`fitsMatch11` tell whether nothing would be lost.
 */

import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import type { Reader, Writer } from './bytes.ts';
import { OFPP } from './ports.ts';

const W10 = {
  IN_PORT: 1 << 0,
  DL_VLAN: 1 << 1,
  DL_SRC: 1 << 2,
  DL_DST: 1 << 3,
  DL_TYPE: 1 << 4,
  NW_PROTO: 1 << 5,
  TP_SRC: 1 << 6,
  TP_DST: 1 << 7,
  NW_SRC_SHIFT: 8,
  NW_DST_SHIFT: 14,
  DL_VLAN_PCP: 1 << 20,
  NW_TOS: 1 << 21,
} as const;
const W11 = {
  IN_PORT: 1 << 0,
  DL_VLAN: 1 << 1,
  DL_VLAN_PCP: 1 << 2,
  DL_TYPE: 1 << 3,
  NW_TOS: 1 << 4,
  NW_PROTO: 1 << 5,
  TP_SRC: 1 << 6,
  TP_DST: 1 << 7,
  MPLS_LABEL: 1 << 8,
  MPLS_TC: 1 << 9,
} as const;

const VLAN_NONE = 0xffff;
const VLAN_ANY_11 = 0xfffe;
const CFI = 0x1000;
const DSCP = 0xfc;

const ETH_IPV4 = 0x0800;
const ETH_ARP = 0x0806;
const ETH_RARP = 0x8035;
const ETH_IPV6 = 0x86dd;
const ETH_MPLS = 0x8847;
const ETH_MPLS_MCAST = 0x8848;
const PROTOS_WITH_PORTS = new Set([6, 17, 132, 1]);

function set16(m: Match, ofs: number, value: number, mask = 0xffff): void {
  m.key.set16(ofs, value & mask);
  m.mask.set16(ofs, mask);
}
function set8(m: Match, ofs: number, value: number, mask = 0xff): void {
  m.key.set8(ofs, value & mask);
  m.mask.set8(ofs, mask);
}
function set32(m: Match, ofs: number, value: number, mask = 0xffffffff): void {
  m.key.set32(ofs, (value & mask) >>> 0);
  m.mask.set32(ofs, mask >>> 0);
}
function setMac(m: Match, ofs: number, value: Uint8Array, mask: Uint8Array): void {
  for (let i = 0; i < 6; i++) set8(m, ofs + i, value[i], mask[i]);
}
const EXACT_MAC = new Uint8Array(6).fill(0xff);

/** A prefix of `32 - wildcarded` bits. */
const prefixMask = (wildcarded: number): number => (wildcarded >= 32 ? 0 : (0xffffffff << wildcarded) >>> 0);

function vlanIntoMatch(m: Match, hasVid: boolean, vid: number, hasPcp: boolean, pcp: number): void {
  if (hasVid && vid === VLAN_NONE) {
    set16(m, OFS.vlan_tci, 0);
    return;
  }
  const mask = (hasVid ? 0x0fff | CFI : 0) | (hasPcp ? 0xe000 | CFI : 0);
  if (mask !== 0) set16(m, OFS.vlan_tci, (vid & 0xfff) | ((pcp & 7) << 13) | CFI, mask);
}

export function readMatch10(r: Reader): Match {
  const m = new Match();
  const w = r.u32();
  const inPort = r.u16();
  const src = r.take(6);
  const dst = r.take(6);
  const vid = r.u16();
  const pcp = r.u8();
  r.skip(1);
  const type = r.u16();
  const tos = r.u8();
  const proto = r.u8();
  r.skip(2);
  const nwSrc = r.u32();
  const nwDst = r.u32();
  const tpSrc = r.u16();
  const tpDst = r.u16();
  if (!(w & W10.IN_PORT)) set32(m, OFS.in_port, inPort);
  if (!(w & W10.DL_SRC)) setMac(m, OFS.eth_src, src, EXACT_MAC);
  if (!(w & W10.DL_DST)) setMac(m, OFS.eth_dst, dst, EXACT_MAC);
  vlanIntoMatch(m, !(w & W10.DL_VLAN), vid, !(w & W10.DL_VLAN_PCP), pcp);
  if (!(w & W10.DL_TYPE)) set16(m, OFS.eth_type, type);
  if (!(w & W10.NW_TOS)) set8(m, OFS.ip_tos, tos, DSCP);
  if (!(w & W10.NW_PROTO)) set8(m, OFS.ip_proto, proto);
  set32(m, OFS.ip_src, nwSrc, prefixMask((w >>> W10.NW_SRC_SHIFT) & 0x3f));
  set32(m, OFS.ip_dst, nwDst, prefixMask((w >>> W10.NW_DST_SHIFT) & 0x3f));
  if (!(w & W10.TP_SRC)) setPort(m, OFS.tp_src, tpSrc);
  if (!(w & W10.TP_DST)) setPort(m, OFS.tp_dst, tpDst);
  return normalizeMatch(m);
}

function vlanOut(m: Match): { hasVid: boolean; vid: number; hasPcp: boolean; pcp: number } {
  const mask = m.mask.get16(OFS.vlan_tci);
  const tci = m.key.get16(OFS.vlan_tci);
  if ((mask & CFI) !== 0 && (tci & CFI) === 0) return { hasVid: true, vid: VLAN_NONE, hasPcp: false, pcp: 0 };
  const hasVid = (mask & 0xfff) !== 0;
  const hasPcp = (mask & 0xe000) !== 0;
  return { hasVid, vid: hasVid ? tci & 0xfff : 0, hasPcp, pcp: hasPcp ? tci >> 13 : 0 };
}

const wildcardBits = (mask: number): number => (mask === 0 ? 32 : ctz(mask));
function ctz(v: number): number {
  return 31 - Math.clz32(v & -v);
}

export function writeMatch10(w: Writer, m: Match): void {
  const { key, mask } = m;
  const vlan = vlanOut(m);
  let wild = 0;
  if (mask.get32(OFS.in_port) === 0) wild |= W10.IN_PORT;
  if (!vlan.hasVid) wild |= W10.DL_VLAN;
  if (!vlan.hasPcp && vlan.vid !== VLAN_NONE) wild |= W10.DL_VLAN_PCP;
  if (mask.get16(OFS.eth_src) === 0) wild |= W10.DL_SRC;
  if (mask.get16(OFS.eth_dst) === 0) wild |= W10.DL_DST;
  if (mask.get16(OFS.eth_type) === 0) wild |= W10.DL_TYPE;
  if ((mask.get8(OFS.ip_tos) & DSCP) === 0) wild |= W10.NW_TOS;
  if (mask.get8(OFS.ip_proto) === 0) wild |= W10.NW_PROTO;
  if (mask.get16(OFS.tp_src) === 0) wild |= W10.TP_SRC;
  if (mask.get16(OFS.tp_dst) === 0) wild |= W10.TP_DST;
  wild |= wildcardBits(mask.get32(OFS.ip_src)) << W10.NW_SRC_SHIFT;
  wild |= wildcardBits(mask.get32(OFS.ip_dst)) << W10.NW_DST_SHIFT;
  w.u32(wild >>> 0).u16(key.get32(OFS.in_port) & 0xffff);
  w.bytes(key.u8.subarray(OFS.eth_src, OFS.eth_src + 6)).bytes(key.u8.subarray(OFS.eth_dst, OFS.eth_dst + 6));
  w.u16(vlan.vid).u8(vlan.pcp).zero(1).u16(key.get16(OFS.eth_type));
  w.u8(key.get8(OFS.ip_tos) & DSCP)
    .u8(key.get8(OFS.ip_proto))
    .zero(2);
  w.u32(key.get32(OFS.ip_src)).u32(key.get32(OFS.ip_dst)).u16(key.get16(OFS.tp_src)).u16(key.get16(OFS.tp_dst));
}

/** The fields both old matches have, as [offset, bytes]. */
const OLD_FIELDS: readonly (readonly [number, number])[] = [
  [OFS.in_port, 4],
  [OFS.eth_src, 6],
  [OFS.eth_dst, 6],
  [OFS.vlan_tci, 2],
  [OFS.eth_type, 2],
  [OFS.ip_tos, 1],
  [OFS.ip_proto, 1],
  [OFS.ip_src, 4],
  [OFS.ip_dst, 4],
  [OFS.tp_src, 2],
  [OFS.tp_dst, 2],
];

/** Type and code of ICMP stand where ports do, and are one byte wide. */
const isIcmp = ({ key }: Match): boolean =>
  (key.get16(OFS.eth_type) === ETH_IPV4 && key.get8(OFS.ip_proto) === 1) ||
  (key.get16(OFS.eth_type) === ETH_IPV6 && key.get8(OFS.ip_proto) === 58);
const setPort = (m: Match, ofs: number, value: number): void => set16(m, ofs, value, isIcmp(m) ? 0xff : 0xffff);
const portFits = (m: Match, ofs: number): boolean => [0, isIcmp(m) ? 0xff : 0xffff].includes(m.mask.get16(ofs));

const isPrefix = (mask: number): boolean => (~mask & (~mask + 1)) === 0;
const allOrNothing = (u8: Uint8Array, ofs: number, n: number): boolean => {
  for (let i = 1; i < n; i++) if (u8[ofs + i] !== u8[ofs]) return false;
  return u8[ofs] === 0 || u8[ofs] === 0xff;
};

/** The words of a mask with ones where a match of these fields alone must have none. */
function outside(fields: readonly (readonly [number, number])[]): Int32Array {
  const rest = new FlowKey();
  rest.u8.fill(0xff);
  for (const [ofs, n] of fields) rest.u8.fill(0, ofs, ofs + n);
  return rest.w;
}
const OUTSIDE_10 = outside(OLD_FIELDS);
const OUTSIDE_11 = outside([...OLD_FIELDS, [OFS.mpls_lse0, 4], [OFS.metadata, 8]]);

function restIsWild(m: Match, outsideWords: Int32Array): boolean {
  const w = m.mask.w;
  for (let i = 0; i < w.length; i++) if ((w[i] & outsideWords[i]) !== 0) return false;
  return true;
}

function commonFits(m: Match): boolean {
  const u8 = m.mask.u8;
  const tci = m.mask.get16(OFS.vlan_tci);
  const vlanFits = tci === 0 || tci === 0x1fff || tci === 0xf000 || tci === 0xffff;
  return (
    vlanFits &&
    allOrNothing(u8, OFS.in_port, 4) &&
    allOrNothing(u8, OFS.eth_type, 2) &&
    portFits(m, OFS.tp_src) &&
    portFits(m, OFS.tp_dst) &&
    allOrNothing(u8, OFS.ip_proto, 1) &&
    (u8[OFS.ip_tos] === 0 || u8[OFS.ip_tos] === DSCP)
  );
}

/** Can OpenFlow 1.0's own match say all of this? */
export function fitsMatch10(m: Match): boolean {
  return (
    commonFits(m) &&
    allOrNothing(m.mask.u8, OFS.eth_src, 6) &&
    allOrNothing(m.mask.u8, OFS.eth_dst, 6) &&
    isPrefix(m.mask.get32(OFS.ip_src)) &&
    isPrefix(m.mask.get32(OFS.ip_dst)) &&
    restIsWild(m, OUTSIDE_10)
  );
}

export const MATCH11_LEN = 88;
const MATCH11_TYPE = 0;

/** `r` stands behind type and length. */
export function readMatch11(r: Reader): Match {
  const m = new Match();
  const inPort = r.u32();
  const w = r.u32();
  const src = r.take(6);
  const srcMask = r.take(6);
  const dst = r.take(6);
  const dstMask = r.take(6);
  const vid = r.u16();
  const pcp = r.u8();
  r.skip(1);
  const type = r.u16();
  const tos = r.u8();
  const proto = r.u8();
  const nwSrc = r.u32();
  const nwSrcMask = ~r.u32() >>> 0;
  const nwDst = r.u32();
  const nwDstMask = ~r.u32() >>> 0;
  const tpSrc = r.u16();
  const tpDst = r.u16();
  const label = r.u32();
  const tc = r.u8();
  r.skip(3);
  const metadata = r.u64();
  const metadataMask = ~r.u64() & 0xffffffffffffffffn;
  if (!(w & W11.IN_PORT)) {
    if (inPort >= OFPP.MAX && inPort < 0xffff0000 + OFPP.MAX) r.fail('OFPBAC_BAD_OUT_PORT');
    set32(m, OFS.in_port, inPort & 0xffff);
  }
  const invert = (mask: Uint8Array) => mask.map((b) => ~b & 0xff);
  setMac(m, OFS.eth_src, src, invert(srcMask));
  setMac(m, OFS.eth_dst, dst, invert(dstMask));
  if (!(w & W11.DL_VLAN) && vid === VLAN_ANY_11) {
    vlanIntoMatch(m, false, 0, !(w & W11.DL_VLAN_PCP), pcp);
    m.mask.set16(OFS.vlan_tci, m.mask.get16(OFS.vlan_tci) | CFI);
    m.key.set16(OFS.vlan_tci, m.key.get16(OFS.vlan_tci) | CFI);
  } else {
    if (!(w & W11.DL_VLAN) && vid > 0xfff && vid !== VLAN_NONE) r.fail('OFPBMC_BAD_VALUE');
    vlanIntoMatch(m, !(w & W11.DL_VLAN), vid, !(w & W11.DL_VLAN_PCP), pcp);
  }
  if (!(w & W11.DL_TYPE)) set16(m, OFS.eth_type, type);
  const ethType = w & W11.DL_TYPE ? 0 : type;
  const isIp = ethType === ETH_IPV4 || ethType === ETH_IPV6;
  const isArp = ethType === ETH_ARP || ethType === ETH_RARP;
  if (isIp && !(w & W11.NW_TOS)) {
    if (tos & ~DSCP) r.fail('OFPBMC_BAD_VALUE');
    set8(m, OFS.ip_tos, tos, DSCP);
  }
  if ((isIp || isArp) && !(w & W11.NW_PROTO)) set8(m, OFS.ip_proto, proto);
  if (isIp || isArp) {
    set32(m, OFS.ip_src, nwSrc, nwSrcMask);
    set32(m, OFS.ip_dst, nwDst, nwDstMask);
  }
  if (isIp && !(w & W11.NW_PROTO) && PROTOS_WITH_PORTS.has(proto)) {
    if (!(w & W11.TP_SRC)) setPort(m, OFS.tp_src, tpSrc);
    if (!(w & W11.TP_DST)) setPort(m, OFS.tp_dst, tpDst);
  }
  if (ethType === ETH_MPLS || ethType === ETH_MPLS_MCAST) {
    const mask = (w & W11.MPLS_LABEL ? 0 : 0xfffff000) | (w & W11.MPLS_TC ? 0 : 0xe00);
    if (mask !== 0) set32(m, OFS.mpls_lse0, (label << 12) | ((tc & 7) << 9), mask);
  }
  m.key.set64(OFS.metadata, metadata & metadataMask);
  m.mask.set64(OFS.metadata, metadataMask);
  return m;
}

export function fitsMatch11(m: Match): boolean {
  const lse = m.mask.get32(OFS.mpls_lse0);
  const lseFits = (lse & 0x1ff) === 0 && [0, 0xfffff000].includes((lse & 0xfffff000) >>> 0);
  const tcFits = [0, 0xe00].includes(lse & 0xe00);
  const tci = m.mask.get16(OFS.vlan_tci);
  return (commonFits(m) || tci === CFI) && lseFits && tcFits && restIsWild(m, OUTSIDE_11);
}

export function writeMatch11(out: Writer, m: Match): void {
  const { key, mask } = m;
  const inverted = (ofs: number, n: number) => mask.u8.slice(ofs, ofs + n).map((b) => ~b & 0xff);
  const vlan = vlanOut(m);
  const anyVlan = !vlan.hasVid && (mask.get16(OFS.vlan_tci) & CFI) !== 0;
  const lse = key.get32(OFS.mpls_lse0);
  const lseMask = mask.get32(OFS.mpls_lse0);
  let wild = 0;
  if (mask.get32(OFS.in_port) === 0) wild |= W11.IN_PORT;
  if (!vlan.hasVid && !anyVlan) wild |= W11.DL_VLAN;
  if (!vlan.hasPcp) wild |= W11.DL_VLAN_PCP;
  if (mask.get16(OFS.eth_type) === 0) wild |= W11.DL_TYPE;
  if ((mask.get8(OFS.ip_tos) & DSCP) === 0) wild |= W11.NW_TOS;
  if (mask.get8(OFS.ip_proto) === 0) wild |= W11.NW_PROTO;
  if (mask.get16(OFS.tp_src) === 0) wild |= W11.TP_SRC;
  if (mask.get16(OFS.tp_dst) === 0) wild |= W11.TP_DST;
  if ((lseMask & 0xfffff000) === 0) wild |= W11.MPLS_LABEL;
  if ((lseMask & 0xe00) === 0) wild |= W11.MPLS_TC;
  const port = key.get32(OFS.in_port) & 0xffff;
  out.u16(MATCH11_TYPE).u16(MATCH11_LEN);
  out.u32(port >= OFPP.MAX ? port + 0xffff0000 : port).u32(wild);
  out.bytes(key.u8.subarray(OFS.eth_src, OFS.eth_src + 6)).bytes(inverted(OFS.eth_src, 6));
  out.bytes(key.u8.subarray(OFS.eth_dst, OFS.eth_dst + 6)).bytes(inverted(OFS.eth_dst, 6));
  out
    .u16(anyVlan ? VLAN_ANY_11 : vlan.vid)
    .u8(vlan.pcp)
    .zero(1)
    .u16(key.get16(OFS.eth_type));
  out.u8(key.get8(OFS.ip_tos) & DSCP).u8(key.get8(OFS.ip_proto));
  out.u32(key.get32(OFS.ip_src)).bytes(inverted(OFS.ip_src, 4));
  out.u32(key.get32(OFS.ip_dst)).bytes(inverted(OFS.ip_dst, 4));
  out.u16(key.get16(OFS.tp_src)).u16(key.get16(OFS.tp_dst));
  out
    .u32(lse >>> 12)
    .u8((lse >>> 9) & 7)
    .zero(3);
  out.u64(key.get64(OFS.metadata)).bytes(inverted(OFS.metadata, 8));
}

/** Calls `visit` with offset and bytes of the fields that a packet of the match's type cannot have. */
function eachSenseless(m: Match, visit: (ofs: number, bytes: number) => void): void {
  const type = m.mask.get16(OFS.eth_type) === 0xffff ? m.key.get16(OFS.eth_type) : 0;
  const isIp = type === ETH_IPV4 || type === ETH_IPV6;
  const isArp = type === ETH_ARP || type === ETH_RARP;
  const proto = m.mask.get8(OFS.ip_proto) === 0xff ? m.key.get8(OFS.ip_proto) : 0;
  const isIcmp6 = type === ETH_IPV6 && proto === 58;
  if (!(isIp && (PROTOS_WITH_PORTS.has(proto) || isIcmp6))) {
    visit(OFS.tp_src, 4);
    visit(OFS.tcp_flags, 2);
  }
  if (!isIp) {
    visit(OFS.ip_tos, 1);
    visit(OFS.ip_ttl, 2);
  }
  if (!isIp && !isArp) visit(OFS.ip_proto, 1);
  if (type !== ETH_IPV4 && !isArp) visit(OFS.ip_src, 8);
  if (!isArp && !isIcmp6) {
    visit(OFS.arp_sha, 6);
    visit(OFS.arp_tha, 6);
  }
  if (!isIcmp6) visit(OFS.nd_target, 16);
  if (type !== ETH_IPV6) {
    visit(OFS.ipv6_src, 32);
    visit(OFS.ipv6_label, 4);
  }
  if (type !== ETH_MPLS && type !== ETH_MPLS_MCAST) visit(OFS.mpls_lse0, 12);
}

/** Does the match name only fields that its packets can have? */
export function isNormal(m: Match): boolean {
  const u8 = m.mask.u8;
  let isClean = true;
  eachSenseless(m, (ofs, n) => {
    for (let i = 0; i < n; i++) if (u8[ofs + i] !== 0) isClean = false;
  });
  return isClean;
}

/** OpenFlow 1.0 lets a match name fields that its packet type cannot have: they mean nothing, so they go. */
export function normalizeMatch(m: Match): Match {
  const key8 = m.key.u8;
  const mask8 = m.mask.u8;
  eachSenseless(m, (ofs, n) => {
    for (let i = 0; i < n; i++) {
      key8[ofs + i] = 0;
      mask8[ofs + i] = 0;
    }
  });
  return m;
}
