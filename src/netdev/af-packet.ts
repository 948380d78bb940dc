/**
 * The packet half over AF_PACKET. Works on every Linux device.
 *
 * The kernel writes what arrives into a ring for each queue, mapped into the arena; receiving copies it to frames and makes
 * no system call. `sendmmsg` sends a batch with one. Before each packet stands a `virtio_net_hdr`: checksums are completed
 * here. What does not fit its slot is fetched whole from the socket. A super-segment of up to 64 kB stays whole where the
 * switch offloads segmentation (`tso`); else it is cut to size into a queue of frames which `rx` empties first. A VLAN tag
 * that the kernel took off is put back.
 *
 * Any thread may send. Where a half is in its queues' rings stands in the arena, so that another can go on there.
 */
import { EAGAIN, MSG } from '../linux/constants.ts';
import { addressOf, errno, libc } from '../linux/libc.ts';
import { RING_SLOT, RING_SLOTS, TP_STATUS, TPACKET2 } from '../linux/packet-socket.ts';
import {
  FRAME_DATA,
  FRAME_GSO,
  FRAME_HEADROOM,
  FRAME_INNER,
  FRAME_LEN,
  FRAME_MAX,
  LARGE_FRAME_MAX,
} from '../packet/frame.ts';
import { writeGsoHeader, writePlainHeader } from '../packet/gso.ts';
import { completeChecksum, type SegmentSource, segment, segmentFrame, VNET, VNET_HDR_SIZE } from '../packet/segment.ts';
import type { NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT, statsOfHalf } from './port-stats.ts';

const BATCH = 32;
const MMSGHDR = 64;
const IOVEC = 16;
/** More frames than the segments of one packet may need. */
const QUEUE = 2048;

export interface AfPacketSpec extends PortSpec {
  readonly kind: 'af_packet';
  /** One for each queue, as the following. */
  readonly rxFds: readonly number[];
  /** Byte offsets of the receive rings. */
  readonly ringsAt: readonly number[];
  /** Word indices: the slot of a ring that is read next. */
  readonly slotsAt: readonly number[];
  readonly txFd: number;
  /** Of `txClasses`. */
  readonly classFds: readonly number[];
  /** Super-segments pass whole, both ways. */
  readonly tso: boolean;
  readonly statsAt: number;
}

