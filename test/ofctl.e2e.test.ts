/**
 * Our `ovs-ofctl` beside the original's against the same switch, which is the original's: what they print must be equal
 * word for word, but for times; and what ours changes the original must see.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { missing, type Result, ROOT, Sandbox } from './support/sandbox.ts';

const skip = missing('ovs-ofctl', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovsdb-tool');

const ASK = [
  'show',
  'dump-desc',
  'dump-tables',
  'dump-ports',
  'dump-ports-desc',
  'dump-flows',
  'dump-aggregate',
  'queue-get-config',
  'dump-groups',
];
/** Some versions answer in forms of their own; the rest is the same code. */
const LINES: readonly string[] = [
  ...[10, 11, 13, 15].flatMap((v) => ASK.map((c) => `-O OpenFlow${v} ${c} br0`)),
  '-O OpenFlow13 dump-meters br0',
  '-O OpenFlow13 meter-features br0',
  '-O OpenFlow13 dump-group-features br0',
  '-O OpenFlow13 dump-group-stats br0',
  '-O OpenFlow14 dump-table-desc br0',
  'dump-tlv-map br0',
  '--names dump-flows br0',
  '--no-stats dump-flows br0',
  '--rsort dump-flows br0',
  '--sort=in_port dump-flows br0',
  'dump-flows br0 cookie=0x1234/-1',
  'dump-flows br0 foo=bar',
  'add-flow br0 actions=foo',
  'add-flow br0 foo',
  'add-flow br0 priority=99999,actions=drop',
  'add-flow br0 cookie=1/2,actions=drop',
  'del-flows br0 cookie=5',
  'add-flow nobr actions=drop',
  'add-flow br0',
  'frob',
  '-F nxm -O OpenFlow13 show br0',
  '-F openflow10 add-flow br0 reg0=1,actions=drop',
  '-O OpenFlow10 add-flow br0 actions=push_vlan:0x8100',
  '-O OpenFlow13 add-flow br0 check_overlap,priority=10,in_port=1,actions=drop',
  '-O OpenFlow14 --bundle add-flow br0 check_overlap,priority=10,in_port=1,actions=drop',
  '-O OpenFlow13 mod-group br0 group_id=99,type=all,bucket=output:1',
  'mod-port br0 p9 down',
  'show unix:/nonexist',
  'parse-flow tcp,in_port=1,actions=mod_nw_dst:5.6.7.8,output:3',
  'diff-flows /nofile br0',
  'diff-flows nofile br0',
  'parse-flow actions=set_field:5->tcp_dst',
  'parse-flow ip,actions=mod_tp_dst:3',
  '-O OpenFlow13 parse-flow ip,actions=mod_tp_dst:3',
  '-O OpenFlow13 parse-flow actions=dec_ttl',
  'parse-flow actions=move:NXM_OF_TCP_DST[]->NXM_NX_REG0[0..15]',
  'parse-flow actions=pop:NXM_OF_TCP_DST[]',
  'parse-flow actions=ct(commit)',
  'parse-flow ip,actions=ct(commit,exec(set_field:5->tcp_dst))',
  'parse-flow actions=output:65290',
  'parse-flow table=3,actions=goto_table:2',
  '-O OpenFlow13 parse-flow actions=strip_vlan',
  '-O OpenFlow13 parse-flow actions=set_field:5->vlan_vid',
  'parse-flow actions=learn(table=1,NXM_OF_TCP_DST[])',
  '-O OpenFlow13 parse-flow actions=write_actions(dec_ttl,output:3)',
  'parse-flow arp,actions=set_field:1.2.3.4->arp_spa',
  'parse-flow ip,actions=set_field:1->nw_ecn',
  'parse-flow mpls,actions=set_field:1->mpls_label',
  'parse-flow dl_type=0x894f,actions=set_field:1->nsh_ttl',
  'parse-flow actions=set_field:1->tun_ttl',
  'parse-flow actions=set_field:0x1->tun_metadata0',
  'parse-flow table=1,reg0=5,actions=output:2',
  'print-error OFPBMC_BAD_PREREQ',
];

const SETUP = [
  'add-flow br0 priority=10,tcp,nw_src=10.0.0.0/8,tp_dst=80,cookie=0x1234,idle_timeout=60,actions=output:2,dec_ttl,resubmit(,1)',
  'add-flow br0 priority=10,in_port=2,actions=drop',
  'add-flow br0 table=1,reg0=5,dl_vlan=10,actions=strip_vlan,NORMAL',
  'add-flow br0 table=2,ipv6,ipv6_src=fe80::/10,actions=move:NXM_NX_REG0[]->NXM_NX_REG1[],load:0x5->NXM_NX_REG2[0..7],controller',
  '-O OpenFlow13 add-flow br0 table=3,arp,arp_op=1,send_flow_rem,actions=set_field:1.2.3.4->arp_spa,goto_table:4',
  '-O OpenFlow13 add-group br0 group_id=1,type=select,bucket=weight:5,output:1,bucket=weight:2,output:2',
  '-O OpenFlow13 add-meter br0 meter=1,kbps,burst,stats,band=type=drop,rate=100,burst_size=10',
];

/** Takes out what time changes. */
function timeless({ stdout, stderr, status }: Result): string {
  return `${stdout}-- errors --\n${stderr}= ${status}`
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(/duration[=:][\d.]+s/g, 'duration')
    .replaceAll(/(idle|hard)_age=\d+/g, '$1_age')
    .replaceAll(/time=[\d.]+ ms/g, 'time');
}

