/** The running switch as the dashboard reaches it: its control socket, and whether it answers. */
import { unixctlRequest } from '../base/unixctl-client.ts';
import type { Reach } from './api.ts';

/** A command was refused: the switch is there, and says why not. */
export class Refused extends Error {}

export class SwitchClient {
  readonly target: string;
  private reached: Reach = { isUp: false, error: 'not asked yet', since: Date.now() };
  private readonly listeners = new Set<() => void>();

  constructor(target: string) {
    this.target = target;
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
      reply = await unixctlRequest(this.target, command, args);
    } catch (error) {
      this.note((error as Error).message);
      throw error;
    }
    this.note('');
    if (!reply.ok) throw new Refused(reply.text.trimEnd());
    return reply.text;
  }

  private note(error: string): void {
    const isUp = error === '';
    if (isUp === this.reached.isUp && (isUp || error === this.reached.error)) return;
    const since = isUp === this.reached.isUp ? this.reached.since : Date.now();
    this.reached = { isUp, error, since };
    for (const listener of [...this.listeners]) listener();
  }
}
