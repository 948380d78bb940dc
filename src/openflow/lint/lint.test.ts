/** `lint` says what is so: against brute force over all packets of a small space, and example by example. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { parseFlow } from '../flow-text.ts';
import type { FlowStats, PhyPort } from '../messages.ts';
import { NO_FLAGS } from '../messages-ext.ts';
import { Cubes } from './cubes.ts';
import { type LintInput, lint } from './index.ts';

function flow(text: string): FlowStats {
  const parsed = parseFlow(text, 'add');
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.error);
  const f = parsed.flow;
  return {
    ...f,
    table: f.table === 255 ? 0 : f.table,
    cookie: f.newCookie ?? 0n,
    durationMs: 0,
    idleAge: 0,
    hardAge: 0,
    packets: 0,
    bytes: 0,
  };
}

const port = (portNo: number): PhyPort => ({
  portNo,
  hwAddr: new Uint8Array(6),
  name: `p${portNo}`,
  config: 0,
  state: 0,
  curr: 0,
  advertised: 0,
  supported: 0,
  peer: 0,
  currSpeed: 0,
  maxSpeed: 0,
});

const inputOf = (...lines: string[]): LintInput => ({
  flows: lines.map(flow),
  ports: [port(1), port(2), port(3)],
  groups: [
    { groupId: 1, groupType: 'all', buckets: [], props: null },
    {
      groupId: 2,
      groupType: 'all',
      buckets: [
        { bucketId: 0, weight: 1, watchPort: 0xffff, watchGroup: 0xffffffff, actions: flow('actions=group:3').actions },
      ],
      props: null,
    },
    {
      groupId: 3,
      groupType: 'all',
      buckets: [
        {
          bucketId: 0,
          weight: 1,
          watchPort: 9,
          watchGroup: 0xffffffff,
          actions: flow('actions=group:2,output:1').actions,
        },
      ],
      props: null,
    },
  ],
  meters: [],
  continuing: new Set(),
});

/** What is said of rules and tables (not of groups): kind, rule, related rules. */
const said = (...lines: string[]): string[] =>
  lint(inputOf(...lines))
    .findings.filter((f) => f.group === null)
    .map((f) =>
      [f.kind, f.rule ?? `table ${f.table}`, ...(f.related.length > 0 ? [`(${f.related.join(' ')})`] : [])].join(' '),
    );

const reasonOf = (...lines: string[]): string =>
  lint(inputOf(...lines)).findings.filter((f) => f.group === null)[0]?.reason;

// ---- against brute force -------------------------------------------------------------------------------------------

/** Six bits in two words: all packets there are. */
const POINTS = [...Array(64).keys()].map((n) => {
  const key = new FlowKey();
  key.set32(OFS.reg0, n & 7);
  key.set32(OFS.reg0 + 4, n >> 3);
  return key;
});

function matchOfBits(value: number, mask: number): Match {
  const m = new Match();
  m.key.set32(OFS.reg0, value & mask & 7);
  m.mask.set32(OFS.reg0, mask & 7);
  m.key.set32(OFS.reg0 + 4, (value & mask) >> 3);
  m.mask.set32(OFS.reg0 + 4, mask >> 3);
  return m;
}

const cube = fc.tuple(fc.nat(63), fc.nat(63));

test('a cube is covered when each of its packets is', () => {
  fc.assert(
    fc.property(cube, fc.array(cube, { maxLength: 12 }), (first, rest) => {
      const one = matchOfBits(...first);
      const others = rest.map((bits) => matchOfBits(...bits));
      const cubes = new Cubes([one, ...others]);
      const covered = cubes.isCovered(
        0,
        others.map((_, i) => i + 1),
        { left: 1e6 },
      );
      const expected = POINTS.every((p) => !one.matches(p) || others.some((o) => o.matches(p)));
      assert.equal(covered, expected);
    }),
    { numRuns: 3000 },
  );
});

test('without budget there is no answer, and never a wrong one', () => {
  fc.assert(
    fc.property(cube, fc.array(cube, { maxLength: 12 }), fc.nat(60), (first, rest, left) => {
      const one = matchOfBits(...first);
      const others = rest.map((bits) => matchOfBits(...bits));
      const places = others.map((_, i) => i + 1);
      const cubes = new Cubes([one, ...others]);
      const bounded = cubes.isCovered(0, places, { left });
      if (bounded !== null) assert.equal(bounded, cubes.isCovered(0, places, { left: 1e6 }));
    }),
    { numRuns: 1000 },
  );
});

