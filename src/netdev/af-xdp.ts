/**
 * The packet half over AF_XDP: frames pass between the kernel's rings and ours by their addresses; one system call sends
 * all that a round has gathered, and receiving needs none. See `../linux/xdp.ts` for the rings.
 *
 * A thread has the sockets of the queues that it polls, and sends by those. Their positions are in the rings, so that
 * another thread's half goes on where this one stopped.
 */
import { MSG } from '../linux/constants.ts';
import { libc } from '../linux/libc.ts';
import { RING_SIZE, type XdpSocket } from '../linux/xdp.ts';
import { FRAME_DATA, FRAME_GSO, FRAME_LEN, FRAME_SIZE } from '../packet/frame.ts';
import { segmentFrame } from '../packet/segment.ts';
import type { NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT, statsOfHalf } from './port-stats.ts';
import { steeringHash } from './steering.ts';

const MASK = RING_SIZE - 1;
const CHUNK = ~(FRAME_SIZE - 1);
const NEED_WAKEUP = 1;
/** Frames kept waiting in a fill ring. */
const FILL = RING_SIZE;
const MIN_FILL = 128;
/** Frames that `tx` is given at most, and segments of a packet. */
const TX_MAX = 256;
/** The kernel sends at most this many of a ring in one call, in copy mode. */
const KICK = 32;

export interface AfXdpSpec extends PortSpec {
  readonly kind: 'af_xdp';
  readonly sockets: readonly XdpSocket[];
  /** Byte offset in the arena of the region that the kernel's addresses count from. */
  readonly framesAt: number;
  readonly statsAt: number;
  /** `tx-steering=hash`: flows are spread over the queues that a thread has. */
  readonly isHashed: boolean;
}

