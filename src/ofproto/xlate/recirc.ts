/**
 * Recirculation ids: where a translation stops because the rest depends on what the datapath will find out (conntrack,
 * the header behind an MPLS label, a hash), the rest is frozen under a number. When the packet comes back with that
 * `recirc_id`, translation thaws it and goes on. Packets for controllers find their metadata in the same way.
 *
 * Equal states get the same id, so that megaflows made twice are equal. Id 0 means "not recirculated".
 */
import type { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, FLOW_WORDS, OFS } from '../../flow/layout.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import type { XlateBridge } from './types.ts';

export interface FrozenState {
  readonly bridge: XlateBridge;
  /** Table and cookie of the rule that was at work. */
  readonly table: number;
  readonly cookie: bigint;
  /** Table to look up on return, unless there are `actions` to carry on with; null for none. */
  readonly resume: number | null;
  /** The in_port of OpenFlow and words `DP_WORDS…` of the flow: metadata and registers. */
  readonly inPort: number;
  readonly registers: Int32Array;
  readonly stack: readonly Uint8Array[];
  /** What was left to do. */
  readonly actions: readonly Ofpact[];
  readonly actionSet: readonly Ofpact[];
  readonly conntracked: boolean;
  /** Mirrors of the bridge that have had their copy. */
  readonly mirrored?: number;
  /** Of a `controller` action. */
  readonly userdata: Uint8Array | null;
  /** How many recirculations led here. Not what a state is, so equal states that were reached otherwise are still equal. */
  readonly hops?: number;
}

/**
 * A table that recirculates into itself and leaves a little more to do each time would never come to an end: every round is a
 * state of its own, a miss, and an upcall. No sensible pipeline recirculates a packet this often.
 */
export const MAX_HOPS = 64;

export const freezeRegisters = (flow: FlowKey): Int32Array => flow.w.slice(DP_WORDS, FLOW_WORDS);

export function thawRegisters(state: FrozenState, flow: FlowKey): void {
  flow.w.set(state.registers, DP_WORDS);
  flow.set32(OFS.in_port, state.inPort);
}

export class RecircTable {
  private readonly states = new Map<number, FrozenState>();
  private readonly ids = new Map<string, number>();
  private readonly keys = new Map<number, string>();
  /** Handed out since the last `retain`: the packet or megaflow that will carry the id may not be there yet. */
  private readonly recent = new Set<number>();
  private readonly pinned = new Set<number>();
  private next = 1;

  /** The id of this state, a new one if there is none yet. */
  allocate(state: FrozenState): number {
    const key = stateKey(state);
    const known = this.ids.get(key);
    if (known !== undefined) {
      this.recent.add(known);
      return known;
    }
    while (this.next === 0 || this.states.has(this.next)) this.next = (this.next + 1) >>> 0;
    const id = this.next++;
    this.states.set(id, state);
    this.ids.set(key, id);
    this.keys.set(id, key);
    this.recent.add(id);
    return id;
  }

  /** An id that stays until `unpin`, whether or not a megaflow uses it. */
  allocatePinned(state: FrozenState): number {
    const id = this.allocate(state);
    this.pinned.add(id);
    return id;
  }

  unpin(id: number): void {
    this.pinned.delete(id);
  }

  lookup(id: number): FrozenState | undefined {
    return this.states.get(id);
  }

  /** Forgets all ids but those still in use by a megaflow, in key or actions, and those handed out since last time. */
  retain(used: ReadonlySet<number>): void {
    for (const [id, key] of this.keys) {
      if (used.has(id) || this.recent.has(id) || this.pinned.has(id)) continue;
      this.states.delete(id);
      this.ids.delete(key);
      this.keys.delete(id);
    }
    this.recent.clear();
  }

  get size(): number {
    return this.states.size;
  }
}

const bridgeIds = new WeakMap<XlateBridge, number>();
let lastBridgeId = 0;

function stateKey(s: FrozenState): string {
  let bridge = bridgeIds.get(s.bridge);
  if (bridge === undefined) {
    bridge = ++lastBridgeId;
    bridgeIds.set(s.bridge, bridge);
  }
  return JSON.stringify(
    [
      bridge,
      s.table,
      s.cookie,
      s.resume,
      s.inPort,
      s.registers.join(),
      s.stack,
      s.actions,
      s.actionSet,
      s.conntracked,
      s.mirrored ?? 0,
      s.userdata,
    ],
    (_, value: unknown) =>
      typeof value === 'bigint' ? `n${value}` : value instanceof Uint8Array ? `b${value.join()}` : value,
  );
}
