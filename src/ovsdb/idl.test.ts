import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonRpc } from '../base/jsonrpc.ts';
import { type Stream, streamPair } from '../base/stream.ts';
import { createDatabase } from './file.ts';
import { Idl, type RowChange, type TableRequests } from './idl.ts';
import { type Json, type JsonObject, parseJson } from './json.ts';
import { schemaFromJson } from './schema.ts';
import { OvsdbServer } from './server.ts';
import { ServerStatus } from './server-status.ts';

const SCHEMA: Json = {
  name: 'Test',
  version: '1.0.0',
  tables: {
    Item: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        count: { type: 'integer' },
        tags: { type: { key: 'string', min: 0, max: 'unlimited' } },
        map: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
        note: { type: { key: 'string', min: 0, max: 1 } },
        other: { type: { key: { type: 'uuid', refTable: 'Item', refType: 'weak' }, min: 0, max: 'unlimited' } },
        hidden: { type: 'integer' },
      },
      indexes: [['name']],
    },
  },
};

const TABLES: TableRequests = { Item: ['name', 'count', 'tags', 'map', 'note', 'other'] };

function setUp() {
  const server = new OvsdbServer();
  server.addMemoryDatabase(schemaFromJson(SCHEMA));
  const channels: Stream[] = [];
  const connect = (options: Partial<ConstructorParameters<typeof Idl>[1]> = {}) => {
    const open = async () => {
      const [ours, theirs] = streamPair();
      server.attach(theirs);
      channels.push(ours);
      return ours;
    };
    return new Idl(open, { database: 'Test', tables: TABLES, maxBackoffMs: 1, ...options }).start();
  };
  return { server, connect, channels };
}

/** What a replica holds, comparable. */
function contents(idl: Idl): string[] {
  return [...idl.table('Item').rows()]
    .map(
      (row) =>
        `${row.uuid} ${JSON.stringify(['name', 'count', 'tags', 'map', 'note', 'other'].map((c) => row.get(c)))}`,
    )
    .sort();
}

/** Fails if a change is told twice or of a row that is not there. */
function ledger(idl: Idl): Map<string, string> {
  const told = new Map<string, string>();
  idl.onChange((changes: readonly RowChange[]) => {
    for (const { row, kind } of changes) {
      const now = JSON.stringify(row.datums);
      if (kind === 'insert') assert.ok(!told.has(row.uuid), 'a row is inserted once');
      else assert.ok(told.has(row.uuid), `${kind} of a row that was told of`);
      if (kind === 'modify') assert.notEqual(told.get(row.uuid), now, 'a modification changes something');
      if (kind === 'delete') told.delete(row.uuid);
      else told.set(row.uuid, now);
    }
  });
  return told;
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > end) assert.fail('timed out');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const step = fc.oneof(
  fc.record({ do: fc.constant('insert' as const), name: fc.nat(6), count: fc.integer() }),
  fc.record({
    do: fc.constant('set' as const),
    name: fc.nat(6),
    count: fc.integer({ min: -2, max: 2 }),
    note: fc.boolean(),
  }),
  fc.record({ do: fc.constant('add' as const), name: fc.nat(6), tag: fc.nat(4), value: fc.nat(2) }),
  fc.record({ do: fc.constant('remove' as const), name: fc.nat(6), tag: fc.nat(4) }),
  fc.record({ do: fc.constant('refer' as const), name: fc.nat(6), to: fc.nat(6) }),
  fc.record({ do: fc.constant('delete' as const), name: fc.nat(6) }),
  fc.record({ do: fc.constant('drop' as const) }),
);

