/**
 * Ending a program: errors that reach the person who typed the command, and files (sockets, pidfiles) that must not
 * outlive the process however it ends.
 */
import { unlinkSync, writeSync } from 'node:fs';
import { constants } from 'node:os';

/** Prints `program: text` on standard error and exits with `status`. */
export function ovsFatal(program: string, text: string, status = 1): never {
  writeAll(2, `${program}: ${text}\n`);
  process.exit(status);
}

/** Writes all of `text` before it returns, so that `process.exit` may follow even when `fd` is a pipe. */
export function writeAll(fd: number, text: string | Uint8Array): void {
  let bytes = typeof text === 'string' ? Buffer.from(text) : text;
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EAGAIN') {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
        continue;
      }
      return;
    }
  }
}

const files = new Set<string>();
const hooks = new Set<() => void>();
let installed = false;

/** `path` is unlinked when the process exits or dies of a signal that can be caught. */
export function unlinkAtExit(path: string): void {
  install();
  files.add(path);
}

/** Forgets `path`, e.g. because its owner removed it. */
export function keepAtExit(path: string): void {
  files.delete(path);
}

/** `hook` runs, once and synchronously, when the process exits or dies of a signal that can be caught. */
export function atExit(hook: () => void): Disposable {
  install();
  hooks.add(hook);
  return { [Symbol.dispose]: () => void hooks.delete(hook) };
}

function install(): void {
  if (installed) return;
  installed = true;
  process.on('exit', cleanUp);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGALRM'] as const) process.on(signal, onSignal);
}

let notice: (text: string) => void = () => {};

/** The log hears of the signal that ends the process. */
export function setSignalNotice(fn: (text: string) => void): void {
  notice = fn;
}

/** What `strsignal` calls a signal. */
export function signalText(signal: NodeJS.Signals): string {
  return SIGNAL_TEXT[signal] ?? signal;
}

const SIGNAL_TEXT: Partial<Record<NodeJS.Signals, string>> = {
  SIGHUP: 'Hangup',
  SIGINT: 'Interrupt',
  SIGABRT: 'Aborted',
  SIGALRM: 'Alarm clock',
  SIGBUS: 'Bus error',
  SIGFPE: 'Floating point exception',
  SIGILL: 'Illegal instruction',
  SIGKILL: 'Killed',
  SIGPIPE: 'Broken pipe',
  SIGSEGV: 'Segmentation fault',
  SIGTERM: 'Terminated',
};

/** Ends the process as a signal would, its files cleaned up and the log told. */
export function dieOfSignal(signal: NodeJS.Signals): void {
  notice(`terminating with signal ${constants.signals[signal]} (${signalText(signal)})`);
  cleanUp();
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

function onSignal(signal: NodeJS.Signals): void {
  // A program with its own handler (a daemon in the foreground that shuts down in order) decides about the exit.
  if (process.listenerCount(signal) > 1) return;
  dieOfSignal(signal);
}

function cleanUp(): void {
  for (const hook of hooks) {
    try {
      hook();
    } catch {
      // The process is ending; the other hooks and files still want their turn.
    }
  }
  hooks.clear();
  for (const path of files) {
    try {
      unlinkSync(path);
    } catch {
      // Gone already.
    }
  }
  files.clear();
}
