/**
 * `kill -9` at random moments of streams of transactions, compactions among them: what was acknowledged is there, what was refused is not, no
 * transaction is there by half, and none without those that its client sent before it. The original's tool looks.
 *
 * `OVSDB_KILLS=1000` for many streams, `OVSDB_KILL_SEED` for others.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectStream } from '../src/base/stream.ts';
import type { Json } from '../src/ovsdb/json.ts';
import { ClientRpc } from '../src/tools/ovsdb/client-rpc.ts';
import { missing, Sandbox } from './support/sandbox.ts';
import { random } from './support/switch-churn.ts';

const KILLS = Number(process.env['OVSDB_KILLS'] ?? 8);
const SEED = Number(process.env['OVSDB_KILL_SEED'] ?? 1);
const CLIENTS = 2;
/** Transactions that a client has on their way. */
const PIPELINED = 20;
const LONGEST_MS = 60;

const SCHEMA = {
  name: 'K',
  version: '1.0.0',
  tables: {
    Pair: {
      isRoot: true,
      indexes: [['client', 'n', 'half']],
      columns: {
        client: { type: 'integer' },
        n: { type: 'integer' },
        half: { type: 'integer' },
        text: { type: { key: 'string', min: 0 } },
      },
    },
    Last: { isRoot: true, columns: { client: { type: 'integer' }, n: { type: 'integer' } } },
  },
};

type Kind = 'plain' | 'durable' | 'refused' | 'aborted';
const KINDS: readonly Kind[] = ['plain', 'plain', 'plain', 'durable', 'refused', 'aborted'];

/** Two rows and a change of a third that stand or fall together. */
function operations(client: number, n: number, kind: Kind): Json[] {
  const half = (h: number): Json => ({
    op: 'insert',
    table: 'Pair',
    row: { client, n, half: h, text: 'x'.repeat((n * 37) % 900) },
  });
  return [
    half(0),
    { op: 'update', table: 'Last', where: [['client', '==', client]], row: { n } },
    half(1),
    // The index has this already.
    ...(kind === 'refused' ? [half(1)] : []),
    ...(kind === 'aborted' ? [{ op: 'abort' }] : []),
    ...(kind === 'durable' ? [{ op: 'commit', durable: true }] : []),
  ];
}

interface Sent {
  readonly kind: Kind;
  answer: 'none' | 'done' | 'failed';
}

/** Sends until the connection ends; what was sent, and what came back, by number. */
async function stream(rpc: ClientRpc, client: number, pick: (below: number) => number): Promise<Sent[]> {
  const sent: Sent[] = [];
  let ended = false;
  const send = async (): Promise<void> => {
    while (!ended) {
      const n = sent.length;
      const one: Sent = { kind: KINDS[pick(KINDS.length)]!, answer: 'none' };
      sent.push(one);
      try {
        const results = (await rpc.call('transact', ['K', ...operations(client, n, one.kind)])) as Json[];
        one.answer = JSON.stringify(results).includes('"error"') ? 'failed' : 'done';
      } catch {
        ended = true;
      }
    }
  };
  await Promise.all(Array.from({ length: PIPELINED }, send));
  return sent;
}

/** Records that a kill has torn. */
let torn = 0;

interface Found {
  readonly halves: ReadonlyMap<string, number>;
  readonly last: ReadonlyMap<number, number>;
}

const serverArgs = (sb: Sandbox) => [`--remote=punix:${sb.path('db.sock')}`, sb.path('k.db')];

