/** LACPDUs: what two ends of an aggregation tell each other. IEEE 802.1AX 6.4.2 */
import { get16, set16 } from './bytes.ts';
import { ETH, writeEthernet } from './ethernet.ts';

export const SLOW_PROTOCOLS = 0x8809;
export const SLOW_PROTOCOLS_ADDRESS = Uint8Array.of(0x01, 0x80, 0xc2, 0x00, 0x00, 0x02);

/** Bits of `LacpInfo.state`. */
export const LACP_STATE = {
  activity: 1,
  timeout: 2,
  aggregation: 4,
  synchronized: 8,
  collecting: 16,
  distributing: 32,
  defaulted: 64,
  expired: 128,
} as const;

/** One end's port, as that end describes it. */
export interface LacpInfo {
  readonly systemPriority: number;
  /** Six bytes. */
  readonly systemId: Uint8Array;
  readonly key: number;
  readonly portPriority: number;
  readonly portId: number;
  readonly state: number;
}

export const NOBODY: LacpInfo = {
  systemPriority: 0,
  systemId: new Uint8Array(6),
  key: 0,
  portPriority: 0,
  portId: 0,
  state: 0,
};

export const sameInfo = (a: LacpInfo, b: LacpInfo): boolean =>
  a.state === b.state &&
  a.key === b.key &&
  a.portId === b.portId &&
  a.portPriority === b.portPriority &&
  a.systemPriority === b.systemPriority &&
  a.systemId.every((byte, i) => byte === b.systemId[i]);

const SUBTYPE = { lacp: 1, marker: 2 } as const;
const MARKER = { request: 1, response: 2 } as const;
const PDU = { subtype: 0, version: 1, actor: 2, partner: 22, collector: 42, length: 110 } as const;
const INFO_LENGTH = 20;
const COLLECTOR_LENGTH = 16;

export type SlowFrame =
  | { readonly type: 'lacp'; readonly actor: LacpInfo; readonly partner: LacpInfo }
  | { readonly type: 'marker_request' }
  | { readonly type: 'bad' };

/** A whole frame of type `SLOW_PROTOCOLS`. Null for other slow protocols. */
export function readSlowFrame(frame: Uint8Array): SlowFrame | null {
  const at = ETH.length;
  switch (frame[at]) {
    case SUBTYPE.lacp:
      if (frame.length < at + PDU.length) return { type: 'bad' };
      if (frame[at + PDU.actor] !== 1 || frame[at + PDU.actor + 1] !== INFO_LENGTH) return { type: 'bad' };
      if (frame[at + PDU.partner] !== 2 || frame[at + PDU.partner + 1] !== INFO_LENGTH) return { type: 'bad' };
      return {
        type: 'lacp',
        actor: readInfo(frame, at + PDU.actor + 2),
        partner: readInfo(frame, at + PDU.partner + 2),
      };
    case SUBTYPE.marker:
      return frame[at + 2] === MARKER.request ? { type: 'marker_request' } : null;
    default:
      return frame.length <= at ? { type: 'bad' } : null;
  }
}

function readInfo(b: Uint8Array, at: number): LacpInfo {
  return {
    systemPriority: get16(b, at),
    systemId: b.slice(at + 2, at + 8),
    key: get16(b, at + 8),
    portPriority: get16(b, at + 10),
    portId: get16(b, at + 12),
    state: b[at + 14],
  };
}

function writeInfo(b: Uint8Array, at: number, type: number, info: LacpInfo): void {
  b[at] = type;
  b[at + 1] = INFO_LENGTH;
  set16(b, at + 2, info.systemPriority);
  b.set(info.systemId, at + 4);
  set16(b, at + 10, info.key);
  set16(b, at + 12, info.portPriority);
  set16(b, at + 14, info.portId);
  b[at + 16] = info.state;
}

export function buildLacp(src: Uint8Array, actor: LacpInfo, partner: LacpInfo): Uint8Array {
  const frame = new Uint8Array(ETH.length + PDU.length);
  const at = writeEthernet(frame, 0, SLOW_PROTOCOLS_ADDRESS, src, SLOW_PROTOCOLS);
  frame[at + PDU.subtype] = SUBTYPE.lacp;
  frame[at + PDU.version] = 1;
  writeInfo(frame, at + PDU.actor, 1, actor);
  writeInfo(frame, at + PDU.partner, 2, partner);
  frame[at + PDU.collector] = 3;
  frame[at + PDU.collector + 1] = COLLECTOR_LENGTH;
  return frame;
}
