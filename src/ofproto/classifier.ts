/**
 * The classifier finds the rule of highest priority that lets a flow through, and says which bits of the flow it had to
 * look at to know. Those bits become the mask of the megaflow, so it tries to look at few:
 *
 * - tuple space search, one `Subtable` for each mask, from the highest priority down, stopping as soon as no subtable
 *   that is left can win;
 * - staged lookup: within a subtable the metadata, L2, L3 and L4 words one after the other;
 * - prefix tries on addresses, which rule subtables out after the few leading bits that tell;
 * - a trie of the ports of each subtable, for the common miss that is decided by the first bits of a port.
 *
 * Invariant: for any two flows that agree in the bits that a lookup added to `wc`, the lookup gives the same rule and
 * adds the same bits. A bit may be added without need, never missing.
 *
 * Conjunctive matches: a rule with `conjunctions` satisfies clauses instead of winning. When all clauses of an id are satisfied
 * at one priority, the lookup starts over with `conj_id` set to it. `ovs-fields(7)`, "Conjunctive Match Fields"
 */
import type { FlowKey, FlowMask } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import type { Match } from '../flow/match.ts';
import { type ClassifierRule, MaskShape, Subtable } from './subtable.ts';
import { PrefixTrie } from './trie.ts';

export { ClassifierRule } from './subtable.ts';

/** A field that has a prefix trie. It only means an address when `eth_type` says so. */
export interface PrefixField {
  readonly name: string;
  readonly ofs: number;
  readonly bits: number;
  /** 0 for any. */
  readonly ethType: number;
  readonly stage: number;
}

/** Stages of tunnels' and of packets' addresses in `STAGES`. */
const STAGE_METADATA = 0;
const STAGE_L3 = 2;

const prefixField = (name: string, ofs: number, bits: number, ethType = 0): PrefixField => ({
  name,
  ofs,
  bits,
  ethType,
  stage: ethType === 0 ? STAGE_METADATA : STAGE_L3,
});

export const PREFIX_FIELDS: ReadonlyMap<string, PrefixField> = new Map(
  [
    prefixField('ip_dst', OFS.ip_dst, 32, 0x0800),
    prefixField('ip_src', OFS.ip_src, 32, 0x0800),
    prefixField('ipv6_dst', OFS.ipv6_dst, 128, 0x86dd),
    prefixField('ipv6_src', OFS.ipv6_src, 128, 0x86dd),
    prefixField('tun_id', OFS.tun_id, 64),
    prefixField('tun_src', OFS.tun_src, 32),
    prefixField('tun_dst', OFS.tun_dst, 32),
    prefixField('tun_ipv6_src', OFS.tun_ipv6_src, 128),
    prefixField('tun_ipv6_dst', OFS.tun_ipv6_dst, 128),
  ].map((field) => [field.name, field]),
);

export const DEFAULT_PREFIXES: readonly string[] = ['ip_dst', 'ip_src', 'ipv6_dst', 'ipv6_src'];

interface TrieState {
  readonly field: PrefixField;
  readonly trie: PrefixTrie;
  /** Of the lookup under way. */
  done: boolean;
  relevant: boolean;
  bits: number;
}

const PORTS_OFS = OFS.tp_src;

export class Classifier<R extends ClassifierRule> {
  private readonly subtables: Subtable<R>[] = [];
  private readonly byMask = new Map<number, Subtable<R>[]>();
  private readonly portTries = new Map<Subtable<R>, PrefixTrie>();
  private tries: TrieState[] = [];
  private unsorted = false;
  private conjunctive = 0;
  private count = 0;

  constructor(prefixes: readonly string[] = DEFAULT_PREFIXES) {
    this.setPrefixes(prefixes);
  }

  /** Number of rules. */
  get size(): number {
    return this.count;
  }

  get subtableCount(): number {
    return this.subtables.length;
  }

