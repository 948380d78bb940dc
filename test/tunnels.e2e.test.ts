/**
 * Tunnels between two of our switches, each in a network namespace of its own with a host behind it, and between one of
 * them and Linux. Real programs send through them; tcpdump reads what is on the wire between.
 *
 * ```
 *  host ── br-int ══ tunnel ══ br-int ── host
 *            br-phy ─── veth ─── br-phy
 * ```
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { Netns, uniqueName } from './support/netns.ts';
import { missing, must, notRoot, run, Sandbox, until } from './support/sandbox.ts';

const skip = notRoot || missing('ovs-vsctl', 'ovs-appctl', 'ip', 'ping', 'tcpdump');

class Site implements AsyncDisposable {
  readonly ns: Netns;
  readonly host: Netns;
  readonly sb: Sandbox;
  readonly n: number;

  private constructor(n: number, ns: Netns, host: Netns, sb: Sandbox) {
    this.n = n;
    this.ns = ns;
    this.host = host;
    this.sb = sb;
  }

  /** A namespace with device `eth0` in it, and a switch that has it in `br-phy`. */
  static async create(n: number, ns: Netns, ipv6: boolean): Promise<Site> {
    const host = await Netns.create();
    const wire = uniqueName('sbt');
    await must('ip', [
      'link',
      'add',
      wire,
      'netns',
      ns.name,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      host.name,
    ]);
    await ns.must('ip', 'link', 'set', wire, 'name', 'host0', 'up');
    await host.must('ip', 'addr', 'add', `10.92.0.${n}/24`, 'dev', 'eth0');
    await host.must('ip', 'link', 'set', 'eth0', 'mtu', '1400', 'up');
    const sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server');
    await sb.startOurs('ovs-vswitchd', ['--disable-system'], { prefix: ns.prefix() });
    const site = new Site(n, ns, host, sb);
    await site.vsctl(
      'add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy eth0 -- set interface eth0 options:xdp-mode=off ' +
        '-- add-br br-int -- set bridge br-int datapath_type=netdev -- add-port br-int host0',
    );
    const address = ipv6 ? `fd92::${n}/64` : `172.31.0.${n}/24`;
    await ns.must('ip', 'addr', 'add', address, 'dev', 'br-phy', ...(ipv6 ? ['nodad'] : []));
    await ns.must('ip', 'link', 'set', 'br-phy', 'up');
    return site;
  }

  async vsctl(line: string): Promise<string> {
    const r = await this.sb.c('ovs-vsctl', '--timeout=15', ...line.split(' '));
    assert.equal(r.status, 0, `ovs-vsctl ${line}: ${r.stderr}`);
    return r.stdout.trim();
  }

  async appctl(...args: string[]): Promise<string> {
    const r = await this.sb.c('ovs-appctl', ...args);
    assert.equal(r.status, 0, `ovs-appctl ${args.join(' ')}: ${r.stderr}`);
    return r.stdout;
  }

  async ping(to: number, count = 3, ...more: string[]): Promise<boolean> {
    const args = ['-c', String(count), '-i', '0.05', '-W', '1', ...more, `10.92.0.${to}`];
    return (await this.host.exec('ping', ...args)).status === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sb[Symbol.asyncDispose]();
    await this.host[Symbol.asyncDispose]();
  }
}

