/** What a command of `ovs-vsctl` is: its syntax, what it reads, and what it does. */
import type { CommandSyntax } from './command-line.ts';
import type { Context } from './context.ts';

/** Columns a command reads or writes, by table; `'all'` for every column. Only these are fetched from the server. */
export type Needs = Readonly<Record<string, readonly string[] | 'all'>>;

export interface Command extends CommandSyntax {
  /** For `--commands`: `!BRIDGE ?KEY`. */
  readonly usage: string;
  /** Whether it may change the database. */
  readonly writes: boolean;
  /** What to fetch; may throw `CommandError` for arguments that no database could make right. */
  needs(args: readonly string[], options: ReadonlyMap<string, string | null>): Needs;
  run(context: Context): void;
  /** Called after a successful commit, to print what only the server knows. */
  finish?(context: Context, realUuid: (temporary: string) => string): string;
}

const MAX_ARGS = 2 ** 31;

export function command(
  name: string,
  argCount: readonly [min: number, max: number | 'any'],
  usage: string,
  options: string,
  rest: Pick<Command, 'needs' | 'run'> & Partial<Pick<Command, 'writes' | 'finish'>>,
): Command {
  return {
    name,
    minArgs: argCount[0],
    maxArgs: argCount[1] === 'any' ? MAX_ARGS : argCount[1],
    usage,
    options: options === '' ? [] : options.split(','),
    writes: rest.writes ?? false,
    needs: rest.needs,
    run: rest.run,
    finish: rest.finish,
  };
}

/** What every command that looks for bridges, ports or interfaces by name has to see. */
export const TOPOLOGY: Needs = {
  Open_vSwitch: ['bridges'],
  Bridge: ['name', 'ports'],
  Port: ['name', 'fake_bridge', 'tag', 'interfaces'],
  Interface: ['name'],
};

export function mergeNeeds(all: Iterable<Needs>): Record<string, readonly string[] | 'all'> {
  const merged: Record<string, readonly string[] | 'all'> = {};
  for (const needs of all) {
    for (const [table, columns] of Object.entries(needs)) {
      const before = merged[table] ?? [];
      merged[table] = columns === 'all' || before === 'all' ? 'all' : [...new Set([...before, ...columns])];
    }
  }
  return merged;
}
