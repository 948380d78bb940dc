/** Commands about bridges, real and fake. */
import { command, mergeNeeds, TOPOLOGY } from './command.ts';
import { type Bridge, CommandError, type Context, sortedNames } from './context.ts';
import { deletePort } from './port-commands.ts';

const topology = () => TOPOLOGY;
const withExternalIds = () =>
  mergeNeeds([TOPOLOGY, { Bridge: ['external_ids'], Port: ['external_ids', 'fake_bridge', 'tag'] }]);

export const BRIDGE_COMMANDS = [
  command('add-br', [1, 3], '!NEW-BRIDGE ?PARENT ?NEW-VLAN', '--may-exist', {
    writes: true,
    needs: () => mergeNeeds([TOPOLOGY, { Interface: ['type'] }]),
    run: addBridge,
  }),
  command('del-br', [1, 1], '!BRIDGE', '--if-exists', {
    writes: true,
    needs: topology,
    run(context) {
      const bridge = context.findBridge(context.args[0], !context.has('--if-exists'));
      if (bridge !== null) deleteBridge(context, bridge);
    },
  }),
  command('list-br', [0, 0], '', '--real,--fake', {
    needs: topology,
    run(context) {
      const real = context.has('--real');
      const fake = context.has('--fake');
      const names: string[] = [];
      for (const bridge of context.all.bridges.values()) {
        if (real === fake || (bridge.parent === null) === real) names.push(bridge.name);
      }
      for (const name of sortedNames(names)) context.print(name);
    },
  }),
  command('br-exists', [1, 1], '!BRIDGE', '', {
    needs: topology,
    run(context) {
      if (context.findBridge(context.args[0], false) === null) throw new BridgeAbsent();
    },
  }),
  command('br-to-vlan', [1, 1], '!BRIDGE', '', {
    needs: topology,
    run: (context) => context.print(String(context.findBridge(context.args[0], true).vlan)),
  }),
  command('br-to-parent', [1, 1], '!BRIDGE', '', {
    needs: topology,
    run(context) {
      const bridge = context.findBridge(context.args[0], true);
      context.print((bridge.parent ?? bridge).name);
    },
  }),
  command('br-set-external-id', [2, 3], '!BRIDGE !KEY ?VALUE', '', {
    writes: true,
    needs: withExternalIds,
    run(context) {
      const [name, key, value] = context.args;
      const { row, prefix } = externalIds(context.findBridge(name, true));
      if (value === undefined) context.txn.remove(row, 'external_ids', [prefix + key]);
      else context.txn.add(row, 'external_ids', { [prefix + key]: value });
    },
  }),
  command('br-get-external-id', [1, 2], '!BRIDGE ?KEY', '', {
    needs: withExternalIds,
    run(context) {
      const [name, key] = context.args;
      const { row, prefix } = externalIds(context.findBridge(name, true));
      const ids = context.view(row).map('external_ids');
      if (key !== undefined) {
        const value = ids.get(prefix + key);
        if (value !== undefined) context.print(value);
        return;
      }
      for (const [id, value] of ids) {
        if (id.startsWith(prefix)) context.print(`${id.slice(prefix.length)}=${value}`);
      }
    },
  }),
];

/** `br-exists` for a bridge that is not there: exit status 2, no message. */
export class BridgeAbsent extends Error {}

/** A fake bridge keeps its ids in its port, under a prefix. */
function externalIds(bridge: Bridge) {
  return bridge.port === null ? { row: bridge.row, prefix: '' } : { row: bridge.port, prefix: 'fake-bridge-' };
}

function addBridge(context: Context): void {
  const [name, parentName, vlanText] = context.args;
  if (name === '') throw new CommandError('bridge name must not be empty string');
  if (context.args.length === 2) throw new CommandError("'add-br' command takes exactly 1 or 3 arguments");
  // What is not a number reads as 0, as atoi() has it.
  const vlan = vlanText === undefined ? 0 : Number.parseInt(vlanText, 10) || 0;
  if (vlan < 0 || vlan > 4095) throw new CommandError('add-br: vlan must be between 0 and 4095');

  if (context.has('--may-exist') && bridgeExists(context, name, parentName, vlan)) return;
  context.checkConflicts(name, `cannot create a bridge named ${name}`);

  const { txn, idl } = context;
  if (parentName === undefined) {
    const iface = txn.insert(idl.table('Interface'), { name, type: 'internal' });
    const port = txn.insert(idl.table('Port'), { name, interfaces: [iface] });
    const bridge = txn.insert(idl.table('Bridge'), { name, ports: [port] });
    txn.add(context.openVswitch(), 'bridges', [bridge]);
  } else {
    const parent = context.findBridge(parentName, false);
    if (parent !== null && parent.parent !== null) {
      throw new CommandError('cannot create bridge with fake bridge as parent');
    }
    if (parent === null) throw new CommandError(`parent bridge ${parentName} does not exist`);
    const conflict = parent.children.get(vlan);
    if (conflict !== undefined) {
      throw new CommandError(`bridge ${parentName} already has a child VLAN bridge ${conflict.name} on VLAN ${vlan}`);
    }
    const iface = txn.insert(idl.table('Interface'), { name, type: 'internal' });
    const port = txn.insert(idl.table('Port'), { name, interfaces: [iface], fake_bridge: true, tag: vlan });
    txn.add(parent.row, 'ports', [port]);
  }
  context.invalidate();
}

/** With `--may-exist`: whether the bridge is there already, and just so. */
function bridgeExists(context: Context, name: string, parentName: string | undefined, vlan: number): boolean {
  const bridge = context.findBridge(name, false);
  if (bridge === null) return false;
  if (parentName === undefined) {
    if (bridge.parent === null) return true;
    throw new CommandError(`"--may-exist add-br ${name}" but ${name} is a VLAN bridge for VLAN ${bridge.vlan}`);
  }
  const asked = `"--may-exist add-br ${name} ${parentName} ${vlan}" but ${name}`;
  if (bridge.parent === null) throw new CommandError(`${asked} is not a VLAN bridge`);
  if (bridge.parent.name !== parentName) {
    throw new CommandError(`${asked} has the wrong parent ${bridge.parent.name}`);
  }
  if (bridge.vlan !== vlan) throw new CommandError(`${asked} is a VLAN bridge for the wrong VLAN ${bridge.vlan}`);
  return true;
}

function deleteBridge(context: Context, bridge: Bridge): void {
  const { txn } = context;
  for (const child of bridge.children.values()) deleteBridge(context, child);
  for (const port of bridge.ports) deletePort(context, port);
  if (bridge.parent === null) {
    // Its local port is a port of its own; fake bridges went above.
    txn.delete(bridge.row);
    txn.remove(context.openVswitch(), 'bridges', [bridge.row]);
  } else if (bridge.port !== null) {
    const local = context.all.ports.get(bridge.name);
    if (local !== undefined) deletePort(context, local);
  }
  context.invalidate();
}
