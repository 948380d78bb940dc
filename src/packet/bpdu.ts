/** Bridge protocol data units: STP (IEEE 802.1D-1998 9) and RSTP (802.1D-2004 9), over LLC. */
import { get16, get32, set16, set32 } from './bytes.ts';

export const STP_ADDRESS = Uint8Array.of(0x01, 0x80, 0xc2, 0x00, 0x00, 0x00);
const LLC = { dsap: 14, ssap: 15, control: 16, length: 3 } as const;
const BPDU_AT = 17;
const SAP = 0x42;
export const BPDU_TYPE = { config: 0x00, rstp: 0x02, tcn: 0x80 } as const;
export const BPDU_FLAG = {
  topologyChange: 0x01,
  proposal: 0x02,
  roleMask: 0x0c,
  learning: 0x10,
  forwarding: 0x20,
  agreement: 0x40,
  topologyChangeAck: 0x80,
} as const;
const LENGTH = { config: 35, rstp: 36, tcn: 4 } as const;
/** Times are in units of 1/256 s. */
const TIME_UNIT_MS = 1000 / 256;

export interface ConfigBpdu {
  readonly type: 'config' | 'rstp';
  readonly flags: number;
  /** 8 bytes as a number: priority, then address. */
  readonly rootId: bigint;
  readonly rootPathCost: number;
  readonly bridgeId: bigint;
  readonly portId: number;
  readonly messageAgeMs: number;
  readonly maxAgeMs: number;
  readonly helloTimeMs: number;
  readonly forwardDelayMs: number;
}

export type Bpdu = ConfigBpdu | { readonly type: 'tcn' };

const get64 = (b: Uint8Array, at: number): bigint => (BigInt(get32(b, at)) << 32n) | BigInt(get32(b, at + 4));
function set64(b: Uint8Array, at: number, v: bigint): void {
  set32(b, at, Number(v >> 32n));
  set32(b, at + 4, Number(v & 0xffffffffn));
}

/** A whole frame; null when it is no BPDU that anybody knows. */
export function readBpdu(frame: Uint8Array): Bpdu | null {
  if (frame.length < BPDU_AT + LENGTH.tcn || frame[LLC.dsap] !== SAP || frame[LLC.ssap] !== SAP) return null;
  if (frame[LLC.control] !== 3 || get16(frame, BPDU_AT) !== 0) return null;
  const size = Math.min(get16(frame, 12) - LLC.length, frame.length - BPDU_AT);
  const type = frame[BPDU_AT + 3];
  if (type === BPDU_TYPE.tcn) return size >= LENGTH.tcn ? { type: 'tcn' } : null;
  const isRstp = type === BPDU_TYPE.rstp && frame[BPDU_AT + 2] >= 2;
  if (!isRstp && type !== BPDU_TYPE.config) return null;
  if (size < (isRstp ? LENGTH.rstp : LENGTH.config)) return null;
  const b = frame.subarray(BPDU_AT);
  const time = (at: number): number => get16(b, at) * TIME_UNIT_MS;
  return {
    type: isRstp ? 'rstp' : 'config',
    flags: b[4],
    rootId: get64(b, 5),
    rootPathCost: get32(b, 13),
    bridgeId: get64(b, 17),
    portId: get16(b, 25),
    messageAgeMs: time(27),
    maxAgeMs: time(29),
    helloTimeMs: time(31),
    forwardDelayMs: time(33),
  };
}

export function buildBpdu(src: Uint8Array, bpdu: Bpdu): Uint8Array {
  const length = LENGTH[bpdu.type];
  const frame = new Uint8Array(BPDU_AT + length);
  frame.set(STP_ADDRESS);
  frame.set(src, 6);
  set16(frame, 12, length + LLC.length);
  frame.set([SAP, SAP, 3], LLC.dsap);
  const b = frame.subarray(BPDU_AT);
  b[3] = BPDU_TYPE[bpdu.type];
  if (bpdu.type === 'tcn') return frame;
  const time = (at: number, ms: number): void => set16(b, at, Math.min(0xffff, Math.round(ms / TIME_UNIT_MS)));
  b[2] = bpdu.type === 'rstp' ? 2 : 0;
  b[4] = bpdu.flags;
  set64(b, 5, bpdu.rootId);
  set32(b, 13, bpdu.rootPathCost);
  set64(b, 17, bpdu.bridgeId);
  set16(b, 25, bpdu.portId);
  time(27, bpdu.messageAgeMs);
  time(29, bpdu.maxAgeMs);
  time(31, bpdu.helloTimeMs);
  time(33, bpdu.forwardDelayMs);
  return frame;
}
