/**
 * Enemies at every door of a running switch: bytes of noise, broken messages, lies about length, half-open connections. Each
 * gets an error or is cut off, and the switch goes on forwarding and answering.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { missing, Sandbox, until } from './support/sandbox.ts';

const skip = missing('ovs-vsctl', 'ovs-ofctl');

let state = 42;
const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 4294967296) * below);
};
const noise = (n: number): Buffer => Buffer.from(Array.from({ length: n }, () => random(256)));

async function start(): Promise<Sandbox> {
  const sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  const r = await sb.c(
    'ovs-vsctl',
    '--timeout=10',
    'add-br',
    'br0',
    '--',
    'add-port',
    'br0',
    'p1',
    '--',
    'add-port',
    'br0',
    'p2',
  );
  assert.equal(r.status, 0, r.stderr);
  return sb;
}

/** All that still must work. */
async function isAlive(sb: Sandbox): Promise<void> {
  const flows = await sb.c('ovs-ofctl', 'dump-flows', 'br0');
  assert.match(flows.stdout, /actions=NORMAL/, flows.stderr);
  const rows = await sb.c('ovs-vsctl', '--timeout=10', 'list-ports', 'br0');
  assert.equal(rows.stdout, 'p1\np2\n', rows.stderr);
  const version = await sb.c('ovs-appctl', 'version');
  assert.equal(version.status, 0, version.stderr);
  const frame = '0200000000010200000000028899' + '00'.repeat(46);
  const received = await sb.c('ovs-appctl', 'netdev-dummy/receive', 'p1', frame);
  assert.equal(received.status, 0, received.stderr);
  for (const daemon of ['ovs-vswitchd', 'ovsdb-server']) assert.doesNotMatch(sb.log(daemon), /uncaught|EMER/i);
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const s = connect(path);
    s.once('connect', () => resolve(s));
    s.once('error', reject);
  });
}

/** Sends `bytes`, waits until the peer has answered or hung up, and returns what it said. */
async function say(path: string, bytes: Buffer, patienceMs = 60): Promise<Buffer> {
  const s = await open(path);
  const answers: Buffer[] = [];
  s.on('data', (b: Buffer) => answers.push(b));
  s.on('error', () => {});
  const closed = new Promise<void>((resolve) => s.once('close', () => resolve()));
  s.write(bytes);
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, patienceMs))]);
  s.destroy();
  return Buffer.concat(answers);
}

function openflow(version: number, type: number, body: Buffer, length = body.length + 8): Buffer {
  const head = Buffer.alloc(8);
  head[0] = version;
  head[1] = type;
  head.writeUInt16BE(length, 2);
  head.writeUInt32BE(7, 4);
  return Buffer.concat([head, body]);
}

test('OpenFlow: every type of message with a body of noise gets an error or an answer', { skip }, async () => {
  await using sb = await start();
  const mgmt = sb.path('br0.mgmt');
  for (const version of [1, 4, 5, 6]) {
    for (let type = 0; type < 36; type++) {
      const bodies = [Buffer.alloc(0), noise(random(16)), noise(8 * random(20))].map((b) => openflow(version, type, b));
      await say(mgmt, Buffer.concat([openflow(version, 0, Buffer.alloc(0)), ...bodies]), 8);
    }
  }
  const bad = Buffer.concat([openflow(4, 0, Buffer.alloc(0)), openflow(4, 14, noise(40))]);
  const answer = await say(mgmt, bad, 300);
  // Hello, then an error with the transaction id of what was wrong.
  assert.equal(answer[1], 0);
  const second = answer.subarray(answer.readUInt16BE(2));
  assert.equal(second[1], 1);
  assert.equal(second.readUInt32BE(4), 7);
  await isAlive(sb);
});

