/**
 * The packet half over AF_XDP: frames pass between the kernel's rings and ours by their addresses; one system call sends
 * all that a round has gathered, and receiving needs none. See `../linux/xdp.ts` for the rings.
 */
import { MSG } from '../linux/constants.ts';
import { libc } from '../linux/libc.ts';
import { RING_SIZE, unmapRings, type XdpSocket } from '../linux/xdp.ts';
import { FRAME_DATA, FRAME_LEN, FRAME_SIZE } from '../packet/frame.ts';
import type { NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT } from './port-stats.ts';

const MASK = RING_SIZE - 1;
const CHUNK = ~(FRAME_SIZE - 1);
const NEED_WAKEUP = 1;
/** Frames kept waiting in a fill ring. */
const FILL = RING_SIZE;
const MIN_FILL = 128;
/** The kernel sends at most this many of a ring in one call, in copy mode. */
const KICK = 32;

export interface AfXdpSpec extends PortSpec {
  readonly kind: 'af_xdp';
  readonly sockets: readonly XdpSocket[];
  /** Byte offset in the arena of the region that the kernel's addresses count from. */
  readonly framesAt: number;
  readonly statsAt: number;
}

export function openAfXdpPort(spec: AfXdpSpec, context: PortContext): NetdevPort {
  const c = libc();
  const { arena, pool } = context;
  const { i32, u32, f64 } = arena;
  const at = spec.framesAt;
  const sockets = spec.sockets;
  const fds = sockets.map((s) => [s.fd]);
  const stats = spec.statsAt;
  const main = sockets[0];
  const txFd = main.fd;
  const { tx, completion } = main;
  /** Frames given to the kernel for sending and not seen back. */
  let inFlight = 0;
  let mustKick = false;

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

  function reap(): void {
    let consumer = Atomics.load(u32, completion.consumer);
    const producer = Atomics.load(u32, completion.producer);
    if (consumer === producer) return;
    while (consumer !== producer) {
      pool.put((at + u32[(completion.entries + ((consumer & MASK) << 3)) >> 2]) & CHUNK);
      consumer = (consumer + 1) >>> 0;
      inFlight--;
    }
    Atomics.store(u32, completion.consumer, consumer);
  }

  for (const s of sockets) refill(s);

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
      let producer = Atomics.load(u32, tx.producer);
      let room = RING_SIZE - ((producer - Atomics.load(u32, tx.consumer)) >>> 0);
      // Completions must always find room in their ring, or the kernel stops sending.
      if (room > RING_SIZE - inFlight) room = RING_SIZE - inFlight;
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
      inFlight += count;
      mustKick = true;
      for (let i = count; i < n; i++) pool.put(frames[i]);
      f64[stats + PORT_STAT.txDropped] += n - count;
      f64[stats + PORT_STAT.txPackets] += count;
      f64[stats + PORT_STAT.txBytes] += bytes;
    },

    flush() {
      if (mustKick) {
        const waiting = (Atomics.load(u32, tx.producer) - Atomics.load(u32, tx.consumer)) >>> 0;
        for (let k = 0; k < waiting; k += KICK) c.sendto(txFd, 0, 0, MSG.DONTWAIT, 0, 0);
        mustKick = Atomics.load(u32, tx.producer) !== Atomics.load(u32, tx.consumer);
      }
      if (inFlight > 0) reap();
    },

    close() {
      for (let tries = 0; inFlight > 0 && tries < 1000; tries++) {
        c.sendto(txFd, 0, 0, MSG.DONTWAIT, 0, 0);
        reap();
      }
      // Once the sockets are closed the kernel touches no frame any more: all that it held come back.
      for (const s of sockets) {
        c.close(s.fd);
        giveBack(s.fill, 3);
        giveBack(s.rx, 4);
      }
      giveBack(tx, 4);
      giveBack(completion, 3);
      inFlight = 0;
      for (const s of sockets) unmapRings(arena, s.ringsAt);

      function giveBack(ring: XdpSocket['rx'], shift: number): void {
        let consumer = u32[ring.consumer];
        while (consumer !== u32[ring.producer]) {
          pool.put((at + u32[(ring.entries + ((consumer & MASK) << shift)) >> 2]) & CHUNK);
          consumer = (consumer + 1) >>> 0;
        }
      }
    },
  };
}
