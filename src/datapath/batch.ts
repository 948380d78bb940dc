/**
 * Up to 32 packets on their way, and what is known of each: one array for each fact, one index for each packet.
 *
 * A PMD keeps a small stack of batches: level 0 for what it received; clones, samples and recirculation use the next.
 */
import type { Alloc } from './scratch.ts';

export const BURST = 32;
/** Words of a key slot: `DP_WORDS`, rounded so that each slot begins a cache line and slots spread over the cache's sets. */
export const SLOT_WORDS = 160;

/** What a batch takes of the arena: its key slots. */
export const BATCH_BYTES = BURST * SLOT_WORDS * 4;

export class PacketBatch {
  /** Byte offset of the frame's chunk. */
  readonly frames = new Int32Array(BURST);
  readonly len = new Int32Array(BURST);
  /** Byte offset of what follows the (last) Ethernet type; 0 when there is none. */
  readonly l3 = new Int32Array(BURST);
  /** Byte offset of the transport header; 0 when there is none or it cannot be trusted. */
  readonly l4 = new Int32Array(BURST);
  readonly hash = new Int32Array(BURST);
  readonly shape = new Int32Array(BURST);
  readonly flow = new Int32Array(BURST);
  readonly next = new Int32Array(BURST);
  /** Packets of one flow, in order; `exec` works on a list. */
  readonly list = new Int32Array(BURST);
  /** Scratch for the caches: places still without a flow. */
  readonly missed = new Int32Array(BURST);
  readonly flowAt = new Int32Array(BURST);
  readonly head = new Int32Array(BURST);
  readonly tail = new Int32Array(BURST);
  readonly count = new Int32Array(BURST);
  readonly bytes = new Int32Array(BURST);
  /** Word index of slot 0. */
  readonly slots: number;
  n = 0;

  constructor(alloc: Alloc) {
    this.slots = alloc(BATCH_BYTES) >> 2;
  }
}
