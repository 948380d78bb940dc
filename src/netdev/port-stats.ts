/**
 * Counters a packet half keeps in the arena: doubles with one writer, read by the main thread. `NetdevPort.statsAt` is
 * the index of the first in `arena.f64`. Each thread that has a packet half of a port counts in a block of its own.
 */
import type { NetdevStats } from './netdev.ts';

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

const BLOCK_DOUBLES = 8;
const BLOCKS = 32;
export const PORT_STATS_BYTES = BLOCKS * BLOCK_DOUBLES * 8;

/** Where thread number `half` counts. */
export function statsOfHalf(statsAt: number, half = 0): number {
  return statsAt + (half % BLOCKS) * BLOCK_DOUBLES;
}

/** Packets that the device did not take. */
export const refusedBy = (f64: Float64Array, statsAt: number): number =>
  portStat(f64, statsAt, PORT_STAT.txDropped) + portStat(f64, statsAt, PORT_STAT.txErrors);

/** The counters of a device that nobody else counts for. */
export function countedBy(f64: Float64Array, statsAt: number): NetdevStats {
  const count = (stat: number): number => portStat(f64, statsAt, stat);
  return {
    rx_packets: count(PORT_STAT.rxPackets),
    rx_bytes: count(PORT_STAT.rxBytes),
    rx_dropped: count(PORT_STAT.rxDropped),
    tx_packets: count(PORT_STAT.txPackets),
    tx_bytes: count(PORT_STAT.txBytes),
    tx_dropped: count(PORT_STAT.txDropped),
  };
}

/** What all threads have counted of one thing. */
export function portStat(f64: Float64Array, statsAt: number, stat: number): number {
  let sum = 0;
  for (let b = 0; b < BLOCKS; b++) sum += f64[statsAt + b * BLOCK_DOUBLES + stat];
  return sum;
}
