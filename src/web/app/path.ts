/** The way that the flow tables draw over themselves: of the last journey or trace that was sent there. */
import type { PathStep } from '../trace-text.ts';

export interface Path {
  readonly title: string;
  readonly steps: readonly PathStep[];
}

const KEY = 'signalbox-path';

export function keepPath(path: Path): void {
  sessionStorage.setItem(KEY, JSON.stringify(path));
}

export function keptPath(): Path | null {
  const text = sessionStorage.getItem(KEY);
  return text === null ? null : (JSON.parse(text) as Path);
}

export function dropPath(): void {
  sessionStorage.removeItem(KEY);
}