interface Rule {
  readonly priority: number;
  readonly match: Match;
  readonly port: number;
}
/** Short to read where a property fails. */
interface Spec {
  readonly priority: number;
  readonly bits: readonly [value: number, mask: number];
  readonly port: number;
}
const spec: fc.Arbitrary<Spec> = fc.record({
  priority: fc.nat(4),
  bits: fc.tuple(fc.nat(63), fc.nat(63)),
  port: fc.integer({ min: 1, max: 3 }),
});
/** A switch has no two rules of the same priority and match. */
const specs = (maxLength: number) =>
  fc.uniqueArray(spec, {
    minLength: 1,
    maxLength,
    selector: ({ priority, bits: [value, mask] }) => `${priority} ${value & mask} ${mask}`,
  });
const rulesOf = (specs: readonly Spec[]): Rule[] =>
  specs.map(({ priority, bits, port }) => ({ priority, match: matchOfBits(...bits), port }));

function stats({ priority, match, port: out }: Rule): FlowStats {
  return { ...flow(`actions=output:${out}`), match, priority, flags: NO_FLAGS };
}

/** One of the rules of highest priority that match; where several do, none is sure. */
function winner(rules: readonly Rule[], p: FlowKey, without = -1): readonly Rule[] {
  const matching = rules.filter((r, i) => i !== without && r.match.matches(p));
  const top = Math.max(...matching.map((r) => r.priority));
  return matching.filter((r) => r.priority === top);
}

test('a rule is shadowed exactly when rules of higher priority match all its packets', () => {
  fc.assert(
    fc.property(specs(10), (list) => {
      const rules = rulesOf(list);
      const { findings, gaveUp } = lint({ ...inputOf(), flows: rules.map(stats) });
      assert.deepEqual(gaveUp, []);
      const shadowed = new Set(findings.filter((f) => f.kind === 'shadowed').map((f) => f.rule));
      rules.forEach((r, i) => {
        const higher = rules.filter((o) => o.priority > r.priority);
        const expected = POINTS.every((p) => !r.match.matches(p) || higher.some((o) => o.match.matches(p)));
        assert.equal(shadowed.has(i), expected, `rule ${i}`);
      });
      // The rules that are named suffice.
      for (const f of findings) {
        if (f.kind !== 'shadowed' || f.related.length >= 8) continue;
        const r = rules[f.rule ?? 0];
        assert.ok(POINTS.every((p) => !r.match.matches(p) || f.related.some((o) => rules[o].match.matches(p))));
      }
    }),
    { numRuns: 1000 },
  );
});

test('without a redundant rule the same is done with every packet', () => {
  fc.assert(
    fc.property(specs(8), (list) => {
      const rules = rulesOf(list);
      const { findings } = lint({ ...inputOf(), flows: rules.map(stats) });
      for (const { kind, rule: i } of findings) {
        if (kind !== 'redundant' || i === null) continue;
        for (const p of POINTS) {
          if (!winner(rules, p).includes(rules[i])) continue;
          const ports: Set<number> = new Set(winner(rules, p, i).map((r) => r.port));
          // Where rules of one priority compete, what is done was open before.
          if (winner(rules, p).length === 1) assert.deepEqual([...ports], [rules[i].port]);
        }
      }
    }),
    { numRuns: 1000 },
  );
});

// ---- example by example --------------------------------------------------------------------------------------------

test('good tables give no findings', () => {
  assert.deepEqual(
    said(
      'table=0,priority=10,in_port=1,tcp,tp_dst=80,actions=mod_vlan_vid:5,resubmit(,1)',
      'table=0,priority=10,in_port=1,tcp,tp_dst=443,actions=resubmit(,1)',
      'table=0,priority=0,actions=NORMAL',
      'table=1,dl_vlan=5,actions=strip_vlan,output:2',
      'table=1,priority=1,actions=output:3',
    ),
    [],
  );
});

test('shadowed by one rule, by several together, by one that will time out', () => {
  assert.deepEqual(
    said('priority=50,ip,nw_dst=10.0.0.0/24,actions=drop', 'priority=40,icmp,nw_dst=10.0.0.2,actions=NORMAL'),
    ['shadowed 1 (0)'],
  );
  assert.deepEqual(
    said(
      'priority=9,ip,nw_dst=10.0.0.0/25,actions=output:1',
      'priority=8,ip,nw_dst=10.0.0.128/25,actions=output:2',
      'priority=7,arp,actions=output:3',
      'priority=5,ip,nw_dst=10.0.0.0/24,actions=output:3',
    ),
    ['shadowed 3 (0 1)'],
  );
  assert.match(
    reasonOf('priority=5,hard_timeout=9,actions=output:1', 'priority=4,ip,actions=output:2'),
    /until it times out$/,
  );
});

