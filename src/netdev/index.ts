/** The door to this room: every kind of device by its `Interface.type`, and every packet half by its spec's `kind`. */
import { dummyKind, dummyPmdKind } from './dummy.ts';
import type { Netdev, NetdevEnv, NetdevKind, NetdevPort, PortContext, PortSpec } from './netdev.ts';
import { nullKind } from './null.ts';
import { patchKind } from './patch.ts';
import { pcapKind } from './pcap.ts';
import { afxdpKind, afxdpNonpmdKind, systemKind } from './system.ts';
import { internalKind, tapKind } from './tap.ts';
import { tunnelKinds } from './tunnel.ts';

/** In the order that `iface_types` lists them. */
const KINDS: readonly NetdevKind[] = [
  afxdpKind,
  afxdpNonpmdKind,
  dummyKind,
  dummyPmdKind,
  internalKind,
  nullKind,
  patchKind,
  pcapKind,
  systemKind,
  tapKind,
  ...tunnelKinds,
].sort((a, b) => (a.type < b.type ? -1 : 1));
const BY_TYPE = new Map(KINDS.map((k) => [k.type, k]));

/** Which file drives the packets of a spec. */
const BY_SPEC = new Map<string, NetdevKind>([
  ['af_packet', systemKind],
  ['af_xdp', systemKind],
  ['tap', tapKind],
  ['null', nullKind],
  ['dummy', dummyKind],
  ['pcap', pcapKind],
]);

export function netdevTypes(): string[] {
  return [...BY_TYPE.keys()];
}

/** Opens the device `name` of `type` ('' is `system`). Never throws. */
export function openNetdev(name: string, type: string, env: NetdevEnv): Netdev | { readonly error: string } {
  const kind = BY_TYPE.get(type === '' ? 'system' : type);
  if (!kind) return { error: `could not create netdev ${name} of unknown type ${type}` };
  try {
    return kind.open(name, env);
  } catch (e) {
    return { error: e instanceof Error ? e.message : String(e) };
  }
}

/** What the kernel held of a port that is gone comes back to `context.pool`. */
export function reclaimNetdevPort(spec: PortSpec, context: PortContext): void {
  BY_SPEC.get(spec.kind)?.reclaim?.(spec, context);
}

/** Makes the packet half in the thread that polls it. */
export function openNetdevPort(spec: PortSpec, context: PortContext): NetdevPort {
  const kind = BY_SPEC.get(spec.kind);
  if (!kind) throw new Error(`no packet half of kind ${spec.kind}`);
  return kind.openPort(spec, context);
}