export function openAfPacketPort(spec: AfPacketSpec, context: PortContext): NetdevPort {
  const c = libc();
  const { arena, pool } = context;
  const { u8, u16, i32, u32, f64 } = arena;
  const { tso } = spec;
  /** Where the batch at hand goes. */
  let { txFd } = spec;
  const stats = statsOfHalf(spec.statsAt, context.half);
  const rxFds = spec.rxFds.map((fd) => [fd]);
  const queue = new Int32Array(QUEUE);
  let queued = 0;
  let queueAt = 0;

  // Send: message headers, one iovec each.
  const IOV = BATCH * MMSGHDR;
  const memory = new Uint8Array(IOV + BATCH * IOVEC);
  const m32 = new Uint32Array(memory.buffer);
  const messages = addressOf(memory);
  const HIGH = 4294967296;
  const arenaAt = addressOf(u8);
  const arenaLow = arenaAt % HIGH;
  const arenaHigh = Math.floor(arenaAt / HIGH);
  for (let i = 0; i < BATCH; i++) {
    const iov = messages + IOV + i * IOVEC;
    m32[(i * MMSGHDR + 16) >> 2] = iov % HIGH;
    m32[(i * MMSGHDR + 20) >> 2] = Math.floor(iov / HIGH);
    m32[(i * MMSGHDR + 24) >> 2] = 1;
  }
  const segments = new Int32Array(QUEUE);

  /** Writes the address of a place in the arena, without a division. */
  function setArenaPointer(at: number, offset: number): void {
    const low = arenaLow + offset;
    const carry = low >= HIGH;
    m32[at >> 2] = carry ? low - HIGH : low;
    m32[(at >> 2) + 1] = carry ? arenaHigh + 1 : arenaHigh;
  }

  /** The tag that the kernel keeps beside the packet in slot `s` as TPID << 16 | TCI, or 0. */
  function vlanTag(s: number, status: number): number {
    if ((status & TP_STATUS.VLAN_VALID) === 0) return 0;
    const tpid = status & TP_STATUS.VLAN_TPID_VALID ? u16[(s + TPACKET2.VLAN_TPID) >> 1] : 0x8100;
    return ((tpid << 16) | u16[(s + TPACKET2.VLAN_TCI) >> 1]) >>> 0;
  }

  function insertVlan(frame: number, tag: number): void {
    const data = i32[(frame >> 2) + FRAME_DATA] - 4;
    for (let k = 0; k < 12; k++) u8[data + k] = u8[data + k + 4];
    u8[data + 12] = tag >>> 24;
    u8[data + 13] = tag >>> 16;
    u8[data + 14] = tag >>> 8;
    u8[data + 15] = tag;
    i32[(frame >> 2) + FRAME_DATA] = data;
    i32[(frame >> 2) + FRAME_LEN] += 4;
  }

  /** Cuts a super-segment into the queue; false when it must be dropped. `header` is where its virtio header begins. */
  function cut(source: SegmentSource, header: number, length: number, tag: number): boolean {
    const gsoType = source.u8[header + 1];
    const gsoSize = source.u16[(header + 4) >> 1];
    if (gsoType === VNET.GSO_NONE) return false;
    const n = segment(source, header + VNET_HDR_SIZE, length, gsoType, gsoSize, pool, queue, queued);
    if (n < 0) return false;
    if (tag !== 0) for (let k = 0; k < n; k++) insertVlan(queue[queued + k], tag);
    queued += n;
    return true;
  }

  /** A packet that its slot could not hold: its whole waits in the socket, in order. False when it is lost. */
  function fetchWhole(rxFd: number, tag: number): boolean {
    const frame = pool.takeLarge();
    if (frame < 0) {
      c.recvfrom(rxFd, arenaAt, 0, MSG.DONTWAIT, 0, 0);
      return false;
    }
    const data = frame + FRAME_HEADROOM;
    const header = data - VNET_HDR_SIZE;
    const got = Number(c.recvfrom(rxFd, arenaAt + header, LARGE_FRAME_MAX + VNET_HDR_SIZE, MSG.DONTWAIT, 0, 0));
    const length = got - VNET_HDR_SIZE;
    const isGso = length >= 14 && u8[header + 1] !== VNET.GSO_NONE;
    if (length < 14 || (isGso && !tso)) {
      const isDone = isGso && cut(arena, header, length, tag);
      pool.put(frame);
      return isDone;
    }
    if (isGso) i32[(frame >> 2) + FRAME_GSO] = (u8[header + 1] << 16) | u16[(header + 4) >> 1];
    else if (!complete(data, length)) {
      pool.put(frame);
      return false;
    }
    i32[(frame >> 2) + FRAME_LEN] = length;
    i32[(frame >> 2) + FRAME_DATA] = data;
    if (tag !== 0) insertVlan(frame, tag);
    queue[queued++] = frame;
    return true;
  }

  /** Does what the virtio header before the packet at `p` asks for. */
  function complete(p: number, length: number): boolean {
    const header = p - VNET_HDR_SIZE;
    return (
      (u8[header] & VNET.NEEDS_CSUM) === 0 ||
      completeChecksum(u8, u16, p, length, u16[(header + 6) >> 1], u16[(header + 8) >> 1])
    );
  }

  /** An ordinary packet: from its slot, at `p`, to a frame. Returns the frame, or -1. */
  function copyOut(p: number, length: number): number {
    if (!complete(p, length)) {
      f64[stats + PORT_STAT.rxErrors]++;
      return -1;
    }
    const frame = length <= FRAME_MAX ? pool.take() : pool.takeLarge();
    if (frame < 0) {
      f64[stats + PORT_STAT.rxDropped]++;
      return -1;
    }
    const data = frame + FRAME_HEADROOM;
    i32[(frame >> 2) + FRAME_LEN] = length;
    i32[(frame >> 2) + FRAME_DATA] = data;
    if (length > 256) u8.copyWithin(data, p, p + length);
    else {
      // Both begin at 2 mod 4: whole words from two bytes before.
      const from = (p - 2) >> 2;
      const to = (data - 2) >> 2;
      for (let w = 0, end = (length + 5) >> 2; w < end; w++) i32[to + w] = i32[from + w];
    }
    return frame;
  }

  function drain(frames: Int32Array, at: number, max: number): number {
    while (at < max && queueAt < queued) frames[at++] = queue[queueAt++];
    if (queueAt === queued) queueAt = queued = 0;
    return at;
  }

  /** Up to `BATCH` frames, which are put back. */
  function send(frames: Int32Array, first: number, count: number): void {
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const frame = frames[first + i];
      const iov = IOV + i * IOVEC;
      const length = i32[(frame >> 2) + FRAME_LEN];
      const data = i32[(frame >> 2) + FRAME_DATA];
      setArenaPointer(iov, tso ? data - VNET_HDR_SIZE : data);
      m32[(iov + 8) >> 2] = tso ? length + VNET_HDR_SIZE : length;
      bytes += length;
    }
    let sent = 0;
    // An error concerns the first message that was not sent: leave it out and go on with the others.
    while (sent < count) {
      const r = c.sendmmsg(txFd, messages + sent * MMSGHDR, count - sent, MSG.DONTWAIT);
      if (r > 0) {
        sent += r;
      } else {
        f64[stats + PORT_STAT.txDropped]++;
        if (errno() === EAGAIN) {
          f64[stats + PORT_STAT.txDropped] += count - sent - 1;
          break;
        }
        sent++;
      }
    }
    f64[stats + PORT_STAT.txPackets] += count;
    f64[stats + PORT_STAT.txBytes] += bytes;
    for (let i = 0; i < count; i++) pool.put(frames[first + i]);
  }

  /** Virtio headers for a batch. What the kernel cannot cut is cut here, and the batch is sent in parts around it. */
  function sendWithHeaders(frames: Int32Array, first: number, count: number): void {
    let from = first;
    for (let i = first; i < first + count; i++) {
      const frame = frames[i];
      const data = i32[(frame >> 2) + FRAME_DATA];
      const gso = pool.isLarge(frame) ? i32[(frame >> 2) + FRAME_GSO] : 0;
      if (gso === 0) writePlainHeader(u8, data);
      else if (i32[(frame >> 2) + FRAME_INNER] !== 0 || !writeGsoHeader(u8, data, i32[(frame >> 2) + FRAME_LEN], gso)) {
        if (i > from) send(frames, from, i - from);
        from = i + 1;
        sendCut(frame);
      }
    }
    if (first + count > from) send(frames, from, first + count - from);
  }

  function sendCut(frame: number): void {
    const n = segmentFrame(pool, frame, segments, 0);
    pool.put(frame);
    if (n < 0) {
      f64[stats + PORT_STAT.txDropped]++;
      return;
    }
    for (let k = 0; k < n; k++) if (tso) writePlainHeader(u8, i32[(segments[k] >> 2) + FRAME_DATA]);
    for (let k = 0; k < n; k += BATCH) send(segments, k, n - k < BATCH ? n - k : BATCH);
  }

  return {
    name: spec.name,
    nRxq: spec.nRxq,
    statsAt: stats,
    rxFds: (q) => rxFds[q],

    rx(q, frames, max) {
      let out = queued > 0 ? drain(frames, 0, max) : 0;
      let packets = 0;
      let bytes = 0;
      const ringAt = spec.ringsAt[q];
      const slotAt = spec.slotsAt[q];
      let slot = i32[slotAt];
      while (out < max && queued === 0) {
        const s = ringAt + slot * RING_SLOT;
        const status = Atomics.load(i32, s >> 2);
        if ((status & TP_STATUS.USER) === 0) break;
        const length = u32[(s + TPACKET2.LEN) >> 2];
        const p = s + u16[(s + TPACKET2.MAC) >> 1];
        const tag = vlanTag(s, status);
        packets++;
        bytes += length;
        if ((status & TP_STATUS.COPY) !== 0) {
          if (!fetchWhole(spec.rxFds[q], tag)) f64[stats + PORT_STAT.rxDropped]++;
        } else if (length < 14 || length !== u32[(s + TPACKET2.SNAPLEN) >> 2]) f64[stats + PORT_STAT.rxDropped]++;
        else if (u8[p - VNET_HDR_SIZE + 1] !== VNET.GSO_NONE) {
          if (!cut(arena, p - VNET_HDR_SIZE, length, tag)) f64[stats + PORT_STAT.rxDropped]++;
        } else {
          const frame = copyOut(p, length);
          if (frame >= 0) {
            if (tag !== 0) insertVlan(frame, tag);
            frames[out++] = frame;
          }
        }
        Atomics.store(i32, s >> 2, TP_STATUS.KERNEL);
        if (++slot === RING_SLOTS) slot = 0;
        if (queued > 0) out = drain(frames, out, max);
      }
      i32[slotAt] = slot;
      if (packets > 0) {
        f64[stats + PORT_STAT.rxPackets] += packets;
        f64[stats + PORT_STAT.rxBytes] += bytes;
      }
      return out;
    },

    tx(frames, n) {
      for (let first = 0; first < n; first += BATCH) {
        const count = n - first < BATCH ? n - first : BATCH;
        if (tso) sendWithHeaders(frames, first, count);
        else sendPlain(frames, first, count);
      }
    },

    txQueue(txClass, frames, n) {
      txFd = spec.classFds[txClass - 1];
      this.tx(frames, n);
      txFd = spec.txFd;
    },

    flush() {},

    close() {
      while (queueAt < queued) pool.put(queue[queueAt++]);
      queueAt = queued = 0;
    },
  };

  /** Without offload, super-segments from ports that have it are cut here. */
  function sendPlain(frames: Int32Array, first: number, count: number): void {
    let from = first;
    for (let i = first; i < first + count; i++) {
      const frame = frames[i];
      if (!pool.isLarge(frame)) continue;
      const gso = i32[(frame >> 2) + FRAME_GSO];
      if (gso === 0) continue;
      if (i > from) send(frames, from, i - from);
      from = i + 1;
      sendCut(frame);
    }
    if (first + count > from) send(frames, from, first + count - from);
  }
}
