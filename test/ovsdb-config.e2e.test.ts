/** `ovsdb-server --config-file`: databases and remotes from a file, and what becomes of them when it is read again. The original's clients look. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { missing, type Result, Sandbox, until } from './support/sandbox.ts';

const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'ovs-appctl', 'ovs-vsctl');

function out({ status, stdout, stderr }: Result): string {
  assert.equal(status, 0, stderr);
  return stdout;
}

class World {
  readonly sb: Sandbox;

  constructor(sb: Sandbox) {
    this.sb = sb;
  }

  write(remotes: object, databases: object): void {
    writeFileSync(this.sb.path('config.json'), JSON.stringify({ remotes, databases }));
  }

  ask(...command: string[]): Promise<Result> {
    return this.sb.c('ovs-appctl', '-t', 'ovsdb-server', ...command);
  }

  async databases(socket = 'db.sock'): Promise<string> {
    return out(await this.sb.c('ovsdb-client', 'list-dbs', `unix:${this.sb.path(socket)}`))
      .trim()
      .replaceAll('\n', ' ');
  }
}

async function start(remotes: object, databases: object): Promise<World> {
  const sb = await Sandbox.create();
  const world = new World(sb);
  await sb.createDb();
  const tables = { A: { isRoot: true, columns: { s: { type: 'string' } } } };
  writeFileSync(sb.path('t.ovsschema'), JSON.stringify({ name: 'T', version: '1.0.0', tables }));
  await sb.createDb(sb.path('t.ovsschema'), 't.db');
  world.write(remotes, databases);
  await sb.startOurs('ovsdb-server', [`--config-file=${sb.path('config.json')}`]);
  return world;
}

test('a server serves what its configuration file says, and follows its changes without a word to those they do not concern', {
  skip,
}, async () => {
  const world = await start({ 'punix:db.sock': null }, { 'conf.db': null });
  await using sb = world.sb;
  await until(async () => (await world.databases()) === 'Open_vSwitch _Server');
  out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'br0'));
  const client = connect(sb.path('db.sock'));
  await once(client, 'connect');
  let isClosed = false;
  client.on('close', () => (isClosed = true)).resume();

  world.write(
    { 'punix:db.sock': {}, 'punix:ro.sock': { 'read-only': true, 'inactivity-probe': 0 } },
    { 'conf.db': {}, 't.db': {} },
  );
  out(await world.ask('ovsdb-server/reload'));
  assert.equal(await world.databases(), 'Open_vSwitch T _Server');
  assert.equal(out(await world.ask('ovsdb-server/list-remotes')), 'punix:db.sock\npunix:ro.sock\n');
  const insert = ['transact', '["T",{"op":"insert","table":"A","row":{"s":"x"}}]'];
  const transact = (socket: string) => sb.c('ovsdb-client', insert[0]!, `unix:${sb.path(socket)}`, insert[1]!);
  assert.match(out(await transact('ro.sock')), /not allowed/);
  assert.match(out(await transact('db.sock')), /uuid/);

  world.write({ 'punix:db.sock': {} }, { 'conf.db': {} });
  out(await world.ask('ovsdb-server/reload'));
  assert.equal(await world.databases(), 'Open_vSwitch _Server');
  assert.equal(out(await world.ask('ovsdb-server/list-remotes')), 'punix:db.sock\n');
  assert.equal(isClosed, true, 'one that does not know of changing databases is told by the end of its connection');

  for (const [text, reason] of [
    ['{', /line 0, column 1, byte 1: unexpected end of input/],
    ['{"remotes":5}', /configuration: "remotes" must be a JSON object/],
    ['{"remote":{}}', /configuration: unknown member "remote"/],
    ['{"remotes":{"punix:x":{"read-only":1}}}', /remote "punix:x": "read-only" must be true or false/],
    ['{"databases":{"conf.db":{"service-model":"relay"}}}', /database "conf.db": a relay database needs a "source"/],
    [
      '{"databases":{"conf.db":{"service-model":"x"}}}',
      /"service-model" must be one of standalone, clustered, active-backup, relay/,
    ],
    ['{"databases":{"conf.db":{"service-model":"clustered"}}}', /clustered databases are not supported/],
  ] as const) {
    writeFileSync(sb.path('config.json'), text);
    const { status, stderr } = await world.ask('ovsdb-server/reload');
    assert.equal(status, 2);
    assert.match(stderr, reason);
    assert.equal(await world.databases(), 'Open_vSwitch _Server', 'nothing has changed');
  }
  for (const command of [
    'ovsdb-server/add-db x',
    'ovsdb-server/add-remote punix:x',
    'ovsdb-server/connect-active-ovsdb-server',
  ]) {
    assert.match((await world.ask(...command.split(' '))).stderr, /has a configuration file: change it/);
  }
  const { stderr, status } = await sb.ours('ovsdb-server', '--config-file=config.json', 'conf.db');
  assert.deepEqual(
    [status, stderr],
    [1, 'ovsdb-server: --config-file says which databases and remotes there are, so the command line cannot\n'],
  );
});

test('a configuration file makes relays and backups, and makes a backup active', { skip }, async () => {
  await using source = await Sandbox.create();
  await source.createDb();
  await source.startC('ovsdb-server');
  out(await source.c('ovs-vsctl', '--no-wait', 'add-br', 'far'));

  const relay = await start(
    { 'punix:db.sock': {} },
    { Open_vSwitch: { 'service-model': 'relay', source: { [source.db]: { 'inactivity-probe': 10000 } } }, 't.db': {} },
  );
  await using _ = relay.sb;
  const bridges = async (world: World) => (await world.sb.c('ovs-vsctl', '--no-leader-only', '-t5', 'list-br')).stdout;
  await until(async () => (await bridges(relay)) === 'far\n');
  assert.equal(await relay.databases(), 'Open_vSwitch T _Server');

  const copy = (backup: boolean) => ({
    'conf.db': { 'service-model': 'active-backup', backup, source: { [source.db]: {} }, 'exclude-tables': ['SSL'] },
  });
  const backup = await start({ 'punix:db.sock': {} }, copy(true));
  await using __ = backup.sb;
  await until(async () => (await bridges(backup)) === 'far\n');
  const status = async () => out(await backup.ask('ovsdb-server/sync-status'));
  assert.match(
    await status(),
    /state: backup\nreplicating: unix:.*\ndatabase: Open_vSwitch\nexclude: Open_vSwitch:SSL\n/,
  );
  backup.write({ 'punix:db.sock': {} }, copy(false));
  out(await backup.ask('ovsdb-server/reload'));
  assert.equal(await status(), 'state: active\n');
  out(await backup.sb.c('ovs-vsctl', '--no-wait', 'add-br', 'near'));
  assert.equal(await bridges(backup), 'far\nnear\n');
});
