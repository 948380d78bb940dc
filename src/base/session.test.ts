import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isRequest, JsonRpc, type JsonRpcMessage } from './jsonrpc.ts';
import { JsonRpcSession } from './session.ts';
import { type Listener, listenStreams } from './stream.ts';
import { vlogParse } from './vlog.ts';

vlogParse('console:off');
const dir = mkdtempSync(join(tmpdir(), 'sb-session-'));
after(() => rmSync(dir, { recursive: true, force: true }));

class Peer {
  readonly connections: JsonRpc[] = [];
  readonly messages: JsonRpcMessage[] = [];
  private waiting: (() => void)[] = [];

  listen(path: string): Promise<Listener> {
    return listenStreams(`punix:${path}`, (stream) => {
      const rpc = new JsonRpc(stream);
      this.connections.push(rpc);
      rpc.onMessage((m) => {
        this.messages.push(m);
        this.wake();
      });
      this.wake();
    });
  }

  private wake(): void {
    for (const w of this.waiting.splice(0)) w();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}

test('connects, answers probes, delivers messages, and connects anew after a loss', { timeout: 10_000 }, async () => {
  const path = join(dir, 'a.sock');
  const peer = new Peer();
  const listener = await peer.listen(path);
  const session = new JsonRpcSession([`unix:${path}`], { minBackoffMs: 10 });
  let connected = 0;
  const lost: (string | null)[] = [];
  const got: JsonRpcMessage[] = [];
  session.onConnected(() => {
    connected++;
    session.send({ method: 'hello', params: [connected], id: connected });
  });
  session.onDisconnected((error) => lost.push(error));
  session.onMessage((m) => got.push(m));
  session.open();
  await peer.until(() => peer.messages.length === 1);
  assert.deepEqual(peer.messages[0], { method: 'hello', params: [1], id: 1 });

  peer.connections[0].send({ method: 'echo', params: ['x'], id: 'q' });
  peer.connections[0].send({ method: 'update', params: [], id: null });
  await peer.until(() => peer.messages.length === 2);
  assert.deepEqual(peer.messages[1], { result: ['x'], error: null, id: 'q' });
  assert.equal(got.length, 1, 'an echo is not for the user');
  assert.ok(isRequest(got[0]) && got[0].method === 'update');

  peer.connections[0].close();
  await peer.until(() => peer.messages.length === 3);
  assert.deepEqual(peer.messages[2], { method: 'hello', params: [2], id: 2 });
  assert.deepEqual(lost, [null]);
  session.close();
  assert.equal(session.send({ method: 'x', params: [], id: null }), false);
  listener.close();
});

test('tries its remotes in turn', { timeout: 10_000 }, async () => {
  const path = join(dir, 'b.sock');
  const peer = new Peer();
  const listener = await peer.listen(path);
  using session = new JsonRpcSession([`unix:${dir}/none`, `unix:${path}`], { minBackoffMs: 10 });
  const lost: (string | null)[] = [];
  session.onDisconnected((error) => lost.push(error));
  const connected = new Promise<void>((resolve) => session.onConnected(() => resolve()));
  session.open();
  await connected;
  assert.deepEqual(lost, ['No such file or directory']);
  assert.equal(session.name, `unix:${path}`);
  listener.close();
});

test('a session for one try gives up', { timeout: 10_000 }, async () => {
  const session = new JsonRpcSession([`unix:${dir}/none`], { once: true });
  const error = await new Promise((resolve) => {
    session.onDisconnected(resolve);
    session.open();
  });
  assert.equal(error, 'No such file or directory');
  assert.equal(session.reconnect.state, 'VOID');
});

test('a hundred megabytes arrive in linear time and do not stop the peer', { timeout: 30_000 }, async () => {
  const path = join(dir, 'c.sock');
  const peer = new Peer();
  const listener = await peer.listen(path);
  using session = new JsonRpcSession([`unix:${path}`]);
  const connected = new Promise<void>((resolve) => session.onConnected(() => resolve()));
  session.open();
  await connected;
  const row = 'x'.repeat(1 << 20);
  session.send({ method: 'big', params: new Array(100).fill(row), id: 1 });
  await peer.until(() => peer.messages.length === 1);
  const [message] = peer.messages;
  assert.ok(isRequest(message) && message.params.length === 100 && message.params[99] === row);
  for (const rpc of peer.connections) rpc.close();
  listener.close();
});
