/** Messages that carry no match and no actions: hello, error, echo, features, configuration, barrier, role, description. */
import { codec, spot } from '../codec.ts';
import { errorFromWire, errorToWire, isErrorName, OfDecodeError } from '../errors.ts';
import { decodePhyPort, encodePhyPort } from './phy-port.ts';

/** OpenFlow 1.0 and 1.1 carry Nicira's errors behind this type. */
const NXET_VENDOR = 0xb0c2;
const OFPET_EXPERIMENTER = 0xffff;
const HELLO_VERSIONBITMAP = 1;
const ROLES = ['nochange', 'equal', 'primary', 'secondary'] as const;
const NX_ROLES = ['equal', 'primary', 'secondary'] as const;
const UNSET_GENERATION = 0xffffffffffffffffn;

const hello = codec(
  'hello',
  [spot('of', 1, 6, 0, 'OFPT_HELLO')],
  (w, m) => {
    // The header alone says "everything up to my version"; only other sets need the bitmap.
    const set = m.versions >>> 1;
    if ((set & (set + 1)) === 0) return;
    w.u16(HELLO_VERSIONBITMAP).u16(8).u32(m.versions);
  },
  (r, ctx) => {
    let versions = 2 ** Math.min(31, r.bytes[0] + 1) - 2;
    if (ctx.version < 1) r.fail('OFPBRC_BAD_VERSION');
    while (r.left >= 4) {
      const type = r.u16();
      const length = r.u16();
      // A peer's unreadable elements are ignored: its version byte still speaks.
      if (length < 4 || length - 4 > r.left) break;
      const body = r.sub(length - 4);
      if (type === HELLO_VERSIONBITMAP && body.left >= 4) {
        const bitmap = body.u32() & ~1;
        if (bitmap !== 0) versions = bitmap;
      }
      r.skip(Math.min(r.left, (8 - (length % 8)) % 8));
    }
    return { type: 'hello', versions };
  },
);

const error = codec(
  'error',
  [spot('of', 1, 6, 1, 'OFPT_ERROR')],
  (w, m, { version }) => {
    let wire = errorToWire(version, m.name);
    // What this version cannot name still has to be said.
    if (wire === null) wire = errorToWire(version, 'NXBRC_UNENCODABLE_ERROR')!;
    if (wire.vendor === 0) w.u16(wire.type).u16(wire.code);
    else if (version <= 2) w.u16(NXET_VENDOR).u16(0).u32(wire.vendor).u16(wire.type).u16(wire.code);
    else w.u16(OFPET_EXPERIMENTER).u16(wire.type).u32(wire.vendor);
    w.bytes(m.data);
  },
  (r, { version }) => {
    let vendor = 0;
    let type = r.u16();
    let code = r.u16();
    if (type === NXET_VENDOR && code === 0 && version <= 2) {
      vendor = r.u32();
      type = r.u16();
      code = r.u16();
    } else if (type === OFPET_EXPERIMENTER && version >= 3) {
      vendor = r.u32();
      type = code;
      code = 0;
    }
    const name = errorFromWire(version, vendor, type, code);
    const data = r.rest().slice();
    // Numbers that nobody knows say no more than that something was wrong with them.
    if (name === null) throw new OfDecodeError('OFPBRC_BAD_LEN');
    return { type: 'error', name, data };
  },
  (m) => isErrorName(m.name),
);

const echoRequest = codec(
  'echo_request',
  [spot('of', 1, 6, 2, 'OFPT_ECHO_REQUEST')],
  (w, m) => void w.bytes(m.data),
  (r) => ({ type: 'echo_request', data: r.rest().slice() }),
);
const echoReply = codec(
  'echo_reply',
  [spot('of', 1, 6, 3, 'OFPT_ECHO_REPLY')],
  (w, m) => void w.bytes(m.data),
  (r) => ({ type: 'echo_reply', data: r.rest().slice() }),
);

const featuresRequest = codec(
  'features_request',
  [spot('of', 1, 6, 5, 'OFPT_FEATURES_REQUEST', 8)],
  () => {},
  () => ({ type: 'features_request' }),
);

const featuresReply = codec(
  'features_reply',
  [spot('of', 1, 6, 6, 'OFPT_FEATURES_REPLY')],
  (w, m, { version }) => {
    w.u64(m.datapathId).u32(m.nBuffers).u8(m.nTables);
    if (version >= 4) w.u8(m.auxiliaryId).zero(2);
    else w.zero(3);
    w.u32(m.capabilities).u32(version === 1 ? m.actions : 0);
    if (version <= 3) for (const port of m.ports) encodePhyPort(w, port, version);
  },
  (r, { version }) => {
    const datapathId = r.u64();
    const nBuffers = r.u32();
    const nTables = r.u8();
    const auxiliaryId = r.u8();
    r.skip(2);
    const capabilities = r.u32();
    const actions = r.u32();
    const ports = [];
    if (version <= 3) while (r.left > 0) ports.push(decodePhyPort(r, version));
    return {
      type: 'features_reply',
      datapathId,
      nBuffers,
      nTables,
      auxiliaryId: version >= 4 ? auxiliaryId : 0,
      capabilities,
      actions: version === 1 ? actions : 0,
      ports,
    };
  },
);

