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

/** What the header is followed by. RFC 8300 2.2 */
export const NSH_NEXT = { ipv4: 1, ipv6: 2, ethernet: 3, nsh: 4, mpls: 5 } as const;

export interface NshContent {
  readonly flags: number;
  readonly ttl: number;
  readonly np: number;
  readonly spi: number;
  readonly si: number;
  readonly mdType: number;
  /** Behind the base header: 16 bytes for MD type 1, TLVs in whole words for type 2. */
  readonly metadata: Uint8Array;
}

export function buildNsh(c: NshContent): Uint8Array {
  const h = new Uint8Array(NSH.baseLength + c.metadata.length);
  const first = ((c.flags & 3) << 12) | ((c.ttl & 0x3f) << 6) | (h.length >> 2);
  h.set([first >> 8, first, c.mdType, c.np, c.spi >> 16, c.spi >> 8, c.spi, c.si]);
  h.set(c.metadata, NSH.context);
  return h;
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
