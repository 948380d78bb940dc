/** CRC-32C, SCTP's checksum. RFC 9260, Appendix A */
const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});

export function crc32c(b: Uint8Array, at: number, length: number): number {
  let c = 0xffffffff;
  for (let i = at; i < at + length; i++) c = TABLE[(c ^ b[i]) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}
