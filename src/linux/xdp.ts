/**
 * AF_XDP: a device's receive and transmit rings and the frames they name, all mapped into the arena, so that a packet
 * goes from the driver to our typed arrays without a copy by us. `Documentation/networking/af_xdp.rst`
 *
 * Each socket registers the *same* frame region of the arena as its own UMEM. A frame received on one device can thus be
 * sent on any other by its address alone, without the restrictions of XDP_SHARED_UMEM.
 *
 * A small BPF program on the device redirects what arrives on queue N to the socket in slot N of a map, and lets pass
 * what arrives on a queue without a socket. The program is attached by a BPF link: when its descriptor closes, even
 * because the process was killed, the device is as before.
 */
import type { Arena } from '../base/arena.ts';
import { AF, MAP, PAGE_SIZE, PROT_READ_WRITE, SOCK, SOL } from './constants.ts';
import { addressOf, check, errno, LinuxError, libc } from './libc.ts';

/** Entries of each ring; a power of two. */
export const RING_SIZE = 2048;
/** Room the kernel leaves before a received packet. */
export const XDP_PACKET_HEADROOM = 256;

export const XDP_MODE = { native: 4, generic: 2 } as const;
export type XdpMode = keyof typeof XDP_MODE;

const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_TX_RING = 3;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_COPY = 1 << 1;
const XDP_ZEROCOPY = 1 << 2;
const XDP_USE_NEED_WAKEUP = 1 << 3;

const SYS_BPF = process.arch === 'arm64' ? 280 : 321;
const BPF = { MAP_CREATE: 0, MAP_UPDATE_ELEM: 2, PROG_LOAD: 5, LINK_CREATE: 28 } as const;
const BPF_MAP_TYPE_XSKMAP = 17;
const BPF_PROG_TYPE_XDP = 6;
const BPF_XDP = 37;
const MAX_QUEUES = 64;

function bpf(command: number, attributes: Uint8Array, what: string): number {
  return check(Number(libc().syscall(SYS_BPF, command, attributes, attributes.length)), what);
}

/** One instruction: `opcode, dst | src << 4, offset, immediate`. */
function instruction(opcode: number, dst: number, src: number, offset: number, immediate: number): Buffer {
  const b = Buffer.alloc(8);
  b[0] = opcode;
  b[1] = dst | (src << 4);
  b.writeInt16LE(offset, 2);
  b.writeInt32LE(immediate, 4);
  return b;
}

/** The redirect program and its map on one device. */
export interface XdpLink {
  readonly mapFd: number;
  readonly progFd: number;
  readonly linkFd: number;
}

/** Puts the redirect program on the device, in the driver (`native`) or in front of the stack (`generic`). */
export function attachXdp(ifindex: number, mode: XdpMode): XdpLink {
  const fds: number[] = [];
  try {
    const map = Buffer.alloc(72);
    map.writeUInt32LE(BPF_MAP_TYPE_XSKMAP, 0);
    map.writeUInt32LE(4, 4);
    map.writeUInt32LE(4, 8);
    map.writeUInt32LE(MAX_QUEUES, 12);
    const mapFd = bpf(BPF.MAP_CREATE, map, 'creating XSKMAP');
    fds.push(mapFd);

    const code = Buffer.concat([
      instruction(0x61, 2, 1, 16, 0), // r2 = ctx->rx_queue_index
      instruction(0x18, 1, 1, 0, mapFd), // r1 = map
      instruction(0, 0, 0, 0, 0),
      instruction(0xb7, 3, 0, 0, 2), // r3 = XDP_PASS where the slot is empty
      instruction(0x85, 0, 0, 0, 51), // call bpf_redirect_map
      instruction(0x95, 0, 0, 0, 0), // exit
    ]);
    const license = Buffer.from('GPL\0');
    const program = Buffer.alloc(144);
    program.writeUInt32LE(BPF_PROG_TYPE_XDP, 0);
    program.writeUInt32LE(code.length / 8, 4);
    program.writeBigUInt64LE(BigInt(addressOf(code)), 8);
    program.writeBigUInt64LE(BigInt(addressOf(license)), 16);
    program.writeUInt32LE(BPF_XDP, 68);
    const progFd = bpf(BPF.PROG_LOAD, program, 'loading XDP program');
    fds.push(progFd);

    const link = Buffer.alloc(64);
    link.writeUInt32LE(progFd, 0);
    link.writeUInt32LE(ifindex, 4);
    link.writeUInt32LE(BPF_XDP, 8);
    link.writeUInt32LE(XDP_MODE[mode], 12);
    const linkFd = bpf(BPF.LINK_CREATE, link, 'attaching XDP program');
    return { mapFd, progFd, linkFd };
  } catch (e) {
    for (const fd of fds) libc().close(fd);
    throw e;
  }
}

export function detachXdp(link: XdpLink): void {
  libc().close(link.linkFd);
  libc().close(link.progFd);
  libc().close(link.mapFd);
}

/** Word indices into the arena of one ring's producer, consumer and flags, and the byte offset of its entries. */
export interface XdpRing {
  readonly producer: number;
  readonly consumer: number;
  readonly flags: number;
  readonly entries: number;
}

export interface XdpSocket {
  readonly fd: number;
  readonly rx: XdpRing;
  readonly tx: XdpRing;
  readonly fill: XdpRing;
  readonly completion: XdpRing;
  /** The region of `XSK_RINGS_BYTES` the rings are mapped over. */
  readonly ringsAt: number;
}

/** Arena bytes one socket's rings need, page-aligned; generous for any kernel's ring header. */
export const XSK_RINGS_BYTES = 2 * (RING_SIZE * 16 + PAGE_SIZE) + 2 * (RING_SIZE * 8 + PAGE_SIZE);

