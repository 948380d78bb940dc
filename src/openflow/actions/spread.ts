/** Choosing among links by a hash: `bundle`, `bundle_load`, `multipath`. `ovs-actions(7)` */
import { formatPort, parsePort } from '../../flow/names.ts';
import { formatSubfield } from '../../flow/subfield.ts';
import {
  type AnyActionDef,
  bad,
  def,
  getFieldHeader,
  nx,
  ofsNbits,
  parseNumber,
  putFieldHeader,
  putNx,
  type Reader,
  subfield,
  subfieldOf,
  syntax,
  zeros,
} from './def.ts';
import type { Ofpact, OfpactOf } from './types.ts';

/** `NX_HASH_FIELDS_*` in the order of their numbers. */
export const HASH_FIELDS = [
  'eth_src',
  'symmetric_l4',
  'symmetric_l3l4',
  'symmetric_l3l4+udp',
  'nw_src',
  'nw_dst',
  'symmetric_l3',
] as const;
const MULTIPATH_ALGORITHMS = ['modulo_n', 'hash_threshold', 'hrw', 'iter_hash'] as const;
const BUNDLE_ALGORITHMS = ['active_backup', 'hrw'] as const;
/** NXM_OF_IN_PORT: the only kind of member there is. */
const NXM_OF_IN_PORT = 0x00000002;
const MAX_MEMBERS = 2048;

function hashFields(text: string, whole: string): string {
  if (!(HASH_FIELDS as readonly string[]).includes(text)) syntax(`${whole}: unknown fields \`${text}'`);
  return text;
}

function fieldsOf(number: number): string {
  return HASH_FIELDS[number] ?? bad('OFPBAC_BAD_ARGUMENT');
}

const integer = (text: string): number => Number(BigInt.asIntN(32, parseNumber(text) ?? 0n));

const multipath = def({
  kind: 'multipath',
  words: ['multipath'],
  parse(text) {
    const parts = text.split(/[, ]+/);
    if (parts.length < 6 || parts[5] === '') syntax(`${text}: not enough arguments to multipath action`);
    const [fields, basis, name, links, arg, dstText] = parts;
    hashFields(fields, text);
    const algorithm = MULTIPATH_ALGORITHMS.find((a) => a === name) ?? syntax(`${text}: unknown algorithm \`${name}'`);
    const nLinks = integer(links);
    if (nLinks < 1 || nLinks > 65536) syntax(`${text}: n_links ${nLinks} is not in valid range 1 to 65536`);
    const dst = subfield(dstText);
    if (dst.nBits < 16 && nLinks > 1 << dst.nBits) {
      syntax(
        `${text}: ${dst.nBits}-bit destination field has ${1 << dst.nBits} possible values, less than specified n_links ${nLinks}`,
      );
    }
    return {
      kind: 'multipath',
      fields,
      basis: integer(basis) & 0xffff,
      algorithm,
      nLinks,
      arg: integer(arg) >>> 0,
      dst,
    };
  },
  format: (a) => `multipath(${a.fields},${a.basis},${a.algorithm},${a.nLinks},${a.arg},${formatSubfield(a.dst)})`,
  encode: (w, a) =>
    putNx(w, 10, () => {
      w.u16(HASH_FIELDS.indexOf(a.fields as (typeof HASH_FIELDS)[number]));
      w.u16(a.basis).zero(2);
      w.u16(MULTIPATH_ALGORITHMS.indexOf(a.algorithm))
        .u16(a.nLinks - 1)
        .u32(a.arg)
        .zero(2)
        .u16(ofsNbits(a.dst));
      putFieldHeader(w, a.dst.field, 0);
    }),
  spots: [
    nx(10, (r) => {
      const fields = fieldsOf(r.u16());
      const basis = r.u16();
      r.skip(2);
      const algorithm = MULTIPATH_ALGORITHMS[r.u16()] ?? bad('OFPBAC_BAD_ARGUMENT');
      const nLinks = r.u16() + 1;
      const arg = r.u32();
      r.skip(2);
      const bits = r.u16();
      const dst = subfieldOf(getFieldHeader(r), bits);
      if (dst.nBits < 16 && nLinks > 1 << dst.nBits) bad('OFPBAC_BAD_ARGUMENT');
      if (!dst.field.writable) bad('OFPBAC_BAD_SET_ARGUMENT');
      return { kind: 'multipath', fields, basis, algorithm, nLinks, arg, dst };
    }),
  ],
});

