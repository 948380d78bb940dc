/** `metrics/show`: well-formed text, each series once, values that are so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../base/arena.ts';
import { runCommand } from '../base/commands.ts';
import { DpifNetdev } from '../dpif/netdev.ts';
import { DummyNetdev } from '../netdev/dummy.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { countMessage } from '../openflow/metrics.ts';
import { Backer } from './backer.ts';
import type { Bridge } from './bridge.ts';
import { registerMetrics } from './metrics.ts';

/** Series by name and labels, these in the order of their names. */
async function scrape(): Promise<Map<string, number>> {
  const text = await runCommand('metrics/show', [], { format: 'text' });
  const series = new Map<string, number>();
  const described = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const head = /^# (HELP|TYPE) ([a-z0-9_:]+) /.exec(line);
    if (head) {
      assert.ok(!described.has(`${head[1]} ${head[2]}`), `twice: ${line}`);
      described.add(`${head[1]} ${head[2]}`);
      continue;
    }
    const found = /^([a-z0-9_]+)(?:\{((?:[a-z_]+="[^"\n]*",?)+)\})? (\S+)$/.exec(line);
    assert.ok(found, line);
    const labels =
      found[2] === undefined
        ? ''
        : `{${found[2]
            .split(/,(?=[a-z_]+=")/)
            .sort()
            .join(',')}}`;
    const name = found[1] + labels;
    assert.ok(!series.has(name), `twice: ${name}`);
    series.set(name, found[3] === 'Nan' ? Number.NaN : Number(found[3]));
  }
  return series;
}

test('metrics are what was counted, in the format of Prometheus', async () => {
  const env: NetdevEnv = { arena: new Arena(64 << 20), frames: { at: 0, bytes: 0 }, byName: new Map() };
  const dpif = await DpifNetdev.create({ mode: 'main', name: 'ovs-dummy', type: 'dummy', env });
  const backer = new Backer('dummy', dpif);
  try {
    const bridge = backer.createBridge('br0', 'dummy') as Bridge;
    const netdev = new DummyNetdev('p1', env);
    assert.ok('ofport' in (await bridge.portAdd(netdev, null)));
    // No rule matches: packets are dropped, all but the first by the megaflow.
    bridge.config = { ...bridge.config, failMode: 'secure' };
    bridge.flushFlows();
    registerMetrics(() => [backer]);
    const packet = new Uint8Array(60);
    packet.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x12, 0x34]);
    for (let i = 0; i < 7; i++) netdev.receive(packet);
    countMessage('rx', 'flow_mod');
    await backer.revalidator.sweep();
    const seen = await scrape();
    const dp = 'datapath="dummy@ovs-dummy"';
    const value = (name: string, labels: string): number | undefined => seen.get(`signalbox_${name}{${labels}}`);
    assert.equal(value('port_packets_total', `bridge="br0",${dp},direction="rx",port="p1"`), 7);
    assert.equal(value('port_bytes_total', `bridge="br0",${dp},direction="rx",port="p1"`), 420);
    assert.equal(value('port_up', `bridge="br0",${dp},port="p1"`), 1);
    assert.equal(value('lookups_total', `answer="upcall",${dp},thread="main"`), 1);
    assert.equal(value('drops_total', `${dp},reason="flow-drop"`), 6);
    assert.equal(value('megaflows', dp), 1);
    assert.equal(value('upcall_seconds_count', dp), 1);
    assert.equal(value('upcall_seconds_bucket', `${dp},le="+Inf"`), 1);
    assert.equal(value('revalidator_sweep_seconds_count', dp), 1);
    assert.equal(value('revalidator_flows_total', `${dp},what="removed_idle"`), 0);
    assert.equal(value('conntrack_connections', dp), 0);
    assert.equal(value('arena_bytes', dp), 64 << 20);
    assert.ok((value('arena_used_bytes', dp) ?? 0) > 1 << 20);
    assert.equal(value('rules', `bridge="br0",${dp}`), [...bridge.tables].length);
    assert.equal(value('openflow_messages_total', 'direction="rx",type="flow_mod"'), 1);
    assert.equal(value('events_total', 'event="xlate_actions"'), 1);
    assert.ok(seen.has('signalbox_nodejs_eventloop_lag_p99_seconds'), 'stalls of the event loop');
    assert.ok(seen.has('signalbox_nodejs_heap_size_used_bytes'));
    netdev.receive(packet);
    const again = await scrape();
    assert.equal(again.get(`signalbox_drops_total{${dp},reason="flow-drop"}`), 7, 'counters go on');
  } finally {
    await backer.close();
  }
});
