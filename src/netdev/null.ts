/** A port that never receives and swallows what is sent to it: for benchmarks and tests of the fast path. */
import type { Netdev, NetdevEnv, NetdevKind, NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { PORT_STAT, PORT_STATS_BYTES, portStat, statsOfHalf } from './port-stats.ts';
import { SoftNetdev } from './soft-netdev.ts';

class NullNetdev extends SoftNetdev {
  readonly type = 'null';
  readonly polled = true;
  private readonly env: NetdevEnv;
  private readonly statsAt: number;

  constructor(name: string, env: NetdevEnv) {
    super(name);
    this.env = env;
    this.statsAt = env.arena.alloc(PORT_STATS_BYTES) >> 3;
  }

  setConfig(): string | null {
    return null;
  }

  stats(): { tx_packets: number; tx_bytes: number } {
    const { f64 } = this.env.arena;
    return {
      tx_packets: portStat(f64, this.statsAt, PORT_STAT.txPackets),
      tx_bytes: portStat(f64, this.statsAt, PORT_STAT.txBytes),
    };
  }

  portSpec(): PortSpec {
    return { kind: 'null', name: this.name, nRxq: 0, tx: 'any', statsAt: this.statsAt };
  }

  [Symbol.dispose](): void {
    this.env.arena.free(this.statsAt << 3, PORT_STATS_BYTES);
    if (this.env.byName.get(this.name) === this) this.env.byName.delete(this.name);
  }
}

function openPort(spec: PortSpec, { arena, pool, half }: PortContext): NetdevPort {
  const { i32, f64 } = arena;
  const stats = statsOfHalf(spec.statsAt as number, half); // `portSpec` above wrote it.
  return {
    name: spec.name,
    nRxq: 0,
    statsAt: stats,
    rxFds: () => [],
    rx: () => 0,
    tx(frames, n) {
      let bytes = 0;
      for (let i = 0; i < n; i++) {
        const frame = frames[i];
        bytes += i32[frame >> 2];
        pool.put(frame);
      }
      f64[stats + PORT_STAT.txPackets] += n;
      f64[stats + PORT_STAT.txBytes] += bytes;
    },
    flush() {},
    close() {},
  };
}

export const nullKind: NetdevKind = {
  type: 'null',
  open(name: string, env: NetdevEnv): Netdev {
    const netdev = new NullNetdev(name, env);
    env.byName.set(name, netdev);
    return netdev;
  },
  openPort,
};
