/** The database commands of ovs-vsctl(8): rows of any table, listed, found, read and changed. */

import type { TableCell } from '../../base/table.ts';
import { vlog } from '../../base/vlog.ts';
import type { Row } from '../../ovsdb/idl.ts';
import type { TableSchema } from '../../ovsdb/schema.ts';
import { UUID_TYPE } from '../../ovsdb/schema.ts';
import {
  atomToText,
  type ColumnType,
  type Datum,
  datumGet,
  datumSubtract,
  datumToBare,
  datumToJson,
  datumToText,
  datumUnion,
  emptyDatum,
  isUuid,
  parseDatumText,
  scalarDatum,
  stringifyJson,
  UNLIMITED,
} from '../../ovsdb/types.ts';
import {
  columnNames,
  columnNeeds,
  conditionHolds,
  findColumn,
  findRecord,
  findTable,
  findWritableColumn,
  parseAtomText,
  parseColumnArg,
  parseValueText,
  recordNeeds,
  setColumn,
} from './column-args.ts';
import { command, mergeNeeds, type Needs } from './command.ts';
import { CommandError, type Context, NotYet } from './context.ts';

const log = vlog('db_ctl_base');

type Options = ReadonlyMap<string, string | null>;

export const DATABASE_COMMANDS = [
  command('comment', [0, 'any'], '*ARG', '', { needs: () => ({}), run: () => undefined }),
  command('get', [2, 'any'], '!TABLE !RECORD *COLUMN?:KEY', '--if-exists,--id=', { needs: getNeeds, run: get }),
  command('list', [1, 'any'], '!TABLE *RECORD', '--if-exists,--columns=', { needs: listNeeds, run: list }),
  command('find', [1, 'any'], '!TABLE *COLUMN?:KEY=VALUE', '--columns=', { needs: findNeeds, run: find }),
  command('set', [3, 'any'], '!TABLE !RECORD +COLUMN?:KEY=VALUE', '--if-exists', {
    writes: true,
    needs(args) {
      const table = findTable(args[0]);
      for (const arg of args.slice(2)) findWritableColumn(table, columnOf(table, arg));
      return rowAndColumns(table, args.slice(2));
    },
    run(context) {
      const row = rowOf(context);
      if (row === null) return;
      for (const arg of context.args.slice(2)) setColumn(context, row, arg);
      context.invalidate();
    },
  }),
  command('add', [4, 'any'], '!TABLE !RECORD !COLUMN +?KEY=VALUE', '--if-exists', {
    writes: true,
    needs: oneColumnNeeds,
    run: add,
  }),
  command('remove', [4, 'any'], '!TABLE !RECORD !COLUMN +KEY|VALUE|KEY=VALUE', '--if-exists', {
    writes: true,
    needs: oneColumnNeeds,
    run: remove,
  }),
  command('clear', [3, 'any'], '!TABLE !RECORD +COLUMN', '--if-exists', {
    writes: true,
    needs(args) {
      const table = findTable(args[0]);
      const names = args.slice(2).map((arg) => findWritableColumn(table, arg).name);
      return mergeNeeds([recordNeeds(table.name), { [table.name]: names }]);
    },
    run: clear,
  }),
  command('create', [2, 'any'], '!TABLE +COLUMN?:KEY=VALUE', '--id=', {
    writes: true,
    needs: createNeeds,
    run: create,
    finish: (context, realUuid) => `${realUuid(context.output.trim())}\n`,
  }),
  command('destroy', [1, 'any'], '!TABLE *RECORD', '--if-exists,--all', {
    writes: true,
    needs(args, options) {
      const table = findTable(args[0]);
      if (options.has('--all') && args.length > 1) {
        throw new CommandError('--all and records argument should not be specified together');
      }
      if (!options.has('--all') && args.length === 1) {
        log.warn('either --all or records argument should be specified');
      }
      return recordNeeds(table.name);
    },
    run(context) {
      const [tableName, ...records] = context.args;
      const table = findTable(tableName);
      if (context.has('--all')) for (const row of context.rows(table.name)) context.txn.delete(row);
      for (const record of records) {
        const row = findRecord(context, table, record, !context.has('--if-exists'));
        if (row !== null) context.txn.delete(row);
      }
      context.invalidate();
    },
  }),
  command('wait-until', [2, 'any'], '!TABLE !RECORD *COLUMN?:KEY=VALUE', '', {
    needs: (args) => rowAndColumns(findTable(args[0]), args.slice(2)),
    run(context) {
      const [tableName, record, ...conditions] = context.args;
      const table = findTable(tableName);
      const row = findRecord(context, table, record, false);
      if (row === null) throw new NotYet();
      for (const condition of conditions) if (!conditionHolds(context, table, row, condition)) throw new NotYet();
    },
  }),
];

