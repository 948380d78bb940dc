/** What translation needs to know of a bridge, and what it gives back. `bridge.ts` implements the first part. */
import type { DpAction } from '../../flow/dp-actions.ts';
import type { FlowKey, FlowMask } from '../../flow/key.ts';
import type { TunnelConfig } from '../../netdev/tunnel-config.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import type { GroupProps } from '../../openflow/messages-ext.ts';
import type { MacLearning } from '../mac-learning.ts';
import type { McastSnooping } from '../mcast-snooping.ts';
import type { PortVlanConfig } from '../ofproto.ts';
import type { Rule } from '../rule.ts';
import type { FlowTable, FlowTables } from '../tables.ts';
import type { XlateMirror, XlateMirrors } from './mirror.ts';
import type { XlateProtocol } from './protocols.ts';
import type { RecircTable } from './recirc.ts';
import type { XlateTunnels } from './tunnel.ts';

/** Bits of `XlatePort.config`, OpenFlow 1.0 numbers. */
export const PortConfig = {
  down: 1 << 0,
  noStp: 1 << 1,
  noRecv: 1 << 2,
  noRecvStp: 1 << 3,
  noFlood: 1 << 4,
  noFwd: 1 << 5,
  noPacketIn: 1 << 6,
} as const;

export interface XlatePort {
  readonly ofport: number;
  /** As `output:NAME` and errors print it. */
  readonly name: string;
  /** Datapath port number, null for patch ports. */
  readonly dpPort: number | null;
  /** `PortConfig` bits. */
  readonly config: number;
  /** False when the link is down and packets sent to the port would be lost (bond members, fast failover). */
  readonly mayEnable: boolean;
  readonly bundle: XlateBundle | null;
  /** The other end of a patch port that has one. */
  readonly peer: { readonly bridge: XlateBridge; readonly port: XlatePort } | null;
  /** What a tunnel's options say. */
  readonly tunnel?: TunnelConfig | null;
  /** Counters of a port that has no device of its own: patch ports and tunnels. */
  readonly stats: { rxPackets: number; rxBytes: number; txPackets: number; txBytes: number } | null;
  /** What a spanning tree lets pass here; absent or null without one. */
  readonly spanning?: XlateSpanning | null;
  /** Those that the switch itself speaks on the port. */
  readonly protocols?: readonly XlateProtocol[];
  /** Linux `skb_priority` of a queue of this port, null when there is no such queue. */
  queuePriority(queue: number): number | null;
}

export interface XlateSpanning {
  readonly word: 'STP' | 'RSTP';
  readonly learns: boolean;
  readonly forwards: boolean;
  /** Do BPDUs leave by the port? */
  readonly passesBpdus: boolean;
}

export interface XlateBundle {
  readonly name: string;
  readonly vlan: PortVlanConfig;
  /** Ports in the bundle; more than one makes a bond. */
  readonly ports: readonly XlatePort[];
  readonly isFloodable: boolean;
  /** Gets all multicast packets, all reports, of a bridge that snoops. */
  readonly mcastFlood?: boolean;
  readonly mcastFloodReports?: boolean;
  /** How several ports are one; absent or null with one port. */
  readonly bond?: XlateBond | null;
}

export interface XlateBond {
  readonly mode: 'active-backup' | 'balance-slb' | 'balance-tcp' | 'none';
  readonly basis: number;
  /** Where the datapath's hash decides: packets come back with this id and their hash. */
  readonly recircId?: number | null;
  /** The datapath chooses by itself. */
  readonly lbOutput?: boolean;
  /** May a packet come in by this member? `unless moved`: not if its source is known to be elsewhere. */
  admits(port: XlatePort, isMulticast: boolean): 'yes' | 'no' | 'unless moved';
  /** The member that packets with this hash leave by; null when none is up. */
  outputFor(hash: number): XlatePort | null;
  credit(hash: number, bytes: number): void;
}

