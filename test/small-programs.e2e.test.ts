/** The programs around the switch: `ovs-pcap`, `ovs-tcpundump` and `ovs-testcontroller`, ours beside the original's. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import test from 'node:test';
import { writePcap } from '../src/packet/pcap.ts';
import { missing, Sandbox, until } from './support/sandbox.ts';

/** The originals are Python, and say the path they were called by. */
const named = (text: string): string => text.replace(/^\S*\/(ovs-\w+):/gm, '$1:');

test('ovs-pcap prints what the original prints', { skip: missing('ovs-pcap') }, async () => {
  await using sb = await Sandbox.create();
  const whole = writePcap([Uint8Array.of(1, 2, 255), new Uint8Array(60), new Uint8Array(0)]);
  const bigEndian = Buffer.from(
    'a1b23c4d0002000400000000000000000000ffff000000010000000100000002000000030000000378797a',
    'hex',
  );
  const files: Readonly<Record<string, Uint8Array>> = {
    whole,
    'cut in data': whole.subarray(0, 41 + 16 + 30),
    'cut in a header': whole.subarray(0, 24 + 16 + 3 + 7),
    'cut before the first packet': whole.subarray(0, 20),
    'nanoseconds, big-endian': bigEndian,
    'not a capture': Buffer.from('# Signalbox is a switch in software'),
    empty: new Uint8Array(0),
  };
  for (const [name, bytes] of Object.entries(files)) {
    writeFileSync(sb.path('a.pcap'), bytes);
    const theirs = await sb.c('ovs-pcap', 'a.pcap');
    const ours = await sb.ours('ovs-pcap', 'a.pcap');
    assert.deepEqual(
      [ours.stdout, ours.stderr, ours.status],
      [theirs.stdout, named(theirs.stderr), theirs.status],
      name,
    );
  }
  for (const args of [[], ['a', 'b'], ['--nothing'], ['-z'], ['--help=1']]) {
    const theirs = await sb.c('ovs-pcap', ...args);
    const ours = await sb.ours('ovs-pcap', ...args);
    assert.deepEqual([ours.stderr, ours.status], [named(theirs.stderr), theirs.status], args.join(' '));
  }
});

test('ovs-tcpundump prints what the original prints', { skip: missing('ovs-tcpundump') }, async () => {
  await using sb = await Sandbox.create();
  const lines = [
    '10:00:00.000000 IP 1.2.3.4 > 5.6.7.8: ICMP',
    '\t0x0000:  0011 2233 4455 6677 8899 aabb 0800 4500  .."3DUfw......E.',
    '\t0x0010:  0054 abcd 4000 4001  ........',
    '10:00:01.000000 IP 1.2.3.4 > 5.6.7.8: ICMP',
    '\t0x0000:  ffff 22',
    'words',
    '\t0x0010:  33 44',
    '    0x0000: 1234 56ab zz',
    '\t0x0000:  AB12 34',
    '\t0x0000:  1234 123456',
    '\t0x0000:  1234 3',
    '\t0x000a:  1234zz',
    '',
    '0x0000:  1111',
    '\t0x0000:  1',
    '\t0x00:  12\r',
  ];
  const input = `${lines.join('\n')}\n`;
  const theirs = await sb.runC('ovs-tcpundump', [], { input });
  const ours = await sb.runOurs('ovs-tcpundump', [], { input });
  assert.equal(ours.stdout, theirs.stdout);
  assert.ok(theirs.stdout.split('\n').length > 5);
  const refused = await sb.ours('ovs-tcpundump', 'a');
  assert.equal(refused.stderr, named((await sb.c('ovs-tcpundump', 'a')).stderr));
  assert.equal(refused.status, 1);
});

const L3_ONLY = '-w0x2000ec';
const A = '00:00:00:00:00:0a';
const B = '00:00:00:00:00:0b';

