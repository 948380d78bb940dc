/**
 * OpenFlow messages as values, the same for every protocol version; `wire.ts` turns bytes into these and back.
 *
 * Port numbers are 16-bit (`OFPP`), table 255 means "all", cookies are bigint, statistics counters are `number`
 * (exact to 2^53; -1 where the wire says "unknown"). Times are milliseconds.
 */
import type { Match } from '../flow/match.ts';
import type { Ofpact } from './actions/types.ts';
import type { OfMessageExt, TableFeatures } from './messages-ext.ts';

/** Wire number: 1 is OpenFlow 1.0, 4 is 1.3, 5 is 1.4, 6 is 1.5. */
export type OfpVersion = 1 | 2 | 3 | 4 | 5 | 6;

export type FlowModCommand = 'add' | 'modify' | 'modify_strict' | 'delete' | 'delete_strict';

export interface FlowMod {
  readonly type: 'flow_mod';
  readonly command: FlowModCommand;
  readonly match: Match;
  readonly priority: number;
  /** Selects rules to change (with its mask); for `add` the mask is 0. */
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  /** The cookie that the rule gets; null keeps what it has. */
  readonly newCookie: bigint | null;
  readonly table: number;
  /** Seconds. */
  readonly idleTimeout: number;
  readonly hardTimeout: number;
  readonly importance: number;
  readonly bufferId: number;
  readonly outPort: number;
  readonly outGroup: number;
  readonly flags: FlowModFlags;
  readonly actions: readonly Ofpact[];
  /** OpenFlow 1.0: came, or is to go, as NXT_FLOW_MOD. */
  readonly nxm?: boolean;
}

export interface FlowModFlags {
  readonly sendFlowRem: boolean;
  readonly checkOverlap: boolean;
  readonly resetCounts: boolean;
  readonly noPacketCounts: boolean;
  readonly noByteCounts: boolean;
}

export type FlowRemovedReason = 'idle' | 'hard' | 'delete' | 'group_delete' | 'meter_delete' | 'eviction';

export interface FlowRemoved {
  readonly type: 'flow_removed';
  readonly match: Match;
  readonly priority: number;
  readonly cookie: bigint;
  readonly reason: FlowRemovedReason;
  readonly table: number;
  readonly durationMs: number;
  readonly idleTimeout: number;
  readonly hardTimeout: number;
  readonly packets: number;
  readonly bytes: number;
  /** OpenFlow 1.0: NXT_FLOW_REMOVED. */
  readonly nxm?: boolean;
}

/** `ofp_packet_in_reason`; the numbers are the wire's. */
export const PacketInReason = {
  no_match: 0,
  action: 1,
  invalid_ttl: 2,
  action_set: 3,
  group: 4,
  packet_out: 5,
} as const;

export interface PacketIn {
  readonly type: 'packet_in';
  readonly packet: Uint8Array;
  /** Length of the whole packet; `packet` may be cut to max_len. */
  readonly totalLen: number;
  readonly bufferId: number;
  readonly reason: number;
  readonly table: number;
  readonly cookie: bigint;
  /** Metadata of the packet: in_port, registers, tunnel, conntrack, as a match over those fields. */
  readonly metadata: Match;
  readonly userdata: Uint8Array | null;
  readonly continuation: Uint8Array | null;
  /** Which message carries it; without, what the connection has agreed on. */
  readonly format?: 'standard' | 'nxt_packet_in' | 'nxt_packet_in2';
}

export interface PacketOut {
  readonly type: 'packet_out';
  readonly bufferId: number;
  readonly metadata: Match;
  readonly packet: Uint8Array;
  readonly actions: readonly Ofpact[];
}

/** Configuration and state bits use the OpenFlow 1.5 numbers (OFPPC_*, OFPPS_*), speeds are kbps, features OFPPF_*. */
export interface PhyPort {
  readonly portNo: number;
  readonly hwAddr: Uint8Array;
  readonly name: string;
  readonly config: number;
  readonly state: number;
  readonly curr: number;
  readonly advertised: number;
  readonly supported: number;
  readonly peer: number;
  readonly currSpeed: number;
  readonly maxSpeed: number;
}

export interface FlowStats {
  readonly match: Match;
  readonly priority: number;
  readonly cookie: bigint;
  readonly table: number;
  readonly durationMs: number;
  readonly idleTimeout: number;
  readonly hardTimeout: number;
  /** Seconds since the last packet; -1 unknown. */
  readonly idleAge: number;
  readonly hardAge: number;
  readonly importance: number;
  readonly packets: number;
  readonly bytes: number;
  readonly flags: FlowModFlags;
  readonly actions: readonly Ofpact[];
}

export interface FlowStatsRequest {
  readonly match: Match;
  readonly table: number;
  readonly outPort: number;
  readonly outGroup: number;
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  /** OpenFlow 1.0: NXST_FLOW, NXST_AGGREGATE. */
  readonly nxm?: boolean;
}

export interface TableStats {
  readonly table: number;
  readonly name: string;
  readonly maxEntries: number;
  readonly activeCount: number;
  readonly lookupCount: number;
  readonly matchedCount: number;
  /** OFPTC11_TABLE_MISS_*: 0 controller, 1 continue, 2 drop, 3 default. */
  readonly missConfig: number;
  /** OpenFlow 1.1 and 1.2 tell what the table can do along with its statistics; 1.0 tells its wildcards. */
  readonly features?: TableFeatures;
}

