/**
 * A rule of a flow table. While it is in a table its match, priority and table never change; actions, cookie and
 * timeouts may (`modify`). What it once was stays readable after its removal, for flow-removed messages.
 */
import { Match } from '../flow/match.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import type { FlowModFlags } from '../openflow/messages.ts';
import { ClassifierRule, type ConjunctionClause } from './subtable.ts';

/** Rules above OpenFlow's 16-bit priorities belong to the switch itself (fail-open, in-band) and are not shown. */
export const MAX_PRIORITY = 0xffff;

export const NO_FLAGS: FlowModFlags = {
  sendFlowRem: false,
  checkOverlap: false,
  resetCounts: false,
  noPacketCounts: false,
  noByteCounts: false,
};

export interface RuleInit {
  readonly match: Match;
  readonly priority: number;
  readonly table: number;
  readonly actions: readonly Ofpact[];
  readonly nowMs: number;
  readonly cookie?: bigint;
  /** Seconds, 0 for none. */
  readonly idleTimeout?: number;
  readonly hardTimeout?: number;
  readonly importance?: number;
  readonly flags?: FlowModFlags;
}

export class Rule extends ClassifierRule {
  readonly table: number;
  cookie: bigint;
  actions: readonly Ofpact[];
  idleTimeout: number;
  hardTimeout: number;
  importance: number;
  flags: FlowModFlags;
  readonly createdMs: number;
  modifiedMs: number;
  /** When a packet last met it; creation at first. */
  usedMs: number;
  packets = 0;
  bytes = 0;
  /** No longer in a table. */
  removed = false;

  constructor(init: RuleInit) {
    super(init.match, init.priority);
    this.table = init.table;
    this.cookie = init.cookie ?? 0n;
    this.actions = init.actions;
    this.idleTimeout = init.idleTimeout ?? 0;
    this.hardTimeout = init.hardTimeout ?? 0;
    this.importance = init.importance ?? 0;
    this.flags = init.flags ?? NO_FLAGS;
    this.createdMs = init.nowMs;
    this.modifiedMs = init.nowMs;
    this.usedMs = init.nowMs;
    this.conjunctions = conjunctionsOf(init.actions);
  }

  get isHidden(): boolean {
    return this.priority > MAX_PRIORITY;
  }

  /** A fresh copy: rules keep their match in a compact form. */
  get match(): Match {
    return this.writeMatch(new Match());
  }

  /** The match written into `match`, which is all zeros. */
  writeMatch(match: Match): Match {
    const { index, mask } = this.shape;
    for (let i = 0; i < index.length; i++) {
      match.key.w[index[i]] = this.values[i];
      match.mask.w[index[i]] = mask[i];
    }
    return match;
  }

  /** Counts packets that met this rule. */
  credit(packets: number, bytes: number, usedMs: number): void {
    this.packets += packets;
    this.bytes += bytes;
    if (usedMs > this.usedMs) this.usedMs = usedMs;
  }

  /** Shortens the timeouts, as `fin_timeout` does when a connection closes. 0 leaves one alone. */
  reduceTimeouts(idle: number, hard: number, nowMs: number): void {
    if (idle > 0 && (this.idleTimeout === 0 || this.idleTimeout > idle)) this.idleTimeout = idle;
    if (hard > 0 && (this.hardTimeout === 0 || this.hardTimeout > hard)) {
      this.hardTimeout = hard;
      this.modifiedMs = Math.min(this.modifiedMs, nowMs);
    }
  }

  /** Which timeout has run out, if any. */
  expired(nowMs: number): 'idle' | 'hard' | null {
    if (this.hardTimeout > 0 && nowMs >= this.modifiedMs + this.hardTimeout * 1000) return 'hard';
    if (this.idleTimeout > 0 && nowMs >= this.usedMs + this.idleTimeout * 1000) return 'idle';
    return null;
  }

  /** Does some action, at any depth, send to this port? `null` asks nothing. */
  outputsTo(port: number | null, group: number | null): boolean {
    return (port === null || outputs(this.actions, port)) && (group === null || usesGroup(this.actions, group));
  }
}

/** A rule whose actions are `conjunction`s satisfies clauses of conjunctive matches. */
export function conjunctionsOf(actions: readonly Ofpact[]): readonly ConjunctionClause[] | null {
  const found = actions.filter((a) => a.kind === 'conjunction');
  return found.length > 0 ? found : null;
}

/** The first meter that packets of a rule go through. */
export function meterOf(actions: readonly Ofpact[]): number | null {
  return actions.find((a) => a.kind === 'meter')?.meterId ?? null;
}

function outputs(actions: readonly Ofpact[], port: number): boolean {
  return actions.some((a) => {
    switch (a.kind) {
      case 'output':
      case 'output_trunc':
      case 'enqueue':
        return a.port === port;
      case 'controller':
        return port === 0xfffd;
      case 'clone':
      case 'write_actions':
        return outputs(a.actions, port);
      default:
        return false;
    }
  });
}

function usesGroup(actions: readonly Ofpact[], group: number): boolean {
  return actions.some((a) =>
    a.kind === 'group' ? a.groupId === group : a.kind === 'write_actions' && usesGroup(a.actions, group),
  );
}