test('OpenFlow: lengths that lie, and a peer that stops in the middle', { skip }, async () => {
  await using sb = await start();
  const mgmt = sb.path('br0.mgmt');
  const hello = openflow(4, 0, Buffer.alloc(0));
  for (const length of [0, 1, 7, 9, 0xffff]) {
    await say(mgmt, Buffer.concat([hello, openflow(4, 2, noise(4), length)]), 20);
  }
  const half: Socket[] = [];
  for (let i = 0; i < 50; i++) {
    const s = await open(mgmt);
    s.on('error', () => {});
    s.write(hello.subarray(0, 3));
    half.push(s);
  }
  await isAlive(sb);
  for (const s of half) s.destroy();
  for (let i = 0; i < 200; i++) await say(mgmt, noise(1 + random(200)), 2);
  await isAlive(sb);
});

test('database: noise, deep nesting, wrong types', { skip }, async () => {
  await using sb = await start();
  const db = sb.path('db.sock');
  for (let i = 0; i < 100; i++) await say(db, noise(1 + random(300)), 2);
  const texts = [
    '['.repeat(200000),
    '{"method":"transact","params":[],"id":1}',
    '{"method":"transact","params":["Open_vSwitch",{"op":5}],"id":1}',
    '{"method":"transact","params":["Open_vSwitch",{"op":"insert","table":"Bridge","row":{"name":7}}],"id":1}',
    '{"method":"transact","params":["Open_vSwitch",{"op":"select","table":"Bridge","where":[["name","~",1]]}],"id":1}',
    '{"method":"monitor","params":[null,null,null],"id":1}',
    '{"method":"monitor_cond_since","params":["Open_vSwitch",1,{"Bridge":[{"columns":["x"]}]},"0"],"id":1}',
    '{"method":"nonsense","params":[],"id":1}',
    '{"id":1,"result":1,"error":null}',
    '{"method":5}',
    '"\\ud800"',
    '{"method":"echo","params":["\u0000"],"id":1}',
  ];
  for (const text of texts) await say(db, Buffer.from(text), 50);
  const answer = await say(db, Buffer.from(texts[7] ?? ''), 300);
  assert.match(answer.toString(), /"error":"?(unknown method|.*unknown method)/);
  await isAlive(sb);
});

test('control socket: noise and commands that do not exist', { skip }, async () => {
  await using sb = await start();
  const control = (await sb.c('ovs-appctl', 'version')).status === 0 ? 'ovs-vswitchd' : '';
  assert.equal(control, 'ovs-vswitchd');
  const pid = sb.read('ovs-vswitchd.pid').trim();
  const path = sb.path(`ovs-vswitchd.${pid}.ctl`);
  for (let i = 0; i < 50; i++) await say(path, noise(1 + random(200)), 2);
  for (const args of [
    ['no/such'],
    ['netdev-dummy/receive', 'p1', 'zz'],
    ['netdev-dummy/receive', 'p1', 'in_port(1),eth('],
    ['netdev-dummy/receive', 'p1'],
    ['ofproto/trace', 'br0', 'in_port=99,('],
    ['ofproto/trace', 'nobr', 'ip'],
    ['fdb/show', 'nobr'],
    ['dpctl/add-flow', 'in_port(1)', 'x'],
    ['vlog/set', 'a:b:c:d'],
  ]) {
    const r = await sb.c('ovs-appctl', ...args);
    assert.notEqual(r.status, 0, args.join(' '));
    assert.notEqual(r.stderr, '', args.join(' '));
  }
  await isAlive(sb);
});

test('packets: every length and shape of noise into a simulated port', { skip }, async () => {
  await using sb = await start();
  const jobs: Promise<unknown>[] = [];
  for (let i = 0; i < 60; i++) {
    const packet = noise(14 + random(120));
    packet[0] &= 0xfe;
    packet.writeUInt16BE([0x0800, 0x86dd, 0x0806, 0x8100, 0x8847, 0x894f][i % 6] ?? 0, 12);
    jobs.push(sb.c('ovs-appctl', 'netdev-dummy/receive', 'p1', packet.toString('hex')));
    if (jobs.length === 10) await Promise.all(jobs.splice(0));
  }
  await Promise.all(jobs);
  await until(
    async () => /rx_packets=6\d/.test((await sb.c('ovs-vsctl', 'get', 'interface', 'p1', 'statistics')).stdout),
    10_000,
    'all are counted',
  );
  await isAlive(sb);
});
