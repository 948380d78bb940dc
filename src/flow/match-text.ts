/** Reads matches as `ovs-ofctl(8)` does: fields, masks in every notation, and the words that stand for protocols. */
import type { Field } from './field.ts';
import { F, fieldByName } from './fields.ts';
import { OFS } from './layout.ts';
import { Match } from './match.ts';
import { setMatchField } from './match-field.ts';
import { fieldMaskBytes } from './subfield.ts';
import { parseFieldValue, type TextContext } from './value-text.ts';

export { formatMatch } from './match-format.ts';

const DEFAULT_PRIORITY = 32768;

/** Words that stand for an Ethertype and a protocol. */
const PROTOCOLS: Readonly<Record<string, readonly [ethType: number, ipProto: number]>> = {
  eth: [0, 0],
  ip: [0x0800, 0],
  ipv4: [0x0800, 0],
  ip4: [0x0800, 0],
  arp: [0x0806, 0],
  icmp: [0x0800, 1],
  tcp: [0x0800, 6],
  udp: [0x0800, 17],
  sctp: [0x0800, 132],
  ipv6: [0x86dd, 0],
  ip6: [0x86dd, 0],
  icmp6: [0x86dd, 58],
  tcp6: [0x86dd, 6],
  udp6: [0x86dd, 17],
  sctp6: [0x86dd, 132],
  rarp: [0x8035, 0],
  mpls: [0x8847, 0],
  mplsm: [0x8848, 0],
};

/** Applies a word such as `tcp`; false when it is none. */
export function parseProtocol(match: Match, word: string): boolean {
  const protocol = Object.hasOwn(PROTOCOLS, word) ? PROTOCOLS[word] : undefined;
  if (!protocol) return false;
  const [ethType, ipProto] = protocol;
  if (ethType !== 0) {
    match.key.set16(OFS.eth_type, ethType);
    match.mask.set16(OFS.eth_type, 0xffff);
  }
  if (ipProto !== 0) {
    match.key.u8[OFS.ip_proto] = ipProto;
    match.mask.u8[OFS.ip_proto] = 0xff;
  }
  return true;
}

/**
 * Adds `name=value` to a match. Returns null when it did, `undefined` when there is no such field, else the error. `value` empty stands for a field named
 * without one.
 */
export function parseMatchField(
  match: Match,
  name: string,
  value: string,
  ctx: TextContext = {},
): string | null | undefined {
  const field = fieldByName(name);
  if (!field) return undefined;
  // Port fields say what they could not read in their own way.
  if (value === '' && (field === F.in_port || field === F.in_port_oxm)) {
    return `0/0: invalid or unknown port for ${field.name}`;
  }
  if (value === '' && name.startsWith('tun_metadata')) {
    setMatchField(match, field, new Uint8Array(field.bytes), new Uint8Array(field.bytes));
    return null;
  }
  const parsed = parseFieldValue(field, value === '' && !isFlags(field) ? '0/0' : value, ctx);
  if (!parsed.ok) return parsed.error;
  const ones = fieldMaskBytes(field);
  const isZero = parsed.mask.every((b) => b === 0);
  const isOnes = parsed.mask.every((b, i) => (b & ones[i]) === ones[i]);
  if (field.masking === 'none' && !isZero && !parsed.mask.every((b) => b === 0xff)) {
    return `${value}: invalid mask for field ${field.name}`;
  }
  setMatchField(match, field, parsed.value, isOnes ? null : parsed.mask);
  return null;
}

function isFlags(field: Field): boolean {
  return field.format === 'ct_state' || field.format === 'tcp_flags' || field.format === 'tunnel_flags';
}

export type MatchResult =
  | { readonly ok: true; readonly match: Match; readonly priority: number }
  | { readonly ok: false; readonly error: string };

/** Reads a whole match: fields, protocol words and `priority=`. */
export function parseMatch(text: string, ctx: TextContext = {}): MatchResult {
  const match = new Match();
  let priority = DEFAULT_PRIORITY;
  for (const { key, value, hasValue } of splitKeyValues(text)) {
    if (!hasValue && parseProtocol(match, key)) continue;
    if (key === 'priority') {
      const n = Number(value);
      if (!/^\d+$/.test(value) || n > 0xffff) return { ok: false, error: `invalid priority "${value}"` };
      priority = n;
      continue;
    }
    if (!hasValue && !fieldByName(key)) return { ok: false, error: `field ${key} missing value` };
    const error = parseMatchField(match, key, value, ctx);
    if (error === undefined) return { ok: false, error: `unknown keyword ${key}` };
    if (error !== null) return { ok: false, error };
  }
  return { ok: true, match, priority };
}

/**
 * Splits `key=value,key(value),key:value,word` as the tools do: separated by commas or white space, values may hold anything within balanced
 * parentheses.
 */
export function splitKeyValues(text: string): { key: string; value: string; hasValue: boolean; delimiter: string }[] {
  const out: { key: string; value: string; hasValue: boolean; delimiter: string }[] = [];
  let i = 0;
  while (i < text.length) {
    if (/[, \t\r\n]/.test(text[i])) {
      i++;
      continue;
    }
    const start = i;
    while (i < text.length && !/[,=:( \t\r\n]/.test(text[i])) i++;
    const key = text.slice(start, i);
    const delimiter = text[i] ?? '';
    if (delimiter === '(') {
      const from = ++i;
      for (let depth = 1; i < text.length; i++) {
        if (text[i] === '(') depth++;
        else if (text[i] === ')' && --depth === 0) break;
      }
      out.push({ key, value: text.slice(from, i), hasValue: true, delimiter });
      i++;
      // `load(5)->reg0` style remainders belong to the value.
    } else if (delimiter === '=' || delimiter === ':') {
      const from = ++i;
      for (let depth = 0; i < text.length; i++) {
        if (text[i] === '(') depth++;
        else if (text[i] === ')' && depth > 0) depth--;
        else if (depth === 0 && /[, \t\r\n]/.test(text[i])) break;
      }
      out.push({ key, value: text.slice(from, i), hasValue: true, delimiter });
    } else {
      out.push({ key, value: '', hasValue: false, delimiter: '' });
    }
  }
  return out;
}
