/** VLAN tags, MPLS labels, time to live. `ovs-actions(7)`, "Encapsulation Actions" and "Field Modification Actions" */

import type { Field } from '../../flow/field.ts';
import { F } from '../../flow/fields.ts';
import { encodeOxmEntry } from '../../flow/oxm.ts';
import { bytesOfNumber } from '../../flow/subfield.ts';
import {
  type AnyActionDef,
  bad,
  def,
  nx,
  of,
  parseU8,
  parseU16,
  parseU32,
  putNx,
  putOf,
  syntax,
  type Writer,
  words,
  zeros,
} from './def.ts';
import type { OfpactKind } from './types.ts';

const VLAN_CFI = 0x1000;
const ETH_8021Q = 0x8100;
const ETH_8021AD = 0x88a8;
const isVlanType = (t: number): boolean => t === ETH_8021Q || t === ETH_8021AD;
const isMplsType = (t: number): boolean => t === 0x8847 || t === 0x8848;
const hex4 = (v: number): string => `0x${v.toString(16).padStart(4, '0')}`;

function setOxm(w: Writer, field: Field, value: number, version: number): void {
  putOf(w, 25, () => w.bytes(encodeOxmEntry(field, bytesOfNumber(value, field.bytes), null, version)!));
}

function pushIfAbsent(w: Writer, a: { pushIfNeeded: boolean; flowHasVlan?: boolean }): void {
  if (a.pushIfNeeded && !a.flowHasVlan) putOf(w, 17, () => w.u16(ETH_8021Q).zero(2));
}

const setVlanVid = def({
  kind: 'set_vlan_vid',
  words: ['mod_vlan_vid', 'set_vlan_vid'],
  parse(text, _context, word) {
    const vid = parseU16(text, 'VLAN VID');
    if (vid > 0xfff) syntax(`${text}: not a valid VLAN VID`);
    return { kind: 'set_vlan_vid', vid, pushIfNeeded: word === 'mod_vlan_vid' };
  },
  format: ({ vid, pushIfNeeded }) => `${pushIfNeeded ? 'mod' : 'set'}_vlan_vid:${vid}`,
  encode(w, a, { version }) {
    if (version < 3) {
      if (version === 2) pushIfAbsent(w, a);
      putOf(w, 1, () => w.u16(a.vid).zero(2));
      return;
    }
    pushIfAbsent(w, a);
    setOxm(w, F.vlan_vid, a.vid | VLAN_CFI, version);
  },
  spots: [1, 2].map((v) =>
    of(1, v, v, (r) => {
      const vid = r.u16();
      r.skip(2);
      return vid > 0xfff ? bad('OFPBAC_BAD_ARGUMENT') : { kind: 'set_vlan_vid', vid, pushIfNeeded: v === 1 };
    }),
  ),
});

const setVlanPcp = def({
  kind: 'set_vlan_pcp',
  words: ['mod_vlan_pcp', 'set_vlan_pcp'],
  parse(text, _context, word) {
    const pcp = parseU8(text, 'VLAN PCP');
    if (pcp > 7) syntax(`${text}: not a valid VLAN PCP`);
    return { kind: 'set_vlan_pcp', pcp, pushIfNeeded: word === 'mod_vlan_pcp' };
  },
  format: ({ pcp, pushIfNeeded }) => `${pushIfNeeded ? 'mod' : 'set'}_vlan_pcp:${pcp}`,
  encode(w, a, { version }) {
    if (version < 3) {
      if (version === 2) pushIfAbsent(w, a);
      putOf(w, 2, () => w.u8(a.pcp).zero(3));
      return;
    }
    pushIfAbsent(w, a);
    setOxm(w, F.vlan_pcp, a.pcp, version);
  },
  spots: [1, 2].map((v) =>
    of(2, v, v, (r) => {
      const pcp = r.u8();
      r.skip(3);
      return pcp > 7 ? bad('OFPBAC_BAD_ARGUMENT') : { kind: 'set_vlan_pcp', pcp, pushIfNeeded: v === 1 };
    }),
  ),
});

