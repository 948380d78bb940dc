/**
 * The fast path in memory on one core, in turns with Open vSwitch and DPDK on the same core: packets a second, nanoseconds a packet
 * in all and stage by stage, how long bursts take, garbage collection. Rates are by processor time of the one thread that
 * forwards, the best of several turns each, so that other work on the machine disturbs both little and alike.
 *
 * `scripts/node26 bench/datapath.ts [--json] [--only=TEXT] [--no-peer]`; `BENCH_SECONDS` and `BENCH_ROUNDS` say how long.
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DpdkSwitch, findPeer } from './dpdk.ts';
import type { Latency, Turn } from './measure.ts';
import type { Cache, Scene } from './memory.ts';
import { machine, printTable } from './support.ts';

export { generator, install } from './memory.ts';

const MS = Number(process.env.BENCH_SECONDS ?? 1) * 1000;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const CORE = availableParallelism() - 1;

const flows = (cache: Cache, n: number, masks = 1): Scene => ({ kind: 'flows', cache, flows: n, masks });

/** Each with the ratio to reach, where there is one. */
const CASES: readonly (readonly [string, Scene, number?])[] = [
  ['simple match, 1 flow', flows('simple', 1), 1],
  ['simple match, 1000 flows', flows('simple', 1000), 1],
  ['simple match, 100000 flows', flows('simple', 100_000), 1],
  ['EMC, 1 flow', flows('emc', 1)],
  ['EMC, 1000 flows', flows('emc', 1000), 1.2],
  ['EMC, 1000 flows, a journey filter', { kind: 'flows', cache: 'emc', flows: 1000, masks: 1, isWatched: true }],
  ['EMC, 100000 flows (too many)', flows('emc', 100_000)],
  ['SMC, 1 mask, 1 flow', flows('smc', 1), 1],
  ['SMC, 1 mask, 1000 flows', flows('smc', 1000), 1],
  ['SMC, 1 mask, 100000 flows', flows('smc', 100_000), 1],
  ['SMC, 100 masks, 1000 flows', flows('smc', 1000, 100), 1],
  ['SMC, 100 masks, 100000 flows', flows('smc', 100_000, 100), 1],
  ['megaflows, 1 mask, 1 flow', flows('megaflow', 1)],
  ['megaflows, 1 mask, 1000 flows', flows('megaflow', 1000), 1.2],
  ['megaflows, 1 mask, 100000 flows', flows('megaflow', 100_000), 1.2],
  ['megaflows, 10 masks, 1000 flows', flows('megaflow', 1000, 10), 2],
  ['megaflows, 10 masks, 100000 flows', flows('megaflow', 100_000, 10), 2],
  ['megaflows, 100 masks, 1000 flows', flows('megaflow', 1000, 100), 10],
  ['megaflows, 100 masks, 100000 flows', flows('megaflow', 100_000, 100), 10],
  ['attack by 8192 masks: its packets', { kind: 'attack', victim: false }],
  ['attack by 8192 masks: its victim', { kind: 'attack', victim: true }],
  ['ct, 1 connection', { kind: 'conntrack', connections: 1, isRecirculated: false }],
  ['ct, 1000 connections', { kind: 'conntrack', connections: 1000, isRecirculated: false }],
  ['ct, 100000 connections', { kind: 'conntrack', connections: 100_000, isRecirculated: false }],
  ['ct and recirculation, 1', { kind: 'conntrack', connections: 1, isRecirculated: true }],
  ['ct and recirculation, 1000', { kind: 'conntrack', connections: 1000, isRecirculated: true }],
  ['ct and recirculation, 100000', { kind: 'conntrack', connections: 100_000, isRecirculated: true }],
];

interface Result {
  readonly name: string;
  readonly nsPerPacket: number;
  readonly mpps: number;
  readonly peerNsPerPacket: number | null;
  readonly peerMpps: number | null;
  /** What answered the peer's packets. */
  readonly peerHits: string;
  readonly ratio: number | null;
  readonly reach: number | null;
  readonly latency: Latency;
  readonly stages: Record<string, number>;
}

/** Our side of a scene, in its process. */
class Ours implements Disposable {
  private readonly child;
  private readonly lines: AsyncIterator<string>;

  constructor(scene: Scene) {
    const program = fileURLToPath(new URL('./measure.ts', import.meta.url));
    const args = [...process.execArgv, program, String(CORE), JSON.stringify(scene)];
    this.child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface(this.child.stdout)[Symbol.asyncIterator]();
  }

