/** What the program keeps in memory, in the units of those who keep it: `memory/show`. */
import { registerCommand } from './commands.ts';

type Reporter = () => Record<string, number>;

const reporters = new Set<Reporter>();

/** Adds a source of `name:count` pairs; equal names add up. */
export function memoryReporter(fn: Reporter): Disposable {
  reporters.add(fn);
  return { [Symbol.dispose]: () => void reporters.delete(fn) };
}

export function registerMemoryCommands(): void {
  registerCommand('memory/show', '', 0, 0, (_args, { format }) => {
    const usage = memoryUsage();
    if (format === 'json') return JSON.stringify(Object.fromEntries(usage));
    return usage.length === 0 ? '' : `${usage.map(([name, count]) => `${name}:${count}`).join(' ')}\n`;
  });
}

function memoryUsage(): [string, number][] {
  const totals = new Map<string, number>();
  for (const fn of reporters) {
    for (const [name, count] of Object.entries(fn())) totals.set(name, (totals.get(name) ?? 0) + count);
  }
  return [...totals].sort(([a], [b]) => (a < b ? -1 : 1));
}
