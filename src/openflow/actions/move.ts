/** Copying between fields and the stack: `move`, `push`, `pop`, `delete_field`, `check_pkt_larger`. `ovs-actions(7)` */
import { fieldByName } from '../../flow/fields.ts';
import { formatSubfield } from '../../flow/subfield.ts';
import {
  type AnyActionDef,
  bad,
  checkSubfield,
  def,
  getFieldHeader,
  nx,
  of,
  parseU16,
  putFieldHeader,
  putNx,
  putOf,
  type Reader,
  subfield,
  subfieldPrefix,
  syntax,
  zeros,
} from './def.ts';
import type { Ofpact } from './types.ts';

function checkMove(a: Extract<Ofpact, { kind: 'reg_move' }>): Ofpact {
  checkSubfield(a.src);
  checkSubfield(a.dst);
  return a.dst.field.writable ? a : bad('OFPBAC_BAD_SET_ARGUMENT');
}

function readMove(r: Reader): Ofpact {
  const nBits = r.u16();
  const from = r.u16();
  const to = r.u16();
  return readMoveFields(r, nBits, from, to);
}

function readMoveFields(r: Reader, nBits: number, from: number, to: number): Ofpact {
  const src = { field: getFieldHeader(r), ofs: from, nBits };
  const dst = { field: getFieldHeader(r), ofs: to, nBits };
  zeros(r, r.left);
  return checkMove({ kind: 'reg_move', src, dst });
}

const move = def({
  kind: 'reg_move',
  words: ['move'],
  parse(text) {
    const { subfield: src, rest } = subfieldPrefix(text);
    if (!rest.startsWith('->')) syntax(`${text}: missing \`->' following source`);
    const dst = subfield(rest.slice(2));
    if (src.nBits !== dst.nBits) {
      syntax(`${text}: source field is ${src.nBits} bits wide but destination is ${dst.nBits} bits wide`);
    }
    return { kind: 'reg_move', src, dst };
  },
  format: ({ src, dst }) => `move:${formatSubfield(src)}->${formatSubfield(dst)}`,
  encode(w, { src, dst }, { version }) {
    const body = (pad: number): void => {
      w.u16(src.nBits).u16(src.ofs).u16(dst.ofs).zero(pad);
      putFieldHeader(w, src.field, version >= 6 ? version : 0);
      putFieldHeader(w, dst.field, version >= 6 ? version : 0);
    };
    if (version >= 6) putOf(w, 28, () => body(2));
    else putNx(w, 6, () => body(0));
  },
  spots: [
    nx(6, readMove),
    of(28, 6, 6, (r) => {
      const nBits = r.u16();
      const from = r.u16();
      const to = r.u16();
      zeros(r, 2);
      return readMoveFields(r, nBits, from, to);
    }),
  ],
});

function stack(kind: 'stack_push' | 'stack_pop', word: 'push' | 'pop', subtype: number): AnyActionDef {
  return def({
    kind,
    words: [word],
    parse(text) {
      const sf = subfield(text);
      if (kind === 'stack_pop' && !sf.field.writable) syntax(`${sf.field.name} is read-only`);
      return { kind, subfield: sf };
    },
    format: (a) => `${word}:${formatSubfield(a.subfield)}`,
    encode: (w, a) =>
      putNx(w, subtype, () => {
        w.u16(a.subfield.ofs);
        putFieldHeader(w, a.subfield.field, 0);
        w.u16(a.subfield.nBits);
      }),
    spots: [
      nx(subtype, (r) => {
        const ofs = r.u16();
        const field = getFieldHeader(r);
        const nBits = r.u16();
        zeros(r, r.left);
        return { kind, subfield: checkSubfield({ field, ofs, nBits }) };
      }),
    ],
  });
}

const deleteField = def({
  kind: 'delete_field',
  words: ['delete_field'],
  parse(text) {
    const field = fieldByName(text) ?? syntax(`unknown field \`${text}'`);
    if (!field.name.startsWith('tun_metadata')) syntax(`${field.name} cannot be deleted`);
    return { kind: 'delete_field', field };
  },
  format: ({ field }) => `delete_field:${field.name}`,
  encode: (w, { field }) =>
    putNx(w, 50, () => {
      // The field's number with its longest length.
      const header = field.headers[0];
      w.u16(header.class)
        .u8(header.field << 1)
        .u8(124)
        .zero(10);
    }),
  spots: [
    nx(50, (r) => {
      const cls = r.u16();
      const number = r.u8() >> 1;
      r.u8();
      zeros(r, r.left);
      for (let i = 0; i < 64; i++) {
        const field = fieldByName(`tun_metadata${i}`);
        if (field?.headers.some((h) => h.class === cls && h.field === number)) return { kind: 'delete_field', field };
      }
      return bad('OFPBAC_BAD_SET_TYPE');
    }),
  ],
});

const checkPktLarger = def({
  kind: 'check_pkt_larger',
  words: ['check_pkt_larger'],
  parse(text) {
    const arrow = text.indexOf('->');
    if (arrow < 0) syntax(`${text}: missing \`->' following check_pkt_larger`);
    const dst = subfield(text.slice(arrow + 2));
    if (dst.nBits !== 1) syntax(`Only 1-bit destination field is allowed`);
    if (!dst.field.writable) syntax(`${dst.field.name} is read-only`);
    return { kind: 'check_pkt_larger', pktLen: parseU16(text.slice(0, arrow), 'packet length'), dst };
  },
  format: ({ pktLen, dst }) => `check_pkt_larger(${pktLen})->${formatSubfield(dst)}`,
  encode: (w, { pktLen, dst }) =>
    putNx(w, 49, () => {
      w.u16(pktLen).u16(dst.ofs);
      putFieldHeader(w, dst.field, 0);
    }),
  spots: [
    nx(49, (r) => {
      const pktLen = r.u16();
      const ofs = r.u16();
      const field = getFieldHeader(r);
      zeros(r, r.left);
      return { kind: 'check_pkt_larger', pktLen, dst: checkSubfield({ field, ofs, nBits: 1 }) };
    }),
  ],
});

export const MOVE_ACTIONS: readonly AnyActionDef[] = [
  move,
  stack('stack_push', 'push', 27),
  stack('stack_pop', 'pop', 28),
  deleteField,
  checkPktLarger,
];
