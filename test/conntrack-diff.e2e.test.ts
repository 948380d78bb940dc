/**
 * The same packets through the original's connection tracking and ours: states, marks and tuples that come up, what the
 * packets look like after translation, and the connections that are left.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ethernet, icmp, icmpError, ip, tcp, udp } from '../src/datapath/ct/testing.ts';
import { missingOriginal, type Sandbox, startSandbox } from './support/twin.ts';

const skip = missingOriginal() ?? false;
const DEADLINE_MS = 10_000;

/** Small and always the same. */
function makeRandom(seed: number): (n: number) => number {
  let x = seed;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

interface Sent {
  readonly port: number;
  readonly packet: Uint8Array;
}

/** Packets between few ends, so that they often are of the same connection; in and out of sequence. */
function traffic(seed: number, n: number, isNat: boolean, isV6 = false): Sent[] {
  const [A, B, OUTSIDE, ROUTER] = isV6
    ? ['fd00::1', 'fd00::2', 'fd00::9:9', 'fd00::99']
    : ['10.0.0.1', '10.0.0.2', '10.9.9.9', '10.0.0.9'];
  const random = makeRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)];
  const sent: Sent[] = [];
  // Sequence numbers of both sides of each TCP connection, as they go on.
  const seqs = new Map<number, [number, number]>();
  for (let i = 0; i < n; i++) {
    const isReply = random(2) === 1;
    const client = 1000 + random(3);
    const inside = isReply && isNat ? OUTSIDE : A;
    const kind = random(10);
    const port = isReply ? 2 : 1;
    let packet: Uint8Array;
    if (kind < 6) {
      const seq = seqs.get(client) ?? [random(1000), 50_000 + random(1000)];
      seqs.set(client, seq);
      // A translated connection that ends and begins anew gets another port from the original, the same from us.
      const ends = isNat ? ['A'] : ['AF', 'R', 'RA', 'FA'];
      const flags = pick(['S', 'SA', 'A', 'A', 'A', 'AP', 'AP', 'SF', 'P', '', ...ends]);
      const mine = isReply ? 1 : 0;
      const off = random(8) === 0 ? pick([-70_000, -1, 1, 70_000, 1_000_000]) : 0;
      const data = Buffer.alloc(flags.includes('P') ? random(50) : 0, 'x');
      const options = {
        seq: (seq[mine] + off) >>> 0,
        ack: flags.includes('A') ? (seq[1 - mine] + (random(10) === 0 ? 1 : 0)) >>> 0 : 0,
        window: pick([0, 100, 1000, 65535]),
        data,
        options: flags.includes('S') && random(2) === 0 ? Uint8Array.from([1, 3, 3, random(16)]) : undefined,
      };
      if (off === 0) seq[mine] += data.length + (/[SF]/.test(flags) ? 1 : 0);
      packet = isReply ? tcp(B, 80, inside, client, flags, options) : tcp(inside, client, B, 80, flags, options);
    } else if (kind < 8) {
      packet = isReply ? udp(B, 53, inside, client) : udp(inside, client, B, 53);
    } else if (kind === 8) {
      const [query, answer, other] = isV6 ? [128, 129, 135] : [8, 0, 13];
      packet = isReply
        ? icmp(B, inside, pick([answer, query]), 0, client)
        : icmp(inside, B, pick([query, answer, other]), 0, client, new Uint8Array(12));
    } else {
      const about = isReply ? udp(inside, client, B, 53) : udp(B, 53, A, client);
      const keep = isV6 ? 48 : 28;
      packet = isReply
        ? icmpError(
            pick([B, ROUTER]),
            inside,
            pick(isV6 ? [1, 2, 3, 4] : [3, 11, 12, 5, 4]),
            1,
            about,
            pick([keep, 1000]),
          )
        : icmpError(inside, B, isV6 ? 1 : 3, 3, about, keep);
    }
    if (random(40) === 0) packet[packet.length - 1] ^= 1;
    if (random(60) === 0) packet = ethernet(ip(A, B, 47, [0, 0, 8, 0, 1, 2, 3, 4]));
    sent.push({ port, packet });
  }
  return sent;
}

