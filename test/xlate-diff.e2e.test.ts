/**
 * Translation beside the original's: random rules of the same text go into both, random flows are traced through both,
 * and datapath actions and megaflows are compared. `docs/design/translation.md` says where the two differ on purpose.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { unixctlRequest } from '../src/base/unixctl.ts';
import { formatDpActions } from '../src/flow/dp-text.ts';
import { OFS } from '../src/flow/layout.ts';
import { parseMatch } from '../src/flow/match-text.ts';
import { formatMegaflow } from '../src/ofproto/xlate/flow-text.ts';
import { TraceText } from '../src/ofproto/xlate/trace-text.ts';
import { RecircTable, xlateFlow } from '../src/ofproto/xlate.ts';
import { missingOriginal, startSandbox } from './support/twin.ts';
import { last, modelBridge, setUpBridge } from './support/xlate-twin.ts';

const ROUNDS = Number(process.env.XLATE_DIFF_ROUNDS ?? 6);
const FLOWS = 40;
const SEED = Number(process.env.XLATE_DIFF_SEED ?? 1);

class Random {
  private state: number;
  constructor(seed: number) {
    this.state = Math.imul(seed, 0x9e3779b1) >>> 0 || 1;
  }
  below(n: number): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state % n;
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
  some<T>(list: readonly T[], percent: number): T[] {
    return list.filter(() => this.below(100) < percent);
  }
}

const MACS = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'];
const IPS = ['10.0.0.1', '10.0.0.2', '10.1.2.3', '192.168.1.1'];
const IP6S = ['2001:db8::1', '2001:db8::2', 'fe80::1'];

interface Kind {
  readonly word: string;
  match(r: Random): string[];
  flow(r: Random): string[];
}

const ports = (r: Random, exact: boolean, l4 = 'tcp'): string[] => [
  `${l4}_src=${r.of([80, 81, 1024])}`,
  exact || r.below(3) > 0 ? `${l4}_dst=${r.of([80, 443, 1024])}` : `${l4}_dst=${r.of(['0x50/0xfff0', '0x400/0xfc00'])}`,
];

const ip4 = (r: Random, exact: boolean): string[] => [
  `nw_src=${r.of(IPS)}${exact ? '' : r.of(['', '/8', '/16', '/24'])}`,
  `nw_dst=${r.of(IPS)}${exact ? '' : r.of(['', '/8', '/16', '/24'])}`,
  `nw_tos=${r.of([0, 32])}`,
  `nw_ttl=${r.of([1, 2, 64])}`,
];

const KINDS: readonly Kind[] = [
  { word: '', match: () => [], flow: () => ['dl_type=0x1234'] },
  {
    word: 'arp',
    match: (r) => [`arp_op=${r.of([1, 2])}`, `arp_spa=${r.of(IPS)}`, `arp_sha=${r.of(MACS)}`],
    flow: (r) => [`arp_op=${r.of([1, 2])}`, `arp_spa=${r.of(IPS)}`, `arp_sha=${r.of(MACS)}`],
  },
  { word: 'ip', match: (r) => ip4(r, false), flow: (r) => [...ip4(r, true), 'nw_proto=47'] },
  {
    word: 'tcp',
    match: (r) => [...ip4(r, false), ...ports(r, false)],
    flow: (r) => [...ip4(r, true), ...ports(r, true)],
  },
  {
    word: 'udp',
    match: (r) => [...ip4(r, false), ...ports(r, false, 'udp')],
    flow: (r) => [...ip4(r, true), ...ports(r, true, 'udp')],
  },
  {
    word: 'icmp',
    match: (r) => [...ip4(r, false), `icmp_type=${r.of([0, 8])}`],
    flow: (r) => [...ip4(r, true), `icmp_type=${r.of([0, 8])}`],
  },
  {
    word: 'tcp6',
    match: (r) => [`ipv6_src=${r.of(IP6S)}`, `ipv6_dst=${r.of(IP6S)}`, ...ports(r, false)],
    flow: (r) => [`ipv6_src=${r.of(IP6S)}`, `ipv6_dst=${r.of(IP6S)}`, 'nw_ttl=64', ...ports(r, true)],
  },
];

const common = (r: Random): string[] => [
  `in_port=${r.of([1, 2, 3, 4])}`,
  `dl_src=${r.of(MACS)}`,
  `dl_dst=${r.of(MACS)}`,
  ...r.of([['vlan_tci=0'], ['dl_vlan=5'], ['dl_vlan=5', 'dl_vlan_pcp=2'], ['vlan_tci=0x1000/0x1000']]),
];

const registers = (r: Random): string[] => [`reg1=${r.of([0, 1, 2])}`, 'metadata=0x3/0xf'];

/** OpenFlow 1.0 lets actions assume a tag that may not be there; 1.3 can push one. */
type Dialect = 'OpenFlow10' | 'OpenFlow13';

