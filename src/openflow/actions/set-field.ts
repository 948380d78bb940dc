/**
 * Writing fields: `set_field`, `load`, the old `mod_*` and `set_tunnel`. `ovs-actions(7)`, "Field Modification Actions"
 *
 * All are one action, `set_field`. On the wire OpenFlow 1.5 has one form for it; 1.2 to 1.4 have it without a mask, and
 * `NXAST_REG_LOAD` for part of a field; 1.0 and 1.1 have an action for each of their own fields, and `NXAST_REG_LOAD`.
 */

import { formatEth, formatIpv4, parseEth, parseIpv4 } from '../../flow/address-text.ts';
import type { Field, Subfield } from '../../flow/field.ts';
import { F, fieldByName } from '../../flow/fields.ts';
import { decodeOxmEntry, decodeOxmHeader, encodeOxmEntry, isValueValid } from '../../flow/oxm.ts';
import {
  bigintOfBytes,
  bytesOfBigint,
  bytesOfNumber,
  fieldMaskBytes,
  formatSubfield,
  numberOfBytes,
} from '../../flow/subfield.ts';
import { formatFieldValue, parseFieldValue } from '../../flow/value-text.ts';
import {
  type AnyActionDef,
  bad,
  def,
  getFieldHeader,
  hex,
  nx,
  of,
  ofsNbits,
  type ParseContext,
  parseNumber,
  parseU8,
  parseU16,
  parseU64,
  putFieldHeader,
  putNx,
  putOf,
  type Reader,
  subfield,
  subfieldOf,
  syntax,
  type WireSpot,
  type Writer,
  zeros,
} from './def.ts';
import type { Ofpact, OfpactOf, SetFieldForm } from './types.ts';

type SetField = OfpactOf<'set_field'>;

const VLAN_CFI = 0x1000;

export function setField(field: Field, value: Uint8Array, mask: Uint8Array | null, as?: SetFieldForm): SetField {
  return as ? { kind: 'set_field', field, value, mask, as } : { kind: 'set_field', field, value, mask };
}

/** The old actions: field, text, and numbers in OpenFlow 1.0 and 1.1. */
interface OldForm {
  readonly as: SetFieldForm;
  readonly field: Field;
  readonly of10: number | null;
  readonly of11: number | null;
  parse(text: string): Uint8Array;
  format(value: Uint8Array): string;
  put(w: Writer, value: Uint8Array): void;
  get(r: Reader): Uint8Array;
}

const ethernet = {
  parse: (text: string): Uint8Array => parseEth(text) ?? syntax(`invalid mac address ${text}`),
  format: (v: Uint8Array): string => formatEth(v),
  put: (w: Writer, v: Uint8Array): void => void w.bytes(v).zero(6),
  get: (r: Reader): Uint8Array => r.copy(6),
};
const ipv4 = {
  parse: (text: string): Uint8Array => parseIpv4(text) ?? syntax(`${text}: could not convert to IP address`),
  format: (v: Uint8Array): string => formatIpv4(v),
  put: (w: Writer, v: Uint8Array): void => void w.bytes(v),
  get: (r: Reader): Uint8Array => r.copy(4),
};
const port = {
  parse: (text: string): Uint8Array => bytesOfNumber(parseU16(text, 'source port'), 2),
  format: (v: Uint8Array): string => `${numberOfBytes(v)}`,
  put: (w: Writer, v: Uint8Array): void => void w.bytes(v).zero(2),
  get: (r: Reader): Uint8Array => r.copy(2),
};
const byte = (max: number, what: string) => ({
  parse: (text: string): Uint8Array => {
    const v = parseU8(text, what);
    return v > max ? syntax(`${text}: not a valid ${what}`) : Uint8Array.of(v);
  },
  format: (v: Uint8Array): string => `${v[0]}`,
  put: (w: Writer, v: Uint8Array): void => void w.bytes(v).zero(3),
  get: (r: Reader): Uint8Array => Uint8Array.of(r.u8()),
});