describe('connection tracking beside the original', { skip }, () => {
  const twins: Sandbox[] = [];

  before(async () => {
    twins.push(await startSandbox('original'), await startSandbox('ours'));
    for (const sb of twins) {
      const r = sb.run(
        'ovs-vsctl',
        ...'add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure protocols=OpenFlow10,OpenFlow13'.split(
          ' ',
        ),
        ...'-- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1'.split(' '),
        ...'-- add-port br0 p2 -- set interface p2 type=dummy ofport_request=2'.split(' '),
      );
      assert.equal(r.status, 0, r.err);
    }
  });
  after(() => {
    for (const sb of twins) sb.stop();
  });

  function appctl(sb: Sandbox, ...args: string[]): string {
    const r = sb.run('ovs-appctl', ...args);
    return r.out + r.err.replace(/^ovs-appctl: .*server returned an error\n/m, '');
  }

  /** What each packet came up as, and the connections that were left. */
  async function observe(sb: Sandbox, flows: readonly string[], packets: readonly Sent[]): Promise<string[]> {
    appctl(sb, 'dpctl/flush-conntrack');
    sb.run('ovs-ofctl', '-OOpenFlow13', 'del-flows', 'br0');
    for (const flow of flows) {
      const r = sb.run('ovs-ofctl', '-OOpenFlow13', 'add-flow', 'br0', flow);
      assert.equal(r.status, 0, r.err);
    }
    const monitor = sb.watch('ovs-ofctl', '-OOpenFlow13', '-P', 'nxt_packet_in', 'monitor', 'br0', '65534');
    const seen = (): string[] => monitor.text().match(/NXT_PACKET_IN.*\n.*\n/g) ?? [];
    try {
      // The monitor is there once a packet of no connection comes up.
      const end = Date.now() + DEADLINE_MS;
      const probe = Buffer.from(udp('10.7.7.7', 7, '10.7.7.8', 7)).toString('hex');
      while (seen().length === 0) {
        assert.ok(Date.now() < end, 'the monitor hears');
        appctl(sb, 'netdev-dummy/receive', 'p1', probe);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const early = seen().length;
      for (const { port, packet } of packets)
        appctl(sb, 'netdev-dummy/receive', `p${port}`, Buffer.from(packet).toString('hex'));
      const has = (): string[] => seen().filter((text) => !text.includes('10.7.7.7'));
      while (has().length < packets.length) {
        assert.ok(Date.now() < end, `${has().length} of ${packets.length} came up (${early} early)`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const connections = appctl(sb, 'dpctl/dump-conntrack', '-m').split('\n');
      return [
        ...has().map((text) => text.replace(/ \(xid=.*?\)| cookie=0x[0-9a-f]+/g, '')),
        ...connections.filter((c) => !c.includes('10.7.7.7')).sort(),
      ];
    } finally {
      monitor.stop();
    }
  }

  async function same(flows: readonly string[], packets: readonly Sent[]): Promise<void> {
    const [theirs, ours] = [await observe(twins[0], flows, packets), await observe(twins[1], flows, packets)];
    for (let i = 0; i < Math.max(theirs.length, ours.length); i++) {
      const around = packets
        .slice(0, i + 1)
        .filter((p) => p.packet.length > 0)
        .slice(-6)
        .map((p) => `p${p.port} ${Buffer.from(p.packet).toString('hex')}`);
      assert.equal(ours[i], theirs[i], `packet ${i}, after\n${around.join('\n')}`);
    }
  }

  const PLAIN = [
    'table=0,in_port=1,ip,actions=ct(commit,table=1,zone=5,exec(set_field:0x7->ct_mark,set_field:0x123->ct_label))',
    'table=0,in_port=2,ip,actions=ct(table=1,zone=5)',
    'table=1,actions=controller',
  ];
  for (const seed of (process.env.SEEDS ?? '11,105').split(',').map(Number))
    it(`states of random traffic, seed ${seed}`, () => same(PLAIN, traffic(seed, 100, false)));

  const SNAT = [
    'table=0,in_port=1,ip,actions=ct(commit,table=1,zone=5,nat(src=10.9.9.9))',
    'table=0,in_port=2,ip,actions=ct(table=1,zone=5,nat)',
    'table=1,actions=controller',
  ];
  for (const seed of (process.env.SEEDS ?? '12').split(',').map(Number))
    it(`source translation of random traffic, seed ${seed}`, () => same(SNAT, traffic(seed, 100, true)));

  const V6 = [
    'table=0,in_port=1,ipv6,actions=ct(commit,table=1,zone=5,nat(src=fd00::9:9))',
    'table=0,in_port=2,ipv6,actions=ct(table=1,zone=5,nat)',
    'table=0,in_port=1,ip,actions=controller',
    'table=1,actions=controller',
  ];
  it('IPv6, with source translation', () => same(V6, traffic(51, 90, true, true)));

  const ZONES = [
    'table=0,in_port=1,ip,actions=ct(commit,table=1,zone=5,exec(set_field:0x7->ct_mark))',
    'table=1,ip,actions=ct(commit,table=2,zone=6,nat(src=10.9.9.9),exec(set_field:0x8->ct_mark))',
    'table=0,in_port=2,ip,actions=ct(table=3,zone=6,nat)',
    'table=3,ip,actions=ct(table=2,zone=5)',
    'table=2,actions=controller',
  ];
  it('two zones, one behind the other', () => same(ZONES, traffic(31, 80, true)));

  const FORCED = [
    'table=0,in_port=1,ip,actions=ct(commit,table=1,zone=5)',
    'table=0,in_port=2,ip,actions=ct(commit,force,table=1,zone=5)',
    'table=1,actions=controller',
  ];
  // By an ICMP error the original forces the connection out; we take errors for no more than news of it.
  const isIcmpError = (p: Uint8Array): boolean => p[23] === 1 && [3, 4, 5, 11, 12].includes(p[34]);
  it('forced commits', () =>
    same(
      FORCED,
      traffic(41, 80, false).filter(({ packet }) => !isIcmpError(packet)),
    ));

  it('answers its commands in the same words', async () => {
    await observe(twins[0], PLAIN, traffic(5, 40, false));
    await observe(twins[1], PLAIN, traffic(5, 40, false));
    const commands = `
      dump-conntrack zone=5|dump-conntrack zone=4|dump-conntrack foo|dump-conntrack zone=x|dump-conntrack dummy@ovs-dummy
      ct-stats-show|ct-stats-show -m|ct-stats-show zone=5|ct-stats-show zone=4|ct-stats-show foo|ct-bkts|ct-bkts gt=5
      ct-get-maxconns|ct-set-maxconns abc|ct-set-maxconns|ct-set-maxconns 100|ct-get-maxconns|ct-set-maxconns foo 7
      ct-set-maxconns 3000000|ct-get-nconns|ct-get-nconns foo|ct-get-tcp-seq-chk|ct-disable-tcp-seq-chk
      ct-get-tcp-seq-chk|ct-enable-tcp-seq-chk|ct-get-limits|ct-set-limits zone=1,limit=5 zone=2,limit=6|ct-get-limits
      ct-get-limits zone=1,7|ct-get-limits zone=a|ct-get-limits foo|ct-set-limits|ct-set-limits zone=1
      ct-set-limits zone=1,limit=x|ct-set-limits zone=70000,limit=4|ct-set-limits limit=4|ct-set-limits zone=4,foo=3
      ct-set-limits default=x|ct-set-limits default=9|ct-del-limits zone=x|ct-del-limits foo|ct-del-limits zone=1,2
      ct-get-limits|flush-conntrack zone=x|flush-conntrack ct_foo=1|flush-conntrack ct_nw_src=1.1.1.300
      flush-conntrack ct_nw_src=10.0.0.1,ct_ipv6_src=fe80::1|flush-conntrack ct_nw_proto=foo|flush-conntrack ct_tp_src=5
      flush-conntrack icmp_type=5|flush-conntrack foo|flush-conntrack zone=4|ct-get-nconns
      flush-conntrack zone=5 ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=17,ct_tp_src=9,ct_tp_dst=53
      flush-conntrack ct_nw_proto=6|ct-stats-show|flush-conntrack ct_nw_src=10.0.0.1,ct_nw_proto=17|ct-stats-show
      flush-conntrack zone=5|ct-get-nconns|ct-bkts`
      .split(/[|\n]/)
      .map((c) => c.trim())
      .filter((c) => c !== '');
    for (const command of commands) {
      const [theirs, ours] = twins.map((sb) =>
        appctl(sb, ...`dpctl/${command}`.split(' '))
          .split('\n')
          .sort()
          .join('\n'),
      );
      assert.equal(ours, theirs, command);
    }
  });
});
