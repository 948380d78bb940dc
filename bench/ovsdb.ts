/**
 * Transactions a second of our `ovsdb-server` beside the original's, over one Unix connection with requests in flight, and what a client that
 * monitors adds. Prints the ratio ours : theirs.
 *
 *     scripts/node26 bench/ovsdb.ts [transactions]
 */
import { connect, type Socket } from 'node:net';
import { must, Sandbox } from '../test/support/sandbox.ts';

const COUNT = Number(process.argv[2] ?? 20_000);
const IN_FLIGHT = 64;

interface Load {
  readonly name: string;
  readonly monitors: number;
  readonly operation: (i: number) => object;
}

const LOADS: readonly Load[] = [
  {
    name: 'update a column of one of 100 rows',
    monitors: 0,
    operation: (i) => ({
      op: 'update',
      table: 'Interface',
      where: [['name', '==', `p${i % 100}`]],
      row: { statistics: ['map', [['rx_packets', i]]], external_ids: ['map', [['n', String(i)]]] },
    }),
  },
  {
    name: 'the same, 10 clients monitoring',
    monitors: 10,
    operation: (i) => ({
      op: 'update',
      table: 'Interface',
      where: [['name', '==', `p${i % 100}`]],
      row: { external_ids: ['map', [['n', String(i)]]] },
    }),
  },
  {
    name: 'select one of 100 rows by name',
    monitors: 0,
    operation: (i) => ({ op: 'select', table: 'Interface', where: [['name', '==', `p${i % 100}`]] }),
  },
];

/** Counts top-level JSON objects as they end; replies only, since a monitoring client has a connection of its own. */
class Counter {
  count = 0;
  private depth = 0;
  private quoted = false;
  private escaped = false;

  take(bytes: Buffer): void {
    for (const c of bytes) {
      if (this.escaped) this.escaped = false;
      else if (this.quoted) {
        if (c === 0x5c) this.escaped = true;
        else if (c === 0x22) this.quoted = false;
      } else if (c === 0x22) this.quoted = true;
      else if (c === 0x7b) this.depth++;
      else if (c === 0x7d && --this.depth === 0) this.count++;
    }
  }
}

function transactions(path: string, load: Load): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const counter = new Counter();
    let sent = 0;
    const start = performance.now();
    const fill = () => {
      let text = '';
      while (sent < COUNT && sent - counter.count < IN_FLIGHT) {
        text += JSON.stringify({ id: sent, method: 'transact', params: ['Open_vSwitch', load.operation(sent)] });
        sent++;
      }
      if (text !== '') socket.write(text);
    };
    socket.on('connect', fill);
    socket.on('error', reject);
    socket.on('data', (bytes: Buffer) => {
      counter.take(bytes);
      if (counter.count === COUNT) {
        socket.destroy();
        resolve((COUNT / (performance.now() - start)) * 1000);
      } else fill();
    });
  });
}

function monitorClients(path: string, n: number): Socket[] {
  return Array.from({ length: n }, () => {
    const socket = connect(path);
    const params = ['Open_vSwitch', null, { Interface: { columns: ['name', 'external_ids'] } }];
    socket.write(JSON.stringify({ id: 0, method: 'monitor_cond', params }));
    return socket.on('data', () => {});
  });
}

async function prepared(start: (sb: Sandbox) => Promise<unknown>): Promise<Sandbox> {
  const sb = await Sandbox.create();
  await sb.createDb();
  await start(sb);
  const ports = Array.from({ length: 100 }, (_, i) => ['--', 'add-port', 'br0', `p${i}`]).flat();
  await must('ovs-vsctl', [`--db=${sb.db}`, '--no-wait', 'add-br', 'br0', ...ports]);
  return sb;
}

async function main(): Promise<void> {
  await using theirs = await prepared((sb) => sb.startC('ovsdb-server'));
  await using ours = await prepared((sb) => sb.startOurs('ovsdb-server'));
  console.log(`ovsdb-server, ${COUNT} transactions, ${IN_FLIGHT} in flight on one connection (transactions/s)`);
  for (const load of LOADS) {
    const rates: number[] = [];
    for (const sb of [theirs, ours]) {
      const path = sb.path('db.sock');
      const monitors = monitorClients(path, load.monitors);
      await transactions(path, load);
      rates.push(await transactions(path, load));
      for (const socket of monitors) socket.destroy();
    }
    const [c, n] = rates as [number, number];
    console.log(
      `  ${load.name.padEnd(40)} theirs ${c.toFixed(0).padStart(7)}  ours ${n.toFixed(0).padStart(7)}  ${(n / c).toFixed(2)} ×`,
    );
  }
}

await main();
