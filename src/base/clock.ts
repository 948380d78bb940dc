/**
 * Time, injected. Every timer in the switch goes through `clock`, so that `time/stop` can freeze it and `time/warp` can
 * move it, as Open vSwitch's own tests do with theirs.
 *
 * While stopped, `nowMs()` changes only by `warp`. A step of a warp first moves the time, then runs what has become due,
 * in order of due time, each once: what repeats every second runs once in one step of ten seconds, as in the original.
 * Wall-clock time is never warped.
 */
import { registerCommand, UnixctlError } from './commands.ts';

interface Timer {
  due: number;
  readonly order: number;
  readonly fn: () => void;
  readonly periodMs: number;
  readonly keepsAlive: boolean;
  active: boolean;
}

export interface TimerOptions {
  /** Whether a pending timer keeps the process running; true unless said otherwise. */
  readonly keepAlive?: boolean;
}

export class Clock {
  private readonly heap: Timer[] = [];
  private order = 0;
  private stoppedAt: number | null = null;
  private offset = 0;
  private armed: NodeJS.Timeout | null = null;
  private armedDue = Number.POSITIVE_INFINITY;
  private aliveCount = 0;

  /** Monotonic milliseconds, with a fraction. */
  nowMs(): number {
    return this.stoppedAt ?? performance.now() + this.offset;
  }

  /** Milliseconds since 1970. */
  wallMs(): number {
    return Date.now();
  }

  get stopped(): boolean {
    return this.stoppedAt !== null;
  }

  setTimeout(fn: () => void, ms: number, options?: TimerOptions): Disposable {
    return this.add(fn, ms, 0, options);
  }

  /** Runs `fn` every `ms`; what was missed is not made up for. */
  setInterval(fn: () => void, ms: number, options?: TimerOptions): Disposable {
    return this.add(fn, ms, Math.max(ms, 1), options);
  }

  /** Resolves `ms` later. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.setTimeout(resolve, ms));
  }

  /** Freezes time, at a whole millisecond: sums of steps are then exact. */
  stop(): void {
    this.stoppedAt ??= Math.ceil(this.nowMs());
    this.rearm();
  }

  /** Lets time run on from where it stands. */
  resume(): void {
    if (this.stoppedAt === null) return;
    this.offset = this.stoppedAt - performance.now();
    this.stoppedAt = null;
    this.rearm();
  }

  /** Stops time and moves it by `totalMs` in steps of `stepMs`; input that arrived is handled between steps. */
  async warp(totalMs: number, stepMs = totalMs): Promise<void> {
    this.stop();
    for (let left = totalMs; left > 0; left -= stepMs) {
      this.step(Math.min(stepMs, left));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** One step of a warp: moves the time and runs what is due. */
  step(ms: number): void {
    this.stop();
    this.stoppedAt = (this.stoppedAt as number) + ms; // `stop` has just set it.
    this.runDue();
  }

  private add(fn: () => void, ms: number, periodMs: number, options?: TimerOptions): Disposable {
    const keepsAlive = options?.keepAlive ?? true;
    const due = this.nowMs() + Math.max(ms, 0);
    const timer: Timer = { due, order: this.order++, fn, periodMs, keepsAlive, active: true };
    if (keepsAlive) this.aliveCount++;
    this.push(timer);
    if (timer.due < this.armedDue) this.rearm();
    else if (keepsAlive && this.aliveCount === 1) this.armed?.ref();
    return { [Symbol.dispose]: () => this.cancel(timer) };
  }

  private cancel(timer: Timer): void {
    if (!timer.active) return;
    timer.active = false;
    this.released(timer);
    // Cancelled timers leave when they reach the top; many of them at once are swept.
    if (this.heap[0] === timer) this.rearm();
    else if (this.heap.length > 64 && ++this.cancelled > this.heap.length / 2) this.sweep();
  }

  private cancelled = 0;

  private sweep(): void {
    const live = this.heap.filter((timer) => timer.active);
    this.heap.length = 0;
    for (const timer of live) this.push(timer);
    this.cancelled = 0;
  }

  private released(timer: Timer): void {
    if (timer.keepsAlive && --this.aliveCount === 0) this.armed?.unref();
  }

  private rearm(): void {
    while (this.heap.length > 0 && !this.heap[0].active) this.pop();
    if (this.armed) clearTimeout(this.armed);
    this.armed = null;
    this.armedDue = Number.POSITIVE_INFINITY;
    if (this.stopped || this.heap.length === 0) return;
    this.armedDue = this.heap[0].due;
    const ms = Math.min(Math.max(Math.ceil(this.armedDue - this.nowMs()), 0), 0x7fffffff);
    this.armed = setTimeout(() => this.runDue(), ms);
    if (this.aliveCount === 0) this.armed.unref();
  }

  private runDue(): void {
    this.armedDue = Number.NEGATIVE_INFINITY; // no rearming by the functions run below
    const now = this.nowMs();
    const due: Timer[] = [];
    while (this.heap.length > 0 && (!this.heap[0].active || this.heap[0].due <= now)) {
      const timer = this.pop();
      if (timer.active) due.push(timer);
    }
    try {
      for (let timer = due.shift(); timer; timer = due.shift()) this.fire(timer, now);
    } finally {
      for (const timer of due) this.push(timer); // one of them threw
      this.rearm();
    }
  }

  private fire(timer: Timer, now: number): void {
    if (!timer.active) return;
    if (timer.periodMs > 0) {
      timer.due = Math.max(timer.due + timer.periodMs, now + 1e-3);
      if (timer.due < now) timer.due = now + timer.periodMs;
      this.push(timer);
    } else {
      timer.active = false;
      this.released(timer);
    }
    timer.fn();
  }

  private push(timer: Timer): void {
    const heap = this.heap;
    let i = heap.length;
    heap.push(timer);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(timer, heap[parent])) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = timer;
  }

  private pop(): Timer {
    const heap = this.heap;
    const top = heap[0];
    const last = heap.pop() as Timer; // callers have looked at heap[0]
    const n = heap.length;
    if (n > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[i] = heap[child];
        i = child;
      }
      heap[i] = last;
    }
    return top;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

/** The process's clock. */
export const clock = new Clock();

/** `time/stop` and `time/warp`, which daemons offer in simulation only. */
export function registerTimeCommands(): void {
  registerCommand('time/stop', '', 0, 0, () => {
    clock.stop();
    return '';
  });
  registerCommand('time/warp', '[large_msecs] msecs', 1, 2, async (args) => {
    const total = parseMs(args[0]);
    await clock.warp(total, args.length > 1 ? parseMs(args[1]) : total);
    return 'warped';
  });
}

function parseMs(text: string): number {
  const ms = /^\s*[+-]?\d+/.test(text) ? Number.parseInt(text, 10) : 0;
  if (!(ms > 0)) throw new UnixctlError('invalid MSECS');
  return ms;
}
