/**
 * What a daemon does about exceptions that nobody caught: a mistake of ours in handling one event must not take down
 * forwarding for everybody else. It is logged and counted, and the event loop goes on. When they come thick and fast the
 * state is beyond trust, and the process aborts, for the monitor to restart it.
 */
import { coverage } from './coverage.ts';
import { vlog } from './vlog.ts';

const MAX_IN_WINDOW = 100;
const WINDOW_MS = 10_000;

const log = vlog('fatal_signal');
const count = coverage('uncaught_exception');
let windowStart = 0;
let inWindow = 0;

export function guardAgainstExceptions(): void {
  process.on('uncaughtException', report);
  process.on('unhandledRejection', report);
}

function report(error: unknown): void {
  count.inc();
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const now = performance.now();
  if (now - windowStart > WINDOW_MS) {
    windowStart = now;
    inWindow = 0;
  }
  if (++inWindow > MAX_IN_WINDOW) {
    log.emer(`too many internal errors, aborting: ${text}`);
    process.abort();
  }
  log.err(`internal error: ${text}`);
}
