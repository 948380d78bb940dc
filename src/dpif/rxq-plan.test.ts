import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Arena } from '../base/arena.ts';
import { clock } from '../base/clock.ts';
import { PMD_STAT, PMD_STATS, RXQ_STAT } from '../datapath/pmd-stats.ts';
import type { Netdev } from '../netdev/netdev.ts';
import { type PmdConfig, readPmdConfig } from './pmd-config.ts';
import { INTERVAL_MS, INTERVALS, RxqPlan } from './rxq-plan.ts';

/** What the plan asks of a device. */
function device(name: string, otherConfig: Record<string, string> = {}): Netdev {
  return { name, otherConfig: new Map(Object.entries(otherConfig)) } as unknown as Netdev;
}

interface Bed {
  readonly plan: RxqPlan;
  readonly arena: Arena;
  /** Lets queues be busy for so many percent of each interval. */
  run(intervals: number, percents: readonly number[]): void;
  cores(): number[];
}

function bed(config: Record<string, string>, queues: number, cores: number): Bed {
  const arena = new Arena(1 << 20);
  const read: PmdConfig = readPmdConfig(new Map(Object.entries(config)));
  const plan = new RxqPlan(arena, read);
  const pmds = Array.from({ length: cores }, (_, core) => ({
    core,
    numa: 0,
    statsAt: arena.alloc(PMD_STATS * 8) >> 3,
  }));
  const port = plan.add(1, device('p1'), { kind: 'x', name: 'p1', nRxq: queues });
  assert.ok(port);
  plan.onImprovement = () => plan.assign(pmds);
  plan.assign(pmds);
  return {
    plan,
    arena,
    run(intervals, percents) {
      for (let i = 0; i < intervals; i++) {
        percents.forEach((percent, q) => {
          const ns = percent * INTERVAL_MS * 1e4;
          arena.f64[port.queues[q].statAt + RXQ_STAT.BUSY_NS] += ns;
          const pmd = pmds.find((p) => p.core === port.queues[q].core);
          if (pmd) arena.f64[pmd.statsAt + PMD_STAT.BUSY_NS] += ns;
        });
        clock.warp(INTERVAL_MS);
      }
    },
    cores: () => port.queues.map((q) => q.core),
  };
}

before(() => clock.stop());
after(() => clock.resume());

test('the last minute is shown, in percent of each PMD', () => {
  const b = bed({}, 3, 2);
  assert.deepEqual(
    b.plan.view(INTERVALS).map((p) => p.rxqs.map((q) => q.percent)),
    [[null], [null, null]],
  );
  b.run(2, [50, 20, 10]);
  assert.deepEqual(
    b.plan.view(INTERVALS).map((p) => [p.core, p.overhead, ...p.rxqs.map((q) => [q.queue, q.percent])]),
    [
      [0, 0, [0, 50]],
      [1, 0, [1, 20], [2, 10]],
    ],
  );
  b.run(1, [0, 0, 0]);
  assert.deepEqual(b.plan.view(1)[0].rxqs[0].percent, 0, 'only the last five seconds');
  b.plan.dispose();
});

test('an overloaded PMD is relieved after a minute, if that makes the load more even', () => {
  const b = bed({ 'pmd-auto-lb': 'true', 'pmd-rxq-assign': 'group' }, 4, 2);
  assert.deepEqual(b.cores(), [0, 1, 0, 1]);
  // Queues 0 and 2 fill core 0; core 1 has nothing to do.
  b.run(INTERVALS - 1, [60, 0, 40, 0]);
  assert.deepEqual(b.cores(), [0, 1, 0, 1]);
  b.run(1, [60, 0, 40, 0]);
  const cores = b.cores();
  assert.notEqual(cores[0], cores[2], 'the busy two are apart');
  b.plan.dispose();
});

test('nothing moves without auto-lb, without overload, or when it would not help', () => {
  for (const [config, load] of [
    [{}, [60, 0, 40, 0]],
    [{ 'pmd-auto-lb': 'true' }, [40, 0, 0, 0]],
    [{ 'pmd-auto-lb': 'true' }, [99, 0, 0, 0]],
    [{ 'pmd-auto-lb': 'true', 'pmd-rxq-assign': 'roundrobin' }, [60, 0, 40, 0]],
  ] as const) {
    const b = bed(config as Record<string, string>, 4, 2);
    const before = b.cores();
    b.run(INTERVALS * 3, load);
    if (load[0] !== 99) assert.deepEqual(b.cores(), before, JSON.stringify(config));
    assert.equal(new Set(b.cores()).size, 2);
    b.plan.dispose();
  }
});
