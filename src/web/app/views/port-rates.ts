/** An interface's traffic. Tunnels share one port of the datapath, which has a name of its own. */
import type { NetInterface, PortRates, TopData } from '../../api.ts';

export const NO_RATES: PortRates = [0, 0, 0, 0, 0];

const SHARED: Readonly<Record<string, (options: Readonly<Record<string, string>>) => string>> = {
  vxlan: (o) => `vxlan_sys_${o['dst_port'] ?? '4789'}`,
  geneve: (o) => `genev_sys_${o['dst_port'] ?? '6081'}`,
  gre: () => 'gre_sys',
};

export function ratesOf(
  iface: NetInterface | null,
  ports: TopData['ports'] | undefined,
  patches: TopData['ports'] | undefined,
): PortRates {
  if (iface === null) return NO_RATES;
  const name = SHARED[iface.type]?.(iface.options) ?? iface.name;
  return ports?.[name] ?? patches?.[iface.name] ?? NO_RATES;
}
