/** Multicast snooping beside the original: the same packets into both, the same ports get them, the same groups are known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv6 } from '../src/flow/address-text.ts';
import { checksum, finishSum, pseudoHeaderSum, sumBytes } from '../src/packet/checksum.ts';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const ip4 = (text: string): number[] => text.split('.').map(Number);
const ip6 = (text: string): number[] => [...(parseIpv6(text) ?? assert.fail(text))];
const mac = (n: number): number[] => [2, 0, 0, 0, 0, n];

function put16(b: Uint8Array, at: number, v: number): void {
  b[at] = v >> 8;
  b[at + 1] = v;
}

/** A frame for a group from host `n`, in VLAN `vlan` unless 0. */
function frame4(n: number, group: string, proto: number, payload: Uint8Array, vlan = 0): string {
  const p = new Uint8Array(20);
  p.set([0x45, 0xc0, 0, 20 + payload.length, 0, 0, 0, 0, 1, proto, 0, 0, 10, 0, 0, n, ...ip4(group)]);
  put16(p, 10, checksum(p, 0, 20));
  const [, b, c, d] = ip4(group);
  const tag = vlan ? [0x81, 0, vlan >> 8, vlan] : [];
  return Buffer.from([1, 0, 0x5e, b & 0x7f, c, d, ...mac(n), ...tag, 8, 0, ...p, ...payload]).toString('hex');
}

function igmp(n: number, to: string, body: number[], vlan = 0): string {
  const p = Uint8Array.from(body);
  put16(p, 2, checksum(p, 0, p.length));
  return frame4(n, to, 2, p, vlan);
}

function mld(n: number, to: string, body: number[]): string {
  const p = Uint8Array.from(body);
  const addresses = Uint8Array.from([...ip6(`fe80::${n}`), ...ip6(to)]);
  put16(p, 2, finishSum(sumBytes(p, 0, p.length, pseudoHeaderSum(addresses, 0, 16, 58, p.length))));
  const head = [0x60, 0, 0, 0, 0, p.length + 8, 0, 1, ...addresses, 58, 0, 5, 2, 0, 0, 1, 0];
  return Buffer.from([0x33, 0x33, ...ip6(to).slice(12), ...mac(n), 0x86, 0xdd, ...head, ...p]).toString('hex');
}

const report = (n: number, group: string, vlan = 0): string => igmp(n, group, [0x16, 0, 0, 0, ...ip4(group)], vlan);
const leave = (n: number, group: string): string => igmp(n, '224.0.0.2', [0x17, 0, 0, 0, ...ip4(group)]);
const query = (n: number): string => igmp(n, '224.0.0.1', [0x11, 100, 0, 0, 0, 0, 0, 0]);
const reportV3 = (n: number, records: [type: number, group: string, sources?: string[]][]): string =>
  igmp(n, '224.0.0.22', [
    ...[0x22, 0, 0, 0, 0, 0, 0, records.length],
    ...records.flatMap(([type, group, from = []]) => [type, 0, 0, from.length, ...ip4(group), ...from.flatMap(ip4)]),
  ]);
const data = (n: number, group: string, vlan = 0): string =>
  frame4(n, group, 17, Uint8Array.of(0, 1, 0, 2, 0, 8, 0, 0), vlan);
const mld1 = (n: number, type: number, group: string, to: string): string =>
  mld(n, to, [type, 0, 0, 0, 0, 0, 0, 0, ...ip6(group)]);
const mld2 = (n: number, records: [type: number, group: string][]): string =>
  mld(n, 'ff02::16', [
    ...[143, 0, 0, 0, 0, 0, 0, records.length],
    ...records.flatMap(([type, group]) => [type, 0, 0, 0, ...ip6(group)]),
  ]);

