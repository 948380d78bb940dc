/** The Internet checksum (RFC 1071) over plain byte arrays, with the pseudo headers of IPv4 and IPv6. */

/** Sum of big-endian 16-bit words, an odd last byte counting as the high half. Not folded. */
export function sumBytes(b: Uint8Array, at: number, length: number, sum = 0): number {
  const end = at + length;
  for (; at + 1 < end; at += 2) sum += (b[at] << 8) | b[at + 1];
  if (at < end) sum += b[at] << 8;
  return sum;
}

/** Folds and complements. */
export function finishSum(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}

export function checksum(b: Uint8Array, at: number, length: number): number {
  return finishSum(sumBytes(b, at, length));
}

/** RFC 793 3.1 and RFC 8200 8.1; addresses are 4 or 16 bytes each, source and destination adjacent at `addresses`. */
export function pseudoHeaderSum(
  b: Uint8Array,
  addresses: number,
  addressBytes: 4 | 16,
  proto: number,
  length: number,
): number {
  return sumBytes(b, addresses, addressBytes * 2, proto + (length & 0xffff) + Math.floor(length / 65536));
}
