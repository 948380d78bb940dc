/** The locks that clients hold for each other (RFC 7047 4.1.8 to 4.1.10). The first in a lock's queue owns it. */

export interface LockClient {
  /** Told when it comes to own a lock for which it waited. */
  onLocked(lock: string): void;
  /** Told when another took its lock by force; it then waits for it again. */
  onStolen(lock: string): void;
}

export class LockTable {
  private readonly queues = new Map<string, LockClient[]>();

  /** True if the client owns the lock at once. */
  lock(name: string, client: LockClient): boolean {
    const queue = this.queue(name);
    queue.push(client);
    return queue[0] === client;
  }

  steal(name: string, client: LockClient): void {
    const queue = this.queue(name);
    const victim = queue[0];
    queue.unshift(client);
    victim?.onStolen(name);
  }

  unlock(name: string, client: LockClient): void {
    const queue = this.queues.get(name) ?? [];
    const at = queue.indexOf(client);
    if (at < 0) return;
    queue.splice(at, 1);
    if (queue.length === 0) this.queues.delete(name);
    else if (at === 0) queue[0]!.onLocked(name);
  }

  owns(name: string, client: LockClient): boolean {
    return this.queues.get(name)?.[0] === client;
  }

  private queue(name: string): LockClient[] {
    let queue = this.queues.get(name);
    if (queue === undefined) this.queues.set(name, (queue = []));
    return queue;
  }
}
