/**
 * The further OpenFlow messages: groups, meters, queues, table features, bundles, flow monitors, and the Nicira
 * extensions beside them. `messages.ts` joins them to `OfMessage`; the same conventions hold.
 */
import type { Field } from '../flow/field.ts';
import type { Match } from '../flow/match.ts';
import type { Ofpact } from './actions/types.ts';
import type { FlowModFlags, OfMessage } from './messages.ts';

export type GroupType = 'all' | 'select' | 'indirect' | 'ff';

export const OFPG_MAX = 0xffffff00;
export const OFPG_ALL = 0xfffffffc;
export const OFPG_ANY = 0xffffffff;
/** Bucket ids that are not buckets (OpenFlow 1.5 7.3.4.2). */
export const OFPG15_BUCKET_MAX = 0xffffff00;
export const OFPG15_BUCKET_FIRST = 0xfffffffd;
export const OFPG15_BUCKET_LAST = 0xfffffffe;
export const OFPG15_BUCKET_ALL = 0xffffffff;

/** Meter numbers above this are virtual. */
export const OFPM_MAX = 0xffff0000;
export const OFPM_SLOWPATH = 0xfffffffd;
export const OFPM_CONTROLLER = 0xfffffffe;
export const OFPM_ALL = 0xffffffff;

export interface Bucket {
  readonly bucketId: number;
  readonly weight: number;
  /** OFPP.NONE for none. */
  readonly watchPort: number;
  /** OFPG_ANY for none. */
  readonly watchGroup: number;
  readonly actions: readonly Ofpact[];
}

/** How a select group picks a bucket (Nicira's group property of OpenFlow 1.5). */
export interface GroupProps {
  readonly selectionMethod: string;
  readonly selectionMethodParam: bigint;
  /** Value (a mask) for each field that is hashed; `field.bytes` long. */
  readonly fields: readonly { readonly field: Field; readonly value: Uint8Array }[];
}

export type GroupCommand = 'add' | 'modify' | 'delete' | 'add_or_mod' | 'insert_bucket' | 'remove_bucket';

export interface GroupMod {
  readonly type: 'group_mod';
  readonly command: GroupCommand;
  readonly groupType: GroupType;
  readonly groupId: number;
  readonly commandBucketId: number;
  readonly buckets: readonly Bucket[];
  readonly props: GroupProps | null;
}

export interface GroupDesc {
  readonly groupId: number;
  readonly groupType: GroupType;
  readonly buckets: readonly Bucket[];
  readonly props: GroupProps | null;
}

export interface GroupStats {
  readonly groupId: number;
  readonly refCount: number;
  readonly packets: number;
  readonly bytes: number;
  /** -1 where the version does not say. */
  readonly durationMs: number;
  readonly buckets: readonly { readonly packets: number; readonly bytes: number }[];
}

/** Bits by OpenFlow 1.1+ action number, one word for each group type. */
export interface GroupFeatures {
  readonly types: number;
  readonly capabilities: number;
  readonly maxGroups: readonly number[];
  readonly actions: readonly number[];
}

export const METER_FLAGS = { kbps: 1, pktps: 2, burst: 4, stats: 8 } as const;

export interface MeterBand {
  readonly type: 'drop' | 'dscp_remark';
  readonly rate: number;
  readonly burstSize: number;
  readonly precLevel: number;
}

export interface MeterConfig {
  readonly meterId: number;
  /** `METER_FLAGS` */
  readonly flags: number;
  readonly bands: readonly MeterBand[];
}

export interface MeterStats {
  readonly meterId: number;
  readonly flowCount: number;
  readonly packets: number;
  readonly bytes: number;
  readonly durationMs: number;
  readonly bands: readonly { readonly packets: number; readonly bytes: number }[];
}

export interface MeterFeatures {
  readonly maxMeters: number;
  readonly bandTypes: number;
  readonly capabilities: number;
  readonly maxBands: number;
  readonly maxColor: number;
}

export interface QueueStats {
  readonly portNo: number;
  readonly queueId: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  /** -1 where the version does not say. */
  readonly durationMs: number;
}

