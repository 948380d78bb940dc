/**
 * The arguments of database commands: names of tables, rows and columns, and `COLUMN[:KEY]OPERATOR VALUE`.
 *
 * Names of tables and columns may be abbreviated, `-` is as good as `_` and case does not matter. What can be judged
 * by the schema alone is judged before any server is asked, by the schema compiled in.
 */
import { readToken } from '../../ovsdb/datum-text.ts';
import type { Row } from '../../ovsdb/idl.ts';
import type { ColumnSchema, TableSchema } from '../../ovsdb/schema.ts';
import {
  type Atom,
  atomFromText,
  type ColumnType,
  checkAtom,
  compareDatums,
  type Datum,
  datumExcludes,
  datumGet,
  datumIncludedIn,
  datumsEqual,
  EMPTY_SET,
  isUuid,
  parseDatumText,
  scalarDatum,
  UNLIMITED,
} from '../../ovsdb/types.ts';
import type { Needs } from './command.ts';
import { CommandError, type Context } from './context.ts';
import { target } from './target.ts';

/** A table of the schema this program was made for; callers pass names of such tables. */
function compiledTable(name: string): TableSchema {
  const table = target().table(name);
  if (table === undefined) throw new CommandError(`unknown table "${name}"`);
  return table;
}

const fold = (name: string) => name.toLowerCase().replaceAll('-', '_');

/** Names that equal `typed`, else all that it abbreviates. */
function matching(names: readonly string[], typed: string): string[] {
  const wanted = fold(typed);
  const exact = names.filter((name) => fold(name) === wanted);
  return exact.length > 0 ? exact.slice(0, 1) : names.filter((name) => fold(name).startsWith(wanted));
}

export function findTable(typed: string): TableSchema {
  const matches = matching(target().tableNames, typed);
  if (matches.length === 0) throw new CommandError(`unknown table "${typed}"`);
  if (matches.length > 1) throw new CommandError(`"${typed}" matches multiple table names: ${matches.join(', ')}`);
  return compiledTable(matches[0]);
}

/** A table's columns in alphabetical order. */
export function columnNames(table: TableSchema): string[] {
  return table.columns.map((column) => column.name).sort();
}

export function findColumn(table: TableSchema, typed: string): ColumnSchema {
  const matches = matching(columnNames(table), typed);
  if (matches.length === 0) {
    throw new CommandError(`${table.name} does not contain a column whose name matches "${typed}"`);
  }
  if (matches.length > 1) {
    throw new CommandError(
      `${table.name} contains more than one column whose name matches "${typed}": ${matches.join(', ')}`,
    );
  }
  return table.columnByName.get(matches[0])!; // matches are names of its columns.
}

/** Refuses a column that only the creation of a row may set. */
export function findWritableColumn(table: TableSchema, typed: string): ColumnSchema {
  const column = findColumn(table, typed);
  if (!column.mutable) throw new CommandError(`cannot modify read-only column ${column.name} in table ${table.name}`);
  return column;
}

/** What has to be fetched to find a row of `table` by any of its names. */
export function recordNeeds(table: string): Needs {
  const needs: Record<string, readonly string[]> = { [table]: [] };
  for (const id of target().recordIds[table] ?? []) {
    if (id.nameColumn === null) continue;
    const columns = id.via === null ? [id.nameColumn] : [id.nameColumn, id.via];
    needs[id.nameTable] = [...(needs[id.nameTable] ?? []), ...columns];
  }
  return needs;
}

/** What `setColumn()` and `conditionHolds()` need for an argument. */
export function columnNeeds(table: string, arg: string): Needs {
  const schema = compiledTable(table);
  return { [table]: [findColumn(schema, readName(arg)).name] };
}

function readName(arg: string): string {
  const { token } = words(() => readToken(arg, 0));
  if (token === '') throw new CommandError(`${arg}: missing column name`);
  return token;
}

/** Turns the errors of parsers into the command's. */
function words<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof CommandError
      ? error
      : new CommandError(error instanceof Error ? error.message : String(error));
  }
}

interface ColumnArg {
  readonly column: ColumnSchema;
  readonly key: string | null;
  readonly operator: string | null;
  readonly value: string;
}

const CONDITIONS = ['=', '!=', '<', '>', '<=', '>=', '{=}', '{!=}', '{<}', '{>}', '{<=}', '{>=}', '{in}', '{not-in}'];

/** Reads `COLUMN[:KEY]`, followed by one of `operators` and a value unless there are none. */
export function parseColumnArg(table: TableSchema, arg: string, operators: readonly string[]): ColumnArg {
  const name = words(() => readToken(arg, 0));
  const column = findColumn(table, readName(arg));
  let at = name.end;
  let key: string | null = null;
  if (arg[at] === ':') {
    const token = words(() => readToken(arg, at + 1));
    key = token.token;
    at = token.end;
  }
  if (operators.length === 0) {
    if (at < arg.length) throw new CommandError(`${arg}: trailing garbage "${arg.slice(at)}" in argument`);
    return { column, key, operator: null, value: '' };
  }
  let operator = '';
  for (const one of operators) if (one.length > operator.length && arg.startsWith(one, at)) operator = one;
  const value = arg.slice(at + operator.length);
  if (operator === '' || value === '') {
    throw new CommandError(`${arg}: argument does not end in ${operatorList(operators)} followed by a value.`);
  }
  return { column, key, operator, value };
}

function operatorList(operators: readonly string[]): string {
  const quoted = operators.map((one) => `"${one}"`);
  if (quoted.length === 1) return quoted[0];
  return `${quoted.slice(0, -1).join(', ')}, or ${quoted[quoted.length - 1]}`;
}

