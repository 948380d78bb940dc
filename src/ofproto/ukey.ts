/**
 * What the slow path remembers of a megaflow it installed: from which flow it was translated, what that touched, and
 * how much of its traffic has been credited. It is the `user` of its `DpFlow`.
 */
import { clock } from '../base/clock.ts';
import type { DpFlow, DpFlowStats, Dpif } from '../dpif/dpif.ts';
import { FlowKey, type FlowMask } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { type PackedKey, packKey, unpackKey } from '../flow/packed-key.ts';
import type { Rule } from './rule.ts';
import type { FlowTable } from './tables.ts';
import { creditEffects } from './xlate/effects.ts';
import type { XlateBridge, XlateEffect, XlateResult } from './xlate/types.ts';

const NO_MACS: readonly string[] = [];
const NO_MASK: FlowMask = new FlowKey();
const scratchKey = new FlowKey();
const scratch: DpFlowStats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };

export class Ukey {
  readonly bridge: XlateBridge;
  private installed: DpFlow | null = null;
  private readonly packed: PackedKey;
  /** Until it is installed: then its megaflow has the mask. */
  private ownMask: FlowMask | null;
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
    this.packed = packKey(key);
    this.bridge = bridge;
    this.ownMask = result.mask;
    this.createdMs = nowMs;
    this.lookedMs = nowMs;
    this.take(result);
  }

  /** Null until installed and after removal. */
  get flow(): DpFlow | null {
    return this.installed;
  }

  set flow(flow: DpFlow | null) {
    this.installed = flow;
    this.ownMask = null;
  }

  /** The flow it was made from, in slow-path layout; a new key each time. */
  get key(): FlowKey {
    return unpackKey(this.packed);
  }

  /** What the megaflow looks at; nothing is known of it once it is gone. */
  get mask(): FlowMask {
    return this.ownMask ?? this.installed?.mask ?? NO_MASK;
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
    const isFresh = unpackKey(this.packed, scratchKey).w[1] === 0;
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
    const f = unpackKey(this.packed, scratchKey).w;
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
