import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { Classifier } from './classifier.ts';
import { Rule } from './rule.ts';

/** Fields of all stages with few values, so that rules and packets meet often. */
const FIELDS: readonly (readonly [ofs: number, bytes: number, values: readonly number[]])[] = [
  [OFS.in_port, 4, [1, 2]],
  [OFS.eth_src, 4, [0x0a000001, 0x0a000002]],
  [OFS.vlan_tci, 2, [0, 0x1001, 0x2001]],
  [OFS.ip_proto, 1, [6, 17]],
  [OFS.ip_src, 4, [0x0a010203, 0x0a010204, 0x0a0102ff, 0x0b000000]],
  [OFS.ip_dst, 4, [0xc0a80001, 0xc0a80101, 0xc0a80102, 0x08080808]],
  [OFS.tp_src, 2, [80, 81, 0x8000]],
  [OFS.tp_dst, 2, [443, 442, 0]],
  [OFS.reg0, 4, [0, 7]],
  [OFS.tun_dst, 4, [0, 0x0a000001, 0x0a000100]],
];

/** Tries for addresses of packets, and of tunnels around them. */
const PREFIXES = ['ip_dst', 'ip_src', 'tun_dst'];

const write = (key: FlowKey, ofs: number, bytes: number, value: number): void => {
  for (let i = 0; i < bytes; i++) key.u8[ofs + i] = (value / 256 ** (bytes - 1 - i)) & 0xff;
};

const flowArb = fc.tuple(...FIELDS.map(([, , values]) => fc.constantFrom(...values)), fc.boolean()).map((chosen) => {
  const flow = new FlowKey();
  FIELDS.forEach(([ofs, bytes], i) => {
    write(flow, ofs, bytes, chosen[i] as number);
  });
  flow.set16(OFS.eth_type, chosen[FIELDS.length] ? 0x0800 : 0x0806);
  return flow;
});

const prefixMask = (bits: number, plen: number): number =>
  plen === 0 ? 0 : (2 ** bits - 2 ** (bits - plen)) % 2 ** bits;

const ruleArb = fc
  .record({
    flow: flowArb,
    plens: fc.tuple(
      ...FIELDS.map(([, bytes]) =>
        fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: bytes * 8 })),
      ),
    ),
    priority: fc.integer({ min: 0, max: 6 }),
  })
  .map(({ flow, plens, priority }) => {
    const match = new Match();
    match.mask.set16(OFS.eth_type, 0xffff);
    FIELDS.forEach(([ofs, bytes], i) => {
      if (plens[i] > 0) write(match.mask, ofs, bytes, prefixMask(bytes * 8, plens[i]));
    });
    for (let i = 0; i < match.key.w.length; i++) match.key.w[i] = flow.w[i] & match.mask.w[i];
    return { match, priority };
  });

const makeRule = ({ match, priority }: { match: Match; priority: number }): Rule =>
  new Rule({ match, priority, table: 0, actions: [], nowMs: 0 });

const bestPriority = (rules: readonly Rule[], flow: FlowKey): number =>
  rules.reduce((best, rule) => (rule.matches(flow) && rule.priority > best ? rule.priority : best), -1);

