/**
 * Reading and writing fields and parts of fields in a flow key.
 *
 * A field's *value* is what its OXM or NXM carries: big-endian, right-aligned, `field.bytes` long. A few values are not simply the bits
 * of the key: the 32-bit port numbers of OpenFlow 1.1+, VLAN fields that imply a tag, and the old `nw_tos`, which leaves ECN alone.
 * Masks are read and written as plain bits (`getFieldMask`, `setFieldMask`).
 */
import type { Field, FieldPrereq, Subfield } from './field.ts';
import { F, FIELDS, fieldByHeaderName, fieldByName, fieldHeader } from './fields.ts';
import type { FlowKey, FlowMask } from './key.ts';
import { OFS } from './layout.ts';

const VLAN_CFI = 0x1000;

/** Fields of which reading, writing or masking is more than to copy bytes. */
const SPECIAL: ReadonlySet<Field> = new Set([
  F.in_port,
  F.in_port_oxm,
  F.actset_output,
  F.packet_type,
  F.nw_tos,
  F.ct_state,
  F.dl_vlan,
  F.dl_vlan_pcp,
  F.vlan_vid,
  F.vlan_pcp,
  F.arp_op,
  F.nsh_ttl,
  F.nsh_mdtype,
]);
const IS_PLAIN = Uint8Array.from(FIELDS, (f) =>
  (f.bit & 7) === 0 && f.width === f.bytes * 8 && f.nBits === f.width && !SPECIAL.has(f) ? 1 : 0,
);

/** Is the field whole bytes of the key, all of which may have any value? Most are: what is done most often tests for them. */
export function isPlainBytes(field: Field): boolean {
  return IS_PLAIN[field.index] === 1;
}

/** `n` ≤ 32 bits from bit `bit` (most significant first) as an unsigned number. */
function readBits(u8: Uint8Array, bit: number, n: number): number {
  if ((bit & 7) === 0 && n === 32) {
    const i = bit >> 3;
    return ((u8[i] << 24) | (u8[i + 1] << 16) | (u8[i + 2] << 8) | u8[i + 3]) >>> 0;
  }
  let v = 0;
  for (let left = n, at = bit; left > 0; ) {
    const inByte = 8 - (at & 7);
    const take = Math.min(inByte, left);
    v = v * 2 ** take + ((u8[at >> 3] >> (inByte - take)) & ((1 << take) - 1));
    at += take;
    left -= take;
  }
  return v;
}

function writeBits(u8: Uint8Array, bit: number, n: number, value: number): void {
  for (let left = n, end = bit + n, v = value; left > 0; ) {
    const last = end - 1;
    const above = (last & 7) + 1;
    const take = Math.min(above, left);
    const shift = 7 - (last & 7);
    const mask = (2 ** take - 1) << shift;
    const i = last >> 3;
    u8[i] = (u8[i] & ~mask) | ((v << shift) & mask);
    v = Math.floor(v / 2 ** take);
    end -= take;
    left -= take;
  }
}

/** The OpenFlow 1.1+ form of a 16-bit port number. */
export function portTo32(port: number): number {
  return port >= 0xff00 && port <= 0xffff ? port + 0xffff0000 : port;
}

/** The 16-bit form of an OpenFlow 1.1+ port number, or -1 when it has none. */
export function portFrom32(port: number): number {
  if (port < 0xff00) return port;
  return port >= 0xffffff00 ? port - 0xffff0000 : -1;
}

function readBytes(u8: Uint8Array, field: Field): Uint8Array {
  const out = new Uint8Array(field.bytes);
  if ((field.bit & 7) === 0 && field.width === field.bytes * 8) {
    const i = field.bit >> 3;
    for (let k = 0; k < field.bytes; k++) out[k] = u8[i + k];
    return out;
  }
  const end = field.bit + field.width;
  for (let k = 0; k < field.bytes && k * 8 < field.width; k++) {
    const n = Math.min(8, field.width - k * 8);
    out[field.bytes - 1 - k] = readBits(u8, end - k * 8 - n, n);
  }
  return out;
}