export interface QueueConfig {
  readonly portNo: number;
  readonly queueId: number;
  /** Tenths of a percent; above 1000 is disabled, 0xffff unknown. */
  readonly minRate: number;
  readonly maxRate: number;
}

/** What a table can do with packets that match (or miss). Bits of instructions and actions by OpenFlow 1.1+ number. */
export interface TableCapability {
  readonly nextTables: readonly number[];
  readonly instructions: number;
  readonly writeActions: bigint;
  readonly applyActions: bigint;
  readonly writeSetFields: readonly Field[];
  readonly applySetFields: readonly Field[];
}

export interface TableFeatures {
  readonly table: number;
  readonly name: string;
  readonly metadataMatch: bigint;
  readonly metadataWrite: bigint;
  /** OFPTC_* of the wire. */
  readonly config: number;
  /** OpenFlow 1.5: OFPTFF capabilities. */
  readonly capabilities: number;
  readonly maxEntries: number;
  readonly nonmiss: TableCapability;
  readonly miss: TableCapability;
  readonly match: readonly Field[];
  readonly mask: readonly Field[];
  readonly wildcard: readonly Field[];
}

export interface TableDesc {
  readonly table: number;
  /** OFPTC_* of OpenFlow 1.4: 4 eviction, 8 vacancy events. */
  readonly config: number;
  /** OFPTMPEF14_*; -1 unknown. */
  readonly evictionFlags: number;
  readonly vacancyDown: number;
  readonly vacancyUp: number;
  readonly vacancy: number;
}

export const BUNDLE_CTRL = {
  open_request: 0,
  open_reply: 1,
  close_request: 2,
  close_reply: 3,
  commit_request: 4,
  commit_reply: 5,
  discard_request: 6,
  discard_reply: 7,
} as const;

/** `flags` of a flow monitor. */
export const FLOW_MONITOR_FLAGS = {
  initial: 1,
  add: 2,
  delete: 4,
  modify: 8,
  actions: 16,
  own: 32,
} as const;

export interface FlowMonitorRequest {
  readonly type: 'flow_monitor_request';
  readonly id: number;
  readonly command: 'add' | 'modify' | 'delete';
  readonly flags: number;
  readonly outPort: number;
  readonly outGroup: number;
  readonly table: number;
  readonly match: Match;
}

export type FlowUpdate =
  | {
      readonly event: 'initial' | 'added' | 'deleted' | 'modified';
      readonly reason: number;
      readonly idleTimeout: number;
      readonly hardTimeout: number;
      readonly table: number;
      readonly priority: number;
      readonly cookie: bigint;
      readonly match: Match;
      readonly actions: readonly Ofpact[];
    }
  | { readonly event: 'abbrev'; readonly xid: number }
  | { readonly event: 'paused' }
  | { readonly event: 'resumed' };

/** Maps a tunnel option (Geneve class and type) to `tun_metadataN`. */
export interface TlvMap {
  readonly optionClass: number;
  readonly optionType: number;
  readonly optionLen: number;
  readonly index: number;
}

export type AsyncBits = readonly [primary: number, secondary: number];

/** A connection tuple selects what `ct-flush` removes; addresses are 4 or 16 bytes. */
export interface CtTuple {
  readonly src: Uint8Array | null;
  readonly dst: Uint8Array | null;
  readonly srcPort: number | null;
  readonly dstPort: number | null;
  readonly icmpId: number | null;
  readonly icmpType: number | null;
  readonly icmpCode: number | null;
}

