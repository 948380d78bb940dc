/**
 * Conditions (RFC 7047 5.1 `<condition>`): which rows an operation, or a conditional monitor, is about.
 *
 * An operation matches rows for which all clauses hold; a monitor matches rows for which any does (ovsdb-server(7), 4.1.12).
 */
import { type NamedUuids, type Uuid, ZERO_UUID } from './atom.ts';
import { type Datum, datumExcludes, datumFromJson, datumIncludedIn, datumsEqual } from './datum.ts';
import { OvsdbError, syntaxError } from './error.ts';
import type { Json } from './json.ts';
import type { Row } from './row.ts';
import { type ColumnSchema, type TableSchema, UUID_TYPE } from './schema.ts';
import { type ColumnType, isScalar, typeToEnglish, UNLIMITED } from './types.ts';

export const FUNCTIONS = ['==', '!=', '<', '<=', '>', '>=', 'includes', 'excludes'] as const;
export type ConditionFunction = (typeof FUNCTIONS)[number];

/** Columns every row has beside those of its table. */
export type SpecialColumn = '_uuid' | '_version';
export type ColumnRef = ColumnSchema | SpecialColumn;

export interface Clause {
  readonly column: ColumnRef;
  readonly function: ConditionFunction;
  readonly argument: Datum;
}

export type Condition = readonly (Clause | boolean)[];

export function columnRefType(column: ColumnRef): ColumnType {
  return typeof column === 'string' ? UUID_TYPE : column.type;
}

export function columnRefName(column: ColumnRef): string {
  return typeof column === 'string' ? column : column.name;
}

export function findColumn(table: TableSchema, name: string): ColumnRef | undefined {
  return table.columnByName.get(name) ?? (name === '_uuid' || name === '_version' ? name : undefined);
}

export function columnValue(row: Row, column: ColumnRef): Datum {
  if (typeof column !== 'string') return row.data[column.index]!;
  return { keys: [column === '_uuid' ? row.uuid : row.version], values: null };
}

/** Reads an array of clauses; throws `OvsdbError`. */
export function conditionFromJson(table: TableSchema, json: readonly Json[], named?: NamedUuids): Condition {
  return json.map((clause) => clauseFromJson(table, clause, named));
}

function clauseFromJson(table: TableSchema, json: Json, named?: NamedUuids): Clause | boolean {
  if (typeof json === 'boolean') return json;
  if (!Array.isArray(json) || json.length !== 3 || typeof json[0] !== 'string' || typeof json[1] !== 'string') {
    throw syntaxError(json, 'Parse error in condition.');
  }
  const [columnName, name, argument] = json;
  const column = findColumn(table, columnName);
  if (column === undefined) {
    throw syntaxError(json, `No column ${columnName} in table ${table.name}.`, 'unknown column');
  }
  if (!(FUNCTIONS as readonly string[]).includes(name)) {
    throw new OvsdbError('unknown function', `No function named ${name}.`);
  }
  const type = columnRefType(column);
  const fn = name as ConditionFunction;
  if (fn === '<' || fn === '<=' || fn === '>' || fn === '>=') {
    const number = type.key.type === 'integer' || type.key.type === 'real';
    if (!number || type.value !== null || type.max !== 1) {
      throw syntaxError(
        json,
        `Type mismatch: "${fn}" operator may not be applied to column ${columnName} of type ${typeToEnglish(type)}.`,
      );
    }
  }
  return { column, function: fn, argument: datumFromJson(argumentType(type, fn), argument, named) };
}

// A part of a set may be smaller than the set must be; what a set shall not have may be of any size.
function argumentType(type: ColumnType, fn: ConditionFunction): ColumnType {
  if (isScalar(type)) return type;
  if (fn === 'includes') return { ...type, min: 0 };
  if (fn === 'excludes') return { ...type, min: 0, max: UNLIMITED };
  return fn === '==' || fn === '!=' ? type : { ...type, min: 1 };
}

export function clauseMatches(clause: Clause, row: Row): boolean {
  const value = columnValue(row, clause.column);
  const { argument } = clause;
  switch (clause.function) {
    case '==':
      return datumsEqual(value, argument);
    case '!=':
      return !datumsEqual(value, argument);
    case 'includes':
      return datumIncludedIn(argument, value);
    case 'excludes':
      return datumExcludes(argument, value);
  }
  if (value.keys.length === 0 || argument.keys.length === 0) return false;
  const a = value.keys[0]!;
  const b = argument.keys[0]!;
  switch (clause.function) {
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    case '>=':
      return a >= b;
  }
}

export function matchesAll(condition: Condition, row: Row): boolean {
  for (const clause of condition) {
    if (typeof clause === 'boolean' ? !clause : !clauseMatches(clause, row)) return false;
  }
  return true;
}

/** Monitors: any clause; no clause at all matches every row. */
export function matchesAny(condition: Condition, row: Row): boolean {
  if (condition.length === 0) return true;
  return condition.some((clause) => (typeof clause === 'boolean' ? clause : clauseMatches(clause, row)));
}

/** The one row that a condition of `_uuid == X` among its clauses can match. */
export function uuidOfCondition(condition: Condition): Uuid | null {
  for (const clause of condition) {
    if (typeof clause === 'boolean' || clause.column !== '_uuid') continue;
    if (clause.function === '==' || clause.function === 'includes') {
      return (clause.argument.keys[0] as Uuid | undefined) ?? ZERO_UUID;
    }
  }
  return null;
}
