import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { vswitchSchemaJson } from './vswitch-schema.ts';

const INSTALLED = '/usr/share/openvswitch/vswitch.ovsschema';

/** Many ways to write one type: `{"type": "string"}` is `"string"`, and a lone key is the type itself. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const record = value as Record<string, unknown>;
  const out: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(record)) {
    const inner = canonical(member);
    if (name === 'type' && typeof inner === 'object' && inner !== null && Object.keys(inner).join() === 'key') {
      out[name] = (inner as Record<string, unknown>)['key'];
    } else if ((name === 'min' || name === 'max') && inner === 1) {
      out[name] = undefined;
    } else {
      out[name] = inner;
    }
    if (out[name] === undefined) delete out[name];
  }
  const keys = Object.keys(out).join();
  return keys === 'type' || keys === 'key' ? (out[keys] as unknown) : out;
}

test('our notation yields the schema that Open vSwitch installs', (t) => {
  if (!existsSync(INSTALLED)) return t.skip('openvswitch-common is not installed');
  const installed: unknown = JSON.parse(readFileSync(INSTALLED, 'utf8'));
  assert.deepEqual(canonical(vswitchSchemaJson()), canonical(installed));
});

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
