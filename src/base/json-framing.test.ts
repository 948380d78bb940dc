import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonFramer } from './json-framing.ts';

function frame(chunks: Uint8Array[], limits?: { maxBytes: number; maxDepth: number }) {
  const framer = new JsonFramer(limits);
  const out: string[] = [];
  let error: string | null = null;
  for (const chunk of chunks) {
    error = framer.push(chunk, (bytes) => out.push(Buffer.from(bytes).toString()));
    if (error) break;
  }
  return { out, error, pending: framer.pendingBytes };
}

test('any sequence of objects is cut at their ends, however it is chunked', () => {
  const values = fc.array(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), { maxLength: 5 });
  fc.assert(
    fc.property(values, fc.array(fc.nat(40)), fc.constantFrom('', ' ', '\n', '\r\n\t'), (objects, sizes, gap) => {
      const texts = objects.map((o) => JSON.stringify(o));
      const all = Buffer.from(texts.join(gap) + gap);
      const chunks: Uint8Array[] = [];
      let at = 0;
      for (const size of sizes) chunks.push(all.subarray(at, (at = Math.min(at + size, all.length))));
      chunks.push(all.subarray(at));
      const { out, error, pending } = frame(chunks);
      assert.equal(error, null);
      assert.deepEqual(out, texts);
      assert.equal(pending, 0);
    }),
  );
});

test('random bytes never throw, and an error is final', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), (chunks) => {
      const framer = new JsonFramer({ maxBytes: 100, maxDepth: 5 });
      let error: string | null = null;
      for (const chunk of chunks) {
        const now = framer.push(chunk, (bytes) => assert.ok(bytes.length <= 100));
        if (error) assert.equal(now, error);
        error = now;
        assert.ok(framer.pendingBytes <= 100);
      }
    }),
  );
});

test('what is no object, too deep or too long is refused', () => {
  assert.match(frame([Buffer.from('x')]).error ?? '', /byte 0: syntax error/);
  assert.match(frame([Buffer.from('{} }')]).error ?? '', /byte 3: syntax error/);
  assert.match(frame([Buffer.from('[[[[')], { maxBytes: 99, maxDepth: 3 }).error ?? '', /maximum nesting depth 3/);
  assert.match(
    frame([Buffer.from('{"a":"'), Buffer.alloc(99, 0x61)], { maxBytes: 50, maxDepth: 9 }).error ?? '',
    /too long/,
  );
});

test('a message of 50 MB in small chunks takes linear time', () => {
  const framer = new JsonFramer();
  const chunk = Buffer.alloc(4096, 0x61);
  framer.push(Buffer.from('{"x":"'), () => assert.fail('not yet'));
  for (let i = 0; i < 12_800; i++) framer.push(chunk, () => assert.fail('not yet'));
  let length = 0;
  framer.push(Buffer.from('"}'), (bytes) => (length = bytes.length));
  assert.equal(length, 12_800 * 4096 + 8);
});
