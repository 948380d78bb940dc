/**
 * NetFlow, sFlow and IPFIX beside the original: the same packets into both, and what their collectors get says the same. Times
 * and sequence numbers apart, datagrams are compared as sets of records.
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const ETH = 'eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)';
const PACKETS = [
  `in_port(1),${ETH},eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0x20,ttl=64,frag=no),tcp(src=80,dst=81),tcp_flags(0x12)`,
  `in_port(1),${ETH},eth_type(0x8100),vlan(vid=5,pcp=2),encap(eth_type(0x86dd),ipv6(src=2001:db8::1,dst=2001:db8::2,label=0x12345,proto=17,tclass=0x70,hlimit=128,frag=no),udp(src=1000,dst=2000))`,
  'in_port(2),eth(src=02:00:00:00:00:02,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),arp(sip=10.0.0.2,tip=10.0.0.1,op=1,sha=02:00:00:00:00:02,tha=00:00:00:00:00:00)',
  `in_port(1),${ETH},eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=1,tos=0,ttl=9,frag=no),icmp(type=8,code=0)`,
];

interface Collector {
  readonly target: string;
  readonly datagrams: Buffer[];
}

async function collector(t: TestContext): Promise<Collector> {
  const socket = createSocket('udp4');
  const datagrams: Buffer[] = [];
  socket.on('message', (d) => datagrams.push(d));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  t.after(() => socket.close());
  return { target: `127.0.0.1:${(socket.address() as AddressInfo).port}`, datagrams };
}

function vsctl(s: Sandbox, ...args: string[]): void {
  const r = s.run('ovs-vsctl', `--db=unix:${s.dir}/db.sock`, ...args);
  assert.equal(r.status, 0, r.err);
}

function setUp(s: Sandbox): void {
  const port = (n: number): string =>
    `-- add-port br0 p${n} -- set interface p${n} type=dummy ofport_request=${n} options:ifindex=${1000 + n}`;
  const bridge = 'add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=standalone';
  vsctl(s, ...`${bridge} ${port(1)} ${port(2)}`.split(' '));
  s.run('ovs-ofctl', 'add-flow', 'br0', 'priority=9,in_port=1,actions=2');
  s.run('ovs-ofctl', 'add-flow', 'br0', 'priority=9,in_port=2,actions=1');
}

async function sendAll(s: Sandbox): Promise<void> {
  // Megaflows made before the change of configuration are no more.
  assert.equal(s.run('ovs-appctl', 'revalidator/wait').status, 0);
  for (const packet of PACKETS) {
    const r = s.run('ovs-appctl', 'netdev-dummy/receive', `p${packet[8]}`, packet);
    assert.equal(r.status, 0, r.err);
  }
}

/** What one switch told its collector while `run` went on, as sorted lines. */
async function told(
  t: TestContext,
  s: Sandbox,
  configure: (target: string) => string[],
  lines: (datagrams: readonly Buffer[]) => string[],
  count: number,
): Promise<string[]> {
  const { target, datagrams } = await collector(t);
  vsctl(s, ...configure(target));
  await sendAll(s);
  await until(() => lines(datagrams).length >= count, `${count} records, not ${lines(datagrams).join('\n')}`, 10_000);
  return lines(datagrams).sort();
}

function netflowRecords(datagrams: readonly Buffer[]): string[] {
  return datagrams.flatMap((d) => {
    assert.equal(d.readUInt16BE(0), 5);
    assert.equal(d.length, 24 + 48 * d.readUInt16BE(2));
    return Array.from({ length: d.readUInt16BE(2) }, (_, i) => {
      const r = Buffer.from(d.subarray(24 + 48 * i, 72 + 48 * i));
      r.fill(0, 24, 32);
      return r.toString('hex');
    });
  });
}

