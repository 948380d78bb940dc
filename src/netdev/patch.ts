/**
 * A patch port: one end of a cable between two bridges. No packet ever passes a patch port in the datapath; the slow path
 * translates through it. So this is only a name and its peer's name.
 */
import type { Netdev, NetdevEnv, NetdevKind, NetdevPort, PortSpec } from './netdev.ts';
import { SoftNetdev } from './soft-netdev.ts';

export class PatchNetdev extends SoftNetdev {
  readonly type = 'patch';
  readonly polled = false;
  private readonly env: NetdevEnv;
  private peerName: string | null = null;

  constructor(name: string, env: NetdevEnv) {
    super(name);
    this.env = env;
  }

  /** `options:peer`; null until configured. */
  get peer(): string | null {
    return this.peerName;
  }

  setConfig(options: ReadonlyMap<string, string>): string | null {
    const peer = options.get('peer');
    if (peer === undefined) return `${this.name}: patch type requires valid 'peer' argument`;
    if (options.size > 1) return `${this.name}: patch type takes only a 'peer' argument`;
    if (peer === this.name) return `${this.name}: patch peer must not be self`;
    if (peer !== this.peerName) {
      this.peerName = peer;
      this.changed();
    }
    return null;
  }

  /** The slow path finds the other end by this. */
  override status(): ReadonlyMap<string, string> {
    return this.peerName === null ? new Map() : new Map([['peer', this.peerName]]);
  }

  stats(): Record<string, never> {
    return {};
  }

  portSpec(): PortSpec {
    return { kind: 'patch', name: this.name, nRxq: 0 };
  }

  [Symbol.dispose](): void {
    if (this.env.byName.get(this.name) === this) this.env.byName.delete(this.name);
  }
}

export const patchKind: NetdevKind = {
  type: 'patch',
  open(name: string, env: NetdevEnv): Netdev {
    const netdev = new PatchNetdev(name, env);
    env.byName.set(name, netdev);
    return netdev;
  },
  openPort(spec: PortSpec): NetdevPort {
    throw new Error(`${spec.name}: a patch port has no packets of its own`);
  },
};
