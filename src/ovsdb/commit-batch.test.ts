import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Stream, streamPair } from '../base/stream.ts';
import { vlogParse } from '../base/vlog.ts';
import { createDatabase, openDatabase } from './file.ts';
import { executeTransaction } from './operations.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { OvsdbServer } from './server.ts';
import { Store } from './store.ts';
import type { Json, JsonObject } from './types.ts';

const SCHEMA = schemaFromJson({
  name: 'T',
  version: '1.0.0',
  tables: {
    A: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        text: { type: 'string' },
        n: { type: 'integer' },
        b: { type: { key: { type: 'uuid', refTable: 'B' }, min: 0, max: 'unlimited' } },
      },
      indexes: [['name']],
    },
    B: { columns: { n: { type: 'integer' } } },
  },
});

vlogParse('console:off');

const skip = process.getuid?.() === 0 ? false : 'only root mounts a small disk';

/** A disk that is soon full. */
class SmallDisk implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'sb-disk-'));

  constructor(size: string) {
    mkdirSync(this.dir, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', this.dir]);
  }

  database(): string {
    const path = join(this.dir, 'db');
    createDatabase(path, [schemaToJson(SCHEMA)]).close();
    return path;
  }

  [Symbol.dispose](): void {
    execFileSync('umount', [this.dir]);
    rmSync(this.dir, { recursive: true });
  }
}

function opened(path: string): Store {
  const { db, log } = openDatabase(path, 'write');
  return new Store(db, log);
}

const insert = (name: string, size: number): Json[] => [
  { op: 'insert', table: 'A', row: { name, text: 't'.repeat(size), b: ['named-uuid', 'b'] } },
  { op: 'insert', table: 'B', 'uuid-name': 'b', row: { n: size } },
];

const name = fc.integer({ min: 0, max: 9 }).map((i) => `n${i}`);
const size = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 12_000 }));
const where = (value: string): Json => [['name', '==', value]];
const transaction: fc.Arbitrary<Json[]> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(name, size).map(([n, s]) => insert(n, s)) },
  fc
    .tuple(name, size)
    .map(([n, s]): Json[] => [{ op: 'update', table: 'A', where: where(n), row: { text: 'u'.repeat(s) } }]),
  name.map((n): Json[] => [{ op: 'mutate', table: 'A', where: where(n), mutations: [['n', '+=', 1]] }]),
  name.map((n): Json[] => [{ op: 'delete', table: 'A', where: where(n) }]),
  fc.tuple(name, name).map(([a, b]): Json[] => [{ op: 'update', table: 'A', where: where(a), row: { name: b } }]),
  name.map((n): Json[] => [{ op: 'select', table: 'A', where: where(n), columns: ['name', 'n', 'text'] }]),
);

/** Results without what differs from run to run. */
const plain = (results: Json[]): string =>
  JSON.stringify(results).replace(/[0-9a-f]{8}-[0-9a-f-]{27}|sb-disk-\w+/g, 'U');

function execute(store: Store, operations: Json[]) {
  const outcome = executeTransaction(store.db, ['T', ...operations], { ownsLock: () => false });
  assert.ok(!(outcome instanceof Error) && outcome.kind === 'done');
  return outcome;
}

/** What each transaction says when each is written before the next begins. */
function oneByOne(store: Store, transactions: Json[][]): string[] {
  return transactions.map((operations) => {
    const { results, txn } = execute(store, operations);
    try {
      if (txn !== null) store.commit(txn);
    } catch (error) {
      results.push((error as { toJson(): Json }).toJson());
    }
    return plain(results);
  });
}

function together(store: Store, transactions: Json[][]): string[] {
  const said: string[] = [];
  const submit = (operations: Json[]): void => {
    const { results, txn } = execute(store, operations);
    store.submit({
      txn,
      done: (error) => void said.push(plain(error === null ? results : [...results, error.toJson() as Json])),
      redo: () => submit(operations),
    });
  };
  for (const operations of transactions) submit(operations);
  store.flush();
  return said;
}