test('a replica equals the database after any transactions and disconnections, and tells each change once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      const { connect, channels } = setUp();
      const writer = connect();
      await writer.synced();
      const follower = connect();
      const told = ledger(follower);
      await follower.synced();
      for (const one of steps) {
        if (one.do === 'drop') {
          if (channels.length > 1) channels[channels.length - 1].close();
          continue;
        }
        const txn = writer.transaction();
        const find = (n: number) => [...writer.table('Item').rows()].find((row) => row.string('name') === `n${n}`);
        const row = find(one.name);
        if (one.do === 'insert') txn.insert(writer.table('Item'), { name: `n${one.name}`, count: one.count });
        else if (row === undefined) continue;
        else if (one.do === 'set') {
          txn.set(row, 'count', one.count);
          txn.set(row, 'note', one.note ? 'yes' : null);
        } else if (one.do === 'add') {
          txn.add(row, 'tags', [`t${one.tag}`]);
          txn.add(row, 'map', { [`k${one.tag}`]: one.value });
        } else if (one.do === 'remove') {
          txn.remove(row, 'tags', [`t${one.tag}`]);
          txn.remove(row, 'map', [`k${one.tag}`]);
        } else if (one.do === 'refer') {
          const target = find(one.to);
          if (target !== undefined) txn.add(row, 'other', [target]);
        } else txn.delete(row);
        const { status } = await txn.commit();
        // A second row of one name violates the index.
        assert.ok(
          status === 'success' || status === 'unchanged' || (status === 'error' && one.do === 'insert'),
          status,
        );
      }
      await until(() => follower.isSynced && contents(follower).join() === contents(writer).join());
      await until(() => told.size === follower.table('Item').size);
      for (const row of follower.table('Item').rows()) assert.equal(told.get(row.uuid), JSON.stringify(row.datums));
      writer.close();
      follower.close();
    }),
    { numRuns: 25 },
  );
});

test('a transaction that verifies what has changed meanwhile is to be tried again', async () => {
  const { connect } = setUp();
  const [first, second] = [connect(), connect()];
  await Promise.all([first.synced(), second.synced()]);
  const make = first.transaction();
  make.insert(first.table('Item'), { name: 'a', count: 1 });
  assert.equal((await make.commit()).status, 'success');
  await until(() => second.table('Item').size === 1);

  const row = first.table('Item').only()!;
  const stale = first.transaction();
  stale.verify(row, 'count');
  stale.set(row, 'count', row.integer('count')! + 1);
  const quick = second.transaction();
  quick.set(second.table('Item').only()!, 'count', 10);
  const [quickResult, staleResult] = await Promise.all([quick.commit(), stale.commit()]);
  assert.equal(quickResult.status, 'success');
  assert.equal(staleResult.status, 'try again');
  assert.equal(row.integer('count'), 10);
  first.close();
  second.close();
});

test('rows made in one transaction refer to each other, and are known by their UUIDs afterwards', async () => {
  const { connect } = setUp();
  const idl = connect();
  await idl.synced();
  const txn = idl.transaction();
  const a = txn.insert(idl.table('Item'), { name: 'a' });
  const b = txn.insert(idl.table('Item'), { name: 'b', other: [a] });
  txn.set(a, 'other', [b]);
  assert.deepEqual(txn.view(a).refs('other'), [b]);
  const result = await txn.commit();
  assert.equal(result.status, 'success');
  const real = idl.table('Item').get(result.insertedUuid(a)!)!;
  assert.deepEqual(
    real.refs('other').map((row) => row.string('name')),
    ['b'],
  );
  idl.close();
});

test('writing what is there already is unchanged, and nothing is sent', async () => {
  const { connect } = setUp();
  const idl = connect();
  await idl.synced();
  const make = idl.transaction();
  make.insert(idl.table('Item'), { name: 'a', tags: ['x'], map: { k: 1 } });
  await make.commit();
  const row = idl.table('Item').only()!;
  const txn = idl.transaction();
  txn.set(row, 'name', 'a');
  txn.add(row, 'tags', ['x']);
  txn.add(row, 'map', { k: 1 });
  txn.remove(row, 'tags', ['absent']);
  txn.comment('nothing');
  assert.equal((await txn.commit()).status, 'unchanged');
  idl.close();
});

test('a map pair with another value replaces the old one', async () => {
  const { connect } = setUp();
  const idl = connect();
  await idl.synced();
  const make = idl.transaction();
  make.insert(idl.table('Item'), { name: 'a', map: { k: 1, l: 2 } });
  await make.commit();
  const row = idl.table('Item').only()!;
  const txn = idl.transaction();
  txn.add(row, 'map', { k: 5 });
  txn.remove(row, 'map', ['l']);
  assert.deepEqual([...txn.view(row).map('map')], [['k', '5']]);
  assert.equal((await txn.commit()).status, 'success');
  assert.deepEqual([...row.map('map')], [['k', '5']]);
  idl.close();
});

