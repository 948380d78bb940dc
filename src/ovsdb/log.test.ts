import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { compactRecords, createDatabase, openDatabase } from './file.ts';
import { lockPath, OvsdbLog, setFileLocker } from './log.ts';
import { encodeRecord, LogReader } from './log-format.ts';
import { executeTransaction } from './operations.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { Store } from './store.ts';
import { type Json, type JsonObject, OvsdbError, stringifyJson } from './types.ts';

const dir = mkdtempSync(join(tmpdir(), 'ovsdb-log-'));
after(() => rmSync(dir, { recursive: true }));
let serial = 0;
const fresh = () => join(dir, `db${serial++}`);

const SCHEMA = schemaFromJson({
  name: 'T',
  tables: {
    A: {
      columns: {
        i: { type: 'integer' },
        s: { type: { key: 'string', min: 0, max: 'unlimited' } },
        m: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
        e: { type: 'integer', ephemeral: true },
      },
    },
  },
});

/** A database file that is open for writing. */
function served(path: string): Store {
  const { db, log } = openDatabase(path, 'write');
  return new Store(db, log);
}

function create(): string {
  const path = fresh();
  createDatabase(path, [schemaToJson(SCHEMA)]).close();
  return path;
}

function commit(store: Store, ...operations: Json[]) {
  const outcome = executeTransaction(store.db, ['T', ...operations], { ownsLock: () => false });
  assert.ok(!(outcome instanceof Error) && outcome.kind === 'done' && outcome.txn, stringifyJson(outcome));
  store.commit(outcome.txn);
}

const path = (store: Store) => store.log!.path;

function contents(store: { db: Store['db'] }): string {
  const rows = [...store.db.tables.get('A')!.rows.values()].map((row) => [row.uuid, ...row.data.slice(0, 3)]);
  return stringifyJson(rows.sort());
}

const insert = (i: number) => ({ op: 'insert', table: 'A', row: { i } });