function writeBytes(u8: Uint8Array, field: Field, value: Uint8Array): void {
  if ((field.bit & 7) === 0 && field.width === field.bytes * 8 && value.length === field.bytes) {
    u8.set(value, field.bit >> 3);
    return;
  }
  const end = field.bit + field.width;
  for (let k = 0; k * 8 < field.width; k++) {
    const n = Math.min(8, field.width - k * 8);
    const from = value.length - 1 - k;
    writeBits(u8, end - k * 8 - n, n, from >= 0 ? value[from] & (2 ** n - 1) : 0);
  }
}

/** The value of `field`, right-aligned, `field.bytes` long. */
export function getField(key: FlowKey, field: Field): Uint8Array {
  if (isPlainBytes(field)) return readBytes(key.u8, field);
  if (field.format === 'ofp_port_oxm') return bytesOfNumber(portTo32(key.get32(field.bit >> 3)), 4);
  const out = readBytes(key.u8, field);
  if (field === F.nw_tos) out[0] &= 0xfc;
  return out;
}

/** Writes `value` (right-aligned) into `field`. VLAN fields put a tag into the key where there is none. */
export function setField(key: FlowKey, field: Field, value: Uint8Array): void {
  switch (field) {
    case F.in_port_oxm:
    case F.actset_output: {
      const port = portFrom32(numberOfBytes(value));
      key.set32(field.bit >> 3, port < 0 ? 0xffff : port);
      return;
    }
    case F.nw_tos:
      key.u8[OFS.ip_tos] = (key.u8[OFS.ip_tos] & 3) | (value[value.length - 1] & 0xfc);
      return;
    case F.dl_vlan:
      if (numberOfBytes(value) === 0xffff) {
        key.set16(OFS.vlan_tci, 0);
        return;
      }
      break;
  }
  writeBytes(key.u8, field, value);
  if (field === F.dl_vlan || field === F.dl_vlan_pcp || field === F.vlan_pcp) key.u8[OFS.vlan_tci] |= VLAN_CFI >> 8;
}

/** The bits of `field` in a mask, in the shape of its value. */
export function getFieldMask(mask: FlowMask, field: Field): Uint8Array {
  const out = readBytes(mask.u8, field);
  if (field === F.nw_tos) out[0] &= 0xfc;
  return out;
}

/** Adds `bits` (null: the whole field) of `field` to a mask. */
export function setFieldMask(mask: FlowMask, field: Field, bits: Uint8Array | null = null): void {
  const old = readBytes(mask.u8, field);
  const exact = fieldMaskBytes(field);
  for (let i = 0; i < old.length; i++) old[i] |= bits === null ? exact[i] : bits[i] & exact[i];
  if (field === F.in_port) mask.set32(OFS.in_port, 0xffffffff);
  else writeBytes(mask.u8, field, old);
}

const exactMasks: Uint8Array[] = [];

/** The bits that a value of `field` can have: the mask of an exact match. Shared: not to be written to. */
export function fieldMaskBytes(field: Field): Uint8Array {
  exactMasks[field.index] ??= makeFieldMaskBytes(field);
  return exactMasks[field.index];
}

function makeFieldMaskBytes(field: Field): Uint8Array {
  const out = new Uint8Array(field.bytes);
  const bits = field === F.vlan_vid ? field.width : field.nBits;
  for (let k = 0; k < field.bytes && k * 8 < bits; k++) out[field.bytes - 1 - k] = 2 ** Math.min(8, bits - k * 8) - 1;
  if (field === F.nw_tos) out[0] = 0xfc;
  // 24 of the 32 bits have no meaning, and so no mask.
  if (field === F.ct_state) out.fill(0, 0, 3);
  return out;
}

export function isFieldMaskExact(mask: FlowMask, field: Field): boolean {
  if (field === F.arp_op) return mask.u8[OFS.ip_proto] === 0xff;
  if ((field.bit & 7) === 0 && field.nBits === field.bytes * 8 && field !== F.nw_tos && field !== F.ct_state) {
    const first = field.bit >> 3;
    for (let i = field.width >> 3; i-- > 0; ) if (mask.u8[first + i] !== 0xff) return false;
    return true;
  }
  const bits = getFieldMask(mask, field);
  const exact = fieldMaskBytes(field);
  for (let i = 0; i < bits.length; i++) if (bits[i] !== exact[i]) return false;
  return true;
}

