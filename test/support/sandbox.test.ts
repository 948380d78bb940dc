import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Netns, veth } from './netns.ts';
import { missing, must, notRoot, run, Sandbox, until } from './sandbox.ts';

test('the original runs in a sandbox and is gone afterwards', {
  skip: missing('ovsdb-server', 'ovs-vsctl'),
}, async () => {
  let dir: string;
  let pid: number;
  {
    await using sb = await Sandbox.create();
    dir = sb.dir;
    await sb.createDb();
    const server = await sb.startC('ovsdb-server');
    pid = server.pid;
    const { stdout, status } = await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'br0', '--', 'list-br');
    assert.equal(stdout, 'br0\n');
    assert.equal(status, 0);
    assert.equal((await sb.c('ovs-vsctl', 'frobnicate')).status, 1);
  }
  assert.equal(existsSync(dir), false);
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('a daemon that does not start says why', { skip: missing('ovsdb-server') }, async () => {
  await using sb = await Sandbox.create();
  await assert.rejects(sb.startC('ovsdb-server', [sb.path('none.db')]), /none\.db.*No such file or directory/s);
});

test('namespaces are joined by veth pairs and removed', { skip: notRoot || missing('ip', 'ping') }, async () => {
  let name: string;
  {
    await using ns = await Netns.create();
    name = ns.name;
    await using pair = await veth(ns, '198.18.77.2/30');
    await must('ip', ['addr', 'add', '198.18.77.1/30', 'dev', pair.outer]);
    assert.match(await ns.must('ping', '-c1', '-W2', '198.18.77.1'), /1 received/);
  }
  assert.doesNotMatch(await must('ip', ['netns', 'list']), new RegExp(`^${name}\\b`, 'm'));
});

test('until gives up with what it saw last', async () => {
  await assert.rejects(
    until(() => 0, 20, 'zero is true'),
    /not after 20 ms: zero is true \(last: 0\)/,
  );
});

test('a test that fails before it disposes of its daemons ends all the same', {
  skip: missing('ovsdb-tool'),
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sb-leak-'));
  const file = join(dir, 'leak.test.ts');
  writeFileSync(
    file,
    `import { test } from 'node:test';
    import { Sandbox } from ${JSON.stringify(join(import.meta.dirname, 'sandbox.ts'))};
    test('leaks', async () => {
      const sandbox = await Sandbox.create();
      await sandbox.createDb();
      await sandbox.startOurs('ovsdb-server');
      throw new Error('too early');
    });`,
  );
  const { status, stdout } = await run(process.execPath, ['--test', file], { env: { NODE_TEST_CONTEXT: undefined } });
  rmSync(dir, { recursive: true });
  assert.equal(status, 1);
  assert.match(stdout, /too early/);
});