test('what cannot be covers the rest: untagged and tagged, tracked and not, fragments', () => {
  assert.deepEqual(
    said(
      'priority=3,vlan_tci=0,actions=output:1',
      'priority=3,vlan_tci=0x1000/0x1000,actions=output:2',
      'priority=0,actions=drop',
    ),
    ['shadowed 2 (0 1)'],
  );
  assert.deepEqual(said('ct_state=-trk+new,ip,actions=output:1'), ['impossible 0']);
  assert.deepEqual(
    said(
      'priority=3,ip,nw_frag=no,actions=output:1',
      'priority=3,ip,nw_frag=yes,actions=output:2',
      'priority=1,ip,actions=drop',
    ),
    ['shadowed 2 (0 1)'],
  );
});

test('of rules with the same table, priority and match the last stays', () => {
  assert.deepEqual(
    said('tcp,actions=output:1', 'tcp,actions=output:9', 'table=1,tcp,actions=drop', 'tcp,actions=output:2'),
    ['replaced 0 (3)', 'replaced 1 (3)', 'unreached-table table 1 (2)'],
  );
});

test('clauses of a conjunction shadow nothing', () => {
  assert.deepEqual(
    said(
      'priority=9,ip,actions=conjunction(1,1/2)',
      'priority=9,tcp,actions=conjunction(1,2/2)',
      'priority=8,tcp,tp_dst=1,actions=output:1',
    ),
    [],
  );
});

test('rules that do nothing of their own, and rules that compete', () => {
  assert.deepEqual(said('priority=9,tcp,actions=output:1', 'priority=1,ip,actions=output:1'), ['redundant 0 (1)']);
  assert.deepEqual(
    said('priority=9,tcp,actions=output:1', 'priority=5,tcp,tp_dst=1,actions=drop', 'priority=1,ip,actions=output:1'),
    ['shadowed 1 (0)'],
  );
  assert.deepEqual(
    said(
      'priority=9,tcp,tp_dst=1,actions=output:1',
      'priority=5,ip,nw_dst=1.1.1.1,actions=drop',
      'priority=1,ip,actions=output:1',
    ),
    [],
  );
  assert.deepEqual(said('priority=9,tcp,actions=output:1', 'priority=9,ip,nw_src=1.1.1.1,actions=output:2'), [
    'ambiguous 0 (1)',
  ]);
});

test('tables that nothing leads to, or only dead rules, and tables without rules', () => {
  assert.deepEqual(
    said('actions=resubmit(,2)', 'table=1,actions=drop', 'table=2,ip,actions=ct(table=3)', 'table=3,actions=output:1'),
    ['unreached-table table 1 (1)'],
  );
  assert.deepEqual(
    said('priority=9,actions=output:1', 'priority=8,ip,actions=goto_table:1', 'table=1,actions=output:1'),
    ['shadowed 1 (0)', 'unreached-table table 1 (2)'],
  );
  assert.deepEqual(said('actions=resubmit(,7)'), ['empty-table 0']);
  assert.deepEqual(said('actions=learn(table=7,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]),resubmit(,7)'), []);
  const missGoesOn = { ...inputOf('ip,actions=output:1', 'table=1,actions=output:2'), continuing: new Set([0]) };
  assert.deepEqual(
    lint(missGoesOn).findings.filter((f) => f.group === null),
    [],
  );
});

