/** Binding a thread to a core. `sched_setaffinity(2)` */
import { createRequire } from 'node:module';

/** Lets the calling thread run on `core` alone. Returns false when the kernel refuses (no such core, not allowed). */
export function bindToCore(core: number): boolean {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const set = koffi.load('libc.so.6').func('int sched_setaffinity(int, size_t, const void *)');
  const mask = new Uint8Array(128);
  if (core < 0 || core >= mask.length * 8) return false;
  mask[core >> 3] = 1 << (core & 7);
  return set(0, mask.length, mask) === 0;
}