const OLD: readonly OldForm[] = [
  { as: 'mod_dl_src', field: F.eth_src, of10: 4, of11: 3, ...ethernet },
  { as: 'mod_dl_dst', field: F.eth_dst, of10: 5, of11: 4, ...ethernet },
  { as: 'mod_nw_src', field: F.ip_src, of10: 6, of11: 5, ...ipv4 },
  { as: 'mod_nw_dst', field: F.ip_dst, of10: 7, of11: 6, ...ipv4 },
  {
    as: 'mod_nw_tos',
    field: F.nw_tos,
    of10: 8,
    of11: 7,
    ...byte(255, 'TOS'),
    parse: (text) => {
      const v = parseU8(text, 'TOS');
      return v & 3 ? syntax(`${text}: not a valid TOS`) : Uint8Array.of(v);
    },
    get: (r) => {
      const v = r.u8();
      return v & 3 ? bad('OFPBAC_BAD_ARGUMENT') : Uint8Array.of(v);
    },
  },
  {
    as: 'mod_nw_ecn',
    field: F.nw_ecn,
    of10: null,
    of11: 8,
    ...byte(3, 'ECN'),
    get: (r) => {
      const v = r.u8();
      return v & ~3 ? bad('OFPBAC_BAD_ARGUMENT') : Uint8Array.of(v);
    },
  },
  { as: 'mod_nw_ttl', field: F.nw_ttl, of10: null, of11: 23, ...byte(255, 'TTL') },
  { as: 'mod_tp_src', field: F.tcp_src, of10: 9, of11: 9, ...port },
  { as: 'mod_tp_dst', field: F.tcp_dst, of10: 10, of11: 10, ...port },
];
const OLD_BY_FORM = new Map(OLD.map((o) => [o.as, o]));
/** Which old action writes a field; several fields share the transport ports. */
const OLD_BY_FIELD = new Map<Field, OldForm>([
  ...OLD.map((o) => [o.field, o] as const),
  [F.udp_src, OLD[7]],
  [F.udp_dst, OLD[8]],
]);

/** The masked bits as contiguous runs of at most 64, the lowest first. */
function runs(a: SetField): { sf: Subfield; value: bigint }[] {
  const bits = a.field.nBits;
  const exact = bigintOfBytes(fieldMaskBytes(a.field)) & ((1n << BigInt(bits)) - 1n);
  const mask = a.mask ? bigintOfBytes(a.mask) & exact : exact;
  const value = bigintOfBytes(a.value);
  const out: { sf: Subfield; value: bigint }[] = [];
  for (let at = 0; at < bits; ) {
    if (((mask >> BigInt(at)) & 1n) === 0n) {
      at++;
      continue;
    }
    let end = at + 1;
    while (end < bits && end - at < 64 && ((mask >> BigInt(end)) & 1n) === 1n) end++;
    const n = end - at;
    out.push({ sf: { field: a.field, ofs: at, nBits: n }, value: (value >> BigInt(at)) & ((1n << BigInt(n)) - 1n) });
    at = end;
  }
  return out;
}

/** `set_field` of the bits of a subfield. */
export function setFieldOfSubfield(sf: Subfield, value: bigint, as?: SetFieldForm): SetField {
  const mask = ((1n << BigInt(sf.nBits)) - 1n) << BigInt(sf.ofs);
  const whole = sf.ofs === 0 && sf.nBits === sf.field.nBits;
  return setField(
    sf.field,
    bytesOfBigint(value << BigInt(sf.ofs), sf.field.bytes),
    whole ? null : bytesOfBigint(mask, sf.field.bytes),
    as,
  );
}

function encodeLoads(w: Writer, a: SetField): void {
  for (const { sf, value } of runs(a)) {
    // Fields with long headers, and those whose length the switch decides, are not loaded bit by bit.
    const isWhole = sf.field.name.startsWith('tun_metadata');
    if (isWhole || sf.field.headers.every((h) => h.experimenter !== undefined)) {
      encodeLoad2(w, a, 1);
      return;
    }
    putNx(w, 7, () => {
      w.u16(ofsNbits(sf));
      putFieldHeader(w, sf.field, 0);
      w.u64(value);
    });
  }
}

function encodeLoad2(w: Writer, a: SetField, version: number): void {
  putNx(w, 33, () => {
    w.bytes(encodeOxmEntry(a.field, a.value, a.mask, version) ?? new Uint8Array(0));
  });
}

function encodeOxm(w: Writer, field: Field, value: Uint8Array, mask: Uint8Array | null, version: number): void {
  putOf(w, 25, () => w.bytes(encodeOxmEntry(field, value, mask, version) ?? new Uint8Array(0)));
}

