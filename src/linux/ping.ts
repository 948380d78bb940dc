/** One ICMP echo at a time, for programs that want to show that packets get through. `raw(7)`, RFC 792 */
import { AF, SOCK, SOL } from './constants.ts';
import { addressOf, check, libc } from './libc.ts';

const IPPROTO_ICMP = 1;
const SO_RCVTIMEO = 20;
const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;
const PAYLOAD = 56;

/**
 * Sends an echo request to an IPv4 address and waits, blocking this thread, for its reply. Returns the time it took in
 * milliseconds, or null when none came. Throws `LinuxError` when it cannot be sent.
 */
export function pingOnce(address: string, sequence: number, timeoutMs: number): number | null {
  const c = libc();
  const fd = check(c.socket(AF.INET, SOCK.RAW | SOCK.CLOEXEC, IPPROTO_ICMP), 'ICMP socket');
  try {
    const timeout = Buffer.alloc(16);
    timeout.writeBigInt64LE(BigInt(Math.floor(timeoutMs / 1000)), 0);
    timeout.writeBigInt64LE(BigInt((timeoutMs % 1000) * 1000), 8);
    check(c.setsockopt(fd, SOL.SOCKET, SO_RCVTIMEO, timeout, timeout.length), 'setting timeout');

    const id = process.pid & 0xffff;
    const request = Buffer.alloc(8 + PAYLOAD, 0x5a);
    request.writeUInt32BE(ECHO_REQUEST << 24, 0);
    request.writeUInt16BE(id, 4);
    request.writeUInt16BE(sequence, 6);
    request.writeUInt16BE(checksum(request), 2);
    const to = Buffer.alloc(16);
    to.writeUInt16LE(AF.INET, 0);
    to.set(address.split('.').map(Number), 4);

    const start = performance.now();
    check(Number(c.sendto(fd, addressOf(request), request.length, 0, addressOf(to), to.length)), `pinging ${address}`);
    const reply = Buffer.alloc(2048);
    while (performance.now() - start < timeoutMs) {
      const n = Number(c.recvfrom(fd, addressOf(reply), reply.length, 0, 0, 0));
      if (n < 0) return null;
      const at = (reply[0] & 15) * 4;
      const isOurs = n >= at + 8 && reply.readUInt16BE(at + 4) === id && reply.readUInt16BE(at + 6) === sequence;
      if (isOurs && reply[at] === ECHO_REPLY) return performance.now() - start;
    }
    return null;
  } finally {
    c.close(fd);
  }
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