const stripVlan = def({
  kind: 'strip_vlan',
  words: ['strip_vlan', 'pop_vlan'],
  parse: () => ({ kind: 'strip_vlan' }),
  // Named as the version it came in names it; without one, as OpenFlow 1.0 does.
  format: ({ asPop }) => (asPop ? 'pop_vlan' : 'strip_vlan'),
  encode: (w, _a, { version }) => putOf(w, version === 1 ? 3 : 18, () => w.zero(4)),
  spots: [of(3, 1, 1, () => ({ kind: 'strip_vlan' })), of(18, 2, 6, () => ({ kind: 'strip_vlan', asPop: true }))],
});

const pushVlan = def({
  kind: 'push_vlan',
  words: ['push_vlan'],
  parse(text) {
    const ethertype = parseU16(text, 'ethertype');
    return isVlanType(ethertype) ? { kind: 'push_vlan', ethertype } : syntax(`${text}: not a valid VLAN ethertype`);
  },
  format: ({ ethertype }) => `push_vlan:0x${ethertype.toString(16)}`,
  encode(w, { ethertype }, { version }) {
    // OpenFlow 1.0 pushes as a side effect of the set_vlan that follows.
    if (version > 1) putOf(w, 17, () => w.u16(ethertype).zero(2));
  },
  spots: [
    of(17, 2, 6, (r) => {
      const ethertype = r.u16();
      return isVlanType(ethertype) ? { kind: 'push_vlan', ethertype } : bad('OFPBAC_BAD_ARGUMENT');
    }),
  ],
});

const pushMpls = def({
  kind: 'push_mpls',
  words: ['push_mpls'],
  parse: (text) => ({ kind: 'push_mpls', ethertype: parseU16(text, 'push_mpls') }),
  format: ({ ethertype }) => `push_mpls:${hex4(ethertype)}`,
  encode: (w, { ethertype }, { version }) =>
    version === 1 ? putNx(w, 23, () => w.u16(ethertype).zero(4)) : putOf(w, 19, () => w.u16(ethertype).zero(2)),
  spots: [of(19, 2, 6, (r) => mplsPush(r.u16())), nx(23, (r) => mplsPush(r.u16()))],
});

function mplsPush(ethertype: number): { kind: 'push_mpls'; ethertype: number } {
  return isMplsType(ethertype) ? { kind: 'push_mpls', ethertype } : bad('OFPBAC_BAD_ARGUMENT');
}

const popMpls = def({
  kind: 'pop_mpls',
  words: ['pop_mpls'],
  parse: (text) => ({ kind: 'pop_mpls', ethertype: parseU16(text, 'pop_mpls') }),
  format: ({ ethertype }) => `pop_mpls:${hex4(ethertype)}`,
  encode: (w, { ethertype }, { version }) =>
    version === 1 ? putNx(w, 24, () => w.u16(ethertype).zero(4)) : putOf(w, 20, () => w.u16(ethertype).zero(2)),
  spots: [
    of(20, 2, 6, (r) => ({ kind: 'pop_mpls', ethertype: r.u16() })),
    nx(24, (r) => ({ kind: 'pop_mpls', ethertype: r.u16() })),
  ],
});

const setMplsLabel = def({
  kind: 'set_mpls_label',
  words: ['set_mpls_label'],
  parse(text) {
    if (text === '') syntax('set_mpls_label: expected label.');
    return { kind: 'set_mpls_label', label: parseU32(text) & 0xfffff };
  },
  format: ({ label }) => `set_mpls_label(${label})`,
  encode(w, { label }, { version }) {
    if (version === 1) putNx(w, 30, () => w.zero(2).u32(label));
    else if (version === 2) putOf(w, 13, () => w.u32(label));
    else setOxm(w, F.mpls_label, label, version);
  },
  spots: [
    of(13, 2, 2, (r) => ({ kind: 'set_mpls_label', label: r.u32() & 0xfffff })),
    nx(30, (r) => {
      zeros(r, 2);
      return { kind: 'set_mpls_label', label: r.u32() & 0xfffff };
    }),
  ],
});

