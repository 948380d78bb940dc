/**
 * BFD and CFM with the original at the other end of a simulated cable, in either place: both ends must say what the original
 * says in the same place, while the other is there and after it is gone.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox } from './support/twin.ts';

const ask = (s: Sandbox, ...args: string[]): string => {
  const r = s.run('ovs-appctl', ...args);
  assert.equal(r.status, 0, r.err);
  return r.out;
};

function vsctl(s: Sandbox, ...args: string[]): string {
  const r = s.run('ovs-vsctl', `--db=unix:${s.dir}/db.sock`, ...args);
  assert.equal(r.status, 0, r.err);
  return r.out;
}

/** Time passes on both ends of the cable, which carries what was sent meanwhile. */
async function pass(both: readonly Sandbox[], seconds: number): Promise<void> {
  for (let i = 0; i < seconds * 5; i++) {
    for (const s of both) ask(s, 'time/warp', '200', '50');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Without what is another each time. */
const tidy = (text: string): string =>
  text
    .replace(/0x[0-9a-f]{5,8}/g, '0xN')
    .replace(/[+-]?\d+ms$/gm, (ms) => (/^[+-]/.test(ms) ? 'N' : ms))
    .replace(/^ {2}next .*$/gm, '')
    .replace(/recv since check: \w+/g, '')
    // Steps of time come a little late, so now and then a message is one check late.
    .replace(/average health: \d+/g, 'average health: N')
    .replace(/^ {2}(RX|TX) Interval.*$/gm, '');

interface Step {
  /** Settings of the interface at the first and at the second end. */
  readonly set: readonly [string[], string[]];
  readonly seconds: number;
}

const COLUMNS = 'bfd_status,cfm_fault,cfm_fault_status,cfm_remote_mpids,cfm_remote_opstate';

async function tell(first: Sandbox, second: Sandbox, name: string, steps: readonly Step[]): Promise<string[]> {
  const both = [first, second];
  const socket = join(first.dir, name);
  for (const [i, s] of both.entries()) {
    ask(s, 'time/stop');
    const cable = i === 0 ? `pstream=punix:${socket}` : `stream=unix:${socket}`;
    const br = `--may-exist add-br br0 -- set bridge br0 datapath-type=dummy -- add-port br0 ${name}`;
    vsctl(s, ...`${br} -- set interface ${name} type=dummy options:${cable} ofport_request=1`.split(' '));
  }
  await pass(both, 2);
  const told: string[] = [];
  for (const { set, seconds } of steps) {
    for (const [i, s] of both.entries()) if (set[i].length > 0) vsctl(s, ...set[i]);
    await pass(both, seconds);
    for (const s of both) {
      const kind = name.startsWith('b') ? 'bfd' : 'cfm';
      told.push(tidy(ask(s, `${kind}/show`)));
      told.push(vsctl(s, '--no-headings', `--columns=${COLUMNS}`, 'list', 'interface', name));
      told.push(
        s
          .run('ovs-ofctl', '-O', 'OpenFlow13', 'dump-ports-desc', 'br0')
          .out.match(/state: .*/g)
          ?.join() ?? '',
      );
    }
  }
  return told;
}

const set = (name: string, ...pairs: string[]): string[] => ['set', 'interface', name, ...pairs];

const BFD: readonly Step[] = [
  { set: [set('b0', 'bfd:enable=true'), []], seconds: 3 },
  { set: [[], set('b0', 'bfd:enable=true', 'bfd:min_rx=500', 'bfd:min_tx=300')], seconds: 7 },
  { set: [set('b0', 'bfd:cpath_down=true'), []], seconds: 3 },
  { set: [set('b0', 'bfd:cpath_down=false'), []], seconds: 3 },
  { set: [[], set('b0', 'bfd:enable=false')], seconds: 5 },
];

const CFM: readonly Step[] = [
  { set: [set('c0', 'cfm_mpid=1'), set('c0', 'cfm_mpid=2')], seconds: 6 },
  { set: [[], ['clear', 'interface', 'c0', 'cfm_mpid']], seconds: 8 },
  {
    set: [
      set('c0', 'other_config:cfm_extended=true', 'other_config:cfm_interval=500'),
      set(
        'c0',
        'cfm_mpid=5000000000',
        'other_config:cfm_extended=true',
        'other_config:cfm_interval=500',
        'other_config:cfm_opstate=down',
        'other_config:cfm_ccm_vlan=7',
      ),
    ],
    seconds: 6,
  },
];

for (const [word, port, steps] of [
  ['BFD', 'b0', BFD],
  ['CFM', 'c0', CFM],
] as const) {
  test(`${word}: both ends see each other come and go as the original does`, { timeout: 120_000 }, async (t) => {
    const missing = missingOriginal();
    if (missing) return t.skip(missing);
    const sandboxes = await Promise.all(
      (['ours', 'original', 'original', 'ours'] as const).map((kind) => startSandbox(kind)),
    );
    t.after(() => {
      for (const s of sandboxes) s.stop();
    });
    const [a, b, c, d] = sandboxes;
    const [one, two] = [await tell(a, b, port, steps), await tell(c, d, port, steps)];
    for (let i = 0; i < one.length; i++) assert.equal(one[i], two[i], `answer ${i}`);
    assert.ok(one.length >= 18);
  });
}
