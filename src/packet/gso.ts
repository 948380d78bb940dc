/**
 * Super-segments: TCP or UDP packets of up to 64 kB that stand for many. Where their headers are, and the `virtio_net_hdr`
 * that lets a kernel cut them (virtio 1.2, 5.1.6). Their transport checksum is nobody's business inside the switch: it is
 * made anew from the headers when they leave, whole or cut.
 */
import { VNET, VNET_HDR_SIZE } from './vnet.ts';

/** Offsets from the Ethernet header, left behind by `locate`. */
export interface GsoPlaces {
  l3: number;
  l4: number;
  /** Bytes of all headers. */
  header: number;
  isV6: boolean;
  isUdp: boolean;
}

export const gsoPlaces: GsoPlaces = { l3: 0, l4: 0, header: 0, isV6: false, isUdp: false };

/** Fills `gsoPlaces`; false when the packet is not what `gsoType` says. */
export function locate(s: Uint8Array, at: number, length: number, gsoType: number): boolean {
  let l3 = 14;
  let type = (s[at + 12] << 8) | s[at + 13];
  while ((type === 0x8100 || type === 0x88a8) && l3 + 4 < length) {
    type = (s[at + l3 + 2] << 8) | s[at + l3 + 3];
    l3 += 4;
  }
  const isV6 = type === 0x86dd;
  if (!isV6 && type !== 0x0800) return false;
  const kind = gsoType & ~VNET.GSO_ECN;
  const isUdp = kind === VNET.GSO_UDP_L4;
  if (!isUdp && kind !== VNET.GSO_TCPV4 && kind !== VNET.GSO_TCPV6) return false;
  let l4 = l3 + 40;
  if (isV6) {
    // Extension headers before TCP: hop-by-hop, routing, destination options all give their length alike.
    let next = s[at + l3 + 6];
    while ((next === 0 || next === 43 || next === 60) && l4 + 2 <= length) {
      next = s[at + l4];
      l4 += (s[at + l4 + 1] + 1) * 8;
    }
    if (next !== (isUdp ? 17 : 6)) return false;
  } else {
    l4 = l3 + (s[at + l3] & 15) * 4;
    if (s[at + l3 + 9] !== (isUdp ? 17 : 6)) return false;
  }
  if (l4 + 20 > length && !(isUdp && l4 + 8 <= length)) return false;
  const header = isUdp ? l4 + 8 : l4 + (s[at + l4 + 12] >> 4) * 4;
  if (header > length) return false;
  gsoPlaces.l3 = l3;
  gsoPlaces.l4 = l4;
  gsoPlaces.header = header;
  gsoPlaces.isV6 = isV6;
  gsoPlaces.isUdp = isUdp;
  return true;
}

/**
 * Writes the virtio header of a super-segment into the bytes before it, and the sum that the kernel expects in its checksum
 * field. False when no kernel would cut this packet as it is: segment it here.
 */
export function writeGsoHeader(u8: Uint8Array, at: number, length: number, gso: number): boolean {
  const type = gso >>> 16;
  if (!locate(u8, at, length, type)) return false;
  const { l3, l4, header, isV6, isUdp } = gsoPlaces;
  // A tag in the packet hides from the kernel what it would have to cut.
  if (l3 !== 14) return false;
  const checksum = isUdp ? 6 : 16;
  const h = at - VNET_HDR_SIZE;
  u8[h] = VNET.NEEDS_CSUM;
  u8[h + 1] = type;
  put16(u8, h + 2, header);
  put16(u8, h + 4, gso & 0xffff);
  put16(u8, h + 6, l4);
  put16(u8, h + 8, checksum);
  let sum = length - l4 + (isUdp ? 17 : 6);
  const from = at + l3 + (isV6 ? 8 : 12);
  for (let k = from, end = from + (isV6 ? 32 : 8); k < end; k += 2) sum += (u8[k] << 8) | u8[k + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  u8[at + l4 + checksum] = sum >> 8;
  u8[at + l4 + checksum + 1] = sum;
  return true;
}

/**
 * Completes the checksum of a copy of a super-segment, so that whoever sees it as a packet sees a good one. `at` is even.
 */
export function finishGso(u8: Uint8Array, u16: Uint16Array, at: number, length: number, gso: number): void {
  if (!locate(u8, at, length, gso >>> 16)) return;
  const { l3, l4, isV6, isUdp } = gsoPlaces;
  const checksum = at + l4 + (isUdp ? 6 : 16);
  u8[checksum] = 0;
  u8[checksum + 1] = 0;
  let sum = length - l4 + (isUdp ? 17 : 6);
  sum = ((sum & 0xff) << 8) | ((sum >> 8) & 0xff);
  const from = at + l3 + (isV6 ? 8 : 12);
  for (let k = from >> 1, end = (from + (isV6 ? 32 : 8)) >> 1; k < end; k++) sum += u16[k];
  const last = (at + length) >> 1;
  for (let k = (at + l4) >> 1; k < last; k++) sum += u16[k];
  if (length & 1) sum += u8[at + length - 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  sum = ~sum & 0xffff;
  put16(u8, checksum, sum === 0 && isUdp ? 0xffff : sum);
}

/** A virtio header that asks for nothing. */
export function writePlainHeader(u8: Uint8Array, at: number): void {
  for (let k = at - VNET_HDR_SIZE; k < at; k++) u8[k] = 0;
}

function put16(u8: Uint8Array, at: number, littleEndian: number): void {
  u8[at] = littleEndian;
  u8[at + 1] = littleEndian >> 8;
}