function encode(w: Writer, a: SetField, version: number): void {
  if (a.as === 'set_tunnel' || a.as === 'set_tunnel64') {
    if (version < 3) {
      const id = bigintOfBytes(a.value);
      if (a.as === 'set_tunnel' && id <= 0xffffffffn) putNx(w, 2, () => w.zero(2).u32(Number(id)));
      else putNx(w, 9, () => w.zero(6).u64(id));
      return;
    }
    encodeOxm(w, F.tun_id, a.value, null, version);
    return;
  }
  if (a.as === 'load' && version < 6) {
    encodeLoads(w, a);
    return;
  }
  const old = a.mask === null ? (a.as ? OLD_BY_FORM.get(a.as) : OLD_BY_FIELD.get(a.field)) : undefined;
  if (version < 3) {
    const number = version === 1 ? old?.of10 : old?.of11;
    if (old && number != null) putOf(w, number, () => old.put(w, a.value));
    else if (a.mask === null && (a.field === F.vlan_vid || a.field === F.dl_vlan)) {
      putOf(w, 1, () => w.u16(numberOfBytes(a.value) & 0xfff).zero(2));
    } else if (a.mask === null && (a.field === F.vlan_pcp || a.field === F.dl_vlan_pcp)) {
      putOf(w, 2, () => w.u8(a.value[a.value.length - 1]).zero(3));
    } else if (a.mask === null && a.field === F.vlan_tci) {
      const tci = numberOfBytes(a.value);
      if (tci & VLAN_CFI) {
        putOf(w, 1, () => w.u16(tci & 0xfff).zero(2));
        putOf(w, 2, () => w.u8(tci >> 13).zero(3));
      } else putOf(w, version === 1 ? 3 : 18, () => w.zero(4));
    } else if (a.mask === null && a.field === F.ip_dscp) {
      putOf(w, version === 1 ? 8 : 7, () => w.u8(a.value[0] << 2).zero(3));
    } else encodeLoads(w, a);
    return;
  }
  if (a.as === 'mod_nw_ttl') putOf(w, 23, () => w.bytes(a.value).zero(3));
  else if (a.as === 'mod_nw_tos') encodeOxm(w, F.ip_dscp, Uint8Array.of(a.value[0] >> 2), null, version);
  else if (a.mask !== null && version < 6) encodeLoads(w, a);
  else encodeOxm(w, a.field, a.value, a.mask, version);
}

function parseSetField(text: string, context: ParseContext): Ofpact {
  const arrow = text.indexOf('->');
  if (arrow < 0) syntax(`${text}: missing \`->'`);
  const valueText = text.slice(0, arrow);
  const name = text.slice(arrow + 2);
  if (name === '') syntax(`${text}: missing field name following \`->'`);
  const field = fieldByName(name) ?? syntax(`${name} is not a valid OXM field name`);
  if (!field.writable) syntax(`${name} is read-only`);
  const parsed = parseFieldValue(field, valueText, context);
  if (!parsed.ok) syntax(parsed.error);
  const exact = fieldMaskBytes(field);
  const whole = parsed.mask.every((b, i) => (b & exact[i]) === exact[i]);
  if (!isValueValid(field, parsed.value)) syntax(`${valueText} is not a valid value for field ${name}`);
  const value = whole ? parsed.value : parsed.value.map((b, i) => b & parsed.mask[i]);
  return setField(field, value, whole ? null : parsed.mask.map((b, i) => b & exact[i]));
}

function parseLoad(text: string): Ofpact {
  const arrow = text.indexOf('->');
  if (arrow < 0) syntax(`${text}: missing \`->'`);
  const value = parseNumber(text.slice(0, arrow)) ?? syntax(`${text}: cannot parse integer value`);
  const sf = subfield(text.slice(arrow + 2));
  if (!sf.field.writable) syntax(`${sf.field.name} is read-only`);
  if (value >> BigInt(sf.nBits) !== 0n) {
    syntax(`${text}: value ${hex(value)} does not fit into ${sf.nBits} bits`);
  }
  return setFieldOfSubfield(sf, value, 'load');
}

const WORDS = ['set_field', 'load', 'set_tunnel', 'set_tunnel64', ...OLD.map((o) => o.as)] as const;

/** Bits of the value outside its mask mean nothing here, where a match would refuse them. */
function withoutStrayBits(r: Reader): Uint8Array {
  const bytes = r.bytes.slice(r.pos, r.end);
  const head = decodeOxmHeader(bytes, 0);
  if (head.ok && head.hasMask && head.size + head.length <= bytes.length) {
    const half = head.length >> 1;
    for (let i = head.size; i < head.size + half; i++) bytes[i] &= bytes[i + half];
  }
  return bytes;
}

