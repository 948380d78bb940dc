/** `ovs-vsctl show`: the database as an indented outline, leaving out what has its default value. */
import type { Row } from '../../ovsdb/idl.ts';
import { datumsEqual, datumToText, defaultDatum } from '../../ovsdb/types.ts';
import { command, type Needs } from './command.ts';
import type { Context } from './context.ts';

/** By table: the column that names a row, and the columns shown under it, references leading to the next level. */
const OUTLINE: Readonly<Record<string, { readonly name: string | null; readonly columns: readonly string[] }>> = {
  Open_vSwitch: { name: null, columns: ['manager_options', 'bridges', 'ovs_version'] },
  Bridge: { name: 'name', columns: ['controller', 'fail_mode', 'datapath_type', 'ports'] },
  Port: { name: 'name', columns: ['tag', 'trunks', 'interfaces'] },
  Interface: { name: 'name', columns: ['type', 'options', 'error'] },
  Controller: { name: 'target', columns: ['is_connected'] },
  Manager: { name: 'target', columns: ['is_connected'] },
};

export const SHOW_COMMAND = command('show', [0, 0], '', '', {
  needs: () =>
    Object.fromEntries(
      Object.entries(OUTLINE).map(([table, { name, columns }]) => [
        table,
        [...(name === null ? [] : [name]), ...columns],
      ]),
    ) as Needs,
  run(context) {
    for (const row of context.rows('Open_vSwitch')) showRow(context, row, 0);
  },
});

function showRow(context: Context, row: Row, level: number): void {
  const indent = '    '.repeat(level);
  const { name, columns } = OUTLINE[row.table.name];
  if (name === null) context.print(indent + row.uuid);
  else
    context.print(`${indent}${row.table.name} ${datumToText(row.table.column(name).type, context.txn.get(row, name))}`);
  for (const column of columns) {
    const { type } = row.table.column(column);
    if (type.key.refTable !== null) {
      for (const referred of context.view(row).refs(column)) showRow(context, referred, level + 1);
      continue;
    }
    const datum = context.txn.get(row, column);
    if (datumsEqual(datum, defaultDatum(type))) continue;
    context.print(`${indent}    ${column}: ${datumToText(type, datum)}`);
  }
}
