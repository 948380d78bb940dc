/** The pieces that messages share: matches in the form of each version, NXM with cookies, actions, instructions, durations. */
import type { Field, OxmHeader } from '../../flow/field.ts';
import { fieldByHeader } from '../../flow/fields.ts';
import type { Match } from '../../flow/match.ts';
import { decodeMatch, matchEntries } from '../../flow/oxm.ts';
import { decodeActions, decodeInstructions, putActions, putInstructions } from '../actions/index.ts';
import type { Ofpact } from '../actions/types.ts';
import type { Reader, Writer } from '../bytes.ts';
import { OfDecodeError, type OfErrorName } from '../errors.ts';
import { MATCH11_LEN, readMatch11, writeMatch11 } from '../match-old.ts';
import type { FlowModFlags, OfpVersion } from '../messages.ts';

const OFPMT_STANDARD = 0;
const OFPMT_OXM = 1;

/** Padding after `n` bytes to a multiple of 8. */
export const pad8 = (n: number): number => (8 - (n % 8)) % 8;

/** A match with its header and padding, OpenFlow 1.1 and later. */
export function writeMatch(w: Writer, match: Match, version: OfpVersion): void {
  if (version === 2) {
    writeMatch11(w, match);
    return;
  }
  const fields = matchEntries(match, 'oxm', version);
  const length = 4 + fields.length;
  w.u16(OFPMT_OXM).u16(length).bytes(fields).zero(pad8(length));
}

function oxmToMatch(bytes: Uint8Array, loose = false): Match {
  const decoded = decodeMatch(bytes, { loose });
  if (!decoded.ok) throw new OfDecodeError(decoded.error as OfErrorName);
  return decoded.match;
}

export function readMatch(r: Reader, options: { loose?: boolean } = {}): Match {
  if (r.left < 4) r.fail('OFPBMC_BAD_LEN');
  const type = r.u16();
  const length = r.u16();
  if (type === OFPMT_STANDARD) {
    if (length !== MATCH11_LEN || r.left < MATCH11_LEN - 4) r.fail('OFPBMC_BAD_LEN');
    return readMatch11(r.sub(MATCH11_LEN - 4));
  }
  if (type !== OFPMT_OXM) r.fail('OFPBMC_BAD_TYPE');
  const pad = pad8(length);
  if (length < 4 || length - 4 + pad > r.left) r.fail('OFPBMC_BAD_LEN');
  const match = oxmToMatch(r.take(length - 4), options.loose);
  if (r.take(pad).some((b) => b !== 0)) r.fail('OFPBMC_BAD_LEN');
  return match;
}

/** NXM_NX_COOKIE is no field of a packet: it rides in the match of flow_mods and flow statistics requests. */
const NXM_NX_COOKIE = 0x00013c08;
const NXM_NX_COOKIE_W = 0x00013d10;
const ALL_ONES = 0xffffffffffffffffn;

/** Returns the length before padding, which is what length fields hold. */
export function writeNxm(w: Writer, match: Match, cookie = 0n, cookieMask = 0n): number {
  const start = w.len;
  w.bytes(matchEntries(match, 'nxm', 1));
  if (cookieMask === ALL_ONES) w.u32(NXM_NX_COOKIE).u64(cookie);
  else if (cookieMask !== 0n) w.u32(NXM_NX_COOKIE_W).u64(cookie).u64(cookieMask);
  const length = w.len - start;
  w.zero(pad8(length));
  return length;
}

export function readNxm(
  r: Reader,
  length: number,
  loose = false,
): { match: Match; cookie: bigint; cookieMask: bigint } {
  const padded = length + pad8(length);
  if (padded > r.left) r.fail('OFPBMC_BAD_LEN');
  const all = r.sub(padded, 'OFPBMC_BAD_LEN');
  let bytes = all.bytes.subarray(all.pos, all.pos + length);
  let cookie = 0n;
  let cookieMask = 0n;
  for (let at = 0; at + 4 <= bytes.length; at += 4 + bytes[at + 3]) {
    if (bytes[at] !== 0 || bytes[at + 1] !== 1 || bytes[at + 2] >> 1 !== ((NXM_NX_COOKIE >> 9) & 0x7f)) continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const masked = (bytes[at + 2] & 1) !== 0;
    const size = masked ? 16 : 8;
    if (bytes[at + 3] !== size || at + 4 + size > bytes.length) r.fail('OFPBMC_BAD_LEN');
    if (cookieMask !== 0n) r.fail('OFPBMC_DUP_FIELD');
    cookie = view.getBigUint64(at + 4);
    cookieMask = masked ? view.getBigUint64(at + 12) : ALL_ONES;
    const without = new Uint8Array(bytes.length - 4 - size);
    without.set(bytes.subarray(0, at));
    without.set(bytes.subarray(at + 4 + size), at);
    bytes = without;
    break;
  }
  return { match: oxmToMatch(bytes, loose), cookie, cookieMask };
}

