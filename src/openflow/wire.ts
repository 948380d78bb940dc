/**
 * OpenFlow messages: bytes ↔ values, every version.
 *
 * `decodeMessage` takes bytes from an enemy: it returns a message or the name of the error a switch answers, and never
 * throws. `encodeMessage` returns one or, for a long multipart reply, several whole messages back to back; each is below
 * 64 kB and all but the last say that more follow.
 */
import { Reader, Writer } from './bytes.ts';
import type { Codec, Spot, SpotKind, WireContext, WireOptions } from './codec.ts';
import { NX_VENDOR_ID, OfDecodeError, type OfErrorName, ONF_VENDOR_ID } from './errors.ts';
import type { OfMessage, OfMessageType, OfpVersion } from './messages.ts';
import { CODECS } from './msgs/index.ts';

export const OFP_HEADER_LEN = 8;

export type Decoded =
  | {
      readonly ok: true;
      readonly version: OfpVersion;
      readonly xid: number;
      readonly message: OfMessage;
      readonly spot: Spot;
    }
  | {
      readonly ok: false;
      readonly version: number;
      readonly xid: number;
      readonly error: OfErrorName;
      /** What an error message carries back: the request's first bytes. */
      readonly data: Uint8Array;
      /** Null when not even the kind of message is known. */
      readonly spot: Spot | null;
    };

const HEADER_BYTES: Record<SpotKind, (version: number) => number> = {
  of: () => 8,
  req: (v) => (v === 1 ? 12 : 16),
  rep: (v) => (v === 1 ? 12 : 16),
  nx: () => 16,
  onf: () => 16,
  nxreq: () => 24,
  nxrep: () => 24,
  onfreq: () => 24,
  onfrep: () => 24,
};

/** Experimenter, statistics request and statistics reply have had different types. */
const OFPT_VENDOR = 4;
const statsTypes = (version: number): readonly [number, number] => (version === 1 ? [16, 17] : [18, 19]);

const decoders = new Map<string, { codec: Codec; spot: Spot }>();
const encoders = new Map<OfMessageType, Codec[]>();
for (const c of CODECS) {
  for (const s of c.spots)
    for (let v = s.first; v <= s.last; v++) decoders.set(`${v}${s.kind}${s.number}`, { codec: c, spot: s });
  const list = encoders.get(c.type);
  if (list) list.push(c);
  else encoders.set(c.type, [c]);
}

const VERSIONS_KNOWN = 6;

const nest = (version: OfpVersion, options: WireOptions): WireContext['nest'] => ({
  encode: (xid, message) => encodeMessage(version, xid, message, options),
  decode: (bytes) => {
    if (bytes.length < OFP_HEADER_LEN) throw new OfDecodeError('OFPBFC_MSG_BAD_LEN');
    // Only what a bundle may hold can be inside, so nesting ends here.
    if (bytes[0] !== version) throw new OfDecodeError('OFPBRC_BAD_VERSION');
    if (NESTED_TYPES.has(bytes[1]) === false) throw new OfDecodeError('OFPBFC_MSG_UNSUP');
    const decoded = decodeMessage(bytes, options);
    if (!decoded.ok) throw new OfDecodeError(decoded.error);
    return decoded;
  },
});
/** packet_out, flow_mod, group_mod, port_mod, meter_mod. */
const NESTED_TYPES: ReadonlySet<number> = new Set([13, 14, 15, 16, 29]);

function locate(r: Reader, version: number, type: number): { kind: SpotKind; number: number; more: boolean } {
  const [request, reply] = statsTypes(version);
  if (type === OFPT_VENDOR) {
    const vendor = r.u32();
    if (vendor !== NX_VENDOR_ID && vendor !== ONF_VENDOR_ID) r.fail('OFPBRC_BAD_VENDOR');
    return { kind: vendor === NX_VENDOR_ID ? 'nx' : 'onf', number: r.u32(), more: false };
  }
  if (type !== request && type !== reply) return { kind: 'of', number: type, more: false };
  const dir = type === request ? 'req' : 'rep';
  const number = r.u16();
  const more = (r.u16() & 1) !== 0;
  if (version > 1) r.skip(4);
  if (number !== 0xffff) return { kind: dir, number, more };
  const vendor = r.u32();
  if (vendor !== NX_VENDOR_ID && vendor !== ONF_VENDOR_ID) r.fail('OFPBRC_BAD_VENDOR');
  const subtype = r.u32();
  if (version === 1) r.skip(4);
  return { kind: `${vendor === NX_VENDOR_ID ? 'nx' : 'onf'}${dir}`, number: subtype, more };
}

const UNKNOWN_ERROR: Record<SpotKind, OfErrorName> = {
  of: 'OFPBRC_BAD_TYPE',
  req: 'OFPBRC_BAD_STAT',
  rep: 'OFPBRC_BAD_STAT',
  nx: 'OFPBRC_BAD_SUBTYPE',
  onf: 'OFPBRC_BAD_SUBTYPE',
  nxreq: 'OFPBRC_BAD_SUBTYPE',
  nxrep: 'OFPBRC_BAD_SUBTYPE',
  onfreq: 'OFPBRC_BAD_SUBTYPE',
  onfrep: 'OFPBRC_BAD_SUBTYPE',
};

