import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reconnect } from './reconnect.ts';

function machine(probeIntervalMs = 5000): Reconnect {
  const fsm = new Reconnect({ name: 'test', quiet: true, probeIntervalMs }, 0);
  fsm.enable(0);
  return fsm;
}

test('connects at once, and backs off 1, 2, 4, 8, 8 seconds after failures', () => {
  const fsm = new Reconnect({ name: 'test', quiet: true }, 1);
  fsm.enable(1);
  const waits: number[] = [];
  let now = 1;
  for (let i = 0; i < 6; i++) {
    waits.push(fsm.timeoutMs(now));
    assert.equal(fsm.run(now + waits[i] - 0.5), null);
    now += waits[i];
    assert.equal(fsm.run(now), 'connect');
    fsm.connecting(now);
    assert.equal(fsm.state, 'CONNECTING');
    fsm.disconnected(now, 'Connection refused');
  }
  assert.deepEqual(waits, [0, 1000, 2000, 4000, 8000, 8000]);
  assert.equal(fsm.lastError, 'Connection refused');
  assert.equal(fsm.attempts, 6);
});

test('an attempt that hangs is given up', () => {
  const fsm = machine();
  fsm.connecting(0);
  assert.equal(fsm.run(999), null);
  assert.equal(fsm.run(1000), 'disconnect');
});

test('an idle connection is probed, and dropped when the probe stays unanswered', () => {
  const fsm = machine();
  fsm.connecting(0);
  fsm.connected(0);
  assert.equal(fsm.run(4999), null);
  assert.equal(fsm.run(5000), 'probe');
  assert.equal(fsm.state, 'IDLE');
  fsm.activity(6000);
  assert.equal(fsm.state, 'ACTIVE');
  assert.equal(fsm.run(10_999), null);
  assert.equal(fsm.run(11_000), 'probe');
  assert.equal(fsm.run(15_999), null);
  assert.equal(fsm.run(16_000), 'disconnect');
  fsm.disconnected(16_000, 'Connection timed out');
  assert.equal(fsm.timeoutMs(16_000), 0, 'a connection that lasted is made again at once');
});

test('without a probe interval an idle connection lasts', () => {
  const fsm = machine(0);
  fsm.connecting(0);
  fsm.connected(0);
  assert.equal(fsm.timeoutMs(0), Number.POSITIVE_INFINITY);
  assert.equal(fsm.run(1e9), null);
});

test('a peer that accepts and drops at once is not hammered', () => {
  const fsm = machine();
  const waits: number[] = [];
  let now = 0;
  for (let i = 0; i < 4; i++) {
    fsm.connecting(now);
    fsm.connected(now);
    fsm.disconnected(now, null);
    waits.push(fsm.timeoutMs(now));
    now += waits[i];
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000]);
});

test('force makes a connected one anew at once', () => {
  const fsm = machine();
  fsm.connecting(0);
  fsm.connected(0);
  fsm.force(10);
  assert.equal(fsm.run(10), 'disconnect');
  fsm.disconnected(10, null);
  assert.equal(fsm.run(10), 'connect');
});
