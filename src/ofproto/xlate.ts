/**
 * Translation ("xlate"): from a packet's flow, through a bridge's OpenFlow tables, to datapath actions and the mask of
 * all that was looked at on the way. The steps are in `xlate/`, one file a family of actions.
 *
 * How the two halves of ofproto meet:
 *
 * - A bridge implements `XlateBridge` (ports, bundles, tables, MACs) and calls `xlateFlow(input)` for a miss, a
 *   revalidation, a packet-out or a trace. `flow.in_port` is an OpenFlow port here; before installing a megaflow the
 *   caller writes the datapath's number back into its key. `mask` is in slow-path layout, of which the first `DP_WORDS`
 *   words are the datapath's; bits beyond need not be kept.
 * - A recirculated packet (`recirc_id` ≠ 0) is translated by the bridge in its frozen state, whichever `input.bridge` is.
 * - Translation changes nothing but the recirculation table (and, with `sideEffects`, learned flows). All else is in
 *   `effects`: call `creditEffects(result.effects, {packets, bytes, usedMs, tcpFlags})` with the statistics of the
 *   packets that the megaflow carried, also for the first packet. Keep the effects with the megaflow.
 * - A packet reaches a controller by a `userspace` action of type `controller`; the upcall that comes of it finds the
 *   metadata, table and userdata in `recirc.lookup(recircId)` and its cookie in the action.
 * - A megaflow is stale when a translation made now gives other `actions` or a mask that is not covered by its own.
 *   `FlowTables.revision`, `MacLearning.revision` and the ports' own changes tell when it is worth looking.
 * - `unsupportedAction(actions)` says which action cannot be translated: answer such a flow-mod with `OFPBAC_BAD_TYPE`.
 */

export { creditEffects, type EffectStats } from './xlate/effects.ts';
export { RecircTable } from './xlate/recirc.ts';
export { xlateFlow } from './xlate/run.ts';
export { unsupportedAction } from './xlate/supported.ts';
export type * from './xlate/types.ts';
export { PortConfig } from './xlate/types.ts';
