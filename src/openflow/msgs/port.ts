/** Ports: status, changes, descriptions and statistics. */
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { OfpVersion, PortStats } from '../messages.ts';
import { OFPP } from '../ports.ts';
import { readDuration, writeDuration } from './duration.ts';
import { decodePhyPort, encodePhyPort, properties, property, readPort, writePort } from './phy-port.ts';

const REASONS = ['add', 'delete', 'modify'] as const;
/** Vendor and types of the properties with further counters. */
const INTEL_VENDOR_ID = 0x0000aa01;
const STATS_RFC2819 = 1;
const STATS_CUSTOM = 2;
/** Counters of the RFC 2819 property, in wire order. */
export const RFC2819_COUNTERS = 28;

const portStatus = codec(
  'port_status',
  [spot('of', 1, 6, 12, 'OFPT_PORT_STATUS')],
  (w, m, { version }) => {
    w.u8(REASONS.indexOf(m.reason)).zero(7);
    encodePhyPort(w, m.port, version);
  },
  (r, { version }) => {
    const reason = r.u8();
    if (reason >= REASONS.length) r.fail('NXBRC_BAD_REASON');
    r.skip(7);
    return { type: 'port_status', reason: REASONS[reason], port: decodePhyPort(r, version) };
  },
);

const portMod = codec(
  'port_mod',
  [
    spot('of', 1, 1, 15, 'OFPT_PORT_MOD', 32),
    spot('of', 2, 4, 16, 'OFPT_PORT_MOD', 40),
    spot('of', 5, 6, 16, 'OFPT_PORT_MOD'),
  ],
  (w, m, { version }) => {
    writePort(w, m.portNo, version);
    if (version >= 2) w.zero(4);
    w.bytes(m.hwAddr);
    if (version >= 2) w.zero(2);
    w.u32(m.config).u32(m.mask);
    const advertise = version === 1 ? (m.advertise & 0x7f) | ((m.advertise >>> 4) & 0xf80) : m.advertise;
    if (version <= 4) w.u32(advertise).zero(4);
    else if (advertise !== 0) property(w, 0, () => w.u32(advertise));
  },
  (r, { version }) => {
    const portNo = readPort(r, version);
    if (version >= 2) r.skip(4);
    const hwAddr = r.copy(6);
    if (version >= 2) r.skip(2);
    const allowed = version === 1 ? 0x7f : 0x65;
    const config = r.u32() & allowed;
    const mask = r.u32() & allowed;
    let advertise = 0;
    if (version <= 4) {
      const wire = r.u32();
      advertise = version === 1 ? (wire & 0x7f) | ((wire & 0xf80) << 4) : wire;
    } else {
      for (const [type, prop] of properties(r)) {
        if (type === 0) {
          if (prop.left !== 4) prop.fail('OFPBPC_BAD_LEN');
          advertise = prop.u32();
        } else if (type !== 1) prop.fail(type === 0xffff ? 'OFPBPC_BAD_EXPERIMENTER' : 'OFPBPC_BAD_TYPE');
      }
    }
    return { type: 'port_mod', portNo, hwAddr, config: config & mask, mask, advertise };
  },
);

