/**
 * What the main thread asks of a PMD, as records in the command ring, and what a PMD hands up, as records in the upcall
 * ring. Word 0 of a record is its kind. Flows, masks and actions are named by the word index where they begin.
 */
import { DP_WORDS } from '../flow/layout.ts';

export const CMD = {
  /** id, mask */
  MASK_ADD: 1,
  /** id */
  MASK_DEL: 2,
  /** flow */
  FLOW_PUT: 3,
  /** flow; once acknowledged, its memory is the main thread's again */
  FLOW_DEL: 4,
  /** flow, actions, end, port of a single output or -1 */
  FLOW_MOD: 5,
  /**
   * flow or 0, action words, packet bytes, journey or 0, stops, `FRAME_GSO` or 0; key; actions; packet. With a flow, its actions run and
   * count. Stops are those of `hold.ts`.
   */
  EXECUTE: 6,
  /** A message waits on the MessagePort. */
  CONTROL: 7,
  /** Nothing; to be acknowledged. */
  NOP: 8,
  /** A ring that takes journeys, and filters: see `journey.ts`. Without filters, nobody looks any more. */
  WATCH: 9,
  /** Packets that wait: see `hold.ts`. */
  BREAK: 10,
} as const;

export const EXECUTE_HEAD = 7;
export const EXECUTE_KEY = EXECUTE_HEAD;
export const EXECUTE_ACTIONS = EXECUTE_HEAD + DP_WORDS;

export const UPCALL = { MISS: 0, ACTION: 1 } as const;
/** kind, userspace id, packet bytes, journey or 0, stops, `FRAME_GSO` or 0; key; packet */
export const UPCALL_KEY = 6;
export const UPCALL_PACKET = UPCALL_KEY + DP_WORDS;

/** Words that main thread and PMD share beside the rings, from the PMD's control index. */
export const CONTROL = {
  /** Commands that the PMD has carried out, since ever. */
  DONE: 0,
  /** 1 while the PMD sleeps or is about to: whoever gives it work makes it 2 and wakes it, once. */
  SLEEPING: 16,
  /** 1 when the main thread wants to hear of `DONE`. */
  WANTS_DONE: 17,
  /** Goes up whenever the main thread has something to look at; it waits here. */
  WAKE_MAIN: 32,
} as const;
export const CONTROL_WORDS = 48;