function action(r: Random, kind: Kind, dialect: Dialect): string {
  const any = [
    'output:1',
    'output:2',
    'output:3',
    'in_port',
    'output:9',
    'controller(max_len=64)',
    'mod_dl_src:02:00:00:00:00:09',
    'mod_dl_dst:02:00:00:00:00:02',
    'load:0x5->NXM_NX_REG1[]',
    'load:1->NXM_NX_REG1[0..3]',
    'move:NXM_OF_ETH_SRC[0..15]->NXM_NX_REG0[0..15]',
    'move:NXM_OF_IN_PORT[]->NXM_NX_REG2[0..15]',
    'output:NXM_NX_REG2[0..15]',
    'push:NXM_NX_REG1[]',
    'push:NXM_OF_ETH_DST[]',
    'pop:NXM_NX_REG3[]',
    'pop:NXM_OF_ETH_SRC[]',
    'note:01',
    'set_field:0x3->metadata',
    'set_queue:1',
    'pop_queue',
    'load:0x2->NXM_NX_PKT_MARK[]',
  ];
  if (dialect === 'OpenFlow10') any.push('enqueue:2:1', 'strip_vlan', 'mod_vlan_vid:7', 'mod_vlan_pcp:3');
  else any.push('push_vlan:0x8100');
  const ip = kind.word === 'ip' || kind.word === 'tcp' || kind.word === 'udp' || kind.word === 'icmp';
  const l4 = kind.word === 'tcp' || kind.word === 'udp' || kind.word === 'tcp6';
  if (ip)
    any.push(
      'mod_nw_src:10.9.9.9',
      'mod_nw_dst:10.0.0.2',
      'mod_nw_tos:64',
      'load:7->NXM_OF_IP_DST[0..7]',
      'move:NXM_OF_IP_SRC[]->NXM_NX_REG0[]',
    );
  if (ip || kind.word === 'tcp6') any.push('dec_ttl', 'mod_nw_ttl:9');
  if (l4) any.push('mod_tp_src:99', 'mod_tp_dst:80');
  if (kind.word === 'tcp6') any.push('set_field:2001:db8::9->ipv6_dst', 'set_field:::1/::ff->ipv6_src');
  if (kind.word === 'arp') any.push('set_field:2->arp_op', 'move:NXM_NX_ARP_SHA[]->NXM_OF_ETH_DST[]');
  return r.of(any);
}

function rules(r: Random, dialect: Dialect): string[] {
  const out: string[] = [];
  const seen = new Set<string>();
  for (let table = 0; table < 3; table++) {
    for (let i = 0; i < 9; i++) {
      const kind = r.of(KINDS);
      const fields = [
        ...(kind.word ? [kind.word] : []),
        ...r.some(common(r), 25),
        ...r.some(kind.match(r), 30),
        ...(table > 0 ? r.some(registers(r), 30) : []),
      ];
      const list = Array.from({ length: r.below(5) }, () => action(r, kind, dialect));
      if (table < 2 && r.below(2) === 0) list.push(r.of([`resubmit(,${table + 1})`, `resubmit(2,${table + 1})`]));
      if (r.below(6) === 0) list.push(r.of(['normal', 'flood', 'all']));
      if (r.below(6) === 0) list.push(`clone(${action(r, kind, dialect)},${action(r, kind, dialect)},output:1)`);
      if (r.below(2) === 0) list.push('output:4');
      // More tags than a flow shows are refused.
      if (
        list.join().split('push_vlan').length > 2 ||
        (list.join().includes('push_vlan') && fields.join().includes('vlan'))
      )
        continue;
      // Which of two rules of one priority wins is anybody's choice.
      const match = [`table=${table}`, `priority=${10 + ((i * 7 + r.below(2) * 63) % 63)}`, ...fields].join(',');
      const key = fields
        .filter((f) => f !== '')
        .sort()
        .join();
      if (seen.has(`${table} ${key}`)) continue;
      seen.add(`${table} ${key}`);
      out.push(`${match} actions=${list.length > 0 ? list.join(',') : 'drop'}`);
    }
  }
  return out;
}

