/**
 * The packet half over AF_PACKET. Works on every Linux device.
 *
 * The kernel writes what arrives into a ring mapped into the arena; receiving copies it to frames and makes no system call.
 * `sendmmsg` sends a batch with one. Before each packet stands a `virtio_net_hdr`: checksums are completed here, and a
 * super-segment of up to 64 kB, which does not fit its slot and is fetched whole from the socket, is cut to size into a
 * queue of frames which `rx` empties first. A VLAN tag that the kernel took off is put back.
 */
import { EAGAIN, MSG } from '../linux/constants.ts';
import { addressOf, errno, libc } from '../linux/libc.ts';
import { RING_SLOT, RING_SLOTS, TP_STATUS, TPACKET2, unmapRing } from '../linux/packet-socket.ts';
import { FRAME_DATA, FRAME_HEADROOM, FRAME_LEN, FRAME_MAX } from '../packet/frame.ts';
import { completeChecksum, type SegmentSource, segment, VNET, VNET_HDR_SIZE } from '../packet/segment.ts';
import type { NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT } from './port-stats.ts';

const BATCH = 32;
const MMSGHDR = 64;
const IOVEC = 16;
/** The largest packet there is, with its virtio header before it; the packet begins at 2 mod 4. */
const WHOLE = 65536 + 64;
const WHOLE_AT = 14;
const WHOLE_HEADER = WHOLE_AT - VNET_HDR_SIZE;
/** More frames than the segments of one packet may need. */
const QUEUE = 2048;

export interface AfPacketSpec extends PortSpec {
  readonly kind: 'af_packet';
  readonly rxFd: number;
  readonly txFd: number;
  /** Byte offset of the receive ring. */
  readonly ringAt: number;
  readonly statsAt: number;
}

/** A packet that is fetched whole is used within one `rx` call, so all ports of a thread share the room for it. */
let whole: (SegmentSource & { readonly at: number }) | null = null;
function wholePacket(): SegmentSource & { readonly at: number } {
  if (!whole) {
    const u8 = new Uint8Array(WHOLE);
    whole = { u8, u16: new Uint16Array(u8.buffer), at: addressOf(u8) };
  }
  return whole;
}

export function openAfPacketPort(spec: AfPacketSpec, context: PortContext): NetdevPort {
  const c = libc();
  const { arena, pool } = context;
  const { u8, u16, i32, u32, f64 } = arena;
  const { rxFd, txFd, ringAt, statsAt: stats } = spec;
  const large = wholePacket();
  const rxFds = [rxFd];
  const queue = new Int32Array(QUEUE);
  let queued = 0;
  let queueAt = 0;
  let slot = 0;

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

  /** A packet that its slot could not hold: its whole waits in the socket, in order. */
  function fetchWhole(tag: number): boolean {
    const n = Number(c.recvfrom(rxFd, large.at + WHOLE_HEADER, WHOLE - WHOLE_HEADER, MSG.DONTWAIT, 0, 0));
    return n > VNET_HDR_SIZE + 14 && cut(large, WHOLE_HEADER, n - VNET_HDR_SIZE, tag);
  }

  /** An ordinary packet: from its slot, at `p`, to a frame. Returns the frame, or -1. */
  function copyOut(p: number, length: number): number {
    const header = p - VNET_HDR_SIZE;
    if (
      (u8[header] & VNET.NEEDS_CSUM) !== 0 &&
      !completeChecksum(u8, u16, p, length, u16[(header + 6) >> 1], u16[(header + 8) >> 1])
    ) {
      f64[stats + PORT_STAT.rxErrors]++;
      return -1;
    }
    const frame = pool.take();
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

  return {
    name: spec.name,
    nRxq: 1,
    statsAt: stats,
    rxFds: () => rxFds,

    rx(_q, frames, max) {
      let out = queued > 0 ? drain(frames, 0, max) : 0;
      let packets = 0;
      let bytes = 0;
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
          if (!fetchWhole(tag)) f64[stats + PORT_STAT.rxDropped]++;
        } else if (length < 14 || length !== u32[(s + TPACKET2.SNAPLEN) >> 2]) f64[stats + PORT_STAT.rxDropped]++;
        else if (u8[p - VNET_HDR_SIZE + 1] !== VNET.GSO_NONE) {
          if (!cut(arena, p - VNET_HDR_SIZE, length, tag)) f64[stats + PORT_STAT.rxDropped]++;
        } else if (length > FRAME_MAX) f64[stats + PORT_STAT.rxDropped]++;
        else {
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
      if (packets > 0) {
        f64[stats + PORT_STAT.rxPackets] += packets;
        f64[stats + PORT_STAT.rxBytes] += bytes;
      }
      return out;
    },

    tx(frames, n) {
      for (let first = 0; first < n; first += BATCH) {
        const count = n - first < BATCH ? n - first : BATCH;
        let bytes = 0;
        for (let i = 0; i < count; i++) {
          const frame = frames[first + i];
          const iov = IOV + i * IOVEC;
          const length = i32[(frame >> 2) + FRAME_LEN];
          setArenaPointer(iov, i32[(frame >> 2) + FRAME_DATA]);
          m32[(iov + 8) >> 2] = length;
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
    },

    flush() {},

    close() {
      while (queueAt < queued) pool.put(queue[queueAt++]);
      queueAt = queued = 0;
      c.close(rxFd);
      c.close(txFd);
      unmapRing(arena, ringAt);
    },
  };
}
