import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { missing, type Result, Sandbox, until } from './support/sandbox.ts';

const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'ovs-vsctl', 'ovs-appctl');

function out(result: Result): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

const insertSsl = (key: string) =>
  JSON.stringify(['Open_vSwitch', { op: 'insert', table: 'SSL', row: { private_key: key } }]);
const selectBridges = JSON.stringify(['Open_vSwitch', { op: 'select', table: 'Bridge', where: [], columns: ['name'] }]);

type Make = 'C' | 'ours';

function start(sb: Sandbox, make: Make, args: string[]) {
  return make === 'C' ? sb.startC('ovsdb-server', args) : sb.startOurs('ovsdb-server', args);
}

/** What a backup of either make says and does, words only. */
async function backupStory(make: Make, activeMake: Make): Promise<string> {
  await using active = await Sandbox.create();
  await using backup = await Sandbox.create();
  await active.createDb();
  await backup.createDb();
  const server = await start(active, activeMake, []);
  out(await active.c('ovs-vsctl', '--no-wait', 'add-br', 'br0', '--', 'create', 'qos', 'type=x'));
  await start(backup, make, [`--sync-from=${active.db}`, '--sync-exclude-tables=Open_vSwitch:QoS']);
  const story: string[] = [];
  const appctl = async (...args: string[]) => out(await backup.c('ovs-appctl', '-t', 'ovsdb-server', ...args));
  const tell = async (...args: string[]) => story.push(await appctl(...args));
  const status = () => appctl('ovsdb-server/sync-status');
  const replicating = () => until(async () => (await status()).includes('replicating'));
  const has = (text: string) =>
    until(async () => (await backup.c('ovsdb-client', 'transact', backup.db, selectBridges)).stdout.includes(text));

  await replicating();
  await has('br0');
  await tell('ovsdb-server/sync-status');
  await tell('ovsdb-server/get-active-ovsdb-server');
  await tell('ovsdb-server/get-sync-exclude-tables');
  await tell('ovsdb-server/set-active-ovsdb-server-probe-interval', 'x');
  story.push(out(await backup.c('ovsdb-client', 'transact', backup.db, insertSsl('x'))));
  story.push(out(await backup.c('ovsdb-client', 'dump', backup.db, 'Open_vSwitch', 'QoS', 'type')));
  out(await active.c('ovs-vsctl', '--no-wait', 'add-br', 'br1', '--', 'del-br', 'br0'));
  await has('br1');
  story.push(out(await backup.c('ovsdb-client', 'transact', backup.db, selectBridges)));

  // The active server goes and comes back with more.
  await server.kill('SIGKILL');
  await tell('ovsdb-server/sync-status');
  story.push(out(await backup.c('ovsdb-client', 'transact', backup.db, insertSsl('x'))));
  await start(active, activeMake, []);
  out(await active.c('ovs-vsctl', '--no-wait', 'add-br', 'br2'));
  await has('br2');

  await tell('ovsdb-server/disconnect-active-ovsdb-server');
  await tell('ovsdb-server/sync-status');
  const wrote = async () => (await backup.c('ovsdb-client', 'transact', backup.db, insertSsl('x'))).stdout;
  await until(async () => (await wrote()).includes('uuid'));
  await tell('ovsdb-server/set-active-ovsdb-server', backup.db);
  await tell('ovsdb-server/get-active-ovsdb-server');
  await tell('ovsdb-server/connect-active-ovsdb-server');
  await until(async () => (await status()).includes('state: active'));
  await until(() => backup.log('ovsdb-server').includes('Self replicating is not allowed'));
  await tell('ovsdb-server/set-sync-exclude-tables', '');
  await tell('ovsdb-server/set-active-ovsdb-server', active.db);
  await tell('ovsdb-server/connect-active-ovsdb-server');
  await replicating();
  await tell('ovsdb-server/sync-status');
  story.push(out(await backup.c('ovsdb-client', 'dump', backup.db, 'Open_vSwitch', 'QoS', 'type')));
  return story.join('--\n').replaceAll(active.path(''), '/A/').replaceAll(backup.path(''), '/B/');
}

