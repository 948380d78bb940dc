/** Reads the records that `journey.ts` writes, as objects. The main thread's side. */
import type { DpAction, UserspaceAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { DP_WORDS } from '../flow/layout.ts';
import { decodeAction, decodeActions, opName } from './actions-decode.ts';
import { EVENT, HEAD, HEAD_PACKET, RECORD_KIND } from './journey.ts';

/** `ns`: since the record's start. */
export type JourneyEvent = { readonly ns: number } & (
  | { readonly type: 'emc'; readonly flowId: number; readonly entry: number }
  | {
      readonly type: 'megaflow';
      readonly flowId: number;
      readonly entry: number;
      readonly tried: number;
      readonly subtables: number;
    }
  | { readonly type: 'miss'; readonly tried: number }
  | {
      readonly type: 'upcall';
      readonly reason: 'miss' | 'action';
      readonly userspace: UserspaceAction | null;
      readonly isSent: boolean;
    }
  /** A name stands for what this file has no words for. */
  | { readonly type: 'actions'; readonly level: number; readonly actions: readonly (DpAction | string)[] }
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
    }
  | { readonly type: 'drop'; readonly reason: number; readonly port: number }
  | { readonly type: 'again'; readonly level: number; readonly recircId: number; readonly key: FlowKey }
);

export interface JourneyRecord {
  readonly kind: 'received' | 'executed';
  readonly id: number;
  readonly filters: number;
  readonly generation: number;
  /** Milliseconds of the kernel's monotonic clock. */
  readonly startMs: number;
  readonly port: number;
  readonly queue: number;
  readonly packet: Uint8Array;
  readonly key: FlowKey;
  /** Upcalls made, of which the slow path hears. */
  readonly upcalls: number;
  readonly ns: number;
  readonly isTruncated: boolean;
  readonly events: readonly JourneyEvent[];
}

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
  const length = w[HEAD.LENGTH];
  const events: JourneyEvent[] = [];
  let e = HEAD_PACKET + ((length + 3) >> 2);
  let code: Code = { first: 0, words: new Int32Array() };
  while (e < n) {
    const size = w[e] >>> 8;
    if (size === 0) break;
    const kind = w[e] & 0xff;
    if (kind === EVENT.ACTIONS) code = { first: w[e + 3], words: w.slice(e + 5, e + size) };
    const event = readEvent(w, bytes, e, code, userspace);
    if (event) events.push(event);
    e += size;
  }
  return {
    kind: w[HEAD.KIND] === RECORD_KIND.RECEIVED ? 'received' : 'executed',
    id: w[HEAD.ID],
    filters: w[HEAD.FILTERS],
    generation: w[HEAD.GENERATION],
    startMs: scratch[0],
    port: w[HEAD.PORT],
    queue: w[HEAD.QUEUE],
    packet: bytes.slice(HEAD_PACKET * 4, HEAD_PACKET * 4 + length),
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
  code: Code,
  userspace: (id: number) => UserspaceAction | undefined,
): JourneyEvent | null {
  const ns = w[e + 1];
  const a = e + 2;
  switch (w[e] & 0xff) {
    case EVENT.EMC:
      return { ns, type: 'emc', flowId: w[a], entry: w[a + 1] };
    case EVENT.MEGAFLOW:
      return { ns, type: 'megaflow', flowId: w[a], entry: w[a + 1], tried: w[a + 3], subtables: w[a + 4] };
    case EVENT.MISS:
      return { ns, type: 'miss', tried: w[a] };
    case EVENT.UPCALL:
      return {
        ns,
        type: 'upcall',
        reason: w[a] === 0 ? 'miss' : 'action',
        userspace: w[a] === 0 ? null : (userspace(w[a + 1]) ?? null),
        isSent: w[a + 2] !== 0,
      };
    case EVENT.ACTIONS: {
      const list = decodeActions(code.words, 0, code.words.length, userspace);
      return { ns, type: 'actions', level: w[a], actions: list.map(({ action, op }) => action ?? opName(op)) };
    }
    case EVENT.STEP: {
      const at = w[a + 1] - code.first;
      const isKnown = at >= 0 && at < code.words.length;
      const shown = w[a + 3];
      return {
        ns,
        type: 'step',
        level: w[a],
        action: isKnown ? decodeAction(code.words, at, userspace) : null,
        name: isKnown ? opName(code.words[at] & 0xff) : '?',
        length: w[a + 2],
        headers: shown > 0 ? bytes.slice((a + 4) * 4, (a + 4) * 4 + shown) : null,
      };
    }
    case EVENT.SENT:
      return { ns, type: 'sent', port: w[a], neighbor: w[a + 1], length: w[a + 2], isTaken: w[a + 3] !== 0 };
    case EVENT.DROP:
      return { ns, type: 'drop', reason: w[a], port: w[a + 1] };
    case EVENT.AGAIN:
      return { ns, type: 'again', level: w[a], recircId: be32(w[a + 1]), key: keyOf(w, a + 2) };
    default:
      return null;
  }
}

const be32 = (v: number): number =>
  (((v & 0xff) << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0;
