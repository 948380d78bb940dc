import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Stream, streamPair } from '../base/stream.ts';
import { vlogSetLevels } from '../base/vlog.ts';
import type { OfMessage } from './messages.ts';
import { formatVersions, Vconn, withDefaultPort } from './vconn.ts';
import { encodeMessage } from './wire.ts';

vlogSetLevels(null, 'console', 'off');

const V10 = 1 << 1;
const V13 = 1 << 4;
const V15 = 1 << 6;

function pair(ours: number, theirs: number): [Vconn, Vconn] {
  const [a, b] = streamPair();
  return [new Vconn(a, ours), new Vconn(b, theirs)];
}

test('both sides settle on the highest version that both speak', async () => {
  const [a, b] = pair(V10 | V13 | V15, V10 | V13);
  await Promise.all([a.connected(), b.connected()]);
  assert.equal(a.version, 4);
  assert.equal(b.version, 4);
});

test('without a common version both connections end', async () => {
  const [a, b] = pair(V15, V10);
  await assert.rejects(a.connected());
  await assert.rejects(b.connected());
  assert.equal(a.version, null);
});

test('messages arrive whole and in order however they are cut', async () => {
  const [raw, b] = streamPair();
  const vconn = new Vconn(b, V13);
  const got: OfMessage[] = [];
  vconn.onMessage((m) => got.push(m));
  const echoes = [1, 2, 3].map((n) => encodeMessage(4, n, { type: 'echo_request', data: new Uint8Array(n) }));
  const all = Buffer.concat([encodeMessage(4, 0, { type: 'hello', versions: V13 }), ...echoes]);
  for (const byte of all) raw.write(Uint8Array.of(byte));
  await vconn.connected();
  const done = Promise.withResolvers<void>();
  vconn.onMessage((m) => {
    got.push(m);
    if (got.length === 3) done.resolve();
  });
  if (got.length < 3) await done.promise;
  assert.deepEqual(
    got.map((m) => m.type === 'echo_request' && m.data.length),
    [1, 2, 3],
  );
});

/** The first reply that the far end of a connection in OpenFlow 1.3 gets for `bytes`. */
async function replyTo(bytes: Uint8Array): Promise<OfMessage> {
  const [a, b] = streamPair() as [Stream, Stream];
  const client = new Vconn(a, V13);
  const server = new Vconn(b, V13);
  server.onMessage((m, xid) => {
    if (m.type === 'barrier_request') server.send({ type: 'barrier_reply' }, xid);
  });
  await Promise.all([client.connected(), server.connected()]);
  const reply = Promise.withResolvers<OfMessage>();
  client.onMessage((m) => reply.resolve(m));
  client.sendRaw(bytes);
  return reply.promise;
}

test('what cannot be understood is answered with its error, and the connection lives', async () => {
  const unknown = await replyTo(Uint8Array.of(4, 99, 0, 8, 0, 0, 0, 7));
  assert.ok(unknown.type === 'error');
  assert.equal(unknown.name, 'OFPBRC_BAD_TYPE');
  assert.deepEqual([...unknown.data], [4, 99, 0, 8, 0, 0, 0, 7]);
  const version = await replyTo(Uint8Array.of(1, 5, 0, 8, 0, 0, 0, 7));
  assert.ok(version.type === 'error');
  assert.equal(version.name, 'OFPBRC_BAD_VERSION');
});

test('sets of versions read as the original writes them', () => {
  assert.equal(formatVersions(V10), 'version 0x01');
  assert.equal(formatVersions(V10 | V13), 'versions 0x01, 0x04');
});

test('targets get the OpenFlow port where they have none', () => {
  assert.equal(withDefaultPort('tcp:10.0.0.1'), 'tcp:10.0.0.1:6653');
  assert.equal(withDefaultPort('tcp:[::1]:7000'), 'tcp:[::1]:7000');
  assert.equal(withDefaultPort('ptcp:'), 'ptcp:6653');
  assert.equal(withDefaultPort('unix:/a'), 'unix:/a');
});
