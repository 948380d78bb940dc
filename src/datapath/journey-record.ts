/** Reads the records that `journey.ts` writes, as objects. The main thread's side. */
import type { DpAction, UserspaceAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { DP_WORDS } from '../flow/layout.ts';
import { decodeAction, decodeActions, opName } from './actions-decode.ts';
import { ASKED, EVENT, HEAD, HEAD_PACKET, HELD_KEY, IS_REST } from './journey.ts';

/** `ns`: since the record's start. */
export type JourneyEvent = { readonly ns: number } & (
  | { readonly type: Cache; readonly flowId: number; readonly entry: number }
  | {
      readonly type: 'megaflow';
      readonly flowId: number;
      readonly entry: number;
      readonly tried: number;
      readonly subtables: number;
      /** An index over the subtables answered: `tried` are its steps. */
      readonly isIndexed: boolean;
      /** Caches that were asked before. */
      readonly caches: readonly Cache[];
    }
  | {
      readonly type: 'miss';
      readonly tried: number;
      readonly subtables: number;
      readonly isIndexed: boolean;
      /** Caches that were asked before. */
      readonly caches: readonly Cache[];
    }
  | {
      readonly type: 'upcall';
      readonly reason: 'miss' | 'action';
      readonly userspace: UserspaceAction | null;
      readonly isSent: boolean;
    }
  /** A name stands for what this file has no words for. */
  | {
      readonly type: 'actions';
      readonly level: number;
      readonly actions: readonly (DpAction | string)[];
      /** The packet waited, and these are left. */
      readonly isRest: boolean;
    }
  | {
      readonly type: 'step';
      readonly level: number;
      /** Null: one that has no words here; then `name` says what it is. */
      readonly action: DpAction | null;
      readonly name: string;
      /** Bytes of the packet before it. */
      readonly length: number;
      /** The first bytes of the packet before it; null when they are as last shown. */
      readonly headers: Uint8Array | null;
    }
  | {
      readonly type: 'sent';
      readonly port: number;
      /** Index of the neighbor that has the port, -1 for this PMD. */
      readonly neighbor: number;
      readonly length: number;
      readonly isTaken: boolean;
      /** Which of the port's queues for QoS, 0 for none. */
      readonly txClass: number;
    }
  | { readonly type: 'drop'; readonly reason: number; readonly port: number }
  | { readonly type: 'again'; readonly level: number; readonly recircId: number; readonly key: FlowKey }
  | { readonly type: 'held'; readonly hold: HoldRecord }
  /** What connection tracking says of the packet from here on. */
  | {
      readonly type: 'ct';
      readonly state: number;
      readonly zone: number;
      readonly mark: number;
      readonly label: bigint;
    }
);

/** A packet that waits at a breakpoint. */
export interface HoldRecord {
  /** The PMD's number for it. */
  readonly id: number;
  /** Bit of `STOP`: the stage that comes next. */
  readonly stage: number;
  /** `DROP`, or -1 when it is not about to be dropped. */
  readonly reason: number;
  /** As much of it as is told, and how long it is. */
  readonly packet: Uint8Array;
  readonly length: number;
  readonly key: FlowKey;
  /** What is left to be done. */
  readonly actions: readonly (DpAction | string)[];
}

export interface JourneyRecord {
  /** `handed`: another PMD sends it; `resumed`: it had waited. */
  readonly kind: (typeof KINDS)[number];
  readonly id: number;
  readonly filters: number;
  readonly generation: number;
  /** Milliseconds of the kernel's monotonic clock. */
  readonly startMs: number;
  readonly port: number;
  readonly queue: number;
  /** As much of it as is told, and how long it is. */
  readonly packet: Uint8Array;
  readonly length: number;
  readonly key: FlowKey;
  /** Upcalls made, of which the slow path hears. */
  readonly upcalls: number;
  readonly ns: number;
  readonly isTruncated: boolean;
  readonly events: readonly JourneyEvent[];
}

/** What knows the megaflow of a packet without looking for it. */
export type Cache = 'simple' | 'emc' | 'smc';
const CACHES = [
  ['simple', ASKED.SIMPLE],
  ['emc', ASKED.EMC],
  ['smc', ASKED.SMC],
] as const;
const cachesOf = (asked: number): Cache[] => CACHES.filter(([, bit]) => asked & bit).map(([name]) => name);
const CACHE_OF: Readonly<Record<number, Cache>> = {
  [EVENT.EMC]: 'emc',
  [EVENT.SMC]: 'smc',
  [EVENT.SIMPLE]: 'simple',
};

const KINDS = ['received', 'executed', 'handed', 'resumed'] as const;

const scratch = new Float64Array(1);
const scratchWords = new Int32Array(scratch.buffer);

export function readRecord(
  i32: Int32Array,
  at: number,
  userspace: (id: number) => UserspaceAction | undefined,
): JourneyRecord {
  const n = i32[at + HEAD.WORDS];
  const w = i32.slice(at, at + n);
  const bytes = new Uint8Array(w.buffer);
  scratchWords[0] = w[HEAD.START];
  scratchWords[1] = w[HEAD.START + 1];
  const captured = w[HEAD.CAPTURED];
  const events: JourneyEvent[] = [];
  let e = HEAD_PACKET + ((captured + 3) >> 2);
  const codes: Code[] = [];
  while (e < n) {
    const size = w[e] >>> 8;
    if (size === 0) break;
    const kind = w[e] & 0xff;
    if (kind === EVENT.ACTIONS) codes.push({ first: w[e + 3], words: w.slice(e + 5, e + size) });
    const event = readEvent(w, bytes, e, codes, userspace);
    if (event) events.push(event);
    e += size;
  }
  return {
    kind: KINDS[w[HEAD.KIND]] ?? 'executed',
    id: w[HEAD.ID],
    filters: w[HEAD.FILTERS],
    generation: w[HEAD.GENERATION],
    startMs: scratch[0],
    port: w[HEAD.PORT],
    queue: w[HEAD.QUEUE],
    packet: bytes.slice(HEAD_PACKET * 4, HEAD_PACKET * 4 + captured),
    length: w[HEAD.LENGTH],
    key: keyOf(w, HEAD.KEY),
    upcalls: w[HEAD.UPCALLS],
    ns: w[HEAD.NS],
    isTruncated: w[HEAD.TRUNCATED] !== 0,
    events,
  };
}

/** The list of actions that runs, and the word of the arena where it stood. */
interface Code {
  readonly first: number;
  readonly words: Int32Array;
}

function keyOf(w: Int32Array, at: number): FlowKey {
  const key = new FlowKey();
  key.w.set(w.subarray(at, at + DP_WORDS));
  return key;
}

function readEvent(
  w: Int32Array,
  bytes: Uint8Array,
  e: number,
  codes: readonly Code[],
  userspace: (id: number) => UserspaceAction | undefined,
): JourneyEvent | null {
  const ns = w[e + 1];
  const a = e + 2;
  switch (w[e] & 0xff) {
    case EVENT.EMC:
    case EVENT.SMC:
    case EVENT.SIMPLE:
      return { ns, type: CACHE_OF[w[e] & 0xff], flowId: w[a], entry: w[a + 1] };
    case EVENT.MEGAFLOW:
      return {
        ns,
        type: 'megaflow',
        flowId: w[a],
        entry: w[a + 1],
        tried: w[a + 3],
        subtables: w[a + 4],
        isIndexed: w[a + 5] !== 0,
        caches: cachesOf(w[a + 6]),
      };
    case EVENT.MISS: {
      const caches = cachesOf(w[a + 3]);
      return { ns, type: 'miss', tried: w[a], subtables: w[a + 1], isIndexed: w[a + 2] !== 0, caches };
    }
    case EVENT.UPCALL:
      return {
        ns,
        type: 'upcall',
        reason: w[a] === 0 ? 'miss' : 'action',
        userspace: w[a] === 0 ? null : (userspace(w[a + 1]) ?? null),
        isSent: w[a + 2] !== 0,
      };
    case EVENT.ACTIONS: {
      const actions = listOf(codes[codes.length - 1].words, userspace);
      return { ns, type: 'actions', level: w[a] & ~IS_REST, actions, isRest: (w[a] & IS_REST) !== 0 };
    }
    case EVENT.STEP: {
      // An inner list has been told since an outer one began: the last that has the place is meant.
      const code = codes.findLast((c) => w[a + 1] >= c.first && w[a + 1] < c.first + c.words.length);
      const at = w[a + 1] - (code?.first ?? 0);
      const shown = w[a + 3];
      return {
        ns,
        type: 'step',
        level: w[a],
        action: code ? decodeAction(code.words, at, userspace) : null,
        name: code ? opName(code.words[at] & 0xff) : '?',
        length: w[a + 2],
        headers: shown > 0 ? bytes.slice((a + 4) * 4, (a + 4) * 4 + shown) : null,
      };
    }
    case EVENT.SENT:
      return {
        ns,
        type: 'sent',
        port: w[a],
        neighbor: w[a + 1],
        length: w[a + 2],
        isTaken: w[a + 3] !== 0,
        txClass: w[a + 4],
      };
    case EVENT.DROP:
      return { ns, type: 'drop', reason: w[a], port: w[a + 1] };
    case EVENT.AGAIN:
      return { ns, type: 'again', level: w[a], recircId: be32(w[a + 1]), key: keyOf(w, a + 2) };
    case EVENT.HELD: {
      const captured = w[a + 4];
      const packet = a + HELD_KEY + DP_WORDS;
      const code = packet + ((captured + 3) >> 2);
      const hold = {
        id: w[a],
        stage: w[a + 1],
        reason: w[a + 2],
        packet: bytes.slice(packet * 4, packet * 4 + captured),
        length: w[a + 3],
        key: keyOf(w, a + HELD_KEY),
        actions: listOf(w.slice(code, code + w[a + 5]), userspace),
      };
      return { ns, type: 'held', hold };
    }
    case EVENT.CT: {
      let label = 0n;
      for (let i = 3; i < 7; i++) label = (label << 32n) | BigInt(be32(w[a + i]));
      return { ns, type: 'ct', state: be32(w[a]), zone: be32(w[a + 1]) & 0xffff, mark: be32(w[a + 2]), label };
    }
    default:
      return null;
  }
}

const listOf = (
  code: Int32Array,
  userspace: (id: number) => UserspaceAction | undefined,
): readonly (DpAction | string)[] =>
  decodeActions(code, 0, code.length, userspace).map(({ action, op }) => action ?? opName(op));

const be32 = (v: number): number =>
  (((v & 0xff) << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0;
