/**
 * Netlink requests, made and answered in one call: `NETLINK_ROUTE` for links, later other families. `netlink(7)`
 *
 * Requests are rare (configuration, statistics), so the socket is used synchronously. Attributes are a map from type to
 * bytes; nested ones are parsed where they are used.
 */
import { AF, SOCK } from './constants.ts';
import { addressOf, check, errno, LinuxError, libc } from './libc.ts';

export const NLM_F = { REQUEST: 1, ACK: 4, DUMP: 0x300, CREATE: 0x400, EXCL: 0x200 } as const;
const NLMSG = { ERROR: 2, DONE: 3 } as const;
const HEADER = 16;

export interface NetlinkMessage {
  readonly type: number;
  /** Behind the netlink header. */
  readonly payload: Buffer;
}

const align4 = (n: number): number => (n + 3) & ~3;

/** One attribute: length, type, value, padding. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const b = Buffer.alloc(align4(4 + value.length));
  b.writeUInt16LE(4 + value.length, 0);
  b.writeUInt16LE(type, 2);
  b.set(value, 4);
  return b;
}

export function u32(value: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(value >>> 0);
  return b;
}

export function cstring(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** Attributes in `bytes`; malformed ends are left out. */
export function parseAttributes(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  let at = 0;
  while (at + 4 <= bytes.length) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    attributes.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += align4(length);
  }
  return attributes;
}

export class NetlinkSocket implements Disposable {
  readonly fd: number;
  private readonly buffer = Buffer.alloc(256 * 1024);
  private readonly bufferAt = addressOf(this.buffer);
  private sequence = 1;

  constructor(protocol: number, groups = 0) {
    const c = libc();
    this.fd = check(
      c.socket(AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC | (groups ? SOCK.NONBLOCK : 0), protocol),
      'netlink socket',
    );
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF.NETLINK, 0);
    address.writeUInt32LE(groups, 8);
    check(c.bind(this.fd, address, address.length), 'binding netlink socket');
  }

  /** Sends a request and returns its answers; throws `LinuxError` with the kernel's reason. */
  request(type: number, flags: number, payload: Uint8Array, what: string): NetlinkMessage[] {
    const sequence = this.sequence++;
    const message = Buffer.alloc(HEADER + payload.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(type, 4);
    message.writeUInt16LE(flags | NLM_F.REQUEST, 6);
    message.writeUInt32LE(sequence, 8);
    message.set(payload, HEADER);
    check(Number(libc().sendto(this.fd, addressOf(message), message.length, 0, 0, 0)), what);

    const isDump = (flags & NLM_F.DUMP) === NLM_F.DUMP;
    const answers: NetlinkMessage[] = [];
    for (;;) {
      for (const { header, body } of this.receive(what)) {
        if (header.sequence !== sequence) continue;
        if (header.type === NLMSG.ERROR) {
          const code = -body.readInt32LE(0);
          if (code !== 0) throw new LinuxError(what, code);
          return answers;
        }
        if (header.type === NLMSG.DONE) return answers;
        answers.push({ type: header.type, payload: Buffer.from(body) });
        if (!isDump && (flags & NLM_F.ACK) === 0) return answers;
      }
    }
  }

  /** What waits on a monitoring socket, without blocking. */
  pending(): NetlinkMessage[] {
    const all: NetlinkMessage[] = [];
    for (let round = 0; round < 64; round++) {
      const got = this.receive('');
      if (got.length === 0) break;
      for (const { header, body } of got) all.push({ type: header.type, payload: Buffer.from(body) });
    }
    return all;
  }

  private receive(what: string): { header: { type: number; sequence: number }; body: Buffer }[] {
    const n = Number(libc().recvfrom(this.fd, this.bufferAt, this.buffer.length, 0, 0, 0));
    if (n < 0) {
      if (what === '') return [];
      throw new LinuxError(what, errno());
    }
    const messages = [];
    let at = 0;
    while (at + HEADER <= n) {
      const length = this.buffer.readUInt32LE(at);
      if (length < HEADER || at + length > n) break;
      messages.push({
        header: { type: this.buffer.readUInt16LE(at + 4), sequence: this.buffer.readUInt32LE(at + 8) },
        body: this.buffer.subarray(at + HEADER, at + length),
      });
      at += align4(length);
    }
    return messages;
  }

  [Symbol.dispose](): void {
    libc().close(this.fd);
  }
}
