/**
 * Which Geneve option is which `tun_metadata` field: the table that PMDs decode by. In the arena it is a count and then
 * three words for each option: `class << 8 | type`, its length in words, the field.
 *
 * A table is written once and never changed: another one takes its place.
 */
export interface TunnelOption {
  readonly optionClass: number;
  readonly type: number;
  /** Bytes: 4 times what the header says. */
  readonly length: number;
  /** Number of its `tun_metadata` field. */
  readonly field: number;
}

export const OPTION_ENTRY_WORDS = 3;

export function encodeOptionTable(options: readonly TunnelOption[]): number[] {
  return [options.length, ...options.flatMap((o) => [(o.optionClass << 8) | o.type, o.length >> 2, o.field])];
}
