/**
 * Packets of real programs through the whole of our switch: our database server, our switch, real devices, driven by the
 * original's tools, watched by tcpdump.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { Netns, uniqueName, type Veth, veth } from './support/netns.ts';
import { missing, must, notRoot, run, Sandbox, until } from './support/sandbox.ts';

const skip = notRoot || missing('ovs-vsctl', 'ovs-ofctl', 'ip', 'ping');

interface Host extends AsyncDisposable {
  readonly ns: Netns;
  readonly port: Veth;
  readonly address: string;
}

async function host(n: number): Promise<Host> {
  const ns = await Netns.create();
  const address = `10.91.0.${n}`;
  const port = await veth(ns, `${address}/24`);
  return {
    ns,
    port,
    address,
    async [Symbol.asyncDispose]() {
      await port[Symbol.asyncDispose]();
      await ns[Symbol.asyncDispose]();
    },
  };
}

interface Net extends AsyncDisposable {
  readonly sb: Sandbox;
  readonly bridge: string;
  readonly hosts: Host[];
  vsctl(line: string): Promise<string>;
  ofctl(...args: string[]): Promise<string>;
}

/** A bridge of our switch with `n` hosts; `options` go onto each port's interface. */
async function network(n: number, options: string[] = []): Promise<Net> {
  const sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--disable-system']);
  const bridge = uniqueName('sbb');
  const hosts: Host[] = [];
  for (let i = 1; i <= n; i++) hosts.push(await host(i));
  const net: Net = {
    sb,
    bridge,
    hosts,
    async vsctl(line) {
      const r = await sb.c('ovs-vsctl', '--timeout=15', ...line.split(' '));
      assert.equal(r.status, 0, `ovs-vsctl ${line}: ${r.stderr}`);
      return r.stdout.trim();
    },
    async ofctl(...args) {
      const r = await sb.c('ovs-ofctl', ...args);
      assert.equal(r.status, 0, `ovs-ofctl ${args.join(' ')}: ${r.stderr}`);
      return r.stdout;
    },
    async [Symbol.asyncDispose]() {
      await sb[Symbol.asyncDispose]();
      for (const h of hosts) await h[Symbol.asyncDispose]();
    },
  };
  const ports = hosts.flatMap((h) => [
    `-- add-port ${bridge} ${h.port.outer}`,
    ...options.map((o) => `-- set interface ${h.port.outer} ${o}`),
  ]);
  await net.vsctl(`add-br ${bridge} -- set bridge ${bridge} datapath_type=netdev ${ports.join(' ')}`);
  return net;
}

async function pings(from: Host, to: string, count = 2): Promise<boolean> {
  const r = await from.ns.exec('ping', '-c', String(count), '-i', '0.05', '-W', '1', to);
  return r.status === 0;
}

/** What tcpdump sees at `at` while `during` runs. */
async function capture(at: Host, filter: string, count: number, during: () => Promise<unknown>): Promise<string> {
  const [program, ...prefix] = at.ns.prefix();
  const args = [...prefix, 'tcpdump', '-lnnvvve', '-i', 'eth0', '-c', String(count), filter];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (b: Buffer) => (out += b));
  child.stderr.on('data', (b: Buffer) => (err += b));
  const done = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await until(() => err.includes('listening on'), 5000, `tcpdump listens: ${err}`);
  await during();
  const timer = setTimeout(() => child.kill('SIGINT'), 3000);
  await done;
  clearTimeout(timer);
  return out;
}

