/**
 * What tunnels of all bridges share with the machine they run on: routes, addresses and neighbors. There is one for the
 * process; it reads the kernel's tables when they change and simulated devices' addresses when they are set.
 */
import { clock } from '../../base/clock.ts';
import { vlog } from '../../base/vlog.ts';
import { type KernelAddress, kernelNeighbor, readAddresses, readRoutes, watchRoutes } from '../../linux/route.ts';
import { onSimulatedAddress, simulatedAddresses } from '../../netdev/addresses.ts';
import { Neighbors } from './neighbors.ts';
import { type Address, ANY, type RouteSpec, Routes } from './routes.ts';

const log = vlog('ovs_router');

export class TunnelNetwork {
  readonly routes = new Routes();
  readonly neighbors = new Neighbors();
  /** UDP source ports, first and last. */
  sourcePorts: readonly [number, number] = [32768, 61000];
  private readonly listeners = new Set<() => void>();
  private kernelAddresses: readonly KernelAddress[] = [];
  private watch: Disposable | null = null;
  private all: readonly Address[] = [];

  constructor() {
    this.neighbors.onChange = () => this.changed();
    onSimulatedAddress(() => {
      this.gather();
      this.changed();
    });
  }

  /** Follows the kernel from now on; harmless when called again. */
  start(): void {
    if (this.watch) return;
    try {
      this.watch = watchRoutes(() => this.refresh());
      this.refresh();
    } catch (error) {
      log.warn(`cannot follow the kernel's routes (${error instanceof Error ? error.message : String(error)})`);
    }
  }

  refresh(): void {
    try {
      this.kernelAddresses = readAddresses();
      const specs = readRoutes().map((r): RouteSpec => ({ ...r, kind: 'Cached', mark: 0, gateway: r.gateway ?? ANY }));
      this.gather();
      this.routes.setCached(specs, this.all);
    } catch (error) {
      log.rl(1).warn(`reading the kernel's routes failed (${error instanceof Error ? error.message : String(error)})`);
    }
    this.changed();
  }

  private gather(): void {
    this.all = [...simulatedAddresses(), ...this.kernelAddresses];
  }

  addresses(): readonly Address[] {
    return this.all;
  }

  /** Asks the kernel, too: its neighbors are as good as those we heard of. */
  neighbor(bridge: string, device: string, ip: Uint8Array): Uint8Array | null {
    const now = clock.nowMs();
    const known = this.neighbors.lookup(bridge, ip, now);
    if (known || !this.kernelAddresses.some((a) => a.device === device)) return known;
    return kernelNeighbor(device, ip);
  }

  /** Called after anything that tunnels depend on has changed. */
  onChange(listener: () => void): Disposable {
    this.listeners.add(listener);
    return { [Symbol.dispose]: () => void this.listeners.delete(listener) };
  }

  changed(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

export const network: TunnelNetwork = new TunnelNetwork();
