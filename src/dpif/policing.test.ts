/** Policing of what dummy ports receive and send, and queues of one port over several simulated PMDs. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Arena } from '../base/arena.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { simulateCpus } from '../linux/cpus.ts';
import { type DummyNetdev, dummyPmdKind } from '../netdev/dummy.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { FRAME_SIZE } from '../packet/frame.ts';
import { createDpif, type DpifNetdev } from './netdev.ts';

const PACKET = new Uint8Array(1014).fill(1);
PACKET.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);

let dpif: DpifNetdev;
const devices: DummyNetdev[] = [];
let sent: Uint8Array[] = [];

before(async () => {
  simulateCpus('0,0');
  const arena = new Arena(96 << 20);
  const bytes = 1024 * FRAME_SIZE;
  const env: NetdevEnv = { arena, frames: { at: arena.alloc(bytes, 4096), bytes }, byName: new Map() };
  dpif = await createDpif({ mode: 'main', name: 'police', type: 'dummy', env });
  for (const name of ['p1', 'p2']) {
    const device = dummyPmdKind.open(name, env) as DummyNetdev;
    device.setConfig(new Map([['n_rxq', '2']]));
    devices.push(device);
    assert.ok(!('error' in (await dpif.portAdd(device, null))));
  }
  devices[1].onTransmit((packet) => sent.push(packet));
  const key = new FlowKey();
  const mask = new FlowKey();
  key.set32(OFS.in_port, 1);
  mask.set32(OFS.in_port, 0xffffffff);
  assert.ok(dpif.flowPut(key, mask, [{ kind: 'output', port: 2 }], -1, null));
});

after(() => dpif.close());

function passing(count: number): number {
  sent = [];
  for (let i = 0; i < count; i++) devices[0].receive(PACKET, i & 1);
  return sent.length;
}

test('without limits all pass', () => assert.equal(passing(50), 50));

test('ingress policing lets a burst pass, on all queues together', () => {
  devices[0].setPolicing({ kbitsRate: 1, kbitsBurst: 82, kpktsRate: 0, kpktsBurst: 0 });
  const n = passing(50);
  assert.ok(n >= 10 && n <= 12, `${n}`);
  devices[0].setPolicing({ kbitsRate: 0, kbitsBurst: 0, kpktsRate: 0, kpktsBurst: 0 });
  assert.equal(passing(50), 50);
});

test('an egress policer counts bytes of IP packets', () => {
  const details = new Map([
    ['cir', '100'],
    ['cbs', '10000'],
  ]);
  devices[1].qos.set({ type: 'egress-policer', details, queues: new Map() });
  assert.deepEqual(devices[1].qos.details(), [
    ['cir', 100],
    ['cbs', 10000],
  ]);
  const n = passing(50);
  assert.ok(n >= 10 && n <= 11, `${n}`);
  devices[1].qos.set(null);
  assert.equal(devices[1].qos.type, '');
  assert.equal(passing(50), 50);
});

test('queues are spread over the PMDs of the mask', async () => {
  dpif.configure(new Map([['pmd-cpu-mask', '3']]));
  await new Promise((resolve) => setImmediate(resolve));
  const view = dpif.rxQueues(12);
  assert.deepEqual(
    view.map((pmd) => pmd.rxqs.length),
    [2, 2],
  );
  assert.equal(passing(50), 25, 'the new PMD has no flow yet');
});
