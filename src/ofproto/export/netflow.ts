/** NetFlow version 5: who spoke to whom in IPv4, told when a flow ends or has lasted long enough. `ovs-vswitchd.conf.db(5)` */
import { clock } from '../../base/clock.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { ETH_TYPE, FRAG_LATER, IPPROTO } from '../xlate/prereq.ts';
import { Collectors } from './collectors.ts';

export const NETFLOW_PORT = 2055;
export const NETFLOW_OUT = { flood: 0xffff, multi: 0xfffe, drop: 0xfffd } as const;
const VERSION = 5;
const HEADER_LENGTH = 24;
const RECORD_LENGTH = 48;
const MAX_RECORDS = 30;
const U32 = 0x100000000;

export interface NetflowConfig {
  readonly targets: readonly string[];
  readonly engineType: number;
  readonly engineId: number;
  /** 0 for never: flows are told when they end. */
  readonly activeTimeoutMs: number;
  /** Interfaces are engine ids and port numbers together. */
  readonly addsId: boolean;
}

interface NetflowFlow {
  readonly src: number;
  readonly dst: number;
  readonly inPort: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly proto: number;
  readonly tos: number;
  outPort: number;
  packets: number;
  bytes: number;
  tcpFlags: number;
  createdMs: number;
  usedMs: number;
  toldMs: number;
}

const WITH_PORTS: ReadonlySet<number> = new Set([IPPROTO.tcp, IPPROTO.udp, IPPROTO.sctp, IPPROTO.icmp]);
const hasPorts = (flow: FlowKey): boolean =>
  WITH_PORTS.has(flow.get8(OFS.ip_proto)) && (flow.get8(OFS.ip_frag) & FRAG_LATER) === 0;

export class Netflow {
  readonly config: NetflowConfig;
  private readonly collectors: Collectors;
  private readonly flows = new Map<string, NetflowFlow>();
  private readonly bootMs = clock.nowMs();
  private seq = 0;
  private pending: NetflowFlow[] = [];
  private readonly timer: Disposable;

  constructor(config: NetflowConfig) {
    this.config = config;
    this.collectors = new Collectors(config.targets, NETFLOW_PORT);
    this.timer = clock.setInterval(() => this.run(), 1000, { keepAlive: false });
  }

  record(flow: FlowKey, outPort: number, packets: number, bytes: number, usedMs: number, tcpFlags: number): void {
    if (flow.get16(OFS.eth_type) !== ETH_TYPE.ip) return;
    const isIcmp = flow.get8(OFS.ip_proto) === IPPROTO.icmp;
    const ports = hasPorts(flow);
    const [sport, dport] = ports ? [flow.get16(OFS.tp_src), flow.get16(OFS.tp_dst)] : [0, 0];
    const id = {
      src: flow.get32(OFS.ip_src),
      dst: flow.get32(OFS.ip_dst),
      inPort: flow.get32(OFS.in_port),
      srcPort: isIcmp ? 0 : sport,
      dstPort: isIcmp ? (sport << 8) | dport : dport,
      proto: flow.get8(OFS.ip_proto),
      // Without the bits that a megaflow may not have looked at.
      tos: flow.get8(OFS.ip_tos) & 0xfc,
    };
    const key = Object.values(id).join();
    let known = this.flows.get(key);
    if (known && known.outPort !== outPort && known.packets > 0) this.tell(known);
    if (!known) {
      known = { ...id, outPort, packets: 0, bytes: 0, tcpFlags: 0, createdMs: usedMs, usedMs, toldMs: clock.nowMs() };
      this.flows.set(key, known);
    }
    if (known.packets === 0) known.createdMs = usedMs;
    known.outPort = outPort;
    known.packets += packets;
    known.bytes += bytes;
    known.usedMs = usedMs;
    known.tcpFlags |= tcpFlags;
  }

  private run(): void {
    const now = clock.nowMs();
    const { activeTimeoutMs } = this.config;
    const timeout = activeTimeoutMs || 600_000;
    for (const [key, flow] of this.flows) {
      const isIdle = now - flow.usedMs >= timeout;
      if (isIdle || (activeTimeoutMs > 0 && now - flow.toldMs >= activeTimeoutMs)) this.tell(flow);
      if (isIdle) this.flows.delete(key);
    }
    this.flush();
  }

  private tell(flow: NetflowFlow): void {
    flow.toldMs = clock.nowMs();
    if (flow.packets === 0) return;
    this.pending.push({ ...flow });
    flow.packets = 0;
    flow.bytes = 0;
    flow.tcpFlags = 0;
    if (this.pending.length >= MAX_RECORDS) this.flush();
  }

  private flush(): void {
    if (this.pending.length === 0) return;
    const { engineType, engineId } = this.config;
    const records = this.pending;
    this.pending = [];
    const b = new Uint8Array(HEADER_LENGTH + records.length * RECORD_LENGTH);
    const v = new DataView(b.buffer);
    const wall = clock.wallMs();
    v.setUint16(0, VERSION);
    v.setUint16(2, records.length);
    v.setUint32(4, this.uptime(clock.nowMs()));
    v.setUint32(8, Math.floor(wall / 1000));
    v.setUint32(12, Math.floor(wall % 1000) * 1_000_000);
    v.setUint32(16, this.seq);
    this.seq = (this.seq + records.length) >>> 0;
    b[20] = engineType;
    b[21] = engineId;
    for (const [i, f] of records.entries()) this.write(v, HEADER_LENGTH + i * RECORD_LENGTH, f);
    this.collectors.send(b);
  }

  private uptime(ms: number): number {
    return Math.max(0, Math.round(ms - this.bootMs)) >>> 0;
  }

  private write(v: DataView, at: number, f: NetflowFlow): void {
    const { addsId, engineId } = this.config;
    const port = (n: number): number => (addsId ? ((engineId & 0x7f) << 9) | (n & 0x1ff) : n);
    v.setUint32(at, f.src);
    v.setUint32(at + 4, f.dst);
    v.setUint16(at + 12, port(f.inPort));
    v.setUint16(at + 14, port(f.outPort));
    v.setUint32(at + 16, Math.min(f.packets, U32 - 1));
    v.setUint32(at + 20, Math.min(f.bytes, U32 - 1));
    v.setUint32(at + 24, this.uptime(f.createdMs));
    v.setUint32(at + 28, this.uptime(f.usedMs));
    v.setUint16(at + 32, f.srcPort);
    v.setUint16(at + 34, f.dstPort);
    v.setUint8(at + 37, f.tcpFlags & 0xff);
    v.setUint8(at + 38, f.proto);
    v.setUint8(at + 39, f.tos);
  }

  /** What has not been told yet is told now. */
  close(): void {
    for (const flow of this.flows.values()) this.tell(flow);
    this.flush();
    this.timer[Symbol.dispose]();
    setImmediate(() => this.collectors.close());
  }
}
