/** Writes `schema/*.ovsschema`, the schemas of `src/ovsdb/` as files that any OVSDB tool reads. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { vswitchSchemaJson } from '../src/ovsdb/vswitch-schema.ts';
import { vtepSchemaJson } from '../src/ovsdb/vtep-schema.ts';

const write = (name: string, json: unknown) =>
  writeFileSync(join(import.meta.dirname, '..', 'schema', name), `${JSON.stringify(json, null, 2)}\n`);

write('vswitch.ovsschema', vswitchSchemaJson());
write('vtep.ovsschema', vtepSchemaJson());
