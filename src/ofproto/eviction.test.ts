import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { parseSubfield } from '../flow/subfield.ts';
import { evictable } from './eviction.ts';
import { Rule } from './rule.ts';

const rule = (port: number, priority: number, idleTimeout: number, importance = 0): Rule => {
  const match = new Match();
  match.key.set32(OFS.in_port, port);
  match.mask.set32(OFS.in_port, 0xffffffff);
  return new Rule({ match, priority, table: 0, actions: [], nowMs: 0, idleTimeout, importance });
};
const inPort = parseSubfield('in_port[]');
assert.ok(inPort.ok);
const byPort = [inPort.subfield];

test('the largest group gives up its least important rule, then the one that ends soonest', () => {
  const alone = rule(1, 1, 5);
  const many = [rule(2, 1, 60), rule(2, 2, 50), rule(2, 3, 10, 7)];
  assert.equal(evictable([alone, ...many], byPort, 0), many[1]);
  assert.equal(evictable([alone, ...many], [], 0), alone);
  many[1].usedMs = 40_000;
  assert.equal(evictable([alone, ...many], byPort, 0), many[0]);
});

test('rules without timeouts stay, and fill no group', () => {
  const forever = [rule(1, 1, 0), rule(1, 2, 0), rule(1, 3, 0)];
  const mortal = rule(2, 1, 10);
  assert.equal(evictable([...forever, mortal], byPort, 0), mortal);
  assert.equal(evictable(forever, byPort, 0), null);
});