const portDescRequest = codec(
  'port_desc_request',
  [
    spot('req', 1, 1, 13, 'OFPST_PORT_DESC request', 12),
    spot('req', 2, 5, 13, 'OFPST_PORT_DESC request', 16),
    spot('req', 6, 6, 13, 'OFPST_PORT_DESC request', 24),
  ],
  (w, m, { version }) => {
    if (version < 6) return;
    writePort(w, m.portNo, version);
    w.zero(4);
  },
  (r, { version }) => ({ type: 'port_desc_request', portNo: version < 6 ? OFPP.NONE : readPort(r, version) }),
);
const portDescReply = codec(
  'port_desc_reply',
  [spot('rep', 1, 6, 13, 'OFPST_PORT_DESC reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const port of m.ports) {
      encodePhyPort(w, port, version);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    const ports = [];
    while (r.left > 0) ports.push(decodePhyPort(r, version));
    return { type: 'port_desc_reply', more, ports };
  },
);

const portStatsRequest = codec(
  'port_stats_request',
  [spot('req', 1, 1, 4, 'OFPST_PORT request', 20), spot('req', 2, 6, 4, 'OFPST_PORT request', 24)],
  (w, m, { version }) => {
    writePort(w, m.portNo, version);
    w.zero(version === 1 ? 6 : 4);
  },
  (r, { version }) => ({ type: 'port_stats_request', portNo: readPort(r, version) }),
);

function encodePortStats(w: Writer, s: PortStats, version: OfpVersion): void {
  const start = w.len;
  if (version >= 5) w.u16(0).zero(2);
  writePort(w, s.portNo, version);
  if (version <= 4) w.zero(version === 1 ? 6 : 4);
  else writeDuration(w, s.durationMs);
  w.count64(s.rxPackets).count64(s.txPackets).count64(s.rxBytes).count64(s.txBytes);
  w.count64(s.rxDropped).count64(s.txDropped).count64(s.rxErrors).count64(s.txErrors);
  const errors = () => w.count64(s.rxFrameErr).count64(s.rxOverErr).count64(s.rxCrcErr).count64(s.collisions);
  if (version <= 4) {
    errors();
    if (version === 4) writeDuration(w, s.durationMs);
    return;
  }
  property(w, 0, () => {
    w.zero(4);
    errors();
  });
  if (s.rfc2819 !== undefined) {
    property(w, 0xffff, () => {
      w.u32(INTEL_VENDOR_ID).u32(STATS_RFC2819).zero(4);
      for (let i = 0; i < RFC2819_COUNTERS; i++) w.count64(s.rfc2819![i] ?? -1);
    });
  }
  if (s.custom !== undefined && s.custom.length > 0) {
    property(w, 0xffff, () => {
      w.u32(INTEL_VENDOR_ID).u32(STATS_CUSTOM).zero(2).u16(s.custom!.length);
      for (const { name, value } of s.custom!) {
        const text = new TextEncoder().encode(name).subarray(0, 255);
        w.u8(text.length).bytes(text).count64(value);
      }
    });
  }
  w.length16(start, start);
}

function decodePortStats(r: Reader, version: OfpVersion): PortStats {
  let body = r;
  if (version >= 5) {
    const at = r.pos;
    const length = r.u16();
    if (length < 80 || length > r.end - at) r.fail('OFPBRC_BAD_LEN');
    r.pos = at;
    body = r.sub(length).skip(4);
  }
  const portNo = readPort(body, version);
  let durationMs = -1;
  if (version <= 4) body.skip(version === 1 ? 6 : 4);
  else durationMs = readDuration(body);
  const c = () => body.count64();
  const stats = {
    portNo,
    rxPackets: c(),
    txPackets: c(),
    rxBytes: c(),
    txBytes: c(),
    rxDropped: c(),
    txDropped: c(),
    rxErrors: c(),
    txErrors: c(),
  };
  const errors = (from: Reader) => ({
    rxFrameErr: from.count64(),
    rxOverErr: from.count64(),
    rxCrcErr: from.count64(),
    collisions: from.count64(),
  });
  if (version <= 4) {
    const all = { ...stats, ...errors(body) };
    return { ...all, durationMs: version === 4 ? readDuration(body) : -1 };
  }
  let ether = { rxFrameErr: -1, rxOverErr: -1, rxCrcErr: -1, collisions: -1 };
  const further: { rfc2819?: number[]; custom?: { name: string; value: number }[] } = {};
  for (const [type, prop] of properties(body)) {
    if (type === 0) {
      if (prop.left !== 36) prop.fail('OFPBPC_BAD_LEN');
      ether = errors(prop.skip(4));
    } else if (type === 0xffff) {
      if (prop.u32() !== INTEL_VENDOR_ID) continue;
      const kind = prop.u32();
      if (kind === STATS_RFC2819) {
        prop.skip(4);
        further.rfc2819 = [];
        while (prop.left >= 8) further.rfc2819.push(prop.count64());
      } else if (kind === STATS_CUSTOM) {
        further.custom = [];
        for (let n = prop.skip(2).u16(); n > 0; n--) {
          const name = prop.text(prop.u8());
          further.custom.push({ name, value: prop.count64() });
        }
      }
    }
  }
  return { ...stats, durationMs, ...ether, ...further };
}

const portStatsReply = codec(
  'port_stats_reply',
  [spot('rep', 1, 6, 4, 'OFPST_PORT reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const port of m.ports) {
      encodePortStats(w, port, version);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    const ports: PortStats[] = [];
    while (r.left > 0) ports.push(decodePortStats(r, version));
    return { type: 'port_stats_reply', more, ports };
  },
);

export const portCodecs = [portStatus, portMod, portDescRequest, portDescReply, portStatsRequest, portStatsReply];