const setMplsTc = def({
  kind: 'set_mpls_tc',
  words: ['set_mpls_tc'],
  parse(text) {
    if (text === '') syntax('set_mpls_tc: expected tc.');
    return { kind: 'set_mpls_tc', tc: parseU32(text) & 7 };
  },
  format: ({ tc }) => `set_mpls_tc(${tc})`,
  encode(w, { tc }, { version }) {
    if (version === 1) putNx(w, 31, () => w.u8(tc).zero(5));
    else if (version === 2) putOf(w, 14, () => w.u8(tc).zero(3));
    else setOxm(w, F.mpls_tc, tc, version);
  },
  spots: [
    of(14, 2, 2, (r) => ({ kind: 'set_mpls_tc', tc: r.u8() & 7 })),
    nx(31, (r) => ({ kind: 'set_mpls_tc', tc: r.u8() & 7 })),
  ],
});

const setMplsTtl = def({
  kind: 'set_mpls_ttl',
  words: ['set_mpls_ttl'],
  parse(text) {
    if (text === '') syntax('set_mpls_ttl: expected ttl.');
    return { kind: 'set_mpls_ttl', ttl: parseU32(text) & 0xff };
  },
  format: ({ ttl }) => `set_mpls_ttl(${ttl})`,
  encode: (w, { ttl }, { version }) =>
    version === 1 ? putNx(w, 25, () => w.u8(ttl).zero(5)) : putOf(w, 15, () => w.u8(ttl).zero(3)),
  spots: [
    of(15, 2, 6, (r) => ({ kind: 'set_mpls_ttl', ttl: r.u8() })),
    nx(25, (r) => ({ kind: 'set_mpls_ttl', ttl: r.u8() })),
  ],
});

/** An action without arguments. */
function bare(kind: OfpactKind & ('dec_mpls_ttl' | 'dec_nsh_ttl'), of11: number | null, subtype: number): AnyActionDef {
  return def({
    kind,
    words: [kind],
    parse: () => ({ kind }),
    format: () => kind,
    encode: (w, _a, { version }) =>
      version === 1 || of11 === null ? putNx(w, subtype, () => w.zero(6)) : putOf(w, of11, () => w.zero(4)),
    spots: [
      nx(subtype, () => ({ kind }), of11 === null ? 4 : 1),
      ...(of11 === null ? [] : [of(of11, 2, 6, () => ({ kind }))]),
    ],
  });
}

const decTtl = def({
  kind: 'dec_ttl',
  words: ['dec_ttl'],
  parse(text) {
    const ids = words(text).map((word) => parseU16(word, 'controller id'));
    return { kind: 'dec_ttl', ids: ids.length === 0 ? [0] : ids };
  },
  format: ({ ids }) => (isPlainDecTtl(ids) ? 'dec_ttl' : `dec_ttl(${ids.join(',')})`),
  encode(w, { ids }, { version }) {
    if (!isPlainDecTtl(ids)) {
      putNx(w, 21, () => {
        w.u16(ids.length).zero(4);
        for (const id of ids) w.u16(id);
      });
    } else if (version === 1) putNx(w, 18, () => w.zero(6));
    else putOf(w, 24, () => w.zero(4));
  },
  spots: [
    of(24, 2, 6, () => ({ kind: 'dec_ttl', ids: [0] })),
    nx(18, () => ({ kind: 'dec_ttl', ids: [0] })),
    nx(21, (r) => {
      const n = r.u16();
      zeros(r, 4);
      if (n * 2 > r.left) bad('OFPBAC_BAD_LEN');
      return { kind: 'dec_ttl', ids: Array.from({ length: n }, () => r.u16()) };
    }),
  ],
});

function isPlainDecTtl(ids: readonly number[]): boolean {
  return ids.length === 0 || (ids.length === 1 && ids[0] === 0);
}

export const TAG_ACTIONS: readonly AnyActionDef[] = [
  setVlanVid,
  setVlanPcp,
  stripVlan,
  pushVlan,
  pushMpls,
  popMpls,
  setMplsLabel,
  setMplsTc,
  setMplsTtl,
  bare('dec_mpls_ttl', 16, 26),
  decTtl,
  bare('dec_nsh_ttl', null, 48),
];
