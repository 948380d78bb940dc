/**
 * A bridge's ports as OpenFlow sees them: number, configuration and state bits, the `PhyPort` that descriptions and
 * port-status messages carry, and counters.
 *
 * A `patch` port has no device in the datapath: packets cross it within one translation, which credits its counters
 * here. Everything else has a datapath port number.
 */
import { clock } from '../base/clock.ts';
import type { Netdev } from '../netdev/netdev.ts';
import { TunnelNetdev } from '../netdev/tunnel.ts';
import type { TunnelConfig } from '../netdev/tunnel-config.ts';
import type { PhyPort, PortStats } from '../openflow/messages.ts';
import type { Bfd } from './bfd.ts';
import type { Bundle } from './bundle.ts';
import type { Cfm } from './cfm.ts';
import type { Lldp } from './lldp.ts';
import type { XlateProtocol } from './xlate/protocols.ts';
import type { XlatePort, XlateSpanning } from './xlate/types.ts';

/** `enum ofp_port_config`; NO_STP, NO_RECV_STP and NO_FLOOD exist in OpenFlow 1.0 only. */
export const OFPPC = {
  PORT_DOWN: 1 << 0,
  NO_STP: 1 << 1,
  NO_RECV: 1 << 2,
  NO_RECV_STP: 1 << 3,
  NO_FLOOD: 1 << 4,
  NO_FWD: 1 << 5,
  NO_PACKET_IN: 1 << 6,
} as const;

/** `enum ofp_port_state`. */
export const OFPPS = {
  LINK_DOWN: 1,
  BLOCKED: 2,
  LIVE: 4,
  // OpenFlow 1.0 only: two bits.
  STP_LISTEN: 0,
  STP_LEARN: 0x100,
  STP_FORWARD: 0x200,
  STP_BLOCK: 0x300,
} as const;

/** Bits that a port-mod may change. */
const SETTABLE = OFPPC.PORT_DOWN | OFPPC.NO_RECV | OFPPC.NO_FLOOD | OFPPC.NO_FWD | OFPPC.NO_PACKET_IN;

export interface VirtualStats {
  rxPackets: number;
  txPackets: number;
  rxBytes: number;
  txBytes: number;
}

/** Finds the port at the other end of a patch port. */
export type PeerFinder = (port: OfPort) => XlatePort['peer'];

export class OfPort implements XlatePort {
  readonly ofport: number;
  readonly name: string;
  readonly netdev: Netdev;
  /** Tunnels share one, and another one when their options change. */
  dpPort: number | null;
  readonly createdMs: number = clock.nowMs();
  /** OFPPC bits; PORT_DOWN follows the device. */
  config = 0;
  /** The device has a link; whether it is of use is `mayEnable`. */
  hasLink = true;
  mayEnable = true;
  bundle: Bundle | null = null;
  /** Packets that crossed a patch port or a tunnel, credited by translation. */
  readonly stats: VirtualStats | null;
  bfd: Bfd | null = null;
  cfm: Cfm | null = null;
  lldp: Lldp | null = null;
  protocols: readonly XlateProtocol[] = [];
  /** What a spanning tree lets pass here; null without one. */
  spanning: (XlateSpanning & { readonly bits: number }) | null = null;
  /** What was last told to controllers. */
  announced: PhyPort | null = null;
  changes: Disposable | null = null;
  private readonly findPeer: PeerFinder;

  constructor(ofport: number, netdev: Netdev, dpPort: number | null, findPeer: PeerFinder) {
    this.ofport = ofport;
    this.name = netdev.name;
    this.netdev = netdev;
    this.dpPort = dpPort;
    this.findPeer = findPeer;
    const isVirtual = netdev.type === 'patch' || netdev instanceof TunnelNetdev;
    this.stats = isVirtual ? { rxPackets: 0, txPackets: 0, rxBytes: 0, txBytes: 0 } : null;
    this.refresh();
  }

  get isPatch(): boolean {
    return this.netdev.type === 'patch';
  }

  get tunnel(): TunnelConfig | null {
    return this.netdev instanceof TunnelNetdev ? this.netdev.config : null;
  }

  get peer(): XlatePort['peer'] {
    return this.isPatch ? this.findPeer(this) : null;
  }

  /** Name of the patch port that this one wants to be connected to. */
  get peerName(): string | null {
    return this.isPatch ? (this.netdev.status().get('peer') ?? null) : null;
  }

  /** The user-space datapath names a queue by its number; whether the device has such a queue shows when it sends. */
  queuePriority(queue: number): number | null {
    return queue;
  }

