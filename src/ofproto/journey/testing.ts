/** A bridge on simulated devices, whose packets tell: for tests. Time stands still. */
import assert from 'node:assert/strict';
import { Arena } from '../../base/arena.ts';
import { clock } from '../../base/clock.ts';
import { DpifNetdev } from '../../dpif/netdev.ts';
import { composePacket } from '../../flow/compose.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { DummyNetdev } from '../../netdev/dummy.ts';
import type { NetdevEnv } from '../../netdev/netdev.ts';
import { parseFlowMod } from '../../openflow/flow-text.ts';
import { parseGroupMod } from '../../openflow/group-text.ts';
import { Backer } from '../backer.ts';
import type { Bridge } from '../bridge.ts';
import { Group } from '../group.ts';
import type { Random } from '../xlate/random-network.ts';
import type { JourneyCollector } from './collector.ts';

export const VLAN = { mode: 'trunk', tag: null, trunks: [], cvlans: [], priorityTags: 'no', protected: false } as const;
export const PORTS = ['p1', 'p2', 'p3', 'p4'];

export interface Seen {
  readonly port: string;
  readonly hex: string;
}

export class TestSwitch implements AsyncDisposable {
  readonly env: NetdevEnv;
  readonly backer: Backer;
  readonly dpif: DpifNetdev;
  readonly bridge: Bridge;
  readonly netdevs = new Map<string, DummyNetdev>();
  /** What came out, since `give` or the last time this was emptied. */
  sent: Seen[] = [];

  private constructor(env: NetdevEnv, dpif: DpifNetdev) {
    this.env = env;
    this.dpif = dpif;
    this.backer = new Backer('dummy', dpif);
    // The factory of `dummy` bridges makes just these.
    this.bridge = this.backer.createBridge('br0', 'dummy') as Bridge;
  }

  static async create(megabytes = 64): Promise<TestSwitch> {
    clock.stop();
    const env = { arena: new Arena(megabytes << 20), frames: { at: 0, bytes: 0 }, byName: new Map() };
    const dpif = await DpifNetdev.create({ mode: 'main', name: 'ovs-dummy', type: 'dummy', env });
    const sw = new TestSwitch(env, dpif);
    for (const name of PORTS) {
      const netdev = new DummyNetdev(name, env);
      netdev.setUp(true);
      netdev.onTransmit((p) => sw.sent.push({ port: name, hex: Buffer.from(p).toString('hex') }));
      const added = await sw.bridge.portAdd(netdev, null);
      assert.ok('ofport' in added);
      sw.bridge.setBundle({ name, ofports: [added.ofport], vlan: VLAN });
      sw.netdevs.set(name, netdev);
    }
    sw.bridge.config = { ...sw.bridge.config, failMode: 'secure' };
    sw.bridge.flushFlows();
    return sw;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.backer.close();
    clock.resume();
  }

  get journeys(): JourneyCollector {
    assert.ok(this.backer.journeys);
    return this.backer.journeys;
  }

  flow(text: string, bridge: Bridge = this.bridge): void {
    const parsed = parseFlowMod(text, 'add');
    assert.ok(parsed.ok, `${text}: ${parsed.ok ? '' : parsed.error}`);
    const refusal = bridge.tables.flowMod(parsed.flow, clock.nowMs());
    assert.ok(refusal === null || typeof refusal !== 'string', `${text}: ${refusal}`);
  }

  group(text: string): void {
    const parsed = parseGroupMod(text, 'add');
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.error);
    const { groupId, groupType, buckets, props } = parsed.group;
    this.bridge.groups.set(groupId, new Group(groupId, groupType, buckets, props));
  }

  /** What the packet did at the ports. */
  give(port: string, packet: Uint8Array): Seen[] {
    this.sent = [];
    assert.ok(this.netdevs.get(port)?.receive(packet));
    return this.sent;
  }
}

/** A UDP packet from 10.0.0.1 to 10.0.0.`dst`. */
export function udp(dst: number, change: (key: FlowKey) => void = () => {}): Uint8Array {
  const key = new FlowKey();
  key.u8.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], OFS.eth_dst);
  key.set16(OFS.eth_type, 0x0800);
  key.set32(OFS.ip_src, 0x0a000001);
  key.set32(OFS.ip_dst, 0x0a000000 + dst);
  key.set8(OFS.ip_proto, 17);
  key.set8(OFS.ip_ttl, 64);
  key.set16(OFS.tp_src, 1000);
  key.set16(OFS.tp_dst, 53);
  change(key);
  return composePacket(
    key,
    Uint8Array.from({ length: 20 }, (_, i) => i),
  );
}

const MATCHES = [
  '',
  'udp',
  'ip,nw_dst=10.0.0.2',
  'ip,nw_dst=10.0.0.0/30',
  'udp,tp_dst=53',
  'dl_vlan=5',
  'in_port=1',
  'tcp',
  'mpls',
  'ip,ct_state=+trk',
];
const ACTIONS = [
  'output:2',
  'output:3,output:4',
  'dec_ttl,output:2',
  'mod_nw_dst:10.9.9.9,output:3,mod_tp_dst:99,output:4',
  'push_vlan:0x8100,mod_vlan_vid:7,output:2,strip_vlan,output:3',
  'strip_vlan,output:4',
  'push_mpls:0x8847,set_field:77->mpls_label,output:2',
  'push_mpls:0x8847,pop_mpls:0x0800,resubmit(,2)',
  'resubmit(,1)',
  'resubmit(,1),output:4',
  'ct(table=1)',
  'ct(commit,zone=3,table=2)',
  'ct(commit,nat(src=10.7.7.7),table=2),output:3',
  'clone(mod_dl_src:02:00:00:00:00:77,output:3),output:2',
  'group:1',
  'group:2',
  'drop',
  'NORMAL',
  'IN_PORT',
  'output:9',
];

export function randomTables(sw: TestSwitch, r: Random): void {
  sw.group('group_id=1,type=all,bucket=output:2,bucket=mod_nw_tos:8,output:3');
  sw.group('group_id=2,type=select,bucket=output:3,bucket=output:4');
  for (const table of [0, 1, 2])
    for (let i = 0; i < 4; i++) {
      const match = r.of(MATCHES);
      const prefix = `table=${table},priority=${1 + r.below(5)}${match === '' ? '' : `,${match}`}`;
      // Only tables below: a packet that recirculates to where it came from goes round for ever.
      const below = ACTIONS.filter((a) => Number(/(?:resubmit\(,|table=)(\d)/.exec(a)?.[1] ?? 9) > table);
      // A rule that tracks connections is for IP alone.
      const ip = below.filter((a) => !a.startsWith('ct(') || /ip|udp|tcp/.test(match));
      sw.flow(`${prefix},actions=${r.of(ip)}`);
    }
  sw.flow(`table=0,priority=0,actions=${r.of(ACTIONS.filter((a) => !a.startsWith('ct(')))}`);
}

export function randomPacket(r: Random): Uint8Array {
  return udp(1 + r.below(5), (key) => {
    if (r.chance(30)) {
      key.set16(OFS.vlan_tpid, 0x8100);
      key.set16(OFS.vlan_tci, 0x1000 | r.of([5, 6]));
    }
    if (r.chance(30)) key.set8(OFS.ip_proto, r.of([6, 1]));
    if (r.chance(20)) key.set8(OFS.ip_ttl, r.of([1, 2]));
    key.u8[OFS.eth_src + 5] = 1 + r.below(3);
    key.set16(OFS.tp_dst, r.of([53, 80]));
  });
}
