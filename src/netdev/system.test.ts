import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Arena } from '../base/arena.ts';
import { MSG } from '../linux/constants.ts';
import { addressOf, libc } from '../linux/libc.ts';
import { getLink } from '../linux/link.ts';
import { openReceiveSocket, openSendSocket } from '../linux/packet-socket.ts';
import { FRAME_DATA, FRAME_HEADROOM, FRAME_LEN, FRAME_SIZE, FramePool } from '../packet/frame.ts';
import { VNET_HDR_SIZE } from '../packet/segment.ts';
import type { Netdev, NetdevEnv, NetdevPort, PortSpec } from './netdev.ts';
import { systemKind } from './system.ts';
import { internalKind } from './tap.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const FRAMES = 8192;
const ip = (...args: string[]): void => void execFileSync('ip', args);
let unique = 0;

/** A veth pair whose end `near` a test opens as a switch port. */
function veth(): { near: string; far: string } & Disposable {
  const id = `${process.pid % 100000}${unique++}`;
  const near = `sbn${id}`;
  const far = `sbf${id}`;
  ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far);
  for (const end of [near, far]) {
    // Keeps the kernel's own IPv6 chatter off the wire.
    execFileSync('sysctl', ['-qw', `net.ipv6.conf.${end}.disable_ipv6=1`]);
    ip('link', 'set', end, 'up');
  }
  return {
    near,
    far,
    [Symbol.dispose]() {
      if (getLink(near)) ip('link', 'del', near);
    },
  };
}

interface Bench {
  readonly env: NetdevEnv;
  readonly pool: FramePool;
}

function bench(): Bench {
  const arena = new Arena(64 << 20);
  const bytes = FRAMES * FRAME_SIZE;
  const at = arena.alloc(bytes, 4096);
  return { env: { arena, frames: { at, bytes }, byName: new Map() }, pool: new FramePool(arena, at, FRAMES, FRAMES) };
}

function openPort(
  b: Bench,
  name: string,
  mode: string,
): { netdev: Netdev; port: NetdevPort; kind: string; spec: PortSpec } {
  const netdev = systemKind.open(name, b.env);
  assert.ok(!('error' in netdev));
  assert.equal(netdev.setConfig(new Map([['xdp-mode', mode]])), null);
  const spec = netdev.portSpec();
  return {
    netdev,
    port: systemKind.openPort(spec, { arena: b.env.arena, pool: b.pool, now: () => 0 }),
    kind: spec.kind,
    spec,
  };
}

function send(far: string, packet: Uint8Array): void {
  const fd = openSendSocket(getLink(far)?.ifindex ?? 0);
  assert.equal(Number(libc().sendto(fd, addressOf(packet), packet.length, 0, 0, 0)), packet.length);
  libc().close(fd);
}

async function receive(b: Bench, port: NetdevPort): Promise<Uint8Array> {
  const frames = new Int32Array(32);
  for (let tries = 0; tries < 200; tries++) {
    const n = port.rx(0, frames, 32);
    port.flush();
    if (n > 0) {
      assert.equal(n, 1);
      const word = frames[0] >> 2;
      const { i32, u8 } = b.env.arena;
      const packet = u8.slice(i32[word + FRAME_DATA], i32[word + FRAME_DATA] + i32[word + FRAME_LEN]);
      b.pool.put(frames[0]);
      return packet;
    }
    await delay(5);
  }
  throw new Error('nothing received');
}

const plain = Uint8Array.from({ length: 90 }, (_, i) => (i === 12 ? 0x88 : i === 13 ? 0xb5 : i + 2));
const tagged = Uint8Array.from({ length: 90 }, (_, i) => [0x81, 0x00, 0x20, 0x05, 0x88, 0xb5][i - 12] ?? i + 2);

