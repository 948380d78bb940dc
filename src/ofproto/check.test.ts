import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseActions } from '../openflow/actions/index.ts';
import { parseFlow } from '../openflow/flow-text.ts';
import { checkFlowActions } from './check.ts';
import type { XlateBridge } from './xlate.ts';

/** All that is asked of a bridge; it has group 1 and meter 1. */
const bridge = {
  tlvTable: null,
  hasConntrack: true,
  group: (id: number) => (id === 1 ? {} : null),
  meter: (id: number) => (id === 1 ? 1 : null),
} as unknown as XlateBridge;

function check(match: string, text: string, version: number): string | null {
  const flow = parseFlow(`${match === '' ? '' : `${match},`}actions=drop`, 'add');
  assert.ok(flow.ok, match);
  const parsed = parseActions(text, { instructions: true });
  assert.ok(parsed.ok, text);
  const key = flow.flow.match.key;
  return checkFlowActions(bridge, parsed.actions, { match: flow.flow.match, key, table: flow.flow.table, version });
}

const INCONSISTENT = 'OFPBAC_MATCH_INCONSISTENT';

/** Match, actions, and what the original answers in OpenFlow 1.0 and in 1.3. */
const CASES: readonly (readonly [string, string, string | null, string | null])[] = [
  ['', 'set_field:5->tcp_dst', INCONSISTENT, INCONSISTENT],
  ['tcp', 'set_field:5->tcp_dst', null, null],
  ['ip', 'mod_tp_dst:3', null, INCONSISTENT],
  ['', 'mod_nw_tos:4', null, INCONSISTENT],
  ['', 'dec_ttl', null, INCONSISTENT],
  ['', 'strip_vlan', null, INCONSISTENT],
  ['', 'load:5->NXM_OF_TCP_DST[]', INCONSISTENT, INCONSISTENT],
  ['', 'move:NXM_OF_TCP_DST[]->NXM_NX_REG0[0..15]', INCONSISTENT, INCONSISTENT],
  ['', 'pop:NXM_OF_TCP_DST[]', INCONSISTENT, INCONSISTENT],
  ['', 'output:NXM_OF_TCP_DST[]', INCONSISTENT, INCONSISTENT],
  ['', 'ct(commit)', INCONSISTENT, INCONSISTENT],
  ['ip', 'ct(commit)', null, null],
  ['', 'clone(set_field:5->tcp_dst)', INCONSISTENT, INCONSISTENT],
  ['', 'write_actions(set_field:5->tcp_dst)', INCONSISTENT, INCONSISTENT],
  ['', 'write_actions(dec_ttl)', null, null],
  ['', 'learn(table=1,NXM_OF_TCP_DST[])', INCONSISTENT, INCONSISTENT],
  ['', 'push_mpls:0x8847,set_field:1->mpls_label', null, null],
  ['', 'push_vlan:0x8100,push_vlan:0x8100,push_vlan:0x8100', 'OFPBAC_BAD_TAG', 'OFPBAC_BAD_TAG'],
  ['', 'resubmit(,1,ct)', INCONSISTENT, INCONSISTENT],
  ['table=3', 'goto_table:2', 'OFPBIC_BAD_TABLE_ID', 'OFPBIC_BAD_TABLE_ID'],
  ['', 'output:65290', 'OFPBAC_BAD_OUT_PORT', 'OFPBAC_BAD_OUT_PORT'],
  ['', 'group:2', 'OFPBAC_BAD_OUT_GROUP', 'OFPBAC_BAD_OUT_GROUP'],
  ['', 'group:1', null, null],
  ['', 'meter:2', 'OFPMMFC_INVALID_METER', 'OFPMMFC_INVALID_METER'],
  // A meter that is not there does not limit.
  ['', 'controller(meter_id=3)', null, null],
];

test('actions that their match is at odds with are refused; those of OpenFlow 1.0 only later', () => {
  for (const [match, actions, of10, of13] of CASES) {
    assert.equal(check(match, actions, 1), of10, `${match} ${actions} in 1.0`);
    assert.equal(check(match, actions, 4), of13, `${match} ${actions} in 1.3`);
  }
});
