/**
 * A network device as the switch uses it, in two halves.
 *
 * `Netdev` is the control half and lives in the main thread: configuration, addresses, link state, counters.
 * `NetdevPort` is the packet half. It is made from the plain data of `Netdev.portSpec()` in the thread that polls the
 * device, and touches nothing but the arena and the kernel.
 *
 * Frames are named by the byte offset of their chunk in the arena; `src/packet/frame.ts` says what is in a chunk.
 */
import type { Arena } from '../base/arena.ts';
import type { FramePool } from '../packet/frame.ts';
import type { QosConfig, QueueView } from './qos.ts';

/** Counters as `Interface.statistics` names them; absent means that the device does not count it. */
export type NetdevStats = Partial<
  Record<
    | 'rx_packets'
    | 'tx_packets'
    | 'rx_bytes'
    | 'tx_bytes'
    | 'rx_errors'
    | 'tx_errors'
    | 'rx_dropped'
    | 'tx_dropped'
    | 'multicast'
    | 'collisions'
    | 'rx_length_errors'
    | 'rx_over_errors'
    | 'rx_crc_errors'
    | 'rx_frame_errors'
    | 'rx_fifo_errors'
    | 'rx_missed_errors',
    number
  >
>;

/** What `NetdevPort` is made from; goes through `postMessage`, so plain data only. `kind` names the file. */
export interface PortSpec {
  readonly kind: string;
  readonly name: string;
  readonly nRxq: number;
  /**
   * Who may send: every thread, with a packet half of its own (`any`); those that poll one of its queues (`queues`); or
   * only the one that polls queue 0 (`owner`, if nothing is said). Others hand their packets over.
   */
  readonly tx?: 'any' | 'queues' | 'owner';
  /** OpenFlow queues that `txQueue` knows, by its class: 1 for the first. */
  readonly txClasses?: readonly number[];
  readonly [detail: string]: unknown;
}

/** Limits of what a device may receive; 0 is none. `ovs-vswitchd.conf.db(5)`, "Ingress Policing" */
export interface Policing {
  readonly kbitsRate: number;
  readonly kbitsBurst: number;
  readonly kpktsRate: number;
  readonly kpktsBurst: number;
}

export interface NetdevQos {
  readonly types: readonly string[];
  /** The type in force, '' for none. */
  readonly type: string;
  set(config: QosConfig | null): void;
  details(): readonly (readonly [string, number])[];
  /** What the switch itself polices of what is sent; 0 bytes a second for nothing. */
  readonly egress: { readonly cir: number; readonly cbs: number };
  queues(): readonly QueueView[];
  queueIds(): readonly number[];
}

export interface Netdev extends Disposable {
  readonly name: string;
  /** The database's `Interface.type`: `system` for '' too. */
  readonly type: string;

  /** `Interface.options`. Returns what is wrong with them, or null. */
  setConfig(options: ReadonlyMap<string, string>): string | null;
  /** What `dpctl/show` says of a device beside its type, in order. */
  configuration?(): readonly (readonly [key: string, value: string])[];
  /** `Interface.status`, e.g. `driver_name`. */
  status(): ReadonlyMap<string, string>;

  /** 6 bytes. */
  mac(): Uint8Array;
  /** Returns an error's text or null. */
  setMac(mac: Uint8Array): string | null;
  mtu(): number;
  setMtu(mtu: number): string | null;
  /** 0 where there is none. */
  ifindex(): number;
  /** Administrative state; null where the device has none. */
  isUp(): boolean;
  setUp(up: boolean): string | null;
  carrier(): boolean;
  /** How often the link came up, for `Interface.link_resets`. */
  linkResets(): number;
  /** Megabits a second and duplex; null where unknown. OFPPF_* bits for OpenFlow. */
  features(): {
    readonly curr: number;
    readonly advertised: number;
    readonly supported: number;
    readonly peer: number;
    readonly speedMbps: number | null;
    readonly fullDuplex: boolean | null;
  };
  /** IPv4 address and netmask of the device, for `in-band` and `ofproto/…`; null without. */
  stats(): NetdevStats;
  /** Further counters for `Interface.statistics`. */
  customStats?(): ReadonlyMap<string, number>;
  /** Packets that we could not hand to the device, where its own counters do not have them. */
  refused?(): number;

