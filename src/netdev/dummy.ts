/**
 * A simulated device: packets come from `netdev-dummy/receive`, and what is sent is counted and, with `options:tx_pcap`,
 * written to a file. Tests of the whole switch run on these.
 *
 * The two halves meet in rings in the arena: an `rx` ring for each queue carries packets to whichever thread polls it, `tx`
 * carries sent packets back while somebody wants to see them (word `captureAt` is 1).
 *
 * `dummy-pmd` is the same, polled by PMDs where the simulation has any.
 */
import type { Arena } from '../base/arena.ts';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import { type CaptureFile, openCapture } from '../packet/capture.ts';
import { FRAME_DATA, FRAME_HEADROOM, FRAME_LEN, LARGE_FRAME_MAX } from '../packet/frame.ts';
import { addDummy, removeDummy } from './dummy-commands.ts';
import { activeCable, type DummyCable, passiveCable } from './dummy-stream.ts';
import type { Netdev, NetdevEnv, NetdevKind, NetdevPort, NetdevStats, PortContext, PortSpec } from './netdev.ts';
import { countedBy, PORT_STAT, PORT_STATS_BYTES, statsOfHalf } from './port-stats.ts';
import { SoftNetdev } from './soft-netdev.ts';

const RX_WORDS = 16384;
const TX_WORDS = 65536;
/** Ring record: bytes, packet. */
const HEAD = 1;
const MAX_QUEUES = 64;
const ETH_HEADER = 14;
const VLAN_HEADER = 4;

interface DummySpec extends PortSpec {
  readonly kind: 'dummy';
  /** A ring for each queue. */
  readonly rxAt: readonly number[];
  readonly txAt: number;
  /** Word index. */
  readonly captureAt: number;
  readonly mtu: number;
  readonly statsAt: number;
  /** Sleepers are woken by `onRxReady`: no descriptor to wait on, yet no need to poll. */
  readonly wakes: true;
}

export class DummyNetdev extends SoftNetdev {
  readonly type: 'dummy' | 'dummy-pmd';
  readonly polled = true;
  readonly isPmd: boolean;
  private readonly env: NetdevEnv;
  private readonly arena: Arena;
  private readonly statsAt: number;
  private readonly rxAt: number[] = [];
  private readonly txAt: number;
  private readonly captureAt: number;
  private readonly rxRings: RecordRing[] = [];
  private readonly txRing: RecordRing;
  private nRxq = 1;
  private numa = 0;
  private index = 0;
  private notifyRx: (() => void) | null = null;
  private rxCapture: CaptureFile | null = null;
  private txCapture: CaptureFile | null = null;
  private captureOptions = '[null,null,null]';
  private cable: DummyCable | null = null;
  private cableOptions = '[null,null]';
  private timer: NodeJS.Timeout | null = null;
  private readonly txListeners = new Set<(packet: Uint8Array) => void>();

  constructor(name: string, env: NetdevEnv, type: 'dummy' | 'dummy-pmd' = 'dummy') {
    super(name);
    this.type = type;
    this.isPmd = type === 'dummy-pmd';
    this.env = env;
    this.arena = env.arena;
    const alloc = (bytes: number): number => {
      const at = env.arena.alloc(bytes);
      if (at < 0) throw new Error('out of packet memory');
      return at;
    };
    this.statsAt = alloc(PORT_STATS_BYTES) >> 3;
    this.captureAt = alloc(64) >> 2;
    this.txAt = alloc(ringBytes(TX_WORDS));
    this.addRxRings(1);
    this.txRing = new RecordRing(env.arena, this.txAt, TX_WORDS, 'consumer');
  }

  setConfig(options: ReadonlyMap<string, string>): string | null {
    const queues = Math.max(1, Math.min(MAX_QUEUES, Number.parseInt(options.get('n_rxq') ?? '1', 10) || 1));
    this.numa = Math.max(0, Number.parseInt(options.get('numa_id') ?? '0', 10) || 0);
    this.addRxRings(queues);
    if (queues !== this.nRxq) {
      this.nRxq = queues;
      this.changed();
    }
    this.index = Number.parseInt(options.get('ifindex') ?? '0', 10) || 0;
    this.openCable(options.get('stream'), options.get('pstream'));
    this.openCaptures(options.get('pcap'), options.get('rxq_pcap'), options.get('tx_pcap'));
    return null;
  }

