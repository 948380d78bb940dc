/** Which protocols the switch speaks on a port, in the order in which they are asked whether a packet is theirs. */
import { SlowReason } from '../flow/dp-actions.ts';
import { OFS } from '../flow/layout.ts';
import { SLOW_PROTOCOLS } from '../packet/lacp.ts';
import type { Lacp } from './lacp.ts';
import type { OfPort } from './ofport.ts';
import type { XlateProtocol } from './xlate/protocols.ts';

const ORDER = ['cfm', 'bfd', 'lacp', 'stp', 'lldp'] as const;
export type ProtocolName = (typeof ORDER)[number];

/** Begins to speak a protocol on a port, or, with null, ends it. */
export function setProtocol(port: OfPort, name: ProtocolName, protocol: XlateProtocol | null): void {
  const reason = SlowReason[name];
  const others = port.protocols.filter((p) => p.reason !== reason);
  const rank = (p: XlateProtocol): number => ORDER.findIndex((one) => SlowReason[one] === p.reason);
  port.protocols = protocol ? [...others, protocol].sort((a, b) => rank(a) - rank(b)) : others;
}

export const lacpProtocol = (lacp: Lacp, port: OfPort): XlateProtocol => ({
  reason: SlowReason.lacp,
  // The Ethernet type is in every mask.
  claims: (flow) => flow.get16(OFS.eth_type) === SLOW_PROTOCOLS,
  receive: (packet) => lacp.receive(port, packet),
});
