/**
 * What a file of this folder says about an action: how it is written, and where it stands on the wire.
 *
 * Parsing and decoding throw `ActionTextError` and `OfDecodeError`; `index.ts` turns both into values. Text is what
 * `ovs-actions(7)` describes; wire numbers are OpenFlow's `OFPAT_*` and Nicira's `NXAST_*`.
 */

import type { Field, Subfield } from '../../flow/field.ts';
import type { Names } from '../../flow/names.ts';
import { decodeOxmHeader, encodeFieldHeader } from '../../flow/oxm.ts';
import { parseSubfield, parseSubfieldPrefix } from '../../flow/subfield.ts';
import { type Reader, Writer } from '../bytes.ts';
import { NX_VENDOR_ID, OfDecodeError } from '../errors.ts';
import type { Ofpact, OfpactKind, OfpactOf } from './types.ts';

export class ActionTextError extends Error {}

export function syntax(text: string): never {
  throw new ActionTextError(text);
}

export interface ParseContext {
  readonly names?: Names;
  readonly warn?: (text: string) => void;
  /** Parses a nested list. `within` names the action it stands in. */
  nested(text: string, within: string): Ofpact[];
}

/** `of`: a standard action number; `nx`: a Nicira subtype. */
export interface WireSpot {
  readonly space: 'of' | 'nx';
  readonly number: number;
  readonly first: number;
  readonly last: number;
  /** `r` holds what stands behind the header (for Nicira: behind the subtype). */
  decode(r: Reader, context: DecodeContext): Ofpact | readonly Ofpact[];
}

export interface DecodeContext {
  readonly version: number;
  /** Depth of nesting, which is bounded. */
  readonly depth: number;
  actions(r: Reader): Ofpact[];
}

export interface EncodeContext {
  readonly version: number;
  actions(w: Writer, list: readonly Ofpact[]): void;
}

export interface ActionDef<K extends OfpactKind> {
  readonly kind: K;
  /** Words that begin it in text; the first is its own name. */
  readonly words: readonly string[];
  parse(argument: string, context: ParseContext, word: string): Ofpact | readonly Ofpact[];
  format(action: OfpactOf<K>, names?: Names): string;
  encode(w: Writer, action: OfpactOf<K>, context: EncodeContext): void;
  readonly spots: readonly WireSpot[];
}

// The registry hands each definition only actions of its own kind.
export type AnyActionDef = ActionDef<never> & { readonly kind: OfpactKind };

export function def<K extends OfpactKind>(d: ActionDef<K>): AnyActionDef {
  return d as unknown as AnyActionDef;
}

export function of(number: number, first: number, last: number, decode: WireSpot['decode']): WireSpot {
  return { space: 'of', number, first, last, decode };
}

export function nx(number: number, decode: WireSpot['decode'], first = 1, last = 6): WireSpot {
  return { space: 'nx', number, first, last, decode };
}

/** Writes a standard action; `body` writes what follows type and length. Padded to 8 bytes. */
export function putOf(w: Writer, type: number, body: (w: Writer) => void): void {
  const start = w.len;
  w.u16(type).u16(0);
  body(w);
  w.align(8, start).length16(start + 2, start);
}

/** Writes a Nicira action; `body` writes what follows the subtype. Padded to 8 bytes. */
export function putNx(w: Writer, subtype: number, body: (w: Writer) => void): void {
  putOf(w, 0xffff, () => {
    w.u32(NX_VENDOR_ID).u16(subtype);
    body(w);
  });
}

export function bad(name: ConstructorParameters<typeof OfDecodeError>[0]): never {
  throw new OfDecodeError(name);
}

/** Padding that must be zero. */
export function zeros(r: Reader, n: number): void {
  for (const b of r.take(n)) if (b !== 0) bad('NXBAC_MUST_BE_ZERO');
}

// ---- numbers in text ----------------------------------------------------------------------------------------------

