/**
 * The flow tables of a bridge: 0 to 253 for controllers, 254 for the switch itself, and what flow-mods do to them.
 *
 * Every change bumps `revision` and is told to `listener`, in the order in which it happens; by the time the listener hears of
 * it the tables are consistent. Counters of lookups are not kept by `lookup` but credited with the statistics of the
 * megaflow that the lookup served (`credit`), since one lookup answers for many packets.
 */

import type { Subfield } from '../flow/field.ts';
import type { FlowKey, FlowMask } from '../flow/key.ts';
import type { Match } from '../flow/match.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import type { OfErrorName } from '../openflow/errors.ts';
import type { FlowMod, FlowRemovedReason } from '../openflow/messages.ts';
import { Classifier } from './classifier.ts';
import { evictable } from './eviction.ts';
import { conjunctionsOf, Rule } from './rule.ts';

export const N_TABLES = 255;
export const TBL_INTERNAL = 254;
export const TABLE_ALL = 0xff;

/** What happens to a packet that no rule of a table matches. `default` depends on the controllers' versions. */
export type TableMiss = 'default' | 'controller' | 'continue' | 'drop';

export class FlowTable {
  readonly id: number;
  name = '';
  readonly classifier = new Classifier<Rule>();
  miss: TableMiss = 'default';
  lookups = 0;
  matched = 0;
  flowLimit: number | null = null;
  overflowPolicy: 'refuse' | 'evict' = 'refuse';
  /** Rules that agree in these are one eviction group. */
  groups: readonly Subfield[] = [];

  constructor(id: number) {
    this.id = id;
  }

  get size(): number {
    return this.classifier.size;
  }

  /** Without the switch's own rules. */
  visibleSize(): number {
    let n = 0;
    for (const rule of this.classifier) if (!rule.isHidden) n++;
    return n;
  }

  credit(lookups: number, matched: number): void {
    this.lookups += lookups;
    this.matched += matched;
  }
}

export type RuleRemovedReason = FlowRemovedReason | 'replaced' | 'flush';

export interface FlowTablesListener {
  added?(rule: Rule): void;
  /** `matters`: megaflows made from the rule may be wrong now. */
  modified?(rule: Rule, matters: boolean): void;
  removed?(rule: Rule, reason: RuleRemovedReason): void;
}

/** Which rules a loose operation means. */
export interface RuleCriteria {
  readonly match: Match;
  /** 255 is all. */
  readonly table: number;
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  /** `OFPP.NONE` and `OFPG_ANY` select all. */
  readonly outPort: number;
  readonly outGroup: number;
}

export type FlowModResult =
  | { readonly ok: true; readonly added: number; readonly modified: number; readonly removed: number }
  | { readonly ok: false; readonly error: OfErrorName };

const OFPP_NONE = 0xffff;
const OFPG_ANY = 0xffffffff;
const NOTHING_DONE = { ok: true, added: 0, modified: 0, removed: 0 } as const;

export class FlowTables {
  readonly tables: readonly FlowTable[] = Array.from({ length: N_TABLES }, (_, id) => new FlowTable(id));
  /** Changes when a translation made before may be wrong now. */
  revision = 0;
  listener: FlowTablesListener = {};
  /** Rules that may time out, so that expiry need not look at all the others. */
  private readonly mortal = new Set<Rule>();

  lookup(table: number, flow: FlowKey, wc: FlowMask | null): Rule | null {
    return this.tables[table].classifier.lookup(flow, wc);
  }

  /** Carries out a flow-mod whose match and actions have been checked. All or nothing. */
  flowMod(mod: FlowMod, nowMs: number): FlowModResult {
    if (mod.table !== TABLE_ALL && mod.table >= N_TABLES) return fail('OFPBRC_BAD_TABLE_ID');
    if (mod.table === TBL_INTERNAL) return fail('OFPBRC_EPERM');
    switch (mod.command) {
      case 'add':
        return this.addFlow(mod, nowMs);
      case 'modify':
      case 'modify_strict': {
        const rules = this.selected(mod, mod.command === 'modify_strict');
        if (rules.length > 0) return this.modifyFlows(rules, mod, nowMs);
        return mod.cookieMask === 0n && mod.newCookie !== null ? this.addFlow(mod, nowMs) : NOTHING_DONE;
      }
      default: {
        const rules = this.selected(mod, mod.command === 'delete_strict');
        for (const rule of rules) this.remove(rule, 'delete');
        return { ok: true, added: 0, modified: 0, removed: rules.length };
      }
    }
  }

  /** Puts a rule in, replacing one of equal match and priority; no questions asked. */
  insert(rule: Rule): Rule | null {
    const replaced = this.tables[rule.table].classifier.insert(rule);
    if (replaced) {
      replaced.removed = true;
      this.mortal.delete(replaced);
    }
    if (mayTimeOut(rule)) this.mortal.add(rule);
    this.revision++;
    if (replaced) this.listener.removed?.(replaced, 'replaced');
    this.listener.added?.(rule);
    return replaced;
  }

  remove(rule: Rule, reason: RuleRemovedReason): void {
    if (rule.removed || !this.tables[rule.table].classifier.remove(rule)) return;
    rule.removed = true;
    this.mortal.delete(rule);
    this.revision++;
    this.listener.removed?.(rule, reason);
  }

  setActions(rule: Rule, actions: Rule['actions']): void {
    rule.actions = actions;
    if (mayTimeOut(rule)) this.mortal.add(rule);
    this.tables[rule.table].classifier.setConjunctions(rule, conjunctionsOf(actions));
    this.revision++;
  }

