/**
 * Values of fields as text, in the format that each field's row names. `ovs-fields(7)`, "Field Formats"
 *
 * Values and masks are in wire form: big-endian, `field.bytes` long. Errors are whole messages in the words of `ovs-ofctl`.
 */
import {
  formatEth,
  formatEthMasked,
  formatIpv4,
  formatIpv4Masked,
  formatIpv6Masked,
  parseEth,
  parseIpv4,
  parseIpv6,
  prefixMask,
} from './address-text.ts';
import type { Field } from './field.ts';
import {
  CT_STATE_FLAGS,
  formatFlagsMasked,
  formatFrag,
  parseFlags,
  parseFrag,
  TCP_FLAG_SET,
  TUN_FLAG_SET,
} from './flags-text.ts';
import { formatPort, type Names, parsePort } from './names.ts';
import { bytesOfBigint, bytesOfNumber, fieldMaskBytes, numberOfBytes, portFrom32, portTo32 } from './subfield.ts';

export type ValueResult =
  | { readonly ok: true; readonly value: Uint8Array; readonly mask: Uint8Array }
  | { readonly ok: false; readonly error: string };

export interface TextContext {
  readonly names?: Names;
  readonly warn?: (text: string) => void;
}

const fail = (error: string): ValueResult => ({ ok: false, error });

/**
 * An integer as C's `strtoull` with base 0 reads it, or hexadecimal digits of any length behind `0x`. Returns how far it read; null when there is no
 * number; `value` null when it does not fit in `bytes`.
 */
export function parseInteger(text: string, bytes: number): { value: bigint | null; end: number } | null {
  const m = /^\s*(?:(0x)([0-9a-f]*)|([+-]?)(\d+))/i.exec(text);
  if (!m) return null;
  let value: bigint;
  let end = m[0].length;
  if (m[1]) value = m[2] === '' ? 0n : BigInt(`0x${m[2]}`);
  else {
    let digits = m[4];
    if (/^0\d/.test(digits)) {
      const octal = /^[0-7]+/.exec(digits)?.[0] ?? '0';
      end -= digits.length - octal.length;
      digits = `0o${octal}`;
    }
    value = BigInt(digits);
    // Only hexadecimal may have more than 64 bits.
    if (value >> 64n !== 0n) return { value: null, end };
    if (m[3] === '-') value = (1n << 64n) - value;
  }
  return { value: value < 0n || value >> BigInt(bytes * 8) !== 0n ? null : value, end };
}

function parseIntegerField(field: Field, text: string): ValueResult {
  // Most numbers are small and plain.
  if (/^[1-9]\d{0,8}$/.test(text)) {
    const small = Number(text);
    if (field.bytes >= 4 || small < 256 ** field.bytes) {
      return { ok: true, value: bytesOfNumber(small, field.bytes), mask: new Uint8Array(field.bytes).fill(0xff) };
    }
  }
  const v = parseInteger(text, field.bytes);
  if (!v) return fail(`${text}: bad syntax for ${field.name} value`);
  if (v.value === null) return fail(`${text}: value too large for ${field.bytes}-byte field ${field.name}`);
  const value = bytesOfBigint(v.value, field.bytes);
  let tail = text.slice(v.end);
  if (tail === '') return { ok: true, value, mask: new Uint8Array(field.bytes).fill(0xff) };
  if (!tail.startsWith('/')) return fail(`${text}: bad syntax for ${field.name} value`);
  tail = tail.slice(1);
  const m = parseInteger(tail, field.bytes);
  if (!m || m.end !== tail.length) return fail(`${text}: bad syntax for ${field.name} mask`);
  if (m.value === null) return fail(`${text}: mask too large for ${field.bytes}-byte field ${field.name}`);
  return { ok: true, value, mask: bytesOfBigint(m.value, field.bytes) };
}

function parseEthernet(text: string): ValueResult {
  const slash = text.indexOf('/');
  const value = parseEth(slash < 0 ? text : text.slice(0, slash));
  const mask = slash < 0 ? new Uint8Array(6).fill(0xff) : parseEth(text.slice(slash + 1));
  return value && mask ? { ok: true, value, mask } : fail(`${text}: invalid Ethernet address`);
}

function parseAddress(text: string, bytes: 4 | 16): ValueResult {
  const parse = bytes === 4 ? parseIpv4 : parseIpv6;
  const name = bytes === 4 ? 'IP' : 'IPv6';
  const slash = text.indexOf('/');
  const value = parse(slash < 0 ? text : text.slice(0, slash));
  if (!value) return fail(`${text}: invalid ${name} address`);
  if (slash < 0) return { ok: true, value, mask: new Uint8Array(bytes).fill(0xff) };
  const tail = text.slice(slash + 1);
  // What begins like a decimal number is the length of a prefix for IPv6.
  const mask = bytes === 16 && /^\d/.test(tail) ? null : parse(tail);
  if (mask) return { ok: true, value, mask };
  if (bytes === 16 && Number.parseInt(tail, 10) > 128) {
    return fail(`${text}: IPv6 network prefix bits not between 0 and 128, inclusive`);
  }
  if (!/^\d+$/.test(tail)) return fail(`${text}: invalid ${name} address`);
  if (Number(tail) > bytes * 8) {
    return fail(`${text}: IPv${bytes === 4 ? 4 : 6} network prefix bits not between 0 and ${bytes * 8}, inclusive`);
  }
  return { ok: true, value, mask: prefixMask(Number(tail), bytes) };
}

