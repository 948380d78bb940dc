import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Clock } from './clock.ts';

test('timers fire in order of their due time, and of their making when that is equal', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 })), fc.array(fc.nat(60)), (delays, cancelled) => {
      const clock = new Clock();
      clock.stop();
      const fired: number[] = [];
      const timers = delays.map((ms, i) => clock.setTimeout(() => fired.push(i), ms));
      for (const i of cancelled) timers[i]?.[Symbol.dispose]();
      clock.step(50);
      const expected = delays
        .map((ms, i) => ({ ms, i }))
        .filter(({ i }) => !cancelled.includes(i))
        .sort((a, b) => a.ms - b.ms || a.i - b.i)
        .map(({ i }) => i);
      assert.deepEqual(fired, expected);
    }),
  );
});

test('a stopped clock moves only by warps; an interval runs once a step', async () => {
  const clock = new Clock();
  clock.stop();
  const start = clock.nowMs();
  const ticks: number[] = [];
  clock.setInterval(() => ticks.push(clock.nowMs() - start), 1000);
  await new Promise((resolve) => setTimeout(resolve, 15));
  assert.equal(clock.nowMs(), start);
  await clock.warp(3000, 500);
  await clock.warp(2500);
  assert.deepEqual(ticks, [1000, 2000, 3000, 5500]);
  assert.equal(clock.nowMs() - start, 5500);
});

test('timers may make and cancel timers, and one that throws does not lose the others', () => {
  const clock = new Clock();
  clock.stop();
  const fired: string[] = [];
  const doomed = clock.setTimeout(() => fired.push('cancelled'), 20);
  clock.setTimeout(() => {
    fired.push('first');
    doomed[Symbol.dispose]();
    clock.setTimeout(() => fired.push('nested'), 5);
  }, 10);
  clock.setTimeout(() => {
    throw new Error('mistake');
  }, 15);
  clock.setTimeout(() => fired.push('last'), 20);
  assert.throws(() => clock.step(20), /mistake/);
  assert.deepEqual(fired, ['first']);
  clock.step(5);
  assert.deepEqual(fired, ['first', 'last', 'nested']);
});

test('running time drives timers, and goes on from where it stopped', async () => {
  const clock = new Clock();
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    clock.setTimeout(() => {
      order.push('b');
      resolve();
    }, 12);
    clock.setTimeout(() => order.push('a'), 3);
  });
  assert.deepEqual(order, ['a', 'b']);
  const before = clock.nowMs();
  await clock.warp(10_000);
  clock.resume();
  await clock.sleep(2);
  assert.ok(clock.nowMs() - before >= 10_002 && clock.nowMs() - before < 12_000);
});
