/**
 * LLDP on one port, as auto-attach uses it: the switch says who it is and which VLANs it wants joined to which networks, and
 * remembers whom it hears. `ovs-vswitchd.conf.db(5)`, "AutoAttach TABLE"
 *
 * As in the original nothing is sent until some bridge has an `auto_attach` row.
 */
import { clock } from '../base/clock.ts';
import { SlowReason } from '../flow/dp-actions.ts';
import { OFS } from '../flow/layout.ts';
import { type AutoAttachMapping, buildLldp, LLDP_TYPE, type LldpNeighbor, readLldp } from '../packet/lldp.ts';
import type { Bridge } from './bridge.ts';
import { macText } from './mac-learning.ts';
import type { OfPort } from './ofport.ts';
import { setProtocol } from './protocols.ts';
import { sendFrame } from './send-frame.ts';

const TX_INTERVAL_MS = 5000;
const TTL_SECONDS = 120;

export interface AutoAttachConfig {
  readonly systemName: string;
  readonly systemDescription: string;
  readonly mappings: readonly AutoAttachMapping[];
}

interface Heard {
  readonly neighbor: LldpNeighbor;
  readonly expiresMs: number;
}

export class Lldp {
  readonly stats = { tx: 0, rx: 0, discarded: 0, unrecognized: 0, ageout: 0, insert: 0, delete: 0, drop: 0 };
  private readonly bridge: Bridge;
  private readonly port: OfPort;
  private readonly heard = new Map<string, Heard>();
  private readonly timer: Disposable;

  constructor(bridge: Bridge, port: OfPort) {
    this.bridge = bridge;
    this.port = port;
    this.timer = clock.setInterval(() => this.run(), TX_INTERVAL_MS, { keepAlive: false });
  }

  get neighbors(): LldpNeighbor[] {
    return [...this.heard.values()].map(({ neighbor }) => neighbor);
  }

  get autoAttach(): AutoAttachConfig | null {
    return this.bridge.backer.autoAttach(this.bridge);
  }

  private run(): void {
    const now = clock.nowMs();
    for (const [key, { expiresMs }] of this.heard) {
      if (now < expiresMs) continue;
      this.heard.delete(key);
      this.stats.ageout++;
    }
    const config = this.autoAttach;
    if (!config || !this.port.hasLink) return;
    const mac = this.port.netdev.mac();
    const advert = { chassis: mac, portName: this.port.name, ttlSeconds: TTL_SECONDS, ...config };
    this.stats.tx++;
    sendFrame(this.bridge, this.port.ofport, buildLldp(mac, advert));
  }

  receive(frame: Uint8Array): void {
    const neighbor = readLldp(frame);
    this.stats.rx++;
    if (!neighbor) {
      this.stats.discarded++;
      return;
    }
    const key = macText(neighbor.chassis);
    if (neighbor.ttlSeconds === 0) {
      if (this.heard.delete(key)) this.stats.delete++;
      return;
    }
    if (!this.heard.has(key)) this.stats.insert++;
    this.heard.set(key, { neighbor, expiresMs: clock.nowMs() + neighbor.ttlSeconds * 1000 });
  }

  close(): void {
    this.timer[Symbol.dispose]();
  }
}

export function startLldp(bridge: Bridge, port: OfPort): void {
  const lldp = new Lldp(bridge, port);
  port.lldp = lldp;
  setProtocol(port, 'lldp', {
    reason: SlowReason.lldp,
    claims: (flow) => flow.get16(OFS.eth_type) === LLDP_TYPE,
    receive: (packet) => lldp.receive(packet),
  });
  bridge.backer.revalidateAll();
}

export function stopLldp(port: OfPort): void {
  port.lldp?.close();
  port.lldp = null;
  setProtocol(port, 'lldp', null);
}
