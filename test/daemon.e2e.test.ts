/** Daemon plumbing and the control socket, with a tiny daemon: start, lock, crash, restart, log, and both families' `ovs-appctl`. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { accepts, missing, type Result, ROOT, run, Sandbox, until } from './support/sandbox.ts';

const TINY = join(ROOT, 'test/support/tiny-daemon.ts');
const NODE = join(ROOT, 'scripts/node26');

function tiny(sb: Sandbox, ...args: string[]): Promise<Result> {
  return run(NODE, [TINY, ...args], { env: sb.env, cwd: sb.dir });
}

function pidOf(sb: Sandbox): number {
  return Number(sb.read('tiny.pid'));
}

function alive(pid: number): boolean {
  try {
    // A zombie that nobody has waited for yet is dead all the same.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('--detach returns when the daemon is ready, and the pidfile is locked and removed', async () => {
  await using sb = await Sandbox.create();
  const started = await tiny(sb, '--detach', '--pidfile', '--log-file');
  assert.deepEqual(
    { ...started, stderr: started.stderr.replace(/^\S+Z/, '') },
    {
      stdout: '',
      stderr: `|00001|vlog|INFO|opened log file ${sb.path('tiny.log')}\n`,
      status: 0,
    },
  );
  const pid = pidOf(sb);
  try {
    assert.ok(await accepts(sb.path(`tiny.${pid}.ctl`)));
    assert.equal(statSync(sb.path(`tiny.${pid}.ctl`)).mode & 0o777, 0o750);
    assert.equal(statSync(sb.path('tiny.pid')).mode & 0o777, 0o644);
    assert.equal(statSync(sb.path('tiny.log')).mode & 0o777, 0o640);
    assert.equal((await sb.ours('ovs-appctl', '-t', 'tiny', 'cwd')).stdout, '/\n');
    assert.match(readFileSync(`/proc/${pid}/comm`, 'utf8'), /^tiny/);

    const second = await tiny(sb, '--detach', '--pidfile');
    assert.equal(second.stderr, `tiny: ${sb.path('tiny.pid')}: already running as pid ${pid}, aborting\n`);
    assert.equal(second.status, 1);
    assert.equal(pidOf(sb), pid);

    if (!missing('ovs-appctl')) {
      // The C program reads the pidfile only if it is locked by the process that it names.
      const { stdout, stderr } = await sb.c('ovs-appctl', '-t', 'tiny', 'version');
      assert.equal(stdout, 'tiny (Open vSwitch) 3.7.0\n', stderr);
    }
    assert.equal((await sb.ours('ovs-appctl', '-t', 'tiny', 'exit')).status, 0);
    await until(() => !alive(pid));
    assert.equal(existsSync(sb.path('tiny.pid')), false);
    assert.equal(existsSync(sb.path(`tiny.${pid}.ctl`)), false);
  } finally {
    if (alive(pid)) process.kill(pid, 'SIGKILL');
  }
});

test('a daemon that fails to start tells its parent why', async () => {
  await using sb = await Sandbox.create();
  assert.deepEqual(await tiny(sb, '--detach', '--pidfile', '--fail'), {
    stdout: '',
    stderr: 'tiny: cannot go on\n',
    status: 1,
  });
  assert.equal(existsSync(sb.path('tiny.pid')), false);
  const bad = await tiny(sb, '--detach', '--unixctl=/no/where');
  assert.match(bad.stderr, /tiny: \/no\/where: could not initialize control socket \(/);
  assert.equal(bad.status, 1);
  assert.equal((await tiny(sb, '--bad')).stderr, "tiny: unrecognized option '--bad'\n");
  assert.equal(
    (await tiny(sb, '--pidfile=/no/where')).stderr,
    'tiny: /no/where.tmp: create failed (No such file or directory)\n',
  );
  assert.equal((await tiny(sb, '-vfoo')).stderr, 'tiny: processing "foo": no destination, level, or module "foo"\n');
});

test('SIGTERM ends it and takes its files along; a stale pidfile is no obstacle', async () => {
  await using sb = await Sandbox.create();
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    assert.equal((await tiny(sb, '--detach', '--pidfile')).status, 0);
    const pid = pidOf(sb);
    process.kill(pid, signal);
    await until(() => !alive(pid));
    assert.equal(existsSync(sb.path('tiny.pid')), signal === 'SIGKILL');
    assert.equal(existsSync(sb.path(`tiny.${pid}.ctl`)), signal === 'SIGKILL');
  }
});

test('--monitor restarts what crashed, and ends with what ended', async () => {
  await using sb = await Sandbox.create();
  assert.equal((await tiny(sb, '--detach', '--monitor', '--pidfile', '--log-file', '--no-chdir')).status, 0);
  const first = pidOf(sb);
  const monitor = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${first}/status`, 'utf8'))?.[1]);
  assert.match(
    readFileSync(`/proc/${monitor}/cmdline`, 'utf8'),
    new RegExp(`^tiny: monitoring pid ${first} \\(healthy\\)`),
  );
  process.kill(first, 'SIGSEGV');
  const second = await until(() => existsSync(sb.path('tiny.pid')) && pidOf(sb) !== first && pidOf(sb));
  try {
    await until(() => accepts(sb.path(`tiny.${second}.ctl`)));
    assert.equal((await sb.ours('ovs-appctl', '-t', 'tiny', 'cwd')).stdout, `${sb.dir}\n`);
    assert.match(
      sb.log('tiny'),
      new RegExp(`1 crashes: pid ${first} died, killed \\(Segmentation fault\\), restarting`),
    );
    await sb.ours('ovs-appctl', '-t', 'tiny', 'exit');
    await until(() => !alive(second) && !alive(monitor));
  } finally {
    for (const pid of [second, monitor]) if (alive(pid)) process.kill(pid, 'SIGKILL');
  }
});

describe('a running daemon', () => {
  let sb: Sandbox;
  let pid = 0;
  before(async () => {
    sb = await Sandbox.create();
    assert.equal((await tiny(sb, '--detach', '--pidfile', '--log-file')).status, 0);
    pid = pidOf(sb);
  });
  after(async () => {
    if (alive(pid)) process.kill(pid, 'SIGKILL');
    await sb[Symbol.asyncDispose]();
  });

  test('both families of ovs-appctl say the same', { skip: missing('ovs-appctl') }, async () => {
    const commands = [
      ['version'],
      ['list-commands'],
      ['vlog/list'],
      ['vlog/list-pattern'],
      ['memory/show'],
      ['coverage/read-counter', 'uncaught_exception'],
      ['coverage/read-counter', 'none'],
      ['coverage/read-counter'],
      ['version', 'x'],
      ['frobnicate'],
      ['vlog/set', 'foo'],
      ['vlog/set', 'foo:bar'],
      ['vlog/set', 'dbg:info'],
      ['vlog/set', 'console:syslog'],
      ['vlog/set', 'PATTERN:foo:bar'],
      ['vlog/set', 'FACILITY:foo'],
      ['vlog/disable-rate-limit', 'foo'],
      ['vlog/disable-rate-limit', 'vlog'],
      ['-T', '5', 'version'],
    ];
    for (const command of commands) {
      const theirs = await sb.c('ovs-appctl', '-t', 'tiny', ...command);
      const ours = await sb.ours('ovs-appctl', '-t', 'tiny', ...command);
      assert.deepEqual(ours, theirs, command.join(' '));
    }
  });

  test('log levels, patterns and files are changed as it runs', async () => {
    const ctl = async (...args: string[]) => {
      const { stdout, stderr, status } = await sb.ours('ovs-appctl', '-t', 'tiny', ...args);
      assert.equal(status, 0, stderr);
      return stdout;
    };
    await ctl('vlog/set', 'tiny:file:dbg', 'unixctl:file:off');
    assert.match(await ctl('vlog/list'), /^tiny {15}OFF {7}INFO {8}DBG$/m);
    await ctl('vlog/set', 'PATTERN:file:%A|%4p|%-6c|%m');
    await ctl('vlog/reopen');
    assert.match(await ctl('vlog/list-pattern'), /^FILE {5}none {30}%A\|%4p\|%-6c\|%m$/m);
    assert.match(sb.log('tiny'), /^tiny\|INFO\|vlog {2}\|closing log file\ntiny\|INFO\|vlog {2}\|opened log file /m);
    await ctl('vlog/set', 'PATTERN:file:%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m');
  });

  test('time stops and is warped', async () => {
    const ctl = (...args: string[]) => sb.ours('ovs-appctl', '-t', 'tiny', ...args);
    await ctl('time/stop');
    await ctl('ticks', '1000');
    assert.deepEqual(await ctl('time/warp', '5000', '500'), { stdout: 'warped\n', stderr: '', status: 0 });
    const ticks = [...sb.log('tiny').matchAll(/tick at (\d+)/g)].map((m) => Number(m[1]));
    assert.equal(ticks.length, 5);
    assert.ok(ticks.every((tick, i) => i === 0 || tick - ticks[i - 1] === 1000));
    assert.equal((await ctl('time/warp', '0')).stderr, `invalid MSECS\novs-appctl: tiny: server returned an error\n`);
  });

  test('JSON format wraps texts', async () => {
    const { stdout } = await sb.ours('ovs-appctl', '-t', 'tiny', '-f', 'json', 'version');
    assert.deepEqual(JSON.parse(stdout), { 'reply-format': 'plain', reply: 'tiny (Open vSwitch) 3.7.0\n' });
  });

  test('an exception in an event is logged, and the daemon goes on', async () => {
    await sb.ours('ovs-appctl', '-t', 'tiny', 'throw');
    await until(() => /\|ERR\|internal error: Error: a mistake/.test(sb.log('tiny')));
    assert.equal(
      (await sb.ours('ovs-appctl', '-t', 'tiny', 'coverage/read-counter', 'uncaught_exception')).stdout,
      '1\n',
    );
  });

  test('whatever is thrown at the control socket, it answers the next request', async () => {
    const send = (bytes: Uint8Array) =>
      new Promise<void>((resolve) => {
        const socket = connect(sb.path(`tiny.${pid}.ctl`));
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        socket.on('data', () => {});
        socket.end(bytes);
      });
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      '\\',
      ':',
      ',',
      '"id"',
      '"method"',
      '"params"',
      '"version"',
      '1',
      'null',
      ' ',
    );
    const nearly = fc.array(pieces, { maxLength: 20 }).map((list) => Buffer.from(list.join('')));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 50 }), nearly), async (bytes) => {
        await send(bytes);
      }),
      { numRuns: 150 },
    );
    await send(Buffer.from('{"id":1,"method":"version","params":[{}]}'));
    await send(Buffer.from('['.repeat(5000)));
    assert.equal((await sb.ours('ovs-appctl', '-t', 'tiny', 'version')).status, 0);
  });
});
