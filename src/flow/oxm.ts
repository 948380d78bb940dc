/**
 * Matches in NXM and OXM form: a list of type-length-value entries. `ovs-fields(7)`, OpenFlow 1.5.1 7.2.3
 *
 * An entry is a 32-bit header (class 16, field 7, has-mask 1, length 8), for class 0xffff an experimenter's id, the value, and the mask where
 * there is one. Encoding always uses one order, in which prerequisites come before what needs them; decoding requires that of the peer.
 */
import type { Field, OxmHeader } from './field.ts';
import { F, fieldHeader, headerByNumber } from './fields.ts';
import { CT_STATE_FLAGS } from './flags-text.ts';
import { OFS } from './layout.ts';
import { Match } from './match.ts';
import { setMatchField } from './match-field.ts';
import {
  bytesOfNumber,
  fieldMaskBytes,
  getField,
  getFieldMask,
  isFieldMaskExact,
  isFieldMaskZero,
  isPlainBytes,
  numberOfBytes,
  portFrom32,
  prereqsMet,
} from './subfield.ts';

/** What can be wrong with a match; the names are OpenFlow's. */
export type OxmError =
  | 'OFPBMC_BAD_LEN'
  | 'OFPBMC_BAD_FIELD'
  | 'OFPBMC_BAD_VALUE'
  | 'OFPBMC_BAD_MASK'
  | 'OFPBMC_BAD_PREREQ'
  | 'OFPBMC_DUP_FIELD'
  | 'OFPBMC_BAD_WILDCARDS'
  | 'OFPBAC_MATCH_INCONSISTENT';

export type OxmVersion = 1 | 2 | 3 | 4 | 5 | 6;
const OF15 = 6;
const EXPERIMENTER_CLASS = 0xffff;
const VID = 0x0fff;
const CFI = 0x1000;
const PCP = 0xe000;
const NSH_MAX_TTL = 63;

// ---- entries -------------------------------------------------------------------------------------------------------------------------------------

/** The header of an entry of `length` value bytes (without the mask), 4 bytes, or 8 with an experimenter. */
export function encodeOxmHeader(header: OxmHeader, length: number, hasMask: boolean): Uint8Array {
  const out = new Uint8Array(header.class === EXPERIMENTER_CLASS ? 8 : 4);
  writeOxmHeader(out, 0, header, length, hasMask);
  return out;
}

/** Writes a header at `at` and returns where it ends. */
function writeOxmHeader(b: Uint8Array, at: number, header: OxmHeader, length: number, hasMask: boolean): number {
  const experimenter = header.class === EXPERIMENTER_CLASS;
  b[at] = header.class >>> 8;
  b[at + 1] = header.class;
  b[at + 2] = (header.field << 1) | (hasMask ? 1 : 0);
  b[at + 3] = (hasMask ? 2 * length : length) + (experimenter ? 4 : 0);
  if (!experimenter) return at + 4;
  b.set(bytesOfNumber(header.experimenter ?? 0, 4), at + 4);
  return at + 8;
}

/** A header alone, as actions name a field: `move`, `push`, `output:` … Null when the field has no number on the wire. */
export function encodeFieldHeader(field: Field, version: number): Uint8Array | null {
  const header = fieldHeader(field, version);
  return header ? encodeOxmHeader(header, field.bytes, false) : null;
}

/** A whole entry; `mask` null for none. Null when the field has no number on the wire. */
export function encodeOxmEntry(
  field: Field,
  value: Uint8Array,
  mask: Uint8Array | null,
  version: number,
): Uint8Array | null {
  const header = fieldHeader(field, version);
  if (!header) return null;
  const head = encodeOxmHeader(header, value.length, mask !== null);
  const out = new Uint8Array(head.length + value.length * (mask ? 2 : 1));
  out.set(head);
  out.set(value, head.length);
  if (mask) out.set(mask, head.length + value.length);
  return out;
}

export type OxmHeaderResult =
  | {
      readonly ok: true;
      readonly field: Field;
      readonly hasMask: boolean;
      readonly length: number;
      readonly size: number;
    }
  /** `size` is how many bytes to skip to the next entry, 0 when that cannot be told. */
  | { readonly ok: false; readonly error: OxmError; readonly size: number };

