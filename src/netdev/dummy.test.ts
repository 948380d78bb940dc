import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Arena } from '../base/arena.ts';
import { runCommand } from '../base/commands.ts';
import { FRAME_SIZE, FramePool } from '../packet/frame.ts';
import { type DummyNetdev, dummyKind } from './dummy.ts';
import type { NetdevEnv, NetdevPort } from './netdev.ts';
import { nullKind } from './null.ts';
import { type PatchNetdev, patchKind } from './patch.ts';

const TCP =
  'in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),' +
  'ipv4(src=1.2.3.4,dst=5.6.7.8,proto=6,tos=0,ttl=64,frag=no),tcp(src=1,dst=2)';
// What Open vSwitch 3.1.0 receives for that.
const TCP_HEADERS =
  '505400000002505400000001080045000068000000004006' + '6a7d010203040506070800010002000000000000000050000000bb8a0000';

const arena = new Arena(8 << 20);
const env: NetdevEnv = { arena, frames: { at: 0, bytes: 0 }, byName: new Map() };
const pool = new FramePool(arena, arena.alloc(16 * FRAME_SIZE, FRAME_SIZE), 16, 16);
const context = { arena, pool, now: () => 0 };
const run = (name: string, ...args: string[]): Promise<string> => runCommand(name, args, { format: 'text' });

