/**
 * A packet's headers as people read them, each field with the bytes it stands in, so that a picture can show what an action
 * changed. It decodes what it knows and stops at what it does not; it never fails.
 */

export interface HeaderField {
  readonly layer: string;
  readonly name: string;
  readonly value: string;
  /** Bytes `start` to `end` (excluded). */
  readonly start: number;
  readonly end: number;
}

const hex = (n: number, digits: number): string => `0x${n.toString(16).padStart(digits, '0')}`;

class Reader {
  readonly fields: HeaderField[] = [];
  readonly bytes: Uint8Array;
  at = 0;
  layer = '';

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  has(n: number): boolean {
    return this.at + n <= this.bytes.length;
  }
  u(offset: number, length: number): number {
    let value = 0;
    for (let i = 0; i < length; i++) value = value * 256 + (this.bytes[this.at + offset + i] ?? 0);
    return value;
  }
  add(name: string, value: string | number, offset: number, length: number): void {
    this.fields.push({
      layer: this.layer,
      name,
      value: String(value),
      start: this.at + offset,
      end: this.at + offset + length,
    });
  }
  mac(offset: number): string {
    return Array.from(this.bytes.subarray(this.at + offset, this.at + offset + 6), (b) =>
      b.toString(16).padStart(2, '0'),
    ).join(':');
  }
  ip4(offset: number): string {
    return this.bytes.subarray(this.at + offset, this.at + offset + 4).join('.');
  }
  ip6(offset: number): string {
    const words = Array.from({ length: 8 }, (_, i) => this.u(offset + 2 * i, 2).toString(16));
    const text = words.join(':');
    const runs = text.match(/\b0(?::0)+\b/g);
    if (!runs) return text;
    const longest = runs.reduce((a, b) => (b.length > a.length ? b : a));
    const at = text.indexOf(longest);
    return `${text.slice(0, at).replace(/:$/, '')}::${text.slice(at + longest.length).replace(/^:/, '')}`;
  }
}

const ETHERTYPES: Readonly<Record<number, string>> = {
  0x0800: 'IPv4',
  0x0806: 'ARP',
  0x86dd: 'IPv6',
  0x8847: 'MPLS',
  0x88cc: 'LLDP',
  0x8100: 'VLAN',
  0x88a8: 'VLAN',
};
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  47: 'GRE',
  58: 'ICMPv6',
  132: 'SCTP',
};
const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr'];
const VXLAN_PORT = 4789;

export function bytesOfHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function headersOf(bytes: Uint8Array): HeaderField[] {
  const r = new Reader(bytes);
  ethernet(r, '');
  return r.fields;
}

function ethernet(r: Reader, prefix: string): void {
  if (!r.has(14)) return;
  r.layer = `${prefix}Ethernet`;
  r.add('destination', r.mac(0), 0, 6);
  r.add('source', r.mac(6), 6, 6);
  let type = r.u(12, 2);
  r.add('type', `${hex(type, 4)}${ETHERTYPES[type] ? ` ${ETHERTYPES[type]}` : ''}`, 12, 2);
  r.at += 14;
  while ((type === 0x8100 || type === 0x88a8) && r.has(4)) {
    r.layer = `${prefix}VLAN`;
    r.add('VLAN', r.u(0, 2) & 0xfff, 0, 2);
    r.add('priority', r.u(0, 1) >> 5, 0, 1);
    type = r.u(2, 2);
    r.add('type', `${hex(type, 4)}${ETHERTYPES[type] ? ` ${ETHERTYPES[type]}` : ''}`, 2, 2);
    r.at += 4;
  }
  while (type === 0x8847 && r.has(4)) {
    r.layer = `${prefix}MPLS`;
    const entry = r.u(0, 4);
    r.add('label', Math.floor(entry / 4096), 0, 3);
    r.add('TTL', entry % 256, 3, 1);
    r.at += 4;
    if ((entry & 0x100) === 0) continue;
    type = r.has(1) && r.u(0, 1) >> 4 === 6 ? 0x86dd : 0x0800;
  }
  if (type === 0x0806) arp(r, prefix);
  else if (type === 0x0800) ipv4(r, prefix);
  else if (type === 0x86dd) ipv6(r, prefix);
}

function arp(r: Reader, prefix: string): void {
  if (!r.has(28)) return;
  r.layer = `${prefix}ARP`;
  const op = r.u(6, 2);
  r.add('operation', op === 1 ? '1 request' : op === 2 ? '2 reply' : op, 6, 2);
  r.add('sender MAC', r.mac(8), 8, 6);
  r.add('sender IP', r.ip4(14), 14, 4);
  r.add('target MAC', r.mac(18), 18, 6);
  r.add('target IP', r.ip4(24), 24, 4);
}

