/**
 * `internal` and `tap`: a real interface of the host, made by us and gone with us. What the host sends through it we
 * receive, and the other way round; the kernel finishes checksums and segments before we see a packet, unless the switch
 * offloads segmentation: then super-segments pass whole, with a `virtio_net_hdr` before each packet.
 *
 * A tap has as many queues as `n_rxq` says, a descriptor each; the kernel keeps a flow on one of them. Every thread may
 * write to any.
 */
import { IFF } from '../linux/constants.ts';
import { addressOf, LinuxError, libc } from '../linux/libc.ts';
import { getLink } from '../linux/link.ts';
import { openTap } from '../linux/tun.ts';
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
import { completeChecksum, segmentFrame, VNET, VNET_HDR_SIZE } from '../packet/segment.ts';
import { LinuxNetdev, ORDINARY_MTU } from './linux-netdev.ts';
import type { NetdevEnv, NetdevKind, NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT, PORT_STATS_BYTES, statsOfHalf } from './port-stats.ts';
import { steeringHash } from './steering.ts';

const MAX_QUEUES = 64;
const MAX_SEGMENTS = 256;

interface TapSpec extends PortSpec {
  readonly kind: 'tap';
  /** One for each queue. */
  readonly fds: readonly number[];
  readonly statsAt: number;
  /** Packets may be larger than an ordinary frame. */
  readonly isLarge: boolean;
  /** A virtio header stands before each. */
  readonly tso: boolean;
  readonly isHashed: boolean;
}

class TapNetdev extends LinuxNetdev {
  readonly type: string;
  protected readonly mirrored = true;
  private readonly env: NetdevEnv;
  private fds: number[];
  private hasManyQueues = false;
  private readonly tso: boolean;
  private readonly statsAt: number;
  private nRxq = 1;

  constructor(name: string, type: string, fd: number, env: NetdevEnv) {
    super(name);
    this.type = type;
    this.fds = [fd];
    this.env = env;
    this.tso = env.userspaceTso === true;
    this.statsAt = env.arena.alloc(PORT_STATS_BYTES) >> 3;
  }

  setConfig(options: ReadonlyMap<string, string>): string | null {
    const asked = Number.parseInt(options.get('n_rxq') ?? '1', 10);
    const n = Number.isInteger(asked) && asked > 0 ? Math.min(asked, MAX_QUEUES) : 1;
    if (n === this.nRxq) return null;
    this.nRxq = n;
    if (n > 1 && !this.hasManyQueues) this.remake();
    this.changed();
    return null;
  }

  /** Devices of one queue cannot have more: this one makes way for another. Addresses of the host's are lost with it. */
  private remake(): void {
    const before = getLink(this.name);
    for (const fd of this.fds) libc().close(fd);
    this.fds = [openTap(this.name, this.tso, true)];
    this.hasManyQueues = true;
    if (before === null) return;
    this.setMac(before.mac);
    this.setMtu(before.mtu);
    if (before.flags & IFF.UP) this.setUp(true);
  }

  override wiring(): string {
    return [this.nRxq, (this.link?.mtu ?? 0) > ORDINARY_MTU, this.isHashed].join();
  }

  private get isHashed(): boolean {
    return this.otherConfig.get('tx-steering') === 'hash';
  }

  portSpec(): PortSpec {
    while (this.fds.length > this.nRxq) libc().close(this.fds.pop() as number);
    while (this.fds.length < this.nRxq) this.fds.push(openTap(this.name, this.tso, true));
    const spec: TapSpec = {
      kind: 'tap',
      name: this.name,
      nRxq: this.nRxq,
      tx: 'any',
      fds: [...this.fds],
      statsAt: this.statsAt,
      isLarge: this.tso || (this.link?.mtu ?? 0) > ORDINARY_MTU,
      tso: this.tso,
      isHashed: this.isHashed,
    };
    return spec;
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    for (const fd of this.fds) libc().close(fd);
    this.env.arena.free(this.statsAt << 3, PORT_STATS_BYTES);
    this.env.byName.delete(this.name);
  }
}

