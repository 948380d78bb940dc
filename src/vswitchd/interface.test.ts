import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../base/arena.ts';
import type { InterfaceSpec } from './config.ts';
import { Interface } from './interface.ts';

test('an MTU that a device refuses is asked for once, another one again', () => {
  const spec: InterfaceSpec = {
    row: null,
    name: 'p1',
    type: 'dummy',
    options: new Map(),
    ofportRequest: null,
    lastOfport: null,
    mac: null,
    mtuRequest: 40,
  };
  const iface = new Interface(
    spec,
    { arena: new Arena(1 << 23), frames: { at: 0, bytes: 0 }, byName: new Map() },
    () => {},
  );
  const netdev = iface.open((type) => type);
  assert.ok(netdev);
  const asked: number[] = [];
  const setMtu = netdev.setMtu.bind(netdev);
  netdev.setMtu = (mtu) => {
    asked.push(mtu);
    return setMtu(mtu);
  };
  const apply = (mtuRequest: number | null): void => {
    iface.spec = { ...spec, mtuRequest };
    iface.configure(null, null);
  };
  for (const mtu of [40, 40, 41, 41, 1400, 1400, 40, null, 40]) apply(mtu);
  assert.deepEqual(asked, [40, 41, 1400, 40, 40]);
  iface.close();
});
