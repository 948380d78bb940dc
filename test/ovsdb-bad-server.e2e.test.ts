/** Servers that hang up or talk nonsense: clients say so, end, and leave no stack trace. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { Sandbox } from './support/sandbox.ts';

const SERVERS: Readonly<Record<string, (socket: Socket) => void>> = {
  'hangs up at once': (socket) => socket.destroy(),
  'hangs up when asked': (socket) => socket.once('data', () => socket.destroy()),
  'answers what is no JSON': (socket) => socket.once('data', () => socket.write('garbage')),
  'answers something else': (socket) => socket.once('data', () => socket.write('{"id":0,"result":{},"error":null}')),
  'answers twice': (socket) => socket.once('data', () => socket.write('{"id":0,"result":[1],"error":null}'.repeat(2))),
  'answers nothing that is there': (socket) =>
    socket.once('data', () => socket.write('{"id":0,"result":null,"error":null}')),
  'asks back': (socket) => socket.once('data', () => socket.write('{"id":7,"method":"nothing","params":[]}'.repeat(9))),
};

const COMMANDS: readonly (readonly [string, ...string[]])[] = [
  ['ovs-vsctl', '-t2', '--db=SERVER', 'list-br'],
  ['ovs-vsctl', '-t2', '--no-shuffle-remotes', '--db=SERVER,SERVER', 'list-br'],
  ['ovsdb-client', '-t2', 'list-dbs', 'SERVER'],
  ['ovsdb-client', '-t2', 'dump', 'SERVER', 'Open_vSwitch'],
  ['ovsdb-client', '-t2', 'dump', 'SERVER,SERVER', 'Open_vSwitch'],
  ['ovsdb-client', '-t2', 'monitor', 'SERVER', 'Open_vSwitch', 'ALL'],
];

for (const [what, serve] of Object.entries(SERVERS)) {
  test(`a server that ${what} is complained of`, async () => {
    await using sb = await Sandbox.create();
    const path = sb.path('bad.sock');
    const server = createServer((socket) => {
      socket.on('error', () => {});
      serve(socket);
    }).listen(path);
    await once(server, 'listening');
    try {
      const ends = COMMANDS.map(async ([program, ...args]) => {
        const real = args.map((arg) => arg.replaceAll('SERVER', `unix:${path}`));
        const { status, stderr } = await sb.runOurs(program, real);
        // Either an error in words, or the end of patience.
        assert.ok(status === 1 || status === 142, `${program} ${args.join(' ')}: ${status}`);
        assert.match(stderr, new RegExp(`^${program}: |terminating with signal 14`, 'm'));
        assert.doesNotMatch(stderr, /\n +at |TypeError|is not iterable|undefined/, `${program} ${args.join(' ')}`);
      });
      await Promise.all(ends);
    } finally {
      server.close();
    }
  });
}
