/** Asking for huge pages. `madvise(2)`, `/sys/kernel/mm/transparent_hugepage/enabled` */
import { addressOf, libc } from './libc.ts';

const MADV_HUGEPAGE = 14;

/**
 * Lets the kernel put the memory from byte `at` on into pages of 2 MB where they are whole: a table of many megabytes that is read
 * here and there then costs few address translations. False when the kernel has no such pages; nothing is lost then.
 */
export function adviseHugePages(memory: Uint8Array, at = 0): boolean {
  return libc().madvise(addressOf(memory) + at, memory.length - at, MADV_HUGEPAGE) === 0;
}
