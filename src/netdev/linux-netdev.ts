/**
 * The control half that all devices of the Linux kernel share: what `rtnetlink` and `ethtool` tell and take. A device may
 * vanish and return at any time; it is known by its name, and reads as down while it is away.
 */
import { clock } from '../base/clock.ts';
import { IFF } from '../linux/constants.ts';
import { driverInfo, linkSettings } from '../linux/ethtool.ts';
import { LinuxError } from '../linux/libc.ts';
import { allLinkStats, getLink, type LinkInfo, type LinkStats, setLink, watchLinks } from '../linux/link.ts';
import { FRAME_MAX, LARGE_FRAME_MAX } from '../packet/frame.ts';
import { ConfiguredNetdev } from './configured.ts';
import type { Netdev, NetdevQos, NetdevStats, PortSpec } from './netdev.ts';
import { EGRESS_POLICER, EgressPolicer, LinuxQos, QOS_TYPES } from './qos.ts';

/** The largest MTU whose frames, with Ethernet header and a VLAN tag, fit an ordinary frame chunk. */
export const ORDINARY_MTU = FRAME_MAX - 18;
const MAX_MTU = LARGE_FRAME_MAX - 18;

const OFPPF: readonly (readonly [speedMbps: number, half: number, full: number])[] = [
  [10, 1 << 0, 1 << 1],
  [100, 1 << 2, 1 << 3],
  [1000, 1 << 4, 1 << 5],
  [10000, 0, 1 << 6],
  [40000, 0, 1 << 7],
  [100000, 0, 1 << 8],
  [1000000, 0, 1 << 9],
];

/** OFPPF_COPPER and OFPPF_FIBER. */
const MEDIUM = { copper: 1 << 11, fiber: 1 << 12 } as const;

/** Bits 0–5 of ethtool's SUPPORTED_* are OpenFlow's OFPPF_*; 10 Gb/s and copper, fibre, autonegotiation stand elsewhere. */
function ofppf(ethtoolBits: number): number {
  let bits = ethtoolBits & 0x3f;
  if (ethtoolBits & (1 << 12)) bits |= 1 << 6;
  if (ethtoolBits & (1 << 7)) bits |= 1 << 11;
  if (ethtoolBits & (1 << 10)) bits |= 1 << 12;
  if (ethtoolBits & (1 << 6)) bits |= 1 << 13;
  if (ethtoolBits & (1 << 13)) bits |= 1 << 14;
  return bits;
}

function attempt(action: () => void): string | null {
  try {
    action();
    return null;
  } catch (e) {
    if (e instanceof LinuxError) return e.message;
    throw e;
  }
}

/** Counters of all devices while `withLinkStats` runs. */
let snapshot: ReadonlyMap<number, LinkStats> | null = null;

/** Devices asked for their `stats` in `f` know them from one question to the kernel. */
export function withLinkStats<T>(f: () => T): T {
  snapshot = allLinkStats();
  try {
    return f();
  } finally {
    snapshot = null;
  }
}

export abstract class LinuxNetdev extends ConfiguredNetdev implements Netdev {
  readonly polled = true;
  abstract readonly type: string;
  protected link: LinkInfo | null;
  private resets = 0;
  private readonly watch: Disposable;

  constructor(name: string) {
    super(name);
    this.link = getLink(name);
    this.linuxQos = new LinuxQos(name);
    this.qos = this.makeQos(this.linuxQos);
    this.watch = watchLinks((changed, link) => {
      if (changed !== this.name) return;
      const had = this.link;
      this.link = link;
      if (link?.carrier && !had?.carrier) this.resets++;
      if (
        had?.ifindex !== link?.ifindex ||
        had?.flags !== link?.flags ||
        had?.mtu !== link?.mtu ||
        had?.carrier !== link?.carrier ||
        !(had && link && Buffer.from(had.mac).equals(link.mac))
      ) {
        this.changed();
      }
    });
  }

  readonly qos: NetdevQos;
  protected readonly linuxQos: LinuxQos;

  abstract setConfig(options: ReadonlyMap<string, string>): string | null;
  abstract portSpec(): PortSpec;
  wiring?(): string;
  /** Does what the kernel calls received mean sent by the switch (a tap: what its host receives, we sent)? */
  protected abstract readonly mirrored: boolean;

