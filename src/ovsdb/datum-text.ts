/**
 * Values as people type them on a command line (`ovs-vsctl set`, ovs-vsctl(8) "Database Values"): `5`, `[1, 2]`, `1-5`, `a=b,c=d`, `"two
 * words"`, `@name`.
 */
import { type Atom, atomFromText, type Integer, type NamedUuids } from './atom.ts';
import { type Datum, makeMap, sortSet } from './datum.ts';
import { OvsdbError } from './error.ts';
import { type BaseType, type ColumnType, checkAtom, typeToEnglish } from './types.ts';

const DELIMITERS = ':=, []{}!<>';

/** A token starting at `at`: its text with quotes, and where it ends. Throws `Error` for an open quote. */
export function readToken(text: string, at: number): { token: string; end: number } {
  let i = at;
  let quoted = false;
  let token = '';
  for (; i < text.length; i++) {
    const c = text[i]!;
    if (c === '\\') {
      if (i + 1 === text.length) throw new Error(`${text}: backslash at end of argument`);
      // Inside quotes the escape is JSON's and stays for whoever reads the string.
      token += quoted ? c + text[++i]! : text[++i]!;
      continue;
    }
    if (c === '"') quoted = !quoted;
    else if (!quoted && DELIMITERS.includes(c)) break;
    token += c;
  }
  if (quoted) throw new Error(`${text.slice(at)}: quoted string extends past end of argument`);
  return { token, end: i };
}

/** Reads a whole value; throws `Error` whose message is the tools'. Constraints are checked. */
export function parseDatumText(type: ColumnType, text: string, symbol?: NamedUuids): Datum {
  const isMap = type.value !== null;
  const skip = (i: number, chars: string) => {
    while (i < text.length && chars.includes(text[i]!)) i++;
    return i;
  };
  const close = isMap ? '}' : ']';
  let at = skip(0, ' ');
  const opened = text[at] === (isMap ? '{' : '[');
  if (opened) at = skip(at + 1, ' ');

  const keys: Atom[] = [];
  const entries: [Atom, Atom][] = [];
  while (at < text.length && text[at] !== (opened ? close : undefined)) {
    if (DELIMITERS.includes(text[at]!)) {
      throw new Error(`${text}: unexpected "${text[at]}" parsing ${typeToEnglish(type)}`);
    }
    const start = at;
    const { token, end } = readToken(text, at);
    const key = parseAtom(type.key, token, symbol);
    at = end;
    if (type.value !== null) {
      if (text[at] !== '=') {
        throw new Error(
          `${text.slice(start)}: syntax error at "${text[at] === undefined ? '' : `${text[at]}" expecting "="`}`,
        );
      }
      const second = readToken(text, at + 1);
      const value = parseAtom(type.value, second.token, symbol);
      entries.push([key.atom, value.atom]);
      at = second.end;
    } else {
      pushRange(keys, key.atom, key.rangeEnd, type);
    }
    at = skip(at, ' ');
    if (text[at] === ',') at = skip(at + 1, ' ');
  }
  if (opened) {
    if (at >= text.length) throw new Error(`${text}: missing "${close}" at end of data`);
    at = skip(at + 1, ' ');
    if (at < text.length) throw new Error(`${text}: trailing garbage after "${close}"`);
  }
  const n = isMap ? entries.length : keys.length;
  const noun = isMap ? 'pair(s)' : 'value(s)';
  if (n < type.min) throw new Error(`${text}: ${n} ${noun} specified but the minimum number is ${type.min}`);
  if (n > type.max) throw new Error(`${text}: ${n} ${noun} specified but the maximum number is ${type.max}`);
  try {
    return isMap ? makeMap(entries) : sortSet(keys, 'set contains duplicate value');
  } catch (error) {
    if (error instanceof OvsdbError) throw new Error(`${text}: ${error.details}`);
    throw error;
  }
}

// A range is as long as its values allow: the constraint is checked before the values are made.
function pushRange(keys: Atom[], first: Atom, last: Integer | undefined, type: ColumnType): void {
  checkAtom(type.key, first);
  keys.push(first);
  if (last === undefined) return;
  if (BigInt(last) - BigInt(first as Integer) > 0x10000n) checkAtom(type.key, last);
  for (let n = Number(first) + 1; n <= last; n++) {
    checkAtom(type.key, n);
    keys.push(n);
    if (keys.length > 0x100000) throw new Error('Range has too many values');
  }
}

function parseAtom(base: BaseType, token: string, symbol: NamedUuids | undefined) {
  const value = atomFromText(base.type, token, symbol);
  if (value.rangeEnd === undefined) checkAtom(base, value.atom);
  return value;
}
