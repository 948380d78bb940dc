/**
 * The slow path: loading many rules, what they take of memory, flow-mods and barriers of a controller, new flows a second through a
 * pipeline of ten tables, and what one core looks up in the classifier.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FlowKey } from '../src/flow/key.ts';
import { OFS } from '../src/flow/layout.ts';
import { Classifier } from '../src/ofproto/classifier.ts';
import { Rule } from '../src/ofproto/rule.ts';
import { parseFlow } from '../src/openflow/flow-text.ts';
import { Vconn } from '../src/openflow/vconn.ts';
import {
  comparing,
  type Make,
  machine,
  median,
  percentile,
  printTable,
  ROOT,
  Switch,
  until,
  withVeths,
} from './support.ts';

const RULES = Number(process.env.BENCH_RULES ?? 100_000);
const MANY = Number(process.env.BENCH_MANY ?? 1_000_000);
const BRIDGE = 'sbbr2';
const BATCHES = 1000;
const MODS_PER_BARRIER = 20;
const SETUP_SECONDS = 3;

interface Figures {
  bundle: number;
  many: number;
  bytesPerRule: number;
  modsPerSecond: number;
  barrierP99: number;
  setups: number;
}

const random = (() => {
  let x = 12345;
  return (n: number): number => {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    return (x >>> 8) % n;
  };
})();

/** Addresses with prefixes and ports in the proportions of an access list: many hosts and networks, few open ends. */
function accessRule(i: number): string {
  const prefix = [32, 32, 32, 24, 24, 16, 28, 30][random(8)];
  const source = [0, 0, 8, 16, 24, 24, 32][random(7)];
  const address = () => `${10 + random(4)}.${random(256)}.${random(256)}.${random(256)}`;
  const from = source === 0 ? '' : `nw_src=${address()}/${source},`;
  const port = random(3) === 0 ? '' : `tp_dst=${[22, 53, 80, 443, 1024 + random(60000)][random(5)]},`;
  return `priority=${(i % 60_000) + 1},${['tcp', 'udp'][random(2)]},${from}nw_dst=${address()}/${prefix},${port}actions=output:${1 + random(2)}`;
}

function plainRule(i: number): string {
  return `priority=${i % 1000},ip,nw_src=10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255},nw_dst=192.168.${(i * 7) & 255}.0/24,actions=output:${1 + (i & 1)}`;
}

const kilobytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);

/** Seconds to put a file of flows into an empty table. */
function load(s: Switch, file: string): number {
  s.runOriginal('ovs-ofctl', 'del-flows', BRIDGE);
  const t0 = performance.now();
  s.runOriginal('ovs-ofctl', '-O', 'OpenFlow14', '--bundle', '-voff', 'add-flows', BRIDGE, file);
  return (performance.now() - t0) / 1000;
}

/** Flow-mods a second, and how long each barrier took, in ms. */
async function barriers(s: Switch): Promise<{ rate: number; ms: number[] }> {
  const vconn = await Vconn.connect(`unix:${s.dir}/${BRIDGE}.mgmt`, 1 << 4);
  const waiting = new Map<number, () => void>();
  vconn.onMessage((message, xid) => message.type === 'barrier_reply' && waiting.get(xid)?.());
  const ms: number[] = [];
  const start = performance.now();
  for (let i = 0; i < BATCHES; i++) {
    for (let j = 0; j < MODS_PER_BARRIER; j++) {
      const parsed = parseFlow(plainRule(i * MODS_PER_BARRIER + j), 'add');
      if (parsed.ok) vconn.send(parsed.flow);
    }
    const t0 = performance.now();
    const xid = vconn.send({ type: 'barrier_request' });
    await new Promise<void>((resolve) => waiting.set(xid, resolve));
    waiting.delete(xid);
    ms.push(performance.now() - t0);
  }
  const rate = (BATCHES * MODS_PER_BARRIER * 1000) / (performance.now() - start);
  vconn.close();
  return { rate, ms };
}

