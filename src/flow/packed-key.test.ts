import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { FlowKey } from './key.ts';
import { FLOW_WORDS } from './layout.ts';
import { packKey, unpackKey } from './packed-key.ts';

it('a packed key is the key again', () => {
  const words = fc.array(fc.tuple(fc.nat(FLOW_WORDS - 1), fc.integer()), { maxLength: 40 });
  const into = new FlowKey();
  fc.assert(
    fc.property(words, (list) => {
      const key = new FlowKey();
      for (const [w, value] of list) key.w[w] = value;
      assert.ok(unpackKey(packKey(key)).equals(key));
      assert.ok(unpackKey(packKey(key), into).equals(key));
    }),
  );
});
