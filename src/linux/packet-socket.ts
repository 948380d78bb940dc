/** AF_PACKET: raw frames to and from one device. `packet(7)` */
import { AF, ETH_P_ALL, PACKET, SO, SOCK, SOL } from './constants.ts';
import { check, libc } from './libc.ts';

const BUFFER_BYTES = 4 << 20;
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

/**
 * A socket that receives every frame that arrives at the device, each preceded by a `virtio_net_hdr` that tells what the
 * sender left to be done (checksum, segmentation), with its VLAN tag in ancillary data. Our own frames are not seen.
 */
export function openReceiveSocket(ifindex: number): number {
  const fd = check(libc().socket(AF.PACKET, SOCK.RAW | SOCK.NONBLOCK | SOCK.CLOEXEC, 0), 'opening packet socket');
  try {
    check(setInt(fd, SOL.PACKET, PACKET.VNET_HDR, 1), 'PACKET_VNET_HDR');
    check(setInt(fd, SOL.PACKET, PACKET.AUXDATA, 1), 'PACKET_AUXDATA');
    check(setInt(fd, SOL.PACKET, PACKET.IGNORE_OUTGOING, 1), 'PACKET_IGNORE_OUTGOING');
    if (setInt(fd, SOL.SOCKET, SO.RCVBUFFORCE, BUFFER_BYTES) < 0) setInt(fd, SOL.SOCKET, SO.RCVBUF, BUFFER_BYTES);
    bindTo(fd, ifindex, ETH_P_ALL);
    return fd;
  } catch (e) {
    libc().close(fd);
    throw e;
  }
}

/** A socket that only sends, straight to the driver. */
export function openSendSocket(ifindex: number): number {
  const fd = check(libc().socket(AF.PACKET, SOCK.RAW | SOCK.NONBLOCK | SOCK.CLOEXEC, 0), 'opening packet socket');
  try {
    setInt(fd, SOL.PACKET, PACKET.QDISC_BYPASS, 1);
    if (setInt(fd, SOL.SOCKET, SO.SNDBUFFORCE, BUFFER_BYTES) < 0) setInt(fd, SOL.SOCKET, SO.SNDBUF, BUFFER_BYTES);
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
