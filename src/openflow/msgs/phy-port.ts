/** A port as a switch describes it, port numbers in 16 and in 32 bits, and the properties of OpenFlow 1.4. */
import type { Reader, Writer } from '../bytes.ts';
import { OfDecodeError, type OfErrorName } from '../errors.ts';
import type { OfpVersion, PhyPort } from '../messages.ts';
import { OFPP } from '../ports.ts';

/** Reserved ports are 0xff00.. in OpenFlow 1.0 and 0xffffff00.. since. */
export function writePort(w: Writer, port: number, version: OfpVersion): void {
  if (version === 1) w.u16(port);
  else w.u32(port >= OFPP.MAX ? port + 0xffff0000 : port);
}

export function readPort(r: Reader, version: OfpVersion): number {
  if (version === 1) return r.u16();
  const port = r.u32();
  if (port < OFPP.MAX) return port;
  if (port >= 0xffff0000 + OFPP.MAX) return port - 0xffff0000;
  throw new OfDecodeError('OFPBAC_BAD_OUT_PORT', `port ${port}`);
}

/** Walks the TLV properties that fill `r`, each padded to 8 bytes. */
export function* properties(r: Reader, bad: OfErrorName = 'OFPBPC_BAD_LEN'): Generator<[number, Reader]> {
  while (r.left > 0) {
    if (r.left < 4) r.fail(bad);
    const type = r.u16();
    const length = r.u16();
    if (length < 4 || length - 4 > r.left) r.fail(bad);
    const body = r.sub(length - 4, bad);
    const pad = (8 - (length % 8)) % 8;
    if (pad > r.left) r.fail(bad);
    r.skip(pad);
    yield [type, body];
  }
}

/** Writes one property; `body` adds what stands behind type and length. */
export function property(w: Writer, type: number, body: () => void): void {
  const start = w.len;
  w.u16(type).u16(0);
  body();
  w.length16(start + 2, start).align(8, start);
}

/** OpenFlow 1.0's OFPPF_* put copper and the rest where 1.1 has faster speeds. */
const features10 = (v: number): number => (v & 0x7f) | ((v >>> 4) & 0xf80);
const featuresFrom10 = (v: number): number => (v & 0x7f) | ((v & 0xf80) << 4);

const CONFIG_ALL = 0x7f;
const CONFIG_SINCE_11 = 0x65;
const STATE_10 = 0x301;
const STATE_SINCE_11 = 0x7;

const SPEEDS_KBPS: readonly (readonly [number, number])[] = [
  [1 << 9, 1_000_000_000],
  [1 << 8, 100_000_000],
  [1 << 7, 40_000_000],
  [1 << 6, 10_000_000],
  [(1 << 4) | (1 << 5), 1_000_000],
  [(1 << 2) | (1 << 3), 100_000],
  [(1 << 0) | (1 << 1), 10_000],
];

/** The fastest speed that a set of OFPPF_* holds, kbps. */
export function featuresSpeed(features: number): number {
  for (const [bits, kbps] of SPEEDS_KBPS) if (features & bits) return kbps;
  return 0;
}

export function encodePhyPort(w: Writer, p: PhyPort, version: OfpVersion): void {
  if (version === 1) {
    w.u16(p.portNo).bytes(p.hwAddr).text(p.name, 16);
    w.u32(p.config & CONFIG_ALL).u32(p.state & STATE_10);
    w.u32(features10(p.curr)).u32(features10(p.advertised)).u32(features10(p.supported)).u32(features10(p.peer));
    return;
  }
  const config = p.config & CONFIG_SINCE_11;
  const state = p.state & STATE_SINCE_11;
  if (version <= 4) {
    writePort(w, p.portNo, version);
    w.zero(4).bytes(p.hwAddr).zero(2).text(p.name, 16).u32(config).u32(state);
    w.u32(p.curr).u32(p.advertised).u32(p.supported).u32(p.peer).u32(p.currSpeed).u32(p.maxSpeed);
    return;
  }
  const start = w.len;
  writePort(w, p.portNo, version);
  w.u16(0).zero(2).bytes(p.hwAddr).zero(2).text(p.name, 16).u32(config).u32(state);
  property(w, 0, () =>
    w.zero(4).u32(p.curr).u32(p.advertised).u32(p.supported).u32(p.peer).u32(p.currSpeed).u32(p.maxSpeed),
  );
  w.length16(start + 4, start);
}

export function decodePhyPort(r: Reader, version: OfpVersion): PhyPort {
  if (version === 1) {
    const portNo = r.u16();
    const hwAddr = r.copy(6);
    const name = r.text(16);
    const config = r.u32() & CONFIG_ALL;
    const state = r.u32() & STATE_10;
    const [curr, advertised, supported, peer] = [r.u32(), r.u32(), r.u32(), r.u32()].map(featuresFrom10);
    const speeds = { currSpeed: featuresSpeed(curr), maxSpeed: featuresSpeed(supported) };
    return { portNo, hwAddr, name, config, state, curr, advertised, supported, peer, ...speeds };
  }
  if (version <= 4) {
    const portNo = readPort(r, version);
    const hwAddr = r.skip(4).copy(6);
    const name = r.skip(2).text(16);
    const config = r.u32() & CONFIG_SINCE_11;
    const state = r.u32() & STATE_SINCE_11;
    return { portNo, hwAddr, name, config, state, ...ethernet(r) };
  }
  const at = r.pos;
  const portNo = readPort(r, version);
  const length = r.u16();
  if (length < 40 || length - 6 > r.end - r.pos) r.fail('OFPBRC_BAD_LEN');
  r.pos = at;
  const body = r.sub(length).skip(8);
  const hwAddr = body.copy(6);
  const name = body.skip(2).text(16);
  const config = body.u32() & CONFIG_SINCE_11;
  const state = body.u32() & STATE_SINCE_11;
  let speeds = { curr: 0, advertised: 0, supported: 0, peer: 0, currSpeed: 0, maxSpeed: 0 };
  for (const [type, prop] of properties(body)) {
    if (type === 0) {
      if (prop.left !== 28) prop.fail('OFPBPC_BAD_LEN');
      speeds = ethernet(prop.skip(4));
    } else if (type !== 0xffff && type !== 1) prop.fail('OFPBPC_BAD_TYPE');
  }
  return { portNo, hwAddr, name, config, state, ...speeds };
}

function ethernet(r: Reader) {
  return {
    curr: r.u32(),
    advertised: r.u32(),
    supported: r.u32(),
    peer: r.u32(),
    currSpeed: r.u32(),
    maxSpeed: r.u32(),
  };
}