  private makeQos(qos: LinuxQos): NetdevQos {
    const egress = new EgressPolicer();
    return {
      types: [EGRESS_POLICER, ...QOS_TYPES],
      get type() {
        return egress.isOn ? EGRESS_POLICER : qos.type;
      },
      egress,
      set: (config) => {
        const link = this.link;
        const isPoliced = config?.type === EGRESS_POLICER;
        const isOther = link !== null && qos.set(isPoliced ? null : config, link.ifindex, link.mtu, clock.nowMs());
        if (egress.set(config) || isOther) this.changed();
      },
      details: () => (egress.isOn ? egress.details() : qos.details()),
      queues: () => (this.link === null ? [] : qos.views(this.link.ifindex)),
      queueIds: () => qos.queueIds(),
    };
  }

  status(): ReadonlyMap<string, string> {
    const info = driverInfo(this.name);
    const status = new Map<string, string>();
    if (info) {
      status.set('driver_name', info.driver);
      status.set('driver_version', info.version);
      status.set('firmware_version', info.firmware);
    }
    return status;
  }

  mac(): Uint8Array {
    return this.link?.mac ?? new Uint8Array(6);
  }
  setMac(mac: Uint8Array): string | null {
    return this.change({ mac });
  }
  mtu(): number {
    return this.link?.mtu ?? 0;
  }
  setMtu(mtu: number): string | null {
    if (mtu > MAX_MTU) return `${this.name}: MTU ${mtu} is larger than the maximum of ${MAX_MTU}`;
    return this.change({ mtu });
  }
  ifindex(): number {
    return this.link?.ifindex ?? 0;
  }
  isUp(): boolean {
    return ((this.link?.flags ?? 0) & IFF.UP) !== 0;
  }
  setUp(up: boolean): string | null {
    return this.change({ up });
  }
  carrier(): boolean {
    return this.link?.carrier ?? false;
  }
  linkResets(): number {
    return this.resets;
  }

  features(): ReturnType<Netdev['features']> {
    const s = linkSettings(this.name);
    if (!s) return { curr: 0, advertised: 0, supported: 0, peer: 0, speedMbps: null, fullDuplex: null };
    const row = OFPPF.find(([speed]) => speed === s.speedMbps);
    const curr = row ? (s.fullDuplex === false ? row[1] : row[2]) : 0;
    return {
      curr: curr | (s.medium === null ? 0 : MEDIUM[s.medium]) | (s.negotiates ? 1 << 13 : 0),
      advertised: ofppf(s.advertised),
      supported: ofppf(s.supported),
      peer: 0,
      speedMbps: s.speedMbps,
      fullDuplex: s.fullDuplex,
    };
  }

  stats(): NetdevStats {
    const s = snapshot?.get(this.ifindex()) ?? getLink(this.name)?.stats;
    if (!s) return {};
    return this.mirrored ? mirror(s) : straight(s);
  }

  private change(what: Parameters<typeof setLink>[1]): string | null {
    const link = getLink(this.name);
    if (!link) return `${this.name}: No such device`;
    const before = this.wiring?.();
    const error = attempt(() => setLink(link.ifindex, what));
    this.link = getLink(this.name);
    if (this.wiring?.() !== before) this.changed();
    return error;
  }

  [Symbol.dispose](): void {
    this.watch[Symbol.dispose]();
    this.forgetListeners();
  }
}

function straight(s: LinkStats): NetdevStats {
  return {
    rx_packets: s.rxPackets,
    tx_packets: s.txPackets,
    rx_bytes: s.rxBytes,
    tx_bytes: s.txBytes,
    rx_errors: s.rxErrors,
    tx_errors: s.txErrors,
    rx_dropped: s.rxDropped,
    tx_dropped: s.txDropped,
    multicast: s.multicast,
    collisions: s.collisions,
    rx_length_errors: s.rxLengthErrors,
    rx_over_errors: s.rxOverErrors,
    rx_crc_errors: s.rxCrcErrors,
    rx_frame_errors: s.rxFrameErrors,
    rx_fifo_errors: s.rxFifoErrors,
    rx_missed_errors: s.rxMissedErrors,
  };
}

function mirror(s: LinkStats): NetdevStats {
  return {
    rx_packets: s.txPackets,
    tx_packets: s.rxPackets,
    rx_bytes: s.txBytes,
    tx_bytes: s.rxBytes,
    rx_errors: s.txErrors,
    tx_errors: s.rxErrors,
    rx_dropped: s.txDropped,
    tx_dropped: s.rxDropped,
    multicast: 0,
    collisions: 0,
    rx_over_errors: 0,
    rx_crc_errors: 0,
    rx_frame_errors: 0,
    rx_fifo_errors: 0,
    rx_missed_errors: 0,
  };
}
