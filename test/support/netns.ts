/**
 * Network namespaces and veth pairs for tests, with names no other test has, that go away whatever happens to the test:
 * disposal removes them, and so does the end of the test's process.
 */
import { spawnSync } from 'node:child_process';
import { must, type Result, type RunOptions, run } from './run.ts';

const alive = new Set<string>();
let serial = 0;
let hooked = false;

/** A name of at most 15 characters (interfaces) that is unique on this machine. */
export function uniqueName(prefix: string): string {
  return `${prefix}${process.pid.toString(36)}${(serial++).toString(36)}`.slice(0, 15);
}

function removeAtExit(command: string): void {
  alive.add(command);
  if (hooked) return;
  hooked = true;
  process.on('exit', () => {
    for (const line of alive) spawnSync('ip', line.split(' '), { stdio: 'ignore' });
  });
}

export class Netns implements AsyncDisposable {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** A new namespace with its loopback up. */
  static async create(prefix = 'sbn'): Promise<Netns> {
    const ns = new Netns(uniqueName(prefix));
    await must('ip', ['netns', 'add', ns.name]);
    removeAtExit(`netns del ${ns.name}`);
    await ns.must('ip', 'link', 'set', 'lo', 'up');
    return ns;
  }

  /** Runs a command inside. */
  exec(program: string, ...args: string[]): Promise<Result> {
    return this.run([program, ...args]);
  }

  run(command: readonly string[], options?: RunOptions): Promise<Result> {
    return run('ip', ['netns', 'exec', this.name, ...command], options);
  }

  /** Runs a command inside that must succeed, and returns its standard output. */
  must(program: string, ...args: string[]): Promise<string> {
    return must('ip', ['netns', 'exec', this.name, program, ...args]);
  }

  /** The words before a command that runs it inside, for `spawn`. */
  prefix(): string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    alive.delete(`netns del ${this.name}`);
    await run('ip', ['netns', 'del', this.name]);
  }
}

export interface Veth extends AsyncDisposable {
  /** The end in the root namespace, for a port of the switch. */
  readonly outer: string;
  /** The end inside. */
  readonly inner: string;
}

/** A veth pair, up at both ends, its inner end in `ns` and with `address` (`10.0.0.1/24`) if given. */
export async function veth(ns: Netns, address?: string, inner = 'eth0'): Promise<Veth> {
  const outer = uniqueName('sbv');
  const peer = uniqueName('sbp');
  await must('ip', ['link', 'add', outer, 'type', 'veth', 'peer', 'name', peer]);
  removeAtExit(`link del ${outer}`);
  await must('ip', ['link', 'set', peer, 'netns', ns.name, 'name', inner]);
  await must('ip', ['link', 'set', outer, 'up']);
  if (address) await ns.must('ip', 'addr', 'add', address, 'dev', inner, ...(address.includes(':') ? ['nodad'] : []));
  await ns.must('ip', 'link', 'set', inner, 'up');
  return {
    outer,
    inner,
    async [Symbol.asyncDispose]() {
      alive.delete(`link del ${outer}`);
      await run('ip', ['link', 'del', outer]);
    },
  };
}
