/** Bundles and forwarded requests: messages that hold messages. */
import { codec, spot } from '../codec.ts';

const control = codec(
  'bundle_control',
  [spot('of', 5, 6, 33, 'OFPT_BUNDLE_CONTROL'), spot('onf', 4, 4, 2300, 'ONFT_BUNDLE_CONTROL')],
  (w, m) => void w.u32(m.bundleId).u16(m.ctrl).u16(m.flags),
  (r) => {
    const bundleId = r.u32();
    const ctrl = r.u16();
    if (ctrl > 7) r.fail('OFPBFC_BAD_TYPE');
    const flags = r.u16();
    r.skip(r.left);
    return { type: 'bundle_control', bundleId, ctrl, flags };
  },
);

const add = codec(
  'bundle_add',
  [spot('of', 5, 6, 34, 'OFPT_BUNDLE_ADD_MESSAGE'), spot('onf', 4, 4, 2301, 'ONFT_BUNDLE_ADD_MESSAGE')],
  (w, m, { nest }) => void w.u32(m.bundleId).zero(2).u16(m.flags).bytes(nest.encode(m.messageXid, m.message)),
  (r, { nest }) => {
    const bundleId = r.u32();
    const flags = r.skip(2).u16();
    if (r.left < 8) r.fail('OFPBFC_MSG_BAD_LEN');
    const length = (r.bytes[r.pos + 2] << 8) | r.bytes[r.pos + 3];
    if (length < 8 || length > r.left) r.fail('OFPBFC_MSG_BAD_LEN');
    const { message, xid } = nest.decode(r.take(length));
    return { type: 'bundle_add', bundleId, flags, message, messageXid: xid };
  },
);

const requestForward = codec(
  'request_forward',
  [spot('of', 5, 6, 32, 'OFPT_REQUESTFORWARD'), spot('nx', 4, 4, 132, 'NXT_REQUESTFORWARD')],
  (w, m, { nest }) => void w.bytes(nest.encode(0, m.request)),
  (r, { nest }) => ({ type: 'request_forward', request: nest.decode(r.rest()).message }),
);

export const bundleCodecs = [control, add, requestForward];
