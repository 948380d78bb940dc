/**
 * What the slow path remembers of a megaflow it installed: from which flow it was translated, what that touched, and
 * how much of its traffic has been credited. It is the `user` of its `DpFlow`.
 */
import { clock } from '../base/clock.ts';
import type { DpFlow, DpFlowStats, Dpif } from '../dpif/dpif.ts';
import type { FlowKey, FlowMask } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import type { Rule } from './rule.ts';
import type { FlowTable } from './tables.ts';
import { creditEffects } from './xlate/effects.ts';
import type { XlateBridge, XlateEffect, XlateResult } from './xlate/types.ts';

const NO_MACS: readonly string[] = [];
const scratch: DpFlowStats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };

export class Ukey {
  /** Null until installed and after removal. */
  flow: DpFlow | null = null;
  /** The flow it was made from, in slow-path layout. */
  readonly key: FlowKey;
  readonly bridge: XlateBridge;
  mask: FlowMask;
  effects: readonly XlateEffect[] = [];
  hasNormal = false;
  /** What the translation asked MAC tables for. */
  private macs: readonly string[] = [];
  slow = 0;
  /** Tables that the translation looked into. */
  tables: readonly FlowTable[] = [];
  /** A table that was looked into once only, first of all, with `key` as it stands. */
  firstTable: FlowTable | null = null;
  readonly createdMs: number;
  /** Its place in the index of megaflows. */
  slot = -1;
  packets = 0;
  bytes = 0;
  usedMs = 0;
  private lookedMs: number;
  tcpFlags = 0;

  constructor(key: FlowKey, bridge: XlateBridge, result: XlateResult, nowMs: number) {
    this.key = key;
    this.bridge = bridge;
    this.mask = result.mask;
    this.createdMs = nowMs;
    this.lookedMs = nowMs;
    this.take(result);
  }

  /** Remembers what a translation did, `mask` apart: that of the installed megaflow stays. */
  take(result: XlateResult): void {
    this.effects = result.effects;
    this.hasNormal = result.hasNormal;
    this.slow = result.slow;
    const tables: FlowTable[] = [];
    let firstUses = 0;
    let macs: string[] | null = null;
    for (const e of result.effects) {
      if (e.kind === 'mac_lookup') {
        macs ??= [];
        macs.push(e.key);
      }
      if (e.kind !== 'table') continue;
      if (e.table === tables[0]) firstUses++;
      if (!tables.includes(e.table)) tables.push(e.table);
      if (tables.length === 1 && firstUses === 0) firstUses = 1;
    }
    this.tables = tables;
    this.macs = macs ?? NO_MACS;
    const isFresh = this.key.w[1] === 0;
    this.firstTable = isFresh && firstUses === 1 ? tables[0] : null;
  }

  /** Did the translation ask for one of these? */
  asksFor(keys: ReadonlySet<string>): boolean {
    for (let i = 0; i < this.macs.length; i++) if (keys.has(this.macs[i])) return true;
    return false;
  }

  /** Could a packet of this megaflow meet the rule in the table where it is? */
  maybeMeets(table: FlowTable, rule: Rule): boolean {
    if (table !== this.firstTable) return true;
    const { index, mask } = rule.shape;
    const { values } = rule;
    const f = this.key.w;
    const m = this.mask.w;
    for (let j = 0; j < index.length; j++) {
      const i = index[j];
      if (((values[j] ^ f[i]) & mask[j] & m[i]) !== 0 && i !== CONJ_WORD) return false;
    }
    return true;
  }

  /** Credits what the datapath counted since the last time to all that the translation touched. */
  push(dpif: Dpif): void {
    if (!this.flow) return;
    dpif.flowStats(this.flow, scratch);
    const packets = scratch.packets - this.packets;
    const bytes = scratch.bytes - this.bytes;
    this.packets = scratch.packets;
    this.bytes = scratch.bytes;
    this.tcpFlags |= scratch.tcpFlags;
    const now = clock.nowMs();
    // The packets came after the last look, whatever clock the thread has that counted them.
    if (packets > 0) this.usedMs = Math.min(now, Math.max(scratch.usedMs, this.lookedMs));
    this.lookedMs = now;
    if (packets > 0) creditEffects(this.effects, { packets, bytes, usedMs: this.usedMs, tcpFlags: scratch.tcpFlags });
  }
}

/** `conj_id` of a flow is set only while a conjunctive match is tried. */
const CONJ_WORD = OFS.conj_id >> 2;
