/**
 * Reads the members of a JSON object one by one and then insists that nothing else was there, in the original's words.
 */
import { isId } from './atom.ts';
import { OvsdbError, syntaxError } from './error.ts';
import { isObject, type Json, type JsonObject } from './json.ts';

export type JsonKind = 'string' | 'id' | 'integer' | 'number' | 'boolean' | 'array' | 'object' | 'null' | 'any';

function isKind(json: Json, kind: JsonKind): boolean {
  switch (kind) {
    case 'string':
      return typeof json === 'string';
    case 'id':
      return typeof json === 'string' && isId(json);
    case 'integer':
      return typeof json === 'bigint' || (typeof json === 'number' && Number.isInteger(json));
    case 'number':
      return typeof json === 'bigint' || typeof json === 'number';
    case 'boolean':
      return typeof json === 'boolean';
    case 'array':
      return Array.isArray(json);
    case 'object':
      return isObject(json);
    case 'null':
      return json === null;
    case 'any':
      return true;
  }
}

export class ObjectParser {
  readonly json: JsonObject;
  private readonly what: { toString(): string };
  private readonly used: string[] = [];

  /** `what` names the object in errors: `Parsing WHAT failed: …`. */
  constructor(json: Json | undefined, what: { toString(): string }) {
    this.what = what;
    if (!isObject(json)) throw new OvsdbError('syntax error', `Parsing ${what} failed: Object expected.`);
    this.json = json;
  }

  private get(name: string, kinds: readonly JsonKind[]): Json | undefined {
    const value = Object.hasOwn(this.json, name) ? this.json[name] : undefined;
    if (value === undefined) return undefined;
    if (!this.used.includes(name)) this.used.push(name);
    for (const kind of kinds) if (isKind(value, kind)) return value;
    throw this.error(`Type mismatch for member '${name}'.`);
  }

  optional(name: string, ...kinds: JsonKind[]): Json | undefined {
    return this.get(name, kinds);
  }

  required(name: string, ...kinds: JsonKind[]): Json {
    const value = this.get(name, kinds);
    if (value === undefined) throw this.error(`Required '${name}' member is missing.`);
    return value;
  }

  error(details: string): OvsdbError {
    return syntaxError(this.json, `Parsing ${this.what} failed: ${details}`);
  }

  /** Throws if a member was there that nobody asked for. */
  finish(): void {
    let present = 0;
    for (const name in this.json) if (this.json[name] !== undefined) present++;
    if (present === this.used.length) return;
    const rest = Object.keys(this.json).filter((name) => !this.used.includes(name) && this.json[name] !== undefined);
    if (rest.length === 0) return;
    const name = rest.sort()[0];
    if (rest.length === 1) throw this.error(`Member '${name}' is present but not allowed here.`);
    const others = rest.length - 1;
    throw this.error(
      `Member '${name}' and ${others} other member${others > 1 ? 's' : ''} are present but not allowed here.`,
    );
  }
}
