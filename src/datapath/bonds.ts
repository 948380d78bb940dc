/**
 * Bonds whose members the fast path chooses itself (`lb_output`): 256 words of port numbers, picked by the last bits of a packet's
 * hash, and behind them 256 words of bytes sent. Everybody counts there atomically; the counters wrap, and whoever
 * reads them takes differences.
 *
 * A table stays where it is for as long as the datapath lives: a megaflow may outlive its bond for a moment.
 */
import type { Arena } from '../base/arena.ts';

export const BOND_BUCKETS = 256;
const NO_PORT = -1;

/** The main thread's side. */
export class BondTables {
  private readonly arena: Arena;
  private readonly tables = new Map<number, number>();
  private readonly spare: number[] = [];
  private readonly seen = new Map<number, Int32Array>();

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /** The word of a bond's table, 0 when there is no such bond. */
  at(id: number): number {
    return this.tables.get(id) ?? 0;
  }

  /** `ports` has a port for each bucket, null for none. False without memory. */
  set(id: number, ports: readonly (number | null)[]): boolean {
    const { i32 } = this.arena;
    let at = this.at(id);
    if (at === 0) {
      at = this.spare.pop() ?? this.arena.alloc(2 * BOND_BUCKETS * 4) >> 2;
      if (at <= 0) return false;
      i32.fill(0, at + BOND_BUCKETS, at + 2 * BOND_BUCKETS);
      this.tables.set(id, at);
      this.seen.set(id, new Int32Array(BOND_BUCKETS));
    }
    for (let i = 0; i < BOND_BUCKETS; i++) Atomics.store(i32, at + i, ports[i] ?? NO_PORT);
    return true;
  }

  delete(id: number): void {
    const at = this.tables.get(id);
    if (at === undefined) return;
    this.tables.delete(id);
    this.seen.delete(id);
    this.arena.i32.fill(NO_PORT, at, at + BOND_BUCKETS);
    this.spare.push(at);
  }

  /** Bytes by bucket since the last time. */
  bytes(id: number): number[] {
    const at = this.at(id);
    const seen = this.seen.get(id);
    if (at === 0 || !seen) return [];
    return Array.from(seen, (before, i) => {
      const now = Atomics.load(this.arena.i32, at + BOND_BUCKETS + i);
      seen[i] = now;
      return (now - before) >>> 0;
    });
  }

  /** Each bond with the port of each bucket. */
  *list(): Generator<{ readonly id: number; readonly ports: readonly number[] }> {
    for (const [id, at] of this.tables) {
      yield { id, ports: [...this.arena.i32.subarray(at, at + BOND_BUCKETS)] };
    }
  }
}
