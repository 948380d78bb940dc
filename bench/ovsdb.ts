/**
 * Our `ovsdb-server` and `ovs-vsctl` beside the original's, in one run: what the two do with the same requests, and the ratio. Prints a Markdown
 * table. A ratio of rates is good above 1, a ratio of times or memory below.
 *
 *     scripts/node26 bench/ovsdb.ts [SCALE [PART...]]
 *
 * SCALE 1 (default 0.1) is 100 000 transactions, 300 monitors and a database of 200 MB. The longest stall is the longest that an
 * `echo` on a connection of its own had to wait, asked every 2 ms by a thread of its own; it includes what the machine adds. Memory is the most
 * that was ever resident, the program's own pages included: Node's alone are 42 MB.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { encodeRecord } from '../src/ovsdb/log-format.ts';
import { machine, printTable, ROOT, ratio, until } from './support.ts';

const SCALE = Number(process.argv[2] ?? 0.1);
const PARTS = process.argv.slice(3);
const IN_FLIGHT = 64;

const SCHEMA = {
  name: 'Bench',
  version: '1.0.0',
  tables: {
    Item: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        n: { type: 'integer' },
        ids: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' } },
      },
      indexes: [['name']],
    },
  },
};

const uuid = (i: number) => `${i.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
const scaled = (n: number) => Math.max(1, Math.round(n * SCALE));

class Server implements AsyncDisposable {
  readonly dir: string;
  readonly openedMs: number;
  private readonly child: ChildProcess;

  private constructor(dir: string, child: ChildProcess, openedMs: number) {
    this.dir = dir;
    this.child = child;
    this.openedMs = openedMs;
  }

  static async start(ours: boolean, file: (path: string) => void): Promise<Server> {
    const dir = mkdtempSync(join(tmpdir(), 'sb-bench-'));
    file(join(dir, 'db'));
    const program = ours ? join(ROOT, 'bin', 'ovsdb-server') : '/usr/sbin/ovsdb-server';
    const env = { ...process.env, OVS_RUNDIR: dir, OVS_LOGDIR: dir };
    const args = ['-vconsole:off', `--unixctl=${dir}/ctl`, `--remote=punix:${dir}/sock`, join(dir, 'db')];
    const start = performance.now();
    const child = spawn(program, args, { env, stdio: 'ignore' });
    await until(() => existsSync(join(dir, 'sock')) && existsSync(join(dir, 'ctl')), 'ovsdb-server', 600_000);
    const server = new Server(dir, child, 0);
    await server.ask('list_dbs', []);
    return new Server(dir, child, performance.now() - start);
  }

  connect(): Socket {
    return connect(join(this.dir, 'sock'));
  }

  async ask(method: string, params: unknown[]): Promise<void> {
    const socket = this.connect();
    await exchange(socket, JSON.stringify({ id: 'end', method, params }));
    socket.destroy();
  }

  /** Most memory it ever had, in MB. */
  peakMb(): number {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))?.[1]) / 1024;
  }

  compact(): Promise<unknown> {
    return once(
      spawn('ovs-appctl', ['-t', join(this.dir, 'ctl'), 'ovsdb-server/compact'], { stdio: 'ignore' }),
      'exit',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Sends text and waits for the reply to the request called `end`. */
function exchange(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let tail = '';
    const take = (bytes: Buffer) => {
      tail = (tail + bytes.toString('latin1', Math.max(0, bytes.length - 100))).slice(-100);
      if (!tail.includes('"id":"end"') && !text.startsWith('{"id":"end"')) return;
      if (!tail.endsWith('}')) return;
      socket.off('data', take);
      socket.off('error', reject);
      resolve();
    };
    socket.on('data', take);
    socket.once('error', reject);
    socket.write(text);
  });
}

const SUCCESS = '"error":null';

/** Counts replies, none of which is an error; a client that parsed them would measure itself. */
class Counter {
  count = 0;
  private tail = '';

  take(bytes: Buffer): void {
    const text = this.tail + bytes.toString('latin1');
    for (let at = text.indexOf(SUCCESS); at >= 0; at = text.indexOf(SUCCESS, at + 1)) this.count++;
    this.tail = text.slice(-(SUCCESS.length - 1));
  }
}

/** Keeps requests in flight on one connection until all are answered. */
function load(server: Server, total: number, operations: (i: number) => object[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = server.connect();
    const counter = new Counter();
    let sent = 0;
    const fill = () => {
      let text = '';
      for (; sent < total && sent - counter.count < IN_FLIGHT; sent++) {
        text += JSON.stringify({ id: sent, method: 'transact', params: ['Bench', ...operations(sent)] });
      }
      if (text !== '') socket.write(text);
    };
    socket.on('connect', fill);
    socket.on('error', reject);
    socket.on('data', (bytes: Buffer) => {
      counter.take(bytes);
      if (counter.count < total) return fill();
      socket.destroy();
      resolve();
    });
  });
}

