/** `signalbox journey` beside a running switch, with packets of real programs through real devices. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Step, Story } from '../src/ofproto/journey/story.ts';
import { type HostNet, hostNet, pairUp } from './support/host-net.ts';
import { Netns } from './support/netns.ts';
import { BIN, haveProgram, missing, must, notRoot, ROOT, Sandbox, until } from './support/sandbox.ts';

/** Stories that are held against their packets; 10 000 with SIGNALBOX_JOURNEYS=10000. */
const STORIES = Number(process.env['SIGNALBOX_JOURNEYS'] ?? 300);
const SECONDS = Math.ceil(STORIES / 50);

const skip = notRoot || missing('ip', 'ping');

/** Runs `signalbox journey` while `during` makes packets. */
async function journey(net: HostNet, args: readonly string[], during: () => Promise<unknown>): Promise<Buffer> {
  const env = { ...process.env, ...net.sb.env };
  const child = spawn(join(BIN, 'signalbox'), ['journey', '--timeout=8', ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out: Buffer[] = [];
  let err = '';
  child.stdout.on('data', (b: Buffer) => out.push(b));
  child.stderr.on('data', (b: Buffer) => (err += b));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await until(
    async () => (await net.sb.ours('ovs-appctl', 'journey/list')).stdout.startsWith('j') || child.exitCode !== null,
    5000,
    'somebody looks for packets',
  );
  await during();
  assert.equal(await ended, 0, err);
  return Buffer.concat(out);
}

const stories = (out: Buffer): Story[] =>
  out
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Story);

const kinds = (story: Story): Step['step'][] => story.steps.map((s) => s.step);

test('a ping is an upcall and then hits; drops say why; the same as text, JSON and capture', { skip }, async () => {
  await using net = await hostNet(2);
  const [a, b] = net.hosts;
  await net.ours('ovs-vsctl', 'set', 'open_vswitch', '.', 'other_config:emc-insert-inv-prob=1');
  await net.ours('ovs-ofctl', 'add-flow', net.bridge, 'priority=1,actions=NORMAL');
  const ping = (n: number) => a.ns.exec('ping', '-c', String(n), '-i', '0.05', '-W', '1', b.address);
  await ping(1);
  // Away with its megaflow, so that the journey begins with an upcall.
  await net.ours('ovs-appctl', 'revalidator/purge');
  const told = stories(
    await journey(net, [`icmp,nw_dst=${b.address}`, '--count=4', '--format=json', `--bridge=${net.bridge}`], () =>
      ping(4),
    ),
  );
  assert.equal(told.length, 4);
  for (const story of told) {
    assert.equal(story.verdict, 'forwarded', JSON.stringify(story));
    assert.deepEqual([story.in_port.name, story.outputs[0].name], [a.port.outer, b.port.outer]);
    assert.equal(story.length, 98);
    assert.match(story.flow, /^icmp,/);
    for (let i = 1; i < story.steps.length; i++)
      assert.ok(story.steps[i].ns >= story.steps[i - 1].ns, 'in order of time');
  }
  assert.deepEqual(kinds(told[0]), ['lookup', 'upcall', 'translation', 'actions', 'sent']);
  assert.ok(told.slice(1).every((s) => s.steps[0].step === 'lookup' && s.steps[0].cache !== 'none'));
  const last = told[3].steps[0];
  assert.ok(last.step === 'lookup' && last.cache === 'emc', 'the EMC answers in the end');
  assert.equal(last.megaflow?.made_by_journey, told[0].journey);

  await net.ours('ovs-ofctl', 'add-flow', net.bridge, 'priority=9,icmp,cookie=0xbad,actions=drop');
  const text = (await journey(net, ['icmp', '--only=drops', '--count=1'], () => ping(1))).toString();
  assert.match(text, /^✗ journey \d+ {2}.* dropped: drop-rule/);
  assert.match(text, /✗ drop-rule: rule in table 0 of sbj\w+: cookie=0xbad, priority=9,icmp actions=drop/);

  const capture = net.sb.path('out.pcapng');
  await journey(net, ['icmp', '--count=2', '--format=pcapng', `--write=${capture}`], () => ping(2));
  if (!haveProgram('tshark')) return;
  const fields = ['-T', 'fields', '-e', 'ip.dst', '-e', 'frame.comment', '-e', 'frame.interface_name'];
  const shown = execFileSync('tshark', ['-r', capture, ...fields], { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  const lines = shown.split('\n').filter((line) => line.startsWith(`${b.address}\t`));
  assert.equal(lines.length, 2, shown);
  for (const line of lines) {
    assert.match(line, /drop-rule: rule in table 0/, 'the story is the comment');
    assert.ok(line.endsWith(a.port.outer), line);
  }
});

test('every story is its own packet, whatever the load on two PMDs', { skip }, async () => {
  await using net = await hostNet(4, '-- set open_vswitch . other_config:pmd-cpu-mask=3');
  const { hosts } = net;
  // Pairs: 1 to 2 and 3 to 4, whose ports are on different PMDs.
  await Promise.all(
    hosts.map(({ port }, i) => {
      const rule = `in_port=${port.outer},actions=mod_nw_tos:${(i + 1) * 4},output:${hosts[i ^ 1].port.outer}`;
      return net.ours('ovs-ofctl', 'add-flow', net.bridge, rule);
    }),
  );
  await pairUp(hosts);
  const flood = (i: number, j: number) =>
    hosts[i].ns.exec(
      'ping',
      '-f',
      '-c',
      String(STORIES * 14),
      '-w',
      String(SECONDS),
      '-s',
      String(100 + i),
      hosts[j].address,
    );
  const out = await journey(net, ['icmp', `--count=${STORIES}`, '--format=json', `--timeout=${SECONDS + 2}`], () =>
    Promise.all([flood(0, 1), flood(2, 3)]),
  );
  const told = stories(out);
  // How many packets get told in the time is the machine's affair; that each tells of itself is ours.
  assert.ok(told.length >= STORIES * 0.9, `${told.length} of ${STORIES}`);
  const seen = new Set<string>();
  const threads = new Set<number>();
  for (const story of told) {
    const i = hosts.findIndex((h) => h.port.outer === story.in_port.name);
    assert.ok(i >= 0, story.in_port.name);
    threads.add(story.pmd);
    const packet = Buffer.from(story.packet, 'hex');
    // The packet's own bytes say from which host it is, and the story must agree in all it tells.
    assert.equal(packet[29], i + 1, 'source address');
    const to = i ^ 1;
    assert.deepEqual(
      story.outputs.map((p) => p.name),
      [hosts[to].port.outer],
    );
    assert.match(story.flow, new RegExp(`in_port=${hosts[i].port.outer},`));
    const action = story.steps.find((s) => s.step === 'action');
    const tos = ((i + 1) * 4).toString(16).padStart(2, '0');
    assert.equal(action?.step === 'action' ? action.after?.slice(30, 32) : '', tos);
    assert.equal(action?.step === 'action' ? action.before : '', story.packet.slice(0, 192));
    const lookup = story.steps[0];
    if (lookup.step === 'lookup' && lookup.megaflow) {
      assert.match(lookup.megaflow.match, new RegExp(`in_port=${hosts[i].port.outer}\\b`));
    }
    seen.add(`${story.in_port.name} ${packet.subarray(34, 42).toString('hex')}`);
  }
  assert.equal(seen.size, told.length, 'no packet twice');
  assert.equal(threads.size, 2, 'both PMDs tell');
});

test('the schema knows all that is told', () => {
  const schema = JSON.parse(readFileSync(join(ROOT, 'docs/schema/journey.json'), 'utf8')) as {
    $defs: { step: { oneOf: { properties: { step: { const: string } } }[] } };
  };
  const named = schema.$defs.step.oneOf.map((s) => s.properties.step.const).sort();
  const source = readFileSync(join(ROOT, 'src/ofproto/journey/story.ts'), 'utf8');
  const told = [...source.matchAll(/readonly step: '(\w+)'/g)].map((m) => m[1]).sort();
  assert.deepEqual(named, told);
});

test('a tunnel is told from both sides: what is put around a packet, and what comes out of one', { skip }, async () => {
  await using sb = await Sandbox.create();
  await using site = await Netns.create();
  await using host = await Netns.create();
  await using peer = await Netns.create();
  const link = (a: Netns, name: string, b: Netns): Promise<string> =>
    must('ip', `link add ${name} netns ${a.name} type veth peer name eth0 netns ${b.name}`.split(' '));
  await link(site, 'host0', host);
  await link(site, 'phy0', peer);
  for (const name of ['host0', 'phy0']) await site.must('ip', 'link', 'set', name, 'up');
  await host.must('ip', 'addr', 'add', '10.94.0.1/24', 'dev', 'eth0');
  await host.must('ip', 'link', 'set', 'eth0', 'mtu', '1400', 'up');
  await peer.must('ip', 'addr', 'add', '172.31.9.2/24', 'dev', 'eth0');
  await peer.must('ip', 'link', 'set', 'eth0', 'up');
  const vxlan = 'link add vx0 type vxlan id 7 remote 172.31.9.1 dstport 4789 dev eth0';
  await peer.must('ip', ...vxlan.split(' '));
  await peer.must('ip', 'addr', 'add', '10.94.0.2/24', 'dev', 'vx0');
  await peer.must('ip', 'link', 'set', 'vx0', 'up');
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--disable-system'], { prefix: site.prefix() });
  const ours = async (program: string, ...args: string[]): Promise<string> => {
    const r = await sb.ours(program, ...args);
    assert.equal(r.status, 0, `${program} ${args.join(' ')}: ${r.stderr}`);
    return r.stdout;
  };
  const lines = [
    'add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy phy0 -- set interface phy0 options:xdp-mode=off',
    'add-br br-int -- set bridge br-int datapath_type=netdev -- add-port br-int host0 -- set interface host0 options:xdp-mode=off',
    'add-port br-int vx7 -- set interface vx7 type=vxlan options:remote_ip=172.31.9.2 options:key=7',
  ];
  for (const line of lines) await ours('ovs-vsctl', '--timeout=15', ...line.split(' '));
  await site.must('ip', 'addr', 'add', '172.31.9.1/24', 'dev', 'br-phy');
  await site.must('ip', 'link', 'set', 'br-phy', 'up');
  const ping = () => host.exec('ping', '-c', '2', '-i', '0.05', '-W', '1', '10.94.0.2');
  await until(async () => (await ping()).status === 0, 10_000, 'the tunnel works');
  const net = { sb, bridge: 'br-int', hosts: [], ours, [Symbol.asyncDispose]: async () => {} };
  const [out] = stories(await journey(net, ['icmp,nw_dst=10.94.0.2', '--count=1', '--format=json'], ping));
  assert.equal(out.verdict, 'forwarded');
  assert.deepEqual(
    out.outputs.map((p) => p.name),
    ['phy0'],
  );
  const push = out.steps.find((s) => s.step === 'action' && s.action.startsWith('tnl_push('));
  assert.ok(push?.step === 'action', JSON.stringify(out.steps));
  assert.match(push.changes[0], /^outer headers: udp,.*nw_src=172\.31\.9\.1,nw_dst=172\.31\.9\.2,.*tp_dst=4789$/);
  assert.equal(push.changes[1], 'length: 98 -> 148');
  assert.equal(push.before, out.packet.slice(0, 192));
  assert.ok(push.after?.includes('12b5'), push.after ?? 'none');
  // The answer: what comes in is UDP, what comes out of it is told as it is then.
  const [back] = stories(await journey(net, ['udp,tp_dst=4789', '--count=1', '--format=json'], ping));
  assert.equal(back.in_port.name, 'phy0');
  const inner = back.steps.find((s) => s.step === 'recirculated' && s.flow.includes('tun_id=0x7'));
  assert.ok(inner?.step === 'recirculated', JSON.stringify(back.steps));
  assert.match(
    inner.flow,
    /icmp,.*tun_src=172\.31\.9\.2,tun_dst=172\.31\.9\.1.*nw_src=10\.94\.0\.2,nw_dst=10\.94\.0\.1/,
  );
  assert.deepEqual(
    back.outputs.map((p) => p.name),
    ['host0'],
  );
});