function readEntry(r: Reader): SetField {
  const e = decodeOxmEntry(withoutStrayBits(r), 0);
  if (!e.ok) {
    bad(
      e.error === 'OFPBMC_BAD_FIELD'
        ? 'OFPBAC_BAD_SET_TYPE'
        : e.error === 'OFPBMC_BAD_MASK' || e.error === 'OFPBMC_BAD_WILDCARDS'
          ? 'OFPBAC_BAD_SET_MASK'
          : e.error === 'OFPBMC_BAD_VALUE'
            ? 'OFPBAC_BAD_SET_ARGUMENT'
            : 'OFPBAC_BAD_SET_LEN',
    );
  }
  r.skip(e.size);
  zeros(r, r.left);
  if (!e.field.writable) bad('OFPBAC_BAD_SET_ARGUMENT');
  if (!isValueValid(e.field, e.value)) bad('OFPBAC_BAD_SET_ARGUMENT');
  // A tag without its presence bit is no tag that could be set.
  if (e.field === F.vlan_vid && e.mask === null && !(numberOfBytes(e.value) & VLAN_CFI)) bad('OFPBAC_BAD_SET_ARGUMENT');
  const exact = fieldMaskBytes(e.field);
  const whole = e.mask === null || e.mask.every((b, i) => (b & exact[i]) === exact[i]);
  return setField(e.field, e.value, whole ? null : e.mask);
}

function oldSpots(): WireSpot[] {
  const out: WireSpot[] = [];
  for (const o of OLD) {
    const decode = (r: Reader): Ofpact => setField(o.field, o.get(r), null, o.as);
    if (o.of10 !== null) out.push(of(o.of10, 1, 1, decode));
    // SET_NW_TTL outlived the others.
    if (o.of11 !== null) out.push(of(o.of11, 2, o.as === 'mod_nw_ttl' ? 6 : 2, decode));
  }
  return out;
}

const setFieldDef = def({
  kind: 'set_field',
  words: WORDS,
  parse(text, context, word) {
    if (word === 'set_field') return parseSetField(text, context);
    if (word === 'load') return parseLoad(text);
    if (word === 'set_tunnel' || word === 'set_tunnel64') {
      const id = parseU64(text);
      const as = word === 'set_tunnel64' || id > 0xffffffffn ? 'set_tunnel64' : 'set_tunnel';
      return setField(F.tun_id, bytesOfBigint(id, 8), null, as);
    }
    const old = OLD_BY_FORM.get(word as SetFieldForm) ?? syntax(`unknown action ${word}`);
    return setField(old.field, old.parse(text), null, old.as);
  },
  format(a) {
    if (a.as === 'load') {
      return runs(a)
        .map(({ sf, value }) => `load:${hex(value)}->${formatSubfield(sf)}`)
        .join(',');
    }
    if (a.as === 'set_tunnel' || a.as === 'set_tunnel64') return `${a.as}:${hex(bigintOfBytes(a.value))}`;
    const old = a.as && OLD_BY_FORM.get(a.as);
    if (old) return `${old.as}:${old.format(a.value)}`;
    return `set_field:${formatFieldValue(a.field, a.value, a.mask)}->${a.field.name}`;
  },
  encode: (w, a, { version }) => encode(w, a, version),
  spots: [
    ...oldSpots(),
    of(25, 3, 5, (r) => {
      const a = readEntry(r);
      return a.mask === null ? a : bad('OFPBAC_BAD_SET_MASK');
    }),
    of(25, 6, 6, readEntry),
    nx(2, (r) => setField(F.tun_id, bytesOfNumber(r.skip(2).u32(), 8), null, 'set_tunnel')),
    nx(9, (r) => setField(F.tun_id, bytesOfBigint(r.skip(6).u64(), 8), null, 'set_tunnel64')),
    nx(7, (r) => {
      const bits = r.u16();
      const field = getFieldHeader(r);
      const sf = subfieldOf(field, bits);
      const value = r.u64();
      if (!field.writable) bad('OFPBAC_BAD_SET_ARGUMENT');
      if (value >> BigInt(sf.nBits) !== 0n) bad('OFPBAC_BAD_SET_ARGUMENT');
      return setFieldOfSubfield(sf, value, 'load');
    }),
    nx(33, readEntry),
  ],
});

export const SET_FIELD_ACTIONS: readonly AnyActionDef[] = [setFieldDef];