for (const [mode, kind] of [
  ['native', 'af_xdp'],
  ['generic', 'af_xdp'],
  ['off', 'af_packet'],
] as const) {
  test(`xdp-mode ${mode}: frames arrive and leave byte for byte, with their VLAN tags`, { skip }, async () => {
    using pair = veth();
    const b = bench();
    const { netdev, port, kind: used, spec } = openPort(b, pair.near, mode);
    assert.equal(used, kind);
    for (const packet of [plain, tagged]) {
      send(pair.far, packet);
      assert.deepEqual(await receive(b, port), packet);
    }

    const fd = openReceiveSocket(getLink(pair.far)?.ifindex ?? 0);
    const frame = b.pool.take();
    const { i32, u8 } = b.env.arena;
    u8.set(plain, frame + FRAME_HEADROOM);
    i32[(frame >> 2) + FRAME_LEN] = plain.length;
    i32[(frame >> 2) + FRAME_DATA] = frame + FRAME_HEADROOM;
    port.tx(Int32Array.of(frame), 1);
    port.flush();
    const buffer = new Uint8Array(2048);
    let n = -1;
    for (let tries = 0; n < 0 && tries < 200; tries++) {
      n = Number(libc().recvfrom(fd, addressOf(buffer), buffer.length, MSG.DONTWAIT, 0, 0));
      if (n < 0) await delay(5);
    }
    libc().close(fd);
    assert.deepEqual(buffer.subarray(VNET_HDR_SIZE, n), plain);

    port.close();
    netdev.release?.();
    systemKind.reclaim?.(spec, { arena: b.env.arena, pool: b.pool, now: () => 0 });
    assert.equal(b.pool.available, FRAMES, 'every frame came back');
    netdev[Symbol.dispose]();
  });
}

test('a device that vanishes reads as down, and is told of when it returns', { skip }, async () => {
  using pair = veth();
  const b = bench();
  const netdev = systemKind.open(pair.near, b.env);
  assert.ok(!('error' in netdev));
  const before = netdev.ifindex();
  let changes = 0;
  using _watch = netdev.onChange(() => changes++);
  ip('link', 'del', pair.near);
  for (let t = 0; t < 100 && netdev.ifindex() !== 0; t++) await delay(20);
  assert.equal(netdev.ifindex(), 0);
  assert.equal(netdev.carrier(), false);
  ip('link', 'add', pair.near, 'type', 'veth', 'peer', 'name', pair.far);
  for (let t = 0; t < 100 && netdev.ifindex() === 0; t++) await delay(20);
  assert.notEqual(netdev.ifindex(), before);
  assert.ok(changes >= 2);
  netdev[Symbol.dispose]();
});

test('an unknown device and a wrong xdp-mode are refused in words', { skip }, () => {
  const b = bench();
  assert.deepEqual(systemKind.open('sb-none', b.env), {
    error: 'could not open network device sb-none (No such device)',
  });
  const lo = systemKind.open('lo', b.env);
  assert.ok(!('error' in lo));
  assert.match(lo.setConfig(new Map([['xdp-mode', 'warp']])) ?? '', /could not set configuration \(Invalid argument\)/);
  lo[Symbol.dispose]();
});

test('internal: an interface of the host that lives as long as its port', { skip }, async () => {
  const b = bench();
  const name = `sbi${process.pid % 100000}`;
  const netdev = internalKind.open(name, b.env);
  assert.ok(!('error' in netdev));
  execFileSync('sysctl', ['-qw', `net.ipv6.conf.${name}.disable_ipv6=1`]);
  assert.equal(netdev.setMac(Uint8Array.of(2, 0, 0, 0, 0, 9)), null);
  assert.equal(netdev.setMtu(1400), null);
  assert.match(netdev.setMtu(70000) ?? '', /larger than the maximum/);
  assert.equal(netdev.carrier(), false, 'nothing that is down has a carrier');
  assert.equal(netdev.setUp(true), null);
  assert.equal(netdev.carrier(), true);
  assert.equal(netdev.features().curr, (1 << 6) | (1 << 11), '10 Gb/s, copper');
  assert.equal(netdev.mtu(), 1400);
  const port = internalKind.openPort(netdev.portSpec(), { arena: b.env.arena, pool: b.pool, now: () => 0 });
  send(name, plain);
  assert.deepEqual(await receive(b, port), plain);
  assert.equal(netdev.stats().rx_packets, 1, 'what the host sends, the switch receives');
  port.close();
  netdev[Symbol.dispose]();
  assert.equal(existsSync(`/sys/class/net/${name}`), false);
});

test('internal: takes over a tap that another switch left, and nothing else of that name', { skip }, () => {
  const b = bench();
  const name = `sbl${process.pid % 100000}`;
  ip('tuntap', 'add', 'dev', name, 'mode', 'tap');
  const netdev = internalKind.open(name, b.env);
  assert.ok(!('error' in netdev), 'error' in netdev ? netdev.error : '');
  const second = internalKind.open(name, b.env);
  assert.match('error' in second ? second.error : '', /\(Device or resource busy\)$/);
  netdev[Symbol.dispose]();
  assert.equal(existsSync(`/sys/class/net/${name}`), false);
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`);
  const veth = internalKind.open(name, b.env);
  ip('link', 'del', name);
  assert.match('error' in veth ? veth.error : '', /\(Invalid argument\)$/);
});
