/** Which of a port's queues a packet goes out by, where flows are spread over them (`tx-steering=hash`). */
import type { ArenaViews } from '../base/arena.ts';
import { FRAME_DATA } from '../packet/frame.ts';

/** A hash of addresses and ports; packets of one flow have the same. Fragments and what is not IP: of the addresses. */
export function steeringHash({ u8, i32 }: ArenaViews, frame: number): number {
  const at = i32[(frame >> 2) + FRAME_DATA];
  let l3 = at + 12;
  let type = (u8[l3] << 8) | u8[l3 + 1];
  while (type === 0x8100 || type === 0x88a8) {
    l3 += 4;
    type = (u8[l3] << 8) | u8[l3 + 1];
  }
  l3 += 2;
  let hash = type;
  let from = at;
  let bytes = 12;
  let ports = 0;
  if (type === 0x0800) {
    from = l3 + 12;
    bytes = 8;
    const isFragment = ((u8[l3 + 6] << 8) | u8[l3 + 7]) & 0x3fff;
    if (!isFragment && hasPorts(u8[l3 + 9])) ports = l3 + (u8[l3] & 15) * 4;
  } else if (type === 0x86dd) {
    from = l3 + 8;
    bytes = 32;
    if (hasPorts(u8[l3 + 6])) ports = l3 + 40;
  }
  for (let k = from; k < from + bytes; k++) hash = (Math.imul(hash, 31) + u8[k]) | 0;
  if (ports !== 0) for (let k = ports; k < ports + 4; k++) hash = (Math.imul(hash, 31) + u8[k]) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return hash ^ (hash >>> 16);
}

const hasPorts = (protocol: number): boolean => protocol === 6 || protocol === 17 || protocol === 132;
