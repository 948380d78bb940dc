/**
 * What the rest of the switch sees of a bridge: `vswitchd` configures it through this, unixctl commands look at it
 * through this. `bridge.ts` implements it.
 *
 * All bridges of one datapath type share a `Backer` (one `Dpif`, one upcall handler, one set of revalidators), as
 * patch ports carry packets from bridge to bridge inside one translation.
 */
import type { Dpif } from '../dpif/dpif.ts';
import type { Subfield } from '../flow/field.ts';
import type { Netdev } from '../netdev/netdev.ts';
import type { BfdConfig } from './bfd.ts';
import type { CfmConfig } from './cfm.ts';
import type { ExportersConfig } from './export/exporters.ts';
import type { LacpConfig } from './lacp.ts';
import type { AutoAttachConfig } from './lldp.ts';
import type { RstpSetup } from './rapid-spanning-tree.ts';
import type { StpSetup } from './spanning-tree.ts';

export interface PortVlanConfig {
  readonly mode: 'access' | 'trunk' | 'native-tagged' | 'native-untagged' | 'dot1q-tunnel';
  /** Access or native VLAN; null without. */
  readonly tag: number | null;
  /** Empty means all. */
  readonly trunks: readonly number[];
  readonly cvlans: readonly number[];
  readonly priorityTags: 'no' | 'if-nonzero' | 'always';
  readonly protected: boolean;
}

/** A `Port` of the database: one interface, or several that form a bond. */
export interface BundleConfig {
  readonly name: string;
  readonly ofports: readonly number[];
  readonly vlan: PortVlanConfig;
  /** With more than one port; absent or null with one. */
  readonly bond?: BondConfig | null;
  /** Absent or null where LACP is off. */
  readonly lacp?: LacpConfig | null;
  /** Where multicast is snooped: packets for any group, and reports, go there. */
  readonly mcastFlood?: boolean;
  readonly mcastFloodReports?: boolean;
}

export interface BondConfig {
  readonly mode: 'active-backup' | 'balance-slb' | 'balance-tcp';
  readonly upDelayMs: number;
  readonly downDelayMs: number;
  readonly rebalanceIntervalMs: number;
  readonly hashBasis: number;
  /** Name of the member that is to be active when it can. */
  readonly primary: string | null;
  /** Of the member that was active before a restart. */
  readonly activeMac: Uint8Array | null;
  readonly allMembersActive: boolean;
  readonly lacp: 'off' | 'active' | 'passive';
  /** `balance-tcp`: the datapath chooses, without recirculation. */
  readonly lbOutput?: boolean;
  /** Without a partner that speaks LACP be an `active-backup` bond. */
  readonly lacpFallback: boolean;
}

export interface MirrorConfig {
  /** Counters go with it. */
  readonly id: string;
  readonly name: string;
  /** Names of bundles. */
  readonly receivedBy: readonly string[] | 'all';
  readonly sentBy: readonly string[] | 'all';
  /** Empty for all. */
  readonly vlans: readonly number[];
  /** A bundle's name, or a VLAN. */
  readonly output: { readonly port: string } | { readonly vlan: number };
  /** Bytes of each packet that are kept, 0 for all. */
  readonly snaplen: number;
}

export interface ControllerConfig {
  /** `tcp:…`, `unix:…`, `ssl:…`, `ptcp:…`, `punix:…`, `pssl:…` */
  readonly target: string;
  readonly connectionMode: 'in-band' | 'out-of-band';
  readonly maxBackoffMs: number;
  /** 0 for never. */
  readonly inactivityProbeMs: number;
  readonly rateLimit: number | null;
  readonly burstLimit: number | null;
}

/** For the `Controller` table. */
export interface ControllerStatus {
  readonly target: string;
  readonly isConnected: boolean;
  readonly role: 'other' | 'master' | 'slave';
  readonly status: ReadonlyMap<string, string>;
}

export interface FlowTableConfig {
  readonly name: string;
  readonly flowLimit: number | null;
  readonly overflowPolicy: 'refuse' | 'evict';
  /** Rules that agree in these are one eviction group. */
  readonly groups: readonly Subfield[];
  /** Field names for prefix tries; null means the default (`ip_src`, `ip_dst`, …). */
  readonly prefixes: readonly string[] | null;
}

