/** Output against the published schemas: as they are, and as lists of all that is said (nothing may be left out of them). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { ROOT } from './run.ts';

const NAMES = ['common', 'openflow', 'datapath', 'conntrack', 'fdb', 'lint'] as const;
export type SchemaName = (typeof NAMES)[number];

/** Objects with listed members may have no others: users may meet later versions, tests may not. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const out = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value)]));
  return 'properties' in out && out['type'] === 'object' ? { ...out, additionalProperties: false } : out;
}

const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
for (const name of NAMES)
  ajv.addSchema(closed(JSON.parse(readFileSync(join(ROOT, 'docs', 'schema', `${name}.json`), 'utf8'))) as object);

/** Fails with what is wrong. `definition` names one of the schema's parts. */
export function assertValid(name: SchemaName, value: unknown, definition?: string): void {
  const id = `${name}.json${definition === undefined ? '' : `#/$defs/${definition}`}`;
  const validate = ajv.getSchema(id) as ValidateFunction | undefined;
  assert.ok(validate, `no schema ${id}`);
  assert.ok(
    validate(value),
    `${id}: ${ajv.errorsText(validate.errors, { separator: '\n' })}\n${JSON.stringify(value)}`,
  );
}
