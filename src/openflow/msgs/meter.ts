/** Meters (OpenFlow 1.3). */
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { MeterBand, MeterConfig, MeterStats } from '../messages-ext.ts';
import { readDuration, writeDuration } from './duration.ts';
import { entry } from './entry.ts';

const COMMANDS = ['add', 'modify', 'delete'] as const;
const BANDS = ['drop', 'dscp_remark'] as const;
const BAND_LEN = 16;
const FLAGS_ALL = 15;
const KBPS = 1;
const PKTPS = 2;

function writeBands(w: Writer, bands: readonly MeterBand[]): void {
  for (const band of bands) {
    w.u16(BANDS.indexOf(band.type) + 1)
      .u16(BAND_LEN)
      .u32(band.rate)
      .u32(band.burstSize);
    w.u8(band.type === 'dscp_remark' ? band.precLevel : 0).zero(3);
  }
}
function readBands(r: Reader): MeterBand[] {
  const bands: MeterBand[] = [];
  while (r.left > 0) {
    if (r.left < BAND_LEN) r.fail('OFPBRC_BAD_LEN');
    const type = BANDS[r.u16() - 1];
    if (type === undefined) r.fail('OFPMMFC_BAD_BAND');
    if (r.u16() !== BAND_LEN) r.fail('OFPBRC_BAD_LEN');
    const rate = r.u32();
    const burstSize = r.u32();
    const precLevel = r.u8();
    r.skip(3);
    bands.push({ type, rate, burstSize, precLevel: type === 'dscp_remark' ? precLevel : 0 });
  }
  return bands;
}

const meterMod = codec(
  'meter_mod',
  [spot('of', 4, 6, 29, 'OFPT_METER_MOD')],
  (w, { command, meter }) => {
    w.u16(COMMANDS.indexOf(command)).u16(meter.flags).u32(meter.meterId);
    if (command !== 'delete') writeBands(w, meter.bands);
  },
  (r) => {
    const command = COMMANDS[r.u16()];
    if (command === undefined) r.fail('OFPMMFC_BAD_COMMAND');
    const flags = r.u16();
    const meterId = r.u32();
    if (command === 'delete') return { type: 'meter_mod', command, meter: { meterId, flags: 0, bands: [] } };
    const unit = flags & (KBPS | PKTPS);
    if (flags & ~FLAGS_ALL || unit === (KBPS | PKTPS)) r.fail('OFPMMFC_BAD_FLAGS');
    return {
      type: 'meter_mod',
      command,
      meter: { meterId, flags: unit === 0 ? flags | KBPS : flags, bands: readBands(r) },
    };
  },
);

const byId = (type: 'meter_config_request' | 'meter_stats_request', number: number, name: string) =>
  codec(
    type,
    [spot('req', 4, 6, number, `OFPST_${name} request`, 24)],
    (w, m) => void w.u32(m.meterId).zero(4),
    (r) => ({ type, meterId: r.u32() }),
  );

const meterConfigReply = codec(
  'meter_config_reply',
  [spot('rep', 4, 6, 10, 'OFPST_METER_CONFIG reply')],
  (w, m) => {
    w.boundary();
    for (const meter of m.meters) {
      const start = w.len;
      w.u16(0).u16(meter.flags).u32(meter.meterId);
      writeBands(w, meter.bands);
      w.length16(start, start);
      w.boundary();
    }
  },
  (r, { more }) => {
    const meters: MeterConfig[] = [];
    while (r.left > 0) {
      const e = entry(r, 8);
      meters.push({ flags: e.u16(), meterId: e.u32(), bands: readBands(e) });
    }
    return { type: 'meter_config_reply', more, meters };
  },
);

const meterStatsReply = codec(
  'meter_stats_reply',
  [spot('rep', 4, 6, 9, 'OFPST_METER reply')],
  (w, m) => {
    w.boundary();
    for (const s of m.meters) {
      const start = w.len;
      w.u32(s.meterId).u16(0).zero(6).u32(s.flowCount).count64(s.packets).count64(s.bytes);
      writeDuration(w, s.durationMs);
      for (const band of s.bands) w.count64(band.packets).count64(band.bytes);
      w.length16(start + 4, start);
      w.boundary();
    }
  },
  (r, { more }) => {
    const meters: MeterStats[] = [];
    while (r.left > 0) {
      const at = r.pos;
      const meterId = r.u32();
      const length = r.u16();
      if (length < 40 || length > r.end - at) r.fail('OFPBRC_BAD_LEN');
      r.pos = at;
      const e = r.sub(length).skip(12);
      const head = {
        meterId,
        flowCount: e.u32(),
        packets: e.count64(),
        bytes: e.count64(),
        durationMs: readDuration(e),
      };
      const bands = [];
      while (e.left > 0) bands.push({ packets: e.count64(), bytes: e.count64() });
      meters.push({ ...head, bands });
    }
    return { type: 'meter_stats_reply', more, meters };
  },
);

const meterFeaturesRequest = codec(
  'meter_features_request',
  [spot('req', 4, 6, 11, 'OFPST_METER_FEATURES request', 16)],
  () => {},
  () => ({ type: 'meter_features_request' }),
);
const meterFeaturesReply = codec(
  'meter_features_reply',
  [spot('rep', 4, 6, 11, 'OFPST_METER_FEATURES reply', 32)],
  (w, { features: f }) =>
    void w.u32(f.maxMeters).u32(f.bandTypes).u32(f.capabilities).u8(f.maxBands).u8(f.maxColor).zero(2),
  (r) => ({
    type: 'meter_features_reply',
    features: { maxMeters: r.u32(), bandTypes: r.u32(), capabilities: r.u32(), maxBands: r.u8(), maxColor: r.u8() },
  }),
);

export const meterCodecs = [
  meterMod,
  byId('meter_stats_request', 9, 'METER'),
  meterStatsReply,
  byId('meter_config_request', 10, 'METER_CONFIG'),
  meterConfigReply,
  meterFeaturesRequest,
  meterFeaturesReply,
];
