/** Packets to and from controllers. */
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { decodeMatch, encodeMatch } from '../../flow/oxm.ts';
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot, type WireOptions } from '../codec.ts';
import { OfDecodeError, type OfErrorName } from '../errors.ts';
import { type OfpVersion, type PacketIn, PacketInReason } from '../messages.ts';
import { OFPP } from '../ports.ts';
import { readActions, readMatch, readNxm, writeActions, writeMatch, writeNxm } from './parts.ts';
import { properties, property, readPort, writePort } from './phy-port.ts';

const NO_BUFFER = 0xffffffff;
const NO_TABLE = 255;

const NXPINT = {
  PACKET: 0,
  FULL_LEN: 1,
  BUFFER_ID: 2,
  TABLE_ID: 3,
  COOKIE: 4,
  REASON: 5,
  METADATA: 6,
  USERDATA: 7,
  CONTINUATION: 8,
} as const;

function inPortOf(metadata: Match): number {
  return metadata.mask.get32(OFS.in_port) === 0 ? OFPP.NONE : metadata.key.get32(OFS.in_port) & 0xffff;
}
function inPortMatch(port: number): Match {
  const match = new Match(new FlowKey(), new FlowKey());
  match.key.set32(OFS.in_port, port);
  match.mask.set32(OFS.in_port, 0xffffffff);
  return match;
}

/** Reasons that a version does not know are what they were before: a plain action. */
function reasonFor(reason: number, version: OfpVersion): number {
  if (version === 6) return reason;
  return reason > PacketInReason.invalid_ttl ? PacketInReason.action : version <= 2 && reason === 2 ? 1 : reason;
}

const bare = { table: NO_TABLE, cookie: 0n, userdata: null, continuation: null };
const formatOf = (m: PacketIn, options: WireOptions) => m.format ?? options.packetInFormat ?? 'standard';

const packetIn10 = codec(
  'packet_in',
  [spot('of', 1, 1, 10, 'OFPT_PACKET_IN')],
  (w, m, { version }) => {
    w.u32(m.bufferId)
      .u16(m.totalLen)
      .u16(inPortOf(m.metadata))
      .u8(reasonFor(m.reason, version))
      .zero(1)
      .bytes(m.packet);
  },
  (r) => {
    const bufferId = r.u32();
    const totalLen = r.u16();
    const metadata = inPortMatch(r.u16());
    const reason = r.u8();
    r.skip(1);
    return {
      type: 'packet_in',
      ...bare,
      packet: r.rest().slice(),
      totalLen,
      bufferId,
      reason,
      metadata,
      format: 'standard',
    };
  },
  (m, version, options) => version === 1 && formatOf(m, options) === 'standard',
);
const packetIn11 = codec(
  'packet_in',
  [spot('of', 2, 2, 10, 'OFPT_PACKET_IN')],
  (w, m, { version }) => {
    const port = inPortOf(m.metadata);
    w.u32(m.bufferId);
    writePort(w, port, version);
    writePort(w, port, version);
    w.u16(m.totalLen).u8(reasonFor(m.reason, version)).u8(m.table).bytes(m.packet);
  },
  (r, { version }) => {
    const bufferId = r.u32();
    const metadata = inPortMatch(readPort(r, version));
    r.skip(4);
    const totalLen = r.u16();
    const reason = r.u8();
    const table = r.u8();
    return {
      type: 'packet_in',
      ...bare,
      packet: r.rest().slice(),
      totalLen,
      bufferId,
      reason,
      table,
      metadata,
      format: 'standard',
    };
  },
  (m, version, options) => version === 2 && formatOf(m, options) === 'standard',
);
const packetIn12 = codec(
  'packet_in',
  [spot('of', 3, 6, 10, 'OFPT_PACKET_IN')],
  (w, m, { version }) => {
    w.u32(m.bufferId).u16(m.totalLen).u8(reasonFor(m.reason, version)).u8(m.table);
    if (version >= 4) w.u64(m.cookie);
    writeMatch(w, m.metadata, version);
    w.zero(2).bytes(m.packet);
  },
  (r, { version }) => {
    const bufferId = r.u32();
    const totalLen = r.u16();
    const reason = r.u8();
    const table = r.u8();
    const cookie = version >= 4 ? r.u64() : 0n;
    const metadata = readMatch(r, { loose: true });
    r.skip(2);
    return {
      type: 'packet_in',
      ...bare,
      packet: r.rest().slice(),
      totalLen,
      bufferId,
      reason,
      table,
      cookie,
      metadata,
      format: 'standard',
    };
  },
  (m, version, options) => version >= 3 && formatOf(m, options) === 'standard',
);
const packetInNx = codec(
  'packet_in',
  [spot('nx', 1, 6, 17, 'NXT_PACKET_IN')],
  (w, m, { version }) => {
    w.u32(m.bufferId).u16(m.totalLen).u8(reasonFor(m.reason, version)).u8(m.table).u64(m.cookie);
    const lengthAt = w.len;
    w.u16(0).zero(6);
    w.set16(lengthAt, writeNxm(w, m.metadata));
    w.zero(2).bytes(m.packet);
  },
  (r) => {
    const bufferId = r.u32();
    const totalLen = r.u16();
    const reason = r.u8();
    const table = r.u8();
    const cookie = r.u64();
    const length = r.u16();
    r.skip(6);
    const { match: metadata } = readNxm(r, length, true);
    r.skip(2);
    return {
      type: 'packet_in',
      ...bare,
      packet: r.rest().slice(),
      totalLen,
      bufferId,
      reason,
      table,
      cookie,
      metadata,
      format: 'nxt_packet_in',
    };
  },
  (m, _version, options) => formatOf(m, options) === 'nxt_packet_in',
);

