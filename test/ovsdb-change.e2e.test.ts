/**
 * Databases that get another schema, or go, under their clients: what those that know of such things hear, in which order, and what becomes of the others; from our
 * server and the original's. And our replica, which keeps its rows and its connection.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { vlogParse } from '../src/base/vlog.ts';
import { Idl } from '../src/ovsdb/idl.ts';
import { missing, type Result, Sandbox, SCHEMA, until } from './support/sandbox.ts';

vlogParse('console:off');
const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'ovs-vsctl', 'ovs-appctl');
type Kind = 'startC' | 'startOurs';

function out({ status, stdout, stderr }: Result): string {
  assert.equal(status, 0, stderr);
  return stdout;
}

async function convert(sb: Sandbox, version: string): Promise<void> {
  const schema = JSON.parse(readFileSync(SCHEMA, 'utf8')) as {
    version: string;
    tables: Record<string, { columns: Record<string, unknown> }>;
  };
  schema.version = version;
  schema.tables['Bridge']!.columns['added'] = { type: 'integer' };
  writeFileSync(sb.path('new.ovsschema'), JSON.stringify(schema));
  out(await sb.c('ovsdb-client', 'convert', sb.db, sb.path('new.ovsschema')));
}

async function story(kind: Kind): Promise<string[]> {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb[kind]('ovsdb-server');
  out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'br0'));
  const told: string[] = [];
  for (const aware of [true, false]) {
    const socket = connect(sb.path('db.sock'));
    let heard = '';
    socket.on('data', (bytes) => (heard += bytes));
    socket.on('close', () => (heard += ' closed'));
    await once(socket, 'connect');
    const send = (id: number, method: string, ...params: unknown[]) =>
      socket.write(JSON.stringify({ id, method, params }));
    const until_ = async (end: RegExp) => {
      await until(() => end.test(heard), 10_000, `${end} in ${heard}`);
      told.push(heard.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'UUID'));
      heard = '';
    };
    const follow = async (id: number) => {
      send(id, 'monitor', 'Open_vSwitch', 'm', { Bridge: { columns: ['name'] } });
      const wait = {
        op: 'wait',
        table: 'Bridge',
        where: [],
        columns: ['name'],
        until: '==',
        rows: [{ name: 'never' }],
      };
      send(id + 1, 'transact', 'Open_vSwitch', wait);
      send(id + 2, 'echo', id);
      await until(() => heard.includes(`"result":[${id}]`));
      heard = '';
    };
    send(1, 'set_db_change_aware', aware);
    send(2, 'monitor', '_Server', 's', { Database: { columns: ['name'] } });
    send(3, 'lock', 'l');
    await follow(10);
    await convert(sb, aware ? '99.0.0' : '99.0.1');
    if (!aware) {
      await until_(/closed$/);
      continue;
    }
    await until_(/canceled"}$/);
    send(4, 'unlock', 'l');
    send(5, 'transact', 'Open_vSwitch', { op: 'select', table: 'Bridge', where: [], columns: ['name'] });
    send(6, 'monitor_cancel', 'm');
    await until_(/unknown monitor/);
    await follow(20);
    out(await sb.c('ovs-appctl', '-t', 'ovsdb-server', 'ovsdb-server/remove-db', 'Open_vSwitch'));
    await until_(/"update"/);
    out(await sb.c('ovs-appctl', '-t', 'ovsdb-server', 'ovsdb-server/add-db', sb.path('conf.db')));
    await until_(/"update"/);
    socket.destroy();
  }
  return told;
}

test('clients hear of a new schema and of a database’s end as from the original', { skip }, async () => {
  const [theirs, ours] = await Promise.all([story('startC'), story('startOurs')]);
  assert.deepEqual(ours, theirs);
});

for (const kind of ['startC', 'startOurs'] as const) {
  test(`a replica of ${kind === 'startC' ? 'their' : 'our'} server stays through a new schema`, { skip }, async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb[kind]('ovsdb-server');
    out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'br0'));
    const idl = new Idl(sb.db, { database: 'Open_vSwitch', tables: { Bridge: ['name', 'added'] } });
    const told: string[] = [];
    idl.onChange((changes) => told.push(...changes.map(({ kind: what, row }) => `${what} ${row.string('name')}`)));
    idl.onFailure(({ error }) => told.push(`lost: ${error}`));
    idl.start();
    try {
      await idl.synced();
      const row = idl.table('Bridge').only();
      await convert(sb, '99.0.0');
      await until(() => idl.isSynced && idl.hasColumn('Bridge', 'added'));
      out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'br1'));
      await until(() => idl.table('Bridge').size === 2 && told.length === 2);
      assert.equal(idl.table('Bridge').get(row!.uuid), row);
      assert.deepEqual(told, ['insert br0', 'insert br1']);
    } finally {
      idl.close();
    }
  });
}
