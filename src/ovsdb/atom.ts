/**
 * Atoms (RFC 7047 5.1): integer, real, boolean, string, uuid, as plain JavaScript values.
 *
 *   integer  number, or bigint outside ±2^53 (never both for one value, so `===` compares)
 *   real     number          boolean  boolean
 *   string   string          uuid     string of 36 characters, lower case
 *
 * The total order is the original's, because sets are kept, sent and printed in it: strings by their UTF-8 bytes,
 * uuids as 128-bit numbers (which is the order of their text).
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { syntaxError } from './error.ts';
import { formatReal, type Json, normalInteger } from './json.ts';

export const ATOMIC_TYPES = ['integer', 'real', 'boolean', 'string', 'uuid'] as const;
export type AtomicType = (typeof ATOMIC_TYPES)[number];
export type Integer = number | bigint;
export type Atom = string | number | bigint | boolean;
export type Uuid = string;

/** Names a row of the same transaction: gives the uuid that belongs to a `named-uuid`. */
export type NamedUuids = (name: string) => Uuid;

export const ZERO_UUID = '00000000-0000-0000-0000-000000000000';
const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;
const ID = /^[A-Za-z_][A-Za-z0-9_]*$/;

export function isAtomicType(name: unknown): name is AtomicType {
  return (ATOMIC_TYPES as readonly unknown[]).includes(name);
}

/** RFC 7047 3.1 `<id>`. */
export function isId(text: string): boolean {
  return ID.test(text);
}

export function isUuid(text: string): boolean {
  return text.length === 36 && UUID.test(text);
}

export function parseUuid(text: string): Uuid | null {
  return isUuid(text) ? text.toLowerCase() : null;
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));
const pool = new Uint8Array(4096);
let poolAt = pool.length;

// From the kernel itself: loading `node:crypto` would be a sixth of the start-up time of a command.
function fillRandom(bytes: Uint8Array): void {
  const fd = openSync('/dev/urandom', 'r');
  for (let n = 0; n < bytes.length; ) n += readSync(fd, bytes, n, bytes.length - n, null);
  closeSync(fd);
}

/** A random (version 4) uuid. */
export function newUuid(): Uuid {
  if (poolAt === pool.length) {
    fillRandom(pool);
    poolAt = 0;
  }
  let s = '';
  for (let i = 0; i < 16; i++) {
    let byte = pool[poolAt++]!;
    if (i === 6) byte = (byte & 0x0f) | 0x40;
    else if (i === 8) byte = (byte & 0x3f) | 0x80;
    if (i === 4 || i === 6 || i === 8 || i === 10) s += '-';
    s += HEX[byte];
  }
  return s;
}

export function defaultAtom(type: AtomicType): Atom {
  switch (type) {
    case 'integer':
    case 'real':
      return 0;
    case 'boolean':
      return false;
    case 'string':
      return '';
    case 'uuid':
      return ZERO_UUID;
  }
}

/** <0, 0, >0. Both must be of one type. */
export function compareAtoms(a: Atom, b: Atom): number {
  if (a === b) return 0;
  if (typeof a === 'string') return compareStrings(a, b as string);
  return a < b ? -1 : 1;
}

// UTF-16 order differs from UTF-8 order only where a surrogate meets a character from U+E000 on.
function compareStrings(a: string, b: string): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= 0xd800 && y >= 0xd800) {
      const xs = x < 0xe000;
      if (xs !== y < 0xe000) return xs ? 1 : -1;
    }
    return x - y;
  }
  return a.length - b.length;
}

function isInteger64(json: Json | undefined): json is Integer {
  return typeof json === 'bigint' || (typeof json === 'number' && Number.isSafeInteger(json));
}

/**
 * Reads an atom. Throws `OvsdbError`. A double that is whole but beyond 2^53 (only exponents write one) becomes an
 * integer when 64 bits hold it, as in the original.
 */
export function atomFromJson(type: AtomicType, json: Json | undefined, named?: NamedUuids): Atom {
  switch (type) {
    case 'string':
      if (typeof json === 'string') return json;
      break;
    case 'integer':
      if (isInteger64(json)) return json === 0 ? 0 : json;
      if (typeof json === 'number' && Number.isInteger(json) && Math.abs(json) < 2 ** 63)
        return normalInteger(BigInt(json));
      break;
    case 'real':
      // A number too great for a double reads as infinity, which JSON cannot write.
      if (typeof json === 'number' && Number.isFinite(json)) return json;
      if (typeof json === 'bigint') return Number(json);
      break;
    case 'boolean':
      if (typeof json === 'boolean') return json;
      break;
    case 'uuid':
      return uuidFromJson(json, named);
  }
  throw syntaxError(json, `expected ${type}`);
}

