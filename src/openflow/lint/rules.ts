/** Rules against rules of the same table: those that never match, do nothing of their own, or compete. */

import { OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { formatActions } from '../actions/index.ts';
import type { Ofpact } from '../actions/types.ts';
import type { FlowStats } from '../messages.ts';
import { type Budget, Cubes } from './cubes.ts';
import { type Finding, finding, type GaveUp } from './model.ts';

/** Looks at other rules for one, and for all together: a few seconds at worst. */
const RULE_BUDGET = 5_000_000;
const TOTAL_BUDGET = 300_000_000;
/** Comparisons of pairs of rules: beyond, tables are only looked at in part. */
const PAIR_BUDGET = 1_500_000_000;
/** Rules named as those that take a rule's packets. */
const MAX_RELATED = 8;

export interface RuleFindings {
  readonly findings: Finding[];
  readonly gaveUp: GaveUp[];
  /** Rules that can never match. */
  readonly dead: ReadonlySet<number>;
}

/** A clause of a conjunction is no match by itself. */
const isClause = (f: FlowStats): boolean => f.actions.some((a: Ofpact) => a.kind === 'conjunction');

export function lintRules(flows: readonly FlowStats[]): RuleFindings {
  const findings: Finding[] = [];
  const gaveUp: GaveUp[] = [];
  const dead = new Set<number>();
  const total: Budget = { left: TOTAL_BUDGET };
  const pairs: Budget = { left: PAIR_BUDGET };
  for (const table of byTable(flows)) lintTable(flows, table, { findings, gaveUp, dead }, total, pairs);
  return { findings, gaveUp, dead };
}

/** Places of each table's rules, those of higher priority first. */
function byTable(flows: readonly FlowStats[]): number[][] {
  const tables = new Map<number, number[]>();
  flows.forEach((f, i) => {
    const list = tables.get(f.table);
    if (list) list.push(i);
    else tables.set(f.table, [i]);
  });
  const sorted = [...tables].sort(([a], [b]) => a - b).map(([, list]) => list);
  for (const list of sorted) list.sort((a, b) => flows[b].priority - flows[a].priority || a - b);
  return sorted;
}

function lintTable(
  flows: readonly FlowStats[],
  table: readonly number[],
  out: { findings: Finding[]; gaveUp: GaveUp[]; dead: Set<number> },
  total: Budget,
  pairs: Budget,
): void {
  const rules = table.map((i) => flows[i]);
  // Each match is made when it is asked for.
  const matches = rules.map((f) => f.match.clone());
  const impossible = impossibleMatches(matches);
  const cubes = new Cubes([...matches, ...impossible]);
  const n = rules.length;
  const never = impossible.map((_, i) => n + i);
  const clause = rules.map(isClause);
  const actions = rules.map((f) => formatActions(f.actions));

  for (let r = 0; r < n; r++) {
    const why = neverMatches(r);
    if (why !== null) {
      out.dead.add(table[r]);
      out.findings.push(why);
    } else lowerRules(r);
  }

  /** Who takes a rule's packets? */
  function neverMatches(r: number): Finding | null {
    const rule = table[r];
    const takers: number[] = [];
    const { priority } = rules[r];
    pairs.left -= r;
    if (pairs.left < 0) {
      if (r > 0) out.gaveUp.push({ rule, reason: 'too many rules to compare each with each' });
      return null;
    }
    for (let o = 0; o < r && rules[o].priority > priority; o++) {
      if (clause[o] || !cubes.overlap(o, r)) continue;
      if (cubes.contains(o, r)) return shadowed(r, [o]);
      takers.push(o);
    }
    const alone = cubes.isCovered(r, never, { left: RULE_BUDGET });
    if (alone === true) return finding('impossible', 'no packet is like that', { rule, table: rules[r].table });
    // A first look answers nearly always, and is taken in any case.
    const budget = { left: Math.max(Math.min(RULE_BUDGET, total.left), 2 * (takers.length + never.length) + 2) };
    const before = budget.left;
    const covered = cubes.isCovered(r, [...takers, ...never], budget);
    total.left -= before - budget.left;
    if (covered === null) {
      const reason = `too many ways in which ${takers.length} rules of higher priority may take its packets together`;
      out.gaveUp.push({ rule, reason });
    }
    return covered === true ? shadowed(r, fewest(r, takers)) : null;
  }

  /** Leaves out those that are not needed, where that is cheap. */
  function fewest(r: number, takers: readonly number[]): number[] {
    let needed = [...takers];
    if (needed.length > 64) return needed;
    for (const o of takers) {
      const rest = needed.filter((x) => x !== o);
      if (cubes.isCovered(r, [...rest, ...never], { left: RULE_BUDGET / 64 }) === true) needed = rest;
    }
    return needed;
  }

  function shadowed(r: number, by: readonly number[]): Finding {
    const expires = by.some((o) => rules[o].idleTimeout + rules[o].hardTimeout > 0);
    const who =
      by.length === 1
        ? `by a rule of priority ${rules[by[0]].priority}`
        : `by ${by.length} rules of higher priority together`;
    const until = expires ? ', until they time out' : '';
    return finding(
      'shadowed',
      `never matches: all its packets are taken ${who}${by.length === 1 ? until.replace('they time', 'it times') : until}`,
      {
        rule: table[r],
        table: rules[r].table,
        related: by.slice(0, MAX_RELATED).map((o) => table[o]),
      },
    );
  }

  /** What would become of its packets without it? */
  function lowerRules(r: number): void {
    const rule = rules[r];
    if (clause[r] || pairs.left < 0) return;
    let isAmbiguous = false;
    /** A rule that would take all of its packets, if no other of that one's priority competes. */
    let heir = -1;
    pairs.left -= n - r;
    for (let o = r + 1; o < n; o++) {
      if (heir >= 0 && rules[o].priority !== rules[heir].priority) break;
      if (clause[o] || !cubes.overlap(o, r)) continue;
      const isSame = actions[o] === actions[r];
      if (rules[o].priority !== rule.priority) {
        if (!isSame) return;
        if (heir < 0 && cubes.contains(o, r)) heir = o;
      } else if (!isSame && !isAmbiguous) {
        isAmbiguous = true;
        say('ambiguous', r, o, 'another rule of its priority matches some of its packets, too: who takes them is open');
      }
    }
    if (heir >= 0) say('redundant', r, heir, `without it a rule of priority ${rules[heir].priority} would do the same`);
  }

  function say(kind: 'ambiguous' | 'redundant', r: number, other: number, reason: string): void {
    out.findings.push(finding(kind, reason, { rule: table[r], table: rules[r].table, related: [table[other]] }));
  }
}

const CT_TRACKED = 0x20;
const VLAN_PRESENT = 0x1000;
const FRAG_LATER_ONLY = 2;

/** Packets that there are none of, as far as these matches look at what tells: whoever leaves only these out leaves nothing out. */
function impossibleMatches(matches: readonly Match[]): Match[] {
  const out: Match[] = [];
  const any16 = (ofs: number): number => matches.reduce((bits, m) => bits | m.mask.get16(ofs), 0);
  const bits = (v: number): number[] => [...Array(32).keys()].map((i) => 1 << i).filter((b) => (v & b) !== 0);
  // Without a tag all of the tag is 0.
  const tci = any16(OFS.vlan_tci);
  if ((tci & VLAN_PRESENT) !== 0) {
    for (const bit of bits(tci & ~VLAN_PRESENT)) {
      const m = new Match();
      m.key.set16(OFS.vlan_tci, bit);
      m.mask.set16(OFS.vlan_tci, bit | VLAN_PRESENT);
      out.push(m);
    }
  }
  // What is not tracked has no other state.
  const state = matches.reduce((b, m) => b | m.mask.get32(OFS.ct_state), 0);
  if ((state & CT_TRACKED) !== 0) {
    for (const bit of bits(state & ~CT_TRACKED)) {
      const m = new Match();
      m.key.set32(OFS.ct_state, bit);
      m.mask.set32(OFS.ct_state, bit | CT_TRACKED);
      out.push(m);
    }
  }
  // A later fragment is a fragment.
  const frag = matches.reduce((b, m) => b | m.mask.u8[OFS.ip_frag], 0);
  if ((frag & 3) === 3) {
    const m = new Match();
    m.key.u8[OFS.ip_frag] = FRAG_LATER_ONLY;
    m.mask.u8[OFS.ip_frag] = 3;
    out.push(m);
  }
  return out;
}
