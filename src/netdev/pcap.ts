/**
 * `pcap`: a port whose packets come from a capture file and go into one. `options:rx_pcap` is replayed once, or for ever
 * with `infinite_rx=true`; as fast as the switch takes it, or with `pace=true` at the times in the file. `options:tx_pcap`
 * records what is sent. `pcap-savefile(5)`
 *
 * The file is read into the arena, so that a PMD replays from memory. What is recorded goes through a ring to the main
 * thread, which writes it; when it cannot keep up packets are dropped, and counted.
 */
import { readFileSync } from 'node:fs';
import type { Arena } from '../base/arena.ts';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import { type CaptureFile, openCapture } from '../packet/capture.ts';
import { FRAME_DATA, FRAME_HEADROOM, FRAME_LEN, LARGE_FRAME_MAX } from '../packet/frame.ts';
import { readPcap } from '../packet/pcap.ts';
import type { Netdev, NetdevEnv, NetdevKind, NetdevPort, NetdevStats, PortContext, PortSpec } from './netdev.ts';
import { countedBy, PORT_STAT, PORT_STATS_BYTES, statsOfHalf } from './port-stats.ts';
import { SoftNetdev } from './soft-netdev.ts';

const TX_WORDS = 1 << 18;
const WRITE_MS = 10;
const PACE_MS = 1;
/** From when the port is there until its first packet. */
const BEGIN_MS = 100;
const STATE = { REPLAYED: 0, FIRST_MS: 1, BEGUN: 2 } as const;
const LINKTYPE_ETHERNET = 1;
/** Words before a packet in the arena: its length, and two words of a double: when it is due, in ms from the first. */
const HEAD_BYTES = 16;

interface PcapSpec extends PortSpec {
  readonly kind: 'pcap';
  /** Byte offset and bytes of the packets; 0 bytes for none. */
  readonly packetsAt: number;
  readonly packetBytes: number;
  readonly isInfinite: boolean;
  readonly isPaced: boolean;
  /** Float64 index: bytes replayed so far, time of the first packet, whether it may begin. Another half goes on there. */
  readonly stateAt: number;
  readonly txAt: number;
  readonly isRecorded: boolean;
  readonly statsAt: number;
  readonly wakes: true;
}

class PcapNetdev extends SoftNetdev {
  readonly type = 'pcap';
  readonly polled = true;
  readonly isPmd = true;
  private readonly env: NetdevEnv;
  private readonly arena: Arena;
  private readonly statsAt: number;
  private readonly stateAt: number;
  private readonly txAt: number;
  private readonly txRing: RecordRing;
  private options = '';
  private packetsAt = 0;
  private packetBytes = 0;
  private isInfinite = false;
  private isPaced = false;
  private recording: CaptureFile | null = null;
  private recordingPath: string | undefined;
  private readonly writer: NodeJS.Timeout;
  private pacer: NodeJS.Timeout | null = null;
  private notify: (() => void) | null = null;
  /** Goes up with what changes the packet half. */
  private generation = 0;

  constructor(name: string, env: NetdevEnv) {
    super(name);
    this.env = env;
    this.arena = env.arena;
    const alloc = (bytes: number): number => {
      const at = env.arena.alloc(bytes);
      if (at < 0) throw new Error('out of packet memory');
      return at;
    };
    this.statsAt = alloc(PORT_STATS_BYTES) >> 3;
    this.stateAt = alloc(64) >> 3;
    this.txAt = alloc(ringBytes(TX_WORDS));
    this.txRing = new RecordRing(env.arena, this.txAt, TX_WORDS, 'consumer');
    this.writer = setInterval(() => this.afterRun(), WRITE_MS).unref();
  }

