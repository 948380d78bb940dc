/** Sends frames of noise, half of them with a plausible beginning: `noise.ts DEVICE COUNT`. Always the same ones. */
import { addressOf, libc } from '../../src/linux/libc.ts';
import { getLink } from '../../src/linux/link.ts';
import { openSendSocket } from '../../src/linux/packet-socket.ts';

const [device = '', count = '1000'] = process.argv.slice(2);
const link = getLink(device);
if (!link) throw new Error(`${device}: no such device`);
const fd = openSendSocket(link.ifindex);
let state = 12345;
const random = (below: number): number => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) % below;
};
const ETHERTYPES = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x8847, 0x894f, 0x0005, 0x88b5];
const frame = new Uint8Array(1514);
const at = addressOf(frame);
for (let i = 0; i < Number(count); i++) {
  const length = 14 + random(i % 10 === 0 ? 1500 : 100);
  for (let k = 0; k < length; k++) frame[k] = random(256);
  frame[0] &= 0xfe;
  const type = ETHERTYPES[random(ETHERTYPES.length)];
  frame[12] = type >> 8;
  frame[13] = type;
  if (type === 0x0800 && random(2)) frame[14] = 0x45;
  if (type === 0x86dd && random(2)) frame[14] = 0x60;
  libc().sendto(fd, at, length, 0, 0, 0);
}
