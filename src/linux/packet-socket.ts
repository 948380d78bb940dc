/** AF_PACKET: raw frames to and from one device. `packet(7)`, `Documentation/networking/packet_mmap.rst` */
import type { Arena } from '../base/arena.ts';
import { AF, ETH_P_ALL, MAP, PACKET, PROT_READ_WRITE, SO, SOCK, SOL } from './constants.ts';
import { addressOf, check, LinuxError, libc } from './libc.ts';

const BUFFER_BYTES = 4 << 20;
/** Where packets of 64 kB wait in the socket. */
const LARGE_BUFFER_BYTES = 32 << 20;
const htons = (n: number): number => ((n & 0xff) << 8) | (n >> 8);

function setInt(fd: number, level: number, name: number, value: number): number {
  const b = Buffer.alloc(4);
  b.writeInt32LE(value);
  return libc().setsockopt(fd, level, name, b, 4);
}

function bindTo(fd: number, ifindex: number, protocol: number): void {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF.PACKET, 0);
  address.writeUInt16LE(htons(protocol), 2);
  address.writeInt32LE(ifindex, 4);
  check(libc().bind(fd, address, address.length), 'binding packet socket');
}

/** Frames of a receive ring, each of `RING_SLOT` bytes, and the bytes of the arena they take. */
export const RING_SLOTS = 2048;
export const RING_SLOT = 2048;
export const RING_BYTES = RING_SLOTS * RING_SLOT;
const RING_BLOCK = 32768;
const TPACKET_V2 = 1;

/** Where things stand in a slot: `struct tpacket2_hdr`. Byte offsets; status is a word of its own. */
export const TPACKET2 = { STATUS: 0, LEN: 4, SNAPLEN: 8, MAC: 12, VLAN_TCI: 24, VLAN_TPID: 26 } as const;
export const TP_STATUS = { KERNEL: 0, USER: 1, COPY: 2, VLAN_VALID: 0x10, VLAN_TPID_VALID: 0x40 } as const;

/**
 * A socket that receives every frame that arrives at the device, each preceded by a `virtio_net_hdr` that tells what the
 * sender left to be done (checksum, segmentation). Our own frames are not seen.
 *
 * With `ring`, an arena and the page-aligned place of `RING_BYTES` in it, the kernel writes the frames there as they
 * arrive (TPACKET_V2); those that do not fit a slot wait whole in the socket as well, and their slot says so.
 */
export function openReceiveSocket(
  ifindex: number,
  ring: { arena: Arena; at: number } | null = null,
  isLarge = false,
): number {
  const fd = check(libc().socket(AF.PACKET, SOCK.RAW | SOCK.NONBLOCK | SOCK.CLOEXEC, 0), 'opening packet socket');
  try {
    check(setInt(fd, SOL.PACKET, PACKET.VNET_HDR, 1), 'PACKET_VNET_HDR');
    check(setInt(fd, SOL.PACKET, PACKET.IGNORE_OUTGOING, 1), 'PACKET_IGNORE_OUTGOING');
    const bytes = isLarge ? LARGE_BUFFER_BYTES : BUFFER_BYTES;
    if (setInt(fd, SOL.SOCKET, SO.RCVBUFFORCE, bytes) < 0) setInt(fd, SOL.SOCKET, SO.RCVBUF, bytes);
    if (ring) mapRing(fd, ring.arena, ring.at);
    bindTo(fd, ifindex, ETH_P_ALL);
    return fd;
  } catch (e) {
    libc().close(fd);
    throw e;
  }
}

