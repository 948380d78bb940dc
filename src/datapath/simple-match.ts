/**
 * Ports whose flows look at nothing but the port, the outer tag, the Ethernet type and whether a packet is a fragment: those few
 * words are all that has to be read of a packet. What they led to is remembered in a small cache; a packet that is not there, or
 * whose flow does more than one output, goes the ordinary way and is remembered then.
 *
 * The cache may be asked as long as *all* flows of the port are simple, for then nothing else could tell two packets apart.
 */
import type { ArenaViews } from '../base/arena.ts';
import { OFS } from '../flow/layout.ts';
import { type PacketBatch, SLOT_WORDS } from './batch.ts';
import { type Extractor, MAX_PADDING } from './extract.ts';
import { FLOW_ID, FLOW_OUT, FLOW_PACKETS, FLOW_TCP_FLAGS } from './flow-entry.ts';
import type { Mask } from './mask.ts';
import type { Outgoing } from './receive.ts';
import { SHAPE } from './shape.ts';

const ETH_VLAN = 0x0081;
const ETH_QINQ = 0xa888;
const ETH_IP = 0x0008;
const ETH_IPV6 = 0xdd86;
const VLAN_CFI = 0x0010;
const FRAG_BITS = 0xff3f;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

const FRAG_BYTE = 0xff000000 | 0;
const RICH = SHAPE.META | SHAPE.CT | SHAPE.TUNNEL | SHAPE.TUN_OPTIONS | SHAPE.PACKET_TYPE | SHAPE.VLAN2;

/** Nothing of the mask needs more of a packet than this cache reads. */
export function isSimpleMask(mask: Mask): boolean {
  for (let j = 0; j < mask.words.length; j++) {
    const w = mask.words[j];
    if (
      w === 7
        ? (mask.bits[j] & ~FRAG_BYTE) !== 0
        : w !== 0 && w !== 1 && w !== 5 && w !== 6 && w !== OFS.packet_type >> 2
    )
      return false;
  }
  return true;
}

export interface SimpleMatchHost {
  readonly arena: ArenaViews;
  readonly extractor: Extractor;
  /** Float64 index of the time in milliseconds. */
  readonly clockAt: number;
  queueOf(port: number): Outgoing | undefined;
  readonly full: number;
  transmit(queue: Outgoing): void;
  dropUnknown(frame: number): void;
}

export interface SimpleMatch {
  /** As `Receiver.receive`: sends what it can, extracts the others; their number is returned and `b.missed` lists them. */
  receive(b: PacketBatch, n: number, inPort: number): number;
  /** What `receive` would find for packet `i`, whose key is in its slot: its flow, or 0. */
  flowOf(b: PacketBatch, i: number): number;
  /** Packet `i`, one of the others, has found its flow. */
  remember(b: PacketBatch, i: number, flow: number): void;
}

const ENTRIES = 256;
const ENTRY_WORDS = 8;
/** Words of an entry: port, tag, type, flow, flow's id. */
const TAG = 1;
const TYPE = 2;
const FLOW = 3;
const ID = 4;

