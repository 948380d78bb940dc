import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { isRequest, JsonRpc, type JsonRpcMessage } from './jsonrpc.ts';
import { parseActiveAddress, parsePassiveAddress } from './remote.ts';
import { clearSslConfig, setSslConfig } from './ssl-config.ts';
import { connectStream, type Listener, listenStreams, type Stream, streamPair } from './stream.ts';

const dir = mkdtempSync(join(tmpdir(), 'sb-stream-'));
after(() => rmSync(dir, { recursive: true, force: true }));

interface Pair extends Disposable {
  client: Stream;
  server: Stream;
}

async function connectPair(passive: string, active: (l: Listener) => string): Promise<Pair> {
  const accepted = Promise.withResolvers<Stream>();
  const listener = await listenStreams(passive, accepted.resolve);
  const client = await connectStream(active(listener));
  const server = await accepted.promise;
  const dispose = () => {
    client.close();
    server.close();
    listener.close();
  };
  return { client, server, [Symbol.dispose]: dispose };
}

function haveOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function makeCertificates(): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=ca',
    '-days',
    '9',
  );
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    'sw.key',
    '-out',
    'sw.csr',
    '-subj',
    '/CN=switch',
  );
  openssl(
    'x509',
    '-req',
    '-in',
    'sw.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-out',
    'sw.pem',
    '-days',
    '9',
  );
  setSslConfig({ privateKey: join(dir, 'sw.key'), certificate: join(dir, 'sw.pem'), caCert: join(dir, 'ca.pem') });
}

const kinds: [string, () => Promise<Pair>, boolean][] = [
  ['unix', () => connectPair(`punix:${dir}/s.sock`, () => `unix:${dir}/s.sock`), true],
  ['tcp', () => connectPair('ptcp:0:127.0.0.1', (l) => `tcp:127.0.0.1:${l.port}`), true],
  ['tcp on IPv6', () => connectPair('ptcp:0:[::1]', (l) => `tcp:[::1]:${l.port}`), existsSync('/proc/net/if_inet6')],
  [
    'ssl',
    () => {
      makeCertificates();
      return connectPair('pssl:0:127.0.0.1', (l) => `ssl:127.0.0.1:${l.port}`);
    },
    haveOpenssl(),
  ],
  [
    'memory',
    async () => {
      const [client, server] = streamPair();
      return { client, server, [Symbol.dispose]: () => client.close() };
    },
    true,
  ],
];

for (const [kind, open, possible] of kinds) {
  describe(`stream over ${kind}`, { skip: possible ? false : 'not available here' }, () => {
    test('carries bytes both ways in order, then tells the end', async () => {
      using pair = await open();
      const { client, server } = pair;
      const sent = Buffer.alloc(300_000, 'abcdefg');
      for (let at = 0; at < sent.length; at += 7000) client.write(sent.subarray(at, at + 7000));
      const got: Uint8Array[] = [];
      let bytes = 0;
      await new Promise<void>((resolve) => {
        server.onData((chunk) => {
          got.push(chunk);
          if ((bytes += chunk.length) === sent.length) resolve();
        });
      });
      assert.ok(Buffer.concat(got).equals(sent));
      const back = new Promise<string>((resolve) => client.onData((chunk) => resolve(Buffer.from(chunk).toString())));
      server.write(Buffer.from('back'));
      assert.equal(await back, 'back');
      const ended = new Promise((resolve) => server.onClose(resolve));
      client.close();
      assert.equal(await ended, null);
      assert.equal(server.write(Buffer.from('x')), false);
    });

    test('what is written before the other side reads is kept, also when the writer closes', async () => {
      using pair = await open();
      pair.client.onData(() => {});
      const rpc = new JsonRpc(pair.server);
      const peer = new JsonRpc(pair.client);
      peer.onMessage(() => {});
      rpc.send({ method: 'a', params: [1], id: null });
      rpc.send({ result: {}, error: null, id: 4 });
      const got: JsonRpcMessage[] = [];
      await new Promise<void>((resolve) => {
        peer.onMessage((m) => got.push(m) === 2 && resolve());
      });
      assert.ok(isRequest(got[0]));
      assert.deepEqual(got, [
        { method: 'a', params: [1], id: null },
        { result: {}, error: null, id: 4 },
      ]);
    });

    test('malformed JSON-RPC closes with a protocol error', async () => {
      for (const bad of [
        'xyz',
        '{"method":1,"params":[]}',
        '{"id":3}',
        '{"a":}',
        '{"method":"x","params":{},"id":1}',
      ]) {
        using pair = await open();
        const rpc = new JsonRpc(pair.server);
        rpc.onMessage(() => assert.fail('must not be delivered'));
        const closed = new Promise((resolve) => rpc.onClose(resolve));
        pair.client.onData(() => {});
        pair.client.write(Buffer.from(bad));
        assert.equal(await closed, 'Protocol error');
      }
      clearSslConfigAfter(kind);
    });
  });
}