  /** Changes which fields have tries (names of `PREFIX_FIELDS`; unknown ones are left out). */
  setPrefixes(names: readonly string[]): void {
    const fields = names.flatMap((name) => PREFIX_FIELDS.get(name) ?? []);
    this.tries = fields.map((field) => ({
      field,
      trie: new PrefixTrie(field.bits),
      done: false,
      relevant: false,
      bits: 0,
    }));
    for (const subtable of this.subtables) {
      subtable.triePlens = this.plensOf(subtable.shape);
      for (const rule of subtable) if (this.isHead(subtable, rule)) this.changeTries(subtable, rule, true);
    }
  }

  /** Adds a rule; returns the one of equal match and priority that it replaces. */
  insert(rule: R): R | null {
    let subtable = this.findSubtable(rule.shape);
    if (!subtable) {
      subtable = new Subtable<R>(rule.shape);
      subtable.triePlens = this.plensOf(rule.shape);
      if (subtable.portsLen > 0) this.portTries.set(subtable, new PrefixTrie(32));
      const { hash } = rule.shape;
      const sameHash = this.byMask.get(hash);
      if (sameHash) sameHash.push(subtable);
      else this.byMask.set(hash, [subtable]);
      this.subtables.push(subtable);
      this.unsorted = true;
    }
    const before = subtable.maxPriority;
    const replaced = subtable.insert(rule);
    if (subtable.maxPriority !== before) this.unsorted = true;
    if (subtable.wasNew) this.changeTries(subtable, rule, true);
    if (!replaced) this.count++;
    if (rule.conjunctions) this.conjunctive++;
    if (replaced?.conjunctions) this.conjunctive--;
    return replaced;
  }

  /** Takes a rule out. False when it is not in. */
  remove(rule: R): boolean {
    const subtable = this.findSubtable(rule.shape);
    const last = subtable?.remove(rule);
    if (!subtable || last === null || last === undefined) return false;
    if (last) this.changeTries(subtable, rule, false);
    this.count--;
    if (rule.conjunctions) this.conjunctive--;
    this.unsorted = true;
    if (subtable.size === 0) this.dropSubtable(subtable);
    return true;
  }

  /** Must be told when a rule that is in gets or loses its `conjunctions`. */
  setConjunctions(rule: R, conjunctions: ClassifierRule['conjunctions']): void {
    this.conjunctive += (conjunctions ? 1 : 0) - (rule.conjunctions ? 1 : 0);
    rule.conjunctions = conjunctions;
  }

  /** The rule with exactly this match and priority. */
  findExactly(match: Match, priority: number): R | null {
    const shape = MaskShape.of(match.mask.w);
    const subtable = this.findSubtable(shape);
    if (!subtable) return null;
    let rule = subtable.find(Int32Array.from(shape.index, (i) => match.key.w[i]));
    while (rule && rule.priority > priority) rule = rule.next;
    return rule?.priority === priority ? rule : null;
  }

  /** All rules, in no order. Safe against removal of rules already given. */
  *[Symbol.iterator](): Generator<R> {
    for (const subtable of [...this.subtables]) yield* subtable;
  }

  /** Rules at least as specific as `criteria`: a non-strict flow-mod's selection. */
  matching(criteria: Match): R[] {
    const found: R[] = [];
    const want = MaskShape.of(criteria.mask.w);
    for (const subtable of this.subtables) {
      const { shape } = subtable;
      const value = new Int32Array(shape.index.length);
      const mask = new Int32Array(shape.index.length);
      let covered = 0;
      for (let j = 0; j < shape.index.length; j++) {
        const i = shape.index[j];
        mask[j] = criteria.mask.w[i];
        value[j] = criteria.key.w[i];
        if (mask[j] !== 0 && (mask[j] & ~shape.mask[j]) === 0) covered++;
      }
      if (covered < want.index.length) continue;
      if (shape.isSame(want)) {
        for (let rule = subtable.find(value); rule; rule = rule.next) found.push(rule);
      } else {
        subtable.forEachAgreeing(value, mask, (rule) => found.push(rule));
      }
    }
    return found;
  }