export function openAfXdpPort(spec: AfXdpSpec, context: PortContext): NetdevPort {
  const c = libc();
  const { arena, pool } = context;
  const { i32, u32, f64 } = arena;
  const at = spec.framesAt;
  const sockets = spec.sockets;
  const fds = sockets.map((s) => [s.fd]);
  const stats = statsOfHalf(spec.statsAt, context.half);
  const queues = context.queues ?? sockets.map((_, q) => q);
  // Nobody polls the port: this half is here to send.
  const mine = queues.length > 0 ? queues.map((q) => sockets[q]) : [sockets[0]];
  const senders = mine.map((socket) => ({
    socket,
    /** Frames given to the kernel for sending and not seen back. */
    inFlight: 0,
    mustKick: false,
    /** Of `tx`: what goes out by this queue. */
    frames: new Int32Array(TX_MAX),
    n: 0,
  }));
  type Sender = (typeof senders)[number];
  const segments = new Int32Array(TX_MAX);

  function refill(s: XdpSocket): void {
    const producer = Atomics.load(u32, s.fill.producer);
    // Where many ports share the frames each keeps fewer waiting.
    let target = pool.available >> 3;
    if (target > FILL) target = FILL;
    else if (target < MIN_FILL) target = MIN_FILL;
    let room = target - ((producer - Atomics.load(u32, s.fill.consumer)) >>> 0);
    if (room < MIN_FILL >> 1) return;
    if (room > pool.available) room = pool.available;
    let p = producer;
    for (let i = 0; i < room; i++) {
      const entry = (s.fill.entries + ((p & MASK) << 3)) >> 2;
      u32[entry] = pool.take() - at;
      u32[entry + 1] = 0;
      p = (p + 1) >>> 0;
    }
    Atomics.store(u32, s.fill.producer, p);
  }

  function reap(sender: Sender): void {
    const { completion } = sender.socket;
    let consumer = Atomics.load(u32, completion.consumer);
    const producer = Atomics.load(u32, completion.producer);
    if (consumer === producer) return;
    while (consumer !== producer) {
      pool.put((at + u32[(completion.entries + ((consumer & MASK) << 3)) >> 2]) & CHUNK);
      consumer = (consumer + 1) >>> 0;
      sender.inFlight--;
    }
    Atomics.store(u32, completion.consumer, consumer);
  }

  for (const s of mine) refill(s);

  function transmit(sender: Sender, frames: Int32Array, n: number): void {
    const { tx } = sender.socket;
    let producer = Atomics.load(u32, tx.producer);
    let room = RING_SIZE - ((producer - Atomics.load(u32, tx.consumer)) >>> 0);
    // Completions must always find room in their ring, or the kernel stops sending.
    if (room > RING_SIZE - sender.inFlight) room = RING_SIZE - sender.inFlight;
    const count = n < room ? n : room;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const frame = frames[i] >> 2;
      const d = (tx.entries + ((producer & MASK) << 4)) >> 2;
      const length = i32[frame + FRAME_LEN];
      u32[d] = i32[frame + FRAME_DATA] - at;
      u32[d + 1] = 0;
      u32[d + 2] = length;
      u32[d + 3] = 0;
      bytes += length;
      producer = (producer + 1) >>> 0;
    }
    Atomics.store(u32, tx.producer, producer);
    sender.inFlight += count;
    sender.mustKick = true;
    for (let i = count; i < n; i++) pool.put(frames[i]);
    f64[stats + PORT_STAT.txDropped] += n - count;
    f64[stats + PORT_STAT.txPackets] += count;
    f64[stats + PORT_STAT.txBytes] += bytes;
  }

  /** The first large frame from `i` on, or `n`. */
  function nextLarge(frames: Int32Array, i: number, n: number): number {
    while (i < n && !pool.isLarge(frames[i])) i++;
    return i;
  }

  /** Large frames are none of the kernel's: a super-segment is cut, what is merely long is dropped. */
  function transmitLarge(sender: Sender, frame: number): void {
    const gso = i32[(frame >> 2) + FRAME_GSO];
    const n = gso === 0 ? -1 : segmentFrame(pool, frame, segments, 0);
    pool.put(frame);
    if (n < 0 || nextLarge(segments, 0, n) < n) {
      for (let k = 0; k < n; k++) pool.put(segments[k]);
      f64[stats + PORT_STAT.txDropped]++;
    } else transmit(sender, segments, n);
  }

  function transmitAll(sender: Sender, frames: Int32Array, n: number): void {
    let large = nextLarge(frames, 0, n);
    if (large === n) {
      transmit(sender, frames, n);
      return;
    }
    const some = sender.frames;
    let i = 0;
    for (;;) {
      let m = 0;
      while (i < large) some[m++] = frames[i++];
      if (m > 0) transmit(sender, some, m);
      if (i === n) return;
      transmitLarge(sender, frames[i++]);
      large = nextLarge(frames, i, n);
    }
  }

  return {
    name: spec.name,
    nRxq: sockets.length,
    statsAt: stats,
    rxFds: (q) => fds[q],

    rx(q, frames, max) {
      const s = sockets[q];
      const rx = s.rx;
      let consumer = Atomics.load(u32, rx.consumer);
      let n = (Atomics.load(u32, rx.producer) - consumer) >>> 0;
      if (n === 0) {
        if (u32[s.fill.flags] & NEED_WAKEUP) {
          refill(s);
          c.recvfrom(s.fd, 0, 0, MSG.DONTWAIT, 0, 0);
        }
        return 0;
      }
      if (n > max) n = max;
      let bytes = 0;
      for (let i = 0; i < n; i++) {
        const d = (rx.entries + ((consumer & MASK) << 4)) >> 2;
        const data = at + u32[d];
        const length = u32[d + 2];
        const frame = data & CHUNK;
        i32[(frame >> 2) + FRAME_LEN] = length;
        i32[(frame >> 2) + FRAME_DATA] = data;
        frames[i] = frame;
        bytes += length;
        consumer = (consumer + 1) >>> 0;
      }
      Atomics.store(u32, rx.consumer, consumer);
      f64[stats + PORT_STAT.rxPackets] += n;
      f64[stats + PORT_STAT.rxBytes] += bytes;
      refill(s);
      return n;
    },

    tx(frames, n) {
      if (!spec.isHashed || senders.length === 1) {
        transmitAll(senders[0], frames, n);
        return;
      }
      for (let i = 0; i < n; i++) {
        const sender = senders[(steeringHash(arena, frames[i]) >>> 0) % senders.length];
        if (pool.isLarge(frames[i])) transmitLarge(sender, frames[i]);
        else sender.frames[sender.n++] = frames[i];
      }
      for (let x = 0; x < senders.length; x++) {
        const sender = senders[x];
        if (sender.n > 0) transmit(sender, sender.frames, sender.n);
        sender.n = 0;
      }
    },

    flush() {
      for (let x = 0; x < senders.length; x++) {
        const sender = senders[x];
        if (sender.mustKick) {
          const { tx, fd } = sender.socket;
          const waiting = (Atomics.load(u32, tx.producer) - Atomics.load(u32, tx.consumer)) >>> 0;
          for (let k = 0; k < waiting; k += KICK) c.sendto(fd, 0, 0, MSG.DONTWAIT, 0, 0);
          sender.mustKick = Atomics.load(u32, tx.producer) !== Atomics.load(u32, tx.consumer);
        }
        if (sender.inFlight > 0) reap(sender);
      }
    },

    close() {
      for (const sender of senders) {
        for (let tries = 0; sender.inFlight > 0 && tries < 1000; tries++) {
          c.sendto(sender.socket.fd, 0, 0, MSG.DONTWAIT, 0, 0);
          reap(sender);
        }
      }
    },
  };
}

/** Once its sockets are closed the kernel touches no frame any more: all that it held come back. */
export function reclaimAfXdpPort(spec: AfXdpSpec, { arena, pool }: PortContext): void {
  const { u32 } = arena;
  for (const s of spec.sockets) {
    for (const [ring, shift] of [
      [s.fill, 3],
      [s.rx, 4],
      [s.tx, 4],
      [s.completion, 3],
    ] as const) {
      let consumer = u32[ring.consumer];
      while (consumer !== u32[ring.producer]) {
        pool.put((spec.framesAt + u32[(ring.entries + ((consumer & MASK) << shift)) >> 2]) & CHUNK);
        consumer = (consumer + 1) >>> 0;
      }
    }
  }
}