  /** Takes over the device's state; true when translations made before may be wrong now. */
  refresh(): boolean {
    const isUp = this.netdev.isUp();
    const config = (this.config & ~OFPPC.PORT_DOWN) | (isUp ? 0 : OFPPC.PORT_DOWN);
    this.hasLink = isUp && (this.isPatch || this.netdev.carrier());
    const { bfd, cfm } = this;
    const isHealthy = (bfd?.isForwarding ?? true) && (!cfm || (!cfm.hasFault && cfm.isRemoteOpUp));
    const mayEnable = this.hasLink && isHealthy;
    const isChanged = config !== this.config || mayEnable !== this.mayEnable;
    this.config = config;
    this.mayEnable = mayEnable;
    return isChanged;
  }

  phyPort(): PhyPort {
    const features = this.netdev.features();
    return {
      portNo: this.ofport,
      hwAddr: this.netdev.mac(),
      name: this.name,
      config: this.config,
      state: (this.hasLink ? 0 : OFPPS.LINK_DOWN) | (this.mayEnable ? OFPPS.LIVE : 0) | (this.spanning?.bits ?? 0),
      curr: features.curr,
      advertised: features.advertised,
      supported: features.supported,
      peer: features.peer,
      currSpeed: (features.speedMbps ?? 0) * 1000,
      maxSpeed: maxSpeedKbps(features.supported),
    };
  }

  portStats(): PortStats {
    const durationMs = Math.floor(clock.nowMs() - this.createdMs);
    const v = this.stats;
    if (v) {
      return {
        ...UNKNOWN_STATS,
        portNo: this.ofport,
        durationMs,
        rxPackets: v.rxPackets,
        txPackets: v.txPackets,
        rxBytes: v.rxBytes,
        txBytes: v.txBytes,
      };
    }
    const s = this.netdev.stats();
    return {
      portNo: this.ofport,
      durationMs,
      rxPackets: s.rx_packets ?? -1,
      txPackets: s.tx_packets ?? -1,
      rxBytes: s.rx_bytes ?? -1,
      txBytes: s.tx_bytes ?? -1,
      rxDropped: s.rx_dropped ?? -1,
      txDropped: s.tx_dropped ?? -1,
      rxErrors: s.rx_errors ?? -1,
      txErrors: s.tx_errors ?? -1,
      rxFrameErr: s.rx_frame_errors ?? -1,
      rxOverErr: s.rx_over_errors ?? -1,
      rxCrcErr: s.rx_crc_errors ?? -1,
      collisions: s.collisions ?? -1,
    };
  }

  /** Carries out a port-mod; true when translations made before may be wrong now. */
  modify(config: number, mask: number): boolean {
    const wanted = mask & SETTABLE;
    if (wanted & OFPPC.PORT_DOWN) this.netdev.setUp((config & OFPPC.PORT_DOWN) === 0);
    const rest = wanted & ~OFPPC.PORT_DOWN;
    const next = (this.config & ~rest) | (config & rest);
    const isChanged = next !== this.config;
    this.config = next;
    return this.refresh() || isChanged;
  }
}

const UNKNOWN_STATS: PortStats = {
  portNo: 0,
  durationMs: 0,
  rxPackets: -1,
  txPackets: -1,
  rxBytes: -1,
  txBytes: -1,
  rxDropped: -1,
  txDropped: -1,
  rxErrors: -1,
  txErrors: -1,
  rxFrameErr: -1,
  rxOverErr: -1,
  rxCrcErr: -1,
  collisions: -1,
};

/** Speeds of the OFPPF_* bits from the lowest bit, two of a kind for half and full duplex where both exist. */
const SPEEDS_KBPS: readonly (readonly [number, number])[] = [
  [0x200, 1_000_000_000],
  [0x100, 100_000_000],
  [0x080, 40_000_000],
  [0x040, 10_000_000],
  [0x030, 1_000_000],
  [0x00c, 100_000],
  [0x003, 10_000],
];

function maxSpeedKbps(features: number): number {
  for (const [bits, kbps] of SPEEDS_KBPS) if (features & bits) return kbps;
  return 0;
}

/** Would controllers see a difference? */
export function samePhyPort(a: PhyPort, b: PhyPort): boolean {
  return (
    a.portNo === b.portNo &&
    a.name === b.name &&
    a.config === b.config &&
    a.state === b.state &&
    a.curr === b.curr &&
    a.advertised === b.advertised &&
    a.supported === b.supported &&
    a.peer === b.peer &&
    a.currSpeed === b.currSpeed &&
    a.maxSpeed === b.maxSpeed &&
    a.hwAddr.every((byte, i) => byte === b.hwAddr[i])
  );
}
