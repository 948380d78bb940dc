/**
 * Tunnel ports. A tunnel has no packets of its own: the slow path turns an output to it into headers before the packet
 * and an output to another port, and what arrives for it is unpacked and comes in by the datapath port that all tunnels
 * of its type and UDP port share (`TunnelPortNetdev`). So this is configuration, and counters kept by the slow path.
 */
import { vlog } from '../base/vlog.ts';
import type { Netdev, NetdevEnv, NetdevKind, NetdevPort, PortSpec } from './netdev.ts';
import { SoftNetdev } from './soft-netdev.ts';
import { parseTunnelConfig, TUNNEL_TYPES, type TunnelConfig, type TunnelType } from './tunnel-config.ts';

const log = vlog('netdev_vport');

export class TunnelNetdev extends SoftNetdev {
  readonly type: TunnelType;
  readonly polled = false;
  private readonly env: NetdevEnv;
  private current: TunnelConfig | null = null;
  private currentOptions = '';
  private egress: { readonly name: string; readonly carrier: boolean } | null = null;

  constructor(name: string, type: TunnelType, env: NetdevEnv) {
    super(name);
    this.type = type;
    this.env = env;
  }

  /** Null until configured. */
  get config(): TunnelConfig | null {
    return this.current;
  }

  setConfig(options: ReadonlyMap<string, string>): string | null {
    const text = JSON.stringify([...options].sort());
    if (this.current !== null && text === this.currentOptions) return null;
    const parsed = parseTunnelConfig(this.name, this.type, options);
    if ('error' in parsed) {
      log.warn(parsed.error);
      return parsed.error;
    }
    if (parsed.warnings.length > 0) log.warn(parsed.warnings.join('\n'));
    this.current = parsed.config;
    this.currentOptions = text;
    this.changed();
    return null;
  }

  /** The device that the way to a fixed remote address leads by, found by who knows the routes. */
  setEgress(egress: { readonly name: string; readonly carrier: boolean } | null): void {
    if (egress?.name === this.egress?.name && egress?.carrier === this.egress?.carrier) return;
    this.egress = egress;
    this.changed();
  }

  override status(): ReadonlyMap<string, string> {
    if (!this.egress) return new Map();
    return new Map([
      ['tunnel_egress_iface', this.egress.name],
      ['tunnel_egress_iface_carrier', this.egress.carrier ? 'up' : 'down'],
    ]);
  }

  stats(): Record<string, never> {
    return {};
  }

  portSpec(): PortSpec {
    return { kind: this.type, name: this.name, nRxq: 0 };
  }

  [Symbol.dispose](): void {
    if (this.env.byName.get(this.name) === this) this.env.byName.delete(this.name);
  }
}

/** The datapath's port for all tunnels of a type and UDP port. */
export class TunnelPortNetdev extends SoftNetdev {
  readonly type: TunnelType;
  readonly polled = false;
  readonly dstPort: number;

  constructor(type: TunnelType, dstPort: number) {
    super(tunnelPortName(type, dstPort));
    this.type = type;
    this.dstPort = dstPort;
  }

  setConfig(): null {
    return null;
  }

  stats(): Record<string, never> {
    return {};
  }

  portSpec(): PortSpec {
    return { kind: this.type, name: this.name, nRxq: 0 };
  }

  [Symbol.dispose](): void {}
}

function tunnelPortName(type: TunnelType, dstPort: number): string {
  if (type === 'gre') return 'gre_sys';
  return type === 'geneve' ? `genev_sys_${dstPort}` : `${type}_sys_${dstPort}`;
}

const kindOf = (type: TunnelType): NetdevKind => ({
  type,
  open(name: string, env: NetdevEnv): Netdev {
    const netdev = new TunnelNetdev(name, type, env);
    env.byName.set(name, netdev);
    return netdev;
  },
  openPort(spec: PortSpec): NetdevPort {
    throw new Error(`${spec.name}: a tunnel has no packets of its own`);
  },
});

export const tunnelKinds: readonly NetdevKind[] = TUNNEL_TYPES.map(kindOf);
