/**
 * Resubmits that never end. Tables that lead back to themselves are looked at more closely: paths of rules round them give
 * packets that might go round, and each is sent through the tables. Only what is seen to exceed the switch's limits is told,
 * with the packet.
 */

import { F } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { FLOW_WORDS, OFS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';
import { formatMatch } from '../../flow/match-text.ts';
import { getBits, setBits, wholeField } from '../../flow/subfield.ts';
import type { Ofpact } from '../actions/types.ts';
import type { FlowStats } from '../messages.ts';
import { OFPP } from '../ports.ts';
import { constantWrite, pass, vlanWrite } from './known.ts';
import { type Finding, finding, type LintInput } from './model.ts';
import type { TableGraph } from './tables.ts';

/** Nested resubmits at which the switch gives up (`ovs-actions(7)`, "resubmit"), and all of one packet. */
const MAX_DEPTH = 64;
const MAX_RESUBMITS = 4096;
/** Rules on a path that is followed, and steps of all searches together. */
const MAX_PATH = 12;
const SEARCH_BUDGET = 200_000;
const RUN_BUDGET = 20_000_000;

const TAG_PRESENT = 0x1000;
const CT_FIELDS = [F.ct_state, F.ct_zone, F.ct_mark, F.ct_label];
const isIp = (key: FlowKey): boolean => [0x0800, 0x86dd].includes(key.get16(OFS.eth_type));

export function lintLoops(input: LintInput, graph: TableGraph): Finding[] {
  const cyclic = cyclicTables(graph);
  if (cyclic.size === 0) return [];
  const { flows } = input;
  const sorted = new Map<number, number[]>();
  for (const [table, rules] of graph.rules)
    sorted.set(
      table,
      // Clauses of a conjunction are no rules by themselves.
      rules
        .filter((r) => !flows[r].actions.some((a) => a.kind === 'conjunction'))
        .sort((a, b) => flows[b].priority - flows[a].priority),
    );
  const findings: Finding[] = [];
  const told = new Set<number>();
  const budget = { search: SEARCH_BUDGET, run: RUN_BUDGET };
  for (const table of [...cyclic].sort((a, b) => a - b)) {
    for (const rule of sorted.get(table) ?? []) {
      if (told.has(rule)) continue;
      const start = flows[rule].match.clone();
      const search: Search = { flows, graph, sorted, cyclic, budget, candidates: [] };
      follow(search, [rule], start, start.clone(), new FlowKey());
      const seen = search.candidates
        .flatMap(packetsOf)
        .map((m) => runAround(flows, sorted, m, table, budget))
        .find((loop) => loop !== null);
      if (!seen?.rules.includes(rule)) continue;
      for (const r of seen.rules) told.add(r);
      const round = [...new Set(seen.rules.map((r) => flows[r].table))];
      const way = `table ${[...round, round[0]].join(' → ')}`;
      findings.push(
        finding('loop', `resubmits without end (${way}), as far as the switch lets it`, {
          rule,
          table,
          related: seen.rules.filter((r) => r !== rule).slice(0, MAX_PATH),
          packet: seen.packet,
        }),
      );
    }
  }
  return findings;
}

/** Tables from which a packet may come back to them, by a resubmit at least once. */
function cyclicTables(graph: TableGraph): Set<number> {
  const next = new Map<number, Set<number>>();
  for (const [table, rules] of graph.rules) {
    const targets = new Set<number>();
    for (const r of rules) for (const e of graph.targets[r]) if (e.kind !== 'ct') targets.add(e.table);
    next.set(table, targets);
  }
  const cyclic = new Set<number>();
  for (const table of next.keys()) {
    const seen = new Set<number>();
    const queue = [...(next.get(table) ?? [])];
    for (let t = queue.pop(); t !== undefined; t = queue.pop()) {
      if (seen.has(t)) continue;
      seen.add(t);
      queue.push(...(next.get(t) ?? []));
    }
    if (seen.has(table)) cyclic.add(table);
  }
  return cyclic;
}

// ---- packets that might go round -----------------------------------------------------------------------------------

interface Search {
  readonly flows: readonly FlowStats[];
  readonly graph: TableGraph;
  readonly sorted: ReadonlyMap<number, readonly number[]>;
  readonly cyclic: ReadonlySet<number>;
  readonly budget: { search: number };
  readonly candidates: Match[];
}
const MAX_CANDIDATES = 4;

/**
 * Goes on from the last rule of `path`. `start` is what the packet must be in the beginning, `known` what is known of it
 * now, `touched` the bits that are not those of the beginning any more.
 */
function follow(s: Search, path: number[], start: Match, known: Match, touched: FlowKey): void {
  const flow = s.flows[path[path.length - 1]];
  for (const a of flow.actions) {
    if (s.candidates.length >= MAX_CANDIDATES || --s.budget.search < 0) return;
    const table =
      a.kind === 'goto_table' ? a.table : a.kind === 'resubmit' ? (a.table === 255 ? flow.table : a.table) : -1;
    if (table >= 0 && s.cyclic.has(table)) {
      for (const rule of s.sorted.get(table) ?? []) {
        if (--s.budget.search < 0) return;
        const there = known.clone();
        const from = start.clone();
        if (a.kind === 'resubmit' && a.inPort !== OFPP.IN_PORT) setInPort(there, a.inPort);
        if (!meet(from, there, touched, s.flows[rule].match)) continue;
        if (path.includes(rule)) {
          s.candidates.push(from);
          if (s.candidates.length >= MAX_CANDIDATES) return;
        } else if (path.length < MAX_PATH) follow(s, [...path, rule], from, there, touched.clone());
      }
    }
    pass(known, a, touched);
  }
}

function setInPort(known: Match, port: number): void {
  known.key.set32(OFS.in_port, port);
  known.mask.set32(OFS.in_port, 0xffffffff);
}

/** Narrows to what `match` lets through; false when that is nothing. */
function meet(start: Match, known: Match, touched: FlowKey, match: Match): boolean {
  for (let w = 0; w < FLOW_WORDS; w++) {
    const bits = match.mask.w[w];
    if (((known.key.w[w] ^ match.key.w[w]) & bits & known.mask.w[w]) !== 0) return false;
    const fresh = bits & ~known.mask.w[w];
    known.key.w[w] |= match.key.w[w] & fresh;
    known.mask.w[w] |= fresh;
    const original = fresh & ~touched.w[w];
    start.key.w[w] |= match.key.w[w] & original;
    start.mask.w[w] |= original;
  }
  return true;
}

/** As packets are: what is in a tag is in a tag. With a TTL that lasts, too, where it may have any. */
function packetsOf(start: Match): Match[] {
  const { key, mask } = start;
  const tci = key.get16(OFS.vlan_tci);
  if ((tci & ~TAG_PRESENT) !== 0 && (mask.get16(OFS.vlan_tci) & TAG_PRESENT) === 0) {
    key.set16(OFS.vlan_tci, tci | TAG_PRESENT);
    mask.set16(OFS.vlan_tci, mask.get16(OFS.vlan_tci) | TAG_PRESENT);
  }
  if (!isIp(key) || mask.u8[OFS.ip_ttl] !== 0) return [start];
  const lasting = start.clone();
  lasting.key.u8[OFS.ip_ttl] = 0xff;
  lasting.mask.u8[OFS.ip_ttl] = 0xff;
  return [start, lasting];
}

// ---- sending one round -----------------------------------------------------------------------------------------------

interface Run {
  readonly flows: readonly FlowStats[];
  readonly sorted: ReadonlyMap<number, readonly number[]>;
  readonly budget: { run: number };
  readonly key: FlowKey;
  /** Rules that the packet is in, the innermost last. */
  readonly stack: number[];
  resubmits: number;
  loop: number[] | null;
  isOver: boolean;
}

function runAround(
  flows: readonly FlowStats[],
  sorted: Run['sorted'],
  start: Match,
  table: number,
  budget: Run['budget'],
): { rules: number[]; packet: string } | null {
  const key = start.key.clone();
  const run: Run = { flows, sorted, budget, key, stack: [], resubmits: 0, loop: null, isOver: false };
  enter(run, table);
  return run.loop === null ? null : { rules: run.loop, packet: formatMatch(start) };
}

function enter(run: Run, table: number): void {
  const rule = lookup(run, table);
  if (rule === null) return;
  run.stack.push(rule);
  if (run.stack.length > MAX_DEPTH || run.resubmits > MAX_RESUBMITS) {
    // The rules of the last round.
    const again = run.stack.lastIndexOf(rule, run.stack.length - 2);
    run.loop = again < 0 ? [rule] : [...new Set(run.stack.slice(again, -1))];
    run.isOver = true;
  } else carryOut(run, run.flows[rule].actions, table);
  run.stack.pop();
}

function lookup(run: Run, table: number): number | null {
  const { w } = run.key;
  for (const r of run.sorted.get(table) ?? []) {
    if (--run.budget.run < 0) {
      run.isOver = true;
      return null;
    }
    const { key, mask } = run.flows[r].match;
    let i = 0;
    while (i < FLOW_WORDS && ((w[i] ^ key.w[i]) & mask.w[i]) === 0) i++;
    if (i === FLOW_WORDS) return r;
  }
  return null;
}

/** False when it is not known what becomes of the packet. */
function writeTag(key: FlowKey, tag: NonNullable<ReturnType<typeof vlanWrite>>): boolean {
  const tci = key.get16(OFS.vlan_tci);
  const hasTag = (tci & TAG_PRESENT) !== 0;
  if (hasTag || tag.pushes === true) key.set16(OFS.vlan_tci, (tci & ~tag.bits) | tag.value | TAG_PRESENT);
  return hasTag || tag.pushes !== null;
}

/** Of these it is not known here what becomes of the packet. */
const UNKNOWN: ReadonlySet<Ofpact['kind']> = new Set([
  'multipath',
  'bundle',
  'stack_push',
  'stack_pop',
  'push_mpls',
  'pop_mpls',
  'set_mpls_label',
  'set_mpls_tc',
  'set_mpls_ttl',
  'dec_mpls_ttl',
  'encap',
  'decap',
  'dec_nsh_ttl',
  'delete_field',
]);

/** Does what decides about further lookups, and ends the run at what it cannot do. */
function carryOut(run: Run, actions: readonly Ofpact[], table: number): void {
  const { key } = run;
  for (const a of actions) {
    if (run.isOver || a.kind === 'exit') return;
    if (UNKNOWN.has(a.kind) || (a.kind === 'controller' && a.pause)) {
      run.isOver = true;
      return;
    }
    const write = constantWrite(a);
    const tag = vlanWrite(a);
    if (write !== null) for (let w = 0; w < FLOW_WORDS; w++) key.w[w] = (key.w[w] & ~write.mask.w[w]) | write.key.w[w];
    else if (tag !== null) run.isOver ||= !writeTag(key, tag);
    else if (a.kind === 'resubmit') {
      const port = key.get32(OFS.in_port);
      if (a.inPort !== OFPP.IN_PORT) key.set32(OFS.in_port, a.inPort);
      run.resubmits++;
      enter(run, a.table === 255 ? table : a.table);
      if (a.inPort !== OFPP.IN_PORT) key.set32(OFS.in_port, port);
    } else if (a.kind === 'goto_table') return enter(run, a.table);
    else if (a.kind === 'clone') {
      const before = key.clone();
      carryOut(run, a.actions, table);
      key.copyFrom(before);
    } else if (a.kind === 'reg_move') setBits(key, a.dst, getBits(key, a.src));
    else if (a.kind === 'strip_vlan') {
      key.set16(OFS.vlan_tci, key.get16(OFS.vlan2_tci));
      key.set16(OFS.vlan2_tci, 0);
    } else if (a.kind === 'push_vlan') {
      key.set16(OFS.vlan2_tci, key.get16(OFS.vlan_tci));
      key.set16(OFS.vlan_tci, TAG_PRESENT);
    } else if (a.kind === 'dec_ttl') {
      if (!isIp(key)) continue;
      if (key.u8[OFS.ip_ttl] <= 1) return;
      key.u8[OFS.ip_ttl]--;
    } else if (a.kind === 'check_pkt_larger') setBits(key, a.dst, 0n);
    else if (a.kind === 'ct_clear') for (const f of CT_FIELDS) setBits(key, wholeField(f), 0n);
  }
}