const update = (i: number) => ({
  op: 'update',
  table: 'Item',
  where: [['name', '==', `i${i % 100}`]],
  row: { n: i, ids: ['map', [['k', String(i)]]] },
});

async function timed(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

/** How long the longest echo took while `act` ran. */
async function longestStall(server: Server, act: () => Promise<unknown>): Promise<number> {
  const watch = new Worker(new URL('echo-watch.ts', import.meta.url), { workerData: join(server.dir, 'sock') });
  await once(watch, 'message');
  await act();
  watch.postMessage('over');
  const [longest] = (await once(watch, 'message')) as [number];
  return longest;
}

function smallFile(path: string): void {
  const rows = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [uuid(i), { name: `i${i}` }]));
  writeFileSync(path, Buffer.concat([encodeRecord(SCHEMA), encodeRecord({ _date: 0, Item: rows })]));
}

function longFile(path: string): void {
  const records = [encodeRecord(SCHEMA)];
  for (let i = 0; i < scaled(100_000); i++) {
    const row = i < 1000 ? { name: `i${i}`, n: i } : { n: i, ids: ['map', [['k', String(i)]]] };
    records.push(encodeRecord({ _date: 0, Item: { [uuid(i % 1000)]: row } }));
  }
  writeFileSync(path, Buffer.concat(records));
}

const bigRows = () => scaled(200_000);

/** Nine pairs, the values of which are of this row alone. */
const ids = (row: number) => {
  const value = `${row}`.padStart(78, 'v');
  return ['map', Array.from({ length: 9 }, (_, k) => [`key-${k}-${'k'.repeat(10)}`, `${value}-${k}`])];
};

function growingFile(path: string): void {
  const records = [encodeRecord(SCHEMA)];
  for (let i = 0; i < scaled(100_000); i++) {
    records.push(encodeRecord({ _date: 0, _is_diff: true, Item: { [uuid(i)]: { name: `i${i}`, ids: ids(i) } } }));
  }
  writeFileSync(path, Buffer.concat(records));
}

function bigFile(path: string): void {
  const rows = Object.fromEntries(
    Array.from({ length: bigRows() }, (_, i) => [uuid(i), { name: `i${i}`, ids: ids(i) }]),
  );
  writeFileSync(path, Buffer.concat([encodeRecord(SCHEMA), encodeRecord({ _date: 0, Item: rows })]));
}

type Row = [name: string, theirs: string, ours: string, ratio: string, reach: string];
const rows: Row[] = [];

function add(name: string, values: readonly number[], unit: string, reach: string): void {
  const [theirs, ours] = values as [number, number];
  const show = (n: number) => `${n >= 100 ? n.toFixed(0) : n.toFixed(1)} ${unit}`;
  rows.push([name, show(theirs), show(ours), ratio(ours, theirs), reach]);
}

async function both<T>(file: (path: string) => void, measure: (server: Server) => Promise<T>): Promise<[T, T]> {
  const results: T[] = [];
  for (const ours of [false, true]) {
    await using server = await Server.start(ours, file);
    results.push(await measure(server));
  }
  return results as [T, T];
}

const pick = <T>(results: readonly T[], key: keyof T) => results.map((result) => result[key] as number);

async function transactions(): Promise<void> {
  const perSecond = async (server: Server, clients: number, total: number, durable: boolean) => {
    const operations = (i: number) => (durable ? [update(i), { op: 'commit', durable: true }] : [update(i)]);
    const run = () =>
      Promise.all(Array.from({ length: clients }, () => load(server, Math.ceil(total / clients), operations)));
    await run();
    let ms = 0;
    const stall = await longestStall(server, async () => {
      ms = await timed(run);
    });
    return { rate: (total / ms) * 1000, stall };
  };
  const figures: [string, number, boolean][] = [
    ['transactions, one connection', 1, false],
    ['the same, durable', 1, true],
    ['transactions, 30 clients', 30, false],
    ['the same, durable', 30, true],
  ];
  for (const [name, clients, durable] of figures) {
    const total = scaled(durable ? 20_000 : 100_000);
    const results = await both(smallFile, (server) => perSecond(server, clients, total, durable));
    add(name, pick(results, 'rate'), '/s', '≥ 1');
    add('— longest stall', pick(results, 'stall'), 'ms', '≤ 50 ms');
  }
}

/** When each socket has received something. */
function allHeard(sockets: readonly Socket[]): Promise<void> {
  return new Promise((resolve) => {
    let missing = sockets.length;
    const heard = () => {
      if (--missing === 0) resolve();
    };
    for (const socket of sockets) socket.once('data', heard);
  });
}