function clearSslConfigAfter(kind: string): void {
  if (kind === 'ssl') clearSslConfig();
}

test('the authority is learned from the first peer, then required', {
  skip: !haveOpenssl() && 'openssl not installed',
}, async () => {
  makeCertificates();
  setSslConfig({ peerCaCert: join(dir, 'ca.pem') });
  using listener = await listenStreams('pssl:0:127.0.0.1', (s) => s.onData(() => s.write(Buffer.from('y'))));
  const learned = join(dir, 'learned.pem');
  setSslConfig({ caCert: learned, bootstrapCaCert: true });
  await assert.rejects(connectStream(`ssl:127.0.0.1:${listener.port}`), { message: 'Protocol error' });
  assert.match(readFileSync(learned, 'utf8'), /^-----BEGIN CERTIFICATE-----\n/);
  const stream = await connectStream(`ssl:127.0.0.1:${listener.port}`);
  const answer = new Promise((resolve) => stream.onData((bytes) => resolve(Buffer.from(bytes).toString())));
  stream.write(Buffer.from('x'));
  assert.equal(await answer, 'y');
  stream.close();
  clearSslConfig();
});

test('errors have the words of the C library', async () => {
  await assert.rejects(connectStream(`unix:${dir}/none`), { message: 'No such file or directory', code: 'ENOENT' });
  await assert.rejects(connectStream('tcp:127.0.0.1:1'), { message: 'Connection refused' });
  await assert.rejects(connectStream('foo:bar'), { message: 'Address family not supported by protocol' });
  await assert.rejects(connectStream('tcp:'), { message: 'Address family not supported by protocol' });
  await assert.rejects(connectStream('ssl:127.0.0.1:1'), { message: 'Protocol not available' });
  await assert.rejects(
    listenStreams('punix:/no/where', () => {}),
    { message: 'No such file or directory' },
  );
  await assert.rejects(
    listenStreams('ptcp:0:192.0.2.1', () => {}),
    { message: 'Cannot assign requested address' },
  );
});

test('a socket in a deep directory works, and its file goes with the listener', async () => {
  const deep = join(dir, 'd'.repeat(90), 'e'.repeat(90));
  mkdirSync(deep, { recursive: true });
  const path = join(deep, 'sock');
  const listener = await listenStreams(`punix:${path}`, (s) => s.close());
  assert.equal(statSync(path).mode & 0o777, 0o750);
  const stream = await connectStream(`unix:${path}`);
  stream.onData(() => {});
  assert.equal(await new Promise((resolve) => stream.onClose(resolve)), null);
  listener.close();
  assert.equal(existsSync(path), false);
});

test('addresses', () => {
  assert.deepEqual(parseActiveAddress('1.2.3.4', 6640), { host: '1.2.3.4', port: 6640 });
  assert.deepEqual(parseActiveAddress('[fe80::1%eth0]:1', 6640), { host: 'fe80::1%eth0', port: 1 });
  assert.deepEqual(parsePassiveAddress('', 6640), { host: null, port: 6640 });
  assert.deepEqual(parsePassiveAddress('6653:[::1]', 0), { host: '::1', port: 6653 });
  assert.deepEqual(parsePassiveAddress(':1.2.3.4', 9), { host: '1.2.3.4', port: 9 });
  for (const bad of ['a:b', '1.2.3.4:99999', '[::1', '::1']) assert.equal(parseActiveAddress(bad, 1), null);
  for (const bad of ['x', '70000', '1:']) assert.equal(parsePassiveAddress(bad, 1), null);
});
