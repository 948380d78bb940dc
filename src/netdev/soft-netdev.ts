/** What devices that exist only inside the switch have in common: an address, an MTU and a state that are just kept. */
import { ConfiguredNetdev } from './configured.ts';
import type { Netdev, NetdevQos, NetdevStats, PortSpec } from './netdev.ts';
import { EGRESS_POLICER, EgressPolicer } from './qos.ts';

let made = 0;

/** `aa:55:aa:55:00:NN`, counting up. */
function nextMac(): Uint8Array {
  const n = made++;
  return Uint8Array.of(0xaa, 0x55, 0xaa, 0x55, (n >> 8) & 0xff, n & 0xff);
}

const NO_FEATURES = { curr: 0, advertised: 0, supported: 0, peer: 0, speedMbps: null, fullDuplex: null } as const;

export abstract class SoftNetdev extends ConfiguredNetdev implements Netdev {
  abstract readonly type: string;
  abstract readonly polled: boolean;
  protected hasCarrier = true;
  private address = nextMac();
  private mtuBytes = 1500;
  private up = true;
  private resets = 0;
  readonly qos: NetdevQos = this.makeQos();

  /** There is nothing to shape by, but sending can be policed. */
  private makeQos(): NetdevQos {
    const egress = new EgressPolicer();
    return {
      types: [EGRESS_POLICER],
      get type() {
        return egress.isOn ? EGRESS_POLICER : '';
      },
      egress,
      set: (config) => {
        if (egress.set(config)) this.changed();
      },
      details: () => (egress.isOn ? egress.details() : []),
      queues: () => [],
      queueIds: () => [],
    };
  }

  abstract setConfig(options: ReadonlyMap<string, string>): string | null;
  abstract stats(): NetdevStats;
  abstract portSpec(): PortSpec;
  abstract [Symbol.dispose](): void;

  status(): ReadonlyMap<string, string> {
    return new Map();
  }

  mac(): Uint8Array {
    return this.address;
  }

  setMac(mac: Uint8Array): string | null {
    if (mac.every((byte, i) => byte === this.address[i])) return null;
    this.address = mac.slice(0, 6);
    this.changed();
    return null;
  }

  mtu(): number {
    return this.mtuBytes;
  }

  setMtu(mtu: number): string | null {
    if (mtu < 68 || mtu > 65535) return 'Invalid argument';
    if (mtu === this.mtuBytes) return null;
    this.mtuBytes = mtu;
    this.changed();
    return null;
  }

  ifindex(): number {
    return 0;
  }

  isUp(): boolean {
    return this.up;
  }

  setUp(up: boolean): string | null {
    if (up !== this.up) {
      this.up = up;
      this.changed();
    }
    return null;
  }

  carrier(): boolean {
    return this.hasCarrier;
  }

  protected setCarrier(carrier: boolean): void {
    if (carrier === this.hasCarrier) return;
    this.hasCarrier = carrier;
    if (carrier) this.resets++;
    this.changed();
  }

  linkResets(): number {
    return this.resets;
  }

  features(): ReturnType<Netdev['features']> {
    return NO_FEATURES;
  }
}
