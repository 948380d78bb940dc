/** The commands of vtep-ctl(8) about MAC bindings: which tunnel endpoints addresses of a logical switch are behind. */
import type { Row } from '../../ovsdb/idl.ts';
import { type Command, command, type Needs } from '../vsctl/command.ts';
import type { Context } from '../vsctl/context.ts';
import { logicalSwitch, SWITCHES } from './tables.ts';

const DEFAULT_ENCAPSULATION = 'vxlan_over_ipv4';

type Place = 'local' | 'remote';

const ucast = (place: Place) => (place === 'local' ? 'Ucast_Macs_Local' : 'Ucast_Macs_Remote');
const mcast = (place: Place) => (place === 'local' ? 'Mcast_Macs_Local' : 'Mcast_Macs_Remote');

const needs = (place: Place) => (): Needs => ({
  ...SWITCHES,
  [ucast(place)]: ['MAC', 'logical_switch', 'locator'],
  [mcast(place)]: ['MAC', 'logical_switch', 'locator_set'],
  Physical_Locator: ['encapsulation_type', 'dst_ip'],
  Physical_Locator_Set: ['locators'],
});

/** Bindings of a logical switch, of one address or all. */
function bindings(context: Context, table: string, ls: Row, mac?: string): Row[] {
  return context.rows(table).filter((row) => {
    const view = context.view(row);
    return view.ref('logical_switch')?.uuid === ls.uuid && (mac === undefined || view.string('MAC') === mac);
  });
}

function locatorText(context: Context, locator: Row): string {
  const view = context.view(locator);
  return `${view.string('encapsulation_type')}/${view.string('dst_ip')}`;
}

/** Reads `LS MAC [ENCAP] IP`. */
function binding(context: Context): { ls: Row; mac: string; encapsulation: string; ip: string } {
  const [lsName, mac, ...rest] = context.args;
  const ls = logicalSwitch(context, lsName);
  const ip = rest.pop()!; // The command has three arguments or four.
  return { ls, mac, encapsulation: rest[0] ?? DEFAULT_ENCAPSULATION, ip };
}

function locatorOf(context: Context, encapsulation: string, ip: string): Row {
  const text = `${encapsulation}/${ip}`;
  return (
    context.rows('Physical_Locator').find((row) => locatorText(context, row) === text) ??
    context.txn.insert(context.idl.table('Physical_Locator'), { encapsulation_type: encapsulation, dst_ip: ip })
  );
}

function locatorsOf(context: Context, row: Row): Row[] {
  const set = context.view(row).ref('locator_set');
  return set === null ? [] : context.view(set).refs('locators');
}

/** A set of locators cannot change: another takes its place. */
function setLocators(context: Context, row: Row, locators: readonly Row[]): void {
  context.txn.set(row, 'locator_set', context.txn.insert(context.idl.table('Physical_Locator_Set'), { locators }));
}

function macCommands(place: Place): Command[] {
  return [
    command(`add-ucast-${place}`, [3, 4], '', '', {
      writes: true,
      needs: needs(place),
      run(context) {
        const { ls, mac, encapsulation, ip } = binding(context);
        const locator = locatorOf(context, encapsulation, ip);
        const [row] = bindings(context, ucast(place), ls, mac);
        if (row !== undefined) context.txn.set(row, 'locator', locator);
        else context.txn.insert(context.idl.table(ucast(place)), { MAC: mac, logical_switch: ls, locator });
      },
    }),
    command(`del-ucast-${place}`, [2, 2], '', '', {
      writes: true,
      needs: needs(place),
      run(context) {
        const ls = logicalSwitch(context, context.args[0]);
        for (const row of bindings(context, ucast(place), ls, context.args[1])) context.txn.delete(row);
      },
    }),
    command(`add-mcast-${place}`, [3, 4], '', '', {
      writes: true,
      needs: needs(place),
      run(context) {
        const { ls, mac, encapsulation, ip } = binding(context);
        const locator = locatorOf(context, encapsulation, ip);
        let [row] = bindings(context, mcast(place), ls, mac);
        const before = row === undefined ? [] : locatorsOf(context, row);
        if (before.includes(locator)) return;
        row ??= context.txn.insert(context.idl.table(mcast(place)), { MAC: mac, logical_switch: ls });
        setLocators(context, row, [...before, locator]);
      },
    }),
    command(`del-mcast-${place}`, [3, 4], '', '', {
      writes: true,
      needs: needs(place),
      run(context) {
        const { ls, mac, encapsulation, ip } = binding(context);
        const [row] = bindings(context, mcast(place), ls, mac);
        if (row === undefined) return;
        const before = locatorsOf(context, row);
        const after = before.filter((locator) => locatorText(context, locator) !== `${encapsulation}/${ip}`);
        if (after.length === before.length) return;
        if (after.length === 0) context.txn.delete(row);
        else setLocators(context, row, after);
      },
    }),
    command(`clear-${place}-macs`, [1, 1], '', '', {
      writes: true,
      needs: needs(place),
      run(context) {
        const ls = logicalSwitch(context, context.args[0]);
        for (const table of [ucast(place), mcast(place)]) {
          for (const row of bindings(context, table, ls)) context.txn.delete(row);
        }
      },
    }),
    command(`list-${place}-macs`, [1, 1], '', '', {
      needs: needs(place),
      run(context) {
        const ls = logicalSwitch(context, context.args[0]);
        const lines = (table: string, locators: (row: Row) => Row[]) =>
          bindings(context, table, ls)
            .flatMap((row) =>
              locators(row).map(
                (locator) => `  ${context.view(row).string('MAC')} -> ${locatorText(context, locator)}`,
              ),
            )
            .sort();
        context.print(`ucast-mac-${place}`);
        for (const line of lines(ucast(place), (row) =>
          [context.view(row).ref('locator')].filter((one) => one !== null),
        )) {
          context.print(line);
        }
        context.print('');
        context.print(`mcast-mac-${place}`);
        for (const line of lines(mcast(place), (row) => locatorsOf(context, row))) context.print(line);
        context.print('');
      },
    }),
  ];
}

export const MAC_COMMANDS: readonly Command[] = [...macCommands('local'), ...macCommands('remote')];