export interface XlateGroup {
  readonly id: number;
  readonly type: 'all' | 'select' | 'indirect' | 'ff';
  readonly buckets: readonly {
    readonly id: number;
    readonly weight: number;
    readonly watchPort: number;
    readonly watchGroup: number;
    readonly actions: readonly Ofpact[];
  }[];
  /** How a `select` group picks: by the datapath's hash, a hash of `fields`, or one of the usual headers. */
  readonly selection: {
    readonly method: 'dp_hash' | 'hash' | 'l4';
    readonly algorithm: 'l4' | 'sym_l4';
    readonly basis: number;
    readonly fields: GroupProps['fields'];
    /** For `dp_hash`: places of buckets, a power of two of them, by the hash's last bits. */
    readonly table: readonly number[];
  };
  /** Packets for the group; `bucket` is a place in `buckets`, -1 for all of them. */
  credit(bucket: number, packets: number, bytes: number): void;
}

/** What a bridge exports of its packets. Probabilities are of 2^32 - 1. */
export interface XlateExporters {
  readonly sflow: number | null;
  readonly ipfix: { readonly probability: number; readonly input: boolean; readonly output: boolean } | null;
  /** Does anybody collect what `sample` actions say? */
  readonly samplesFlows: boolean;
  readonly netflow:
    | ((flow: FlowKey, outPort: number, packets: number, bytes: number, usedMs: number, tcpFlags: number) => void)
    | null;
  /** Of a port of the datapath, 0 for none. */
  ifindex(dpPort: number): number;
}

export interface XlateBridge {
  readonly name: string;
  readonly tables: FlowTables;
  readonly macs: MacLearning<XlateBundle> | null;
  /** Absent or null where multicast is not snooped. */
  readonly mcast?: McastSnooping<XlateBundle> | null;
  readonly exporters?: XlateExporters | null;
  readonly forwardBpdu: boolean;
  /** Do controllers of OpenFlow 1.2 or before want the packets that miss? */
  readonly wantsPacketInOnMiss: boolean;
  /** Can the datapath carry out `ct`? Without it flows that use it are refused. */
  readonly hasConntrack?: boolean;
  /** The `tun_metadata` fields there are, by number; without it, all. */
  readonly tlvTable?: ReadonlyMap<number, unknown>;
  /** Null, or absent, where there are none. */
  readonly mirrors?: XlateMirrors | null;
  /** What the bridge's own ports may use in one packet; `vlan-limit`, 0 to 2. */
  readonly vlanLimit: number;
  port(ofport: number): XlatePort | undefined;
  /** In the order in which `FLOOD` and `ALL` send. */
  ports(): Iterable<XlatePort>;
  /** In the order in which `NORMAL` floods. */
  bundles(): Iterable<XlateBundle>;
  /** Null where there is none; the group table comes with its messages. */
  group(id: number): XlateGroup | null;
  /** Datapath meter of an OpenFlow meter, null where there is none. */
  meter(id: number): number | null;
}

/**
 * What a translated packet does besides its actions. A translation changes nothing by itself; whoever handles packets
 * of its megaflow calls `creditEffects` with their number.
 */
export type XlateEffect =
  | { readonly kind: 'table'; readonly table: FlowTable; readonly matched: boolean }
  | { readonly kind: 'rule'; readonly rule: Rule; readonly tables: FlowTables }
  | { readonly kind: 'patch'; readonly from: XlatePort; readonly to: XlatePort }
  | {
      readonly kind: 'learn_mac';
      readonly bridge: XlateBridge;
      readonly mac: string;
      readonly vlan: number;
      readonly bundle: XlateBundle;
      readonly isGratuitousArp: boolean;
    }
  /** Nothing to do: what the translation asked the bridge's MAC table for, and so depends on. `macKey` */
  | { readonly kind: 'mac_lookup'; readonly key: string }
  | { readonly kind: 'tell'; readonly tell: (packets: number, bytes: number, usedMs: number, tcpFlags: number) => void }
  | { readonly kind: 'mirror'; readonly mirror: XlateMirror }
  | { readonly kind: 'group'; readonly group: XlateGroup; readonly bucket: number }
  | { readonly kind: 'fin_timeout'; readonly rule: Rule; readonly idle: number; readonly hard: number }
  | {
      readonly kind: 'learn';
      readonly bridge: XlateBridge;
      readonly mod: import('../../openflow/messages.ts').FlowMod;
    };