test('a lock goes to one client, and to the next when that one leaves', async () => {
  const { connect } = setUp();
  const first = connect({ lock: 'l' });
  await first.synced();
  const second = connect({ lock: 'l' });
  await second.synced();
  assert.ok(first.hasLock);
  assert.ok(second.isLockContended);
  const txn = second.transaction();
  txn.insert(second.table('Item'), { name: 'no' });
  assert.equal((await txn.commit()).status, 'try again');
  first.close();
  await until(() => second.hasLock);
  const again = second.transaction();
  again.insert(second.table('Item'), { name: 'yes' });
  assert.equal((await again.commit()).status, 'success');
  second.close();
});

test('increment counts only with a change, and says what it came to', async () => {
  const { connect } = setUp();
  const idl = connect();
  await idl.synced();
  const make = idl.transaction();
  make.insert(idl.table('Item'), { name: 'a', count: 4 });
  await make.commit();
  const row = idl.table('Item').only()!;
  const idle = idl.transaction();
  idle.increment(row, 'count');
  assert.equal((await idle.commit()).status, 'unchanged');
  const txn = idl.transaction();
  txn.set(row, 'note', 'x');
  txn.increment(row, 'count');
  const result = await txn.commit();
  assert.equal(result.incremented, 5);
  idl.close();
});

test('a server that sends nonsense is left, and the replica stays', async () => {
  const { connect, channels } = setUp();
  const idl = connect();
  await idl.synced();
  const make = idl.transaction();
  make.insert(idl.table('Item'), { name: 'a' });
  await make.commit();
  const failures: (string | null)[] = [];
  idl.onFailure(({ error }) => failures.push(error));
  // As if the server had said it.
  (idl as unknown as { receive(message: Json): void }).receive({
    method: 'update3',
    params: ['Test', '00000000-0000-0000-0000-000000000001', { Item: { nonsense: { modify: { count: 1 } } } }],
    id: null,
  });
  assert.equal(failures.length, 1);
  await until(() => idl.isSynced);
  assert.equal(idl.table('Item').only()?.string('name'), 'a');
  assert.equal(channels.length, 2);
  idl.close();
});

test('what a server lacks reads as if empty, and is not asked for', async () => {
  const newer = structuredClone(SCHEMA) as { tables: Record<string, { columns: Record<string, Json> }> };
  newer.tables['Item'].columns['recent'] = { type: { key: 'string', min: 0, max: 1 } };
  newer.tables['Later'] = { columns: { name: { type: 'string' } } };
  const assumedSchema = schemaFromJson(newer as unknown as Json);
  const tables: TableRequests = { Item: ['name', 'recent'], Later: ['name'] };
  const { connect } = setUp();
  for (const eager of [true, false]) {
    const idl = connect({ assumedSchema, tables, eager });
    await idl.synced();
    const txn = idl.transaction();
    const made = txn.insert(idl.table('Item'), { name: `n${eager}` });
    const result = await txn.commit();
    assert.equal(result.status, 'success');
    assert.equal(idl.table('Item').get(result.insertedUuid(made)!)!.optionalString('recent'), null);
    assert.equal(idl.table('Later').size, 0);
    assert.equal(idl.hasTable('Later'), false);
    assert.equal(idl.hasColumn('Item', 'recent'), false);
    idl.close();
  }
});

