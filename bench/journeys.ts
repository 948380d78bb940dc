/**
 * What journeys and breakpoints cost while nobody looks, and while somebody looks for packets that never come.
 *
 * *Hooks out*: the fast path as it is, nobody looking, against a copy of its source with every hook cut out, in processes of
 * their own that take turns. *A filter that matches nothing*, and a breakpoint likewise: the same PMD with and without, in
 * turns of some milliseconds. A process measures the best of many short runs, for other work disturbs; figures are medians of
 * processes, for no two of them lie alike in memory.
 *
 * `scripts/node26 bench/journeys.ts [--json]`
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ringBytes } from '../src/base/record-ring.ts';
import { BURST } from '../src/datapath/batch.ts';
import { CMD } from '../src/datapath/commands.ts';
import { STOP } from '../src/datapath/hold.ts';
import { WANT, WANT_STOPS_SHIFT, WATCH_FILTERS } from '../src/datapath/journey.ts';
import { TestBed } from '../src/datapath/testing.ts';
import { nullKind } from '../src/netdev/null.ts';
import { generator, install } from './datapath.ts';
import { noSuchPacket } from './memory.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FLOWS = 1000;
const TURNS = 16;

/** The hooks, and what stands there without them. Each must be found. */
const HOOKS: readonly (readonly [file: string, hook: string, without: string])[] = [
  ['pmd', 'if (isWatched && mayBeWatched(q, n)) {', 'if (n < 0) {'],
  ['pmd', 'if (told !== null) {\n      processTold(told, b, level);\n      return;\n    }', ''],
  ['pmd', 'if (told !== null) {\n      sendTold(told, q, frame);\n      return;\n    }', ''],
  ['pmd', 'if (told !== null) told.drop(reason, -1);', ''],
  ['pmd', 'if (told !== null && holder?.stopsDrop(told, frame, reason)) return;', ''],
  ['pmd', 'if (told !== null) told.upcall(kind, userspaceId, at >= 0);', ''],
  ['pmd', 'if (isWatched && left !== 0 && teller !== null) left = setAside(teller, left);', ''],
  ['pmd', 'if (nWatched !== 0) tellWatched(q);', ''],
  ['actions', 'if (teller !== null && !teller.step(b, list[0], pc, end, level, cut)) return;', ''],
];

/** A copy of the source without hooks. */
function withoutHooks(): string {
  const dir = mkdtempSync(join(tmpdir(), 'signalbox-bench-'));
  for (const part of ['src', 'bench', 'package.json', 'tsconfig.json'])
    cpSync(join(ROOT, part), join(dir, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  for (const [name, hook, without] of HOOKS) {
    const path = join(dir, `src/datapath/${name}.ts`);
    const text = readFileSync(path, 'utf8');
    if (!text.includes(hook)) throw new Error(`${name}.ts has no such hook any more: ${hook}`);
    writeFileSync(
      path,
      text.replace(hook, () => without),
    );
  }
  return dir;
}

function bed(): { bed: TestBed; run: () => void } {
  const made = new TestBed(256);
  const { pmd, arena, pool } = made;
  const out = nullKind.open('out', { arena, frames: { at: 0, bytes: 0 }, byName: new Map() });
  if ('error' in out) throw new Error(out.error);
  pmd.addPort(1, generator(made, FLOWS));
  pmd.addPort(2, nullKind.openPort(out.portSpec(), { arena, pool, now: () => 0 }));
  install(made, FLOWS, 1);
  pmd.setEmcInsertInverseProbability(1);
  for (let i = 0; i < 40_000; i++) pmd.run();
  pmd.setEmcInsertInverseProbability(100);
  for (let i = 0; i < 40_000; i++) pmd.run();
  return { bed: made, run: () => pmd.run() };
}

function time(rounds: number, fn: () => void): number {
  const before = process.hrtime.bigint();
  for (let i = 0; i < rounds; i++) fn();
  return Number(process.hrtime.bigint() - before) / rounds / BURST;
}

/** Nanoseconds a packet with nobody looking: what a child process measures. */
function plain(): number {
  const { run } = bed();
  let best = Number.POSITIVE_INFINITY;
  for (let n = 0; n < 300; n++) best = Math.min(best, time(1000, run));
  return best;
}

/** The same PMD, with and without, in turns. */
function watched(wants: number): { without: number; with: number } {
  const { bed: made, run } = bed();
  const RING_WORDS = 1 << 17;
  const ring = made.arena.alloc(ringBytes(RING_WORDS));
  const watch = (filter: readonly number[]): void =>
    made.command(CMD.WATCH, ring, RING_WORDS, 1 << 24, 1, WATCH_FILTERS + filter.length, ...filter);
  const best = { without: Number.POSITIVE_INFINITY, with: Number.POSITIVE_INFINITY };
  const filter = [wants, 1000, ...noSuchPacket()];
  for (const isWarm of [false, true]) {
    for (let n = 0; n < (isWarm ? 60 : 10); n++) {
      for (const which of ['without', 'with'] as const) {
        watch(which === 'with' ? filter : []);
        // A filter is code of its own, which has to get warm.
        time(3000, run);
        const ns = time(1000, run);
        if (isWarm) best[which] = Math.min(best[which], ns);
      }
    }
  }
  return best;
}

interface Line {
  readonly name: string;
  readonly without: number;
  readonly with: number;
  readonly limit: number;
}

const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1];

function measure(): Line[] {
  const bare = withoutHooks();
  try {
    // Code that serves one memory is compiled with its addresses as constants: each measurement has a process of its own.
    const child = (dir: string, wants = 0): { without: number; with: number } => {
      const run = spawnSync(process.execPath, [join(dir, 'bench/journeys.ts'), `--child=${wants}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      return JSON.parse(run.stdout.toString());
    };
    const bares: number[] = [];
    const wholes: number[] = [];
    for (let turn = 0; turn < TURNS; turn++) {
      // Who goes first changes, for the machine may become busier.
      const whole = (): void => void wholes.push(child(ROOT).without);
      if (turn & 1) whole();
      bares.push(child(bare).without);
      if (!(turn & 1)) whole();
    }
    const hooksOut = { without: median(bares), with: median(wholes) };
    const inTurns = (wants: number): { without: number; with: number } => {
      const runs = Array.from({ length: TURNS / 2 }, () => child(ROOT, wants));
      return { without: median(runs.map((r) => r.without)), with: median(runs.map((r) => r.with)) };
    };
    return [
      { name: 'hooks out', ...hooksOut, limit: 1.01 },
      { name: 'a filter that matches nothing', ...inTurns(WANT.ALL), limit: 1.05 },
      { name: 'a breakpoint that matches nothing', ...inTurns(STOP.TX << WANT_STOPS_SHIFT), limit: 1.05 },
    ];
  } finally {
    rmSync(bare, { recursive: true });
  }
}

if (import.meta.main) {
  const wants = process.argv.find((a) => a.startsWith('--child='))?.slice(8);
  if (wants !== undefined)
    console.log(JSON.stringify(wants === '0' ? { without: plain(), with: 0 } : watched(Number(wants))));
  else {
    const lines = measure();
    if (process.argv.includes('--json')) console.log(JSON.stringify(lines, null, 2));
    else
      for (const { name, without, with: w, limit } of lines)
        console.log(
          `${name.padEnd(34)} ${without.toFixed(1)} ns a packet without, ${w.toFixed(1)} with: ratio ${(w / without).toFixed(3)}, at most ${limit}`,
        );
  }
}
