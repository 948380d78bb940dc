/**
 * The signature match cache: for a packet's hash the megaflow that the last such packet had, without its key. A hit is as good as a
 * lookup because the flow's mask and key are compared; what is saved is the search among masks, in an eighth of the EMC's memory for
 * each packet it remembers.
 *
 * Buckets of four pairs `(hash ^ flow id, flow)`: of a flow that is no more, or is another's now, the id is another, so nothing
 * must ever be removed.
 */
import type { ArenaViews } from '../base/arena.ts';
import { BURST, type PacketBatch, SLOT_WORDS } from './batch.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_ID, FLOW_IN_PORT } from './flow-entry.ts';
import type { Alloc } from './scratch.ts';

const BUCKETS = 1 << 16;
const WAYS = 4;
const BUCKET_WORDS = WAYS * 2;
export const SMC_BYTES = BUCKETS * BUCKET_WORDS * 4;

export interface Smc {
  /** Looks packets `b.missed[0..n-1]` up and leaves there those it does not know; returns how many those are. */
  lookup(b: PacketBatch, n: number): number;
  insert(hash: number, flow: number): void;
  clear(): void;
}

/** `matches(flow, slot)` compares the packet's key with the flow's, under its mask. */
export function makeSmc(views: ArenaViews, alloc: Alloc, matches: (flow: number, slot: number) => boolean): Smc {
  const { i32 } = views;
  const base = alloc(SMC_BYTES) >> 2;
  const found = new Int32Array(BURST);

  const bucketOf = (hash: number): number => base + (hash >>> 16) * BUCKET_WORDS;

  function candidate(hash: number): number {
    const e = bucketOf(hash);
    for (let p = e; p < e + BUCKET_WORDS; p += 2) {
      const flow = i32[p + 1];
      if (flow !== 0 && i32[p] === (hash ^ i32[flow + FLOW_ID]) && i32[flow + FLOW_ID] !== 0) return flow;
    }
    return 0;
  }

  // In strides, so that the memory of many packets is under way at once.
  function lookup(b: PacketBatch, n: number): number {
    const { missed, hash, flow, slots } = b;
    let touched = 0;
    for (let j = 0; j < n; j++) touched ^= i32[bucketOf(hash[missed[j]])];
    for (let j = 0; j < n; j++) found[j] = candidate(hash[missed[j]]);
    let left = 0;
    for (let j = 0; j < n; j++) {
      const i = missed[j];
      const k = slots + i * SLOT_WORDS;
      const f = found[j];
      if (f !== 0 && i32[f + FLOW_IN_PORT] === byteSwap32(i32[k]) && matches(f, k)) flow[i] = f;
      else {
        flow[i] = 0;
        missed[left++] = i;
      }
    }
    // Never so: but nobody may find that out and leave the loop away.
    if (touched === 0x7fffffff && n < 0) found[0] = touched;
    return left;
  }

  function insert(hash: number, flow: number): void {
    const e = bucketOf(hash);
    let place = e + (hash & (WAYS - 1)) * 2;
    for (let p = e; p < e + BUCKET_WORDS; p += 2) {
      const other = i32[p + 1];
      const isSame = other !== 0 && i32[p] === (hash ^ i32[other + FLOW_ID]);
      if (other === 0 || isSame || i32[other + FLOW_ID] === 0) {
        place = p;
        break;
      }
    }
    i32[place] = hash ^ i32[flow + FLOW_ID];
    i32[place + 1] = flow;
  }

  function clear(): void {
    i32.fill(0, base, base + BUCKETS * BUCKET_WORDS);
  }

  return { lookup, insert, clear };
}