/** `bytes` is one whole message as framed by its length field. */
export function decodeMessage(bytes: Uint8Array, options: WireOptions = {}): Decoded {
  let version = 0;
  let xid = 0;
  let spot: Spot | null = null;
  try {
    const whole = new Reader(bytes);
    version = whole.u8();
    const type = whole.u8();
    const length = whole.u16();
    xid = whole.u32();
    if (length < OFP_HEADER_LEN || length > bytes.length) whole.fail('OFPBRC_BAD_LEN');
    // A hello or an error may come in a version we do not speak: what they say holds for every version.
    const readAs = type <= 1 ? Math.min(Math.max(version, 1), VERSIONS_KNOWN) : version;
    if (readAs < 1 || readAs > VERSIONS_KNOWN) whole.fail('OFPBRC_BAD_TYPE');
    const r = new Reader(bytes, OFP_HEADER_LEN, length);
    const { kind, number, more } = locate(r, version, type);
    const found = decoders.get(`${readAs}${kind}${number}`);
    if (found === undefined) throw new OfDecodeError(UNKNOWN_ERROR[kind]);
    if (found.spot.exact !== undefined && found.spot.exact !== length) r.fail('OFPBRC_BAD_LEN');
    spot = found.spot;
    const message = found.codec.decode(r, {
      version: readAs as OfpVersion,
      spot,
      options,
      more,
      nest: nest(readAs as OfpVersion, options),
    });
    return { ok: true, version: version as OfpVersion, xid, message, spot };
  } catch (error) {
    if (!(error instanceof OfDecodeError)) throw error;
    return { ok: false, version, xid, error: error.code, data: bytes, spot };
  }
}

/** A message has no form in the version that it was to be sent in. */
export class OfEncodeError extends Error {}

function choose(version: OfpVersion, message: OfMessage, options: WireOptions): { codec: Codec; spot: Spot } {
  for (const c of encoders.get(message.type) ?? []) {
    if (c.when !== undefined && !c.when(message, version, options)) continue;
    for (const s of c.spots) if (version >= s.first && version <= s.last) return { codec: c, spot: s };
  }
  throw new OfEncodeError(`${message.type} cannot be expressed in OpenFlow wire version ${version}`);
}

/** Where `message` stands on the wire of `version`; null when it has no place there. */
export function spotFor(version: OfpVersion, message: OfMessage, options: WireOptions = {}): Spot | null {
  return canEncode(version, message, options) ? choose(version, message, options).spot : null;
}

/** Is there a way to say this in `version`? */
export function canEncode(version: OfpVersion, message: OfMessage, options: WireOptions = {}): boolean {
  return (encoders.get(message.type) ?? []).some(
    (c) =>
      (c.when === undefined || c.when(message, version, options)) &&
      c.spots.some((s) => version >= s.first && version <= s.last),
  );
}

/** Throws when the version has no such message: the caller must know what its peer speaks. */
export function encodeMessage(
  version: OfpVersion,
  xid: number,
  message: OfMessage,
  options: WireOptions = {},
): Uint8Array {
  const { codec, spot } = choose(version, message, options);
  const [request, reply] = statsTypes(version);
  const kind = spot.kind;
  const isReply = kind.endsWith('rep');
  const isStats = isReply || kind.endsWith('req');
  const w = new Writer(64);
  w.u8(version)
    .u8(isStats ? (isReply ? reply : request) : kind === 'of' ? spot.number : OFPT_VENDOR)
    .u16(0)
    .u32(xid >>> 0);
  const vendor = kind.startsWith('nx') ? NX_VENDOR_ID : kind.startsWith('onf') ? ONF_VENDOR_ID : 0;
  if (isStats) {
    w.u16(vendor === 0 ? spot.number : 0xffff).u16(0);
    if (version > 1) w.zero(4);
    if (vendor !== 0) {
      w.u32(vendor).u32(spot.number);
      if (version === 1) w.zero(4);
    }
    w.partHeader = HEADER_BYTES[kind](version);
  } else if (vendor !== 0) {
    w.u32(vendor).u32(spot.number);
  }
  const more = 'more' in message && message.more === true;
  codec.encode(w, message, { version, spot, options, more, nest: nest(version, options) });
  const bytes = w.finish();
  let start = 0;
  for (const end of [...w.partEnds, bytes.length]) {
    const length = end - start;
    if (length > 0xffff) throw new OfEncodeError(`${message.type} is longer than an OpenFlow message can be`);
    bytes[start + 2] = length >>> 8;
    bytes[start + 3] = length & 0xff;
    if (isStats && (end < bytes.length || more)) bytes[start + 11] = 1;
    start = end;
  }
  return bytes;
}