test('resubmits without end are found with a packet, and only those', () => {
  const loops = (...lines: string[]) => lint(inputOf(...lines)).findings.filter((f) => f.kind === 'loop');
  assert.equal(loops('actions=resubmit(,0)').length, 1);
  const [two] = loops(
    'tcp,actions=resubmit(,1)',
    'table=1,priority=5,tcp,tp_dst=80,actions=resubmit(,0)',
    'table=1,priority=1,actions=output:1',
  );
  assert.equal(two.packet, 'tcp,tp_dst=80');
  assert.match(two.reason, /table 0 → 1 → 0/);
  // The register that is set on the way ends it.
  assert.deepEqual(
    loops(
      'reg0=0,actions=load:1->NXM_NX_REG0[],resubmit(,1)',
      'reg0=1,actions=output:1',
      'table=1,actions=resubmit(,0)',
    ),
    [],
  );
  // A rule of higher priority takes the packets out of the round.
  assert.deepEqual(
    loops(
      'priority=1,ip,actions=resubmit(,1)',
      'table=1,priority=9,ip,actions=output:1',
      'table=1,priority=5,tcp,actions=resubmit(,0)',
    ),
    [],
  );
  // Going round by another port.
  assert.equal(loops('in_port=1,actions=resubmit(2,0)', 'in_port=2,actions=resubmit(1,0)').length, 1);
  assert.deepEqual(loops('in_port=1,actions=resubmit(2,0)', 'in_port=2,actions=output:3'), []);
});

test('actions that change nothing', () => {
  const reason = (line: string): string => reasonOf(line) ?? 'none';
  assert.match(reason('in_port=1,actions=output:1'), /^output:1 sends nothing/);
  assert.equal(reason('in_port=1,actions=in_port'), 'none');
  assert.equal(reason('in_port=1,actions=load:0->NXM_OF_IN_PORT[],output:1'), 'none');
  assert.match(
    reason('dl_dst=00:00:00:00:00:01,actions=mod_dl_dst:00:00:00:00:00:01,output:2'),
    /writes what is there already/,
  );
  assert.match(reason('dl_vlan=5,actions=mod_vlan_vid:5,output:2'), /writes what is there already/);
  assert.match(
    reason('actions=load:1->NXM_NX_REG0[],load:2->NXM_NX_REG0[],output:2'),
    /overwritten .* before anything sees it/,
  );
  assert.equal(reason('actions=load:1->NXM_NX_REG0[],load:2->NXM_NX_REG1[],output:2'), 'none');
  assert.match(reason('actions=output:2,mod_vlan_vid:5'), /goes nowhere after that$/);
  assert.match(reason('actions=mod_vlan_vid:5'), /which is dropped$/);
  assert.match(reason('vlan_tci=0,actions=strip_vlan,output:2'), /finds no VLAN tag/);
  assert.match(reason('actions=exit,output:2'), /^output:2 is behind exit/);
  assert.match(reason('actions=group:1'), /has no buckets/);
  assert.match(reason('actions=move:NXM_NX_REG0[]->NXM_NX_REG0[],output:2'), /moves a field to itself/);
  // Who resubmitted sees what has become of the packet.
  assert.deepEqual(said('actions=resubmit(,1),output:1', 'table=1,actions=mod_vlan_vid:5'), []);
});

test('ports, groups and meters that do not exist, groups that lead to themselves', () => {
  assert.deepEqual(said('in_port=8,actions=output:2'), ['missing-port 0']);
  assert.deepEqual(said('actions=output:1,clone(output:9)'), ['missing-port 0']);
  assert.deepEqual(said('actions=group:9'), ['missing-group 0']);
  assert.deepEqual(said('actions=meter:4,output:1'), ['missing-meter 0']);
  assert.deepEqual(said('actions=NORMAL,LOCAL,CONTROLLER'), []);
  const groups = lint(inputOf()).findings.map((f) => `${f.kind} ${f.group}`);
  assert.deepEqual(groups, ['group-loop 2', 'missing-port 3']);
});

test('fields without their prerequisite', () => {
  assert.match(reasonOf('actions=mod_nw_src:1.2.3.4,output:1'), /writes ip_src, which only IPv4 packets have/);
  assert.deepEqual(said('ip,actions=mod_nw_src:1.2.3.4,output:1'), []);
  assert.deepEqual(said('actions=strip_vlan,output:1'), []);
});

test('ten thousand rules take a moment', () => {
  const lines: FlowStats[] = [];
  for (let i = 0; i < 10_000; i++)
    lines.push(
      flow(
        `priority=${10 + (i % 50)},tcp,nw_dst=10.${i % 200}.${(i / 200) | 0}.0/${16 + (i % 16)},tp_dst=${i % 7},actions=output:${1 + (i % 3)}`,
      ),
    );
  lines.push(flow('priority=0,actions=drop'));
  const start = performance.now();
  const { findings } = lint({ ...inputOf(), flows: lines });
  assert.ok(performance.now() - start < 20_000, `${performance.now() - start} ms`);
  assert.ok(findings.length > 0);
});
