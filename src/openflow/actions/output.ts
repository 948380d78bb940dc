/** Where packets go: output, group, controller, enqueue. `ovs-actions(7)`, "Output Actions" */
import { formatPort, parsePort } from '../../flow/names.ts';
import { formatSubfield, parseSubfield, portFrom32, portTo32 } from '../../flow/subfield.ts';
import { PacketInReason } from '../messages.ts';
import { OFPP } from '../ports.ts';
import {
  type AnyActionDef,
  bad,
  def,
  getFieldHeader,
  nx,
  of,
  ofsNbits,
  parseU16,
  parseU32,
  putFieldHeader,
  putNx,
  putOf,
  type Reader,
  splitKeyValues,
  subfieldOf,
  syntax,
  type Writer,
  zeros,
} from './def.ts';

const MAX_MAX_LEN = 0xffff;
/** An Ethernet header is the least that may be left of a packet. */
const MIN_TRUNC_LEN = 14;

export function putPort32(w: Writer, port: number): Writer {
  return w.u32(portTo32(port));
}

export function getPort32(r: Reader): number {
  const port = portFrom32(r.u32());
  return port < 0 ? bad('OFPBAC_BAD_OUT_PORT') : port;
}

function putOutput(w: Writer, port: number, maxLen: number, version: number): void {
  putOf(w, 0, () => (version === 1 ? w.u16(port).u16(maxLen) : putPort32(w, port).u16(maxLen).zero(6)));
}

const output = def({
  kind: 'output',
  words: ['output'],
  parse(text, { names, warn }) {
    if (text.includes('port') && text.includes('max_len')) {
      let port = -1;
      let maxLen = 0;
      for (const { key, value } of splitKeyValues(text)) {
        if (key === 'port') {
          port = parsePort(value, names, warn);
          if (port < 0) syntax(`output to unknown truncate port: ${value}`);
        } else if (key === 'max_len') maxLen = parseU32(value);
        else syntax(`invalid key '${key}' in output_trunc argument`);
      }
      if (maxLen < MIN_TRUNC_LEN) syntax(`max_len ${maxLen} is less than the minimum value ${MIN_TRUNC_LEN}`);
      if (port < OFPP.MAX || port === OFPP.LOCAL || port === OFPP.IN_PORT)
        return { kind: 'output_trunc', port, maxLen };
      return syntax(`output_trunc to reserved port is not allowed`);
    }
    const port = parsePort(text, names, warn);
    if (port >= 0) return { kind: 'output', port, maxLen: port === OFPP.CONTROLLER ? MAX_MAX_LEN : 0 };
    if (text.includes('[')) {
      const r = parseSubfield(text);
      return r.ok ? { kind: 'output_reg', src: r.subfield, maxLen: MAX_MAX_LEN } : syntax(r.error);
    }
    const r = parseSubfield(text);
    return r.ok && text !== ''
      ? { kind: 'output_reg', src: r.subfield, maxLen: MAX_MAX_LEN }
      : syntax(`${text}: output to unknown port`);
  },
  format({ port, maxLen }, names) {
    if (port === OFPP.CONTROLLER) return `CONTROLLER:${maxLen}`;
    const name = formatPort(port, names);
    return port < OFPP.MAX ? `output:${name}` : name;
  },
  encode: (w, { port, maxLen }, { version }) => putOutput(w, port, maxLen, version),
  spots: [
    of(0, 1, 1, (r) => ({ kind: 'output', port: checkPort(r.u16()), maxLen: r.u16() })),
    of(0, 2, 6, (r) => {
      const port = checkPort(getPort32(r));
      const maxLen = r.u16();
      r.skip(6);
      return { kind: 'output', port, maxLen };
    }),
  ],
});

/** Ports that an output may name. */
function checkPort(port: number): number {
  return port >= OFPP.MAX && port < OFPP.IN_PORT ? bad('OFPBAC_BAD_OUT_PORT') : port;
}

