/** Our `ovs-appctl` beside the original's: the same commands to the same C daemon, and the same mistakes, give the same words. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { missing, type Result, Sandbox } from './support/sandbox.ts';

describe('ovs-appctl', { skip: missing('ovs-appctl', 'ovsdb-server') }, () => {
  let sb: Sandbox;
  before(async () => {
    sb = await Sandbox.create();
    await sb.createDb();
    await sb.startC('ovsdb-server');
  });
  after(() => sb[Symbol.asyncDispose]());

  async function same(...args: string[]): Promise<Result> {
    const ours = plain(await sb.ours('ovs-appctl', ...args));
    assert.deepEqual(ours, plain(await sb.c('ovs-appctl', ...args)), args.join(' '));
    return ours;
  }

  const plain = ({ stdout, stderr, status }: Result): Result => ({
    stdout,
    stderr: stderr.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/gm, 'TIME'),
    status,
  });

  test('commands and their errors', async () => {
    assert.equal((await same('-t', 'ovsdb-server', 'version')).stdout, 'ovsdb-server (Open vSwitch) 3.1.0\n');
    await same('--target=ovsdb-server', 'list-commands');
    await same('-t', sb.path(`ovsdb-server.${sb.read('ovsdb-server.pid').trim()}.ctl`), 'ovsdb-server/list-dbs');
    await same('--tar', 'ovsdb-server', 'vlog/list-pattern');
    await same('-t', 'ovsdb-server', 'ovsdb-server/list-remotes');
    assert.equal((await same('-t', 'ovsdb-server', 'nope')).status, 2);
    await same('-t', 'ovsdb-server', 'ovsdb-server/add-db', '/nope');
    await same('-t', 'ovsdb-server', 'ovsdb-server/add-db', 'é\n"\\');
    await same('-t', 'ovsdb-server', '-T', '3', 'version', '--help');
  });

  test('mistakes on the command line', async () => {
    for (const args of [
      [],
      ['--foo'],
      ['--foo=bar', 'version'],
      ['-Z'],
      ['-t'],
      ['--t=x', 'version'],
      ['--ti'],
      ['--version=3'],
      ['-T', 'abc', 'version'],
      ['--timeout=0', 'version'],
      ['-vfoo', 'version'],
      ['--verbose=dbg:info', 'version'],
      ['-e'],
    ]) {
      assert.equal((await same(...args)).status, 1);
    }
  });

  test('targets that are not there, or not alive', async () => {
    await same('version');
    await same('-t', 'nope', 'version');
    await same('-t', '/nope/x.ctl', 'version');
    await same('-t', sb.path('conf.db'), 'version');
    writeFileSync(sb.path('dead.pid'), '999999\n');
    await same('-t', 'dead', 'version');
    writeFileSync(sb.path('live.pid'), `${process.pid}\n`);
    await same('-t', 'live', 'version');
  });

  test('targets that misbehave', async () => {
    const replies = ['', '{"id" 0}', '{"id":5,"error":null,"result":"x"}', '{"id":0,"error":null,"result":3}'];
    replies.push(
      '{"id":0,"error":5,"result":null}',
      '{"id":0,"error":"e","result":"x"}',
      '{"id":0,"error":"no line","result":null}',
    );
    for (const reply of replies) {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => socket.end(reply));
      });
      await new Promise<void>((resolve) => server.listen(sb.path('fake.ctl'), resolve));
      const args = ['-t', sb.path('fake.ctl'), 'version'];
      const [ours, theirs] = [plain(await sb.ours('ovs-appctl', ...args)), plain(await sb.c('ovs-appctl', ...args))];
      // How a parser words its complaint is its own affair.
      const last = (text: string) => text.trimEnd().split('\n').at(-1);
      assert.deepEqual(
        [ours.stdout, last(ours.stderr), ours.status],
        [theirs.stdout, last(theirs.stderr), theirs.status],
        reply,
      );
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test('a target that says nothing is given up after the timeout', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => sockets.push(socket.on('error', () => {})));
    await new Promise<void>((resolve) => server.listen(sb.path('mute.ctl'), resolve));
    try {
      const { stderr, status } = await same('-T', '1', '-t', sb.path('mute.ctl'), 'version');
      assert.match(stderr, /terminating with signal 14 \(Alarm clock\)/);
      assert.equal(status, 128 + 14);
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });
});
