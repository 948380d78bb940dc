/** The worker of `race.test.ts`: makes, finds and removes connections in a table that other threads use too. */
import { parentPort, workerData } from 'node:worker_threads';
import { Arena } from '../../base/arena.ts';
import { kindOf, T_DST, T_KIND, T_PORTS, T_SRC, T_WORDS } from './entry.ts';
import { reverseTuple } from './packet.ts';
import { makeCtTable } from './table.ts';

export interface RaceData {
  readonly memory: WebAssembly.Memory;
  readonly at: number;
  /** Word index of memory of its own: a clock and two tuples. */
  readonly scratch: number;
  readonly seed: number;
  readonly steps: number;
}

function run({ memory, at, scratch, seed, steps }: RaceData): number {
  const arena = new Arena(memory);
  const { i32, f64 } = arena;
  const table = makeCtTable(arena, at);
  const clock = scratch >> 1;
  const own = scratch + 2;
  const reply = own + T_WORDS;
  f64[clock] = 1000;
  let x = seed;
  const random = (n: number): number => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
  let made = 0;
  for (let n = 0; n < steps; n++) {
    const zone = random(3);
    i32[own + T_KIND] = kindOf(zone, 17, false);
    i32[own + T_SRC] = random(40);
    i32[own + T_DST] = 100 + random(10);
    i32[own + T_PORTS] = 0x10002;
    table.lock(zone);
    const e = table.lookup(own, clock);
    if (e !== 0) {
      table.remove(e);
      made--;
    } else {
      reverseTuple(i32, own, reply);
      const fresh = table.insert(own, reply, clock);
      if (fresh !== 0) {
        table.touch(fresh, 60 + random(100), clock);
        made++;
      }
    }
    table.unlock(zone);
  }
  return made;
}

parentPort?.postMessage(run(workerData as RaceData));
