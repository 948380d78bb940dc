/** Schemas from files. */
import { readFileSync } from 'node:fs';
import { errorText } from '../base/errno.ts';
import { OvsdbError } from './error.ts';
import { type Json, parseJson } from './json.ts';
import { jsonErrorText } from './json-error.ts';
import { type DatabaseSchema, schemaFromJson } from './schema.ts';

/** Reads a JSON file; throws `Error` whose message says what is wrong with it. */
export function readJsonFile(path: string): Json {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`error opening "${path}": ${errorText(error)}`);
  }
  try {
    return parseJson(text);
  } catch {
    throw new Error(jsonErrorText(text));
  }
}

/** Throws `Error` in the tools' words. */
export function readSchemaFile(path: string): DatabaseSchema {
  let json: Json;
  try {
    json = readJsonFile(path);
    if (typeof json !== 'object' || json === null)
      throw new Error('line 0, column 1, byte 1: syntax error at beginning of input');
  } catch (error) {
    throw new Error(`failed to read schema: "${path}" could not be read as JSON (${(error as Error).message})`);
  }
  try {
    return schemaFromJson(json);
  } catch (error) {
    if (error instanceof OvsdbError) throw error.within(`failed to parse "${path}" as ovsdb schema`);
    throw error;
  }
}
