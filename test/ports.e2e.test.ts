/**
 * Ports as users configure them: several queues, large frames, offloads, QoS, policing, captures. Real devices and programs.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { readPcap, writePcap } from '../src/packet/pcap.ts';
import { Netns, uniqueName } from './support/netns.ts';
import { missing, must, notRoot, run, Sandbox, until } from './support/sandbox.ts';

const skip = notRoot || missing('ovs-vsctl', 'ovs-ofctl', 'ovs-appctl', 'ip', 'ping');
const QUEUES = 2;

interface Host extends AsyncDisposable {
  readonly ns: Netns;
  readonly outer: string;
  readonly address: string;
}

/** A namespace behind a veth pair of two queues at either end. */
async function host(n: number): Promise<Host> {
  const ns = await Netns.create('eq');
  const outer = uniqueName('eqv');
  const peer = uniqueName('eqp');
  const queues = ['numrxqueues', `${QUEUES}`, 'numtxqueues', `${QUEUES}`];
  await must('ip', ['link', 'add', outer, ...queues, 'type', 'veth', 'peer', 'name', peer, ...queues]);
  await must('ip', ['link', 'set', peer, 'netns', ns.name, 'name', 'eth0']);
  await must('ip', ['link', 'set', outer, 'up']);
  const address = `10.93.0.${n}`;
  await ns.must('ip', 'addr', 'add', `${address}/24`, 'dev', 'eth0');
  await ns.must('ip', 'link', 'set', 'eth0', 'up');
  return {
    ns,
    outer,
    address,
    async [Symbol.asyncDispose]() {
      await run('ip', ['link', 'del', outer]);
      await ns[Symbol.asyncDispose]();
    },
  };
}

interface Net extends AsyncDisposable {
  readonly sb: Sandbox;
  readonly bridge: string;
  readonly a: Host;
  readonly b: Host;
  vsctl(...args: string[]): Promise<string>;
  appctl(...args: string[]): Promise<string>;
}

async function network(config: readonly string[] = []): Promise<Net> {
  const sb = await Sandbox.create();
  const hosts = [await host(1), await host(2)];
  const program =
    (name: string) =>
    async (...args: string[]): Promise<string> => {
      const r = await sb.c(name, ...args);
      assert.equal(r.status, 0, `${name} ${args.join(' ')}: ${r.stderr}`);
      return r.stdout.trim();
    };
  const net: Net = {
    sb,
    bridge: uniqueName('eqb'),
    a: hosts[0],
    b: hosts[1],
    vsctl: program('ovs-vsctl'),
    appctl: program('ovs-appctl'),
    async [Symbol.asyncDispose]() {
      await sb[Symbol.asyncDispose]();
      for (const h of hosts) await h[Symbol.asyncDispose]();
    },
  };
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await net.vsctl('--no-wait', 'init');
  if (config.length > 0) await net.vsctl('--no-wait', 'set', 'open', '.', ...config);
  await sb.startOurs('ovs-vswitchd', ['--disable-system']);
  const { bridge } = net;
  await net.vsctl('add-br', bridge, '--', 'set', 'bridge', bridge, 'datapath_type=netdev');
  for (const h of hosts) await net.vsctl('add-port', bridge, h.outer);
  await until(() => pings(net), 5000, 'hosts reach each other');
  return net;
}

async function pings({ a, b }: Net, ...options: string[]): Promise<boolean> {
  const r = await a.ns.exec('ping', '-c', '2', '-i', '0.05', '-W', '1', ...options, b.address);
  return r.status === 0;
}

