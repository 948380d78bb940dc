/**
 * The tunnels of one datapath as translation sees them: its ports, the network below, and the table that says which Geneve
 * option is which `tun_metadata` field.
 */
import { clock } from '../../base/clock.ts';
import type { TunnelOption } from '../../datapath/tunnel-options.ts';
import type { Dpif } from '../../dpif/dpif.ts';
import { setDpTunnelOptions } from '../../flow/dp-tunnel-text.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { TunnelNetdev } from '../../netdev/tunnel.ts';
import { formatIp } from '../../netdev/tunnel-config.ts';
import type { Egress, Way, XlateTunnels } from '../xlate/tunnel.ts';
import type { XlateBridge, XlatePort } from '../xlate/types.ts';
import type { GeneveOption } from './header.ts';
import { network } from './network.ts';
import { TunnelPorts } from './ports.ts';

/** A neighbor is asked for at most so often. */
const ASK_INTERVAL_MS = 1000;

/** A bridge with the devices in it. */
export interface TunnelBridge extends XlateBridge {
  namedPort(name: string): (XlatePort & { readonly netdev: { mac(): Uint8Array } }) | undefined;
}

export interface TunnelHost<Owner> {
  readonly dpif: Dpif;
  readonly bridges: Iterable<TunnelBridge>;
  /** What was translated may be wrong now. */
  revalidateAll(): void;
  /** Sends a packet through a bridge's tables, as if nobody in particular had sent it. */
  inject(bridge: XlateBridge, packet: Uint8Array): void;
  /** The device of a tunnel. */
  netdevOf(owner: Owner): unknown;
}

export class TunnelSpace<Owner> implements XlateTunnels {
  readonly ports: TunnelPorts<Owner>;
  private readonly host: TunnelHost<Owner>;
  private readonly watch: Disposable;
  private readonly asked = new Map<string, number>();
  private macs: ReadonlySet<string> | null = null;
  private addresses: ReadonlySet<string> | null = null;
  private optionTable: readonly TunnelOption[] = [];

  constructor(host: TunnelHost<Owner>) {
    this.host = host;
    this.ports = new TunnelPorts(host.dpif);
    this.watch = network.onChange(() => this.changed());
  }

  [Symbol.dispose](): void {
    this.watch[Symbol.dispose]();
  }

  /** Routes, neighbors, addresses or devices are others now. */
  changed(): void {
    this.macs = null;
    this.addresses = null;
    const [first, last] = network.sourcePorts;
    this.host.dpif.setTunnels?.({ sourcePorts: [first, last - first + 1], options: this.optionTable });
    if (!this.isInUse) return;
    this.tellEgress();
    this.host.revalidateAll();
  }

  /** `Interface.status` of tunnels says by which device their packets leave. */
  private tellEgress(): void {
    for (const tunnel of this.ports.all()) {
      const netdev = this.host.netdevOf(tunnel.owner);
      if (!(netdev instanceof TunnelNetdev)) continue;
      const { config } = tunnel;
      const way = config.remoteFlow ? null : network.routes.lookup(config.remote, config.egressMark);
      netdev.setEgress(way && { name: way.device, carrier: true });
    }
  }

  /** After each sweep. */
  run(nowMs: number): void {
    network.neighbors.expire(nowMs);
  }

  /** After tunnels came or went. */
  portsChanged(): void {
    if (this.isInUse) network.start();
    this.changed();
  }

  // ---- what translation asks ----

  get isInUse(): boolean {
    return this.ports.size > 0;
  }

  get usesMarks(): boolean {
    return network.routes.all().some((r) => r.mark !== 0);
  }

  route(ip: Uint8Array, mark: number): Way | null {
    return network.routes.lookup(ip, mark);
  }

  mayComeFrom(ip: Uint8Array, mark: number): boolean {
    return network.routes.lookup(ip, mark)?.isLocal ?? false;
  }

  egress(device: string): Egress | null {
    for (const bridge of this.host.bridges) {
      const port = bridge.namedPort(device);
      if (port) return { bridge, port, mac: port.netdev.mac() };
    }
    return null;
  }

  neighbor(egress: Egress, ip: Uint8Array): Uint8Array | null {
    return network.neighbor(egress.bridge.name, egress.port.name, ip);
  }

