/** Which cache answers a packet, as `dpif-netdev/pmd-stats-show` counts it: the same packets for the original's switch and for ours. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const skip = missingOriginal() ?? false;

const PORTS = [
  ...'add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure'.split(' '),
  ...'-- add-port br0 p1 -- set interface p1 type=dummy-pmd ofport_request=1'.split(' '),
  ...'-- add-port br0 p2 -- set interface p2 type=dummy-pmd ofport_request=2'.split(' '),
];

const ETH = 'in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:0a)';
const IP = 'eth_type(0x0800),ipv4(src=10.0.0.2,dst=10.0.0.1,proto=17,tos=0,ttl=64,frag=no)';
const udp = (port: number): string => `${ETH},${IP},udp(src=${port},dst=2)`;
const tagged = `${ETH},eth_type(0x8100),vlan(vid=5,pcp=0),encap(${IP},udp(src=1,dst=2))`;
const tcp = `${ETH},${IP.replace('proto=17', 'proto=6')},tcp(src=1,dst=2),tcp_flags(ack)`;
const ipv6 = `${ETH},eth_type(0x86dd),ipv6(src=::1,dst=::2,label=0,proto=17,tclass=0,hlimit=64,frag=no),udp(src=1,dst=2)`;
const arp = `${ETH},eth_type(0x0806),arp(sip=1.2.3.4,tip=1.2.3.5,op=1,sha=50:54:00:00:00:01,tha=00:00:00:00:00:00)`;

interface Scene {
  readonly name: string;
  readonly config: readonly string[];
  readonly rules: readonly string[];
  readonly packets: readonly string[];
}

const SCENES: readonly Scene[] = [
  {
    name: 'simple match',
    config: ['smc-enable=false', 'emc-insert-inv-prob=1'],
    rules: ['in_port=1,actions=output:2'],
    packets: [udp(1), udp(2), udp(3), tagged, tagged, tcp, tcp, ipv6, ipv6, arp, arp],
  },
  {
    name: 'exact match cache',
    config: ['smc-enable=false', 'emc-insert-inv-prob=1'],
    rules: ['priority=2,udp,tp_src=1,actions=output:2', 'priority=1,in_port=1,actions=output:2'],
    packets: [udp(1), udp(1), udp(5), udp(5), udp(1), tagged, tagged, ipv6, ipv6, arp, arp, arp],
  },
  {
    name: 'signature match cache',
    config: ['smc-enable=true', 'emc-insert-inv-prob=0'],
    rules: ['priority=2,udp,tp_src=1,actions=output:2', 'priority=1,in_port=1,actions=output:2'],
    packets: [udp(1), udp(1), udp(5), udp(5), udp(5), udp(1), tagged, tagged, ipv6, ipv6, arp, arp],
  },
  {
    name: 'megaflows',
    config: ['smc-enable=false', 'emc-insert-inv-prob=0'],
    rules: ['priority=2,udp,tp_src=1,actions=output:2', 'priority=1,in_port=1,actions=output:2'],
    packets: [udp(1), udp(1), udp(1), arp, arp],
  },
];

const COUNTED = /^ {2}(packets received|.* hits|miss with .*): (\d+)/gm;

function counters(sb: Sandbox): string[] {
  const text = sb.run('ovs-appctl', '-t', 'ovs-vswitchd', 'dpif-netdev/pmd-stats-show').out;
  // The PMD comes first; what follows is the main thread's.
  return [...text.split('main thread')[0].matchAll(COUNTED)].map((m) => `${m[1]}: ${m[2]}`);
}

async function play(kind: 'original' | 'ours'): Promise<Map<string, string[]>> {
  const sb = await startSandbox(kind);
  try {
    const must = (program: string, ...args: string[]): string => {
      const r = sb.run(program, ...args);
      assert.equal(r.status, 0, `${kind}: ${program} ${args.join(' ')}: ${r.err}`);
      return r.out;
    };
    const appctl = (...args: string[]): string => must('ovs-appctl', '-t', 'ovs-vswitchd', ...args);
    const number = (name: string): number =>
      Number(
        counters(sb)
          .find((c) => c.startsWith(`${name}: `))
          ?.slice(name.length + 2) ?? 0,
      );
    const results = new Map<string, string[]>();
    must('ovs-vsctl', ...PORTS);
    // However slow the machine, no megaflow is to go between two packets.
    must('ovs-vsctl', 'set', 'open', '.', 'other_config:max-idle=3600000');
    for (const { name, config, rules, packets } of SCENES) {
      must('ovs-vsctl', 'set', 'open', '.', ...config.map((c) => `other_config:${c}`));
      must('ovs-ofctl', 'del-flows', 'br0');
      for (const rule of rules) must('ovs-ofctl', 'add-flow', 'br0', rule);
      // Megaflows of the scene before are gone when both they and what remembers them are.
      appctl('revalidator/purge');
      await until(() => !appctl('dpctl/dump-flows').includes('recirc_id'), 'no flows');
      appctl('dpif-netdev/pmd-stats-clear');
      for (const [i, packet] of packets.entries()) {
        const missed = number('miss with success upcall');
        appctl('netdev-dummy/receive', 'p1', packet);
        await until(() => number('packets received') === i + 1, `packet ${i}`);
        if (number('miss with success upcall') === missed) continue;
        const flows = number('miss with success upcall');
        await until(() => appctl('dpctl/dump-flows').split('recirc_id').length > flows, `the flow of packet ${i}`);
      }
      results.set(name, counters(sb));
    }
    return results;
  } finally {
    sb.stop();
  }
}

test('the same caches answer the same packets', { skip }, async () => {
  const [original, ours] = await Promise.all([play('original'), play('ours')]);
  for (const { name } of SCENES) assert.deepEqual(ours.get(name), original.get(name), name);
  assert.ok(original.get('simple match')?.includes('simple match hits: 7'), `${original.get('simple match')}`);
});
