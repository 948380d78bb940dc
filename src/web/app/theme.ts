/** Light or dark: as the system says, unless the user has chosen. */
import { useEffect, useState } from 'preact/hooks';

export type Theme = 'light' | 'dark';

const KEY = 'signalbox-theme';
const system = matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

const chosen = (): Theme | null => {
  const kept = localStorage.getItem(KEY);
  return kept === 'light' || kept === 'dark' ? kept : null;
};

export const theme = (): Theme => chosen() ?? (system.matches ? 'dark' : 'light');

export function applyTheme(): void {
  document.documentElement.dataset['theme'] = theme();
  for (const listener of [...listeners]) listener();
}

export function toggleTheme(): void {
  const next = theme() === 'dark' ? 'light' : 'dark';
  const isSystems = next === (system.matches ? 'dark' : 'light');
  if (isSystems) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, next);
  applyTheme();
}

system.addEventListener('change', applyTheme);

export function useTheme(): Theme {
  const [now, set] = useState(theme());
  useEffect(() => {
    const listener = (): void => set(theme());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return now;
}