/** Reads a header at `at`. `size` counts the header, `length` the payload behind it (value and mask). */
export function decodeOxmHeader(bytes: Uint8Array, at: number, end = bytes.length): OxmHeaderResult {
  if (at + 4 > end) return { ok: false, error: 'OFPBMC_BAD_LEN', size: 0 };
  const cls = (bytes[at] << 8) | bytes[at + 1];
  const number = bytes[at + 2] >> 1;
  const hasMask = (bytes[at + 2] & 1) !== 0;
  let length = bytes[at + 3];
  let size = 4;
  let experimenter = 0;
  if (cls === EXPERIMENTER_CLASS) {
    if (length < 4 || at + 8 > end) return { ok: false, error: 'OFPBMC_BAD_LEN', size: 0 };
    experimenter = numberOfBytes(bytes.subarray(at + 4, at + 8));
    length -= 4;
    size = 8;
  }
  const found = headerByNumber(cls, number, experimenter);
  if (!found) return { ok: false, error: 'OFPBMC_BAD_FIELD', size: size + length };
  return { ok: true, field: found.field, hasMask, length, size };
}

export type OxmEntryResult =
  | {
      readonly ok: true;
      readonly field: Field;
      readonly value: Uint8Array;
      readonly mask: Uint8Array | null;
      readonly size: number;
    }
  | { readonly ok: false; readonly error: OxmError; readonly size: number };

const isTunMetadata = (field: Field): boolean => field.name.startsWith('tun_metadata');

/** Brings a value of any length to `field.bytes`; null when it does not fit. */
function fit(value: Uint8Array, bytes: number): Uint8Array | null {
  if (value.length === bytes) return value.slice();
  const out = new Uint8Array(bytes);
  if (value.length > bytes) {
    if (value.subarray(0, value.length - bytes).some((b) => b !== 0)) return null;
    out.set(value.subarray(value.length - bytes));
  } else out.set(value, bytes - value.length);
  return out;
}

/** Reads an entry and checks it by itself: length, mask, value. */
export function decodeOxmEntry(bytes: Uint8Array, at: number, end = bytes.length): OxmEntryResult {
  const head = decodeOxmHeader(bytes, at, end);
  if (!head.ok) {
    return head.size > 0 && at + head.size > end ? { ok: false, error: 'OFPBMC_BAD_LEN', size: 0 } : head;
  }
  const { field, hasMask } = head;
  const size = head.size + head.length;
  const fail = (error: OxmError): OxmEntryResult => ({ ok: false, error, size });
  if (at + size > end) return { ok: false, error: 'OFPBMC_BAD_LEN', size: 0 };
  const width = hasMask ? head.length / 2 : head.length;
  const variable = isTunMetadata(field);
  if (variable ? !Number.isInteger(width) || width > 124 : width !== field.bytes) return fail('OFPBMC_BAD_LEN');
  const from = at + head.size;
  const value = fit(bytes.subarray(from, from + width), field.bytes);
  const mask = hasMask ? fit(bytes.subarray(from + width, from + 2 * width), field.bytes) : null;
  if (!value || (hasMask && !mask)) return fail('OFPBMC_BAD_LEN');
  if (mask) {
    if (value.some((b, i) => (b & ~mask[i]) !== 0)) return fail('OFPBMC_BAD_WILDCARDS');
    const zero = mask.every((b) => b === 0);
    const ones = mask.every((b) => b === 0xff);
    if (field.masking === 'none' && !zero && !ones) return fail('OFPBMC_BAD_MASK');
  }
  if (!isValueValid(field, value)) return fail('OFPBMC_BAD_VALUE');
  return { ok: true, field, value, mask, size };
}

/** May a match or an action carry this value? */
export function isValueValid(field: Field, value: Uint8Array): boolean {
  if (isPlainBytes(field)) return true;
  if (field.format === 'ofp_port_oxm') return portFrom32(numberOfBytes(value)) >= 0;
  if (field === F.arp_op) return value[0] === 0;
  if (field === F.ct_state) return (numberOfBytes(value) & ~CT_STATE_FLAGS.allowed) === 0;
  if (field === F.nsh_ttl) return value[0] <= NSH_MAX_TTL;
  if (field === F.nsh_mdtype) return value[0] === 1 || value[0] === 2;
  const bits = fieldMaskBytes(field);
  return !value.some((b, i) => (b & ~bits[i]) !== 0);
}

// ---- encoding --------------------------------------------------------------------------------------------------------------------------------------

/** Longer than all entries there are together. */
const scratch = new Uint8Array(8192);

