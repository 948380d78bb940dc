/**
 * All megaflows' keys and masks side by side, their first cache line only, so that "which of them can meet this rule?" is a
 * walk through memory in order rather than a visit to every one. A barrier after each of many flow-mods asks just that.
 *
 * Only a megaflow whose translation looked into a single table, once, can be ruled out here; `scope` names that table. All
 * others have scope 0 and must be looked at themselves. The index may hold megaflows that are gone: who visits one checks.
 */
import { HOT_WORDS } from '../flow/layout.ts';
import type { Rule } from './rule.ts';
import type { FlowTable } from './tables.ts';
import type { Ukey } from './ukey.ts';

const scopes = new WeakMap<FlowTable, number>();
let lastScope = 0;

/** A number for a table, never 0. */
export function scopeOf(table: FlowTable): number {
  let scope = scopes.get(table);
  if (scope === undefined) {
    scope = ++lastScope;
    scopes.set(table, scope);
  }
  return scope;
}

export class MegaflowIndex {
  readonly ukeys: Ukey[] = [];
  private scope: Int32Array;
  private keys: Int32Array;
  private masks: Int32Array;

  constructor(capacity = 256) {
    this.scope = new Int32Array(capacity);
    this.keys = new Int32Array(capacity * HOT_WORDS);
    this.masks = new Int32Array(capacity * HOT_WORDS);
  }

  add(ukey: Ukey): void {
    const slot = this.ukeys.length;
    if (slot === this.scope.length) this.grow();
    this.ukeys.push(ukey);
    ukey.slot = slot;
    this.keys.set(ukey.key.w.subarray(0, HOT_WORDS), slot * HOT_WORDS);
    this.masks.set(ukey.mask.w.subarray(0, HOT_WORDS), slot * HOT_WORDS);
    this.update(ukey);
  }

  /** The megaflow was translated anew and may depend on other tables now. */
  update(ukey: Ukey): void {
    if (this.ukeys[ukey.slot] !== ukey) return;
    const { firstTable, tables } = ukey;
    this.scope[ukey.slot] = firstTable && tables.length === 1 ? scopeOf(firstTable) : 0;
  }

  scopeAt(slot: number): number {
    return this.scope[slot];
  }

  /** False when no packet of the megaflow can meet the rule; true is no promise. */
  mayMeet(slot: number, rule: Rule): boolean {
    const { index, mask } = rule.shape;
    const { values } = rule;
    const { keys, masks } = this;
    const at = slot * HOT_WORDS;
    for (let j = 0; j < index.length; j++) {
      const i = index[j];
      if (i < HOT_WORDS && ((values[j] ^ keys[at + i]) & mask[j] & masks[at + i]) !== 0) return false;
    }
    return true;
  }

  private grow(): void {
    const capacity = this.scope.length * 2;
    const grown = (from: Int32Array, length: number): Int32Array => {
      const to = new Int32Array(length);
      to.set(from);
      return to;
    };
    this.scope = grown(this.scope, capacity);
    this.keys = grown(this.keys, capacity * HOT_WORDS);
    this.masks = grown(this.masks, capacity * HOT_WORDS);
  }
}
