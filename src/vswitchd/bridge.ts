/** A bridge of the database at work: one `Ofproto`, its interfaces, and the bundles that its ports make of them. */

import { ovsRundir } from '../base/dirs.ts';
import { vlog } from '../base/vlog.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import type { Ofproto } from '../ofproto/ofproto.ts';
import { AutoAttachTrunks } from './auto-attach.ts';
import { type BridgeSpec, bundleOf, type InterfaceSpec } from './config.ts';
import { bfdConfig, cfmConfig } from './health.ts';
import { Interface, isLoopback, type TypeMapper } from './interface.ts';
import { rstpSetup, stpSetup } from './spanning-tree.ts';

const log = vlog('bridge');

export interface BridgeDeps {
  readonly env: NetdevEnv;
  readonly mapType: TypeMapper;
  /** Something about a device changed. */
  readonly onNews: () => void;
  /** Whether port numbers of an earlier run, which the database remembers, are to be kept. */
  readonly keepOfports: () => boolean;
  /** Flows are being restored, so that controllers wait. */
  readonly isRestoring: () => boolean;
}

export class Bridge {
  readonly name: string;
  readonly ofproto: Ofproto;
  readonly datapathType: string;
  readonly interfaces = new Map<string, Interface>();
  readonly autoAttachTrunks = new AutoAttachTrunks();
  datapathId = 0n;
  spec: BridgeSpec;
  private readonly deps: BridgeDeps;
  private readonly bundles = new Set<string>();

  constructor(spec: BridgeSpec, ofproto: Ofproto, deps: BridgeDeps) {
    this.name = spec.name;
    this.spec = spec;
    this.ofproto = ofproto;
    this.datapathType = spec.datapathType;
    this.deps = deps;
    ofproto.onStatus = () => deps.onNews();
  }

  /** Removes what the new configuration does not have, of all bridges before any adds, so that a device may move. */
  async shrink(spec: BridgeSpec): Promise<void> {
    this.spec = spec;
    const wanted = new Map(allInterfaces(spec).map((iface) => [iface.name, iface]));
    const ports = new Set(spec.ports.map((port) => port.name));
    for (const name of [...this.bundles]) {
      if (ports.has(name)) continue;
      this.ofproto.removeBundle(name);
      this.bundles.delete(name);
    }
    for (const iface of [...this.interfaces.values()]) {
      const next = wanted.get(iface.name);
      const isSame =
        next !== undefined &&
        next.type === iface.spec.type &&
        // How a device is driven is decided when it is opened.
        next.options.get('xdp-mode') === iface.spec.options.get('xdp-mode') &&
        !(iface.ofport !== null && this.mustMove(iface.ofport, next, wanted)) &&
        !(iface.netdev !== null && iface.isStale());
      if (isSame) {
        iface.spec = next;
        continue;
      }
      await this.removeInterface(iface);
    }
  }

  /** Whether a port has to be made anew to get the number it asks for, and would get it. */
  private mustMove(ofport: number, next: InterfaceSpec, wanted: ReadonlyMap<string, InterfaceSpec>): boolean {
    const request = next.ofportRequest;
    if (request === null || request === ofport) return false;
    for (const other of this.interfaces.values()) {
      if (other.ofport !== request) continue;
      const stays = wanted.get(other.name);
      return stays === undefined || (stays.ofportRequest !== null && stays.ofportRequest !== request);
    }
    return true;
  }

  /** Adds and configures everything. */
  async grow(): Promise<void> {
    const { spec } = this;
    const specs = allInterfaces(spec);
    // Those that ask for a number, or had one before, come first, so that nobody else has it by then.
    const rank = (one: InterfaceSpec) => (one.ofportRequest !== null ? 0 : one.lastOfport !== null ? 1 : 2);
    for (const iface of [...specs].sort((one, other) => rank(one) - rank(other))) await this.addInterface(iface);
    const localMac = this.chooseMac();
    const mtu = this.internalMtu();
    for (const iface of this.interfaces.values()) iface.configure(iface.name === this.name ? localMac : null, mtu);
    this.datapathId = spec.datapathId ?? (spec.hwaddr === null ? macNumber(localMac) : macNumber(spec.hwaddr));
    this.ofproto.setConfig({
      ...spec.ofproto,
      datapathId: this.datapathId,
      rundir: ovsRundir(),
      isRestoring: this.deps.isRestoring(),
    });
    for (const port of spec.ports) {
      const members = port.interfaces.flatMap((spec) => {
        const ofport = this.interfaces.get(spec.name)?.ofport ?? null;
        return ofport === null ? [] : [{ spec, ofport }];
      });
      if (members.length > 0) {
        this.ofproto.setBundle(bundleOf(port, members));
        this.bundles.add(port.name);
      } else if (this.bundles.delete(port.name)) {
        this.ofproto.removeBundle(port.name);
      }
    }
    for (const { ofport, spec: one } of this.interfaces.values()) {
      if (ofport === null) continue;
      this.ofproto.setBfd(ofport, bfdConfig(one.bfd ?? new Map()));
      this.ofproto.setCfm(ofport, cfmConfig(one));
      this.ofproto.setLldp(ofport, one.lldp ?? false);
    }
    this.ofproto.setAutoAttach(spec.autoAttach);
    this.autoAttachTrunks.update(
      spec.autoAttach,
      spec.ports.map(({ name }) => name).filter((name) => this.interfaces.get(name)?.spec.lldp === true),
    );
    this.ofproto.setExporters(spec.exporters);
    const ofportOf = (name: string): number | null => this.interfaces.get(name)?.ofport ?? null;
    this.ofproto.setStp(stpSetup(spec, ofportOf));
    this.ofproto.setRstp(rstpSetup(spec, ofportOf));
    this.ofproto.setMirrors(spec.mirrors.map(({ config }) => config));
  }

