/** Commands about ports, bonds and interfaces. */
import { columnNeeds, setColumn } from './column-args.ts';
import { command, mergeNeeds, type Needs, TOPOLOGY } from './command.ts';
import { CommandError, type Context, type Iface, type Port, sortedNames } from './context.ts';

const topology = () => TOPOLOGY;

/** `COLUMN[:KEY]=VALUE` arguments of `Port`, from the first that looks like one. */
function settingsNeeds(args: readonly string[], from: number): Needs {
  return mergeNeeds([TOPOLOGY, ...args.slice(from).map((arg) => columnNeeds('Port', arg))]);
}

export const PORT_COMMANDS = [
  command('list-ports', [1, 1], '!BRIDGE', '', {
    needs: topology,
    run(context) {
      const bridge = context.findBridge(context.args[0], true);
      const names = bridge.ports.map((port) => port.name).filter((name) => name !== bridge.name);
      for (const name of sortedNames(names)) context.print(name);
    },
  }),
  command('add-port', [2, 'any'], '!BRIDGE !NEW-PORT *COLUMN?:KEY=VALUE', '--may-exist', {
    writes: true,
    needs: (args) => settingsNeeds(args, 2),
    run(context) {
      const [bridge, name, ...settings] = context.args;
      addPort(context, bridge, name, [name], settings, false);
    },
  }),
  command('add-bond', [4, 'any'], '!BRIDGE !BOND +IFACE *COLUMN?:KEY=VALUE', '--may-exist,--fake-iface', {
    writes: true,
    needs: (args) => settingsNeeds(args, 2 + countIfaces(args.slice(2))),
    run(context) {
      const [bridge, name, ...rest] = context.args;
      const n = countIfaces(rest);
      if (n < 2) throw new CommandError(`add-bond requires at least 2 interfaces, but only ${n} were specified`);
      addPort(context, bridge, name, rest.slice(0, n), rest.slice(n), context.has('--fake-iface'));
    },
  }),
  command('add-bond-iface', [2, 2], '!BOND !IFACE', '--may-exist', {
    writes: true,
    needs: topology,
    run: addBondIface,
  }),
  command('del-bond-iface', [1, 2], '?BOND !IFACE', '--if-exists', {
    writes: true,
    needs: topology,
    run: deleteBondIface,
  }),
  command('del-port', [1, 2], '?BRIDGE !PORT|IFACE', '--if-exists,--with-iface', {
    writes: true,
    needs: topology,
    run: deletePortCommand,
  }),
  command('port-to-br', [1, 1], '!PORT', '', {
    needs: topology,
    run: (context) => context.print(context.findPort(context.args[0], true).bridge.name),
  }),
  command('list-ifaces', [1, 1], '!BRIDGE', '', {
    needs: topology,
    run(context) {
      const bridge = context.findBridge(context.args[0], true);
      const names = bridge.ports.flatMap((port) => port.ifaces.map((iface) => iface.name));
      for (const name of sortedNames(names.filter((one) => one !== bridge.name))) context.print(name);
    },
  }),
  command('iface-to-br', [1, 1], '!IFACE', '', {
    needs: topology,
    run: (context) => context.print(context.findIface(context.args[0], true).port.bridge.name),
  }),
];

function countIfaces(args: readonly string[]): number {
  const first = args.findIndex((arg) => arg.includes('='));
  return first < 0 ? args.length : first;
}

function addPort(
  context: Context,
  bridgeName: string,
  name: string,
  ifaceNames: readonly string[],
  settings: readonly string[],
  fakeIface: boolean,
): void {
  if (name === '') throw new CommandError('port name must not be empty string');
  if (ifaceNames.includes('')) throw new CommandError('interface name must not be empty string');
  if (context.has('--may-exist') && portExists(context, bridgeName, name, ifaceNames)) return;
  context.checkConflicts(name, `cannot create a port named ${name}`);
  for (const iface of ifaceNames) context.checkConflicts(iface, `cannot create an interface named ${iface}`);
  const bridge = context.findBridge(bridgeName, true);

  const { txn, idl } = context;
  const ifaces = ifaceNames.map((iface) => txn.insert(idl.table('Interface'), { name: iface }));
  const port = txn.insert(idl.table('Port'), { name, interfaces: ifaces });
  if (fakeIface) txn.set(port, 'bond_fake_iface', true);
  if (bridge.parent !== null) txn.set(port, 'tag', bridge.vlan);
  for (const setting of settings) setColumn(context, port, setting);
  txn.add((bridge.parent ?? bridge).row, 'ports', [port]);
  context.invalidate();
}

