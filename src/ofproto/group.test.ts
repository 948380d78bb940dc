import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { bucketTable } from './group.ts';

const weighted = (...weights: number[]) => weights.map((weight) => ({ weight }));

describe('the table of a select group', () => {
  it('spreads buckets by their weights', () => {
    assert.deepEqual(bucketTable(weighted(1, 1), 64), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    assert.deepEqual(bucketTable(weighted(2, 1), 64)?.slice(0, 8), [0, 1, 0, 0, 1, 0, 0, 1]);
  });

  it('is not made when it would be long, or of nothing', () => {
    assert.equal(bucketTable(weighted(1000, 1), 256), null);
    assert.equal(bucketTable(weighted(0, 0), 256), null);
    assert.equal(bucketTable([], 256), null);
    assert.equal(
      bucketTable(weighted(0, 5), 64)?.every((i) => i === 1),
      true,
    );
  });

  it('gives each bucket nearly its share', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 10 }), (weights) => {
        const table = bucketTable(weighted(...weights), 256);
        if (!table) return;
        const total = weights.reduce((a, b) => a + b, 0);
        weights.forEach((w, i) => {
          const places = table.filter((b) => b === i).length;
          assert.ok(Math.abs(places - (table.length * w) / total) <= 2, `${weights} at ${i}: ${places}`);
        });
      }),
    );
  });
});