async function fanOut(): Promise<void> {
  // The original turns clients away beyond 330.
  const clients = Math.min(scaled(500), 300);
  const results = await both(smallFile, async (server) => {
    const params = ['Bench', null, { Item: [{ columns: ['name', 'n'] }] }];
    const sockets: Socket[] = [];
    // One after the other: the original's queue of connections not yet accepted is short.
    while (sockets.length < clients) {
      const socket = server.connect();
      await exchange(socket, '{"id":"end","method":"echo","params":[]}');
      sockets.push(socket);
    }
    await Promise.all(sockets.map((s) => exchange(s, JSON.stringify({ id: 'end', method: 'monitor_cond', params }))));
    const times: number[] = [];
    const writer = server.connect();
    await exchange(writer, '{"id":"end","method":"echo","params":[]}');
    for (let i = 1; i <= 200; i++) {
      const heard = allHeard(sockets);
      const start = performance.now();
      const text = JSON.stringify({ id: 'end', method: 'transact', params: ['Bench', update(i)] });
      await Promise.all([heard, exchange(writer, text)]);
      times.push(performance.now() - start);
    }
    writer.destroy();
    for (const socket of sockets) socket.destroy();
    return times.sort((a, b) => a - b)[times.length >> 1]!;
  });
  add(`an update until the last of ${clients} monitors has it`, results, 'ms', '≤ 1');
}

async function opening(): Promise<void> {
  const files = { 'of 1000 rows': longFile, 'each with a row of 1 kB': growingFile };
  for (const [what, file] of Object.entries(files)) {
    const results = await both(file, async (server) => ({ ms: server.openedMs, mb: server.peakMb() }));
    add(`opening ${scaled(100_000)} transactions ${what}`, pick(results, 'ms'), 'ms', '≤ 1');
    add('— memory', pick(results, 'mb'), 'MB', '≤ 1.5');
  }
}

async function large(): Promise<void> {
  const results = await both(bigFile, async (server) => {
    const openMs = server.openedMs;
    const openMb = server.peakMb();
    const params = ['Bench', null, { Item: [{}] }];
    const text = `${JSON.stringify({ id: 0, method: 'monitor_cond', params })}{"id":"end","method":"echo","params":[]}`;
    let sendMs = 0;
    const sendStall = await longestStall(server, async () => {
      const sockets = Array.from({ length: 20 }, () => server.connect());
      sendMs = await timed(() => Promise.all(sockets.map((socket) => exchange(socket, text))));
      for (const socket of sockets) socket.destroy();
    });
    const sendMb = server.peakMb();
    let compactMs = 0;
    const compactStall = await longestStall(server, async () => {
      compactMs = await timed(() => server.compact());
    });
    return { openMs, openMb, sendMs, sendStall, sendMb, compactMs, compactStall };
  });
  add(`opening ${bigRows()} rows of 1 kB`, pick(results, 'openMs'), 'ms', '≤ 1');
  add('— memory', pick(results, 'openMb'), 'MB', '≤ 1.5');
  add('its contents to 20 clients', pick(results, 'sendMs'), 'ms', '≤ 1');
  add('— longest stall', pick(results, 'sendStall'), 'ms', '≤ 50 ms');
  add('— memory', pick(results, 'sendMb'), 'MB', '≤ 1.5');
  add('compacting it', pick(results, 'compactMs'), 'ms', '');
  add('— longest stall', pick(results, 'compactStall'), 'ms', '≤ 50 ms');
}

async function vsctl(): Promise<void> {
  const schema = join(ROOT, 'schema', 'vswitch.ovsschema');
  const createFile = (path: string) => void execFileSync('/usr/bin/ovsdb-tool', ['create', path, schema]);
  const times: Record<string, number[]> = {};
  for (const ours of [false, true]) {
    await using server = await Server.start(ours, createFile);
    const program = ours ? join(ROOT, 'bin', 'ovs-vsctl') : '/usr/bin/ovs-vsctl';
    const run = (...args: string[]) => {
      const start = performance.now();
      execFileSync(program, [`--db=unix:${server.dir}/sock`, '--no-wait', ...args], { stdio: 'ignore' });
      return performance.now() - start;
    };
    run('init', '--', 'add-br', 'br0');
    for (const command of ['get Open_vSwitch . bridges', 'set bridge br0 external-ids:a=b', 'add-port br0 pN']) {
      const each = Array.from({ length: 15 }, (_, i) => run(...command.replace('N', String(i)).split(' ')));
      (times[command] ??= []).push(each.sort((a, b) => a - b)[7]!);
    }
  }
  for (const [command, values] of Object.entries(times)) add(`ovs-vsctl ${command}`, values, 'ms', '≤ 60 ms');
}

const parts: Readonly<Record<string, () => Promise<void>>> = { transactions, fanOut, opening, large, vsctl };
for (const [name, part] of Object.entries(parts)) if (PARTS.length === 0 || PARTS.includes(name)) await part();
console.log(`${machine()}, scale ${SCALE}\n`);
printTable(['figure', 'original', 'signalbox', 'ratio', 'reach'], rows);
