/**
 * `system`: any network device of Linux. Its packets come and go by AF_XDP where that gives whole, finished packets at
 * driver speed, else by AF_PACKET.
 *
 * `options:xdp-mode` chooses: `native` or `generic` insist on AF_XDP in the driver or before the stack, `off` on AF_PACKET;
 * `best-effort`, the default, tries the driver. A veth is driven by AF_XDP only when its other end can be told to finish
 * its packets itself (checksums, VLAN tags), see `../linux/veth.ts`.
 */
import { readdirSync } from 'node:fs';
import { LinuxError, libc } from '../linux/libc.ts';
import { getLink, type LinkInfo } from '../linux/link.ts';
import { openReceiveSocket, openSendSocket, RING_BYTES, setPromiscuous } from '../linux/packet-socket.ts';
import { makePeerSendFinishedPackets } from '../linux/veth.ts';
import {
  attachXdp,
  detachXdp,
  openXdpSocket,
  registerXdpSocket,
  XDP_PACKET_HEADROOM,
  type XdpLink,
  type XdpMode,
  type XdpSocket,
  XSK_RINGS_BYTES,
} from '../linux/xdp.ts';
import { FRAME_HEADROOM, FRAME_SIZE } from '../packet/frame.ts';
import type { AfPacketSpec } from './af-packet.ts';
import { openAfPacketPort } from './af-packet.ts';
import { type AfXdpSpec, openAfXdpPort } from './af-xdp.ts';
import { LinuxNetdev, MAX_MTU } from './linux-netdev.ts';
import type { NetdevEnv, NetdevKind, PortSpec } from './netdev.ts';
import { PORT_STATS_BYTES } from './port-stats.ts';

const MODES = ['best-effort', 'native', 'native-with-zerocopy', 'generic', 'off'] as const;
type ModeOption = (typeof MODES)[number];

class SystemNetdev extends LinuxNetdev {
  readonly type = 'system';
  protected readonly mirrored = false;
  private readonly env: NetdevEnv;
  private mode: ModeOption = 'best-effort';
  private readonly statsAt: number;
  private xdp: XdpLink | null = null;
  private xdpMode: XdpMode | null = null;
  private whyNotXdp = '';
  /** Keeps promiscuous mode on. */
  private promiscuous = -1;
  private rings: { at: number; bytes: number }[] = [];

  constructor(name: string, env: NetdevEnv) {
    super(name);
    this.env = env;
    this.statsAt = env.arena.alloc(PORT_STATS_BYTES) >> 3;
  }

  setConfig(options: ReadonlyMap<string, string>): string | null {
    const mode = options.get('xdp-mode') ?? 'best-effort';
    if (!MODES.includes(mode as ModeOption)) return `${this.name}: invalid xdp-mode '${mode}'`;
    this.mode = mode as ModeOption;
    return null;
  }

  override status(): ReadonlyMap<string, string> {
    const status = new Map(super.status());
    if (this.xdpMode) status.set('xdp-mode', this.xdpMode);
    else if (this.promiscuous >= 0) status.set('xdp-mode', 'off');
    if (this.whyNotXdp) status.set('xdp-error', this.whyNotXdp);
    return status;
  }

  portSpec(): PortSpec {
    this.releaseSockets();
    const link = getLink(this.name);
    if (!link) throw new LinuxError(`${this.name}: opening device`, 19);
    this.link = link;
    const xdp = this.mode === 'off' ? null : this.tryXdp(link);
    if (!xdp && (this.mode === 'native' || this.mode === 'native-with-zerocopy' || this.mode === 'generic')) {
      throw new Error(`${this.name}: xdp-mode ${this.mode}: ${this.whyNotXdp}`);
    }
    this.promiscuous = openSendSocket(link.ifindex);
    setPromiscuous(this.promiscuous, link.ifindex);
    if (xdp) return xdp;
    const ringAt = takeRings(this.env, RING_BYTES);
    if (ringAt < 0) throw new Error(`${this.name}: the arena is full`);
    this.rings.push({ at: ringAt, bytes: RING_BYTES });
    const rxFd = openReceiveSocket(link.ifindex, { arena: this.env.arena, at: ringAt });
    const spec: AfPacketSpec = {
      kind: 'af_packet',
      name: this.name,
      nRxq: 1,
      rxFd,
      txFd: openSendSocket(link.ifindex),
      ringAt,
      statsAt: this.statsAt,
    };
    return spec;
  }

  private tryXdp(link: LinkInfo): AfXdpSpec | null {
    const opened: XdpSocket[] = [];
    this.whyNotXdp = '';
    try {
      if (link.mtu > MAX_MTU) throw new Error(`MTU ${link.mtu} is larger than ${MAX_MTU}`);
      if (link.kind === 'veth' && !makePeerSendFinishedPackets(link)) {
        throw new Error('the other end of the veth pair is out of reach');
      }
      const mode: XdpMode = this.mode === 'generic' ? 'generic' : 'native';
      this.xdp = attachXdp(link.ifindex, mode);
      const queues = readdirSync(`/sys/class/net/${this.name}/queues`).filter((q) => q.startsWith('rx-')).length;
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
        opened.push(openXdpSocket(this.env.arena, link.ifindex, q, frames, at, zeroCopy));
      }
      for (const [q, s] of opened.entries()) registerXdpSocket(this.xdp, q, s.fd);
      this.xdpMode = mode;
      return {
        kind: 'af_xdp',
        name: this.name,
        nRxq: opened.length,
        sockets: opened,
        framesAt: this.env.frames.at,
        statsAt: this.statsAt,
      };
    } catch (e) {
      this.whyNotXdp = e instanceof Error ? e.message : String(e);
      for (const s of opened) libc().close(s.fd);
      this.releaseSockets();
      return null;
    }
  }

  private releaseSockets(): void {
    if (this.promiscuous >= 0) libc().close(this.promiscuous);
    this.promiscuous = -1;
    if (this.xdp) detachXdp(this.xdp);
    this.xdp = null;
    this.xdpMode = null;
    for (const { at, bytes } of this.rings) giveRings(this.env, at, bytes);
    this.rings = [];
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.releaseSockets();
    this.env.arena.free(this.statsAt << 3, PORT_STATS_BYTES);
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

export const systemKind: NetdevKind = {
  type: 'system',
  open(name, env) {
    if (!getLink(name)) return { error: `could not open network device ${name} (No such device)` };
    const netdev = new SystemNetdev(name, env);
    env.byName.set(name, netdev);
    return netdev;
  },
  openPort(spec, context) {
    return spec.kind === 'af_xdp'
      ? openAfXdpPort(spec as AfXdpSpec, context)
      : openAfPacketPort(spec as AfPacketSpec, context);
  },
};