test('a lookup finds the highest rule, and no bit outside its mask matters', () => {
  fc.assert(
    fc.property(
      fc.array(ruleArb, { maxLength: 24 }),
      fc.array(flowArb, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(), { maxLength: 8 }),
      fc.infiniteStream(fc.nat({ max: 0xffff })),
      (specs, flows, removals, bits) => {
        const classifier = new Classifier<Rule>(PREFIXES);
        let rules: Rule[] = [];
        for (const spec of specs) {
          const rule = makeRule(spec);
          const replaced = classifier.insert(rule);
          rules = rules.filter((r) => r !== replaced);
          rules.push(rule);
        }
        for (const n of removals) {
          if (rules.length === 0) break;
          const [rule] = rules.splice(n % rules.length, 1);
          assert.equal(classifier.remove(rule), true);
        }
        assert.equal(classifier.size, rules.length);
        assert.equal([...classifier].length, rules.length);
        for (const flow of flows) {
          const wc = new FlowKey();
          const found = classifier.lookup(flow, wc);
          assert.equal(found?.priority ?? -1, bestPriority(rules, flow));
          if (found) assert.ok(found.matches(flow));
          assert.equal(classifier.lookup(flow, null)?.priority ?? -1, found?.priority ?? -1);
          for (let k = 0; k < 12; k++) {
            const other = flow.clone();
            const [ofs, bytes] = FIELDS[bits.next().value % FIELDS.length];
            const bit = bits.next().value % (bytes * 8);
            other.u8[ofs + (bit >> 3)] ^= (0x80 >> (bit & 7)) & ~wc.u8[ofs + (bit >> 3)];
            assert.equal(classifier.lookup(other, null)?.priority ?? -1, found?.priority ?? -1);
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test('loose and strict selection and overlap agree with comparing every rule', () => {
  fc.assert(
    fc.property(fc.array(ruleArb, { maxLength: 20 }), ruleArb, (specs, criteria) => {
      const classifier = new Classifier<Rule>();
      const rules = new Set<Rule>();
      for (const spec of specs) {
        const rule = makeRule(spec);
        const replaced = classifier.insert(rule);
        if (replaced) rules.delete(replaced);
        rules.add(rule);
      }
      const loose = [...rules].filter((r) => r.match.isSubsetOf(criteria.match));
      assert.deepEqual(new Set(classifier.matching(criteria.match)), new Set(loose));
      const exact = [...rules].find((r) => r.priority === criteria.priority && r.match.equals(criteria.match));
      assert.equal(classifier.findExactly(criteria.match, criteria.priority), exact ?? null);
      const overlaps = [...rules].some((r) => r.priority === criteria.priority && r.match.overlaps(criteria.match));
      assert.equal(classifier.overlaps(criteria.match, criteria.priority), overlaps);
    }),
    { numRuns: 150 },
  );
});

test('a prefix trie keeps the rest of an address out of the mask', () => {
  const classifier = new Classifier<Rule>();
  const match = new Match();
  match.key.set16(OFS.eth_type, 0x0800);
  match.mask.set16(OFS.eth_type, 0xffff);
  match.key.set32(OFS.ip_dst, 0x0a000000);
  match.mask.set32(OFS.ip_dst, 0xff000000);
  classifier.insert(makeRule({ match, priority: 1 }));
  const flow = new FlowKey();
  flow.set16(OFS.eth_type, 0x0800);
  flow.set32(OFS.ip_dst, 0xc0a80001);
  const wc = new FlowKey();
  assert.equal(classifier.lookup(flow, wc), null);
  assert.equal(wc.get32(OFS.ip_dst), 0x80000000, 'the first bit tells 192.168.0.1 from 10/8');
  flow.set32(OFS.ip_dst, 0);
  wc.clear();
  assert.equal(classifier.lookup(flow, wc), null);
  assert.equal(wc.get32(OFS.ip_dst), 0xf8000000, 'five bits tell 0.0.0.0 from 10/8');
});

test('a stage that rules everything out leaves the later ones alone', () => {
  const classifier = new Classifier<Rule>();
  const match = new Match();
  match.key.set32(OFS.in_port, 1);
  match.mask.set32(OFS.in_port, 0xffffffff);
  match.key.set16(OFS.tp_dst, 80);
  match.mask.set16(OFS.tp_dst, 0xffff);
  classifier.insert(makeRule({ match, priority: 1 }));
  const flow = new FlowKey();
  flow.set32(OFS.in_port, 2);
  const wc = new FlowKey();
  classifier.lookup(flow, wc);
  assert.equal(wc.get16(OFS.tp_dst), 0);
  assert.equal(wc.get32(OFS.in_port), 0xffffffff);
});

test('a conjunction matches when every clause does', () => {
  const classifier = new Classifier<Rule>();
  const add = (ofs: number, value: number, bytes: number, kind: 'clause' | 'plain', clause = 0): Rule => {
    const match = new Match();
    write(match.key, ofs, bytes, value);
    write(match.mask, ofs, bytes, 256 ** bytes - 1);
    const rule = new Rule({
      match,
      priority: 10,
      table: 0,
      nowMs: 0,
      actions: kind === 'clause' ? [{ kind: 'conjunction', id: 7, clause, nClauses: 2 }] : [],
    });
    classifier.insert(rule);
    return rule;
  };
  add(OFS.ip_src, 0x0a000001, 4, 'clause', 0);
  add(OFS.ip_src, 0x0a000002, 4, 'clause', 0);
  add(OFS.tp_dst, 80, 2, 'clause', 1);
  add(OFS.tp_dst, 443, 2, 'clause', 1);
  const winner = add(OFS.conj_id, 7, 4, 'plain');
  const flow = new FlowKey();
  flow.set32(OFS.ip_src, 0x0a000002);
  flow.set16(OFS.tp_dst, 443);
  const wc = new FlowKey();
  assert.equal(classifier.lookup(flow, wc), winner);
  assert.equal(flow.get32(OFS.conj_id), 0);
  assert.equal(wc.get32(OFS.ip_src), 0xffffffff);
  assert.equal(wc.get16(OFS.tp_dst), 0xffff);
  flow.set16(OFS.tp_dst, 22);
  assert.equal(classifier.lookup(flow, new FlowKey()), null);
});