/** Flow samples, without what counts them. */
function sflowSamples(datagrams: readonly Buffer[]): string[] {
  const out: string[] = [];
  for (const d of datagrams) {
    assert.deepEqual([d.readUInt32BE(0), d.readUInt32BE(4), d.readUInt32BE(8)], [5, 1, 0x7f000001]);
    let at = 28;
    for (let n = d.readUInt32BE(24); n > 0; n--) {
      const [type, length] = [d.readUInt32BE(at), d.readUInt32BE(at + 4)];
      const body = Buffer.from(d.subarray(at + 8, at + 8 + length));
      assert.equal(body.length, length);
      if (type === 1) {
        body.fill(0, 0, 4);
        body.fill(0, 12, 16);
        // What fills up the last word of the head is whatever the original had there.
        body.fill(0, 80 + body.readUInt32BE(76));
        out.push(body.toString('hex'));
      }
      at += 8 + length;
    }
    assert.equal(at, d.length);
  }
  return out;
}

/** Templates by id, and what the data records say up to the times. */
function ipfix(datagrams: readonly Buffer[]): { templates: Map<number, string>; records: string[] } {
  const templates = new Map<number, string>();
  const records: string[] = [];
  for (const d of datagrams) {
    assert.equal(d.readUInt16BE(0), 10);
    assert.equal(d.readUInt16BE(2), d.length);
    for (let at = 16; at < d.length; at += d.readUInt16BE(at + 2)) {
      const id = d.readUInt16BE(at);
      const body = d.subarray(at + 4, at + d.readUInt16BE(at + 2));
      if (id === 2) readTemplates(body, templates);
      else if (id >= 256 && id !== 462) records.push(`${id} ${d.readUInt32BE(12)} ${headOf(id, body, templates)}`);
    }
  }
  return { templates, records };
}

function readTemplates(body: Buffer, templates: Map<number, string>): void {
  for (let at = 0; at + 4 <= body.length; ) {
    const [id, count] = [body.readUInt16BE(at), body.readUInt16BE(at + 2)];
    const list: string[] = [];
    at += 4;
    for (let n = 0; n < count; n++) {
      const element = body.readUInt16BE(at);
      list.push(`${element & 0x7fff}:${body.readUInt16BE(at + 2)}`);
      at += element & 0x8000 ? 8 : 4;
    }
    templates.set(id, list.join());
  }
}

/** Each element with its value; times, and totals over all flows, are another thing each time. */
function headOf(id: number, body: Buffer, templates: ReadonlyMap<number, string>): string {
  let at = 0;
  const out: string[] = [];
  for (const [element, length] of (templates.get(id) ?? '').split(',').map((one) => one.split(':').map(Number))) {
    const size = length === 0xffff ? body[at++] : length;
    const value = body.subarray(at, at + size).toString('hex');
    at += size;
    if (!VARYING.has(element)) out.push(`${element}=${value}`);
  }
  assert.equal(at, body.length, `record of template ${id}`);
  return out.join(' ');
}

const VARYING: ReadonlySet<number> = new Set([158, 159, 86, 354, 355, 356, 357, 358, 353, 85, 199, 174, 175, 136]);

