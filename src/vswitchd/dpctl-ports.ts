/**
 * `dpctl/add-dp` and its like: datapaths and ports without bridges, for whoever works on a datapath by hand. `ovs-dpctl(8)`
 */
import { MANY_ARGS, registerCommand, UnixctlError } from '../base/commands.ts';
import type { Dpif, DpPort } from '../dpif/dpif.ts';
import { openNetdev } from '../netdev/index.ts';
import type { Netdev, NetdevEnv } from '../netdev/netdev.ts';
import { findDatapath } from '../ofproto/index.ts';
import type { Datapaths } from './datapaths.ts';

function fail(text: string): never {
  throw new UnixctlError(`ovs-vswitchd: ${text}`);
}

interface Wanted {
  readonly name: string;
  readonly type: string | null;
  readonly portNo: number | null;
  /** '' takes an option away. */
  readonly options: ReadonlyMap<string, string>;
}

/** `eth0,type=system,port_no=3,key=value`; what is no option is passed over, as the original does. */
function parseInterface(text: string): Wanted {
  const [name, ...rest] = text.split(',');
  const options = new Map<string, string>();
  let type: string | null = null;
  let portNo: number | null = null;
  for (const part of rest) {
    const at = part.indexOf('=');
    if (at < 0) continue;
    const key = part.slice(0, at);
    const value = part.slice(at + 1);
    if (key === 'type') type = value;
    else if (key === 'port_no') portNo = Number.parseInt(value, 10);
    else options.set(key, value);
  }
  return { name, type, portNo, options };
}

export function registerDpctlPortCommands(datapaths: Datapaths, env: NetdevEnv): void {
  /** Frames of a datapath in this thread are none of those that AF_XDP could use. */
  const standaloneEnv: NetdevEnv = { ...env, frames: { at: 0, bytes: 0 } };
  /** Of devices that were added by hand; they are ours to close. */
  const byHand = new Map<Netdev, Map<string, string>>();

  const open = (name: string): Dpif => findDatapath(name)?.dpif ?? fail('opening datapath (No such device)');
  const portNamed = (dpif: Dpif, name: string): DpPort | undefined =>
    [...dpif.ports()].find((p) => p.netdev.name === name);

  const addInterface = async (dpif: Dpif, dpName: string, wanted: Wanted): Promise<string | null> => {
    const { name, options } = wanted;
    if (portNamed(dpif, name)) return `adding ${name} to ${dpName} failed (File exists)`;
    const type = datapaths.mapInterfaceType(wanted.type ?? 'system', dpif.type);
    const netdev =
      type === null
        ? { error: 'of unknown type' }
        : openNetdev(name, type, datapaths.isStandalone(dpif) ? standaloneEnv : env);
    if ('error' in netdev) {
      const reason = /of unknown type/.test(netdev.error)
        ? 'Address family not supported by protocol'
        : (/\(([^()]+)\)$/.exec(netdev.error)?.[1] ?? netdev.error);
      return `${name}: failed to open network device (${reason})`;
    }
    if (netdev.setConfig(options) !== null) {
      netdev[Symbol.dispose]();
      return `${name}: failed to configure network device (Invalid argument)`;
    }
    const added = await dpif.portAdd(netdev, wanted.portNo);
    if ('error' in added) {
      netdev[Symbol.dispose]();
      return `adding ${name} to ${dpName} failed (${added.error})`;
    }
    byHand.set(netdev, new Map(options));
    return null;
  };

  const addInterfaces = async (dpif: Dpif, dpName: string, list: readonly string[]): Promise<string> => {
    const wrong: string[] = [];
    for (const text of list) {
      const error = await addInterface(dpif, dpName, parseInterface(text));
      if (error !== null) wrong.push(`ovs-vswitchd: ${error}`);
    }
    if (wrong.length > 0) throw new UnixctlError(wrong.join('\n'));
    return '';
  };

  const removePort = async (dpif: Dpif, port: DpPort): Promise<void> => {
    const owner = findDatapath(`${dpif.type}@${dpif.name}`)?.owner(port.no);
    if (owner) {
      await owner.bridge.portDel(owner.port.ofport);
      return;
    }
    await dpif.portDel(port.no);
    if (byHand.delete(port.netdev)) port.netdev[Symbol.dispose]();
  };

  const register = (
    name: string,
    usage: string,
    min: number,
    max: number,
    run: (args: string[]) => Promise<string>,
  ): void => {
    registerCommand(`dpctl/${name}`, usage, min, max, run);
  };

  register('add-dp', 'dp [iface...]', 1, MANY_ARGS, async ([dp, ...list]) => {
    const at = dp.indexOf('@');
    const type = at < 0 ? 'system' : dp.slice(0, at);
    const name = at < 0 ? dp : dp.slice(at + 1);
    const made = await datapaths.createStandalone(type, name);
    if (typeof made === 'string') fail(`add_dp (${made})`);
    const local = await addInterface(made, dp, { name, type: 'internal', portNo: 0, options: new Map() });
    if (local !== null) {
      await datapaths.removeStandalone(made);
      fail(`add_dp (${/\(([^()]+)\)$/.exec(local)?.[1] ?? local})`);
    }
    return addInterfaces(made, dp, list);
  });

  register('del-dp', 'dp', 1, 1, async ([dp]) => {
    const dpif = open(dp);
    // A datapath of bridges goes with them.
    if (!datapaths.isStandalone(dpif)) return '';
    for (const port of [...dpif.ports()]) await removePort(dpif, port);
    await datapaths.removeStandalone(dpif);
    return '';
  });

  register('add-if', 'dp iface...', 2, MANY_ARGS, async ([dp, ...list]) => addInterfaces(open(dp), dp, list));

  register('del-if', 'dp iface...', 2, MANY_ARGS, async ([dp, ...list]) => {
    const dpif = open(dp);
    const wrong: string[] = [];
    for (const text of list) {
      const isNumber = /^\d+$/.test(text);
      const port = isNumber ? dpif.portByNo(Number(text)) : portNamed(dpif, text);
      if (port) await removePort(dpif, port);
      else wrong.push(isNumber ? `deleting port ${text} from ${dp} failed (No such device)` : `no port named ${text}`);
    }
    if (wrong.length > 0) throw new UnixctlError(wrong.map((text) => `ovs-vswitchd: ${text}`).join('\n'));
    return '';
  });

  register('set-if', 'dp iface...', 2, MANY_ARGS, async ([dp, ...list]) => {
    const dpif = open(dp);
    const wrong: string[] = [];
    for (const text of list) {
      const { name, type, portNo, options } = parseInterface(text);
      const port = portNamed(dpif, name);
      if (!port) wrong.push(`${name}: failed to query port in ${dp} (No such device)`);
      else if (type !== null && type !== port.netdev.type)
        wrong.push(`${name}: can't change type from ${port.netdev.type} to ${type}`);
      else if (portNo !== null && portNo !== port.no)
        wrong.push(`${name}: can't change port number from ${port.no} to ${portNo}`);
      else {
        const now = byHand.get(port.netdev) ?? new Map<string, string>();
        for (const [key, value] of options) {
          if (value === '') now.delete(key);
          else now.set(key, value);
        }
        if (port.netdev.setConfig(now) !== null)
          wrong.push(`${name}: failed to configure network device (Invalid argument)`);
      }
    }
    if (wrong.length > 0) throw new UnixctlError(wrong.map((text) => `ovs-vswitchd: ${text}`).join('\n'));
    return '';
  });
}
