/** A bridge's mirrors as configured, and what has passed through them. */
import type { MirrorConfig } from './ofproto.ts';
import type { XlateMirror, XlateMirrors } from './xlate/mirror.ts';
import type { XlateBundle } from './xlate/types.ts';

/** Sets of mirrors are the bits of a number. */
export const MAX_MIRRORS = 32;

interface Counts {
  packets: number;
  bytes: number;
}

export class Mirrors implements XlateMirrors {
  readonly list: readonly XlateMirror[];
  private readonly configs: readonly MirrorConfig[];
  private readonly counts: ReadonlyMap<string, Counts>;

  /** `before` are those that these follow; counters of mirrors that stay go on. */
  constructor(
    configs: readonly MirrorConfig[],
    bundle: (name: string) => XlateBundle | undefined,
    before: Mirrors | null,
  ) {
    this.configs = configs.slice(0, MAX_MIRRORS);
    this.counts = new Map(this.configs.map(({ id }) => [id, before?.counts.get(id) ?? { packets: 0, bytes: 0 }]));
    this.list = this.configs.map((config) => {
      const { id, output, snaplen, vlans } = config;
      return {
        duplicates: this.bits((other) => sameOutput(other, config)),
        vlans: vlans.length > 0 ? new Set(vlans) : null,
        // The port may come and go while the mirror stays.
        output: 'port' in output ? lazyBundle(() => bundle(output.port) ?? null) : output,
        snaplen,
        credit: (packets, bytes) => {
          const counts = this.counts.get(id);
          if (!counts) return;
          counts.packets += packets;
          counts.bytes += bytes;
        },
      };
    });
  }

  private bits(isWanted: (config: MirrorConfig) => boolean): number {
    return this.configs.reduce((set, config, i) => (isWanted(config) ? set | (1 << i) : set), 0);
  }

  ofReceived({ name }: XlateBundle): number {
    return this.bits((m) => m.receivedBy === 'all' || m.receivedBy.includes(name));
  }

  ofSent({ name }: XlateBundle): number {
    return this.bits((m) => m.sentBy === 'all' || m.sentBy.includes(name));
  }

  isOutput({ name }: XlateBundle): boolean {
    return this.configs.some(({ output }) => 'port' in output && output.port === name);
  }

  statistics(id: string): Readonly<Counts> | null {
    return this.counts.get(id) ?? null;
  }

  equals(configs: readonly MirrorConfig[]): boolean {
    return JSON.stringify(this.configs) === JSON.stringify(configs.slice(0, MAX_MIRRORS));
  }
}

function sameOutput({ output: a }: MirrorConfig, { output: b }: MirrorConfig): boolean {
  return 'port' in a ? 'port' in b && a.port === b.port : 'vlan' in b && a.vlan === b.vlan;
}

function lazyBundle(find: () => XlateBundle | null): { readonly bundle: XlateBundle | null } {
  return {
    get bundle() {
      return find();
    },
  };
}
