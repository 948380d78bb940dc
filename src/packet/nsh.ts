/** The network service header. RFC 8300 */
import { get16 } from './bytes.ts';

export const NSH = {
  verFlagsTtlLength: 0,
  mdType: 2,
  np: 3,
  path: 4,
  context: 8,
  baseLength: 8,
  md1Length: 24,
} as const;

export interface NshFields {
  readonly flags: number;
  readonly ttl: number;
  readonly mdType: number;
  readonly np: number;
  readonly length: number;
}

/** The base header when `[at, end)` holds the whole NSH, else null. */
export function readNsh(b: Uint8Array, at: number, end: number): NshFields | null {
  if (end - at < NSH.baseLength) return null;
  const first = get16(b, at);
  const length = (first & 0x3f) * 4;
  const mdType = b[at + NSH.mdType];
  if (first >>> 14 !== 0 || length > end - at || length < NSH.baseLength) return null;
  if (mdType === 1 && length !== NSH.md1Length) return null;
  return { flags: (first >> 12) & 3, ttl: (first >> 6) & 0x3f, mdType, np: b[at + NSH.np], length };
}
