/**
 * `lint` against the translation itself, in random networks: rules that it calls dead are never hit, and what it calls
 * idle may be left out without any packet's noticing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DpAction } from '../flow/dp-actions.ts';
import { FIELDS } from '../flow/fields.ts';
import { FlowKey } from '../flow/key.ts';
import { FLOW_WORDS } from '../flow/layout.ts';
import type { Match } from '../flow/match.ts';
import { normalizeMatch } from '../flow/match-field.ts';
import { parseMatch } from '../flow/match-text.ts';
import { getField, isFieldMaskExact, prereqsMet } from '../flow/subfield.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import { type Finding, lint, ruleText } from '../openflow/lint/index.ts';
import type { FlowStats } from '../openflow/messages.ts';
import { Rule } from './rule.ts';
import { Random, randomFlow, randomNetwork } from './xlate/random-network.ts';
import type { TestBridge } from './xlate/test-bridge.ts';
import { RecircTable, xlateFlow } from './xlate.ts';

const NETWORKS = 40;
const FLOWS = 20;

const statsOf = (rule: Rule): FlowStats => ({
  match: rule.match,
  priority: rule.priority,
  cookie: rule.cookie,
  table: rule.table,
  durationMs: 0,
  idleTimeout: 0,
  hardTimeout: 0,
  idleAge: 0,
  hardAge: 0,
  importance: 0,
  packets: 0,
  bytes: 0,
  flags: rule.flags,
  actions: rule.actions,
});

interface World {
  readonly bridge: TestBridge;
  readonly rules: Rule[];
  readonly findings: readonly Finding[];
}

/** Some rules do the same as others, and some write what they match. */
function makeIdle(bridge: TestBridge, r: Random): void {
  let actions: readonly Ofpact[] = [];
  for (const { table, priority, match, actions: own } of [...bridge.tables]) {
    if (r.chance(50)) actions = own;
    const known = WRITABLE.filter((f) => isFieldMaskExact(match.mask, f) && prereqsMet(f, match.key));
    const writes = known
      .slice(0, 1)
      .map((field): Ofpact => ({ kind: 'set_field', field, value: getField(match.key, field), mask: null }));
    const list = r.chance(50) ? [...writes, ...actions] : actions;
    bridge.tables.insert(new Rule({ table, priority, match, actions: list, nowMs: 0 }));
  }
}
const WRITABLE = FIELDS.filter((f) => f.writable && f.name !== 'in_port');

/** The network of that seed; the same each time. */
function worldOf(seed: number): World {
  const bridge = randomNetwork(new Random(seed));
  makeIdle(bridge, new Random(seed));
  const rules = [...bridge.tables];
  const flows = rules.map(statsOf);
  const { findings } = lint({ flows, ports: null, groups: null, meters: null, continuing: new Set() });
  return { bridge, rules, findings };
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    v instanceof FlowKey ? Buffer.from(v.u8).toString('hex') : typeof v === 'bigint' ? `${v}` : v,
  );

const run = (bridge: TestBridge, recirc: RecircTable, flow: FlowKey) =>
  xlateFlow({ bridge, flow, packet: null, recirc, nowMs: 1 });

/** What a datapath does with the packet; changes behind the last of it are nobody's. */
const doneWith = (actions: readonly DpAction[]): string => show(withoutTail(actions));

function withoutTail(actions: readonly DpAction[]): DpAction[] {
  const list = actions.map((a) => {
    if (a.kind === 'check_pkt_len')
      return { ...a, greater: withoutTail(a.greater), lessOrEqual: withoutTail(a.lessOrEqual) };
    return a.kind === 'clone' || a.kind === 'sample' ? { ...a, actions: withoutTail(a.actions) } : a;
  });
  const does = (a: DpAction): boolean =>
    a.kind === 'check_pkt_len'
      ? a.greater.length + a.lessOrEqual.length > 0
      : !/^(set|push_|pop_|ct_clear)/.test(a.kind);
  return list.slice(0, list.findLastIndex(does) + 1);
}

