/**
 * Our clients on a cluster of the original's servers: the words and choices of the original's clients, and a replica that goes to the new leader when the
 * old one dies.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vlogParse } from '../src/base/vlog.ts';
import { Idl } from '../src/ovsdb/idl.ts';
import { type Daemon, missing, type Result, Sandbox, SCHEMA, until } from './support/sandbox.ts';

vlogParse('console:off');
const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'ovs-vsctl', 'ovs-appctl');

function out({ status, stdout, stderr }: Result): string {
  assert.equal(status, 0, stderr);
  return stdout;
}

class Cluster implements AsyncDisposable {
  readonly members: readonly Sandbox[];
  readonly daemons: Daemon[] = [];

  private constructor(members: readonly Sandbox[]) {
    this.members = members;
  }

  static async start(size: number): Promise<Cluster> {
    const members = await Promise.all(Array.from({ length: size }, () => Sandbox.create()));
    const cluster = new Cluster(members);
    const address = (sb: Sandbox) => `unix:${sb.path('raft')}`;
    const [first, ...others] = members;
    out(await first.c('ovsdb-tool', 'create-cluster', 'conf.db', SCHEMA, address(first)));
    for (const sb of others) {
      out(await sb.c('ovsdb-tool', 'join-cluster', 'conf.db', 'Open_vSwitch', address(sb), address(first)));
    }
    for (const sb of members) cluster.daemons.push(await sb.startC('ovsdb-server'));
    await until(
      async () =>
        (await Promise.all(members.map((sb) => cluster.status(sb)))).every((text) =>
          /^Status: cluster member$/m.test(text),
        ),
      15_000,
    );
    return cluster;
  }

  async status(sb: Sandbox): Promise<string> {
    return (await sb.c('ovs-appctl', '-t', 'ovsdb-server', 'cluster/status', 'Open_vSwitch')).stdout;
  }

  async leader(): Promise<number> {
    for (const [i, sb] of this.members.entries()) {
      if (this.daemons[i].exit === null && /^Role: leader$/m.test(await this.status(sb))) return i;
    }
    return -1;
  }

  get remotes(): string {
    return this.members.map((sb) => sb.db).join(',');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sb of this.members) await sb[Symbol.asyncDispose]();
  }
}

test('clients choose among the servers of a cluster as the original’s do', { skip }, async () => {
  await using cluster = await Cluster.start(3);
  const leader = await cluster.leader();
  const [first, second] = [0, 1, 2].filter((i) => i !== leader).map((i) => cluster.members[i].db);
  const best = cluster.members[leader].db;
  const here = cluster.members[leader];
  out(await here.c('ovs-vsctl', '--no-wait', 'init'));
  const nowhere = `unix:${here.path('nowhere')}`;
  const clusterId = out(await here.c('ovsdb-tool', 'db-cid', 'conf.db')).trim();
  const query = '["Open_vSwitch",{"op":"select","table":"Open_vSwitch","where":[],"columns":["next_cfg"]}]';
  const clientLines: string[][] = [
    ['get-schema-version', `${first},${best}`, 'Open_vSwitch'],
    ['get-schema-version', `${first}, ${best}`, 'Open_vSwitch'],
    ['get-schema-version', `${first},${second}`, 'Open_vSwitch'],
    ['--no-leader-only', 'get-schema-version', `${first},${second}`, 'Open_vSwitch'],
    ['get-schema-version', `${nowhere},${best}`, 'Open_vSwitch'],
    ['get-schema-version', `${nowhere},${nowhere}`, 'Open_vSwitch'],
    ['get-schema-version', `${first},${best}`],
    ['get-schema-version', `${first},${best}`, 'Nothing'],
    ['get-schema-version', first, 'Open_vSwitch'],
    ['list-dbs', `${first},${second}`],
    ['dump', `${first},${best}`, 'Open_vSwitch', 'Open_vSwitch', 'next_cfg'],
    ['dump', `${first},${best}`, 'Bridge'],
    ['transact', `${first},${best}`, query],
    ['query', `${best},${first}`, query],
    ['transact', `${best},${first}`, '["Nothing"]'],
    ['transact', nowhere, 'x'],
    ['transact', nowhere, '[5]'],
    ['needs-conversion', `${first},${best}`, SCHEMA],
    ['needs-conversion', nowhere, 'nothing'],
    ['-t1', 'monitor', `${first},${best}`, 'Open_vSwitch', 'Open_vSwitch', 'next_cfg'],
    ['-t1', 'monitor-cond', `${first},${best}`, 'Open_vSwitch', '[]', 'Open_vSwitch', 'next_cfg'],
  ];
  const vsctlLines: string[][] = [
    [`--db=${first}`, 'list-br'],
    ['-vovsdb_cs:info', '--no-shuffle-remotes', `--db=${first},${best}`, 'list-br'],
    [`--db=${first},${second}`, 'list-br'],
    ['--no-leader-only', `--db=${first},${second}`, 'list-br'],
    ['--no-shuffle-remotes', `--db=${first},${nowhere}`, 'list-br'],
    ['--no-shuffle-remotes', `--db=${nowhere},${first}`, 'list-br'],
    [`--db=${nowhere},${nowhere}`, 'list-br'],
    ['--no-shuffle-remotes', `--db=${nowhere},other:x`, 'list-br'],
    ['--no-wait', `--db=${cluster.remotes}`, '--may-exist', 'add-br', 'br0'],
  ];
  const shown = ({ stdout, stderr, status }: Result) =>
    `${stdout}${stderr.replace(/^\d{4}-\S*Z\|\d+\|/gm, '').replace(/(?<=including ).*(?= table, because)/, 'one in a')}=> ${status}`
      .split('\n')
      .filter((line) => !/^[0-9a-f-]{36} /.test(line)) // rows of a monitor, which have no order
      .join('\n');
  const run = async (program: string, args: string[]) => {
    const [theirs, ours] = await Promise.all([here.runC(program, args), here.runOurs(program, args)]);
    assert.equal(shown(ours), shown(theirs), `${program} ${args.join(' ')}`);
  };
  for (const args of clientLines) await run('ovsdb-client', args);
  for (const args of vsctlLines) await run('ovs-vsctl', ['-t5', ...args]);
  // The original dies of a cluster's identifier in the list.
  out(await here.ours('ovs-vsctl', '-t5', `--db=${best},cid:${clusterId}`, 'br-exists', 'br0'));
  const other = `cid:00000000-0000-4000-8000-000000000001`;
  const { stderr } = await here.ours('ovs-vsctl', '-t5', '-vovsdb_cs:info', `--db=${best},${other}`, 'list-br');
  assert.match(stderr, /server does not have Open_vSwitch database/);
});

test('a replica goes to the new leader when the old one dies, and loses nothing', { skip }, async () => {
  await using cluster = await Cluster.start(3);
  const tables = { QoS: ['type'] };
  const idl = new Idl(cluster.remotes, { database: 'Open_vSwitch', tables, maxBackoffMs: 200 }).start();
  const told = new Set<string>();
  idl.onChange((changes) => {
    for (const { row, kind } of changes) {
      assert.equal(kind, 'insert');
      assert.ok(!told.has(row.string('type')), `${row.string('type')} is told of once`);
      told.add(row.string('type'));
    }
  });
  try {
    const add = async (type: string): Promise<void> => {
      await idl.synced();
      const txn = idl.transaction();
      txn.insert(idl.table('QoS'), { type });
      const { status, error } = await txn.commit();
      assert.equal(status, 'success', error ?? '');
    };
    await add('before');
    const leader = await cluster.leader();
    await cluster.daemons[leader].kill('SIGKILL');
    await until(() => !idl.isSynced, 10_000, 'the loss is noticed');
    await until(() => idl.isSynced, 20_000, 'another leader');
    await add('after');
    await until(() => told.size === 2);
    assert.deepEqual([...idl.table('QoS').rows()].map((row) => row.string('type')).sort(), ['after', 'before']);
  } finally {
    idl.close();
  }
});