/** Bits a second that host B receives from A by TCP. */
async function tcp({ a, b }: Net, seconds = 1): Promise<number> {
  const [program, ...prefix] = b.ns.prefix();
  const server = spawn(program, [...prefix, 'iperf3', '-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  server.stdout.on('data', (x: Buffer) => (said += x));
  await until(() => said.includes('listening'), 5000, 'iperf3 listens');
  const command = ['iperf3', '-J', '-c', b.address, '-t', String(seconds)];
  const r = await a.ns.run(command, { timeoutMs: 20_000 });
  server.kill();
  assert.equal(r.status, 0, r.stdout + r.stderr);
  return JSON.parse(r.stdout).end.sum_received.bits_per_second;
}

test('queues of one port move between PMDs while packets flow', { skip, timeout: 60_000 }, async () => {
  await using net = await network([
    'other_config:pmd-cpu-mask=3',
    'other_config:pmd-rxq-assign=group',
    'other_config:pmd-rxq-isolate=false',
  ]);
  const { a, b } = net;
  for (const mode of ['best-effort', 'off']) {
    await net.vsctl('set', 'interface', a.outer, `options:xdp-mode=${mode}`, `options:n_rxq=${QUEUES}`);
    await until(() => pings(net), 5000, `hosts reach each other with xdp-mode ${mode}`);
    const flood = a.ns.exec('ping', '-q', '-f', '-i', '0.002', '-c', '600', b.address);
    for (let i = 0; i < 4; i++) {
      const affinity = `0:${i & 1},1:${(i + 1) & 1}`;
      await net.vsctl('set', 'interface', a.outer, `other_config:pmd-rxq-affinity="${affinity}"`);
      const wanted = new RegExp(`core_id ${i & 1}:\\n(?:(?!core_id)[^])*port: ${a.outer} +queue-id:  0 `);
      await until(async () => wanted.test(await net.appctl('dpif-netdev/pmd-rxq-show')), 5000, `affinity ${affinity}`);
    }
    const { stdout } = await flood;
    const received = Number(/(\d+) received/.exec(stdout)?.[1]);
    assert.ok(received >= 595, `${mode}: ${stdout}`);
    assert.doesNotMatch(stdout, /\+\d+ duplicates/);
  }
});

test('frames of 9000 bytes, and back to ordinary ones', { skip, timeout: 60_000 }, async () => {
  await using net = await network();
  const { a, b } = net;
  for (const mtu of ['9000', '1500']) {
    for (const h of [a, b]) {
      if (mtu === '1500') await h.ns.must('ip', 'link', 'set', 'eth0', 'mtu', mtu);
      await net.vsctl('set', 'interface', h.outer, `mtu_request=${mtu}`);
    }
    for (const h of [a, b])
      if (mtu === '9000') {
        const raise = async (): Promise<boolean> =>
          (await h.ns.exec('ip', 'link', 'set', 'eth0', 'mtu', mtu)).status === 0;
        await until(raise, 5000, 'AF_XDP lets go of the device');
      }
    await until(() => pings(net, '-M', 'do', '-s', String(Number(mtu) - 28)), 5000, `pings of ${mtu} bytes`);
    const mode = await net.vsctl('get', 'interface', a.outer, 'status:xdp-mode');
    assert.match(mode, mtu === '9000' ? /off/ : /native/);
  }
  assert.ok(await pings(net, '-s', '60000'), 'fragments');
});

test('super-segments pass whole, and are cut where they must be', {
  skip: skip || missing('iperf3'),
  timeout: 60_000,
}, async () => {
  await using net = await network(['other_config:userspace-tso-enable=true']);
  const { a, b, bridge } = net;
  assert.match(net.sb.read('ovs-vswitchd.log'), /Userspace TCP Segmentation Offloading support enabled/);
  assert.ok((await tcp(net)) > 0);
  const flows = await net.appctl('dpctl/dump-flows');
  const sizes = [...flows.matchAll(/packets:([1-9]\d*), bytes:(\d+)/g)].map(
    ([, n, bytes]) => Number(bytes) / Number(n),
  );
  assert.ok(Math.max(...sizes) > 4000, `packets are larger than frames:\n${flows}`);
  // AF_XDP on the way out cannot take them.
  await net.vsctl('set', 'interface', b.outer, 'options:xdp-mode=native');
  await until(
    async () => /native/.test(await net.vsctl('get', 'interface', b.outer, 'status:xdp-mode')),
    5000,
    'AF_XDP',
  );
  await until(() => pings(net), 5000, 'hosts reach each other');
  assert.ok((await tcp(net)) > 0);
  // A tap: the host itself.
  await must('ip', ['addr', 'add', '10.93.0.9/24', 'dev', bridge]);
  await must('ip', ['link', 'set', bridge, 'up']);
  const r = await a.ns.exec('ping', '-c', '2', '-i', '0.05', '-W', '1', '-s', '8000', '10.93.0.9');
  assert.equal(r.status, 0, r.stdout);
});

test('queues have their rates, ports their limits', {
  skip: skip || missing('iperf3', 'tc'),
  timeout: 60_000,
}, async () => {
  await using net = await network();
  const { a, b, bridge } = net;
  assert.equal(await net.appctl('qos/show', b.outer), `QoS not configured on ${b.outer}`);
  const dumpWhilePinging = async (): Promise<string> => {
    await pings(net);
    return net.appctl('dpctl/dump-flows');
  };
  const queue = (rate: number): string[] => ['create', 'queue', `other-config:max-rate=${rate}`];
  await net.vsctl(
    ...['--', 'set', 'port', b.outer, 'qos=@qos'],
    ...[
      '--',
      '--id=@qos',
      'create',
      'qos',
      'type=linux-htb',
      'other-config:max-rate=400000000',
      'queues:0=@q0',
      'queues:3=@q3',
    ],
    ...['--', '--id=@q0', ...queue(80_000_000), '--', '--id=@q3', ...queue(20_000_000)],
  );
  await until(async () => /Queue 3:/.test(await net.appctl('qos/show', b.outer)), 5000, 'queues');
  const classes = await must('tc', ['class', 'show', 'dev', b.outer]);
  if (/htb 1:4 parent 1:fffe/.test(classes) === false) throw new Error(`no class of queue 3: ${classes}`);
  await until(() => pings(net), 5000, 'hosts reach each other');
  const byDefault = await tcp(net);
  assert.ok(byDefault < 90e6, `queue 0: ${byDefault}`);
  const ofctl = async (...args: string[]): Promise<string> => {
    const r = await net.sb.c('ovs-ofctl', ...args);
    assert.equal(r.status, 0, r.stderr);
    return r.stdout;
  };
  await ofctl('add-flow', bridge, `priority=9,in_port=${a.outer},actions=set_queue:3,normal`);
  await until(async () => /skb_priority\(0x3\)/.test(await dumpWhilePinging()), 5000, 'a megaflow of queue 3');
  const queued = await tcp(net);
  assert.ok(queued < 25e6, `queue 3: ${queued}`);
  const stats = await ofctl('queue-stats', bridge, b.outer, '3');
  assert.ok(Number(/bytes=(\d+)/.exec(stats)?.[1]) > 100_000, stats);
  await net.vsctl('clear', 'port', b.outer, 'qos');
  await until(async () => !/htb/.test(await must('tc', ['qdisc', 'show', 'dev', b.outer])), 5000, 'the qdisc goes');

  await ofctl('del-flows', '--strict', bridge, `priority=9,in_port=${a.outer}`);
  await net.vsctl('set', 'interface', a.outer, 'ingress_policing_rate=20000', 'ingress_policing_burst=2000');
  await until(() => pings(net), 5000, 'hosts reach each other');
  const policed = await tcp(net);
  assert.ok(policed < 30e6, `policed: ${policed}`);
});

test('a capture is replayed and recorded', { skip: missing('ovs-vsctl', 'ovs-ofctl'), timeout: 30_000 }, async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--disable-system', '--enable-dummy']);
  const packets = Array.from({ length: 200 }, (_, i) => {
    const p = new Uint8Array(i % 10 === 9 ? 3000 : 60 + i);
    p.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, i]);
    return p;
  });
  writeFileSync(sb.path('in.pcap'), writePcap(packets));
  const vsctl = async (...args: string[]): Promise<string> => {
    const r = await sb.c('ovs-vsctl', ...args);
    assert.equal(r.status, 0, r.stderr);
    return r.stdout.trim();
  };
  await vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail_mode=secure');
  await sb.c('ovs-ofctl', 'add-flow', 'br0', 'in_port=1,actions=2');
  const tx = ['type=pcap', `options:tx_pcap=${sb.path('out.pcap')}`, 'ofport_request=2'];
  await vsctl('add-port', 'br0', 'rec', '--', 'set', 'interface', 'rec', ...tx);
  const rx = ['type=pcap', `options:rx_pcap=${sb.path('in.pcap')}`, 'ofport_request=1'];
  await vsctl('add-port', 'br0', 'play', '--', 'set', 'interface', 'play', ...rx);
  const recorded = (): readonly Uint8Array[] => {
    const result = readPcap(readFileSync(sb.path('out.pcap')));
    return result.ok ? result.packets.map((p) => p.packet) : [];
  };
  await until(() => recorded().length === packets.length, 10_000, 'all packets recorded');
  assert.deepEqual(
    recorded().map((p) => Buffer.from(p).toString('hex')),
    packets.map((p) => Buffer.from(p).toString('hex')),
  );
  await vsctl('set', 'interface', 'play', 'options:rx_pcap=/nonexistent');
  assert.match(await vsctl('get', 'interface', 'play', 'error'), /nonexistent: No such file or directory/);
});