  /** Is there a rule of this priority that some packet matches together with `match`? */
  overlaps(match: Match, priority: number): boolean {
    for (const subtable of this.subtables) {
      if (subtable.maxPriority < priority) continue;
      const { shape } = subtable;
      const value = Int32Array.from(shape.index, (i) => match.key.w[i]);
      const mask = Int32Array.from(shape.index, (i, j) => match.mask.w[i] & shape.mask[j]);
      let hit = false;
      subtable.forEachAgreeing(value, mask, (rule) => {
        if (rule.priority === priority) hit = true;
      });
      if (hit) return true;
    }
    return false;
  }

  /**
   * The winning rule. Adds to `wc` the bits that were looked at. `flow` is given back as it came, but `conj_id` is
   * written while a conjunctive match is tried.
   */
  lookup(flow: FlowKey, wc: FlowMask | null): R | null {
    if (this.unsorted) this.sort();
    if (this.conjunctive > 0) return this.lookupConjunctive(flow, wc);
    return wc ? this.lookupMasking(flow, wc, true) : this.lookupPlain(flow.w);
  }

  private lookupPlain(f: Int32Array): R | null {
    const { subtables } = this;
    let best: R | null = null;
    let priority = -1;
    for (let i = 0; i < subtables.length; i++) {
      const subtable = subtables[i];
      if (subtable.maxPriority <= priority) break;
      const rule = subtable.lookup(f);
      if (rule && rule.priority > priority) {
        best = rule;
        priority = rule.priority;
      }
    }
    return best;
  }

  private lookupMasking(flow: FlowKey, wc: FlowMask | null, all: boolean, soft: R[] | null = null): R | null {
    const { subtables, tries } = this;
    for (let i = 0; i < tries.length; i++) tries[i].done = false;
    let best: R | null = null;
    let priority = -1;
    for (let i = 0; i < subtables.length; i++) {
      const subtable = subtables[i];
      if (subtable.maxPriority <= priority) break;
      const rule = wc ? this.probe(subtable, flow, wc) : subtable.lookup(flow.w);
      if (!rule || rule.priority <= priority) continue;
      if (!all && rule.conjunctions) {
        soft?.push(rule);
        continue;
      }
      best = rule;
      priority = rule.priority;
    }
    return best;
  }

  /** One subtable, stage by stage, adding to `wc` what was looked at. */
  private probe(subtable: Subtable<R>, flow: FlowKey, wc: FlowMask): R | null {
    const { shape, indices } = subtable;
    const { index, mask, stageEnds, stages } = shape;
    const f = flow.w;
    const w = wc.w;
    let h = 0;
    let i = 0;
    const last = stageEnds.length - 1;
    for (let s = 0; s < last; s++) {
      if (this.triesRuleOut(subtable, flow, wc, stages[s])) {
        for (let j = 0; j < i; j++) w[index[j]] |= mask[j];
        return null;
      }
      const end = stageEnds[s];
      h = subtable.hashStage(f, h, s);
      i = end;
      if (!indices[s].has(h)) {
        for (let j = 0; j < end; j++) w[index[j]] |= mask[j];
        return null;
      }
    }
    if (last >= 0 && this.triesRuleOut(subtable, flow, wc, stages[last])) {
      for (let j = 0; j < i; j++) w[index[j]] |= mask[j];
      return null;
    }
    const before = i;
    if (last >= 0) h = subtable.hashStage(f, h, last);
    const rule = subtable.lookupHashed(f, h);
    if (!rule && subtable.portsLen > 0 && this.portsRuleOut(subtable, flow, wc)) {
      for (let j = 0; j < before; j++) w[index[j]] |= mask[j];
      return null;
    }
    for (let j = 0; j < index.length; j++) w[index[j]] |= mask[j];
    return rule;
  }

