/** Continuity check messages. IEEE 802.1ag 21.6; extended mode is Open vSwitch's own, in bytes that the standard leaves zero. */
import { get16, get32, set16, set32 } from './bytes.ts';
import { ETH, isVlanType, writeEthernet } from './ethernet.ts';

export const CFM_TYPE = 0x8902;
export const CCM_ADDRESS = {
  standard: Uint8Array.of(0x01, 0x80, 0xc2, 0x00, 0x00, 0x30),
  extended: Uint8Array.of(0x01, 0x23, 0x20, 0x00, 0x00, 0x30),
} as const;
const CCM = {
  opcode: 1,
  flags: 2,
  tlvOffset: 3,
  seq: 4,
  mpid: 8,
  maid: 10,
  intervalX: 58,
  mpid64: 60,
  opdown: 68,
  length: 75,
} as const;
const OPCODE_CCM = 1;
const TLV_OFFSET = 70;
const RDI = 0x80;
/** No name of a maintenance domain or association is ever configured: they are always `ovs`. */
const MAID = Uint8Array.of(4, 3, 0x6f, 0x76, 0x73, 2, 3, 0x6f, 0x76, 0x73);
const MAID_LENGTH = 48;

export interface Ccm {
  readonly isExtended: boolean;
  readonly seq: number;
  readonly mpid: bigint;
  readonly rdi: boolean;
  /** The standard's code; 0 in extended mode, which has milliseconds. */
  readonly intervalCode: number;
  readonly intervalMs: number;
  readonly isOpDown: boolean;
}

export function buildCcm(src: Uint8Array, ccm: Ccm, tci: number | null): Uint8Array {
  const tag = tci === null ? 0 : 4;
  const frame = new Uint8Array(ETH.length + tag + CCM.length);
  writeEthernet(frame, 0, ccm.isExtended ? CCM_ADDRESS.extended : CCM_ADDRESS.standard, src, CFM_TYPE);
  if (tci !== null) {
    set16(frame, ETH.type, 0x8100);
    set16(frame, ETH.type + 2, tci);
    set16(frame, ETH.type + 4, CFM_TYPE);
  }
  const b = frame.subarray(ETH.length + tag);
  b[CCM.opcode] = OPCODE_CCM;
  b[CCM.flags] = (ccm.rdi ? RDI : 0) | ccm.intervalCode;
  b[CCM.tlvOffset] = TLV_OFFSET;
  set32(b, CCM.seq, ccm.seq);
  b.set(MAID, CCM.maid);
  if (ccm.isExtended) {
    set16(b, CCM.mpid, Number(ccm.mpid & 0x1fffn));
    set16(b, CCM.intervalX, ccm.intervalMs);
    set32(b, CCM.mpid64, Number(ccm.mpid >> 32n));
    set32(b, CCM.mpid64 + 4, Number(ccm.mpid & 0xffffffffn));
    b[CCM.opdown] = ccm.isOpDown ? 1 : 0;
  } else {
    set16(b, CCM.mpid, Number(ccm.mpid));
  }
  return frame;
}

/** Null when it is no CCM; `maid` when it is one of another association. */
export function readCcm(frame: Uint8Array, isExtended: boolean): Ccm | 'maid' | null {
  let at = ETH.type;
  while (frame.length - at >= 6 && isVlanType(get16(frame, at))) at += 4;
  const b = frame.subarray(at + 2);
  if (b.length < CCM.length || (b[0] & 0x1f) !== 0 || b[CCM.opcode] !== OPCODE_CCM) return null;
  for (let i = 0; i < MAID_LENGTH; i++) if (b[CCM.maid + i] !== (MAID[i] ?? 0)) return 'maid';
  const mpid64 = (BigInt(get32(b, CCM.mpid64)) << 32n) | BigInt(get32(b, CCM.mpid64 + 4));
  return {
    isExtended,
    seq: get32(b, CCM.seq),
    mpid: isExtended ? mpid64 : BigInt(get16(b, CCM.mpid)),
    rdi: (b[CCM.flags] & RDI) !== 0,
    intervalCode: b[CCM.flags] & 7,
    intervalMs: isExtended ? get16(b, CCM.intervalX) : 0,
    isOpDown: isExtended && b[CCM.opdown] !== 0,
  };
}
