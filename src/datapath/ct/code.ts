/** The `ct` action as words of an action's code: what `makeTracker` reads. */
import type { CtAction } from '../../flow/dp-actions.ts';

export const CT_FLAG = {
  COMMIT: 1,
  FORCE: 2,
  MARK: 4,
  LABEL: 8,
  /** Translate addresses of known connections. */
  NAT: 16,
  /** And of new ones, their source or destination. */
  NAT_SRC: 32,
  NAT_DST: 64,
  RANDOM: 128,
  /** The range has IPv6 addresses. */
  NAT_V6: 256,
  ADDRESSES: 512,
  /** A source address gets the same one for all its connections. */
  PERSISTENT: 1024,
} as const;

/** Words from the first behind the opcode. */
export const CT_CODE = {
  FLAGS: 0,
  ZONE: 1,
  /** Network-order bytes, as in a key. */
  MARK: 2,
  MARK_MASK: 3,
  LABEL: 4,
  LABEL_MASK: 8,
  ADDR_MIN: 12,
  ADDR_MAX: 16,
  /** Host order; 0 for none. */
  PORT_MIN: 20,
  PORT_MAX: 21,
  HELPER: 22,
  WORDS: 23,
} as const;

export const HELPER = { ftp: 1, tftp: 2 } as const;

const be32 = (v: number): number => (v >>> 24) | ((v >>> 8) & 0xff00) | ((v << 8) & 0xff0000) | (v << 24) | 0;

/** Bytes, network order, as words; missing ones are 0. */
function words(bytes: Uint8Array | null, n: number): Int32Array {
  const buffer = new Uint8Array(n * 4);
  if (bytes) buffer.set(bytes.subarray(0, n * 4));
  return new Int32Array(buffer.buffer);
}

/** Why the datapath cannot carry this out, or null. */
export function unsupportedCt(ct: CtAction): string | null {
  if (ct.timeout !== null) return 'ct timeout policy is not supported';
  if (ct.helper !== null && !(ct.helper in HELPER)) return `ct helper ${ct.helper} is not supported`;
  return null;
}

export function encodeCt(ct: CtAction): number[] {
  const code = new Array<number>(CT_CODE.WORDS).fill(0);
  const put = (at: number, values: Int32Array): void => {
    for (let i = 0; i < values.length; i++) code[at + i] = values[i];
  };
  let flags = 0;
  if (ct.commit || ct.force) flags |= CT_FLAG.COMMIT;
  if (ct.force) flags |= CT_FLAG.FORCE;
  code[CT_CODE.ZONE] = ct.zone;
  if (ct.mark) {
    flags |= CT_FLAG.MARK;
    code[CT_CODE.MARK] = be32(ct.mark.value);
    code[CT_CODE.MARK_MASK] = be32(ct.mark.mask);
  }
  if (ct.label) {
    flags |= CT_FLAG.LABEL;
    put(CT_CODE.LABEL, words(ct.label.value, 4));
    put(CT_CODE.LABEL_MASK, words(ct.label.mask, 4));
  }
  if (ct.nat) {
    const { nat } = ct;
    flags |= CT_FLAG.NAT;
    if (nat.type === 'src') flags |= CT_FLAG.NAT_SRC;
    if (nat.type === 'dst') flags |= CT_FLAG.NAT_DST;
    if (nat.random) flags |= CT_FLAG.RANDOM;
    if (nat.persistent) flags |= CT_FLAG.PERSISTENT;
    if (nat.addrMin?.length === 16) flags |= CT_FLAG.NAT_V6;
    // All zeros mean: keep the address, change the port if need be.
    if (nat.addrMin?.some((b) => b !== 0)) flags |= CT_FLAG.ADDRESSES;
    put(CT_CODE.ADDR_MIN, words(nat.addrMin, 4));
    put(CT_CODE.ADDR_MAX, words(nat.addrMax ?? nat.addrMin, 4));
    code[CT_CODE.PORT_MIN] = nat.portMin;
    code[CT_CODE.PORT_MAX] = Math.max(nat.portMax, nat.portMin);
  }
  if (ct.helper !== null) code[CT_CODE.HELPER] = HELPER[ct.helper as keyof typeof HELPER] ?? 0;
  code[CT_CODE.FLAGS] = flags;
  return code;
}
