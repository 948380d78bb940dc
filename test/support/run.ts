/** Running programs to their end, and waiting for conditions. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const BIN = join(ROOT, 'bin');

export interface Result {
  readonly stdout: string;
  readonly stderr: string;
  /** The exit status; 128 + number for a signal, as shells say it. */
  readonly status: number;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly input?: string | Uint8Array;
  readonly timeoutMs?: number;
  /** The name that the program sees itself called by; its path unless given. */
  readonly argv0?: string;
}

/** Runs a program. It is killed after the timeout (20 s), and that is an error. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const timeoutMs = options.timeoutMs ?? 20_000;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      ...(options.argv0 === undefined ? {} : { argv0: options.argv0 }),
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (b: Buffer) => out.push(b));
    child.stderr.on('data', (b: Buffer) => err.push(b));
    child.stdin.on('error', () => {}); // it need not read its input
    child.stdin.end(options.input ?? '');
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    const finish = (status: number | null, signal: NodeJS.Signals | null) => {
      clearTimeout(timer);
      child.stdout.destroy();
      child.stderr.destroy();
      const [stdout, stderr] = [Buffer.concat(out).toString(), Buffer.concat(err).toString()];
      const what = `${program} ${args.join(' ')}`;
      if (late) reject(new Error(`${what}: not done after ${timeoutMs} ms\n${stdout}\n${stderr}`));
      else resolve({ stdout, stderr, status: status ?? (signal === null ? 1 : 128 + (SIGNALS[signal] ?? 0)) });
    };
    let exited: [number | null, NodeJS.Signals | null] | null = null;
    child.on('close', finish);
    // A daemon it left behind may hold the pipes open: what has been written when it exits is all.
    child.on('exit', (status, signal) => {
      exited = [status, signal];
      setTimeout(() => exited && child.exitCode !== undefined && finish(...exited), 500).unref();
    });
  });
}

const SIGNALS: Readonly<Record<string, number>> = osConstants.signals;

/** Runs a program that must succeed, and returns its standard output. */
export async function must(program: string, args: readonly string[], options?: RunOptions): Promise<string> {
  const { stdout, stderr, status } = await run(program, args, options);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: exit status ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** Where Debian's programs are, whatever PATH says: `ours` must not be found in their place. */
export function systemProgram(name: string): string | null {
  for (const dir of ['/usr/bin', '/usr/sbin', '/bin', '/sbin']) {
    const path = join(dir, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Next.
    }
  }
  return null;
}

export function haveProgram(name: string): boolean {
  return systemProgram(name) !== null;
}

/** For `{ skip: … }`: false when all programs are there, else what is missing. */
export function missing(...names: string[]): string | false {
  const absent = names.filter((name) => !haveProgram(name));
  return absent.length > 0 && `${absent.join(', ')} not installed`;
}

/** For `{ skip: … }`: false for root, else why not. */
export const notRoot: string | false = process.getuid?.() === 0 ? false : 'needs root';

/**
 * Waits until `condition` holds (returns something truthy) and returns what it returned. An exception counts as "not
 * yet"; the last one is part of the error.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  ms = 10_000,
  what = condition.toString(),
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const deadline = performance.now() + ms;
  let last: unknown;
  for (let pause = 5; ; pause = Math.min(pause * 1.5, 100)) {
    try {
      const value = await condition();
      if (value) return value as Exclude<T, false | null | undefined | 0 | ''>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= deadline) {
      const seen = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`not after ${ms} ms: ${what} (last: ${seen})`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