describe('dummy', () => {
  let device: DummyNetdev;
  let port: NetdevPort;
  let directory: string;
  const frames = new Int32Array(32);

  function received(queue = 0): string[] {
    const n = port.rx(queue, frames, 32);
    return Array.from({ length: n }, (_, i) => {
      const f = frames[i] >> 2;
      const packet = arena.u8.slice(arena.i32[f + 1], arena.i32[f + 1] + arena.i32[f]);
      pool.put(frames[i]);
      return Buffer.from(packet).toString('hex');
    });
  }

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'dummy-'));
    device = dummyKind.open('d1', env) as DummyNetdev;
    device.setConfig(
      new Map([
        ['n_rxq', '2'],
        ['tx_pcap', join(directory, 'tx.pcap')],
        ['ifindex', '77'],
      ]),
    );
    port = dummyKind.openPort(device.portSpec(), context);
  });
  after(() => {
    device[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  it('receives packets in hex and flows in text, as the original makes them', async () => {
    await run('netdev-dummy/receive', 'd1', 'ffffffffffff0102030405060800aaaa', TCP);
    const [first, second] = received();
    assert.equal(first, 'ffffffffffff0102030405060800aaaa');
    assert.equal(second.length, 118 * 2);
    assert.equal(second.slice(0, TCP_HEADERS.length), TCP_HEADERS);
    assert.equal(second.slice(108, 116), '00010203');
    await run('netdev-dummy/receive', 'd1', '--qid', '1', TCP, '--len', '100');
    assert.deepEqual(received(0), []);
    assert.equal(received(1)[0].length, 200);
  });

  it('answers errors in the words of the original', async () => {
    const fails = async (expected: string, ...args: string[]): Promise<void> => {
      await assert.rejects(run(args[0], ...args.slice(1)), { message: expected });
    };
    await fails('no such dummy netdev', 'netdev-dummy/receive', 'nope', '00');
    await fails('syntax error at zz', 'netdev-dummy/receive', 'd1', 'zz');
    await fails('bad rx queue id.', 'netdev-dummy/receive', 'd1', '--qid', '3', '00');
    await fails('too small packet len', 'netdev-dummy/receive', 'd1', TCP, '--len', '20');
    await fails('Invalid Admin State', 'netdev-dummy/set-admin-state', 'd1', 'foo');
    await fails('Unknown Dummy Interface', 'netdev-dummy/set-admin-state', 'nope', 'up');
    assert.equal(await run('netdev-dummy/conn-state', 'd1'), 'd1: unknown\n');
  });

  it('has an administrative state, an address of its own and an index', async () => {
    let changes = 0;
    using _ = device.onChange(() => changes++);
    assert.equal(await run('netdev-dummy/set-admin-state', 'd1', 'down'), 'OK');
    assert.equal(device.isUp(), false);
    assert.equal(changes, 1);
    assert.equal(device.ifindex(), 77);
    assert.equal(Buffer.from(device.mac().subarray(0, 4)).toString('hex'), 'aa55aa55');
    const other = dummyKind.open('d2', env) as DummyNetdev;
    assert.notDeepEqual(device.mac(), other.mac());
    other[Symbol.dispose]();
  });

  it('is connected to another by a stream, in both directions', async () => {
    const address = `unix:${join(directory, 'cable')}`;
    const ends = ['e1', 'e2'].map((name) => dummyKind.open(name, env) as DummyNetdev);
    const ports = ends.map((end) => dummyKind.openPort(end.portSpec(), context));
    assert.equal(ends[0].setConfig(new Map([['pstream', `p${address}`]])), null);
    ends[1].setConfig(new Map([['stream', address]]));
    const deadline = performance.now() + 5000;
    const until = async (condition: () => boolean): Promise<void> => {
      while (!condition()) {
        assert.ok(performance.now() < deadline, 'in time');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    await until(() => ends[1].connectionState() === 'connected');
    assert.equal(ends[0].connectionState(), 'unknown');
    for (const [from, to] of [
      [1, 0],
      [0, 1],
    ] as const) {
      for (const length of [60, 1500]) {
        const frame = pool.take();
        arena.i32[frame >> 2] = length;
        arena.i32[(frame >> 2) + 1] = frame + 258;
        arena.u8.fill(length & 255, frame + 258, frame + 258 + length);
        frames[0] = frame;
        ports[from].tx(frames, 1);
        ends[from].afterRun();
        await until(() => ports[to].rx(0, frames, 1) === 1);
        assert.equal(arena.i32[frames[0] >> 2], length);
        pool.put(frames[0]);
      }
    }
    for (const end of ends) end[Symbol.dispose]();
    assert.equal(pool.available, 16);
  });

  it('counts and captures what it sends, and gives the frames back', () => {
    const packet = Uint8Array.from({ length: 60 }, (_, i) => i);
    const frame = pool.take();
    arena.i32[frame >> 2] = packet.length;
    arena.i32[(frame >> 2) + 1] = frame + 258;
    arena.u8.set(packet, frame + 258);
    frames[0] = frame;
    port.tx(frames, 1);
    device.afterRun();
    assert.equal(pool.available, 16);
    assert.equal(device.stats().tx_packets, 1);
    assert.equal(device.stats().tx_bytes, 60);
    const file = readFileSync(join(directory, 'tx.pcap'));
    assert.equal(file.length, 24 + 16 + 60);
    assert.deepEqual(new Uint8Array(file.subarray(40)), packet);
  });
});

describe('patch and null', () => {
  it('patch refuses options as the original does', () => {
    const patch = patchKind.open('pp1', env) as PatchNetdev;
    assert.equal(patch.setConfig(new Map()), "pp1: patch type requires valid 'peer' argument");
    assert.equal(patch.setConfig(new Map([['peer', 'pp1']])), 'pp1: patch peer must not be self');
    assert.equal(
      patch.setConfig(
        new Map([
          ['peer', 'x'],
          ['foo', '1'],
        ]),
      ),
      "pp1: patch type takes only a 'peer' argument",
    );
    assert.equal(patch.setConfig(new Map([['peer', 'pp2']])), null);
    assert.equal(patch.peer, 'pp2');
    patch[Symbol.dispose]();
    assert.equal(env.byName.has('pp1'), false);
  });

  it('null swallows and counts', () => {
    const device = nullKind.open('n1', env);
    assert.ok(!('error' in device));
    const port = nullKind.openPort(device.portSpec(), context);
    const frame = pool.take();
    arena.i32[frame >> 2] = 64;
    port.tx(Int32Array.of(frame), 1);
    assert.deepEqual(device.stats(), { tx_packets: 1, tx_bytes: 64 });
    assert.equal(pool.available, 16);
    device[Symbol.dispose]();
  });
});
