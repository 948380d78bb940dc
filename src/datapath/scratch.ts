/**
 * A PMD's private memory: one region that the main thread took from the arena for it, handed out once and never returned. A
 * worker must not allocate in the arena itself: only the main thread knows what is taken there.
 */
import { MAX_LEVELS } from './actions.ts';
import { BATCH_BYTES } from './batch.ts';
import { TRACKER_BYTES } from './ct/tracker.ts';
import { EMC_BYTES, EMC_COLD_BYTES } from './emc.ts';
import { HOLD_BYTES } from './hold.ts';
import { SMC_BYTES } from './smc.ts';

/** Two batches more than levels: for packets that tell their journey, and those that come before them. */
export const SCRATCH_BYTES =
  EMC_BYTES + EMC_COLD_BYTES + SMC_BYTES + (MAX_LEVELS + 2) * BATCH_BYTES + TRACKER_BYTES + HOLD_BYTES;

/** Returns the byte offset of zeroed bytes, aligned to a cache line. */
export type Alloc = (bytes: number) => number;

export function scratch(at: number): Alloc {
  let top = at;
  return (bytes) => {
    const place = top;
    top += Math.ceil(bytes / 64) * 64;
    if (top > at + SCRATCH_BYTES) throw new Error('a PMD took more memory than it was given');
    return place;
  };
}