/** A packet into a port, or a setting. */
type Step = readonly [port: number, packet: string] | readonly string[];
const STEPS: readonly Step[] = [
  [1, data(1, '225.1.2.3')],
  [1, report(1, '225.1.2.3')],
  [2, report(2, '225.1.2.3')],
  [4, data(4, '225.1.2.3')],
  [4, data(4, '225.1.2.4')],
  [4, data(4, '224.0.0.9')],
  [3, query(3)],
  [4, data(4, '225.1.2.3')],
  [1, report(1, '225.7.7.7')],
  [3, report(3, '225.8.8.8')],
  [2, leave(2, '225.1.2.3')],
  [4, data(4, '225.1.2.3')],
  [
    1,
    reportV3(1, [
      [4, '226.0.0.1'],
      [1, '226.0.0.2', ['10.9.9.9']],
      [3, '225.7.7.7'],
    ]),
  ],
  [4, data(4, '226.0.0.2')],
  [4, data(4, '225.7.7.7')],
  [1, report(1, '225.1.2.3', 5)],
  [4, data(4, '225.1.2.3', 5)],
  [2, mld1(2, 131, 'ff05::1:3', 'ff05::1:3')],
  [
    1,
    mld2(1, [
      [4, 'ff05::1:3'],
      [4, 'ff05::9'],
    ]),
  ],
  [2, mld1(2, 132, 'ff05::1:3', 'ff02::2')],
  [4, mld1(4, 130, '::', 'ff02::1')],
  ['set', 'port', 'p2', 'other_config:mcast-snooping-flood-reports=true', 'other_config:mcast-snooping-flood=true'],
  [1, report(1, '225.1.2.3')],
  [4, data(4, '225.1.2.3')],
  [4, data(4, '225.4.4.4')],
  ['set', 'bridge', 'br0', 'other_config:mcast-snooping-disable-flood-unregistered=true'],
  [4, data(4, '225.4.4.4')],
  [1, data(1, '225.4.4.4')],
];

const N = 4;

function setUp(s: Sandbox): void {
  const ports = Array.from({ length: N }, (_, i) => i + 1).flatMap((n) =>
    `-- add-port br0 p${n} -- set interface p${n} type=dummy ofport_request=${n}`.split(' '),
  );
  const bridge = 'add-br br0 -- set bridge br0 datapath-type=dummy mcast_snooping_enable=true'.split(' ');
  assert.equal(s.run('ovs-vsctl', `--db=unix:${s.dir}/db.sock`, ...bridge, ...ports).err, '');
}

function sent(s: Sandbox): number[] {
  const { out } = s.run('ovs-ofctl', 'dump-ports', 'br0');
  return Array.from({ length: N }, (_, i) =>
    Number(new RegExp(`port +"?p?${i + 1}"?:[^]*?tx pkts=(\\d+)`).exec(out)?.[1] ?? Number.NaN),
  );
}

const groups = (s: Sandbox): string[] =>
  s
    .run('ovs-appctl', 'mdb/show', 'br0')
    .out.replace(/ +\d+$/gm, '')
    .split('\n')
    .sort();

test('hosts that join hear, and nobody else', { timeout: 120_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const [ours, theirs] = [await startSandbox('ours'), await startSandbox('original')];
  t.after(() => {
    ours.stop();
    theirs.stop();
  });
  for (const s of [ours, theirs]) setUp(s);
  let total = 0;
  for (const [i, step] of STEPS.entries()) {
    const [port, packet] = step;
    const before = [sent(ours), sent(theirs)];
    for (const s of [ours, theirs]) {
      const r =
        typeof port === 'number'
          ? s.run('ovs-appctl', 'netdev-dummy/receive', `p${port}`, packet)
          : s.run('ovs-vsctl', `--db=unix:${s.dir}/db.sock`, ...(step as readonly string[]));
      assert.equal(r.status, 0, r.err);
    }
    const delta = (s: Sandbox, k: number): string =>
      sent(s)
        .map((n, p) => n - before[k][p])
        .join();
    await until(
      () => delta(ours, 0) === delta(theirs, 1) && groups(ours).join('\n') === groups(theirs).join('\n'),
      `step ${i} (${port}): the same of ${delta(ours, 0)} as of ${delta(theirs, 1)}, of\n${groups(ours).join('\n')}\nas of\n${groups(theirs).join('\n')}`,
      3000,
    );
    total += sent(theirs).reduce((a, b) => a + b, 0);
  }
  assert.ok(total > 0);
  assert.ok(groups(ours).length > 6);
  const trace = (s: Sandbox): string =>
    s.run('ovs-appctl', 'ofproto/trace', 'br0', 'in_port=4,udp,dl_dst=01:00:5e:01:02:03,nw_dst=225.1.2.3').out;
  assert.match(trace(ours), /forwarding to mcast group port\n/);
  assert.equal(trace(ours), trace(theirs));
  assert.equal(ours.run('ovs-appctl', 'mdb/flush', 'br0').out, theirs.run('ovs-appctl', 'mdb/flush', 'br0').out);
  assert.equal(ours.run('ovs-appctl', 'mdb/show', 'br0').out, ' port  VLAN  GROUP                Age\n');
});