/** What a switch that a controller has taught has in its table after a fixed conversation, and what it sent. */
async function taught(sb: Sandbox, whose: 'c' | 'ours', options: readonly string[], version: string): Promise<string> {
  const controller = [
    'punix:c.sock',
    '--pidfile',
    '--detach',
    '--no-chdir',
    '-vconsole:off',
    ...options,
    '-O',
    version,
  ];
  const started = await sb[whose]('ovs-testcontroller', ...controller);
  assert.equal(started.status, 0, started.stderr);
  await sb.ours('ovs-vsctl', 'set-controller', 'br0', `unix:${sb.path('c.sock')}`);
  const flows = async () => {
    const { stdout } = await sb.ours(
      'ovs-ofctl',
      '-O',
      'OpenFlow10,OpenFlow13',
      '--no-stats',
      '--sort',
      'dump-flows',
      'br0',
    );
    return stdout;
  };
  const uuid = (await sb.ours('ovs-vsctl', 'get', 'bridge', 'br0', 'controller')).stdout.trim().slice(1, -1);
  const isUp = async () => (await sb.ours('ovs-vsctl', 'get', 'controller', uuid, 'is_connected')).stdout === 'true\n';
  await until(isUp, 15_000, 'the switch is connected');
  const counted = async () => (await sb.ours('ovs-ofctl', 'dump-ports', 'br0')).stdout.match(/tx pkts=\d+/g)?.join(' ');
  const send = async (port: number, src: string, dst: string) => {
    const flow = `in_port(${port}),eth(src=${src},dst=${dst}),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)`;
    const { status, stderr } = await sb.ours('ovs-appctl', 'netdev-dummy/receive', `p${port}`, flow);
    assert.equal(status, 0, stderr);
  };
  const before = await counted();
  await send(1, A, B);
  await until(async () => (await counted()) !== before, 10_000, 'the first packet is flooded');
  // With flows for what is flooded the rest never comes to the controller.
  const known = await flows();
  await send(2, B, A);
  await send(1, A, B);
  const isSet = async () => options.includes('-H') || /output:1|enqueue:1|set_queue/.test(await flows());
  await until(isSet, 10_000, 'flows are set up');
  await send(1, A, '01:80:c2:00:00:0e');
  // What goes by IP addresses alone is forwarded to whatever MAC address.
  if (!options.includes(L3_ONLY))
    await until(async () => /actions=drop/.test(await flows()), 10_000, 'the reserved address is dropped');
  const text = `${known}--\n${await flows()}`;
  await sb.ours('ovs-vsctl', 'del-controller', 'br0');
  await sb.ours('ovs-ofctl', 'del-flows', 'br0');
  await sb.ours('ovs-appctl', '-t', 'ovs-testcontroller', 'version');
  process.kill(Number(sb.read('ovs-testcontroller.pid')), 'SIGTERM');
  return text;
}

test('ovs-testcontroller teaches a switch what the original teaches it', {
  skip: missing('ovs-testcontroller'),
}, async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override']);
  const ports = ['p1', 'p2'].flatMap((p, i) => [
    '--',
    'add-port',
    'br0',
    p,
    '--',
    'set',
    'interface',
    p,
    'type=dummy',
    `ofport_request=${i + 1}`,
  ]);
  const made = await sb.ours('ovs-vsctl', 'add-br', 'br0', '--', 'set', 'bridge', 'br0', 'fail-mode=secure', ...ports);
  assert.equal(made.status, 0, made.stderr);
  writeFileSync(sb.path('flows'), 'priority=5,dl_type=0x9999,actions=drop\n');
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['OpenFlow13', []],
    ['OpenFlow13', [L3_ONLY, '--max-idle=permanent']],
    ['OpenFlow10', ['-q', '3', '--with-flows', 'flows']],
    ['OpenFlow13', ['-H']],
  ];
  for (const [version, options] of cases) {
    const theirs = await taught(sb, 'c', options, version);
    const ours = await taught(sb, 'ours', options, version);
    assert.equal(ours, theirs, `${version} ${options.join(' ')}`);
    assert.match(theirs, /actions=(drop|output)/);
  }
});
