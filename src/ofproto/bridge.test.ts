/** Bridges over the real datapath in this thread, with simulated devices: forwarding, statistics, revalidation, expiry. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Arena } from '../base/arena.ts';
import { clock } from '../base/clock.ts';
import { DpifNetdev } from '../dpif/netdev.ts';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { DummyNetdev } from '../netdev/dummy.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { PatchNetdev } from '../netdev/patch.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import type { FlowMod } from '../openflow/messages.ts';
import { OFPP } from '../openflow/ports.ts';
import { Backer } from './backer.ts';
import type { Bridge } from './bridge.ts';
import type { OfprotoConfig } from './ofproto.ts';
import { NO_FLAGS } from './rule.ts';

const VLAN = {
  mode: 'trunk',
  tag: null,
  trunks: [],
  cvlans: [],
  priorityTags: 'no',
  protected: false,
} as const;

/** A UDP packet of 60 bytes between stations `50:54:00:00:00:NN`. */
function packet(from: number, to: number, port = 1): Uint8Array {
  const p = new Uint8Array(60);
  p.set([0x50, 0x54, 0, 0, 0, to, 0x50, 0x54, 0, 0, 0, from, 8, 0]);
  p.set([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to], 14);
  p.set([0, port, 0, port, 0, 26, 0, 0], 34);
  return p;
}

const output = (port: number): Ofpact => ({ kind: 'output', port, maxLen: 0 });

function flowMod(match: Match, actions: readonly Ofpact[], more: Partial<FlowMod> = {}): FlowMod {
  return {
    type: 'flow_mod',
    command: 'add',
    match,
    priority: 32768,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: 0n,
    table: 0,
    idleTimeout: 0,
    hardTimeout: 0,
    importance: 0,
    bufferId: 0xffffffff,
    outPort: OFPP.NONE,
    outGroup: 0xffffffff,
    flags: NO_FLAGS,
    actions,
    ...more,
  };
}

function inPort(port: number): Match {
  const match = new Match();
  match.key.set32(OFS.in_port, port);
  match.mask.set32(OFS.in_port, 0xffffffff);
  return match;
}

