import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assignRxqs, loadVariance, parseAffinity, RXQ_ALGORITHMS, type RxqToAssign } from './rxq-assign.ts';

const CORES = [0, 1, 2].map((core) => ({ core, numa: 0 }));

function rxq(port: string, no: number, queue: number, cycles = 0, pinnedTo = -1): RxqToAssign {
  return { port, no, queue, cycles, pinnedTo, numa: 0 };
}

const FIVE = [rxq('p1', 1, 0), rxq('p1', 1, 1), rxq('p1', 1, 2), rxq('p2', 2, 0), rxq('p2', 2, 1)];
const names = (pmds: readonly { rxqs: readonly RxqToAssign[] }[]): string[][] =>
  pmds.map((p) => p.rxqs.map((q) => `${q.port}:${q.queue}`));

test('cycles goes up and down the PMDs, as the original does', () => {
  assert.deepEqual(names(assignRxqs(CORES, FIVE, 'cycles', true).pmds), [['p1:0'], ['p1:1', 'p2:1'], ['p1:2', 'p2:0']]);
});

test('roundrobin and group without measurements go in turn', () => {
  for (const algorithm of ['roundrobin', 'group'] as const)
    assert.deepEqual(names(assignRxqs(CORES, FIVE, algorithm, true).pmds), [
      ['p1:0', 'p2:0'],
      ['p1:1', 'p2:1'],
      ['p1:2'],
    ]);
});

test('the example of the manual: 80, 70, 60, 30, 10 percent', () => {
  const rxqs = [rxq('a', 1, 0, 30), rxq('a', 1, 1, 80), rxq('b', 2, 0, 60), rxq('b', 2, 1, 70), rxq('c', 3, 0, 10)];
  assert.deepEqual(names(assignRxqs(CORES, rxqs, 'cycles', true).pmds), [['a:1'], ['b:1', 'c:0'], ['b:0', 'a:0']]);
  assert.deepEqual(names(assignRxqs(CORES, rxqs, 'group', true).pmds), [['a:1'], ['b:1', 'c:0'], ['b:0', 'a:0']]);
});

test('pinned queues isolate, a core that is not there gives another, nobody left is told', () => {
  const pinned = [rxq('p1', 1, 0, 0, 2), rxq('p1', 1, 1, 0, 9), rxq('p1', 1, 2)];
  const a = assignRxqs(CORES, pinned, 'cycles', true);
  assert.deepEqual(names(a.pmds), [['p1:1'], ['p1:2'], ['p1:0']]);
  assert.deepEqual(
    a.pmds.map((p) => p.isIsolated),
    [false, false, true],
  );
  assert.deepEqual(
    a.log.map((l) => l.text),
    [
      "Core  2 on numa node 0 is pinned with port 'p1' rx queue 0 (measured processing cycles 0)",
      "Core  9 cannot be pinned with port 'p1' rx queue 1. Use pmd-cpu-mask to enable a pmd on core 9. An alternative core will be assigned.",
      'Performing pmd to rx queue assignment using cycles algorithm.',
      "Core  0 on numa node 0 assigned port 'p1' rx queue 1 (measured processing cycles 0).",
      "Core  1 on numa node 0 assigned port 'p1' rx queue 2 (measured processing cycles 0).",
    ],
  );
  const full = assignRxqs([CORES[0]], [rxq('p1', 1, 0, 0, 0), rxq('p1', 1, 1)], 'group', true);
  assert.equal(full.left.length, 1);
  assert.match(full.log.at(-1)?.text ?? '', /No non-isolated pmd on any numa available for port 'p1' rx queue 1/);
  assert.equal(assignRxqs([CORES[0]], [rxq('p1', 1, 0, 0, 0), rxq('p1', 1, 1)], 'group', false).left.length, 0);
});

test('queues prefer PMDs of their own NUMA node', () => {
  const pmds = [
    { core: 0, numa: 0 },
    { core: 1, numa: 1 },
  ];
  const rxqs = [0, 1, 2].map((queue) => ({ ...rxq('p', 1, queue), numa: 1 }));
  assert.deepEqual(names(assignRxqs(pmds, rxqs, 'cycles', true).pmds), [[], ['p:0', 'p:1', 'p:2']]);
});

test('every queue is polled by exactly one PMD, whatever the load', () => {
  const queues = fc.array(fc.record({ no: fc.integer({ min: 1, max: 9 }), cycles: fc.nat(1000) }), { maxLength: 40 });
  fc.assert(
    fc.property(
      queues,
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom(...RXQ_ALGORITHMS),
      (list, cores, algorithm) => {
        const rxqs = list.map(({ no, cycles }, i) => rxq(`p${no}`, no, i, cycles));
        const pmds = Array.from({ length: cores }, (_, core) => ({ core, numa: 0 }));
        const a = assignRxqs(pmds, rxqs, algorithm, true);
        const given = a.pmds.flatMap((p) => p.rxqs.map((q) => q.queue)).sort((x, y) => x - y);
        assert.deepEqual(
          given,
          rxqs.map((q) => q.queue),
        );
      },
    ),
  );
});

test('affinity lists and variance', () => {
  assert.deepEqual(
    [...(parseAffinity('0:3,1:7') ?? [])],
    [
      [0, 3],
      [1, 7],
    ],
  );
  assert.equal(parseAffinity('0:x'), null);
  assert.equal(loadVariance([10, 10, 10]), 0);
  assert.equal(loadVariance([0, 10]), 25);
});
