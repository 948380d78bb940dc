/** `show`: the database as an indented outline, leaving out what has its default value. */
import type { Row } from '../../ovsdb/idl.ts';
import { datumsEqual, datumToText, defaultDatum } from '../../ovsdb/types.ts';
import { type Command, command, type Needs } from './command.ts';
import type { Context } from './context.ts';

/** By table: the column that names a row, and the columns shown under it, references leading to the next level. */
export type Outline = Readonly<Record<string, { readonly name: string | null; readonly columns: readonly string[] }>>;

const OUTLINE: Outline = {
  Open_vSwitch: { name: null, columns: ['manager_options', 'bridges', 'ovs_version'] },
  Bridge: { name: 'name', columns: ['controller', 'fail_mode', 'datapath_type', 'ports'] },
  Port: { name: 'name', columns: ['tag', 'trunks', 'interfaces'] },
  Interface: { name: 'name', columns: ['type', 'options', 'error'] },
  Controller: { name: 'target', columns: ['is_connected'] },
  Manager: { name: 'target', columns: ['is_connected'] },
};

export const SHOW_COMMAND = showCommand(OUTLINE);

/** The first table of the outline is where it begins. */
export function showCommand(outline: Outline): Command {
  return command('show', [0, 0], '', '', {
    needs: () =>
      Object.fromEntries(
        Object.entries(outline).map(([table, { name, columns }]) => [
          table,
          [...(name === null ? [] : [name]), ...columns],
        ]),
      ) as Needs,
    run(context) {
      for (const row of context.rows(Object.keys(outline)[0])) showRow(context, outline, row, 0);
    },
  });
}

function showRow(context: Context, outline: Outline, row: Row, level: number): void {
  const indent = '    '.repeat(level);
  const { name, columns } = outline[row.table.name];
  if (name === null) context.print(indent + row.uuid);
  else
    context.print(`${indent}${row.table.name} ${datumToText(row.table.column(name).type, context.txn.get(row, name))}`);
  for (const column of columns) {
    const { type } = row.table.column(column);
    if (type.key.refTable !== null) {
      for (const referred of context.view(row).refs(column)) showRow(context, outline, referred, level + 1);
      continue;
    }
    if (type.value?.refTable != null) {
      context.print(`${indent}    ${column}:`);
      for (const [key, referred] of context.view(row).refMap(column)) {
        context.print(`${indent}        ${key}=${context.view(referred).string('name')}`);
      }
      continue;
    }
    const datum = context.txn.get(row, column);
    if (datumsEqual(datum, defaultDatum(type))) continue;
    context.print(`${indent}    ${column}: ${datumToText(type, datum)}`);
  }
}