  async answer(): Promise<unknown> {
    const line = await this.lines.next();
    if (line.done) throw new Error('the measuring process ended');
    return JSON.parse(line.value);
  }

  ask(what: string): Promise<unknown> {
    this.child.stdin.write(`${what}\n`);
    return this.answer();
  }

  [Symbol.dispose](): void {
    this.child.stdin.end();
    this.child.kill();
  }
}

const nsOf = (t: Turn): number => t.ns / t.packets;

async function measure(name: string, scene: Scene, reach: number | null, withPeer: boolean): Promise<Result> {
  const drivers = withPeer && scene.kind !== 'conntrack' ? findPeer() : null;
  await using peer =
    drivers !== null && 'dir' in drivers ? await DpdkSwitch.start(drivers, scene, CORE, CORE === 0 ? 1 : 0) : null;
  const peerHits = peer?.hits() ?? '';
  peer?.pause();
  using ours = new Ours(scene);
  await ours.answer();
  let our = Number.POSITIVE_INFINITY;
  let their = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    our = Math.min(our, nsOf((await ours.ask(`go ${MS}`)) as Turn));
    if (peer === null) continue;
    peer.resume();
    their = Math.min(their, nsOf(await peer.turn(MS)));
    peer.pause();
  }
  const latency = (await ours.ask('latency')) as Latency;
  const stages = (await ours.ask('stages')) as Record<string, number>;
  const hasPeer = peer !== null && Number.isFinite(their);
  return {
    name,
    nsPerPacket: our,
    mpps: 1000 / our,
    peerNsPerPacket: hasPeer ? their : null,
    peerMpps: hasPeer ? 1000 / their : null,
    peerHits,
    ratio: hasPeer ? their / our : null,
    reach,
    latency,
    stages,
  };
}

function row(r: Result): string[] {
  const peer = r.peerMpps === null ? '' : `${r.peerMpps.toFixed(2)} (${r.peerNsPerPacket?.toFixed(1)})`;
  const reach = r.reach === null ? '' : ` (reach ${r.reach})`;
  const { p50, p99, p999, gcs, gcMs } = r.latency;
  return [
    r.name,
    `${r.mpps.toFixed(2)} (${r.nsPerPacket.toFixed(1)})`,
    peer,
    r.ratio === null ? '' : `${r.ratio.toFixed(2)} ×${reach}`,
    `${p50.toFixed(1)} / ${p99.toFixed(1)} / ${p999.toFixed(1)}`,
    gcs === 0 ? 'none' : `${gcs}, ${gcMs.toFixed(2)} ms`,
    Object.entries(r.stages)
      .map(([k, v]) => `${k} ${v.toFixed(1)}`)
      .join(', '),
    r.peerHits,
  ];
}

async function main(): Promise<void> {
  const only = process.argv.find((a) => a.startsWith('--only='))?.slice(7) ?? '';
  const isJson = process.argv.includes('--json');
  const peer = process.argv.includes('--no-peer') ? { missing: 'not wanted' } : findPeer();
  if (!isJson) {
    console.log(`${machine()}; one core (${CORE}), ${ROUNDS} turns of ${MS} ms each\n`);
    if ('missing' in peer) console.log(`Open vSwitch with DPDK: skipped: ${peer.missing}\n`);
  }
  const results: Result[] = [];
  let withPeer = !('missing' in peer);
  for (const [name, scene, reach] of CASES.filter(([n]) => n.includes(only))) {
    try {
      results.push(await measure(name, scene, reach ?? null, withPeer));
    } catch (e) {
      if (!withPeer) throw e;
      withPeer = false;
      process.stderr.write(`Open vSwitch with DPDK: skipped from here on: ${e instanceof Error ? e.message : e}\n`);
      results.push(await measure(name, scene, reach ?? null, false));
    }
    if (!isJson) process.stderr.write(`${row(results.at(-1) as Result).join(' | ')}\n`);
  }
  if (isJson) {
    console.log(JSON.stringify(results, null, 2));
    return;
  }
  printTable(
    ['', 'Mpps (ns)', 'OVS-DPDK', 'ratio', 'burst µs p50 / p99 / p99.9', 'GC', 'ns a stage', 'OVS-DPDK answered by'],
    results.map(row),
  );
}

if (import.meta.main) {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  await main();
}
