import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { certificates } from './support/certificates.ts';
import { Netns, uniqueName, veth } from './support/netns.ts';
import { BIN, missing, must, notRoot, run, Sandbox, until } from './support/sandbox.ts';

const noTools = missing('ovs-vsctl', 'ovsdb-server');
const SIMULATED = ['--enable-dummy=override', '--disable-system'];

/** The original's server and our switch. */
async function start(args: readonly string[]): Promise<Sandbox> {
  const sb = await Sandbox.create();
  await sb.createDb();
  await sb.startC('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', args);
  return sb;
}

/** The original's `ovs-vsctl`, which must succeed. */
async function vsctl(sb: Sandbox, line: string): Promise<string> {
  const { stdout, stderr, status } = await sb.c('ovs-vsctl', '--timeout=10', ...line.split(' '));
  assert.equal(status, 0, `ovs-vsctl ${line}: ${stderr}`);
  return stdout.trim();
}

test('the original ovs-vsctl configures our switch, waits for it, and finds its columns written', {
  skip: noTools,
}, async () => {
  await using sb = await start(SIMULATED);
  await vsctl(sb, 'add-br br0 -- add-port br0 p1 -- add-port br0 p2 tag=5 -- set interface p2 ofport_request=17');
  assert.equal(await vsctl(sb, 'get interface p1 ofport error mtu link_state admin_state'), '1\n[]\n1500\nup\nup');
  assert.equal(await vsctl(sb, 'get interface p2 ofport'), '17');
  assert.equal(await vsctl(sb, 'get interface br0 ofport'), '65534');
  assert.match(await vsctl(sb, 'get interface p1 mac_in_use'), /^"aa:55:aa:55:00:[0-9a-f]{2}"$/);
  assert.match(await vsctl(sb, 'get interface p1 statistics'), /rx_packets=0/);
  assert.match(await vsctl(sb, 'get bridge br0 datapath_id'), /^"0000[0-9a-f]{12}"$/);
  assert.equal(await vsctl(sb, 'get bridge br0 datapath_version'), '"<built-in>"');
  const [cur, next] = (await vsctl(sb, 'get open . cur_cfg next_cfg')).split('\n');
  assert.equal(cur, next);
  assert.match(await vsctl(sb, 'get open . datapath_types'), /netdev/);
  assert.match(await vsctl(sb, 'get open . iface_types'), /internal.*patch.*system/);

  await vsctl(sb, 'set bridge br0 other_config:datapath-id=00000000000000ab other_config:hwaddr=02:00:00:00:00:05');
  assert.equal(await vsctl(sb, 'get bridge br0 datapath_id'), '"00000000000000ab"');
  assert.equal(await vsctl(sb, 'get interface br0 mac_in_use'), '"02:00:00:00:00:05"');
  await vsctl(sb, 'set interface p1 mtu_request=9000');
  assert.equal(await vsctl(sb, 'get interface p1 mtu'), '9000');
  await vsctl(sb, 'set interface p1 ofport_request=44');
  assert.equal(await vsctl(sb, 'get interface p1 ofport'), '44');
  await vsctl(sb, 'del-port p1 -- add-port br0 p1');
  assert.equal(await vsctl(sb, 'get interface p1 ofport'), '44');
  await vsctl(sb, 'del-br br0');
  assert.equal(await vsctl(sb, 'list interface'), '');
});

test('what cannot be set up is said in Interface.error, and ovs-vsctl repeats it', { skip: noTools }, async () => {
  await using sb = await start(['--enable-dummy', '--disable-system']);
  await vsctl(sb, 'add-br br0 -- set bridge br0 datapath_type=dummy -- set interface br0 type=dummy');
  const cases: readonly (readonly [args: string, name: string, error: string])[] = [
    ['add-port br0 sbxnone', 'sbxnone', 'could not open network device sbxnone (No such device)'],
    [
      'add-port br0 odd -- set interface odd type=nonsense',
      'odd',
      'could not open network device odd (Address family not supported by protocol)',
    ],
    ['add-port br0 lo', 'lo', 'could not add network device lo to ofproto (Invalid argument)'],
    ['add-port br0 pa -- set interface pa type=patch', 'pa', "pa: patch type requires valid 'peer' argument"],
  ];
  for (const [args, name, error] of cases) {
    const { stderr, status } = await sb.c('ovs-vsctl', '--timeout=10', ...args.split(' '));
    assert.equal(status, 0);
    assert.ok(stderr.includes(`Error detected while setting up '${name}': ${error}.`), stderr);
    const ours = await sb.ours('ovs-vsctl', 'get', 'interface', name, 'ofport', 'error');
    assert.equal(ours.stdout, `-1\n"${error}"\n`);
  }
  const unknown = await sb.ours(
    'ovs-vsctl',
    '--timeout=10',
    'add-br',
    'br1',
    '--',
    'set',
    'bridge',
    'br1',
    'datapath_type=foo',
  );
  assert.ok(unknown.stderr.includes("ovs-vsctl: Error detected while setting up 'br1'.  See"), unknown.stderr);

  await vsctl(sb, 'set interface pa options:peer=pb');
  assert.equal(await vsctl(sb, 'get interface pa error'), `"No usable peer 'pb' exists in 'dummy' datapath."`);
  await vsctl(sb, 'add-port br0 pb -- set interface pb type=patch options:peer=pa');
  assert.equal(await vsctl(sb, 'get interface pa error'), '[]');
});

