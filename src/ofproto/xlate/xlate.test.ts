import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDpActions } from '../../flow/dp-text.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { parseMatch } from '../../flow/match-text.ts';
import { parseActions } from '../../openflow/actions/index.ts';
import { creditEffects, RecircTable, unsupportedAction, type XlateResult, xlateFlow } from '../xlate.ts';
import { formatMegaflow } from './flow-text.ts';
import { connect, TestBridge } from './test-bridge.ts';
import { TraceText } from './trace-text.ts';

function flowOf(text: string): FlowKey {
  const parsed = parseMatch(text);
  assert.ok(parsed.ok, text);
  const { key } = parsed.match;
  if (key.get16(OFS.vlan_tci) !== 0) key.set16(OFS.vlan_tpid, 0x8100);
  return key;
}

/** `table=N,priority=P,MATCH actions=…` */
function add(bridge: TestBridge, text: string): void {
  const [match, list] = text.split(/ ?actions=/);
  const number = (name: string, otherwise: number): number =>
    Number(new RegExp(`\\b${name}=(\\d+)`).exec(match)?.[1] ?? otherwise);
  const parsed = parseMatch(match.replace(/\b(table|priority)=\d+,?/g, ''));
  const actions = parseActions(list, { instructions: true });
  assert.ok(parsed.ok && actions.ok, text);
  bridge.addRule(number('table', 0), number('priority', 32768), parsed.match, actions.actions);
}

function bridgeWith(...rules: string[]): TestBridge {
  const bridge = new TestBridge('br0');
  for (let n = 1; n <= 4; n++) bridge.addPort(n, n);
  for (const rule of rules) add(bridge, rule);
  return bridge;
}

const recirc = new RecircTable();
const run = (bridge: TestBridge, text: string, observer: TraceText | null = null): XlateResult =>
  xlateFlow({ bridge, flow: flowOf(text), packet: null, recirc, nowMs: 1, observer });
const actionsOf = (bridge: TestBridge, text: string): string => formatDpActions(run(bridge, text).actions);

test('a packet out of its port is dropped, IN_PORT sends it back', () => {
  const bridge = bridgeWith('in_port=1 actions=output:1,output:2', 'in_port=2 actions=in_port');
  assert.equal(actionsOf(bridge, 'in_port=1'), '2');
  assert.equal(actionsOf(bridge, 'in_port=2'), '2');
  assert.equal(actionsOf(bridge, 'in_port=3'), 'drop');
});

test('the action set runs last, in its own order, one of each kind', () => {
  const bridge = bridgeWith(
    'actions=output:1,write_actions(output:3,dec_ttl,set_field:10.0.0.9->ip_dst),goto_table:1',
    'table=1 actions=write_actions(output:4)',
  );
  assert.equal(actionsOf(bridge, 'tcp,in_port=2,nw_dst=10.0.0.1,nw_ttl=64'), '1,set(ipv4(dst=10.0.0.9,ttl=63)),4');
});

test('a clone leaves the packet as it was', () => {
  const bridge = bridgeWith('actions=clone(mod_nw_ttl:9,output:1),output:2');
  assert.equal(actionsOf(bridge, 'tcp,in_port=3,nw_ttl=64'), 'set(ipv4(ttl=9)),1,set(ipv4(ttl=64)),2');
});

test('a patch port leads into the other bridge, without registers, and counts', () => {
  const a = bridgeWith('actions=load:7->NXM_NX_REG0[],output:9,output:2');
  const b = new TestBridge('br1');
  b.addPort(1, 11);
  add(b, 'reg0=0 actions=mod_dl_src:02:00:00:00:00:01,output:1');
  const from = a.addPort(9, null);
  const to = b.addPort(9, null);
  connect(a, from, b, to);
  const result = run(a, 'in_port=1,dl_src=02:00:00:00:00:05');
  assert.equal(formatDpActions(result.actions), 'set(eth(src=02:00:00:00:00:01)),11,set(eth(src=02:00:00:00:00:05)),2');
  creditEffects(result.effects, { packets: 3, bytes: 180, usedMs: 9, tcpFlags: 0 });
  assert.deepEqual([from.stats?.txPackets, to.stats?.rxBytes], [3, 180]);
  const [rule] = [...b.tables];
  assert.deepEqual([rule.packets, rule.bytes, rule.usedMs], [3, 180, 9]);
  assert.equal(b.tables.tables[0].matched, 3);
});

test('endless resubmits end with an error and no actions', () => {
  const bridge = bridgeWith('actions=output:1,resubmit(,0)');
  const result = run(bridge, 'in_port=2');
  assert.equal(result.error, 'Recursion too deep');
  assert.equal(result.actions.length, 0);
  const wide = bridgeWith();
  for (let t = 0; t < 16; t++) add(wide, `table=${t} actions=resubmit(,${t + 1}),resubmit(,${t + 1})`);
  assert.equal(run(wide, 'in_port=2').error, 'Too many resubmits');
});

