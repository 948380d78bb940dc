/**
 * The tunnels of one datapath: which datapath port their packets come in by, to which of them a packet belongs, and
 * which packets are for tunnels at all.
 *
 * Tunnels of one type and UDP port share a datapath port. A packet belongs to the tunnel whose configuration fits it most
 * closely: fixed keys before keys of the flow, then fixed remote addresses, then fixed local ones.
 */
import { vlog } from '../../base/vlog.ts';
import type { Dpif } from '../../dpif/dpif.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { type TunnelNetdev, TunnelPortNetdev } from '../../netdev/tunnel.ts';
import { formatIp, mapIpv4, type TunnelConfig } from '../../netdev/tunnel-config.ts';
import { formatFlow } from '../xlate/flow-text.ts';

const log = vlog('tunnel');

export interface Tunnel<Owner> {
  readonly owner: Owner;
  readonly name: string;
  readonly config: TunnelConfig;
  readonly dpPort: number;
}

interface SharedPort {
  readonly netdev: TunnelPortNetdev;
  readonly no: number;
  users: number;
}

export class TunnelPorts<Owner> {
  private readonly dpif: Dpif;
  private readonly shared = new Map<string, Promise<SharedPort | { readonly error: string }>>();
  private readonly opened = new Map<number, SharedPort>();
  private readonly byKey = new Map<string, Tunnel<Owner>>();
  private readonly byName = new Map<string, Tunnel<Owner>>();

  constructor(dpif: Dpif) {
    this.dpif = dpif;
  }

  get size(): number {
    return this.byName.size;
  }

  /** Puts a tunnel into service; resolves with its datapath port. */
  async add(netdev: TunnelNetdev, owner: Owner): Promise<{ readonly dpPort: number } | { readonly error: string }> {
    const { config } = netdev;
    if (!config) return { error: 'Invalid argument' };
    const port = await this.acquire(config);
    if ('error' in port) return port;
    const key = keyOf(config, port.no);
    const other = this.byKey.get(key);
    if (other) {
      const text = matchText(config, port.no);
      log.warn(`${netdev.name}: attempting to add tunnel port with same config as port '${other.name}' (${text})`);
      await this.release(config, port);
      return { error: 'File exists' };
    }
    const tunnel = { owner, name: netdev.name, config, dpPort: port.no };
    this.byKey.set(key, tunnel);
    this.byName.set(netdev.name, tunnel);
    return { dpPort: port.no };
  }

  async remove(name: string): Promise<void> {
    const tunnel = this.byName.get(name);
    if (!tunnel) return;
    this.byName.delete(name);
    this.byKey.delete(keyOf(tunnel.config, tunnel.dpPort));
    const port = this.opened.get(tunnel.dpPort);
    if (port) await this.release(tunnel.config, port);
  }

  configOf(name: string): TunnelConfig | undefined {
    return this.byName.get(name)?.config;
  }

  private async acquire(config: TunnelConfig): Promise<SharedPort | { readonly error: string }> {
    const id = `${config.type}:${config.dstPort}`;
    let opening = this.shared.get(id);
    if (!opening) {
      opening = this.open(config);
      this.shared.set(id, opening);
    }
    const port = await opening;
    if ('error' in port) this.shared.delete(id);
    else port.users++;
    return port;
  }

  private async open(config: TunnelConfig): Promise<SharedPort | { readonly error: string }> {
    const netdev = new TunnelPortNetdev(config.type, config.dstPort);
    const added = await this.dpif.portAdd(netdev, null);
    if ('error' in added) return added;
    const port = { netdev, no: added.no, users: 0 };
    this.opened.set(added.no, port);
    return port;
  }

  private async release(config: TunnelConfig, port: SharedPort): Promise<void> {
    if (--port.users > 0) return;
    this.shared.delete(`${config.type}:${config.dstPort}`);
    this.opened.delete(port.no);
    await this.dpif.portDel(port.no);
  }

  isTunnelPort(dpPort: number): boolean {
    return this.opened.has(dpPort);
  }

