/** What tunnel actions need beside what they say, kept where PMDs can read it: counters and the table of Geneve options. */
import type { Arena } from '../base/arena.ts';
import { DEFAULT_SOURCE_PORTS, type TunnelFacts } from '../datapath/actions-code.ts';
import { encodeOptionTable, type TunnelOption } from '../datapath/tunnel-options.ts';
import { type DpAction, TnlType } from '../flow/dp-actions.ts';

export class NetdevTunnels {
  facts: TunnelFacts;
  private readonly arena: Arena;
  private readonly sequences = new Map<number, number>();
  private options = '[]';

  /** `typeOf` gives the type of a port's device. */
  constructor(arena: Arena, typeOf: (port: number) => string | undefined) {
    this.arena = arena;
    this.facts = {
      typeOf: (port) => TnlType[(typeOf(port) ?? '') as keyof typeof TnlType] ?? 0,
      sequenceAt: (port) => (typeOf(port) === 'gre' ? this.sequenceAt(port) : 0),
      sourcePorts: [...DEFAULT_SOURCE_PORTS],
      optionsAt: 0,
    };
  }

  private sequenceAt(port: number): number {
    let at = this.sequences.get(port);
    if (at === undefined) {
      const bytes = this.arena.alloc(64);
      if (bytes < 0) return 0;
      at = bytes >> 2;
      this.arena.i32[at] = 0;
      this.sequences.set(port, at);
    }
    return at;
  }

  /** Null when nothing is new; else actions must be encoded anew, and then what is returned is called. */
  set(facts: {
    readonly sourcePorts: readonly [number, number];
    readonly options: readonly TunnelOption[];
  }): (() => void) | null {
    const options = JSON.stringify(facts.options);
    const [min, count] = this.facts.sourcePorts;
    if (options === this.options && min === facts.sourcePorts[0] && count === facts.sourcePorts[1]) return null;
    const before = { at: this.facts.optionsAt, bytes: 0 };
    let { optionsAt } = this.facts;
    if (options !== this.options) {
      before.bytes = encodeOptionTable(JSON.parse(this.options) as TunnelOption[]).length * 4;
      const table = encodeOptionTable(facts.options);
      const bytes = facts.options.length === 0 ? -1 : this.arena.alloc(table.length * 4);
      optionsAt = bytes < 0 ? 0 : bytes >> 2;
      if (optionsAt !== 0) this.arena.i32.set(table, optionsAt);
      this.options = options;
    }
    this.facts = { ...this.facts, sourcePorts: facts.sourcePorts, optionsAt };
    return () => {
      if (before.bytes > 0 && before.at !== 0) this.arena.free(before.at << 2, before.bytes);
    };
  }
}

export function usesTunnels(actions: readonly DpAction[]): boolean {
  return actions.some((a) => {
    if (a.kind === 'tnl_push' || a.kind === 'tnl_pop') return true;
    if (a.kind === 'clone' || a.kind === 'sample') return usesTunnels(a.actions);
    return a.kind === 'check_pkt_len' && (usesTunnels(a.greater) || usesTunnels(a.lessOrEqual));
  });
}