function flow(r: Random): string {
  const kind = r.of(KINDS);
  const tags = r.of([[], [], ['dl_vlan=5', 'dl_vlan_pcp=2'], ['dl_vlan=6', 'dl_vlan_pcp=0']]);
  return [
    ...(kind.word ? [kind.word] : []),
    `in_port=${r.of([1, 2, 3, 4])}`,
    ...tags,
    `dl_src=${r.of(MACS)}`,
    `dl_dst=${r.of(MACS)}`,
    ...kind.flow(r),
  ].join(',');
}

/**
 * What leaves, in no order: floods send in an order of each program's own, and put tags on and off accordingly. Each
 * output stands with the packet as it is by then.
 */
function departures(actions: string, own: string): string {
  const sets: string[] = [];
  const tags: string[] = [];
  const out: string[] = [];
  for (const [token] of actions.matchAll(/(?:[^,()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))+/g)) {
    if (token === own && tags.length === 1 && tags[0] === 'popped') tags.pop();
    else if (token.startsWith('push_vlan')) tags.push(token);
    else if (token === 'pop_vlan')
      tags.splice(
        tags.length > 0 && tags[tags.length - 1] !== 'popped' ? -1 : tags.length,
        1,
        ...(tags.length > 0 && tags[tags.length - 1] !== 'popped' ? [] : ['popped']),
      );
    else if (token.startsWith('set(')) sets.push(token);
    else out.push(`${token} ${sets.join()} ${tags.join()}`);
  }
  return out.sort().join('; ');
}

test('the same rules translate the same packets to the same actions', { timeout: 120_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const sandbox = await startSandbox('original');
  t.after(() => sandbox.stop());
  const control = setUpBridge(sandbox);
  const counts = { flows: 0, actions: 0, wider: 0, narrower: 0, other: 0 };
  const differences: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const r = new Random(SEED * 1000 + round);
    const dialect = round % 2 === 0 ? 'OpenFlow10' : 'OpenFlow13';
    const texts = rules(r, dialect);
    const file = join(sandbox.dir, 'flows');
    writeFileSync(file, `delete\n${texts.join('\n')}\n`);
    const added = sandbox.run(
      'ovs-ofctl',
      ...(dialect === 'OpenFlow13' ? ['-O', dialect] : []),
      'add-flows',
      'br0',
      file,
    );
    assert.equal(added.status, 0, `${added.err}\n${texts.join('\n')}`);
    const bridge = modelBridge(texts);
    for (let i = 0; i < FLOWS; i++) {
      const text = flow(r);
      const reply = await unixctlRequest(control, 'ofproto/trace', ['br0', text]);
      assert.ok(reply.ok, `${text}: ${reply.text}`);
      const parsed = parseMatch(text);
      assert.ok(parsed.ok);
      const observer = new TraceText();
      const { key } = parsed.match;
      if (key.get16(OFS.vlan_tci) !== 0) key.set16(OFS.vlan_tpid, 0x8100);
      const result = xlateFlow({
        bridge,
        flow: key,
        packet: null,
        recirc: new RecircTable(),
        nowMs: 1,
        isTrace: true,
        observer,
      });
      const ours = last(`X: ${formatDpActions(result.actions)}`, 'X: ');
      const theirs = last(reply.text, 'Datapath actions: ');
      const megaflow = formatMegaflow(key, result.mask);
      const theirMegaflow = last(reply.text, 'Megaflow: ');
      counts.flows++;
      const tag = /dl_vlan=(\d+),dl_vlan_pcp=(\d)/.exec(text);
      const own = tag ? `push_vlan(vid=${tag[1]},pcp=${tag[2]})` : '';
      const sameActions = ours === theirs || departures(ours, own) === departures(theirs, own);
      if (!sameActions) counts.actions++;
      if (megaflow !== theirMegaflow) {
        if (megaflow.length < theirMegaflow.length) counts.wider++;
        else if (megaflow.length > theirMegaflow.length) counts.narrower++;
        else counts.other++;
      }
      const isInteresting =
        !sameActions ||
        (process.env.XLATE_DIFF_MASKS && megaflow.length >= theirMegaflow.length && megaflow !== theirMegaflow);
      if (isInteresting && differences.length < 8) {
        differences.push(
          `round ${round} ${text}\nours   ${ours}\ntheirs ${theirs}\nours   ${megaflow}\ntheirs ${theirMegaflow}\n${reply.text}${observer}`,
        );
      }
    }
  }
  t.diagnostic(JSON.stringify(counts));
  assert.equal(counts.actions, 0, differences.join('\n\n'));
  if (process.env.XLATE_DIFF_MASKS) t.diagnostic(differences.join('\n\n'));
  assert.ok(
    counts.narrower * 20 <= counts.flows,
    `${counts.narrower} of ${counts.flows} megaflows narrower than the original's`,
  );
});
