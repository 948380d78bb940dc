/**
 * What a scrape of `/metrics` costs a switch with many ports, whose event loop it holds: the text as a whole, and, as root,
 * the kernel's part of it, reading the counters of as many devices (in a network namespace of its own).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { Arena } from '../src/base/arena.ts';
import { metricsText } from '../src/base/metrics.ts';
import { vlogSetLevels } from '../src/base/vlog.ts';
import { DpifNetdev } from '../src/dpif/netdev.ts';
import { allLinkStats } from '../src/linux/link.ts';
import { DummyNetdev } from '../src/netdev/dummy.ts';
import type { NetdevEnv } from '../src/netdev/netdev.ts';
import { Backer } from '../src/ofproto/backer.ts';
import type { Bridge } from '../src/ofproto/bridge.ts';
import { registerMetrics } from '../src/ofproto/metrics.ts';
import { machine, median, percentile } from './support.ts';

const PORTS = Number(process.env.BENCH_METRICS_PORTS ?? 1000);
const ROUNDS = 60;
const WARM_UP = 20;

/** Times on the clock, which others on the machine lengthen, and the mean of processor time, which they don't. */
async function measure(what: () => string, act: () => unknown): Promise<void> {
  const times: number[] = [];
  let cpu = process.cpuUsage();
  for (let i = 0; i < WARM_UP + ROUNDS; i++) {
    if (i === WARM_UP) cpu = process.cpuUsage();
    const t0 = performance.now();
    await act();
    if (i >= WARM_UP) times.push(performance.now() - t0);
  }
  const used = process.cpuUsage(cpu);
  const mean = (used.user + used.system) / 1000 / ROUNDS;
  const ms = (n: number): string => `${n.toFixed(1)} ms`;
  console.log(`${what()}: median ${ms(median(times))}, 95 % ${ms(percentile(times, 95))}, processor ${ms(mean)}`);
}

if (process.argv[2] === 'links') {
  const pairs = Array.from({ length: PORTS / 2 }, (_, i) => `link add l${i} type veth peer name r${i}\n`).join('');
  execFileSync('ip', ['-batch', '-'], { input: pairs });
  await measure(() => `counters of ${allLinkStats().size} devices from the kernel`, allLinkStats);
  process.exit(0);
}

vlogSetLevels(null, 'console', 'warn');
console.log(machine());
const env: NetdevEnv = { arena: new Arena(2 ** 30), frames: { at: 0, bytes: 0 }, byName: new Map() };
const dpif = await DpifNetdev.create({ mode: 'main', name: 'ovs-dummy', type: 'dummy', env });
const backer = new Backer('dummy', dpif);
const bridge = backer.createBridge('br0', 'dummy') as Bridge;
for (let i = 0; i < PORTS; i++) await bridge.portAdd(new DummyNetdev(`port${i}`, env), null);
registerMetrics(() => [backer]);
let text = '';
const series = (): number => text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
await measure(
  () => `/metrics of ${PORTS} ports (${series()} series, ${(text.length / 1024).toFixed(0)} KiB)`,
  async () => {
    text = await metricsText();
  },
);
await backer.close();
if (process.getuid?.() === 0)
  spawnSync('unshare', ['-n', process.execPath, import.meta.filename, 'links'], { stdio: 'inherit' });
process.exit(0);
