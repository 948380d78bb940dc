/**
 * Packet-out: a packet from a controller takes the actions it names, as if it had come in by `in_port`.
 * OpenFlow 1.3.5 7.3.7
 */
import { clock } from '../../base/clock.ts';
import { extractFlow } from '../../flow/extract.ts';
import { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, OFS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';
import type { PacketOut } from '../../openflow/messages.ts';
import { OFPP } from '../../openflow/ports.ts';
import type { Bridge } from '../bridge.ts';
import { checkFlowActions } from '../check.ts';
import { creditEffects } from '../xlate.ts';
import type { Handler } from './index.ts';

const NO_BUFFER = 0xffffffff;
const NO_DP_PORT = 0xffffffff;
const ETH_HEADER_LEN = 14;
const ANY_TABLE = 255;

export const packetOut: Handler<'packet_out'> = (bridge, conn, request) => {
  const error = checkPacketOut(bridge, request.message, conn.version);
  if (error) conn.error(request, error);
  else executePacketOut(bridge, request.message);
};

export function checkPacketOut(bridge: Bridge, message: PacketOut, version: number): string | null {
  if (message.bufferId !== NO_BUFFER) return 'OFPBRC_BUFFER_UNKNOWN';
  const inPort = message.metadata.key.get32(OFS.in_port);
  const isReserved = inPort === OFPP.LOCAL || inPort === OFPP.NONE || inPort === OFPP.CONTROLLER;
  if (inPort >= OFPP.MAX && !isReserved) return 'OFPBRC_BAD_PORT';
  const key = flowOf(message);
  return key && checkFlowActions(bridge, message.actions, { match: null, key, table: ANY_TABLE, version });
}

export function executePacketOut(bridge: Bridge, message: PacketOut): void {
  const { packet, actions } = message;
  const flow = flowOf(message);
  if (!flow) return;
  const inPort = flow.get32(OFS.in_port);
  const result = bridge.backer.translate({ bridge, flow, packet, actions, sideEffects: true });
  if (result.actions.length > 0) {
    const dpKey = new FlowKey();
    dpKey.w.set(flow.w.subarray(0, DP_WORDS));
    dpKey.set32(OFS.in_port, bridge.ofport(inPort)?.dpPort ?? NO_DP_PORT);
    bridge.backer.dpif.execute(packet.slice(), dpKey, result.actions, -1);
  }
  creditEffects(result.effects, { packets: 1, bytes: packet.length, usedMs: clock.nowMs(), tcpFlags: 0 });
}

/** What the packet is, with what the message says of it; null when it is too short to be one. */
function flowOf({ packet, metadata }: PacketOut): FlowKey | null {
  if (packet.length < ETH_HEADER_LEN) return null;
  const flow = new FlowKey();
  extractFlow(packet, flow);
  overlay(flow, metadata);
  return flow;
}

/** Writes the fields that `metadata` has over those of the packet. */
function overlay(flow: FlowKey, metadata: Match): void {
  const { key, mask } = metadata;
  for (let i = 0; i < flow.w.length; i++) flow.w[i] = (flow.w[i] & ~mask.w[i]) | (key.w[i] & mask.w[i]);
}
