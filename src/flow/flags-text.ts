/** Sets of flags as text: `ct_state`, `tcp_flags`, `tun_flags` and the names of `ip_frag`. */

export interface FlagSet {
  /** What an unknown flag is called in an error: `unknown ct_state flag(s)`. */
  readonly unknown: string;
  /** What a flag given twice is called in an error: `Each ct_state flag can be specified only once`. */
  readonly each: string;
  /** All bits that have a name. */
  readonly allowed: number;
  readonly bits: readonly (readonly [bit: number, name: string])[];
}

const flagSet = (unknown: string, each: string, bits: readonly (readonly [number, string])[]): FlagSet => ({
  unknown,
  each,
  bits,
  allowed: bits.reduce((all, [bit]) => all | bit, 0),
});

export const CT_STATE = {
  new: 0x01,
  est: 0x02,
  rel: 0x04,
  rpl: 0x08,
  inv: 0x10,
  trk: 0x20,
  snat: 0x40,
  dnat: 0x80,
} as const;

export const CT_STATE_FLAGS = flagSet(
  'ct_state flag(s)',
  'ct_state',
  Object.entries(CT_STATE).map(([name, bit]) => [bit, name] as const),
);

export const TCP_FLAG_SET = flagSet('TCP flag(s)', 'TCP', [
  [0x001, 'fin'],
  [0x002, 'syn'],
  [0x004, 'rst'],
  [0x008, 'psh'],
  [0x010, 'ack'],
  [0x020, 'urg'],
  [0x040, 'ece'],
  [0x080, 'cwr'],
  [0x100, 'ns'],
  [0x200, '[200]'],
  [0x400, '[400]'],
  [0x800, '[800]'],
]);

/** Bits of `tun_flags`: the first is OpenFlow's, the others exist only in a datapath's flow. */
export const TUN_FLAG = { oam: 0x01, df: 0x02, csum: 0x04, key: 0x08 } as const;

export const TUN_FLAG_SET = flagSet('tunnel flag(s)', 'tunnel', [[TUN_FLAG.oam, 'oam']]);
export const DP_TUN_FLAG_SET = flagSet(
  'tunnel flag(s)',
  'tunnel',
  Object.entries(TUN_FLAG).map(([name, bit]) => [bit, name] as const),
);

/** `syn|ack`; bits without a name follow in hexadecimal; `0` for none. */
export function formatFlags(value: number, set: FlagSet, separator = '|'): string {
  if (value === 0) return '0';
  const names = set.bits.filter(([bit]) => (value & bit) !== 0).map(([, name]) => name);
  const rest = value & ~set.allowed;
  if (rest !== 0) names.push(`0x${rest.toString(16)}`);
  return names.join(separator);
}

/** `+trk-new`, or `trk` where the mask covers every flag there is. */
export function formatFlagsMasked(value: number, mask: number, set: FlagSet, full = set.allowed): string {
  if (mask === full) return formatFlags(value, set);
  let out = '';
  for (const [bit, name] of set.bits) if ((mask & bit) !== 0) out += ((value & bit) !== 0 ? '+' : '-') + name;
  return out;
}

export type FlagsResult =
  | { readonly ok: true; readonly value: number; readonly mask: number }
  | { readonly ok: false; readonly error: string };

/** Reads `+a-b`, `a|b`, a number, or `value/mask`. */
export function parseFlags(text: string, set: FlagSet): FlagsResult {
  const unknown = (what: string): FlagsResult => ({ ok: false, error: `${what}: unknown ${set.unknown}` });
  const number = /^(0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?$/i.exec(text);
  if (number) {
    const value = Number(number[1]);
    const mask = number[2] === undefined ? set.allowed : Number(number[2]);
    if (value > set.allowed || (value & ~set.allowed) !== 0 || mask > 0xffffffff || (mask & ~set.allowed) !== 0) {
      return unknown(text);
    }
    return { ok: true, value: value & mask, mask };
  }
  let value = 0;
  let mask = 0;
  if (/^[+-]/.test(text)) {
    for (const [, sign, name] of text.matchAll(/([+-])([^+-]*)/g)) {
      const bit = set.bits.find((b) => b[1] === name)?.[0];
      if (bit === undefined) return unknown(name);
      if ((mask & bit) !== 0) return { ok: false, error: `${name}: Each ${set.each} flag can be specified only once` };
      mask |= bit;
      if (sign === '+') value |= bit;
    }
    return { ok: true, value, mask };
  }
  if (text === '') return { ok: true, value: 0, mask: 0 };
  for (const name of text.split('|')) {
    const bit = set.bits.find((b) => b[1] === name)?.[0];
    if (bit === undefined) return unknown(text);
    value |= bit;
  }
  return { ok: true, value, mask: set.allowed };
}

/** `ip_frag` values of bits 0 (any fragment) and 1 (later fragment). */
const FRAG_NAMES: readonly (readonly [name: string, value: number, mask: number])[] = [
  ['no', 0, 3],
  ['yes', 1, 1],
  ['first', 1, 3],
  ['later', 3, 3],
  ['not_later', 0, 2],
];

export function formatFrag(value: number, mask: number): string {
  const found = FRAG_NAMES.find(([, v, m]) => v === value && m === mask);
  if (found) return found[0];
  // A later fragment may be matched by its own bit alone.
  if (mask === 2 && value === 2) return 'later';
  return '<error>';
}

export function parseFrag(text: string): { value: number; mask: number } | null {
  const found = FRAG_NAMES.find(([name]) => name === text.toLowerCase());
  return found ? { value: found[1], mask: found[2] } : null;
}