class Emitter {
  private at = 0;
  readonly match: Match;
  readonly version: number;

  constructor(match: Match, version: number) {
    this.match = match;
    this.version = version;
  }

  entry(field: Field, value: Uint8Array, mask: Uint8Array | null): void {
    const header = fieldHeader(field, this.version);
    if (!header) return;
    this.at = writeOxmHeader(scratch, this.at, header, value.length, mask !== null);
    scratch.set(value, this.at);
    this.at += value.length;
    if (!mask) return;
    scratch.set(mask, this.at);
    this.at += mask.length;
  }

  /** What the match says about `field`, if it says anything. */
  put(field: Field): void {
    const { key, mask } = this.match;
    if (isFieldMaskZero(mask, field)) return;
    if (isPlainBytes(field)) {
      this.putPlain(field);
      return;
    }
    this.entry(field, getField(key, field), isFieldMaskExact(mask, field) ? null : getFieldMask(mask, field));
  }

  private putPlain(field: Field): void {
    const { key, mask } = this.match;
    const header = fieldHeader(field, this.version);
    if (!header) return;
    const first = field.bit >> 3;
    const n = field.bytes;
    let isExact = true;
    for (let i = 0; i < n; i++) if (mask.u8[first + i] !== 0xff) isExact = false;
    let at = writeOxmHeader(scratch, this.at, header, n, !isExact);
    for (let i = 0; i < n; i++) scratch[at++] = key.u8[first + i];
    if (!isExact) for (let i = 0; i < n; i++) scratch[at++] = mask.u8[first + i];
    this.at = at;
  }

  /** Is there any bit in these bytes of the mask? Spares asking field by field. */
  looksAt(first: number, end: number): boolean {
    const { w } = this.match.mask;
    for (let i = first >> 2; i < end >> 2; i++) if (w[i] !== 0) return true;
    return false;
  }

  putAll(fields: readonly Field[]): void {
    for (const field of fields) this.put(field);
  }

  /** Good until the next emitter writes. */
  get entries(): Uint8Array {
    return scratch.subarray(0, this.at);
  }
}

const TUNNEL_FIELDS: readonly Field[] = [
  F.tun_gbp_id,
  F.tun_gbp_flags,
  F.tun_erspan_idx,
  F.tun_erspan_ver,
  F.tun_erspan_dir,
  F.tun_erspan_hwid,
  F.tun_gtpu_flags,
  F.tun_gtpu_msgtype,
];
const NSH_FIELDS: readonly Field[] = [
  F.nsh_flags,
  F.nsh_ttl,
  F.nsh_mdtype,
  F.nsh_np,
  F.nsh_spi,
  F.nsh_si,
  F.nsh_c1,
  F.nsh_c2,
  F.nsh_c3,
  F.nsh_c4,
];
const CT_FIELDS: readonly Field[] = [F.ct_zone, F.ct_mark, F.ct_label];
const CT_TUPLE_FIELDS: readonly Field[] = [
  F.ct_nw_src,
  F.ct_nw_dst,
  F.ct_ipv6_src,
  F.ct_ipv6_dst,
  F.ct_nw_proto,
  F.ct_tp_src,
  F.ct_tp_dst,
];
const REGS: readonly Field[] = Array.from({ length: 32 }, (_, i) => F[`reg${i}`]);
const XREGS: readonly Field[] = Array.from({ length: 16 }, (_, i) => F[`xreg${i}`]);
const TUN_METADATA: readonly Field[] = Array.from({ length: 64 }, (_, i) => F[`tun_metadata${i}`]);

/** The entries of a match. `nxm` is what OpenFlow 1.0 speaks; `oxm` prefers the numbers of `version`. */
export function encodeMatch(match: Match, kind: 'nxm' | 'oxm', version: OxmVersion): Uint8Array {
  return matchEntries(match, kind, version).slice();
}