describe('active-backup', { skip }, () => {
  test('our backup tells the story that the original’s tells, of either active server', async () => {
    const [theirs, ours, ofOurs] = await Promise.all([
      backupStory('C', 'C'),
      backupStory('ours', 'C'),
      backupStory('ours', 'ours'),
    ]);
    assert.equal(ours, theirs);
    assert.equal(ofOurs, theirs);
  });

  test('the original backs up ours', async () => {
    assert.match(await backupStory('C', 'ours'), /replicating: unix:.*db.sock\ndatabase: Open_vSwitch\n/);
  });

  test('--active knows the other server, and is active', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server', ['--sync-from=unix:nowhere', '--active']);
    const appctl = async (name: string) => out(await sb.c('ovs-appctl', '-t', 'ovsdb-server', name));
    assert.equal(await appctl('ovsdb-server/sync-status'), 'state: active\n');
    assert.equal(await appctl('ovsdb-server/get-active-ovsdb-server'), 'unix:nowhere\n');
  });
});

async function relayStory(make: Make, sourceMake: Make): Promise<string> {
  await using source = await Sandbox.create();
  await using relay = await Sandbox.create();
  await source.createDb();
  await start(relay, make, [`relay:Open_vSwitch:${source.db}`]);
  const story: string[] = [];
  const client = (...args: string[]) => relay.c('ovsdb-client', ...args);
  const tell = async (...args: string[]) => {
    const { status, stdout, stderr } = await client(...args);
    story.push(`${status} ${stdout.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'UUID')}${stderr}`);
  };
  const states = ['dump', relay.db, '_Server', 'Database', 'connected', 'leader', 'model', 'name'];
  await tell('list-dbs', relay.db);
  await tell('get-schema-version', relay.db, 'Open_vSwitch');
  await tell('transact', relay.db, selectBridges);
  await tell(...states);
  const server = await start(source, sourceMake, []);
  await until(async () => (await client(...states)).stdout.match(/true .*relay/));
  await tell(...states);
  await tell('get-schema-version', relay.db, 'Open_vSwitch');
  await tell('transact', relay.db, insertSsl('x'));
  await tell('transact', relay.db, '["Open_vSwitch",{"op":"insert","table":"SSL","row":{"nocol":"x"}}]');
  await tell('transact', relay.db, '["Open_vSwitch",{"op":"assert","lock":"x"},{"op":"comment","comment":"x"}]');
  out(await relay.c('ovs-vsctl', '-t5', `--db=${relay.db}`, '--no-leader-only', '--no-wait', 'add-br', 'br0'));
  story.push(out(await source.c('ovs-vsctl', 'list-br')));
  await tell('transact', relay.db, selectBridges);
  out(await source.c('ovs-vsctl', '-t5', '--no-wait', 'add-br', 'br1'));
  await until(async () => (await client('transact', relay.db, selectBridges)).stdout.includes('br1'));

  // Reading goes on without the source.
  await server.kill('SIGKILL');
  await tell(
    'transact',
    relay.db,
    '["Open_vSwitch",{"op":"select","table":"Bridge","where":[["name","==","br1"]],"columns":["name"]}]',
  );
  await tell('transact', relay.db, '["Open_vSwitch",{"op":"insert","table":"SSL","row":{"nocol":"x"}}]');
  await start(source, sourceMake, []);
  out(await source.c('ovs-vsctl', '-t5', '--no-wait', 'add-br', 'br2'));
  await until(async () => (await client('transact', relay.db, selectBridges)).stdout.includes('br2'), 15_000);
  await tell('transact', relay.db, insertSsl('y'));
  return story.join('--\n');
}

