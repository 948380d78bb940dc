/**
 * Fairness: what one turn of the event loop brings is worked on for so long only; what is left of it goes on in the next turn, after others,
 * whose requests may have come in between, have been heard.
 */

const TURN_MS = 15;

export class Turns {
  /** When this turn's work began; 0 before it. */
  private started = 0;
  private waiting: (() => void)[] = [];

  /** Whether it is time for others. */
  get isOver(): boolean {
    const now = performance.now();
    if (this.started === 0) {
      this.started = now;
      setImmediate(() => this.next());
    }
    return now - this.started > TURN_MS;
  }

  /** Calls back in a later turn; to be called when this one is over. */
  defer(goOn: () => void): void {
    this.waiting.push(goOn);
  }

  private next(): void {
    this.started = 0;
    const { waiting } = this;
    this.waiting = [];
    for (const [i, goOn] of waiting.entries()) {
      if (this.isOver) {
        this.waiting.unshift(...waiting.slice(i));
        return;
      }
      goOn();
    }
  }
}
