/** Arguments of the `journey/…` commands: `--name=value` anywhere among words. */
import { UnixctlError } from '../../base/commands.ts';

export function parseOptions(args: readonly string[]): { options: ReadonlyMap<string, string>; words: string[] } {
  const options = new Map<string, string>();
  const words: string[] = [];
  for (const arg of args) {
    const found = /^--([a-z-]+)(?:=(.*))?$/.exec(arg);
    if (found) options.set(found[1], found[2] ?? '');
    else words.push(arg);
  }
  return { options, words };
}

export function numberOf(options: ReadonlyMap<string, string>, name: string, fallback: number): number {
  const text = options.get(name);
  if (text === undefined) return fallback;
  if (!/^\d+$/.test(text)) throw new UnixctlError(`--${name}: ${text}: not a number`);
  return Number(text);
}