  setConfig(options: ReadonlyMap<string, string>): string | null {
    const wanted = JSON.stringify([...options].sort());
    if (wanted === this.options) return null;
    this.isInfinite = options.get('infinite_rx') === 'true' || options.get('infinite_rx') === '1';
    this.isPaced = options.get('pace') === 'true';
    const rx = options.get('rx_pcap');
    if (rx !== undefined) {
      const error = this.load(rx);
      if (error !== null) return error;
    } else this.unload();
    const tx = options.get('tx_pcap');
    if (tx !== this.recordingPath) {
      this.recording?.close();
      this.recording = tx === undefined ? null : openCapture(tx);
      this.recordingPath = tx;
      if (tx !== undefined && this.recording === null) return `${this.name}: ${tx}: could not be written`;
    }
    this.options = wanted;
    this.generation++;
    this.pace();
    this.changed();
    return null;
  }

  private load(path: string): string | null {
    let file: Uint8Array;
    try {
      file = readFileSync(path);
    } catch (e) {
      return `${this.name}: ${path}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'No such file or directory' : 'could not be read'}`;
    }
    const result = readPcap(file);
    if (!result.ok) return `${this.name}: ${path}: ${result.error}`;
    if (result.linkType !== LINKTYPE_ETHERNET)
      return `${this.name}: ${path}: link type ${result.linkType} is not Ethernet`;
    const packets = result.packets.filter((p) => p.packet.length >= 14 && p.packet.length <= LARGE_FRAME_MAX);
    const sizeOf = (length: number): number => HEAD_BYTES + ((length + 7) & ~7);
    const bytes = packets.reduce((sum, p) => sum + sizeOf(p.packet.length), 0);
    const at = bytes === 0 ? 0 : this.arena.alloc(bytes);
    if (at < 0) return `${this.name}: ${path}: too large for the packet memory`;
    const { i32, f64, u8 } = this.arena;
    let to = at;
    for (const { packet, timeMs } of packets) {
      i32[to >> 2] = packet.length;
      f64[(to + 8) >> 3] = timeMs - packets[0].timeMs;
      u8.set(packet, to + HEAD_BYTES);
      to += sizeOf(packet.length);
    }
    this.unload();
    this.packetsAt = at;
    this.packetBytes = bytes;
    f64[this.stateAt + STATE.REPLAYED] = 0;
    f64[this.stateAt + STATE.FIRST_MS] = -1;
    return null;
  }

  private unload(): void {
    // A PMD may still be reading: its memory goes when the port is wired anew.
    const { packetsAt, packetBytes } = this;
    if (packetBytes > 0) setTimeout(() => this.arena.free(packetsAt, packetBytes), 2000).unref();
    this.packetsAt = 0;
    this.packetBytes = 0;
  }

  /** A PMD that waits for a packet's time sleeps: it is woken to look. */
  private pace(): void {
    if (this.pacer) clearInterval(this.pacer);
    this.pacer = this.isPaced && this.packetBytes > 0 ? setInterval(() => this.notify?.(), PACE_MS).unref() : null;
  }

  wiring(): string {
    return String(this.generation);
  }

  onRxReady(notify: (() => void) | null): void {
    this.notify = notify;
    if (notify === null) return;
    // Who adds the port is not done yet: its first packets would be nobody's.
    setTimeout(() => {
      this.arena.f64[this.stateAt + STATE.BEGUN] = 1;
      this.notify?.();
    }, BEGIN_MS).unref();
  }

  /** Writes what was sent. */
  afterRun(): void {
    for (let at = this.txRing.peek(); at >= 0; at = this.txRing.peek()) {
      const from = (at + 1) * 4;
      this.recording?.write(this.arena.u8.slice(from, from + this.arena.i32[at]));
      this.txRing.release();
    }
  }

  stats(): NetdevStats {
    return countedBy(this.arena.f64, this.statsAt);
  }

  portSpec(): PortSpec {
    const spec: PcapSpec = {
      kind: 'pcap',
      name: this.name,
      nRxq: 1,
      packetsAt: this.packetsAt,
      packetBytes: this.packetBytes,
      isInfinite: this.isInfinite,
      isPaced: this.isPaced,
      stateAt: this.stateAt,
      txAt: this.txAt,
      isRecorded: this.recording !== null,
      statsAt: this.statsAt,
      wakes: true,
    };
    return spec;
  }