/** The same in memory that the next call writes anew. */
export function matchEntries(match: Match, kind: 'nxm' | 'oxm', version: OxmVersion): Uint8Array {
  const e = new Emitter(match, kind === 'nxm' ? 0 : version);
  e.putAll([F.dp_hash, F.recirc_id, F.conj_id]);
  if (match.key.get32(OFS.packet_type) !== 0) e.put(F.packet_type);
  e.put(kind === 'nxm' ? F.in_port : F.in_port_oxm);
  e.putAll([F.actset_output, F.eth_src, F.eth_dst]);
  // The Ethertype of another packet type is that type's own affair.
  if (match.key.get32(OFS.packet_type) === 0) e.put(F.eth_type);
  putVlan(e, kind);
  const ethType = match.key.get16(OFS.eth_type);
  if (ethType === 0x8847 || ethType === 0x8848) e.putAll([F.mpls_tc, F.mpls_bos, F.mpls_ttl, F.mpls_label]);
  else if (ethType === 0x0800) {
    e.putAll([F.ip_src, F.ip_dst]);
    putIp(e, kind, false);
  } else if (ethType === 0x86dd) {
    e.putAll([F.ipv6_src, F.ipv6_dst]);
    putIp(e, kind, true);
  } else if (ethType === 0x0806 || ethType === 0x8035) e.putAll([F.arp_op, F.arp_spa, F.arp_tpa, F.arp_sha, F.arp_tha]);
  else if (ethType === 0x894f) e.putAll(NSH_FIELDS);
  if (e.looksAt(OFS.tun_id, OFS.metadata)) putTunnel(e);
  putRegisters(e, kind, version);
  e.put(F.pkt_mark);
  putFlags(e, F.ct_state);
  e.putAll(CT_FIELDS);
  e.putAll(CT_TUPLE_FIELDS);
  e.put(F.metadata);
  return e.entries;
}

function putTunnel(e: Emitter): void {
  e.put(F.tun_id);
  putFlags(e, F.tun_flags);
  e.putAll([F.tun_src, F.tun_dst, F.tun_ipv6_src, F.tun_ipv6_dst]);
  e.putAll(TUNNEL_FIELDS);
  for (const field of TUN_METADATA) putTunMetadata(e, field);
}

function putVlan(e: Emitter, kind: 'nxm' | 'oxm'): void {
  if (kind === 'nxm') {
    e.put(F.vlan_tci);
    return;
  }
  const tci = e.match.key.get16(OFS.vlan_tci);
  const mask = e.match.mask.get16(OFS.vlan_tci);
  e.put(F.vlan_vid);
  // VLAN_PCP has no mask and wants a tag: a match that OXM cannot say so is refused by the switch rather than widened here.
  const isUntagged = mask === 0xffff && tci === 0;
  if ((mask & PCP) !== 0 && (mask & (VID | CFI)) !== 0 && !isUntagged)
    e.entry(F.vlan_pcp, getField(e.match.key, F.vlan_pcp), null);
}

function putIp(e: Emitter, kind: 'nxm' | 'oxm', v6: boolean): void {
  const proto = e.match.key.u8[OFS.ip_proto];
  e.putAll([F.ip_frag, kind === 'nxm' ? F.nw_tos : F.ip_dscp, F.nw_ecn, F.nw_ttl]);
  if (v6) e.put(F.ipv6_label);
  e.put(F.nw_proto);
  if (proto === 6) e.putAll([F.tcp_src, F.tcp_dst, F.tcp_flags]);
  else if (proto === 17) e.putAll([F.udp_src, F.udp_dst]);
  else if (proto === 132) e.putAll([F.sctp_src, F.sctp_dst]);
  else if (proto === 1 && !v6) e.putAll([F.icmp_type, F.icmp_code]);
  else if (proto === 58 && v6) {
    e.putAll([F.icmpv6_type, F.icmpv6_code]);
    if (prereqsMet(F.nd_target, e.match.key)) {
      e.putAll([F.nd_reserved, F.nd_target, F.nd_options_type]);
      if (prereqsMet(F.nd_sll, e.match.key)) e.put(F.nd_sll);
      if (prereqsMet(F.nd_tll, e.match.key)) e.put(F.nd_tll);
    }
  }
}

/** Flags of which not all bits have a meaning: the mask always goes along. */
function putFlags(e: Emitter, field: Field): void {
  if (isFieldMaskZero(e.match.mask, field)) return;
  e.entry(field, getField(e.match.key, field), getFieldMask(e.match.mask, field));
}

/** Options have no fixed length: leading zero bytes stay away. */
function putTunMetadata(e: Emitter, field: Field): void {
  if (isFieldMaskZero(e.match.mask, field)) return;
  const value = getField(e.match.key, field);
  const mask = getFieldMask(e.match.mask, field);
  const exact = isFieldMaskExact(e.match.mask, field);
  let skip = 0;
  while (skip < value.length - 1 && value[skip] === 0 && (exact || mask[skip] === 0)) skip++;
  e.entry(field, value.subarray(skip), exact ? null : mask.subarray(skip));
}

