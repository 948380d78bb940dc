import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFlow } from '../openflow/flow-text.ts';
import type { FlowStats } from '../openflow/messages.ts';
import type { RuleRow } from './api.ts';
import { maskFields } from './caches.ts';
import { matchText, selection } from './flows.ts';

const RULES = [
  'table=0,priority=10,ip,actions=resubmit(,1)',
  'table=0,priority=0,actions=drop',
  'table=1,cookie=0x51,tcp,nw_dst=10.0.0.2,tp_dst=80,actions=output:2',
  'table=1,ip,nw_dst=10.0.0.0/24,actions=NORMAL',
  'table=2,ipv6,actions=drop',
];

function chosen(query: string, mode: 'says' | 'hits' = 'says'): number[] | string {
  const choice = selection(query, mode, {});
  if (typeof choice === 'string') return choice;
  return RULES.flatMap((text, i) => {
    const parsed = parseFlow(text, 'add');
    assert.ok(parsed.ok, text);
    const { flow } = parsed;
    const cookie = flow.newCookie ?? 0n;
    const row = {
      table: flow.table,
      priority: flow.priority,
      match: matchText(flow.match),
      cookie: `0x${cookie.toString(16)}`,
      actions: text.slice(text.indexOf('actions=') + 8),
    };
    // What a selection looks at.
    return choice.chooses({ ...flow, cookie } as unknown as FlowStats, row as RuleRow) ? [i] : [];
  });
}

test('a query chooses as ovs-ofctl dump-flows does', () => {
  assert.deepEqual(chosen(''), [0, 1, 2, 3, 4]);
  assert.deepEqual(chosen('ip'), [0, 2, 3]);
  assert.deepEqual(chosen('ip,nw_dst=10.0.0.0/24'), [2, 3]);
  assert.deepEqual(chosen('table=1'), [2, 3]);
  assert.deepEqual(chosen('table=1,tcp'), [2]);
  assert.deepEqual(chosen('cookie=0x51/-1'), [2]);
  assert.deepEqual(chosen('priority=10'), [0]);
  assert.deepEqual(chosen('nw_dst=10.0.0.2'), [2], 'prerequisites need not be said');
});

test('or all that such a packet may hit', () => {
  assert.deepEqual(chosen('tcp,nw_dst=10.0.0.2,tp_dst=80', 'hits'), [0, 1, 2, 3]);
  assert.deepEqual(chosen('tcp,nw_dst=10.0.0.2,tp_dst=81', 'hits'), [0, 1, 3]);
  assert.deepEqual(chosen('ipv6', 'hits'), [1, 4]);
});

test('words that are no match are looked for in the text; a wrong match is said to be wrong', () => {
  assert.deepEqual(chosen('resubmit'), [0]);
  assert.deepEqual(chosen('drop table=2'), [4]);
  assert.match(String(chosen('nw_dst=somewhere')), /somewhere/);
});

test('a mask is told field by field', () => {
  assert.deepEqual(
    maskFields(
      'recirc_id(0),in_port(p0),packet_type(ns=0,id=0),eth(dst=01:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0,proto=6,frag=no),tcp(dst=80/0xfff0)',
    ),
    [
      'recirc_id',
      'in_port',
      'eth.dst/01:00:00:00:00:00',
      'eth_type',
      'ipv4.dst/24',
      'ipv4.proto',
      'ipv4.frag',
      'tcp.dst/0xfff0',
    ],
  );
});
