/**
 * What is wrong with a text that should be a JSON object or array, and where, in the words that users of Open vSwitch's tools know. Only run after the
 * engine's parser has said no.
 *
 * Places are those of the original, which reads byte by byte: a fault is behind the last byte that was taken when it showed. A number or a word shows at
 * the byte behind it, which is not taken; at the end of the text a space stands in for that byte. Other tokens show at their last byte, before it is taken.
 */

const MAX_DEPTH = 1000;
const NUMBER_BYTES = /[0-9.eE+-]/;
const SPACE = ' \t\n\r';
const ESCAPES = '"\\/bfnrtu';

class Fault extends Error {
  /** How many bytes were taken. */
  readonly at: number;
  constructor(at: number, text: string) {
    super(text);
    this.at = at;
  }
}

/** `line L, column C, byte B: …`. */
export function jsonErrorText(text: string): string {
  // One character a byte, so that places are bytes.
  const bytes = Buffer.from(text).toString('latin1');
  const fault = faultOf(bytes);
  const before = `${bytes} `.slice(0, fault.at);
  const line = before.split('\n').length - 1;
  const column = before.length - (before.lastIndexOf('\n') + 1);
  return `line ${line}, column ${column}, byte ${before.length}: ${fault.message}`;
}

function faultOf(bytes: string): Fault {
  const grammar = new Grammar();
  try {
    let at = 0;
    while (at < bytes.length) at = token(bytes, at, grammar);
    grammar.end(at);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  return new Fault(bytes.length, 'syntax error at beginning of input');
}

/** Reads one token and gives it to the grammar; where the next begins. */
function token(bytes: string, start: number, grammar: Grammar): number {
  const c = bytes[start]!;
  if (SPACE.includes(c)) return start + 1;
  if ('[]{}:,'.includes(c)) {
    grammar.take(c as Punctuation, start);
    return start + 1;
  }
  if (c === '"') return string(bytes, start, grammar);
  const isNumber = /[-0-9]/.test(c);
  if (!isNumber && !/[a-z]/.test(c)) throw new Fault(start, `invalid character ${characterName(c)}`);
  let end = start + 1;
  const belongs = isNumber ? NUMBER_BYTES : /[a-zA-Z]/;
  while (end < bytes.length && belongs.test(bytes[end]!)) end++;
  const word = bytes.slice(start, end);
  const wrong = isNumber ? wrongNumber(word) : wrongWord(word);
  if (wrong !== null) throw new Fault(end, wrong);
  grammar.take('scalar', end);
  return end < bytes.length ? end : end + 1;
}

function characterName(c: string): string {
  return c > ' ' && c < '\x7f' ? `'${c}'` : `U+${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function wrongWord(word: string): string | null {
  return word === 'true' || word === 'false' || word === 'null' ? null : `invalid keyword '${word}'`;
}

function wrongNumber(word: string): string | null {
  let rest = word.replace(/^-/, '');
  if (!/^[0-9]/.test(rest)) return "'-' must be followed by digit";
  if (/^0[0-9]/.test(rest)) return 'leading zeros not allowed';
  rest = rest.replace(/^[0-9]+/, '');
  if (rest.startsWith('.')) {
    if (!/^\.[0-9]/.test(rest)) return 'decimal point must be followed by digit';
    rest = rest.replace(/^\.[0-9]+/, '');
  }
  if (/^[eE]/.test(rest)) {
    if (!/^[eE][+-]?[0-9]/.test(rest)) return 'exponent must contain at least one digit';
    rest = rest.replace(/^[eE][+-]?[0-9]+/, '');
  }
  if (rest !== '') return 'syntax error in number';
  return Number.isFinite(Number(word)) ? null : 'number outside valid range';
}

function string(bytes: string, start: number, grammar: Grammar): number {
  for (let at = start + 1; at < bytes.length; at++) {
    const c = bytes[at]!;
    if (c === '\\') at++;
    else if (c === '"') {
      const wrong = wrongString(bytes.slice(start + 1, at));
      if (wrong !== null) throw new Fault(at, wrong);
      grammar.take('string', at);
      return at + 1;
    } else if (c < ' ') {
      const code = c.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase();
      throw new Fault(at, `U+${code} must be escaped in quoted string`);
    }
  }
  throw new Fault(bytes.length, 'unexpected end of input in quoted string');
}

/** What is wrong with the escapes of a string. */
function wrongString(inner: string): string | null {
  for (let at = inner.indexOf('\\'); at >= 0; at = inner.indexOf('\\', at)) {
    const letter = inner[at + 1]!;
    if (!ESCAPES.includes(letter)) return `bad escape \\${letter}`;
    if (letter !== 'u') {
      at += 2;
      continue;
    }
    const first = unicodeEscape(inner, at);
    if (typeof first === 'string') return first;
    if (first === 0) return 'null bytes not supported in quoted strings';
    at += 6;
    if (first < 0xd800 || first > 0xdfff) continue;
    if (first >= 0xdc00 || inner.slice(at, at + 2) !== '\\u') return 'malformed escaped surrogate pair';
    const second = unicodeEscape(inner, at);
    if (typeof second === 'string') return second;
    if (second < 0xdc00 || second > 0xdfff) return 'second half of escaped surrogate pair is not trailing surrogate';
    at += 6;
  }
  return null;
}

function unicodeEscape(inner: string, at: number): number | string {
  const digits = inner.slice(at + 2, at + 6);
  if (digits.length < 4) return 'quoted string ends within \\u escape';
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : 'malformed \\u escape';
}

type Punctuation = '[' | ']' | '{' | '}' | ':' | ',';
type Token = Punctuation | 'string' | 'scalar';
type Expected = 'start' | 'end' | 'first element' | 'element' | 'first name' | 'name' | ':' | 'value' | 'next';

/** What may come next. */
class Grammar {
  private expected: Expected = 'start';
  private readonly open: ('[' | '{')[] = [];

  take(token: Token, at: number): void {
    switch (this.expected) {
      case 'start':
        if (token !== '[' && token !== '{') throw new Fault(at, 'syntax error at beginning of input');
        return this.begin(token, at);
      case 'end':
        throw new Fault(at, 'trailing garbage at end of input');
      case 'first element':
        return token === ']' ? this.close() : this.value(token, at);
      case 'element':
      case 'value':
        return this.value(token, at);
      case 'first name':
      case 'name':
        if (token === '}' && this.expected === 'first name') return this.close();
        if (token !== 'string') throw new Fault(at, 'syntax error parsing object expecting string');
        this.expected = ':';
        return;
      case ':':
        if (token !== ':') throw new Fault(at, "syntax error parsing object expecting ':'");
        this.expected = 'value';
        return;
      case 'next':
        return this.next(token, at);
    }
  }

  end(at: number): void {
    if (this.expected === 'start') throw new Fault(at, 'empty input stream');
    if (this.expected !== 'end') throw new Fault(at, 'unexpected end of input');
  }

  private value(token: Token, at: number): void {
    if (token === '[' || token === '{') this.begin(token, at);
    else if (token === 'string' || token === 'scalar') this.expected = 'next';
    else throw new Fault(at, 'syntax error expecting value');
  }

  private begin(token: '[' | '{', at: number): void {
    if (this.open.length >= MAX_DEPTH) throw new Fault(at, `input exceeds maximum nesting depth ${MAX_DEPTH}`);
    this.open.push(token);
    this.expected = token === '[' ? 'first element' : 'first name';
  }

  private next(token: Token, at: number): void {
    const isArray = this.open.at(-1) === '[';
    const end = isArray ? ']' : '}';
    if (token === ',') this.expected = isArray ? 'element' : 'name';
    else if (token === end) this.close();
    else throw new Fault(at, `syntax error expecting '${end}' or ','`);
  }

  private close(): void {
    this.open.pop();
    this.expected = this.open.length === 0 ? 'end' : 'next';
  }
}