test('a database that gets another schema keeps its rows, and the connection', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sb-idl-'));
  try {
    const file = join(dir, 'test.db');
    createDatabase(file, [SCHEMA as JsonObject]).close();
    const server = new OvsdbServer();
    server.addDatabase(file);
    let opened = 0;
    const open = async () => {
      const [ours, theirs] = streamPair();
      server.attach(theirs);
      opened++;
      return ours;
    };
    const idl = new Idl(open, { database: 'Test', tables: { Item: ['name', 'count', 'tags'], Added: ['x'] } }).start();
    const told = ledger(idl);
    await idl.synced();
    const make = idl.transaction();
    make.insert(idl.table('Item'), { name: 'a', count: 3, tags: ['x', 'y'] });
    make.insert(idl.table('Item'), { name: 'b' });
    assert.equal((await make.commit()).status, 'success');
    const [row] = [...idl.table('Item').rows()].filter((one) => one.string('name') === 'a');
    assert.equal(idl.hasTable('Added'), false);

    const newer = structuredClone(SCHEMA) as { tables: Record<string, { columns: Record<string, Json> }> };
    delete newer.tables['Item'].columns['tags'];
    newer.tables['Item'].columns['another'] = { type: 'integer' };
    newer.tables['Added'] = { columns: { x: { type: 'integer' } } };
    const converter = new JsonRpc(await open(), { parse: parseJson });
    converter.onMessage(() => {});
    converter.send({ id: 1, method: 'convert', params: ['Test', newer] });
    await until(() => idl.isSynced && idl.hasTable('Added'));
    assert.equal(opened, 2, 'nobody had to connect again');
    const [same] = [...idl.table('Item').rows()].filter((one) => one.string('name') === 'a');
    assert.equal(same, row);
    assert.equal(same.integer('count'), 3);

    const change = idl.transaction();
    change.set(same, 'count', 4);
    assert.equal((await change.commit()).status, 'success');
    assert.equal(row.integer('count'), 4);
    assert.equal(told.size, 2);
    idl.close();
    server.close();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a replica has the rows for which a condition holds, as it changes and after a reconnection', async () => {
  const { connect, channels } = setUp();
  const writer = connect();
  const idl = connect();
  await Promise.all([writer.synced(), idl.synced()]);
  const told = ledger(idl);
  const names = () =>
    [...idl.table('Item').rows()]
      .map((row) => row.string('name'))
      .sort()
      .join();
  const make = writer.transaction();
  for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) make.insert(writer.table('Item'), { name, count: i });
  await make.commit();
  await until(() => names() === 'a,b,c,d');
  await idl.setCondition('Item', [
    ['count', '==', 1],
    ['name', '==', 'd'],
  ]);
  assert.equal(names(), 'b,d');
  const change = writer.transaction();
  for (const row of writer.table('Item').rows()) change.set(row, 'count', 1);
  await change.commit();
  await until(() => names() === 'a,b,c,d');
  await idl.setCondition('Item', [['name', '==', 'c']]);
  assert.equal(names(), 'c');
  const lost = new Promise<void>((resolve) => idl.onFailure(() => resolve()));
  channels[1].close();
  await lost;
  await until(() => idl.isSynced);
  assert.equal(names(), 'c');
  await idl.setCondition('Item', null);
  assert.equal(names(), 'a,b,c,d');
  await until(() => told.size === 4);
  await assert.rejects(idl.setCondition('Item', [['nothing', '==', 1]]), /No column nothing in table Item/);
  idl.close();
  writer.close();
});

test('of servers that lag behind, that do not lead, or that are cut off, the next is tried', () => {
  const cluster = ['uuid', '00000000-0000-4000-8000-00000000000a'];
  const row = { name: 'D', model: 'clustered', connected: true, leader: true, cid: cluster, index: 7, schema: '{}' };
  const status = new ServerStatus({ database: 'D', leaderOnly: true, clusterId: null });
  const refusal = (changed: JsonObject): string | null => {
    status.reset();
    status.apply({ Database: { r: { initial: { ...row, ...changed } } } });
    return status.refusal();
  };
  assert.equal(refusal({}), null);
  assert.equal(refusal({ index: 6 }), 'clustered database server has stale data; trying another server');
  assert.equal(refusal({ index: 8 }), null);
  assert.equal(refusal({ index: 7 }), 'clustered database server has stale data; trying another server');
  assert.equal(refusal({ cid: ['uuid', '00000000-0000-4000-8000-00000000000b'], index: 1 }), null, 'another cluster');
  assert.equal(
    refusal({ leader: false, index: 9 }),
    'clustered database server is not cluster leader; trying another server',
  );
  assert.equal(
    refusal({ connected: false }),
    'clustered database server is disconnected from cluster; trying another server',
  );
  assert.equal(
    refusal({ schema: ['set', []] }),
    'clustered database server has not yet joined cluster; trying another server',
  );
  assert.equal(refusal({ model: 'relay' }), 'relay database server cannot be a leader; trying another server');
  assert.equal(refusal({ name: 'E' }), 'server does not have D database');
});
