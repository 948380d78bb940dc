/**
 * The errors of the database: a tag that programs test for, details for people, and where it helps the offending piece
 * of JSON ("syntax"). RFC 7047 3.1 `<error>` with the additional members that Open vSwitch sends.
 */
import { type Json, jsonText } from './json.ts';

export interface OvsdbErrorJson {
  error: string;
  details?: string;
  syntax?: string;
  'io-error'?: string;
  [member: string]: Json | undefined;
}

export class OvsdbError extends Error {
  /** RFC 7047's error name, such as `constraint violation`. */
  readonly tag: string;
  readonly details: string | undefined;
  readonly syntax: string | undefined;
  /** The operating system's words for a failed system call. */
  readonly ioError: string | undefined;

  constructor(tag: string, details?: string, more: { syntax?: string; ioError?: string; cause?: unknown } = {}) {
    super(OvsdbError.text(tag, details, more.syntax, more.ioError), { cause: more.cause });
    this.tag = tag;
    this.details = details;
    this.syntax = more.syntax;
    this.ioError = more.ioError;
  }

  private static text(tag: string, details?: string, syntax?: string, ioError?: string): string {
    let s = syntax === undefined ? '' : `syntax "${syntax}": `;
    s += tag;
    if (details !== undefined) s += `: ${details}`;
    if (ioError !== undefined) s += ` (${ioError})`;
    return s;
  }

  /** The same error with its details prefixed, as callers further out add what they were about to do. */
  within(prefix: string): OvsdbError {
    const details = this.details === undefined ? prefix : `${prefix}: ${this.details}`;
    return new OvsdbError(this.tag, details, { syntax: this.syntax, ioError: this.ioError, cause: this.cause });
  }

  toJson(): OvsdbErrorJson {
    const json: OvsdbErrorJson = { error: this.tag };
    if (this.details !== undefined) json.details = this.details;
    if (this.syntax !== undefined) json.syntax = this.syntax;
    if (this.ioError !== undefined) json['io-error'] = this.ioError;
    return json;
  }
}

/** A `syntax error` that shows the JSON it is about. */
export function syntaxError(json: Json | undefined, details: string, tag = 'syntax error'): OvsdbError {
  return new OvsdbError(tag, details, json === undefined ? {} : { syntax: jsonText(json) });
}

export function constraintViolation(details: string): OvsdbError {
  return new OvsdbError('constraint violation', details);
}
