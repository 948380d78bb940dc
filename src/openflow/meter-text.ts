/** The language of `add-meter` (`ovs-ofctl(8)`, "Meter Syntax"). */
import type { MeterBand, MeterConfig } from './messages-ext.ts';

export type ParsedMeter =
  | { readonly ok: true; readonly meter: MeterConfig }
  | { readonly ok: false; readonly error: string };

const NAMED: Readonly<Record<string, number>> = { all: 0xffffffff, controller: 0xfffffffe, slowpath: 0xfffffffd };
const OFPM_MAX = 0xffff0000;
const FLAGS: Readonly<Record<string, number>> = { kbps: 1, pktps: 2, burst: 4, stats: 8 };
const fail = (error: string): ParsedMeter => ({ ok: false, error });
const number = (text: string, max: number): number | null => {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  return Number(text) <= max ? Number(text) : null;
};

/** `command` `delete` also serves for requests, which name a meter and nothing else. */
export function parseMeter(text: string, command: 'add' | 'modify' | 'delete'): ParsedMeter {
  const wantsBands = command !== 'delete';
  const bandsAt = text.search(/\bbands?\s*=/);
  if (wantsBands && bandsAt < 0) return fail('must specify bands');
  const head = wantsBands ? text.slice(0, bandsAt) : text;
  let meterId = -1;
  let flags = 0;
  for (const word of head.split(/[\s,]+/).filter((w) => w !== '')) {
    const equals = word.indexOf('=');
    const key = equals < 0 ? word : word.slice(0, equals);
    const value = equals < 0 ? '' : word.slice(equals + 1);
    if (wantsBands && equals < 0 && Object.hasOwn(FLAGS, key)) flags |= FLAGS[key];
    else if (equals < 0 || value === '') return fail(`field ${key} missing value`);
    else if (key === 'meter') {
      const named = NAMED[value];
      const id = named ?? number(value, 0xffffffff);
      if (id === null || (named === undefined && (id === 0 || id > OFPM_MAX))) return fail(`invalid value for 'meter'`);
      meterId = id;
    } else return fail(`unknown keyword ${key}`);
  }
  if (meterId < 0) return fail("must specify 'meter'");
  if (wantsBands && (flags & 3) === 0) return fail("meter must specify either 'kbps' or 'pktps'");
  if ((flags & 3) === 3) return fail('Both kbps and pktps flags may not be set');
  if (!wantsBands) return { ok: true, meter: { meterId, flags: 0, bands: [] } };
  const bands: { type: MeterBand['type'] | null; rate: number; burstSize: number; precLevel: number }[] = [];
  for (const word of text
    .slice(bandsAt)
    .split(/[\s,]+/)
    .filter((w) => w !== '')) {
    const [key, ...more] = word.split('=');
    // `band=type=drop` starts a band and says its type at once.
    if (key === 'band' || key === 'bands') {
      bands.push({ type: null, rate: 0, burstSize: 0, precLevel: 0 });
      const rest = more.join('=');
      if (rest === '') continue;
      const [inner, value] = rest.split('=');
      const error = bandField(bands[bands.length - 1], inner, value ?? '');
      if (error !== null) return fail(error);
      continue;
    }
    // Each `type` after the first begins another band.
    let band = bands[bands.length - 1];
    if (key === 'type' && band.type !== null) {
      band = { type: null, rate: 0, burstSize: 0, precLevel: 0 };
      bands.push(band);
    }
    const error = bandField(band, key, more.join('='));
    if (error !== null) return fail(error);
  }
  const done: MeterBand[] = [];
  for (const { type, ...b } of bands) {
    if (type === null) return fail('A meter must have at least one band');
    if (type === 'drop' && b.precLevel !== 0) return fail("Bands of type 'drop' do not have prec_level");
    if (b.rate === 0) return fail('Missing rate value.');
    done.push({ type, ...b });
  }
  return { ok: true, meter: { meterId, flags, bands: done } };
}

function bandField(
  band: { type: MeterBand['type'] | null; rate: number; burstSize: number; precLevel: number },
  key: string,
  value: string,
): string | null {
  if (value === '') return `field ${key} missing value`;
  if (key === 'type') {
    if (value !== 'drop' && value !== 'dscp_remark') return `field type unknown value ${value}`;
    band.type = value;
    return null;
  }
  const n = number(value, key === 'prec_level' ? 0xff : 0xffffffff);
  if (key !== 'rate' && key !== 'burst_size' && key !== 'prec_level') return `unknown keyword ${key}`;
  if (n === null) return `invalid ${key} "${value}"`;
  if (key === 'rate') band.rate = n;
  else if (key === 'burst_size') band.burstSize = n;
  else band.precLevel = n;
  return null;
}