  /** Called when anything above may have changed, until disposed. */
  onChange(listener: () => void): Disposable;

  /** What the polling thread needs; opens the device's sockets. May be called again after the device came back. */
  portSpec(): PortSpec;
  /** For devices whose packets do not pass a polling thread (`patch`): null instead of a spec's kind. */
  readonly polled: boolean;
  /** False for devices that the original polls in its main thread although they have queues: simulations keep to that. */
  readonly isPmd?: boolean;
  /** Where the device sits; 0 unless said. */
  readonly numaNode?: () => number;
  /** What the packet halves were made for: when it changes, the port is opened anew. */
  readonly wiring?: () => string;
  /** `Interface.other_config`, for whoever polls and sends (`pmd-rxq-affinity`, `tx-steering`). */
  readonly otherConfig?: ReadonlyMap<string, string>;
  setOtherConfig?(config: ReadonlyMap<string, string>): void;
  /** What a device can do for its queues; absent where it can do nothing. */
  readonly qos?: NetdevQos;
  /** `Interface.ingress_policing_*`: what may come in. */
  readonly policing?: Policing;
  setPolicing?(policing: Policing): void;
  /** Closes what `portSpec` opened; all packet halves have closed by then. */
  release?(): void;
  /**
   * Devices fed from this thread (`dummy`): `notify` is called when packets wait for the packet half. Their spec says
   * `wakes: true`, so that a polling thread may sleep although there is no descriptor to sleep on.
   */
  onRxReady?(notify: (() => void) | null): void;
  /** Called by a datapath that runs in this thread after it ran. */
  afterRun?(): void;
}

/** The packet half. No method allocates or throws; errors are counted. */
export interface NetdevPort {
  readonly name: string;
  readonly nRxq: number;
  /** File descriptors to sleep on for queue `q`; empty when the device must be polled. */
  rxFds(q: number): readonly number[];
  /** Puts up to `max` received frames into `frames` and returns how many. The caller owns them. */
  rx(q: number, frames: Int32Array, max: number): number;
  /**
   * Sends `n` frames; the device owns them and gives each back to `pool` when sent (or dropped, which it counts).
   */
  tx(frames: Int32Array, n: number): void;
  /** The same into a queue: the class of `PortSpec.txClasses`, counted from 1. */
  txQueue?(txClass: number, frames: Int32Array, n: number): void;
  /** Pushes out what `tx` has gathered and takes back what the kernel has finished. Called at least once a round. */
  flush(): void;
  /**
   * Stops using the device: frames of our own go back to the pool. Descriptors and what the kernel's rings hold stay, for
   * another half may go on with them.
   */
  close(): void;
  /** Counters kept here for devices the kernel does not count: see each kind. Lives in the arena: Float64 index. */
  readonly statsAt: number;
}

export interface PortContext {
  readonly arena: Arena;
  readonly pool: FramePool;
  /** Milliseconds, monotonic. */
  now(): number;
  /** The queues that this half polls; all, if not said. */
  readonly queues?: readonly number[];
  /** Which of the threads this is. */
  readonly half?: number;
}

/** How each file of this room makes its two halves; `index.ts` holds the table of them by `type`. */
export interface NetdevKind {
  readonly type: string;
  /** `kind` of its `PortSpec`. */
  open(name: string, env: NetdevEnv): Netdev | { readonly error: string };
  openPort(spec: PortSpec, context: PortContext): NetdevPort;
  /** Puts the frames that the rings of a closed and released port still name into the pool. */
  reclaim?(spec: PortSpec, context: PortContext): void;
}

/** What control halves may use: one per process. */
export interface NetdevEnv {
  readonly arena: Arena;
  /** All frame chunks there are: byte offset (page-aligned) and bytes. AF_XDP registers them with the kernel. */
  readonly frames: { readonly at: number; readonly bytes: number };
  /** `userspace-tso-enable`: super-segments pass the switch whole where devices can. Set before ports are opened. */
  userspaceTso?: boolean;
  /** Commands such as `netdev-dummy/receive` reach netdevs through this registry. */
  readonly byName: Map<string, Netdev>;
}
