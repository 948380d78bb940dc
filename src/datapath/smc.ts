/**
 * The signature match cache: for a packet's hash the megaflow that the last such packet had, without its key. A hit is as good as a
 * lookup because the flow's mask and key are compared; what is saved is the search among masks, in an eighth of the EMC's memory for
 * each packet it remembers.
 *
 * A bucket is one cache line: four hashes, their flows, and the flows' ids. Of a flow that is no more, or is another's now, the
 * id is another, so nothing must ever be removed.
 */
import type { ArenaViews } from '../base/arena.ts';
import { BURST, type PacketBatch, SLOT_WORDS } from './batch.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_ID, FLOW_IN_PORT, FLOW_KEY } from './flow-entry.ts';
import type { Alloc } from './scratch.ts';

const BUCKETS = 1 << 16;
const WAYS = 4;
const BUCKET_WORDS = 16;
const FLOWS = WAYS;
const IDS = 2 * WAYS;
export const SMC_BYTES = BUCKETS * BUCKET_WORDS * 4;

export interface Smc {
  /** Looks packets `b.missed[0..n-1]` up and leaves there those it does not know; returns how many those are. */
  lookup(b: PacketBatch, n: number): number;
  insert(hash: number, flow: number): void;
  clear(): void;
  /** What was read only so that it is in the cache. */
  touched: number;
}

/** `matches(flow, slot)` compares the packet's key with the flow's, under its mask. */
export function makeSmc(views: ArenaViews, alloc: Alloc, matches: (flow: number, slot: number) => boolean): Smc {
  const { i32 } = views;
  const base = alloc(SMC_BYTES) >> 2;
  const found = new Int32Array(BURST);

  const bucketOf = (hash: number): number => base + (hash >>> 16) * BUCKET_WORDS;

  // In strides, so that the memory of many packets is under way at once.
  function lookup(b: PacketBatch, n: number): number {
    const { missed, hash, flow, slots } = b;
    let touched = 0;
    for (let j = 0; j < n; j++) touched ^= i32[bucketOf(hash[missed[j]])];
    for (let j = 0; j < n; j++) {
      const h = hash[missed[j]];
      const e = bucketOf(h);
      let at = 0;
      if (i32[e] === h) at = e;
      else if (i32[e + 1] === h) at = e + 1;
      else if (i32[e + 2] === h) at = e + 2;
      else if (i32[e + 3] === h) at = e + 3;
      found[j] = at;
      touched ^= at === 0 ? 0 : i32[i32[at + FLOWS] + FLOW_ID] ^ i32[i32[at + FLOWS] + FLOW_KEY];
    }
    smc.touched = touched;
    let left = 0;
    for (let j = 0; j < n; j++) {
      const i = missed[j];
      const k = slots + i * SLOT_WORDS;
      const at = found[j];
      flow[i] = 0;
      if (at !== 0) {
        const f = i32[at + FLOWS];
        const id = i32[f + FLOW_ID];
        if (id !== 0 && id === i32[at + IDS] && i32[f + FLOW_IN_PORT] === byteSwap32(i32[k]) && matches(f, k)) {
          flow[i] = f;
          continue;
        }
      }
      missed[left++] = i;
    }
    return left;
  }

  function insert(hash: number, flow: number): void {
    const e = bucketOf(hash);
    // The same packet's place, or an empty one, or one whose flow is dead, or any.
    let place = e + (hash & (WAYS - 1));
    for (let at = e + WAYS - 1; at >= e; at--) {
      const id = i32[at + IDS];
      if (id === 0 || i32[i32[at + FLOWS] + FLOW_ID] !== id) place = at;
    }
    for (let at = e; at < e + WAYS; at++) if (i32[at] === hash) place = at;
    i32[place] = hash;
    i32[place + FLOWS] = flow;
    i32[place + IDS] = i32[flow + FLOW_ID];
  }

  function clear(): void {
    i32.fill(0, base, base + BUCKETS * BUCKET_WORDS);
  }

  const smc: Smc = { lookup, insert, clear, touched: 0 };
  return smc;
}