function contents(db: Store['db']): string {
  const rows = [...db.tables.values()].map((table) =>
    [...table.rows.values()].map((row) => plain(row.data as unknown as Json[])).sort(),
  );
  const books = [...db.tables.values()].map((t) => [
    [...t.strong.values()].sort(),
    t.indexes.map((i) => [...i.keys()].sort()),
  ]);
  return JSON.stringify([rows, books, db.rowCount]);
}

describe('group commit', () => {
  test('on a disk that fills up accepts, refuses and leaves what single commits do', { skip }, () => {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(fc.array(transaction, { minLength: 10, maxLength: 25 }), { minLength: 2, maxLength: 5 }),
        (batches) => {
          using a = new SmallDisk('32k');
          using b = new SmallDisk('32k');
          const single = opened(a.database());
          const grouped = opened(b.database());
          try {
            for (const batch of batches) {
              const expected = oneByOne(single, batch);
              assert.deepEqual(together(grouped, batch), expected);
              assert.equal(contents(grouped.db), contents(single.db));
              refused += expected.filter((text) => text.includes('No space left on device')).length;
            }
          } finally {
            single.close();
            grouped.close();
          }
          const again = openDatabase(join(b.dir, 'db'), 'read');
          again.log.close();
          assert.equal(contents(again.db), contents(grouped.db));
        },
      ),
      { numRuns: 30, endOnFailure: true },
    );
    assert.ok(refused > 10, `${refused} were refused`);
  });

  test('tells monitors and clients, in order, of nothing but what was written', { skip }, async () => {
    using disk = new SmallDisk('32k');
    const server = new OvsdbServer();
    server.addDatabase(disk.database());
    const [client, theirs] = streamPair();
    server.attach(theirs);
    const heard: JsonObject[] = [];
    const enough = received(client, heard, (messages) => messages.some((m) => m['id'] === 99));
    const ask = (id: number, method: string, ...params: Json[]) => JSON.stringify({ id, method, params });
    const texts = [ask(0, 'monitor', 'T', null, { A: { columns: ['name'] } })];
    for (let i = 1; i <= 20; i++) {
      const operations = insert(`n${i}`, i === 7 ? 100_000 : 100);
      const durable: Json[] = i % 2 === 0 ? [{ op: 'commit', durable: true }] : [];
      texts.push(ask(i, 'transact', 'T', ...operations, ...durable));
    }
    texts.push(ask(99, 'echo'));
    client.write(Buffer.from(texts.join('')));
    await enough;
    const ids = heard.flatMap((m) => (m['id'] === null ? [] : [m['id'] as number]));
    assert.deepEqual(ids, [...Array(21).keys(), 99]);
    const failed = heard.filter((m) => JSON.stringify(m['result'])?.includes('No space left on device'));
    assert.deepEqual(
      failed.map((m) => m['id']),
      [7],
    );
    const told: string[] = [];
    for (const message of heard) {
      if (message['method'] === 'update') told.push(...(JSON.stringify(message).match(/n\d+(?=")/g) ?? []));
      // An update comes before the reply to what caused it.
      else if (typeof message['id'] === 'number' && message['id'] > 0 && ![7, 99].includes(message['id'])) {
        assert.ok(told.includes(`n${message['id']}`));
      }
    }
    assert.deepEqual(
      told,
      Array.from({ length: 20 }, (_, i) => `n${i + 1}`).filter((n) => n !== 'n7'),
    );
    client.close();
    server.close();
  });
});

/** When enough messages have come. */
function received(stream: Stream, into: JsonObject[], isEnough: (messages: JsonObject[]) => boolean): Promise<void> {
  return new Promise((resolve) => {
    let text = '';
    stream.onData((bytes) => {
      text += Buffer.from(bytes).toString();
      const parts = text.split(/(?<=\})(?=\{"id":)/);
      text = parts.pop()!;
      if (text.endsWith('}')) parts.push(text);
      if (text.endsWith('}')) text = '';
      into.push(...parts.map((part) => JSON.parse(part) as JsonObject));
      if (isEnough(into)) resolve();
    });
  });
}