test('what is exported of the same packets is the same', { timeout: 120_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const [ours, theirs] = await Promise.all([startSandbox('ours'), startSandbox('original')]);
  t.after(() => {
    ours.stop();
    theirs.stop();
  });
  for (const s of [ours, theirs]) setUp(s);

  await t.test('NetFlow', async (t) => {
    const configure = (target: string): string[] => [
      ...['--', '--id=@n', 'create', 'NetFlow', `targets="${target}"`, 'active_timeout=1', 'add_id_to_interface=true'],
      ...['engine_type=3', 'engine_id=9', '--', 'set', 'bridge', 'br0', 'netflow=@n'],
    ];
    const [a, b] = await Promise.all([ours, theirs].map((s) => told(t, s, configure, netflowRecords, 2)));
    assert.deepEqual(a, b);
  });

  await t.test('sFlow', async (t) => {
    const configure = (target: string): string[] => [
      ...['clear', 'bridge', 'br0', 'netflow', '--', '--id=@s', 'create', 'sFlow', `targets="${target}"`],
      ...['agent=127.0.0.1', 'sampling=1', 'header=128', 'polling=1', '--', 'set', 'bridge', 'br0', 'sflow=@s'],
    ];
    const [a, b] = await Promise.all([ours, theirs].map((s) => told(t, s, configure, sflowSamples, 4)));
    assert.deepEqual(a, b);
  });

  await t.test('IPFIX of a bridge', async (t) => {
    const found: ReturnType<typeof ipfix>[] = [];
    for (const s of [ours, theirs]) {
      const { target, datagrams } = await collector(t);
      vsctl(
        s,
        ...['clear', 'bridge', 'br0', 'sflow', '--', '--id=@i', 'create', 'IPFIX', `targets="${target}"`],
        ...['obs_domain_id=123', 'obs_point_id=456', 'sampling=1', '--', 'set', 'bridge', 'br0', 'ipfix=@i'],
      );
      await sendAll(s);
      await until(() => ipfix(datagrams).records.length >= 8, 'records', 10_000);
      found.push(ipfix(datagrams));
    }
    const [a, b] = found;
    assert.deepEqual(a.records.sort(), b.records.sort());
    for (const [id, elements] of a.templates) assert.equal(elements, b.templates.get(id), `template ${id}`);
    const stats = [ours, theirs].map((s) =>
      s.run('ovs-ofctl', 'dump-ipfix-bridge', 'br0').out.replace(/tx pkts=\d+/, ''),
    );
    assert.equal(stats[0], stats[1]);
  });

  await t.test('IPFIX of the sample action', async (t) => {
    const found: string[][] = [];
    for (const s of [ours, theirs]) {
      const { target, datagrams } = await collector(t);
      vsctl(
        s,
        ...['clear', 'bridge', 'br0', 'ipfix', '--', '--id=@b', 'get', 'bridge', 'br0'],
        ...['--', '--id=@i', 'create', 'IPFIX', `targets="${target}"`],
        ...['--', 'create', 'Flow_Sample_Collector_Set', 'id=7', 'bridge=@b', 'ipfix=@i'],
      );
      const sample = 'sample(probability=65535,collector_set_id=7,obs_domain_id=2,obs_point_id=3)';
      s.run('ovs-ofctl', 'add-flow', 'br0', `priority=9,in_port=1,actions=${sample},2`);
      await sendAll(s);
      await until(() => ipfix(datagrams).records.length >= 3, 'records', 10_000);
      found.push(ipfix(datagrams).records.sort());
    }
    assert.deepEqual(found[0], found[1]);
    const stats = [ours, theirs].map((s) =>
      s.run('ovs-ofctl', 'dump-ipfix-flow', 'br0').out.replace(/tx pkts=\d+/, ''),
    );
    assert.equal(stats[0], stats[1]);
  });

  await t.test('translation', () => {
    const ask = (s: Sandbox, flow: string): string[] =>
      s
        .run('ovs-appctl', 'ofproto/trace', 'br0', flow)
        .out.replace(/(icmp_\w+)=0x(\w)\/0xff/g, '$1=$2')
        .split('\n')
        .filter((line) => /^(Datapath|Megaflow)/.test(line));
    const target = 'targets="127.0.0.1:9"';
    for (const [table, column, settings] of [
      ['sFlow', 'sflow', ['agent=127.0.0.1', 'sampling=1']],
      ['sFlow', 'sflow', ['agent=127.0.0.1', 'sampling=64']],
      ['NetFlow', 'netflow', []],
      ['IPFIX', 'ipfix', ['sampling=1']],
      // That input or output is not sampled the original heeds only after the next change.
      ['IPFIX', 'ipfix', ['sampling=10']],
    ] as const) {
      for (const s of [ours, theirs]) {
        const create = [
          '--',
          '--id=@x',
          'create',
          table,
          target,
          ...settings,
          '--',
          'set',
          'bridge',
          'br0',
          `${column}=@x`,
        ];
        vsctl(s, ...['clear', 'bridge', 'br0', 'netflow', 'sflow', 'ipfix'], ...create);
      }
      for (const flow of ['in_port=2,tcp,nw_src=1.2.3.4,tcp_src=5', 'in_port=2,arp', 'in_port=1,icmp,icmp_type=8']) {
        assert.deepEqual(ask(ours, flow), ask(theirs, flow), `${table} ${settings.join()} ${flow}`);
      }
    }
  });
});
