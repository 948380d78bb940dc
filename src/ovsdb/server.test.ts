import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { JsonRpc, type JsonRpcMessage } from '../base/jsonrpc.ts';
import { type Stream, streamPair } from '../base/stream.ts';
import { createDatabase } from './file.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { OvsdbServer, type OvsdbServerOptions } from './server.ts';
import { type Json, type JsonObject, parseJson } from './types.ts';

const SCHEMA = schemaFromJson({
  name: 'T',
  version: '1.0.0',
  tables: {
    A: {
      columns: {
        i: { type: 'integer' },
        s: { type: { key: 'string', min: 0, max: 'unlimited' } },
      },
    },
  },
});

class Client {
  readonly stream: Stream;
  readonly heard: Json[] = [];
  closed: string | null | undefined;
  private readonly rpc: JsonRpc;
  private id = 0;
  private readonly replies = new Map<number, (m: Json) => void>();

  constructor(server: OvsdbServer) {
    const [mine, theirs] = streamPair();
    this.stream = mine;
    server.attach(theirs);
    this.rpc = new JsonRpc(mine, { parse: parseJson });
    this.rpc.onMessage((m) => this.receive(m));
    this.rpc.onClose((error) => (this.closed = error));
  }

  private receive(m: JsonRpcMessage): void {
    if ('method' in m) {
      this.heard.push([m.method, ...(m.params as Json[])]);
      return;
    }
    this.heard.push(`reply ${m.id}`);
    this.replies.get(m.id as number)?.((m.error ?? m.result) as Json);
  }

  call(method: string, ...params: Json[]): Promise<Json> {
    const id = this.id++;
    this.rpc.send({ id, method, params });
    return new Promise((resolve) => this.replies.set(id, resolve));
  }

  notify(method: string, ...params: Json[]): void {
    this.rpc.send({ id: null, method, params });
  }

  transact(...operations: Json[]): Promise<Json> {
    return this.call('transact', 'T', ...operations);
  }

  /** Notifications since last asked. */
  news(): Json[] {
    return this.heard.splice(0).filter((m) => Array.isArray(m));
  }
}

function memoryServer(options?: OvsdbServerOptions): OvsdbServer {
  const server = new OvsdbServer(options);
  server.addMemoryDatabase(SCHEMA);
  return server;
}

const insert = (i: number, uuid?: string) => ({ op: 'insert', table: 'A', row: { i }, ...(uuid ? { uuid } : {}) });
const setTo = (i: number, row: JsonObject) => ({ op: 'update', table: 'A', where: [['i', '==', i]], row });
const U1 = '00000000-0000-4000-8000-000000000001';