function uuidFromJson(json: Json | undefined, named: NamedUuids | undefined): Uuid {
  if (Array.isArray(json) && json.length === 2 && typeof json[1] === 'string') {
    if (json[0] === 'uuid') {
      const uuid = parseUuid(json[1]);
      if (uuid === null) throw syntaxError(json, `"${json[1]}" is not a valid UUID`);
      return uuid;
    }
    if (json[0] === 'named-uuid' && named !== undefined) {
      if (!isId(json[1])) throw syntaxError(json, 'named-uuid string is not a valid <id>');
      return named(json[1]);
    }
  }
  throw syntaxError(json, 'expected ["uuid", <string>]');
}

export function atomToJson(type: AtomicType, atom: Atom): Json {
  return type === 'uuid' ? ['uuid', atom as string] : atom;
}

/** A string that may stand without quotes in the tools' text. */
function isBareWord(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(text) && text !== 'true' && text !== 'false' && !isUuid(text);
}

/** As `ovs-vsctl list` prints an atom. */
export function atomToText(type: AtomicType, atom: Atom): string {
  switch (type) {
    case 'real':
      return formatReal(atom as number);
    case 'string':
      return isBareWord(atom as string) ? (atom as string) : JSON.stringify(atom);
    default:
      return String(atom);
  }
}

/** As `--data=bare` prints an atom: a string without quotes. */
export function atomToBare(type: AtomicType, atom: Atom): string {
  return type === 'string' ? (atom as string) : atomToText(type, atom);
}

const TRUE_WORDS = ['true', 'yes', 'on', '1'];
const FALSE_WORDS = ['false', 'no', 'off', '0'];

export interface AtomText {
  atom: Atom;
  /** Last value of a range of integers, `1-5`. */
  rangeEnd?: Integer;
}

/**
 * Reads an atom as a person types it. `symbol` gives the uuid for `@name`; without it that is not a valid uuid. Throws
 * `Error` with the tools' words.
 */
export function atomFromText(type: AtomicType, text: string, symbol?: NamedUuids): AtomText {
  switch (type) {
    case 'integer':
      return integerFromText(text);
    case 'real': {
      const value = Number(text);
      if (text.trim() !== '' && Number.isFinite(value) && /^[-+]?[0-9.]/.test(text)) return { atom: value };
      throw new Error(`"${text}" is not a valid real number`);
    }
    case 'boolean':
      if (TRUE_WORDS.includes(text)) return { atom: true };
      if (FALSE_WORDS.includes(text)) return { atom: false };
      throw new Error(`"${text}" is not a valid boolean (use "true" or "false")`);
    case 'string':
      return { atom: stringFromText(text) };
    case 'uuid': {
      if (text.startsWith('@') && symbol !== undefined) return { atom: symbol(text) };
      const uuid = parseUuid(text);
      if (uuid === null) throw new Error(`"${text}" is not a valid UUID`);
      return { atom: uuid };
    }
  }
}

function integerFromText(text: string): AtomText {
  const m = /^(-?[0-9]+)(?:-(-?[0-9]+))?$/.exec(text);
  const first = m ? int64(m[1]!) : null;
  const last = m?.[2] === undefined ? first : int64(m[2]);
  if (first === null || last === null) throw new Error(`"${text}" is not a valid integer or range`);
  if (m?.[2] === undefined) return { atom: first };
  if (last < first) throw new Error(`"${text}" is not a valid range. Range end cannot be before start.`);
  return last === first ? { atom: first } : { atom: first, rangeEnd: last };
}

function int64(digits: string): Integer | null {
  const value = normalInteger(BigInt(digits));
  return isInteger64(value) ? value : null;
}

function stringFromText(text: string): string {
  if (text === '') throw new Error('An empty string is not valid as input; use "" to represent the empty string');
  if (!text.startsWith('"')) return text;
  if (text.length < 2 || !text.endsWith('"')) throw new Error(`${text}: missing quote at end of quoted string`);
  const plain = unescapeJson(text.slice(1, -1), text);
  if (!plain.isWellFormed()) throw new Error(`${text}: malformed escaped surrogate pair`);
  return plain;
}

const ESCAPES: Record<string, string> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

function unescapeJson(inner: string, whole: string): string {
  return inner.replace(
    /\\(?:u([0-9a-fA-F]{4})|([\s\S]?))|"/g,
    (sequence, hex: string | undefined, c: string | undefined) => {
      if (hex !== undefined) {
        if (hex === '0000') throw new Error(`${whole}: null bytes not supported in quoted strings`);
        return String.fromCharCode(Number.parseInt(hex, 16));
      }
      if (sequence === '"') throw new Error(`${whole}: quoted string may not include unescaped "`);
      if (c === 'u') throw new Error(`${whole}: malformed \\u escape`);
      if (c === undefined || c === '') throw new Error(`${whole}: quoted string may not end with backslash`);
      const plain = ESCAPES[c];
      if (plain === undefined) throw new Error(`${whole}: bad escape \\${c}`);
      return plain;
    },
  );
}
