/**
 * The groups of a datapath flow as `ovs-dpctl dump-flows` writes them: `ipv4(src=10.0.0.1,ttl=64)`. One table says which fields of the key a group shows,
 * under which names and how; keys, masks and `set` actions are read and written from it.
 */
import { formatEth, formatIpv4, formatIpv6, parseEth, parseIpv4, parseIpv6 } from './address-text.ts';
import { formatFrag, parseFrag } from './flags-text.ts';
import type { FlowKey, FlowMask } from './key.ts';
import { OFS } from './layout.ts';
import { parseInteger } from './value-text.ts';

/** `dec` and `hex` numbers of 1, 2, 3, 4 or 8 bytes; `flag` is hexadecimal even when 0. */
export type DpFormat = 'dec' | 'hex' | 'eth' | 'ipv4' | 'ipv6' | 'frag';

export interface DpField {
  readonly name: string;
  /** Another name that is read, too. */
  readonly alias?: string;
  readonly ofs: number;
  readonly bytes: number;
  readonly format: DpFormat;
}

export interface DpGroup {
  readonly name: string;
  readonly fields: readonly DpField[];
}

const dec = (name: string, ofs: number, bytes = 1, alias?: string): DpField => ({
  name,
  ofs,
  bytes,
  format: 'dec',
  alias,
});
const hex = (name: string, ofs: number, bytes = 1): DpField => ({ name, ofs, bytes, format: 'hex' });
const eth = (name: string, ofs: number): DpField => ({ name, ofs, bytes: 6, format: 'eth' });
const ipv4 = (name: string, ofs: number): DpField => ({ name, ofs, bytes: 4, format: 'ipv4' });
const ipv6 = (name: string, ofs: number): DpField => ({ name, ofs, bytes: 16, format: 'ipv6' });
const frag: DpField = { name: 'frag', ofs: OFS.ip_frag, bytes: 1, format: 'frag' };
const ports = (name: string): DpGroup => ({ name, fields: [dec('src', OFS.tp_src, 2), dec('dst', OFS.tp_dst, 2)] });

export const DP_GROUPS = {
  packet_type: { name: 'packet_type', fields: [dec('ns', OFS.packet_type, 2), hex('id', OFS.packet_type + 2, 2)] },
  eth: { name: 'eth', fields: [eth('src', OFS.eth_src), eth('dst', OFS.eth_dst)] },
  ipv4: {
    name: 'ipv4',
    fields: [
      ipv4('src', OFS.ip_src),
      ipv4('dst', OFS.ip_dst),
      dec('proto', OFS.ip_proto),
      hex('tos', OFS.ip_tos),
      dec('ttl', OFS.ip_ttl),
      frag,
    ],
  },
  ipv6: {
    name: 'ipv6',
    fields: [
      ipv6('src', OFS.ipv6_src),
      ipv6('dst', OFS.ipv6_dst),
      hex('label', OFS.ipv6_label, 4),
      dec('proto', OFS.ip_proto),
      hex('tclass', OFS.ip_tos),
      dec('hlimit', OFS.ip_ttl),
      frag,
    ],
  },
  arp: {
    name: 'arp',
    fields: [
      ipv4('sip', OFS.ip_src),
      ipv4('tip', OFS.ip_dst),
      dec('op', OFS.ip_proto),
      eth('sha', OFS.arp_sha),
      eth('tha', OFS.arp_tha),
    ],
  },
  tcp: ports('tcp'),
  udp: ports('udp'),
  sctp: ports('sctp'),
  icmp: { name: 'icmp', fields: [dec('type', OFS.tp_src + 1), dec('code', OFS.tp_dst + 1)] },
  icmpv6: { name: 'icmpv6', fields: [dec('type', OFS.tp_src + 1), dec('code', OFS.tp_dst + 1)] },
  nd: { name: 'nd', fields: [ipv6('target', OFS.nd_target), eth('sll', OFS.arp_sha), eth('tll', OFS.arp_tha)] },
  nd_ext: {
    name: 'nd_ext',
    fields: [hex('nd_reserved', OFS.nd_reserved, 4), dec('nd_options_type', OFS.nd_options_type)],
  },
  nsh: {
    name: 'nsh',
    fields: [
      dec('flags', OFS.nsh_flags),
      dec('ttl', OFS.nsh_ttl),
      dec('mdtype', OFS.nsh_mdtype),
      dec('np', OFS.nsh_np),
      hex('spi', OFS.nsh_spi, 3),
      dec('si', OFS.nsh_si),
      hex('c1', OFS.nsh_c1, 4),
      hex('c2', OFS.nsh_c2, 4),
      hex('c3', OFS.nsh_c3, 4),
      hex('c4', OFS.nsh_c4, 4),
    ],
  },
  ct_tuple4: {
    name: 'ct_tuple4',
    fields: [
      ipv4('src', OFS.ct_nw_src),
      ipv4('dst', OFS.ct_nw_dst),
      dec('proto', OFS.ct_nw_proto),
      dec('tp_src', OFS.ct_tp_src, 2),
      dec('tp_dst', OFS.ct_tp_dst, 2),
    ],
  },
  ct_tuple6: {
    name: 'ct_tuple6',
    fields: [
      ipv6('src', OFS.ct_ipv6_src),
      ipv6('dst', OFS.ct_ipv6_dst),
      dec('proto', OFS.ct_nw_proto),
      dec('src_port', OFS.ct_tp_src, 2, 'tp_src'),
      dec('dst_port', OFS.ct_tp_dst, 2, 'tp_dst'),
    ],
  },
  tunnel: {
    name: 'tunnel',
    fields: [
      hex('tun_id', OFS.tun_id, 8),
      ipv4('src', OFS.tun_src),
      ipv4('dst', OFS.tun_dst),
      ipv6('ipv6_src', OFS.tun_ipv6_src),
      ipv6('ipv6_dst', OFS.tun_ipv6_dst),
      hex('tos', OFS.tun_tos),
      dec('ttl', OFS.tun_ttl),
      dec('tp_src', OFS.tun_tp_src, 2),
      dec('tp_dst', OFS.tun_tp_dst, 2),
    ],
  },
} as const satisfies Record<string, DpGroup>;

