/**
 * What is known of the packets that a list of actions is working on: the bits that the match fixes, changed by the actions
 * so far. A bit is known or not; nothing is known of two bits together.
 */
import type { Field, Subfield } from '../../flow/field.ts';
import { F } from '../../flow/fields.ts';
import { FlowKey, type FlowMask } from '../../flow/key.ts';
import { FLOW_WORDS, OFS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';
import { getBits, setBits, setField, setFieldMask, wholeField } from '../../flow/subfield.ts';
import type { Ofpact, OfpactOf } from '../actions/types.ts';

/** Bits that an action writes, and what with. */
export interface Write {
  readonly key: FlowKey;
  readonly mask: FlowMask;
}

const VLAN_FIELDS: ReadonlySet<Field> = new Set([F.vlan_tci, F.vlan_vid, F.dl_vlan, F.vlan_pcp, F.dl_vlan_pcp]);

/** Null for actions that write no constant, and for VLAN tags, which may come into being by it. */
export function constantWrite(a: Ofpact): Write | null {
  const key = new FlowKey();
  const mask = new FlowKey();
  if (a.kind === 'set_field') {
    if (VLAN_FIELDS.has(a.field)) return null;
    setFieldMask(mask, a.field, a.mask);
    setField(key, a.field, a.value);
  } else if (a.kind === 'write_metadata') {
    mask.set64(OFS.metadata, a.mask);
    key.set64(OFS.metadata, a.metadata);
  } else return null;
  for (let w = 0; w < FLOW_WORDS; w++) key.w[w] &= mask.w[w];
  return { key, mask };
}

/** The tag that an action writes: its bits and their values, and whether packets without a tag get one; null depends. */
interface TagWrite {
  readonly bits: number;
  readonly value: number;
  readonly pushes: boolean | null;
}

export function vlanWrite(a: Ofpact): TagWrite | null {
  if (a.kind === 'set_vlan_vid') return { bits: 0x0fff, value: a.vid, pushes: a.pushIfNeeded };
  if (a.kind === 'set_vlan_pcp') return { bits: 0xe000, value: a.pcp << 13, pushes: a.pushIfNeeded };
  if (a.kind !== 'set_field' || !VLAN_FIELDS.has(a.field) || a.mask !== null) return null;
  const key = new FlowKey();
  setField(key, a.field, a.value);
  const bits = a.field === F.vlan_tci ? 0xffff : a.field === F.vlan_pcp || a.field === F.dl_vlan_pcp ? 0xe000 : 0x0fff;
  return { bits, value: key.get16(OFS.vlan_tci) & bits, pushes: null };
}

/** Is every bit of the write known to be as it is written? */
export function isKnownAs(known: Match, write: Write): boolean {
  for (let w = 0; w < FLOW_WORDS; w++) {
    const bits = write.mask.w[w];
    if ((bits & ~known.mask.w[w]) !== 0 || ((known.key.w[w] ^ write.key.w[w]) & bits) !== 0) return false;
  }
  return true;
}

const PRESENT = 0x1000;

/** Goes on with what is known behind `a`; `touched` gathers the bits that are no longer those of the packet that came. */
export function pass(known: Match, a: Ofpact, touched?: FlowMask): void {
  const write = constantWrite(a);
  if (write !== null) {
    for (let w = 0; w < FLOW_WORDS; w++) {
      const bits = write.mask.w[w];
      known.key.w[w] = (known.key.w[w] & ~bits) | write.key.w[w];
      known.mask.w[w] |= bits;
      if (touched) touched.w[w] |= bits;
    }
    return;
  }
  const tag = vlanWrite(a);
  if (tag !== null) return putTag(known, tag, touched);
  switch (a.kind) {
    case 'reg_move':
      return move(known, a, touched);
    case 'set_field':
      return forgetField(known, a.field, touched);
    case 'push_vlan':
    case 'strip_vlan':
      return forget(known, OFS.vlan_tci & ~3, 4, touched, [OFS.vlan2_tci & ~3, 4]);
    case 'dec_ttl':
      return forgetField(known, F.nw_ttl, touched);
    case 'stack_pop':
      return forgetField(known, a.subfield.field, touched);
    case 'multipath':
    case 'check_pkt_larger':
      return forgetField(known, a.dst.field, touched);
    case 'bundle':
      return a.dst === null ? undefined : forgetField(known, a.dst.field, touched);
    case 'delete_field':
      return forgetField(known, a.field, touched);
    case 'ct':
    case 'ct_clear':
      for (const f of [F.ct_state, F.ct_zone, F.ct_mark, F.ct_label]) forgetField(known, f, touched);
      return;
    case 'controller':
      return a.pause ? forget(known, 0, 4 * FLOW_WORDS, touched) : undefined;
    // What a resubmitted packet has become remains; other headers are other bits altogether.
    case 'resubmit':
    case 'push_mpls':
    case 'pop_mpls':
    case 'set_mpls_label':
    case 'set_mpls_tc':
    case 'set_mpls_ttl':
    case 'dec_mpls_ttl':
    case 'dec_nsh_ttl':
    case 'encap':
    case 'decap':
      return forget(known, 0, 4 * FLOW_WORDS, touched);
    default:
      return;
  }
}

function putTag(known: Match, { bits, value, pushes }: TagWrite, touched?: FlowMask): void {
  const hadTag = (known.mask.get16(OFS.vlan_tci) & known.key.get16(OFS.vlan_tci) & PRESENT) !== 0;
  if (!hadTag) {
    forget(known, OFS.vlan_tci & ~3, 4, touched);
    if (pushes !== true) return;
  }
  known.key.set16(OFS.vlan_tci, (known.key.get16(OFS.vlan_tci) & ~bits) | value | PRESENT);
  known.mask.set16(OFS.vlan_tci, known.mask.get16(OFS.vlan_tci) | bits | PRESENT);
  touched?.set16(OFS.vlan_tci, 0xffff);
}

/** Whole when all that is moved is known, else nothing is known of where it goes. */
function move(known: Match, a: OfpactOf<'reg_move'>, touched?: FlowMask): void {
  const isKnown = getBits(known.mask, a.src) === (1n << BigInt(a.src.nBits)) - 1n;
  const value = getBits(known.key, a.src);
  const before = getBits(known.mask, wholeField(a.dst.field));
  forgetField(known, a.dst.field, touched);
  if (!isKnown || VLAN_FIELDS.has(a.dst.field)) return;
  // A part of a field that was not known as a whole stays unknown around it.
  if (a.dst.nBits !== a.dst.field.nBits && before !== 0n) return;
  setBits(known.key, a.dst, value);
  setBits(known.mask, a.dst, (1n << BigInt(a.dst.nBits)) - 1n);
}

function forgetField(known: Match, field: Field, touched?: FlowMask): void {
  const mask = new FlowKey();
  setFieldMask(mask, field);
  for (let w = 0; w < FLOW_WORDS; w++) {
    known.key.w[w] &= ~mask.w[w];
    known.mask.w[w] &= ~mask.w[w];
    if (touched) touched.w[w] |= mask.w[w];
  }
}

function forget(
  known: Match,
  ofs: number,
  bytes: number,
  touched?: FlowMask,
  ...more: readonly (readonly [ofs: number, bytes: number])[]
): void {
  for (const [at, length] of [[ofs, bytes] as const, ...more])
    for (let w = at >> 2; w < (at + length) >> 2; w++) {
      known.key.w[w] = 0;
      known.mask.w[w] = 0;
      if (touched) touched.w[w] = -1;
    }
}

export const sameSubfield = (a: Subfield, b: Subfield): boolean =>
  a.field === b.field && a.ofs === b.ofs && a.nBits === b.nBits;