export function isFieldMaskZero(mask: FlowMask, field: Field): boolean {
  // Most fields of most matches: not even a word of theirs has a bit.
  const last = (field.bit + field.width - 1) >> 5;
  let i = field.bit >> 5;
  while (i <= last && mask.w[i] === 0) i++;
  if (i > last) return true;
  return getFieldMask(mask, field).every((b) => b === 0);
}

export function bytesOfNumber(value: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = length - 1, v = value; i >= 0; i--, v = Math.floor(v / 256)) out[i] = v % 256;
  return out;
}

export function numberOfBytes(value: Uint8Array): number {
  let v = 0;
  for (const b of value) v = v * 256 + b;
  return v;
}

export function bytesOfBigint(value: bigint, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = length - 1, v = value; i >= 0; i--, v >>= 8n) out[i] = Number(v & 0xffn);
  return out;
}

export function bigintOfBytes(value: Uint8Array): bigint {
  let v = 0n;
  for (const b of value) v = (v << 8n) | BigInt(b);
  return v;
}

/** The whole of a field as a subfield. */
export function wholeField(field: Field): Subfield {
  return { field, ofs: 0, nBits: field.nBits };
}

/** Is the value of this field simply its bits of the key? */
function isPlain(field: Field): boolean {
  return field.format !== 'ofp_port_oxm' && field !== F.nw_tos && field.nBits === field.width;
}

/** Up to 32 bits as an unsigned number. */
export function getNumber(key: FlowKey, sf: Subfield): number {
  const { field, ofs, nBits } = sf;
  if (isPlain(field)) return readBits(key.u8, field.bit + field.width - ofs - nBits, nBits);
  return Number((bigintOfBytes(getField(key, field)) >> BigInt(ofs)) & ((1n << BigInt(nBits)) - 1n));
}

/** Writes the low `sf.nBits` ≤ 32 bits of `value`. */
export function setNumber(key: FlowKey, sf: Subfield, value: number): void {
  const { field, ofs, nBits } = sf;
  if (isPlain(field)) {
    writeBits(key.u8, field.bit + field.width - ofs - nBits, nBits, value);
    if (field === F.dl_vlan || field === F.dl_vlan_pcp || field === F.vlan_pcp) {
      key.u8[OFS.vlan_tci] |= VLAN_CFI >> 8;
    }
  } else setBits(key, sf, BigInt(value));
}

export function getBits(key: FlowKey, sf: Subfield): bigint {
  if (sf.nBits <= 32) return BigInt(getNumber(key, sf));
  return (bigintOfBytes(getField(key, sf.field)) >> BigInt(sf.ofs)) & ((1n << BigInt(sf.nBits)) - 1n);
}

/** Writes the low `sf.nBits` bits of `value`. */
export function setBits(key: FlowKey, sf: Subfield, value: bigint): void {
  const { field, ofs, nBits } = sf;
  const mask = ((1n << BigInt(nBits)) - 1n) << BigInt(ofs);
  const old = bigintOfBytes(getField(key, field));
  setField(key, field, bytesOfBigint((old & ~mask) | ((value << BigInt(ofs)) & mask), field.bytes));
}

const ETH = { ip: 0x0800, arp: 0x0806, rarp: 0x8035, ipv6: 0x86dd, mpls: 0x8847, mplsMulticast: 0x8848, nsh: 0x894f };
const IP = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 };

function isIp(ethType: number): boolean {
  return ethType === ETH.ip || ethType === ETH.ipv6;
}
function isL4(flow: FlowKey, proto: number): boolean {
  return flow.u8[OFS.ip_proto] === proto && (flow.u8[OFS.ip_frag] & 2) === 0;
}
function isNd(flow: FlowKey, type: number): boolean {
  return prereqMet('icmpv6', flow) && flow.get16(OFS.tp_dst) === 0 && flow.get16(OFS.tp_src) === type;
}