function putRegisters(e: Emitter, kind: 'nxm' | 'oxm', version: number): void {
  if (!e.looksAt(OFS.reg0, OFS.conj_id)) return;
  const pairs = kind === 'oxm' && version >= OF15;
  for (let i = 0; i < XREGS.length; i++) {
    // Registers from 16 on have no number of their own.
    if (pairs || i >= 8) e.put(XREGS[i]);
    else e.putAll([REGS[2 * i], REGS[2 * i + 1]]);
  }
}

// ---- decoding ----------------------------------------------------------------------------------------------------------------------------------------

export type DecodeMatchResult =
  | { readonly ok: true; readonly match: Match }
  /** `at` is the byte offset of the entry that is wrong. */
  | { readonly ok: false; readonly error: OxmError; readonly at: number };

/** Reads entries that fill `bytes`. `loose` ignores fields that it does not know, as replies and `dump-flows` do. */
export function decodeMatch(bytes: Uint8Array, options: { readonly loose?: boolean } = {}): DecodeMatchResult {
  const match = Match.lease();
  for (let at = 0; at < bytes.length; ) {
    const size = decodePlainEntry(match, bytes, at);
    if (size > 0) {
      at += size;
      continue;
    }
    const entry = decodeOxmEntry(bytes, at);
    if (!entry.ok) {
      if (entry.error === 'OFPBMC_BAD_FIELD' && options.loose) {
        at += entry.size;
        continue;
      }
      return { ok: false, error: entry.error, at };
    }
    const { field } = entry;
    if (!isCtFamilyRight(match, field)) return { ok: false, error: 'OFPBAC_MATCH_INCONSISTENT', at };
    if (!prereqsMet(field, match.key)) return { ok: false, error: 'OFPBMC_BAD_PREREQ', at };
    if (!isUnset(match, field)) return { ok: false, error: 'OFPBMC_DUP_FIELD', at };
    setMatchField(match, field, entry.value, entry.mask);
    at += entry.size;
  }
  return { ok: true, match };
}

/** Takes an entry of whole bytes at its face value. 0 when there is anything special or wrong about it. */
function decodePlainEntry(match: Match, bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) return 0;
  const cls = (bytes[at] << 8) | bytes[at + 1];
  const field = cls === EXPERIMENTER_CLASS ? undefined : headerByNumber(cls, bytes[at + 2] >> 1)?.field;
  if (field === undefined || !isPlainBytes(field) || field.prereq === 'ct_tuple' || isTunMetadata(field)) return 0;
  const n = field.bytes;
  const hasMask = (bytes[at + 2] & 1) !== 0;
  if (hasMask && field.masking !== 'any') return 0;
  const size = hasMask ? 4 + 2 * n : 4 + n;
  if (bytes[at + 3] !== size - 4 || at + size > bytes.length) return 0;
  if (!prereqsMet(field, match.key) || !isFieldMaskZero(match.mask, field)) return 0;
  const key8 = match.key.u8;
  const mask8 = match.mask.u8;
  const first = field.bit >> 3;
  if (hasMask) {
    for (let i = 4; i < 4 + n; i++) if ((bytes[at + i] & ~bytes[at + n + i]) !== 0) return 0;
    for (let i = 0; i < n; i++) {
      key8[first + i] = bytes[at + 4 + i];
      mask8[first + i] = bytes[at + 4 + n + i];
    }
    return size;
  }
  for (let i = 0; i < n; i++) {
    key8[first + i] = bytes[at + 4 + i];
    mask8[first + i] = 0xff;
  }
  return size;
}

/** The addresses of a connection's original tuple are of the packet's own family. */
function isCtFamilyRight(match: Match, field: Field): boolean {
  const type = match.key.get16(OFS.eth_type);
  if (field === F.ct_nw_src || field === F.ct_nw_dst) return type === 0x0800;
  if (field === F.ct_ipv6_src || field === F.ct_ipv6_dst) return type === 0x86dd;
  return true;
}

/** VLAN_PCP shares its "a tag is present" with VLAN_VID. */
function isUnset(match: Match, field: Field): boolean {
  if (field === F.vlan_pcp) return (match.mask.get16(OFS.vlan_tci) & 0xe000) === 0;
  return isFieldMaskZero(match.mask, field);
}