describe('monitors', () => {
  test('tell of contents, then of changes, each version in its own form', async () => {
    const server = memoryServer();
    const client = new Client(server);
    await client.transact(insert(1, U1));
    const request = { A: { columns: ['i', 's'] } };
    assert.deepEqual(await client.call('monitor', 'T', 1, request), { A: { [U1]: { new: { i: 1, s: ['set', []] } } } });
    assert.deepEqual(await client.call('monitor_cond', 'T', 2, request), { A: { [U1]: { initial: { i: 1 } } } });
    const zero = '00000000-0000-0000-0000-000000000000';
    assert.deepEqual(await client.call('monitor_cond_since', 'T', 3, request, zero), [
      false,
      zero,
      { A: { [U1]: { initial: { i: 1 } } } },
    ]);
    client.news();
    await client.transact(setTo(1, { s: ['set', ['a', 'b']] }));
    const diff = { A: { [U1]: { modify: { s: ['set', ['a', 'b']] } } } };
    assert.deepEqual(client.news(), [
      ['update', 1, { A: { [U1]: { old: { s: ['set', []] }, new: { i: 1, s: ['set', ['a', 'b']] } } } }],
      ['update2', 2, diff],
      ['update3', 3, zero, diff],
    ]);
    await client.transact({ op: 'delete', table: 'A', where: [] });
    assert.deepEqual(client.news()[1], ['update2', 2, { A: { [U1]: { delete: null } } }]);
    server.close();
  });

  test('an update comes before the reply to the transaction that caused it', async () => {
    const server = memoryServer();
    const client = new Client(server);
    await client.call('monitor', 'T', null, { A: {} });
    client.heard.length = 0;
    await client.transact(insert(1));
    assert.ok(Array.isArray(client.heard[0]));
    assert.equal(client.heard[1], 'reply 1');
    server.close();
  });

  test('clients that want the same share one view', async () => {
    const server = memoryServer();
    const clients = [1, 2, 3].map(() => new Client(server));
    for (const client of clients) await client.call('monitor_cond', 'T', null, { A: { where: [['i', '>', 0]] } });
    assert.equal(server.store('T')!.viewCount, 1);
    await clients[0]!.transact(insert(5));
    await clients[2]!.call('echo');
    assert.deepEqual(clients[0]!.news(), clients[2]!.news());
    await clients[1]!.call('monitor_cancel', null);
    clients[0]!.stream.close();
    clients[2]!.stream.close();
    await new Promise(setImmediate);
    assert.equal(server.store('T')!.viewCount, 0);
    server.close();
  });

  test('rows come and go with the condition', async () => {
    const server = memoryServer();
    const client = new Client(server);
    await client.transact(insert(1, U1));
    await client.call('monitor_cond', 'T', 'm', { A: { columns: ['i'], where: [['i', '>', 5]] } });
    client.news();
    await client.transact(setTo(1, { i: 9 }));
    assert.deepEqual(client.news(), [['update2', 'm', { A: { [U1]: { insert: { i: 9 } } } }]]);
    assert.deepEqual(await client.call('monitor_cond_change', 'm', 'n', { A: [{ where: [false] }] }), {});
    assert.deepEqual(client.news(), [['update2', 'n', { A: { [U1]: { delete: null } } }]]);
    await client.transact(setTo(9, { i: 10 }));
    assert.deepEqual(client.news(), []);
    await client.call('monitor_cond_change', 'n', 'n', { A: [{ where: [] }] });
    assert.deepEqual(client.news(), [['update2', 'n', { A: { [U1]: { insert: { i: 10 } } } }]]);
    server.close();
  });

  test('requests that came together are answered in their order, others between them', async () => {
    const server = memoryServer();
    const busy = new Client(server);
    const other = new Client(server);
    await busy.transact(...Array.from({ length: 250 }, (_, i) => insert(i)));
    busy.heard.length = 0;
    const select = { op: 'select', table: 'A', where: [] };
    let answered = 0;
    const replies = Array.from({ length: 400 }, () => busy.transact(select).then(() => answered++));
    await new Promise((resolve) => setImmediate(resolve));
    await other.call('echo');
    assert.ok(answered < 400, 'the other was heard only when all was done');
    await Promise.all(replies);
    assert.deepEqual(
      busy.heard,
      Array.from({ length: 400 }, (_, i) => `reply ${i + 1}`),
    );
    server.close();
  });

  test('a large select says what small ones say, in its place among results and replies', async () => {
    const server = memoryServer();
    const client = new Client(server);
    await client.transact(...Array.from({ length: 700 }, (_, i) => insert(i)));
    const select = (where: Json, columns: Json = ['_uuid', 'i', 's']) => ({ op: 'select', table: 'A', where, columns });
    const large = client.transact(select([]), insert(700), select([['i', '<', 1]], ['i']), select([]));
    const echo = client.call('echo', 'after');
    type Rows = { rows: JsonObject[] }[];
    const [before, , one, after] = (await large) as Rows;
    await echo;
    assert.deepEqual(one, { rows: [{ i: 0 }] });
    assert.deepEqual([before!.rows.length, after!.rows.length], [700, 701]);
    for (const row of after!.rows) {
      const [{ rows }] = (await client.transact(select([['_uuid', '==', row['_uuid']!]]))) as [Rows[0]];
      assert.deepEqual(rows, [row]);
    }
    const replies = client.heard.filter((m) => typeof m === 'string').slice(1, 3);
    assert.deepEqual(replies, ['reply 1', 'reply 2']);
    server.close();
  });

  test('large contents come whole and in order, with what changes meanwhile behind them', async () => {
    const server = memoryServer();
    const writer = new Client(server);
    for (let n = 0; n < 20; n++) await writer.transact(...Array.from({ length: 100 }, (_, i) => insert(n * 100 + i)));
    const clients = [1, 2, 3].map(() => new Client(server));
    const replies = clients.flatMap((client) => [
      client.call('monitor', 'T', 'a', { A: {} }),
      client.call('monitor_cond', 'T', 'b', { A: { where: [['i', '<', 5]] } }),
      client.call('monitor_cond_since', 'T', 'c', { A: {} }, U1),
      client.call('echo', 'end'),
    ]);
    await new Promise((resolve) => setImmediate(resolve));
    await writer.transact(insert(-1));
    const sizes = (await Promise.all(replies)).map((reply) => {
      const tables = (Array.isArray(reply) ? reply[2] : reply) as JsonObject | undefined;
      return Object.keys((tables?.['A'] as JsonObject | undefined) ?? {}).length;
    });
    assert.deepEqual(
      sizes,
      [1, 2, 3].flatMap(() => [2000, 5, 2000, 0]),
    );
    for (const client of clients) {
      const kinds = client.heard.map((m) => (Array.isArray(m) ? m[0] : m));
      assert.deepEqual(kinds.slice(0, 1), ['reply 0']);
      assert.equal(kinds.indexOf('update2') > kinds.indexOf('reply 1'), true);
      assert.deepEqual([...kinds].sort(), ['reply 0', 'reply 1', 'reply 2', 'reply 3', 'update', 'update2', 'update3']);
    }
    server.close();
  });

  test('a client that does not read is dropped, and others are not', async () => {
    const server = memoryServer({ maxBacklog: 20_000 });
    const lazy = new Client(server);
    const busy = new Client(server);
    await lazy.call('monitor', 'T', null, { A: {} });
    lazy.stream.pause();
    for (let i = 0; i < 500 && server.sessions.size > 1; i++) await busy.transact(insert(i));
    assert.equal(server.sessions.size, 1);
    assert.deepEqual(await busy.call('echo', 'x'), ['x']);
    server.close();
  });
});