test('a switch killed and started again keeps port numbers; a server restarted is found again', {
  skip: noTools,
}, async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  const server = await sb.startC('ovsdb-server');
  const first = await sb.startOurs('ovs-vswitchd', SIMULATED);
  await vsctl(sb, 'add-br br0 -- add-port br0 a');
  await vsctl(sb, 'add-port br0 b');
  await vsctl(sb, 'add-port br0 c -- del-port a');
  const ports = await vsctl(sb, 'get interface b ofport -- get interface c ofport');
  assert.equal(ports, '2\n3');
  await first.kill('SIGKILL');
  await sb.startOurs('ovs-vswitchd', SIMULATED);
  await vsctl(sb, 'set bridge br0 external_ids:again=1');
  assert.equal(await vsctl(sb, 'get interface b ofport -- get interface c ofport'), ports);

  await server.kill('SIGKILL');
  await sb.startC('ovsdb-server');
  await vsctl(sb, 'add-port br0 d');
  assert.equal(await vsctl(sb, 'get interface d error'), '[]');
  assert.equal(await vsctl(sb, 'get interface b ofport -- get interface c ofport'), ports);
});

test('a switch told to wait for its flows drops packets and calls no controller until it has them', {
  skip: noTools || missing('ovs-testcontroller'),
}, async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startC('ovsdb-server');
  const ports = ['p1', 'p2'].flatMap((p) => `-- add-port br0 ${p} -- set interface ${p} type=dummy`.split(' '));
  const restore = ['set', 'open_vswitch', '.', 'other_config:flow-restore-wait=true'];
  await sb.ours('ovs-vsctl', '--no-wait', 'init', '--', ...restore, '--', 'add-br', 'br0', ...ports);
  await sb.ours('ovs-vsctl', '--no-wait', 'set-controller', 'br0', `unix:${sb.path('controller.sock')}`);
  await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  const controller = await sb.c('ovs-testcontroller', 'punix:controller.sock', '--pidfile', '--detach', '--no-chdir');
  assert.equal(controller.status, 0, controller.stderr);
  const flow = 'in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x1234)';
  const send = async () => {
    const { status, stderr } = await sb.ours('ovs-appctl', 'netdev-dummy/receive', 'p1', flow);
    assert.equal(status, 0, stderr);
  };
  const flows = async () => (await sb.ours('ovs-ofctl', '--no-stats', 'dump-flows', 'br0')).stdout;
  const sent = async () => (await sb.ours('ovs-ofctl', 'dump-ports', 'br0', '2')).stdout.match(/tx pkts=(\d+)/)?.[1];

  // Returns when the bridge is as configured.
  await vsctl(sb, 'set bridge br0 external_ids:awaited=yes');
  await sb.ours('ovs-ofctl', 'add-flow', 'br0', 'in_port=p1,actions=output:p2');
  const lost = async () => (await sb.ours('ovs-appctl', 'dpctl/show')).stdout.match(/lost:(\d+)/)?.[1];
  await send();
  await until(async () => (await lost()) === '1', 5000, 'the packet is counted as lost');
  assert.equal(await sent(), '0');
  assert.doesNotMatch(sb.log('ovs-vswitchd'), /controller\.sock: connecting/);
  assert.equal(await flows(), ' in_port=p1 actions=output:p2\n'.replaceAll('p1', '1').replaceAll('p2', '2'));

  await sb.ours('ovs-vsctl', 'remove', 'open_vswitch', '.', 'other_config', 'flow-restore-wait');
  await send();
  await until(async () => (await sent()) === '1', 5000, 'the packet takes the flow that was restored');
  const uuid = (await sb.ours('ovs-vsctl', 'get', 'bridge', 'br0', 'controller')).stdout.trim().slice(1, -1);
  const isConnected = async () => (await sb.ours('ovs-vsctl', 'get', 'controller', uuid, 'is_connected')).stdout;
  await until(async () => (await isConnected()) === 'true\n', 10_000, 'the controller is called');
  assert.match(await flows(), /in_port=1 actions=output:2/);

  // Later it says nothing: only who starts up waits.
  await sb.ours('ovs-vsctl', ...restore);
  await send();
  await until(async () => (await sent()) === '2', 5000, 'packets go on');
});

