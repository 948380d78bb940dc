/**
 * What server and pages say to each other: JSON, one message a line.
 *
 * `GET /api/live?topic=…&topic=…` never ends. Each topic first sends all it has, then what changed; a topic's argument stands
 * behind a colon (`flows:br0?query`). `GET /api/journeys?…` is the same for stories of packets, each line as in
 * `docs/schema/journey.json`.
 *
 * What this file imports must be types alone that stand for themselves: the pages are checked without the switch behind them.
 */
import type { BreakpointState, HeldState } from '../ofproto/journey/held.ts';

export type { HeldState };

export type LiveMessage = { readonly topic: string; readonly data: unknown };

// ---- status ----

export interface Reach {
  readonly isUp: boolean;
  /** Why not, in the words of whoever failed; empty while it is up. */
  readonly error: string;
  /** Since when it is so, milliseconds of the wall clock. */
  readonly since: number;
}

export interface Status {
  readonly switch: Reach;
  readonly database: Reach;
  readonly version: string;
  /** May this dashboard do what holds packets up? */
  readonly allowsChanges: boolean;
  readonly hasBreakpoints: boolean;
}

// ---- top: a look at the counters each second ----

/** Packets in, bytes in, packets out, bytes out, drops; all a second. */
export type PortRates = readonly [number, number, number, number, number];

export interface Thread {
  /** -1 is the main thread. */
  readonly pmd: number;
  readonly load: number | null;
  readonly packets: number;
  readonly lookups: number;
  /** `simple` and `smc` are absent from switches that have no such cache. */
  readonly simple?: number;
  readonly emc: number;
  readonly smc?: number;
  readonly megaflow: number;
  readonly upcall: number;
  readonly lost: number;
  readonly dropped: number;
  readonly subtables_per_hit: number;
}

export interface TopData {
  readonly time: number;
  readonly seconds: number;
  readonly datapaths: readonly {
    readonly name: string;
    readonly pmds: readonly Thread[];
    readonly n_megaflows: number;
    readonly n_rules: number;
  }[];
  /** By the datapath's name of the port; those without traffic are left out. */
  readonly ports: Readonly<Record<string, PortRates>>;
}

// ---- net: what is configured and connected ----

export interface NetInterface {
  readonly uuid: string;
  readonly name: string;
  readonly type: string;
  readonly ofport: number | null;
  readonly link: string;
  readonly admin: string;
  readonly error: string;
  readonly mac: string;
  readonly mtu: number | null;
  readonly speed: number | null;
  readonly options: Readonly<Record<string, string>>;
}

export interface NetPort {
  readonly uuid: string;
  readonly name: string;
  readonly tag: number | null;
  readonly trunks: readonly number[];
  readonly bondMode: string;
  readonly interfaces: readonly NetInterface[];
}

export interface NetController {
  readonly uuid: string;
  readonly target: string;
  readonly isConnected: boolean;
  readonly role: string;
  readonly status: Readonly<Record<string, string>>;
}

export interface NetBridge {
  readonly uuid: string;
  readonly name: string;
  readonly datapathType: string;
  readonly datapathId: string;
  readonly failMode: string;
  readonly controllers: readonly NetController[];
  readonly ports: readonly NetPort[];
}

export interface NetData {
  readonly bridges: readonly NetBridge[];
  readonly managers: readonly NetController[];
}

// ---- flows of a bridge ----

export interface RuleRow {
  /** For as long as the subscription lasts. */
  readonly id: number;
  readonly table: number;
  readonly priority: number;
  readonly cookie: string;
  /** Without priority and table; empty matches all. */
  readonly match: string;
  readonly actions: string;
  packets: number;
  bytes: number;
  /** Packets a second. */
  rate: number;
  /** When a packet last hit it, milliseconds of the wall clock; null when that is not known or never. */
  lastHit: number | null;
  /** When it was installed. */
  readonly since: number;
}

export type RuleHit = readonly [id: number, packets: number, bytes: number, rate: number, lastHit: number | null];

export type FlowsData =
  | {
      readonly kind: 'all';
      readonly error: string | null;
      readonly rules: readonly RuleRow[];
      readonly total: number;
      /** Of those that were chosen, how many are left out because they are too many. */
      readonly left: number;
    }
  | {
      readonly kind: 'change';
      readonly added: readonly RuleRow[];
      readonly removed: readonly number[];
      readonly hits: readonly RuleHit[];
      readonly total: number;
      readonly left: number;
    };

// ---- lint ----

export interface LintRule {
  readonly text: string;
  readonly table: number;
  readonly priority: number;
  readonly cookie: string;
}

/** `docs/schema/lint.json` has all of it. */
export interface LintData {
  readonly rules: number;
  readonly findings: readonly {
    readonly kind: string;
    readonly severity: 'error' | 'warning' | 'note';
    readonly reason: string;
    readonly rule: LintRule | null;
    readonly related: readonly LintRule[];
  }[];
}

// ---- subtables and their megaflows ----

export interface SubtableRow {
  /** What the mask looks at, field by field: `nw_dst/24`. */
  readonly mask: string;
  readonly fields: readonly string[];
  readonly megaflows: number;
  readonly packets: number;
  readonly rate: number;
}

export interface MegaflowRow {
  readonly ufid: string;
  readonly match: string;
  readonly actions: string;
  readonly packets: number;
  readonly bytes: number;
  readonly used: string;
  readonly rate: number;
}

export interface CachesData {
  readonly subtables: readonly SubtableRow[];
  readonly total: number;
}

// ---- drops ----

export type { DropRow } from '../ofproto/journey/drop-row.ts';

// ---- breakpoints ----

export interface BreaksData {
  readonly at: number;
  readonly breakpoints: readonly BreakpointState[];
  readonly held: readonly HeldState[];
}

// ---- database ----

export interface DbTableInfo {
  readonly name: string;
  readonly rows: number;
}

/** A reference that can be followed. `key` where the column is a map. */
export interface DbRef {
  readonly key: string | null;
  readonly table: string;
  readonly uuid: string;
  readonly label: string;
}

export type DbCell = string | readonly DbRef[];

export interface DbRow {
  readonly uuid: string;
  readonly label: string;
  readonly cells: readonly DbCell[];
}

export type DbRowsData =
  | {
      readonly kind: 'all';
      readonly columns: readonly { readonly name: string; readonly type: string }[];
      readonly rows: readonly DbRow[];
    }
  | { readonly kind: 'change'; readonly rows: readonly DbRow[]; readonly removed: readonly string[] };

export interface DbChange {
  readonly at: number;
  readonly table: string;
  readonly uuid: string;
  readonly label: string;
  readonly kind: 'insert' | 'modify' | 'delete';
  readonly columns: readonly { readonly name: string; readonly old: string; readonly new: string }[];
}