/** Groups that are one number: `skb_mark(0x5/0xff)`. */
export const DP_SCALARS = {
  skb_priority: hex('skb_priority', OFS.skb_priority, 4),
  skb_mark: hex('skb_mark', OFS.pkt_mark, 4),
  ct_zone: hex('ct_zone', OFS.ct_zone, 2),
  ct_mark: hex('ct_mark', OFS.ct_mark, 4),
  ct_label: hex('ct_label', OFS.ct_label, 16),
  recirc_id: hex('recirc_id', OFS.recirc_id, 4),
  dp_hash: hex('dp_hash', OFS.dp_hash, 4),
} as const;

/** C's `%#x`. */
export const sharpHex = (v: bigint | number): string => (v === 0n || v === 0 ? '0' : `0x${v.toString(16)}`);

export function readNumber(b: Uint8Array): bigint {
  let v = 0n;
  for (const octet of b) v = (v << 8n) | BigInt(octet);
  return v;
}

const at = (key: FlowKey, f: DpField): Uint8Array => key.u8.subarray(f.ofs, f.ofs + f.bytes);

/** The bits a field has: fields narrower than their bytes are exact with fewer ones. */
function exactMask(f: DpField): bigint {
  if (f.ofs === OFS.ipv6_label) return 0xfffffn;
  if (f.ofs === OFS.nsh_ttl) return 0x3fn;
  if (f.ofs === OFS.nsh_flags) return 0x3n;
  return (1n << BigInt(f.bytes * 8)) - 1n;
}

export function isZero(mask: FlowMask, f: DpField): boolean {
  return at(mask, f).every((octet) => octet === 0);
}

