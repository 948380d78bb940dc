/** ICMPv6 neighbor discovery: solicitations and advertisements with their link-layer addresses. RFC 4861 4.3, 4.4, 4.6.1 */

export const ND = { type: 0, code: 1, checksum: 2, reserved: 4, target: 8, options: 24 } as const;
export const ICMPV6_LENGTH = 8;
export const ND_SOLICIT = 135;
export const ND_ADVERT = 136;
export const ND_OPTION = { sourceLla: 1, targetLla: 2 } as const;

export interface NdOptions {
  readonly sll: Uint8Array | null;
  readonly tll: Uint8Array | null;
  /** Type of the first link-layer address option, 0 without one. */
  readonly type: number;
}

/**
 * The link-layer address options in `[at, end)`, up to the first that is malformed; null when one is given twice, so that the message is not to be
 * believed at all.
 */
export function readNdOptions(b: Uint8Array, at: number, end: number): NdOptions | null {
  let sll: Uint8Array | null = null;
  let tll: Uint8Array | null = null;
  let first = 0;
  while (end - at >= 8) {
    const length = b[at + 1] * 8;
    if (length === 0 || length > end - at) break;
    const type = b[at];
    if ((type === ND_OPTION.sourceLla || type === ND_OPTION.targetLla) && length === 8) {
      const address = b.subarray(at + 2, at + 8);
      const had = type === ND_OPTION.sourceLla ? sll : tll;
      if (had?.some((octet) => octet !== 0)) return null;
      if (type === ND_OPTION.sourceLla) sll = address;
      else tll = address;
      if (first === 0) first = type;
    }
    at += length;
  }
  return { sll, tll, type: first };
}