const outputReg = def({
  kind: 'output_reg',
  words: [],
  parse: () => syntax('output_reg'),
  format: ({ src }) => `output:${formatSubfield(src)}`,
  encode(w, { src, maxLen }, { version }) {
    if (src.field.headers.every((h) => h.experimenter !== undefined)) {
      putNx(w, 32, () => {
        w.u16(ofsNbits(src)).u16(maxLen);
        putFieldHeader(w, src.field, version);
      });
      return;
    }
    putNx(w, 15, () => {
      w.u16(ofsNbits(src));
      putFieldHeader(w, src.field, 0);
      w.u16(maxLen).zero(6);
    });
  },
  spots: [
    nx(15, (r) => {
      const bits = r.u16();
      const field = getFieldHeader(r);
      const maxLen = r.u16();
      zeros(r, 6);
      return { kind: 'output_reg', src: subfieldOf(field, bits), maxLen };
    }),
    nx(32, (r) => {
      const bits = r.u16();
      const maxLen = r.u16();
      const field = getFieldHeader(r);
      zeros(r, r.left);
      return { kind: 'output_reg', src: subfieldOf(field, bits), maxLen };
    }),
  ],
});

const outputTrunc = def({
  kind: 'output_trunc',
  words: [],
  parse: () => syntax('output_trunc'),
  format: ({ port, maxLen }, names) => `output(port=${formatPort(port, names)},max_len=${maxLen})`,
  encode: (w, { port, maxLen }) => putNx(w, 39, () => w.u16(port).u32(maxLen)),
  spots: [
    nx(39, (r) => {
      const port = checkPort(r.u16());
      const maxLen = r.u32();
      return maxLen < MIN_TRUNC_LEN ? bad('OFPBAC_BAD_ARGUMENT') : { kind: 'output_trunc', port, maxLen };
    }),
  ],
});

const group = def({
  kind: 'group',
  words: ['group'],
  parse: (text) => ({ kind: 'group', groupId: parseU32(text) }),
  format: ({ groupId }) => `group:${groupId}`,
  encode: (w, { groupId }, { version }) =>
    version === 1 ? putNx(w, 40, () => w.zero(2).u32(groupId)) : putOf(w, 22, () => w.u32(groupId)),
  spots: [
    of(22, 2, 6, (r) => ({ kind: 'group', groupId: r.u32() })),
    nx(40, (r) => ({ kind: 'group', groupId: r.skip(2).u32() })),
  ],
});

/** Names of packet-in reasons in text. */
const REASONS: readonly (readonly [string, number])[] = [
  ['no_match', PacketInReason.no_match],
  ['action', PacketInReason.action],
  ['invalid_ttl', PacketInReason.invalid_ttl],
  ['action_set', PacketInReason.action_set],
  ['group', PacketInReason.group],
  ['packet_out', PacketInReason.packet_out],
];
/** What the switch's own rules for table misses carry has no name. */
const NAMELESS_REASONS: ReadonlySet<number> = new Set([6, 7]);
const NX_CONTROLLER_PROP = { MAX_LEN: 0, CONTROLLER_ID: 1, REASON: 2, USERDATA: 3, PAUSE: 4, METER_ID: 5 } as const;

