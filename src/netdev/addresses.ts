/** Addresses of simulated devices, which no kernel knows: what `netdev-dummy/ip4addr` and `ip6addr` set. */

export interface DeviceAddress {
  readonly device: string;
  /** 16 bytes, IPv4 as `::ffff:a.b.c.d`. */
  readonly ip: Uint8Array;
  /** Of 128 bits. */
  readonly prefixLength: number;
}

const simulated = new Map<string, Map<'4' | '6', DeviceAddress>>();
const listeners = new Set<() => void>();

export function setSimulatedAddress(address: DeviceAddress, family: '4' | '6'): void {
  const of = simulated.get(address.device) ?? new Map<'4' | '6', DeviceAddress>();
  of.set(family, address);
  simulated.set(address.device, of);
  for (const listener of [...listeners]) listener();
}

export function simulatedAddresses(): DeviceAddress[] {
  return [...simulated.values()].flatMap((of) => [...of.values()]);
}

export function onSimulatedAddress(listener: () => void): Disposable {
  listeners.add(listener);
  return { [Symbol.dispose]: () => void listeners.delete(listener) };
}