function openTapPort(spec: TapSpec, context: PortContext): NetdevPort {
  const c = libc();
  const { arena, pool } = context;
  const { u8, u16, i32, f64 } = arena;
  const base = addressOf(u8);
  const { fds, tso } = spec;
  const stats = statsOfHalf(spec.statsAt, context.half);
  const rxFds = fds.map((fd) => [fd]);
  const own = fds[(context.half ?? 0) % fds.length];
  const header = tso ? VNET_HDR_SIZE : 0;
  const segments = new Int32Array(MAX_SEGMENTS);

  /** One packet into a frame of the right size; -1 when there is none, 0 when it was lost. */
  function receive(fd: number): number {
    const large = spec.isLarge ? pool.takeLarge() : -1;
    const frame = large >= 0 ? large : pool.take();
    if (frame < 0) return -1;
    const data = frame + FRAME_HEADROOM;
    const room = large >= 0 ? LARGE_FRAME_MAX : FRAME_MAX;
    const length = Number(c.read(fd, base + data - header, room + header)) - header;
    if (length <= 0) {
      pool.put(frame);
      return -1;
    }
    i32[(frame >> 2) + FRAME_LEN] = length;
    i32[(frame >> 2) + FRAME_DATA] = data;
    if (tso && !finish(frame, data, length, large >= 0)) {
      f64[stats + PORT_STAT.rxErrors]++;
      pool.put(frame);
      return 0;
    }
    return large >= 0 && length <= FRAME_MAX && i32[(frame >> 2) + FRAME_GSO] === 0
      ? shrink(frame, data, length)
      : frame;
  }

  /** Does what the virtio header asks for, or remembers it. */
  function finish(frame: number, data: number, length: number, isLarge: boolean): boolean {
    const h = data - VNET_HDR_SIZE;
    if (u8[h + 1] !== VNET.GSO_NONE) {
      if (isLarge) i32[(frame >> 2) + FRAME_GSO] = (u8[h + 1] << 16) | u16[(h + 4) >> 1];
      return isLarge;
    }
    return (
      (u8[h] & VNET.NEEDS_CSUM) === 0 || completeChecksum(u8, u16, data, length, u16[(h + 6) >> 1], u16[(h + 8) >> 1])
    );
  }

  /** Large frames are few: what is short enough goes on in an ordinary one. */
  function shrink(large: number, from: number, length: number): number {
    const frame = pool.take();
    if (frame < 0) return large;
    const data = frame + FRAME_HEADROOM;
    u8.copyWithin(data, from, from + length);
    i32[(frame >> 2) + FRAME_LEN] = length;
    i32[(frame >> 2) + FRAME_DATA] = data;
    pool.put(large);
    return frame;
  }

  function write(fd: number, frame: number): void {
    const length = i32[(frame >> 2) + FRAME_LEN];
    const at = i32[(frame >> 2) + FRAME_DATA] - header;
    if (Number(c.write(fd, base + at, length + header)) === length + header) {
      f64[stats + PORT_STAT.txPackets]++;
      f64[stats + PORT_STAT.txBytes] += length;
    } else {
      // EIO while the interface is down, EAGAIN when its host does not keep up.
      f64[stats + PORT_STAT.txDropped]++;
    }
    pool.put(frame);
  }

  function send(fd: number, frame: number): void {
    const data = i32[(frame >> 2) + FRAME_DATA];
    const length = i32[(frame >> 2) + FRAME_LEN];
    const gso = pool.isLarge(frame) ? i32[(frame >> 2) + FRAME_GSO] : 0;
    if (gso === 0) {
      if (tso) writePlainHeader(u8, data);
      write(fd, frame);
      return;
    }
    if (tso && i32[(frame >> 2) + FRAME_INNER] === 0 && writeGsoHeader(u8, data, length, gso)) {
      write(fd, frame);
      return;
    }
    const n = segmentFrame(pool, frame, segments, 0);
    pool.put(frame);
    if (n < 0) f64[stats + PORT_STAT.txDropped]++;
    for (let k = 0; k < n; k++) {
      if (tso) writePlainHeader(u8, i32[(segments[k] >> 2) + FRAME_DATA]);
      write(fd, segments[k]);
    }
  }

  return {
    name: spec.name,
    nRxq: spec.nRxq,
    statsAt: stats,
    rxFds: (q) => rxFds[q],

    rx(q, frames, max) {
      let n = 0;
      let bytes = 0;
      const fd = fds[q];
      while (n < max) {
        const frame = receive(fd);
        if (frame < 0) break;
        if (frame === 0) continue;
        bytes += i32[(frame >> 2) + FRAME_LEN];
        frames[n++] = frame;
      }
      f64[stats + PORT_STAT.rxPackets] += n;
      f64[stats + PORT_STAT.rxBytes] += bytes;
      return n;
    },

    tx(frames, n) {
      for (let i = 0; i < n; i++) {
        const fd = spec.isHashed ? fds[(steeringHash(arena, frames[i]) >>> 0) % fds.length] : own;
        send(fd, frames[i]);
      }
    },

    flush() {},
    // The descriptor is the interface's life; the control half closes it.
    close() {},
  };
}

function kind(type: 'internal' | 'tap'): NetdevKind {
  return {
    type,
    open(name, env) {
      try {
        const netdev = new TapNetdev(name, type, openTap(name, env.userspaceTso), env);
        env.byName.set(name, netdev);
        return netdev;
      } catch (e) {
        if (e instanceof LinuxError) return { error: e.message };
        throw e;
      }
    },
    openPort: (spec, context) => openTapPort(spec as TapSpec, context),
  };
}

export const internalKind = kind('internal');
export const tapKind = kind('tap');
