import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MacLearning, macKey } from './mac-learning.ts';

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';

const table = (size = 8192): MacLearning<string> => {
  const macs = new MacLearning<string>();
  macs.configure(300, size, [], 0);
  return macs;
};

test('an address is found where it was seen last, in its VLAN only', () => {
  const macs = table();
  assert.equal(macs.learn(A, 5, 'p1', false, false, 0), true);
  assert.equal(macs.learn(A, 5, 'p1', false, false, 10), false);
  assert.equal(macs.lookup(A, 5, 20)?.port, 'p1');
  assert.equal(macs.lookup(A, 6, 20), null);
  assert.equal(macs.learn(A, 5, 'p2', false, false, 30), true);
  assert.equal(macs.lookup(A, 5, 40)?.port, 'p2');
  assert.deepEqual([macs.stats.learned, macs.stats.moved], [1, 1]);
});

test('multicast sources and flood VLANs are never learned', () => {
  const macs = table();
  macs.configure(300, 8192, [9], 0);
  assert.equal(macs.learn('01:00:00:00:00:01', 1, 'p1', false, false, 0), false);
  assert.equal(macs.learn(A, 9, 'p1', false, false, 0), false);
  assert.equal(macs.size, 0);
});

test('entries age from their last use; static ones stay', () => {
  const macs = table();
  macs.learn(A, 0, 'p1', false, false, 0);
  macs.addStatic(B, 0, 'p2');
  macs.learn(A, 0, 'p1', false, false, 200_000);
  macs.run(400_000);
  assert.equal(macs.lookup(A, 0, 400_000)?.port, 'p1');
  assert.equal(macs.lookup(A, 0, 500_001), null);
  macs.run(500_001);
  assert.equal(macs.size, 1);
  assert.equal(macs.lookup(B, 0, 9e9)?.port, 'p2');
  assert.equal(macs.learn(B, 0, 'p1', false, false, 1), false);
});

test('a full table takes room from the port that has most', () => {
  const macs = table(10);
  for (let i = 0; i < 8; i++) macs.learn(`02:00:00:00:01:0${i}`, 0, 'noisy', false, false, i);
  macs.learn(A, 0, 'quiet', false, false, 1);
  macs.learn(B, 0, 'quiet', false, false, 2);
  for (let i = 0; i < 9; i++) macs.learn(`02:00:00:00:02:0${i}`, 0, 'noisy', false, false, 20 + i);
  assert.equal(macs.size, 10);
  assert.equal(macs.lookup(A, 0, 50)?.port, 'quiet');
  assert.equal(macs.lookup(B, 0, 50)?.port, 'quiet');
});

test('a gratuitous ARP holds its address against reflections for five seconds', () => {
  const macs = table();
  macs.learn(A, 0, 'p1', true, false, 0);
  assert.equal(macs.learn(A, 0, 'p2', false, false, 4999), false);
  assert.equal(macs.lookup(A, 0, 4999)?.port, 'p1');
  assert.equal(macs.learn(A, 0, 'p2', false, false, 5001), true);
});

test('changes that move packets are told, refreshes are not', () => {
  const macs = table();
  let changes = 0;
  macs.onChange = () => {
    changes++;
  };
  macs.learn(A, 0, 'p1', false, false, 0);
  macs.learn(A, 0, 'p1', false, false, 1);
  assert.equal(changes, 1);
  macs.removePort('p1');
  assert.equal(changes, 2);
  assert.equal(macs.size, 0);
});

test('a change says which address it concerns, so that only flows that asked for it are looked at', () => {
  const macs = table();
  const keys: (string | null)[] = [];
  macs.onChange = (key) => keys.push(key);
  macs.learn(A, 7, 'p1', false, false, 0);
  macs.learn(A, 7, 'p2', false, false, 1);
  macs.delete(A, 7);
  assert.deepEqual(keys, [macKey(A, 7), macKey(A, 7), macKey(A, 7)]);
  macs.flush();
  assert.equal(keys.at(-1), null);
});