  /** Can an address of this stage tell that no rule of this subtable matches? Adds the bits that tell. */
  private triesRuleOut(subtable: Subtable<R>, flow: FlowKey, wc: FlowMask, stage: number): boolean {
    if (stage !== STAGE_L3 && stage !== STAGE_METADATA) return false;
    const plens = subtable.triePlens;
    for (let t = 0; t < plens.length; t++) {
      const plen = plens[t];
      if (plen === 0) continue;
      const state = this.tries[t];
      const { ethType } = state.field;
      if (state.field.stage !== stage) continue;
      if (!state.done) {
        state.done = true;
        state.relevant = ethType === 0 || flow.get16(OFS.eth_type) === ethType;
        if (state.relevant) state.bits = state.trie.lookup(flow.u8, state.field.ofs);
      }
      if (!state.relevant || (state.trie.plens[plen >> 5] & (1 << (plen & 31))) !== 0) continue;
      // The trie is everybody's: only let it decide where it takes no more bits than the subtable itself would.
      if (state.bits <= plen) {
        setPrefix(wc.u8, state.field.ofs, state.bits);
        return true;
      }
      if (hasPrefix(wc.u8, state.field.ofs, state.bits)) return true;
    }
    return false;
  }

  /** Do the ports alone tell that no rule of this subtable matches? Adds the leading bits that tell. */
  private portsRuleOut(subtable: Subtable<R>, flow: FlowKey, wc: FlowMask): boolean {
    const trie = this.portTries.get(subtable);
    if (!trie) return false;
    const portsMask = subtable.shape.mask[subtable.portsAt];
    const bits = trie.lookup(bytesOf(flow.w[PORTS_OFS >> 2] & portsMask), 0);
    if ((trie.plens[subtable.portsLen >> 5] & (1 << (subtable.portsLen & 31))) !== 0) return false;
    const mask = bytesOf(portsMask);
    for (let i = 0; i < 4; i++) {
      const left = Math.min(8, Math.max(0, bits - i * 8));
      wc.u8[PORTS_OFS + i] |= mask[i] & (0xff00 >> left) & 0xff;
    }
    return true;
  }

  private lookupConjunctive(flow: FlowKey, wc: FlowMask | null): R | null {
    const soft: R[] = [];
    const hard = this.lookupMasking(flow, wc, false, soft);
    let priority = hard?.priority ?? -1;
    const live: (R | null)[] = soft.filter((rule) => rule.priority > priority);
    let best = hard;
    for (;;) {
      let top = priority;
      for (const rule of live) if (rule && rule.priority > top) top = rule.priority;
      if (top === priority) return best;
      const id = satisfiedConjunction(live, top);
      if (id !== null) {
        const saved = flow.get32(OFS.conj_id);
        flow.set32(OFS.conj_id, id);
        const rule = this.lookupMasking(flow, wc, false);
        flow.set32(OFS.conj_id, saved);
        // conj_id is not of the packet: what decided it is in the mask already.
        wc?.set32(OFS.conj_id, 0);
        if (rule) return rule;
      }
      for (let i = 0; i < live.length; i++) {
        let rule = live[i];
        if (rule?.priority !== top) continue;
        rule = rule.next;
        while (rule && rule.priority > priority && !rule.conjunctions) {
          best = rule;
          priority = rule.priority;
          rule = null;
        }
        live[i] = rule && rule.priority > priority ? rule : null;
      }
    }
  }

  private sort(): void {
    for (const subtable of this.subtables) subtable.refreshMaxPriority();
    // Among equals, older ones first, as in the original: rules of one priority that overlap are met in that order.
    this.subtables.sort((a, b) => b.maxPriority - a.maxPriority);
    this.unsorted = false;
  }