export interface McastSnoopingConfig {
  readonly agingSeconds: number;
  readonly tableSize: number;
  readonly floodsUnregistered: boolean;
}

export interface OfprotoConfig {
  readonly datapathId: bigint;
  readonly failMode: 'standalone' | 'secure';
  readonly controllers: readonly ControllerConfig[];
  /** Flows are being restored: controllers, who could interfere, wait. */
  readonly isRestoring?: boolean;
  /** OpenFlow wire versions the bridge accepts. */
  readonly protocols: readonly number[];
  /** Directory and name of `BRIDGE.mgmt` and `BRIDGE.snoop`. */
  readonly rundir: string;
  readonly macAgingSeconds: number;
  readonly macTableSize: number;
  readonly forwardBpdu: boolean;
  readonly floodVlans: readonly number[];
  /** Absent or null where multicast is not snooped. */
  readonly mcastSnooping?: McastSnoopingConfig | null;
  readonly flowTables: ReadonlyMap<number, FlowTableConfig>;
  readonly desc: {
    readonly mfr: string;
    readonly hw: string;
    readonly sw: string;
    readonly serial: string;
    readonly dp: string;
  };
}

export type StatusValue =
  | ReadonlyMap<string, string | number>
  | readonly (string | number)[]
  | string
  | number
  | boolean
  | null;
export type StatusColumns = Readonly<Record<string, StatusValue>>;

export interface Ofproto {
  readonly name: string;
  readonly type: string;

  /** Adds a device; resolves with its OpenFlow port number. `request` null picks one. */
  portAdd(netdev: Netdev, request: number | null): Promise<{ readonly ofport: number } | { readonly error: string }>;
  portDel(ofport: number): Promise<void>;
  ofportOf(netdevName: string): number | undefined;

  setBundle(bundle: BundleConfig): void;
  removeBundle(name: string): void;
  /** Address of the active member; null when the bundle is no bond. */
  bondActiveMac(bundle: string): Uint8Array | null;
  /** Called when something that the database shall know has changed. Set by who writes it there. */
  onStatus: () => void;
  /** Does the port hear its LACP partner? Null where LACP is not spoken. */
  lacpCurrent(ofport: number): boolean | null;

  setExporters(config: ExportersConfig): void;
  /** Null for none. */
  setStp(setup: StpSetup | null): void;
  setRstp(setup: RstpSetup | null): void;
  /** What protocols report of the bridge, and of a port: columns of the database with their values. */
  bridgeStatus(): StatusColumns;
  bundleStatus(name: string): StatusColumns;
  interfaceStatus(ofport: number): StatusColumns;

  /** Null for none. */
  setBfd(ofport: number, config: BfdConfig | null): void;
  setCfm(ofport: number, config: CfmConfig | null): void;
  setLldp(ofport: number, isEnabled: boolean): void;
  setAutoAttach(config: AutoAttachConfig | null): void;

  /** All mirrors of the bridge, in order. */
  setMirrors(mirrors: readonly MirrorConfig[]): void;
  mirrorStats(id: string): { readonly packets: number; readonly bytes: number } | null;

  setConfig(config: OfprotoConfig): void;
  controllerStatus(): readonly ControllerStatus[];
  /** Deletes all rules and learned MACs, as when fail mode or controllers change. */
  flushFlows(): void;

  /** Counters of ports that have no device of their own in the datapath (`patch`). Null for others. */
  virtualPortStats(ofport: number): { rxPackets: number; txPackets: number; rxBytes: number; txBytes: number } | null;

  /** Resolves when all that was configured is in force for every packet. */
  settled(): Promise<void>;
  destroy(): Promise<void>;
}

/** One for each datapath type; owns the `Dpif`. */
export interface OfprotoBacker {
  readonly dpif: Dpif;
  createBridge(name: string, type: string): Ofproto;
  /** `Open_vSwitch.other_config`: `max-idle`, `max-revalidator`, `flow-limit`, `n-handler-threads`, … */
  configure(config: ReadonlyMap<string, string>): void;
  /** Before ports go: packets that wait at breakpoints go on. */
  letGo(): Promise<void>;
  close(): Promise<void>;
}
