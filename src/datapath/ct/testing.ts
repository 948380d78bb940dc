/** Packets with right checksums for tests of connection tracking, and what became of them. */
export type Bytes = Uint8Array;

export interface TcpOptions {
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  readonly data?: Bytes;
  readonly options?: Bytes;
}

const address = (text: string): number[] => {
  if (!text.includes(':')) return text.split('.').map(Number);
  const [left, right] = text.split('::');
  const words = (t: string | undefined): number[] => (t ? t.split(':').map((w) => Number.parseInt(w, 16)) : []);
  const l = words(left);
  const r = words(right);
  const all = [...l, ...new Array<number>(8 - l.length - r.length).fill(0), ...r];
  return all.flatMap((w) => [w >> 8, w & 255]);
};
const be16 = (v: number): number[] => [(v >> 8) & 255, v & 255];
const be32 = (v: number): number[] => [...be16(v >>> 16), ...be16(v & 0xffff)];

/** Ones' complement sum of 16-bit words. */
export function sum(bytes: ArrayLike<number>, start = 0): number {
  let s = start;
  for (let i = 0; i < bytes.length; i += 2) s += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  return s;
}

const pseudo = (src: string, dst: string, proto: number, length: number): number[] => [
  ...address(src),
  ...address(dst),
  ...be32(length),
  0,
  0,
  0,
  proto,
];

/** Without its Ethernet header. */
export function ip(src: string, dst: string, proto: number, segment: ArrayLike<number>): Bytes {
  const body = Array.from(segment);
  if (src.includes(':'))
    return Uint8Array.from([0x60, 0, 0, 0, ...be16(body.length), proto, 64, ...address(src), ...address(dst), ...body]);
  const header = [0x45, 0, ...be16(20 + body.length), 0, 1, 0, 0, 64, proto, 0, 0, ...address(src), ...address(dst)];
  header.splice(10, 2, ...be16(~sum(header) & 0xffff));
  return Uint8Array.from([...header, ...body]);
}

export function ethernet(packet: Bytes): Bytes {
  const type = packet[0] >> 4 === 6 ? [0x86, 0xdd] : [8, 0];
  return Uint8Array.from([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, ...type, ...packet]);
}

function checked(src: string, dst: string, proto: number, segment: number[], at: number, hasPseudo = true): Bytes {
  const head = hasPseudo ? pseudo(src, dst, proto, segment.length) : [];
  segment.splice(at, 2, ...be16(~sum([...head, ...segment]) & 0xffff));
  return ip(src, dst, proto, segment);
}

export const FLAGS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32 };

/** `flags` by their letters: `SA` is a SYN with an ACK. */
export function tcp(src: string, sport: number, dst: string, dport: number, flags: string, o: TcpOptions = {}): Bytes {
  const bits = [...flags].reduce((n, f) => n | FLAGS[f], 0);
  const options = Array.from(o.options ?? []);
  const segment = [
    ...be16(sport),
    ...be16(dport),
    ...be32(o.seq ?? 0),
    ...be32(o.ack ?? 0),
    (5 + options.length / 4) << 4,
    bits,
    ...be16(o.window ?? 1000),
    0,
    0,
    0,
    0,
    ...options,
    ...(o.data ?? []),
  ];
  return ethernet(checked(src, dst, 6, segment, 16));
}

export function udp(src: string, sport: number, dst: string, dport: number, data = 'abcd'): Bytes {
  const body = [...Buffer.from(data)];
  return ethernet(checked(src, dst, 17, [...be16(sport), ...be16(dport), ...be16(8 + body.length), 0, 0, ...body], 6));
}

/** An echo, or with `rest` any ICMP message; the family by the addresses. */
export function icmp(
  src: string,
  dst: string,
  type: number,
  code: number,
  id: number,
  data: ArrayLike<number> = Buffer.from('abcdefgh'),
): Bytes {
  const isV6 = src.includes(':');
  const segment = [type, code, 0, 0, ...be16(id), 0, 1, ...Array.from(data)];
  return ethernet(checked(src, dst, isV6 ? 58 : 1, segment, 2, isV6));
}

/** An error about `packet`, an Ethernet frame, as much of it as fits. */
export function icmpError(src: string, dst: string, type: number, code: number, packet: Bytes, keep = 1000): Bytes {
  const isV6 = src.includes(':');
  const segment = [type, code, 0, 0, 0, 0, 0, 0, ...packet.subarray(14, 14 + keep)];
  return ethernet(checked(src, dst, isV6 ? 58 : 1, segment, 2, isV6));
}

/** What is wrong with the checksums of a packet, '' for nothing; with the packet inside an ICMP error too. */
export function checksumError(frame: Bytes): string {
  return ipError(frame.subarray(14), true);
}

function ipError(p: Bytes, isWhole: boolean): string {
  const isV6 = p[0] >> 4 === 6;
  const header = isV6 ? 40 : (p[0] & 15) * 4;
  if (!isV6 && sum(p.subarray(0, header)) !== 0xffff) return 'IP header';
  const proto = isV6 ? p[6] : p[9];
  const total = isV6 ? 40 + ((p[4] << 8) | p[5]) : (p[2] << 8) | p[3];
  // Cut short: nothing can be said about it.
  if (total > p.length) return '';
  const segment = p.subarray(header, total);
  const start = isV6 ? sum(p.subarray(8, 40)) : sum(p.subarray(12, 20));
  const withPseudo = start + proto + segment.length;
  if (proto === 6 && sum(segment, withPseudo) !== 0xffff) return 'TCP';
  if (proto === 17 && (segment[6] | segment[7]) !== 0 && sum(segment, withPseudo) !== 0xffff) return 'UDP';
  if (proto === 1 && sum(segment) !== 0xffff) return 'ICMP';
  if (proto === 58 && sum(segment, withPseudo) !== 0xffff) return 'ICMPv6';
  const isError = proto === 1 ? [3, 4, 5, 11, 12].includes(segment[0]) : proto === 58 && segment[0] < 128;
  if (isWhole && isError && segment.length > 8) {
    const inner = ipError(segment.subarray(8), false);
    if (inner) return `${inner} inside`;
  }
  return '';
}

/** `10.0.0.1:80>10.0.0.2:90` of an IPv4 or IPv6 frame; ICMP shows its identifier. */
export function endpoints(frame: Bytes, at = 14): string {
  const p = frame.subarray(at);
  const isV6 = p[0] >> 4 === 6;
  const show = (b: Bytes): string =>
    isV6
      ? Buffer.from(b)
          .toString('hex')
          .replace(/^(.{4}).*(.{4})$/, '$1::$2')
      : b.join('.');
  const l4 = p.subarray(isV6 ? 40 : (p[0] & 15) * 4);
  const proto = isV6 ? p[6] : p[9];
  const port = (x: number): string => (proto === 6 || proto === 17 ? `:${(l4[x] << 8) | l4[x + 1]}` : '');
  const src = isV6 ? p.subarray(8, 24) : p.subarray(12, 16);
  const dst = isV6 ? p.subarray(24, 40) : p.subarray(16, 20);
  return `${show(src)}${port(0)}>${show(dst)}${port(2)}`;
}
