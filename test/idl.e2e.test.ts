import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vlogParse } from '../src/base/vlog.ts';
import { Idl } from '../src/ovsdb/idl.ts';
import { missing, Sandbox, until } from './support/sandbox.ts';

vlogParse('console:off');

const TABLES = { Queue: ['dscp', 'external_ids'], QoS: ['type', 'queues', 'other_config'] };

function contents(idl: Idl): string {
  const rows = [...idl.table('Queue').rows(), ...idl.table('QoS').rows()];
  return rows
    .map((row) => `${row.uuid} ${JSON.stringify(row.datums)}`)
    .sort()
    .join('\n');
}

/** A small generator, so that a failure can be run again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * below);
  };
}

for (const server of ['theirs', 'ours'] as const) {
  test(`a replica follows ${server} server through its end and its return, telling each change once`, {
    skip: missing('ovsdb-server', 'ovsdb-tool'),
  }, async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    const start = () => (server === 'theirs' ? sb.startC('ovsdb-server') : sb.startOurs('ovsdb-server'));
    let daemon = await start();
    const options = { database: 'Open_vSwitch', tables: TABLES, maxBackoffMs: 50 };
    const writer = new Idl(sb.db, options).start();
    const follower = new Idl(sb.db, options).start();
    const told = new Map<string, string>();
    follower.onChange((changes) => {
      for (const { row, kind } of changes) {
        assert.equal(told.has(row.uuid), kind !== 'insert', `${kind} of ${row.uuid}`);
        if (kind === 'modify') assert.notEqual(told.get(row.uuid), JSON.stringify(row.datums));
        if (kind === 'delete') told.delete(row.uuid);
        else told.set(row.uuid, JSON.stringify(row.datums));
      }
    });
    try {
      await Promise.all([writer.synced(), follower.synced()]);
      const pick = random(7);
      for (let i = 0; i < 60; i++) {
        if (i === 20 || i === 40) {
          await daemon.kill('SIGKILL');
          daemon = await start();
          await until(() => writer.isSynced, 15_000, 'the writer is back');
        }
        const txn = writer.transaction();
        const queues = [...writer.table('Queue').rows()];
        const qoses = [...writer.table('QoS').rows()];
        const queue = queues[pick(queues.length)];
        const qos = qoses[pick(qoses.length)];
        switch (pick(6)) {
          case 0:
          case 1:
            txn.insert(writer.table('QoS'), {
              type: 't',
              queues: new Map([[pick(5), txn.insert(writer.table('Queue'), { dscp: pick(64) })]]),
            });
            break;
          case 2:
            if (queue) txn.set(queue, 'external_ids', { k: String(pick(3)) });
            break;
          case 3:
            if (qos) txn.add(qos, 'other_config', { [`k${pick(3)}`]: String(pick(3)) });
            break;
          case 4:
            if (qos) txn.remove(qos, 'other_config', [`k${pick(3)}`]);
            break;
          case 5:
            if (qos) txn.delete(qos);
            break;
        }
        const { status, error } = await txn.commit();
        assert.ok(status === 'success' || status === 'unchanged', `${status} ${error}`);
      }
      const fresh = new Idl(sb.db, options).start();
      await fresh.synced();
      await until(() => follower.isSynced && contents(follower) === contents(fresh), 10_000, 'replicas are equal');
      assert.equal(contents(writer), contents(fresh));
      assert.equal(told.size, fresh.table('Queue').size + fresh.table('QoS').size);
      assert.ok(told.size > 5);
      fresh.close();
    } finally {
      writer.close();
      follower.close();
    }
  });
}
