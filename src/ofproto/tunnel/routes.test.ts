import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../../netdev/tunnel-config.ts';
import { Neighbors } from './neighbors.ts';
import { type Address, ANY, type RouteSpec, Routes } from './routes.ts';

const ip = (text: string): Uint8Array => parseIp(text)!; // Only valid ones here.
const address = (device: string, text: string, prefixLength: number): Address => ({
  device,
  ip: ip(text),
  prefixLength,
});

const ADDRESSES = [address('br0', '10.0.0.1', 120), address('br0', '10.9.0.1', 120), address('br1', 'fd00::1', 64)];

const route = (prefix: string, prefixLength: number, device: string, more: Partial<RouteSpec> = {}): RouteSpec => ({
  kind: 'Cached',
  mark: 0,
  prefix: ip(prefix),
  prefixLength,
  device,
  gateway: ANY,
  source: null,
  isLocal: false,
  ...more,
});

test('the longest prefix wins, own addresses before all, marks apart', () => {
  const routes = new Routes();
  routes.setCached(
    [
      route('0.0.0.0', 96, 'br0', { gateway: ip('10.9.0.254') }),
      route('10.0.0.0', 120, 'br0'),
      route('10.0.0.1', 128, 'lo', { source: ip('10.0.0.1'), isLocal: true }),
      route('::', 0, 'br1', { gateway: ip('fd00::fe') }),
      route('10.7.0.0', 112, 'nowhere'),
    ],
    ADDRESSES,
  );
  const way = (text: string, mark = 0) => {
    const r = routes.lookup(ip(text), mark);
    return r && `${r.device} ${r.source.slice(12).join('.')} ${r.gateway.slice(12).join('.')}`;
  };
  equal(way('10.0.0.9'), 'br0 10.0.0.1 0.0.0.0');
  equal(way('10.0.0.1'), 'lo 10.0.0.1 0.0.0.0');
  equal(way('10.7.0.1'), 'br0 10.9.0.1 10.9.0.254', 'a device without an address is no way');
  equal(way('2001::1'), 'br1 0.0.0.1 0.0.0.254');
  equal(
    routes.add(route('10.0.0.0', 120, 'br0', { kind: 'User', mark: 5, gateway: ip('10.0.0.77') }), ADDRESSES),
    true,
  );
  equal(way('10.0.0.9', 5), 'br0 10.0.0.1 10.0.0.77');
  equal(way('10.0.0.9', 6), 'br0 10.0.0.1 0.0.0.0');
  equal(routes.remove(5, ip('10.0.0.0'), 120), true);
  equal(routes.remove(5, ip('10.0.0.0'), 120), false);
});

test('neighbors are kept while they are used, and tell when they change', () => {
  const neighbors = new Neighbors();
  let changes = 0;
  neighbors.onChange = () => void changes++;
  const mac = Uint8Array.of(1, 2, 3, 4, 5, 6);
  neighbors.setAging(10, 0);
  neighbors.set('br0', ip('10.0.0.2'), mac, 0);
  neighbors.set('br0', ip('10.0.0.2'), mac, 1000);
  equal(changes, 1);
  deepEqual(neighbors.lookup('br0', ip('10.0.0.2'), 10_999), mac);
  equal(neighbors.lookup('br1', ip('10.0.0.2'), 0), null);
  neighbors.used('br0', ip('10.0.0.2'), 9000);
  neighbors.expire(18_000);
  deepEqual(neighbors.lookup('br0', ip('10.0.0.2'), 18_000), mac);
  neighbors.expire(19_001);
  equal(neighbors.lookup('br0', ip('10.0.0.2'), 19_001), null);
  equal(changes, 2);
});
