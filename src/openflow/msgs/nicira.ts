/** Small Nicira messages that set how a connection behaves, and the asynchronous-message configuration of every version. */
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { OfMessageOf, OfpVersion } from '../messages.ts';
import { properties, property } from './phy-port.ts';

const PACKET_IN_FORMATS = ['standard', 'nxt_packet_in', 'nxt_packet_in2'] as const;
/** NXFF_* are not consecutive. */
const NXFF_OPENFLOW10 = 0;
const NXFF_NXM = 2;

const setFlowFormat = codec(
  'nx_set_flow_format',
  [spot('nx', 1, 6, 12, 'NXT_SET_FLOW_FORMAT', 20)],
  (w, m) => void w.u32(m.format === 'nxm' ? NXFF_NXM : NXFF_OPENFLOW10),
  (r) => {
    const format = r.u32();
    if (format !== NXFF_NXM && format !== NXFF_OPENFLOW10) r.fail('OFPBRC_EPERM');
    return { type: 'nx_set_flow_format', format: format === NXFF_NXM ? 'nxm' : 'openflow10' };
  },
);

const flowModTableId = codec(
  'nx_flow_mod_table_id',
  [spot('nx', 1, 6, 15, 'NXT_FLOW_MOD_TABLE_ID', 24)],
  (w, m) => void w.u8(m.set ? 1 : 0).zero(7),
  (r) => ({ type: 'nx_flow_mod_table_id', set: r.u8() !== 0 }),
);

const setPacketInFormat = codec(
  'nx_set_packet_in_format',
  [spot('nx', 1, 6, 16, 'NXT_SET_PACKET_IN_FORMAT', 20)],
  (w, m) => void w.u32(PACKET_IN_FORMATS.indexOf(m.format)),
  (r) => {
    const format = r.u32();
    if (format >= PACKET_IN_FORMATS.length) r.fail('OFPBRC_EPERM');
    return { type: 'nx_set_packet_in_format', format: PACKET_IN_FORMATS[format] };
  },
);

const setControllerId = codec(
  'nx_set_controller_id',
  [spot('nx', 1, 6, 20, 'NXT_SET_CONTROLLER_ID', 24)],
  (w, m) => void w.zero(6).u16(m.controllerId),
  (r) => ({ type: 'nx_set_controller_id', controllerId: r.skip(6).u16() }),
);

type Async = OfMessageOf<'set_async'>;
/** Property types come in pairs: secondary, then primary. */
const ASYNC_PAIRS = ['packetIn', 'portStatus', 'flowRemoved', 'roleStatus', 'tableStatus', 'requestForward'] as const;

/** Reasons by version; OpenFlow 1.4 brought more. */
function asyncAllowed(name: (typeof ASYNC_PAIRS)[number], version: OfpVersion): number {
  switch (name) {
    case 'packetIn':
      return version >= 5 ? 0x3f : 0x7;
    case 'flowRemoved':
      return version >= 5 ? 0x3f : 0xf;
    case 'tableStatus':
      return 0x18;
    case 'requestForward':
      return 0x3;
    default:
      return 0x7;
  }
}

function encodeAsync(w: Writer, m: Omit<Async, 'type'>, version: OfpVersion): void {
  if (version <= 4) {
    for (const pair of [m.packetIn, m.portStatus, m.flowRemoved]) w.u32(pair[0]).u32(pair[1]);
    return;
  }
  ASYNC_PAIRS.forEach((name, i) => {
    const pair = m[name];
    if (pair === undefined) return;
    property(w, i * 2, () => w.u32(pair[1]));
    property(w, i * 2 + 1, () => w.u32(pair[0]));
  });
}

/** `hasProperties` is the layout of OpenFlow 1.4, which Nicira's second message has in every version. */
function decodeAsync(r: Reader, version: OfpVersion, hasProperties = version >= 5): Omit<Async, 'type'> {
  if (!hasProperties) {
    return { packetIn: [r.u32(), r.u32()], portStatus: [r.u32(), r.u32()], flowRemoved: [r.u32(), r.u32()] };
  }
  const masks: Partial<Record<(typeof ASYNC_PAIRS)[number], [number, number]>> = {};
  for (const [type, prop] of properties(r)) {
    const name = ASYNC_PAIRS[type >> 1];
    if (name === undefined) prop.fail('OFPACFC_UNSUPPORTED');
    if (prop.left !== 4) prop.fail('OFPBPC_BAD_LEN');
    const bits = prop.u32();
    if (bits & ~asyncAllowed(name, version)) prop.fail('OFPACFC_INVALID');
    (masks[name] ??= [0, 0])[type & 1 ? 0 : 1] = bits;
  }
  return { packetIn: [0, 0], portStatus: [0, 0], flowRemoved: [0, 0], ...masks };
}

const setAsync = codec(
  'set_async',
  [
    spot('of', 4, 4, 28, 'OFPT_SET_ASYNC', 32),
    spot('of', 5, 6, 28, 'OFPT_SET_ASYNC'),
    spot('nx', 1, 4, 19, 'NXT_SET_ASYNC_CONFIG', 40),
  ],
  (w, m, { version }) => encodeAsync(w, m, version),
  (r, { version }) => ({ type: 'set_async', ...decodeAsync(r, version) }),
);
/** Nicira's second form has the properties of OpenFlow 1.4 in every version. */
const setAsync2 = codec(
  'set_async',
  [spot('nx', 1, 6, 27, 'NXT_SET_ASYNC_CONFIG2')],
  (w, m) => encodeAsync(w, m, 5),
  (r, { version }) => ({ type: 'set_async', ...decodeAsync(r, version, true) }),
);
const getAsyncRequest = codec(
  'get_async_request',
  [spot('of', 4, 6, 26, 'OFPT_GET_ASYNC_REQUEST', 8)],
  () => {},
  () => ({ type: 'get_async_request' }),
);
const getAsyncReply = codec(
  'get_async_reply',
  [spot('of', 4, 4, 27, 'OFPT_GET_ASYNC_REPLY', 32), spot('of', 5, 6, 27, 'OFPT_GET_ASYNC_REPLY')],
  (w, m, { version }) => encodeAsync(w, m, version),
  (r, { version }) => ({ type: 'get_async_reply', ...decodeAsync(r, version) }),
);

export const niciraCodecs = [
  setFlowFormat,
  flowModTableId,
  setPacketInFormat,
  setControllerId,
  setAsync,
  setAsync2,
  getAsyncRequest,
  getAsyncReply,
];