describe('a wait', () => {
  const wait = (timeout?: number): JsonObject => ({
    op: 'wait',
    table: 'A',
    where: [],
    columns: ['i'],
    until: '==',
    rows: [{ i: 5 }],
    ...(timeout === undefined ? {} : { timeout }),
  });

  test('is answered when another client makes it true', async () => {
    const server = memoryServer();
    const [waiter, other] = [new Client(server), new Client(server)];
    const answer = waiter.transact(wait(), setTo(5, { i: 6 }));
    assert.deepEqual(await waiter.call('echo', 'passes'), ['passes']);
    await other.transact(insert(5));
    assert.deepEqual(await answer, [{}, { count: 1 }]);
    server.close();
  });

  test('times out, or is canceled, or ends with its client', async () => {
    const server = memoryServer();
    const client = new Client(server);
    const [late] = (await client.transact(wait(20))) as [JsonObject];
    assert.equal(late['error'], 'timed out');
    assert.match(String(late['details']), /^"wait" timed out after \d+ ms$/);
    const canceled = client.transact(wait());
    client.notify('cancel', 1);
    assert.equal(await canceled, 'canceled');
    void client.transact(wait());
    await client.call('echo');
    client.stream.close();
    await new Promise(setImmediate);
    assert.equal(server.memory()['triggers'], undefined);
    server.close();
  });
});

test('locks pass on in order, and may be stolen', async () => {
  const server = memoryServer();
  const [a, b, c] = [new Client(server), new Client(server), new Client(server)] as const;
  assert.deepEqual(await a.call('lock', 'x'), { locked: true });
  assert.deepEqual(await b.call('lock', 'x'), { locked: false });
  assert.deepEqual(((await b.transact({ op: 'assert', lock: 'x' })) as JsonObject[])[0]!['error'], 'not owner');
  assert.deepEqual(await c.call('steal', 'x'), { locked: true });
  await a.call('echo');
  assert.deepEqual(a.news(), [['stolen', 'x']]);
  c.stream.close();
  await a.call('echo');
  assert.deepEqual(a.news(), [['locked', 'x']]);
  assert.deepEqual(await a.call('unlock', 'x'), {});
  await b.call('echo');
  assert.deepEqual(b.news(), [['locked', 'x']]);
  assert.deepEqual(await b.transact({ op: 'assert', lock: 'x' }), [{}]);
  server.close();
});