export interface XlateInput {
  readonly bridge: XlateBridge;
  /** Slow-path flow: `in_port` is an OpenFlow port. Not changed. */
  readonly flow: FlowKey;
  /** The packet itself, where there is one. */
  readonly packet: Uint8Array | null;
  readonly recirc: RecircTable;
  readonly tunnels?: XlateTunnels | null;
  readonly nowMs: number;
  /** Start with these actions (packet-out) rather than a lookup in table 0. */
  readonly actions?: readonly Ofpact[];
  /** Flags of the TCP packets so far (for `fin_timeout`). */
  readonly tcpFlags?: number;
  readonly observer?: XlateObserver | null;
  /** Install learned flows on the way, so that later steps meet them. Only for a real packet. */
  readonly sideEffects?: boolean;
  /** `ofproto/trace`: packets for controllers are marked not to be sent. */
  readonly isTrace?: boolean;
}

export type XlateError =
  | 'OK'
  | 'Recirculation conflict'
  | 'Too many resubmits'
  | 'Recursion too deep'
  | 'Stack too deep'
  | 'No recirculation context'
  | 'Too many MPLS labels'
  | 'Invalid tunnel metadata'
  | 'Unsupported packet type'
  | 'ECN mismatch at tunnel decapsulation'
  | 'Forwarding disabled on port';

export interface XlateResult {
  /** Empty means drop. */
  readonly actions: readonly DpAction[];
  /** The megaflow's mask, in slow-path layout; its first `DP_WORDS` are the datapath's. */
  readonly mask: FlowMask;
  /** What the packet became. */
  readonly finalFlow: FlowKey;
  readonly effects: readonly XlateEffect[];
  /** `SlowReason` bits: the datapath must hand every packet up. */
  readonly slow: number;
  /** Meter of the datapath that they go through on their way, null for none. */
  readonly slowMeter?: number | null;
  readonly error: XlateError;
  /** The translation depends on the MAC table of these bridges. */
  readonly hasNormal: boolean;
}

/**
 * Hears each step of a translation as it is taken. What happens between an `enter` and its `leave` happened in that
 * bridge or table; a table entered by `resubmit` follows its action and lies in the table that resubmitted.
 */
export interface XlateObserver {
  /** Before all: the mask as it grows. */
  mask?(wc: FlowMask): void;
  enter(step: XlatePlace): void;
  leave(): void;
  note(step: XlateStep): void;
}

export type XlatePlace =
  | { readonly type: 'bridge'; readonly bridge: XlateBridge }
  | { readonly type: 'table'; readonly table: number; readonly rule: Rule | null; readonly miss: TableMissKind | null }
  | { readonly type: 'action_set' }
  | { readonly type: 'bucket'; readonly id: number }
  | {
      readonly type: 'thaw';
      readonly recircId: number;
      readonly resume: number | null;
      readonly actions?: readonly Ofpact[];
    };

/** Why a table gave no rule: nothing matched, or that and the packet goes to the controllers. */
export type TableMissKind = 'no match' | 'packet-in';

export type XlateStep =
  | { readonly type: 'action'; readonly action: Ofpact }
  | { readonly type: 'drop' }
  | { readonly type: 'action_set'; readonly when: 'is' | 'was'; readonly actions: readonly Ofpact[] }
  | { readonly type: 'detail' | 'warn' | 'error' | 'plain'; readonly text: string };