export function writeActions(w: Writer, actions: readonly Ofpact[], version: OfpVersion): void {
  putActions(w, version, actions);
}
export function readActions(r: Reader, version: OfpVersion): readonly Ofpact[] {
  const decoded = decodeActions(r.rest(), version);
  if (!decoded.ok) throw new OfDecodeError(decoded.error as OfErrorName);
  return decoded.actions;
}
/** OpenFlow 1.0 has actions where later versions have instructions. */
/** What lists of actions are on the wire: flows of a dump share lists. */
const encoded: readonly WeakMap<readonly Ofpact[], Uint8Array>[] = Array.from({ length: 7 }, () => new WeakMap());

export function writeInstructions(w: Writer, actions: readonly Ofpact[], version: OfpVersion): void {
  const known = encoded[version].get(actions);
  if (known) {
    w.bytes(known);
    return;
  }
  const start = w.len;
  if (version === 1) putActions(w, version, actions);
  else putInstructions(w, version, actions);
  encoded[version].set(actions, w.buf.slice(start, w.len));
}
export function readInstructions(r: Reader, version: OfpVersion): readonly Ofpact[] {
  if (version === 1) return readActions(r, version);
  const decoded = decodeInstructions(r.rest(), version);
  if (!decoded.ok) throw new OfDecodeError(decoded.error as OfErrorName);
  return decoded.actions;
}

const FF = { sendFlowRem: 1, checkOverlap: 2, resetCounts: 4, noPacketCounts: 8, noByteCounts: 16 } as const;
const FF_EMERG = 4;

export function flagsToWire(flags: FlowModFlags, version: OfpVersion): number {
  let wire = 0;
  if (flags.sendFlowRem) wire |= FF.sendFlowRem;
  if (flags.checkOverlap) wire |= FF.checkOverlap;
  if (flags.resetCounts && version >= 3) wire |= FF.resetCounts;
  if (flags.noPacketCounts && version >= 4) wire |= FF.noPacketCounts;
  if (flags.noByteCounts && version >= 4) wire |= FF.noByteCounts;
  return wire;
}

/** By wire value: rules keep these, so that equal ones are one. */
const FLAG_SETS: readonly FlowModFlags[] = Array.from({ length: 32 }, (_, wire) => ({
  sendFlowRem: (wire & FF.sendFlowRem) !== 0,
  checkOverlap: (wire & FF.checkOverlap) !== 0,
  resetCounts: (wire & FF.resetCounts) !== 0,
  noPacketCounts: (wire & FF.noPacketCounts) !== 0,
  noByteCounts: (wire & FF.noByteCounts) !== 0,
}));

export function flagsFromWire(wire: number, version: OfpVersion): FlowModFlags {
  const allowed = version <= 2 ? 3 : version === 3 ? 7 : 31;
  if (version === 1 && wire & FF_EMERG) throw new OfDecodeError('OFPFMFC_TABLE_FULL');
  if (wire & ~allowed) throw new OfDecodeError('OFPFMFC_BAD_FLAGS');
  // Before OpenFlow 1.2 every flow_mod resets counters.
  return FLAG_SETS[version <= 2 ? wire | FF.resetCounts : wire];
}

/** One field and its value out of a list that need not be a match. */
export function readFieldValue(r: Reader): { field: Field | null; value: Uint8Array } {
  const oxmClass = r.u16();
  const number = r.u8();
  const length = r.u8();
  let left = length;
  let experimenter: number | undefined;
  if (oxmClass === 0xffff) {
    experimenter = r.u32();
    left -= 4;
  }
  return { field: fieldByHeader(oxmClass, number >> 1, experimenter) ?? null, value: r.copy(left) };
}

const HEADERS = new Map<number, OxmHeader>();

function headerFor(field: Field, version: OfpVersion): OxmHeader {
  const key = field.index * 8 + version;
  let header = HEADERS.get(key);
  if (header === undefined) {
    const usable = field.headers.filter((h) => h.since <= Math.max(version, 1));
    header = usable.find((h) => h.class === 0x8000) ?? usable[0] ?? field.headers[0];
    HEADERS.set(key, header);
  }
  return header;
}

/** The header of a field in the newest number it has for `version`. */
export function writeFieldHeader(
  w: Writer,
  field: Field,
  version: OfpVersion,
  valueBytes = field.bytes,
  masked = false,
): void {
  const header = headerFor(field, version);
  const extra = header.experimenter === undefined ? 0 : 4;
  w.u16(header.class)
    .u8((header.field << 1) | (masked ? 1 : 0))
    .u8(valueBytes + extra);
  if (header.experimenter !== undefined) w.u32(header.experimenter);
}
