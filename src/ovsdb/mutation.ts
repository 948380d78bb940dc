/**
 * Mutations (RFC 7047 5.1 `<mutation>`): arithmetic on numbers and sets of them, insertion into and deletion from sets and maps.
 * Integers are of 64 bits: a result out of range is an error, never a wrap.
 */
import { type Atom, compareAtoms, type Integer, type NamedUuids } from './atom.ts';
import { type Datum, datumFromJson, datumSubtract, datumUnion, makeSet } from './datum.ts';
import { constraintViolation, OvsdbError, syntaxError } from './error.ts';
import { type Json, normalInteger } from './json.ts';
import type { ColumnSchema, TableSchema } from './schema.ts';
import { type ColumnType, checkAtom, columnType, isScalar, typeToEnglish, UNLIMITED } from './types.ts';

export const MUTATORS = ['+=', '-=', '*=', '/=', '%=', 'insert', 'delete'] as const;
export type Mutator = (typeof MUTATORS)[number];

export interface Mutation {
  readonly column: ColumnSchema;
  readonly mutator: Mutator;
  readonly argument: Datum;
}

/** Throws `OvsdbError`. */
export function mutationsFromJson(table: TableSchema, json: readonly Json[], named?: NamedUuids): Mutation[] {
  return json.map((mutation) => mutationFromJson(table, mutation, named));
}

function mutationFromJson(table: TableSchema, json: Json, named?: NamedUuids): Mutation {
  if (!Array.isArray(json) || json.length !== 3 || typeof json[0] !== 'string' || typeof json[1] !== 'string') {
    throw syntaxError(json, 'Parse error in mutation.');
  }
  const [columnName, name, argument] = json;
  const column = table.columnByName.get(columnName);
  if (column === undefined && columnName !== '_uuid' && columnName !== '_version') {
    throw syntaxError(json, `No column ${columnName} in table ${table.name}.`, 'unknown column');
  }
  if (!column?.mutable) {
    const details = `Cannot mutate immutable column ${columnName} in table ${table.name}.`;
    throw syntaxError(json, details, 'constraint violation');
  }
  if (!(MUTATORS as readonly string[]).includes(name)) {
    throw new OvsdbError('unknown mutator', `No mutator named ${name}.`);
  }
  const mutator = name as Mutator;
  if (!isApplicable(mutator, column.type)) {
    throw syntaxError(
      json,
      `Type mismatch: "${mutator}" operator may not be applied to column ${columnName} of type ${typeToEnglish(column.type)}.`,
    );
  }
  return { column, mutator, argument: argumentFromJson(mutator, column.type, argument, named) };
}

function isApplicable(mutator: Mutator, type: ColumnType): boolean {
  if (mutator === 'insert' || mutator === 'delete') return !isScalar(type);
  if (type.value !== null) return false;
  return type.key.type === 'integer' || (type.key.type === 'real' && mutator !== '%=');
}

function argumentFromJson(mutator: Mutator, type: ColumnType, json: Json, named?: NamedUuids): Datum {
  switch (mutator) {
    case 'insert':
      return datumFromJson({ ...type, min: 0 }, json, named);
    case 'delete': {
      const any: ColumnType = { ...type, min: 0, max: UNLIMITED };
      if (type.value !== null && !(Array.isArray(json) && json[0] === 'map')) {
        return datumFromJson({ ...any, value: null }, json, named);
      }
      return datumFromJson(any, json, named);
    }
    default:
      // The constraints are on the result, not on the operand.
      return datumFromJson(columnType({ ...type.key, min: null, max: null, enum: null }), json, named);
  }
}

/** The mutated value; `value` itself if nothing changes. Throws `OvsdbError`. */
export function applyMutation(mutation: Mutation, value: Datum): Datum {
  const { column, mutator, argument } = mutation;
  const { type } = column;
  let result: Datum;
  if (mutator === 'insert') result = datumUnion(value, argument);
  else if (mutator === 'delete') result = datumSubtract(value, argument);
  else result = arithmetic(type, mutator, value, argument.keys[0] as Integer);
  const n = result.keys.length;
  if (n < type.min || n > type.max) {
    throw constraintViolation(`Attempted to store ${n} elements in ${typeToEnglish(type)}.`);
  }
  return result;
}

function arithmetic(type: ColumnType, mutator: Mutator, value: Datum, operand: Integer): Datum {
  const compute = type.key.type === 'integer' ? integerResult : realResult;
  const atoms: Atom[] = value.keys.map((atom) => {
    const result = compute(mutator, atom as Integer, operand);
    checkAtom(type.key, result);
    return result;
  });
  if (atoms.length > 1) {
    const sorted = [...atoms].sort(compareAtoms);
    if (sorted.some((atom, i) => i > 0 && atom === sorted[i - 1])) {
      throw constraintViolation(`Result of "${mutator}" operation contains duplicates.`);
    }
  }
  return makeSet(atoms);
}

function integerResult(mutator: Mutator, a: Integer, b: Integer): Integer {
  if ((mutator === '/=' || mutator === '%=') && b === 0) throw new OvsdbError('domain error', 'Division by zero.');
  const result = wholeResult(mutator, BigInt(a), BigInt(b));
  if (BigInt.asIntN(64, result) !== result) throw outOfRange(mutator);
  return normalInteger(result);
}

function wholeResult(mutator: Mutator, a: bigint, b: bigint): bigint {
  switch (mutator) {
    case '+=':
      return a + b;
    case '-=':
      return a - b;
    case '*=':
      return a * b;
    case '/=':
      return a / b;
    default:
      return a % b;
  }
}

function realResult(mutator: Mutator, a: Integer, b: Integer): number {
  const x = Number(a);
  const y = Number(b);
  if (mutator === '/=' && y === 0) throw new OvsdbError('domain error', 'Division by zero.');
  const result = mutator === '+=' ? x + y : mutator === '-=' ? x - y : mutator === '*=' ? x * y : x / y;
  if (!Number.isFinite(result)) throw outOfRange(mutator);
  return result;
}

function outOfRange(mutator: Mutator): OvsdbError {
  return new OvsdbError('range error', `Result of "${mutator}" operation is out of range.`);
}