const configRequest = codec(
  'get_config_request',
  [spot('of', 1, 6, 7, 'OFPT_GET_CONFIG_REQUEST', 8)],
  () => {},
  () => ({ type: 'get_config_request' }),
);
const configReply = codec(
  'get_config_reply',
  [spot('of', 1, 6, 8, 'OFPT_GET_CONFIG_REPLY', 12)],
  (w, m) => void w.u16(m.flags).u16(m.missSendLen),
  (r) => ({ type: 'get_config_reply', flags: r.u16(), missSendLen: r.u16() }),
);
const setConfig = codec(
  'set_config',
  [spot('of', 1, 6, 9, 'OFPT_SET_CONFIG', 12)],
  (w, m) => void w.u16(m.flags).u16(m.missSendLen),
  (r) => ({ type: 'set_config', flags: r.u16(), missSendLen: r.u16() }),
);

const barrierRequest = codec(
  'barrier_request',
  [spot('of', 1, 1, 18, 'OFPT_BARRIER_REQUEST', 8), spot('of', 2, 6, 20, 'OFPT_BARRIER_REQUEST', 8)],
  () => {},
  () => ({ type: 'barrier_request' }),
);
const barrierReply = codec(
  'barrier_reply',
  [spot('of', 1, 1, 19, 'OFPT_BARRIER_REPLY', 8), spot('of', 2, 6, 21, 'OFPT_BARRIER_REPLY', 8)],
  () => {},
  () => ({ type: 'barrier_reply' }),
);

const role = (type: 'role_request' | 'role_reply', number: number, name: string) =>
  codec(
    type,
    [spot('of', 3, 6, number, `OFPT_${name}`, 24)],
    (w, m) =>
      void w
        .u32(ROLES.indexOf(m.role))
        .zero(4)
        .u64(m.generationId ?? UNSET_GENERATION),
    (r) => {
      const value = r.u32();
      if (value >= ROLES.length) r.fail('OFPRRFC_BAD_ROLE');
      r.skip(4);
      const generationId = r.u64();
      // Only these two depend on a generation.
      const counts = type === 'role_reply' ? generationId !== UNSET_GENERATION : value >= 2;
      return { type, role: ROLES[value], generationId: counts ? generationId : null };
    },
  );
const nxRole = (type: 'role_request' | 'role_reply', number: number, name: string) =>
  codec(
    type,
    [spot('nx', 1, 6, number, `NXT_${name}`, 20)],
    (w, m) => void w.u32(Math.max(0, NX_ROLES.indexOf(m.role as (typeof NX_ROLES)[number]))),
    (r) => {
      const value = r.u32();
      if (value >= NX_ROLES.length) r.fail('OFPRRFC_BAD_ROLE');
      return { type, role: NX_ROLES[value], generationId: null };
    },
  );

const roleStatus = codec(
  'role_status',
  [spot('of', 5, 6, 30, 'OFPT_ROLE_STATUS', 24)],
  (w, m) => void w.u32(ROLES.indexOf(m.role)).u8(m.reason).zero(3).u64(m.generationId),
  (r) => {
    const value = r.u32();
    if (value >= ROLES.length) r.fail('OFPRRFC_BAD_ROLE');
    const reason = r.u8();
    r.skip(3);
    return { type: 'role_status', role: ROLES[value], reason, generationId: r.u64() };
  },
);

const descRequest = codec(
  'desc_request',
  [spot('req', 1, 1, 0, 'OFPST_DESC request', 12), spot('req', 2, 6, 0, 'OFPST_DESC request', 16)],
  () => {},
  () => ({ type: 'desc_request' }),
);
const descReply = codec(
  'desc_reply',
  [spot('rep', 1, 1, 0, 'OFPST_DESC reply', 12 + 1056), spot('rep', 2, 6, 0, 'OFPST_DESC reply', 16 + 1056)],
  (w, { desc }) =>
    void w
      .text(desc.mfrDesc, 256)
      .text(desc.hwDesc, 256)
      .text(desc.swDesc, 256)
      .text(desc.serialNum, 32)
      .text(desc.dpDesc, 256),
  (r) => ({
    type: 'desc_reply',
    desc: {
      mfrDesc: r.text(256),
      hwDesc: r.text(256),
      swDesc: r.text(256),
      serialNum: r.text(32),
      dpDesc: r.text(256),
    },
  }),
);

export const basicCodecs = [
  hello,
  error,
  echoRequest,
  echoReply,
  featuresRequest,
  featuresReply,
  configRequest,
  configReply,
  setConfig,
  barrierRequest,
  barrierReply,
  role('role_request', 24, 'ROLE_REQUEST'),
  role('role_reply', 25, 'ROLE_REPLY'),
  nxRole('role_request', 10, 'ROLE_REQUEST'),
  nxRole('role_reply', 11, 'ROLE_REPLY'),
  roleStatus,
  descRequest,
  descReply,
];
