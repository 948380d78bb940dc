/**
 * The main thread's half of a megaflow. There may be a hundred thousand, so it keeps nothing that the arena has: the key is read
 * from the flow's entry when somebody asks, the mask is one for all flows that have it, and so are the actions.
 */
import type { Arena } from '../base/arena.ts';
import { FLOW_KEY } from '../datapath/flow-entry.ts';
import type { PmdHost } from '../datapath/pmd-host.ts';
import { type DpAction, sameActions } from '../flow/dp-actions.ts';
import { FlowKey, type FlowMask } from '../flow/key.ts';
import type { DpFlow, DpFlowStats } from './dpif.ts';
import { flowUfid } from './ufid.ts';

/** One PMD's half of a flow: its entry in the arena. */
export interface FlowPart {
  readonly host: PmdHost;
  readonly entry: number;
  readonly maskId: number;
  placed: PlacedActions;
}

export class NetdevFlow implements DpFlow {
  readonly pmdId: number;
  actions: readonly DpAction[];
  user: unknown;
  parts: readonly FlowPart[];
  /** Of parts whose memory is gone. */
  past: DpFlowStats | null = null;
  private id: string | null = null;
  /** While no entry has them. */
  private kept: { readonly key: FlowKey; readonly mask: FlowMask } | null = null;

  constructor(parts: readonly FlowPart[], actions: readonly DpAction[], pmdId: number, user: unknown) {
    this.parts = parts;
    this.actions = actions;
    this.pmdId = pmdId;
    this.user = user;
  }

  /** A new key each time. */
  get key(): FlowKey {
    if (this.kept !== null) return this.kept.key.clone();
    const { host, entry, maskId } = this.parts[0];
    const { i32 } = host.arena;
    const key = new FlowKey();
    const words = host.maskWordsOf(maskId);
    for (let j = 0; j < words.length; j++) key.w[words[j]] = i32[entry + FLOW_KEY + j];
    return key;
  }

  /** Shared by all flows that have it: not to be changed. */
  get mask(): FlowMask {
    const { kept, parts } = this;
    return kept === null ? parts[0].host.maskOf(parts[0].maskId) : kept.mask;
  }

  get ufid(): string {
    this.id ??= flowUfid(this.key, this.mask);
    return this.id;
  }

  /** The entries' memory goes, or goes to others. */
  keep(): void {
    this.kept ??= { key: this.key, mask: this.mask.clone() };
  }

  moveTo(parts: readonly FlowPart[]): void {
    this.parts = parts;
    if (parts.length > 0) this.kept = null;
  }
}

/** Actions where the fast path runs them, for all flows that do the same. */
export interface PlacedActions {
  readonly actions: readonly DpAction[];
  /** Word index and number of words. */
  readonly at: number;
  readonly words: number;
  /** Port when all they do is one output, else -1. */
  readonly out: number;
  /** What the code names in this thread: such actions are nobody else's. */
  readonly userspaceIds: readonly number[];
  readonly name: string;
  users: number;
}

export class ActionTable {
  private readonly arena: Arena;
  private readonly byCode = new Map<string, PlacedActions[]>();

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /** `code` is what `actions` are for the fast path. One user more; null when memory is out. */
  place(
    actions: readonly DpAction[],
    code: readonly number[],
    out: number,
    userspaceIds: readonly number[],
  ): PlacedActions | null {
    const name = code.join();
    const alike = this.byCode.get(name) ?? [];
    const known = userspaceIds.length > 0 ? undefined : alike.find((p) => sameActions(p.actions, actions));
    if (known) {
      known.users++;
      return known;
    }
    const bytes = this.arena.alloc(code.length * 4 + 4);
    if (bytes < 0) return null;
    this.arena.i32.set(code, bytes >> 2);
    const placed = { actions, at: bytes >> 2, words: code.length, out, userspaceIds, name, users: 1 };
    if (userspaceIds.length === 0) this.byCode.set(name, [...alike, placed]);
    return placed;
  }

  /** One user less; true when that was the last and the memory is free again. */
  release(placed: PlacedActions): boolean {
    if (--placed.users > 0) return false;
    this.arena.free(placed.at << 2, placed.words * 4 + 4);
    const others = this.byCode.get(placed.name)?.filter((p) => p !== placed) ?? [];
    if (others.length > 0) this.byCode.set(placed.name, others);
    else this.byCode.delete(placed.name);
    return true;
  }
}