function ipv4(r: Reader, prefix: string): void {
  if (!r.has(20)) return;
  r.layer = `${prefix}IPv4`;
  const length = (r.u(0, 1) & 15) * 4;
  r.add('source', r.ip4(12), 12, 4);
  r.add('destination', r.ip4(16), 16, 4);
  r.add('TTL', r.u(8, 1), 8, 1);
  const protocol = r.u(9, 1);
  r.add('protocol', `${protocol}${PROTOCOLS[protocol] ? ` ${PROTOCOLS[protocol]}` : ''}`, 9, 1);
  r.add('TOS', hex(r.u(1, 1), 2), 1, 1);
  r.add('length', r.u(2, 2), 2, 2);
  r.add('id', hex(r.u(4, 2), 4), 4, 2);
  const fragment = r.u(6, 2);
  if (fragment !== 0)
    r.add(
      'fragment',
      `${fragment & 0x4000 ? 'do not fragment' : ''}${fragment & 0x2000 ? 'more, ' : ''}${fragment & 0x1fff ? `offset ${(fragment & 0x1fff) * 8}` : ''}`,
      6,
      2,
    );
  r.add('checksum', hex(r.u(10, 2), 4), 10, 2);
  r.at += Math.max(20, length);
  if ((fragment & 0x1fff) === 0) transport(r, protocol, prefix);
}

function ipv6(r: Reader, prefix: string): void {
  if (!r.has(40)) return;
  r.layer = `${prefix}IPv6`;
  r.add('source', r.ip6(8), 8, 16);
  r.add('destination', r.ip6(24), 24, 16);
  r.add('hop limit', r.u(7, 1), 7, 1);
  const protocol = r.u(6, 1);
  r.add('next header', `${protocol}${PROTOCOLS[protocol] ? ` ${PROTOCOLS[protocol]}` : ''}`, 6, 1);
  r.add('length', r.u(4, 2), 4, 2);
  r.at += 40;
  transport(r, protocol, prefix);
}

function transport(r: Reader, protocol: number, prefix: string): void {
  const name = PROTOCOLS[protocol];
  if (name === undefined || !r.has(4)) return;
  r.layer = `${prefix}${name}`;
  if (protocol === 1 || protocol === 58) {
    r.add('type', r.u(0, 1), 0, 1);
    r.add('code', r.u(1, 1), 1, 1);
    r.add('checksum', hex(r.u(2, 2), 4), 2, 2);
    if (r.has(8) && protocol === 1 && (r.u(0, 1) === 8 || r.u(0, 1) === 0)) {
      r.add('id', r.u(4, 2), 4, 2);
      r.add('sequence', r.u(6, 2), 6, 2);
    }
    return;
  }
  if (protocol === 47) return void r.add('protocol', hex(r.u(2, 2), 4), 2, 2);
  r.add('source port', r.u(0, 2), 0, 2);
  r.add('destination port', r.u(2, 2), 2, 2);
  if (protocol === 6 && r.has(20)) {
    r.add('sequence', r.u(4, 4), 4, 4);
    r.add('acknowledged', r.u(8, 4), 8, 4);
    const flags = r.u(13, 1);
    r.add('flags', TCP_FLAGS.filter((_, i) => flags & (1 << i)).join(' ') || 'none', 13, 1);
    r.add('window', r.u(14, 2), 14, 2);
    r.add('checksum', hex(r.u(16, 2), 4), 16, 2);
  }
  if (protocol === 17 && r.has(8)) {
    r.add('length', r.u(4, 2), 4, 2);
    r.add('checksum', hex(r.u(6, 2), 4), 6, 2);
    if (r.u(2, 2) === VXLAN_PORT && r.has(16) && prefix === '') {
      r.at += 8;
      r.layer = 'VXLAN';
      r.add('VNI', r.u(4, 3), 4, 3);
      r.at += 8;
      ethernet(r, 'inner ');
    }
  }
}

/** One line: `ICMP 10.0.0.1 → 10.0.0.2`. */
export function summary(bytes: Uint8Array): string {
  const fields = headersOf(bytes);
  if (fields.length === 0) return `${bytes.length} bytes`;
  const of = (layer: string, name: string): string | undefined =>
    fields.findLast((f) => f.layer === layer && f.name === name)?.value;
  const last = fields[fields.length - 1].layer;
  const [sport, dport] = [of(last, 'source port'), of(last, 'destination port')];
  for (const layer of ['inner IPv4', 'inner IPv6', 'IPv4', 'IPv6']) {
    const [from, to] = [of(layer, 'source'), of(layer, 'destination')];
    if (from !== undefined) return `${last} ${from}${sport ? `:${sport}` : ''} → ${to}${dport ? `:${dport}` : ''}`;
  }
  if (last === 'ARP')
    return `ARP ${of('ARP', 'operation')?.slice(2)} ${of('ARP', 'sender IP')} → ${of('ARP', 'target IP')}`;
  return `${last} ${of('Ethernet', 'source')} → ${of('Ethernet', 'destination')} ${of('Ethernet', 'type')}`;
}