async function read(sb: Sandbox): Promise<Found> {
  const query: Json[] = [
    'K',
    { op: 'select', table: 'Pair', where: [], columns: ['client', 'n', 'half'] },
    { op: 'select', table: 'Last', where: [], columns: ['client', 'n'] },
  ];
  let { stdout, stderr } = await sb.c('ovsdb-tool', 'query', 'k.db', JSON.stringify(query));
  if (/\(End of file\)$/m.test(stderr)) {
    // Killed in the midst of a write: a server reads what is whole.
    torn++;
    const server = await sb.startOurs('ovsdb-server', serverArgs(sb));
    ({ stdout, stderr } = await sb.c('ovsdb-client', 'transact', sb.db, JSON.stringify(query)));
    await server.kill('SIGKILL');
  }
  assert.equal(stderr, '');
  const [pairs, lasts] = JSON.parse(stdout) as { rows: { client: number; n: number }[] }[];
  const halves = new Map<string, number>();
  for (const { client, n } of pairs.rows) {
    const key = `${client}/${n}`;
    halves.set(key, (halves.get(key) ?? 0) + 1);
  }
  return { halves, last: new Map(lasts.rows.map(({ client, n }) => [client, n])) };
}

/** Throws what is wrong with what a stream has left. */
function check(found: Found, client: number, sent: readonly Sent[]): void {
  let last = -1;
  let missing: number | null = null;
  for (const [n, { kind, answer }] of sent.entries()) {
    const halves = found.halves.get(`${client}/${n}`) ?? 0;
    const what = `transaction ${n} of client ${client}, ${kind}, ${answer}`;
    assert.ok(halves === 0 || halves === 2, `${what}: half of it is there`);
    if (kind === 'refused' || kind === 'aborted') {
      assert.notEqual(answer, 'done', what);
      assert.equal(halves, 0, `${what}: it is there`);
      continue;
    }
    assert.notEqual(answer, 'failed', what);
    if (answer === 'done') assert.equal(halves, 2, `${what}: it is lost`);
    if (halves === 2) {
      assert.equal(missing, null, `${what}: it is there, but not ${missing} before it`);
      last = n;
    } else missing ??= n;
  }
  assert.equal(found.last.get(client), last, 'what the last transaction of the client changed');
}

test('kill -9 loses nothing that was acknowledged and keeps nothing that was refused', {
  skip: missing('ovsdb-tool', 'ovsdb-client', 'ovs-appctl'),
  timeout: 60_000 + KILLS * 5000,
}, async (t) => {
  await using sb = await Sandbox.create();
  writeFileSync(sb.path('k.ovsschema'), JSON.stringify(SCHEMA));
  await sb.createDb(sb.path('k.ovsschema'), 'k.db');
  const pick = random(SEED);
  let [acknowledged, compactions] = [0, 0];
  for (let kill = 0; kill < KILLS; kill++) {
    const server = await sb.startOurs('ovsdb-server', serverArgs(sb));
    const clients = await Promise.all(
      Array.from({ length: CLIENTS }, async () => new ClientRpc(await connectStream(sb.db))),
    );
    const clear = ['Pair', 'Last'].map((table) => ({ op: 'delete', table, where: [] }));
    const seed = clients.map((_, client) => ({ op: 'insert', table: 'Last', row: { client, n: -1 } }));
    await clients[0].call('transact', ['K', ...clear, ...seed]);
    const streams = clients.map((rpc, client) => stream(rpc, client, pick));
    if (pick(3) === 0) {
      compactions++;
      await sleep(pick(LONGEST_MS));
      void sb.c('ovs-appctl', '-t', 'ovsdb-server', 'ovsdb-server/compact').catch(() => undefined);
    }
    await sleep(pick(LONGEST_MS));
    await server.kill('SIGKILL');
    const sent = await Promise.all(streams);
    const found = await read(sb);
    for (const [client, list] of sent.entries()) {
      try {
        check(found, client, list);
      } catch (error) {
        throw new Error(`seed ${SEED}, kill ${kill}: ${(error as Error).message}`, { cause: error });
      }
      acknowledged += list.filter(({ answer }) => answer === 'done').length;
    }
  }
  t.diagnostic(
    `${KILLS} times killed, ${compactions} of them after a compaction began; ${acknowledged} acknowledged, ${torn} records torn`,
  );
  assert.ok(acknowledged > KILLS);
});