function mapRing(fd: number, arena: Arena, at: number): void {
  check(setInt(fd, SOL.PACKET, PACKET.VERSION, TPACKET_V2), 'PACKET_VERSION');
  // Two bytes more of headroom put the Ethernet header at 2 mod 4, as in a frame of ours.
  check(setInt(fd, SOL.PACKET, PACKET.RESERVE, 2), 'PACKET_RESERVE');
  check(setInt(fd, SOL.PACKET, PACKET.COPY_THRESH, 1), 'PACKET_COPY_THRESH');
  const request = Buffer.alloc(16);
  request.writeUInt32LE(RING_BLOCK, 0);
  request.writeUInt32LE(RING_BYTES / RING_BLOCK, 4);
  request.writeUInt32LE(RING_SLOT, 8);
  request.writeUInt32LE(RING_SLOTS, 12);
  check(libc().setsockopt(fd, SOL.PACKET, PACKET.RX_RING, request, request.length), 'PACKET_RX_RING');
  const want = addressOf(arena.u8) + at;
  const got = libc().mmap(want, RING_BYTES, PROT_READ_WRITE, MAP.SHARED | MAP.FIXED, fd, 0);
  if (Number(got) !== want) throw new LinuxError('mapping packet ring');
}

const FANOUT_HASH = 0;
const FANOUT_FLAG_IGNORE_OUTGOING = 0x4000;
const FANOUT_FLAG_UNIQUEID = 0x2000;

/**
 * Spreads what arrives over several receive sockets of one device; packets of one flow go to one of them. `group` null
 * begins a group; its number is returned.
 */
export function joinFanout(fd: number, group: number | null): number {
  const flags = FANOUT_FLAG_IGNORE_OUTGOING | (group === null ? FANOUT_FLAG_UNIQUEID : 0);
  check(setInt(fd, SOL.PACKET, PACKET.FANOUT, (group ?? 0) | ((FANOUT_HASH | flags) << 16)), 'PACKET_FANOUT');
  if (group !== null) return group;
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(4);
  check(libc().getsockopt(fd, SOL.PACKET, PACKET.FANOUT, value, length), 'PACKET_FANOUT');
  return value.readUInt16LE(0);
}

/** Gives the pages under a ring back to ordinary memory. */
export function unmapRing(arena: Arena, at: number): void {
  const flags = MAP.SHARED | MAP.FIXED | MAP.ANONYMOUS;
  libc().mmap(addressOf(arena.u8) + at, RING_BYTES, PROT_READ_WRITE, flags, -1, 0);
}

export interface SendOptions {
  /** Before each packet stands a `virtio_net_hdr`. */
  readonly vnetHeader?: boolean;
  /** Through the device's queueing discipline instead of straight to the driver. */
  readonly queued?: boolean;
  /** `skb->priority` of what is sent. */
  readonly priority?: number;
}

/** A socket that only sends. */
export function openSendSocket(
  ifindex: number,
  { vnetHeader = false, queued = false, priority = 0 }: SendOptions = {},
): number {
  const fd = check(libc().socket(AF.PACKET, SOCK.RAW | SOCK.NONBLOCK | SOCK.CLOEXEC, 0), 'opening packet socket');
  try {
    if (!queued) setInt(fd, SOL.PACKET, PACKET.QDISC_BYPASS, 1);
    if (priority !== 0) check(setInt(fd, SOL.SOCKET, SO.PRIORITY, priority), 'SO_PRIORITY');
    if (vnetHeader) check(setInt(fd, SOL.PACKET, PACKET.VNET_HDR, 1), 'PACKET_VNET_HDR');
    const bytes = vnetHeader ? LARGE_BUFFER_BYTES : BUFFER_BYTES;
    if (setInt(fd, SOL.SOCKET, SO.SNDBUFFORCE, bytes) < 0) setInt(fd, SOL.SOCKET, SO.SNDBUF, bytes);
    bindTo(fd, ifindex, 0);
    return fd;
  } catch (e) {
    libc().close(fd);
    throw e;
  }
}

/** Lets the device receive frames for every address while `fd` is open. */
export function setPromiscuous(fd: number, ifindex: number): void {
  const request = Buffer.alloc(16);
  request.writeInt32LE(ifindex, 0);
  request.writeUInt16LE(PACKET.MR_PROMISC, 4);
  check(libc().setsockopt(fd, SOL.PACKET, PACKET.ADD_MEMBERSHIP, request, request.length), 'promiscuous mode');
}
