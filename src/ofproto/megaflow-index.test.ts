import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FlowKey } from '../flow/key.ts';
import { HOT_WORDS, OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { MegaflowIndex, scopeOf } from './megaflow-index.ts';
import { Rule } from './rule.ts';
import { FlowTables } from './tables.ts';
import { Ukey } from './ukey.ts';
import type { XlateBridge, XlateResult } from './xlate/types.ts';

const tables = new FlowTables();
const [t0, t1] = tables.tables;

function ukey(key: FlowKey, mask: FlowKey, looked = [t0]): Ukey {
  const effects = looked.map((table) => ({ kind: 'table', table, matched: true }) as const);
  const result: XlateResult = {
    actions: [],
    mask,
    finalFlow: key,
    effects,
    slow: 0,
    error: 'OK',
    hasNormal: false,
  };
  return new Ukey(key, {} as XlateBridge, result, 0);
}

/** Few values, so that chance meetings happen. */
const words = fc.array(fc.tuple(fc.nat(OFS.tp_src >> 2), fc.nat(3)), { maxLength: 6 });

function keyOf(list: readonly (readonly [number, number])[]): FlowKey {
  const key = new FlowKey();
  for (const [i, value] of list) key.w[i] = value;
  return key;
}

test('a megaflow is ruled out only if it and the rule have no packet in common', () => {
  fc.assert(
    fc.property(words, words, words, words, (key, mask, ruleKey, ruleMask) => {
      const match = new Match(keyOf(ruleKey), keyOf(ruleMask));
      for (let i = 0; i < HOT_WORDS; i++) match.key.w[i] &= match.mask.w[i];
      const rule = new Rule({ match, priority: 1, table: 0, actions: [], nowMs: 0 });
      const one = ukey(keyOf(key), keyOf(mask));
      // Not looked at means that a packet may have anything there.
      one.key.w[1] = 0;
      const index = new MegaflowIndex(1);
      for (let i = 0; i < 3; i++) index.add(ukey(new FlowKey(), new FlowKey()));
      index.add(one);
      const megaflow = new Match(one.key, one.mask);
      assert.equal(index.mayMeet(one.slot, rule), megaflow.overlaps(match));
    }),
  );
});

test('only megaflows of a single lookup belong to a table', () => {
  const index = new MegaflowIndex(1);
  const single = ukey(new FlowKey(), new FlowKey(), [t0]);
  const twice = ukey(new FlowKey(), new FlowKey(), [t0, t0]);
  const two = ukey(new FlowKey(), new FlowKey(), [t0, t1]);
  for (const one of [single, twice, two]) index.add(one);
  assert.notEqual(scopeOf(t0), scopeOf(t1));
  assert.equal(index.scopeAt(single.slot), scopeOf(t0));
  assert.equal(index.scopeAt(twice.slot), 0);
  assert.equal(index.scopeAt(two.slot), 0);
});