function writePacketIn2(w: Writer, m: PacketIn, version: OfpVersion, isResume: boolean): void {
  if (m.packet.length > 0) property(w, NXPINT.PACKET, () => w.bytes(m.packet));
  if (m.totalLen > m.packet.length) property(w, NXPINT.FULL_LEN, () => w.u32(m.totalLen));
  if (m.bufferId !== NO_BUFFER) property(w, NXPINT.BUFFER_ID, () => w.u32(m.bufferId));
  if (!isResume) {
    property(w, NXPINT.TABLE_ID, () => w.u8(m.table));
    if (m.cookie !== 0xffffffffffffffffn) property(w, NXPINT.COOKIE, () => w.zero(4).u64(m.cookie));
    property(w, NXPINT.REASON, () => w.u8(m.reason));
  }
  property(w, NXPINT.METADATA, () => w.bytes(encodeMatch(m.metadata, 'oxm', version)));
  if (m.userdata !== null) property(w, NXPINT.USERDATA, () => w.bytes(m.userdata!));
  if (m.continuation !== null) property(w, NXPINT.CONTINUATION, () => w.zero(4).bytes(m.continuation!));
}

function readPacketIn2(r: Reader): PacketIn {
  let packet: Uint8Array = new Uint8Array(0);
  let totalLen = 0;
  let bufferId: number = NO_BUFFER;
  let table = 0;
  let cookie = 0xffffffffffffffffn;
  let reason = 0;
  let metadata = new Match();
  let userdata: Uint8Array | null = null;
  let continuation: Uint8Array | null = null;
  for (const [type, p] of properties(r)) {
    if (type === NXPINT.PACKET) packet = p.rest().slice();
    else if (type === NXPINT.FULL_LEN) totalLen = p.u32();
    else if (type === NXPINT.BUFFER_ID) bufferId = p.u32();
    else if (type === NXPINT.TABLE_ID) table = p.u8();
    else if (type === NXPINT.COOKIE) cookie = p.skip(4).u64();
    else if (type === NXPINT.REASON) reason = p.u8();
    else if (type === NXPINT.METADATA) {
      const decoded = decodeMatch(p.rest(), { loose: true });
      if (!decoded.ok) throw new OfDecodeError(decoded.error as OfErrorName);
      metadata = decoded.match;
    } else if (type === NXPINT.USERDATA) userdata = p.rest().slice();
    else if (type === NXPINT.CONTINUATION) continuation = p.skip(4).rest().slice();
    else p.fail('OFPBPC_BAD_TYPE');
  }
  if (packet.length === 0) r.fail('OFPBRC_BAD_LEN');
  totalLen = Math.max(totalLen, packet.length);
  const format = 'nxt_packet_in2';
  return {
    type: 'packet_in',
    packet,
    totalLen,
    bufferId,
    reason,
    table,
    cookie,
    metadata,
    userdata,
    continuation,
    format,
  };
}

const packetIn2 = codec(
  'packet_in',
  [spot('nx', 1, 6, 30, 'NXT_PACKET_IN2')],
  (w, m, { version }) => writePacketIn2(w, m, version, false),
  (r) => readPacketIn2(r),
  (m, _version, options) => formatOf(m, options) === 'nxt_packet_in2',
);
const resume = codec(
  'nx_resume',
  [spot('nx', 1, 6, 28, 'NXT_RESUME')],
  (w, m, { version }) => writePacketIn2(w, m.packetIn, version, true),
  (r) => ({ type: 'nx_resume', packetIn: readPacketIn2(r) }),
);

const packetOut = codec(
  'packet_out',
  [spot('of', 1, 6, 13, 'OFPT_PACKET_OUT')],
  (w, m, { version }) => {
    w.u32(m.bufferId);
    if (version <= 5) writePort(w, inPortOf(m.metadata), version);
    const lengthAt = w.len;
    w.u16(0);
    if (version >= 6) {
      w.zero(2);
      writeMatch(w, m.metadata, version);
    } else if (version >= 2) w.zero(6);
    const start = w.len;
    writeActions(w, m.actions, version);
    w.length16(lengthAt, start);
    if (m.bufferId === NO_BUFFER) w.bytes(m.packet);
  },
  (r, { version }) => {
    const bufferId = r.u32();
    let metadata = version <= 5 ? inPortMatch(readPort(r, version)) : null;
    const length = r.u16();
    if (version >= 6) {
      r.skip(2);
      metadata = readMatch(r);
    } else if (version >= 2) r.skip(6);
    const port = inPortOf(metadata!);
    const named: readonly number[] = [OFPP.LOCAL, OFPP.NONE, OFPP.CONTROLLER];
    if (port >= OFPP.MAX && !named.includes(port)) r.fail('OFPBRC_BAD_PORT');
    if (length > r.left) r.fail('OFPBAC_BAD_LEN');
    const actions = readActions(r.sub(length), version);
    const packet = bufferId === NO_BUFFER ? r.rest().slice() : new Uint8Array(0);
    return { type: 'packet_out', bufferId, metadata: metadata!, packet, actions };
  },
);

export const packetCodecs = [packetIn10, packetIn11, packetIn12, packetInNx, packetIn2, resume, packetOut];