describe('bridges', () => {
  let env: NetdevEnv;
  let dpif: DpifNetdev;
  let backer: Backer;
  let sent: string[];

  beforeEach(async () => {
    const arena = new Arena(64 << 20);
    env = { arena, frames: { at: 0, bytes: 0 }, byName: new Map() };
    dpif = await DpifNetdev.create({ mode: 'main', name: 'ovs-dummy', type: 'dummy', env });
    backer = new Backer('dummy', dpif);
    sent = [];
  });

  afterEach(async () => {
    await backer.close();
    clock.resume();
  });

  async function addPort(bridge: Bridge, name: string): Promise<DummyNetdev> {
    const netdev = new DummyNetdev(name, env);
    netdev.onTransmit((p) => sent.push(`${name}:${p[11]}>${p[5]}`));
    const added = await bridge.portAdd(netdev, null);
    assert.ok('ofport' in added);
    bridge.setBundle({ name, ofports: [added.ofport], vlan: VLAN });
    return netdev;
  }

  async function makeBridge(name: string, change: Partial<OfprotoConfig> = {}): Promise<Bridge> {
    const bridge = backer.createBridge(name, 'dummy') as Bridge;
    await addPort(bridge, name);
    // Without a run directory there are no sockets to listen on.
    bridge.config = { ...bridge.config, ...change };
    bridge.flushFlows();
    return bridge;
  }

  const taken = (): string[] => sent.splice(0).sort();

  it('is an ordinary switch without controllers', async () => {
    const bridge = await makeBridge('br0');
    const [p1, p2] = [await addPort(bridge, 'p1'), await addPort(bridge, 'p2')];
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), ['br0:1>2', 'p2:1>2'], 'flooded');
    await backer.inForce();
    p2.receive(packet(2, 1));
    assert.deepEqual(taken(), ['p1:2>1'], 'learned');
    await backer.inForce();
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), ['p2:1>2'], 'no longer flooded');
    assert.equal(bridge.macs.size, 2);
    backer.pushStats();
    const [rule] = [...bridge.tables.tables[0].classifier];
    assert.equal(rule.packets, 3);
    assert.equal(rule.bytes, 180);
  });

  it('does nothing in secure mode', async () => {
    const bridge = await makeBridge('br0', { failMode: 'secure' });
    const p1 = await addPort(bridge, 'p1');
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), []);
    assert.equal(bridge.tables.tables[0].size, 0);
  });

  it('lets packets meet new tables once they are in force', async () => {
    const bridge = await makeBridge('br0', { failMode: 'secure' });
    const [p1] = [await addPort(bridge, 'p1'), await addPort(bridge, 'p2'), await addPort(bridge, 'p3')];
    for (const [i, port] of [2, 3, 2].entries()) {
      bridge.tables.flowMod(flowMod(inPort(1), [output(port)], { priority: 10 + i }), clock.nowMs());
      await backer.inForce();
      p1.receive(packet(1, 2));
      p1.receive(packet(1, 2));
      assert.deepEqual(taken(), [`p${port}:1>2`, `p${port}:1>2`]);
    }
    bridge.tables.flowMod(flowMod(inPort(1), [], { command: 'delete' }), clock.nowMs());
    await backer.inForce();
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), []);
  });

  it('has nothing to wait for when nothing changed', async () => {
    const bridge = await makeBridge('br0', { failMode: 'secure' });
    const p1 = await addPort(bridge, 'p1');
    await backer.inForce();
    assert.equal(backer.inForce(), null);
    p1.receive(packet(1, 2));
    bridge.tables.flowMod(flowMod(inPort(7), [output(1)]), clock.nowMs());
    // The rule does not overlap with the megaflow: nothing in the datapath has to change.
    assert.equal(backer.inForce(), null);
  });

  it('revalidates megaflows of later tables too', async () => {
    const bridge = await makeBridge('br0', { failMode: 'secure' });
    const [p1] = [await addPort(bridge, 'p1'), await addPort(bridge, 'p2'), await addPort(bridge, 'p3')];
    const now = clock.nowMs();
    bridge.tables.flowMod(flowMod(new Match(), [{ kind: 'goto_table', table: 5 }]), now);
    bridge.tables.flowMod(flowMod(new Match(), [output(2)], { table: 5, priority: 1 }), now);
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), ['p2:1>2']);
    bridge.tables.flowMod(flowMod(inPort(1), [output(3)], { table: 5, priority: 2 }), now);
    await backer.inForce();
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), ['p3:1>2']);
  });

  it('carries packets through patch ports and counts them', async () => {
    const [br0, br1] = [await makeBridge('br0'), await makeBridge('br1')];
    const p1 = await addPort(br0, 'p1');
    await addPort(br1, 'p2');
    for (const [bridge, name, peer] of [
      [br0, 'pa', 'pb'],
      [br1, 'pb', 'pa'],
    ] as const) {
      const netdev = new PatchNetdev(name, env);
      netdev.setConfig(new Map([['peer', peer]]));
      const added = await bridge.portAdd(netdev, null);
      assert.ok('ofport' in added);
      bridge.setBundle({ name, ofports: [added.ofport], vlan: VLAN });
    }
    p1.receive(packet(1, 2));
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), ['br0:1>2', 'br0:1>2', 'br1:1>2', 'br1:1>2', 'p2:1>2', 'p2:1>2']);
    const [pa, pb] = [br0.ofportOf('pa'), br1.ofportOf('pb')];
    assert.ok(pa !== undefined && pb !== undefined);
    assert.deepEqual(br0.virtualPortStats(pa), { rxPackets: 0, txPackets: 2, rxBytes: 0, txBytes: 120 });
    assert.deepEqual(br1.virtualPortStats(pb), { rxPackets: 2, txPackets: 0, rxBytes: 120, txBytes: 0 });
  });

  it('removes idle megaflows and expired rules', async () => {
    clock.stop();
    const bridge = await makeBridge('br0', { failMode: 'secure' });
    const p1 = await addPort(bridge, 'p1');
    await addPort(bridge, 'p2');
    bridge.tables.flowMod(flowMod(inPort(1), [output(2)], { idleTimeout: 20 }), clock.nowMs());
    p1.receive(packet(1, 2));
    assert.equal(dpif.stats().flows, 1);
    await clock.warp(15_000, 500);
    await backer.revalidator.sweep();
    assert.equal(dpif.stats().flows, 0, 'idle for more than ten seconds');
    assert.equal(bridge.tables.tables[0].size, 1);
    p1.receive(packet(1, 2));
    await clock.warp(19_000, 500);
    await backer.revalidator.sweep();
    assert.equal(bridge.tables.tables[0].size, 1, 'the packet counted as use');
    await clock.warp(2_000, 500);
    await backer.revalidator.sweep();
    assert.equal(bridge.tables.tables[0].size, 0);
  });

  it('forgets megaflows of a port that is removed', async () => {
    const bridge = await makeBridge('br0', { failMode: 'secure' });
    const p1 = await addPort(bridge, 'p1');
    await addPort(bridge, 'p2');
    bridge.tables.flowMod(flowMod(new Match(), [output(2)]), clock.nowMs());
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), ['p2:1>2']);
    await bridge.portDel(2);
    await backer.inForce();
    p1.receive(packet(1, 2));
    assert.deepEqual(taken(), []);
  });
});
