/** LLDP and auto-attach with the original at the other end of a simulated cable, in either place. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

function vsctl(s: Sandbox, ...args: string[]): void {
  const r = s.run('ovs-vsctl', `--db=unix:${s.dir}/db.sock`, ...args);
  assert.equal(r.status, 0, r.err);
}

const ask = (s: Sandbox, ...args: string[]): string => s.run('ovs-appctl', ...args).out;
/** Addresses of devices are each machine's own. */
const tidy = (text: string): string => text.replace(/(..:){5}..(?=:| *$)/gm, 'MAC').replace(/[tr]x cnt: \d+/g, '');

async function tell(first: Sandbox, second: Sandbox): Promise<string[]> {
  const socket = join(first.dir, 'cable');
  for (const [i, s] of [first, second].entries()) {
    ask(s, 'time/stop');
    const cable = i === 0 ? `pstream=punix:${socket}` : `stream=unix:${socket}`;
    const port = `add-port br0 p1 -- set interface p1 type=dummy options:${cable} ofport_request=1 lldp:enable=true`;
    vsctl(s, ...`add-br br0 -- set bridge br0 datapath-type=dummy -- ${port}`.split(' '));
    const create = ['--id=@a', 'create', 'AutoAttach', `system_name=sw${i}`, `system_description="switch ${i}"`];
    vsctl(s, ...create, 'mappings:100=5', '--', 'set', 'bridge', 'br0', 'auto_attach=@a');
  }
  const words = ['status', 'show-isid', 'statistics'];
  const isHeard = (s: Sandbox): boolean => ask(s, 'autoattach/status').includes('Server Descr');
  await until(() => {
    for (const s of [first, second]) ask(s, 'time/warp', '1000', '200');
    return isHeard(first) && isHeard(second);
  }, 'the neighbour to be heard');
  const told = [first, second].flatMap((s) => words.map((word) => tidy(ask(s, `autoattach/${word}`))));
  told.push(ask(first, 'ofproto/trace', 'br0', 'in_port=1,dl_type=0x88cc,dl_dst=01:80:c2:00:00:0e'));
  return told;
}

test('both ends hear of each other as the original does', { timeout: 90_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const sandboxes = await Promise.all(
    (['ours', 'original', 'original', 'ours'] as const).map((kind) => startSandbox(kind)),
  );
  t.after(() => {
    for (const s of sandboxes) s.stop();
  });
  const [a, b, c, d] = sandboxes;
  const [one, two] = [await tell(a, b), await tell(c, d)];
  assert.deepEqual(one, two);
  assert.match(one[0], /Descr: switch 1\n/);
  assert.match(one[6], /Consists of LLDP packets/);
});

const PORTS: readonly (readonly [name: string, settings: string])[] = [
  ['p1', ''],
  ['p2', 'trunks=1,9'],
  ['p3', 'tag=3'],
  ['p4', 'trunks=1 vlan_mode=native-tagged'],
];

async function attach(s: Sandbox): Promise<string[]> {
  const told: string[] = [];
  const trunks = (): string => {
    const list = ['--columns=name,tag,trunks,vlan_mode', '-f', 'csv', '--no-headings', 'list', 'port'];
    const { out } = s.run('ovs-vsctl', `--db=unix:${s.dir}/db.sock`, ...list);
    return out.trim().split('\n').sort().join('\n');
  };
  const tell = async (...args: string[]): Promise<void> => {
    const before = trunks();
    vsctl(s, ...args);
    ask(s, 'time/warp', '3000', '200');
    await until(() => trunks() !== before, `the trunks to change after ${args.join(' ')}`);
    told.push(trunks());
  };
  ask(s, 'time/stop');
  vsctl(s, ...'add-br br0 -- set bridge br0 datapath-type=dummy'.split(' '));
  for (const [name, settings] of PORTS) {
    const add = `add-port br0 ${name} ${settings} -- set interface ${name} type=dummy lldp:enable=true`;
    vsctl(s, ...add.split(' ').filter((word) => word !== ''));
  }
  vsctl(s, ...'add-port br0 silent -- set interface silent type=dummy'.split(' '));
  await tell(...'--id=@a create AutoAttach system_name=s mappings:100=5 -- set bridge br0 auto_attach=@a'.split(' '));
  const id = s.run('ovs-vsctl', `--db=unix:${s.dir}/db.sock`, 'get', 'bridge', 'br0', 'auto_attach').out.trim();
  await tell('set', 'AutoAttach', id, 'mappings:200=7');
  await tell('remove', 'AutoAttach', id, 'mappings', '100');
  await tell('remove', 'AutoAttach', id, 'mappings', '200');
  return told;
}

test('VLANs of mappings enter and leave trunks as with the original', { timeout: 90_000 }, async (t) => {
  const missing = missingOriginal();
  if (missing) return t.skip(missing);
  const sandboxes = await Promise.all((['ours', 'original'] as const).map((kind) => startSandbox(kind)));
  t.after(() => {
    for (const s of sandboxes) s.stop();
  });
  const [ours, original] = [await attach(sandboxes[0]), await attach(sandboxes[1])];
  assert.deepEqual(ours, original);
  assert.match(ours[0], /^p1,\[\],\[5\],trunk$/m);
});
