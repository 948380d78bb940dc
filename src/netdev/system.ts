/**
 * `system`: any network device of Linux. Its packets come and go by AF_XDP where that gives whole, finished packets at
 * driver speed, else by AF_PACKET.
 *
 * `options:xdp-mode` chooses: `native` or `generic` insist on AF_XDP in the driver or before the stack, `off` on AF_PACKET;
 * `best-effort`, the default, tries the driver. A veth is driven by AF_XDP only when its other end can be told to finish
 * its packets itself (checksums, VLAN tags), see `../linux/veth.ts`.
 *
 * `afxdp` and `afxdp-nonpmd` are the same by AF_XDP or not at all, with one queue unless `n_rxq` says more.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { vlog } from '../base/vlog.ts';
import { LinuxError, libc } from '../linux/libc.ts';
import { getLink, type LinkInfo } from '../linux/link.ts';
import {
  joinFanout,
  openReceiveSocket,
  openSendSocket,
  RING_BYTES,
  setPromiscuous,
  unmapRing,
} from '../linux/packet-socket.ts';
import { makePeerSegmentTunnels, makePeerSendFinishedPackets } from '../linux/veth.ts';
import {
  attachXdp,
  detachXdp,
  openXdpSocket,
  registerXdpSocket,
  unmapRings,
  XDP_PACKET_HEADROOM,
  type XdpLink,
  type XdpMode,
  type XdpSocket,
  XSK_RINGS_BYTES,
  xdpStatistics,
} from '../linux/xdp.ts';
import { FRAME_HEADROOM, FRAME_SIZE } from '../packet/frame.ts';
import type { AfPacketSpec } from './af-packet.ts';
import { openAfPacketPort } from './af-packet.ts';
import { type AfXdpSpec, openAfXdpPort, reclaimAfXdpPort } from './af-xdp.ts';
import { LinuxNetdev, ORDINARY_MTU } from './linux-netdev.ts';
import type { NetdevEnv, NetdevKind, PortSpec } from './netdev.ts';
import { PORT_STATS_BYTES, refusedBy } from './port-stats.ts';
import { LinuxQos } from './qos.ts';

const log = vlog('netdev_afxdp');

const MODES = ['best-effort', 'native', 'native-with-zerocopy', 'generic', 'off'] as const;
type ModeOption = (typeof MODES)[number];
const MAX_QUEUES = 64;

type SystemType = 'system' | 'afxdp' | 'afxdp-nonpmd';

class SystemNetdev extends LinuxNetdev {
  readonly type: SystemType;
  readonly isPmd: boolean;
  protected readonly mirrored = false;
  private readonly env: NetdevEnv;
  private mode: ModeOption = 'best-effort';
  /** `options:n_rxq`, 0 where nothing is asked for. */
  private wantedRxq = 0;
  private needWakeup = true;
  private readonly statsAt: number;
  /** Word index: where the receive rings of AF_PACKET are read next. */
  private readonly slotsAt: number;
  private xdp: XdpLink | null = null;
  private xdpMode: XdpMode | null = null;
  private whyNotXdp = '';
  /** Of all sockets; the first keeps promiscuous mode on. */
  private fds: number[] = [];
  private rings: { at: number; bytes: number }[] = [];
  private openQueues = 0;
  /** Of AF_XDP, by queue. */
  private xdpFds: number[] = [];

  constructor(name: string, type: SystemType, env: NetdevEnv) {
    super(name);
    this.type = type;
    this.isPmd = type !== 'afxdp-nonpmd';
    this.env = env;
    this.statsAt = env.arena.alloc(PORT_STATS_BYTES) >> 3;
    this.slotsAt = env.arena.alloc(MAX_QUEUES * 4) >> 2;
  }

  setConfig(options: ReadonlyMap<string, string>): string | null {
    const mode = options.get('xdp-mode') ?? 'best-effort';
    if (!MODES.includes(mode as ModeOption) || (mode === 'off' && this.type !== 'system')) {
      log.err(`${this.name}: Incorrect xdp-mode (${mode}).`);
      return `${this.name}: could not set configuration (Invalid argument)`;
    }
    const before = this.wiring();
    this.mode = mode as ModeOption;
    const asked = Number.parseInt(options.get('n_rxq') ?? '0', 10);
    this.wantedRxq = Number.isInteger(asked) && asked > 0 ? Math.min(asked, MAX_QUEUES) : 0;
    this.needWakeup = options.get('use-need-wakeup') !== 'false';
    if (this.wiring() !== before) this.changed();
    return null;
  }

  override wiring(): string {
    const isJumbo = (this.link?.mtu ?? 0) > ORDINARY_MTU;
    return [
      this.mode,
      this.wantedRxq,
      this.needWakeup,
      isJumbo,
      this.steering(),
      this.qos.type,
      this.qos.queueIds(),
    ].join();
  }

  refused(): number {
    return refusedBy(this.env.arena.f64, this.statsAt);
  }

  private steering(): string {
    return this.otherConfig.get('tx-steering') === 'hash' ? 'hash' : 'thread';
  }

  configuration(): readonly (readonly [string, string])[] {
    if (this.type === 'system') return [];
    return [
      ['n_rxq', String(Math.max(1, this.openQueues))],
      ['use-need-wakeup', String(this.needWakeup)],
      ['xdp-mode', this.mode],
      ...(this.xdpMode === null ? [] : [['xdp-mode-in-use', this.xdpMode] as const]),
    ];
  }

  numaNode(): number {
    try {
      return Math.max(0, Number(readFileSync(`/sys/class/net/${this.name}/device/numa_node`, 'utf8')));
    } catch {
      return 0;
    }
  }

  override status(): ReadonlyMap<string, string> {
    const status = new Map(super.status());
    if (this.xdpMode) {
      status.set('xdp-mode', this.mode === 'native-with-zerocopy' ? this.mode : this.xdpMode);
      status.set('use-need-wakeup', String(this.needWakeup));
    } else if (this.fds.length > 0) status.set('xdp-mode', 'off');
    if (this.openQueues > 0) status.set('n_rxq', String(this.openQueues));
    if (this.whyNotXdp) status.set('xdp-error', this.whyNotXdp);
    return status;
  }

  /** What the kernel counts of the sockets. */
  customStats(): ReadonlyMap<string, number> {
    const stats = new Map<string, number>();
    if (this.type === 'system') return stats;
    for (const [q, fd] of this.xdpFds.entries()) {
      const counts = xdpStatistics(fd);
      if (counts === null) continue;
      stats.set(`xsk_queue_${q}_rx_dropped`, counts.rxDropped);
      stats.set(`xsk_queue_${q}_rx_invalid_descs`, counts.rxInvalid);
      stats.set(`xsk_queue_${q}_tx_invalid_descs`, counts.txInvalid);
    }
    return stats;
  }

  portSpec(): PortSpec {
    this.release();
    this.forgetRings();
    const link = getLink(this.name);
    if (!link) throw new LinuxError(`${this.name}: opening device`, 19);
    this.link = link;
    const insists = this.mode !== 'off' && this.mode !== 'best-effort';
    const offloads = this.env.userspaceTso === true && this.type === 'system' && !insists;
    const xdp = this.mode === 'off' || offloads || this.linuxQos.type !== '' ? null : this.tryXdp(link);
    if (this.linuxQos.type !== '') this.whyNotXdp = `${this.linuxQos.type} is the kernel's`;
    if (!xdp && (insists || this.type !== 'system')) {
      throw new Error(`${this.name}: xdp-mode ${this.mode}: ${this.whyNotXdp}`);
    }
    const promiscuous = this.keep(openSendSocket(link.ifindex));
    setPromiscuous(promiscuous, link.ifindex);
    const spec = xdp ?? this.packetSpec(link, offloads);
    this.openQueues = spec.nRxq;
    return spec;
  }

  private keep(fd: number): number {
    this.fds.push(fd);
    return fd;
  }

  private packetSpec(link: LinkInfo, tso: boolean): AfPacketSpec {
    const nRxq = Math.max(1, this.wantedRxq);
    if (link.kind === 'veth') makePeerSegmentTunnels(link);
    const rxFds: number[] = [];
    const ringsAt: number[] = [];
    const slotsAt: number[] = [];
    let group: number | null = null;
    for (let q = 0; q < nRxq; q++) {
      const at = takeRings(this.env, RING_BYTES);
      if (at < 0) throw new Error(`${this.name}: the arena is full`);
      this.rings.push({ at, bytes: RING_BYTES });
      const fd = this.keep(openReceiveSocket(link.ifindex, { arena: this.env.arena, at }, tso));
      if (nRxq > 1) group = joinFanout(fd, group);
      rxFds.push(fd);
      ringsAt.push(at);
      slotsAt.push(this.slotsAt + q);
      this.env.arena.i32[this.slotsAt + q] = 0;
    }
    const queued = tso || this.steering() === 'hash' || this.linuxQos.type !== '';
    const txClasses = this.qos.queueIds();
    const txFd = this.keep(openSendSocket(link.ifindex, { vnetHeader: tso, queued }));
    return {
      kind: 'af_packet',
      name: this.name,
      nRxq,
      tx: 'any',
      rxFds,
      ringsAt,
      slotsAt,
      txFd,
      txClasses,
      classFds: txClasses.map((queue) =>
        this.keep(openSendSocket(link.ifindex, { vnetHeader: tso, queued, priority: LinuxQos.priorityOf(queue) })),
      ),
      tso,
      statsAt: this.statsAt,
    };
  }

  private tryXdp(link: LinkInfo): AfXdpSpec | null {
    const opened: XdpSocket[] = [];
    this.whyNotXdp = '';
    try {
      if (link.mtu > ORDINARY_MTU) throw new Error(`MTU ${link.mtu} is larger than ${ORDINARY_MTU}`);
      if (link.kind === 'veth' && !makePeerSendFinishedPackets(link)) {
        throw new Error('the other end of the veth pair is out of reach');
      }
      const mode: XdpMode = this.mode === 'generic' ? 'generic' : 'native';
      const has = readdirSync(`/sys/class/net/${this.name}/queues`).filter((q) => q.startsWith('rx-')).length;
      const queues = this.wantedRxq > 0 ? this.wantedRxq : this.type === 'system' ? has : 1;
      if (queues > has) throw new Error(`n_rxq ${queues} is larger than the device's ${has} queues`);
      this.xdp = attachXdp(link.ifindex, mode);
      const frames = {
        ...this.env.frames,
        chunk: FRAME_SIZE,
        headroom: FRAME_HEADROOM - XDP_PACKET_HEADROOM,
      };
      for (let q = 0; q < queues; q++) {
        const at = takeRings(this.env, XSK_RINGS_BYTES);
        if (at < 0) throw new Error('the arena is full');
        this.rings.push({ at, bytes: XSK_RINGS_BYTES });
        const zeroCopy = this.mode === 'native-with-zerocopy';
        const socket = openXdpSocket(this.env.arena, link.ifindex, q, frames, at, zeroCopy, this.needWakeup);
        this.keep(socket.fd);
        opened.push(socket);
      }
      for (const [q, s] of opened.entries()) registerXdpSocket(this.xdp, q, s.fd);
      this.xdpFds = opened.map((s) => s.fd);
      this.xdpMode = mode;
      return {
        kind: 'af_xdp',
        name: this.name,
        nRxq: opened.length,
        tx: 'queues',
        sockets: opened,
        framesAt: this.env.frames.at,
        statsAt: this.statsAt,
        isHashed: this.steering() === 'hash',
      };
    } catch (e) {
      this.whyNotXdp = e instanceof Error ? e.message : String(e);
      this.release();
      this.forgetRings();
      return null;
    }
  }

  release(): void {
    for (const fd of this.fds) libc().close(fd);
    this.fds = [];
    this.xdpFds = [];
    this.openQueues = 0;
    if (this.xdp) detachXdp(this.xdp);
    this.xdp = null;
    this.xdpMode = null;
  }

  /** The kernel's pages under the rings go, and with them the names of frames in them. */
  private forgetRings(): void {
    for (const { at, bytes } of this.rings) {
      if (bytes === RING_BYTES) unmapRing(this.env.arena, at);
      else unmapRings(this.env.arena, at);
      giveRings(this.env, at, bytes);
    }
    this.rings = [];
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.release();
    this.forgetRings();
    this.env.arena.free(this.statsAt << 3, PORT_STATS_BYTES);
    this.env.arena.free(this.slotsAt << 2, MAX_QUEUES * 4);
    this.env.byName.delete(this.name);
  }
}