  private addRxRings(queues: number): void {
    while (this.rxRings.length < queues) {
      const at = this.arena.alloc(ringBytes(RX_WORDS));
      if (at < 0) throw new Error('out of packet memory');
      this.rxAt.push(at);
      this.rxRings.push(new RecordRing(this.arena, at, RX_WORDS, 'producer'));
    }
  }

  wiring(): string {
    return [this.nRxq, this.numa, this.mtu()].join();
  }

  configuration(): readonly (readonly [string, string])[] {
    if (!this.isPmd) return [];
    const rx = String(this.nRxq);
    return [
      ['configured_rx_queues', rx],
      ['configured_tx_queues', '1'],
      ['requested_rx_queues', rx],
      ['requested_tx_queues', '1'],
    ];
  }

  numaNode(): number {
    return this.numa;
  }

  /** One file for both directions, or one for each. Reopened only when the options change: opening truncates. */
  private openCaptures(both: string | undefined, rx: string | undefined, tx: string | undefined): void {
    const wanted = JSON.stringify([both, rx, tx]);
    if (wanted === this.captureOptions) return;
    this.captureOptions = wanted;
    this.closeCaptures();
    if (both !== undefined) {
      this.rxCapture = openCapture(both);
      this.txCapture = this.rxCapture;
    } else {
      this.rxCapture = rx === undefined ? null : openCapture(rx);
      this.txCapture = tx === undefined ? null : openCapture(tx);
    }
    this.watchTx();
  }

  /** The active end takes precedence; a changed option makes a new cable. */
  private openCable(stream: string | undefined, pstream: string | undefined): void {
    const wanted = JSON.stringify([stream, pstream]);
    if (wanted === this.cableOptions) return;
    this.cableOptions = wanted;
    this.cable?.[Symbol.dispose]();
    this.cable = null;
    const receive = (packet: Uint8Array): void => void this.receive(packet);
    if (stream !== undefined) this.cable = activeCable(stream, receive);
    else if (pstream !== undefined) this.cable = passiveCable(pstream, receive);
    this.watchTx();
  }

  private closeCaptures(): void {
    this.rxCapture?.close();
    if (this.txCapture !== this.rxCapture) this.txCapture?.close();
    this.rxCapture = null;
    this.txCapture = null;
  }

  private watchTx(): void {
    const wants = this.txCapture !== null || this.cable !== null || this.txListeners.size > 0;
    Atomics.store(this.arena.i32, this.captureAt, wants ? 1 : 0);
    if (wants && !this.timer) this.timer = setInterval(() => this.afterRun(), 10).unref();
    if (!wants && this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    }
  }

  /** Calls `listener` with every packet sent out of this device. */
  onTransmit(listener: (packet: Uint8Array) => void): Disposable {
    this.txListeners.add(listener);
    this.watchTx();
    return {
      [Symbol.dispose]: () => {
        this.txListeners.delete(listener);
        this.watchTx();
      },
    };
  }

  connectionState(): string {
    return this.cable?.state() ?? 'unknown';
  }

  get rxQueues(): number {
    return this.nRxq;
  }

  /** As if the packet arrived from the wire. False when the queue is full or the packet too long. */
  receive(packet: Uint8Array, queue = 0): boolean {
    const ring = this.rxRings[queue];
    const at =
      ring === undefined || packet.length > LARGE_FRAME_MAX ? -1 : ring.reserve(HEAD + ((packet.length + 3) >> 2));
    if (at < 0) {
      this.arena.f64[this.statsAt + PORT_STAT.rxDropped]++;
      return false;
    }
    this.rxCapture?.write(packet);
    this.arena.i32[at] = packet.length;
    this.arena.u8.set(packet, (at + HEAD) * 4);
    ring.commit();
    this.notifyRx?.();
    return true;
  }

  onRxReady(notify: (() => void) | null): void {
    this.notifyRx = notify;
  }

