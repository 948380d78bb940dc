/** Tap devices: a network interface of the host whose other end is a file descriptor. `Documentation/networking/tuntap.rst` */
import { O } from './constants.ts';
import { check, LinuxError, libc } from './libc.ts';

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;

/**
 * Creates the tap device `name`, or takes over one that nobody holds, such as another switch left behind; either goes when
 * the descriptor closes. Throws `LinuxError`.
 */
export function openTap(name: string): number {
  const fd = check(libc().open('/dev/net/tun', O.RDWR | O.NONBLOCK | O.CLOEXEC), 'opening "/dev/net/tun" failed');
  const ifreq = Buffer.alloc(40);
  ifreq.write(name, 0, 15, 'latin1');
  ifreq.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16);
  if (libc().ioctl(fd, TUNSETIFF, ifreq) < 0) {
    const error = new LinuxError(`${name}: creating tap device failed`);
    libc().close(fd);
    throw error;
  }
  // The argument is a number: 0, whatever its type.
  libc().ioctl(fd, TUNSETPERSIST, null);
  return fd;
}
