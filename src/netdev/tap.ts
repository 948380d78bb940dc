/**
 * `internal` and `tap`: a real interface of the host, made by us and gone with us. What the host sends through it we
 * receive, and the other way round; the kernel finishes checksums and segments before we see a packet.
 */
import { addressOf, LinuxError, libc } from '../linux/libc.ts';
import { openTap } from '../linux/tun.ts';
import { FRAME_DATA, FRAME_HEADROOM, FRAME_LEN, FRAME_MAX } from '../packet/frame.ts';
import { LinuxNetdev } from './linux-netdev.ts';
import type { NetdevEnv, NetdevKind, NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT, PORT_STATS_BYTES } from './port-stats.ts';

interface TapSpec extends PortSpec {
  readonly kind: 'tap';
  readonly fd: number;
  readonly statsAt: number;
}

class TapNetdev extends LinuxNetdev {
  readonly type: string;
  protected readonly mirrored = true;
  private readonly env: NetdevEnv;
  private readonly fd: number;
  private readonly statsAt: number;

  constructor(name: string, type: string, fd: number, env: NetdevEnv) {
    super(name);
    this.type = type;
    this.fd = fd;
    this.env = env;
    this.statsAt = env.arena.alloc(PORT_STATS_BYTES) >> 3;
  }

  setConfig(): string | null {
    return null;
  }

  portSpec(): PortSpec {
    const spec: TapSpec = { kind: 'tap', name: this.name, nRxq: 1, fd: this.fd, statsAt: this.statsAt };
    return spec;
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    libc().close(this.fd);
    this.env.arena.free(this.statsAt << 3, PORT_STATS_BYTES);
    this.env.byName.delete(this.name);
  }
}

function openTapPort(spec: TapSpec, context: PortContext): NetdevPort {
  const c = libc();
  const { arena, pool } = context;
  const { i32, f64 } = arena;
  const base = addressOf(arena.u8);
  const { fd, statsAt: stats } = spec;
  const fds = [fd];

  return {
    name: spec.name,
    nRxq: 1,
    statsAt: stats,
    rxFds: () => fds,

    rx(_q, frames, max) {
      let n = 0;
      let bytes = 0;
      while (n < max) {
        const frame = pool.take();
        if (frame < 0) break;
        const length = Number(c.read(fd, base + frame + FRAME_HEADROOM, FRAME_MAX));
        if (length <= 0) {
          pool.put(frame);
          break;
        }
        i32[(frame >> 2) + FRAME_LEN] = length;
        i32[(frame >> 2) + FRAME_DATA] = frame + FRAME_HEADROOM;
        frames[n++] = frame;
        bytes += length;
      }
      f64[stats + PORT_STAT.rxPackets] += n;
      f64[stats + PORT_STAT.rxBytes] += bytes;
      return n;
    },

    tx(frames, n) {
      let sent = 0;
      let bytes = 0;
      for (let i = 0; i < n; i++) {
        const frame = frames[i];
        const length = i32[(frame >> 2) + FRAME_LEN];
        if (Number(c.write(fd, base + i32[(frame >> 2) + FRAME_DATA], length)) === length) {
          sent++;
          bytes += length;
        } else {
          // EIO while the interface is down, EAGAIN when its host does not keep up.
          f64[stats + PORT_STAT.txDropped]++;
        }
        pool.put(frame);
      }
      f64[stats + PORT_STAT.txPackets] += sent;
      f64[stats + PORT_STAT.txBytes] += bytes;
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
        const netdev = new TapNetdev(name, type, openTap(name), env);
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
