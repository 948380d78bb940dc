/** Nicira's tables of tunnel options, and flushing of connection tracking. */
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { CtTuple, TlvMap } from '../messages-ext.ts';
import { properties, property } from './phy-port.ts';

const COMMANDS = ['add', 'delete', 'clear'] as const;

function writeMaps(w: Writer, maps: readonly TlvMap[]): void {
  for (const m of maps) w.u16(m.optionClass).u8(m.optionType).u8(m.optionLen).u16(m.index).zero(2);
}
function readMaps(r: Reader): TlvMap[] {
  const maps: TlvMap[] = [];
  while (r.left > 0) {
    const map = { optionClass: r.u16(), optionType: r.u8(), optionLen: r.u8(), index: r.u16() };
    r.skip(2);
    if (map.optionLen % 4 !== 0 || map.optionLen > 124) r.fail('NXTTMFC_BAD_OPT_LEN');
    maps.push(map);
  }
  return maps;
}

const tlvMod = codec(
  'tlv_table_mod',
  [spot('nx', 1, 6, 24, 'NXT_TLV_TABLE_MOD')],
  (w, m) => {
    w.u16(COMMANDS.indexOf(m.command)).zero(6);
    writeMaps(w, m.mappings);
  },
  (r) => {
    const command = COMMANDS[r.u16()];
    if (command === undefined) r.fail('NXTTMFC_BAD_COMMAND');
    return { type: 'tlv_table_mod', command, mappings: readMaps(r.skip(6)) };
  },
);
const tlvRequest = codec(
  'tlv_table_request',
  [spot('nx', 1, 6, 25, 'NXT_TLV_TABLE_REQUEST', 16)],
  () => {},
  () => ({ type: 'tlv_table_request' }),
);
const tlvReply = codec(
  'tlv_table_reply',
  [spot('nx', 1, 6, 26, 'NXT_TLV_TABLE_REPLY')],
  (w, m) => {
    w.u32(m.maxOptionSpace).u16(m.maxFields).zero(10);
    writeMaps(w, m.mappings);
  },
  (r) => {
    const maxOptionSpace = r.u32();
    const maxFields = r.u16();
    return { type: 'tlv_table_reply', maxOptionSpace, maxFields, mappings: readMaps(r.skip(10)) };
  },
);

const flushZone = codec(
  'ct_flush_zone',
  [spot('nx', 1, 6, 29, 'NXT_CT_FLUSH_ZONE', 24)],
  (w, m) => void w.zero(6).u16(m.zone),
  (r) => {
    if (r.take(6).some((b) => b !== 0)) r.fail('NXBRC_MUST_BE_ZERO');
    return { type: 'ct_flush_zone', zone: r.u16() };
  },
);

const CT = { ORIG: 0, REPLY: 1, ZONE: 2 } as const;
const TUPLE = { SRC: 0, DST: 1, SRC_PORT: 2, DST_PORT: 3, ICMP_ID: 4, ICMP_TYPE: 5, ICMP_CODE: 6 } as const;
const NO_TUPLE: CtTuple = {
  src: null,
  dst: null,
  srcPort: null,
  dstPort: null,
  icmpId: null,
  icmpType: null,
  icmpCode: null,
};

/** Addresses stand as 16 bytes, IPv4 mapped into IPv6. */
function writeAddress(w: Writer, type: number, address: Uint8Array): void {
  property(w, type, () => {
    if (address.length === 4) w.zero(10).u16(0xffff).bytes(address);
    else w.bytes(address);
  });
}
function readAddress(r: Reader): Uint8Array {
  const all = r.copy(16);
  const mapped = all.subarray(0, 10).every((b) => b === 0) && all[10] === 0xff && all[11] === 0xff;
  return mapped ? all.slice(12) : all;
}
function isEmpty(t: CtTuple): boolean {
  return Object.values(t).every((v) => v === null);
}
function writeTuple(w: Writer, type: number, t: CtTuple): void {
  if (isEmpty(t)) return;
  property(w, type, () => {
    w.zero(4);
    if (t.src !== null) writeAddress(w, TUPLE.SRC, t.src);
    if (t.dst !== null) writeAddress(w, TUPLE.DST, t.dst);
    if (t.srcPort !== null) property(w, TUPLE.SRC_PORT, () => w.u16(t.srcPort!));
    if (t.dstPort !== null) property(w, TUPLE.DST_PORT, () => w.u16(t.dstPort!));
    if (t.icmpId !== null) property(w, TUPLE.ICMP_ID, () => w.u16(t.icmpId!));
    if (t.icmpType !== null) property(w, TUPLE.ICMP_TYPE, () => w.u8(t.icmpType!));
    if (t.icmpCode !== null) property(w, TUPLE.ICMP_CODE, () => w.u8(t.icmpCode!));
  });
}
function readTuple(r: Reader): CtTuple {
  const t: { -readonly [K in keyof CtTuple]: CtTuple[K] } = { ...NO_TUPLE };
  for (const [type, p] of properties(r.skip(4))) {
    if (type === TUPLE.SRC) t.src = readAddress(p);
    else if (type === TUPLE.DST) t.dst = readAddress(p);
    else if (type === TUPLE.SRC_PORT) t.srcPort = p.u16();
    else if (type === TUPLE.DST_PORT) t.dstPort = p.u16();
    else if (type === TUPLE.ICMP_ID) t.icmpId = p.u16();
    else if (type === TUPLE.ICMP_TYPE) t.icmpType = p.u8();
    else if (type === TUPLE.ICMP_CODE) t.icmpCode = p.u8();
    else p.fail('OFPBPC_BAD_TYPE');
  }
  return t;
}

const flush = codec(
  'ct_flush',
  [spot('nx', 1, 6, 32, 'NXT_CT_FLUSH')],
  (w, m) => {
    w.u8(m.ipProto).zero(7);
    writeTuple(w, CT.ORIG, m.orig);
    writeTuple(w, CT.REPLY, m.reply);
    if (m.zone !== null) property(w, CT.ZONE, () => w.u16(m.zone!));
  },
  (r) => {
    const ipProto = r.u8();
    if (r.take(7).some((b) => b !== 0)) r.fail('NXBRC_MUST_BE_ZERO');
    let zone: number | null = null;
    let orig = NO_TUPLE;
    let reply = NO_TUPLE;
    for (const [type, p] of properties(r)) {
      if (type === CT.ORIG) orig = readTuple(p);
      else if (type === CT.REPLY) reply = readTuple(p);
      else if (type === CT.ZONE) zone = p.u16();
      else p.fail('OFPBPC_BAD_TYPE');
    }
    const address = orig.src ?? orig.dst ?? reply.src ?? reply.dst;
    return {
      type: 'ct_flush',
      zone,
      ipProto,
      family: address === null ? 0 : address.length === 4 ? 2 : 10,
      orig,
      reply,
    };
  },
);

export const niciraTableCodecs = [tlvMod, tlvRequest, tlvReply, flushZone, flush];