export type OfMessageExt =
  | GroupMod
  | { readonly type: 'group_desc_request'; readonly groupId: number }
  | { readonly type: 'group_desc_reply'; readonly more: boolean; readonly groups: readonly GroupDesc[] }
  | { readonly type: 'group_stats_request'; readonly groupId: number }
  | { readonly type: 'group_stats_reply'; readonly more: boolean; readonly groups: readonly GroupStats[] }
  | { readonly type: 'group_features_request' }
  | { readonly type: 'group_features_reply'; readonly features: GroupFeatures }
  | { readonly type: 'meter_mod'; readonly command: 'add' | 'modify' | 'delete'; readonly meter: MeterConfig }
  | { readonly type: 'meter_config_request' | 'meter_stats_request'; readonly meterId: number }
  | { readonly type: 'meter_config_reply'; readonly more: boolean; readonly meters: readonly MeterConfig[] }
  | { readonly type: 'meter_stats_reply'; readonly more: boolean; readonly meters: readonly MeterStats[] }
  | { readonly type: 'meter_features_request' }
  | { readonly type: 'meter_features_reply'; readonly features: MeterFeatures }
  | { readonly type: 'queue_stats_request'; readonly portNo: number; readonly queueId: number }
  | { readonly type: 'queue_stats_reply'; readonly more: boolean; readonly queues: readonly QueueStats[] }
  | { readonly type: 'queue_get_config_request'; readonly portNo: number; readonly queueId: number }
  | {
      readonly type: 'queue_get_config_reply';
      readonly more: boolean;
      readonly portNo: number;
      readonly queues: readonly QueueConfig[];
    }
  | { readonly type: 'table_features_request'; readonly tables: readonly TableFeatures[] }
  | { readonly type: 'table_features_reply'; readonly more: boolean; readonly tables: readonly TableFeatures[] }
  | { readonly type: 'table_desc_request' }
  | { readonly type: 'table_desc_reply'; readonly more: boolean; readonly tables: readonly TableDesc[] }
  | { readonly type: 'table_status'; readonly reason: number; readonly desc: TableDesc }
  | {
      readonly type: 'role_status';
      readonly role: 'nochange' | 'equal' | 'primary' | 'secondary';
      readonly reason: number;
      readonly generationId: bigint;
    }
  | { readonly type: 'request_forward'; readonly request: OfMessage }
  | { readonly type: 'bundle_control'; readonly bundleId: number; readonly ctrl: number; readonly flags: number }
  | {
      readonly type: 'bundle_add';
      readonly bundleId: number;
      readonly flags: number;
      readonly message: OfMessage;
      readonly messageXid: number;
    }
  | FlowMonitorRequest
  | { readonly type: 'flow_monitor_reply'; readonly more: boolean; readonly updates: readonly FlowUpdate[] }
  | { readonly type: 'flow_monitor_cancel'; readonly id: number }
  | { readonly type: 'flow_monitor_paused' | 'flow_monitor_resumed' }
  | {
      readonly type: 'tlv_table_mod';
      readonly command: 'add' | 'delete' | 'clear';
      readonly mappings: readonly TlvMap[];
    }
  | { readonly type: 'tlv_table_request' }
  | {
      readonly type: 'tlv_table_reply';
      readonly maxOptionSpace: number;
      readonly maxFields: number;
      readonly mappings: readonly TlvMap[];
    }
  | { readonly type: 'ct_flush_zone'; readonly zone: number }
  | {
      readonly type: 'ct_flush';
      readonly zone: number | null;
      readonly ipProto: number;
      readonly family: number;
      readonly orig: CtTuple;
      readonly reply: CtTuple;
    }
  | { readonly type: 'ipfix_bridge_stats_request' | 'ipfix_flow_stats_request' }
  | {
      readonly type: 'ipfix_bridge_stats_reply' | 'ipfix_flow_stats_reply';
      readonly more: boolean;
      readonly stats: readonly IpfixStats[];
    };

export interface IpfixStats {
  readonly flows: number;
  readonly currentFlows: number;
  readonly packets: number;
  readonly ipv4Packets: number;
  readonly ipv6Packets: number;
  readonly errorPackets: number;
  readonly ipv4ErrorPackets: number;
  readonly ipv6ErrorPackets: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly collectorSetId: number;
}

/** `FlowModFlags` with nothing set. */
export const NO_FLAGS: FlowModFlags = {
  sendFlowRem: false,
  checkOverlap: false,
  resetCounts: false,
  noPacketCounts: false,
  noByteCounts: false,
};
