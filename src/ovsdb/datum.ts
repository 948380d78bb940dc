/**
 * Datums (RFC 7047 5.1 `<value>`): the content of one column of one row. A scalar is a set of one.
 *
 * Invariants: keys are sorted (`compareAtoms`) and distinct; `values` is null for sets and else as long as `keys`. A datum is never
 * changed after it was made, so rows, transactions and monitors share them freely.
 */
import {
  type Atom,
  atomFromJson,
  atomToBare,
  atomToJson,
  atomToText,
  compareAtoms,
  defaultAtom,
  type NamedUuids,
} from './atom.ts';
import { OvsdbError, syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { type BaseType, type ColumnType, checkAtom } from './types.ts';

export interface Datum {
  readonly keys: readonly Atom[];
  readonly values: readonly Atom[] | null;
}

export const EMPTY_SET: Datum = { keys: [], values: null };
export const EMPTY_MAP: Datum = { keys: [], values: [] };

export function scalarDatum(atom: Atom): Datum {
  return { keys: [atom], values: null };
}

export function emptyDatum(type: ColumnType): Datum {
  return type.value === null ? EMPTY_SET : EMPTY_MAP;
}

/** The value of a column that nobody set (RFC 7047 5.2.1). */
export function defaultDatum(type: ColumnType): Datum {
  if (type.min === 0) return emptyDatum(type);
  const key = defaultAtom(type.key.type);
  return { keys: [key], values: type.value === null ? null : [defaultAtom(type.value.type)] };
}

/**
 * Whether the file holds a column's new value in place of its difference from `before`: where there is at most one value or pair, and, as the
 * original has it, behind a default value.
 */
export function standsWhole(type: ColumnType, before: Datum): boolean {
  return type.max === 1 || (type.min === 1 && datumsEqual(before, defaultDatum(type)));
}

/** Sorts; throws the original's error for duplicates. */
export function makeSet(atoms: readonly Atom[]): Datum {
  return sortSet(atoms, 'set contains duplicate');
}

export function sortSet(atoms: readonly Atom[], duplicate: string): Datum {
  if (atoms.length < 2) return { keys: atoms, values: null };
  const keys = isSorted(atoms) ? atoms : [...atoms].sort(compareAtoms);
  for (let i = 1; i < keys.length; i++) {
    if (keys[i] === keys[i - 1]) throw new OvsdbError('ovsdb error', duplicate);
  }
  return { keys, values: null };
}

export function makeMap(entries: readonly (readonly [Atom, Atom])[]): Datum {
  const sorted = isAscending(entries) ? entries : [...entries].sort((a, b) => compareAtoms(a[0], b[0]));
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i]![0] === sorted[i - 1]![0]) throw new OvsdbError('ovsdb error', 'map contains duplicate key');
  }
  return { keys: sorted.map((e) => e[0]), values: sorted.map((e) => e[1]) };
}

function isAscending(entries: readonly (readonly [Atom, Atom])[]): boolean {
  for (let i = 1; i < entries.length; i++) if (compareAtoms(entries[i - 1]![0], entries[i]![0]) > 0) return false;
  return true;
}

function isSorted(atoms: readonly Atom[]): boolean {
  for (let i = 1; i < atoms.length; i++) if (compareAtoms(atoms[i - 1]!, atoms[i]!) > 0) return false;
  return true;
}

/** Index of a key, or the complement (`~`) of where it would stand. */
export function datumFind(datum: Datum, key: Atom): number {
  const { keys } = datum;
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    const order = compareAtoms(keys[mid]!, key);
    if (order === 0) return mid;
    if (order < 0) low = mid + 1;
    else high = mid;
  }
  return ~low;
}

export function datumHas(datum: Datum, key: Atom): boolean {
  return datumFind(datum, key) >= 0;
}

/** The value of a map for a key, or undefined. */
export function datumGet(datum: Datum, key: Atom): Atom | undefined {
  const i = datumFind(datum, key);
  return i < 0 ? undefined : datum.values?.[i];
}