export function parseAtomText(base: ColumnType['key'], text: string, context: Context | null): Atom {
  return words(() => {
    const { atom } = atomFromText(base.type, text, context === null ? undefined : symbols(context, base));
    checkAtom(base, atom);
    return atom;
  });
}

export function parseValueText(type: ColumnType, text: string, context: Context): Datum {
  return words(() => parseDatumText(type, text, symbols(context, type.value?.type === 'uuid' ? type.value : type.key)));
}

/** `@name` for a row of this run; remembers that something refers to it. */
function symbols(context: Context, base: ColumnType['key']): (name: string) => string {
  return (name) => {
    const symbol = context.symbol(name);
    symbol.referenced = true;
    if (base.refTable !== null && base.refType === 'strong') symbol.stronglyReferenced = true;
    return symbol.uuid;
  };
}

/** Carries out one `COLUMN[:KEY]=VALUE`. */
export function setColumn(context: Context, row: Row, arg: string): void {
  const table = compiledTable(row.table.name);
  const { column, key, value } = parseColumnArg(table, arg, ['=']);
  const { type } = column;
  if (key === null) {
    context.txn.set(row, column.name, parseValueText(type, value, context));
    return;
  }
  if (type.value === null) throw new CommandError(`cannot specify key to set for non-map column ${column.name}`);
  const keyAtom = parseAtomText(type.key, key, context);
  const valueAtom = parseAtomText(type.value, value, context);
  context.txn.add(row, column.name, { keys: [keyAtom], values: [valueAtom] });
}

/** Whether a row satisfies `COLUMN[:KEY]OPERATOR VALUE`. */
export function conditionHolds(context: Context, table: TableSchema, row: Row, arg: string): boolean {
  const { column, key, operator, value } = parseColumnArg(table, arg, CONDITIONS);
  const have = context.txn.get(row, column.name);
  const { type } = column;
  if (key === null) return evaluate(operator!, have, parseValueText(type, value, context)); // CONDITIONS was not empty.

  if (type.value === null) throw new CommandError(`cannot specify key to check for non-map column ${column.name}`);
  const wantType: ColumnType = { key: type.value, value: null, min: 0, max: UNLIMITED };
  const want = parseValueText(wantType, value, context);
  const found = datumGet(have, parseAtomText(type.key, key, context));
  if (found === undefined && !operator!.startsWith('{')) return false;
  return evaluate(operator!, found === undefined ? EMPTY_SET : scalarDatum(found), want);
}

function evaluate(operator: string, have: Datum, want: Datum): boolean {
  switch (operator) {
    case '=':
    case '{=}':
      return datumsEqual(have, want);
    case '!=':
    case '{!=}':
      return !datumsEqual(have, want);
    case '<':
      return compareDatums(have, want) < 0;
    case '>':
      return compareDatums(have, want) > 0;
    case '<=':
      return compareDatums(have, want) <= 0;
    case '>=':
      return compareDatums(have, want) >= 0;
    case '{<}':
      return have.keys.length < want.keys.length && datumIncludedIn(have, want);
    case '{>}':
      return have.keys.length > want.keys.length && datumIncludedIn(want, have);
    case '{<=}':
    case '{in}':
      return datumIncludedIn(have, want);
    case '{>=}':
      return datumIncludedIn(want, have);
    default:
      return datumExcludes(have, want);
  }
}

/** The row a person means by `record`: a UUID or the start of one, `.`, or a name. */
export function findRecord(context: Context, table: TableSchema, record: string, mustExist: true): Row;
export function findRecord(context: Context, table: TableSchema, record: string, mustExist: boolean): Row | null;
export function findRecord(context: Context, table: TableSchema, record: string, mustExist: boolean): Row | null {
  const rows = context.rows(table.name);
  const row =
    (isUuid(record) ? rows.find((one) => one.uuid === record.toLowerCase()) : undefined) ??
    findByName(context, table, record) ??
    findByPrefix(table, rows, record);
  if (row === undefined && mustExist) throw new CommandError(`no row "${record}" in table ${table.name}`);
  return row ?? null;
}

function findByName(context: Context, table: TableSchema, record: string): Row | undefined {
  for (const id of target().recordIds[table.name] ?? []) {
    if (id.nameColumn === null) {
      const rows = context.rows(table.name);
      if (record === '.' && rows.length > 0) return rows[0];
      continue;
    }
    const type = compiledTable(id.nameTable).columnByName.get(id.nameColumn)!.type; // `recordIds` names them.
    let name: Atom;
    try {
      name = type.key.type === 'string' ? record : atomFromText(type.key.type, record).atom;
    } catch {
      continue;
    }
    const matches = context
      .rows(id.nameTable)
      .filter((row) => datumsEqual(context.txn.get(row, id.nameColumn!), scalarDatum(name)));
    if (matches.length > 1) throw new CommandError(`multiple rows in ${id.nameTable} match "${record}"`);
    if (matches.length === 0) continue;
    const found = id.via === null ? matches[0] : context.view(matches[0]).ref(id.via);
    if (found !== null) return found;
  }
  return undefined;
}

function findByPrefix(table: TableSchema, rows: readonly Row[], record: string): Row | undefined {
  if (!/^[0-9a-fA-F-]{4,}$/.test(record)) return undefined;
  const matches = rows.filter((row) => row.uuid.startsWith(record.toLowerCase()));
  if (matches.length > 1) {
    throw new CommandError(
      `${table.name} contains 2 or more rows whose UUIDs begin with ${record}: at least ${matches[0].uuid} and ${matches[1].uuid}`,
    );
  }
  return matches[0];
}
