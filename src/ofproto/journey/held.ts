/**
 * What is told of breakpoints and of packets that wait: `docs/schema/break.json` is this file as a JSON Schema. Types alone, so
 * that whoever reads the JSON needs nothing of the switch.
 */
import type { DropReason } from '../../datapath/drop-reason.ts';
import type { PortName, Step } from './story.ts';

export interface BreakpointState {
  readonly type: 'breakpoint';
  readonly name: string;
  readonly stages: readonly string[];
  readonly filter: string;
  readonly bridge: string | null;
  readonly in_port: string | null;
  readonly limit_ms: number;
  /** Packets that stopped here so far. */
  readonly hits: number;
  readonly waiting: number;
}

export interface HeldState {
  readonly type: 'held';
  readonly packet: number;
  readonly breakpoints: readonly string[];
  /** The stage that comes next. */
  readonly stage: string;
  readonly reason: DropReason | null;
  readonly bridge: string | null;
  readonly in_port: PortName;
  /** The thread that it waits in; -1 is the main thread. */
  readonly pmd: number;
  readonly held_ms: number;
  /** Until it goes on by itself. */
  readonly left_ms: number;
  readonly length: number;
  /** Its bytes now, hex; and as they were received. */
  readonly bytes: string;
  readonly received: string;
  /** As a match, the OpenFlow way. */
  readonly flow: string;
  /** Header fields, in the order of the headers. */
  readonly headers: readonly { readonly field: string; readonly value: string; readonly is_editable: boolean }[];
  readonly metadata: readonly { readonly field: string; readonly value: string }[];
  /** What is left to be done, as far as the datapath knows. */
  readonly actions: string;
  readonly edits: readonly string[];
  /** The journey so far. */
  readonly steps: readonly Step[];
}
