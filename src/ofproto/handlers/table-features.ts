/** What tables can do: all of them the same, but that the last one has nowhere to go. OpenFlow 1.3.5 7.3.5.5 */
import { FIELDS } from '../../flow/fields.ts';
import type { OfpVersion } from '../../openflow/messages.ts';
import type { TableCapability, TableFeatures } from '../../openflow/messages-ext.ts';
import { type FlowTable, TBL_INTERNAL } from '../tables.ts';
import type { Handler } from './index.ts';

export const MAX_ENTRIES = 1_000_000;
const ALL_ONES = 0xffffffffffffffffn;
/** Instructions from the lowest bit: goto_table, write_metadata, write, apply, clear, meter. */
const GOTO = 1;
const METER = 1 << 5;
const INSTRUCTIONS = 0x3f;
/** Bits by OpenFlow 1.1+ numbers: output, and 15 to 25: TTLs, push and pop of VLAN and MPLS, set_queue, group, set_field. */
const COMMON_ACTIONS = [0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];
/** 1.1 has an action for each header field, later versions have set_field. */
const ACTIONS_11 = setOf([...COMMON_ACTIONS, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14]);
const ACTIONS = setOf([...COMMON_ACTIONS, 25]);
/** Fields that have a number on the wire. */
const FIELDS_ON_WIRE = FIELDS.filter((f) => f.headers.length > 0);
const WRITABLE = FIELDS_ON_WIRE.filter((f) => f.writable);
const MASKABLE = FIELDS_ON_WIRE.filter((f) => f.masking === 'any');
/** OFPTC_* of OpenFlow 1.3. */
const OFPTC_DEPRECATED_MASK = 3;

function setOf(numbers: readonly number[]): bigint {
  return numbers.reduce((bits, n) => bits | (1n << BigInt(n)), 0n);
}

export function featuresOf(table: FlowTable, version: OfpVersion): TableFeatures {
  const nextTables = Array.from({ length: TBL_INTERNAL - 1 - table.id }, (_, i) => table.id + 1 + i);
  const instructions = nextTables.length > 0 ? INSTRUCTIONS : INSTRUCTIONS & ~GOTO;
  const actions = version === 2 ? ACTIONS_11 : ACTIONS;
  const capability: TableCapability = {
    nextTables,
    // Meters come with 1.3.
    instructions: version < 4 ? instructions & ~METER : instructions,
    writeActions: actions,
    applyActions: actions,
    writeSetFields: WRITABLE,
    applySetFields: WRITABLE,
  };
  return {
    table: table.id,
    name: table.name,
    metadataMatch: ALL_ONES,
    metadataWrite: ALL_ONES,
    config: OFPTC_DEPRECATED_MASK,
    capabilities: 0,
    maxEntries: table.flowLimit ?? MAX_ENTRIES,
    nonmiss: capability,
    miss: capability,
    match: FIELDS_ON_WIRE,
    mask: MASKABLE,
    wildcard: FIELDS_ON_WIRE,
  };
}

/** All tables together are more than a megabyte: others get their turn in between. */
const TABLES_PER_PART = 32;

export const tableFeatures: Handler<'table_features_request'> = async (bridge, conn, request) => {
  // Tables are as they are.
  if (request.message.tables.length > 0) {
    conn.error(request, 'OFPTFFC_EPERM');
    return;
  }
  for (let at = 0; at < TBL_INTERNAL && !conn.isClosed; at += TABLES_PER_PART) {
    const end = Math.min(at + TABLES_PER_PART, TBL_INTERNAL);
    const tables = bridge.tables.tables.slice(at, end).map((t) => featuresOf(t, conn.version));
    conn.reply(request, { type: 'table_features_reply', more: end < TBL_INTERNAL, tables });
    if (end < TBL_INTERNAL) await conn.room();
  }
};