test('afxdp says what it is, and counts what the kernel dropped', { skip, timeout: 60_000 }, async () => {
  await using net = await network();
  const { a, bridge } = net;
  await net.vsctl('del-port', bridge, a.outer);
  const options = ['type=afxdp', `options:n_rxq=${QUEUES}`];
  await net.vsctl('add-port', bridge, a.outer, '--', 'set', 'interface', a.outer, ...options);
  await until(() => pings(net), 5000, 'hosts reach each other');
  assert.match(
    await net.appctl('dpctl/show'),
    new RegExp(
      `${a.outer} \\(afxdp: n_rxq=${QUEUES}, use-need-wakeup=true, xdp-mode=best-effort, xdp-mode-in-use=native\\)`,
    ),
  );
  await net.vsctl('set', 'interface', a.outer, 'options:xdp-mode=generic', 'options:use-need-wakeup=false');
  const shown = async (): Promise<boolean> =>
    /use-need-wakeup=false, xdp-mode=generic, xdp-mode-in-use=generic/.test(await net.appctl('dpctl/show'));
  await until(shown, 5000, 'the other mode');
  await until(() => pings(net), 5000, 'hosts reach each other');
  await until(
    async () => /xsk_queue_1_rx_dropped=0/.test(await net.vsctl('get', 'interface', a.outer, 'statistics')),
    10_000,
    'counters of the sockets',
  );
  await net.vsctl('--no-wait', 'set', 'interface', a.outer, 'options:xdp-mode=bogus');
  const wrong = async (): Promise<boolean> =>
    /could not set configuration \(Invalid argument\)/.test(await net.vsctl('get', 'interface', a.outer, 'error'));
  await until(wrong, 5000, 'the error');
});
