/** Three threads in one table at once. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Arena } from '../../base/arena.ts';
import { Conntrack } from './host.ts';
import type { RaceData } from './race-run.ts';

it('threads that make and remove connections of the same zones lose none', { timeout: 30_000 }, async () => {
  const arena = new Arena(64 << 20);
  const conntrack = new Conntrack(arena, () => 1000);
  const made = await Promise.all(
    [11, 22, 33].map((seed) => {
      const data: RaceData = {
        memory: arena.memory,
        at: conntrack.at,
        scratch: arena.alloc(256) >> 2,
        seed,
        steps: 200_000,
      };
      const worker = new Worker(new URL('./race-run.ts', import.meta.url), { workerData: data });
      return new Promise<number>((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
    }),
  );
  const left = made.reduce((a, b) => a + b, 0);
  assert.ok(left > 0);
  assert.equal(conntrack.count, left);
  const seen = conntrack.connections();
  assert.equal(seen.length, left);
  assert.equal(new Set(seen.map((c) => `${c.zone} ${c.original.src} ${c.original.dst}`)).size, left, 'each once');
  assert.equal(conntrack.flush(null), left);
  assert.equal(conntrack.count, 0);
  conntrack.close();
});
