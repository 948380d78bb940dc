/**
 * One scene of `memory.ts`, measured in a process of its own, as a PMD has its thread: code that serves one memory is compiled with
 * its addresses as constants. The parent tells when: `go MS` is answered by a `Turn`, `stages` by nanoseconds, `latency` by
 * microseconds of a burst, each as one line of JSON.
 */
import { readFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { BURST } from '../src/datapath/batch.ts';
import { byteSwap32 } from '../src/datapath/extract.ts';
import { PMD_STAT } from '../src/datapath/pmd-stats.ts';
import { bindToCore } from '../src/linux/affinity.ts';
import { makeWorld, type Scene, type World } from './memory.ts';

export interface Turn {
  readonly packets: number;
  /** Processor time of the thread: other work on the machine does not count. */
  readonly ns: number;
}

export interface Latency {
  /** Microseconds that a burst of 32 packets took. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** Garbage collections meanwhile, and the longest pause in milliseconds. */
  readonly gcs: number;
  readonly gcMs: number;
}

/** Nanoseconds of processor time of the main thread so far. */
const cpuNs = (): number => Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[0]);

/** At least one time through all flows, so that no turn has only the fast half. */
function turn(world: World, ms: number): Turn {
  const { bed, run } = world;
  const rounds = Math.max(1000, Math.ceil(world.packets / BURST));
  const packets = bed.stat(PMD_STAT.RECEIVED);
  const before = cpuNs();
  const end = performance.now() + ms;
  do for (let i = 0; i < rounds; i++) run();
  while (performance.now() < end);
  const ns = cpuNs() - before;
  world.check();
  if (bed.stat(PMD_STAT.MISS) !== 0 || bed.stat(PMD_STAT.LOST) !== 0) throw new Error('packets missed');
  return { packets: bed.stat(PMD_STAT.RECEIVED) - packets, ns };
}

async function latency(world: World): Promise<Latency> {
  const { run } = world;
  const bursts = 200_000;
  const took = new Float64Array(bursts);
  let gcs = 0;
  let gcMs = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      gcs++;
      gcMs = Math.max(gcMs, entry.duration);
    }
  });
  const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
  await later();
  observer.observe({ entryTypes: ['gc'] });
  for (let i = 0; i < bursts; i++) {
    const before = performance.now();
    run();
    took[i] = performance.now() - before;
  }
  await later();
  observer.disconnect();
  took.sort();
  const at = (share: number): number => took[Math.floor(bursts * share)] * 1000;
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), gcs, gcMs };
}

/** The best of many short looks, in nanoseconds a packet. */
function best(fn: () => void): number {
  let ns = Number.POSITIVE_INFINITY;
  for (let t = 0; t < 100; t++) {
    const before = process.hrtime.bigint();
    for (let i = 0; i < 1000; i++) fn();
    ns = Math.min(ns, Number(process.hrtime.bigint() - before) / 1000 / BURST);
  }
  return ns;
}

/** The stages one by one, on one burst that stays where it is. */
function stages({ bed, source, sink }: World, scene: Scene): Record<string, number> {
  if (scene.kind === 'conntrack') return {};
  const { pmd, pool } = bed;
  const { batch, receive, classifyMegaflows, execute, flush } = pmd.stages;
  const n = source.rx(0, batch.frames, BURST);
  const all = Int32Array.from({ length: BURST }, (_, i) => i);
  const scratch = new Int32Array(BURST);
  const result: Record<string, number> = {};
  result.rx = best(() => {
    source.rx(0, scratch, BURST);
    for (let i = 0; i < BURST; i++) pool.put(scratch[i]);
  });
  result.tx = best(() => {
    sink.tx(batch.frames, n);
    for (let i = 0; i < n; i++) pool.take();
  });
  const cache = scene.kind === 'attack' ? 'megaflow' : scene.cache;
  if (cache === 'simple' || cache === 'emc') {
    // Extraction, the cache and the output are one loop.
    result['extract, cache, output'] = best(() => {
      receive(byteSwap32(1), n);
      flush();
      for (let i = 0; i < n; i++) pool.take();
    });
    result['extract, cache, output'] -= result.tx;
    return result;
  }
  result.extract = best(() => pmd.extractor.received(batch, n, byteSwap32(1)));
  const asked = cache === 'smc' ? pmd.stages.classifySignatures : classifyMegaflows;
  result[cache] = best(() => {
    batch.missed.set(all);
    asked(batch, n);
  });
  result.output = best(() => {
    execute(batch, n, 0);
    // What was sent comes back at once, for the next round sends it again.
    flush();
    for (let i = 0; i < n; i++) pool.take();
  });
  result.output = Math.max(0, result.output - result.tx);
  return result;
}

if (import.meta.main) {
  const [core, text] = process.argv.slice(2);
  bindToCore(Number(core));
  const scene = JSON.parse(text) as Scene;
  const world = makeWorld(scene);
  const say = (answer: unknown): void => console.log(JSON.stringify(answer));
  say('ready');
  for await (const line of createInterface(process.stdin)) {
    const [what, ms] = line.split(' ');
    if (what === 'go') say(turn(world, Number(ms)));
    else if (what === 'latency') say(await latency(world));
    else if (what === 'stages') say(stages(world, scene));
  }
}
