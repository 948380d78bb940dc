/** How the kernel shares cores among threads. */
import { getPriority } from 'node:os';
import { libc } from './libc.ts';

/** `sched_setattr(2)` */
const SYS_SCHED_SETATTR: Partial<Record<NodeJS.Architecture, number>> = { x64: 314, arm64: 274 };
const ATTR_BYTES = 48;
const ATTR_NICE = 16;
const ATTR_SLICE = 24;
const SHORT_SLICE_NS = 100_000n;

/**
 * Asks that the calling thread, when something wakes it, runs before threads that have been running: it takes the same share of a
 * core in shorter slices. Linux 6.12 and later; others ignore it. Threads that it starts inherit it.
 */
export function wakePromptly(): void {
  setSlice(SHORT_SLICE_NS);
}

/** Undoes what a thread inherited. */
export function wakeAsUsual(): void {
  setSlice(0n);
}

function setSlice(ns: bigint): void {
  const number = SYS_SCHED_SETATTR[process.arch];
  if (number === undefined) return;
  const attr = new DataView(new ArrayBuffer(ATTR_BYTES));
  attr.setUint32(0, ATTR_BYTES, true);
  attr.setInt32(ATTR_NICE, getPriority(), true);
  attr.setBigUint64(ATTR_SLICE, ns, true);
  libc().syscall(number, 0, new Uint8Array(attr.buffer), 0);
}

/** Lets another thread have the core, if one waits for it. */
export function yieldCore(): void {
  libc().sched_yield();
}
