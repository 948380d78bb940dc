/**
 * JSON whose integers keep 64 bits: an integer outside ±2^53 is a `bigint`, every other number a `number`.
 *
 * The engine's own parser is used throughout; only a text with a run of 16 digits or more can hold such an integer, so
 * only then is the slow path (a reviver that sees the source) taken.
 */

export type Json = string | number | bigint | boolean | null | Json[] | { [member: string]: Json | undefined };
export type JsonObject = { [member: string]: Json | undefined };

/** So many digits may be an integer beyond 2^53. */
const LONG_DIGITS = 16;
const INTEGER = /^-?[0-9]+$/;
const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

/**
 * Throws `SyntaxError` for text that is not JSON, or has in a string what the original refuses and its files cannot hold: a NUL, half a
 * surrogate pair.
 */
export function parseJson(text: string): Json {
  if (text.includes('\\u')) checkEscapes(text);
  if (!hasLongDigits(text)) return JSON.parse(text) as Json;
  return JSON.parse(text, reviveInteger) as Json;
}

/** Looks at every sixteenth character only, since a run that long has one of them; a regular expression takes ten times as long. */
function hasLongDigits(text: string): boolean {
  for (let i = LONG_DIGITS - 1; i < text.length; i += LONG_DIGITS) {
    if (!isDigit(text, i)) continue;
    let start = i;
    let end = i + 1;
    while (isDigit(text, start - 1)) start--;
    while (isDigit(text, end)) end++;
    if (end - start >= LONG_DIGITS) return true;
  }
  return false;
}

// `charCodeAt` outside the text is not a number, so in no range.
function isDigit(text: string, i: number): boolean {
  const c = text.charCodeAt(i);
  return c >= 0x30 && c <= 0x39;
}

const ESCAPE = /\\(?:u([0-9a-fA-F]{4})(?:\\u([0-9a-fA-F]{4}))?|[^u])/g;

function checkEscapes(text: string): void {
  ESCAPE.lastIndex = 0;
  for (let m = ESCAPE.exec(text); m !== null; m = ESCAPE.exec(text)) {
    if (m[1] === undefined) continue;
    const unit = Number.parseInt(m[1], 16);
    if (unit === 0) throw new SyntaxError('null bytes not supported in quoted strings');
    const next = m[2] === undefined ? 0 : Number.parseInt(m[2], 16);
    const isPair = (unit & 0xfc00) === 0xd800 && (next & 0xfc00) === 0xdc00;
    if ((unit & 0xf800) === 0xd800 && !isPair) throw new SyntaxError('malformed escaped surrogate pair');
    // What follows is looked at on its own unless it was the second half.
    if (m[2] !== undefined && !isPair) ESCAPE.lastIndex -= 6;
  }
}

// `context.source` is the number as written (ECMAScript's JSON.parse source text access).
function reviveInteger(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context?.source;
  return source !== undefined && INTEGER.test(source) ? normalInteger(BigInt(source)) : value;
}

/** The one representation of an integer: a number when that is exact. Out of 64 bits it is an (inexact) number. */
export function normalInteger(value: bigint): number | bigint {
  if (value >= -9007199254740991n && value <= 9007199254740991n) return Number(value);
  return value >= INT64_MIN && value <= INT64_MAX ? value : Number(value);
}

const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;

/** Compact JSON text, 64-bit integers included. */
export function stringifyJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return JSON.stringify(value, (_key, v) => (typeof v === 'bigint' ? rawJson(v.toString()) : v));
  }
}

export function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/** JSON text with sorted members and reals of 15 digits: how errors and tools show a piece of JSON. */
export function jsonText(json: Json | undefined): string {
  if (Array.isArray(json)) return `[${json.map(jsonText).join(',')}]`;
  if (typeof json === 'number' && !Number.isSafeInteger(json)) return formatReal(json);
  if (isObject(json)) {
    const members = Object.keys(json)
      .filter((name) => json[name] !== undefined)
      .sort();
    return `{${members.map((name) => `${JSON.stringify(name)}:${jsonText(json[name])}`).join(',')}}`;
  }
  return stringifyJson(json ?? null);
}

/** A real as C's `%.15g` prints it. */
export function formatReal(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value < 0 ? '-inf' : 'inf';
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const [mantissa, exponentText] = value.toExponential(14).split('e') as [string, string];
  const exponent = Number(exponentText);
  const trim = (s: string) => (s.includes('.') ? s.replace(/\.?0+$/, '') : s);
  if (exponent < -4 || exponent >= 15) {
    const digits = Math.abs(exponent).toString().padStart(2, '0');
    return `${trim(mantissa)}e${exponent < 0 ? '-' : '+'}${digits}`;
  }
  return trim(value.toFixed(14 - exponent));
}
