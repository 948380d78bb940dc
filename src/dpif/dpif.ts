/**
 * The border between the slow path and a datapath. A datapath has ports and megaflows, executes actions on packets, and
 * hands up what it has no megaflow for. Whether it runs in worker threads, in this thread, or in the kernel is its own
 * affair.
 *
 * Calls return at once. They take effect in the order they were made: an `execute` after a `flowPut` meets the new
 * flow. `quiesce()` resolves when every packet from then on meets all that was asked before it.
 *
 * `DpFlowKey` masks and keys use only the first `DP_WORDS` words.
 */

import type { CtConnection } from '../datapath/ct/host.ts';
import type { JourneyRecord } from '../datapath/journey-record.ts';
import type { TunnelOption } from '../datapath/tunnel-options.ts';
import type { DpAction, UserspaceAction } from '../flow/dp-actions.ts';
import type { FlowKey, FlowMask } from '../flow/key.ts';
import type { Netdev } from '../netdev/netdev.ts';

export interface DpPort {
  readonly no: number;
  readonly netdev: Netdev;
}

/** A megaflow as the slow path sees it. */
export interface DpFlow {
  /** 128 bits as 32 hex digits; the same key and mask always give the same. */
  readonly ufid: string;
  readonly key: FlowKey;
  readonly mask: FlowMask;
  readonly actions: readonly DpAction[];
  /** The PMD that holds it (`pmdId` of its upcall), -1 for the main thread. */
  readonly pmdId: number;
  /** Owned by the slow path: what it made the flow from. */
  user: unknown;
}

export interface DpFlowStats {
  packets: number;
  bytes: number;
  /** Milliseconds on the datapath's clock, 0 for never. */
  usedMs: number;
  tcpFlags: number;
}

/** A packet the datapath hands up. The slow path answers by `flowPut` and `execute`, in any order, or not at all. */
export interface Upcall {
  readonly reason: 'miss' | 'action';
  /** A copy; the receiver may keep and change it. */
  readonly packet: Uint8Array;
  readonly key: FlowKey;
  /** Only with `action`. */
  readonly userspace: UserspaceAction | null;
  readonly pmdId: number;
  /** The packet tells its journey: its id. */
  readonly journey?: number;
  /** Breakpoints are before it (`STOP`): whoever takes it says `answered` when it is done with it. */
  readonly stops?: number;
}

/** Packets that somebody looks for: bits of a key after reception, and what must become of them. */
export interface JourneyFilter {
  readonly key: FlowKey;
  readonly mask: FlowMask;
  readonly only: 'all' | 'drops' | 'upcalls' | 'slow' | 'held';
  /** From how many microseconds on a packet is slow. */
  readonly slowUs: number;
  /** Stages before which such packets wait: bits of `STOP` in `src/datapath/hold.ts`. */
  readonly stops?: number;
}

/** A record of a journey, or that a packet found, on its way up, the megaflow of one before it. */
export type JourneyNews =
  | { readonly type: 'record'; readonly pmdId: number; readonly record: JourneyRecord }
  | { readonly type: 'overtaken'; readonly id: number; readonly pmdId: number; readonly flow: DpFlow | null };

export interface HeldEdit {
  readonly packet: Uint8Array;
  readonly key: FlowKey;
}

export interface BreakCounts {
  /** Packets that wait behind others of their flow. */
  readonly behind: number;
  /** Those that found no room there and were dropped. */
  readonly overflows: number;
  /** Those that did not stop because too many did. */
  readonly passed: number;
}

/** A datapath whose packets can tell their journeys. `src/datapath/journey.ts` */
export interface JourneySource {
  /** Packets that match any of these tell their journey from now on; `generation` comes back in their records. */
  watch(filters: readonly JourneyFilter[], generation: number): void;
  onJourneys(receiver: (news: JourneyNews) => void): void;
  /** The megaflow of a lookup, if it is still there. */
  journeyFlow(entry: number, flowId: number): DpFlow | undefined;
  /** Which PMD `neighbor` of PMD `pmdId` is. */
  neighborOf(pmdId: number, neighbor: number): number;
  /** Packets that matched but found no room to be told. */
  journeysLost(): number;
  /** A packet that waits goes on to the next of `stops`, or is dropped; changed, if it was edited. */
  resume(pmdId: number, hold: number, verb: 'go' | 'drop', stops: number, edited: HeldEdit | null): void;
  /** The slow path is done with an upcall of this journey. */
  answered(pmdId: number, journey: number): void;
  breakCounts(): BreakCounts;
  /** The PMDs are new ones: what waited there is gone. */
  onRestart(receiver: () => void): void;
  /** Packets dropped so far, by the numbers of `DROP`. */
  drops(): { readonly reason: number; readonly packets: number }[];
}

/** What a meter lets through. */
export interface DpMeterConfig {
  /** Rates are kilobits a second, else packets a second; burst sizes are kilobits or packets, 0 for a second's worth. */
  readonly isKbps: boolean;
  readonly bands: readonly { readonly type: 'drop' | 'dscp_remark'; readonly rate: number; readonly burst: number }[];
}