test('NORMAL floods until it has learned, within the VLAN', () => {
  const bridge = new TestBridge('br0');
  bridge.addPort(1, 1);
  bridge.addPort(2, 2, { mode: 'access', tag: 5 });
  bridge.addPort(3, 3, { mode: 'access', tag: 6 });
  bridge.addPort(4, 4, { mode: 'access', tag: 5 });
  add(bridge, 'actions=normal');
  const there = run(bridge, 'in_port=2,dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:04');
  assert.equal(formatDpActions(there.actions), 'push_vlan(vid=5,pcp=0),1,pop_vlan,4');
  creditEffects(there.effects, { packets: 1, bytes: 60, usedMs: 1, tcpFlags: 0 });
  assert.equal(actionsOf(bridge, 'in_port=4,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:02'), '2');
  assert.equal(
    actionsOf(bridge, 'in_port=1,dl_vlan=5,dl_vlan_pcp=0,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02'),
    'pop_vlan,2',
  );
  assert.equal(actionsOf(bridge, 'in_port=2,dl_vlan=5,dl_vlan_pcp=0,dl_src=02:00:00:00:00:02'), 'drop');
  assert.equal(actionsOf(bridge, 'in_port=1,dl_dst=01:80:c2:00:00:0e'), 'drop');
});

test('conntrack recirculates and goes on in its table, with the registers it had', () => {
  const bridge = bridgeWith(
    'tcp actions=load:3->NXM_NX_REG0[],ct(table=5,zone=7)',
    'table=5,reg0=3,ct_state=+trk+new actions=output:2',
  );
  const first = run(bridge, 'tcp,in_port=1');
  const id = first.actions.flatMap((a) => (a.kind === 'recirc' ? [a.id] : []))[0];
  assert.equal(formatDpActions(first.actions), `ct(zone=7),recirc(0x${id.toString(16)})`);
  assert.deepEqual(run(bridge, 'tcp,in_port=1').actions, first.actions, 'equal states share an id');
  const back = flowOf('tcp,in_port=1');
  back.set32(OFS.recirc_id, id);
  back.set32(OFS.ct_state, 0x21);
  const text = new TraceText();
  const second = xlateFlow({ bridge, flow: back, packet: null, recirc, nowMs: 1, observer: text });
  assert.equal(
    text.toString(),
    '\nbridge("br0")\n-------------\n    thaw\n        Resuming from table 5\n' +
      ' 5. ct_state=+new+trk,reg0=0x3, priority 32768\n    output:2\n',
  );
  assert.equal(formatDpActions(second.actions), '2');
  back.set32(OFS.recirc_id, 0x7fffffff);
  const lost = xlateFlow({ bridge, flow: back, packet: null, recirc, nowMs: 1 });
  assert.equal(lost.error, 'No recirculation context');
});

test('a trace reads as the original prints it', () => {
  const bridge = bridgeWith(
    'ip,in_port=1 actions=dec_ttl,resubmit(,2),load:5->NXM_NX_REG1[],goto_table:3',
    'table=2,tcp actions=output:2',
    'table=3,priority=7 actions=output:77,resubmit(,4)',
  );
  const text = new TraceText();
  const result = run(bridge, 'tcp,in_port=1,nw_ttl=64', text);
  assert.equal(
    text.toString(),
    [
      '',
      'bridge("br0")',
      '-------------',
      ' 0. ip,in_port=1, priority 32768',
      '    dec_ttl',
      '    resubmit(,2)',
      '     2. tcp, priority 32768',
      '            output:2',
      '    load:0x5->NXM_NX_REG1[]',
      '    goto_table:3',
      ' 3. priority 7',
      '    output:77',
      '     >> Nonexistent output port',
      '    resubmit(,4)',
      ' 4. No match.',
      '    drop',
      '',
    ].join('\n'),
  );
  assert.equal(
    formatMegaflow(flowOf('tcp,in_port=1,nw_ttl=64'), result.mask),
    'recirc_id=0,eth,tcp,in_port=1,nw_ttl=64,nw_frag=no',
  );
});

test('actions that cannot be translated are named', () => {
  assert.equal(unsupportedAction([{ kind: 'note', data: new Uint8Array(1) }]), null);
  assert.equal(unsupportedAction([{ kind: 'clone', actions: [{ kind: 'nat', nat: null } as never] }]), 'nat');
});

test('a table that recirculates into itself with ever more to do comes to an end', () => {
  const bridge = bridgeWith('actions=push:NXM_NX_REG0[],ct(table=0)');
  const flow = flowOf('tcp,in_port=1');
  let rounds = 0;
  for (; rounds < 1000; rounds++) {
    const { actions } = xlateFlow({ bridge, flow, packet: null, recirc, nowMs: 1 });
    const last = actions.at(-1);
    if (last?.kind !== 'recirc') break;
    flow.set32(OFS.recirc_id, last.id);
  }
  assert.equal(rounds, 64);
});