function parseBundle(text: string, load: boolean, port: (t: string) => number): Ofpact {
  const what = load ? 'bundle_load' : 'bundle';
  const parts = text.split(/[, ]+/);
  const [fields, basis, name, memberType] = parts;
  const dstText = load ? parts[4] : null;
  const rest = parts.slice(load ? 5 : 4);
  const opening = /^(members|slaves):?(.*)$/.exec(rest[0] ?? '');
  if (rest.length === 0) syntax(`${text}: not enough arguments to ${what} action`);
  if (!opening) syntax(`${text}: missing member delimiter, expected \`members', got \`${rest[0]}'`);
  hashFields(fields, text);
  const algorithm = BUNDLE_ALGORITHMS.find((a) => a === name) ?? syntax(`${text}: unknown algorithm \`${name}'`);
  if (memberType !== 'ofport') syntax(`${text}: unknown member_type \`${memberType}'`);
  const names = [opening[2], ...rest.slice(1)].filter((m) => m !== '');
  const members = names.map((m) => {
    const p = port(m);
    return p < 0 ? syntax(`${m}: bad port number`) : p;
  });
  if (members.length > MAX_MEMBERS) syntax(`${text}: too many members`);
  return {
    kind: 'bundle',
    fields,
    basis: integer(basis) & 0xffff,
    algorithm,
    members,
    dst: dstText ? subfield(dstText) : null,
  };
}

function readBundle(r: Reader, load: boolean): OfpactOf<'bundle'> {
  const algorithm = BUNDLE_ALGORITHMS[r.u16()] ?? bad('OFPBAC_BAD_ARGUMENT');
  const fields = fieldsOf(r.u16());
  const basis = r.u16();
  if (r.u32() !== NXM_OF_IN_PORT) bad('OFPBAC_BAD_ARGUMENT');
  const n = r.u16();
  const bits = r.u16();
  let dst = null;
  if (load) dst = subfieldOf(getFieldHeader(r), bits);
  else {
    r.skip(4);
    if (bits !== 0) bad('OFPBAC_BAD_ARGUMENT');
  }
  zeros(r, 4);
  if (n > MAX_MEMBERS) bad('OFPBAC_BAD_ARGUMENT');
  if (n * 2 > r.left) bad('OFPBAC_BAD_LEN');
  const members = Array.from({ length: n }, () => r.u16());
  return { kind: 'bundle', fields, basis, algorithm, members, dst };
}

const bundle = def({
  kind: 'bundle',
  words: ['bundle', 'bundle_load'],
  parse: (text, { names, warn }, word) => parseBundle(text, word === 'bundle_load', (t) => parsePort(t, names, warn)),
  format(a, names) {
    const members = a.members.map((m) => formatPort(m, names)).join(',');
    const dst = a.dst ? `${formatSubfield(a.dst)},` : '';
    return `${a.dst ? 'bundle_load' : 'bundle'}(${a.fields},${a.basis},${a.algorithm},ofport,${dst}members:${members})`;
  },
  encode: (w, a) =>
    putNx(w, a.dst ? 13 : 12, () => {
      w.u16(BUNDLE_ALGORITHMS.indexOf(a.algorithm));
      w.u16(HASH_FIELDS.indexOf(a.fields as (typeof HASH_FIELDS)[number]));
      w.u16(a.basis).u32(NXM_OF_IN_PORT).u16(a.members.length);
      if (a.dst) {
        w.u16(ofsNbits(a.dst));
        putFieldHeader(w, a.dst.field, 0);
      } else w.zero(6);
      w.zero(4);
      for (const m of a.members) w.u16(m);
    }),
  spots: [nx(12, (r) => readBundle(r, false)), nx(13, (r) => readBundle(r, true))],
});

export const SPREAD_ACTIONS: readonly AnyActionDef[] = [multipath, bundle];