/** With `--may-exist`: whether the port is there already, and just so. */
function portExists(context: Context, bridgeName: string, name: string, ifaceNames: readonly string[]): boolean {
  const port = context.findPort(name, false);
  if (port === null) return false;
  const words = [`--may-exist`, context.commandName, bridgeName, name];
  const bond = context.commandName === 'add-bond';
  const asked = `"${[...words, ...(bond ? ifaceNames : [])].join(' ')}"`;
  if (port.bridge.name !== bridgeName) {
    throw new CommandError(`${asked} but ${name} is actually attached to bridge ${port.bridge.name}`);
  }
  const wanted = sortedNames(ifaceNames);
  const has = sortedNames(port.ifaces.map((iface) => iface.name));
  if (wanted.join('\n') !== has.join('\n')) {
    throw new CommandError(`${asked} but ${name} actually has interface(s) ${has.join(', ')}`);
  }
  return true;
}

function addBondIface(context: Context): void {
  const [portName, name] = context.args;
  if (context.has('--may-exist')) {
    const iface = context.findIface(name, false);
    if (iface !== null) {
      if (iface.port.name === portName) return;
      throw new CommandError(
        `"--may-exist add-bond-iface ${portName} ${name}" but ${name} is actually attached to port ${iface.port.name}`,
      );
    }
  }
  context.checkConflicts(name, `cannot create an interface named ${name}`);
  const port = context.findPort(portName, true);
  context.txn.add(port.row, 'interfaces', [context.txn.insert(context.idl.table('Interface'), { name })]);
  context.invalidate();
}

function deleteBondIface(context: Context): void {
  const name = context.args[context.args.length - 1];
  const iface = context.findIface(name, !context.has('--if-exists'));
  if (iface === null) return;
  if (context.args.length === 2) {
    const port = context.findPort(context.args[0], true);
    if (port.name !== iface.port.name) {
      throw new CommandError(`port ${port.name} does not have an interface ${name}`);
    }
  }
  if (iface.port.ifaces.length === 1) {
    throw new CommandError(`cannot delete last interface from port ${iface.port.name}`);
  }
  deleteIface(context, iface);
  context.invalidate();
}

function deleteIface(context: Context, iface: Iface): void {
  context.txn.remove(iface.port.row, 'interfaces', [iface.row]);
  context.txn.delete(iface.row);
}

/** Removes a port with its interfaces from its bridge. */
export function deletePort(context: Context, port: Port): void {
  const { txn } = context;
  for (const iface of port.ifaces) txn.delete(iface.row);
  txn.remove(port.bridge.row, 'ports', [port.row]);
  txn.delete(port.row);
}

function deletePortCommand(context: Context): void {
  const withIface = context.has('--with-iface');
  const mustExist = !context.has('--if-exists');
  const target = context.args[context.args.length - 1];
  const bridge = context.args.length === 2 ? context.findBridge(context.args[0], true) : null;

  let port: Port | null;
  if (withIface) {
    port = context.findPort(target, false) ?? context.findIface(target, false)?.port ?? null;
    if (port === null && mustExist) throw new CommandError(`no port or interface named ${target}`);
  } else {
    port = context.findPort(target, false);
    if (port === null && mustExist) throw new CommandError(`no port named ${target}`);
  }
  if (port === null) return;

  if (bridge !== null && port.bridge !== bridge) {
    if (port.bridge.parent === bridge) {
      throw new CommandError(
        `bridge ${bridge.name} does not have a port ${target} (although its child bridge ${port.bridge.name} does)`,
      );
    }
    throw new CommandError(`bridge ${bridge.name} does not have a port ${target}`);
  }
  if (context.all.bridges.has(port.name)) {
    throw new CommandError(
      `cannot delete port ${port.name} because it is the local port for bridge ${port.name} (deleting this port requires deleting the entire bridge)`,
    );
  }
  deletePort(context, port);
  context.invalidate();
}
