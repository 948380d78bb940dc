/** How rows of `hardware_vtep` are named, and what `vtep-ctl`'s commands have in common: finding switches, ports and locators. */
import type { Row } from '../../ovsdb/idl.ts';
import { VTEP_TABLES } from '../../ovsdb/vtep-schema.ts';
import type { Needs } from '../vsctl/command.ts';
import { CommandError, type Context } from '../vsctl/context.ts';
import { NAMED, SINGLETON } from '../vsctl/record-ids.ts';
import type { RecordId } from '../vsctl/target.ts';

export const RECORD_IDS: Readonly<Record<string, readonly RecordId[]>> = {
  Global: [SINGLETON('Global')],
  Logical_Router: [NAMED('Logical_Router')],
  Logical_Switch: [NAMED('Logical_Switch')],
  Manager: [NAMED('Manager', 'target')],
  Physical_Port: [NAMED('Physical_Port')],
  Physical_Switch: [NAMED('Physical_Switch')],
};

export const TABLE_NAMES: readonly string[] = Object.keys(VTEP_TABLES).sort();

/** What every command that looks for switches and ports by name has to see. */
export const SWITCHES: Needs = {
  Global: ['switches'],
  Physical_Switch: ['name', 'ports'],
  Physical_Port: ['name', 'vlan_bindings'],
  Logical_Switch: ['name', 'replication_mode'],
};

export function nameOf(context: Context, row: Row): string {
  return context.view(row).string('name');
}

export function physicalSwitches(context: Context): Row[] {
  return context.view(context.openVswitch()).refs('switches');
}

export function physicalSwitch(context: Context, name: string): Row {
  return named(context, physicalSwitches(context), name, 'physical switch');
}

export function physicalPort(context: Context, name: string, ps: Row): Row {
  return named(context, context.view(ps).refs('ports'), name, 'port');
}

export function logicalSwitch(context: Context, name: string): Row {
  return named(context, context.rows('Logical_Switch'), name, 'logical switch');
}

export function named(context: Context, rows: readonly Row[], name: string, what: string): Row {
  const row = find(context, rows, name);
  if (row === undefined) throw new CommandError(`no ${what} named ${name}`);
  return row;
}

export function find(context: Context, rows: readonly Row[], name: string): Row | undefined {
  return rows.find((row) => nameOf(context, row) === name);
}
