/**
 * The way of most packets, in one go: TCP or UDP over plain IPv4, its flow in the EMC, and all the flow does is one output. The
 * packet's fields are compared while they are in registers; its key slot is not even written. Whatever is otherwise is
 * extracted into its slot and left to the caller.
 */
import type { ArenaViews } from '../base/arena.ts';
import { type PacketBatch, SLOT_WORDS } from './batch.ts';
import { EMC_WORD, type Emc } from './emc.ts';
import { type Extractor, finishHash, MAX_PADDING, mix } from './extract.ts';
import { FLOW_ID, FLOW_OUT, FLOW_PACKETS, FLOW_TCP_FLAGS } from './flow-entry.ts';
import { clearShape } from './shape.ts';

/** Where a port's frames gather. */
export interface Outgoing {
  readonly frames: Int32Array;
  n: number;
}

export interface ReceiverHost {
  readonly arena: ArenaViews;
  readonly extractor: Extractor;
  readonly emc: Emc;
  /** Float64 index of the time in milliseconds. */
  readonly clockAt: number;
  queueOf(port: number): Outgoing | undefined;
  /** A queue holds `full` frames. */
  readonly full: number;
  transmit(queue: Outgoing): void;
  /** There is no such port. */
  dropUnknown(frame: number): void;
}

export interface Receiver {
  /**
   * Packets 0 to n-1 of the batch, from the port whose number, byte-swapped, is `inPort`. Sends what it can; of the others
   * `b.flow[i]` is the flow or 0, and `b.missed` lists those with 0 that were not sent: their number is returned.
   */
  receive(b: PacketBatch, n: number, inPort: number, hasEmc: boolean): number;
  /** Of the last burst: packets found in the EMC, and those of them that were not sent. */
  readonly last: { hits: number; others: number };
}

const ETH_IP = 0x0008;
const FRAG_BITS = 0xff3f;
const TCP = 6;
const UDP = 17;

export function makeReceiver(host: ReceiverHost): Receiver {
  const { arena, extractor, emc, clockAt, full } = host;
  const { i32, f64 } = arena;
  const emcBase = emc.base;
  const last = { hits: 0, others: 0 };

  function receive(b: PacketBatch, n: number, inPort: number, hasEmc: boolean): number {
    const { frames, shape, len: lens, l3, l4, hash, flow, missed } = b;
    const nowMs = f64[clockAt];
    let nMissed = 0;
    let hits = 0;
    let others = 0;
    let out = -1;
    let q: Outgoing | undefined;
    for (let i = 0; i < n; i++) {
      const frame = frames[i];
      const len = i32[frame >> 2];
      const p = i32[(frame >> 2) + 1];
      // Word of the two bytes before the packet: from there on the IP header is words.
      const w = (p - 2) >> 2;
      const third = i32[w + 3];
      const first = i32[w + 4];
      const proto = (i32[w + 6] >>> 8) & 0xff;
      const total = ((first >>> 8) & 0xff00) | (first >>> 24);
      const tcp = i32[w + 12];
      let f = 0;
      if (
        (p & 3) === 2 &&
        third >>> 16 === ETH_IP &&
        (first & 0xff) === 0x45 &&
        ((i32[w + 5] >>> 16) & FRAG_BITS) === 0 &&
        total <= len - 14 &&
        len - 14 - total <= MAX_PADDING &&
        ((proto === UDP && total >= 28) ||
          (proto === TCP && total >= 40 && (tcp & 0xf0) >= 0x50 && (tcp & 0xf0) >> 2 <= total - 20))
      ) {
        const second = i32[w + 1];
        const middle = i32[w + 2];
        const k2 = (i32[w] >>> 16) | (second << 16);
        const k3 = (second >>> 16) | (middle << 16);
        const k4 = (middle >>> 16) | (third << 16);
        const k7 = proto | (first & 0xff00) | ((i32[w + 6] & 0xff) << 16);
        const src = i32[w + 7];
        const dst = i32[w + 8];
        const ports = i32[w + 9];
        const flags = proto === TCP ? tcp & 0xff0f : 0;
        const h = finishHash(mix(mix(mix(inPort ^ proto, src), dst), ports));
        if (hasEmc) {
          let e = emcBase + ((h & EMC_WORD.INDEX_MASK) << 4);
          if (i32[e + EMC_WORD.HASH] !== h) e = emcBase + (((h >>> EMC_WORD.SECOND_SHIFT) & EMC_WORD.INDEX_MASK) << 4);
          if (
            i32[e + EMC_WORD.HASH] === h &&
            i32[e + 10] === ports &&
            i32[e + 8] === src &&
            i32[e + 9] === dst &&
            i32[e] === inPort &&
            i32[e + 2] === k2 &&
            i32[e + 3] === k3 &&
            i32[e + 4] === k4 &&
            i32[e + 5] === 0 &&
            i32[e + 6] === ETH_IP &&
            i32[e + 7] === k7 &&
            i32[e + 11] === flags &&
            i32[e + EMC_WORD.SHAPE] === 0
          ) {
            f = i32[e + EMC_WORD.FLOW];
            if (i32[f + FLOW_ID] === i32[e + EMC_WORD.ID]) {
              hits++;
              const port = i32[f + FLOW_OUT];
              if (port >= 0) {
                const counters = (f + FLOW_PACKETS) >> 1;
                f64[counters]++;
                f64[counters + 1] += len;
                f64[counters + 2] = nowMs;
                if (flags !== 0) i32[f + FLOW_TCP_FLAGS] |= flags;
                flow[i] = 0;
                if (port !== out) {
                  out = port;
                  q = host.queueOf(port);
                }
                if (q === undefined) host.dropUnknown(frame);
                else {
                  q.frames[q.n++] = frame;
                  if (q.n === full) host.transmit(q);
                }
                continue;
              }
            } else f = 0;
          }
        }
        const k = b.slots + i * SLOT_WORDS;
        if (shape[i] !== 0) {
          clearShape(i32, k, shape[i]);
          shape[i] = 0;
        }
        i32[k] = inPort;
        i32[k + 2] = k2;
        i32[k + 3] = k3;
        i32[k + 4] = k4;
        i32[k + 5] = 0;
        i32[k + 6] = ETH_IP;
        i32[k + 7] = k7;
        i32[k + 8] = src;
        i32[k + 9] = dst;
        i32[k + 10] = ports;
        i32[k + 11] = flags;
        hash[i] = h;
        lens[i] = len;
        l3[i] = p + 14;
        l4[i] = p + 34;
      } else {
        extractor.one(b, i, inPort);
        if (hasEmc) {
          f = emc.find(b, i);
          if (f !== 0) hits++;
        }
      }
      flow[i] = f;
      if (f === 0) missed[nMissed++] = i;
      else others++;
    }
    last.hits = hits;
    last.others = others;
    return nMissed;
  }

  return { receive, last };
}
