/**
 * A feed is one thing that browsers look at, fetched once for all of them and only while somebody looks: the first subscriber
 * starts it, the last one's leaving stops it.
 *
 * A subscriber hears all there is first (`snapshot`), then every change.
 */

export type Listener = (data: unknown) => void;

export interface Source {
  /** All there is; undefined while nothing is known yet. */
  snapshot(): unknown;
  close(): void;
}

export class Feed {
  private readonly listeners = new Set<Listener>();
  private source: Source | null = null;
  private readonly open: (publish: Listener) => Source;

  constructor(open: (publish: Listener) => Source) {
    this.open = open;
  }

  get isOpen(): boolean {
    return this.source !== null;
  }

  subscribe(listener: Listener): Disposable {
    let hasHeard = false;
    const hear: Listener = (data) => {
      hasHeard = true;
      listener(data);
    };
    this.listeners.add(hear);
    this.source ??= this.open((data) => {
      for (const each of this.listeners) each(data);
    });
    const now = hasHeard ? undefined : this.source.snapshot();
    if (now !== undefined) hear(now);
    return {
      [Symbol.dispose]: () => {
        if (!this.listeners.delete(hear) || this.listeners.size > 0) return;
        this.source?.close();
        this.source = null;
      },
    };
  }
}

const AFTER_FAILURE_MS = 1000;
/** However long it takes, what is seen is no older. */
const MAX_PAUSE_MS = 20_000;

/**
 * Runs `turn` again and again, at least `ms` apart, until closed. What makes the switch work is asked the less often the longer it
 * takes: `share` is the part of the time that it may take. A turn that fails is tried again.
 */
export function repeat(
  { ms, share = 1 }: { ms: number; share?: number },
  turn: () => Promise<void>,
  failed: (error: Error) => void,
): { close(): void } {
  let isClosed = false;
  let timer: NodeJS.Timeout | null = null;
  const run = async (): Promise<void> => {
    const began = performance.now();
    let pause = ms;
    try {
      await turn();
    } catch (error) {
      pause = Math.max(ms, AFTER_FAILURE_MS);
      if (!isClosed) failed(error as Error);
    }
    if (isClosed) return;
    const took = performance.now() - began;
    timer = setTimeout(() => void run(), Math.max(pause - took, Math.min(took / share - took, MAX_PAUSE_MS), 20));
  };
  void run();
  return {
    close() {
      isClosed = true;
      if (timer) clearTimeout(timer);
    },
  };
}
