import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Refused, SwitchClient } from './switch.ts';

test('a switch that does not answer is said not to, is not asked ever more, and is back when it answers', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sb-silent-'));
  const sockets: Socket[] = [];
  let isAwake = false;
  const server = createServer((socket) => {
    sockets.push(socket);
    if (isAwake) socket.end('{"id":0,"result":"hello","error":null}');
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 's.ctl'), resolve));
  try {
    const client = new SwitchClient(join(dir, 's.ctl'), 20);
    for (let i = 0; i < 10; i++) await assert.rejects(client.ask('version'), /no answer for 0.02 s/);
    assert.equal(client.reach.isUp, false);
    assert.equal(sockets.length, 4);
    isAwake = true;
    for (const socket of sockets.slice(0, 4)) socket.end('{"id":0,"result":"late","error":null}');
    // The answers of those that nobody waits for have to come first.
    for (let tries = 0; tries < 200 && !client.reach.isUp; tries++) {
      await client.ask('version').catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(client.reach.isUp, true);
    assert.equal(await new SwitchClient(join(dir, 's.ctl'), 5000).ask('version'), 'hello');
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  }
});

test('a refusal is the switch speaking: it is up', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sb-refuse-'));
  const server = createServer((socket) => socket.end('{"id":0,"result":null,"error":"no such thing\\n"}'));
  await new Promise<void>((resolve) => server.listen(join(dir, 's.ctl'), resolve));
  try {
    const client = new SwitchClient(join(dir, 's.ctl'));
    await assert.rejects(
      client.ask('anything'),
      (error) => error instanceof Refused && error.message === 'no such thing',
    );
    assert.equal(client.reach.isUp, true);
  } finally {
    server.close();
    rmSync(dir, { recursive: true });
  }
});
