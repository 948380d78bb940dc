/** CRC32c (Castagnoli), the checksum of SCTP. RFC 4960 appendix B */
const TABLE = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  TABLE[i] = c;
}

/** Of bytes `from` to `end`-1; little-endian on the wire, so a little-endian load of the field compares with it. */
export function crc32c(u8: Uint8Array, from: number, end: number): number {
  let c = -1;
  for (let i = from; i < end; i++) c = TABLE[(c ^ u8[i]) & 0xff] ^ (c >>> 8);
  return ~c;
}
