/**
 * veth → switch → veth: one sender, 64-byte UDP, 1 and 1000 flows, through the original's AF_PACKET ports, our AF_PACKET ports
 * and our AF_XDP ports, one after the other on the same veth pairs. Counts what arrives at the far end. Then TCP by iperf3 from
 * namespace to namespace, with and without segmentation offload in user space.
 */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { machine, median, mpps, printTable, ROOT, ratio, Switch } from './support.ts';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 3);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const ip = (...args: string[]): string =>
  execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

/** Its own name, so that a bridge of the machine's user is left alone. */
const BRIDGE = 'sbbr0';
const NS = ['sb-bench0', 'sb-bench1'];

function setUp(): void {
  tearDown();
  for (const [i, ns] of NS.entries()) {
    ip('netns', 'add', ns);
    ip('link', 'add', `sbp${i}`, 'type', 'veth', 'peer', 'name', `sbe${i}`);
    ip('link', 'set', `sbe${i}`, 'netns', ns);
    execFileSync('sysctl', ['-qw', `net.ipv6.conf.sbp${i}.disable_ipv6=1`]);
    ip('link', 'set', `sbp${i}`, 'up');
    ip('netns', 'exec', ns, 'sysctl', '-qw', `net.ipv6.conf.sbe${i}.disable_ipv6=1`);
    ip('-n', ns, 'link', 'set', `sbe${i}`, 'up');
  }
}

function tearDown(): void {
  for (const [i, ns] of NS.entries()) {
    try {
      ip('link', 'del', `sbp${i}`);
    } catch {
      // It was not there.
    }
    try {
      ip('netns', 'del', ns);
    } catch {
      // It was not there.
    }
  }
}

/** Packets that have arrived at the far end. */
function arrived(): number {
  return Number(ip('netns', 'exec', NS[1], 'cat', '/sys/class/net/sbe1/statistics/rx_packets'));
}

async function measure(s: Switch, flows: number): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const args = ['netns', 'exec', NS[0], process.execPath, join(ROOT, 'bench', 'sender.ts')];
    const sender = spawn('ip', [...args, 'sbe0', String(flows), String(SECONDS + 1)], { stdio: 'ignore' });
    const done = new Promise((resolve) => sender.once('exit', resolve));
    await new Promise((resolve) => setTimeout(resolve, 700));
    const before = arrived();
    const t0 = performance.now();
    await new Promise((resolve) => setTimeout(resolve, (SECONDS - 1) * 1000));
    rates.push(((arrived() - before) * 1000) / (performance.now() - t0));
    await done;
  }
  if (median(rates) === 0) throw new Error(`${s.make}: nothing arrived`);
  return median(rates);
}

async function forward(make: 'original' | 'signalbox', options: string[]): Promise<[number, number]> {
  setUp();
  await using s = await Switch.start(make);
  const ports = [0, 1].flatMap((i) => ['--', 'add-port', BRIDGE, `sbp${i}`, ...setOptions(i)]);
  s.run('ovs-vsctl', 'add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, 'datapath_type=netdev', ...ports);
  s.run('ovs-ofctl', 'del-flows', BRIDGE);
  s.run('ovs-ofctl', 'add-flow', BRIDGE, 'in_port=sbp0,actions=output:sbp1');
  return [await measure(s, 1), await measure(s, 1000)];

  function setOptions(i: number): string[] {
    return options.length === 0 ? [] : ['--', 'set', 'interface', `sbp${i}`, ...options];
  }
}

/** Gigabits a second that one TCP stream carries. */
async function stream(make: 'original' | 'signalbox', config: string[] = []): Promise<number> {
  setUp();
  for (const [i, ns] of NS.entries()) {
    ip('-n', ns, 'addr', 'add', `10.94.0.${i + 1}/24`, 'dev', `sbe${i}`);
    // The original forwards unfinished checksums as they are, so its users switch them off.
    if (make === 'original') ip('netns', 'exec', ns, 'ethtool', '-K', `sbe${i}`, 'tx', 'off');
  }
  await using s = await Switch.start(make, ['--disable-system'], config);
  const ports = [0, 1].flatMap((i) => ['--', 'add-port', BRIDGE, `sbp${i}`]);
  s.run('ovs-vsctl', 'add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, 'datapath_type=netdev', ...ports);
  ip('netns', 'exec', NS[0], 'ping', '-c', '3', '-i', '0.2', '-w', '5', '10.94.0.2');
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const server = spawn('ip', ['netns', 'exec', NS[1], 'iperf3', '-s', '-1', '--forceflush'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const out = ip('netns', 'exec', NS[0], 'iperf3', '-J', '-c', '10.94.0.2', '-t', String(SECONDS));
    rates.push(JSON.parse(out).end.sum_received.bits_per_second / 1e9);
    server.kill();
  }
  return median(rates);
}

try {
  const original = await forward('original', []);
  const packet = await forward('signalbox', ['options:xdp-mode=off']);
  const xdp = await forward('signalbox', []);
  console.log(`veth → switch → veth, 64-byte UDP, one sender (${machine()})\n`);
  printTable(
    ['', '1 flow', '1000 flows', 'against the original'],
    [
      ['Open vSwitch, AF_PACKET', mpps(original[0]), mpps(original[1]), '1'],
      ['Signalbox, AF_PACKET', ...packet.map(mpps), packet.map((v, i) => ratio(v, original[i])).join(', ')],
      ['Signalbox, AF_XDP', ...xdp.map(mpps), xdp.map((v, i) => ratio(v, original[i])).join(', ')],
    ],
  );
  const tcp = [
    ['Open vSwitch, AF_PACKET', await stream('original')],
    ['Signalbox', await stream('signalbox')],
    ['Signalbox, userspace-tso-enable', await stream('signalbox', ['other_config:userspace-tso-enable=true'])],
  ] as const;
  console.log('\nTCP, one stream, namespace to namespace\n');
  printTable(
    ['', 'Gbit/s', 'against the original'],
    tcp.map(([name, rate]) => [name, rate.toFixed(2), ratio(rate, tcp[0][1])]),
  );
} finally {
  tearDown();
}