function columnOf(table: TableSchema, arg: string): string {
  return columnNeeds(table.name, arg)[table.name][0];
}

function rowAndColumns(table: TableSchema, args: readonly string[]): Needs {
  return mergeNeeds([recordNeeds(table.name), ...args.map((arg) => columnNeeds(table.name, arg))]);
}

function oneColumnNeeds(args: readonly string[]): Needs {
  const table = findTable(args[0]);
  return mergeNeeds([recordNeeds(table.name), { [table.name]: [findWritableColumn(table, args[2]).name] }]);
}

/** The row of `TABLE RECORD` arguments; null if it may be missing and is. */
function rowOf(context: Context): Row | null {
  return findRecord(context, findTable(context.args[0]), context.args[1], !context.has('--if-exists'));
}

function getNeeds(args: readonly string[], options: Options): Needs {
  const id = options.get('--id');
  if (id !== undefined && options.has('--if-exists')) {
    throw new CommandError('--if-exists and --id may not be specified together');
  }
  const table = findTable(args[0]);
  const columns = args.slice(2).filter((arg) => arg !== '_uuid');
  return rowAndColumns(table, columns);
}

function get(context: Context): void {
  const id = context.options.get('--id') ?? null;
  const table = findTable(context.args[0]);
  const row = rowOf(context);
  if (row === null) return;
  if (id !== null) {
    checkSymbolName(id);
    const symbol = context.symbol(id);
    if (symbol.created) throw new CommandError(`row id "${id}" may only be specified on one --id option`);
    if (symbol.referenced) {
      throw new CommandError(`row id "${id}" specified on "get" command was used before it was defined`);
    }
    context.symbols.set(id, { uuid: row.uuid, created: true, referenced: true, stronglyReferenced: true });
  }
  for (const arg of context.args.slice(2)) {
    if (arg === '_uuid') {
      context.print(row.uuid);
      continue;
    }
    const { column, key } = parseColumnArg(table, arg, []);
    const datum = context.txn.get(row, column.name);
    context.txn.verify(row, column.name);
    if (key === null) {
      context.print(datumToText(column.type, datum));
      continue;
    }
    if (column.type.value === null) {
      throw new CommandError(`cannot specify key to get for non-map column ${column.name}`);
    }
    const value = datumGet(datum, parseAtomText(column.type.key, key, context));
    if (value !== undefined) context.print(atomToText(column.type.value.type, value));
    else if (context.has('--if-exists')) context.print('');
    else {
      throw new CommandError(`no key "${key}" in ${table.name} record "${context.args[1]}" column ${column.name}`);
    }
  }
}

function listNeeds(args: readonly string[], options: Options): Needs {
  const table = findTable(args[0]);
  return mergeNeeds([recordNeeds(table.name), { [table.name]: shownColumns(table, options).filter(notUuid) }]);
}

function findNeeds(args: readonly string[], options: Options): Needs {
  const table = findTable(args[0]);
  const shown = { [table.name]: shownColumns(table, options).filter(notUuid) };
  return mergeNeeds([shown, ...args.slice(1).map((arg) => columnNeeds(table.name, arg))]);
}

const notUuid = (name: string) => name !== '_uuid';

/** `--columns`, or all of them in alphabetical order. */
function shownColumns(table: TableSchema, options: Options): string[] {
  const asked = options.get('--columns');
  if (asked === undefined || asked === null) return ['_uuid', ...columnNames(table)];
  const names = asked.split(/[, ]+/).filter((name) => name !== '');
  if (names.length === 0) throw new CommandError('must specify at least one column name');
  return names.map((name) => (/^_u(u(id?)?)?$/i.test(name) ? '_uuid' : findColumn(table, name).name));
}

function list(context: Context): void {
  const [tableName, ...records] = context.args;
  const table = findTable(tableName);
  const rows: Row[] = [];
  for (const record of records) {
    const row = findRecord(context, table, record, !context.has('--if-exists'));
    if (row !== null) rows.push(row);
  }
  show(context, table, records.length > 0 ? rows : context.rows(table.name));
}

