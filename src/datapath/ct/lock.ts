/**
 * A lock in one word of the arena: 0 free, 1 taken, 2 taken and somebody sleeps. Held for microseconds, so whoever finds it
 * taken spins first; it sleeps when the holder does not run.
 */
const SPINS = 200;
/** A notification can be missed only if the holder died; then whoever waits looks again after this. */
const NAP_MS = 1;

export function lock(i32: Int32Array, at: number): void {
  if (Atomics.compareExchange(i32, at, 0, 1) === 0) return;
  for (let n = 0; n < SPINS; n++) if (Atomics.compareExchange(i32, at, 0, 1) === 0) return;
  while (Atomics.exchange(i32, at, 2) !== 0) Atomics.wait(i32, at, 2, NAP_MS);
}

export function unlock(i32: Int32Array, at: number): void {
  if (Atomics.exchange(i32, at, 0) === 2) Atomics.notify(i32, at, 1);
}