  /** The tunnel that a packet with this key came out of; the log tells when there is none. */
  receive(key: FlowKey): Tunnel<Owner> | null {
    const remote = address(key, OFS.tun_src, OFS.tun_ipv6_src);
    const local = address(key, OFS.tun_dst, OFS.tun_ipv6_dst);
    const port = key.get32(OFS.in_port);
    const id = key.get64(OFS.tun_id);
    for (const keyFlow of [false, true]) {
      for (const remoteFlow of [false, true]) {
        for (const localKind of LOCAL_KINDS) {
          const tunnel = this.byKey.get(
            [
              port,
              keyFlow ? 'flow' : id,
              remoteFlow ? 'flow' : remote,
              localKind === 'fixed' ? local : localKind === 'any' ? ANY : 'flow',
            ].join(' '),
          );
          if (tunnel && carries(tunnel.config, key)) return tunnel;
        }
      }
    }
    if (log.isEnabled('warn')) log.rl(60).warn(`receive tunnel port not found (${formatFlow(key)})`);
    return null;
  }

  /** Which tunnels' datapath port takes packets of this protocol and UDP port. */
  listener(proto: number, dstPort: number): number | null {
    for (const { netdev, no } of this.opened.values()) {
      if (proto === 47 ? netdev.type === 'gre' : netdev.type !== 'gre' && netdev.dstPort === dstPort) return no;
    }
    return null;
  }

  /** What `tnl/ports/show` lists. */
  listening(): { readonly name: string; readonly no: number; readonly users: number; readonly dstPort: number }[] {
    return [...this.opened.values()].map(({ netdev, no, users }) => ({
      name: netdev.name,
      no,
      users,
      dstPort: netdev.type === 'gre' ? 0 : netdev.dstPort,
    }));
  }

  all(): Iterable<Tunnel<Owner>> {
    return this.byName.values();
  }
}

const LOCAL_KINDS = ['fixed', 'any', 'flow'] as const;
const ANY = formatIp(new Uint8Array(16));

/** Is it a kind of packet that the tunnel takes? */
const carries = ({ packetType }: TunnelConfig, key: FlowKey): boolean =>
  packetType === 'ptap' || (packetType === 'legacy_l3') === (key.get32(OFS.packet_type) !== 0);

function address(key: FlowKey, v4: number, v6: number): string {
  const four = key.u8.subarray(v4, v4 + 4);
  return four.some((b) => b !== 0) ? formatIp(mapIpv4(four)) : formatIp(key.u8.subarray(v6, v6 + 16));
}

function keyOf(c: TunnelConfig, dpPort: number): string {
  return [
    dpPort,
    c.inKey.flow ? 'flow' : c.inKey.value,
    c.remoteFlow ? 'flow' : formatIp(c.remote),
    c.localFlow ? 'flow' : formatIp(c.local),
  ].join(' ');
}

const hex = (n: bigint | number): string => (n === 0n || n === 0 ? '0' : `0x${n.toString(16)}`);

function matchText(c: TunnelConfig, dpPort: number): string {
  const local = c.localFlow ? 'flow' : formatIp(c.local);
  const remote = c.remoteFlow ? 'flow' : formatIp(c.remote);
  return `${local}->${remote}, key=${c.inKey.flow ? 'flow' : hex(c.inKey.value)}, ${c.packetType}, dp port=${dpPort}`;
}

/** `ofproto/list-tunnels` */
export function describeTunnel(t: Tunnel<unknown>): string {
  const c = t.config;
  let text = `port ${t.dpPort}: ${t.name} (${c.type}: ${matchText(c, t.dpPort)}`;
  const isOneKey = c.inKey.flow === c.outKey.flow && c.inKey.value === c.outKey.value;
  if (!isOneKey) text += `, out_key=${c.outKey.flow ? 'flow' : hex(c.outKey.value)}`;
  text += `, ttl=${c.ttlInherit ? 'inherit' : c.ttl}`;
  if (c.tosInherit) text += ', tos=inherit';
  else if (c.tos !== 0) text += `, tos=${hex(c.tos)}`;
  if (!c.dontFragment) text += ', df=false';
  if (c.csum) text += ', csum=true';
  return `${text})`;
}