function hexBytes(text: string): Uint8Array | null {
  const digits = text.replaceAll('.', '');
  if (!/^([0-9a-f]{2})*$/i.test(digits)) return null;
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

export function dottedHex(bytes: Uint8Array): string {
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('.');
}

const controller = def({
  kind: 'controller',
  words: ['controller'],
  parse(text) {
    if (text === '') return { kind: 'output', port: OFPP.CONTROLLER, maxLen: MAX_MAX_LEN };
    if (/^\d/.test(text)) return { kind: 'output', port: OFPP.CONTROLLER, maxLen: parseU16(text, 'max_len') };
    let maxLen = MAX_MAX_LEN;
    let controllerId = 0;
    let reason: number = PacketInReason.action;
    let userdata: Uint8Array | null = null;
    let pause = false;
    let meterId: number | null = null;
    for (const { key, value } of splitKeyValues(text)) {
      if (key === 'reason') {
        const found = REASONS.find(([name]) => name === value);
        if (!found) syntax(`unknown reason "${value}"`);
        reason = found[1];
      } else if (key === 'max_len') maxLen = parseU16(value, 'max_len');
      else if (key === 'id') controllerId = parseU16(value, 'id');
      else if (key === 'userdata')
        userdata = hexBytes(value) ?? syntax(`bad hex digit in \`controller' action \`userdata'`);
      else if (key === 'pause') pause = true;
      else if (key === 'meter_id') meterId = parseU32(value);
      else syntax(`unknown key "${key}" parsing controller action`);
    }
    if (reason === PacketInReason.action && controllerId === 0 && userdata === null && !pause && meterId === null) {
      return { kind: 'output', port: OFPP.CONTROLLER, maxLen };
    }
    return { kind: 'controller', maxLen, controllerId, reason, userdata, pause, meterId };
  },
  format(a) {
    if (
      a.reason === PacketInReason.action &&
      a.controllerId === 0 &&
      a.userdata === null &&
      !a.pause &&
      a.meterId === null
    ) {
      return `CONTROLLER:${a.maxLen}`;
    }
    const parts: string[] = [];
    if (a.reason !== PacketInReason.action) {
      const number = NAMELESS_REASONS.has(a.reason) ? '' : a.reason;
      parts.push(`reason=${REASONS.find(([, n]) => n === a.reason)?.[0] ?? number}`);
    }
    if (a.maxLen !== MAX_MAX_LEN) parts.push(`max_len=${a.maxLen}`);
    if (a.controllerId !== 0) parts.push(`id=${a.controllerId}`);
    if (a.userdata && a.userdata.length > 0) parts.push(`userdata=${dottedHex(a.userdata)}`);
    if (a.pause) parts.push('pause');
    if (a.meterId !== null) parts.push(`meter_id=${a.meterId}`);
    return `controller(${parts.join(',')})`;
  },
  encode(w, a, { version }) {
    if (a.userdata === null && !a.pause && a.meterId === null) {
      if (a.controllerId === 0 && a.reason === PacketInReason.action) {
        putOutput(w, OFPP.CONTROLLER, a.maxLen, version);
        return;
      }
      putNx(w, 20, () => w.u16(a.maxLen).u16(a.controllerId).u8(a.reason).zero(1));
      return;
    }
    const property = (type: number, body: () => void): void => {
      const start = w.len;
      w.u16(type).u16(0);
      body();
      w.length16(start + 2, start).align(8, start);
    };
    putNx(w, 37, () => {
      w.zero(6);
      if (a.maxLen !== MAX_MAX_LEN) property(NX_CONTROLLER_PROP.MAX_LEN, () => w.u16(a.maxLen).zero(2));
      if (a.controllerId !== 0) property(NX_CONTROLLER_PROP.CONTROLLER_ID, () => w.u16(a.controllerId).zero(2));
      if (a.reason !== PacketInReason.action) property(NX_CONTROLLER_PROP.REASON, () => w.u8(a.reason).zero(3));
      if (a.userdata && a.userdata.length > 0) property(NX_CONTROLLER_PROP.USERDATA, () => w.bytes(a.userdata!));
      if (a.pause) property(NX_CONTROLLER_PROP.PAUSE, () => {});
      if (a.meterId !== null) property(NX_CONTROLLER_PROP.METER_ID, () => w.u32(a.meterId!));
    });
  },
  spots: [
    nx(20, (r) => {
      const maxLen = r.u16();
      const controllerId = r.u16();
      const reason = r.u8();
      zeros(r, 1);
      return { kind: 'controller', maxLen, controllerId, reason, userdata: null, pause: false, meterId: null };
    }),
    nx(37, (r) => {
      zeros(r, 6);
      let maxLen = MAX_MAX_LEN;
      let controllerId = 0;
      let reason: number = PacketInReason.action;
      let userdata: Uint8Array | null = null;
      let pause = false;
      let meterId: number | null = null;
      while (r.left >= 4) {
        const type = r.u16();
        const length = r.u16();
        if (length < 4 || length - 4 > r.left) bad('OFPBPC_BAD_LEN');
        const p = r.sub(length - 4, 'OFPBPC_BAD_LEN');
        r.skip(Math.min(r.left, (8 - (length % 8)) % 8));
        if (type === NX_CONTROLLER_PROP.MAX_LEN) maxLen = p.u16();
        else if (type === NX_CONTROLLER_PROP.CONTROLLER_ID) controllerId = p.u16();
        else if (type === NX_CONTROLLER_PROP.REASON) reason = p.u8();
        else if (type === NX_CONTROLLER_PROP.USERDATA) userdata = p.copy(p.left);
        else if (type === NX_CONTROLLER_PROP.PAUSE) pause = true;
        else if (type === NX_CONTROLLER_PROP.METER_ID) meterId = p.u32();
        else bad('OFPBPC_BAD_TYPE');
      }
      return { kind: 'controller', maxLen, controllerId, reason, userdata, pause, meterId };
    }),
  ],
});

const enqueue = def({
  kind: 'enqueue',
  words: ['enqueue'],
  parse(text, { names, warn }) {
    const [port, queue] = text.split(/[:,]/);
    if (queue === undefined) syntax('"enqueue" syntax is "enqueue:PORT:QUEUE" or "enqueue(PORT,QUEUE)"');
    const number = parsePort(port, names, warn);
    if (number < 0) syntax(`${port}: enqueue to unknown port`);
    return { kind: 'enqueue', port: number, queue: parseU32(queue) };
  },
  format: ({ port, queue }, names) => `enqueue:${formatPort(port, names)}:${queue}`,
  encode(w, { port, queue }, { version }) {
    if (version === 1) {
      putOf(w, 11, () => w.u16(port).zero(6).u32(queue));
      return;
    }
    putOf(w, 21, () => w.u32(queue));
    putOutput(w, port, MAX_MAX_LEN, version);
    putNx(w, 5, () => w.zero(6));
  },
  spots: [
    of(11, 1, 1, (r) => {
      const port = r.u16();
      r.skip(6);
      if (port >= OFPP.MAX && port !== OFPP.IN_PORT && port !== OFPP.LOCAL) bad('OFPBAC_BAD_OUT_PORT');
      return { kind: 'enqueue', port, queue: r.u32() };
    }),
  ],
});

const setQueue = def({
  kind: 'set_queue',
  words: ['set_queue'],
  parse: (text) => ({ kind: 'set_queue', queue: parseU32(text) }),
  format: ({ queue }) => `set_queue:${queue}`,
  encode: (w, { queue }, { version }) =>
    version === 1 ? putNx(w, 4, () => w.zero(2).u32(queue)) : putOf(w, 21, () => w.u32(queue)),
  spots: [
    of(21, 2, 6, (r) => ({ kind: 'set_queue', queue: r.u32() })),
    nx(4, (r) => ({ kind: 'set_queue', queue: r.skip(2).u32() })),
  ],
});

const popQueue = def({
  kind: 'pop_queue',
  words: ['pop_queue'],
  parse: () => ({ kind: 'pop_queue' }),
  format: () => 'pop_queue',
  encode: (w) => putNx(w, 5, () => w.zero(6)),
  spots: [nx(5, () => ({ kind: 'pop_queue' }))],
});

export const OUTPUT_ACTIONS: readonly AnyActionDef[] = [
  output,
  outputReg,
  outputTrunc,
  group,
  controller,
  enqueue,
  setQueue,
  popQueue,
];
