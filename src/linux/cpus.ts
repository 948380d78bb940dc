/** The cores there are and the NUMA node of each: the machine's own, or made up for simulations (`--dummy-numa`). */
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';

export interface Cpu {
  readonly core: number;
  readonly numa: number;
}

let simulated: readonly Cpu[] | null = null;
let real: readonly Cpu[] | null = null;

/** `0,0,1,1`: the NUMA node of each core. */
export function simulateCpus(numas: string): void {
  simulated = numas
    .split(',')
    .map((text, core) => ({ core, numa: Number.parseInt(text, 10) }))
    .filter((cpu) => cpu.numa >= 0);
}

export function cpus(): readonly Cpu[] {
  if (simulated !== null) return simulated;
  real ??= Array.from({ length: availableParallelism() }, (_, core) => ({ core, numa: numaOf(core) }));
  return real;
}

function numaOf(core: number): number {
  try {
    const node = readdirSync(`/sys/devices/system/cpu/cpu${core}`).find((name) => /^node\d+$/.test(name));
    return node === undefined ? 0 : Number(node.slice(4));
  } catch {
    return 0;
  }
}
