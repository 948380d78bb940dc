/** All actions of a rule, those inside others too, and where a list of actions can send a packet. */
import type { Ofpact } from '../actions/types.ts';
import type { GroupDesc } from '../messages-ext.ts';

/** Calls `visit` for each action, outer ones first. */
export function visitActions(actions: readonly Ofpact[], visit: (a: Ofpact) => void): void {
  for (const a of actions) {
    visit(a);
    if (a.kind === 'clone' || a.kind === 'ct' || a.kind === 'write_actions') visitActions(a.actions, visit);
  }
}

export interface Edge {
  readonly kind: 'goto' | 'resubmit' | 'ct';
  readonly table: number;
}

/** Where actions in `table` send packets on to, by themselves or by groups; 255 as a table is the one the packet is in. */
export function edgesOf(
  actions: readonly Ofpact[],
  table: number,
  groups: ReadonlyMap<number, GroupDesc>,
  seen: Set<number> = new Set(),
): Edge[] {
  const edges: Edge[] = [];
  visitActions(actions, (a) => {
    if (a.kind === 'goto_table') edges.push({ kind: 'goto', table: a.table });
    else if (a.kind === 'resubmit') edges.push({ kind: 'resubmit', table: a.table === 255 ? table : a.table });
    else if (a.kind === 'ct' && a.recircTable !== null) edges.push({ kind: 'ct', table: a.recircTable });
    else if (a.kind === 'group' && !seen.has(a.groupId)) {
      seen.add(a.groupId);
      for (const b of groups.get(a.groupId)?.buckets ?? []) edges.push(...edgesOf(b.actions, table, groups, seen));
    }
  });
  return edges;
}
