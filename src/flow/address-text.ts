/** Addresses as text: Ethernet, IPv4 and IPv6, with and without masks, as `ovs-fields(7)` describes their formats. */

export function formatEth(b: Uint8Array, at = 0): string {
  let s = '';
  for (let i = 0; i < 6; i++) s += (i > 0 ? ':' : '') + b[at + i].toString(16).padStart(2, '0');
  return s;
}

/** Six octets of one or two hexadecimal digits, or null. */
export function parseEth(text: string): Uint8Array | null {
  return /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)
    ? Uint8Array.from(text.split(':'), (octet) => Number.parseInt(octet, 16))
    : null;
}

export function formatIpv4(b: Uint8Array, at = 0): string {
  return `${b[at]}.${b[at + 1]}.${b[at + 2]}.${b[at + 3]}`;
}

/** Dotted decimal. Octets above 255 lose their high bits, as with the original. */
export function parseIpv4(text: string): Uint8Array | null {
  return /^\d+(\.\d+){3}$/.test(text) ? Uint8Array.from(text.split('.'), (octet) => Number(octet) & 0xff) : null;
}

/** RFC 5952, with the last 32 bits dotted for IPv4-mapped and IPv4-compatible addresses. */
export function formatIpv6(b: Uint8Array, at = 0): string {
  const words = Array.from({ length: 8 }, (_, i) => (b[at + 2 * i] << 8) | b[at + 2 * i + 1]);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; ) {
    let n = 0;
    while (i + n < 8 && words[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
    i += n + 1;
  }
  const dotted = best === 0 && (bestLength === 6 || (bestLength === 5 && words[5] === 0xffff));
  const hex = (part: number[]): string => part.map((w) => w.toString(16)).join(':');
  if (dotted) return `::${bestLength === 5 ? 'ffff:' : ''}${formatIpv4(b, at + 12)}`;
  if (best < 0) return hex(words);
  return `${hex(words.slice(0, best))}::${hex(words.slice(best + bestLength))}`;
}

/** RFC 4291 2.2, all three forms, or null. */
export function parseIpv6(text: string): Uint8Array | null {
  let rest = text;
  const tail = /^(.*:)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})$/.exec(text);
  if (tail) {
    const octets = tail[2].split('.').map(Number);
    if (octets.some((o) => o > 255)) return null;
    rest = `${tail[1]}${((octets[0] << 8) | octets[1]).toString(16)}:${((octets[2] << 8) | octets[3]).toString(16)}`;
  }
  const halves = rest.split('::');
  if (halves.length > 2) return null;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  if (groups.flat().some((g) => !/^[0-9a-f]{1,4}$/i.test(g))) return null;
  const given = groups.flat().length;
  if (halves.length === 1 ? given !== 8 : given > 7) return null;
  const words = halves.length === 1 ? groups[0] : [...groups[0], ...Array(8 - given).fill('0'), ...groups[1]];
  const out = new Uint8Array(16);
  words.forEach((w, i) => {
    const v = Number.parseInt(w, 16);
    out[2 * i] = v >> 8;
    out[2 * i + 1] = v;
  });
  return out;
}

/** Length of the prefix that a mask describes, or -1 when its ones do not come first. */
export function prefixLength(mask: Uint8Array): number {
  let n = 0;
  while (n < mask.length * 8 && (mask[n >> 3] & (0x80 >> (n & 7))) !== 0) n++;
  for (let i = n; i < mask.length * 8; i++) if ((mask[i >> 3] & (0x80 >> (i & 7))) !== 0) return -1;
  return n;
}

export function prefixMask(bits: number, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  for (let i = 0; i < bits; i++) out[i >> 3] |= 0x80 >> (i & 7);
  return out;
}

/** `10.0.0.0/8`, `10.0.0.1`, `10.0.0.0/255.0.255.0`. */
export function formatIpv4Masked(value: Uint8Array, mask: Uint8Array): string {
  const n = prefixLength(mask);
  return formatIpv4(value) + (n === 32 ? '' : n >= 0 ? `/${n}` : `/${formatIpv4(mask)}`);
}

export function formatIpv6Masked(value: Uint8Array, mask: Uint8Array): string {
  const n = prefixLength(mask);
  return formatIpv6(value) + (n === 128 ? '' : n >= 0 ? `/${n}` : `/${formatIpv6(mask)}`);
}

export function formatEthMasked(value: Uint8Array, mask: Uint8Array): string {
  return formatEth(value) + (mask.every((b) => b === 0xff) ? '' : `/${formatEth(mask)}`);
}
