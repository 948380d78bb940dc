/** Frames that the switch itself sends out of a port: of the protocols it speaks with its neighbours. */
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { OFPP } from '../openflow/ports.ts';
import type { Bridge } from './bridge.ts';
import { executePacketOut } from './handlers/packet-out.ts';

const NO_BUFFER = 0xffffffff;

export function sendFrame(bridge: Bridge, ofport: number, frame: Uint8Array, tunFlags = 0): void {
  const metadata = new Match();
  metadata.key.set32(OFS.in_port, OFPP.NONE);
  metadata.mask.set32(OFS.in_port, 0xffffffff);
  if (tunFlags !== 0) {
    metadata.key.set16(OFS.tun_flags, tunFlags);
    metadata.mask.set16(OFS.tun_flags, tunFlags);
  }
  const actions = [{ kind: 'output', port: ofport, maxLen: 0 }] as const;
  executePacketOut(bridge, { type: 'packet_out', bufferId: NO_BUFFER, packet: frame, actions, metadata });
}
