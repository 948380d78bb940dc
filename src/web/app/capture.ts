/** The capture of journeys that the page runs, and the stories that it has heard. */
import type { Story } from '../../ofproto/journey/story.ts';
import { bytesOfHex, summary } from '../headers.ts';
import { errorOf, lines } from './live.ts';

const KEPT = 2000;

interface Counts {
  readonly told: number;
  readonly lost: number;
  readonly untold: number;
}

/** One capture for the whole page: it goes on while other pages are looked at, and what it heard stays. */
export class Capture {
  stories: { readonly story: Story; readonly text: string }[] = [];
  counts: Counts = { told: 0, lost: 0, untold: 0 };
  error = '';
  isRunning = false;
  private abort: AbortController | null = null;
  private readonly listeners = new Set<() => void>();

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }
  private told(): void {
    for (const listener of [...this.listeners]) listener();
  }

  async start(query: URLSearchParams): Promise<void> {
    this.stop();
    const mine = new AbortController();
    this.abort = mine;
    this.stories = [];
    this.counts = { told: 0, lost: 0, untold: 0 };
    this.error = '';
    this.isRunning = true;
    this.told();
    try {
      query.set('counts', '1');
      const response = await fetch(`/api/journeys?${query}`, { signal: mine.signal });
      if (!response.ok || response.body === null) throw new Error(await errorOf(response));
      for await (const line of lines(response.body)) {
        if (mine.signal.aborted) return;
        if (line === '') continue;
        this.take(JSON.parse(line) as Story | { counts: Counts });
      }
      if (this.abort === mine && !mine.signal.aborted) throw new Error('the capture has ended: the switch is gone');
    } catch (error) {
      if (this.abort !== mine || mine.signal.aborted) return;
      this.error = (error as Error).message;
      this.isRunning = false;
      this.told();
    }
  }

  private take(item: Story | { counts: Counts }): void {
    if ('counts' in item) this.counts = item.counts;
    else {
      this.stories.push({ story: item, text: summary(bytesOfHex(item.packet)) });
      if (this.stories.length > KEPT) this.stories.splice(0, this.stories.length - KEPT);
    }
    this.told();
  }

  /** A story from elsewhere, to be opened like those that were heard. */
  add(story: Story): void {
    if (!this.stories.some((known) => known.story.journey === story.journey)) this.take(story);
  }

  stop(): void {
    this.abort?.abort();
    this.abort = null;
    this.isRunning = false;
    this.told();
  }
}

export const capture = new Capture();