/** Commands of the daemon about logs of tables and about conditions. */
async function commandStory(make: Make): Promise<string[]> {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await start(sb, make, []);
  const told: string[] = [];
  for (const line of [
    'tlog-set Open_vSwitch:SSL on',
    'tlog-list',
    'tlog-set x on',
    'tlog-set nodb:SSL on',
    'tlog-set Open_vSwitch:Nope on',
    'tlog-set Open_vSwitch:SSL maybe',
  ]) {
    const [name, ...args] = line.split(' ');
    const { status, stdout, stderr } = await sb.c('ovs-appctl', '-t', 'ovsdb-server', `ovsdb-server/${name}`, ...args);
    told.push(`${line}\n${stdout}${stderr.split('\n')[0]} ${status}`);
  }
  const row = { private_key: 'x', external_ids: ['map', [['a', 'b']]] };
  const insert = JSON.stringify(['Open_vSwitch', { op: 'insert', table: 'SSL', row }]);
  const refer = { op: 'insert', table: 'Open_vSwitch', row: { ssl: ['named-uuid', 's'] } };
  const both = JSON.stringify(['Open_vSwitch', { op: 'insert', table: 'SSL', row, 'uuid-name': 's' }, refer]);
  out(await sb.c('ovsdb-client', 'transact', sb.db, insert));
  out(await sb.c('ovsdb-client', 'transact', sb.db, both));
  const line = await until(() => /transaction\|INFO\|(table:.*)/.exec(sb.log('ovsdb-server'))?.[1]);
  const words = line.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'UUID').split(',');
  told.push(words.sort().join(','));
  out(await sb.c('ovs-appctl', '-t', 'ovsdb-server', 'ovsdb-server/disable-monitor-cond'));
  const socket = connect(sb.path('db.sock'));
  socket.write(JSON.stringify({ id: 1, method: 'monitor_cond', params: ['Open_vSwitch', 1, { SSL: [{}] }] }));
  const [reply] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  told.push(String((JSON.parse(reply.toString()) as { error: unknown }).error));
  return told.map((text) => text.replaceAll(sb.dir, 'DIR'));
}

test('logs of tables, and life without conditions, are as in the original', { skip }, async () => {
  const [theirs, ours] = await Promise.all([commandStory('C'), commandStory('ours')]);
  assert.deepEqual(ours, theirs);
});

describe('relay', { skip }, () => {
  test('ours tells the story that the original’s tells, of either source', async () => {
    const [theirs, ours, ofOurs] = await Promise.all([
      relayStory('C', 'C'),
      relayStory('ours', 'C'),
      relayStory('ours', 'ours'),
    ]);
    assert.equal(ours, theirs);
    assert.equal(ofOurs, theirs);
  });

  test('follows the source to another schema', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server', [`--remote=punix:${sb.path('db.sock')}`, sb.path('conf.db')]);
    await using relay = await Sandbox.create();
    await relay.startOurs('ovsdb-server', [`relay:Open_vSwitch:unix:${relay.path('nowhere')},${sb.db}`]);
    const version = async () => (await sb.c('ovsdb-client', 'get-schema-version', relay.db, 'Open_vSwitch')).stdout;
    const schema = JSON.parse(out(await sb.c('ovsdb-client', 'get-schema', sb.db))) as Record<string, unknown>;
    await until(async () => (await version()) === `${schema['version']}\n`);
    const { writeFileSync } = await import('node:fs');
    writeFileSync(sb.path('new.ovsschema'), JSON.stringify({ ...schema, version: '99.0.0' }));
    out(await sb.c('ovsdb-client', 'convert', sb.db, sb.path('new.ovsschema')));
    await until(async () => (await version()) === '99.0.0\n');
  });

  test('what it cannot be is refused in the original’s words', async () => {
    await using sb = await Sandbox.create();
    for (const spec of ['relay:Open_vSwitch', 'relay:x']) {
      const theirs = await sb.c('ovsdb-server', spec);
      const ours = await sb.ours('ovsdb-server', spec);
      assert.deepEqual([ours.status, ours.stderr], [theirs.status, theirs.stderr]);
    }
  });
});