function find(context: Context): void {
  const [tableName, ...conditions] = context.args;
  const table = findTable(tableName);
  const rows = context.rows(table.name);
  show(
    context,
    table,
    rows.filter((row) => conditions.every((condition) => conditionHolds(context, table, row, condition))),
  );
}

function show(context: Context, table: TableSchema, rows: readonly Row[]): void {
  const headings = shownColumns(table, context.options);
  context.table = {
    headings,
    rows: rows.map((row) =>
      headings.map((name) => {
        if (name === '_uuid') return cell(UUID_TYPE, scalarDatum(row.uuid));
        return cell(table.columnByName.get(name)!.type, context.txn.get(row, name)); // shownColumns() gives its columns.
      }),
    ),
  };
}

/** A database value as a cell of a table. */
export function cell(type: ColumnType, datum: Datum): TableCell {
  return {
    text: (style) => (style === 'bare' ? datumToBare(type, datum) : datumToText(type, datum)),
    json: () => stringifyJson(datumToJson(type, datum)),
    isUuid: type.key.type === 'uuid' || type.value?.type === 'uuid',
  };
}

function add(context: Context): void {
  const row = rowOf(context);
  if (row === null) return;
  const [tableName, , columnName, ...values] = context.args;
  const column = findColumn(findTable(tableName), columnName);
  const type: ColumnType = { ...column.type, min: 0, max: UNLIMITED };
  let all = emptyDatum(type);
  for (const value of values) all = datumUnion(all, parseValueText(type, value, context), true);
  context.txn.add(row, column.name, all);
  context.invalidate();
}

function remove(context: Context): void {
  const row = rowOf(context);
  if (row === null) return;
  const [tableName, , columnName, ...values] = context.args;
  const table = findTable(tableName);
  const column = findColumn(table, columnName);
  const type: ColumnType = { ...column.type, min: 0, max: UNLIMITED };
  let datum = context.txn.get(row, column.name);
  for (const value of values) datum = datumSubtract(datum, removal(type, value, context));
  if (datum.keys.length < column.type.min) {
    throw new CommandError(
      `"remove" operation would put ${datum.keys.length} ${type.value === null ? 'values' : 'pairs'} in column ${column.name} of table ${table.name} but the minimum number is ${column.type.min}`,
    );
  }
  context.txn.set(row, column.name, datum);
  context.invalidate();
}

/** Of a map either pairs or keys. */
function removal(type: ColumnType, text: string, context: Context): Datum {
  if (type.value === null) return parseValueText(type, text, context);
  try {
    return parseDatumText(type, text);
  } catch {
    return parseValueText({ ...type, value: null }, text, context);
  }
}

function clear(context: Context): void {
  const row = rowOf(context);
  if (row === null) return;
  const table = findTable(context.args[0]);
  for (const name of context.args.slice(2)) {
    const column = findColumn(table, name);
    if (column.type.min > 0) {
      throw new CommandError(
        `"clear" operation cannot be applied to column ${column.name} of table ${table.name}, which is not allowed to be empty`,
      );
    }
    context.txn.set(row, column.name, emptyDatum(column.type));
  }
  context.invalidate();
}

function createNeeds(args: readonly string[], options: Options): Needs {
  const table = findTable(args[0]);
  if (!table.isRoot && !options.has('--id')) {
    log.warn(`applying "create" command to table ${table.name} without --id option will have no effect`);
  }
  return mergeNeeds([{ [table.name]: [] }, ...args.slice(1).map((arg) => columnNeeds(table.name, arg))]);
}

function create(context: Context): void {
  const [tableName, ...settings] = context.args;
  const table = findTable(tableName);
  const id = context.options.get('--id') ?? null;
  const target = context.idl.table(table.name);
  let row: Row;
  if (id === null || !isUuid(id)) {
    let uuid: string | undefined;
    if (id !== null) {
      checkSymbolName(id);
      const symbol = context.symbol(id);
      if (symbol.created) throw new CommandError(`row id "${id}" may only be specified on one --id option`);
      symbol.created = true;
      if (table.isRoot) symbol.stronglyReferenced = true;
      uuid = symbol.uuid;
    }
    row = context.txn.insertNamed(target, uuid);
  } else {
    row = context.txn.insert(target, {}, id.toLowerCase());
  }
  for (const setting of settings) setColumn(context, row, setting);
  context.print(row.uuid);
  context.invalidate();
}

function checkSymbolName(id: string): void {
  if (!id.startsWith('@')) throw new CommandError(`row id "${id}" does not begin with "@"`);
}
