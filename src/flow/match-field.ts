/**
 * Adding a field to a match, with what some fields bring along: VLAN fields match the tag itself, `in_port` all 32 bits of its place,
 * a packet type other than Ethernet gives the Ethertype. And the removal of what a match cannot mean (`normalizeMatch`).
 *
 * A match that says nothing about `packet_type` matches Ethernet packets; Ethernet is never written into the mask.
 */
import type { Field } from './field.ts';
import { F } from './fields.ts';
import { OFS } from './layout.ts';
import type { Match } from './match.ts';
import { fieldMaskBytes, isPlainBytes, numberOfBytes, setField, setFieldMask } from './subfield.ts';

const CFI = 0x1000;
const VID = 0x0fff;

function setTci(match: Match, tci: number, mask: number): void {
  const oldMask = match.mask.get16(OFS.vlan_tci);
  const old = match.key.get16(OFS.vlan_tci);
  match.key.set16(OFS.vlan_tci, (old & ~mask) | (tci & mask));
  match.mask.set16(OFS.vlan_tci, oldMask | mask);
}

/**
 * Makes `match` require `value` in the bits of `mask` (null: all of the field), both in wire form. What was said about the field before is
 * forgotten. Bits of `value` outside `mask` are ignored.
 */
export function setMatchField(match: Match, field: Field, value: Uint8Array, mask: Uint8Array | null = null): void {
  if (isPlainBytes(field)) {
    const first = field.bit >> 3;
    const key8 = match.key.u8;
    const mask8 = match.mask.u8;
    for (let i = 0; i < field.bytes; i++) {
      const m = mask === null ? 0xff : mask[i];
      mask8[first + i] = m;
      key8[first + i] = value[i] & m;
    }
    return;
  }
  const exact = fieldMaskBytes(field);
  const bits = mask ?? exact;
  const anyBit = bits.some((b) => b !== 0);
  switch (field) {
    case F.dl_vlan:
      if (!anyBit) setTciWild(match, VID | CFI);
      else if (numberOfBytes(value) === 0xffff) setTci(match, 0, 0xffff);
      else setTci(match, (numberOfBytes(value) & VID) | CFI, VID | CFI);
      return;
    case F.dl_vlan_pcp:
    case F.vlan_pcp:
      if (!anyBit) setTciWild(match, 0xe000);
      else setTci(match, ((value[0] & 7) << 13) | CFI, 0xe000 | CFI);
      return;
    case F.vlan_vid: {
      setTciWild(match, VID | CFI);
      const m = numberOfBytes(bits) & (VID | CFI);
      setTci(match, numberOfBytes(value) & m, m);
      return;
    }
    case F.arp_op:
      match.key.u8[OFS.ip_proto] = anyBit ? value[1] : 0;
      match.mask.u8[OFS.ip_proto] = anyBit ? 0xff : 0;
      return;
    case F.in_port:
    case F.in_port_oxm:
    case F.actset_output:
      if (anyBit) setField(match.key, field, value);
      else match.key.set32(field.bit >> 3, 0);
      match.mask.set32(field.bit >> 3, anyBit ? 0xffffffff : 0);
      return;
    case F.packet_type: {
      const type = numberOfBytes(value);
      setField(match.key, field, anyBit ? value : new Uint8Array(4));
      match.mask.set32(OFS.packet_type, anyBit && type !== 0 ? 0xffffffff : 0);
      if (anyBit && type >>> 16 === 1) {
        match.key.set16(OFS.eth_type, type & 0xffff);
        match.mask.set16(OFS.eth_type, 0xffff);
      }
      return;
    }
  }
  const kept = new Uint8Array(field.bytes);
  for (let i = 0; i < kept.length; i++) kept[i] = value[i] & bits[i] & exact[i];
  setField(match.key, field, kept);
  clearMask(match, field);
  setFieldMask(match.mask, field, bits);
}

/** Forgets what was said about these bits of the TCI. */
function setTciWild(match: Match, bits: number): void {
  match.key.set16(OFS.vlan_tci, match.key.get16(OFS.vlan_tci) & ~bits);
  match.mask.set16(OFS.vlan_tci, match.mask.get16(OFS.vlan_tci) & ~bits);
}

function clearMask(match: Match, field: Field): void {
  const zero = new Uint8Array(field.bytes);
  setField(match.mask, field, zero);
}

const ND_SOLICIT = 135;
const ND_ADVERT = 136;

/**
 * Removes what cannot be meant: layers whose prerequisites are not in the match. True when something changed.
 * OpenFlow 1.0.1 3.4 ("ignored fields")
 */
export function normalizeMatch(match: Match): boolean {
  const before = match.clone();
  const { key, mask } = match;
  const ethType = key.get16(OFS.eth_type);
  const proto = key.u8[OFS.ip_proto];
  const ip = ethType === 0x0800;
  const ipv6 = ethType === 0x86dd;
  const arp = ethType === 0x0806 || ethType === 0x8035;
  const ports = (ip || ipv6) && (proto === 6 || proto === 17 || proto === 132);
  const icmp = ip && proto === 1;
  const icmp6 = ipv6 && proto === 58;
  const icmpType = key.get16(OFS.tp_src);
  const codeOk = icmp6 && (mask.get16(OFS.tp_dst) === 0 || key.get16(OFS.tp_dst) === 0);
  const nd = codeOk && (icmpType === ND_SOLICIT || icmpType === ND_ADVERT);
  const sll = nd && icmpType === ND_SOLICIT;
  const tll = nd && icmpType === ND_ADVERT;
  const mpls = ethType === 0x8847 || ethType === 0x8848;
  const wipe = (ofs: number, bytes: number): void => {
    key.u8.fill(0, ofs, ofs + bytes);
    mask.u8.fill(0, ofs, ofs + bytes);
  };
  if (!ip && !arp) wipe(OFS.ip_src, 8);
  if (!ports && !icmp && !icmp6) wipe(OFS.tp_src, 4);
  if (!ip && !ipv6 && !arp) wipe(OFS.ip_proto, 1);
  if (!ip && !ipv6) wipe(OFS.ip_tos, 3);
  if (!((ip || ipv6) && proto === 6)) wipe(OFS.tcp_flags, 2);
  if (!arp && !sll) wipe(OFS.arp_sha, 6);
  if (!arp && !tll) wipe(OFS.arp_tha, 6);
  if (!ipv6) {
    wipe(OFS.ipv6_src, 32);
    wipe(OFS.ipv6_label, 4);
  }
  if (!nd) {
    wipe(OFS.nd_target, 16);
    wipe(OFS.nd_reserved, 4);
    wipe(OFS.nd_options_type, 1);
  }
  if (!mpls) wipe(OFS.mpls_lse0, 12);
  if (ethType !== 0x894f) wipe(OFS.nsh_flags, 24);
  return !match.equals(before);
}