const MMAP_OFFSET = { rx: 0, tx: 0x80000000, fill: 0x100000000, completion: 0x180000000 } as const;

/**
 * Opens the socket of one queue and maps its rings at `ringsAt`. `frames` is the region of all frame chunks.
 * The socket is bound but receives nothing until `registerXdpSocket`.
 */
export function openXdpSocket(
  arena: Arena,
  ifindex: number,
  queue: number,
  frames: { readonly at: number; readonly bytes: number; readonly chunk: number; readonly headroom: number },
  ringsAt: number,
  zeroCopy: boolean,
  needWakeup = true,
): XdpSocket {
  const c = libc();
  const base = addressOf(arena.u8);
  const fd = check(c.socket(AF.XDP, SOCK.RAW | SOCK.CLOEXEC, 0), 'opening AF_XDP socket');
  try {
    const umem = Buffer.alloc(32);
    umem.writeBigUInt64LE(BigInt(base + frames.at), 0);
    umem.writeBigUInt64LE(BigInt(frames.bytes), 8);
    umem.writeUInt32LE(frames.chunk, 16);
    umem.writeUInt32LE(frames.headroom, 20);
    check(c.setsockopt(fd, SOL.XDP, XDP_UMEM_REG, umem, umem.length), 'registering UMEM');

    const size = Buffer.alloc(4);
    size.writeUInt32LE(RING_SIZE);
    for (const ring of [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING]) {
      check(c.setsockopt(fd, SOL.XDP, ring, size, 4), 'sizing AF_XDP ring');
    }

    const offsets = Buffer.alloc(128);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(offsets.length);
    check(c.getsockopt(fd, SOL.XDP, XDP_MMAP_OFFSETS, offsets, length), 'reading AF_XDP ring layout');

    let at = ringsAt;
    const map = (name: keyof typeof MMAP_OFFSET, index: number, entryBytes: number): XdpRing => {
      const field = (i: number): number => Number(offsets.readBigUInt64LE(index * 32 + i * 8));
      const desc = field(2);
      const bytes = Math.ceil((desc + RING_SIZE * entryBytes) / PAGE_SIZE) * PAGE_SIZE;
      if (at + bytes > ringsAt + XSK_RINGS_BYTES) throw new Error('AF_XDP ring is larger than expected');
      const got = c.mmap(
        base + at,
        bytes,
        PROT_READ_WRITE,
        MAP.SHARED | MAP.FIXED | MAP.POPULATE,
        fd,
        MMAP_OFFSET[name],
      );
      if (Number(got) !== base + at) throw new LinuxError('mapping AF_XDP ring');
      const ring = {
        producer: (at + field(0)) >> 2,
        consumer: (at + field(1)) >> 2,
        entries: at + desc,
        flags: (at + field(3)) >> 2,
      };
      at += bytes;
      return ring;
    };
    const rx = map('rx', 0, 16);
    const tx = map('tx', 1, 16);
    const fill = map('fill', 2, 8);
    const completion = map('completion', 3, 8);

    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF.XDP, 0);
    address.writeUInt16LE((zeroCopy ? XDP_ZEROCOPY : XDP_COPY) | (needWakeup ? XDP_USE_NEED_WAKEUP : 0), 2);
    address.writeUInt32LE(ifindex, 4);
    address.writeUInt32LE(queue, 8);
    bindPatiently(fd, address);
    return { fd, rx, tx, fill, completion, ringsAt };
  } catch (e) {
    const code = errno();
    c.close(fd);
    unmapRings(arena, ringsAt);
    if (e instanceof LinuxError) throw e;
    throw new LinuxError(e instanceof Error ? e.message : String(e), code);
  }
}

/** A socket that was closed just now is gone a little later: its queue is busy until then. */
const BUSY_TRIES = 50;
const BUSY_WAIT_MS = 2;
const EBUSY = 16;

function bindPatiently(fd: number, address: Buffer): void {
  for (let tries = 0; libc().bind(fd, address, address.length) < 0; tries++) {
    if (errno() !== EBUSY || tries === BUSY_TRIES) throw new LinuxError('binding AF_XDP socket');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_WAIT_MS);
  }
}

/** From now on packets of queue `queue` come to this socket. */
export function registerXdpSocket(link: { readonly mapFd: number }, queue: number, fd: number): void {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(queue);
  const value = Buffer.alloc(4);
  value.writeUInt32LE(fd);
  const update = Buffer.alloc(32);
  update.writeUInt32LE(link.mapFd, 0);
  update.writeBigUInt64LE(BigInt(addressOf(key)), 8);
  update.writeBigUInt64LE(BigInt(addressOf(value)), 16);
  bpf(BPF.MAP_UPDATE_ELEM, update, 'registering AF_XDP socket');
}

/** Gives the pages under the rings back to ordinary memory. */
export function unmapRings(arena: Arena, ringsAt: number): void {
  libc().mmap(
    addressOf(arena.u8) + ringsAt,
    XSK_RINGS_BYTES,
    PROT_READ_WRITE,
    MAP.SHARED | MAP.FIXED | MAP.ANONYMOUS,
    -1,
    0,
  );
}

const XDP_STATISTICS = 7;

export interface XdpCounts {
  readonly rxDropped: number;
  readonly rxInvalid: number;
  readonly txInvalid: number;
}

/** What the kernel has counted of a socket; null when it will not say. */
export function xdpStatistics(fd: number): XdpCounts | null {
  const counts = Buffer.alloc(48);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(counts.length);
  if (libc().getsockopt(fd, SOL.XDP, XDP_STATISTICS, counts, length) < 0) return null;
  const at = (i: number): number => Number(counts.readBigUInt64LE(i * 8));
  return { rxDropped: at(0), rxInvalid: at(1), txInvalid: at(2) };
}
