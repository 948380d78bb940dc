import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { vlogSetLevels } from '../base/vlog.ts';
import { Rconn } from './rconn.ts';
import { ALL_VERSIONS, listenVconns, type Vconn } from './vconn.ts';

vlogSetLevels(null, 'console', 'off');

test('connects, answers echo requests by itself, and backs off when the peer goes', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'rconn-'));
  const accepted = Promise.withResolvers<Vconn>();
  const listener = await listenVconns(`punix:${dir}/s`, ALL_VERSIONS, (v) => accepted.resolve(v));
  try {
    using rconn = new Rconn(`unix:${dir}/s`);
    const up = Promise.withResolvers<void>();
    const down = Promise.withResolvers<string | null>();
    rconn.onConnected(() => up.resolve());
    rconn.onDisconnected((error) => down.resolve(error));
    assert.equal(rconn.stateName, 'VOID');
    rconn.start();
    assert.equal(rconn.stateName, 'CONNECTING');
    const peer = await accepted.promise;
    await Promise.all([up.promise, peer.connected()]);
    assert.equal(rconn.stateName, 'ACTIVE');
    const echoed = Promise.withResolvers<number>();
    peer.onMessage((m, xid) => m.type === 'echo_reply' && echoed.resolve(xid));
    peer.send({ type: 'echo_request', data: new Uint8Array(3) }, 77);
    assert.equal(await echoed.promise, 77);
    peer.close();
    await down.promise;
    assert.equal(rconn.stateName, 'BACKOFF');
    assert.equal(rconn.isConnected, false);
    assert.notEqual(rconn.lastDisconnectedMs, null);
  } finally {
    listener.close();
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a peer that is not there is tried again', async () => {
  using rconn = new Rconn('unix:/nonexistent/socket');
  const backoff = Promise.withResolvers<void>();
  rconn.onState(() => rconn.stateName === 'BACKOFF' && backoff.resolve());
  rconn.start();
  await backoff.promise;
  assert.equal(rconn.lastError, 'No such file or directory');
});