/** `value` or `value/mask`; a null mask is exact. */
export function formatDpValue(f: DpField, key: FlowKey, mask: FlowMask | null): string {
  const value = at(key, f);
  const bits = mask && at(mask, f);
  const exact = bits === null || (readNumber(bits) & exactMask(f)) === exactMask(f);
  switch (f.format) {
    case 'dec': {
      const text = readNumber(value).toString();
      return exact ? text : `${text}/${sharpHex(readNumber(bits))}`;
    }
    case 'hex': {
      const text = sharpHex(readNumber(value));
      return exact ? text : `${text}/${sharpHex(readNumber(bits))}`;
    }
    case 'eth':
      return formatEth(value) + (exact ? '' : `/${formatEth(bits)}`);
    case 'ipv4':
      return formatIpv4(value) + (exact ? '' : `/${formatIpv4(bits)}`);
    case 'ipv6':
      return formatIpv6(value) + (exact ? '' : `/${formatIpv6(bits)}`);
    case 'frag':
      return formatFrag(value[0] & 3, 3);
  }
}

/** The fields of a group that the mask looks at, or all of them (`all`, or without a mask). */
export function formatDpFields(group: DpGroup, key: FlowKey, mask: FlowMask | null, all: boolean): string[] {
  return group.fields
    .filter((f) => all || mask === null || !isZero(mask, f))
    .map((f) => `${f.name}=${formatDpValue(f, key, mask)}`);
}

function parseNumber(text: string, bytes: number): Uint8Array | null {
  const r = parseInteger(text, bytes);
  if (!r || r.value === null || r.end !== text.length) return null;
  const out = new Uint8Array(bytes);
  for (let i = bytes - 1, v = r.value; i >= 0; i--, v >>= 8n) out[i] = Number(v & 0xffn);
  return out;
}

/** Reads `value` or `value/mask` into key and mask; false when it cannot. */
export function parseDpValue(f: DpField, text: string, key: FlowKey, mask: FlowMask): boolean {
  if (f.format === 'frag') {
    const value = parseFrag(text);
    if (value?.mask !== 3) return false;
    key.u8[f.ofs] = value.value;
    mask.u8[f.ofs] = 3;
    return true;
  }
  const parse = (part: string): Uint8Array | null => {
    if (f.format === 'eth') return parseEth(part);
    if (f.format === 'ipv4') return parseIpv4(part);
    if (f.format === 'ipv6') return parseIpv6(part);
    return parseNumber(part, f.bytes);
  };
  const slash = text.indexOf('/');
  const value = parse(slash < 0 ? text : text.slice(0, slash));
  if (!value) return false;
  let bits = slash < 0 ? null : parse(text.slice(slash + 1));
  if (slash >= 0 && !bits) return false;
  bits ??= exactBytes(f);
  key.u8.set(value, f.ofs);
  mask.u8.set(bits, f.ofs);
  return true;
}

function exactBytes(f: DpField): Uint8Array {
  const out = new Uint8Array(f.bytes);
  for (let i = f.bytes - 1, v = exactMask(f); i >= 0; i--, v >>= 8n) out[i] = Number(v & 0xffn);
  return out;
}

/** Reads `a=1,b=2/3` as fields of `group`; false when a name or a value is wrong. */
export function parseDpFields(group: DpGroup, text: string, key: FlowKey, mask: FlowMask): boolean {
  for (const part of splitArguments(text)) {
    const m = /^([a-z0-9_]+)=(.*)$/.exec(part);
    const field = m && group.fields.find((f) => f.name === m[1] || f.alias === m[1]);
    if (!field || !parseDpValue(field, m[2], key, mask)) return false;
  }
  return true;
}

/** Splits at commas outside parentheses and braces. */
export function splitArguments(text: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c === '(' || c === '{') depth++;
    else if (c === ')' || c === '}') depth--;
    else if (i === text.length || (c === ',' && depth === 0)) {
      const part = text.slice(from, i).trim();
      if (part !== '') out.push(part);
      from = i + 1;
    }
  }
  return out;
}

/** `name(arguments)` into its two parts; null for anything else. */
export function splitCall(text: string): { name: string; args: string } | null {
  const m = /^([a-z0-9_]+)\(([\s\S]*)\)$/i.exec(text);
  return m ? { name: m[1], args: m[2] } : null;
}

/** A whole number of at most `bytes` bytes and nothing behind it, else null. */
export function wholeNumber(text: string | undefined, bytes = 4): number | null {
  const r = text === undefined ? null : parseInteger(text, bytes);
  return r && r.value !== null && r.end === text?.length ? Number(r.value) : null;
}
