/** The commands of vtep-ctl(8) about managers, physical and logical switches, ports, bindings and logical routers. */
import { BridgeAbsent as Absent } from '../vsctl/bridge-commands.ts';
import { type Command, command } from '../vsctl/command.ts';
import { CommandError, type Context, sortedNames } from '../vsctl/context.ts';
import { printTargets, setManagers, warnOfTarget } from '../vsctl/switch-commands.ts';
import {
  find,
  logicalSwitch,
  named,
  nameOf,
  physicalPort,
  physicalSwitch,
  physicalSwitches,
  SWITCHES,
} from './tables.ts';

const managers = () => ({ Global: ['managers'], Manager: ['target', 'inactivity_probe'] });
const switches = () => SWITCHES;

/** `add-`, `del-`, `list-` and `-exists` of a root table whose rows have names. */
function namedRows(short: string, table: string, what: string): Command[] {
  const needs = () => ({ ...SWITCHES, [table]: table === 'Logical_Switch' ? SWITCHES[table] : ['name'] });
  return [
    command(`add-${short}`, [1, 1], '', '--may-exist', {
      writes: true,
      needs,
      run(context) {
        const [name] = context.args;
        if (find(context, context.rows(table), name) === undefined) {
          context.txn.insert(context.idl.table(table), { name });
        } else if (!context.has('--may-exist')) {
          throw new CommandError(`cannot create ${what} ${name} because it already exists`);
        }
      },
    }),
    command(`del-${short}`, [1, 1], '', '--if-exists', {
      writes: true,
      needs,
      run(context) {
        const [name] = context.args;
        const rows = context.rows(table);
        if (context.has('--if-exists') && find(context, rows, name) === undefined) return;
        context.txn.delete(named(context, rows, name, what));
      },
    }),
    command(`list-${short}`, [0, 0], '', '', {
      needs,
      run: (context) => printNames(context, context.rows(table)),
    }),
    command(`${short}-exists`, [1, 1], '', '', {
      needs,
      run(context) {
        if (find(context, context.rows(table), context.args[0]) === undefined) throw new Absent();
      },
    }),
  ];
}

function printNames(context: Context, rows: Parameters<typeof find>[1]): void {
  for (const name of sortedNames(rows.map((row) => nameOf(context, row)))) context.print(name);
}

/** As strtoul() reads it. */
function vlanNumber(text: string): number {
  return Number.parseInt(text, 10) || 0;
}