export interface PortStats {
  readonly portNo: number;
  readonly durationMs: number;
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxDropped: number;
  readonly txDropped: number;
  readonly rxErrors: number;
  readonly txErrors: number;
  readonly rxFrameErr: number;
  readonly rxOverErr: number;
  readonly rxCrcErr: number;
  readonly collisions: number;
  /** Counters of RFC 2819 (the ONF's property of OpenFlow 1.4+), in the order of `RFC2819_COUNTERS`; -1 unknown. */
  readonly rfc2819?: readonly number[];
  /** Counters under names of the device's own. */
  readonly custom?: readonly { readonly name: string; readonly value: number }[];
}

export interface SwitchDesc {
  readonly mfrDesc: string;
  readonly hwDesc: string;
  readonly swDesc: string;
  readonly serialNum: string;
  readonly dpDesc: string;
}

/** `ofp_type`'s error messages: numbers as on the wire of the version they are sent in; see `errors.ts` for names. */
export interface OfError {
  readonly type: 'error';
  /** Symbolic name, `OFPBMC_BAD_PREREQ`. */
  readonly name: string;
  /** The first bytes of the request that failed; for a failed hello, text. */
  readonly data: Uint8Array;
}

/**
 * What passes over an OpenFlow connection. Families with many members (statistics) carry `request` or `reply` in their
 * `type`. Replies in several parts are one value each with `more`.
 */
export type OfMessage =
  | { readonly type: 'hello'; readonly versions: number }
  | OfError
  | { readonly type: 'echo_request' | 'echo_reply'; readonly data: Uint8Array }
  | { readonly type: 'features_request' }
  | {
      readonly type: 'features_reply';
      readonly datapathId: bigint;
      readonly nBuffers: number;
      readonly nTables: number;
      readonly auxiliaryId: number;
      /** OFPC_* of OpenFlow 1.0/1.3 as on the wire of the connection's version. */
      readonly capabilities: number;
      /** OpenFlow 1.0 only. */
      readonly actions: number;
      /** OpenFlow 1.0–1.2 only. */
      readonly ports: readonly PhyPort[];
    }
  | { readonly type: 'get_config_request' }
  | { readonly type: 'get_config_reply' | 'set_config'; readonly flags: number; readonly missSendLen: number }
  | PacketIn
  | FlowRemoved
  | { readonly type: 'port_status'; readonly reason: 'add' | 'delete' | 'modify'; readonly port: PhyPort }
  | PacketOut
  | FlowMod
  | {
      readonly type: 'port_mod';
      readonly portNo: number;
      readonly hwAddr: Uint8Array;
      readonly config: number;
      readonly mask: number;
      readonly advertise: number;
    }
  | {
      readonly type: 'table_mod';
      readonly table: number;
      /** OFPTC_*: bits 0–1 the miss behaviour of OpenFlow 1.1/1.2, 4 eviction, 8 vacancy events. */
      readonly config: number;
      /** OFPTMPEF14_*; absent where not said. */
      readonly evictionFlags?: number;
      readonly vacancyDown?: number;
      readonly vacancyUp?: number;
    }
  | { readonly type: 'barrier_request' | 'barrier_reply' }
  | {
      readonly type: 'role_request' | 'role_reply';
      readonly role: 'nochange' | 'equal' | 'primary' | 'secondary';
      readonly generationId: bigint | null;
    }
  | { readonly type: 'desc_request' }
  | { readonly type: 'desc_reply'; readonly desc: SwitchDesc }
  | ({ readonly type: 'flow_stats_request' | 'aggregate_request' } & FlowStatsRequest)
  | {
      readonly type: 'flow_stats_reply';
      readonly more: boolean;
      readonly flows: readonly FlowStats[];
      readonly nxm?: boolean;
    }
  | {
      readonly type: 'aggregate_reply';
      readonly packets: number;
      readonly bytes: number;
      readonly flows: number;
      readonly nxm?: boolean;
    }
  | { readonly type: 'table_stats_request' }
  | { readonly type: 'table_stats_reply'; readonly more: boolean; readonly tables: readonly TableStats[] }
  | { readonly type: 'port_stats_request'; readonly portNo: number }
  | { readonly type: 'port_stats_reply'; readonly more: boolean; readonly ports: readonly PortStats[] }
  | { readonly type: 'port_desc_request'; readonly portNo: number }
  | { readonly type: 'port_desc_reply'; readonly more: boolean; readonly ports: readonly PhyPort[] }
  // Nicira vendor messages
  | { readonly type: 'nx_set_flow_format'; readonly format: 'openflow10' | 'nxm' }
  | { readonly type: 'nx_flow_mod_table_id'; readonly set: boolean }
  | { readonly type: 'nx_set_packet_in_format'; readonly format: 'standard' | 'nxt_packet_in' | 'nxt_packet_in2' }
  | { readonly type: 'nx_set_controller_id'; readonly controllerId: number }
  /** Async configuration: bit per reason for primary/equal and for secondary controllers. */
  | {
      readonly type: 'set_async' | 'get_async_reply';
      readonly packetIn: readonly [number, number];
      readonly portStatus: readonly [number, number];
      readonly flowRemoved: readonly [number, number];
      readonly roleStatus?: readonly [number, number];
      readonly tableStatus?: readonly [number, number];
      readonly requestForward?: readonly [number, number];
    }
  | { readonly type: 'get_async_request' }
  /** A packet-in that paused goes on (NXT_RESUME). */
  | { readonly type: 'nx_resume'; readonly packetIn: PacketIn }
  | OfMessageExt;

export type OfMessageType = OfMessage['type'];
/** Members that share a shape (`echo_request | echo_reply`) are one arm of the union, so `Extract` would miss them. */
export type OfMessageOf<T extends OfMessageType> = OfMessage extends infer M
  ? M extends { readonly type: infer U }
    ? T extends U
      ? M & { readonly type: T }
      : never
    : never
  : never;
