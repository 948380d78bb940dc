/**
 * Journeys of random packets through random tables, with simulated devices: each agrees with what came out of the ports, with
 * `ofproto/trace`, and with its packet.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { clock } from '../../base/clock.ts';
import { runCommand } from '../../base/commands.ts';
import { parseMeter } from '../../openflow/meter-text.ts';
import type { Backer } from '../backer.ts';
import type { Bridge } from '../bridge.ts';
import { formatUfid } from '../commands/flow-text.ts';
import { registerTrace } from '../trace.ts';
import { Random } from '../xlate/random-network.ts';
import { registerJourneyCommands } from './commands.ts';
import type { DropRow } from './drop-row.ts';
import type { JourneyOptions } from './session.ts';
import type { Step, Story } from './story.ts';
import { PORTS, randomPacket, randomTables, type Seen, TestSwitch, udp } from './testing.ts';
import { storyText } from './text.ts';
import { registerWhyDrop } from './why-drop.ts';

const PACKETS = 40;
/** 1600 packets; all 10 000 of the proof with SIGNALBOX_JOURNEYS=10000. */
const ROUNDS = Math.ceil(Number(process.env['SIGNALBOX_JOURNEYS'] ?? 1600) / PACKETS);
const TEXT = { format: 'text' } as const;

type StepOf<K extends Step['step']> = Extract<Step, { step: K }>;
const stepsOf = <K extends Step['step']>(story: Story, kind: K): StepOf<K>[] =>
  story.steps.filter((s): s is StepOf<K> => s.step === kind);