describe('a database file', () => {
  test('is read as it was written, whatever was done to it', async () => {
    const strings = fc.uniqueArray(fc.string({ maxLength: 3 }), { maxLength: 4 });
    const row = fc.record(
      {
        i: fc.integer(),
        s: strings.map((s) => ['set', s]),
        m: strings.map((s) => ['map', s.map((k, n) => [k, n])]),
        e: fc.integer(),
      },
      { requiredKeys: [] },
    );
    const operation = fc.oneof(
      row.map((r) => ({ op: 'insert', table: 'A', row: r })),
      row.map((r) => ({ op: 'update', table: 'A', where: [['i', '>', 0]], row: r })),
      strings.map((s) => ({
        op: 'mutate',
        table: 'A',
        where: [],
        mutations: [
          ['s', 'insert', ['set', s]],
          ['m', 'delete', ['set', s]],
        ],
      })),
      fc.constant({ op: 'delete', table: 'A', where: [['i', '<', -1000]] }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(operation, { minLength: 1, maxLength: 3 }), { maxLength: 10 }),
        fc.nat(9),
        fc.nat(3),
        async (txns, at, pauses) => {
          const path = create();
          const store = served(path);
          // Commits go on while the file is written anew, and are in the new one.
          let compacted: Promise<void> | null = null;
          for (const [n, txn] of txns.entries()) {
            commit(store, ...(txn as Json[]));
            if (n === at) compacted = store.compact();
            for (let i = 0; i < pauses; i++) await new Promise((resolve) => setImmediate(resolve));
          }
          await compacted;
          store.close();
          const again = openDatabase(path, 'read');
          again.log.close();
          assert.equal(again.damage, null);
          assert.equal(contents(again), contents(store));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('has no record of what changes nothing or only ephemeral columns', () => {
    const store = served(create());
    commit(store, insert(1));
    const { size } = store.log!;
    commit(store, { op: 'update', table: 'A', where: [], row: { i: 1, e: 5 } });
    commit(store, { op: 'comment', comment: 'nothing' });
    assert.equal(store.log!.size, size);
    store.close();
  });

  test('whose tail was cut or spoilt is good up to there, and goes on from there', () => {
    for (const spoil of [
      (path: string) => truncateSync(path, statSync(path).size - 7),
      (path: string) => appendFileSync(path, 'garbage'),
      (path: string) => appendFileSync(path, `OVSDB JSON 10 ${'0'.repeat(40)}\n{"a":1}xyz`),
      (path: string) => appendFileSync(path, encodeRecord({ Z: {} })),
    ]) {
      const path = create();
      const store = served(path);
      commit(store, insert(1));
      const good = contents(store);
      commit(store, insert(2));
      const all = contents(store);
      store.close();
      spoil(path);
      const { db, log, damage } = openDatabase(path, 'write');
      assert.ok(damage instanceof OvsdbError);
      assert.ok([good, all].includes(contents({ db })));
      const repaired = new Store(db, log);
      commit(repaired, insert(3));
      repaired.close();
      const again = openDatabase(path, 'read');
      assert.equal(again.damage, null);
      assert.equal(contents(again), contents(repaired));
    }
  });

  test('any bytes are records or an error', () => {
    const record = fc.constantFrom<JsonObject>({ a: 1 }, { _date: 5, A: {} }).map((json) => encodeRecord(json));
    const noise = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.array(fc.oneof(record, noise)), fc.nat(300), (parts, cut) => {
        const bytes = Buffer.concat(parts);
        try {
          const reader = new LogReader('x', bytes.subarray(0, cut));
          while (reader.next() !== null) assert.ok(reader.goodEnd <= cut);
        } catch (error) {
          assert.ok(error instanceof OvsdbError, String(error));
        }
      }),
    );
  });

  test('says what it is not', () => {
    const path = fresh();
    assert.throws(() => OvsdbLog.open(path, 'read'), {
      message: `I/O error: ${path}: open failed (No such file or directory)`,
    });
    writeFileSync(path, '');
    assert.throws(() => OvsdbLog.open(path, 'read'), { message: `ovsdb error: ${path}: cannot identify file type` });
    assert.throws(() => OvsdbLog.open(path, 'create'), { message: `I/O error: ${path}: create failed (File exists)` });
    writeFileSync(path, 'hello\n');
    assert.throws(() => OvsdbLog.open(path, 'read'), { message: `ovsdb error: ${path}: unexpected file format` });
  });

  test('is created where a link points to', () => {
    const path = fresh();
    const link = fresh();
    symlinkSync(path, link);
    OvsdbLog.open(link, 'create').close();
    assert.ok(existsSync(path));
    assert.throws(() => OvsdbLog.open(link, 'create'), { message: `I/O error: ${link}: create failed (File exists)` });
  });

  test('is replaced whole or not at all', async () => {
    const path = create();
    const store = served(path);
    for (let i = 0; i < 50; i++) commit(store, insert(i));
    const before = readFileSync(path);
    const failing = function* (): Iterable<JsonObject> {
      yield* compactRecords(store.db, 'x', 0);
      throw new OvsdbError('ovsdb error', 'no more');
    };
    assert.throws(() => store.log!.replace(failing()), { message: 'ovsdb error: no more' });
    assert.deepEqual(readFileSync(path), before);
    commit(store, insert(99));
    await store.compact();
    commit(store, insert(100));
    store.close();
    assert.ok(statSync(path).size < before.length);
    assert.equal(contents(openDatabase(path, 'read')), contents(store));
  });

  test('is compacted with large contents while it grows, and a conversion overtakes that', async () => {
    const path = create();
    const store = served(path);
    const big = (i: number) => ({ op: 'insert', table: 'A', row: { i, s: 'x'.repeat(1000) } });
    for (let n = 0; n < 20; n++) commit(store, ...Array.from({ length: 50 }, (_, i) => big(i)));
    const compacted = store.compact();
    let during = 0;
    const grow = () => {
      commit(store, big(during));
      if (++during < 700) setImmediate(grow);
    };
    grow();
    await compacted;
    assert.ok(during > 1);
    const again = openDatabase(path, 'read');
    assert.ok(again.records >= 3, 'what was committed meanwhile stands behind the snapshot');
    again.log.close();
    during = 700;
    assert.equal(contents(again), contents(store));

    const overtaken = store.compact();
    const conversion = store.convert(schemaFromJson({ ...schemaToJson(SCHEMA), version: '2.0.0' }));
    commit(store, insert(7));
    await overtaken;
    await conversion;
    commit(store, insert(8));
    store.close();
    const converted = openDatabase(path, 'read');
    assert.equal(converted.db.schema.version, '2.0.0');
    assert.equal(contents(converted), contents(store));
  });

  test('is converted while it changes, with what changed meanwhile', async () => {
    const store = served(create());
    for (let n = 0; n < 40; n++) commit(store, ...Array.from({ length: 50 }, (_, i) => insert(n * 50 + i)));
    const { s: _dropped, ...columns } = (schemaToJson(SCHEMA)['tables'] as Record<string, { columns: object }>)['A']!
      .columns as Record<string, Json>;
    const real = { type: { key: 'real', min: 0, max: 1 } };
    const tables = { A: { columns: { ...columns, i: real } }, C: { columns: { c: { type: 'string' } } } };
    const next = schemaFromJson({ name: 'T', version: '3.0.0', tables });
    let step = 0;
    const change = () => {
      if (store.db.schema.version === '3.0.0') return;
      commit(store, insert(10_000 + step));
      commit(store, { op: 'update', table: 'A', where: [['i', '==', step]], row: { i: -step } });
      commit(store, { op: 'delete', table: 'A', where: [['i', '==', 2 * step + 1]] });
      step++;
      setImmediate(change);
    };
    const conversion = store.convert(next);
    change();
    const expected = () => [...store.db.tables.get('A')!.rows.values()].map((row) => row.data[0]!.keys[0]).sort();
    let before: unknown = null;
    const watch = store.observe(() => (before = expected()));
    await conversion;
    watch[Symbol.dispose]();
    assert.ok(step > 1, 'nothing changed meanwhile');
    assert.deepEqual(expected(), before);
    commit(store, insert(1));
    store.close();
    const again = openDatabase(path(store), 'read');
    again.log.close();
    assert.equal(again.damage, null);
    assert.equal(again.db.schema.version, '3.0.0');
    assert.equal(contents(again), contents(store));
  });

  test('syncs that are asked for together are done together', async () => {
    const store = served(create());
    const synced = [1, 2, 3].map((i) => {
      commit(store, insert(i));
      return new Promise((resolve) => store.log!.sync(resolve));
    });
    assert.deepEqual(await Promise.all(synced), [null, null, null]);
    store.close();
  });

  test('is locked under the name of what a link leads to', () => {
    const path = create();
    const link = fresh();
    symlinkSync(path, link);
    assert.equal(lockPath(link), lockPath(path));
    const taken: string[] = [];
    setFileLocker((file) => {
      if (taken.includes(file)) throw Object.assign(new Error(), { code: 'EAGAIN', pid: 1 });
      taken.push(file);
      return { [Symbol.dispose]: () => void taken.splice(taken.indexOf(file), 1) };
    });
    const first = OvsdbLog.open(path, 'write');
    assert.throws(() => OvsdbLog.open(link, 'write'), {
      message: `I/O error: ${link}: failed to lock lockfile (Resource temporarily unavailable)`,
    });
    first.close();
    OvsdbLog.open(link, 'write').close();
    assert.deepEqual(taken, []);
  });
});