export const SWITCH_COMMANDS: readonly Command[] = [
  command('get-manager', [0, 0], '', '', {
    needs: managers,
    run: (context) => printTargets(context, context.view(context.openVswitch()).refs('managers')),
  }),
  command('del-manager', [0, 0], '', '', {
    writes: true,
    needs: managers,
    run: (context) => setManagers(context, [], 'managers'),
  }),
  command('set-manager', [1, 'any'], '', '--inactivity-probe=', {
    writes: true,
    needs: managers,
    run(context) {
      for (const target of context.args) warnOfTarget(target);
      setManagers(context, context.args, 'managers');
    },
  }),

  command('add-ps', [1, 1], '', '--may-exist', {
    writes: true,
    needs: switches,
    run(context) {
      const [name] = context.args;
      if (find(context, physicalSwitches(context), name) !== undefined) {
        if (context.has('--may-exist')) return;
        throw new CommandError(`cannot create physical switch ${name} because it already exists`);
      }
      const row = context.txn.insert(context.idl.table('Physical_Switch'), { name });
      context.txn.add(context.openVswitch(), 'switches', [row]);
    },
  }),
  command('del-ps', [1, 1], '', '--if-exists', {
    writes: true,
    needs: switches,
    run(context) {
      const [name] = context.args;
      if (context.has('--if-exists') && find(context, physicalSwitches(context), name) === undefined) return;
      const row = physicalSwitch(context, name);
      for (const port of context.view(row).refs('ports')) context.txn.delete(port);
      context.txn.remove(context.openVswitch(), 'switches', [row]);
      context.txn.delete(row);
    },
  }),
  command('list-ps', [0, 0], '', '', {
    needs: switches,
    run: (context) => printNames(context, physicalSwitches(context)),
  }),
  command('ps-exists', [1, 1], '', '', {
    needs: switches,
    run(context) {
      if (find(context, physicalSwitches(context), context.args[0]) === undefined) throw new Absent();
    },
  }),

  command('list-ports', [1, 1], '', '', {
    needs: switches,
    run: (context) => printNames(context, context.view(physicalSwitch(context, context.args[0])).refs('ports')),
  }),
  command('add-port', [2, 2], '', '--may-exist', {
    writes: true,
    needs: switches,
    run(context) {
      const [psName, name] = context.args;
      const ps = physicalSwitch(context, psName);
      if (find(context, context.view(ps).refs('ports'), name) !== undefined) {
        if (context.has('--may-exist')) return;
        throw new CommandError(
          `cannot create a port named ${name} on ${psName} because a port with that name already exists`,
        );
      }
      context.txn.add(ps, 'ports', [context.txn.insert(context.idl.table('Physical_Port'), { name })]);
    },
  }),
  command('del-port', [2, 2], '', '--if-exists', {
    writes: true,
    needs: switches,
    run(context) {
      const [psName, name] = context.args;
      const ps = physicalSwitch(context, psName);
      if (context.has('--if-exists') && find(context, context.view(ps).refs('ports'), name) === undefined) return;
      const port = physicalPort(context, name, ps);
      context.txn.remove(ps, 'ports', [port]);
      context.txn.delete(port);
    },
  }),

  ...namedRows('ls', 'Logical_Switch', 'logical switch'),
  command('bind-ls', [4, 4], '', '', {
    writes: true,
    needs: switches,
    run(context) {
      const [psName, portName, vlanText, lsName] = context.args;
      const port = physicalPort(context, portName, physicalSwitch(context, psName));
      const ls = logicalSwitch(context, lsName);
      const vlan = vlanNumber(vlanText);
      if (context.view(port).refMap('vlan_bindings').has(vlan)) {
        throw new CommandError(`multiple bindings for vlan ${vlan}`);
      }
      context.txn.add(port, 'vlan_bindings', new Map([[vlan, ls]]));
    },
  }),
  command('unbind-ls', [3, 3], '', '', {
    writes: true,
    needs: switches,
    run(context) {
      const [psName, portName, vlanText] = context.args;
      const port = physicalPort(context, portName, physicalSwitch(context, psName));
      const vlan = vlanNumber(vlanText);
      if (!context.view(port).refMap('vlan_bindings').has(vlan)) throw new CommandError(`no binding for vlan ${vlan}`);
      context.txn.remove(port, 'vlan_bindings', [vlan]);
    },
  }),
  command('list-bindings', [2, 2], '', '', {
    needs: switches,
    run(context) {
      const port = physicalPort(context, context.args[1], physicalSwitch(context, context.args[0]));
      for (const [vlan, ls] of context.view(port).refMap('vlan_bindings')) {
        context.print(`${String(vlan).padStart(4, '0')} ${nameOf(context, ls)}`);
      }
    },
  }),
  command('set-replication-mode', [2, 2], '', '', {
    writes: true,
    needs: switches,
    run(context) {
      const [name, mode] = context.args;
      if (mode !== 'service_node' && mode !== 'source_node') {
        throw new CommandError("Replication mode must be 'service_node' or 'source_node'");
      }
      context.txn.set(logicalSwitch(context, name), 'replication_mode', mode);
    },
  }),
  command('get-replication-mode', [1, 1], '', '', {
    needs: switches,
    run(context) {
      const mode = context.view(logicalSwitch(context, context.args[0])).optionalString('replication_mode');
      context.print(mode ?? '(null)');
    },
  }),

  ...namedRows('lr', 'Logical_Router', 'logical router'),
];
