import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Arena } from '../base/arena.ts';
import { FRAME_LEN } from '../packet/frame.ts';
import { drawFromMeter, MAX_BANDS, MeterTable } from './meter.ts';

const arena = new Arena(1 << 20);
const table = new MeterTable(arena);
const clockAt = arena.alloc(8) >> 3;
const frames = Int32Array.from({ length: 32 }, () => arena.alloc(64));

/** How many of `n` packets of `bytes` pass at `ms`. */
function draw(id: number, ms: number, n: number, bytes = 100): number {
  arena.f64[clockAt] = ms;
  for (const frame of frames) arena.i32[(frame >> 2) + FRAME_LEN] = bytes;
  const list = Int32Array.from({ length: n }, (_, i) => i);
  const dropped: number[] = [];
  const passed = drawFromMeter(arena, table.at(id), clockAt, frames, list, n, list, (frame) => dropped.push(frame));
  assert.equal(passed + dropped.length, n);
  assert.deepEqual(
    [...list.subarray(0, passed)]
      .map((i) => frames[i])
      .concat(dropped)
      .sort(),
    [...frames.subarray(0, n)].sort(),
  );
  return passed;
}

describe('meters', () => {
  it('lets a burst of a second pass, then the rate', () => {
    assert.ok(table.set(1, { isKbps: false, bands: [{ rate: 5, burst: 0 }] }, 1000));
    assert.equal(draw(1, 1000, 10), 5);
    assert.equal(draw(1, 1100, 10), 0);
    assert.equal(draw(1, 1200, 10), 1);
    assert.equal(draw(1, 9000, 10), 5, 'no more than the burst gathers');
    assert.deepEqual(table.counts(1), { packets: 40, bytes: 4000, bands: [{ packets: 29, bytes: 2900 }] });
  });

  it('counts kilobits', () => {
    assert.ok(table.set(2, { isKbps: true, bands: [{ rate: 8, burst: 16 }] }, 0));
    assert.equal(draw(2, 0, 30), 20);
    assert.equal(draw(2, 500, 30), 5);
  });

  it('charges a packet to the exceeded band of the highest rate', () => {
    const bands = [
      { rate: 1, burst: 1 },
      { rate: 3, burst: 3 },
      { rate: 2, burst: 2 },
    ];
    assert.ok(table.set(3, { isKbps: false, bands }, 0));
    assert.equal(draw(3, 0, 10), 1);
    assert.deepEqual(
      table.counts(3)?.bands.map((b) => b.packets),
      [1, 7, 1],
    );
  });

  it('takes time that runs backwards for standing still', () => {
    assert.ok(table.set(4, { isKbps: false, bands: [{ rate: 1, burst: 1 }] }, 5000));
    assert.equal(draw(4, 4000, 3), 1);
    assert.equal(draw(4, 5900, 3), 0);
    assert.equal(draw(4, 6000, 3), 1);
  });

  it('uses blocks again, which pass everything in between', () => {
    const bands = Array.from({ length: MAX_BANDS }, () => ({ rate: 1, burst: 1 }));
    assert.ok(table.set(5, { isKbps: false, bands }, 0));
    const at = table.at(5);
    table.delete(5);
    assert.equal(table.at(5), 0);
    assert.equal(table.counts(5), null);
    const list = Int32Array.of(0, 1, 2);
    assert.equal(
      drawFromMeter(arena, at, clockAt, frames, list, 3, list, () => assert.fail()),
      3,
    );
    assert.ok(table.set(6, { isKbps: false, bands }, 0));
    assert.equal(table.at(6), at);
    assert.deepEqual(table.counts(6)?.packets, 0);
  });
});
