/** What a bridge exports of its traffic: NetFlow, sFlow and IPFIX, of all packets or of those that `sample` actions name. */
import { isDeepStrictEqual } from 'node:util';
import { coverage } from '../../base/coverage.ts';
import type { Upcall } from '../../dpif/dpif.ts';
import type { UserspaceAction } from '../../flow/dp-actions.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import type { Bridge } from '../bridge.ts';
import type { XlateExporters } from '../xlate/types.ts';
import { Ipfix, type IpfixConfig, type IpfixInterface } from './ipfix.ts';
import { Netflow, type NetflowConfig } from './netflow.ts';
import { Sflow, type SflowConfig, type SflowPort } from './sflow.ts';

const sampledPackets = coverage('dpif_sample');

const ALWAYS = 0xffffffff;
const NO_PORT = 0xffffffff;
const VID_PCP = 0xefff;

export interface BridgeIpfixConfig extends IpfixConfig {
  readonly sampling: number;
  readonly samplesInput: boolean;
  readonly samplesOutput: boolean;
}

export interface ExportersConfig {
  readonly netflow: NetflowConfig | null;
  readonly sflow: SflowConfig | null;
  readonly ipfix: BridgeIpfixConfig | null;
  /** By the ids of their collector sets. */
  readonly flowIpfix: ReadonlyMap<number, IpfixConfig>;
}

export const NO_EXPORTERS: ExportersConfig = { netflow: null, sflow: null, ipfix: null, flowIpfix: new Map() };

type Sampled = Extract<UserspaceAction, { type: 'sflow' | 'ipfix' | 'flow_sample' }>;

export class Exporters implements XlateExporters {
  private readonly bridge: Bridge;
  private config: ExportersConfig = NO_EXPORTERS;
  private netflowExporter: Netflow | null = null;
  private sflowExporter: Sflow | null = null;
  bridgeIpfix: Ipfix | null = null;
  readonly flowIpfix = new Map<number, Ipfix>();

  constructor(bridge: Bridge) {
    this.bridge = bridge;
  }

  configure(config: ExportersConfig): void {
    const old = this.config;
    if (isDeepStrictEqual(old, config)) return;
    this.config = config;
    if (!isDeepStrictEqual(old.netflow, config.netflow)) {
      this.netflowExporter?.close();
      this.netflowExporter = config.netflow && new Netflow(config.netflow);
    }
    if (!isDeepStrictEqual(old.sflow, config.sflow)) {
      this.sflowExporter?.close();
      this.sflowExporter =
        config.sflow &&
        new Sflow(
          config.sflow,
          () => this.sflowPorts(),
          () => this.bridge.config.datapathId,
        );
    }
    if (!isDeepStrictEqual(old.ipfix, config.ipfix)) {
      this.bridgeIpfix?.close();
      this.bridgeIpfix = config.ipfix && new Ipfix(config.ipfix);
    }
    for (const [id, exporter] of this.flowIpfix) {
      if (isDeepStrictEqual(old.flowIpfix.get(id), config.flowIpfix.get(id))) continue;
      exporter.close();
      this.flowIpfix.delete(id);
    }
    for (const [id, one] of config.flowIpfix) if (!this.flowIpfix.has(id)) this.flowIpfix.set(id, new Ipfix(one));
    this.bridge.backer.revalidateAll();
  }

  private *sflowPorts(): Generator<SflowPort> {
    for (const port of this.bridge.sortedPorts()) {
      if (port.dpPort === null) continue;
      const { speedMbps } = port.netdev.features();
      yield {
        name: port.name,
        ofport: port.ofport,
        ifindex: port.netdev.ifindex(),
        speedBps: BigInt(speedMbps || 100) * 1_000_000n,
        isUp: port.netdev.isUp(),
        hasLink: port.hasLink,
        stats: port.portStats(),
      };
    }
  }

  // ---- what translation asks ----

  get sflow(): number | null {
    return this.sflowExporter && probability(this.sflowExporter.config.samplingRate);
  }

  get ipfix(): XlateExporters['ipfix'] {
    const { ipfix } = this.config;
    if (!this.bridgeIpfix || !ipfix) return null;
    return { probability: probability(ipfix.sampling), input: ipfix.samplesInput, output: ipfix.samplesOutput };
  }

  get samplesFlows(): boolean {
    return this.bridgeIpfix !== null || this.flowIpfix.size > 0;
  }

  get netflow(): XlateExporters['netflow'] {
    const exporter = this.netflowExporter;
    return (
      exporter &&
      ((flow, outPort, packets, bytes, usedMs, tcpFlags) =>
        exporter.record(flow, outPort, packets, bytes, usedMs, tcpFlags))
    );
  }

  ifindex(dpPort: number): number {
    return this.bridge.backer.dpif.portByNo(dpPort)?.netdev.ifindex() ?? 0;
  }

  // ---- what the datapath hands up ----

  received(upcall: Upcall, flow: FlowKey, action: Sampled): void {
    sampledPackets.inc();
    if (action.type === 'sflow') {
      this.sflowExporter?.sampled({
        packet: upcall.packet,
        inIfindex: this.ifindex(upcall.key.get32(OFS.in_port)),
        output: action.output,
        inTci: flow.get16(OFS.vlan_tci) & VID_PCP,
        outTci: action.vlanTci & VID_PCP,
      });
      return;
    }
    const input = this.interfaceOf(upcall.key.get32(OFS.in_port));
    const output = action.outputPort === NO_PORT ? null : this.interfaceOf(action.outputPort);
    const common = { flow, length: upcall.packet.length, input, output };
    if (action.type === 'ipfix') {
      const { ipfix } = this.config;
      if (!ipfix) return;
      const { obsDomainId, obsPointId, sampling: weight } = ipfix;
      this.bridgeIpfix?.sampled({ ...common, obsDomainId, obsPointId, weight, isEgress: output !== null });
      return;
    }
    this.flowIpfix.get(action.collectorSetId)?.sampled({
      ...common,
      // Without a direction the port that was named is no output.
      output: action.direction === 'egress' ? output : null,
      obsDomainId: action.obsDomainId,
      obsPointId: action.obsPointId,
      weight: Math.max(1, Math.floor(0xffff / action.probability)),
      isEgress: action.direction === 'egress',
    });
  }

  private interfaceOf(dpPort: number): IpfixInterface | null {
    const netdev = this.bridge.backer.dpif.portByNo(dpPort)?.netdev;
    return netdev ? { ifindex: netdev.ifindex(), name: netdev.name } : null;
  }

  close(): void {
    this.netflowExporter?.close();
    this.sflowExporter?.close();
    this.bridgeIpfix?.close();
    for (const exporter of this.flowIpfix.values()) exporter.close();
    this.flowIpfix.clear();
    this.netflowExporter = null;
    this.sflowExporter = null;
    this.bridgeIpfix = null;
  }
}

const probability = (rate: number): number => Math.floor(ALWAYS / Math.max(1, rate));