/** Two namespaces, `eth0` of the one wired to `eth0` of the other. */
async function wire(): Promise<[Netns, Netns]> {
  const [a, b] = [await Netns.create(), await Netns.create()];
  await must('ip', ['link', 'add', 'eth0', 'netns', a.name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', b.name]);
  for (const ns of [a, b]) await ns.must('ip', 'link', 'set', 'eth0', 'up');
  return [a, b];
}

/** What tcpdump says of the packets at `eth0` of a namespace while `during` runs. */
async function capture(ns: Netns, filter: string, count: number, during: () => Promise<unknown>): Promise<string> {
  const [program, ...prefix] = ns.prefix();
  const child = spawn(program, [...prefix, 'tcpdump', '-lnnvvv', '-i', 'eth0', '-c', String(count), filter]);
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

async function iperf(from: Site, to: Site): Promise<number> {
  const [program, ...prefix] = to.host.prefix();
  const server = spawn(program, [...prefix, 'iperf3', '-s', '-1', '--forceflush']);
  let said = '';
  server.stdout.on('data', (b: Buffer) => (said += b));
  try {
    await until(() => said.includes('listening'), 5000, 'iperf3 listens');
    const r = await from.host.exec('iperf3', '-c', `10.92.0.${to.n}`, '-t', '1', '-J');
    assert.equal(r.status, 0, r.stdout);
    return JSON.parse(r.stdout).end.sum_received.bytes as number;
  } finally {
    server.kill();
  }
}

const TUNNELS: readonly { name: string; options: string; ipv6?: boolean; filter: string; seen: RegExp }[] = [
  {
    name: 'VXLAN',
    options: 'type=vxlan options:key=77 options:csum=true',
    filter: 'udp port 4789',
    seen: /VXLAN, flags \[I\] \(0x08\), vni 77/,
  },
  {
    name: 'Geneve',
    options: 'type=geneve options:key=77 options:csum=true',
    filter: 'udp port 6081',
    seen: /Geneve, Flags \[none\], vni 0x4d/,
  },
  {
    name: 'GRE',
    options: 'type=gre options:key=77 options:csum=true options:seq=true',
    filter: 'proto gre',
    seen: /GREv0, Flags \[checksum present, key present, sequence# present\].*key=0x4d/,
  },
  {
    name: 'VXLAN over IPv6',
    options: 'type=vxlan options:key=77',
    ipv6: true,
    filter: 'ip6 and udp port 4789',
    seen: /VXLAN, flags \[I\] \(0x08\), vni 77/,
  },
];

test('hosts of two switches reach each other through tunnels', { skip }, async (t) => {
  for (const ipv6 of [false, true]) {
    const [nsA, nsB] = await wire();
    await using _a = nsA;
    await using _b = nsB;
    await using a = await Site.create(1, nsA, ipv6);
    await using b = await Site.create(2, nsB, ipv6);
    const remote = (site: Site): string => (ipv6 ? `fd92::${site.n}` : `172.31.0.${site.n}`);
    for (const tunnel of TUNNELS.filter((one) => (one.ipv6 ?? false) === ipv6)) {
      await t.test(tunnel.name, async () => {
        for (const [here, there] of [
          [a, b],
          [b, a],
        ] as const) {
          await here.vsctl(
            `add-port br-int tun0 -- set interface tun0 options:remote_ip=${remote(there)} ${tunnel.options}`,
          );
        }
        await until(() => a.ping(2, 1), 10_000, 'the first ping comes back');
        assert.ok(await a.ping(2, 10));
        // What a switch sends is seen where it arrives.
        let there = '';
        const here = await capture(nsA, tunnel.filter, 4, async () => {
          there = await capture(nsB, tunnel.filter, 4, () => a.ping(2, 4, '-s', '1000'));
        });
        for (const [out, kind] of [
          [here, /echo reply/],
          [there, /echo request/],
        ] as const) {
          assert.match(out, tunnel.seen);
          assert.match(out, kind);
          assert.doesNotMatch(out, /bad (udp )?cksum|incorrect|wrong/i);
        }
        if (!missing('iperf3') && /VXLAN$|Geneve/.test(tunnel.name)) {
          assert.ok((await iperf(a, b)) > 1_000_000, 'a megabyte in a second');
        }
        assert.match(await a.vsctl('get interface tun0 status'), /tunnel_egress_iface=br-phy/);
        // Where the machine itself heard of the neighbor first, the switch takes its word until it forgets.
        const neighbor = ipv6 ? /fd92::2 / : /172\.31\.0\.2 /;
        const isShown = async (): Promise<boolean> => {
          if (neighbor.test(await a.appctl('tnl/neigh/show'))) return true;
          await nsA.must('ip', ipv6 ? '-6' : '-4', 'neigh', 'flush', 'dev', 'br-phy');
          await a.ping(2, 1);
          return false;
        };
        await until(isShown, 10_000, 'the switch asks for its neighbor and shows it');
        const counters = await a.sb.c('ovs-ofctl', 'dump-ports', 'br-int', 'tun0');
        assert.match(counters.stdout, /rx pkts=[1-9]/);
        for (const site of [a, b]) await site.vsctl('del-port tun0');
        assert.equal(await a.appctl('tnl/ports/show'), 'Listening ports:\n');
      });
    }
  }
});

test("a tunnel's other end is Linux; keys and addresses come from flows", { skip }, async (t) => {
  const [nsA, nsB] = await wire();
  await using _a = nsA;
  await using _b = nsB;
  await nsB.must('ip', 'addr', 'add', '172.31.0.2/24', 'dev', 'eth0');
  const made = await nsB.exec(
    ...(['ip', 'link', 'add', 'vx0', 'type', 'vxlan', 'id', '42', 'dstport', '4789'] as const),
    ...['remote', '172.31.0.1', 'local', '172.31.0.2', 'dev', 'eth0', 'udpcsum'],
  );
  if (made.status !== 0) return t.skip(`the kernel has no vxlan: ${made.stderr.trim()}`);
  await nsB.must('ip', 'addr', 'add', '10.92.0.2/24', 'dev', 'vx0');
  await nsB.must('ip', 'link', 'set', 'vx0', 'mtu', '1400', 'up');
  await using a = await Site.create(1, nsA, false);
  await a.vsctl(
    'add-port br-int vx -- set interface vx type=vxlan options:remote_ip=flow options:key=flow ofport_request=9',
  );
  const flows = [
    'in_port=host0,actions=set_field:172.31.0.2->tun_dst,set_field:42->tun_id,output:9',
    'in_port=9,tun_id=42,tun_src=172.31.0.2,actions=output:host0',
  ];
  const r = await run('sh', ['-c', `printf '%s\\n' "$@" | ovs-ofctl --bundle replace-flows br-int -`, 'sh', ...flows], {
    env: a.sb.env,
  });
  assert.equal(r.status, 0, r.stderr);
  await until(() => a.ping(2, 1), 10_000, 'the first ping comes back');
  assert.ok(await a.ping(2, 10, '-s', '1300'));
  const megaflows = await a.appctl('dpctl/dump-flows');
  assert.match(megaflows, /tunnel\(tun_id=0x2a,src=172\.31\.0\.2,dst=172\.31\.0\.1,.*flags\(-df\+csum\+key\)\)/);
  assert.match(megaflows, /actions:tnl_pop\(\d+\)/);
  assert.match(megaflows, /vxlan\(flags=0x8000000,vni=0x2a\)/);
});