  private findSubtable(shape: MaskShape): Subtable<R> | undefined {
    return this.byMask.get(shape.hash)?.find((s) => s.shape.isSame(shape));
  }

  private dropSubtable(subtable: Subtable<R>): void {
    this.subtables.splice(this.subtables.indexOf(subtable), 1);
    this.portTries.delete(subtable);
    const { hash } = subtable.shape;
    const rest = this.byMask.get(hash)?.filter((s) => s !== subtable) ?? [];
    if (rest.length > 0) this.byMask.set(hash, rest);
    else this.byMask.delete(hash);
  }

  private isHead(subtable: Subtable<R>, rule: R): boolean {
    return subtable.find(rule.values) === rule;
  }

  private plensOf(shape: MaskShape): number[] {
    return this.tries.map(({ field }) => {
      const bytes = new Uint8Array(field.bits >> 3);
      for (let j = 0; j < shape.index.length; j++) {
        const at = shape.index[j] * 4 - field.ofs;
        if (at >= 0 && at < bytes.length) bytes.set(bytesOf(shape.mask[j]), at);
      }
      return prefixLength(bytes);
    });
  }

  private changeTries(subtable: Subtable<R>, rule: R, add: boolean): void {
    const { shape } = subtable;
    for (let t = 0; t < this.tries.length; t++) {
      const plen = subtable.triePlens[t];
      if (plen === 0) continue;
      const { field, trie } = this.tries[t];
      const bytes = new Uint8Array(field.bits >> 3);
      for (let j = 0; j < shape.index.length; j++) {
        const at = shape.index[j] * 4 - field.ofs;
        if (at >= 0 && at < bytes.length) bytes.set(bytesOf(rule.values[j]), at);
      }
      if (add) trie.insert(bytes, 0, plen);
      else trie.remove(bytes, 0, plen);
    }
    const ports = this.portTries.get(subtable);
    if (!ports) return;
    const bytes = bytesOf(rule.values[subtable.portsAt]);
    if (add) ports.insert(bytes, 0, subtable.portsLen);
    else ports.remove(bytes, 0, subtable.portsLen);
  }
}

/** The id of a conjunction all of whose clauses rules of this priority satisfy. */
function satisfiedConjunction(rules: readonly (ClassifierRule | null)[], priority: number): number | null {
  const clauses = new Map<number, Set<number>>();
  for (const rule of rules) {
    if (rule?.priority !== priority) continue;
    for (const { id, clause, nClauses } of rule.conjunctions ?? []) {
      const seen = clauses.get(id) ?? new Set();
      clauses.set(id, seen.add(clause));
      if (seen.size === nClauses) return id;
    }
  }
  return null;
}

const word = new Int32Array(1);
const wordBytes = new Uint8Array(word.buffer);

/** The bytes of a word as they stand in a key. Valid until the next call. */
function bytesOf(value: number): Uint8Array {
  word[0] = value;
  return wordBytes;
}

/** Length of the prefix that a mask is, or 0 when it is none. */
function prefixLength(mask: Uint8Array): number {
  let len = 0;
  while (len < mask.length * 8 && (mask[len >> 3] >> (7 - (len & 7))) & 1) len++;
  for (let bit = len; bit < mask.length * 8; bit++) if ((mask[bit >> 3] >> (7 - (bit & 7))) & 1) return 0;
  return len;
}

function setPrefix(u8: Uint8Array, ofs: number, bits: number): void {
  let i = ofs;
  let left = bits;
  for (; left >= 8; left -= 8) u8[i++] = 0xff;
  if (left > 0) u8[i] |= (0xff00 >> left) & 0xff;
}

function hasPrefix(u8: Uint8Array, ofs: number, bits: number): boolean {
  let i = ofs;
  let left = bits;
  for (; left >= 8; left -= 8) if (u8[i++] !== 0xff) return false;
  const rest = (0xff00 >> left) & 0xff;
  return left === 0 || (u8[i] & rest) === rest;
}
