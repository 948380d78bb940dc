/** A bridge's rapid spanning tree: ties the protocol to ports, to what may pass them, and to the MAC table. */
import { clock } from '../base/clock.ts';
import { buildBpdu, readBpdu } from '../packet/bpdu.ts';
import type { Bridge } from './bridge.ts';
import { OFPPS, type OfPort } from './ofport.ts';
import type { StatusColumns } from './ofproto.ts';
import { setProtocol } from './protocols.ts';
import { Rstp, type RstpConfig, type RstpPort, type RstpPortConfig, type RstpState } from './rstp.ts';
import { sendFrame } from './send-frame.ts';
import { bpduProtocol } from './spanning-tree.ts';

export interface RapidTreePort extends Omit<RstpPortConfig, 'pathCost'> {
  readonly ofport: number;
  /** Null for what the device's speed suggests. */
  readonly pathCost: number | null;
  readonly mcheck: boolean;
}

export interface RstpSetup {
  readonly config: Omit<RstpConfig, 'address'> & { readonly address: Uint8Array | null };
  readonly ports: readonly RapidTreePort[];
}

/** IEEE 802.1D-2004 table 17-3, and what the original takes for a device of unknown speed. */
const COST_OF_ONE_MBPS = 20_000_000;
const UNKNOWN_SPEED_MBPS = 10_000;
const MAX_COST = 200_000_000;

export const rstpCost = (mbps: number | null): number =>
  Math.min(MAX_COST, Math.max(1, Math.round(COST_OF_ONE_MBPS / (mbps || UNKNOWN_SPEED_MBPS))));

/** What a port lets through, and its bits in OpenFlow 1.0, which knows the states of STP. */
const PASSES: Readonly<Record<RstpState, { learns: boolean; forwards: boolean; bits: number }>> = {
  Disabled: { learns: false, forwards: false, bits: 0 },
  Discarding: { learns: false, forwards: false, bits: 0 },
  Learning: { learns: true, forwards: false, bits: OFPPS.STP_LEARN },
  Forwarding: { learns: true, forwards: true, bits: OFPPS.STP_FORWARD },
};

export class RapidSpanningTree {
  readonly rstp: Rstp;
  private readonly bridge: Bridge;
  private setup: RstpSetup;

  constructor(bridge: Bridge, setup: RstpSetup) {
    this.bridge = bridge;
    this.setup = setup;
    this.rstp = new Rstp(this.configOf(setup), {
      send: (port, bpdu) => {
        const mac = bridge.ofport(port.ofport)?.netdev.mac();
        if (mac) sendFrame(bridge, port.ofport, buildBpdu(mac, bpdu));
      },
      stateChanged: (port, before) => this.stateChanged(port, before),
      flush: ({ ofport }) => {
        const bundle = bridge.ofport(ofport)?.bundle;
        if (bundle) bridge.macs.removePort(bundle);
      },
    });
    this.configure(setup);
  }

  private configOf({ config }: RstpSetup): RstpConfig {
    return { ...config, address: config.address ?? this.bridge.localMac() };
  }

  configure(setup: RstpSetup): void {
    this.setup = setup;
    this.rstp.setConfig(this.configOf(setup));
    const wanted = new Set(setup.ports.map(({ ofport }) => ofport));
    for (const { ofport } of this.rstp.ports) if (!wanted.has(ofport)) this.removePort(ofport);
    for (const one of setup.ports) {
      const port = this.bridge.ofport(one.ofport);
      if (!port) continue;
      this.setPort(port, one);
      if (one.mcheck) this.rstp.check(one.ofport);
    }
  }

  private setPort(port: OfPort, { pathCost, ...settings }: RapidTreePort): void {
    setProtocol(
      port,
      'stp',
      bpduProtocol((packet) => this.rstp.receive(port.ofport, readBpdu(packet))),
    );
    const config = { ...settings, pathCost: pathCost ?? rstpCost(port.netdev.features().speedMbps) };
    this.rstp.setPort(port.ofport, port.name, config, port.mayEnable);
    this.apply(port, this.rstp.port(port.ofport)?.state ?? 'Disabled');
  }

  /** A port's link came or went. */
  linkChanged(port: OfPort): void {
    const mine = this.setup.ports.find(({ ofport }) => ofport === port.ofport);
    if (mine) this.setPort(port, mine);
  }

  removePort(ofport: number): void {
    this.rstp.removePort(ofport);
    const port = this.bridge.ofport(ofport);
    if (!port) return;
    setProtocol(port, 'stp', null);
    this.apply(port, null);
  }

  private stateChanged(rstpPort: RstpPort, before: RstpState): void {
    const port = this.bridge.ofport(rstpPort.ofport);
    if (!port) return;
    if (PASSES[before].learns && !PASSES[rstpPort.state].learns && port.bundle) {
      this.bridge.macs.removePort(port.bundle);
    }
    this.apply(port, rstpPort.state);
    this.bridge.onStatus();
  }

  private apply(port: OfPort, state: RstpState | null): void {
    const passes = state === null ? null : PASSES[state];
    const before = port.spanning;
    if (before?.learns === passes?.learns && before?.forwards === passes?.forwards) return;
    port.spanning = passes && { ...passes, word: 'RSTP', passesBpdus: state !== 'Disabled' };
    this.bridge.portStateChanged(port);
  }

  // ---- for the database ----

  columns(): StatusColumns {
    const { rstp } = this;
    const { root, cost, bridge, port, bridgePort } = rstp.rootPriority;
    return {
      rstp_status: new Map([
        ['rstp_bridge_id', idText(rstp.bridgeId)],
        ['rstp_bridge_port_id', portText(bridgePort)],
        ['rstp_designated_id', idText(bridge)],
        ['rstp_designated_port_id', portText(port)],
        ['rstp_root_id', idText(root)],
        ['rstp_root_path_cost', String(cost)],
      ]),
    };
  }

  portColumns(ofport: number): StatusColumns {
    const p = this.rstp.port(ofport);
    if (!p) return {};
    const { bridge, cost, port } = p.portPriority;
    return {
      rstp_status: new Map([
        ['rstp_designated_bridge_id', idText(bridge)],
        ['rstp_designated_path_cost', String(cost)],
        ['rstp_designated_port_id', portText(port)],
        ['rstp_port_id', portText(p.portId)],
        ['rstp_port_role', p.role],
        ['rstp_port_state', p.state],
      ]),
      rstp_statistics: new Map([
        ['rstp_error_count', p.stats.error],
        ['rstp_rx_count', p.stats.rx],
        ['rstp_tx_count', p.stats.tx],
        ['rstp_uptime', Math.floor((clock.nowMs() - p.sinceMs) / 1000)],
      ]),
    };
  }

  close(): void {
    for (const { ofport } of this.rstp.ports) this.removePort(ofport);
    this.rstp.close();
  }
}

const portText = (id: number): string => id.toString(16).padStart(4, '0');

/** `8.000.0102030405ff`: priority, extension, address. */
function idText(id: bigint): string {
  const hex = id.toString(16).padStart(16, '0');
  return `${hex.slice(0, 1)}.${hex.slice(1, 4)}.${hex.slice(4)}`;
}
