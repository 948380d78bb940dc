/** TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792), IGMP (RFC 2236): fixed headers. */

export const TCP = { src: 0, dst: 2, seq: 4, ack: 8, offsetFlags: 12, window: 14, checksum: 16, length: 20 } as const;
export const UDP = { src: 0, dst: 2, size: 4, checksum: 6, length: 8 } as const;
export const SCTP = { src: 0, dst: 2, tag: 4, checksum: 8, length: 12 } as const;
export const ICMP = { type: 0, code: 1, checksum: 2, length: 8 } as const;
export const IGMP = { type: 0, code: 1, checksum: 2, group: 4, length: 8 } as const;

/** Does `[at, end)` hold a whole TCP header with its options? */
export function checkTcp(b: Uint8Array, at: number, end: number): boolean {
  if (end - at < TCP.length) return false;
  const length = (b[at + TCP.offsetFlags] >> 4) * 4;
  return length >= TCP.length && length <= end - at;
}
