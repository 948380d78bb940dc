/** `encap`, `decap` and what goes with them, beside the original: the same rule and flow, the same datapath actions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unixctlRequest } from '../src/base/unixctl.ts';
import { formatDpActions } from '../src/flow/dp-text.ts';
import { OFS } from '../src/flow/layout.ts';
import { parseMatch } from '../src/flow/match-text.ts';
import { RecircTable, xlateFlow } from '../src/ofproto/xlate.ts';
import { missingOriginal, startSandbox } from './support/twin.ts';
import { last, modelBridge, setUpBridge } from './support/xlate-twin.ts';

const HEAD = 'in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02';
const IP = 'nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_tos=224';
const NSH = `dl_type=0x894f,${HEAD},nsh_flags=1,nsh_spi=0x123,nsh_si=255`;
const MD1 = 'nsh_c1=1,nsh_c2=2,nsh_c3=3,nsh_c4=4';
const FLOWS = {
  tcp: `tcp,${HEAD},${IP},nw_ttl=9,tp_src=80,tp_dst=81`,
  tagged: `tcp,${HEAD},dl_vlan=5,dl_vlan_pcp=2,${IP},nw_ttl=64,tp_src=80,tp_dst=81`,
  nsh: `${NSH},nsh_ttl=63,nsh_mdtype=1,nsh_np=3,${MD1}`,
  old: `${NSH},nsh_ttl=1,nsh_mdtype=1,nsh_np=3,${MD1}`,
  nship: `${NSH},nsh_ttl=63,nsh_mdtype=1,nsh_np=1,${MD1}`,
  nsh2: `${NSH},nsh_ttl=63,nsh_mdtype=2,nsh_np=3`,
  mpls: `mpls,${HEAD},mpls_label=10,mpls_bos=1,mpls_tc=3,mpls_ttl=9`,
  mpls2: `mpls,${HEAD},mpls_label=10,mpls_bos=0,mpls_tc=3,mpls_ttl=9`,
  other: `dl_type=0x1234,${HEAD}`,
} as const;

/** A rule, and the flows that it is tried on. */
const CASES: readonly (readonly [rule: string, flows: readonly (keyof typeof FLOWS)[]])[] = [
  ['actions=encap(nsh),2', ['tcp']],
  [
    'actions=encap(nsh(md_type=1)),set_field:0x1234->nsh_spi,set_field:0x11223344->nsh_c1,encap(ethernet),set_field:11:22:33:44:55:66->dl_dst,2',
    ['tcp', 'tagged', 'mpls', 'other'],
  ],
  ['actions=encap(nsh(md_type=2,tlv(0x1000,10,0x12345678))),encap(ethernet),2', ['tcp', 'nsh']],
  ['actions=decap(),2', ['tcp', 'nsh', 'tagged', 'mpls']],
  ['actions=decap(),encap(ethernet),2', ['tcp', 'other', 'mpls', 'nsh']],
  ['actions=3,decap(),2', ['tagged', 'tcp']],
  ['actions=encap(mpls),2', ['tcp']],
  ['actions=encap(mpls),encap(ethernet),2', ['tcp', 'tagged', 'nsh', 'other']],
  ['actions=decap(),encap(mpls),encap(ethernet),2', ['tcp', 'other', 'mpls']],
  ['actions=decap(),encap(nsh),encap(ethernet),2', ['tcp', 'other', 'mpls', 'nsh']],
  ['actions=decap(),decap(),2', ['nsh', 'nship', 'nsh2', 'tcp', 'mpls']],
  ['actions=decap(),decap(packet_type(ns=0,type=0)),2', ['mpls', 'mpls2']],
  ['actions=decap(),decap(packet_type(ns=1,type=0x8847)),2', ['mpls', 'tcp']],
  ['actions=encap(nsh),encap(ethernet),decap(),decap(),2', ['tcp', 'tagged']],
  ['actions=encap(nsh),dec_nsh_ttl,encap(ethernet),2', ['tcp']],
  ['dl_type=0x894f,actions=dec_nsh_ttl,2', ['nsh', 'old']],
  ['dl_type=0x894f,actions=set_field:9->nsh_spi,set_field:7->nsh_c2,2', ['nsh', 'nship']],
  ['actions=encap(nsh),encap(nsh),encap(ethernet),2', ['tcp']],
  ['actions=encap(mpls),encap(mpls),encap(ethernet),2', ['tcp']],
  ['actions=encap(mpls_mc),set_field:7->mpls_label,dec_mpls_ttl,encap(ethernet),2', ['tcp', 'nsh']],
  ['actions=encap(ethernet),2', ['tcp']],
  ['actions=push_vlan:0x8100,encap(nsh),encap(ethernet),2', ['tcp']],
  ['ip,actions=set_field:10.9.9.9->ip_dst,encap(nsh),encap(ethernet),2', ['tcp', 'tagged']],
  ['actions=set_field:11:11:11:11:11:11->dl_dst,decap,encap(ethernet),2', ['tcp']],
  ['ip,actions=set_field:1.2.3.4->nw_dst,decap,encap(ethernet),2', ['tcp']],
  ['actions=clone(encap(nsh),encap(ethernet),2),3', ['tcp']],
  ['actions=decap,clone(encap(ethernet),2),encap(mpls),encap(ethernet),3', ['tcp']],
  ['actions=encap(nsh),controller,encap(ethernet),2', ['tcp']],
  ['actions=decap,controller', ['tcp']],
  ['actions=decap,debug_recirc,encap(ethernet),2', ['tcp']],
  ['actions=decap,resubmit(,1)', ['tcp']],
];

const numbered = (text: string): string => text.replace(/(recirc_id=|recirc\(0x)[0-9a-fN]+/g, '$1N');

test('headers are put on and taken off as by the original', { timeout: 60_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const sandbox = await startSandbox('original');
  t.after(() => sandbox.stop());
  const control = setUpBridge(sandbox);
  let compared = 0;
  for (const [rule, flows] of CASES) {
    sandbox.run('ovs-ofctl', '-O', 'OpenFlow13', 'del-flows', 'br0');
    const added = sandbox.run('ovs-ofctl', '-O', 'OpenFlow13', 'add-flow', 'br0', rule);
    assert.equal(added.status, 0, `${rule}: ${added.err}`);
    const bridge = modelBridge([`priority=32768,${rule}`.replace(',actions', ' actions')]);
    for (const name of flows) {
      const text = FLOWS[name];
      const reply = await unixctlRequest(control, 'ofproto/trace', ['br0', text]);
      const parsed = parseMatch(text);
      assert.ok(parsed.ok);
      const flow = parsed.match.key;
      if (flow.get16(OFS.vlan_tci) !== 0) flow.set16(OFS.vlan_tpid, 0x8100);
      const result = xlateFlow({ bridge, flow, packet: null, recirc: new RecircTable(), nowMs: 1, isTrace: true });
      const theirs = last(reply.text, 'Datapath actions: ');
      assert.equal(numbered(formatDpActions(result.actions)), numbered(theirs), `${rule} on ${name}\n${reply.text}`);
      assert.equal(result.error !== 'OK', reply.text.includes('Translation failed'), `${rule} on ${name}`);
      compared++;
    }
  }
  assert.ok(compared > 50);
});