  [Symbol.dispose](): void {
    clearInterval(this.writer);
    if (this.pacer) clearInterval(this.pacer);
    this.notify = null;
    this.afterRun();
    this.recording?.close();
    if (this.packetBytes > 0) this.arena.free(this.packetsAt, this.packetBytes);
    this.arena.free(this.statsAt << 3, PORT_STATS_BYTES);
    this.arena.free(this.stateAt << 3, 64);
    this.arena.free(this.txAt, ringBytes(TX_WORDS));
    if (this.env.byName.get(this.name) === this) this.env.byName.delete(this.name);
  }
}

function openPort(spec: PcapSpec, { arena, pool, half, now }: PortContext): NetdevPort {
  const { u8, i32, f64 } = arena;
  const stats = statsOfHalf(spec.statsAt, half);
  const tx = new RecordRing(arena, spec.txAt, TX_WORDS, 'producer');
  const { packetsAt, packetBytes, stateAt } = spec;
  // In the main thread, which runs until nothing is left to do, for ever would be for ever.
  const isInfinite = spec.isInfinite && half !== undefined;
  const firstAt = stateAt + STATE.FIRST_MS;
  let at = f64[stateAt + STATE.REPLAYED];

  function isDue(): boolean {
    if (!spec.isPaced) return true;
    if (f64[firstAt] < 0) f64[firstAt] = now();
    return f64[firstAt] + f64[(packetsAt + at + 8) >> 3] <= now();
  }

  function record(frame: number, length: number): boolean {
    const to = tx.reserve(1 + ((length + 3) >> 2));
    if (to < 0) return false;
    i32[to] = length;
    const from = i32[(frame >> 2) + FRAME_DATA];
    u8.copyWithin((to + 1) * 4, from, from + length);
    tx.commit();
    return true;
  }

  return {
    name: spec.name,
    nRxq: 1,
    statsAt: stats,
    rxFds: () => [],

    rx(_q, frames, max) {
      let n = 0;
      let bytes = 0;
      if (f64[stateAt + STATE.BEGUN] === 0) return 0;
      while (n < max) {
        if (at >= packetBytes) {
          if (!isInfinite || packetBytes === 0) break;
          at = 0;
          f64[firstAt] = -1;
        }
        if (!isDue()) break;
        const length = i32[(packetsAt + at) >> 2];
        const frame = pool.takeFor(length);
        if (frame < 0) break;
        const to = frame + FRAME_HEADROOM;
        const from = packetsAt + at + HEAD_BYTES;
        i32[(frame >> 2) + FRAME_LEN] = length;
        i32[(frame >> 2) + FRAME_DATA] = to;
        u8.copyWithin(to, from, from + length);
        frames[n++] = frame;
        bytes += length;
        at += HEAD_BYTES + ((length + 7) & ~7);
      }
      if (n > 0) {
        f64[stateAt + STATE.REPLAYED] = at;
        f64[stats + PORT_STAT.rxPackets] += n;
        f64[stats + PORT_STAT.rxBytes] += bytes;
      }
      return n;
    },

    tx(frames, n) {
      for (let i = 0; i < n; i++) {
        const frame = frames[i];
        const length = i32[(frame >> 2) + FRAME_LEN];
        if (spec.isRecorded && !record(frame, length)) f64[stats + PORT_STAT.txDropped]++;
        else {
          f64[stats + PORT_STAT.txPackets]++;
          f64[stats + PORT_STAT.txBytes] += length;
        }
        pool.put(frame);
      }
    },

    flush() {},
    close() {},
  };
}

export const pcapKind: NetdevKind = {
  type: 'pcap',
  open(name: string, env: NetdevEnv): Netdev {
    const netdev = new PcapNetdev(name, env);
    env.byName.set(name, netdev);
    return netdev;
  },
  // `portSpec` above made it.
  openPort: (spec, context) => openPort(spec as PcapSpec, context),
};