for (const mode of ['best-effort', 'off']) {
  test(`xdp-mode ${mode}: hosts reach each other; rules count their packets; megaflows come and go`, {
    skip,
  }, async () => {
    await using net = await network(2, [`options:xdp-mode=${mode}`]);
    const [a, b] = net.hosts;
    assert.ok(await pings(a, b.address, 10));
    assert.match(await net.vsctl(`get interface ${a.port.outer} status:xdp-mode`), mode === 'off' ? /off/ : /native/);
    const flows = await net.ofctl('dump-flows', net.bridge);
    const packets = Number(/n_packets=(\d+)/.exec(flows)?.[1]);
    assert.ok(packets >= 22, `ARP and 20 ICMP packets are counted: ${flows}`);
    const megaflows = await net.sb.c('ovs-appctl', 'dpctl/dump-flows');
    assert.match(megaflows.stdout, /eth_type\(0x0800\)/);

    await net.ofctl('del-flows', net.bridge);
    assert.equal(await pings(a, b.address), false, 'no rule, no packet');
    await net.ofctl('add-flow', net.bridge, 'actions=NORMAL');
    assert.ok(await pings(a, b.address));
  });

  test(`xdp-mode ${mode}: TCP streams both ways and to the host itself, with right checksums`, {
    skip: skip || missing('iperf3', 'tcpdump'),
  }, async () => {
    await using net = await network(2, [`options:xdp-mode=${mode}`]);
    const [a, b] = net.hosts;
    await must('ip', ['addr', 'add', '10.91.0.254/24', 'dev', net.bridge]);
    await must('ip', ['link', 'set', net.bridge, 'up']);
    const received = async (command: string[]): Promise<number> => {
      const [program, ...prefix] = b.ns.prefix();
      const server = spawn(program, [...prefix, 'iperf3', '-s', '-1', '--forceflush'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let said = '';
      server.stdout.on('data', (x: Buffer) => (said += x));
      await until(() => said.includes('listening'), 5000, 'iperf3 listens');
      const r = await run(command[0], command.slice(1), { timeoutMs: 20_000 });
      server.kill();
      assert.equal(r.status, 0, r.stdout + r.stderr);
      return JSON.parse(r.stdout).end.sum_received.bytes;
    };
    const client = ['iperf3', '-J', '-c', b.address, '-n', '20M'];
    const wire = await capture(b, 'tcp and len > 1000', 200, async () => {
      assert.ok((await received([...a.ns.prefix(), ...client])) >= 5e6, 'a → b');
    });
    assert.match(wire, /cksum 0x[0-9a-f]+ \(correct\)/);
    assert.doesNotMatch(wire, /incorrect/);
    assert.ok((await received([...a.ns.prefix(), ...client, '-R'])) >= 5e6, 'b → a');
    assert.ok((await received(client)) >= 5e6, 'host → b');
    assert.ok((await received([...client, '-R'])) >= 5e6, 'b → host');
  });
}

test('headers that rules rewrite leave with right checksums', { skip: skip || missing('tcpdump') }, async () => {
  await using net = await network(2);
  const [a, b] = net.hosts;
  await net.ofctl('del-flows', net.bridge);
  const mac = (await b.ns.must('cat', '/sys/class/net/eth0/address')).trim();
  await a.ns.must('ip', 'neigh', 'replace', '10.91.0.77', 'lladdr', '02:00:00:00:00:77', 'dev', 'eth0');
  const [pa, pb] = [a.port.outer, b.port.outer];
  await net.ofctl(
    'add-flow',
    net.bridge,
    `in_port=${pa},udp,nw_dst=10.91.0.77,actions=mod_dl_dst:${mac},mod_nw_dst:${b.address},mod_nw_tos:32,mod_tp_dst:7777,dec_ttl,output:${pb}`,
  );
  await net.ofctl(
    '-OOpenFlow13',
    'add-flow',
    net.bridge,
    `in_port=${pa},tcp,nw_dst=10.91.0.77,actions=push_vlan:0x8100,set_field:4165->vlan_vid,output:${pb}`,
  );
  const send = (program: string): Promise<unknown> => a.ns.exec('bash', '-c', program);
  const udp = await capture(b, 'udp', 1, () => send('echo hello > /dev/udp/10.91.0.77/5353'));
  assert.match(udp, /tos 0x20, ttl 63/);
  assert.match(udp, /10\.91\.0\.1\.\d+ > 10\.91\.0\.2\.7777: \[udp sum ok\]/);
  const tagged = await capture(b, 'vlan', 1, () => send('timeout 0.2 bash -c "echo > /dev/tcp/10.91.0.77/80"'));
  assert.match(tagged, /vlan 69, p 0, ethertype IPv4/);
  assert.match(tagged, /\(correct\)/);
});

test('VLANs keep access ports apart, and a trunk carries the tag', { skip: skip || missing('tcpdump') }, async () => {
  await using net = await network(3);
  const [a, b, c] = net.hosts;
  await net.vsctl(`set port ${a.port.outer} tag=10 -- set port ${b.port.outer} tag=20`);
  assert.equal(await pings(a, b.address), false);
  const seen = await capture(c, 'vlan 10 and arp', 1, () => pings(a, '10.91.0.99', 1));
  assert.match(seen, /vlan 10, p 0, ethertype ARP/);
  await net.vsctl(`set port ${b.port.outer} tag=10`);
  // The kernel asks for an address it did not find only after a while.
  await until(() => pings(a, b.address), 10_000, 'one VLAN, one network');
});

test('after a barrier no packet meets the old rules', { skip }, async () => {
  await using net = await network(2);
  const [a, b] = net.hosts;
  assert.ok(await pings(a, b.address));
  /** Echo requests that have reached the far host: nothing else that hosts chat about counts. */
  const received = async (): Promise<number> => {
    const lines = (await b.ns.must('cat', '/proc/net/snmp')).split('\n').filter((l) => l.startsWith('Icmp:'));
    const [names, values] = lines.map((l) => l.split(' '));
    return Number(values[names.indexOf('InEchos')]);
  };
  // Traffic that never pauses, on a megaflow of its own.
  const [program, ...prefix] = a.ns.prefix();
  const flood = spawn(program, [...prefix, 'ping', '-q', '-i', '0.002', b.address], { stdio: 'ignore' });
  try {
    for (let round = 0; round < 5; round++) {
      await net.ofctl('add-flow', net.bridge, 'priority=9,icmp,actions=drop');
      // add-flow waits for the barrier: from here on nothing may arrive but what is already on its way out of the device.
      await new Promise((resolve) => setTimeout(resolve, 20));
      const before = await received();
      await new Promise((resolve) => setTimeout(resolve, 60));
      assert.equal(await received(), before);
      await net.ofctl('del-flows', net.bridge, 'icmp');
      const start = await received();
      await until(async () => (await received()) > start, 2000, 'traffic goes on');
    }
  } finally {
    flood.kill();
  }
});

test('a killed switch comes back forwarding, a killed server with every row', { skip }, async () => {
  await using net = await network(2);
  const [a, b] = net.hosts;
  const { sb } = net;
  assert.ok(await pings(a, b.address));
  await sb.killAll('SIGKILL');
  assert.equal(await pings(a, b.address, 1), false);
  await sb.startOurs('ovsdb-server');
  assert.equal(await net.vsctl('list-br'), net.bridge);
  await sb.startOurs('ovs-vswitchd', ['--disable-system']);
  await until(() => pings(a, b.address, 1), 10_000, 'forwarding is back');
});

test('frames of noise disturb nobody', { skip }, async () => {
  await using net = await network(2);
  const [a, b] = net.hosts;
  await net.ofctl('add-flow', net.bridge, 'priority=5,dl_type=0x88b5,actions=drop');
  // The far end of the port is in a namespace; from there frames are sent by a program of our own.
  const script = new URL('./support/noise.ts', import.meta.url).pathname;
  const r = await a.ns.exec(process.execPath, script, 'eth0', '3000');
  assert.equal(r.status, 0, r.stderr);
  assert.ok(await pings(a, b.address, 5));
  const log = net.sb.log('ovs-vswitchd');
  assert.doesNotMatch(log, /uncaught|EMER/i);
});