  private async addInterface(spec: InterfaceSpec): Promise<void> {
    let iface = this.interfaces.get(spec.name);
    if (iface?.ofport !== undefined && iface.ofport !== null) return;
    if (iface === undefined) {
      iface = new Interface(spec, this.deps.env, this.deps.onNews);
      this.interfaces.set(spec.name, iface);
    }
    const netdev = iface.open(this.deps.mapType);
    if (netdev === null) return;
    if (isLoopback(netdev)) {
      vlog('dpif_netdev').err(`${spec.name}: cannot add a loopback device`);
      iface.fail(`could not add network device ${spec.name} to ofproto (Invalid argument)`);
      return;
    }
    const request = spec.ofportRequest ?? (this.deps.keepOfports() ? spec.lastOfport : null);
    const added = await this.ofproto.portAdd(netdev, request);
    if ('error' in added) {
      iface.fail(`could not add network device ${spec.name} to ofproto (${added.error})`);
      return;
    }
    iface.ofport = added.ofport;
    log.info(`bridge ${this.name}: added interface ${spec.name} on port ${added.ofport}`);
  }

  private async removeInterface(iface: Interface): Promise<void> {
    this.interfaces.delete(iface.name);
    if (iface.ofport !== null) {
      log.info(`bridge ${this.name}: deleted interface ${iface.name} on port ${iface.ofport}`);
      await this.ofproto.portDel(iface.ofport);
    }
    iface.close();
  }

  /**
   * The address of the bridge's own device: as configured, else the lowest global address of a physical device in the bridge, else
   * one made from the bridge's UUID, which stays the same over restarts.
   */
  private chooseMac(): Uint8Array {
    if (this.spec.hwaddr !== null) return this.spec.hwaddr;
    let lowest: Uint8Array | null = null;
    for (const iface of this.interfaces.values()) {
      if (iface.name === this.name || iface.ofport === null || iface.netdev === null) continue;
      if (iface.spec.type === 'internal' || iface.spec.type === 'patch') continue;
      const mac = iface.spec.mac ?? iface.netdev.mac();
      const isUsable = (mac[0] & 3) === 0 && mac.some((byte) => byte !== 0);
      if (isUsable && (lowest === null || Buffer.compare(mac, lowest) < 0)) lowest = mac;
    }
    return lowest ?? macOfUuid(this.spec.row.uuid);
  }

  /** What devices of the bridge itself are given: the least that any other port takes. Null where there is none. */
  private internalMtu(): number | null {
    let least: number | null = null;
    for (const iface of this.interfaces.values()) {
      const { netdev, spec } = iface;
      if (netdev === null || iface.ofport === null || !netdev.polled || spec.type === 'internal') continue;
      least = Math.min(least ?? netdev.mtu(), netdev.mtu());
    }
    return least;
  }

  /** Whether trying again may help a device that is missing, or one is missing that was there. */
  hasStaleInterfaces(): boolean {
    for (const iface of this.interfaces.values()) if (iface.isStale()) return true;
    return false;
  }

  async destroy(): Promise<void> {
    for (const iface of [...this.interfaces.values()]) await this.removeInterface(iface);
    await this.ofproto.destroy();
  }
}

function allInterfaces(spec: BridgeSpec): InterfaceSpec[] {
  return spec.ports.flatMap((port) => port.interfaces);
}

function macNumber(mac: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(mac).toString('hex')}`);
}

/** Local and unicast, from the UUID's first bytes. */
export function macOfUuid(uuid: string): Uint8Array {
  const hex = uuid.replaceAll('-', '');
  const byte = (i: number) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  // The original reads the UUID as 32-bit numbers in the machine's order, which is little-endian.
  const mac = Uint8Array.of(byte(3), byte(2), byte(1), byte(0), byte(7), byte(6));
  mac[0] = (mac[0] & 0xfe) | 2;
  return mac;
}
