/** Tap devices: a network interface of the host whose other end is a file descriptor. `Documentation/networking/tuntap.rst` */
import { O } from './constants.ts';
import { check, errno, LinuxError, libc } from './libc.ts';

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_VNET_HDR = 0x4000;
const TUNSETOFFLOAD = 0x400454d0;
/** TUN_F_CSUM, TSO4, TSO6, TSO_ECN. */
const OFFLOADS = 0x0f;
const EINVAL = 22;

/**
 * Creates the tap device `name`, or takes over one that nobody holds, such as another switch left behind; either goes when
 * the last descriptor closes. With `manyQueues`, which costs the kernel a quarter of a megabyte, opening it again gives
 * another queue. With `vnet` a `virtio_net_hdr` stands before each
 * packet, and the host leaves checksums and segmentation to us. Throws `LinuxError`.
 */
export function openTap(name: string, vnet = false, manyQueues = false): number {
  const fd = check(libc().open('/dev/net/tun', O.RDWR | O.NONBLOCK | O.CLOEXEC), 'opening "/dev/net/tun" failed');
  const ifreq = Buffer.alloc(40);
  ifreq.write(name, 0, 15, 'latin1');
  const flags = IFF_TAP | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0);
  ifreq.writeUInt16LE(flags | (manyQueues ? IFF_MULTI_QUEUE : 0), 16);
  let result = libc().ioctl(fd, TUNSETIFF, ifreq);
  if (result < 0 && errno() === EINVAL) {
    // A device that is there and was made for another number of queues.
    ifreq.writeUInt16LE(flags | (manyQueues ? 0 : IFF_MULTI_QUEUE), 16);
    result = libc().ioctl(fd, TUNSETIFF, ifreq);
  }
  if (result < 0) {
    const error = new LinuxError(`${name}: creating tap device failed`);
    libc().close(fd);
    throw error;
  }
  if (vnet) setOffloads(fd);
  // The argument is a number: 0, whatever its type.
  libc().ioctl(fd, TUNSETPERSIST, null);
  return fd;
}

function setOffloads(fd: number): void {
  check(libc().ioctlNumber(fd, TUNSETOFFLOAD, OFFLOADS), 'offloads of tap');
}
