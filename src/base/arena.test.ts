import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from './arena.ts';

test('two views of one arena never hand out the same memory', () => {
  const first = new Arena(1 << 20);
  const frames = first.alloc(8192, 4096);
  const second = new Arena(first.memory);
  const theirs = second.alloc(100);
  const ours = first.alloc(100);
  assert.equal(frames, 4096);
  assert.ok(theirs >= frames + 8192);
  assert.ok(ours >= theirs + 128);
  assert.equal(first.used, second.used);
});

test('a full arena says so, and what is given back is handed out again, zeroed', () => {
  const arena = new Arena(65536);
  const at = arena.alloc(60000);
  assert.equal(arena.alloc(10000), -1);
  arena.u8[at + 5] = 7;
  arena.free(at, 60000);
  assert.equal(arena.alloc(60000), at);
  assert.equal(arena.u8[at + 5], 0);
});
