/** A bridge's spanning tree: ties the protocol to ports, to what may pass them, and to the MAC table. */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { SlowReason } from '../flow/dp-actions.ts';
import { OFS } from '../flow/layout.ts';
import { buildBpdu, readBpdu, STP_ADDRESS } from '../packet/bpdu.ts';
import { ETH_TYPE_NONE } from '../packet/ethernet.ts';
import type { Bridge } from './bridge.ts';
import { OFPPS, type OfPort } from './ofport.ts';
import type { StatusColumns } from './ofproto.ts';
import { setProtocol } from './protocols.ts';
import { sendFrame } from './send-frame.ts';
import { Stp, type StpConfig, type StpPort, type StpState } from './stp.ts';
import type { XlateProtocol } from './xlate/protocols.ts';

const log = vlog('stp');

export interface SpanningTreePort {
  readonly ofport: number;
  readonly number: number;
  readonly priority: number;
  /** Null for what the device's speed suggests. */
  readonly pathCost: number | null;
}

export interface StpSetup {
  readonly config: Omit<StpConfig, 'systemId'> & { readonly systemId: Uint8Array | null };
  readonly ports: readonly SpanningTreePort[];
}

/** IEEE 802.1D-1998 8.10.2, and what the original takes for a device of unknown speed. */
const COSTS: readonly (readonly [mbps: number, cost: number])[] = [
  [10_000, 2],
  [1000, 4],
  [100, 19],
  [16, 62],
  [10, 100],
  [4, 250],
];
const UNKNOWN_SPEED_MBPS = 10_000;

export function stpCost(mbps: number | null): number {
  const speed = mbps || UNKNOWN_SPEED_MBPS;
  return COSTS.find(([least]) => speed >= least)?.[1] ?? 250;
}

/** What a port lets through, and its bits in OpenFlow 1.0. */
const PASSES: Readonly<Record<StpState, { learns: boolean; forwards: boolean; bits: number }>> = {
  disabled: { learns: true, forwards: true, bits: 0 },
  blocking: { learns: false, forwards: false, bits: OFPPS.STP_BLOCK },
  listening: { learns: false, forwards: false, bits: OFPPS.STP_LISTEN },
  learning: { learns: true, forwards: false, bits: OFPPS.STP_LEARN },
  forwarding: { learns: true, forwards: true, bits: OFPPS.STP_FORWARD },
};

export class SpanningTree {
  readonly stp: Stp;
  private readonly bridge: Bridge;
  private setup: StpSetup;

  constructor(bridge: Bridge, setup: StpSetup) {
    this.bridge = bridge;
    this.setup = setup;
    this.stp = new Stp(this.configOf(setup), {
      send: (port, bpdu) => {
        const mac = bridge.ofport(port.ofport)?.netdev.mac();
        if (mac) sendFrame(bridge, port.ofport, buildBpdu(mac, bpdu));
      },
      stateChanged: (port, before) => this.stateChanged(port, before),
      flush: () => bridge.macs.flush(),
    });
    this.configure(setup);
  }

  private configOf({ config }: StpSetup): StpConfig {
    return { ...config, systemId: config.systemId ?? this.bridge.localMac() };
  }

  configure(setup: StpSetup): void {
    this.setup = setup;
    this.stp.setConfig(this.configOf(setup));
    const wanted = new Set(setup.ports.map(({ ofport }) => ofport));
    for (const { ofport } of this.stp.ports) if (!wanted.has(ofport)) this.removePort(ofport);
    for (const one of setup.ports) {
      const port = this.bridge.ofport(one.ofport);
      if (port) this.setPort(port, one);
    }
  }

  private setPort(port: OfPort, { number, priority, pathCost }: SpanningTreePort): void {
    const cost = pathCost ?? stpCost(port.netdev.features().speedMbps);
    this.stp.setPort(port.ofport, port.name, { number, priority, pathCost: cost }, port.mayEnable);
    setProtocol(
      port,
      'stp',
      bpduProtocol((packet) => this.stp.receive(port.ofport, readBpdu(packet))),
    );
    this.apply(port, this.stp.port(port.ofport)?.state ?? 'disabled');
  }

  /** A port's link came or went. */
  linkChanged(port: OfPort): void {
    const mine = this.setup.ports.find(({ ofport }) => ofport === port.ofport);
    if (mine) this.setPort(port, mine);
  }

  removePort(ofport: number): void {
    this.stp.removePort(ofport);
    const port = this.bridge.ofport(ofport);
    if (!port) return;
    setProtocol(port, 'stp', null);
    this.apply(port, null);
  }

  private stateChanged(stpPort: StpPort, before: StpState): void {
    log.dbg(`port ${stpPort.name}: STP state changed from ${before} to ${stpPort.state}`);
    const port = this.bridge.ofport(stpPort.ofport);
    if (!port) return;
    const [had, has] = [PASSES[before], PASSES[stpPort.state]];
    // What was learned by a port that may learn no more is elsewhere now.
    if (had.learns !== has.learns && port.bundle) this.bridge.macs.removePort(port.bundle);
    this.apply(port, stpPort.state);
    this.bridge.onStatus();
  }

  private apply(port: OfPort, state: StpState | null): void {
    const passes = state === null || state === 'disabled' ? null : PASSES[state];
    const before = port.spanning;
    if (before?.bits === passes?.bits) return;
    port.spanning = passes && { ...passes, word: 'STP', passesBpdus: state !== 'blocking' };
    this.bridge.portStateChanged(port);
  }

  // ---- for the database ----

  columns(): StatusColumns {
    const { stp } = this;
    const status = new Map([
      ['stp_bridge_id', idText(stp.bridgeId)],
      ['stp_designated_root', idText(stp.designatedRoot)],
      ['stp_root_path_cost', String(stp.rootPathCost)],
    ]);
    return { status };
  }

  portColumns(ofport: number): StatusColumns {
    return { status: this.portStatus(ofport), statistics: this.portStatistics(ofport) };
  }

  private portStatus(ofport: number): Map<string, string> {
    const port = this.stp.port(ofport);
    if (!port) return new Map();
    return new Map([
      ['stp_port_id', String(port.portId)],
      ['stp_role', this.stp.role(port)],
      ['stp_sec_in_state', String(Math.floor((clock.nowMs() - port.stateSinceMs) / 1000))],
      ['stp_state', port.state],
    ]);
  }

  private portStatistics(ofport: number): Map<string, number> {
    const port = this.stp.port(ofport);
    if (!port) return new Map();
    const { tx, rx, error } = port.stats;
    return new Map([
      ['stp_error_count', error],
      ['stp_rx_count', rx],
      ['stp_tx_count', tx],
    ]);
  }

  close(): void {
    for (const { ofport } of this.stp.ports) this.removePort(ofport);
    this.stp.close();
  }
}

/** BPDUs meet no rule, they come to whoever makes the tree. */
export const bpduProtocol = (receive: (packet: Uint8Array) => void): XlateProtocol => ({
  reason: SlowReason.stp,
  claims: (flow, wc) => {
    wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
    return (
      flow.get16(OFS.eth_type) === ETH_TYPE_NONE && STP_ADDRESS.every((byte, i) => flow.u8[OFS.eth_dst + i] === byte)
    );
  },
  receive,
});

/** `8000.0102030405ff` */
export function idText(id: bigint): string {
  const hex = id.toString(16).padStart(16, '0');
  return `${hex.slice(0, 4)}.${hex.slice(4)}`;
}