  neighborUsed(egress: Egress, ip: Uint8Array, nowMs: number): void {
    network.neighbors.used(egress.bridge.name, ip, nowMs);
  }

  ask(egress: Egress, source: Uint8Array, ip: Uint8Array): void {
    const now = clock.nowMs();
    const key = `${egress.bridge.name} ${formatIp(ip)}`;
    if (now - (this.asked.get(key) ?? Number.NEGATIVE_INFINITY) < ASK_INTERVAL_MS) return;
    if (this.asked.size > 1000) this.asked.clear();
    this.asked.set(key, now);
    const packet = askPacket(egress.mac, source, ip);
    // Not within the translation that misses it.
    setImmediate(() => this.host.inject(egress.bridge, packet));
  }

  heard(bridge: XlateBridge, ip: Uint8Array, mac: Uint8Array, nowMs: number): void {
    network.neighbors.set(bridge.name, ip, mac, nowMs);
  }

  hasAddress(device: string): boolean {
    return network.addresses().some((a) => a.device === device);
  }

  isOurMac(mac: Uint8Array): boolean {
    if (this.macs === null) {
      const macs = new Set<string>();
      for (const bridge of this.host.bridges) {
        for (const { device } of network.addresses()) {
          const port = bridge.namedPort(device);
          if (port) macs.add(port.netdev.mac().join());
        }
      }
      this.macs = macs;
    }
    return this.macs.has(mac.join());
  }

  isOurAddress(ip: Uint8Array): boolean {
    this.addresses ??= new Set(network.addresses().map((a) => a.ip.join()));
    return this.addresses.has(ip.join());
  }

  listener(proto: number, dstPort: number): number | null {
    return this.ports.listener(proto, dstPort);
  }

  // ---- Geneve options ----

  get options(): readonly TunnelOption[] {
    return this.optionTable;
  }

  setOptions(options: readonly TunnelOption[]): void {
    this.optionTable = options;
    setDpTunnelOptions(options);
    this.changed();
    this.host.revalidateAll();
  }

  geneveOptions(flow: FlowKey, wc: FlowKey): GeneveOption[] {
    const out: GeneveOption[] = [];
    for (const o of this.optionTable) {
      const at = OFS.tun_metadata + 4 * o.field;
      const present = OFS.tun_metadata_present + 7 - (o.field >> 3);
      wc.u8.fill(0xff, at, at + o.length);
      wc.u8[present] |= 1 << (o.field & 7);
      const data = flow.u8.slice(at, at + o.length);
      const isPresent = (flow.u8[present] & (1 << (o.field & 7))) !== 0 || data.some((b) => b !== 0);
      if (isPresent) out.push({ optionClass: o.optionClass, type: o.type, data });
    }
    return out;
  }
}

const BROADCAST = new Uint8Array(6).fill(0xff);

/** An ARP request (RFC 826) or a neighbor solicitation (RFC 4861 4.3). */
function askPacket(mac: Uint8Array, source: Uint8Array, target: Uint8Array): Uint8Array {
  return target[10] === 0xff && target[11] === 0xff && target.subarray(0, 10).every((b) => b === 0)
    ? arpRequest(mac, source.subarray(12), target.subarray(12))
    : solicitation(mac, source, target);
}

function arpRequest(mac: Uint8Array, source: Uint8Array, target: Uint8Array): Uint8Array {
  const p = new Uint8Array(42);
  p.set(BROADCAST, 0);
  p.set(mac, 6);
  p.set([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1], 12);
  p.set(mac, 22);
  p.set(source, 28);
  p.set(target, 38);
  return p;
}

function solicitation(mac: Uint8Array, source: Uint8Array, target: Uint8Array): Uint8Array {
  const p = new Uint8Array(14 + 40 + 32);
  const group = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, target[13], target[14], target[15]);
  p.set([0x33, 0x33, ...group.subarray(12)], 0);
  p.set(mac, 6);
  p.set([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255], 12);
  p.set(source, 22);
  p.set(group, 38);
  p[54] = 135;
  p.set(target, 62);
  p.set([1, 1], 78);
  p.set(mac, 80);
  let sum = 32 + 58;
  for (let i = 22; i < p.length; i += 2) sum += (p[i] << 8) | p[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  p[56] = (~sum >> 8) & 0xff;
  p[57] = ~sum & 0xff;
  return p;
}
