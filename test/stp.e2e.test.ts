/**
 * Spanning trees with the original at the other end of two simulated cables, once as the root and once not: both must say
 * of themselves what the original says in the same place.
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

function addBridge(s: Sandbox, which: 'stp' | 'rstp', mac: string, cable: (n: number) => string): void {
  const port = (n: number, options: string): string[] => [
    ...`-- add-port br0 p${n} -- set interface p${n} type=dummy ofport_request=${n}`.split(' '),
    ...(options ? [`options:${options}`] : []),
    ...`-- set port p${n} other_config:${which}-port-num=${n}`.split(' '),
  ];
  const r = s.run(
    'ovs-vsctl',
    `--db=unix:${s.dir}/db.sock`,
    ...`add-br br0 -- set bridge br0 datapath-type=dummy other-config:hwaddr=${mac} ${which}_enable=true`.split(' '),
    ...`-- set bridge br0 other-config:${which}-forward-delay=4`.split(' '),
    ...port(1, cable(1)),
    ...port(2, cable(2)),
    ...port(3, ''),
  );
  assert.equal(r.status, 0, r.err);
}

/** Time passes on both sides of the cables. */
async function pass(both: readonly Sandbox[], seconds: number): Promise<void> {
  for (let i = 0; i < seconds * 4; i++) {
    for (const s of both) ask(s, 'time/warp', '250');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const states = (s: Sandbox, columns: string): string =>
  s
    .run(
      'ovs-vsctl',
      `--db=unix:${s.dir}/db.sock`,
      '--no-headings',
      `--columns=${columns}`,
      'list',
      'port',
      'p1',
      'p2',
      'p3',
    )
    .out.replace(/_sec_in_state="?\d+"?/g, '');

async function tell(which: 'stp' | 'rstp', root: Sandbox, other: Sandbox) {
  const both = [root, other];
  for (const s of both) ask(s, 'time/stop');
  const socket = (n: number): string => join(root.dir, `${which}${n}`);
  addBridge(root, which, 'aa:00:00:00:00:01', (n) => `pstream=punix:${socket(n)}`);
  addBridge(other, which, 'aa:00:00:00:00:02', (n) => `stream=unix:${socket(n)}`);
  await pass(both, 26);
  // Whether a flood tries a blocked port at all depends on when the original last looked at its ports.
  const trace = (s: Sandbox, port: number): string =>
    ask(s, 'ofproto/trace', 'br0', `in_port=${port},ip,dl_src=00:00:00:00:00:01,dl_dst=00:00:00:00:00:05`)
      .split('\n')
      .filter((line) => !/^Datapath actions: |not in forwarding state/.test(line))
      .join('\n');
  return {
    show: both.map((s) => ask(s, `${which}/show`, 'br0')),
    status: both.map((s) => states(s, which === 'stp' ? 'name,status' : 'name,rstp_status')),
    bridge: both.map(
      (s) =>
        s.run(
          'ovs-vsctl',
          `--db=unix:${s.dir}/db.sock`,
          'get',
          'bridge',
          'br0',
          which === 'stp' ? 'status' : 'rstp_status',
        ).out,
    ),
    ports: both.map((s) =>
      s
        .run('ovs-ofctl', 'show', 'br0')
        .out.match(/STP_\w+/g)
        ?.join(),
    ),
    traces: [trace(other, 2), trace(other, 3)],
  };
}

for (const which of ['stp', 'rstp'] as const) {
  test(`${which}: ours and the original make one tree, whoever is the root`, { timeout: 120_000 }, async (t) => {
    const missing = missingOriginal();
    if (missing) return t.skip(missing);
    const sandboxes = await Promise.all(
      (['ours', 'original', 'original', 'ours'] as const).map((kind) => startSandbox(kind)),
    );
    t.after(() => {
      for (const s of sandboxes) s.stop();
    });
    const [a, b, c, d] = sandboxes;
    const [one, two] = [await tell(which, a, b), await tell(which, c, d)];
    assert.match(one.show[0], /This bridge is (the )?root/);
    assert.match(one.show[1], /[Aa]lternate/);
    assert.deepEqual(one, two);
  });
}