test('_Server tells of the databases, and clients are told when one changes its shape', async () => {
  const server = memoryServer();
  const [aware, plain] = [new Client(server), new Client(server)];
  await aware.call('set_db_change_aware', true);
  await plain.call('echo');
  const names = await aware.call('transact', '_Server', {
    op: 'select',
    table: 'Database',
    where: [],
    columns: ['name', 'model', 'connected'],
  });
  assert.deepEqual(names, [{ rows: ['_Server', 'T'].map((name) => ({ name, model: 'standalone', connected: true })) }]);
  assert.deepEqual(await aware.call('transact', '_Server', { op: 'delete', table: 'Database', where: [] }), [
    { error: 'not allowed', details: 'delete operation not allowed on table in reserved database _Server' },
  ]);
  await aware.call('monitor', 'T', 'm', { A: {} });
  aware.news();
  server.removeDatabase('T');
  await aware.call('echo');
  assert.deepEqual(aware.news(), [['monitor_canceled', 'm']]);
  assert.equal(plain.closed, null);
  assert.deepEqual(await aware.call('list_dbs'), ['_Server']);
  server.close();
});

test('a durable commit is answered from the disk, and what follows stays behind it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ovsdb-server-'));
  try {
    const file = join(dir, 'db');
    createDatabase(file, [schemaToJson(SCHEMA)]).close();
    const server = new OvsdbServer();
    server.addDatabase(file);
    const client = new Client(server);
    const first = client.transact(insert(1), { op: 'commit', durable: true });
    const second = client.transact(insert(2));
    await Promise.all([first, second]);
    assert.deepEqual(client.heard, ['reply 0', 'reply 1']);
    const next = schemaFromJson({
      name: 'T',
      tables: { A: { columns: { i: { type: { key: 'integer', min: 0, max: 5 } } } } },
    });
    await client.call('set_db_change_aware', true);
    assert.deepEqual(await client.call('convert', 'T', schemaToJson(next)), {});
    const rows = await client.transact({ op: 'select', table: 'A', where: [['i', '>=', 2]], columns: ['i'] });
    assert.equal((rows as JsonObject[])[0]!['error'], 'syntax error');
    assert.deepEqual(
      await client.transact({ op: 'select', table: 'A', where: [['i', 'includes', 2]], columns: ['i'] }),
      [{ rows: [{ i: 2 }] }],
    );
    server.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('no request brings the server down', async () => {
  const server = memoryServer();
  const methods = [
    'transact',
    'monitor',
    'monitor_cond',
    'monitor_cond_since',
    'monitor_cond_change',
    'monitor_cancel',
    'lock',
    'steal',
    'unlock',
    'convert',
    'get_schema',
    'set_db_change_aware',
    'cancel',
    'nonsense',
  ];
  const words = fc.constantFrom<Json>(
    'T',
    'A',
    'i',
    's',
    '==',
    'includes',
    'op',
    'select',
    'insert',
    'where',
    'columns',
    null,
    5,
    true,
    ['set', []],
  );
  const { params } = fc.letrec<{ params: Json; value: Json }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      words,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom(
          'op',
          'table',
          'where',
          'row',
          'columns',
          'rows',
          'until',
          'A',
          'mutations',
          'select',
          '__proto__',
        ),
        tie('value'),
        { maxKeys: 4 },
      ),
    ),
    params: fc.array(tie('value'), { maxLength: 4 }).map((list): Json => ['T', ...list]),
  }));
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...methods), params, async (method, list) => {
      const client = new Client(server);
      if (method === 'cancel') client.notify(method, ...(list as Json[]));
      else void client.call(method, ...(list as Json[]));
      assert.deepEqual(await client.call('echo', 1), [1]);
      client.stream.close();
    }),
    { numRuns: 300 },
  );
  server.close();
});