/** Flows of which some are like the rule's match. */
function* flowsFor(rule: Rule, r: Random): Iterable<FlowKey> {
  for (let i = 0; i < FLOWS; i++) {
    const flow = randomFlow(r);
    const { key, mask } = rule.match;
    if (i % 2 === 0) for (let w = 0; w < FLOW_WORDS; w++) flow.w[w] = (flow.w[w] & ~mask.w[w]) | key.w[w];
    yield flow;
  }
}

test('a rule that is said never to match is never hit', () => {
  let dead = 0;
  for (let seed = 1; seed <= NETWORKS; seed++) {
    const { bridge, rules, findings } = worldOf(seed);
    const unreached = new Set(findings.filter((f) => f.kind === 'unreached-table').map((f) => f.table));
    const said = new Set<Rule>();
    for (const f of findings)
      if ((f.kind === 'shadowed' || f.kind === 'impossible') && f.rule !== null) said.add(rules[f.rule]);
    for (const rule of rules) if (unreached.has(rule.table)) said.add(rule);
    const r = new Random(seed);
    for (const rule of said) {
      dead++;
      const recirc = new RecircTable();
      for (const flow of flowsFor(rule, r)) {
        const { effects } = run(bridge, recirc, flow);
        for (const e of effects)
          if (e.kind === 'rule') assert.ok(!said.has(e.rule), `seed ${seed}: ${ruleText(statsOf(e.rule))}`);
      }
    }
  }
  assert.ok(dead > 25, `${dead}`);
});

test('what is said to do nothing can be left out', () => {
  const seen = { redundant: 0, 'no-effect': 0 };
  for (let seed = 1; seed <= NETWORKS; seed++) {
    const { bridge, rules, findings } = worldOf(seed);
    const ambiguous = new Set(findings.filter((f) => f.kind === 'ambiguous').map((f) => f.table));
    for (const f of findings) {
      if ((f.kind !== 'redundant' && f.kind !== 'no-effect') || f.rule === null) continue;
      // Which of two rules is taken may change with any rule that goes.
      if (ambiguous.has(f.table) && f.kind === 'redundant') continue;
      seen[f.kind]++;
      const without = worldOf(seed);
      const old = without.rules[f.rule];
      if (f.kind === 'redundant') without.bridge.tables.remove(old, 'delete');
      else {
        const { table, priority, match } = old;
        const actions = old.actions.filter((_, i) => i !== f.action);
        without.bridge.tables.insert(new Rule({ table, priority, match, actions, nowMs: 0 }));
      }
      const r = new Random(seed);
      const [before, after] = [new RecircTable(), new RecircTable()];
      for (const flow of flowsFor(rules[f.rule], r))
        assert.equal(
          doneWith(run(without.bridge, after, flow).actions),
          doneWith(run(bridge, before, flow).actions),
          `seed ${seed}: ${ruleText(statsOf(rules[f.rule]))}: ${f.reason}`,
        );
    }
  }
  assert.ok(seen.redundant >= 1 && seen['no-effect'] > 50, JSON.stringify(seen));
});

function isNormal(match: Match): boolean {
  const normal = match.clone();
  normalizeMatch(normal);
  return normal.equals(match);
}

test('a packet that is said to go round does', () => {
  let loops = 0;
  for (let seed = 1; seed <= 6 * NETWORKS; seed++) {
    const { bridge, rules, findings } = worldOf(seed);
    for (const f of findings) {
      // Those of other tables may be packets that no packet becomes.
      if (f.kind !== 'loop' || f.table !== 0 || f.rule === null) continue;
      // What says more than a match can has no text.
      if (![f.rule, ...f.related].every((i) => isNormal(rules[i].match))) continue;
      const parsed = parseMatch(f.packet ?? '');
      assert.ok(parsed.ok, String(f.packet));
      loops++;
      const { error } = run(bridge, new RecircTable(), parsed.match.key);
      assert.ok(
        error === 'Recursion too deep' || error === 'Too many resubmits',
        `seed ${seed}: ${f.packet}: ${error}`,
      );
    }
  }
  assert.ok(loops > 1, `${loops}`);
});