export function makeSimpleMatch(host: SimpleMatchHost): SimpleMatch {
  const { extractor, clockAt, full } = host;
  const { i32, f64 } = host.arena;
  const cache = new Int32Array(ENTRIES * ENTRY_WORDS);

  function entryOf(inPort: number, tag: number, type: number): number {
    const h = Math.imul(inPort ^ (tag >>> 7) ^ type, 0x9e3779b1);
    return (h >>> 24) * ENTRY_WORDS;
  }

  function flowOf(b: PacketBatch, i: number): number {
    const k = b.slots + i * SLOT_WORDS;
    const type = i32[k + 6] & 0xffff;
    if (b.shape[i] & RICH || i32[k + 7] & FRAG_BYTE) return 0;
    const e = entryOf(i32[k], i32[k + 5], type);
    const f = cache[e + FLOW];
    if (cache[e + TYPE] !== type || cache[e + TAG] !== i32[k + 5] || cache[e] !== i32[k] || f === 0) return 0;
    return i32[f + FLOW_ID] === cache[e + ID] && i32[f + FLOW_OUT] >= 0 ? f : 0;
  }

  function receive(b: PacketBatch, n: number, inPort: number): number {
    const { frames, flow, missed } = b;
    const nowMs = f64[clockAt];
    let nMissed = 0;
    for (let i = 0; i < n; i++) {
      const frame = frames[i];
      const len = i32[frame >> 2];
      const p = i32[(frame >> 2) + 1];
      // Word of the two bytes before what follows the addresses.
      let w = (p + 10) >> 2;
      let tag = 0;
      let end = len - 14;
      let type = i32[w] >>> 16;
      if (type === ETH_VLAN || type === ETH_QINQ) {
        tag = type | (((i32[w + 1] & 0xffff) | VLAN_CFI) << 16);
        w++;
        end -= 4;
        type = i32[w] >>> 16;
      }
      const flags = (p & 3) === 2 && end >= 0 ? flagsOf(w + 1, end, type) : -1;
      if (flags >= 0) {
        const e = entryOf(inPort, tag, type);
        const f = cache[e + FLOW];
        if (
          cache[e + TYPE] === type &&
          cache[e + TAG] === tag &&
          cache[e] === inPort &&
          f !== 0 &&
          i32[f + FLOW_ID] === cache[e + ID] &&
          i32[f + FLOW_OUT] >= 0
        ) {
          const counters = (f + FLOW_PACKETS) >> 1;
          f64[counters]++;
          f64[counters + 1] += len;
          f64[counters + 2] = nowMs;
          if (flags !== 0) i32[f + FLOW_TCP_FLAGS] |= flags;
          const q = host.queueOf(i32[f + FLOW_OUT]);
          flow[i] = 0;
          if (q === undefined) host.dropUnknown(frame);
          else {
            q.frames[q.n++] = frame;
            if (q.n === full) host.transmit(q);
          }
          continue;
        }
      }
      extractor.one(b, i, inPort);
      missed[nMissed++] = i;
    }
    return nMissed;
  }

  /**
   * The TCP flags of a packet with what is behind its Ethernet type at word `w`, 0 without; -1 when it takes more to say
   * what its type is, or that it is no fragment.
   */
  function flagsOf(w: number, size: number, type: number): number {
    if (type === ETH_IP) {
      const first = i32[w];
      if (((i32[w + 1] >>> 16) & FRAG_BITS) !== 0 || (first & 0xff) !== 0x45) return -1;
      if (((i32[w + 2] >>> 8) & 0xff) !== TCP) return 0;
      const total = ((first >>> 8) & 0xff00) | (first >>> 24);
      if (total > size || size - total > MAX_PADDING || total < 40) return -1;
      const x = i32[w + 8];
      return (x & 0xf0) < 0x50 || (x & 0xf0) >> 2 > total - 20 ? -1 : x & 0xff0f;
    }
    if (type === ETH_IPV6) {
      const next = (i32[w + 1] >>> 16) & 0xff;
      return next === UDP || next === ICMPV6 ? 0 : -1;
    }
    // Another tag, or a length.
    return type === ETH_VLAN || type === ETH_QINQ || (type & 0xff) < 6 ? -1 : 0;
  }

  function remember(b: PacketBatch, i: number, flow: number): void {
    const k = b.slots + i * SLOT_WORDS;
    if ((b.shape[i] & RICH) !== 0 || (i32[k + 7] & FRAG_BYTE) !== 0 || i32[k + 1] !== 0 || i32[k + 6] >>> 16 !== 0)
      return;
    const e = entryOf(i32[k], i32[k + 5], i32[k + 6]);
    cache[e] = i32[k];
    cache[e + TAG] = i32[k + 5];
    cache[e + TYPE] = i32[k + 6];
    cache[e + FLOW] = flow;
    cache[e + ID] = i32[flow + FLOW_ID];
  }

  return { receive, remember, flowOf };
}