test('keys and certificates of the database serve controllers over TLS, both ways', {
  skip: noTools || missing('ovs-ofctl', 'openssl'),
}, async () => {
  await using sb = await start(SIMULATED);
  await certificates(sb, 'switch', 'controller');
  const [key, cert, ca] = ['switch.key', 'switch.pem', 'ca.pem'].map((name) => sb.path(name));
  await vsctl(sb, `set-ssl ${key} ${cert} ${ca} -- add-br br0 -- set-controller br0 pssl:0:127.0.0.1`);
  const port = await until(
    () => /listening on port (\d+)/.exec(sb.log('ovs-vswitchd'))?.[1],
    5000,
    'the switch listens',
  );
  const peer = ['-p', 'controller.key', '-c', 'controller.pem', '-C', 'ca.pem'];
  const { stdout, stderr } = await sb.c('ovs-ofctl', ...peer, 'dump-flows', `ssl:127.0.0.1:${port}`);
  assert.match(stdout, /NXST_FLOW reply/, stderr);
  // Who has a certificate of another authority is not heard.
  await using strange = await Sandbox.create();
  await certificates(strange, 'controller');
  const stranger = await strange.c('ovs-ofctl', ...peer.with(5, 'none'), 'show', `ssl:127.0.0.1:${port}`);
  assert.notEqual(stranger.status, 0);
  assert.match(sb.log('ovs-vswitchd'), /stream_ssl\|WARN\|SSL_accept: .*\S\n$/);
});

test('only one switch works on a database; the next takes over when it leaves', { skip: noTools }, async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startC('ovsdb-server');
  const first = await sb.startOurs('ovs-vswitchd', SIMULATED);
  await vsctl(sb, 'add-br br0');
  const second = spawn(
    join(BIN, 'ovs-vswitchd'),
    [...SIMULATED, `--unixctl=${sb.path('second.ctl')}`, `--log-file=${sb.path('second.log')}`, sb.db],
    { env: { ...process.env, ...sb.env }, stdio: 'ignore' },
  );
  try {
    await until(
      () => sb.read('second.log').includes('another ovs-vswitchd process is running'),
      10_000,
      'second waits',
    );
    await first.kill('SIGTERM');
    await vsctl(sb, 'add-port br0 later');
    assert.equal(await vsctl(sb, 'get interface later ofport'), '1');
  } finally {
    second.kill('SIGKILL');
  }
});