describe('journeys', () => {
  let sw: TestSwitch;
  let backer: Backer;
  let bridge: Bridge;

  beforeEach(async () => {
    sw = await TestSwitch.create();
    ({ backer, bridge } = sw);
    registerTrace(() => [backer]);
    registerJourneyCommands(() => [backer]);
    registerWhyDrop(() => [backer]);
  });

  afterEach(() => sw[Symbol.asyncDispose]());

  const flow = (text: string): void => sw.flow(text);
  const give = (port: string, packet: Uint8Array): Seen[] => sw.give(port, packet);

  const look = (options: JourneyOptions = {}) => {
    assert.ok(backer.journeys);
    return backer.journeys.start(options);
  };

  const one = (list: readonly Story[]): Story => {
    assert.equal(list.length, 1, 'one story');
    return list[0];
  };

  it('tells an upcall, then the megaflow it made, then the EMC', async () => {
    flow('priority=9,udp,nw_dst=10.0.0.2,actions=dec_ttl,output:2');
    sw.dpif.configure(new Map([['emc-insert-inv-prob', '1']]));
    using session = look();
    assert.deepEqual(
      give('p1', udp(2)).map((s) => s.port),
      ['p2'],
    );
    const first = one(session.fetch());
    assert.equal(first.verdict, 'forwarded');
    assert.deepEqual(
      first.steps.map((s) => s.step),
      ['lookup', 'upcall', 'translation', 'actions', 'action', 'sent'],
    );
    const [translation] = stepsOf(first, 'translation');
    assert.match(translation.translation.trace, /udp,nw_dst=10\.0\.0\.2, priority 9\n +dec_ttl\n +output:p2\n/);
    assert.deepEqual(translation.translation.why, [
      { because: 'every packet', bits: 'recirc_id=0,eth,ip,in_port=p1,nw_frag=no' },
      { because: 'lookup in table 0', bits: 'udp,nw_dst=10.0.0.2' },
      { because: 'dec_ttl in table 0', bits: 'nw_ttl=64' },
    ]);
    assert.deepEqual(stepsOf(first, 'action')[0].changes, ['nw_ttl: 64 -> 63']);

    give('p1', udp(2));
    const second = one(session.fetch());
    const [lookup] = stepsOf(second, 'lookup');
    assert.equal(lookup.cache, 'megaflow');
    assert.equal(lookup.megaflow?.ufid, translation.installed);
    assert.equal(lookup.megaflow?.made_by_journey, first.journey);
    assert.equal(lookup.replayed_in, first.journey);

    give('p1', udp(2));
    const third = one(session.fetch());
    assert.equal(stepsOf(third, 'lookup')[0].cache, 'emc');
    assert.deepEqual(
      third.steps.map((s) => s.step),
      ['lookup', 'actions', 'action', 'sent'],
    );
    assert.match(storyText(third), /EMC hit\n +megaflow .*nw_dst=10\.0\.0\.2/);
  });

  it('replays a megaflow made before anybody looked, and says when the tables have changed', async () => {
    flow('priority=9,udp,actions=output:2');
    give('p1', udp(2));
    {
      using session = look();
      give('p1', udp(2));
      const [lookup] = stepsOf(one(session.fetch()), 'lookup');
      assert.equal(lookup.replay?.is_current, true);
      assert.equal(lookup.replay?.actions, 'p2');
      assert.match(lookup.megaflow?.made_for ?? '', /^udp,in_port=p1,.*nw_dst=10\.0\.0\.2/);
    }
    // The revalidator has had no turn yet: the old megaflow answers, and the story says so.
    flow('priority=10,udp,actions=output:3');
    using session = look();
    assert.deepEqual(
      give('p1', udp(2)).map((s) => s.port),
      ['p2'],
    );
    const story = one(session.fetch());
    const [lookup] = stepsOf(story, 'lookup');
    assert.equal(lookup.replay?.is_current, false);
    assert.equal(lookup.replay?.actions, 'p3');
    assert.match(storyText(story), /the tables have changed since/);
  });

  it('names each cache that answers, and those that did not', () => {
    flow('priority=9,udp,nw_dst=10.0.0.2,actions=output:2');
    flow('priority=1,actions=output:3');
    const caches = (dst: number): string[] => {
      using session = look();
      return Array.from({ length: 3 }, () => {
        give('p1', udp(dst));
        const [{ asked, cache }] = stepsOf(one(session.fetch()), 'lookup');
        return [...asked, cache].join();
      });
    };
    sw.dpif.configure(
      new Map([
        ['smc-enable', 'true'],
        ['emc-insert-inv-prob', '0'],
      ]),
    );
    assert.deepEqual(caches(2), ['smc,none', 'smc,megaflow', 'smc']);
    sw.dpif.configure(new Map([['emc-insert-inv-prob', '1']]));
    assert.deepEqual(caches(4), ['emc,none', 'emc,megaflow', 'emc']);
    // Flows that look at nothing but port and type have a cache of their own.
    bridge.flushFlows();
    backer.dpif.flowFlush();
    flow('priority=1,actions=output:3');
    assert.deepEqual(caches(5), ['emc,none', 'simple,megaflow', 'simple']);
    const text = (): string => {
      using session = look();
      give('p1', udp(5));
      return storyText(one(session.fetch()));
    };
    assert.match(text(), /simple match cache hit\n +megaflow/);
  });

  it('explains a megaflow on demand, by its name or the beginning of it', async () => {
    flow('priority=9,udp,actions=output:2');
    give('p1', udp(2));
    const [megaflow] = [...backer.dpif.flows()];
    const name = formatUfid(megaflow.ufid);
    const explained = JSON.parse(await runCommand('journey/explain', [`ufid:${name}`, '--format=json'], TEXT));
    assert.equal(explained.megaflow.ufid, name);
    assert.match(explained.megaflow.made_for, /^udp,in_port=p1,/);
    assert.match(explained.megaflow.made_at, /^20\d\d-.*Z$/);
    assert.equal(explained.replay.is_current, true);
    flow('priority=10,udp,actions=drop');
    const text = await runCommand('journey/explain', [name.slice(0, 8)], TEXT);
    assert.match(text, /^ufid:\S+\n +megaflow .*\n +made .* ago, 0 packets so far\n +made for +udp,in_port=p1/);
    assert.match(text, /the tables have changed since, and say now:\n.*priority 10\n/s);
    await assert.rejects(runCommand('journey/explain', ['12345678'], TEXT), /12345678: no such megaflow/);
  });

  it('names each reason for a drop', () => {
    flow('table=0,priority=9,udp,nw_dst=10.0.0.2,cookie=0x7,actions=drop');
    flow('table=0,priority=9,udp,nw_dst=10.0.0.3,actions=resubmit(,3)');
    flow('table=0,priority=9,udp,nw_dst=10.0.0.4,actions=output:1');
    flow('table=0,priority=9,udp,nw_dst=10.0.0.5,actions=resubmit(,0)');
    using session = look({ only: 'drops' });
    const reasons = [2, 3, 4, 5].map((dst) => {
      assert.deepEqual(give('p1', udp(dst)), []);
      const { verdict, drop } = one(session.fetch());
      assert.equal(verdict, 'dropped');
      return drop;
    });
    assert.deepEqual(
      reasons.map((r) => r?.name),
      ['drop-rule', 'no-match', 'no-output', 'translation-error'],
    );
    assert.match(reasons[0]?.text ?? '', /table 0 of br0: cookie=0x7, priority=9,udp,nw_dst=10\.0\.0\.2 actions=drop/);
    assert.match(reasons[1]?.text ?? '', /no rule of table 3/);
    // A hit of a megaflow that drops tells the tables' reason, too.
    give('p1', udp(2));
    assert.equal(one(session.fetch()).drop?.name, 'drop-rule');
    // Forwarded packets are not told.
    flow('priority=99,udp,nw_dst=10.0.0.9,actions=output:2');
    assert.equal(give('p1', udp(9)).length, 1);
    assert.deepEqual(session.fetch(), []);
  });

  it('tells what a meter lets pass and what it drops, and what connection tracking decides', () => {
    const parsed = parseMeter('meter=1,pktps,burst,bands=type=drop,rate=1,burst_size=1', 'add');
    assert.ok(parsed.ok);
    assert.equal(bridge.meters.add(parsed.meter), null);
    flow('udp,actions=meter:1,ct(commit,zone=5,exec(load:7->NXM_NX_CT_MARK[])),ct(zone=5,table=1)');
    flow('table=1,udp,actions=output:2');
    using session = look();
    assert.equal(give('p1', udp(2)).length, 1);
    const passed = one(session.fetch());
    const actions = stepsOf(passed, 'action');
    assert.deepEqual(
      actions.map((s) => s.action.replace(/\(.*/, '')),
      ['meter', 'ct', 'ct'],
    );
    assert.deepEqual(actions[1].changes, ['ct_state: 0 -> new|trk', 'ct_zone: 0 -> 5', 'ct_mark: 0x0 -> 0x7']);
    assert.deepEqual(give('p1', udp(2)), []);
    assert.deepEqual(one(session.fetch()).drop, { name: 'meter', text: 'a meter dropped it' });
  });

  it('tells only packets that match, and those of a port or bridge', () => {
    flow('actions=output:4');
    using byField = look({ filter: 'udp,nw_dst=10.0.0.2,tp_dst=53' });
    using byPort = look({ inPort: 'p2', bridge: 'br0' });
    using byBoth = look({ filter: 'ip,in_port=3' });
    give('p1', udp(2));
    give('p1', udp(3));
    give('p2', udp(3));
    give('p3', udp(4));
    const told = (session: typeof byField): string[] => session.fetch().map((s) => s.in_port.name);
    assert.deepEqual([told(byField), told(byPort), told(byBoth)], [['p1'], ['p2'], ['p3']]);
    assert.throws(() => look({ filter: 'reg0=5' }), /reg0 is not known yet when a packet is received/);
    assert.throws(() => look({ filter: 'udp,nw_dst=1.2.3' }), /1\.2\.3/);
    assert.throws(() => look({ inPort: 'eth9' }), /eth9: unknown port/);
    assert.throws(() => look({ bridge: 'br9' }), /br9: unknown bridge/);
  });

  it('keeps a bounded number of stories, and counts those it let go', () => {
    flow('actions=output:2');
    using session = look({ keep: 10 });
    for (let i = 0; i < 25; i++) give('p1', udp(i));
    assert.equal(session.told, 25);
    assert.equal(session.lost, 15);
    const journeys = session.fetch().map((s) => s.journey);
    assert.deepEqual([journeys.length, journeys.at(-1)], [10, 25], 'the newest are there');
  });

  it('answers over the control socket', async () => {
    flow('actions=output:2');
    const name = await runCommand('journey/start', ['udp', '--count=2'], TEXT);
    give('p1', udp(1));
    give('p1', udp(2));
    give('p1', udp(3));
    const [counts, ...stories] = (await runCommand('journey/show', [name, '--format=json'], TEXT))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(counts, { told: 2, lost: 0, untold: 0, is_open: false });
    assert.deepEqual(
      stories.map((s) => s['length']),
      [62, 62],
    );
    assert.match(await runCommand('journey/list', [], TEXT), new RegExp(`^${name}: udp: told 2`));
    await runCommand('journey/stop', [name], TEXT);
    await assert.rejects(runCommand('journey/show', [name], TEXT), /no such session/);
    await assert.rejects(runCommand('journey/start', ['--only=some'], TEXT), /not one of/);
  });

  it('says what was dropped where, how fast, and tells one of each', async () => {
    flow('table=0,priority=9,udp,nw_dst=10.0.0.2,cookie=0x7,actions=drop');
    flow('table=0,priority=9,udp,nw_dst=10.0.0.3,actions=resubmit(,3)');
    for (let i = 0; i < 5; i++) give('p1', udp(2));
    give('p2', udp(2));
    give('p1', udp(3));
    clock.resume();
    const looking = runCommand('why-drop/show', ['--bridge=br0', '--seconds=0.2', '--format=json'], TEXT);
    give('p1', udp(2));
    const rows = JSON.parse(await looking) as DropRow[];
    const shown = rows.map(
      (r) => `${r.reason} ${r.bridge} ${r.port} ${r.table} ${r.cookie} ${r.packets} ${r.per_second > 0}`,
    );
    assert.deepEqual(shown, [
      'drop-rule br0 p1 0 0x7 6 true',
      'drop-rule br0 p2 0 0x7 1 false',
      'no-match br0 p1 3 null 1 false',
    ]);
    assert.equal(rows[0].journey?.in_port.name, 'p1');
    const text = await runCommand('why-drop/show', ['--seconds=0'], TEXT);
    assert.match(
      text,
      /^drop-rule +0\.0\/s +6 +br0 +p1 +rule in table 0 of br0: cookie=0x7, priority=9,udp,nw_dst=10\.0\.0\.2 actions=drop$/m,
    );
    await assert.rejects(runCommand('why-drop/show', ['--bridge=br9'], TEXT), /br9: unknown bridge/);
  });

  // ---- random tables ----

  it('agrees with the ports and with ofproto/trace, whatever the tables', async () => {
    const r = new Random(20261120);
    let hits = 0;
    let recirculated = 0;
    let dropped = 0;
    let told = 0;
    for (let round = 0; round < ROUNDS; round++) {
      bridge.flushFlows();
      bridge.groups.clear();
      randomTables(sw, r);
      await backer.inForce();
      using session = look();
      for (let k = 0; k < PACKETS; k++) {
        const port = r.of(PORTS);
        const packet = randomPacket(r);
        const no = bridge.ofportOf(port);
        const hex = Buffer.from(packet).toString('hex');
        const before = await runCommand('ofproto/trace', ['br0', `in_port=${no}`, hex], TEXT);
        // A trace of a packet learns from it.
        await backer.inForce();
        const seen = give(port, packet);
        const story = one(session.fetch());
        told++;
        const context = `round ${round}, ${port}\n${storyText(story)}\n${before}`;
        assert.equal(story.packet, hex, context);
        assert.equal(story.in_port.name, port, context);
        assert.equal(story.is_incomplete, false, context);
        // What came out of the ports, with the headers that the last action left.
        assert.deepEqual(
          stepsOf(story, 'sent')
            .map((s) => `${s.port.name} ${s.length}`)
            .sort(),
          seen.map((s) => `${s.port} ${s.hex.length / 2}`).sort(),
          context,
        );
        const states = new Set([hex, ...stepsOf(story, 'action').flatMap((s) => s.after ?? [])]);
        for (const s of seen) assert.ok(states.has(s.hex), `${s.port} sent ${s.hex}\n${context}`);
        assert.equal(story.verdict === 'forwarded', seen.length > 0, context);
        assert.equal(story.drop !== null, seen.length === 0 && story.verdict === 'dropped', context);
        // What a trace foretold: datapath numbers there, names here.
        const [first] = stepsOf(story, 'lookup');
        const said =
          first.cache === 'none' ? stepsOf(story, 'translation')[0]?.translation.actions : first.megaflow?.actions;
        const foretold = /^Datapath actions: (.*)$/m.exec(before)?.[1] ?? '';
        assert.equal(normal(said ?? ''), normal(foretold), context);
        if (first.cache !== 'none') hits++;
        if (stepsOf(story, 'recirculated').length > 0) recirculated++;
        if (story.verdict === 'dropped') dropped++;
        // What the packet taught the tables is in force before the next one is foretold.
        backer.revalidator.pushStats();
        await backer.inForce();
        await backer.inForce();
      }
    }
    assert.equal(told, ROUNDS * PACKETS);
    assert.ok(
      hits > told / 8 && recirculated > told / 40 && dropped > told / 16,
      `${hits} hits, ${recirculated} recirculated, ${dropped} dropped`,
    );
  });

  /** Ports by name become numbers; recirculation ids are drawn anew. */
  function normal(actions: string): string {
    return actions
      .replace(/\bp(\d)\b/g, (_, n: string) =>
        String([...backer.dpif.ports()].find((p) => p.netdev.name === `p${n}`)?.no),
      )
      .replace(/recirc\(0x[0-9a-f]+\)/g, 'recirc');
  }
});
