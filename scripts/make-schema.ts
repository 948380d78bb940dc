/** Writes `schema/vswitch.ovsschema`, the schema of `src/ovsdb/vswitch-schema.ts` as a file that any OVSDB tool reads. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { vswitchSchemaJson } from '../src/ovsdb/vswitch-schema.ts';

const path = join(import.meta.dirname, '..', 'schema', 'vswitch.ovsschema');
writeFileSync(path, `${JSON.stringify(vswitchSchemaJson(), null, 2)}\n`);
