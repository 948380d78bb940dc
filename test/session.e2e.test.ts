/**
 * A long session of ordinary administration, line by line to the original's daemons and to ours with the original's
 * clients: bridges, VLANs, flows, groups, ports that go down, timeouts, traces, datapath flows, learned addresses, errors.
 * Every line must print, complain and exit alike. `data/session.txt` has the lines; those with `~` print in no order.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { missing, Sandbox, until } from './support/sandbox.ts';

const LINES = readFileSync(join(import.meta.dirname, 'data', 'session.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));
const PROGRAMS = ['ovs-vsctl', 'ovs-ofctl', 'ovs-appctl', 'ovsdb-server', 'ovs-vswitchd'];

/** What no two runs have in common. */
function comparable(text: string, sandbox: Sandbox): string {
  return text
    .replaceAll(sandbox.dir, 'DIR')
    .replace(/duration=[\d.]+s/g, 'duration=Ns')
    .replace(/(?:, )?idle_age=\d+/g, '')
    .replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z\|\d+\|/gm, '')
    .replace(/ \(xid=0x[0-9a-f]+\)/g, '')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replace(/ovs-vswitchd\.\d+\.ctl/g, 'ovs-vswitchd.PID.ctl')
    .replace(/aa:55:aa:55:00:[0-9a-f]{2}/g, 'aa:55:aa:55:00:XX') // simulated devices are numbered
    .replace(/^( +\S+ +\d+ +(?:[0-9a-f]{2}:){5}[0-9a-f]{2} +)\d+$/gm, '$1AGE') // a second may begin between two commands
    .replace(/time=[\d.]+ ms/g, 'time=N ms')
    .replace(/\b3\.[17]\.0\b/g, 'VERSION')
    .replace(/, dp-extra-info:\S+|,tcp_flags\(0\/0\)/g, '') // how it classifies, and a field that has nothing to say
    .replace(/(?<=actions: ?)[a-z0-9,]+$/gm, (ports) => ports.split(',').sort().join()); // floods have no order
}

async function play(sandbox: Sandbox, kind: 'startC' | 'startOurs'): Promise<string[]> {
  await sandbox.createDb();
  await sandbox[kind]('ovsdb-server');
  await sandbox[kind]('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  const said: string[] = [];
  for (const line of LINES) {
    const isUnordered = line.startsWith('~');
    const [program, ...args] = (isUnordered ? line.slice(1) : line).split(' ');
    const { status, stdout, stderr } = await sandbox.c(program, ...args);
    const printed = comparable(stdout, sandbox);
    const text = isUnordered ? printed.split('\n').sort().join('\n') : printed;
    said.push(`$ ${line}\n${text}\n${comparable(stderr, sandbox)}=> ${status}\n`);
  }
  return said;
}

/** The command, and the lines that only one of both printed. */
function difference(theirs: string, ours: string): readonly string[] {
  const [left, right] = [theirs.split('\n'), ours.split('\n')];
  const only = (a: string[], b: string[], mark: string): string[] =>
    a.filter((line) => !b.includes(line)).map((line) => `${mark} ${line}`);
  return [left[0], ...only(left, right, 'original:'), ...only(right, left, 'ours:')];
}

test('a session of administration goes as with the original', { skip: missing(...PROGRAMS) }, async () => {
  await using theirs = await Sandbox.create();
  await using ours = await Sandbox.create();
  const [expected, actual] = await Promise.all([play(theirs, 'startC'), play(ours, 'startOurs')]);
  const differences = expected.flatMap((text, i) => (text === actual[i] ? [] : [difference(text, actual[i])]));
  assert.deepEqual(differences, []);
});

test('a thousand ports come and go, and leave no descriptor or thread behind', {
  skip: missing('ovs-vsctl'),
}, async () => {
  await using sandbox = await Sandbox.create();
  await sandbox.createDb();
  await sandbox.startOurs('ovsdb-server');
  const daemon = await sandbox.startOurs('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
  const vsctl = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await sandbox.runC('ovs-vsctl', args, { timeoutMs: 60_000 });
    // On a busy machine it also remarks on its own slowness.
    assert.doesNotMatch(stderr, /Error detected/);
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const names = Array.from({ length: 1000 }, (_, i) => `d${i}`);
  await vsctl('add-br', 'br0');
  const counts = (): string =>
    ['fd', 'task'].map((what) => readdirSync(`/proc/${daemon.pid}/${what}`).length).join(' descriptors, threads ');
  const before = counts();
  for (let round = 0; round < 2; round++) {
    await vsctl(
      ...names.flatMap((name) => ['--', 'add-port', 'br0', name, '--', 'set', 'interface', name, 'type=dummy']),
    );
    const ports = await vsctl('--bare', '--columns=ofport', 'find', 'interface', 'type=dummy');
    assert.equal(new Set(ports.trim().split(/\s+/)).size, names.length);
    assert.doesNotMatch(ports, /-1/);
    await vsctl(...names.flatMap((name) => ['--', 'del-port', name]));
  }
  await until(() => counts() === before, 5000, `as many descriptors and threads as before: ${before}`);
});
