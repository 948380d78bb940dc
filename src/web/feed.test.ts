import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Feed, type Listener, repeat } from './feed.ts';

test('a feed runs while somebody looks, once for all; who comes later hears all there is', () => {
  let opened = 0;
  let closed = 0;
  let tell: Listener = () => {};
  let now: string | undefined;
  const feed = new Feed((publish) => {
    opened++;
    tell = publish;
    return { snapshot: () => now, close: () => void closed++ };
  });
  const heard: string[][] = [[], []];
  const first = feed.subscribe((data) => heard[0].push(data as string));
  assert.equal(heard.flat().length, 0, 'nothing is known yet');
  tell((now = 'a'));
  const second = feed.subscribe((data) => heard[1].push(data as string));
  tell((now = 'b'));
  assert.equal(heard.map((list) => list.join()).join(' '), 'a,b a,b');
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.deepEqual([opened, closed, feed.isOpen], [1, 0, true]);
  second[Symbol.dispose]();
  assert.deepEqual([opened, closed, feed.isOpen], [1, 1, false]);
  feed.subscribe((data) => heard[0].push(data as string))[Symbol.dispose]();
  assert.deepEqual([opened, closed], [2, 2]);
  assert.equal(heard[0].join(), 'a,b,b', 'what is known at once is told once');
});

test('a turn that fails is tried again, and none begins after the end', async () => {
  let turns = 0;
  const failures: string[] = [];
  let goOn: () => void = () => {};
  const done = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const turning = repeat(
    { ms: 1 },
    async () => {
      turns++;
      if (turns === 2) goOn();
      if (turns === 1) throw new Error('gone');
    },
    (error) => failures.push(error.message),
  );
  await done;
  turning.close();
  const before = turns;
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(turns, before);
  assert.deepEqual(failures, ['gone']);
});
