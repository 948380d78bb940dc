import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { missing, must, notRoot, type Result, Sandbox, SCHEMA, until } from './support/sandbox.ts';

const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'ovs-appctl');

function out(result: Result): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

async function opened(sb: Sandbox): Promise<Socket> {
  const socket = connect(sb.path('db.sock'));
  // What is wrong with the connection shows in its end.
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function closed(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
}

/** Milliseconds that the slowest of many echoes took while `act` ran. */
async function slowestEcho(sb: Sandbox, act: () => Promise<unknown>): Promise<number> {
  const socket = await opened(sb);
  let slowest = 0;
  let over = false;
  const watch = (async () => {
    while (!over) {
      const start = performance.now();
      socket.write('{"id":1,"method":"echo","params":[]}');
      await once(socket, 'data');
      slowest = Math.max(slowest, performance.now() - start);
    }
  })();
  await act();
  over = true;
  await watch;
  socket.destroy();
  return slowest;
}

describe('our ovsdb-server', { skip }, () => {
  test('survives what no client should send, and serves the others', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server');
    for (const bytes of [
      Buffer.concat([
        Buffer.from('{"id":1,"method":"echo","params":["'),
        Buffer.from([0xff, 0xfe]),
        Buffer.from('"]}'),
      ]),
      Buffer.from(`{"id":1,"method":"echo","params":${'['.repeat(100_000)}`),
      Buffer.from('{"id":1,"method":"echo","params":["\\ud800"]}'),
    ]) {
      const socket = await opened(sb);
      socket.write(bytes);
      await closed(socket);
    }
    assert.equal(out(await sb.c('ovsdb-client', 'list-dbs', sb.db)), 'Open_vSwitch\n_Server\n');
  });

  test('answers a request of 100 MB', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server');
    const socket = await opened(sb);
    const comment = Buffer.alloc(100 * 1024 * 1024, 'c');
    socket.write('{"id":1,"method":"transact","params":["Open_vSwitch",{"op":"comment","comment":"');
    socket.write(comment);
    socket.write('"}]}');
    const [reply] = (await once(socket, 'data')) as [Buffer];
    assert.equal(reply.toString(), '{"id":1,"result":[{}],"error":null}');
    socket.destroy();
  });

  test('drops a client that asks and never reads, and says so', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server');
    const socket = await opened(sb);
    const request = '{"id":1,"method":"get_schema","params":["Open_vSwitch"]}'.repeat(200);
    let writing = true;
    socket.on('close', () => (writing = false));
    socket.pause();
    const slowest = await slowestEcho(sb, async () => {
      await until(
        () => {
          if (writing && socket.writableLength < 1e6) socket.write(request);
          return sb.log('ovsdb-server').includes('excessive sending backlog');
        },
        20_000,
        'the client is dropped',
      );
    });
    assert.ok(slowest < 2000, `an echo took ${slowest} ms`);
    socket.destroy();
    assert.equal(out(await sb.c('ovsdb-client', 'list-dbs', sb.db)), 'Open_vSwitch\n_Server\n');
  });

  test('compacts under load without making others wait, into a file that the original reads', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server');
    const value = 'v'.repeat(500);
    for (let n = 0; n < 20; n++) {
      const rows = Array.from({ length: 200 }, (_, i) => ({
        op: 'insert',
        table: 'QoS',
        row: { type: `t${n}-${i}`, other_config: ['map', [['a', value]]] },
      }));
      const socket = await opened(sb);
      socket.write(JSON.stringify({ id: 1, method: 'transact', params: ['Open_vSwitch', ...rows] }));
      await once(socket, 'data');
      socket.destroy();
    }
    const writer = await opened(sb);
    writer.resume();
    let written = 0;
    let over = false;
    const load = (async () => {
      while (!over) {
        const row = { type: `during${written++}` };
        const params = ['Open_vSwitch', { op: 'insert', table: 'QoS', row }];
        writer.write(JSON.stringify({ id: 1, method: 'transact', params }));
        await once(writer, 'data');
      }
    })();
    const slowest = await slowestEcho(sb, async () => {
      out(await sb.c('ovs-appctl', '-t', 'ovsdb-server', 'ovsdb-server/compact'));
    });
    over = true;
    await load;
    writer.destroy();
    assert.ok(slowest < 200, `an echo took ${slowest} ms`);
    const count = JSON.stringify(['Open_vSwitch', { op: 'select', table: 'QoS', where: [], columns: ['type'] }]);
    const rows = (text: string) => (JSON.parse(text) as [{ rows: unknown[] }])[0].rows.length;
    assert.equal(rows(out(await sb.c('ovsdb-tool', 'query', 'conf.db', count))), 4000 + written);
    assert.match(out(await sb.c('ovsdb-tool', 'show-log', 'conf.db')), /^record 1: .* "compacting database online"$/m);
  });

  test('serves what stands before a byte that has flipped, says which, and writes on from there', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    let server = await sb.startOurs('ovsdb-server');
    for (const name of ['a', 'b', 'c']) out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', name));
    await server.kill();
    const bytes = readFileSync(sb.path('conf.db'));
    bytes[bytes.lastIndexOf('add-br b')]! ^= 1;
    writeFileSync(sb.path('conf.db'), bytes);
    // The original reads as far, and complains as much.
    await using theirs = await Sandbox.create();
    writeFileSync(theirs.path('conf.db'), bytes);
    await theirs.startC('ovsdb-server');
    server = await sb.startOurs('ovsdb-server');
    const damage = (one: Sandbox) =>
      /ERR\|(.*SHA-1 hash.*)/.exec(one.log('ovsdb-server'))?.[1]?.replaceAll(one.dir, 'DIR') ?? 'nothing';
    assert.match(damage(sb), /bytes starting at offset \d+ have SHA-1 hash [0-9a-f]{40} but should have hash/);
    assert.equal(damage(sb), damage(theirs));
    for (const one of [sb, theirs]) assert.equal(out(await one.c('ovs-vsctl', 'list-br')), 'a\n');
    out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'd'));
    await server.kill();
    assert.equal((await sb.c('ovsdb-tool', 'query', 'conf.db', '["Open_vSwitch"]')).stdout, '[]\n');
    await sb.startC('ovsdb-server');
    assert.equal(out(await sb.c('ovs-vsctl', 'list-br')), 'a\nd\n');
  });

  test('says of a disk that can only be read what the original says, and so does ovsdb-tool', {
    skip: notRoot,
  }, async () => {
    await using sb = await Sandbox.create();
    const disk = sb.path('disk');
    await must('mkdir', [disk]);
    await must('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]);
    try {
      const file = await sb.createDb(undefined, 'disk/conf.db');
      await must('mount', ['-o', 'remount,ro', disk]);
      const insert = JSON.stringify(['Open_vSwitch', { op: 'insert', table: 'Open_vSwitch', row: {} }]);
      const server = ['--remote=punix:other.sock', '--unixctl=other.ctl', '--pidfile=other.pid'];
      const lines: [string, ...string[]][] = [
        ['ovsdb-server', ...server, file],
        ['ovsdb-tool', 'transact', file, insert],
        ['ovsdb-tool', 'query', file, '["Open_vSwitch"]'],
        ['ovsdb-tool', 'compact', file],
        ['ovsdb-tool', 'compact', file, `${disk}/small.db`],
        ['ovsdb-tool', 'convert', file, SCHEMA],
        ['ovsdb-tool', 'create', `${disk}/new.db`, SCHEMA],
        ['ovsdb-tool', 'show-log', file],
      ];
      const shown = ({ stdout, stderr, status }: Result) =>
        `${stdout}${stderr.replace(/^\d{4}-\S*\|\d+\|/gm, '').replace(/^\/\S*\/(?=ovsdb-)/gm, '')}=> ${status}`;
      for (const [program, ...args] of lines) {
        const [theirs, ours] = [await sb.runC(program, args), await sb.runOurs(program, args)];
        assert.equal(shown(ours), shown(theirs), `${program} ${args.join(' ')}`);
      }
    } finally {
      await must('umount', ['-l', disk]);
    }
  });
});
