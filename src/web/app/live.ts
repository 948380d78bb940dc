/**
 * What the pages know of the switch: one stream of JSON lines for all topics that something on the page looks at.
 *
 * When the set of topics changes, a new stream is opened beside the old one, which goes when the new one has begun: what is on
 * the screen never empties in between. A hidden page lets its stream go; a lost one is tried again.
 */
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { LiveMessage } from '../api.ts';

type Listener = (data: unknown) => void;

export type Link = 'connecting' | 'open' | 'lost' | 'locked';

const topics = new Map<string, Set<Listener>>();
const linkListeners = new Set<() => void>();
let link: Link = 'connecting';
let linkError = '';
let linkSince = Date.now();
let current: AbortController | null = null;
let openedFor = '';
let planned: ReturnType<typeof setTimeout> | undefined;

const RETRY_MS = 1000;
/** The server pulses every five seconds. */
const SILENCE_MS = 15_000;
const HIDDEN_MS = 5000;

function setLink(to: Link, error = ''): void {
  if (to === link && error === linkError) return;
  if (to !== link) linkSince = Date.now();
  link = to;
  linkError = error;
  for (const listener of [...linkListeners]) listener();
}

function plan(ms: number): void {
  clearTimeout(planned);
  planned = setTimeout(() => void open(), ms);
}

async function open(): Promise<void> {
  if (document.hidden || link === 'locked') return;
  const wanted = [...topics.keys()].sort();
  openedFor = wanted.join('\n');
  const old = current;
  if (wanted.length === 0) {
    current = null;
    old?.abort();
    return;
  }
  const mine = new AbortController();
  current = mine;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => mine.abort(), SILENCE_MS);
  };
  try {
    alive();
    const query = new URLSearchParams(wanted.map((topic) => ['topic', topic]));
    const response = await fetch(`/api/live?${query}`, { signal: mine.signal });
    if (response.status === 401) return setLink('locked');
    if (!response.ok || response.body === null) throw new Error(await errorOf(response));
    let isFirst = true;
    for await (const line of lines(response.body)) {
      alive();
      if (isFirst) old?.abort();
      isFirst = false;
      if (current !== mine) break;
      setLink('open');
      if (line === '') continue;
      const { topic, data } = JSON.parse(line) as LiveMessage;
      for (const listener of [...(topics.get(topic) ?? [])]) listener(data);
    }
    throw new Error('the dashboard closed the connection');
  } catch (error) {
    if (current !== mine) return;
    old?.abort();
    current = null;
    openedFor = '';
    if (document.hidden) return;
    const text = (error as Error).name === 'AbortError' ? 'no answer' : (error as Error).message;
    setLink('lost', text);
    plan(RETRY_MS);
  } finally {
    clearTimeout(timer);
  }
}

export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    // Large pictures come in many parts: joined only at their end.
    const end = value.lastIndexOf('\n');
    if (end < 0) {
      rest += value;
      continue;
    }
    const whole = (rest + value.slice(0, end)).split('\n');
    rest = value.slice(end + 1);
    yield* whole;
  }
}

export async function errorOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    return (JSON.parse(text) as { error: string }).error;
  } catch {
    return text || response.statusText;
  }
}

let hiding: ReturnType<typeof setTimeout> | undefined;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiding);
  if (!document.hidden) {
    if (current === null) plan(0);
    return;
  }
  hiding = setTimeout(() => {
    const old = current;
    current = null;
    openedFor = '';
    old?.abort();
  }, HIDDEN_MS);
});

export function subscribe(topic: string, listener: Listener): () => void {
  let listeners = topics.get(topic);
  if (!listeners) topics.set(topic, (listeners = new Set()));
  listeners.add(listener);
  // Always a new stream: whoever comes later needs all there is, too.
  plan(0);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    topics.delete(topic);
    setTimeout(() => {
      if ([...topics.keys()].sort().join('\n') !== openedFor) plan(0);
    });
  };
}

/** The last that a topic said; undefined until it has. What an earlier topic said stays until the new one speaks. */
export function useTopic<T>(topic: string): T | undefined {
  const [data, setData] = useState<T>();
  useEffect(() => subscribe(topic, (value) => setData(() => value as T)), [topic]);
  return data;
}

/** A topic that says what changed: `take` works it into a state of the caller's own. Returns how often that happened. */
export function useChanges<T>(topic: string | null, take: (data: T) => void): number {
  const [version, bump] = useReducer<number, void>((n) => n + 1, 0);
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    if (topic === null) return;
    return subscribe(topic, (data) => {
      latest.current(data as T);
      bump();
    });
  }, [topic]);
  return version;
}

export function useLink(): { link: Link; error: string; since: number } {
  const [, bump] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    linkListeners.add(bump);
    return () => void linkListeners.delete(bump);
  }, []);
  return { link, error: linkError, since: linkSince };
}

/** Gives the token once; the server leaves it in a cookie. */
export async function login(token: string): Promise<string | null> {
  const response = await fetch('/api/login', post({ token }));
  if (!response.ok) return errorOf(response);
  link = 'connecting';
  plan(0);
  for (const listener of [...linkListeners]) listener();
  return null;
}

export const post = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});
