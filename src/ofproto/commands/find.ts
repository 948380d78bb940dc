/** Finding the bridge or the datapath that a command names. */
import { UnixctlError } from '../../base/commands.ts';
import type { Backer } from '../backer.ts';
import type { Bridge } from '../bridge.ts';

export type Backers = () => Iterable<Backer>;

/** All bridges, in the order of their names. */
export function allBridges(backers: Backers): Bridge[] {
  return [...backers()].flatMap((b) => [...b.bridges]).sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function findBridge(backers: Backers, name: string, error: string): Bridge {
  const bridge = allBridges(backers).find((b) => b.name === name);
  if (!bridge) throw new UnixctlError(error);
  return bridge;
}

/** As users and the original name a datapath: `netdev@ovs-netdev`. */
export function datapathName(backer: Backer): string {
  return `${backer.dpif.type}@${backer.dpif.name}`;
}

/** Does `text` (`type@name` or a name alone) mean this datapath? */
export function isNamed(backer: Backer, text: string): boolean {
  const at = text.indexOf('@');
  const type = at < 0 ? 'system' : text.slice(0, at);
  const name = at < 0 ? text : text.slice(at + 1);
  return type === backer.dpif.type && name === backer.dpif.name;
}