  afterRun(): void {
    for (let at = this.txRing.peek(); at >= 0; at = this.txRing.peek()) {
      const from = (at + HEAD) * 4;
      const packet = this.arena.u8.slice(from, from + this.arena.i32[at]);
      this.txRing.release();
      this.txCapture?.write(packet);
      this.cable?.send(packet);
      for (const listener of this.txListeners) listener(packet);
    }
  }

  override ifindex(): number {
    return this.index;
  }

  stats(): NetdevStats {
    return countedBy(this.arena.f64, this.statsAt);
  }

  portSpec(): PortSpec {
    const spec: DummySpec = {
      kind: 'dummy',
      name: this.name,
      nRxq: this.nRxq,
      rxAt: this.rxAt.slice(0, this.nRxq),
      txAt: this.txAt,
      captureAt: this.captureAt,
      mtu: this.mtu(),
      statsAt: this.statsAt,
      wakes: true,
    };
    return spec;
  }

  [Symbol.dispose](): void {
    removeDummy(this);
    this.afterRun();
    this.txListeners.clear();
    this.closeCaptures();
    this.cable?.[Symbol.dispose]();
    this.cable = null;
    this.watchTx();
    this.notifyRx = null;
    this.arena.free(this.statsAt << 3, PORT_STATS_BYTES);
    this.arena.free(this.captureAt << 2, 64);
    for (const at of this.rxAt) this.arena.free(at, ringBytes(RX_WORDS));
    this.arena.free(this.txAt, ringBytes(TX_WORDS));
    if (this.env.byName.get(this.name) === this) this.env.byName.delete(this.name);
  }
}

function openPort(spec: DummySpec, { arena, pool, half }: PortContext): NetdevPort {
  const { u8, i32, f64 } = arena;
  const rings = spec.rxAt.map((at) => new RecordRing(arena, at, RX_WORDS, 'consumer'));
  const tx = new RecordRing(arena, spec.txAt, TX_WORDS, 'producer');
  const stats = statsOfHalf(spec.statsAt, half);
  const maxLength = spec.mtu + ETH_HEADER + VLAN_HEADER;

  function capture(frame: number, length: number): void {
    const at = tx.reserve(HEAD + ((length + 3) >> 2));
    if (at < 0) return;
    i32[at] = length;
    const from = i32[(frame >> 2) + FRAME_DATA];
    u8.copyWithin((at + HEAD) * 4, from, from + length);
    tx.commit();
  }

  return {
    name: spec.name,
    nRxq: spec.nRxq,
    statsAt: stats,
    rxFds: () => [],

    rx(q, frames, max) {
      let n = 0;
      const rx = rings[q];
      while (n < max) {
        const at = rx.peek();
        if (at < 0) break;
        const length = i32[at];
        const frame = pool.takeFor(length);
        if (frame < 0) break;
        const to = frame + FRAME_HEADROOM;
        i32[(frame >> 2) + FRAME_LEN] = length;
        i32[(frame >> 2) + FRAME_DATA] = to;
        u8.copyWithin(to, (at + HEAD) * 4, (at + HEAD) * 4 + length);
        rx.release();
        f64[stats + PORT_STAT.rxPackets]++;
        f64[stats + PORT_STAT.rxBytes] += length;
        frames[n++] = frame;
      }
      return n;
    },

    tx(frames, n) {
      const isCaptured = i32[spec.captureAt] !== 0;
      for (let i = 0; i < n; i++) {
        const frame = frames[i];
        const length = i32[(frame >> 2) + FRAME_LEN];
        if (length > maxLength) f64[stats + PORT_STAT.txDropped]++;
        else {
          f64[stats + PORT_STAT.txPackets]++;
          f64[stats + PORT_STAT.txBytes] += length;
          if (isCaptured) capture(frame, length);
        }
        pool.put(frame);
      }
    },

    flush() {},
    close() {},
  };
}

function kind(type: 'dummy' | 'dummy-pmd'): NetdevKind {
  return {
    type,
    open(name: string, env: NetdevEnv): Netdev {
      const netdev = new DummyNetdev(name, env, type);
      env.byName.set(name, netdev);
      addDummy(netdev);
      return netdev;
    },
    // `portSpec` above made it.
    openPort: (spec, context) => openPort(spec as DummySpec, context),
  };
}

export const dummyKind = kind('dummy');
export const dummyPmdKind = kind('dummy-pmd');