export interface DpMeterStats {
  readonly packets: number;
  readonly bytes: number;
  readonly bands: readonly { readonly packets: number; readonly bytes: number }[];
}

/** Bonds that a datapath sends by itself, by numbers that the slow path gives out; `lb_output` names them. */
export interface DpBonds {
  /** A port for each of 256 buckets, null for none. False without memory. */
  set(id: number, ports: readonly (number | null)[]): boolean;
  delete(id: number): void;
  /** Bytes by bucket since the last time. */
  bytes(id: number): readonly number[];
}

/** The meters of a datapath, by numbers that the slow path gives out; the `meter` action names them. */
export interface DpMeters {
  readonly maxMeters: number;
  readonly maxBands: number;
  /** Makes a meter or makes it anew; why it could not. */
  set(id: number, config: DpMeterConfig): 'bad band' | 'no memory' | null;
  get(id: number): DpMeterStats | null;
  delete(id: number): void;
}

export interface DpifStats {
  hit: number;
  missed: number;
  lost: number;
  flows: number;
  maskHit: number;
  masks: number;
  cacheHit: number;
}

/** A datapath's connections, for commands. */
export interface DpConntrack {
  /** Connections that are alive; of one zone, or all. */
  connections(zone?: number | null): CtConnection[];
  readonly count: number;
  /** Removes those for which `isWanted` says so, in one zone or all; returns how many. */
  flush(zone: number | null, isWanted?: (c: CtConnection) => boolean): number;
  maxConnections: number;
  isSequenceChecked: boolean;
  /** Of zones without a limit of their own; 0 for none. */
  defaultLimit: number;
  /** Null takes a zone's own limit away. */
  setZoneLimit(zone: number, limit: number | null): void;
  zoneLimit(zone: number): { readonly limit: number; readonly count: number };
  /** Zones with a limit of their own, in order. */
  zonesWithLimit(): number[];
}

export interface Dpif {
  /** `netdev` or `system`; and the instance's name (`ovs-netdev`). */
  readonly type: string;
  readonly name: string;
  /** Absent where the datapath tracks no connections. */
  readonly conntrack?: DpConntrack;

  /** Takes the netdev over. `wanted` null picks a free number. */
  portAdd(netdev: Netdev, wanted: number | null): Promise<DpPort | { readonly error: string }>;
  portDel(no: number): Promise<void>;
  ports(): Iterable<DpPort>;
  portByNo(no: number): DpPort | undefined;

  /** Adds, or replaces the actions of, the flow with this key and mask. Null when the flow table is full. */
  flowPut(key: FlowKey, mask: FlowMask, actions: readonly DpAction[], pmdId: number, user: unknown): DpFlow | null;
  flowDel(flow: DpFlow): void;
  flowFlush(): void;
  flows(): Iterable<DpFlow>;
  flowByUfid(ufid: string): DpFlow | undefined;
  flowStats(flow: DpFlow, into: DpFlowStats): void;

  /**
   * Runs actions on a packet. `key` is what the packet's metadata (in_port, recirc_id, ct, tunnel) shall be; `pmdId` is
   * the upcall's, or -1. With `journey` the packet goes on telling, and stops where `stops` says.
   */
  execute(
    packet: Uint8Array,
    key: FlowKey,
    actions: readonly DpAction[],
    pmdId: number,
    journey?: number,
    stops?: number,
  ): void;
  readonly journeys?: JourneySource;
  /** Counters of each PMD in the places of `PMD_STAT`, where there are PMDs. */
  pmdStats?(): readonly { readonly id: number; readonly stats: Float64Array }[];
  /** Receive queues by the thread that polls them, with how much they were used in that many intervals. */
  rxQueues?(intervals: number): readonly {
    readonly core: number;
    readonly rxqs: readonly { readonly port: string; readonly queue: number; readonly packets: number }[];
  }[];
  /** Bytes of the memory that packets and megaflows live in, where it is ours. */
  readonly memory?: { readonly size: number; readonly used: number };
  /** Without it the datapath has no meters. */
  readonly meters?: DpMeters;
  /** Without it the datapath has no `lb_output`. */
  readonly bonds?: DpBonds;

  /** At most one receiver, set once. It gets upcalls in batches and must not throw. */
  onUpcalls(receiver: (upcalls: readonly Upcall[]) => void): void;

  /** Of a datapath that carries out `tnl_push` and `tnl_pop`: what these do not say themselves. */
  setTunnels?(facts: {
    /** UDP source ports: the first, and how many. */
    readonly sourcePorts: readonly [min: number, count: number];
    /** Geneve options that come into `tun_metadata` fields. */
    readonly options: readonly TunnelOption[];
  }): void;

  quiesce(): Promise<void>;
  stats(): DpifStats;
  /** `Open_vSwitch` and `Bridge` other_config keys that concern datapaths (`pmd-cpu-mask`, `emc-insert-inv-prob`, …). */
  configure(config: ReadonlyMap<string, string>): void;
  close(): Promise<void>;
}
