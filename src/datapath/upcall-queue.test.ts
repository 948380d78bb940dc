import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Arena } from '../base/arena.ts';
import { UPCALL_KEY, UPCALL_PACKET } from './commands.ts';
import { byteSwap32 } from './extract.ts';
import { allocUpcalls, UpcallConsumer, UpcallProducer } from './upcall-queue.ts';

const WORDS = 1 << 16;

/** A queue whose records say which packet of their port they are. */
function queue() {
  const arena = new Arena(4 << 20);
  const { i32 } = arena;
  const places = allocUpcalls((bytes) => arena.alloc(bytes), WORDS);
  const producer = new UpcallProducer(arena, places);
  const consumer = new UpcallConsumer(arena, places);
  const sent = new Map<number, number>();
  return {
    send(port: number, bytes = 60): boolean {
      const at = producer.reserve(port, UPCALL_PACKET + ((bytes + 3) >> 2));
      if (at < 0) return false;
      const n = sent.get(port) ?? 0;
      sent.set(port, n + 1);
      i32[at + 1] = n;
      i32[at + 2] = bytes;
      i32[at + UPCALL_KEY] = byteSwap32(port);
      producer.commit();
      return true;
    },
    take(): { port: number; n: number } | null {
      const at = consumer.peek();
      if (at < 0) return null;
      const record = { port: byteSwap32(i32[at + UPCALL_KEY]), n: i32[at + 1] };
      consumer.release();
      return record;
    },
  };
}

test("a flood of one port keeps no other's packets waiting", () => {
  const q = queue();
  let flood = 0;
  while (q.send(1)) flood++;
  assert.ok(flood > 100 && flood < WORDS / UPCALL_PACKET, 'it may not have all the room');
  for (let i = 0; i < 10; i++) assert.ok(q.send(2), 'there is room for another');
  const order: number[] = [];
  for (let r = q.take(); r !== null; r = q.take()) order.push(r.port);
  assert.equal(order.length, flood + 10);
  assert.ok(order.indexOf(2) <= 33, `the other's first comes after ${order.indexOf(2)} of the flood`);
  assert.ok(order.lastIndexOf(2) <= 45);
});

test('two floods share the room', () => {
  const q = queue();
  const got = [0, 0];
  for (let i = 0; i < 4000; i++) if (q.send(1)) got[0]++;
  for (let i = 0; i < 4000; i++) if (q.send(2)) got[1]++;
  assert.ok(got[1] * 3 > got[0], `${got}`);
  while (q.take() !== null);
  assert.ok(q.send(1), 'what was taken is free again');
});

test('packets of a port stay in order, and none is lost, whatever the mix', () => {
  const step = fc.oneof(
    fc.record({ port: fc.integer({ min: 1, max: 3 }), n: fc.integer({ min: 1, max: 60 }) }),
    fc.record({ take: fc.integer({ min: 1, max: 80 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const q = queue();
      const next = new Map<number, number>();
      const sent = new Map<number, number>();
      const takeOne = (): boolean => {
        const r = q.take();
        if (r === null) return false;
        assert.equal(r.n, next.get(r.port) ?? 0);
        next.set(r.port, r.n + 1);
        return true;
      };
      for (const s of steps) {
        if ('port' in s)
          for (let i = 0; i < s.n; i++) if (q.send(s.port)) sent.set(s.port, (sent.get(s.port) ?? 0) + 1);
        if ('take' in s) for (let i = 0; i < s.take && takeOne(); i++);
      }
      while (takeOne());
      assert.deepEqual([...next].sort(), [...sent].sort());
    }),
    { numRuns: 50 },
  );
});
