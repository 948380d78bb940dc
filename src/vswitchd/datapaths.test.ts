import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../base/arena.ts';
import { Datapaths, type DummyMode } from './datapaths.ts';

function datapaths(dummy: DummyMode): Datapaths {
  return new Datapaths(dummy, { arena: new Arena(1 << 20), frames: { at: 0, bytes: 0 }, byName: new Map() });
}

test('simulated devices are there only when asked for', () => {
  const none = datapaths('none');
  assert.equal(none.mapInterfaceType('dummy'), null);
  assert.deepEqual(none.interfaceTypes(['dummy', 'tap']), ['tap']);
  assert.equal(none.mapInterfaceType(''), 'system');
  assert.equal(datapaths('plain').mapInterfaceType('dummy'), 'dummy');
  assert.equal(datapaths('system').mapInterfaceType(''), 'dummy');
  const all = datapaths('override');
  assert.deepEqual(
    ['', 'tap', 'patch', 'null'].map((type) => all.mapInterfaceType(type)),
    ['dummy', 'dummy', 'patch', 'null'],
  );
});
