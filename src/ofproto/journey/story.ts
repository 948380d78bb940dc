/**
 * A packet's journey as one story: what `journey/show` prints and `--format json` writes, one line a story.
 * `docs/schema/journey.json` is this file as a JSON Schema; names are stable.
 */
import type { DropReason } from '../../datapath/drop-reason.ts';

export interface Story {
  /** Goes up by one for each story that this switch tells. */
  readonly journey: number;
  /** When it was received, ISO 8601 with microseconds, UTC. */
  readonly time: string;
  readonly bridge: string | null;
  readonly in_port: PortName;
  readonly queue: number;
  /** The PMD that received it; -1 is the main thread. */
  readonly pmd: number;
  readonly length: number;
  /** Hex. */
  readonly packet: string;
  /** As a match, the OpenFlow way. */
  readonly flow: string;
  readonly verdict: 'forwarded' | 'controller' | 'dropped' | 'consumed';
  readonly outputs: readonly PortName[];
  readonly drop: (DropReason & { readonly port?: string }) | null;
  /** From reception to the last step. */
  readonly ns: number;
  readonly steps: readonly Step[];
  /** Something of it was lost on the way, or took too long to wait for. */
  readonly is_incomplete: boolean;
}

export interface PortName {
  readonly name: string;
  readonly dp_port: number;
  readonly of_port: number | null;
}

export interface MegaflowStory {
  readonly ufid: string;
  readonly match: string;
  readonly actions: string;
  readonly packets: number;
  /** Since it was installed. */
  readonly age_ms: number;
  /** The time of day; and the thread whose upcall it was, -1 for the main thread. */
  readonly made_at: string | null;
  readonly made_by_pmd: number | null;
  /** The flow of the packet whose upcall made it, as a match. */
  readonly made_for: string | null;
  /** The journey of that packet, if it was told. */
  readonly made_by_journey: number | null;
}

export interface TranslationStory {
  /** As `ofproto/trace` tells it. */
  readonly trace: string;
  readonly actions: string;
  readonly megaflow: string;
  /** What made the megaflow look at which bits. */
  readonly why: readonly { readonly bits: string; readonly because: string }[];
  readonly error: string | null;
}

/** A translation done again; `is_current`: the tables still say what the megaflow does. */
export type Replay = TranslationStory & { readonly is_current: boolean };

/** `ns`: since reception. `pmd`: where; -1 is the main thread, where the slow path lives. */
export type Step = { readonly ns: number; readonly pmd: number } & (
  | {
      readonly step: 'lookup';
      readonly cache: 'simple' | 'emc' | 'smc' | 'megaflow' | 'none';
      /** The caches that were asked in vain. */
      readonly asked: readonly string[];
      /** Subtables tried, and how many the port has; with an index over them, its steps. */
      readonly tried: number;
      readonly subtables: number | null;
      readonly is_indexed: boolean;
      readonly megaflow: MegaflowStory | null;
      /** What the tables say now of a packet that a cache answered; null where it was told before or cannot be known. */
      readonly replay: Replay | null;
      /** The journey that told the replay. */
      readonly replayed_in: number | null;
    }
  | { readonly step: 'upcall'; readonly reason: 'miss' | 'action'; readonly is_sent: boolean }
  | {
      readonly step: 'translation';
      readonly bridge: string;
      readonly translation: TranslationStory;
      readonly installed: string | null;
    }
  | { readonly step: 'overtaken'; readonly megaflow: MegaflowStory | null }
  | { readonly step: 'controller'; readonly reason: number; readonly table: number | null }
  | { readonly step: 'actions'; readonly level: number; readonly actions: string }
  | {
      readonly step: 'action';
      readonly level: number;
      readonly action: string;
      /** Fields that it changed: `ip_dst: 10.0.0.2 -> 10.0.0.3`. */
      readonly changes: readonly string[];
      /** The packet's first bytes before and after, hex; null where the action leaves packets as they are. */
      readonly before: string | null;
      readonly after: string | null;
    }
  | { readonly step: 'recirculated'; readonly recirc_id: number; readonly flow: string }
  /** At a breakpoint. */
  | { readonly step: 'held'; readonly stage: string }
  | { readonly step: 'released'; readonly how: string; readonly edits: readonly string[] }
  /** To the PMD that can send out of that port. */
  | { readonly step: 'handed'; readonly port: PortName; readonly by_pmd: number }
  | {
      readonly step: 'sent';
      readonly port: PortName;
      /** Which of the port's queues for QoS, counted from 1; 0 for none. */
      readonly queue: number;
      readonly length: number;
      readonly by_pmd: number;
    }
  | { readonly step: 'drop'; readonly reason: string; readonly text: string; readonly port: string | null }
);
