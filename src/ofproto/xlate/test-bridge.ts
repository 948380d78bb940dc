/** A bridge for tests of translation: ports, bundles and tables without a datapath, devices or controllers. */
import type { Match } from '../../flow/match.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import { MacLearning } from '../mac-learning.ts';
import type { McastSnooping } from '../mcast-snooping.ts';
import type { PortVlanConfig } from '../ofproto.ts';
import { Rule } from '../rule.ts';
import { FlowTables } from '../tables.ts';
import type { XlateMirrors } from './mirror.ts';
import type { XlateBond, XlateBridge, XlateBundle, XlateExporters, XlateGroup, XlatePort } from './types.ts';

export type TestPort = {
  -readonly [K in keyof XlatePort]: XlatePort[K];
};

export const TRUNK: PortVlanConfig = {
  mode: 'trunk',
  tag: null,
  trunks: [],
  cvlans: [],
  priorityTags: 'no',
  protected: false,
};

export class TestBridge implements XlateBridge {
  readonly name: string;
  readonly tables = new FlowTables();
  readonly macs = new MacLearning<XlateBundle>();
  forwardBpdu = false;
  wantsPacketInOnMiss = false;
  readonly vlanLimit = 2;
  readonly groups = new Map<number, XlateGroup>();
  /** From OpenFlow meters to the datapath's. */
  readonly meters = new Map<number, number>();
  mirrors: XlateMirrors | null = null;
  mcast: McastSnooping<XlateBundle> | null = null;
  exporters: XlateExporters | null = null;
  private readonly portMap = new Map<number, TestPort>();
  private readonly bundleList: XlateBundle[] = [];

  constructor(name: string) {
    this.name = name;
  }

  addPort(ofport: number, dpPort: number | null, vlan: Partial<PortVlanConfig> = {}): TestPort {
    const ports: XlatePort[] = [];
    const bundle: XlateBundle = { name: `p${ofport}`, vlan: { ...TRUNK, ...vlan }, ports, isFloodable: true };
    const port: TestPort = {
      ofport,
      name: `p${ofport}`,
      dpPort,
      config: 0,
      mayEnable: true,
      bundle,
      peer: null,
      stats: dpPort === null ? { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0 } : null,
      queuePriority: (queue) => queue,
    };
    ports.push(port);
    this.portMap.set(ofport, port);
    this.bundleList.push(bundle);
    return port;
  }

  /** Makes a bond of two ports. */
  join(a: TestPort, b: TestPort, bond: XlateBond): void {
    const own = b.bundle ? this.bundleList.indexOf(b.bundle) : -1;
    this.bundleList.splice(own, 1);
    const bundle = a.bundle as { bond?: XlateBond; ports: XlatePort[] } & XlateBundle;
    bundle.bond = bond;
    bundle.ports.push(b);
    b.bundle = bundle;
  }

  addRule(table: number, priority: number, match: Match, actions: readonly Ofpact[]): Rule {
    const rule = new Rule({ table, priority, match, actions, nowMs: 0 });
    this.tables.insert(rule);
    return rule;
  }

  port(ofport: number): TestPort | undefined {
    return this.portMap.get(ofport);
  }

  ports(): Iterable<XlatePort> {
    return this.portMap.values();
  }

  bundles(): Iterable<XlateBundle> {
    return this.bundleList;
  }

  group(id: number): XlateGroup | null {
    return this.groups.get(id) ?? null;
  }

  meter(id: number): number | null {
    return this.meters.get(id) ?? null;
  }
}

/** Joins two ports as a pair of patch ports. */
export function connect(aBridge: TestBridge, a: TestPort, bBridge: TestBridge, b: TestPort): void {
  a.peer = { bridge: bBridge, port: b };
  b.peer = { bridge: aBridge, port: a };
}