/** Does a flow (or the key of a match) satisfy a prerequisite? `ovs-fields(7)`, "Prerequisites" */
export function prereqMet(prereq: FieldPrereq, flow: FlowKey): boolean {
  if (prereq === 'none') return true;
  const ethType = flow.get16(OFS.eth_type);
  switch (prereq) {
    case 'ethernet':
      return flow.get32(OFS.packet_type) === 0;
    case 'arp':
      return ethType === ETH.arp || ethType === ETH.rarp;
    case 'vlan':
      return (flow.get16(OFS.vlan_tci) & VLAN_CFI) !== 0;
    case 'ipv4':
      return ethType === ETH.ip;
    case 'ipv6':
      return ethType === ETH.ipv6;
    case 'ip':
      return isIp(ethType);
    case 'nsh':
      return ethType === ETH.nsh;
    case 'mpls':
      return ethType === ETH.mpls || ethType === ETH.mplsMulticast;
    case 'tcp':
      return isIp(ethType) && isL4(flow, IP.tcp);
    case 'udp':
      return isIp(ethType) && isL4(flow, IP.udp);
    case 'sctp':
      return isIp(ethType) && isL4(flow, IP.sctp);
    case 'icmpv4':
      return ethType === ETH.ip && isL4(flow, IP.icmp);
    case 'icmpv6':
      return ethType === ETH.ipv6 && isL4(flow, IP.icmpv6);
    case 'nd':
      return isNd(flow, 135) || isNd(flow, 136);
    case 'nd_solicit':
      return isNd(flow, 135);
    case 'nd_advert':
      return isNd(flow, 136);
    case 'ct_tuple':
      return isIp(ethType) && (flow.get32(OFS.ct_state) & CT_TUPLE_STATES) !== 0;
  }
}

/** Any state but `trk` and `inv` alone: those in which a connection's original tuple is known. */
const CT_TUPLE_STATES = 0xcf;

export function prereqsMet(field: Field, flow: FlowKey): boolean {
  return prereqMet(field.prereq, flow);
}

/** The header name by which `ovs-ofctl` prints a field in a subfield, or its plain name. */
function subfieldName(field: Field): string {
  return fieldHeader(field, 0)?.name ?? field.name;
}

/** `NXM_NX_REG0[4..7]`, `NXM_OF_ETH_SRC[]`, `NXM_NX_REG0[3]`. */
export function formatSubfield(sf: Subfield): string {
  const name = subfieldName(sf.field);
  if (sf.ofs === 0 && sf.nBits === sf.field.nBits) return `${name}[]`;
  if (sf.nBits === 1) return `${name}[${sf.ofs}]`;
  return `${name}[${sf.ofs}..${sf.ofs + sf.nBits - 1}]`;
}

export type SubfieldResult =
  | { readonly ok: true; readonly subfield: Subfield; readonly rest: string }
  | { readonly ok: false; readonly error: string };

/** Reads a subfield at the start of `text` and returns what follows it. Errors are in the words of `ovs-ofctl(8)`. */
export function parseSubfieldPrefix(text: string): SubfieldResult {
  const name = /^[^[\-\s,=>)]*(?:-(?!>)[^[\-\s,=>)]*)*/.exec(text)?.[0] ?? '';
  const field = fieldByName(name) ?? fieldByHeaderName(name)?.field;
  if (!field) return { ok: false, error: `${text}: unknown field \`${name}'` };
  const rest = text.slice(name.length);
  if (!rest.startsWith('[')) return { ok: true, subfield: wholeField(field), rest };
  const m = /^\[(?:(\d+)(?:\.\.(\d+))?)?\]/.exec(rest);
  if (!m) return { ok: false, error: `${text}: syntax error expecting [] or [<bit>] or [<start>..<end>]` };
  const start = m[1] === undefined ? 0 : Number(m[1]);
  const end = m[2] !== undefined ? Number(m[2]) : m[1] !== undefined ? start : field.nBits - 1;
  if (start > end) return { ok: false, error: `${text}: starting bit ${start} is after ending bit ${end}` };
  if (start >= field.nBits) {
    return {
      ok: false,
      error: `${text}: starting bit ${start} is not valid because field is only ${field.nBits} bits wide`,
    };
  }
  if (end >= field.nBits) {
    return {
      ok: false,
      error: `${text}: ending bit ${end} is not valid because field is only ${field.nBits} bits wide`,
    };
  }
  return { ok: true, subfield: { field, ofs: start, nBits: end - start + 1 }, rest: rest.slice(m[0].length) };
}

/** Reads text that is one subfield and nothing else. */
export function parseSubfield(text: string): SubfieldResult {
  const r = parseSubfieldPrefix(text);
  if (r.ok && r.rest !== '') return { ok: false, error: `${text}: trailing garbage \`${r.rest}' following field name` };
  return r;
}
