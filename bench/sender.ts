/**
 * Sends UDP packets out of one device as fast as it takes them: `sender.ts DEVICE FLOWS SECONDS [SIZE]`. Flows differ in
 * source address and source port. Prints what it sent, as JSON.
 */
import { MSG } from '../src/linux/constants.ts';
import { addressOf, libc } from '../src/linux/libc.ts';
import { getLink } from '../src/linux/link.ts';
import { openSendSocket } from '../src/linux/packet-socket.ts';

const BATCH = 64;
const MMSGHDR = 64;
const IOVEC = 16;
const ROOM = 2048;

const [device = '', flowsText = '1', secondsText = '1', sizeText = '60'] = process.argv.slice(2);
const flows = Number(flowsText);
const seconds = Number(secondsText);
const size = Number(sizeText);
const link = getLink(device);
if (!link) throw new Error(`${device}: no such device`);

const memory = new ArrayBuffer(BATCH * (MMSGHDR + IOVEC + ROOM));
const u8 = new Uint8Array(memory);
const u64 = new BigUint64Array(memory);
const base = BigInt(addressOf(u8));
const IOV = BATCH * MMSGHDR;
const DATA = IOV + BATCH * IOVEC;
// prettier-ignore
const header = [
  2,
  0,
  0,
  0,
  0,
  2,
  2,
  0,
  0,
  0,
  0,
  1,
  8,
  0,
  0x45,
  0,
  0,
  size - 14,
  0,
  0,
  0x40,
  0,
  64,
  17,
  0,
  0,
  10,
  0,
  0,
  1,
  10,
  0,
  0,
  2,
  0x10,
  0,
  0x20,
  0,
  0,
  size - 34,
  0,
  0,
];
for (let i = 0; i < BATCH; i++) {
  u64[(i * MMSGHDR + 16) >> 3] = base + BigInt(IOV + i * IOVEC);
  u64[(i * MMSGHDR + 24) >> 3] = 1n;
  u64[(IOV + i * IOVEC) >> 3] = base + BigInt(DATA + i * ROOM);
  u64[(IOV + i * IOVEC + 8) >> 3] = BigInt(size);
  u8.set(header, DATA + i * ROOM);
}
const fd = openSendSocket(link.ifindex);
const c = libc();
const messages = Number(base);
let sent = 0;
let flow = 0;
const start = performance.now();
const end = start + seconds * 1000;
do {
  for (let round = 0; round < 16; round++) {
    for (let i = 0; i < BATCH; i++) {
      const at = DATA + i * ROOM;
      u8[at + 28] = flow >> 8;
      u8[at + 29] = flow;
      u8[at + 34] = flow >> 8;
      u8[at + 35] = flow;
      if (++flow === flows) flow = 0;
    }
    const n = c.sendmmsg(fd, messages, BATCH, MSG.DONTWAIT);
    if (n > 0) sent += n;
  }
} while (performance.now() < end);
console.log(JSON.stringify({ sent, pps: Math.round((sent * 1000) / (performance.now() - start)) }));
