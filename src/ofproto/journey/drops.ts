/**
 * What the OpenFlow tables drop, counted for ever by port, table and rule. A translation without actions carries one effect
 * more, so counting costs nothing but where packets are dropped, and then what crediting a rule costs.
 */
import { type DropReason, SLOW_DROP_REASON, type SlowDropName } from '../../datapath/drop-reason.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { formatMatch } from '../../flow/match-text.ts';
import { formatActions } from '../../openflow/actions/index.ts';
import type { Rule } from '../rule.ts';
import type { XlateBridge, XlateEffect, XlateResult } from '../xlate/types.ts';

export interface TableDrop extends DropReason {
  readonly bridge: string;
  /** OpenFlow number. */
  readonly inPort: number;
  readonly table: number | null;
  readonly cookie: bigint | null;
  packets: number;
  bytes: number;
}

/** Beyond so many, drops are counted by reason alone. */
const MAX_ENTRIES = 4096;

/** Why nothing came of a translation, as its effects tell: the last table, the last rule. */
export function whyDropped(
  bridge: XlateBridge,
  result: Pick<XlateResult, 'error' | 'effects'>,
): DropReason & { readonly table: number | null; readonly rule: Rule | null } {
  const named = (name: SlowDropName, text: string, table: number | null = null, rule: Rule | null = null) => ({
    name,
    text,
    table,
    rule,
  });
  if (result.error !== 'OK') return named('translation-error', `translation failed: ${result.error}`);
  let last: Extract<XlateEffect, { kind: 'table' }> | null = null;
  let rule: Rule | null = null;
  for (const e of result.effects) {
    if (e.kind === 'table') {
      last = e;
      rule = null;
    } else if (e.kind === 'rule') rule = e.rule;
  }
  if (!last) return named('no-output', SLOW_DROP_REASON['no-output'].text);
  if (!rule) return named('no-match', `no rule of table ${last.table.id} of ${bridge.name} matched`, last.table.id);
  const match = formatMatch(rule.match, rule.priority) || 'priority=32768';
  const cookie = rule.cookie === 0n ? '' : `cookie=0x${rule.cookie.toString(16)}, `;
  const text = `rule in table ${rule.table} of ${bridge.name}: ${cookie}${match} actions=${formatActions(rule.actions)}`;
  return named(rule.actions.length === 0 ? 'drop-rule' : 'no-output', text, rule.table, rule);
}

export class DropLedger {
  private readonly drops = new Map<string, TableDrop>();

  /** The effect that counts packets of this translation, which has no actions. */
  effect(bridge: XlateBridge, flow: FlowKey, result: XlateResult): XlateEffect {
    let entry: TableDrop | null = null;
    return {
      kind: 'tell',
      tell: (packets, bytes) => {
        entry ??= this.entryOf(bridge, flow.get32(OFS.in_port), result);
        entry.packets += packets;
        entry.bytes += bytes;
      },
    };
  }

  list(): Iterable<Readonly<TableDrop>> {
    return this.drops.values();
  }

  clear(): void {
    this.drops.clear();
  }

  private entryOf(bridge: XlateBridge, inPort: number, result: XlateResult): TableDrop {
    const { name, text, table, rule } = whyDropped(bridge, result);
    const isFull = this.drops.size >= MAX_ENTRIES;
    const key = isFull ? name : `${bridge.name} ${inPort} ${name} ${text}`;
    let entry = this.drops.get(key);
    if (!entry) {
      const where = { bridge: bridge.name, inPort: isFull ? 0 : inPort, table, cookie: rule?.cookie ?? null };
      entry = { name, text: isFull ? 'and others' : text, ...where, packets: 0, bytes: 0 };
      this.drops.set(key, entry);
    }
    return entry;
  }
}
