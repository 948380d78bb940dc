/** The running switch as the dashboard reaches it: its control socket, and whether it answers. */
import { unixctlRequest } from '../base/unixctl-client.ts';
import type { Reach } from './api.ts';

/** A command was refused: the switch is there, and says why not. */
export class Refused extends Error {}

/** The longest that a command takes by itself is a few seconds. */
const ANSWER_MS = 15_000;
/** So many commands without an answer are enough: more are not sent while these wait. */
const MAX_STUCK = 4;

export class SwitchClient {
  readonly target: string;
  private readonly answerMs: number;
  private stuck = 0;
  private reached: Reach = { isUp: false, error: 'not asked yet', since: Date.now() };
  private readonly listeners = new Set<() => void>();

  constructor(target: string, answerMs = ANSWER_MS) {
    this.target = target;
    this.answerMs = answerMs;
  }

  get reach(): Reach {
    return this.reached;
  }

  onReach(listener: () => void): Disposable {
    this.listeners.add(listener);
    return { [Symbol.dispose]: () => void this.listeners.delete(listener) };
  }

  /** Runs a command. Throws `Refused`, or another error when the switch cannot be reached. */
  async ask(command: string, ...args: string[]): Promise<string> {
    let reply: { ok: boolean; text: string };
    try {
      reply = await this.answer(command, args);
    } catch (error) {
      this.note((error as Error).message);
      throw error;
    }
    this.note('');
    if (!reply.ok) throw new Refused(reply.text.trimEnd());
    return reply.text;
  }

  /** A switch may be there and not answer, stopped or stuck. */
  private async answer(command: string, args: readonly string[]): Promise<{ ok: boolean; text: string }> {
    const silence = new Error(`no answer for ${this.answerMs / 1000} s`);
    if (this.stuck >= MAX_STUCK) throw silence;
    let timer: NodeJS.Timeout | undefined;
    let isLate = false;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        isLate = true;
        this.stuck++;
        reject(silence);
      }, this.answerMs);
    });
    const asked = unixctlRequest(this.target, command, args).finally(() => {
      clearTimeout(timer);
      if (isLate) this.stuck--;
    });
    // Nobody waits for it any more once it is late.
    asked.catch(() => {});
    return Promise.race([asked, late]);
  }

  private note(error: string): void {
    const isUp = error === '';
    if (isUp === this.reached.isUp && (isUp || error === this.reached.error)) return;
    const since = isUp === this.reached.isUp ? this.reached.since : Date.now();
    this.reached = { isUp, error, since };
    for (const listener of [...this.listeners]) listener();
  }
}
