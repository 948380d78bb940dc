/**
 * What is wrong with a text that should be JSON, and where, in the words users of Open vSwitch's tools know. Only run after the engine's parser has
 * said no; lines count from 0, columns and bytes from 1, as in the original.
 */

class Fault {
  readonly at: number;
  readonly text: string;
  constructor(at: number, text: string) {
    this.at = at;
    this.text = text;
  }
}

export function jsonErrorText(text: string): string {
  const fault = new Checker(text).check();
  const before = text.slice(0, Math.max(fault.at, 0));
  const line = before.split('\n').length - 1;
  const column = before.length - (before.lastIndexOf('\n') + 1);
  return `line ${line}, column ${column}, byte ${Buffer.byteLength(before)}: ${fault.text}`;
}

const WORD = /[A-Za-z0-9_.+-]+/y;
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

/** `at` of a fault is the length of the text that was read when it showed. */
class Checker {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  check(): Fault {
    try {
      this.space();
      const c = this.text[this.at];
      if (c !== '{' && c !== '[') this.scalarAtStart();
      else this.value(0);
      this.space();
      if (this.at < this.text.length) return new Fault(this.at, 'trailing garbage at end of input');
    } catch (fault) {
      if (fault instanceof Fault) return fault;
      throw fault;
    }
    return new Fault(0, 'syntax error at beginning of input');
  }

  private scalarAtStart(): void {
    const word = this.word();
    if (word !== '' && !isWord(word) && !/^[-0-9]/.test(word))
      throw new Fault(this.at + word.length, `invalid keyword '${word}'`);
    throw new Fault(Math.max(this.at + word.length, 1), 'syntax error at beginning of input');
  }

  private word(): string {
    WORD.lastIndex = this.at;
    return WORD.exec(this.text)?.[0] ?? '';
  }

  private space(): void {
    while (this.at < this.text.length && ' \t\n\r'.includes(this.text[this.at]!)) this.at++;
  }

  private end(): never {
    throw new Fault(this.text.length, 'unexpected end of input');
  }

  private value(depth: number): void {
    this.space();
    const c = this.text[this.at];
    if (c === undefined) this.end();
    if (depth > 1000) throw new Fault(this.at + 1, 'input exceeds maximum nesting depth 1000');
    if (c === '"') this.string();
    else if (c === '[') this.members(']', () => this.value(depth + 1), 'array');
    else if (c === '{') this.members('}', () => this.member(depth), 'object');
    else this.scalar();
  }

  private scalar(): void {
    const word = this.word();
    const end = this.at + word.length;
    if (word === '') throw new Fault(this.at + 1, 'syntax error expecting value');
    if (/^[-0-9]/.test(word)) {
      if (/^-?0[0-9]/.test(word)) throw new Fault(end, 'leading zeros not allowed');
      if (!NUMBER.test(word)) throw new Fault(end, 'syntax error in number');
    } else if (!isWord(word)) {
      throw new Fault(end, `invalid keyword '${word}'`);
    }
    this.at = end;
  }

  private members(close: string, one: () => void, what: string): void {
    this.at++;
    this.space();
    if (this.text[this.at] === close) {
      this.at++;
      return;
    }
    for (;;) {
      one();
      this.space();
      const c = this.text[this.at];
      if (c === undefined) this.end();
      this.at++;
      if (c === close) return;
      if (c !== ',') throw new Fault(this.at, `syntax error expecting '${close}' or ','`);
      this.space();
      if (what === 'array' && this.text[this.at] === close) throw new Fault(this.at, 'syntax error expecting value');
    }
  }

  private member(depth: number): void {
    this.space();
    const c = this.text[this.at];
    if (c === undefined) this.end();
    if (c !== '"') {
      const word = this.word();
      if (word !== '' && !isWord(word) && !/^[-0-9]/.test(word)) {
        throw new Fault(this.at + word.length, `invalid keyword '${word}'`);
      }
      throw new Fault(this.at + 1, 'syntax error parsing object expecting string');
    }
    this.string();
    this.space();
    if (this.text[this.at] === undefined) this.end();
    if (this.text[this.at] !== ':') throw new Fault(this.at + 1, "syntax error parsing object expecting ':'");
    this.at++;
    this.value(depth + 1);
  }

  private string(): void {
    const start = this.at + 1;
    for (this.at++; this.at < this.text.length; this.at++) {
      const c = this.text[this.at]!;
      if (c === '"') {
        const inner = this.text.slice(start, this.at);
        if (/(?<!\\)(?:\\\\)*\\u0000/.test(inner))
          throw new Fault(this.at, 'null bytes not supported in quoted strings');
        const bad = /(?<!\\)(?:\\\\)*\\u(?![0-9a-fA-F]{4})(.{0,4})/.exec(inner);
        if (bad)
          throw new Fault(
            this.at,
            bad[1]!.length < 4 ? 'quoted string ends within \\u escape' : 'malformed \\u escape',
          );
        if (hasHalfPair(inner)) throw new Fault(this.at, 'malformed escaped surrogate pair');
        this.at++;
        return;
      }
      if (c === '\\') {
        const letter = this.text[++this.at];
        if (letter === undefined) break;
        if (!'"\\/bfnrtu'.includes(letter)) throw new Fault(this.at + 1, `bad escape \\${letter}`);
      } else if (c < ' ') {
        const code = c.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase();
        throw new Fault(this.at + 1, `U+${code} must be escaped in quoted string`);
      }
    }
    throw new Fault(this.text.length, 'unexpected end of input in quoted string');
  }
}

function hasHalfPair(inner: string): boolean {
  try {
    return !(JSON.parse(`"${inner}"`) as string).isWellFormed();
  } catch {
    return false;
  }
}

function isWord(word: string): boolean {
  return word === 'true' || word === 'false' || word === 'null';
}
