/** An OpenFlow match: `key` is always zero where `mask` is. */

import { FlowKey, type FlowMask } from './key.ts';
import { FLOW_WORDS } from './layout.ts';

/** Matches of messages that have been dealt with: one takes as long to make as a flow-mod takes to read. */
const spare: Match[] = [];
const MAX_SPARE = 1024;

export class Match {
  readonly key: FlowKey;
  readonly mask: FlowMask;

  constructor(key: FlowKey = new FlowKey(), mask: FlowMask = new FlowKey()) {
    this.key = key;
    this.mask = mask;
  }

  /** A match of nothing; whoever is through with it may `release` it. */
  static lease(): Match {
    return spare.pop() ?? new Match();
  }

  /** Gives a leased match back. Nobody may keep it or what it holds. */
  release(): void {
    if (spare.length >= MAX_SPARE) return;
    this.key.clear();
    this.mask.clear();
    spare.push(this);
  }

  clone(): Match {
    return new Match(this.key.clone(), this.mask.clone());
  }

  equals(other: Match): boolean {
    return this.key.equals(other.key) && this.mask.equals(other.mask);
  }

  /** Does this match let `flow` through? */
  matches(flow: FlowKey): boolean {
    const k = this.key.w;
    const m = this.mask.w;
    const f = flow.w;
    for (let i = 0; i < FLOW_WORDS; i++) if (((f[i] ^ k[i]) & m[i]) !== 0) return false;
    return true;
  }

  /** Is every packet that this matches also matched by `criteria` (a non-strict flow-mod's selection)? */
  isSubsetOf(criteria: Match): boolean {
    const k = this.key.w;
    const m = this.mask.w;
    const ck = criteria.key.w;
    const cm = criteria.mask.w;
    for (let i = 0; i < FLOW_WORDS; i++) if ((cm[i] & ~m[i]) !== 0 || ((k[i] ^ ck[i]) & cm[i]) !== 0) return false;
    return true;
  }

  /** Is there a packet that both match? */
  overlaps(other: Match): boolean {
    const k = this.key.w;
    const m = this.mask.w;
    const ok = other.key.w;
    const om = other.mask.w;
    for (let i = 0; i < FLOW_WORDS; i++) if (((k[i] ^ ok[i]) & m[i] & om[i]) !== 0) return false;
    return true;
  }
}
