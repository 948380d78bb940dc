/** `top/show` over a simulated datapath: rates are what passed between two looks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../base/arena.ts';
import { runCommand } from '../base/commands.ts';
import { DpifNetdev } from '../dpif/netdev.ts';
import { DummyNetdev } from '../netdev/dummy.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { parseFlowMod } from '../openflow/flow-text.ts';
import { Backer } from './backer.ts';
import type { Bridge } from './bridge.ts';
import { registerTop, type TopView } from './top.ts';

function udp(dst: number): Uint8Array {
  const p = new Uint8Array(60);
  p.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
  p.set([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, dst], 14);
  p.set([0, 1, 0, 1, 0, 26, 0, 0], 34);
  return p;
}

test('rates, the busiest first, the idle left out', async () => {
  const env: NetdevEnv = { arena: new Arena(64 << 20), frames: { at: 0, bytes: 0 }, byName: new Map() };
  const dpif = await DpifNetdev.create({ mode: 'main', name: 'ovs-dummy', type: 'dummy', env });
  const backer = new Backer('dummy', dpif);
  try {
    const bridge = backer.createBridge('br0', 'dummy') as Bridge;
    const [p1] = await Promise.all(
      ['p1', 'p2'].map(async (name) => {
        const netdev = new DummyNetdev(name, env);
        assert.ok('ofport' in (await bridge.portAdd(netdev, null)));
        return netdev;
      }),
    );
    bridge.flushFlows();
    for (const text of [
      'priority=9,udp,nw_dst=10.0.0.2,actions=output:2',
      'priority=8,udp,nw_dst=10.0.0.3,actions=drop',
    ]) {
      const parsed = parseFlowMod(text, 'add');
      assert.ok(parsed.ok);
      bridge.tables.flowMod(parsed.flow, 0);
    }
    p1.receive(udp(2));
    registerTop(() => [backer]);
    const looking = runCommand('top/show', ['--seconds=0.1', '--lines=2'], { format: 'text' });
    for (let i = 0; i < 30; i++) p1.receive(udp(2));
    for (let i = 0; i < 10; i++) p1.receive(udp(3));
    const view = JSON.parse(await looking) as TopView;
    const [dp] = view.datapaths;
    const packets = (rate: number): number => Math.round(rate * view.seconds);
    assert.deepEqual(
      dp.rules.map((r) => [packets(r.packets), r.bridge, r.table, r.rule, r.actions]),
      [
        [30, 'br0', 0, 'priority=9,udp,nw_dst=10.0.0.2', 'output:p2'],
        [10, 'br0', 0, 'priority=8,udp,nw_dst=10.0.0.3', 'drop'],
      ],
    );
    assert.equal(dp.n_megaflows, 2);
    assert.equal(dp.megaflows[0].actions, 'p2');
    const [pmd] = dp.pmds;
    assert.deepEqual([packets(pmd.packets), packets(pmd.upcall), packets(pmd.lookups)], [40, 1, 40]);
    assert.equal(pmd.load, null);
    const port = dp.ports.find((p) => p.name === 'p1');
    assert.deepEqual([packets(port?.rx_packets ?? 0), packets(port?.rx_bytes ?? 0)], [40, 2400]);
  } finally {
    await backer.close();
  }
});