function sameAtoms(a: readonly Atom[], b: readonly Atom[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function datumsEqual(a: Datum, b: Datum): boolean {
  if (a === b) return true;
  if (!sameAtoms(a.keys, b.keys)) return false;
  return a.values === null || b.values === null ? a.values === b.values : sameAtoms(a.values, b.values);
}

/** A total order: by size, then keys, then values. */
export function compareDatums(a: Datum, b: Datum): number {
  if (a === b) return 0;
  if (a.keys.length !== b.keys.length) return a.keys.length - b.keys.length;
  for (let i = 0; i < a.keys.length; i++) {
    const order = compareAtoms(a.keys[i]!, b.keys[i]!);
    if (order !== 0) return order;
  }
  if (a.values === null || b.values === null) return 0;
  for (let i = 0; i < a.values.length; i++) {
    const order = compareAtoms(a.values[i]!, b.values[i]!);
    if (order !== 0) return order;
  }
  return 0;
}

/** Every key of `a` is in `b` (with the same value, for maps). */
export function datumIncludedIn(a: Datum, b: Datum): boolean {
  for (let i = 0; i < a.keys.length; i++) {
    const at = datumFind(b, a.keys[i]!);
    if (at < 0 || (a.values !== null && a.values[i] !== b.values?.[at])) return false;
  }
  return true;
}

/** No key of `a` is in `b` (with the same value, for maps). */
export function datumExcludes(a: Datum, b: Datum): boolean {
  for (let i = 0; i < a.keys.length; i++) {
    const at = datumFind(b, a.keys[i]!);
    if (at >= 0 && (a.values === null || a.values[i] === b.values?.[at])) return false;
  }
  return true;
}

/** Reads a `<value>` and checks its type's constraints; throws `OvsdbError`. */
export function datumFromJson(type: ColumnType, json: Json | undefined, named?: NamedUuids): Datum {
  return fromJson(type, json, named, type.min, type.max);
}

/** The same without regard to the number of elements (operands of mutations and conditions). */
export function datumFromJsonAnySize(type: ColumnType, json: Json | undefined, named?: NamedUuids): Datum {
  return fromJson(type, json, named, 0, 0xffffffff);
}

function fromJson(
  type: ColumnType,
  json: Json | undefined,
  named: NamedUuids | undefined,
  min: number,
  max: number,
): Datum {
  if (type.value !== null) {
    const pairs = members(json, 'map');
    checkSize(json, 'map', pairs.length, min, max);
    const value = type.value;
    return makeMap(
      pairs.map((pair) => {
        if (!Array.isArray(pair) || pair.length !== 2) throw syntaxError(pair, 'expected 2-element array');
        return [checkedAtom(type.key, pair[0], named), checkedAtom(value, pair[1], named)] as const;
      }),
    );
  }
  if (Array.isArray(json) && json[0] === 'set') {
    const elements = members(json, 'set');
    checkSize(json, 'set', elements.length, min, max);
    return makeSet(elements.map((element) => checkedAtom(type.key, element, named)));
  }
  return { keys: [checkedAtom(type.key, json, named)], values: null };
}

function members(json: Json | undefined, word: 'set' | 'map'): Json[] {
  if (Array.isArray(json) && json.length === 2 && json[0] === word && Array.isArray(json[1])) return json[1];
  throw syntaxError(json, `expected ["${word}", <array>]`);
}

function checkSize(json: Json | undefined, word: string, n: number, min: number, max: number): void {
  if (n >= min && n <= max) return;
  const wanted = min === 1 && max === 1 ? 'exactly one member' : `${min} to ${max} members`;
  throw syntaxError(json, `${word} must have ${wanted} but ${n} are present`);
}

function checkedAtom(base: BaseType, json: Json | undefined, named: NamedUuids | undefined): Atom {
  const atom = atomFromJson(base.type, json, named);
  checkAtom(base, atom);
  return atom;
}

export function datumToJson(type: ColumnType, datum: Datum): Json {
  const key = type.key.type;
  if (type.value !== null) {
    const value = type.value.type;
    return ['map', datum.keys.map((k, i) => [atomToJson(key, k), atomToJson(value, datum.values![i]!)])];
  }
  if (datum.keys.length === 1) return atomToJson(key, datum.keys[0]!);
  return ['set', key === 'uuid' ? datum.keys.map((k) => ['uuid', k as string]) : [...datum.keys]];
}

/** As `ovs-vsctl list` prints a value: `[a, b]`, `{k=v}`, and a lone element bare when more than one cannot be. */
export function datumToText(type: ColumnType, datum: Datum): string {
  const isMap = type.value !== null;
  const bracketed = type.max > 1 || datum.keys.length === 0;
  const text = elements(type, datum, atomToText).join(', ');
  return bracketed ? (isMap ? `{${text}}` : `[${text}]`) : text;
}

/** As `--data=bare` prints a value: no brackets, no quotes, spaces between elements. */
export function datumToBare(type: ColumnType, datum: Datum): string {
  return elements(type, datum, atomToBare).join(' ');
}

function elements(type: ColumnType, datum: Datum, show: typeof atomToText): string[] {
  const value = type.value;
  if (value === null) return datum.keys.map((k) => show(type.key.type, k));
  return datum.keys.map((k, i) => `${show(type.key.type, k)}=${show(value.type, datum.values![i]!)}`);
}

/** What lies between the common beginning and the common end of two lists: a large set that gains one element costs one. */
export function changedSpan(a: readonly Atom[], b: readonly Atom[]): { start: number; endA: number; endB: number } {
  const n = Math.min(a.length, b.length);
  let start = 0;
  while (start < n && a[start] === b[start]) start++;
  let endA = a.length;
  let endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  return { start, endA, endB };
}

/** Union; keys that `b` shares with `a` keep `a`'s values unless `replace`. Returns `a` itself if nothing changes. */
export function datumUnion(a: Datum, b: Datum, replace = false): Datum {
  const added: [place: number, from: number][] = [];
  let replaced: Atom[] | null = null;
  for (let j = 0; j < b.keys.length; j++) {
    const at = datumFind(a, b.keys[j]!);
    if (at < 0) added.push([~at, j]);
    else if (replace && a.values !== null && a.values[at] !== b.values![j]) {
      replaced ??= [...a.values];
      replaced[at] = b.values![j]!;
    }
  }
  const values = replaced ?? a.values;
  if (added.length === 0) return replaced === null ? a : { keys: a.keys, values };
  const merge = (into: readonly Atom[], from: readonly Atom[]): Atom[] => {
    const out: Atom[] = [];
    let done = 0;
    for (const [place, j] of added) {
      for (; done < place; done++) out.push(into[done]!);
      out.push(from[j]!);
    }
    for (; done < into.length; done++) out.push(into[done]!);
    return out;
  };
  return { keys: merge(a.keys, b.keys), values: values === null ? null : merge(values, b.values!) };
}

/**
 * Difference. `b` may be a set of keys (removes them whatever their value) or, for maps, a map (removes equal pairs only).
 * Returns `a` itself if nothing is removed.
 */
export function datumSubtract(a: Datum, b: Datum): Datum {
  const gone = new Set<number>();
  for (let j = 0; j < b.keys.length; j++) {
    const at = datumFind(a, b.keys[j]!);
    if (at < 0) continue;
    if (b.values === null || a.values === null || a.values[at] === b.values[j]) gone.add(at);
  }
  if (gone.size === 0) return a;
  const stays = (_: Atom, i: number) => !gone.has(i);
  return { keys: a.keys.filter(stays), values: a.values?.filter(stays) ?? null };
}

/**
 * What turns `from` into `to` (ovsdb-server(7), 4.1.15 `<row-update2>` "modify"): for a set the elements that are in one of them only;
 * for a map the pairs that are new or changed, and the keys that are gone with their old value.
 */
export function datumDiff(from: Datum, to: Datum): Datum {
  const keys: Atom[] = [];
  const values: Atom[] | null = to.values === null ? null : [];
  // In maps equal keys may have other values, so only sets skip what is common.
  const whole = { start: 0, endA: from.keys.length, endB: to.keys.length };
  const { start, endA, endB } = values === null ? changedSpan(from.keys, to.keys) : whole;
  let i = start;
  let j = start;
  while (i < endA || j < endB) {
    const order = i === endA ? 1 : j === endB ? -1 : compareAtoms(from.keys[i]!, to.keys[j]!);
    if (order < 0) {
      keys.push(from.keys[i]!);
      values?.push(from.values![i]!);
      i++;
    } else if (order > 0) {
      keys.push(to.keys[j]!);
      values?.push(to.values![j]!);
      j++;
    } else {
      if (values !== null && from.values![i] !== to.values![j]) {
        keys.push(to.keys[j]!);
        values.push(to.values![j]!);
      }
      i++;
      j++;
    }
  }
  return { keys, values };
}

// An array that grew by itself keeps room for more, which every row of a database would pay for.
const keyScratch: Atom[] = [];
const valueScratch: Atom[] = [];

/** Undoes `datumDiff`: applies a difference to `from`. Where there is at most one value or pair, the difference is the new one. */
export function datumApplyDiff(type: ColumnType, from: Datum, diff: Datum): Datum {
  if (type.max === 1) return diff;
  const keys = keyScratch;
  const values = type.value === null ? null : valueScratch;
  let n = 0;
  let i = 0;
  let j = 0;
  while (i < from.keys.length || j < diff.keys.length) {
    const order = i === from.keys.length ? 1 : j === diff.keys.length ? -1 : compareAtoms(from.keys[i]!, diff.keys[j]!);
    if (order < 0) {
      keys[n] = from.keys[i]!;
      if (values !== null) values[n] = from.values![i]!;
      n++;
      i++;
    } else if (order > 0) {
      keys[n] = diff.keys[j]!;
      if (values !== null) values[n] = diff.values![j]!;
      n++;
      j++;
    } else {
      if (values !== null && from.values![i] !== diff.values![j]) {
        keys[n] = diff.keys[j]!;
        values[n++] = diff.values![j]!;
      }
      i++;
      j++;
    }
  }
  return { keys: keys.slice(0, n), values: values === null ? null : values.slice(0, n) };
}
