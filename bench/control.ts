/**
 * What a person or a controller waits for: loading rules, adding ports, starting a command, the first packet of a flow.
 * Both makes run with simulated devices where the figure is not about devices, so that only the switch is measured.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MSG } from '../src/linux/constants.ts';
import { addressOf, libc } from '../src/linux/libc.ts';
import { getLink } from '../src/linux/link.ts';
import { openReceiveSocket, openSendSocket } from '../src/linux/packet-socket.ts';
import { comparing, type Make, machine, median, percentile, printTable, Switch, withVeths } from './support.ts';

const RULES = Number(process.env.BENCH_RULES ?? 100000);
const PORTS = Number(process.env.BENCH_PORTS ?? 100);
const FLOWS = 500;
/** Its own name, so that a bridge of the machine's user is left alone. */
const BRIDGE = 'sbbr1';

const seconds = (body: () => void): number => {
  const t0 = performance.now();
  body();
  return (performance.now() - t0) / 1000;
};

/** Each a whole process: what it costs to start, connect, ask and print. */
const COMMANDS: readonly (readonly [string, ...string[]])[] = [
  ['ovs-vsctl', 'get', 'bridge', BRIDGE, 'name'],
  ['ovs-ofctl', 'dump-aggregate', BRIDGE],
  ['ovsdb-client', 'list-dbs'],
  ['ovs-appctl', 'version'],
  ['ovs-dpctl', '--version'],
  ['ovsdb-tool', '--version'],
];

interface Figures {
  addFlows: number;
  ownAddFlows: number;
  dumpFlows: number;
  addPorts: number;
  /** By command, in the order of `COMMANDS`. */
  startup: number[];
  firstPacket: number[];
}

function firstPackets(make: Make): Promise<number[]> {
  return withVeths(
    [
      ['sbl0', 'sbl1'],
      ['sbm0', 'sbm1'],
    ],
    async () => {
      await using s = await Switch.start(make);
      const bridge = ['add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, 'datapath_type=netdev'];
      s.run('ovs-vsctl', ...bridge, '--', 'add-port', BRIDGE, 'sbl1', '--', 'add-port', BRIDGE, 'sbm1');
      const send = openSendSocket(getLink('sbl0')?.ifindex ?? 0);
      const receive = openReceiveSocket(getLink('sbm0')?.ifindex ?? 0);
      const c = libc();
      const packet = new Uint8Array(60);
      packet.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 0x88, 0xb5]);
      const buffer = new Uint8Array(2048);
      const [out, into] = [addressOf(packet), addressOf(buffer)];
      const latencies: number[] = [];
      for (let i = 0; i < FLOWS; i++) {
        packet[10] = i >> 8;
        packet[11] = i;
        const t0 = performance.now();
        c.sendto(send, out, packet.length, 0, 0, 0);
        while (Number(c.recvfrom(receive, into, buffer.length, MSG.DONTWAIT, 0, 0)) < 0) {
          if (performance.now() - t0 > 1000) throw new Error(`${make}: packet ${i} did not arrive`);
        }
        // The first hundred warm both makes up.
        if (i >= 100) latencies.push((performance.now() - t0) * 1000);
      }
      c.close(send);
      c.close(receive);
      return latencies;
    },
  );
}

async function figures(make: Make): Promise<Figures> {
  const dummy = ['--enable-dummy=override', '--disable-system'];
  await using s = await Switch.start(make, dummy);
  s.run('ovs-vsctl', 'add-br', BRIDGE);
  const file = join(s.dir, 'flows.txt');
  const lines: string[] = [];
  for (let i = 0; i < RULES; i++) {
    const [a, b, c] = [(i >> 16) & 255, (i >> 8) & 255, i & 255];
    lines.push(`priority=${100 + (i % 30)},ip,nw_dst=10.${a}.${b}.${c},actions=output:${1 + (i % 50)}`);
  }
  writeFileSync(file, lines.join('\n') + '\n');
  const ownAddFlows = seconds(() => s.run('ovs-ofctl', 'add-flows', BRIDGE, file));
  s.runOriginal('ovs-ofctl', 'del-flows', BRIDGE);
  const addFlows = seconds(() => s.runOriginal('ovs-ofctl', 'add-flows', BRIDGE, file));
  const count = s.runOriginal('ovs-ofctl', 'dump-aggregate', BRIDGE);
  if (!count.includes(`flow_count=${RULES}\n`)) throw new Error(`${make}: ${count}`);
  const dumpFlows = median(Array.from({ length: 5 }, () => seconds(() => s.run('ovs-ofctl', 'dump-flows', BRIDGE))));
  const addPorts = seconds(() => {
    for (let i = 0; i < PORTS; i++) s.runOriginal('ovs-vsctl', 'add-port', BRIDGE, `d${i}`);
  });
  s.runOriginal('ovs-ofctl', 'del-flows', BRIDGE);
  const startup = COMMANDS.map(([name, ...args]) => {
    const command = name === 'ovs-appctl' ? () => s.appctl(...args) : () => s.run(name, ...args);
    return median(Array.from({ length: 20 }, () => seconds(command)));
  });
  return { addFlows, ownAddFlows, dumpFlows, addPorts, startup, firstPacket: await firstPackets(make) };
}

const theirs = await figures('original');
const ours = await figures('signalbox');
console.log(`Control (${machine()}); less is better\n`);
const s = (v: number): string => `${v.toFixed(2)} s`;
const ms = (v: number): string => `${(v * 1000).toFixed(0)} ms`;
const us = (v: number): string => `${v.toFixed(0)} µs`;
const row = comparing(theirs, ours);
printTable(
  ['', 'Open vSwitch', 'Signalbox', 'ours / theirs'],
  [
    row(`\`ovs-ofctl add-flows\` of ${RULES} rules, the original's client`, (f) => f.addFlows, s),
    row(`\`ovs-ofctl add-flows\` of ${RULES} rules`, (f) => f.ownAddFlows, s),
    row(`\`ovs-ofctl dump-flows\` of ${RULES} rules`, (f) => f.dumpFlows, s),
    row(`\`ovs-vsctl add-port\` × ${PORTS}`, (f) => f.addPorts, s),
    ...COMMANDS.map(([name, word], i) => row(`\`${name} ${word}\`, wall time`, (f) => f.startup[i], ms)),
    row('first packet of a flow, p50', (f) => percentile(f.firstPacket, 50), us),
    row('first packet of a flow, p99', (f) => percentile(f.firstPacket, 99), us),
  ],
);
