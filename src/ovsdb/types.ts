/**
 * The types of columns (RFC 7047 3.2 `<base-type>`, `<type>`) and, re-exported, the values they hold: this is the door
 * to atoms and datums for the other rooms.
 */
import { type Atom, type AtomicType, atomToText, type Integer, isAtomicType } from './atom.ts';
import { type Datum, datumFromJson, datumHas, datumToJson, datumToText } from './datum.ts';
import { constraintViolation, syntaxError } from './error.ts';
import { formatReal, isObject, type Json, type JsonObject } from './json.ts';
import { ObjectParser } from './parser.ts';

export * from './atom.ts';
export * from './datum.ts';
export { parseDatumText } from './datum-text.ts';
export { OvsdbError } from './error.ts';
export { type Json, type JsonObject, parseJson, stringifyJson } from './json.ts';

/** `max` of a set or map, and `maxLength` of a string, without limit. */
export const UNLIMITED = 0xffffffff;

export interface BaseType {
  readonly type: AtomicType;
  readonly enum: Datum | null;
  /** Of integers and reals, inclusive; null for none. */
  readonly min: Integer | null;
  readonly max: Integer | null;
  /** Of strings, in characters. */
  readonly minLength: number;
  readonly maxLength: number;
  readonly refTable: string | null;
  readonly refType: 'strong' | 'weak';
}

export interface ColumnType {
  readonly key: BaseType;
  /** Null for a set. */
  readonly value: BaseType | null;
  readonly min: 0 | 1;
  readonly max: number;
}

export function baseType(type: AtomicType, constraints: Partial<BaseType> = {}): BaseType {
  return {
    type,
    enum: null,
    min: null,
    max: null,
    minLength: 0,
    maxLength: UNLIMITED,
    refTable: null,
    refType: 'strong',
    ...constraints,
  };
}

export function columnType(key: BaseType, value: BaseType | null = null, min: 0 | 1 = 1, max = 1): ColumnType {
  return { key, value, min, max };
}

export function isScalar(type: ColumnType): boolean {
  return type.min === 1 && type.max === 1 && type.value === null;
}

export function isMap(type: ColumnType): boolean {
  return type.value !== null;
}

function enumType(type: AtomicType): ColumnType {
  return columnType(baseType(type), null, 1, UNLIMITED);
}

export function baseTypeFromJson(json: Json): BaseType {
  if (typeof json === 'string') return baseType(atomicTypeFromJson(json));
  const p = new ObjectParser(json, 'ovsdb type');
  const type = atomicTypeFromJson(p.required('type', 'string'));
  const enumJson = p.optional('enum', 'any');
  let base: BaseType;
  if (enumJson !== undefined) {
    base = baseType(type, { enum: datumFromJson(enumType(type), enumJson) });
  } else if (type === 'integer' || type === 'real') {
    const [minName, maxName] = type === 'integer' ? ['minInteger', 'maxInteger'] : ['minReal', 'maxReal'];
    const kind = type === 'integer' ? 'integer' : 'number';
    const min = (p.optional(minName, kind) ?? null) as Integer | null;
    const max = (p.optional(maxName, kind) ?? null) as Integer | null;
    if (min !== null && max !== null && min > max) throw syntaxError(json, `${minName} exceeds ${maxName}`);
    base = baseType(type, { min, max });
  } else if (type === 'string') {
    const minLength = length(p, 'minLength') ?? 0;
    const maxLength = length(p, 'maxLength') ?? UNLIMITED;
    if (minLength > maxLength) throw syntaxError(json, 'minLength exceeds maxLength');
    base = baseType(type, { minLength, maxLength });
  } else if (type === 'uuid') {
    const refTable = (p.optional('refTable', 'id') ?? null) as string | null;
    let refType: BaseType['refType'] = 'strong';
    if (refTable !== null) {
      const word = p.optional('refType', 'id');
      if (word === 'weak') refType = 'weak';
      else if (word !== undefined && word !== 'strong') {
        throw syntaxError(json, `refType must be "strong" or "weak" (not "${word}")`);
      }
    }
    base = baseType(type, { refTable, refType });
  } else {
    base = baseType(type);
  }
  p.finish();
  return base;
}

function atomicTypeFromJson(json: Json): AtomicType {
  if (isAtomicType(json)) return json;
  throw syntaxError(json, `"${json}" is not an atomic-type`);
}

function length(p: ObjectParser, name: string): number | undefined {
  const value = p.optional(name, 'integer');
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || value < 0 || value > UNLIMITED) {
    throw syntaxError(value, `${name} out of valid range 0 to ${UNLIMITED}`);
  }
  return value;
}

