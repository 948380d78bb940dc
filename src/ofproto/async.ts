/**
 * Messages nobody asked for: which connections get a packet-in, a flow-removed or a port-status, and in which form.
 * OpenFlow 1.3.5 6.1.2 and Open vSwitch's design notes, "Asynchronous Messages".
 */
import { type FlowRemoved, type PacketIn, PacketInReason, type PhyPort } from '../openflow/messages.ts';
import type { OfConn } from './conn.ts';
import { OFPPC } from './ofport.ts';

/** Why a packet goes to controllers, beyond what the message says. */
export interface PacketInOrder {
  readonly pin: PacketIn;
  /** Only connections with this id (`NXT_SET_CONTROLLER_ID`) get it. */
  readonly controllerId: number;
  /**
   * `explicit`: a flow's `controller` action. `miss_flow`: the priority-0, match-all flow of OpenFlow 1.3 did it.
   * `implicit`: no flow matched, which only OpenFlow before 1.3 hands up.
   */
  readonly cause: 'explicit' | 'miss_flow' | 'implicit';
}

/** Reasons that OpenFlow before 1.4 does not have appear as `action` there. */
const SINCE_14 = new Set<number>([PacketInReason.action_set, PacketInReason.group, PacketInReason.packet_out]);

/** The reason as the connection's version has it. */
function reasonFor(conn: OfConn, order: PacketInOrder): number {
  const reason = order.pin.reason;
  // Before 1.3 a flow that matches all is a flow like any other.
  if (order.cause === 'miss_flow') return conn.version < 4 ? PacketInReason.action : PacketInReason.no_match;
  if (order.cause === 'explicit' && SINCE_14.has(reason) && conn.version < 5) return PacketInReason.action;
  return reason;
}

/** Does the connection want packets for which there was no flow at all? */
export function wantsImplicitMiss(conn: OfConn): boolean {
  return conn.version < 4 && conn.wants('packetIn', PacketInReason.no_match);
}

/** Returns how many connections got it. */
export function sendPacketIn(conns: Iterable<OfConn>, order: PacketInOrder): number {
  let sent = 0;
  for (const conn of conns) {
    if (conn.controllerId !== order.controllerId) continue;
    if (order.cause === 'implicit' && conn.version >= 4) continue;
    const reason = reasonFor(conn, order);
    if (!conn.wants('packetIn', reason)) continue;
    if (conn.sendPacketIn({ ...order.pin, reason })) sent++;
  }
  return sent;
}

const FLOW_REMOVED_REASON = { idle: 0, hard: 1, delete: 2, group_delete: 3, meter_delete: 4, eviction: 5 } as const;

export function sendFlowRemoved(conns: Iterable<OfConn>, message: FlowRemoved): void {
  for (const conn of conns) if (conn.wants('flowRemoved', FLOW_REMOVED_REASON[message.reason])) conn.sendAsync(message);
}

const PORT_REASON = { add: 0, delete: 1, modify: 2 } as const;
/** Bits that only OpenFlow 1.0 can say. */
const ONLY_10 = OFPPC.NO_STP | OFPPC.NO_RECV_STP | OFPPC.NO_FLOOD;

/** `before` is what controllers last heard of the port; a change that a version cannot express is not announced in it. */
export function sendPortStatus(
  conns: Iterable<OfConn>,
  reason: 'add' | 'delete' | 'modify',
  port: PhyPort,
  before: PhyPort | null,
  origin: OfConn | null,
): void {
  for (const conn of conns) {
    if (!conn.wants('portStatus', PORT_REASON[reason])) continue;
    // Until 1.5 a port-mod is not echoed to who sent it. OpenFlow EXT-338
    if (conn === origin && conn.version < 6) continue;
    if (reason === 'modify' && before && conn.version > 1 && onlyOf10Changed(before, port)) continue;
    conn.sendAsync({ type: 'port_status', reason, port });
  }
}

function onlyOf10Changed(before: PhyPort, after: PhyPort): boolean {
  return (
    (before.config & ~ONLY_10) === (after.config & ~ONLY_10) &&
    before.state === after.state &&
    before.curr === after.curr &&
    before.advertised === after.advertised &&
    before.supported === after.supported &&
    before.peer === after.peer &&
    before.currSpeed === after.currSpeed &&
    before.name === after.name &&
    before.hwAddr.every((byte, i) => byte === after.hwAddr[i])
  );
}
