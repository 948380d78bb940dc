import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refillPolicer, setPolicer, takeFromPolicer } from './policer.ts';

const AT = 4;

function policer(kbitsRate: number, kbitsBurst: number, kpktsRate = 0, kpktsBurst = 0): Int32Array {
  const i32 = new Int32Array(32);
  setPolicer(i32, AT, { kbitsRate, kbitsBurst, kpktsRate, kpktsBurst });
  return i32;
}

/** Packets of `bytes` that pass when `each` are offered in each of `ms` milliseconds. */
function passing(i32: Int32Array, bytes: number, each: number, ms: number): number {
  let n = 0;
  for (let t = 1; t <= ms; t++) {
    refillPolicer(i32, AT, t);
    for (let i = 0; i < each; i++) if (takeFromPolicer(i32, AT, bytes)) n++;
  }
  return n;
}

test('bits: a burst, then the rate', () => {
  // 8 Mbit/s are 1000 packets of 1000 bytes a second; the burst is 100 of them.
  const n = passing(policer(8000, 800), 1000, 10, 1000);
  assert.ok(Math.abs(n - 1100) <= 2, `${n}`);
});

test('packets, whatever their size', () => {
  const n = passing(policer(0, 0, 1, 1), 9000, 10, 1000);
  assert.ok(Math.abs(n - 2000) <= 2, `${n}`);
});

test('without a limit nothing is on; a bucket never holds more than its burst', () => {
  assert.equal(policer(0, 0)[AT], 0);
  const i32 = policer(8000, 8);
  refillPolicer(i32, AT, 1_000_000);
  assert.ok(takeFromPolicer(i32, AT, 1000));
  assert.equal(takeFromPolicer(i32, AT, 1000), false);
});
