/**
 * The original's `ovs-vswitchd` twice, once on our `ovsdb-server` and once on the original's, through the same random changes of its
 * configuration, the servers killed and started again now and then: both end equal.
 *
 * `OVSDB_CHURN_SECONDS=3600` makes it last, `OVSDB_CHURN_PAUSE_MS` slows it down, `OVSDB_CHURN_SEED` changes what happens.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { missing, Sandbox, until } from './support/sandbox.ts';
import { Churn, worldOf } from './support/switch-churn.ts';

const SECONDS = Number(process.env['OVSDB_CHURN_SECONDS'] ?? 8);
const PAUSE_MS = Number(process.env['OVSDB_CHURN_PAUSE_MS'] ?? 0);
const SEED = Number(process.env['OVSDB_CHURN_SEED'] ?? 1);
const CHECK_EVERY = 40;

const skip = missing('ovsdb-server', 'ovs-vswitchd', 'ovs-vsctl', 'ovs-ofctl', 'ovsdb-client');

test('a switch configured through ours ends as one configured through the original', {
  skip,
  timeout: (SECONDS + 120) * 1000,
}, async (t) => {
  await using theirs = await Sandbox.create();
  await using ours = await Sandbox.create();
  const worlds = [theirs, ours];
  for (const sb of worlds) await sb.createDb();
  const startServer = (sb: Sandbox) => (sb === ours ? sb.startOurs('ovsdb-server') : sb.startC('ovsdb-server'));
  let servers = await Promise.all(worlds.map(startServer));
  await Promise.all(worlds.map((sb) => sb.startC('ovs-vswitchd', ['--enable-dummy=override', '--disable-system'])));

  const churn = new Churn(SEED);
  const equal = async () => {
    // Status columns follow at their own pace.
    let [left, right]: string[][] = [];
    await until(
      async () => {
        [left, right] = await Promise.all(worlds.map((sb) => worldOf(sb, churn.bridgeNames)));
        return left.join('\n') === right.join('\n');
      },
      15_000,
      'both are equal',
    ).catch(() => undefined);
    const only = (some: string[], other: string[]) => some.filter((text) => !other.includes(text)).join('\n');
    assert.equal(only(right, left), only(left, right));
  };

  const end = performance.now() + SECONDS * 1000;
  let steps = 0;
  let restarts = 0;
  while (performance.now() < end) {
    const args = churn.next();
    const [left, right] = await Promise.all(worlds.map((sb) => sb.c('ovs-vsctl', '-t20', ...args)));
    const plain = (text: string, sb: Sandbox) =>
      text
        .replaceAll(sb.dir, 'DIR')
        .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'U')
        .replace(/^\S+Z\|\d+\|/gm, '');
    const what = `step ${steps}: ovs-vsctl ${args.join(' ')}`;
    assert.equal(plain(right.stdout + right.stderr, ours), plain(left.stdout + left.stderr, theirs), what);
    assert.equal(right.status, left.status, what);
    if (++steps % CHECK_EVERY === 0) {
      await equal();
      await Promise.all(servers.map((server) => server.kill('SIGKILL')));
      servers = await Promise.all(worlds.map(startServer));
      restarts++;
    }
    if (PAUSE_MS > 0) await sleep(PAUSE_MS);
  }
  await equal();
  t.diagnostic(`${steps} changes, ${restarts} times killed`);
  assert.ok(steps > 10);
});
