/** LACP and `balance-tcp` with the original at the other end of two simulated cables. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const OURS = 'aa:55:aa:00:00:01';
const THEIRS = 'aa:55:aa:00:00:02';

function vsctl(sandbox: Sandbox, ...args: string[]): void {
  const r = sandbox.run('ovs-vsctl', `--db=unix:${sandbox.dir}/db.sock`, ...args);
  assert.equal(r.status, 0, r.err);
}

const ask = (sandbox: Sandbox, ...args: string[]): string => sandbox.run('ovs-appctl', ...args).out;

/** A bond of two cables, each end of which is a socket. */
function addBond(sandbox: Sandbox, mac: string, cable: (n: number) => string, ...settings: string[]): void {
  vsctl(
    sandbox,
    ...['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath-type=dummy', `other-config:hwaddr=${mac}`],
    ...['--', 'add-bond', 'br0', 'bond0', 'e0', 'e1', 'bond_mode=balance-tcp', ...settings],
    ...['--', 'set', 'interface', 'e0', 'type=dummy', `options:${cable(0)}`, 'ofport_request=1'],
    ...['--', 'set', 'interface', 'e1', 'type=dummy', `options:${cable(1)}`, 'ofport_request=2'],
  );
}

/** What one end says of a member: its own state, and what it knows of the other end. */
function endsOf(text: string, member: string): { actor: string[]; partner: string[]; head: string } {
  const part = text.slice(text.indexOf(`member: ${member}:`)).split('\nmember:')[0];
  const of = (whose: string): string[] =>
    [...part.matchAll(new RegExp(`  ${whose} (.*)`, 'g'))].map(([, line]) => line);
  return { actor: of('actor'), partner: of('partner'), head: part.split('\n')[0] };
}

const sent = (sandbox: Sandbox, port: number): number =>
  Number(/tx pkts=(\d+)/.exec(sandbox.run('ovs-ofctl', 'dump-ports', 'br0', String(port)).out)?.[1] ?? 0);

/** Connections leave by both links. */
async function isSpread(s: Sandbox): Promise<void> {
  const before = [sent(s, 1), sent(s, 2)];
  for (let port = 1; port <= 64; port++) {
    const packet =
      `in_port(100),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),` +
      `ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=${1000 + port},dst=80)`;
    assert.equal(s.run('ovs-appctl', 'netdev-dummy/receive', 'br0', packet).status, 0);
  }
  const spread = (): number[] => [sent(s, 1) - before[0], sent(s, 2) - before[1]];
  await until(() => spread()[0] + spread()[1] >= 64, 'packets to be sent', 5000);
  assert.ok(
    spread().every((n) => n >= 10),
    `spread ${spread().join()}`,
  );
}

test('two ends agree on an aggregation, use both links by hash, and notice silence', { timeout: 90_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const [ours, theirs] = [await startSandbox('ours'), await startSandbox('original')];
  t.after(() => {
    ours.stop();
    theirs.stop();
  });
  const socket = (n: number): string => join(theirs.dir, `cable${n}`);
  addBond(theirs, THEIRS, (n) => `pstream=punix:${socket(n)}`, 'lacp=passive', 'other-config:lacp-time=fast');
  addBond(
    ours,
    OURS,
    (n) => `stream=unix:${socket(n)}`,
    'lacp=active',
    'other-config:lacp-system-priority=77',
    'other-config:lacp-time=fast',
  );
  const isUp = (s: Sandbox): boolean =>
    (ask(s, 'bond/show', 'bond0').match(/^member e\d: enabled$/gm) ?? []).length === 2;
  await until(() => isUp(ours) && isUp(theirs), 'the aggregation', 20_000);

  const agrees = (): boolean =>
    ['e0', 'e1'].every((member) => {
      const [a, b] = [ours, theirs].map((s) => endsOf(ask(s, 'lacp/show', 'bond0'), member));
      return (
        a.head === `member: ${member}: current attached` &&
        a.actor.join() === b.partner.join() &&
        b.actor.join() === a.partner.join()
      );
    });
  await until(agrees, 'both ends to know each other', 10_000);
  assert.match(ask(theirs, 'lacp/show', 'bond0'), /partner sys_priority: 77/);
  assert.match(ask(ours, 'bond/show', 'bond0'), /lacp_status: negotiated\n/);
  const current = (): string =>
    ours.run('ovs-vsctl', `--db=unix:${ours.dir}/db.sock`, 'get', 'interface', 'e0', 'lacp_current').out.trim();
  await until(() => current() === 'true', 'the database to know', 5000);

  // Many connections: the datapath's hash spreads them over both links, each always by the same.
  await isSpread(ours);
  const flows = ask(ours, 'dpctl/dump-flows');
  assert.match(flows, /actions:hash\(l4\(0\)\),recirc\(0x/);
  assert.match(flows, /dp_hash\(0x[0-9a-f]+\/0xff\)/);
  assert.match(
    ask(ours, 'bridge/dump-flows', 'br0'),
    /table_id=254, .*recirc_id=0x\w+,dp_hash=0x2\/0xff,actions=output:/,
  );
  const trace = (flow: string): string => ask(ours, 'ofproto/trace', 'br0', flow).split('\n').slice(-3).join('\n');
  assert.match(trace('in_port=e0,dl_type=0x8809,dl_dst=01:80:c2:00:00:02'), /Consists of LACP packets\./);

  // The datapath may choose without sending packets round.
  vsctl(ours, 'set', 'port', 'bond0', 'other-config:lb-output-action=true');
  const [, id] = /lb_output action: enabled, bond-id: (\d+)/.exec(ask(ours, 'bond/show', 'bond0')) ?? [];
  assert.ok(id);
  assert.match(
    ask(ours, 'ofproto/trace', 'br0', 'in_port=LOCAL,tcp,dl_src=02:00:00:00:00:01'),
    RegExp(`lb_output\\(${id}\\)`),
  );
  assert.match(ask(ours, 'dpif-netdev/bond-show'), RegExp(`^Bonds:\n  bond-id ${id}:\n    bucket 0 - member \\d+\n`));
  ask(ours, 'revalidator/wait');
  await isSpread(ours);
  assert.match(ask(ours, 'dpctl/dump-flows'), RegExp(`actions:lb_output\\(${id}\\)`));

  // The other end falls silent.
  theirs.stop();
  await until(
    () => /member: e0: (expired|defaulted)/.test(ask(ours, 'lacp/show', 'bond0')),
    'the partner to be missed',
    15_000,
  );
});