test('a device that vanishes is reported, and taken back when it returns', {
  skip: noTools || notRoot || missing('ip'),
}, async () => {
  await using sb = await start([]);
  await using ns = await Netns.create();
  const cable = await veth(ns, '10.44.0.1/24');
  const bridge = uniqueName('sbb');
  await vsctl(sb, `add-br ${bridge} -- set bridge ${bridge} datapath_type=netdev`);
  await vsctl(sb, `add-port ${bridge} ${cable.outer}`);
  assert.equal(await vsctl(sb, `get interface ${cable.outer} ofport error link_state`), '1\n[]\nup');
  await must('ip', ['addr', 'add', '10.44.0.2/24', 'dev', bridge]);
  await must('ip', ['link', 'set', bridge, 'up']);
  const ping = () =>
    run('ip', ['netns', 'exec', ns.name, 'ping', '-c1', '-W1', '10.44.0.2']).then((r) => r.status === 0);
  if (!missing('ping')) await until(ping, 10_000, 'ping crosses');

  await must('ip', ['link', 'del', cable.outer]);
  await until(
    async () => (await vsctl(sb, `get interface ${cable.outer} ofport`)) === '-1',
    10_000,
    'the loss is reported',
  );
  await must('ip', ['link', 'add', cable.outer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', ns.name]);
  await must('ip', ['link', 'set', cable.outer, 'up']);
  await ns.must('ip', 'addr', 'add', '10.44.0.1/24', 'dev', 'eth0');
  await ns.must('ip', 'link', 'set', 'eth0', 'up');
  await until(async () => (await vsctl(sb, `get interface ${cable.outer} ofport`)) === '1', 10_000, 'it is back');
  if (!missing('ping')) await until(ping, 10_000, 'ping crosses again');
  await run('ip', ['link', 'del', cable.outer]);
});

test('signalbox up serves both families of tools, and leaves nothing when it is interrupted', {
  skip: notRoot,
}, async () => {
  await using sb = await Sandbox.create();
  const bridge = uniqueName('sbu');
  const child = spawn(join(BIN, 'signalbox'), ['up'], {
    env: { ...process.env, ...sb.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => (text += bytes));
  child.stderr.on('data', (bytes: Buffer) => (text += bytes));
  try {
    await until(() => text.includes('dump-flows br0'), 15_000, 'signalbox up says what to do next');
    const added = await sb.ours(
      'ovs-vsctl',
      '--timeout=10',
      'add-br',
      bridge,
      '--',
      'set',
      'bridge',
      bridge,
      'datapath_type=netdev',
    );
    assert.equal(added.status, 0, added.stderr);
    assert.ok(Object.keys(networkInterfaces()).includes(bridge) || readdirSync('/sys/class/net').includes(bridge));
    const version = await sb.ours('ovs-appctl', 'version');
    assert.match(version.stdout, /ovs-vswitchd \(Open vSwitch\)/);
  } finally {
    child.kill('SIGINT');
  }
  await until(() => child.exitCode !== null || child.signalCode !== null, 10_000, 'it ends');
  assert.equal(child.exitCode, 0, text);
  assert.ok(!readdirSync('/sys/class/net').includes(bridge));
  assert.deepEqual(
    readdirSync(sb.dir).filter((name) => /sock|ctl|pid|mgmt|snoop/.test(name)),
    [],
  );
});

test('without root signalbox says what it cannot do, and switches between simulated ports', {
  skip: notRoot,
}, async () => {
  await using sb = await Sandbox.create();
  const nobody = 65534;
  chmodSync(sb.dir, 0o777);
  const child = spawn(join(BIN, 'signalbox'), ['up'], {
    env: { ...process.env, ...sb.env, NODE_COMPILE_CACHE: sb.path('cache') },
    stdio: ['ignore', 'pipe', 'inherit'],
    uid: nobody,
    gid: nobody,
  });
  let text = '';
  child.stdout?.on('data', (bytes: Buffer) => (text += bytes));
  try {
    await until(() => text.includes('dump-flows br0'), 15_000, 'signalbox up says what to do next');
    assert.match(text, /not root, so real network devices are out of reach/);
    const added = await sb.ours('ovs-vsctl', '--timeout=10', 'add-br', 'br0', '--', 'add-port', 'br0', 'p0');
    assert.equal(added.status, 0, added.stderr);
    const sent = await sb.ours(
      'ovs-appctl',
      'netdev-dummy/receive',
      'p0',
      'in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:06),eth_type(0x1234)',
    );
    assert.equal(sent.status, 0, sent.stderr);
    const fdb = await sb.ours('ovs-appctl', 'fdb/show', 'br0');
    assert.match(fdb.stdout, /50:54:00:00:00:05/);
  } finally {
    child.kill('SIGINT');
  }
  await until(() => child.exitCode !== null || child.signalCode !== null, 10_000, 'it ends');
});

test('signalbox demo sends pings across, shows what the switch knows, and removes it all', {
  skip: notRoot,
}, async () => {
  const before = readdirSync('/sys/class/net').sort();
  const { stdout, stderr, status } = await run(join(BIN, 'signalbox'), ['demo'], { timeoutMs: 40_000 });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /pings were answered/);
  assert.match(stdout, /OpenFlow table[\s\S]*priority=0[\s\S]*NORMAL/);
  assert.match(stdout, /Megaflows[\s\S]*recirc_id\(0\)/);
  assert.match(stdout, /emc hits:[\s\S]*megaflow hits:/);
  assert.deepEqual(
    readdirSync('/sys/class/net').filter((name) => name.startsWith('sb') && !before.includes(name)),
    [],
  );
});

test('command lines of ovs-vswitchd and signalbox that are wrong are refused', async () => {
  const vswitchd = (...args: string[]) => run(join(BIN, 'ovs-vswitchd'), args);
  const extra = await vswitchd('unix:a', 'unix:b');
  assert.equal(extra.status, 1);
  assert.equal(extra.stderr, 'ovs-vswitchd: at most one non-option argument accepted; use --help for usage\n');
  const signalbox = (...args: string[]) => run(join(BIN, 'signalbox'), args);
  assert.match((await signalbox('--help')).stdout, /usage: signalbox/);
  assert.equal((await signalbox('sideways')).stderr, "signalbox: unknown command 'sideways'; use --help for help\n");
  assert.equal((await signalbox()).status, 1);
});
