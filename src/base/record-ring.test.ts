import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { Arena } from './arena.ts';
import { RecordRing, ringBytes } from './record-ring.ts';

const WORDS = 64;

describe('RecordRing', () => {
  it('is a queue of bounded size', () => {
    const arena = new Arena(1 << 16);
    const at = arena.alloc(ringBytes(WORDS));
    const producer = new RecordRing(arena, at, WORDS, 'producer');
    const consumer = new RecordRing(arena, at, WORDS, 'consumer');
    const model: number[][] = [];
    let next = 0;
    const step = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant(0));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        for (const length of steps) {
          if (length > 0) {
            const used = model.reduce((n, r) => n + r.length + 1, 0);
            const place = producer.reserve(length);
            // It may refuse only when the record does not fit, the rests skipped at the end (now and before) counted.
            if (place < 0) {
              assert.ok(used + 2 * (length + 1) + 20 > WORDS);
              continue;
            }
            const record = Array.from({ length }, () => next++ | 0);
            arena.i32.set(record, place);
            producer.commit();
            model.push(record);
          } else {
            const place = consumer.peek();
            const expected = model.shift();
            if (!expected) assert.equal(place, -1);
            else {
              assert.deepEqual([...arena.i32.subarray(place, place + expected.length)], expected);
              consumer.release();
            }
          }
        }
      }),
    );
  });

  it('carries records between threads whole and in order', async () => {
    const arena = new Arena(1 << 16);
    const at = arena.alloc(ringBytes(WORDS));
    const consumer = new RecordRing(arena, at, WORDS, 'consumer');
    const N = 5_000;
    const source = `
      const { workerData } = require('node:worker_threads');
      (async () => {
        const { Arena } = await import(workerData.arena);
        const { RecordRing } = await import(workerData.ring);
        const arena = new Arena(workerData.memory);
        const ring = new RecordRing(arena, workerData.at, ${WORDS}, 'producer');
        for (let i = 0; i < ${N}; ) {
          const length = 1 + (i % 13);
          const place = ring.reserve(length);
          if (place < 0) continue;
          for (let w = 0; w < length; w++) arena.i32[place + w] = i * 16 + w;
          ring.commit();
          i++;
        }
      })();`;
    const worker = new Worker(source, {
      eval: true,
      workerData: {
        memory: arena.memory,
        at,
        arena: new URL('./arena.ts', import.meta.url).href,
        ring: new URL('./record-ring.ts', import.meta.url).href,
      },
    });
    const failed = new Promise<never>((_, reject) => worker.once('error', reject));
    const received = (async () => {
      for (let i = 0; i < N; ) {
        const place = consumer.peek();
        if (place < 0) {
          await new Promise((resolve) => setImmediate(resolve));
          continue;
        }
        for (let w = 0; w < 1 + (i % 13); w++) assert.equal(arena.i32[place + w], i * 16 + w);
        consumer.release();
        i++;
      }
    })();
    await Promise.race([received, failed]);
    assert.equal(consumer.peek(), -1);
    await worker.terminate();
  });
});
