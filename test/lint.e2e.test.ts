/** `signalbox lint` over OpenFlow: of our switch and of the original, with exit statuses and both forms of output. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FINDINGS } from '../src/openflow/lint/index.ts';
import { assertValid } from './support/json-schema.ts';
import { missing, ROOT, Sandbox } from './support/sandbox.ts';

const RULES = [
  'priority=50,ip,nw_dst=10.0.0.0/24,cookie=0x50,actions=drop',
  'priority=40,icmp,nw_dst=10.0.0.2,cookie=0x40,actions=NORMAL',
  'priority=30,in_port=1,tcp,actions=resubmit(,2)',
  'table=2,tcp,tp_dst=5,actions=resubmit(,0)',
  'table=5,actions=output:9',
];

interface Lint {
  readonly findings: readonly {
    kind: string;
    packet: string | null;
    rule: { text: string; cookie: string } | null;
    related: { cookie: string }[];
  }[];
}

async function lints(sb: Sandbox, tool: 'ours' | 'c'): Promise<void> {
  const vsctl = 'add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure';
  const port = (n: number): string => `add-port br0 p${n} -- set interface p${n} type=dummy ofport_request=${n}`;
  await sb[tool]('ovs-vsctl', ...`${vsctl} -- ${port(1)} -- ${port(2)}`.split(' '));
  const good = await sb.ours('signalbox', 'lint', 'br0');
  assert.deepEqual([good.status, good.stdout], [0, 'br0: 0 rules: 0 errors, 0 warnings, 0 notes\n'], good.stderr);
  for (const rule of RULES) await sb[tool]('ovs-ofctl', 'add-flow', 'br0', rule);
  const text = await sb.ours('signalbox', 'lint', 'br0');
  assert.equal(text.status, 1);
  assert.match(
    text.stdout,
    /^warning: shadowed\n {2}cookie=0x40, priority=40,icmp,nw_dst=10\.0\.0\.2 actions=NORMAL\n {2}never matches: all its packets are taken by a rule of priority 50\n {4}cookie=0x50, priority=50,ip,nw_dst=10\.0\.0\.0\/24 actions=drop\n$/m,
  );
  assert.match(text.stdout, /\nbr0: 5 rules: 1 error, 3 warnings, 0 notes\n$/);
  const json = await sb.ours('signalbox', 'lint', '--format=json', 'br0');
  const document = JSON.parse(json.stdout) as Lint;
  assertValid('lint', document);
  assert.deepEqual(
    document.findings.map((f) => f.kind),
    ['loop', 'shadowed', 'missing-port', 'unreached-table'],
  );
  assert.equal(document.findings[1].related[0].cookie, '0x50');
  // The packet of the loop goes round indeed.
  const packet = document.findings[0].packet ?? '';
  const trace = await sb[tool]('ovs-appctl', 'ofproto/trace', 'br0', packet);
  assert.match(trace.stdout, /over (max translation depth 64|4096 resubmit actions)/, packet);
  const errors = await sb.ours('signalbox', 'lint', '--level=error', 'br0');
  assert.doesNotMatch(errors.stdout, /^warning/m);
  assert.equal(errors.status, 1, 'what is not shown is there');
}

test('the schema has all kinds of findings', () => {
  const schema = JSON.parse(readFileSync(join(ROOT, 'docs/schema/lint.json'), 'utf8'));
  assert.deepEqual(schema.properties.findings.items.properties.kind.enum, Object.keys(FINDINGS));
  const guide = readFileSync(join(ROOT, 'docs/lint.md'), 'utf8');
  for (const kind of Object.keys(FINDINGS)) assert.ok(guide.includes(`\`${kind}\``), kind);
});

test('a file of flows', async () => {
  await using sb = await Sandbox.create();
  const file = sb.path('flows');
  writeFileSync(file, `# comment\n${RULES.join('\n')}\n\npriority=30,in_port=1,tcp actions=output:7\n`);
  const text = await sb.ours('signalbox', 'lint', `--file=${file}`);
  assert.equal(text.status, 1, text.stderr);
  assert.match(text.stdout, /^warning: replaced\n {2}priority=30,tcp,in_port=1 actions=resubmit\(,2\)\n/m);
  assert.match(text.stdout, /^warning: shadowed\n {2}cookie=0x40, /m);
  assert.doesNotMatch(text.stdout, /loop|missing-port/);
  writeFileSync(file, 'delete table=0\n');
  const other = await sb.ours('signalbox', 'lint', `--file=${file}`);
  assert.deepEqual(
    [other.status, other.stderr],
    [2, `signalbox: ${file}: lint is for flows to be added, not for "delete"\n`],
  );
  writeFileSync(file, 'tcp,actions=fly\n');
  const wrong = await sb.ours('signalbox', 'lint', `--file=${file}`);
  assert.deepEqual([wrong.status, wrong.stderr], [2, `signalbox: ${file}:1: unknown action fly\n`]);
});

test('our switch', async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  await lints(sb, 'ours');
  const none = await sb.ours('signalbox', 'lint', 'nope');
  assert.deepEqual([none.status, none.stderr], [2, 'signalbox: nope is not a bridge or a socket\n']);
  const usage = await sb.ours('signalbox', 'lint');
  assert.equal(usage.status, 2);
  const help = await sb.ours('signalbox', 'lint', '--help');
  assert.match(help.stdout, /^ {2}shadowed +warning/m);
});

test("the original's switch", async (t) => {
  const none = missing('ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl');
  if (none !== false) return t.skip(none);
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startC('ovsdb-server');
  await sb.startC('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  await lints(sb, 'c');
});
