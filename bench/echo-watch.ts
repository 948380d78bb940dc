/**
 * A thread that asks a server for an `echo` every 2 ms on a connection of its own, and tells how long the longest took: what others do
 * in the benchmark's own thread does not count.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

const socket = connect(workerData as string);
let longest = 0;
let over = false;
parentPort!.once('message', () => {
  over = true;
});
// A server tells those who do not say this of a changed schema by hanging up.
socket.write('{"id":0,"method":"set_db_change_aware","params":[true]}');
await once(socket, 'data');
parentPort!.postMessage('ready');
while (!over) {
  const start = performance.now();
  socket.write('{"id":1,"method":"echo","params":[]}');
  await once(socket, 'data');
  longest = Math.max(longest, performance.now() - start);
  await new Promise((resolve) => setTimeout(resolve, 2));
}
socket.destroy();
parentPort!.postMessage(longest);
