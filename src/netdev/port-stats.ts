/**
 * Counters a packet half keeps in the arena: doubles with one writer, read by the main thread. `NetdevPort.statsAt` is
 * the index of the first in `arena.f64`.
 */
export const PORT_STAT = {
  rxPackets: 0,
  rxBytes: 1,
  rxDropped: 2,
  rxErrors: 3,
  txPackets: 4,
  txBytes: 5,
  txDropped: 6,
  txErrors: 7,
} as const;

export const PORT_STATS_BYTES = 64;
