/** Breakpoints over the whole way of a packet: fast path, slow path and back, and the commands that people give. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clock } from '../../base/clock.ts';
import { runCommand } from '../../base/commands.ts';
import { OFS } from '../../flow/layout.ts';
import { DummyNetdev } from '../../netdev/dummy.ts';
import type { Bridge } from '../bridge.ts';
import { registerTrace } from '../trace.ts';
import { Random } from '../xlate/random-network.ts';
import { BREAK_STAGES } from './breaks.ts';
import { registerJourneyCommands } from './commands.ts';
import type { HeldState } from './held.ts';
import { PORTS, randomPacket, randomTables, TestSwitch, udp, VLAN } from './testing.ts';

async function open(): Promise<TestSwitch> {
  const sw = await TestSwitch.create();
  registerJourneyCommands(() => [sw.backer]);
  registerTrace(() => [sw.backer]);
  return sw;
}

const run = (command: string, ...args: string[]): Promise<string> =>
  runCommand(`journey/break-${command}`, args, { format: 'text' });

async function held(...args: string[]): Promise<HeldState[]> {
  const lines = (await run('show', '--format=json', ...args)).trim().split('\n');
  return lines.map((l) => JSON.parse(l) as HeldState).filter((l) => l.type === 'held');
}

test('step leads through every stage of an upcall, and of a hit', async () => {
  await using sw = await open();
  sw.flow('udp,actions=ct(table=1)');
  sw.flow('table=1,udp,actions=dec_ttl,output:2');
  assert.equal(await run('set', 'rx', 'udp,nw_dst=10.0.0.2'), 'b1\n');
  const walk = async (): Promise<string[]> => {
    const stages: string[] = [];
    for (let n = 0; n < 40; n++) {
      const [h] = await held();
      if (!h) break;
      stages.push(h.stage);
      await run('step', String(h.packet));
    }
    return stages;
  };
  assert.deepEqual(sw.give('p1', udp(2)), [], 'it waits');
  const lookup = ['emc', 'dpcls', 'upcall', 'xlate'];
  const all = ['rx', 'extract', ...lookup, 'ct', 'action', 'extract', ...lookup, 'action', 'tx'];
  assert.deepEqual(await walk(), all);
  assert.equal(sw.sent.length, 1);
  const first = sw.sent[0].hex;
  assert.equal(Buffer.from(first, 'hex')[22], 63);
  sw.give('p1', udp(2));
  const again = ['rx', 'extract', 'emc', 'dpcls', 'ct', 'action', 'extract', 'emc', 'dpcls', 'action', 'tx'];
  assert.deepEqual(await walk(), again);
  assert.equal(sw.sent.at(-1)?.hex, first);
  assert.equal(sw.give('p1', udp(3)).length, 1, 'others pass');
  await run('delete', 'all');
  assert.match(await run('list'), /no breakpoints/);
});

test('a packet that waits shows its state; its journey tells that it waited', async () => {
  await using sw = await open();
  sw.flow('udp,actions=ct(commit,zone=7,exec(load:5->NXM_NX_CT_MARK[])),ct(table=1,zone=7)');
  sw.flow('table=1,udp,ct_state=+trk,actions=mod_dl_src:02:00:00:00:00:99,output:2,output:3');
  await run('set', 'tx,ct', 'udp', '--in-port=p1');
  sw.give('p1', udp(2));
  let [h] = await held();
  assert.equal(h.stage, 'ct');
  assert.deepEqual(h.metadata, []);
  assert.match(h.flow, /^udp,in_port=p1,.*nw_dst=10\.0\.0\.2/);
  assert.ok(h.headers.some((f) => f.field === 'ip_dst' && f.value === '10.0.0.2' && f.is_editable));
  assert.match(h.actions, /^ct\(commit,zone=7.*\),ct\(zone=7\),recirc\(0x/);
  assert.deepEqual(
    h.steps.map((s) => s.step),
    ['lookup', 'upcall', 'translation', 'actions', 'held'],
  );
  const { packet } = h;
  await run('continue');
  [h] = await held();
  assert.deepEqual([h.packet, h.stage], [packet, 'ct'], 'the second ct');
  await run('continue');
  [h] = await held();
  assert.equal(h.stage, 'tx');
  assert.ok(
    h.metadata.some((f) => f.field === 'ct_state' && /new.*trk/.test(f.value)),
    JSON.stringify(h.metadata),
  );
  assert.ok(h.metadata.some((f) => f.field === 'ct_mark' && f.value === '0x5'));
  assert.equal(h.bytes.slice(12, 24), '020000000099');
  assert.match(await run('show'), /■ packet \d+ {2}before tx {2}br0: p1, 62 bytes .*left to do: p2,p3/s);
  assert.equal(sw.sent.length, 0);
  await run('continue');
  assert.deepEqual(
    sw.sent.map((s) => s.port),
    ['p2'],
  );
  await run('drop', String(packet));
  assert.equal(sw.sent.length, 1, 'the second copy was dropped');
  assert.deepEqual(await held(), []);
  const lines = (await run('show', '--format=json', '--stories')).trim().split('\n');
  const story = lines.map((l) => JSON.parse(l)).find((l) => l.type === 'story');
  assert.equal(story.verdict, 'forwarded');
  const steps = story.steps.map((s: { step: string; how?: string }) => s.how ?? s.step);
  assert.equal(steps.filter((s: string) => s === 'held').length, 4);
  assert.equal(steps.filter((s: string) => s === 'continue').length, 3);
  assert.deepEqual(steps.slice(-2), ['drop', 'drop']);
  await run('delete');
});

test('edits: checksums are right, tags come and go, before translation they change what the tables see', async () => {
  await using sw = await open();
  sw.flow('udp,nw_dst=10.0.0.2,actions=output:2');
  sw.flow('udp,nw_dst=10.0.0.3,actions=output:3');
  await run('set', 'xlate', 'udp');
  sw.give('p1', udp(2));
  const [h] = await held();
  assert.equal(h.stage, 'xlate');
  await assert.rejects(run('edit', String(h.packet), 'tcp_dst=5'), /tcp_dst: the packet has no such field/);
  await assert.rejects(run('edit', String(h.packet), 'in_port=5'), /in_port cannot be edited/);
  await assert.rejects(run('edit', String(h.packet), 'nw_dst=zebra'), /zebra/);
  await assert.rejects(run('edit', String(h.packet), 'nonsense=1'), /nonsense: unknown field/);
  await run('edit', String(h.packet), 'nw_dst=10.0.0.3', 'tp_dst=99', 'dl_vlan=7', 'vlan_tci=0');
  await run('continue');
  const want = udp(3, (key) => key.set16(OFS.tp_dst, 99));
  assert.deepEqual(sw.sent, [{ port: 'p3', hex: Buffer.from(want).toString('hex') }]);
  // The megaflow is that of the edited packet: the next of its kind needs no upcall, the next like the first does.
  assert.equal(sw.give('p1', want).length, 1);
  assert.deepEqual(sw.give('p1', udp(2)), []);
  await run('delete');
  assert.equal(sw.sent.length, 1, 'deleting lets it go');

  await run('set', 'tx', 'udp');
  sw.give('p1', udp(2));
  await run('edit', String((await held())[0].packet), 'dl_vlan=42', 'nw_ttl=9');
  await run('continue');
  const out = Buffer.from(sw.sent[0].hex, 'hex');
  assert.equal(out.subarray(12, 18).toString('hex'), '8100002a0800');
  assert.equal(out[26], 9);
  await run('delete', 'all');
});

test('drops wait too, whoever decides them; the time limit lets go; so does the end', async () => {
  await using sw = await open();
  sw.flow('udp,nw_dst=10.0.0.2,cookie=0x7,actions=drop');
  await run('set', 'drop', 'udp', '--limit=30');
  sw.give('p1', udp(2));
  let [h] = await held();
  assert.deepEqual([h.stage, h.reason?.name], ['drop', 'drop-rule']);
  assert.match(h.reason?.text ?? '', /cookie=0x7/);
  await run('continue');
  // A hit now: the fast path drops it.
  sw.give('p1', udp(2));
  [h] = await held();
  assert.deepEqual([h.stage, h.reason?.name], ['drop', 'drop-rule'], 'the tables say why');
  await clock.warp(29_000);
  assert.equal((await held()).length, 1);
  await clock.warp(2000);
  assert.deepEqual(await held(), []);
  sw.flow('udp,nw_dst=10.0.0.3,actions=output:2');
  await run('delete', 'all');
  await run('set', 'upcall', 'udp');
  sw.give('p1', udp(3));
  assert.equal((await held()).length, 1);
  sw.sent = [];
  sw.journeys.close();
  assert.equal(sw.sent.length, 1, 'the end lets go');
});

test('what waits in the slow path is bounded, too', async () => {
  await using sw = await open();
  sw.flow('udp,actions=output:2');
  using _ = sw.journeys.breaks.set({ stages: ['xlate'], filter: 'udp' });
  // Each is translated for itself.
  sw.backer.upcalls.usesMegaflows = false;
  sw.sent = [];
  for (let dst = 1; dst <= 100; dst++) assert.ok(sw.netdevs.get('p1')?.receive(udp(dst)));
  assert.equal([...sw.journeys.breaks.packets()].length, 64);
  assert.equal(sw.sent.length, 36);
  assert.equal(JSON.parse((await run('show', '--format=json')).split('\n')[0]).passed, 36);
  sw.journeys.breaks.closeAll();
  assert.equal(sw.sent.length, 100);
});

test('two who look do not disturb each other, and a bridge that nobody asked for is let through', async () => {
  await using sw = await open();
  sw.flow('udp,actions=output:2');
  using point = sw.journeys.breaks.set({ stages: ['dpcls'], filter: 'udp,nw_dst=10.0.0.2' });
  sw.give('p1', udp(2));
  const [waiting] = sw.journeys.breaks.packets();
  // Somebody begins to look while the packet waits; its story is still told to the breakpoint, and to nobody else.
  using session = sw.journeys.start({});
  assert.equal(sw.give('p1', udp(3)).length, 1);
  assert.equal(session.fetch().length, 1);
  assert.ok(sw.journeys.breaks.continue(waiting.number));
  assert.equal(sw.sent.length, 2);
  assert.deepEqual(session.fetch(), []);
  const [story] = point.session.fetch();
  assert.equal(story.verdict, 'forwarded');
  assert.equal(point.hits, 1);
  // A second bridge: its packets pass a breakpoint of the first one, which they would match.
  const other = sw.backer.createBridge('br1', 'dummy') as Bridge;
  const out: string[] = [];
  for (const name of ['q1', 'q2']) {
    const netdev = new DummyNetdev(name, sw.env);
    netdev.setUp(true);
    netdev.onTransmit(() => out.push(name));
    const added = await other.portAdd(netdev, null);
    assert.ok('ofport' in added);
    other.setBundle({ name, ofports: [added.ofport], vlan: VLAN });
    sw.netdevs.set(name, netdev);
  }
  sw.flow('actions=NORMAL', other);
  using both = sw.journeys.breaks.set({ stages: ['xlate', 'tx'], filter: 'udp', bridge: 'br0' });
  for (let n = 0; n < 3; n++) assert.ok(sw.netdevs.get('q1')?.receive(udp(7)));
  assert.deepEqual([out, both.hits, [...sw.journeys.breaks.packets()]], [['q2', 'q2', 'q2'], 0, []]);
  await assert.rejects(run('set', 'nowhere'), /nowhere: no such stage \(rx, extract/);
  await assert.rejects(run('set', 'rx', 'reg0=1'), /reg0 is not known yet|not known/);
  await assert.rejects(run('set', 'rx', '--bridge=br9'), /br9: unknown bridge/);
  await assert.rejects(run('step', '99'), /99: no such packet waits/);
  assert.equal(BREAK_STAGES.length, 11);
});

test('whatever the tables: a packet that stops everywhere does what one does that never stops', async () => {
  const rounds = Math.ceil(Number(process.env['SIGNALBOX_JOURNEYS'] ?? 160) / 20);
  let stops = 0;
  for (let round = 0; round < rounds; round++) {
    const packets: { port: string; packet: Uint8Array }[] = [];
    const r = new Random(7000 + round);
    for (let n = 0; n < 20; n++) packets.push({ port: r.of(PORTS), packet: randomPacket(r) });
    const outputs: string[][] = [];
    for (const isStopping of [false, true]) {
      await using sw = await TestSwitch.create(32);
      randomTables(sw, new Random(9000 + round));
      const { breaks } = sw.journeys;
      if (isStopping) breaks.set({ stages: ['rx'] });
      const out: string[] = [];
      for (const { port, packet } of packets) {
        sw.give(port, packet);
        for (let n = 0; isStopping; n++) {
          const waiting = [...breaks.packets()];
          if (waiting.length === 0) break;
          assert.ok(n < 500, 'it gets to its end');
          stops++;
          // Mostly one at a time; now and then straight on to the end.
          if (r.chance(10)) breaks.continue(waiting[0].number);
          else breaks.step(waiting[0].number);
        }
        // Which port is first is up to the queues; each port has its order.
        const byPort = sw.sent.toSorted((a, b) => a.port.localeCompare(b.port));
        out.push(byPort.map((s) => `${s.port} ${s.hex}`).join('\n'));
        sw.backer.revalidator.pushStats();
        await sw.backer.inForce();
      }
      outputs.push(out);
    }
    for (let n = 0; n < packets.length; n++)
      assert.equal(outputs[1][n], outputs[0][n], `round ${round}, packet ${n} from ${packets[n].port}`);
  }
  assert.ok(stops > rounds * 60, `${stops} stops`);
});