/** New flows a second: every packet has another source address, which the pipeline looks at. */
function setups(make: Make): Promise<number> {
  return withVeths(
    [
      ['sbn0', 'sbn1'],
      ['sbo0', 'sbo1'],
    ],
    async () => {
      await using s = await Switch.start(make);
      const bridge = ['add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, 'datapath_type=netdev', 'fail-mode=secure'];
      s.run('ovs-vsctl', ...bridge, '--', 'add-port', BRIDGE, 'sbn1', '--', 'add-port', BRIDGE, 'sbo1');
      const pipeline = Array.from({ length: 10 }, (_, i) => {
        const next = i === 9 ? 'output:sbo1' : `load:${i}->NXM_NX_REG1[],resubmit(,${i + 1})`;
        return [
          `table=${i},priority=10,ip,nw_dst=10.${i}.0.0/16,tp_dst=${i},udp,actions=drop`,
          `table=${i},priority=5,ip,actions=${i === 0 ? 'move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],' : ''}${next}`,
        ];
      });
      writeFileSync(join(s.dir, 'pipeline'), pipeline.flat().join('\n'));
      s.run('ovs-ofctl', '--names', 'add-flows', BRIDGE, join(s.dir, 'pipeline'));
      const flows = (): number => Number(/flows: (\d+)/.exec(s.appctl('dpctl/show'))?.[1] ?? 0);
      const sender = spawn(
        join(ROOT, 'scripts/node26'),
        [join(ROOT, 'bench/sender.ts'), 'sbn0', '65536', `${SETUP_SECONDS + 3}`],
        {
          stdio: 'ignore',
        },
      );
      await until(() => flows() > 100, 'the first flows');
      const before = flows();
      const t0 = performance.now();
      await new Promise((resolve) => setTimeout(resolve, SETUP_SECONDS * 1000));
      const rate = ((flows() - before) * 1000) / (performance.now() - t0);
      sender.kill();
      return rate;
    },
  );
}

async function figures(make: Make): Promise<Figures> {
  await using s = await Switch.start(make, ['--enable-dummy=override', '--disable-system']);
  s.run('ovs-vsctl', 'add-br', BRIDGE);
  const some = join(s.dir, 'some');
  const many = join(s.dir, 'many');
  writeFileSync(some, Array.from({ length: RULES }, (_, i) => plainRule(i)).join('\n'));
  writeFileSync(many, Array.from({ length: MANY }, (_, i) => plainRule(i)).join('\n'));
  const empty = kilobytes(s.vswitchdPid);
  load(s, some);
  const bundle = median([load(s, some), load(s, some), load(s, some)]);
  const large = load(s, many);
  const bytesPerRule = ((kilobytes(s.vswitchdPid) - empty) * 1024) / MANY;
  s.runOriginal('ovs-ofctl', 'del-flows', BRIDGE);
  const { rate, ms } = await barriers(s);
  return {
    bundle,
    many: large,
    bytesPerRule,
    modsPerSecond: rate,
    barrierP99: percentile(ms, 99),
    setups: await setups(make),
  };
}

/** Lookups a second that also say which bits they looked at. */
function lookups(texts: readonly string[]): number {
  const classifier = new Classifier<Rule>();
  const matches = texts.flatMap((text) => {
    const parsed = parseFlow(text, 'add');
    return parsed.ok ? parsed.flow : [];
  });
  for (const { match, priority } of matches) {
    classifier.insert(new Rule({ match, priority, table: 0, actions: [], nowMs: 0 }));
  }
  // Half of the packets are such as some rule is about, half are not.
  const packets = Array.from({ length: 4096 }, (_, i) => {
    const key = new FlowKey();
    if (i & 1) key.copyFrom(matches[random(matches.length)].match.key);
    key.set16(OFS.eth_type, 0x0800);
    if (!(i & 1)) key.set32(OFS.ip_dst, 0x0a000000 + random(1 << 26));
    return key;
  });
  const mask = new FlowKey();
  let best = 0;
  for (let round = 0; round < 6; round++) {
    const t0 = performance.now();
    for (const packet of packets) classifier.lookup(packet, mask);
    best = Math.max(best, (packets.length * 1000) / (performance.now() - t0));
  }
  return best;
}

const theirs = await figures('original');
const ours = await figures('signalbox');
console.log(`Rules (${machine()})\n`);
const seconds = (v: number): string => `${v.toFixed(2)} s`;
const row = comparing(theirs, ours);
printTable(
  ['', 'Open vSwitch', 'Signalbox', 'ours / theirs'],
  [
    row(`\`ovs-ofctl --bundle add-flows\` of ${RULES} rules`, (f) => f.bundle, seconds),
    row(`\`ovs-ofctl --bundle add-flows\` of ${MANY} rules`, (f) => f.many, seconds),
    row(
      'memory for each of them',
      (f) => f.bytesPerRule,
      (v) => `${v.toFixed(0)} bytes`,
    ),
    row(
      'flow-mods a second, a barrier after each 20',
      (f) => f.modsPerSecond,
      (v) => v.toFixed(0),
    ),
    row(
      'a barrier among them, p99',
      (f) => f.barrierP99,
      (v) => `${v.toFixed(2)} ms`,
    ),
    row(
      'new flows a second, ten tables',
      (f) => f.setups,
      (v) => v.toFixed(0),
    ),
  ],
);
const THIRTY = Array.from({ length: 1000 }, (_, i) => {
  const n = i % 30;
  return `priority=${i},ip,nw_dst=10.${random(256)}.${random(256)}.0/${24 - (n % 15)},${n < 15 ? '' : `tcp,tp_dst=${random(9999)},`}actions=drop`;
});
printTable(
  ['classifier, one core, lookups a second', ''],
  [
    ['1000 rules in 30 subtables', lookups(THIRTY).toFixed(0)],
    ['100 000 rules like an access list', lookups(Array.from({ length: 100_000 }, (_, i) => accessRule(i))).toFixed(0)],
  ],
);
