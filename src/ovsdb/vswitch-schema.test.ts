import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Json, jsonText } from './json.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { vswitchSchemaJson } from './vswitch-schema.ts';
import { vtepSchemaJson } from './vtep-schema.ts';

const INSTALLED = '/usr/share/openvswitch';

/** Many ways to write one type are one once read. */
const canonical = (json: unknown) => jsonText(schemaToJson(schemaFromJson(json as Json)));

for (const [file, json] of [
  ['vswitch.ovsschema', vswitchSchemaJson],
  ['vtep.ovsschema', vtepSchemaJson],
] as const) {
  test(`our notation yields the schema that Open vSwitch installs: ${file}`, (t) => {
    const path = `${INSTALLED}/${file}`;
    if (!existsSync(path)) return t.skip(`${path} is not installed`);
    const installed: unknown = JSON.parse(readFileSync(path, 'utf8'));
    assert.equal(canonical(json()), canonical(installed));
  });
}

test('a range, an enumeration, a weak reference and a bounded map read as RFC 7047 writes them', () => {
  const tables = vswitchSchemaJson()['tables'] as Record<string, { columns: Record<string, { type: unknown }> }>;
  assert.deepEqual(tables['Port'].columns['tag'].type, {
    key: { type: 'integer', minInteger: 0, maxInteger: 4095 },
    min: 0,
    max: 1,
  });
  assert.deepEqual(tables['Mirror'].columns['output_port'].type, {
    key: { type: 'uuid', refTable: 'Port', refType: 'weak' },
    min: 0,
    max: 1,
  });
});
