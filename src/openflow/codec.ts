/**
 * What one message codec looks like, and where messages stand on the wire.
 *
 * A message *spot* is a kind of header, a number in it and the versions that use it. One message may have several
 * spots (a flow_mod is OFPT_FLOW_MOD or NXT_FLOW_MOD); a codec with `when` writes only the messages it says yes to.
 */
import type { Reader, Writer } from './bytes.ts';
import type { OfMessage, OfMessageOf, OfMessageType, OfpVersion } from './messages.ts';

/**
 * `of`: by ofp_header.type. `req`/`rep`: statistics ("multipart") by their type. `nx`, `onf`: experimenter messages by
 * subtype; with `req`/`rep` experimenter statistics.
 */
export type SpotKind = 'of' | 'req' | 'rep' | 'nx' | 'nxreq' | 'nxrep' | 'onf' | 'onfreq' | 'onfrep';

export interface Spot {
  readonly kind: SpotKind;
  readonly first: OfpVersion;
  readonly last: OfpVersion;
  readonly number: number;
  /** `OFPT_FLOW_MOD`, `NXST_FLOW request`: what printing calls it. */
  readonly name: string;
  /** Whole message in bytes where it is fixed; other lengths are OFPBRC_BAD_LEN. */
  readonly exact?: number;
}

/** What a connection has agreed on beyond its version. */
export interface WireOptions {
  /** OpenFlow 1.0: does the upper byte of a flow_mod's command hold the table? (NXT_FLOW_MOD_TABLE_ID) */
  readonly tableId?: boolean;
  /** OpenFlow 1.0: write flow messages in Nicira's extended form even where the standard one could hold them. */
  readonly flowFormat?: 'openflow10' | 'nxm';
  readonly packetInFormat?: 'standard' | 'nxt_packet_in' | 'nxt_packet_in2';
}

export interface WireContext {
  readonly version: OfpVersion;
  readonly spot: Spot;
  readonly options: WireOptions;
  /** Multipart: more parts follow. */
  readonly more: boolean;
  /** A message inside a message (bundles, forwarded requests), whole with its header. */
  readonly nest: {
    encode(xid: number, message: OfMessage): Uint8Array;
    /** Throws `OfDecodeError`. */
    decode(bytes: Uint8Array): { message: OfMessage; xid: number };
  };
}

export interface Codec {
  readonly type: OfMessageType;
  readonly spots: readonly Spot[];
  when?(message: OfMessage, version: OfpVersion, options: WireOptions): boolean;
  /** Writes what stands behind the header. */
  encode(w: Writer, message: OfMessage, ctx: WireContext): void;
  decode(r: Reader, ctx: WireContext): OfMessage;
}

/** Builds a codec whose functions see the message's own type. */
export function codec<T extends OfMessageType>(
  type: T,
  spots: readonly Spot[],
  encode: (w: Writer, message: OfMessageOf<T>, ctx: WireContext) => void,
  decode: (r: Reader, ctx: WireContext) => OfMessageOf<T>,
  when?: (message: OfMessageOf<T>, version: OfpVersion, options: WireOptions) => boolean,
): Codec {
  // The registry hands each codec only messages of its own type.
  return { type, spots, encode, decode, when } as unknown as Codec;
}

export function spot(
  kind: SpotKind,
  first: OfpVersion,
  last: OfpVersion,
  number: number,
  name: string,
  exact?: number,
): Spot {
  return { kind, first, last, number, name, exact };
}
