/**
 * The packet half over AF_PACKET: `recvmmsg` and `sendmmsg`, one call for a batch. Works on every Linux device.
 *
 * A frame is received straight into its chunk, with the `virtio_net_hdr` before it in the headroom; what does not fit (a
 * super-segment of up to 64 kB) runs on into a spill buffer, and is cut to size there and then into a queue of frames which
 * `rx` empties first.
 * A VLAN tag that the kernel took off is put back.
 */
import { EAGAIN, MSG } from '../linux/constants.ts';
import { addressOf, errno, libc } from '../linux/libc.ts';
import { FRAME_DATA, FRAME_HEADROOM, FRAME_LEN, FRAME_MAX } from '../packet/frame.ts';
import { completeChecksum, segment, VNET, VNET_HDR_SIZE } from '../packet/segment.ts';
import type { NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT } from './port-stats.ts';

const BATCH = 32;
const MMSGHDR = 64;
const IOVEC = 16;
const CONTROL = 64;
const SPILL = 65536 + 64;
/** The part of a spill buffer before the spilled bytes, to which the frame's part is copied. */
const SPILL_LEAD = 2048;
/** Frames that the segments of one batch may need. */
const QUEUE = 2048;
const TP_STATUS_VLAN_VALID = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID = 1 << 6;

export interface AfPacketSpec extends PortSpec {
  readonly kind: 'af_packet';
  readonly rxFd: number;
  readonly txFd: number;
  readonly statsAt: number;
}

/** Spill buffers are used within one `rx` call only, so all ports of a thread share them. */
let spill: { u8: Uint8Array; u16: Uint16Array; at: number } | null = null;
function spillBuffers(): { u8: Uint8Array; u16: Uint16Array; at: number } {
  if (!spill) {
    const u8 = new Uint8Array(BATCH * (SPILL_LEAD + SPILL));
    spill = { u8, u16: new Uint16Array(u8.buffer), at: addressOf(u8) };
  }
  return spill;
}

