import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readGroupMessage } from '../packet/igmp.ts';
import { McastSnooping } from './mcast-snooping.ts';

const members = (m: McastSnooping<string>, group: string, vlan = 0): string[] =>
  m.lookup(group, vlan)?.members.map(({ port }) => port) ?? [];

test('members come, refresh and age; only what moves packets is told', () => {
  const m = new McastSnooping<string>();
  let changes = 0;
  m.onChange = () => changes++;
  m.configure(60, 100, true);
  assert.ok(m.join('225.0.0.1', 0, 'a', 0));
  assert.ok(m.join('225.0.0.1', 0, 'b', 1000));
  assert.ok(!m.join('225.0.0.1', 0, 'a', 30_000));
  assert.equal(changes, 2);
  assert.deepEqual(members(m, '225.0.0.1'), ['a', 'b']);
  assert.deepEqual(members(m, '225.0.0.1', 5), []);
  m.run(62_000);
  assert.deepEqual(members(m, '225.0.0.1'), ['a']);
  m.run(91_000);
  assert.equal(m.lookup('225.0.0.1', 0), undefined);
  assert.equal(changes, 4);
});

test('a port with a router behind it joins nothing', () => {
  const m = new McastSnooping<string>();
  assert.ok(m.heardQuery(0, 'r', 0));
  assert.ok(!m.join('225.0.0.1', 0, 'r', 0));
  assert.ok(m.join('225.0.0.1', 7, 'r', 0));
  m.run(179_000);
  assert.equal(m.routers.length, 1);
  m.run(181_000);
  assert.equal(m.routers.length, 0);
});

test('a full table forgets the group heard of longest ago', () => {
  const m = new McastSnooping<string>();
  m.configure(300, 10, true);
  for (let i = 0; i < 12; i++) m.join(`225.0.0.${i}`, 0, 'a', i);
  assert.equal([...m.groups()].length, 10);
  assert.equal(m.lookup('225.0.0.1', 0), undefined);
  m.removePort('a');
  assert.equal([...m.groups()].length, 0);
});

test('no bytes harm the reader of membership messages', () => {
  const heads = ['01005e01020302000000000108004600', '3333000000160200000000018', '33330000001602000000000186dd60'];
  fc.assert(
    fc.property(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 120 }), (head, bytes) => {
      const frame = Uint8Array.from([...Buffer.from(head, 'hex'), ...bytes]);
      const message = readGroupMessage(frame);
      assert.ok(message === null || typeof message.type === 'string');
    }),
    { numRuns: 2000 },
  );
});
