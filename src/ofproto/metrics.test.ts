/** `metrics/show`: well-formed text, each series once, values that are so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../base/arena.ts';
import { runCommand } from '../base/commands.ts';
import { DpifNetdev } from '../dpif/netdev.ts';
import { DummyNetdev } from '../netdev/dummy.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { Backer } from './backer.ts';
import type { Bridge } from './bridge.ts';
import { registerMetrics } from './metrics.ts';

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
    const scrape = async (): Promise<Map<string, number>> => {
      const text = await runCommand('metrics/show', [], { format: 'text' });
      const series = new Map<string, number>();
      for (const line of text.split('\n')) {
        if (line === '' || /^# (HELP|TYPE) [a-z0-9_:]+ /.test(line)) continue;
        const found = /^([a-z0-9_]+(?:\{(?:[a-z_]+="[^"\n]*",?)+\})?) (\S+)$/.exec(line);
        assert.ok(found, line);
        assert.ok(!series.has(found[1]), `twice: ${found[1]}`);
        const value = found[2] === 'Nan' ? Number.NaN : Number(found[2]);
        series.set(found[1], value);
      }
      return series;
    };
    const packet = new Uint8Array(60);
    packet.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x12, 0x34]);
    for (let i = 0; i < 7; i++) netdev.receive(packet);
    const seen = await scrape();
    const value = (name: string, labels = ''): number | undefined =>
      seen.get(`signalbox_${name}{datapath="dummy@ovs-dummy"${labels}}`);
    assert.equal(value('port_packets_total', ',bridge="br0",port="p1",direction="rx"'), 7);
    assert.equal(value('port_bytes_total', ',bridge="br0",port="p1",direction="rx"'), 420);
    assert.equal(value('lookups_total', ',thread="main",answer="upcall"'), 1);
    assert.equal(value('drops_total', ',reason="flow-drop"'), 6);
    assert.equal(value('megaflows'), 1);
    assert.equal(value('upcall_seconds_count'), 1);
    assert.equal(seen.get('signalbox_upcall_seconds_bucket{le="+Inf",datapath="dummy@ovs-dummy"}'), 1);
    netdev.receive(packet);
    const again = await scrape();
    assert.equal(
      again.get('signalbox_drops_total{datapath="dummy@ovs-dummy",reason="flow-drop"}'),
      7,
      'counters go on',
    );
  } finally {
    await backer.close();
  }
});