export function baseTypeToJson(base: BaseType): Json {
  const json: JsonObject = { type: base.type };
  if (base.enum !== null) json['enum'] = datumToJson(enumType(base.type), base.enum);
  const [minName, maxName] = base.type === 'integer' ? ['minInteger', 'maxInteger'] : ['minReal', 'maxReal'];
  if (base.min !== null) json[minName] = base.min;
  if (base.max !== null) json[maxName] = base.max;
  if (base.minLength !== 0) json['minLength'] = base.minLength;
  if (base.maxLength !== UNLIMITED) json['maxLength'] = base.maxLength;
  if (base.refTable !== null) {
    json['refTable'] = base.refTable;
    if (base.refType === 'weak') json['refType'] = 'weak';
  }
  return Object.keys(json).length === 1 ? base.type : json;
}

export function columnTypeFromJson(json: Json): ColumnType {
  if (typeof json === 'string') return columnType(baseTypeFromJson(json));
  if (!isObject(json)) throw syntaxError(json, 'ovsdb type expected');
  const p = new ObjectParser(json, 'ovsdb type');
  const key = baseTypeFromJson(p.required('key', 'string', 'object'));
  const valueJson = p.optional('value', 'string', 'object');
  const value = valueJson === undefined ? null : baseTypeFromJson(valueJson);
  const min = bound(p.optional('min', 'integer'), false);
  const max = bound(p.optional('max', 'integer', 'string'), true);
  p.finish();
  if (min > 1 || max < 1 || min > max) throw syntaxError(json, 'ovsdb type fails constraint checks');
  return columnType(key, value, min as 0 | 1, max);
}

function bound(json: Json | undefined, unlimitedAllowed: boolean): number {
  if (json === undefined) return 1;
  if (typeof json === 'number' && Number.isInteger(json) && json >= 0 && json < UNLIMITED) return json;
  if (unlimitedAllowed && json === 'unlimited') return UNLIMITED;
  throw syntaxError(json, 'bad min or max value');
}

export function columnTypeToJson(type: ColumnType): Json {
  const key = baseTypeToJson(type.key);
  if (isScalar(type) && typeof key === 'string') return key;
  const json: JsonObject = { key };
  if (type.value !== null) json['value'] = baseTypeToJson(type.value);
  if (type.min !== 1) json['min'] = type.min;
  if (type.max !== 1) json['max'] = type.max === UNLIMITED ? 'unlimited' : type.max;
  return json;
}

/** Throws a `constraint violation` unless the atom is what its type allows. */
export function checkAtom(base: BaseType, atom: Atom): void {
  if (base.enum !== null) {
    if (datumHas(base.enum, atom)) return;
    const allowed = datumToText(enumType(base.type), base.enum);
    throw constraintViolation(`${atomToText(base.type, atom)} is not one of the allowed values (${allowed})`);
  }
  switch (base.type) {
    case 'integer':
    case 'real':
      if ((base.min !== null && (atom as Integer) < base.min) || (base.max !== null && (atom as Integer) > base.max)) {
        throw constraintViolation(rangeDetails(base, atom as Integer));
      }
      return;
    case 'string':
      checkLength(base, atom as string);
  }
}

function rangeDetails(base: BaseType, atom: Integer): string {
  const show = (n: Integer | null) => (typeof n === 'number' && base.type === 'real' ? formatReal(n) : String(n));
  if (base.min !== null && base.max !== null) {
    return `${show(atom)} is not in the valid range ${show(base.min)} to ${show(base.max)} (inclusive)`;
  }
  return base.min !== null
    ? `${show(atom)} is less than minimum allowed value ${show(base.min)}`
    : `${show(atom)} is greater than maximum allowed value ${show(base.max)}`;
}

function checkLength(base: BaseType, text: string): void {
  if (base.minLength === 0 && base.maxLength >= text.length) return;
  const n = [...text].length;
  if (n < base.minLength) {
    throw constraintViolation(`"${text}" length ${n} is less than minimum allowed length ${base.minLength}`);
  }
  if (n > base.maxLength) {
    throw constraintViolation(`"${text}" length ${n} is greater than maximum allowed length ${base.maxLength}`);
  }
}

/** "set of up to 1 integers", for messages. */
export function typeToEnglish(type: ColumnType): string {
  if (isScalar(type)) return type.key.type;
  let s = type.value === null ? 'set' : 'map';
  s += ' of ';
  if (type.max !== UNLIMITED) s += type.min === 0 ? `up to ${type.max} ` : `${type.min} to ${type.max} `;
  else if (type.min > 0) s += `${type.min} or more `;
  return s + (type.value === null ? `${type.key.type}s` : `(${type.key.type}, ${type.value.type}) pairs`);
}