/** Page-aligned ring regions that ports have given back, by environment and size. */
const freeRings = new WeakMap<NetdevEnv, Map<number, number[]>>();

function takeRings(env: NetdevEnv, bytes: number): number {
  return freeRings.get(env)?.get(bytes)?.pop() ?? env.arena.alloc(bytes, 4096);
}

function giveRings(env: NetdevEnv, at: number, bytes: number): void {
  const bySize = freeRings.get(env) ?? new Map<number, number[]>();
  freeRings.set(env, bySize);
  bySize.set(bytes, [...(bySize.get(bytes) ?? []), at]);
}

function kind(type: SystemType): NetdevKind {
  return {
    type,
    open(name, env) {
      if (!getLink(name)) return { error: `could not open network device ${name} (No such device)` };
      const netdev = new SystemNetdev(name, type, env);
      env.byName.set(name, netdev);
      return netdev;
    },
    openPort(spec, context) {
      return spec.kind === 'af_xdp'
        ? openAfXdpPort(spec as AfXdpSpec, context)
        : openAfPacketPort(spec as AfPacketSpec, context);
    },
    reclaim(spec, context) {
      if (spec.kind === 'af_xdp') reclaimAfXdpPort(spec as AfXdpSpec, context);
    },
  };
}

export const systemKind = kind('system');
export const afxdpKind = kind('afxdp');
export const afxdpNonpmdKind = kind('afxdp-nonpmd');