describe('ovs-ofctl beside the original', { skip }, () => {
  let box: Sandbox;
  const c = (line: string) => box.c('ovs-ofctl', ...line.split(' '));
  const ours = (line: string) => box.ours('ovs-ofctl', ...line.split(' '));

  before(async () => {
    box = await Sandbox.create();
    await box.createDb();
    await box.startC('ovsdb-server');
    await box.startC('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
    const versions = [10, 11, 12, 13, 14, 15].map((v) => `OpenFlow${v}`).join(',');
    const bridge = `add-br br0 -- set bridge br0 fail-mode=secure protocols=${versions}`;
    const ports = [1, 2].map((n) => `-- add-port br0 p${n} -- set interface p${n} ofport_request=${n}`).join(' ');
    const result = await box.c('ovs-vsctl', `--db=${box.db}`, ...`${bridge} ${ports}`.split(' '));
    assert.equal(result.status, 0, result.stderr);
  });
  after(async () => {
    await box?.[Symbol.asyncDispose]();
  });

  test('what ours adds the original finds', async () => {
    for (const line of SETUP) {
      const { status, stderr } = await ours(line);
      assert.equal(status, 0, `${line}: ${stderr}`);
    }
    const flows = (await c('--no-stats dump-flows br0')).stdout;
    assert.match(
      flows,
      /cookie=0x1234, idle_timeout=60, priority=10,tcp,nw_src=10\.0\.0\.0\/8,tp_dst=80 actions=output:2,dec_ttl,resubmit\(,1\)/,
    );
    assert.match(flows, /table=1, reg0=0x5,dl_vlan=10 actions=strip_vlan,NORMAL/);
    assert.match(
      flows,
      /table=3, send_flow_rem .*arp,arp_op=1 actions=(load|set_field).*goto_table:4|table=3.*resubmit\(,4\)/,
    );
    assert.match(
      (await c('-O OpenFlow13 dump-groups br0')).stdout,
      /group_id=1,type=select,bucket=weight:5,actions=output:1/,
    );
    assert.match((await c('-O OpenFlow13 dump-meters br0')).stdout, /meter=1 kbps burst stats bands=/);
  });

  test('commands print the same, results and errors', async () => {
    const wrong: string[] = [];
    for (const line of LINES) {
      const [theirs, own] = await Promise.all([c(line), ours(line)]);
      try {
        assert.equal(timeless(own), timeless(theirs));
      } catch (error) {
        wrong.push(`$ ovs-ofctl ${line}\n${(error as Error).message}`);
      }
    }
    assert.equal(wrong.length, 0, wrong.join('\n\n'));
  });

  test('messages of every kind print the same', async () => {
    const hex = readFileSync(join(ROOT, 'test/data/openflow-messages.hex'), 'utf8').trim().split('\n');
    writeFileSync(box.path('messages.bin'), Buffer.from(hex.join(''), 'hex'));
    const [theirs, own] = await Promise.all([
      box.c('ovs-ofctl', '-voff', 'ofp-parse', box.path('messages.bin')),
      box.ours('ovs-ofctl', '-voff', 'ofp-parse', box.path('messages.bin')),
    ]);
    assert.ok(theirs.stdout.length > 10_000);
    assert.equal(own.stdout, theirs.stdout);
  });

  test('a file of flows goes in, is compared and replaced', async () => {
    const path = box.path('flows');
    const lines = Array.from({ length: 1000 }, (_, i) => `table=9,priority=${i + 1},in_port=1,actions=output:2`);
    writeFileSync(path, `${lines.join('\n')}\n`);
    assert.equal((await ours(`add-flows br0 ${path}`)).status, 0);
    assert.match((await c('dump-aggregate br0 table=9')).stdout, /flow_count=1000/);
    writeFileSync(path, 'table=9,priority=1,in_port=1,actions=output:2\nfrob=1,actions=drop\n');
    const bad = await ours(`add-flows br0 ${path}`);
    assert.equal(bad.stderr, `ovs-ofctl: ${path}:2: unknown keyword frob\n`);
    writeFileSync(path, 'table=9,priority=7,in_port=2,actions=drop\n');
    assert.equal((await ours(`--bundle replace-flows br0 ${path}`)).status, 0);
    const flows = (await c('--no-stats dump-flows br0')).stdout;
    assert.equal(flows, ' table=9, priority=7,in_port=2 actions=drop\n');
    assert.equal((await ours(`diff-flows br0 ${path}`)).status, 0);
  });

  test('a file of flows, groups and packets is one bundle', async () => {
    const path = box.path('bundle');
    const bundle = (lines: string) => {
      writeFileSync(path, lines);
      return ours(`-O OpenFlow14 bundle br0 ${path}`);
    };
    const lines = ['group group_id=7,type=all,bucket=output:1', '# and then', 'flow table=8,tcp,actions=group:7'];
    const sent = await bundle(`${lines.join('\n')}\npacket-out in_port=2,packet=${'ff'.repeat(14)},actions=output:1\n`);
    assert.equal(sent.status, 0, sent.stderr);
    assert.equal(
      (await c('-O OpenFlow14 --no-stats dump-flows br0 table=8')).stdout,
      ' table=8, tcp actions=group:7\n',
    );
    const again = await bundle('flow table=8,udp,actions=drop\ngroup group_id=7,type=all,bucket=output:1\n');
    assert.match(again.stderr, /^Error OFPGMFC_GROUP_EXISTS for: OFPT_GROUP_MOD/);
    assert.doesNotMatch((await c('dump-flows br0 table=8,udp')).stdout, /udp/);
    for (const wrong of ['table=4,ip,actions=drop', 'meter add meter=1', 'flow foo table=3']) {
      const own = await bundle(`${wrong}\n`);
      assert.equal(own.stderr, (await c(`bundle br0 ${path}`)).stderr);
      assert.equal(own.status, 1);
    }
  });
});
