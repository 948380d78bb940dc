/**
 * Packets of the protocols that the switch itself speaks with its neighbours (LACP, spanning trees, BFD, CFM, LLDP): they
 * meet no rule. The datapath hands each of them up, and whoever speaks the protocol on the port gets it.
 */
import type { FlowKey, FlowMask } from '../../flow/key.ts';
import type { Ctx } from './ctx.ts';
import type { XlatePort } from './types.ts';

export interface XlateProtocol {
  /** A `SlowReason`. */
  readonly reason: number;
  /** Is it one of its packets? What is looked at is added to the mask. */
  claims(flow: FlowKey, wc: FlowMask): boolean;
  receive(packet: Uint8Array): void;
}

/** True when one of the port's protocols takes the packet. */
export function takenByProtocol(ctx: Ctx, port: XlatePort | undefined): boolean {
  const { flow, wc, input } = ctx;
  for (const protocol of port?.protocols ?? []) {
    if (!protocol.claims(flow, wc)) continue;
    ctx.slow |= protocol.reason;
    const { packet } = input;
    // An answer is a translation of its own: not within this one.
    if (packet && input.sideEffects) queueMicrotask(() => protocol.receive(packet));
    return true;
  }
  return false;
}