export function openAfPacketPort(spec: AfPacketSpec, context: PortContext): NetdevPort {
  const c = libc();
  const { arena, pool } = context;
  const { u8, u16, i32, f64 } = arena;
  const arenaAt = addressOf(u8);
  const { rxFd, txFd } = spec;
  const stats = spec.statsAt;
  const spills = spillBuffers();

  // Receive: headers, two iovecs each, control buffers. Send: headers, one iovec each.
  const RX_IOV = BATCH * MMSGHDR;
  const RX_CONTROL = RX_IOV + BATCH * 2 * IOVEC;
  const TX = RX_CONTROL + BATCH * CONTROL;
  const TX_IOV = TX + BATCH * MMSGHDR;
  const memory = new ArrayBuffer(TX_IOV + BATCH * IOVEC);
  const m8 = new Uint8Array(memory);
  const m32 = new Uint32Array(memory);
  const view = new DataView(memory);
  const base = addressOf(m8);
  const HIGH = 4294967296;
  const setPointer = (at: number, value: number): void => {
    m32[at >> 2] = value % HIGH;
    m32[(at >> 2) + 1] = value / HIGH;
  };
  const arenaLow = arenaAt % HIGH;
  const arenaHigh = Math.floor(arenaAt / HIGH);
  /** `setPointer` to a place in the arena, without a division. */
  const setArenaPointer = (at: number, offset: number): void => {
    const low = arenaLow + offset;
    const carry = low >= HIGH;
    m32[at >> 2] = carry ? low - HIGH : low;
    m32[(at >> 2) + 1] = carry ? arenaHigh + 1 : arenaHigh;
  };

  for (let i = 0; i < BATCH; i++) {
    const iov = RX_IOV + i * 2 * IOVEC;
    setPointer(i * MMSGHDR + 16, base + iov);
    setPointer(i * MMSGHDR + 24, 2);
    setPointer(i * MMSGHDR + 32, base + RX_CONTROL + i * CONTROL);
    setPointer(iov + 8, VNET_HDR_SIZE + FRAME_MAX);
    setPointer(iov + IOVEC, spills.at + i * (SPILL_LEAD + SPILL) + SPILL_LEAD);
    setPointer(iov + IOVEC + 8, SPILL);
    setPointer(TX + i * MMSGHDR + 16, base + TX_IOV + i * IOVEC);
    setPointer(TX + i * MMSGHDR + 24, 1);
  }
  /** The chunk that message i receives into, or -1. */
  const armed = new Int32Array(BATCH).fill(-1);
  const queue = new Int32Array(QUEUE);
  let queued = 0;
  let queueAt = 0;
  const rxFds = [rxFd];
  const baseRx = base;
  const baseTx = base + TX;

  function arm(want: number): number {
    for (let i = 0; i < want; i++) {
      if (armed[i] < 0) {
        const frame = pool.take();
        if (frame < 0) return i;
        armed[i] = frame;
        setArenaPointer(RX_IOV + i * 2 * IOVEC, frame + FRAME_HEADROOM - VNET_HDR_SIZE);
      }
      m32[(i * MMSGHDR + 40) >> 2] = CONTROL;
    }
    return want;
  }

  /** The tag that the kernel keeps beside message i as TPID << 16 | TCI, or 0. */
  function vlanTag(i: number): number {
    const control = RX_CONTROL + i * CONTROL;
    if (m32[(i * MMSGHDR + 40) >> 2] < 16 + 20) return 0;
    const status = view.getUint32(control + 16, true);
    if ((status & TP_STATUS_VLAN_VALID) === 0) return 0;
    const tpid = status & TP_STATUS_VLAN_TPID_VALID ? view.getUint16(control + 16 + 18, true) : 0x8100;
    return ((tpid << 16) | view.getUint16(control + 16 + 16, true)) >>> 0;
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

  /** A packet that runs into its spill buffer: cut it into the queue. Returns false when it must be dropped. */
  function cut(i: number, length: number, gsoType: number, gsoSize: number, tag: number): boolean {
    if (gsoType === VNET.GSO_NONE || length > FRAME_MAX + SPILL) return false;
    const at = i * (SPILL_LEAD + SPILL) + SPILL_LEAD - FRAME_MAX;
    const from = armed[i] + FRAME_HEADROOM;
    const inFrame = Math.min(length, FRAME_MAX);
    const s16 = spills.u16;
    for (let k = 0, a = at >> 1, b = from >> 1; k < (inFrame + 1) >> 1; k++) s16[a + k] = u16[b + k];
    const n = segment(spills, at, length, gsoType, gsoSize, pool, queue, queued);
    if (n < 0) return false;
    if (tag !== 0) for (let k = 0; k < n; k++) insertVlan(queue[queued + k], tag);
    queued += n;
    return true;
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
      if (queued > 0) return drain(frames, 0, max);
      const want = arm(max < BATCH ? max : BATCH);
      if (want === 0) return 0;
      const n = c.recvmmsg(rxFd, baseRx, want, MSG.DONTWAIT, 0);
      if (n <= 0) return 0;
      let out = 0;
      let bytes = 0;
      for (let i = 0; i < n; i++) {
        const length = m32[(i * MMSGHDR + 56) >> 2] - VNET_HDR_SIZE;
        bytes += length;
        const frame = armed[i];
        const data = frame + FRAME_HEADROOM;
        const hdr = data - VNET_HDR_SIZE;
        const gsoType = u8[hdr + 1];
        const tag = vlanTag(i);
        if (length > FRAME_MAX || gsoType !== VNET.GSO_NONE) {
          // The chunk stays armed for the next call.
          if (!cut(i, length, gsoType, u16[(hdr + 4) >> 1], tag)) f64[stats + PORT_STAT.rxDropped]++;
          continue;
        }
        if (
          length < 14 ||
          ((u8[hdr] & VNET.NEEDS_CSUM) !== 0 &&
            !completeChecksum(u8, u16, data, length, u16[(hdr + 6) >> 1], u16[(hdr + 8) >> 1]))
        ) {
          f64[stats + PORT_STAT.rxErrors]++;
          continue;
        }
        i32[(frame >> 2) + FRAME_LEN] = length;
        i32[(frame >> 2) + FRAME_DATA] = data;
        if (tag !== 0) insertVlan(frame, tag);
        armed[i] = -1;
        frames[out++] = frame;
      }
      f64[stats + PORT_STAT.rxPackets] += n;
      f64[stats + PORT_STAT.rxBytes] += bytes;
      return queued > 0 ? drain(frames, out, max) : out;
    },

    tx(frames, n) {
      for (let first = 0; first < n; first += BATCH) {
        const count = n - first < BATCH ? n - first : BATCH;
        let bytes = 0;
        for (let i = 0; i < count; i++) {
          const frame = frames[first + i];
          const iov = TX_IOV + i * IOVEC;
          const length = i32[(frame >> 2) + FRAME_LEN];
          setArenaPointer(iov, i32[(frame >> 2) + FRAME_DATA]);
          m32[(iov + 8) >> 2] = length;
          bytes += length;
        }
        let sent = 0;
        // An error concerns the first message that was not sent: leave it out and go on with the others.
        while (sent < count) {
          const r = c.sendmmsg(txFd, baseTx + sent * MMSGHDR, count - sent, MSG.DONTWAIT);
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
      for (let i = 0; i < BATCH; i++) if (armed[i] >= 0) pool.put(armed[i]);
      armed.fill(-1);
      while (queueAt < queued) pool.put(queue[queueAt++]);
      queueAt = queued = 0;
      c.close(rxFd);
      c.close(txFd);
    },
  };
}
