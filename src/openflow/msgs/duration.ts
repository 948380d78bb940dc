/** Durations on the wire are seconds and nanoseconds; here milliseconds, the wire's nanoseconds being a fraction. */
import type { Reader, Writer } from '../bytes.ts';

export function writeDuration(w: Writer, ms: number): void {
  if (ms < 0) w.u32(0xffffffff).u32(0xffffffff);
  else w.u32(Math.floor(ms / 1000)).u32(Math.round((ms % 1000) * 1e6));
}
/** -1 when the wire says unknown. */
export function readDuration(r: Reader): number {
  const seconds = r.u32();
  const nanoseconds = r.u32();
  return seconds === 0xffffffff ? -1 : (seconds * 1e9 + nanoseconds) / 1e6;
}
