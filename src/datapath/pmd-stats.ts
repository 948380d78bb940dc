/** A PMD's counters: doubles in the arena, written by the PMD alone. Offsets from the PMD's Float64 index. */
export const PMD_STAT = {
  RECEIVED: 0,
  RECIRCULATED: 1,
  EMC_HIT: 2,
  SMC_HIT: 3,
  MEGAFLOW_HIT: 4,
  /** Subtables looked at for all megaflow hits. */
  LOOKUPS: 5,
  MISS: 6,
  /** Misses that found the upcall ring full. */
  LOST: 7,
  SENT: 8,
  SENT_BATCHES: 9,
  BUSY_NS: 10,
  IDLE_NS: 11,
  ITERATIONS: 12,
  BUSY_ITERATIONS: 13,
  SLEEPS: 14,
  DROPPED: 15,
  UPCALLS: 16,
  STARTED_MS: 17,
  /** Not a counter: the time of the current round. A double in a variable that outlives the round would be garbage. */
  NOW_MS: 18,
  /** Journeys that matched a filter but found no room to be told. */
  JOURNEYS_LOST: 19,
  /** `RXQ_STAT` of queues that have no place of their own. */
  RXQ: 20,
  /** Of naps (`pmd-sleep-max`), as they were asked for. */
  NAP_US: 22,
  /** Not a counter: frames of either size that are free in its pool. */
  FREE_FRAMES: 23,
  /** `DROP_REASONS` counters, in the order of `DROP`. */
  DROPS: 24,
  /** Not a counter: packets that wait behind another of their flow at a breakpoint now. */
  BREAK_BEHIND: 40,
  /** Packets that found no room there and were dropped. */
  BREAK_OVERFLOWS: 41,
  /** Packets that did not stop because as many as may wait did. */
  BREAKS_PASSED: 42,
  SIMPLE_HIT: 43,
} as const;
export const PMD_STATS = 48;

/** Counters of a receive queue, in a place of its own that stays when another PMD takes the queue. */
export const RXQ_STAT = { PACKETS: 0, BUSY_NS: 1 } as const;
export const RXQ_STATS_BYTES = 64;
