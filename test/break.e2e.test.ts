/** Breakpoints in a running switch with two PMDs: real packets with numbers, through real devices. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { HeldState } from '../src/ofproto/journey/held.ts';
import { type Host, type HostNet, hostNet, pairUp } from './support/host-net.ts';
import { BIN, missing, notRoot, ROOT, until } from './support/sandbox.ts';

const skip = notRoot || missing('ip');
const NODE = join(ROOT, 'scripts/node26');
const PROGRAM = join(ROOT, 'test/support/udp-sequence.ts');

/** Pairs of hosts, 1 to 2 and 3 to 4, whose packets a rule for each port sends to the other. */
async function network(): Promise<HostNet> {
  const net = await hostNet(4, 'set open_vswitch . other_config:pmd-cpu-mask=3');
  for (const [i, { port }] of net.hosts.entries()) {
    const to = net.hosts[i ^ 1].port.outer;
    await net.ours('ovs-ofctl', 'add-flow', net.bridge, `in_port=${port.outer},actions=output:${to}`);
  }
  await pairUp(net.hosts);
  return net;
}

/** What arrived at a host's UDP port, in order. */
class Receiver implements Disposable {
  private readonly child: ChildProcess;
  private readonly lines: string[] = [];

  private constructor(child: ChildProcess) {
    this.child = child;
    // Its output is a pipe: see `stdio`.
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (l) => this.lines.push(l));
  }

  static async start(host: Host, port: number): Promise<Receiver> {
    const [ip, ...words] = host.ns.prefix();
    const child = spawn(ip, [...words, NODE, PROGRAM, 'receive', String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const receiver = new Receiver(child);
    await until(() => receiver.lines.includes('ready'), 5000, 'the receiver is ready');
    return receiver;
  }

  async numbers(): Promise<number[]> {
    const seen = this.lines.length;
    this.child.stdin?.write('report\n');
    await until(() => this.lines.length > seen, 5000, 'the receiver reports');
    return JSON.parse(this.lines.at(-1) ?? '[]') as number[];
  }

  [Symbol.dispose](): void {
    this.child.kill('SIGKILL');
  }
}

const send = (from: Host, to: Host, port: number, count: number, perMs: number, first = 0): Promise<string> =>
  from.ns.must(NODE, PROGRAM, 'send', to.address, String(port), String(count), String(perMs), String(first));

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

async function held(net: HostNet): Promise<HeldState[]> {
  const text = await net.ours('ovs-appctl', 'journey/break-show', '--format=json');
  const lines = text.trim().split('\n');
  return lines.map((l) => JSON.parse(l) as HeldState).filter((l) => l.type === 'held');
}

test('packets of other flows are neither lost nor reordered while some wait, on two PMDs', { skip }, async () => {
  await using net = await network();
  const [a, b, c, d] = net.hosts;
  using watched = await Receiver.start(b, 7001);
  using beside = await Receiver.start(b, 7002);
  using far = await Receiver.start(d, 7001);
  // Megaflows for all of it, so that the order is the fast path's.
  for (const [from, to, port, receiver] of [
    [a, b, 7001, watched],
    [a, b, 7002, beside],
    [c, d, 7001, far],
  ] as const) {
    await send(from, to, port, 1, 1, 1_000_000);
    await until(async () => (await receiver.numbers()).length === 1, 5000, 'the first arrives');
  }
  const filter = `udp,nw_dst=${b.address},tp_dst=7001`;
  assert.match(await net.ours('ovs-appctl', 'journey/break-set', 'tx,dpcls', filter, '--limit=120'), /^b\d+\n$/);
  const COUNT = 2000;
  // The same host sends both: what waits is in the same bursts as what does not. Few enough to wait behind one.
  await Promise.all([send(a, b, 7001, 200, 1), send(a, b, 7002, COUNT, 2), send(c, d, 7001, COUNT, 2)]);
  await until(async () => (await beside.numbers()).length === COUNT + 1, 10_000, 'all beside arrive');
  await until(async () => (await far.numbers()).length === COUNT + 1, 10_000, 'all of the other pair arrive');
  assert.deepEqual((await beside.numbers()).slice(1), upTo(COUNT));
  assert.deepEqual((await far.numbers()).slice(1), upTo(COUNT));
  assert.equal((await watched.numbers()).length, 1, 'and what is to wait waits');
  const [first] = await held(net);
  assert.ok(first?.flow.includes('tp_dst=7001'), JSON.stringify(first));
  // One at a time, in order.
  for (let n = 0; n < 6; n++) {
    await net.ours('ovs-appctl', 'journey/break-continue');
    await until(async () => (await held(net)).length === 1, 5000, 'the next stops');
  }
  const some = (await watched.numbers()).slice(1);
  assert.ok(some.length >= 3, `${some.length} went on`);
  assert.deepEqual(some, upTo(some.length));
  // Other threads take over: what waited in the old ones goes on, what comes now waits in the new ones.
  await net.ours('ovs-vsctl', '--timeout=15', 'set', 'open_vswitch', '.', 'other_config:pmd-cpu-mask=1');
  await until(async () => (await watched.numbers()).length === 201, 10_000, 'all that waited goes on');
  const queues = (): Promise<string> => net.ours('ovs-appctl', 'dpif-netdev/pmd-rxq-show');
  await until(async () => /^(?!.*core_id 1:).*(port: .*){4}/s.test(await queues()), 10_000, 'the other threads poll');
  assert.deepEqual(await held(net), []);
  await send(a, b, 7001, 1, 1, 200);
  await until(async () => (await held(net)).length === 1, 5000, 'it waits');
  await net.ours('ovs-appctl', 'journey/break-delete', 'all');
  await until(async () => (await watched.numbers()).length === 202, 5000, 'it goes on');
  assert.deepEqual((await watched.numbers()).slice(1), upTo(201), 'in their order');
});

test('signalbox break: a script edits and steps; a client that is gone leaves nothing behind', { skip }, async () => {
  await using net = await network();
  const [a, b] = net.hosts;
  using receiver = await Receiver.start(b, 7001);
  using other = await Receiver.start(b, 7009);
  const start = (...args: string[]) => {
    const child = spawn(join(BIN, 'signalbox'), ['break', ...args], {
      env: { ...process.env, ...net.sb.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const seen = { text: '', status: null as number | null };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (seen.text += bytes));
    child.on('exit', (status) => {
      seen.status = status ?? -1;
    });
    return { child, seen };
  };
  const { child, seen } = start('xlate', 'udp,tp_dst=7001', '--stories');
  await until(() => /b\d+ is set/.test(seen.text), 5000, 'the breakpoint is set');
  await send(a, b, 7001, 1, 1, 42);
  await until(() => /■ packet \d+ {2}before xlate/.test(seen.text), 5000, 'the packet waits');
  assert.match(seen.text, /upcall: no megaflow/, 'with its journey so far');
  child.stdin.write('edit tp_dst=7009\nstep\n');
  await until(() => /before tx/.test(seen.text), 5000, 'it has been translated');
  assert.match(seen.text, /goes on: step\n +edited: tp_dst=7009/);
  child.stdin.write('continue\n');
  await until(async () => (await other.numbers()).length === 1, 5000, 'it arrives where it was sent to');
  assert.deepEqual(await other.numbers(), [42], 'with a checksum that its receiver believes');
  await until(() => /✓ journey \d+/.test(seen.text), 5000, 'its journey is told');
  child.stdin.write('nonsense\nquit\n');
  await until(() => seen.status !== null, 5000, 'it ends');
  assert.equal(seen.status, 0, seen.text);
  assert.match(seen.text, /nonsense: not one of continue, step/);
  assert.match(await net.ours('ovs-appctl', 'journey/break-list'), /no breakpoints/);

  const killed = start('rx', 'udp,tp_dst=7001');
  await until(() => /b\d+ is set/.test(killed.seen.text), 5000, 'the breakpoint is set');
  await send(a, b, 7001, 3, 1, 100);
  await until(() => /■ packet/.test(killed.seen.text), 5000, 'the first waits');
  killed.child.kill('SIGKILL');
  await until(async () => (await receiver.numbers()).length === 3, 12_000, 'what waited goes on');
  assert.deepEqual(await receiver.numbers(), [100, 101, 102]);
  assert.match(await net.ours('ovs-appctl', 'journey/break-list'), /no breakpoints/);

  // The switch ends: what waits is not lost.
  await net.ours('ovs-appctl', 'journey/break-set', 'tx,upcall', 'udp,tp_dst=7001');
  await send(a, b, 7001, 2, 1, 200);
  await until(async () => (await held(net)).length === 1, 5000, 'the first waits');
  await net.ours('ovs-appctl', 'exit');
  await until(async () => (await receiver.numbers()).length === 5, 5000, 'both arrive');
  assert.deepEqual((await receiver.numbers()).slice(3), [200, 201]);
});
