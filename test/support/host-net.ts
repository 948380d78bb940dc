/** Our switch with a bridge and hosts in namespaces behind its ports, for tests of what becomes of packets. */
import assert from 'node:assert/strict';
import { Netns, uniqueName, type Veth, veth } from './netns.ts';
import { Sandbox } from './sandbox.ts';

export interface Host {
  readonly ns: Netns;
  readonly port: Veth;
  readonly address: string;
}

export interface HostNet extends AsyncDisposable {
  readonly sb: Sandbox;
  readonly bridge: string;
  readonly hosts: readonly Host[];
  /** Runs one of our programs, which must succeed; its output. */
  ours(program: string, ...args: string[]): Promise<string>;
}

/**
 * `n` hosts, 10.92.0.1 and so on, on a bridge without rules. `settings` are words for `ovs-vsctl` before those that make the
 * bridge.
 */
export async function hostNet(n: number, settings = ''): Promise<HostNet> {
  const sb = await Sandbox.create();
  const hosts: Host[] = [];
  const bridge = uniqueName('sbj');
  const net: HostNet = {
    sb,
    bridge,
    hosts,
    async ours(program, ...args) {
      const r = await sb.ours(program, ...args);
      assert.equal(r.status, 0, `${program} ${args.join(' ')}: ${r.stderr}`);
      return r.stdout;
    },
    async [Symbol.asyncDispose]() {
      await sb[Symbol.asyncDispose]();
      for (const h of hosts) {
        await h.port[Symbol.asyncDispose]();
        await h.ns[Symbol.asyncDispose]();
      }
    },
  };
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--disable-system']);
  for (let i = 1; i <= n; i++) {
    const ns = await Netns.create();
    const address = `10.92.0.${i}`;
    hosts.push({ ns, address, port: await veth(ns, `${address}/24`) });
  }
  const ports = hosts.map((h) => `-- add-port ${bridge} ${h.port.outer}`).join(' ');
  const line = `${settings} -- add-br ${bridge} -- set bridge ${bridge} datapath_type=netdev fail_mode=secure ${ports}`;
  await net.ours('ovs-vsctl', '--timeout=15', ...line.trim().replace(/^-- /, '').split(' '));
  return net;
}

/** Neighbors by hand, two by two (0 and 1, 2 and 3): then nothing but what a test sends is on the wires. */
export async function pairUp(hosts: readonly Host[]): Promise<void> {
  const macs = await Promise.all(hosts.map((h) => h.ns.must('cat', '/sys/class/net/eth0/address')));
  for (const [i, { ns }] of hosts.entries())
    await ns.must('ip', 'neigh', 'replace', hosts[i ^ 1].address, 'lladdr', macs[i ^ 1].trim(), 'dev', 'eth0');
}
