/** OXS: statistics as type-length-values (OpenFlow 1.5 7.2.4). */
import type { Reader, Writer } from '../bytes.ts';
import { readDuration, writeDuration } from './duration.ts';

const OFPXSC_BASIC = 0x8002;
const DURATION = 0;
const IDLE_TIME = 1;
const FLOW_COUNT = 3;
const PACKET_COUNT = 4;
const BYTE_COUNT = 5;

export interface Oxs {
  durationMs?: number;
  idleMs?: number;
  flows?: number;
  packets?: number;
  bytes?: number;
}

const header = (w: Writer, field: number, length: number) =>
  w
    .u16(OFPXSC_BASIC)
    .u8(field << 1)
    .u8(length);

export function writeOxs(w: Writer, s: Oxs): void {
  const start = w.len;
  w.u16(0).u16(0);
  if (s.durationMs !== undefined) writeDuration(header(w, DURATION, 8), s.durationMs);
  if (s.idleMs !== undefined) writeDuration(header(w, IDLE_TIME, 8), s.idleMs);
  if (s.flows !== undefined) header(w, FLOW_COUNT, 4).u32(s.flows);
  if (s.packets !== undefined) header(w, PACKET_COUNT, 8).count64(s.packets);
  if (s.bytes !== undefined) header(w, BYTE_COUNT, 8).count64(s.bytes);
  w.length16(start + 2, start).align(8, start);
}

export function readOxs(r: Reader): Oxs {
  if (r.left < 4) r.fail('OFPBRC_BAD_LEN');
  r.skip(2);
  const length = r.u16();
  const pad = (8 - (length % 8)) % 8;
  if (length < 4 || length - 4 + pad > r.left) r.fail('OFPBRC_BAD_LEN');
  const fields = r.sub(length - 4);
  r.skip(pad);
  const s: Oxs = {};
  while (fields.left > 0) {
    const oxsClass = fields.u16();
    const field = fields.u8() >> 1;
    const value = fields.sub(fields.u8());
    if (oxsClass !== OFPXSC_BASIC) continue;
    if (field === DURATION) s.durationMs = readDuration(value);
    else if (field === IDLE_TIME) s.idleMs = readDuration(value);
    else if (field === FLOW_COUNT) s.flows = value.u32();
    else if (field === PACKET_COUNT) s.packets = value.count64();
    else if (field === BYTE_COUNT) s.bytes = value.count64();
  }
  return s;
}
