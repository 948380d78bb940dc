/** Metrics of programs as they run: the switch's, the database server's, both together, over HTTP. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Netns } from './support/netns.ts';
import { BIN, missing, notRoot, ROOT, Sandbox, until } from './support/sandbox.ts';

/** Values by series; each family stands once, its samples together. */
function parse(text: string): Map<string, number> {
  const series = new Map<string, number>();
  const families = new Set<string>();
  let family = '';
  for (const line of text.split('\n').filter((l) => l !== '')) {
    const head = /^# HELP (\S+)/.exec(line);
    if (head) {
      family = head[1];
      assert.ok(!families.has(family), `twice: ${family}`);
      families.add(family);
    }
    if (line.startsWith('#')) continue;
    const [, name, value] = /^(.*) (\S+)$/.exec(line) ?? [];
    assert.ok(name.startsWith(family), `${line} under ${family}`);
    assert.ok(!series.has(name), `twice: ${name}`);
    series.set(name, Number(value));
  }
  return series;
}

test('switch and database server tell what they do', async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  await sb.ours('ovs-vsctl', 'add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy');
  await sb.ours('ovs-ofctl', 'add-flow', 'br0', 'actions=drop');

  const database = parse((await sb.ours('ovs-appctl', '-t', 'ovsdb-server', 'metrics/show')).stdout);
  // ovs-vsctl has come and gone, the switch is there.
  assert.equal(database.get('signalbox_ovsdb_clients'), 1);
  assert.ok((database.get('signalbox_ovsdb_clients_total') ?? 0) >= 2);
  assert.ok((database.get('signalbox_ovsdb_requests_total{method="transact"}') ?? 0) >= 2);
  assert.ok((database.get('signalbox_ovsdb_transactions_total{result="done"}') ?? 0) >= 2);
  assert.ok((database.get('signalbox_ovsdb_commits_total{database="Open_vSwitch"}') ?? 0) >= 2);
  // Open_vSwitch, Bridge, Port, Interface.
  assert.equal(database.get('signalbox_ovsdb_rows{database="Open_vSwitch"}'), 4);
  assert.ok((database.get('signalbox_ovsdb_log_bytes{database="Open_vSwitch"}') ?? 0) > 1000);

  const own = parse((await sb.ours('ovs-appctl', 'metrics/show')).stdout);
  assert.equal(own.get('signalbox_openflow_messages_total{type="flow_mod",direction="rx"}'), 1);
  assert.equal(own.get('signalbox_openflow_messages_total{type="barrier_reply",direction="tx"}'), 1);

  const both = await sb.ours('signalbox', 'metrics');
  const series = parse(both.stdout);
  assert.equal(series.get('signalbox_ovsdb_rows{program="ovsdb-server",database="Open_vSwitch"}'), 4);
  for (const program of ['ovs-vswitchd', 'ovsdb-server'])
    assert.ok((series.get(`signalbox_process_resident_memory_bytes{program="${program}"}`) ?? 0) > 1e6);

  // What the dashboard and the guide speak of is there.
  const told = new Set([...both.stdout.matchAll(/^# HELP signalbox_(\S+)/gm)].map(([, name]) => name));
  const guide = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8').split('| metric |')[1];
  const spoken = [
    ...readFileSync(join(ROOT, 'docs/grafana.json'), 'utf8').matchAll(/signalbox_(\w+)/g),
    ...guide.matchAll(/`([a-z]+_[a-z_]+)`(?=[^|]*\|[^|]*\|)/g),
  ].map(([, name]) => name.replace(/_(bucket|sum|count)$/, ''));
  assert.ok(spoken.length > 40);
  assert.deepEqual(
    [...new Set(spoken)].filter((name) => !told.has(name) && !name.startsWith('removed_')),
    [],
  );

  const server = spawn(join(BIN, 'signalbox'), ['metrics', '--listen=0'], {
    env: { ...process.env, ...sb.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  try {
    const [line] = (await once(server.stderr, 'data')) as [Buffer];
    const response = await fetch(line.toString().trim());
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    assert.ok(parse(await response.text()).size > 100);
  } finally {
    server.kill();
  }
  await sb.killAll('SIGTERM');
  const none = await sb.ours('signalbox', 'metrics');
  assert.equal(none.status, 1);
  assert.match(none.stderr, /^signalbox: cannot read pidfile/);
});

test('signalbox up serves what switch and database tell', async () => {
  await using sb = await Sandbox.create();
  const up = spawn(join(BIN, 'signalbox'), ['up', '--metrics=0'], {
    env: { ...process.env, ...sb.env },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    let said = '';
    up.stdout.on('data', (text: Buffer) => (said += text));
    const url = await until(() => /http:\S+\/metrics/.exec(said)?.[0] ?? false, 15_000, 'it is up');
    const series = parse(await (await fetch(url)).text());
    // The switch itself.
    assert.equal(series.get('signalbox_ovsdb_clients'), 1);
    assert.ok(series.has('signalbox_nodejs_eventloop_lag_max_seconds'));
    assert.equal((await fetch(url.replace('/metrics', '/'))).status, 404);
    assert.equal((await fetch(url, { method: 'POST' })).status, 405);
  } finally {
    up.kill();
    await once(up, 'exit');
  }
});

test('queues of a port with QoS', { skip: notRoot || missing('ip', 'ping') }, async () => {
  await using ns = await Netns.create();
  await using host = await Netns.create();
  await ns.must('ip', 'link', 'add', 'p1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host.name);
  await ns.must('ip', 'link', 'set', 'p1', 'up');
  await host.must('ip', 'link', 'set', 'eth0', 'up');
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--disable-system'], { prefix: ns.prefix() });
  const made = await sb.ours(
    'ovs-vsctl',
    ...'--timeout=15 add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 p1'.split(' '),
    ...'-- set port p1 qos=@q -- --id=@q create qos type=linux-htb queues:1=@a'.split(' '),
    ...'-- --id=@a create queue other_config:max-rate=10000000'.split(' '),
  );
  assert.equal(made.status, 0, made.stderr);
  await ns.must('ip', 'addr', 'add', '10.77.9.1/24', 'dev', 'br0');
  await ns.must('ip', 'link', 'set', 'br0', 'up');
  await ns.exec('ping', '-c', '1', '-W', '1', '10.77.9.2');
  const series = (queue: number): string =>
    `signalbox_queue_packets_total{queue="${queue}",datapath="netdev@ovs-netdev",bridge="br0",port="p1"}`;
  const read = async () => parse((await sb.ours('ovs-appctl', 'metrics/show')).stdout);
  await until(async () => ((await read()).get(series(0)) ?? 0) > 0, 5000, 'the default queue sends');
  assert.equal((await read()).get(series(1)), 0);
});