  /** Evicts what a table has beyond its limit, as far as its policy lets it. */
  shrink(table: FlowTable, nowMs: number): void {
    while (table.overflowPolicy === 'evict' && table.flowLimit !== null && table.size > table.flowLimit) {
      const victim = evictable(table.classifier, table.groups, nowMs);
      if (!victim) return;
      this.remove(victim, 'eviction');
    }
  }

  /** Rules that a loose operation selects; the switch's own are never among them. */
  matching(criteria: RuleCriteria): Rule[] {
    const found: Rule[] = [];
    for (const table of this.tablesOf(criteria.table)) {
      if (table.size === 0) continue;
      for (const rule of table.classifier.matching(criteria.match)) {
        if (!rule.isHidden && satisfies(rule, criteria)) found.push(rule);
      }
    }
    return found;
  }

  /** Removes all rules, hidden ones too, as a bridge does that starts over. */
  flush(): void {
    for (const rule of [...this]) this.remove(rule, 'flush');
  }

  /** Removes the rules whose timeouts have run out. Returns how many. */
  expire(nowMs: number): number {
    let n = 0;
    for (const rule of this.mortal) {
      const reason = rule.expired(nowMs);
      if (!reason) continue;
      this.remove(rule, reason);
      n++;
    }
    return n;
  }

  /** Every rule, hidden ones too. */
  *[Symbol.iterator](): Generator<Rule> {
    for (const table of this.tables) if (table.size > 0) yield* table.classifier;
  }

  private addFlow(mod: FlowMod, nowMs: number): FlowModResult {
    const table = this.tables[mod.table === TABLE_ALL ? 0 : mod.table];
    const rule = new Rule({
      match: mod.match,
      priority: mod.priority,
      table: table.id,
      actions: mod.actions,
      nowMs,
      cookie: mod.newCookie ?? mod.cookie,
      idleTimeout: mod.idleTimeout,
      hardTimeout: mod.hardTimeout,
      importance: mod.importance,
      flags: mod.flags,
    });
    const old =
      mod.flags.checkOverlap || table.flowLimit !== null ? table.classifier.findExactly(mod.match, mod.priority) : null;
    if (mod.flags.checkOverlap && (old || table.classifier.overlaps(mod.match, mod.priority))) {
      return fail('OFPFMFC_OVERLAP');
    }
    if (table.flowLimit !== null && !old && table.size >= table.flowLimit) {
      const victim = table.overflowPolicy === 'evict' ? evictable(table.classifier, table.groups, nowMs) : null;
      if (!victim) return fail('OFPFMFC_TABLE_FULL');
      this.remove(victim, 'eviction');
    }
    const replaced = this.insert(rule);
    if (replaced && !mod.flags.resetCounts) {
      rule.packets = replaced.packets;
      rule.bytes = replaced.bytes;
      rule.usedMs = Math.max(rule.usedMs, replaced.usedMs);
    }
    return { ok: true, added: 1, modified: 0, removed: 0 };
  }

  private modifyFlows(rules: readonly Rule[], mod: FlowMod, nowMs: number): FlowModResult {
    for (const rule of rules) {
      // A learned flow is written again by every packet; only a change may cost a revalidation.
      const actionsChanged = !sameActions(rule.actions, mod.actions);
      if (actionsChanged) this.setActions(rule, mod.actions);
      // Megaflows that send to controllers carry the cookie.
      const cookieChanged = mod.newCookie !== null && rule.cookie !== mod.newCookie;
      if (mod.newCookie !== null) rule.cookie = mod.newCookie;
      if (cookieChanged) this.revision++;
      rule.modifiedMs = nowMs;
      if (mod.flags.resetCounts) {
        rule.packets = 0;
        rule.bytes = 0;
      }
      this.listener.modified?.(rule, actionsChanged || cookieChanged);
    }
    return { ok: true, added: 0, modified: rules.length, removed: 0 };
  }

  private selected(mod: FlowMod, strict: boolean): Rule[] {
    const filtered = mod.command.startsWith('delete');
    const criteria: RuleCriteria = {
      match: mod.match,
      table: mod.table,
      cookie: mod.cookie,
      cookieMask: mod.cookieMask,
      outPort: filtered ? mod.outPort : OFPP_NONE,
      outGroup: filtered ? mod.outGroup : OFPG_ANY,
    };
    if (!strict) return this.matching(criteria);
    const found: Rule[] = [];
    for (const table of this.tablesOf(mod.table)) {
      const rule = table.size > 0 ? table.classifier.findExactly(mod.match, mod.priority) : null;
      if (rule && satisfies(rule, criteria)) found.push(rule);
    }
    return found;
  }

  private tablesOf(table: number): readonly FlowTable[] {
    return table === TABLE_ALL ? this.tables.slice(0, TBL_INTERNAL) : table < N_TABLES ? [this.tables[table]] : [];
  }
}

const sameActions = (a: readonly Ofpact[], b: readonly Ofpact[]): boolean =>
  a === b || (a.length === b.length && JSON.stringify(a, plain) === JSON.stringify(b, plain));

/** Actions hold bigints, and fields by reference. */
function plain(key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  return key === 'field' && typeof value === 'object' && value !== null && 'name' in value ? value.name : value;
}

/** `fin_timeout` gives timeouts to rules that had none. */
const mayTimeOut = (rule: Rule): boolean =>
  rule.idleTimeout > 0 || rule.hardTimeout > 0 || rule.actions.some((a) => a.kind === 'fin_timeout');

const fail = (error: OfErrorName): FlowModResult => ({ ok: false, error });

function satisfies(rule: Rule, c: RuleCriteria): boolean {
  return (
    ((rule.cookie ^ c.cookie) & c.cookieMask) === 0n &&
    rule.outputsTo(c.outPort === OFPP_NONE ? null : c.outPort, c.outGroup === OFPG_ANY ? null : c.outGroup)
  );
}
