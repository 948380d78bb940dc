/**
 * A megaflow in the arena. The main thread writes it once, before it tells the PMD; from then on the PMD is its only
 * writer and the main thread reads the counters.
 *
 * `ID` is unique among all flows that ever were and 0 once the flow is dead, so a cache that remembers `(flow, id)` knows
 * whether the place still holds the flow it meant. Behind the header stand the masked words of its key, only those its
 * mask uses, in the order of the subtable.
 */
export const FLOW_ID = 0;
/** Place in the burst's list of flows + 1 while a burst is sorted, else 0. */
export const FLOW_BATCH = 1;
/** Word index where the actions begin. */
export const FLOW_ACTIONS = 2;
/** Port when all the flow does is one output, else -1. */
export const FLOW_OUT = 3;
/** Three doubles, one behind the other: packets, bytes, milliseconds of last use. */
export const FLOW_PACKETS = 4;
export const FLOW_BYTES = 6;
export const FLOW_USED = 8;
export const FLOW_TCP_FLAGS = 10;
export const FLOW_ACTIONS_END = 11;
export const FLOW_IN_PORT = 12;
export const FLOW_SUBTABLE = 13;
export const FLOW_N_WORDS = 14;
export const FLOW_KEY = 16;