/** C's `strtoull` with base 0 over all of the text. */
export function parseNumber(text: string): bigint | null {
  if (!/^\s*[+-]?(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const t = text.trim();
  const negative = t.startsWith('-');
  const digits = t.replace(/^[+-]/, '');
  const value = /^0[0-7]+$/.test(digits) ? BigInt(`0o${digits.slice(1)}`) : /^0\d/.test(digits) ? null : BigInt(digits);
  return value === null ? null : negative ? (1n << 64n) - value : value;
}

function parseUnsigned(text: string, name: string, max: number): number {
  const v = parseNumber(text);
  if (v === null || v > BigInt(max)) syntax(`invalid ${name} "${text}"`);
  return Number(v);
}
export const parseU8 = (text: string, name: string): number => parseUnsigned(text, name, 0xff);
export const parseU16 = (text: string, name: string): number => parseUnsigned(text, name, 0xffff);

export function parseU32(text: string): number {
  const v = parseNumber(text);
  if (v === null) syntax(`invalid numeric format ${text}`);
  return Number(BigInt.asUintN(32, v));
}

export function parseU64(text: string): bigint {
  const v = parseNumber(text);
  if (v === null) syntax(`invalid numeric format ${text}`);
  return BigInt.asUintN(64, v);
}

/** C's `%#x`: zero has no prefix. */
export const hex = (v: number | bigint): string => (v === 0 || v === 0n ? '0' : `0x${v.toString(16)}`);

// ---- key=value lists in text --------------------------------------------------------------------------------------

/** One `key`, `key:value`, `key=value` or `key(value)` of a list, as `ovs-actions(7)` writes action lists and arguments. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

/** Splits a list at commas and white space outside of parentheses. */
export function splitKeyValues(text: string): KeyValue[] {
  const out: KeyValue[] = [];
  let at = 0;
  const isGap = (c: string): boolean => c === ',' || c === ' ' || c === '\t' || c === '\r' || c === '\n';
  while (at < text.length) {
    while (at < text.length && isGap(text[at])) at++;
    if (at >= text.length) break;
    const start = at;
    while (at < text.length && !':=('.includes(text[at]) && !isGap(text[at])) at++;
    const key = text.slice(start, at);
    const delimiter = text[at];
    let value = '';
    if (delimiter === '(') {
      const begin = ++at;
      let depth = 1;
      while (at < text.length && depth > 0) {
        if (text[at] === '(') depth++;
        else if (text[at] === ')') depth--;
        at++;
      }
      value = text.slice(begin, depth === 0 ? at - 1 : at);
      // `check_pkt_larger(1500)->reg0[0]`: the value goes on behind the parenthesis.
      if (text.startsWith('->', at)) {
        const more = at;
        while (at < text.length && !isGap(text[at])) at++;
        value += text.slice(more, at);
      }
    } else if (delimiter === ':' || delimiter === '=') {
      const begin = ++at;
      let depth = 0;
      while (at < text.length && (depth > 0 || !isGap(text[at]))) {
        if (text[at] === '(') depth++;
        else if (text[at] === ')' && depth > 0) depth--;
        at++;
      }
      value = text.slice(begin, at);
    } else if (key === '') at++;
    if (key !== '' || value !== '') out.push({ key, value });
  }
  return out;
}

/** Splits at commas and white space. */
export const words = (text: string): string[] => text.split(/[, \t\r\n]+/).filter((s) => s !== '');

// ---- subfields ----------------------------------------------------------------------------------------------------

export function subfield(text: string): Subfield {
  const r = parseSubfield(text);
  return r.ok ? r.subfield : syntax(r.error);
}

export function subfieldPrefix(text: string): { subfield: Subfield; rest: string } {
  const r = parseSubfieldPrefix(text);
  return r.ok ? r : syntax(r.error);
}

/** `ofs_nbits` of Nicira's actions. */
export const ofsNbits = (sf: Subfield): number => (sf.ofs << 6) | (sf.nBits - 1);

export function subfieldOf(field: Field, bits: number): Subfield {
  return checkSubfield({ field, ofs: bits >> 6, nBits: (bits & 63) + 1 });
}

export function checkSubfield(sf: Subfield): Subfield {
  if (sf.nBits === 0 || sf.ofs + sf.nBits > sf.field.nBits) bad('OFPBAC_BAD_SET_LEN');
  return sf;
}

/** The header of a field, 4 bytes, or 8 for an experimenter's. */
export function putFieldHeader(w: Writer, field: Field, version: number): void {
  const header = encodeFieldHeader(field, version);
  if (!header) throw new Error(`${field.name} has no number on the wire`);
  w.bytes(header);
}

export function getFieldHeader(r: Reader): Field {
  const h = decodeOxmHeader(r.bytes, r.pos, r.end);
  if (!h.ok) bad(h.error === 'OFPBMC_BAD_FIELD' ? 'OFPBAC_BAD_SET_TYPE' : 'OFPBAC_BAD_SET_LEN');
  if (h.hasMask || h.length !== h.field.bytes) bad('OFPBAC_BAD_SET_LEN');
  r.skip(h.size);
  return h.field;
}

export type { Reader };
export { Writer };
