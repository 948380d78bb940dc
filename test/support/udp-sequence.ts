/**
 * Numbered UDP datagrams, sent or received, as a program for network namespaces.
 *
 * `send ADDRESS PORT COUNT PER_MS [FIRST]` sends COUNT datagrams with the numbers from FIRST on, PER_MS each millisecond.
 * `receive PORT` prints `ready`, and for a line `report` on its input all numbers so far, in the order in which they came.
 */
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

const [verb, ...args] = process.argv.slice(2);

function send(address: string, port: number, count: number, perMs: number, first: number): void {
  const socket = createSocket('udp4');
  let n = 0;
  const started = performance.now();
  const turn = (): void => {
    const due = Math.min(count, Math.ceil((performance.now() - started) * perMs));
    for (; n < due; n++) {
      const packet = Buffer.alloc(32);
      packet.writeUInt32BE(first + n);
      socket.send(packet);
    }
    if (n < count) setTimeout(turn, 1);
    else socket.close();
  };
  socket.connect(port, address, turn);
}

function receive(port: number): void {
  const numbers: number[] = [];
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  socket.on('message', (packet) => numbers.push(packet.readUInt32BE(0)));
  socket.bind(port, () => process.stdout.write('ready\n'));
  createInterface({ input: process.stdin })
    .on('line', () => process.stdout.write(`${JSON.stringify(numbers)}\n`))
    .on('close', () => process.exit(0));
}

if (verb === 'send') send(args[0], Number(args[1]), Number(args[2]), Number(args[3]), Number(args[4] ?? 0));
else receive(Number(args[0]));
