/** Where we are, in the address behind `#`: `#/flows?bridge=br0&q=icmp`. Every view can be linked to, and goes back with the browser. */
import { useEffect, useReducer } from 'preact/hooks';

export const PAGES = ['topology', 'caches', 'flows', 'trace', 'journeys', 'database'] as const;
export type Page = (typeof PAGES)[number];

export interface Route {
  readonly page: Page;
  readonly params: URLSearchParams;
}

export function routeOf(hash: string): Route {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
  const page = PAGES.find((name) => name === path) ?? 'topology';
  return { page, params: new URLSearchParams(query) };
}

export function linkTo(page: Page, params: Record<string, string | null | undefined> = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value) query.set(name, value);
  const text = query.toString();
  return `#/${page}${text === '' ? '' : `?${text}`}`;
}

const listeners = new Set<() => void>();
window.addEventListener('hashchange', () => {
  for (const listener of [...listeners]) listener();
});

export function useRoute(): Route {
  const [, bump] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    listeners.add(bump);
    return () => void listeners.delete(bump);
  }, []);
  return routeOf(location.hash);
}

/** Changes parameters of the page we are on without a new entry in the browser's history. */
export function setParams(changes: Record<string, string | null>): void {
  const { page, params } = routeOf(location.hash);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === '') params.delete(name);
    else params.set(name, value);
  }
  history.replaceState(null, '', linkTo(page, Object.fromEntries(params)));
  for (const listener of [...listeners]) listener();
}

export function go(page: Page, params: Record<string, string | null | undefined> = {}): void {
  location.hash = linkTo(page, params);
}