function parsePortField(field: Field, text: string, ctx: TextContext): ValueResult {
  const full = new Uint8Array(field.bytes).fill(0xff);
  const port = parsePort(text, ctx.names, ctx.warn);
  if (port >= 0)
    return { ok: true, value: bytesOfNumber(field.bytes === 4 ? portTo32(port) : port, field.bytes), mask: full };
  if (field.format === 'ofp_port_oxm' && /^(0x[0-9a-f]+|\d+)$/i.test(text)) {
    return fail(`${text}: port value out of range for ${field.name}`);
  }
  return fail(`${text}: invalid or unknown port for ${field.name}`);
}

function parsePacketType(text: string): ValueResult {
  if (!text.startsWith('(')) return fail(`${text}: bad syntax for packet type missing '('`);
  const m = /^\(\s*([^,]*),([^)]*)(\))?(.*)$/.exec(text);
  if (!m) return fail(`${text}: bad syntax for packet type missing ','`);
  const ns = parseInteger(m[1], 2);
  if (!ns || ns.value === null) return fail(`${m[1]}: bad syntax for packet type namespace`);
  const type = parseInteger(m[2], 2);
  if (!type || type.value === null) return fail(`${m[2]}: bad syntax for packet type`);
  if (!m[3] || m[4] !== '') return fail(`${m[2]},: bad syntax for packet type missing ')'`);
  const value = bytesOfNumber(Number(ns.value) * 0x10000 + Number(type.value), 4);
  return { ok: true, value, mask: new Uint8Array(4).fill(0xff) };
}

/** Reads `value` or `value/mask`; `*` is a mask of zeros. Whether the field may have that mask is the caller's to check. */
export function parseFieldValue(field: Field, text: string, ctx: TextContext = {}): ValueResult {
  if (text === '*') {
    return { ok: true, value: new Uint8Array(field.bytes), mask: new Uint8Array(field.bytes) };
  }
  switch (field.format) {
    case 'decimal':
    case 'hex':
    case 'be16_hex':
      return parseIntegerField(field, text);
    case 'ethernet':
      return parseEthernet(text);
    case 'ipv4':
      return parseAddress(text, 4);
    case 'ipv6':
      return parseAddress(text, 16);
    case 'ofp_port':
    case 'ofp_port_oxm':
      return parsePortField(field, text, ctx);
    case 'frag': {
      const frag = parseFrag(text);
      return frag
        ? { ok: true, value: Uint8Array.of(frag.value), mask: Uint8Array.of(frag.mask) }
        : fail(`${text}: unknown fragment type (valid types are "no", "yes", "first", "later", "not_later"`);
    }
    case 'ct_state':
    case 'tcp_flags':
    case 'tunnel_flags': {
      const set =
        field.format === 'ct_state' ? CT_STATE_FLAGS : field.format === 'tcp_flags' ? TCP_FLAG_SET : TUN_FLAG_SET;
      const r = parseFlags(text, set);
      if (!r.ok) return r;
      return { ok: true, value: bytesOfNumber(r.value, field.bytes), mask: bytesOfNumber(r.mask, field.bytes) };
    }
    case 'packet_type':
      return parsePacketType(text);
  }
}

function hex(bytes: Uint8Array): string {
  const digits = Buffer.from(bytes).toString('hex').replace(/^0+/, '');
  return `0x${digits === '' ? '0' : digits}`;
}

/** How a value (and a mask, null for all of it) of a field prints on its own, as in `set_field` or `ofproto/trace`. */
export function formatFieldValue(
  field: Field,
  value: Uint8Array,
  mask: Uint8Array | null = null,
  names?: Names,
): string {
  if (mask?.every((b) => b === 0)) return 'ANY';
  const exact = fieldMaskBytes(field);
  const full = mask === null || mask.every((b, i) => (b & exact[i]) === exact[i]);
  switch (field.format) {
    case 'decimal':
      if (full) return numberOfBytes(value).toString();
      return `${hex(value)}/${hex(mask!)}`;
    case 'hex':
    case 'be16_hex':
      return full ? hex(value) : `${hex(value)}/${hex(mask!)}`;
    case 'ethernet':
      return full ? formatEth(value) : formatEthMasked(value, mask!);
    case 'ipv4':
      return full ? formatIpv4(value) : formatIpv4Masked(value, mask!);
    case 'ipv6':
      return formatIpv6Masked(value, full ? exact : mask!);
    case 'ofp_port':
      return formatPort(numberOfBytes(value), names);
    case 'ofp_port_oxm': {
      const port = portFrom32(numberOfBytes(value));
      return port < 0 ? String(numberOfBytes(value)) : formatPort(port, names);
    }
    case 'frag':
      return formatFrag(value[0], full ? 3 : mask![0]);
    case 'ct_state':
    case 'tcp_flags':
    case 'tunnel_flags': {
      const set =
        field.format === 'ct_state' ? CT_STATE_FLAGS : field.format === 'tcp_flags' ? TCP_FLAG_SET : TUN_FLAG_SET;
      return formatFlagsMasked(numberOfBytes(value), full ? set.allowed : numberOfBytes(mask!), set);
    }
    case 'packet_type': {
      const ns = (value[0] << 8) | value[1];
      const type = (value[2] << 8) | value[3];
      return `(${ns},${ns === 1 ? `0x${type.toString(16)}` : type})`;
    }
  }
}
