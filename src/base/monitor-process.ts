/**
 * The process between a daemon and the world that `--monitor` asks for: it starts the daemon, starts it again when it
 * crashes, and ends as it ends otherwise.
 */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { signalText, writeAll } from './fatal.ts';
import { vlog } from './vlog.ts';

const log = vlog('daemon_unix');

/** Signals that mean a bug, not somebody's wish. */
const CRASHES: ReadonlySet<string> = new Set([
  ...['SIGABRT', 'SIGALRM', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGPIPE', 'SIGSEGV', 'SIGXCPU', 'SIGXFSZ'],
]);

/** Daemons that crash again and again are not restarted more often than this. */
const MIN_UPTIME_MS = 10_000;

export interface Supervision {
  readonly start: () => ChildProcess;
  /** Called once, when the first daemon is ready. */
  readonly onReady: () => void;
  /** Called once, before the first crash is logged. */
  readonly onFirstCrash: () => void;
}

/** Never returns. */
export function superviseForever(program: string, { start, onReady, onFirstCrash }: Supervision): Promise<never> {
  let crashes = 0;
  let ready = false;
  const run = () => {
    const began = performance.now();
    const child = start();
    process.title = `${program}: monitoring pid ${child.pid} (${crashes === 0 ? 'healthy' : `${crashes} crashes`})`;
    const stop = (signal: NodeJS.Signals) => child.kill(signal);
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);
    child.stdout?.on('data', (bytes: Uint8Array) => writeAll(1, bytes));
    child.stderr?.on('data', (bytes: Uint8Array) => writeAll(2, bytes));
    child.stdio[3]?.once('data', () => {
      if (!ready) onReady();
      ready = true;
    });
    child.on('close', (status, signal) => {
      for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.removeListener(name, stop);
      if (signal === null || !CRASHES.has(signal) || !ready) end(status, signal);
      if (crashes++ === 0) onFirstCrash();
      const wait = Math.max(0, MIN_UPTIME_MS - (performance.now() - began));
      log.err(`${crashes} crashes: pid ${child.pid} died, killed (${signalText(signal)}), restarting`);
      if (wait > 0 && crashes > 1) {
        log.err(
          `${program}: crashed soon after its start, waiting ${Math.ceil(wait / 1000)} seconds before restarting it`,
        );
        setTimeout(run, wait);
      } else {
        run();
      }
    });
  };
  run();
  return new Promise(() => {});
}

function end(status: number | null, signal: NodeJS.Signals | null): never {
  if (signal !== null) log.info(`daemon died of ${signalText(signal)}, exiting`);
  process.exit(status ?? 128 + (signal === null ? 0 : constants.signals[signal]));
}
